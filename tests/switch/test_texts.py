"""Texts: both languages, the same values in both, and every help text in the table."""

from __future__ import annotations

import importlib
import pkgutil
import string
from typing import Any

import pytest
import typer.main

import switch.commands
from switch import cli
from switch.certify import texts as certify_texts
from switch.commands.tree import translate
from switch.device import texts as device_texts
from switch.explain import texts as explain_texts
from switch.replay import texts as replay_texts
from switch.texts import TEXTS
from switch.upkeep import texts as upkeep_texts

PARTS = (certify_texts, device_texts, explain_texts, replay_texts, upkeep_texts)


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_both_halves_say_the_same() -> None:
    for key, (english, chinese) in TEXTS.items():
        assert english, key
        assert chinese, key
        assert places(english) == places(chinese), key
        assert english.isascii() or "…" in english, key
        assert any("\u4e00" <= character <= "\u9fff" for character in chinese), key


def test_no_part_overwrites_a_text_of_another() -> None:
    """One table of all: a key that stands in two would give a command the help of another."""
    for part in PARTS:
        for key, text in part.TEXTS.items():
            assert TEXTS[key] == text, f"{part.__name__}: {key}"
    names = [key for part in PARTS for key in part.TEXTS]
    assert len(names) == len(set(names))


def walk(of: Any) -> list[Any]:
    return [of, *(inner for each in getattr(of, "commands", {}).values() for inner in walk(each))]


def trees(language: str) -> list[Any]:
    """The program's own commands, and those of the groups that it forwards to."""
    modules = [
        importlib.import_module(f"switch.commands.{each.name}")
        for each in pkgutil.iter_modules(switch.commands.__path__)
    ]
    mounted = [typer.main.get_command(module.app) for module in modules if hasattr(module, "app")]
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
