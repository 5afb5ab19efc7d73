"""Of DE 55 only what may be kept (rules §12): never 57 or 5A.

A terminal writes the same tags with the same lengths in the same order, transaction after
transaction, so which bytes are kept is remembered by where tags and lengths stand: a message whose
tag and length bytes are those of a known layout is cut without being parsed again.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from iso8583 import tlv
from iso8583.errors import DecodeError

# What reversal and clearing need (pos-messages §5.5).
CHIP_TAGS: Final = frozenset(
    {"9F26", "9F27", "9F10", "9F37", "9F36", "95", "9A", "9C", "9F02", "5F2A", "82", "9F1A", "9F03"}
    | {"9F33", "9F34", "9F35", "84", "9F09", "9F41", "9F1E", "9F63", "DF31", "8A"}
)
LAYOUTS_MAX: Final = 8  # of one length of DE 55
LENGTHS_MAX: Final = 256


class Layout(NamedTuple):
    """`mask` has ones where tags and lengths stand, `heads` is what stands there."""

    mask: int
    heads: int
    kept: tuple[slice, ...]


class ChipFilter:
    """One a process. What a message may add to it is bounded."""

    def __init__(self) -> None:
        self._layouts: dict[int, list[Layout]] = {}

    def kept(self, chip: bytes) -> bytes | None:
        """The elements that may be kept, as they were written; None where there are none.

        >>> ChipFilter().kept(bytes.fromhex("5A0441111111" "9F36020011")).hex()
        '9f36020011'
        """
        whole = int.from_bytes(chip, "big")
        for mask, heads, kept in self._layouts.get(len(chip), ()):
            if whole & mask == heads:
                if len(kept) == 1:  # as most terminals write it: nothing in between has to go
                    return chip[kept[0]]
                return b"".join([chip[each] for each in kept]) or None
        try:
            tags = tlv.parse(chip)
            self._learn(chip, whole, tags)
            return tlv.keep(chip, CHIP_TAGS) or None
        except DecodeError:  # it is no TLV
            return None

    def _learn(self, chip: bytes, whole: int, tags: list[tuple[str, bytes]]) -> None:
        """Remember a layout, if tags and lengths are written in their shortest form."""
        mask = bytearray(len(chip))
        kept: list[slice] = []
        at = 0
        for tag, value in tags:
            value_at = at + len(tag) // 2 + 1
            end = value_at + len(value)
            if len(value) > 0x7F or end > len(chip):
                return
            mask[at:value_at] = b"\xff" * (value_at - at)
            if tag in CHIP_TAGS:
                if kept and kept[-1].stop == at:
                    kept[-1] = slice(kept[-1].start, end)
                else:
                    kept.append(slice(at, end))
            at = end
        if at != len(chip):
            return
        if len(self._layouts) >= LENGTHS_MAX:
            self._layouts.clear()
        layouts = self._layouts.setdefault(len(chip), [])
        if len(layouts) >= LAYOUTS_MAX:
            layouts.clear()
        bits = int.from_bytes(mask, "big")
        layouts.append(Layout(bits, whole & bits, tuple(kept)))
