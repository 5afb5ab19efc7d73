"""ISO 8583:1987 in binary: BCD digits, ASCII text, binary bitmap; between hosts and from terminals.

Source: `iso1987.py` (the page); coding as jPOS's iso87binary.xml has it: lengths in BCD that count
digits, fillers of fixed digits in front, amounts with a sign as one ASCII character and digits.
The filler of an odd PAN, track or institution stands behind it, as there; in front with other hosts
(`iso1987_binary.filler_left`). There, but not here, DE 36 is characters, DE 93 has six of them and
DE 96 sixteen bytes.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from iso8583.dialects.formats import BINARY
from iso8583.dialects.iso1987 import PAGE
from iso8583.dialects.table import Dialect

_VARIABLE_BCD: Final = (2, 32, 33, 35, 36, 99, 100)

ISO1987_BINARY: Final = Dialect(
    name="iso1987_binary",
    title="ISO 8583:1987, BCD and ASCII, binary bitmap",
    mti="bcd",
    bitmap="binary",
    elements=BINARY.rows(PAGE),
)
ISO1987_BINARY_FILLER_LEFT: Final = ISO1987_BINARY.variant(
    "iso1987_binary.filler_left",
    "ISO 8583:1987 in binary, odd counts of digits filled up in front",
    *(replace(BINARY, variable="left_0").row(de, PAGE[de]) for de in _VARIABLE_BCD),
)
ISO1987_BINARY_KEY_16: Final = ISO1987_BINARY.variant(
    "iso1987_binary.key_16",
    "ISO 8583:1987 in binary, DE 96 of sixteen bytes: a double-length key",
    BINARY.row(96, "b16"),
)
