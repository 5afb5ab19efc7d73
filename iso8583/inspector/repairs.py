"""What if it were written otherwise? Changes to rows, bitmap and bytes under which a body decodes.

A mistake is a hypothesis: undo it, and the message decodes whole. This file holds the undoing;
`mistakes` names it. Every change gives bytes or rows, never a message of its own.
"""

from __future__ import annotations

from binascii import unhexlify
from typing import TYPE_CHECKING, Final

import msgspec

from iso8583.dialects.table import CARRIES, Element, Prefix
from iso8583.generic import GenericCodec, elements_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Changes = Mapping[str, str | int]

_HEX: Final = b"0123456789ABCDEFabcdef"
_KINDS: Final = ("bcd", "ascii", "bin")


def rows_instead(row: Element) -> Iterator[tuple[str, Element]]:
    """Ways in which a peer may write the element instead: (rule, row)."""
    for rule, changes in _changes(row):
        try:
            yield rule, msgspec.structs.replace(row, **changes)
        except ValueError:  # a contradiction: nobody writes it so
            continue


def _changes(row: Element) -> Iterator[tuple[str, Changes]]:
    side, digits = row.fillers
    prefix = row.length_prefix
    if row.encoding == "bcd":
        if side in ("left", "right"):
            other = "right" if side == "left" else "left"
            for filler in dict.fromkeys((digits, "0f")):
                yield "filler_side", {"padding": f"{other}_{filler}"}
        plain = {"encoding": "ascii", "padding": "none", "counts": "units"}
        yield "ascii_for_bcd", plain
        if prefix.kind != "fixed" and prefix.kind != "ascii":
            yield "ascii_for_bcd", {**plain, "prefix": _written(row, "ascii")}
        if prefix.kind != "fixed":
            counts: Changes = {
                "counts": "bytes",
                "padding": "none",
                "size": row.size + row.size % 2,
            }
            if row.counts == "units":
                yield "prefix_counts_bytes", counts
            else:
                yield "prefix_counts_digits", {"counts": "units", "padding": "right_0f"}
    elif row.encoding == "raw":
        yield "hex_for_binary", {"encoding": "hex"}
        if prefix.kind != "fixed":
            few = min(row.size, prefix.limit // 2)
            yield "hex_for_binary", {"encoding": "hex", "counts": "bytes", "size": few}
            yield "prefix_counts_digits", {"counts": "nibbles", "size": few}
    elif row.encoding == "hex":
        yield "binary_for_hex", {"encoding": "raw", "counts": "units"}
    else:
        yield from _changes_of_text(row, prefix)
    if prefix.kind != "fixed":
        for kind in _KINDS:
            if kind != prefix.kind:
                yield f"prefix_{kind}", {"prefix": _written(row, kind)}
        width = 2 if prefix.limit >= 999 else 3
        name = f"{'l' * width}_{prefix.kind}"
        yield "prefix_width", {"prefix": name, "size": min(row.size, 10**width - 1)}


def _changes_of_text(row: Element, prefix: Prefix) -> Iterator[tuple[str, Changes]]:
    content = row.content if row.content in CARRIES["bcd"] else "n"
    odd = prefix.kind != "fixed" or row.size % 2
    for padding in ("left_0", "right_0f") if odd else ("none",):
        changes: Changes = {
            "encoding": "bcd", "content": content, "padding": padding, "counts": "units"
        }  # fmt: skip
        yield "bcd_for_ascii", changes
        if prefix.kind == "ascii":
            yield "bcd_for_ascii", {**changes, "prefix": _written(row, "bcd")}
    if row.encoding != "cp500":
        yield "ebcdic_for_ascii", {"encoding": "cp500"}
        if prefix.kind == "ascii":
            yield "ebcdic_for_ascii", {"encoding": "cp500", "prefix": _written(row, "ebcdic")}


def _written(row: Element, kind: str) -> str:
    """The row's prefix written otherwise: `lll_bcd` as `lll_ascii`; one byte or two as `bin`."""
    letters = row.prefix.partition("_")[0]
    if kind == "bin":
        letters = "l" * ((len(letters) + 1) // 2)
    elif row.prefix.endswith("_bin"):
        letters = "ll" if len(letters) == 1 else "lll"
    return f"{letters}_{kind}"


def other_bitmap(codec: GenericCodec, body: bytes) -> bytes | None:
    """The body with its bitmaps in hex where they are binary, or binary where they are hex."""
    at = codec.mti_width
    if codec.bitmap_width == 8:
        width = (
            32 if body[at : at + 1] in tuple(b"%c" % digit for digit in b"89ABCDEFabcdef") else 16
        )
        digits = body[at : at + width]
        if len(digits) < width or digits.strip(_HEX):
            return None
        return body[:at] + unhexlify(digits) + body[at + width :]
    first = body[at : at + 1]
    width = 16 if first and first[0] & 0x80 else 8
    octets = body[at : at + width]
    if len(octets) < width:
        return None
    return body[:at] + octets.hex().upper().encode() + body[at + width :]


def other_mti(codec: GenericCodec, body: bytes) -> bytes | None:
    """The body with its MTI in characters where it is packed, or packed where it is characters."""
    if codec.mti_width == 2:
        digits = body[:4]
        return unhexlify(digits) + body[4:] if len(digits) == 4 and digits.isdigit() else None
    packed = body[:2].hex()
    return packed.encode() + body[2:] if len(packed) == 4 and packed.isdigit() else None


def announced(codec: GenericCodec, body: bytes, elements: list[int]) -> bytes:
    """The body with another bitmap, as the dialect writes it."""
    _, end = codec.bitmap(body)
    return body[: codec.mti_width] + codec.written_bitmap(sorted(elements)) + body[end:]


def elements_announced(codec: GenericCodec, body: bytes) -> list[int]:
    """The elements that the body's bitmap announces. Raises DecodeError where there is none."""
    return elements_of(codec.bitmap(body)[0])
