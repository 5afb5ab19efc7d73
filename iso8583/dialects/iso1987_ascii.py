"""ISO 8583:1987 between hosts, all in ASCII: the reference bank link.

Source: `reference/link.md` (coding) and `iso1987.py` (the page). DE 52, 64, 96 and 128 are raw bytes,
DE 55 LLLVAR raw bytes, as the link has them.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from iso8583.dialects.formats import ASCII
from iso8583.dialects.iso1987 import PAGE
from iso8583.dialects.table import Dialect

_ALL_TEXT: Final = replace(ASCII, binary="hex")

ISO1987_ASCII: Final = Dialect(
    name="iso1987_ascii",
    title="ISO 8583:1987, ASCII, binary bitmap (the reference bank link)",
    mti="ascii",
    bitmap="binary",
    elements=ASCII.rows(PAGE),
)
ISO1987_ASCII_HEX: Final = ISO1987_ASCII.variant(
    "iso1987_ascii_hex", "ISO 8583:1987, ASCII, bitmap as 16 or 32 hex characters", bitmap="hex"
)
ISO1987_ASCII_BINARY_HEX: Final = ISO1987_ASCII_HEX.variant(
    "iso1987_ascii.binary_hex",
    "ISO 8583:1987, all characters: binary elements in hex, amounts without their sign (jPOS)",
    *(_ALL_TEXT.row(de, written) for de, written in PAGE.items() if written.startswith("b")),
    *(ASCII.row(de, "n9") for de in (28, 29, 30, 31)),
    ASCII.row(36, "ans...104"),
    ASCII.row(55, "ans...999"),
)
