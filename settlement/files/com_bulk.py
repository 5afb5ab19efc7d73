"""A whole COM file at once, column by column, where all of its lines are of one length.

The same rows as `com.parse`, which is the reference and explains what is wrong: on anything that is
not plainly right this module takes nothing, and the file is read line by line.

PANs leave as token and mask within one batch of lines; nothing else of them is kept.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator
from datetime import date
from typing import Final

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from settlement.clearing import ClearingRow, FileName, infer_date
from settlement.columns import schema_of
from settlement.files import com
from settlement.files.layout import Field

LINES: Final = 65_536  # of a batch
_FIELDS: Final = {field.name: field for field in com.COM.fields}
_PAN: Final = _FIELDS["pan"]


class OddError(Exception):
    """Something is not plainly right; the line-by-line parser says what."""


class Reading(msgspec.Struct, frozen=True):
    """What a reading of a file takes besides its bytes; see `com.parse`."""

    token: Callable[[str], bytes]
    mask: Callable[[str], str]
    currency: str = "156"
    version: int = 1
    approved: Collection[str] = com.APPROVED


def parse(data: bytes, file: FileName, reading: Reading) -> Iterator[pa.RecordBatch]:
    """The rows of `com.parse` in columns. Raises OddError, or FileError and nothing is taken in."""
    if not data:
        return
    stride, end = _line(data)
    lines = pa.Array.from_buffers(
        pa.binary(stride), len(data) // stride, [None, pa.py_buffer(data)]
    )
    for first in range(0, len(lines), LINES):
        part = lines.slice(first, LINES)
        yield _batch(data, part, first, stride, end, file, reading)


def _line(data: bytes) -> tuple[int, int]:
    """Bytes from line to line, and of a line without its end. All are alike, or OddError."""
    stride = data.find(b"\n") + 1
    if stride == 0 or len(data) % stride or not data.isascii():
        raise OddError
    end = stride - (2 if data[stride - 2 : stride - 1] == b"\r" else 1)
    lines = len(data) // stride
    if not com.COM.length <= end <= com.MAX_LINE or lines > com.MAX_LINES:
        raise OddError
    if data.count(b"\n") != lines or data.count(b"\r") not in (0, lines):
        raise OddError
    return stride, end


def _batch(
    data: bytes,
    lines: pa.Array,
    first: int,
    stride: int,
    end: int,
    file: FileName,
    reading: Reading,
) -> pa.RecordBatch:
    _sure(_cut(lines, end, stride), data[end:stride].decode())
    for field in com.COM.fields[:-1]:
        _sure(_cut(lines, field.offset + field.length, field.offset + field.length + 1), " ")
    if end > com.COM.length:
        _sure(_cut(lines, com.COM.length, com.COM.length + 1), " ")
    values = {field.name: _value(lines, field) for field in com.COM.fields}
    _check(values, file.settlement_date, reading.approved)
    contents, tokens, masks = _pans(data, values["pan"], first, stride, file, reading)
    texts = {name: pc.fill_null(values[name], "") for name in values}
    amount = _amount(values["amount"])
    partial = pc.fill_null(_amount(values["partial_amount"]), 0)
    columns = {
        "acquirer": _same(file.acquirer, lines),
        "file": _same(file.name, lines),
        "version": pa.repeat(pa.scalar(reading.version, pa.int64()), len(lines)),
        "line": pa.array(range(first + 1, first + 1 + len(lines)), pa.int64()),
        "settlement_date": pa.repeat(pa.scalar(file.settlement_date, pa.date32()), len(lines)),
        "content": pa.array(contents, pa.string()),
        "de32": texts["acquirer_id"],
        "de33": texts["forwarder_id"],
        "pan_token": pa.array(tokens, pa.string()),
        "pan_masked": pa.array(masks, pa.string()),
        "amount_minor": pc.if_else(pc.equal(partial, 0), amount, partial),
        "currency": _same(reading.currency, lines),
        "fee_receivable_minor": _amount(values["fee_receivable"]),
        "fee_payable_minor": _amount(values["fee_payable"]),
        "switching_fee_minor": _signed(values["switching_fee"]),
    }
    schema = schema_of(ClearingRow)
    return pa.record_batch([columns.get(n, texts.get(n)) for n in schema.names], schema=schema)


def _same(text: str, lines: pa.Array) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), len(lines))


def _cut(lines: pa.Array, start: int, stop: int) -> pa.Array:
    return pc.binary_slice(lines, start, stop).cast(pa.binary()).cast(pa.string())


def _sure(found: pa.Array, expected: str) -> None:
    if not pc.all(pc.equal(found, expected)).as_py():
        raise OddError


def _value(lines: pa.Array, field: Field) -> pa.Array:
    """`Layout.split` of one column: texts without blanks, None where an optional field is blank."""
    raw = _cut(lines, field.offset, field.offset + field.length)
    value = pc.ascii_trim(raw, " ") if field.format == "an" else pc.ascii_rtrim(raw, " ")
    blank = pc.equal(value, "")
    if field.optional:
        value = pc.if_else(blank, pa.scalar(None, pa.string()), value)
    elif pc.any(blank).as_py():
        raise OddError
    if field.format == "an":
        return value
    digits = value
    if field.format == "n":
        _right(pc.equal(pc.binary_length(value), field.length))
    elif field.format == "x+n":
        _right(pc.equal(pc.binary_length(value), field.length))
        sign = pc.utf8_slice_codeunits(value, 0, 1)
        _right(pc.is_in(sign, pa.array(["C", "D", " "])), value)
        digits = pc.utf8_slice_codeunits(value, 1, field.length)
    _right(pc.ascii_is_decimal(digits), value)
    return value


def _right(holds: pa.Array, value: pa.Array | None = None) -> None:
    """Where there is a value it holds."""
    if value is not None:
        holds = pc.or_(holds, pc.is_null(value))
    if not pc.all(pc.fill_null(holds, fill_value=True)).as_py():
        raise OddError


def _check(values: dict[str, pa.Array], settlement_date: date, approved: Collection[str]) -> None:
    """What `com.parse_line` refuses, over the few different values that a file has."""
    moments = values["transmission_time"]
    for day in pc.unique(pc.utf8_slice_codeunits(moments, 0, 4)).to_pylist():
        if infer_date(day, settlement_date) is None:
            raise OddError
    for place, most in ((4, "23"), (6, "59"), (8, "59")):
        found = pc.unique(pc.utf8_slice_codeunits(moments, place, place + 2)).to_pylist()
        if max(found) > most:
            raise OddError
    if pc.min(pc.binary_length(values["pan"])).as_py() < com.PAN_DIGITS_MIN:
        raise OddError
    kinds = pc.unique(pc.utf8_slice_codeunits(values["mti"], 0, 2)).to_pylist()
    if not set(kinds) <= set(com.KINDS):
        raise OddError
    codes = set(pc.unique(values["response_code"]).to_pylist()) - {None, ""}
    if not codes <= set(approved):
        raise OddError


def _pans(
    data: bytes,
    pans: pa.Array,
    first: int,
    stride: int,
    file: FileName,
    reading: Reading,
) -> tuple[list[str], list[str], list[str]]:
    """Content, token and mask of every line."""
    head = file.settlement_date.isoformat().encode()
    before, after = _PAN.offset, _PAN.offset + _PAN.length
    contents, tokens, masks = [], [], []
    for at, pan in enumerate(pans.to_pylist(), first):
        token = reading.token(pan)
        start = at * stride
        text = (
            head
            + data[start : start + before]
            + token
            + data[start + after : start + com.COM.length].rstrip()
        )
        contents.append("\\x" + hashlib.sha256(text).hexdigest())
        tokens.append("\\x" + token.hex())
        masks.append(reading.mask(pan))
    return contents, tokens, masks


def _amount(value: pa.Array) -> pa.Array:
    return value.cast(pa.int64())


def _signed(value: pa.Array) -> pa.Array:
    """`layout.signed` of a column."""
    amount = pc.utf8_slice_codeunits(value, 1, 12).cast(pa.int64())
    return pc.if_else(
        pc.equal(pc.utf8_slice_codeunits(value, 0, 1), "D"), pc.negate(amount), amount
    )
