"""Visa-like hosts: BCD digits, EBCDIC text, one binary byte of length, a header of 22 bytes.

Source: jPOS's Base1Packager (lengths, types) and BASE1Header (`headers.BASE1`). Digits are filled up
in front; DE 22 has four, DE 49 to 51 are digits. Text is EBCDIC throughout [unverified for DE 46, 47,
56 to 58, 102 to 125, which the packager has in ASCII]; DE 126 and 127, compound there, are bytes here.
"""

from __future__ import annotations

from typing import Final

from iso8583.dialects.formats import Style
from iso8583.dialects.iso1987 import PAGE as PAGE_1987
from iso8583.dialects.table import Dialect, Element

PAGE: Final[dict[int, str]] = {
    **PAGE_1987,
    22: "n4",
    34: "n..28",
    **dict.fromkeys((46, 47, 56, 57, 58), "ans..99"),
    48: "b..99",
    49: "n3",
    50: "n3",
    51: "n3",
    54: "ans..120",
    55: "b..255",
    59: "ans..14",
    60: "b..6",
    61: "n..36",
    62: "b..59",
    63: "b..255",
    **dict.fromkeys(range(104, 118), "ans..99"),
    115: "ans..24",
    118: "b..99",
    119: "ans..99",
    120: "n..4",
    121: "ans..11",
    122: "ans..13",
    123: "ans..29",
    124: "b..99",
    125: "ans..99",
    126: "b..255",
    127: "b..255",
}

VISA: Final = Dialect(
    name="visa",
    title="Visa-like: BCD, EBCDIC text, lengths of one binary byte, header of 22 bytes",
    mti="bcd",
    bitmap="binary",
    elements=Style("cp500", "bcd", "bcd", "bin").rows(
        PAGE, Element(36, "z", 104, "bcd", "lll_bcd", "left_0")
    ),
    header="base1",
)
