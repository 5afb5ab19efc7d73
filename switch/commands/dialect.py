"""`tongbao dialect`: which dialects there are, the table of one, whether a file is one.

Needs no node; with `--config` the node's own dialects are there, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iso8583 import composites, reasons
from iso8583.dialects import registry
from iso8583.dialects.from_toml import DialectFileError, from_toml
from iso8583.subfields.layout import Layout
from iso8583.texts import dialect_title, text
from switch import config as configs
from switch.cli import ConfigFile, Json, Lang, end, group
from switch.commands.common import (
    CommandError,
    Exit,
    print_line,
    print_object,
    print_objects,
    print_table,
)
from switch.texts import say

if TYPE_CHECKING:
    from iso8583.dialects.table import Dialect, Element

app = group()


@app.callback()
def root() -> None:
    pass


@app.command("list", help="help_dialect_list")
def list_(json: Json = False, config: ConfigFile = None, lang: Lang = "") -> None:  # noqa: FBT002
    language = language_of(config, lang)
    known = [registry.get(name) for name in registry.names()]
    if json:
        print_objects(described(dialect, language) for dialect in known)
        return
    print_table(
        [
            text(key, language)
            for key in ("dialect", "title", "mti", "bitmap", "header", "elements")
        ],
        [
            (
                dialect.name,
                dialect_title(dialect, language),
                dialect.mti,
                dialect.bitmap,
                dialect.header,
                len(dialect.elements),
            )
            for dialect in known
        ],
    )


@app.command(help="help_dialect_show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="help_arg_dialect")],
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    lang: Lang = "",
) -> None:
    language = language_of(config, lang)
    if name.endswith(".toml"):
        name = known_from(name, language)
    try:
        dialect = registry.get(name)
    except LookupError as error:
        raise CommandError(reasons.reason(str(error.args[0]), language), Exit.USAGE) from error
    if json:
        elements = [row_object(dialect, row, language) for row in dialect.elements]
        print_object({**described(dialect, language), "elements": elements})
    else:
        show_table(dialect, language)


@app.command(help="help_dialect_check")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="help_arg_dialect_file")],
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    lang: Lang = "",
) -> None:
    language = language_of(config, lang)
    try:
        dialect = read(file, language)
    except DialectFileError as error:
        if json:
            fault = {"key": error.key, "line": error.line, "reason": error.reason}
            print_object({"file": str(file), "dialect": None, "error": fault})
            end(Exit.USAGE)
        raise CommandError(f"{file}: {error.text(language)}", Exit.USAGE) from error
    if registry.is_known(dialect.name) and registry.get(dialect.name) != dialect:
        said = reasons.reason(f"there is a dialect {dialect.name} already", language)
        raise CommandError(f"{file}: name: {said}", Exit.USAGE)
    changes = changed(dialect)
    if json:
        print_object({"file": str(file), "dialect": dialect.name, "error": None, **changes})
        return
    print_line(say("dialect_is_one", language, name=dialect.name, count=len(dialect.elements)))
    for key, elements in changes.items():
        if elements:
            shown = ", ".join(map(str, elements))
            print_line(say(f"dialect_{key}", language, base=dialect.base, elements=shown))


# -- out of a file --------------------------------------------------------------------------------


def language_of(config: Path | None, lang: str) -> str:
    """The operator's language; the dialects of a node are known afterwards."""
    loaded = None if config is None else configs.load(config)
    return configs.operator_language(lang, loaded)


def read(file: Path, language: str) -> Dialect:
    """The dialect of a file. Raises DialectFileError, CommandError where it can not be read."""
    try:
        source = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise CommandError(
            f"{file}: {reasons.reason(str(reason), language)}", Exit.USAGE
        ) from error
    return from_toml(source, registry.get)


def known_from(file: str, language: str) -> str:
    """The name of the dialect of a file, known from now on. Raises CommandError."""
    try:
        dialect = read(Path(file), language)
        registry.add(dialect)
    except DialectFileError as error:
        raise CommandError(f"{file}: {error.text(language)}", Exit.USAGE) from error
    except ValueError as error:
        said = reasons.reason(str(error), language)
        raise CommandError(f"{file}: {said}", Exit.USAGE) from error
    return dialect.name


def changed(dialect: Dialect) -> dict[str, list[int]]:
    """Elements that differ from the base's: replaced, added, removed."""
    if not dialect.base:
        return {"replaced": [], "added": [], "removed": []}
    base = {row.de: row for row in registry.get(dialect.base).elements}
    own = {row.de: row for row in dialect.elements}
    return {
        "replaced": [de for de, row in own.items() if de in base and row != base[de]],
        "added": [de for de in own if de not in base],
        "removed": [de for de in base if de not in own],
    }


# -- shown ----------------------------------------------------------------------------------------


def described(dialect: Dialect, language: str) -> dict[str, Any]:
    return {
        "name": dialect.name,
        "title": dialect_title(dialect, language),
        "base": dialect.base or None,
        "versions": dialect.versions,
        "mti": dialect.mti,
        "bitmap": dialect.bitmap,
        "bitmaps": dialect.bitmaps,
        "header": dialect.header or None,
        "count": len(dialect.elements),
    }


def row_object(dialect: Dialect, row: Element, language: str) -> dict[str, Any]:
    uses = []
    for layout in composites.layouts(row.de, dialect):
        if isinstance(layout, Layout):
            parts = [
                {"number": part.number, "name": part.name(language), "format": part.format}
                for part in layout.subfields
            ]
            uses.append({"use": layout.titles[language == "zh"], "subfields": parts})
        else:
            parts = [
                {"number": tag, "name": names[language == "zh"], "format": "ans"}
                for tag, names in layout.names.items()
            ]
            uses.append({"use": layout.title, "subfields": parts})
    return {
        "de": row.de,
        "name": dialect.element_name(row.de, language),
        "format": row.format,
        "content": row.content,
        "size": row.size,
        "encoding": row.encoding,
        "prefix": row.prefix,
        "padding": row.padding,
        "counts": row.counts,
        "uses": uses,
    }


def show_table(dialect: Dialect, language: str) -> None:
    print_line(f"{dialect.name}: {dialect_title(dialect, language)}")
    about = [f"MTI {dialect.mti}", f"{text('bitmap', language)} {dialect.bitmap}"]
    about += [f"{text('versions', language)} {dialect.versions}"]
    about += [f"{text('header', language)} {dialect.header}"] if dialect.header else []
    about += [f"{text('base', language)} {dialect.base}"] if dialect.base else []
    print_line(" · ".join(about))
    rows: list[tuple[str, ...]] = []
    for row in dialect.elements:
        shown = row_object(dialect, row, language)
        counts = "" if row.counts == "units" else f" ({row.counts})"
        padding = "" if row.padding == "none" else row.padding
        cells = (row.format, row.encoding, row.prefix + counts, padding)
        rows.append((str(row.de), shown["name"], *cells))
        for use in shown["uses"]:
            if len(shown["uses"]) > 1:
                rows.append(("", f"  {use['use']}:", "", "", "", ""))
            rows += [
                (f"  {part['number']}", f"  {part['name']}", part["format"], "", "", "")
                for part in use["subfields"]
            ]
    headings = ("element", "name", "format", "encoding", "prefix", "padding")
    print_table([text(key, language) for key in headings], rows)
