"""One writer for every row of a dialect's table: a closure over the row's columns.

What a writer accepts is exactly what the reader gives back: anything that would not decode to the
same value is refused.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from iso8583 import faults
from iso8583.contents import CONTENT, ascii_content, text_reader
from iso8583.errors import EncodeError
from iso8583.reading import write_prefix

if TYPE_CHECKING:
    from iso8583.dialects.table import Element, Prefix

Writer = Callable[[str | bytes], bytes]


def build_writer(row: Element) -> Writer:
    """The function that writes one value, prefix included, for one row of a table."""
    if row.encoding == "bcd":
        if row.content == "xn":
            return _write_signed(row)
        if row.prefix == "fixed" and row.size % 2 == 0 and row.content == "n":
            return _write_digits(row)
        return _write_bcd(row)
    if row.encoding == "ascii":
        return _write_ascii(row)
    if row.encoding in {"raw", "hex"}:
        return _write_octets(row)
    return _write_encoded(row)


def _write_digits(row: Element) -> Writer:
    de, size = row.de, row.size

    def write(value: str | bytes) -> bytes:
        if not isinstance(value, str) or len(value) != size:
            raise faults.value(row, value)
        if not (value.isascii() and value.isdigit()):
            raise EncodeError(de, "not a digit")
        return unhexlify(value)

    return write


def _write_signed(row: Element) -> Writer:
    de, size = row.de, row.size
    is_content, reason = CONTENT[row.content]

    def write(value: str | bytes) -> bytes:
        if not isinstance(value, str) or len(value) != size:
            raise faults.value(row, value)
        if not (value.isascii() and is_content(value)):
            raise EncodeError(de, reason)
        return value[:1].encode() + unhexlify(value[1:])

    return write


def _write_bcd(row: Element) -> Writer:
    de, size, fixed = row.de, row.size, row.prefix == "fixed"
    is_content, reason = CONTENT[row.content]
    side, fillers = row.fillers
    filler, left = fillers[:1].upper(), side == "left"
    in_pairs = row.in_pairs
    prefixes = written_prefixes(row)

    def write(value: str | bytes) -> bytes:
        if not isinstance(value, str) or (len(value) != size if fixed else len(value) > size):
            raise faults.value(row, value)
        if not (value.isascii() and is_content(value)):
            raise EncodeError(de, reason)
        count = len(value)
        nibbles = value.replace("=", "D")
        if count & 1:
            if in_pairs:
                raise faults.length(row, count)
            nibbles = filler + nibbles if left else nibbles + filler
        return prefixes[count] + unhexlify(nibbles)

    return write


def _write_ascii(row: Element) -> Writer:
    de, size = row.de, row.size
    is_content, reason = ascii_content(row), CONTENT[row.content][1]
    prefixes = written_prefixes(row)

    def write_fixed(value: str | bytes) -> bytes:
        if not isinstance(value, str) or len(value) != size:
            raise faults.value(row, value)
        if not (value.isascii() and is_content(value)):
            raise EncodeError(de, reason)
        return value.encode()

    def write_variable(value: str | bytes) -> bytes:
        if not isinstance(value, str) or len(value) > size:
            raise faults.value(row, value)
        if not (value.isascii() and (is_content(value) or not value)):
            raise EncodeError(de, reason)
        return prefixes[len(value)] + value.encode()

    return write_fixed if row.prefix == "fixed" else write_variable


def _write_encoded(row: Element) -> Writer:
    de, size, fixed = row.de, row.size, row.prefix == "fixed"
    encoding, read = row.encoding, text_reader(row)
    name = "GBK" if encoding == "gbk" else encoding
    prefixes = written_prefixes(row)

    def write(value: str | bytes) -> bytes:
        if not isinstance(value, str):
            raise faults.value(row, value)
        try:
            octets = value.encode(encoding)
        except UnicodeError:
            raise EncodeError(de, f"not {name} text") from None
        if len(octets) != size if fixed else len(octets) > size:
            raise faults.length(row, len(octets))
        if read(octets) != value:
            reason = (
                f"not printable {name} text" if row.content == "ans" else CONTENT[row.content][1]
            )
            raise EncodeError(de, reason)
        return prefixes[len(octets)] + octets

    return write


def _write_octets(row: Element) -> Writer:
    size, fixed, hexed = row.size, row.prefix == "fixed", row.encoding == "hex"
    prefixes = written_prefixes(row)

    def write(value: str | bytes) -> bytes:
        if not isinstance(value, bytes) or (len(value) != size if fixed else len(value) > size):
            raise faults.value(row, value)
        return prefixes[len(value)] + (value.hex().upper().encode() if hexed else value)

    return write


def written_prefixes(row: Element) -> list[bytes]:
    """The written length prefix by units; empty ones where the element is fixed."""
    return _written_prefixes(row.length_prefix, row.size, row.counted(2))


@cache  # bounded by the rows of dialects; rows that are counted alike share
def _written_prefixes(prefix: Prefix, size: int, of_two: int) -> list[bytes]:
    if prefix.kind == "fixed":
        return [b""] * (size + 1)
    # an odd count that only pairs have is never written, but has its place in the list
    return [write_prefix(prefix, units * of_two // 2) for units in range(size + 1)]
