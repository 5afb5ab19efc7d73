"""What the values say, in English and Chinese: coded elements in words, chip data by its tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from iso8583 import (
    amount,
    codes,
    composites,
    emv_bits,
    emv_scripts,
    emv_tags,
    mti as mti_words,
    tlv,
)
from iso8583.message import mask_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from iso8583.dialects.table import Dialect
    from iso8583.message import Message

Text = tuple[str, str]

CHIP_DATA: Final = 55
COMPOSITE_MIN: Final = 7  # characters: what is shorter (DE 3, DE 22) is told as a whole


class Part(msgspec.Struct, frozen=True):
    """A part of an element: a tag of DE 55, a subfield of another. `offset` counts bytes from the element's value; `value`
    is fit to show."""

    key: str
    names: Text
    offset: int
    size: int
    value: str
    meanings: Text


def meanings(message: Message, dialect: Dialect | None) -> dict[int, Text]:
    """What the coded elements mean in the dialect."""
    family = "" if dialect is None else dialect.family
    tables = codes.of_family(family)
    coded = {de: value for de, value in message.items() if isinstance(value, str)}
    found: dict[int, Text] = {}
    # sizes of 1987: later versions have other codes in these, of other sizes
    for de, table, size, width in (
        (3, tables.processing, 6, 2),
        (25, tables.conditions, 2, 2),
        (39, tables.responses, 2, 2),
        (70, codes.NETWORK_MANAGEMENT, 3, 3),
    ):
        value = coded.get(de, "")
        if len(value) == size and value[:width] in table:
            found[de] = table[value[:width]]
    if 0 in coded:
        found[0] = mti_words.describe(coded[0]), mti_words.describe(coded[0], "zh")
    if len(coded.get(22, "")) == 3:
        found[22] = (codes.entry_mode(coded[22]), codes.entry_mode(coded[22], "zh"))
    for de, currency in ((4, 49), (5, 50), (6, 51)):
        if amount.is_currency(coded.get(currency, "")):
            letters = amount.CURRENCIES[coded[currency]][0]
            found[currency] = (letters, letters)
            if coded.get(de, "").isdigit():
                major = f"{amount.format_minor(int(coded[de]), coded[currency])} {letters}"
                found[de] = (major, major)
    private = coded.get(60, "") if family == codes.TERMINALS else ""
    if 8 <= len(private) <= 19 and private.isdigit():
        batch = private[2:8]
        management = codes.TERMINAL_MANAGEMENT.get(private[8:11], ("", ""))
        found[60] = (
            f"batch {batch} {management[0]}".strip(),
            f"批次 {batch} {management[1]}".strip(),
        )
    return found


def parts(
    message: Message,
    dialect: Dialect | None,
    shown: Collection[int],
    *,
    unmask: bool = False,
    strict: bool = False,
) -> dict[int, list[Part]]:
    """DE 55 by its tags, composite elements by the dialect's subfields, as far as they can be read.

    Only elements that are `shown` in full have subfields. Without `unmask` card data, keys and values
    of tags that the dictionary does not have are hidden; with `strict` (a message that does not decode, whose elements may be misplaced) nothing is given
    but chip data that is whole to its last byte.
    """
    found: dict[int, list[Part]] = {}
    for de, value in message.items():
        if de == CHIP_DATA and isinstance(value, bytes):
            found[de] = _tags(value, unmask=unmask, strict=strict)
        elif dialect and de in shown and not strict and len(value) >= COMPOSITE_MIN:
            cut, error = composites.parse_partial(de, value, dialect, message)
            if error is None and (len(cut) > 1 or composites.is_tagged(de, dialect)):
                found[de] = [_subfield(part, unmask=unmask) for part in cut]
    return {de: rows for de, rows in found.items() if rows}


def _subfield(part: composites.Part, *, unmask: bool) -> Part:
    shown = part.value if unmask else _hidden(part.value) if part.secret else mask_text(part.value)
    meaning = ("", "") if part.secret and not unmask else part.meaning
    return Part(part.number, part.names, part.offset, len(part.value), shown, meaning)


def _hidden(value: str) -> str:
    return f"[{len(value)} characters]"


def _tags(value: bytes, *, unmask: bool, strict: bool) -> list[Part]:
    found, error = tlv.parse_partial(value)
    if (error is not None and strict) or not any(tag in emv_tags.TAGS for tag, _ in found):
        return []
    rows: list[Part] = []
    at = 0
    for tag, octets in found:
        at = value.index(bytes.fromhex(tag), at)
        names = (emv_tags.name(tag), emv_tags.name(tag, "zh"))
        shown, said = octets.hex().upper(), emv_bits.meaning(tag, octets)
        size = len(tag) // 2 + _head(value, at + len(tag) // 2) + len(octets)
        if tag in emv_scripts.TAGS and not strict:
            said = emv_scripts.meaning(tag, octets)
            shown = shown if unmask else emv_scripts.shown(tag, octets)
        elif emv_tags.is_secret(tag) and not unmask:
            shown, said = f"[{len(octets)} bytes]", ("", "")
        elif strict and not unmask:
            shown = mask_text(shown)
        rows.append(Part(tag, names, at, size, shown, said))
        at += size
    return rows


def _head(value: bytes, at: int) -> int:
    """Bytes of the length at `at`."""
    return 1 if value[at] < 0x80 else 1 + (value[at] & 0x7F)
