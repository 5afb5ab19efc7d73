"""What the values say, in English and Chinese: coded elements in words, chip data by its tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from iso8583 import amount, codes, emv_bits, emv_tags, mti as mti_words, tlv
from iso8583.message import mask_text

if TYPE_CHECKING:
    from iso8583.message import Message

Text = tuple[str, str]

CHIP_DATA: Final = 55
_ACCOUNT_BALANCES: Final = {
    "01": ("ledger balance", "账面余额"),
    "02": ("available balance", "可用余额"),
}


class Part(msgspec.Struct, frozen=True):
    """A part of an element: a tag of DE 55. `offset` counts bytes from the element's value; `value`
    is fit to show."""

    key: str
    names: Text
    offset: int
    size: int
    value: str
    meanings: Text


def meanings(message: Message) -> dict[int, Text]:
    """What the coded elements mean."""
    coded = {de: value for de, value in message.items() if isinstance(value, str)}
    found: dict[int, Text] = {}
    for de, table, width in (
        (3, codes.PROCESSING_CODES, 2),
        (25, codes.CONDITIONS, 2),
        (39, codes.RESPONSE_CODES, 2),
        (70, codes.NETWORK_MANAGEMENT, 3),
    ):
        if de in coded and coded[de][:width] in table:
            found[de] = table[coded[de][:width]]
    if 0 in coded:
        words = mti_words.describe(coded[0])
        found[0] = words, words
    if 22 in coded:
        found[22] = (codes.entry_mode(coded[22]), codes.entry_mode(coded[22], "zh"))
    for de, currency in ((4, 49), (5, 50), (6, 51)):
        if amount.is_currency(coded.get(currency, "")):
            letters = amount.CURRENCIES[coded[currency]][0]
            found[currency] = (letters, letters)
            if coded.get(de, "").isdigit():
                major = f"{amount.format_minor(int(coded[de]), coded[currency])} {letters}"
                found[de] = (major, major)
    if len(coded.get(54, "")) >= 20:
        found[54] = _balance(coded[54])
    if len(coded.get(60, "")) >= 8:
        batch = coded[60][2:8]
        management = codes.TERMINAL_MANAGEMENT.get(coded[60][8:11], ("", ""))
        found[60] = (
            f"batch {batch} {management[0]}".strip(),
            f"批次 {batch} {management[1]}".strip(),
        )
    return found


def _balance(value: str) -> Text:
    """DE 54: account type 2, amount type 2, currency 3, sign, n12 (`pos-messages.md` §4)."""
    kind, currency, sign, digits = value[2:4], value[4:7], value[7], value[8:20]
    if kind not in _ACCOUNT_BALANCES or not amount.is_currency(currency) or not digits.isdigit():
        return "", ""
    shown = f"{'-' if sign == 'D' else ''}{amount.format_minor(int(digits), currency)}"
    letters = amount.CURRENCIES[currency][0]
    english, chinese = _ACCOUNT_BALANCES[kind]
    return f"{english} {shown} {letters}", f"{chinese} {shown} {letters}"


def parts(message: Message, *, unmask: bool = False, strict: bool = False) -> dict[int, list[Part]]:
    """DE 55 by its tags, as far as they can be read; other elements have no parts here.

    Without `unmask` card data and values of tags that the dictionary does not have are hidden; with
    `strict` (a message that does not decode, whose elements may be misplaced) long digits, too, and
    the whole if it is not chip data to its last byte.
    """
    value = message.get(CHIP_DATA)
    if not isinstance(value, bytes):
        return {}
    found, error = tlv.parse_partial(value)
    if (error is not None and strict) or not any(tag in emv_tags.TAGS for tag, _ in found):
        return {}
    rows: list[Part] = []
    at = 0
    for tag, octets in found:
        at = value.index(bytes.fromhex(tag), at)
        names = (emv_tags.name(tag), emv_tags.name(tag, "zh"))
        shown, said = octets.hex().upper(), emv_bits.meaning(tag, octets)
        head = _head(value, at + len(tag) // 2)
        if emv_tags.is_secret(tag) and not unmask:
            shown, said = f"[{len(octets)} bytes]", ("", "")
        elif strict and not unmask:
            shown = mask_text(shown)
        rows.append(Part(tag, names, at, len(tag) // 2 + head + len(octets), shown, said))
        at += len(tag) // 2 + head + len(octets)
    return {CHIP_DATA: rows}


def _head(value: bytes, at: int) -> int:
    """Bytes of the length at `at`."""
    return 1 if value[at] < 0x80 else 1 + (value[at] & 0x7F)
