"""Deviations of terminals and their hosts met in the field: `unionpay_pos` plus the rows that differ.

A variant is named after what differs, not after whom it was seen at. Which messages of the corpus
need which is tabulated in `docs/dialects.md`. Source: `corpus/README.md`, "Variants between providers".
"""

from __future__ import annotations

from typing import Final

from iso8583.dialects.table import Dialect, Element
from iso8583.dialects.unionpay_pos import UNIONPAY_POS

_ENTRY_MODE_RIGHT: Final = Element(22, "n", 3, "bcd", "fixed", "left_0")
_TRACK_2_FILLER_F: Final = Element(35, "z", 37, "bcd", "ll_bcd", "right_f0")
_TRACK_2_ENCIPHERED: Final = Element(35, "zx", 37, "bcd", "ll_bcd", "right_0f")
_TRACK_2_CIPHER_BYTES: Final = Element(35, "b", 48, "raw", "ll_bcd")
_TRACK_3_ENCIPHERED: Final = Element(36, "zx", 104, "bcd", "lll_bcd", "right_0f")
_NAME_AND_PLACE: Final = Element(43, "ans", 40, "gbk")
_BLOCK_46: Final = Element(46, "b", 999, "raw", "lll_bcd")
_BLOCK_47: Final = Element(47, "b", 999, "raw", "lll_bcd")
_RESPONSE_TEXT_56: Final = Element(56, "ans", 999, "gbk", "lll_bcd")

VARIANTS: Final[tuple[Dialect, ...]] = (
    UNIONPAY_POS.variant(
        "unionpay_pos.de22_right", "DE 22 right-aligned (0012)", _ENTRY_MODE_RIGHT
    ),
    UNIONPAY_POS.variant(
        "unionpay_pos.de35_filler_f", "DE 35 filled up with nibble F", _TRACK_2_FILLER_F
    ),
    UNIONPAY_POS.variant(
        "unionpay_pos.de35_enciphered",
        "DE 35 and 36 hold enciphered nibbles (DE 53 = 2610...)",
        _TRACK_2_ENCIPHERED,
        _TRACK_3_ENCIPHERED,
    ),
    UNIONPAY_POS.variant(
        "unionpay_pos.de35_cipher_de60_long",
        "DE 35 is cipher, its length in bytes; DE 60 up to 19 digits",
        _TRACK_2_CIPHER_BYTES,
        Element(60, "n", 19, "bcd", "lll_bcd", "right_0f"),
    ),
    UNIONPAY_POS.variant(
        "unionpay_pos.de60_text",
        "DE 60 ASCII characters",
        Element(60, "ans", 999, "ascii", "lll_bcd"),
    ),
    UNIONPAY_POS.variant(
        "unionpay_pos.de55_long_de60_text",
        "DE 55 up to 999 bytes (the TLV as hex text), DE 60 ASCII characters",
        Element(55, "b", 999, "raw", "lll_bcd"),
        Element(60, "ans", 999, "ascii", "lll_bcd"),
    ),
    UNIONPAY_POS.variant(
        "unionpay_pos.de48_text",
        "DE 48 ASCII characters",
        Element(48, "ans", 322, "ascii", "lll_bcd"),
    ),
    UNIONPAY_POS.variant(
        "unionpay_pos.private_blocks",
        "with DE 43 (fixed 40, GBK), 46 and 47 (terminal blocks), 56 (GBK text)",
        _NAME_AND_PLACE,
        _BLOCK_46,
        _BLOCK_47,
        _RESPONSE_TEXT_56,
    ),
)
