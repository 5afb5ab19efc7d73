"""How the tree of commands behaves: who runs it, in which language, what a failure says, its exit code."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import Any

import typer
from typer.core import TyperGroup

from switch.texts import TEXTS, say

INTERRUPTED = 130  # by Ctrl-C, as a shell counts it
FAULT = 4  # Python's own 1 would say "differences found"

# Who runs this command, as the line says it: operator, descriptor of the password, TOTP code.
SAID: ContextVar[tuple[str, int | None, str]] = ContextVar("SAID", default=("", None, ""))
LANGUAGE = "language"  # that the line asks for; in the context's `meta`
LOGIN_OPTIONS = ("--operator", "--password-fd", "--totp")


class Group(TyperGroup):
    """Ctrl-C is told in a line; typer's own answer to it is 1, which would say "differences found"."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.stdout.flush()
            typer.echo(f"tongbao: {say('interrupted', language_said(sys.argv[1:]))}", err=True)
            raise typer.Exit(INTERRUPTED) from None


class Root(Group):
    """Turns failures that the operator can do something about into a line and an exit code.

    Who runs a command is said by options of `tongbao` itself, and may stand anywhere on the line: so
    no sub-command, nor any that others bring, has to hand them on.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[LANGUAGE] = language_said(args)
        said: list[str] = []
        rest: list[str] = []
        words = iter(args)
        for word in words:
            if word in LOGIN_OPTIONS:
                said += [word, *[value for value in [next(words, None)] if value is not None]]
            elif word.startswith(tuple(f"{option}=" for option in LOGIN_OPTIONS)):
                said.append(word)
            else:
                rest.append(word)
        return super().parse_args(ctx, said + rest)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SystemExit as end:
            if isinstance(end.__context__, BrokenPipeError):  # rich says 1, which is "differences"
                raise SystemExit(FAULT) from None
            raise
        except Exception as error:
            if hasattr(error, "exit_code") or isinstance(error, typer.Abort):
                raise  # typer's own: usage, exit
            code = exit_code(error)
            text = f"tongbao: {told(error, ctx.meta[LANGUAGE])}" if code else explain(error)
            sys.stdout.flush()
            typer.echo(text, err=True)
            raise typer.Exit(code or FAULT) from error


def told(error: Exception, language: str) -> str:
    """What it says, in the language where it can."""
    from settlement.said import SaidError

    if not isinstance(error, SaidError):
        return str(error)
    return error.told(chinese=language == "zh")


def explain(error: Exception) -> str:
    """The traceback of a fault of ours, masked."""
    import traceback

    from switch.logs import mask_text

    return mask_text("".join(traceback.format_exception(error)).rstrip())


def exit_code(error: Exception) -> int | None:
    """The code of a failure that the operator can do something about; None for a fault of ours."""
    from switch.commands.common import CommandError, Exit
    from switch.config import ConfigError

    if isinstance(error, CommandError):
        return error.code
    if isinstance(error, ConfigError):
        return Exit.USAGE
    if isinstance(error, BrokenPipeError):
        return Exit.FAILURE
    known = {
        ("switch.lmk_file", "LmkError"),
        ("switch.store", "StoreError"),
        ("switch.data_keys", "OtherLmkError"),
        ("hsm.errors", "VaultError"),
        ("switch.journal", "StoreDownError"),
        ("settlement.four_eyes", "RefusedError"),
    }
    for module, name in known:
        loaded = sys.modules.get(module)
        if loaded is not None and isinstance(error, getattr(loaded, name)):
            return Exit.FAILURE
    return None


def translate(of: Any, language: str) -> None:
    if of.help in TEXTS:
        of.help = say(of.help, language)
    for parameter in of.params:
        text = getattr(parameter, "help", None)
        if text in TEXTS:
            parameter.help = say(text, language)
    for inner in getattr(of, "commands", {}).values():
        translate(inner, language)


def language_said(words: list[str]) -> str:
    """The language that a command line asks for, or the operator's own."""
    from switch.config import operator_language

    said = words[words.index("--lang") + 1 : words.index("--lang") + 2] if "--lang" in words else []
    return operator_language(said[0] if said else "")
