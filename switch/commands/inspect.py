"""`tongbao inspect`: why does this message not parse?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec

from iso8583.inspect import inspect_message
from switch.commands.common import CommandError, Exit

if TYPE_CHECKING:
    from typing import TextIO

LINE_CHARACTERS_MAX = 1_000_000


def run(message: str, *, dialect: str | None, unmask: bool, as_json: bool, language: str) -> Exit:
    """One message, or with `-` one a line of standard input; 1 if one does not parse.

    `dialect` may be the TOML file of one.
    """
    if dialect is not None and dialect.endswith(".toml"):
        from switch.commands.dialect import known_from

        dialect = known_from(dialect)
    try:
        if message == "-":
            return inspect_lines(sys.stdin, dialect, unmask=unmask)
        inspection = inspect_message(message, dialect, unmask=unmask)
    except LookupError as error:
        raise CommandError(str(error.args[0]), Exit.USAGE) from error
    if as_json:
        sys.stdout.write(msgspec.json.encode(inspection.to_json_dict()).decode() + "\n")
    else:
        from rich.console import Console

        Console(width=None if sys.stdout.isatty() else 160).print(inspection.table(language))
    return Exit.DONE if inspection.ok else Exit.DIFFERENCES


def inspect_lines(lines: TextIO, dialect: str | None, *, unmask: bool) -> Exit:
    """A JSON object for every line, as soon as it was read; empty lines are skipped."""
    worst = Exit.DONE
    while line := lines.readline(LINE_CHARACTERS_MAX):
        if not line.strip():
            continue
        inspection = inspect_message(line.strip(), dialect, unmask=unmask)
        sys.stdout.write(msgspec.json.encode(inspection.to_json_dict()).decode() + "\n")
        sys.stdout.flush()
        if not inspection.ok:
            worst = Exit.DIFFERENCES
    return worst
