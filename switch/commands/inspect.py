"""`tongbao inspect`: why does this message not parse? Reads files and standard input, nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec

from iso8583.inspect import Inspection, inspect_input
from iso8583.inspector import inputs
from iso8583.reasons import reason
from switch.commands.common import CommandError, Exit
from switch.texts import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console
    from rich.table import Table

    from iso8583.inspector.inputs import Kind
    from settlement.files.layout import Layout

LINE_BYTES_MAX = 1_000_000
NAME_CHARACTERS_MAX = 255
HEX_BYTES_MIN = 4  # with which an argument begins that is hex with a fault, not a file's name
BASE64_BYTES_MIN = 10  # MTI and bitmap
WIDTHS = (32, 48, 60, 64, 72, 76, 80)  # of folded text: xxd -p, fold, base64, openssl


class Options(NamedTuple):
    """How messages are explained and shown."""

    dialect: str | None = None
    kind: str | None = None
    candidates: int = 0
    unmask: bool = False
    as_json: bool = False
    language: str = "en"


def run(messages: list[str], options: Options) -> Exit:
    """Every message of every argument; 1 if one does not parse. The dialect may be a TOML file."""
    options = options._replace(dialect=dialect_of(options.dialect, options.language))
    worst = Exit.DONE
    for message in messages:
        for given in arguments(message, options):
            layout = clearing_layout(given, options)
            if layout is not None:
                from switch.commands import inspect_clearing

                worst = max(worst, inspect_clearing.show_lines(given, layout, message, options))
                continue
            for inspection in explained(given, options):
                show(inspection, options)
                if not inspection.ok:
                    worst = Exit.DIFFERENCES
    return worst


def clearing_layout(given: str | bytes, options: Options) -> Layout | None:
    """The layout of a fixed-width clearing file: said, or what the first line of a file fits."""
    if options.kind is not None:
        if options.kind in inputs.KINDS:
            return None
        from switch.commands import inspect_clearing

        return inspect_clearing.layout_named(options.kind, options.language)
    if isinstance(given, str) or not inputs.may_be_columns(given):
        return None
    from switch.commands import inspect_clearing

    return inspect_clearing.layout_of(given)


def run_diff(messages: list[str], options: Options) -> Exit:
    """Two messages by element; 1 if they differ or one does not parse."""
    from iso8583.inspector.differences import differences

    options = options._replace(dialect=dialect_of(options.dialect, options.language))
    if len(messages) != 2:
        raise CommandError(say("inspect_two", options.language), Exit.USAGE)
    a, b = (
        next(
            (one for given in arguments(message, options) for one in explained(given, options)),
            None,
        )
        for message in messages
    )
    if a is None or b is None:
        raise CommandError(say("inspect_two", options.language), Exit.USAGE)
    found = differences(a, b, "en" if options.as_json else options.language)
    if options.as_json:
        print_json(
            {
                "a": {"dialect": a.dialect, "mti": a.mti, "error": msgspec.to_builtins(a.error)},
                "b": {"dialect": b.dialect, "mti": b.mti, "error": msgspec.to_builtins(b.error)},
                "differences": msgspec.to_builtins(found),
            }
        )
    else:
        console = plain_or_terminal()
        for name, inspection in (("A", a), ("B", b)):
            said = f"{name}: {inspection.summary(options.language)}"
            console.print(said, markup=False, highlight=False, soft_wrap=True)
        rows = [
            (row.part or str(row.element), row.name, say(f"diff_{row.change}", options.language), row.a or "", row.b or "")
            for row in found
        ]  # fmt: skip
        headings = (
            "DE",
            *(say(f"diff_{name}", options.language) for name in ("name", "change")),
            "A",
            "B",
        )
        if rows:
            console.print(table(headings, rows))
        else:
            console.print(say("diff_none", options.language), markup=False)
    return Exit.DONE if not found and a.ok and b.ok else Exit.DIFFERENCES


def dialect_of(name: str | None, language: str) -> str | None:
    """The name of a dialect; that of the dialect in a TOML file, which is known from here on."""
    if name is None or not name.endswith(".toml"):
        return name
    from switch.commands.dialect import known_from

    return known_from(name, language)


def arguments(message: str, options: Options) -> Iterator[str | bytes]:
    """What an argument stands for: itself, a file, or standard input."""
    if message == "-":
        yield from standard_input(options)
    else:
        yield read(message, options)


def explained(given: str | bytes, options: Options) -> Iterator[Inspection]:
    """The messages of an input, explained one by one."""
    try:
        yield from inspect_input(
            given,
            cast("Kind | None", options.kind),
            options.dialect,
            unmask=options.unmask,
            candidates=options.candidates,
        )
    except LookupError as error:
        raise CommandError(reason(str(error.args[0]), options.language), Exit.USAGE) from error


def read(message: str, options: Options) -> str | bytes:
    """The argument itself, or what is in the file of that name. Hex digits are never a file's name;
    `./0800` is."""
    _, problem = inputs.octets_of_hex(message)
    if problem is None or "\n" in message or len(message) > NAME_CHARACTERS_MAX:
        return message
    path = Path(message)
    try:
        if not path.exists():
            if problem.offset < HEX_BYTES_MIN and not may_be_base64(message):
                raise CommandError(say("inspect_no_file", options.language, path=path), Exit.USAGE)
            return message
        with path.open("rb") as file:  # a pipe, too
            return file.read(inputs.INPUT_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = str(error.strerror) if isinstance(error, OSError) else "no name of a file"
        raise CommandError(f"{message}: {reason(why, options.language)}", Exit.USAGE) from error


def may_be_base64(message: str) -> bool:
    """Whether this is base64 as long as a message at least; shorter words are names."""
    octets = inputs.octets_of_base64(message)
    return octets is not None and len(octets) >= BASE64_BYTES_MIN


def standard_input(options: Options) -> Iterator[str | bytes]:
    """A message a line, as soon as it was read; what is no line of hex or base64 is read to its end
    and taken as one input."""
    stream = sys.stdin.buffer
    first = stream.readline(LINE_BYTES_MAX)
    kind = inputs.captured_kind(first)
    if options.kind not in (None, "lines", "hex", "base64") or kind not in ("hex", "base64"):
        yield first + stream.read(inputs.INPUT_BYTES_MAX + 1 - len(first))
        return
    if folded(first):
        rest = stream.read(inputs.INPUT_BYTES_MAX + 1 - len(first))
        yield first + rest
        return
    if not first:
        yield b""
        return
    line = first
    while line:
        if line.strip():
            yield line.decode("utf-8-sig", "replace").strip()
        line = stream.readline(LINE_BYTES_MAX)


def folded(first: bytes) -> bool:
    """Whether the line may be the first of a text that was folded: of a width that programs fold at,
    and no message by itself."""
    line = first.decode("latin-1").strip()
    return len(line) in WIDTHS and not all(one.ok for one in inspect_input(line))


def show(inspection: Inspection, options: Options) -> None:
    """One object of JSON, or the table and, of what does not parse, the marked byte and why."""
    if options.as_json:
        print_json(inspection.to_json_dict())
        return
    from iso8583.inspector import rendering

    console = plain_or_terminal()
    said = rendering.summary(inspection, options.language)
    console.print(said, markup=False, highlight=False, soft_wrap=True)
    if not inspection.data:
        return
    console.print(rendering.table(inspection, options.language))
    if not inspection.ok:
        console.print(rendering.dump(inspection))
    for line in rendering.mistakes(inspection, options.language):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    note = rendering.note(inspection, options.language)
    if note:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    if inspection.guesses:
        console.print(rendering.candidates_table(inspection, options.language))


def print_json(value: object) -> None:
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def plain_or_terminal() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160)


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    made = Table()
    for heading in headings:
        made.add_column(heading, overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    return made
