"""BER-TLV as DE 55 and DE 62 carry it.

Tag 1 to 4 bytes, length one byte, `81 LL` or `82 LL LL`, value; NUL bytes between elements are
filler. Constructed tags (71, 72) are given whole. Source: EMV Book 3 annex B; ISO/IEC 7816-4 §5.2.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iso8583.errors import DecodeError, EncodeError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

TAG_BYTES_MAX: Final = 4
TAGS_MAX: Final = 255

# What online answers, reversals and clearing need of DE 55 (pos-messages §5.5); never 57, 5A, 5F20.
KEPT_TAGS: Final = frozenset(
    {"9F26", "9F27", "9F10", "9F37", "9F36", "95", "9A", "9C", "9F02", "5F2A", "82", "9F1A", "9F03"}
    | {"9F33", "9F34", "9F35", "84", "9F09", "9F41", "9F1E", "9F63", "9F74", "5F34", "DF31", "8A"}
    | {"91", "71", "72"}
)


def parse(data: bytes, de: int | None = 55) -> list[tuple[str, bytes]]:
    """Tags (upper-case hex) with their values, in order; a tag may come twice.

    Raises DecodeError (element `de`, offset in `data`) where a tag or length is cut or too long, a
    value shorter than its length, or there are more than 255 tags.

    >>> parse(bytes.fromhex("9A030206189F3400"))
    [('9A', b'\\x02\\x06\\x18'), ('9F34', b'')]
    """
    found, error = parse_partial(data, de)
    if error is not None:
        raise error
    return found


def parse_partial(
    data: bytes, de: int | None = 55
) -> tuple[list[tuple[str, bytes]], DecodeError | None]:
    """The tags before the first error, and the error, None when there is none."""
    found: list[tuple[str, bytes]] = []
    try:
        for start, value_at, end in _spans(data, de):
            found.append((_tag(data, start), data[value_at:end]))
    except DecodeError as error:
        return found, error
    return found, None


def build(tags: Iterable[tuple[str, bytes]], de: int | None = 55) -> bytes:
    """The bytes of tags with values, lengths in their shortest form.

    Raises EncodeError on a tag that is not one, a value over 65,535 bytes or too many tags.

    >>> build([("9F36", b"\\x00\\x11")]).hex()
    '9f36020011'
    """
    parts: list[bytes] = []
    for tag, value in tags:
        try:
            head = bytes.fromhex(tag)
        except ValueError:
            raise EncodeError(de, "a tag is hex digits") from None
        if head.hex().upper() != tag or head == b"" or head[0] == 0 or tag_width(head) != len(head):
            raise EncodeError(de, "not one whole tag in upper-case hex")
        size = len(value)
        if size > 0xFFFF:
            raise EncodeError(de, f"value of {size} bytes")
        if size < 0x80:
            length = bytes([size])
        else:
            length = b"\x81" + bytes([size]) if size < 0x100 else b"\x82" + size.to_bytes(2, "big")
        parts.append(head + length + value)
    if len(parts) > TAGS_MAX:
        raise EncodeError(de, f"more than {TAGS_MAX} tags")
    return b"".join(parts)


def keep(data: bytes, tags: Collection[str] = KEPT_TAGS, de: int | None = 55) -> bytes:
    """Only the given tags, each as it was written, in order. Raises DecodeError as `parse` does.

    >>> keep(bytes.fromhex("5A0441111111" "9F36020011"), {"9F36"}).hex()
    '9f36020011'
    """
    return b"".join(
        data[start:end] for start, _, end in _spans(data, de) if _tag(data, start) in tags
    )


def tag_width(data: bytes, start: int = 0) -> int:
    """Bytes of the tag at `start`; 0 when it is cut or over four bytes."""
    if start >= len(data):
        return 0
    if data[start] & 0x1F != 0x1F:
        return 1
    for width in range(2, TAG_BYTES_MAX + 1):
        if start + width > len(data):
            return 0
        if not data[start + width - 1] & 0x80:
            return width
    return 0


def _spans(data: bytes, de: int | None) -> Iterable[tuple[int, int, int]]:
    """(tag, value, end) offsets of every element; raises DecodeError at the first bad one."""
    at, size, count = 0, len(data), 0
    while at < size:
        if data[at] == 0:
            at += 1
            continue
        width = tag_width(data, at)
        if width == 0:
            raise DecodeError(de, at, f"tag cut or over {TAG_BYTES_MAX} bytes")
        value_at, length = _length(data, at + width, de)
        if value_at + length > size:
            raise DecodeError(de, value_at, f"value of {length} bytes, {size - value_at} left")
        count += 1
        if count > TAGS_MAX:
            raise DecodeError(de, at, f"more than {TAGS_MAX} tags")
        yield at, value_at, value_at + length
        at = value_at + length


def _length(data: bytes, at: int, de: int | None) -> tuple[int, int]:
    """(offset of the value, its length) for the length at `at`."""
    if at >= len(data):
        raise DecodeError(de, at, "tag without length")
    first = data[at]
    if first < 0x80:
        return at + 1, first
    width = first & 0x7F
    if width not in (1, 2):
        raise DecodeError(de, at, "length is not one byte, 81 or 82")
    if at + 1 + width > len(data):
        raise DecodeError(de, at, "length cut")
    return at + 1 + width, int.from_bytes(data[at + 1 : at + 1 + width], "big")


def _tag(data: bytes, start: int) -> str:
    return data[start : start + tag_width(data, start)].hex().upper()
