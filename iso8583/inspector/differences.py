"""Two messages beside each other, element by element; DE 55 by its tags, others by their subfields.

Values are compared in clear and shown as the inspections show them: two PANs with one mask still
differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from iso8583.codec import codec_for
from iso8583.inspector.meanings import parts

if TYPE_CHECKING:
    from iso8583.inspect import Inspection

Change = Literal["added", "removed", "changed"]


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
        name = b.name(de, lang) if de in b.message else a.name(de, lang)
        of_parts = _of_parts(de, a, b, lang)
        if of_parts:
            found += of_parts
        else:
            found.append(Difference(de, None, name, _change(*shown), *shown))
    return found


def _shown(inspection: Inspection, de: int) -> str | None:
    if de not in inspection.message:
        return None
    return (inspection.mti or "****") if de == 0 else inspection.fields.get(de, "")


def _change(a: str | None, b: str | None) -> Change:
    return "added" if a is None else "removed" if b is None else "changed"


def _of_parts(de: int, a: Inspection, b: Inspection, lang: str) -> list[Difference]:
    """By parts, where both have the element and it can be cut; else empty."""
    left, right = _cut(de, a), _cut(de, b)
    if not left or not right:
        return []
    found = []
    for key in dict.fromkeys((*left, *right)):
        one, other = left.get(key), right.get(key)
        if one is not None and other is not None and one.value == other.value:
            continue
        shown = (None if one is None else one.shown), (None if other is None else other.shown)
        name = (one or other or _NOTHING).names[lang.startswith("zh")]
        found.append(Difference(de, key, name, _change(*shown), *shown))
    return found


class _Value(NamedTuple):
    """A part's value in clear and as it may be shown."""

    value: str
    shown: str
    names: tuple[str, str]


_NOTHING: Final = _Value("", "", ("", ""))


def _cut(de: int, inspection: Inspection) -> dict[str, _Value]:
    """The element's parts by key; of a key that comes again the second is `key/2`."""
    shown = inspection.parts.get(de, [])
    codec = None if inspection.dialect is None else codec_for(inspection.dialect)
    dialect = None if codec is None else codec.dialect
    clear = parts(inspection.message, dialect, inspection.message, unmask=True).get(de, [])
    found: dict[str, _Value] = {}
    if len(clear) != len(shown):
        return found
    for value, masked in zip(clear, shown, strict=True):
        again = sum(key.partition("/")[0] == value.key for key in found)
        key = f"{value.key}/{again + 1}" if again else value.key
        found[key] = _Value(value.value, masked.value, masked.names)
    return found
