"""A fixed-width layout: name, offset, length, format; one line a field, as the standard prints it.

Every field is followed by one blank (`separator`), except that the last one may lack it. Widths
count bytes of the encoded text. A table is checked when it is built: no gap, no overlap, and
`str(layout)` prints it beside the standard's own page.

Formats: `n` digits, zero filled left · `n..` digits, blank filled right (identifiers) · `an` text,
blank filled right · `ans` free text, of which the width may cut off half a two-byte character at
the end · `x+n` sign `C` (credit to us), `D` (debit to us) or blank, then digits · `xn` the same, or
one more digit in the sign's place (where sources give the width only).
A field marked optional may be all blanks, which reads as None.
"""

import re
import struct
from collections.abc import Iterable
from typing import Final

import msgspec

from settlement.said import Said, SaidError, said

FORMATS: Final = ("n", "n..", "an", "ans", "x+n", "xn")
TEXTS: Final = ("an", "ans")
SIGNS: Final = (b"C", b"D", b" ")
MAX_VALUE_SHOWN: Final = 40
LONG_DIGITS: Final = re.compile(r"\d{7,}")


class FileError(SaidError):
    """The peer's file breaks its layout. Nothing of it is taken in.

    `line` and `column` count from 1; `value` is shown without runs of seven digits or more, because
    a shifted column can hold a part of a PAN, and not at all where the field is secret.
    """

    def __init__(self, name: str, line: int, column: int, value: str, reason: Said) -> None:
        self.name, self.line, self.column, self.reason = name, line, column, reason
        self.value = LONG_DIGITS.sub(lambda found: "*" * len(found[0]), value)[:MAX_VALUE_SHOWN]
        super().__init__(
            "file_at", file=name, line=line, column=column, value=self.value, reason=reason
        )


class Field(msgspec.Struct, frozen=True):
    name: str
    offset: int
    length: int
    format: str
    meaning: str
    optional: bool = False
    secret: bool = False  # no error shows its value


def column(
    name: str,
    length: int,
    format_: str,
    meaning: str,
    *,
    optional: bool = True,
    secret: bool = False,
) -> Field:
    """A field whose offset `laid_out` finds; optional unless said otherwise."""
    return Field(name, 0, length, format_, meaning, optional, secret)


def laid_out(columns: Iterable[Field], *, start: int = 0, gap: int = 1) -> tuple[Field, ...]:
    """The fields one behind another from `start`, `gap` bytes between them.

    >>> [f.offset for f in laid_out([column("a", 3, "n", ""), column("b", 2, "n", "")], start=10)]
    [10, 14]
    """
    fields: list[Field] = []
    for one in columns:
        fields.append(msgspec.structs.replace(one, offset=start))
        start += one.length + gap
    return tuple(fields)


