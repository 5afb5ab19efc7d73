"""ISO 8583:1987 in EBCDIC (code page 500): text, digits and MTI; the bitmap stays binary.

Source: `iso1987.py` (the page); code page 500 as mainframe hosts use it [unverified: 1047 writes the
letters, digits and most signs of messages alike]. Prefixes are EBCDIC digits; with some hosts BCD
(variant). DE 52, 55, 64, 96 and 128 are raw bytes.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from iso8583.dialects.formats import EBCDIC
from iso8583.dialects.iso1987 import PAGE
from iso8583.dialects.table import Dialect

ISO1987_EBCDIC: Final = Dialect(
    name="iso1987_ebcdic",
    title="ISO 8583:1987, EBCDIC, binary bitmap",
    mti="ebcdic",
    bitmap="binary",
    elements=EBCDIC.rows(PAGE),
)
ISO1987_EBCDIC_HEX: Final = ISO1987_EBCDIC.variant(
    "iso1987_ebcdic.hex",
    "ISO 8583:1987, EBCDIC, bitmap as 16 or 32 hex characters in EBCDIC",
    bitmap="hex_ebcdic",
)
ISO1987_EBCDIC_PREFIX_BCD: Final = ISO1987_EBCDIC.variant(
    "iso1987_ebcdic.prefix_bcd",
    "ISO 8583:1987, EBCDIC, lengths in BCD",
    *replace(EBCDIC, prefix="bcd").rows(PAGE),
)
