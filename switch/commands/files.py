"""`tongbao files`: what is in a clearing file, or why it is refused; its layout; what was taken in.

`show` and `layout` need no node: cards are masked, nothing is kept.
"""

import asyncio
import datetime as dt
import sys
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from iso8583.amount import format_minor
from iso8583.message import mask_pan
from settlement.adapters.postgres import open_postgres
from settlement.clearing import ClearingRow, FileName, IncomingFile
from settlement.files import packed, registry
from settlement.files.layout import LONG_DIGITS, FileError, Layout
from settlement.files.registry import FORMATS, ExpectedError
from settlement.files.rows import KINDS, Context, Expected, FileRow, Parsed
from settlement.files.store import FileRows
from switch.adapters.servers import Servers
from switch.cli import ConfigFile, DataFolder, Json, Lang, day, end, group, node_of
from switch.commands.common import (
    CommandError,
    Exit,
    Node,
    print_line,
    print_objects,
    print_table,
)
from switch.config import operator_language
from switch.texts import say

app = group()
Found = TypeVar("Found")
WINDOW = 30  # bytes shown on either side of a mistake

TypeName = Annotated[str | None, typer.Option("--type", help="help_opt_file_type")]


@app.command(help="help_files_layout")
def layout(
    type_: Annotated[str | None, typer.Argument(metavar="TYPE", help="help_opt_file_type")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="help_opt_markdown")] = False,  # noqa: FBT002
    json: Json = False,  # noqa: FBT002
    lang: Lang = "",
) -> None:
    if markdown:
        from settlement.files.page import page

        sys.stdout.write(page())
    elif type_ is None:
        list_types(operator_language(lang), as_json=json)
    else:
        show_layout(form_of(type_), as_json=json)


@app.command(help="help_files_show")
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="help_arg_clearing_file")],
    type_: TypeName = None,
    date: Annotated[str | None, typer.Option("--date", help="help_opt_settlement_date")] = None,
    expected: Annotated[Path | None, typer.Option("--expected", help="help_opt_expected")] = None,
    json: Json = False,  # noqa: FBT002
    lang: Lang = "",
) -> None:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", Exit.USAGE) from error
    described = described_by(expected, type_)
    language = operator_language(lang)
    worst = Exit.DONE
    try:
        inside = packed.unpack(file.name, data)
    except FileError as error:
        tell(error, b"", None, language, as_json=json)
        end(Exit.USAGE)
        return
    for name, content in inside:
        found = named(name, type_, day(date), described)
        worst = max(worst, show_one(content, found, described, language, as_json=json))
    end(worst)


@app.command("list", help="help_files_list")
def list_(
    date: Annotated[str | None, typer.Option("--date", help="help_opt_settlement_date")] = None,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    first, last = span(date)
    node = node_of(config, data, lang)
    found = read(node, lambda store: store.files_between(first, last))
    if json:
        print_objects(file_object(one) for one in found)
    else:
        print_table(
            [node.say(f"file_{name}") for name in FILE_COLUMNS],
            [tuple(file_object(one).values()) for one in found],
        )


@app.command(help="help_files_rows")
def rows(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="help_arg_kind")],
    date: Annotated[str | None, typer.Option("--date", help="help_opt_settlement_date")] = None,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    if kind not in KINDS:
        raise CommandError(f"{kind}: no such kind; there are {', '.join(KINDS)}", Exit.USAGE)
    first, last = span(date)
    node = node_of(config, data, lang)
    found = read(node, lambda store: store.file_rows(kind, first, last))
    if json:
        print_objects(objects(Parsed(rows=found)))
    else:
        print_table([node.say(f"file_{name}") for name in COLUMNS], [cells(row) for row in found])


def span(text: str | None) -> tuple[dt.date, dt.date]:
    one = day(text)
    return (one, one) if one else (dt.date.min, dt.date.max)