class Layout:
    """A table of fields and the two functions over it: `split` a line, `join` values.

    `start` is where its first field stands in a line whose beginning is another table's.
    """

    def __init__(
        self,
        name: str,
        fields: tuple[Field, ...],
        *,
        encoding: str = "gbk",
        separator: bytes = b" ",
        start: int = 0,
    ) -> None:
        self.name, self.fields, self.encoding, self.separator = name, fields, encoding, separator
        self.start = at = start
        for field in fields:
            assert field.format in FORMATS, f"{name}.{field.name}: unknown format {field.format}"
            assert field.offset == at, f"{name}.{field.name}: offset {field.offset}, expected {at}"
            at = field.offset + field.length + len(separator)
        self.length = at - len(separator)  # without the blank after the last field
        self.names = tuple(field.name for field in fields)
        assert len(set(self.names)) == len(fields), f"{name}: a name stands twice"
        self.secrets = tuple(field for field in fields if field.secret)
        gap = f"{len(separator)}s" if separator else ""
        self._struct = struct.Struct(gap.join(f"{field.length}s" for field in fields))
        assert self._struct.size == self.length - start

    def __str__(self) -> str:
        rows = [f"{self.name} ({self.encoding}, {self.length} bytes)"]
        rows += [
            f"{field.offset:>4}  {field.length:>3}  {field.format:<4} "
            f"{'o' if field.optional else 'm'}  {field.name:<24} {field.meaning}"
            for field in self.fields
        ]
        return "\n".join(rows)

    def split(self, line: bytes, file: str, number: int) -> list[str | None]:
        """The values of one line, in table order; blanks stripped, optional blank fields None."""
        if len(line) < self.length:
            line = self._filled(line, file, number)
        parts = self._struct.unpack_from(line, self.start)
        if self.separator:
            gaps = parts[1::2]
            if gaps.count(self.separator) != len(gaps):
                self._gap_error(parts, file, number)
            parts = parts[::2]
        return [
            self.value(field, raw, file, number)
            for field, raw in zip(self.fields, parts, strict=True)
        ]

    def join(self, values: dict[str, str | int | None]) -> bytes:
        """The line of `values`, with a separator after every field."""
        unknown = values.keys() - set(self.names)
        if unknown:
            raise ValueError(f"{self.name}: no field {sorted(unknown)}")
        return b"".join(
            self._render(field, values.get(field.name)) + self.separator for field in self.fields
        )

    def render(self, rows: Iterable[dict[str, str | int | None]], end: bytes = b"\n") -> bytes:
        """A file of such lines."""
        return b"".join(self.join(row) + end for row in rows)

    def _filled(self, line: bytes, file: str, number: int) -> bytes:
        # An editor or a transfer may have cut trailing blanks: only those may be missing.
        missing_from = next(f for f in self.fields if f.offset + f.length > len(line))
        after = [f for f in self.fields if f.offset >= missing_from.offset]
        text_cut = missing_from.offset < len(line) and missing_from.format not in (*TEXTS, "n..")
        if text_cut or not all(f.optional or f.format in TEXTS for f in after):
            raise FileError(
                file,
                number,
                len(line) + 1,
                "",
                said("file_line_ends", found=len(line), table=self.name, length=self.length),
            )
        return line.ljust(self.length)

    def _gap_error(self, parts: tuple[bytes, ...], file: str, number: int) -> None:
        for field, gap in zip(self.fields, parts[1::2], strict=False):
            if gap != self.separator:
                raise FileError(
                    file,
                    number,
                    field.offset + field.length + 1,
                    gap.decode(self.encoding, "replace"),
                    said("file_no_blank", field=field.name),
                )

    def value(self, field: Field, raw: bytes, file: str, number: int) -> str | None:
        """What one field's bytes say."""
        # bytes.isdigit knows ASCII digits alone
        stripped = raw.strip(b" ")
        if not stripped:
            if field.optional:
                return None
            raise self._refuse(field, raw, file, number, said("file_blank"))
        kind = field.format
        if kind in TEXTS:
            return self._text(field, raw, file, number)
        if kind == "n":
            if raw.isdigit():
                return raw.decode("ascii")
            reason = said("file_digits", count=field.length)
        elif kind == "n..":
            if stripped.isdigit() and raw.startswith(stripped):
                return stripped.decode("ascii")
            reason = said("file_padded")
        else:
            if raw[1:].isdigit() and (raw[:1] in SIGNS or (kind == "xn" and raw.isdigit())):
                return raw.decode("ascii")
            reason = said("file_signed", count=field.length - 1)
        raise self._refuse(field, raw, file, number, reason)

    def _text(self, field: Field, raw: bytes, file: str, number: int) -> str:
        stripped = raw.strip(b" ")
        try:
            return stripped.decode(self.encoding)
        except UnicodeDecodeError as error:
            half = error.reason == "incomplete multibyte sequence" and error.end == len(stripped)
            if field.format == "ans" and half and raw.endswith(stripped):
                return stripped[: error.start].decode(self.encoding).strip()
            reason = said("file_encoding", encoding=self.encoding)
            raise self._refuse(field, raw, file, number, reason) from error

    def _refuse(self, field: Field, raw: bytes, file: str, number: int, reason: Said) -> FileError:
        shown = "" if field.secret else raw.decode(self.encoding, "replace")
        return FileError(
            file,
            number,
            field.offset + 1,
            shown,
            said("file_field", field=field.name, reason=reason),
        )

    def _render(self, field: Field, value: str | int | None) -> bytes:
        if value is None:
            if not field.optional:
                raise ValueError(f"{self.name}.{field.name} is mandatory")
            return b" " * field.length
        if field.format in ("x+n", "xn"):
            number = int(value)
            sign = "C" if number > 0 else "D" if number < 0 else " "
            data = f"{sign}{abs(number):0{field.length - 1}d}".encode()
        elif field.format == "n":
            data = str(value).rjust(field.length, "0").encode()
        else:
            data = str(value).encode(self.encoding).ljust(field.length)
        if len(data) != field.length:
            raise ValueError(f"{self.name}.{field.name}: longer than {field.length} bytes")
        return data


def signed(value: str | None) -> int | None:
    """The amount of an `x+n` or `xn` field: C is plus, D is minus, a digit is one more digit.

    >>> signed("D00000000325"), signed("C00000000010"), signed(" 00000000000"), signed("10")
    (-325, 10, 0, 10)
    """
    if value is None:
        return None
    if value.isdigit():
        return int(value)
    return -int(value[1:]) if value[0] == "D" else int(value[1:])
