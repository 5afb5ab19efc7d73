"""UnionPay-style POS terminals: BCD digits, binary bitmap, no secondary bitmap.

Source: `reference/pos-messages.md` §2 and §3 (S1 `st8583.c`). Deviations of terminals and hosts met
in the field are in `variants.py`. DE 64 is eight raw bytes here: eight ASCII hex characters and
eight binary bytes both pass through it unchanged; which one it is belongs to the MAC profile.
"""

from __future__ import annotations

from typing import Final

from iso8583.dialects.table import Dialect, Element

UNIONPAY_POS: Final = Dialect(
    name="unionpay_pos",
    title="UnionPay-style POS terminal (Q/CUP 009 as observed)",
    mti="bcd",
    bitmap="binary",
    elements=(
        #  DE content size encoding prefix padding
        Element(2, "n", 19, "bcd", "ll_bcd", "right_0f"),
        Element(3, "n", 6, "bcd"),
        Element(4, "n", 12, "bcd"),
        Element(11, "n", 6, "bcd"),
        Element(12, "n", 6, "bcd"),
        Element(13, "n", 4, "bcd"),
        Element(14, "n", 4, "bcd"),
        Element(15, "n", 4, "bcd"),
        Element(22, "n", 3, "bcd", "fixed", "right_0"),
        Element(23, "n", 3, "bcd", "fixed", "left_0"),
        Element(25, "n", 2, "bcd"),
        Element(26, "n", 2, "bcd"),
        Element(32, "n", 11, "bcd", "ll_bcd", "right_0f"),
        Element(35, "z", 37, "bcd", "ll_bcd", "right_0f"),
        Element(36, "z", 104, "bcd", "lll_bcd", "right_0f"),
        Element(37, "anp", 12, "ascii"),
        Element(38, "anp", 6, "ascii"),
        Element(39, "an", 2, "ascii"),
        Element(41, "ans", 8, "ascii"),
        Element(42, "ans", 15, "ascii"),
        Element(44, "ans", 25, "gbk", "ll_bcd"),
        Element(48, "n", 322, "bcd", "lll_bcd", "right_0f"),
        Element(49, "an", 3, "ascii"),
        Element(52, "b", 8, "raw"),
        Element(53, "n", 16, "bcd"),
        Element(54, "anp", 40, "ascii", "lll_bcd"),
        Element(55, "b", 255, "raw", "lll_bcd"),
        Element(57, "ans", 999, "gbk", "lll_bcd"),
        Element(58, "b", 100, "raw", "lll_bcd"),
        Element(59, "ans", 999, "gbk", "lll_bcd"),
        Element(60, "n", 17, "bcd", "lll_bcd", "right_0f"),
        Element(61, "n", 29, "bcd", "lll_bcd", "right_0f"),
        Element(62, "b", 999, "raw", "lll_bcd"),
        Element(63, "ans", 163, "gbk", "lll_bcd"),
        Element(64, "b", 8, "raw"),
    ),
)
