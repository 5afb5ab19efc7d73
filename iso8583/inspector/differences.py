"""Two messages beside each other, element by element; DE 55 by its tags, DE 60 by its subfields.

Values are compared in clear and shown as the inspections show them: two PANs with one mask still
differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from iso8583 import elements, emv_tags, tlv
from iso8583.inspector.meanings import CHIP_DATA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iso8583.inspect import Inspection

Change = Literal["added", "removed", "changed"]

# DE 60 of UnionPay-style terminals: end of each subfield (`reference/pos-messages.md` §4)
_ENDS_60: Final = (2, 8, 11, 12, 13, 14, 17)


class Difference(msgspec.Struct, frozen=True):
    """One element, or with `part` one tag or subfield of it; null where a message lacks it."""

    element: int
    part: str | None
    name: str
    change: Change
    a: str | None
    b: str | None


def differences(a: Inspection, b: Inspection, lang: str = "en") -> list[Difference]:
    """What the second message has otherwise than the first, in the order of elements."""
    found: list[Difference] = []
    for de in sorted({*a.message, *b.message}):
        if a.message.get(de) == b.message.get(de):
            continue
        shown = _shown(a, de), _shown(b, de)
        name = elements.name(de, lang)
        of_parts = _of_parts(de, a, b, lang)
        if of_parts:
            found += of_parts
        else:
            found.append(Difference(de, None, name, _change(*shown), *shown))
    return found


def _shown(inspection: Inspection, de: int) -> str | None:
    if de not in inspection.message:
        return None
    return inspection.mti if de == 0 else inspection.fields.get(de, "")


def _change(a: str | None, b: str | None) -> Change:
    return "added" if a is None else "removed" if b is None else "changed"


def _of_parts(de: int, a: Inspection, b: Inspection, lang: str) -> list[Difference]:
    """By parts, where both have the element and it can be cut; else empty."""
    left, right = _cut(de, a), _cut(de, b)
    if not left or not right:
        return []
    found = []
    for key in dict.fromkeys((*left, *right)):
        values = left.get(key), right.get(key)
        if values[0] == values[1]:
            continue
        name = emv_tags.name(key, lang) if de == CHIP_DATA else elements.name(de, lang)
        shown = [
            None if value is None else _fit(de, key, value, side.unmasked)
            for value, side in zip(values, (a, b), strict=True)
        ]
        found.append(Difference(de, key, name, _change(*shown), *shown))
    return found


def _cut(de: int, inspection: Inspection) -> Mapping[str, str]:
    value = inspection.message.get(de)
    if de == CHIP_DATA and isinstance(value, bytes):
        found, error = tlv.parse_partial(value)
        return {} if error is not None else {tag: octets.hex().upper() for tag, octets in found}
    if de == 60 and isinstance(value, str) and value.isdigit() and inspection.error is None:
        starts = (0, *_ENDS_60)
        return {
            f"60.{number}": value[start:end]
            for number, (start, end) in enumerate(zip(starts, _ENDS_60, strict=False), 1)
            if value[start:end]
        }
    return {}


def _fit(de: int, key: str, value: str, unmasked: bool) -> str:  # noqa: FBT001
    """The value as it may be shown."""
    if de == CHIP_DATA and emv_tags.is_secret(key) and not unmasked:
        return f"[{len(value) // 2} bytes]"
    return value