def read(node: Node, ask: Callable[[FileRows], Awaitable[list[Found]]]) -> list[Found]:
    """One question to the books' store."""

    async def reading(dsn: str) -> list[Found]:
        async with open_postgres(await Servers(dsn).primary()) as (store, _):
            return await ask(store)

    with node.store() as store:
        return asyncio.run(reading(store.dsn))


FILE_COLUMNS = (
    "settlement_date",
    "acquirer",
    "type",
    "name",
    "version",
    "rows",
    "business_date",
    "sha256",
)


def file_object(file: IncomingFile) -> dict[str, Any]:
    values = {name: getattr(file, name) for name in FILE_COLUMNS}
    return values | {"sha256": file.sha256.hex()}


def form_of(type_: str) -> registry.Format:
    form = FORMATS.get(type_.upper())
    if form is None:
        raise CommandError(f"{type_}: no such type; there are {', '.join(FORMATS)}", Exit.USAGE)
    return form


def list_types(language: str, *, as_json: bool) -> None:
    rows = [
        (form.name, form.title[int(language.startswith("zh"))], form.parse_name is not None)
        for form in FORMATS.values()
    ]
    if as_json:
        print_objects({"type": t, "title": title, "named": named} for t, title, named in rows)
    else:
        print_table(
            (say("file_type", language), say("file_title", language)), [r[:2] for r in rows]
        )


def show_layout(form: registry.Format, *, as_json: bool) -> None:
    for table in form.layouts:
        if not as_json:
            print_line(str(table))
        elif isinstance(table, Layout):
            print_objects({"layout": table.name, **msgspec.to_builtins(f)} for f in table.fields)
        else:
            print_objects({"layout": table.name, **msgspec.to_builtins(e)} for e in table.elements)


