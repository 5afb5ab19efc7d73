"""What a message is, and how it is shown.

A message is a plain dict from data element to value: fastest that stays pleasant, and not tracked
by the garbage collector. Key 0 is the MTI (four digits). `n`, `an`, `ans` and `z` elements are
`str`, `b` elements `bytes`; which is which is the dialect's table. A track separator is always `=`,
whatever the wire uses, and an element that only fills up a nibble (`0210` for the entry mode 021)
holds its digits alone. The bitmap (key 1) is never stored: it follows from the keys.
"""

from __future__ import annotations

import re
from typing import Final

from iso8583.codes import TERMINALS
from iso8583.mti import response_mti

__all__ = ["Message", "mask_pan", "mask_text", "masked", "response_mti"]

Message = dict[int, str | bytes]

# Shown as they are: none of them can hold a card number, a PIN or a key where MTIs begin with 0.
SHOWN: Final = frozenset(
    {0, *range(3, 14), *range(15, 34), 37, 38, 39, 40, 41, 42, 43, 44, 49, 50, 51, 53, 54}
    | {60, 61, 64, 66, 67, 70, 71, 72, 73, *range(74, 96), 97, 128}
)
# Later versions have free text, key management and card verification data in some of these, and
# compound elements in bytes.
SHOWN_LATER: Final = {
    "1": SHOWN - {44, 53, 60, 61, 72},
    "2": SHOWN - {34, 43, 44, 49, 53, 60, 61, 70, 72, 74, 75},
}
BYTES_SHOWN_LATER: Final = frozenset({22, 64, 128})
PRIVATE_MAX: Final = (
    29  # characters of DE 60 and 61 that are batch, trace and date; more is a host's own
)
HIDDEN: Final = frozenset({14, 36, 45, 52, 55, 57, 58, 59, 96})
_CARD_LIKE: Final = re.compile(r"[0-9]{13,}")


def masked(message: Message, *, strict: bool = False, family: str = TERMINALS) -> dict[int, str]:
    """The message for people: every value as text, nothing sensitive in it (P6).

    PAN 6 + 4; track 2 the PAN's mask alone; expiry, tracks 1 and 3, PIN block, IC data, QR data and
    key material hidden behind their length; in all other free text runs of 13 or more digits are
    masked. DE 48 is shown in reconciliation (05xx), where it holds totals. `strict` masks runs of
    digits in every element: for messages that did not decode, whose elements may be misplaced. DE 60
    and 61 are batch, trace and date in the terminals' `family` alone.
    """
    mti = message.get(0, "")
    reconciliation = isinstance(mti, str) and mti[:2] == "05"
    version = mti[:1] if isinstance(mti, str) else ""
    text_shown = SHOWN_LATER.get(version, SHOWN)
    bytes_shown = BYTES_SHOWN_LATER if version in SHOWN_LATER else SHOWN
    shown: dict[int, str] = {}
    for de in sorted(message):
        value = message[de]
        if de == 2 and isinstance(value, str):
            shown[de] = mask_pan(value)
        elif de == 35 and isinstance(value, str):
            shown[de] = mask_pan(re.split("[=D]", value, maxsplit=1)[0]) + "=****"
        elif de in HIDDEN:
            shown[de] = _hidden(value)
        elif isinstance(value, bytes):
            shown[de] = value.hex().upper() if de in bytes_shown and not strict else _hidden(value)
        elif de in {60, 61} and (family != TERMINALS or len(value) > PRIVATE_MAX):
            shown[de] = mask_text(value)
        elif (de in text_shown or (de == 48 and reconciliation)) and not strict:
            shown[de] = value
        elif de in {48, 62}:
            shown[de] = _hidden(value)
        else:
            shown[de] = mask_text(value)
    return shown


def mask_pan(pan: str) -> str:
    """First six and last four digits; shorter than 13 characters all masked.

    >>> mask_pan("4111111111111111")
    '411111******1111'
    """
    if len(pan) < 13:
        return "*" * len(pan)
    return pan[:6] + "*" * (len(pan) - 10) + pan[-4:]


def mask_text(text: str) -> str:
    """The text with every run of 13 or more digits masked 6 + 4, but one of zeros alone.

    >>> mask_text("A3 018 622000000001234567, 20250102")
    'A3 018 622000********4567, 20250102'
    """
    return _CARD_LIKE.sub(_masked_run, text)


def _masked_run(run: re.Match[str]) -> str:
    return mask_pan(run.group()) if run.group().strip("0") else run.group()


def _hidden(value: str | bytes) -> str:
    unit = "bytes" if isinstance(value, bytes) else "characters"
    return f"[{len(value)} {unit}]"
