"""ISO 8583:1993 in ASCII, binary and EBCDIC. Its MTIs begin with 1; DE 39 is an action code.

Source: the page was read from jPOS's ISO93APackager and ISO93BPackager, the codings from messages
packed by them and by iso93ebcdic (corpus). In binary, lengths are BCD; an odd fixed
number has its filler in front, as in 1987, but behind where jPOS packed it (variant). DE 35 is characters in all three, as there.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from iso8583.dialects.formats import ASCII, BINARY, EBCDIC
from iso8583.dialects.iso1987 import PAGE as PAGE_1987
from iso8583.dialects.table import Dialect

_RESERVED: Final = dict.fromkeys((*range(59, 64), 72, *range(111, 128)), "ans...999")
PAGE: Final[dict[int, str]] = {
    **{de: PAGE_1987[de] for de in range(2, 12)},
    12: "n12",
    13: "n4",
    14: "n4",
    15: "n6",
    16: "n4",
    17: "n4",
    18: "n4",
    19: "n3",
    20: "n3",
    21: "n3",
    22: "an12",
    23: "n3",
    24: "n3",
    25: "n4",
    26: "n4",
    27: "n1",
    28: "n6",
    29: "n3",
    30: "n24",
    31: "ans..99",
    32: "n..11",
    33: "n..11",
    34: "ans..28",
    35: "z..37",
    36: "ans...104",
    37: "anp12",
    38: "anp6",
    39: "n3",
    40: "n3",
    41: "ans8",
    42: "ans15",
    43: "ans..99",
    44: "ans..99",
    45: "ans..76",
    46: "ans...204",
    47: "ans...999",
    48: "ans...999",
    49: "an3",
    50: "an3",
    51: "an3",
    52: "b8",
    53: "b..48",
    54: "ans...120",
    55: "b...255",
    56: "n..35",
    57: "n3",
    58: "n..11",
    64: "b8",
    66: "ans...204",
    67: "n2",
    68: "n3",
    69: "n3",
    70: "n3",
    71: "n8",
    73: "n6",
    **dict.fromkeys(range(74, 86), "n10"),
    **dict.fromkeys(range(86, 90), "n16"),
    90: "n10",
    91: "n3",
    92: "n3",
    93: "n..11",
    94: "n..11",
    95: "ans..99",
    96: "b...999",
    97: "xn17",
    98: "ans25",
    99: "ans..11",
    100: "n..11",
    101: "ans..17",
    102: "ans..28",
    103: "ans..28",
    104: "ans...100",
    105: "n16",
    106: "n16",
    107: "n10",
    108: "n10",
    109: "ans..84",
    110: "ans..84",
    128: "b8",
    **_RESERVED,
}

_BINARY: Final = replace(BINARY, track="ascii")
_HEX: Final = replace(ASCII, binary="hex")

ISO1993_ASCII: Final = Dialect(
    name="iso1993_ascii",
    title="ISO 8583:1993, ASCII, binary bitmap",
    mti="ascii",
    bitmap="binary",
    elements=ASCII.rows(PAGE),
    versions="1",
)
ISO1993_ASCII_HEX: Final = ISO1993_ASCII.variant(
    "iso1993_ascii.hex",
    "ISO 8583:1993, ASCII, bitmap and fixed binary elements as hex characters",
    *(_HEX.row(de, PAGE[de]) for de in (52, 64, 128)),
    bitmap="hex",
)
ISO1993_BINARY: Final = Dialect(
    name="iso1993_binary",
    title="ISO 8583:1993, BCD and ASCII, binary bitmap",
    mti="bcd",
    bitmap="binary",
    elements=_BINARY.rows(PAGE),
    versions="1",
)
ISO1993_BINARY_FILLER_RIGHT: Final = ISO1993_BINARY.variant(
    "iso1993_binary.filler_right",
    "ISO 8583:1993 in binary, odd counts of digits filled up behind",
    *replace(_BINARY, fixed="right_0").rows(PAGE),
)
ISO1993_EBCDIC: Final = Dialect(
    name="iso1993_ebcdic",
    title="ISO 8583:1993, EBCDIC, bitmap as hex characters in EBCDIC",
    mti="ebcdic",
    bitmap="hex_ebcdic",
    elements=EBCDIC.rows(PAGE),
    versions="1",
)
