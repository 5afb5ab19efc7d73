"""A dialect as a TOML file: a dialect of ours with rows changed, or a whole table.

```toml
name = "acme_pos"                 # small letters, digits, _ and . (a variant's name follows its base's)
title = "ACME's terminals"
base = "unionpay_pos"             # left out: a whole table, then mti and bitmap are needed
remove = [58, 59]                 # rows of the base that the host does not have
versions = "0"                    # these and mti, bitmap, classes, bitmaps, header: as the base has them

[elements.48]                     # a row is given whole: it replaces the base's, or is added
content = "ans"
size = 322
encoding = "ascii"
prefix = "lll_bcd"                # else fixed
padding = "none"                  # for BCD that can be odd
counts = "units"
name = "our terminals' block"
```

The columns are those of `iso8583.dialects.table`. Pure: text in, dialect out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from iso8583 import reasons
from iso8583.dialects.table import Dialect, Element
from iso8583.texts import text

FILE_CHARACTERS_MAX: Final = 200_000
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}(\.[a-z0-9_]{1,63})?")
_KEY: Final = re.compile(r"[A-Za-z0-9_.\"' -]+")
_OF_ROW: Final = re.compile(r"DE (\d+): ")
_AT_LINE: Final = re.compile(r" \(at line (\d+), column \d+\)")
_MISSING: Final = re.compile(r"Object missing required field `(.+)`")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.+)`")


class DialectFileError(ValueError):
    """A file that is no dialect: the key's path (`elements.48.size`), the line from 1, the rule.

    The path is empty and the line 0 where the whole file is to blame.
    """

    def __init__(self, key: str, line: int, reason: str) -> None:
        super().__init__(key, line, reason)
        self.key = key
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        return self.text()

    def text(self, lang: str = "en") -> str:
        """The error in the operator's language."""
        said = reasons.reason(self.reason, lang)
        said = f"{self.key}: {said}" if self.key else said
        return f"{text('line', lang).format(line=self.line)}: {said}" if self.line else said


Refuse = Callable[[str, str], DialectFileError]


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The columns as they may stand; what they may hold the table says."""

    content: str
    size: int
    encoding: str
    prefix: str = "fixed"
    padding: str = "none"
    counts: str = "units"
    name: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    title: str = ""
    base: str = ""
    remove: tuple[int, ...] = ()
    mti: str | None = None
    bitmap: str | None = None
    versions: str | None = None
    classes: str | None = None
    bitmaps: int | None = None
    header: str | None = None
    elements: dict[str, Any] = {}


_COLUMNS: Final = ("mti", "bitmap", "versions", "classes", "bitmaps", "header")


def from_toml(source: str, known: Callable[[str], Dialect]) -> Dialect:
    """The dialect that the source describes; `known` gives the base by name, or raises LookupError.

    Raises DialectFileError with key, line and what is allowed.
    """
    if len(source) > FILE_CHARACTERS_MAX:
        raise DialectFileError("", 0, f"more than {FILE_CHARACTERS_MAX} characters")

    def refuse(key: str, reason: str) -> DialectFileError:
        return DialectFileError(key, _line(source, key), reason)

    file = _decoded(source, refuse)
    if not _NAME.fullmatch(file.name):
        raise refuse(
            "name", "small letters, digits and _, and a dot before what a variant is called"
        )
    base: Dialect | None = None
    if file.base:
        try:
            base = known(file.base)
        except LookupError as error:
            raise refuse("base", str(error.args[0])) from None
    elif missing := [key for key in ("mti", "bitmap", "elements") if not getattr(file, key)]:
        raise refuse(missing[0], "needed where there is no base")
    rows = {row.de: row for row in base.elements} if base else {}
    for de in file.remove:
        if rows.pop(de, None) is None:
            raise refuse("remove", f"the base has no DE {de}")
    for key, columns in file.elements.items():
        row = _row(f"elements.{key}", columns, refuse)
        rows[row.de] = row
    return _table(file, base, tuple(rows[de] for de in sorted(rows)), refuse)


def _table(
    file: _File,
    base: Dialect | None,
    elements: tuple[Element, ...],
    refuse: Refuse,
) -> Dialect:
    said: dict[str, Any] = {"name": file.name, "title": file.title or file.name}
    said |= {key: value for key in _COLUMNS if (value := getattr(file, key)) is not None}
    try:
        if base is None:
            return Dialect(**said, elements=elements)
        said |= {"base": base.family, "elements": elements}
        return msgspec.structs.replace(base, **said)
    except ValueError as error:
        reason = str(error).removeprefix(f"{file.name}: ")
        key = next((one for one in _COLUMNS if reason.startswith(one)), "")
        if of_row := _OF_ROW.match(reason):
            key, reason = f"elements.{of_row[1]}.size", reason[of_row.end() :]
        if "bitmap" in reason:
            key = "bitmaps"
        raise refuse(key, reason) from None


def _row(key: str, columns: Any, refuse: Refuse) -> Element:
    digits = key.removeprefix("elements.")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 3):
        raise refuse(key, "the number of an element, 2 to 192")
    de = int(digits)
    try:
        row = msgspec.convert(columns, type=_Row)
        return Element(de, **msgspec.structs.asdict(row))
    except msgspec.ValidationError as error:
        raise _explained(error, key, refuse) from None
    except ValueError as error:
        reason = str(error).removeprefix(f"DE {de}: ")
        column = next((one for one in _Row.__struct_fields__ if reason.startswith(one)), "")
        raise refuse(f"{key}.{column}".rstrip("."), reason) from None


def _decoded(source: str, refuse: Refuse) -> _File:
    try:
        return msgspec.toml.decode(source, type=_File)
    except msgspec.ValidationError as error:
        raise _explained(error, "", refuse) from None
    except msgspec.DecodeError as error:
        at = _AT_LINE.search(str(error))
        reason = f"is not TOML: {_AT_LINE.sub('', str(error))}"
        raise DialectFileError("", int(at[1]) if at else 0, reason) from None
    except RecursionError:
        raise DialectFileError("", 0, "is not TOML: nested too deep") from None


def _explained(error: msgspec.ValidationError, key: str, refuse: Refuse) -> DialectFileError:
    """msgspec's words, `reason - at `$.a`` below `key`, as an error of ours."""
    reason, _, at = str(error).partition(" - at `$")
    path = f"{key}.{at.rstrip('`').strip('.').partition('[')[0]}".strip(".")
    if unknown := _UNKNOWN.fullmatch(reason):
        there = _Row.__struct_fields__ if key else _File.__struct_fields__
        path = f"{path}.{unknown[1]}".strip(".")
        reason = f"no such key; there are {', '.join(there)}"
    elif missing := _MISSING.fullmatch(reason):
        path, reason = f"{path}.{missing[1]}".strip("."), "is needed"
    return refuse(path, reason[:1].lower() + reason[1:])


def _line(source: str, key: str) -> int:
    """The line where a key stands, else its table's; 0 where neither is."""
    best, table, found = 0, "", 0
    for number, line in enumerate(source.splitlines(), 1):
        header = re.match(r"\s*\[([^\[\]]+)\]", line)
        written, equals, _ = line.partition("=")
        if header:
            table = _path(header[1])
            path = table
        elif equals and _KEY.fullmatch(written.strip()):
            path = f"{table}.{_path(written)}".strip(".")
        else:
            continue
        if (key == path or key.startswith(f"{path}.")) and len(path) > best:
            best, found = len(path), number
        elif not found and path.startswith(f"{key}."):  # the key is that of tables
            found = number
    return found


def _path(written: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in written.split("."))
