"""What `docs/hsm-commands.md` shows of the host commands: made from their rows, docstrings and codes.

`python -c "from hsm.host.documentation import render; print(render())"` prints it; a test holds the page to it.
"""

import inspect
from collections.abc import Mapping

from hsm.host.codes import CODES
from hsm.host.commands import COMMANDS
from hsm.host.dispatch import Command, answer_code


def render(commands: Mapping[str, Command] = COMMANDS) -> str:
    """The table of commands, the fields of each, and the table of codes, as Markdown."""
    rows = sorted(commands.values(), key=lambda command: command.code)
    return "\n".join((*table(rows), "", *fields(rows), *codes()))


def table(rows: list[Command]) -> list[str]:
    lines = [
        "## Commands",
        "",
        "| command | answer | purpose | 用途 | authorised state |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| [{row.code}](#{row.code.lower()}) | {answer_code(row.code)} | {row.title} | {row.title_zh} "
        f"| {'needed' if row.authorised else ''} |"
        for row in rows
    ]
    return lines


def fields(rows: list[Command]) -> list[str]:
    """A section a command: its docstring, without the code that begins it."""
    lines = ["## Fields", ""]
    for row in rows:
        text = inspect.getdoc(row.function)
        assert text is not None, row.code
        _, _, text = text.partition(": ")
        lines += [f"### {row.code}", "", text[:1].upper() + text[1:], ""]
    return lines


def codes() -> list[str]:
    lines = ["## Codes", "", "| code | meaning | 含义 |", "| --- | --- | --- |"]
    return lines + [
        f"| {code} | {english} | {chinese} |" for code, (english, chinese) in CODES.items()
    ]
