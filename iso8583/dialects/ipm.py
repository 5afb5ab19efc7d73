"""Mastercard IPM: ISO 8583:1993 messages as records of a clearing file, in ASCII or EBCDIC.

Source: settlement reference [C11] and the corpus (cardutil's parses). The code page is 500 [unverified];
bitmaps are binary, or ASCII hex characters also where the rest is EBCDIC. DE 55 is bytes in each.
"""

from __future__ import annotations

from typing import Final

from iso8583.dialects.formats import ASCII, EBCDIC
from iso8583.dialects.table import Dialect

PAGE: Final[dict[int, str]] = {
    2: "n..19",
    3: "n6",
    4: "n12",
    5: "n12",
    6: "n12",
    9: "n8",
    10: "n8",
    12: "n12",
    14: "n4",
    22: "an12",
    23: "n3",
    24: "n3",
    25: "n4",
    26: "n4",
    30: "n24",
    31: "ans..23",
    32: "n..11",
    33: "n..11",
    37: "ans12",
    38: "ans6",
    40: "n3",
    41: "ans8",
    42: "ans15",
    43: "ans..99",
    48: "ans...999",
    49: "n3",
    50: "n3",
    51: "n3",
    54: "ans...240",
    55: "b...255",
    62: "ans...999",
    63: "ans...16",
    71: "n8",
    72: "ans...999",
    73: "n6",
    93: "n..11",
    94: "n..11",
    95: "ans..10",
    100: "n..11",
    **dict.fromkeys((105, 111, 123, 124, 125, 127), "ans...999"),
}

IPM: Final = Dialect(
    name="ipm",
    title="Mastercard IPM: ISO 8583:1993, ASCII, binary bitmaps",
    mti="ascii",
    bitmap="binary",
    elements=ASCII.rows(PAGE),
    versions="1",
)
IPM_HEX: Final = IPM.variant(
    "ipm.hex", "Mastercard IPM with bitmaps as hex characters", bitmap="hex"
)
IPM_EBCDIC: Final = Dialect(
    name="ipm_ebcdic",
    title="Mastercard IPM: ISO 8583:1993, EBCDIC, binary bitmaps",
    mti="ebcdic",
    bitmap="binary",
    elements=EBCDIC.rows(PAGE),
    versions="1",
)
IPM_EBCDIC_HEX: Final = IPM_EBCDIC.variant(
    "ipm_ebcdic.hex", "Mastercard IPM in EBCDIC with bitmaps as ASCII hex characters", bitmap="hex"
)