def described_by(path: Path | None, type_: str | None) -> dict[str, Expected]:
    """What a link's `clearing` would say: a TOML file with a table for each type. The type that is
    asked for needs no entry where it has no options of its own."""
    if path is None:
        return {form_of(type_).name: FORMATS[form_of(type_).name].expected()} if type_ else {}
    try:
        return registry.expected_of(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", Exit.USAGE) from error
    except (tomllib.TOMLDecodeError, ExpectedError) as error:
        raise CommandError(f"{path}: {error}", Exit.USAGE) from error


def named(
    name: str, type_: str | None, date: dt.date | None, described: dict[str, Expected]
) -> FileName:
    """Type and settlement date: said, or read off the name."""
    by_name = {k: v for k, v in described.items() if v.name or FORMATS[k].parse_name is not None}
    found = registry.recognise("", name, by_name or registry.standard())
    type_ = form_of(type_).name if type_ else found.type if found else None
    date = date or (found.settlement_date if found else None)
    if type_ is None or date is None:
        raise CommandError(
            f"{name}: the name does not tell type and settlement date; give --type and --date",
            Exit.USAGE,
        )
    return FileName("", name, type_, date, found.sequence if found else 1)


def show_one(
    data: bytes, file: FileName, described: dict[str, Expected], language: str, *, as_json: bool
) -> Exit:
    form = FORMATS[file.type]
    expected = described.get(file.type, form.expected())
    try:
        form.check(expected)
    except ValueError as error:
        raise CommandError(f"{file.type}: {error}; give --expected", Exit.USAGE) from error
    context = Context(token=lambda _: b"", mask=mask_pan, expected=expected)
    try:
        parsed = registry.parse(data, file, context)
    except FileError as error:
        tell(error, data, form, language, as_json=as_json)
        return Exit.USAGE
    if as_json:
        print_objects(objects(parsed))
    else:
        print_table(
            [say(f"file_{name}", language) for name in COLUMNS],
            [cells(row) for row in rows_of(parsed)],
        )
    totals = {"file": file.name, "type": file.type, "settlement_date": file.settlement_date}
    if as_json:
        print_objects([{"kind": "totals", **totals, **parsed.totals}])
    else:
        print_line("  ".join(f"{name}={value}" for name, value in (totals | parsed.totals).items()))
    return Exit.DONE


# -- rows -----------------------------------------------------------------------------------------

COLUMNS = ("line", "kind", "merchant", "terminal", "rrn", "stan", "pan", "amount", "fee", "net")


def rows_of(parsed: Parsed) -> list[ClearingRow | FileRow]:
    rows: list[ClearingRow | FileRow] = [*parsed.transactions, *parsed.rows]
    return sorted(rows, key=lambda row: (row.line, kind_of(row)))


def kind_of(row: ClearingRow | FileRow) -> str:
    return "transaction" if isinstance(row, ClearingRow) else row.kind


def cells(row: ClearingRow | FileRow) -> list[str]:
    amount = row.effect_minor if isinstance(row, ClearingRow) else row.amount_minor
    fee = next(
        (
            getattr(row, name)
            for name in ("fee_minor", "brand_fee_minor", "merchant_fee_minor")
            if hasattr(row, name)
        ),
        None,
    )
    figures = (amount, fee, getattr(row, "net_minor", None))
    return [
        str(row.line),
        kind_of(row),
        row.merchant,
        getattr(row, "terminal", ""),
        row.rrn,
        getattr(row, "stan", ""),
        row.pan_masked,
        *("" if one is None else format_minor(one, row.currency) for one in figures),
    ]


def objects(parsed: Parsed) -> Iterator[dict[str, Any]]:
    """Rows as JSON objects: every field but tokens and hashes, which mean nothing without the vault."""
    for row in rows_of(parsed):
        values = {name: getattr(row, name) for name in row.__struct_fields__}
        shown = {name: value for name, value in values.items() if not isinstance(value, bytes)}
        if isinstance(row, ClearingRow):
            shown["effect_minor"] = row.effect_minor
        yield {"kind": kind_of(row), **shown}


# -- mistakes -------------------------------------------------------------------------------------


def tell(
    error: FileError,
    data: bytes,
    form: registry.Format | None,
    language: str,
    *,
    as_json: bool,
) -> None:
    """The mistake; where the type has columns, its line with the column marked."""
    if as_json:
        print_objects(
            [
                {
                    "kind": "error",
                    "file": error.name,
                    "line": error.line,
                    "column": error.column,
                    "value": error.value,
                    "reason": str(error.reason),
                }
            ]
        )
        return
    print_line(say("file_refused", language, error=error.told(chinese=language == "zh")))
    tables = [one for one in form.layouts if isinstance(one, Layout)] if form else []
    if tables:
        line, marker = marked(data, error.line, error.column, tables[0])
        print_line(f"  {line}")
        print_line(f"  {marker}")


def marked(data: bytes, number: int, column: int, table: Layout) -> tuple[str, str]:
    """The surroundings of a column, and a line with a mark under it. Secret fields and runs of
    seven digits are starred out. Two-byte characters are as wide as their bytes."""
    lines = data.split(b"\n", number)
    raw = bytearray(lines[number - 1].removesuffix(b"\r") if number <= len(lines) else b"")
    for field in table.fields:
        if field.secret:
            secret = raw[field.offset : field.offset + field.length]
            raw[field.offset : field.offset + len(secret)] = b"*" * len(secret)
    hidden = LONG_DIGITS.sub(lambda run: "*" * len(run[0]), raw.decode("latin-1")).encode("latin-1")
    start = max(column - 1 - WINDOW, 0)
    before = hidden[start : column - 1].decode(table.encoding, "replace")
    after = hidden[column - 1 : column - 1 + WINDOW].decode(table.encoding, "replace")
    width = sum(2 if ord(character) > 0xFF else 1 for character in before)
    text = "".join(one if one.isprintable() else "?" for one in before + after)
    return text, " " * width + "^"
