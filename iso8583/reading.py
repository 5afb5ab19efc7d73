"""One reader for every row of a dialect's table: a closure over the row's columns.

The codec turns a whole body to hex digits and to latin-1 text once, so that a reader is mostly one
slice and one check. What was wrong is told after the fact, by `iso8583.faults`.

Traps held off here: `str.isdigit` accepts `²` and full-width digits (so every check is preceded by
`isascii`, or looks at hex digits); `bytes.fromhex` skips blanks (so `unhexlify`); a length prefix
can promise more than there is (slices just come out short, so lengths are compared).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from iso8583 import faults
from iso8583.contents import ascii_content, bcd_content, bytes_content
from iso8583.errors import DecodeError
from iso8583.message import Message

if TYPE_CHECKING:
    from iso8583.dialects.table import Element, Prefix

# (data, its hex digits, its latin-1 text, offset, message) -> offset after the element
Reader = Callable[[bytes, str, str, int, Message], int]


def build_reader(row: Element) -> Reader:
    """The function that takes one element off a body, for one row of a table."""
    if row.encoding == "bcd" and row.content != "xn":
        if row.prefix != "fixed":
            return _variable_bcd(row)
        return _fixed_bcd_odd(row) if row.size % 2 else _fixed_bcd_even(row)
    return _fixed_bytes(row) if row.prefix == "fixed" else _variable_bytes(row)


def absent(de: int) -> Reader:
    """The reader of an element that the dialect does not have: refuses."""

    def read(_data: bytes, _hexed: str, _text: str, offset: int, _message: Message) -> int:
        raise DecodeError(de, offset, "not in the dialect")

    return read


def _fixed_bcd_even(row: Element) -> Reader:
    de, size, width = row.de, row.size, row.size // 2
    to_value = bcd_content(row)

    def read_digits(data: bytes, hexed: str, _text: str, offset: int, message: Message) -> int:
        end = offset + width
        value = hexed[2 * offset : 2 * end]
        if len(value) != size or not value.isdigit():
            raise faults.bcd(row, data, offset, width)
        message[de] = value
        return end

    def read_nibbles(data: bytes, hexed: str, _text: str, offset: int, message: Message) -> int:
        end = offset + width
        value = to_value(hexed[2 * offset : 2 * end])
        if value is None or len(value) != size:
            raise faults.bcd(row, data, offset, width)
        message[de] = value
        return end

    return read_digits if row.content == "n" else read_nibbles


def _fixed_bcd_odd(row: Element) -> Reader:
    de, size, width = row.de, row.size, (row.size + 1) // 2
    side, accepted = row.fillers
    left = side == "left"
    to_value = bcd_content(row)

    def read(data: bytes, hexed: str, _text: str, offset: int, message: Message) -> int:
        end = offset + width
        nibbles = hexed[2 * offset : 2 * end]
        if len(nibbles) <= size:
            raise faults.bcd(row, data, offset, width)
        digits = nibbles[1:] if left else nibbles[:-1]
        value = digits if digits.isdigit() else to_value(digits)
        if value is None or nibbles[0 if left else -1] not in accepted:
            raise faults.bcd(row, data, offset, width)
        message[de] = value
        return end

    return read


def _variable_bcd(row: Element) -> Reader:
    de = row.de
    packed, prefix_width, counts = _prefix(row)
    side, accepted = row.fillers
    left = side == "left"
    to_value = bcd_content(row)

    def read(data: bytes, hexed: str, text: str, offset: int, message: Message) -> int:
        start = offset + prefix_width
        count = counts.get(hexed[2 * offset : 2 * start] if packed else text[offset:start])
        if count is None:
            raise faults.prefix(row, data, offset)
        width = (count + 1) >> 1
        end = start + width
        if end > len(data):
            raise faults.short(de, data, start, width)
        if count & 1 == 0:
            nibbles = hexed[2 * start : 2 * end]
        elif left:
            nibbles = hexed[2 * start + 1 : 2 * end]
            if hexed[2 * start] not in accepted:
                raise faults.bcd(row, data, start, width, count)
        else:
            nibbles = hexed[2 * start : 2 * end - 1]
            if hexed[2 * end - 1] not in accepted:
                raise faults.bcd(row, data, start, width, count)
        value = nibbles if nibbles.isdigit() else to_value(nibbles)
        if value is None:
            raise faults.bcd(row, data, start, width, count)
        message[de] = value
        return end

    return read


def _fixed_bytes(row: Element) -> Reader:
    de = row.de
    width = {"hex": row.size * 2, "bcd": (row.size + 1) // 2}.get(row.encoding, row.size)
    to_value = bytes_content(row)
    is_content = ascii_content(row)

    def read_raw(data: bytes, _hexed: str, _text: str, offset: int, message: Message) -> int:
        end = offset + width
        value = data[offset:end]
        if len(value) != width:
            raise faults.short(de, data, offset, width)
        message[de] = value
        return end

    def read_text(data: bytes, _hexed: str, text: str, offset: int, message: Message) -> int:
        end = offset + width
        value = text[offset:end]
        if len(value) != width:
            raise faults.short(de, data, offset, width)
        if not (value.isascii() and is_content(value)):
            raise faults.text(row, data, offset, end)
        message[de] = value
        return end

    def read_other(data: bytes, _hexed: str, _text: str, offset: int, message: Message) -> int:
        end = offset + width
        if end > len(data):
            raise faults.short(de, data, offset, width)
        value = to_value(data[offset:end])
        if value is None:
            raise faults.text(row, data, offset, end)
        message[de] = value
        return end

    return {"raw": read_raw, "ascii": read_text}.get(row.encoding, read_other)


def _variable_bytes(row: Element) -> Reader:
    de = row.de
    scale = 2 if row.encoding == "hex" else 1
    packed, prefix_width, counts = _prefix(row)
    to_value = bytes_content(row)
    is_content = ascii_content(row)

    def read_raw(data: bytes, hexed: str, text: str, offset: int, message: Message) -> int:
        start = offset + prefix_width
        count = counts.get(hexed[2 * offset : 2 * start] if packed else text[offset:start])
        if count is None:
            raise faults.prefix(row, data, offset)
        end = start + count
        value = data[start:end]
        if len(value) != count:
            raise faults.short(de, data, start, count)
        message[de] = value
        return end

    def read_text(data: bytes, hexed: str, text: str, offset: int, message: Message) -> int:
        start = offset + prefix_width
        count = counts.get(hexed[2 * offset : 2 * start] if packed else text[offset:start])
        if count is None:
            raise faults.prefix(row, data, offset)
        end = start + count
        value = text[start:end]
        if len(value) != count:
            raise faults.short(de, data, start, count)
        if not (value.isascii() and (is_content(value) or not value)):
            raise faults.text(row, data, start, end)
        message[de] = value
        return end

    def read_other(data: bytes, hexed: str, text: str, offset: int, message: Message) -> int:
        start = offset + prefix_width
        count = counts.get(hexed[2 * offset : 2 * start] if packed else text[offset:start])
        if count is None:
            raise faults.prefix(row, data, offset)
        end = start + count * scale
        if end > len(data):
            raise faults.short(de, data, start, count * scale)
        value = to_value(data[start:end])
        if value is None:
            raise faults.text(row, data, start, end)
        message[de] = value
        return end

    return {"raw": read_raw, "ascii": read_text}.get(row.encoding, read_other)


def _prefix(row: Element) -> tuple[bool, int, dict[str, int]]:
    """Whether the prefix is looked up by hex digits, its width in bytes, its counts by writing."""
    prefix = row.length_prefix
    return prefix.packed, prefix.width, prefix_counts(row)


def prefix_counts(row: Element) -> dict[str, int]:
    """Every legal prefix, as hex digits where it is packed and latin-1 text elsewhere -> units."""
    return _prefix_counts(row.length_prefix, row.size, row.in_pairs, row.counted(2))


@cache  # bounded by the rows of dialects; rows that are counted alike share
def _prefix_counts(prefix: Prefix, size: int, in_pairs: bool, of_two: int) -> dict[str, int]:  # noqa: FBT001
    counts = {}
    for units in range(0, size + 1, 2 if in_pairs else 1):
        octets = write_prefix(prefix, units * of_two // 2)
        counts[octets.hex() if prefix.packed else octets.decode("latin-1")] = units
    return counts


def write_prefix(prefix: Prefix, counted: int) -> bytes:
    """The bytes that say a count.

    >>> from iso8583.dialects.table import Prefix
    >>> write_prefix(Prefix.of("lll_bcd"), 19).hex(), write_prefix(Prefix.of("ll_ebcdic"), 7).hex()
    ('0019', 'f0f7')
    """
    if prefix.kind == "bin":
        return counted.to_bytes(prefix.width, "big")
    text = f"{counted:0{prefix.digits}d}"
    if prefix.kind == "bcd":
        return bytes.fromhex(text)
    return text.encode("cp500" if prefix.kind == "ebcdic" else "ascii")
