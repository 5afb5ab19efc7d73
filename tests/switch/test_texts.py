"""Texts: both languages, the same values in both, and every help text in the table."""

from __future__ import annotations

import string
from typing import Any

import pytest
import typer.main

from switch import cli
from switch.commands import (
    approval,
    audit,
    case,
    data,
    dispute,
    hsm,
    journal,
    keys,
    merchant,
    operator,
    terminal,
)
from switch.commands.tree import translate
from switch.texts import TEXTS


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_both_halves_say_the_same() -> None:
    for key, (english, chinese) in TEXTS.items():
        assert english, key
        assert chinese, key
        assert places(english) == places(chinese), key
        assert english.isascii() or "…" in english, key
        assert any("\u4e00" <= character <= "\u9fff" for character in chinese), key


def walk(of: Any) -> list[Any]:
    return [of, *(inner for each in getattr(of, "commands", {}).values() for inner in walk(each))]


def trees(language: str) -> list[Any]:
    """The program's own commands, and those of the groups that it forwards to."""
    mounted = [
        typer.main.get_command(app)
        for app in (
            merchant.app,
            terminal.app,
            data.app,
            keys.app,
            journal.app,
            operator.app,
            approval.app,
            audit.app,
            case.app,
            dispute.app,
            hsm.app,
        )
    ]
    for tree in mounted:
        translate(tree, language)
    return [cli.command(language), *mounted]


@pytest.mark.parametrize(("language", "half"), [("en", 0), ("zh", 1)])
def test_help_is_in_the_operators_language(language: str, half: int) -> None:
    halves = {text[half] for text in TEXTS.values()}
    for command in (each for tree in trees(language) for each in walk(tree)):
        if command.callback is None or hasattr(command, "commands"):
            continue
        assert command.help in halves, command.name
        for parameter in command.params:
            if parameter.name not in ("help", "context"):
                assert parameter.help in halves, f"{command.name} {parameter.name}"
