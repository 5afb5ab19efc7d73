"""A whole fixed-width file at once, column by column, where all of its lines are of one length.

`Lines` says of some ten thousand lines what `lines.Line` says of one, by the same names, so a format
is described once and read either way. Line by line is the reference, which explains what is wrong: on
anything that is not plainly right nothing is taken here, and the file is read line by line.

PANs leave as token and mask within one batch of lines; nothing else of them is kept.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from settlement.clearing import PAIRED_MTI, ClearingRow, FileName, infer_date
from settlement.columns import schema_of
from settlement.files.layout import Field, FileError, Layout
from settlement.files.lines import MAX_LINE, MAX_LINES, PAN_DIGITS_MIN, RefusedError, Values
from settlement.files.rows import Context, FileRow

LINES: Final = 65_536  # of a batch
SIGNED: Final = ("x+n", "xn")
_SCHEMA: Final = schema_of(ClearingRow)
NONE: Final = pa.record_batch([pa.nulls(0, one.type) for one in _SCHEMA], schema=_SCHEMA)

Fields = Callable[[Values, Context], dict[str, Any]]


class OddError(Exception):
    """Something is not plainly right; the line-by-line parser says what."""


class Batch(NamedTuple):
    """Some lines of a file: transactions as `ClearingRow` in columns, and other rows."""

    transactions: pa.RecordBatch
    rows: Sequence[FileRow] = ()


AtOnce = Callable[[bytes, FileName, Context], Iterator[Batch]]


def transactions(layout: Layout, fields: Fields, *, tail: bool = False) -> AtOnce:
    """A format whose every line is a transaction."""

    def read(data: bytes, file: FileName, context: Context) -> Iterator[Batch]:
        for lines in batches(data, layout, file, tail=tail):
            yield Batch(transactions_of(fields(lines, context), len(lines)))

    return read


def other_rows(layout: Layout, shape: type[FileRow], fields: Fields) -> AtOnce:
    """A format whose every line is a row of one kind."""

    def read(data: bytes, file: FileName, context: Context) -> Iterator[Batch]:
        for lines in batches(data, layout, file):
            yield Batch(NONE, rows_of(shape, fields(lines, context), len(lines)))

    return read


def batches(
    data: bytes, layout: Layout, file: FileName, *, tail: bool = False
) -> Iterator["Lines"]:
    """The lines of a file, some ten thousand at a time. Raises OddError at any of them."""
    if not data:
        return
    stride, end = _line(data, layout, tail=tail)
    whole = pa.Array.from_buffers(
        pa.binary(stride), len(data) // stride, [None, pa.py_buffer(data)]
    )
    for first in range(0, len(whole), LINES):
        lines = Lines(layout, data, whole.slice(first, LINES), first, file)
        if end > layout.length and not tail:
            lines.sure_blank(layout.length, end)
        yield lines


def _line(data: bytes, layout: Layout, *, tail: bool) -> tuple[int, int]:
    """Bytes from line to line, and of a line without its end. All are alike, or OddError."""
    stride = data.find(b"\n") + 1
    if stride == 0 or len(data) % stride:
        raise OddError
    end = stride - (2 if data[stride - 2 : stride - 1] == b"\r" else 1)
    count = len(data) // stride
    if not layout.length <= end <= MAX_LINE or count > MAX_LINES:
        raise OddError
    if data.count(b"\n") != count or data.count(b"\r") not in (0, count):
        raise OddError
    _same(data, end, stride, data[end:stride])
    for field in layout.fields[: None if tail and end > layout.length else -1]:
        _same(data, field.offset + field.length, stride, layout.separator)
    return stride, end


def _same(data: bytes, start: int, stride: int, expected: bytes) -> None:
    """The same bytes at one place of every line."""
    count = len(data) // stride
    for at, byte in enumerate(expected, start):
        if data[at::stride] != bytes([byte]) * count:
            raise OddError


class Lines(Values):
    """A batch of lines, by column."""

    def __init__(
        self, layout: Layout, data: bytes, lines: pa.Array, first: int, file: FileName
    ) -> None:
        self.layout, self.file = layout, file
        self._data, self._lines, self._first = data, lines, first
        self._stride = lines.type.byte_width
        self._fields = {field.name: field for field in layout.fields}
        self._values = {field.name: self._value(field) for field in layout.fields}
        self._tokens: dict[str, list[bytes]] = {}  # of secret fields; made once

    def __len__(self) -> int:
        return len(self._lines)

    def sure_blank(self, start: int, end: int) -> None:
        if not pc.all(pc.equal(self._cut(start, end), b" " * (end - start))).as_py():
            raise OddError

    def _cut(self, start: int, end: int) -> pa.Array:
        return pc.binary_slice(self._lines, start, end).cast(pa.binary())

    def _value(self, field: Field) -> pa.Array:
        """`Layout.value` of one column: texts without blanks, None where an optional one is blank."""
        raw = self._cut(field.offset, field.offset + field.length)
        blanks = b" " * field.length
        if field.optional and raw[0].as_py() == blanks and pc.all(pc.equal(raw, blanks)).as_py():
            return pa.nulls(len(raw), pa.string())
        try:
            found = raw.cast(pa.string())
        except pa.ArrowInvalid:  # not UTF-8, so not ASCII
            return self._decoded(field, raw)
        if not pc.all(pc.string_is_ascii(found)).as_py():
            return self._decoded(field, raw)
        return _checked(field, found)

    def _decoded(self, field: Field, raw: pa.Array) -> pa.Array:
        """Each different text by the reference: there are few names of merchants."""
        coded = raw.dictionary_encode()
        try:
            values = [
                self.layout.value(field, one, self.file.name, self._first + 1)
                for one in coded.dictionary.to_pylist()
            ]
        except FileError as error:
            raise OddError from error
        return pa.array(values, pa.string()).take(coded.indices)

    def text(self, name: str) -> pa.Array:
        return pc.fill_null(self._values[name], "")

    def amount(self, name: str) -> pa.Array:
        value = self._values[name]
        if self._fields[name].format not in SIGNED:
            return value.cast(pa.int64())
        sign = pc.utf8_slice_codeunits(value, 0, 1)
        signless = pc.utf8_slice_codeunits(value, 1, self._fields[name].length)
        digits = pc.if_else(pc.ascii_is_decimal(sign), value, signless).cast(pa.int64())
        return pc.if_else(pc.equal(sign, "D"), pc.negate(digits), digits)

    def minor(self, name: str) -> pa.Array:
        return pc.fill_null(self.amount(name), 0)

    def plus(self, name: str) -> pa.Array:
        amount = self.amount(name)
        return pc.if_else(pc.greater(amount, 0), amount, pc.multiply(amount, 0))

    def minus(self, name: str) -> pa.Array:
        amount = self.amount(name)
        return pc.if_else(pc.less(amount, 0), pc.negate(amount), pc.multiply(amount, 0))

    def either(self, name: str, other: str) -> pa.Array:
        first = self.minor(name)
        return pc.if_else(pc.equal(first, 0), self.minor(other), first)

    def effect(self, amount_minor: pa.Array) -> pa.Array:
        code = pc.utf8_slice_codeunits(self.text("processing_code"), 0, 2)
        reversal = pc.equal(pc.utf8_slice_codeunits(self.text("mti"), 0, 2), PAIRED_MTI)
        takes_back = pc.xor(pc.equal(code, "20"), reversal)
        return pc.if_else(takes_back, pc.negate(amount_minor), amount_minor)

    def mapped(self, name: str, function: Callable[[str], Any]) -> pa.Array:
        coded = self.text(name).dictionary_encode()
        try:
            values = [function(one) for one in coded.dictionary.to_pylist()]
        except RefusedError as refused:
            raise OddError from refused
        return pa.array(values).take(coded.indices)

    def joined(self, name: str, other: str) -> list[str]:
        pairs = zip(self.text(name).to_pylist(), self.text(other).to_pylist(), strict=True)
        return [one or another for one, another in pairs]

    def moment(self, name: str, *, required: bool = False) -> pa.Array:
        value = self.text(name)
        nothing = pc.equal(pc.utf8_ltrim(value, "0"), "")
        moments = value if required else value.filter(pc.invert(nothing))
        for day in pc.unique(pc.utf8_slice_codeunits(moments, 0, 4)).to_pylist():
            if infer_date(day, self.file.settlement_date) is None:
                raise OddError
        for place, most in ((4, "23"), (6, "59"), (8, "59")):
            found = pc.unique(pc.utf8_slice_codeunits(moments, place, place + 2)).to_pylist()
            if max(found, default="") > most:
                raise OddError
        return value if required else pc.if_else(nothing, "", value)

    def pan(self, context: Context, name: str = "pan") -> tuple[list[bytes], list[str]]:
        values = self._values[name]  # None where the field is blank
        _right(pc.greater_equal(pc.binary_length(values), PAN_DIGITS_MIN))
        masks = [context.mask(value) if value else "" for value in values.to_pylist()]
        return self._tokens_of(context, name), masks

    def _tokens_of(self, context: Context, name: str) -> list[bytes]:
        if name not in self._tokens:
            values = self._values[name].to_pylist()
            self._tokens[name] = [context.token(value) if value else b"" for value in values]
        return self._tokens[name]

    def content(self, context: Context, *layouts: Layout) -> list[bytes]:
        found = [self._content(context, one) for one in layouts or (self.layout,)]
        if len(found) == 1:
            return found[0]
        return [hashlib.sha256(b"".join(parts)).digest() for parts in zip(*found, strict=True)]

    def _content(self, context: Context, layout: Layout) -> list[bytes]:
        head = self.file.settlement_date.isoformat().encode()
        secrets = [(field, self._tokens_of(context, field.name)) for field in layout.secrets]
        contents = []
        for number in range(len(self)):
            start = (self._first + number) * self._stride
            text, at = head, layout.start
            for field, tokens in secrets:
                text += self._data[start + at : start + field.offset] + tokens[number]
                at = field.offset + field.length
            text += self._data[start + at : start + layout.length].rstrip()
            contents.append(hashlib.sha256(text).digest())
        return contents

    def together(self, *values: Any) -> list[Any]:
        return list(zip(*(_each(one, len(self)) for one in values), strict=True))

    def place(self, context: Context) -> dict[str, Any]:
        return {
            "acquirer": self.file.acquirer,
            "file": self.file.name,
            "version": context.version,
            "line": pa.array(range(self._first + 1, self._first + 1 + len(self)), pa.int64()),
            "settlement_date": self.file.settlement_date,
        }


def _checked(field: Field, raw: pa.Array) -> pa.Array:
    """`Layout.value` of ASCII."""
    texts = field.format in ("an", "ans")
    value = pc.ascii_trim(raw, " ") if texts else pc.ascii_rtrim(raw, " ")
    blank = pc.equal(value, "")
    if field.optional:
        value = pc.if_else(blank, pa.scalar(None, pa.string()), value)
    elif pc.any(blank).as_py():
        raise OddError
    if texts:
        return value
    digits = value
    if field.format != "n..":
        _right(pc.equal(pc.binary_length(value), field.length))
    if field.format in SIGNED:
        signs = ["C", "D", " "] + (list("0123456789") if field.format == "xn" else [])
        sign = pc.utf8_slice_codeunits(value, 0, 1)
        _right(pc.is_in(sign, pa.array(signs)), value)
        digits = pc.utf8_slice_codeunits(value, 1, field.length)
    _right(pc.ascii_is_decimal(digits), value)
    return value


def _right(holds: pa.Array, value: pa.Array | None = None) -> None:
    """Where there is a value it holds."""
    if value is not None:
        holds = pc.or_(holds, pc.is_null(value))
    if not pc.all(pc.fill_null(holds, fill_value=True)).as_py():
        raise OddError


# -- columns to rows ------------------------------------------------------------------------------


def transactions_of(columns: dict[str, Any], count: int) -> pa.RecordBatch:
    arrays = [_array(columns[field.name], field.type, count) for field in _SCHEMA]
    return pa.record_batch(arrays, schema=_SCHEMA)


def _array(column: Any, kind: pa.DataType, count: int) -> pa.Array:
    if isinstance(column, pa.Array):
        return column.cast(kind)
    if isinstance(column, list):
        texts = ("\\x" + one.hex() if isinstance(one, bytes) else one for one in column)
        return pa.array(list(texts), kind)
    return pa.repeat(pa.scalar(column, kind), count)


def rows_of(shape: type[FileRow], columns: dict[str, Any], count: int) -> list[FileRow]:
    """The rows as objects, as the store takes them."""
    names = list(columns)
    each = [_each(column, count) for column in columns.values()]
    return [shape(**dict(zip(names, values, strict=True))) for values in zip(*each, strict=True)]


def _each(column: Any, count: int) -> Sequence[Any]:
    if isinstance(column, pa.Array):
        return list(column.to_pylist())
    return column if isinstance(column, list) else list(repeat(column, count))
