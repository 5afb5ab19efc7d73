"""What is wrong with the bytes or the value of an element, told after a reader or writer refused.

Costs nothing on the way of good messages; names element, byte and rule, never the content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iso8583.contents import CONTENT, text_reader
from iso8583.errors import DecodeError, EncodeError

if TYPE_CHECKING:
    from iso8583.dialects.table import Element, Prefix

_NIBBLES = {"n": "0123456789", "z": "0123456789d"}


def short(de: int, data: bytes, offset: int, width: int) -> DecodeError:
    """Fewer than `width` bytes are left."""
    return DecodeError(de, offset, f"needs {width} bytes, {max(len(data) - offset, 0)} left")


def prefix(row: Element, data: bytes, offset: int) -> DecodeError:
    """Why the bytes at `offset` are no length of the row."""
    kind = row.length_prefix
    octets = data[offset : offset + kind.width]
    if len(octets) < kind.width:
        return short(row.de, data, offset, kind.width)
    if kind.kind == "bin":
        count = int.from_bytes(octets, "big")
    else:
        digits = octets.hex() if kind.kind == "bcd" else octets.decode(_codec(kind))
        if not (digits.isascii() and digits.isdigit()):
            return DecodeError(row.de, offset, "length prefix is not digits")
        count = int(digits)
    most = row.counted(row.size)
    if count > most:
        return DecodeError(row.de, offset, f"length {count} over {most}")
    return DecodeError(row.de, offset, f"length {count} is odd, what it counts comes in pairs")


def bcd(
    row: Element, data: bytes, offset: int, width: int, count: int | None = None
) -> DecodeError:
    """Why `width` bytes are not the row's digits: too few, a wrong nibble, a wrong filler."""
    if offset + width > len(data):
        return short(row.de, data, offset, width)
    end = offset + width
    odd = (row.size if count is None else count) % 2 == 1
    nibbles = data[offset:end].hex()
    filler_at = (0 if row.fillers[0] == "left" else len(nibbles) - 1) if odd else -1
    allowed = _NIBBLES.get(row.content, "0123456789abcdef")
    for index, nibble in enumerate(nibbles):
        if index != filler_at and nibble not in allowed:
            return DecodeError(row.de, offset + index // 2, CONTENT[row.content][1], end)
    return DecodeError(row.de, offset + filler_at // 2, "wrong filler nibble", end)


def text(row: Element, data: bytes, offset: int, end: int) -> DecodeError:
    """Why the bytes are not the row's characters, at the first that is not."""
    if row.encoding == "hex":
        return DecodeError(row.de, offset, "not upper-case hex digits", end)
    if row.encoding == "bcd":
        digits = data[offset + 1 : end].hex()
        wrong = next((at for at, one in enumerate(digits) if not one.isdigit()), -2)
        at = offset if data[offset : offset + 1] not in {b"C", b"D"} else offset + 1 + wrong // 2
        return DecodeError(row.de, at, CONTENT[row.content][1], end)
    if row.encoding != "ascii":
        return _encoded_text(row, data, offset, end)
    is_content, reason = CONTENT[row.content]
    for index in range(offset, end):
        character = chr(data[index])
        if row.content == "xn":
            good = character in "CD" if index == offset else character in "0123456789"
        else:
            good = character.isascii() and is_content(character)
        if not good:
            return DecodeError(row.de, index, reason, end)
    return DecodeError(row.de, offset, reason, end)


def _encoded_text(row: Element, data: bytes, offset: int, end: int) -> DecodeError:
    """The longest beginning that reads ends before the fault; several bytes may be one character."""
    if row.encoding == "gbk":
        return DecodeError(row.de, offset, "not printable GBK text", end)
    reason = f"{CONTENT[row.content][1]} in {row.encoding}"
    read = text_reader(row)
    if row.content == "xn":
        return DecodeError(row.de, offset, reason, end)
    for index in range(offset, end):
        if read(data[offset : index + 1]) is None and read(data[index : index + 1]) is None:
            return DecodeError(row.de, index, reason, end)
    return DecodeError(row.de, offset, reason, end)


def _codec(kind: Prefix) -> str:
    return "cp500" if kind.kind == "ebcdic" else "latin-1"


# -- of values to be written -----------------------------------------------------------------


def value(row: Element, given: object) -> EncodeError:
    """A value of the wrong type, or else of the wrong length."""
    wanted = bytes if row.content == "b" else str
    if not isinstance(given, wanted):
        return EncodeError(row.de, f"wants {wanted.__name__}, not {type(given).__name__}")
    return length(row, len(given))


def length(row: Element, size: int) -> EncodeError:
    """A value of `size` units that the row does not take."""
    wanted = str(row.size) if row.prefix == "fixed" else f"at most {row.size}"
    if row.in_pairs and size % 2:
        wanted += ", an even count"
    return EncodeError(row.de, f"wants {wanted}, has {size}")
