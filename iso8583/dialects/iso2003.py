"""ISO 8583:2003 in binary: MTIs that begin with 2, DE 39 of four digits, amounts with their currency.

Source: `reference/iso8583-base.md` (jPOS iso2003binary.xml) and jPOS's cmf.xml, whose elements follow
2003: an amount is currency n3, exponent n1, digits; DE 64 and 128 have 4 bytes there. Bit 65 may
announce a third bitmap; what its elements hold is private [unverified]. DE 21, 30, 43, 49 and 74 are
compound and read whole. Not seen on a wire.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from iso8583.dialects.formats import BINARY
from iso8583.dialects.iso1993 import PAGE as PAGE_1993
from iso8583.dialects.table import Dialect

_UNCHANGED: Final = (
    *(2, 7, 9, 10, 14, 16, 17, 19, 20, 23, 24, 25, 26, 29, 32, 33, 35, 36, 37, 38, 40, 45, 47, 48),
    *(52, 53, 57, 58, 59, 60, 61, 62, 63, 67, 93, 94, 95, 96, 98, 99, 100, 102, 103, 123),
)
_RESERVED: Final = (
    *(50, 51, 71, *range(76, 93), *range(105, 109), 111, 112, *range(113, 123), *range(124, 128)),
    *range(129, 193),
)
PAGE: Final[dict[int, str]] = {
    **{de: PAGE_1993[de] for de in _UNCHANGED},
    3: "an6",
    4: "n16",
    5: "n16",
    6: "n16",
    8: "n12",
    11: "n12",
    12: "n14",
    13: "n6",
    15: "n8",
    18: "ans...140",
    21: "b19",
    22: "b16",
    27: "b27",
    28: "n8",
    30: "b16",
    31: "n23",
    34: "b....9999",
    39: "n4",
    41: "ans16",
    42: "ans..35",
    43: "b....9999",
    44: "b....9999",
    46: "ans...216",
    49: "b....9999",
    54: "ans...126",
    55: "b....9999",
    56: "n..41",
    64: "b4",
    66: "ans...216",
    68: "ans9",
    69: "ans40",
    70: "n18",
    72: "b...999",
    73: "n8",
    74: "b78",
    75: "n90",
    97: "xn21",
    101: "ans..99",
    104: "b....9999",
    109: "ans...144",
    110: "ans...144",
    128: "b4",
    **dict.fromkeys(_RESERVED, "b....9999"),
}

ISO2003_BINARY: Final = Dialect(
    name="iso2003_binary",
    title="ISO 8583:2003, BCD and ASCII, binary bitmaps",
    mti="bcd",
    bitmap="binary",
    elements=replace(BINARY, track="ascii").rows(PAGE),
    versions="2",
    bitmaps=3,
)
