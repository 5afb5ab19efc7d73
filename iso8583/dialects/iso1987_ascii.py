"""ISO 8583:1987 between hosts, all in ASCII: the reference bank link.

Source: `reference/link.md` (coding) and `reference/iso8583-base.md` (lengths and types, read from
jPOS iso87ascii). DE 52, 64, 96 and 128 are raw bytes, DE 55 LLLVAR raw bytes, as the link has them.
"""

from __future__ import annotations

from typing import Final

from iso8583.dialects.table import Content, Dialect, Element


def _fixed(de: int, content: Content, size: int) -> Element:
    return Element(de, content, size, "raw" if content == "b" else "ascii")


def _ll(de: int, content: Content, size: int) -> Element:
    return Element(de, content, size, "raw" if content == "b" else "ascii", "ll_ascii")


def _lll(de: int, content: Content, size: int = 999) -> Element:
    return Element(de, content, size, "raw" if content == "b" else "ascii", "lll_ascii")


ISO1987_ASCII: Final = Dialect(
    name="iso1987_ascii",
    title="ISO 8583:1987, ASCII, binary bitmap (the reference bank link)",
    mti="ascii",
    bitmap="binary",
    elements=(
        _ll(2, "n", 19),
        _fixed(3, "n", 6),
        _fixed(4, "n", 12),
        _fixed(5, "n", 12),
        _fixed(6, "n", 12),
        _fixed(7, "n", 10),
        _fixed(8, "n", 8),
        _fixed(9, "n", 8),
        _fixed(10, "n", 8),
        _fixed(11, "n", 6),
        _fixed(12, "n", 6),
        _fixed(13, "n", 4),
        _fixed(14, "n", 4),
        _fixed(15, "n", 4),
        _fixed(16, "n", 4),
        _fixed(17, "n", 4),
        _fixed(18, "n", 4),
        _fixed(19, "n", 3),
        _fixed(20, "n", 3),
        _fixed(21, "n", 3),
        _fixed(22, "n", 3),
        _fixed(23, "n", 3),
        _fixed(24, "n", 3),
        _fixed(25, "n", 2),
        _fixed(26, "n", 2),
        _fixed(27, "n", 1),
        _fixed(28, "xn", 9),
        _fixed(29, "xn", 9),
        _fixed(30, "xn", 9),
        _fixed(31, "xn", 9),
        _ll(32, "n", 11),
        _ll(33, "n", 11),
        _ll(34, "ans", 28),
        _ll(35, "z", 37),
        _lll(36, "z", 104),
        _fixed(37, "anp", 12),
        _fixed(38, "anp", 6),
        _fixed(39, "an", 2),
        _fixed(40, "anp", 3),
        _fixed(41, "ans", 8),
        _fixed(42, "ans", 15),
        _fixed(43, "ans", 40),
        _ll(44, "ans", 25),
        _ll(45, "ans", 76),
        _lll(46, "ans"),
        _lll(47, "ans"),
        _lll(48, "ans"),
        _fixed(49, "an", 3),
        _fixed(50, "an", 3),
        _fixed(51, "an", 3),
        _fixed(52, "b", 8),
        _fixed(53, "n", 16),
        _lll(54, "anp", 120),
        _lll(55, "b"),
        _lll(56, "ans"),
        _lll(57, "ans"),
        _lll(58, "ans"),
        _lll(59, "ans"),
        _lll(60, "ans"),
        _lll(61, "ans"),
        _lll(62, "ans"),
        _lll(63, "ans"),
        _fixed(64, "b", 8),
        _fixed(66, "n", 1),
        _fixed(67, "n", 2),
        _fixed(68, "n", 3),
        _fixed(69, "n", 3),
        _fixed(70, "n", 3),
        _fixed(71, "n", 4),
        _fixed(72, "n", 4),
        _fixed(73, "n", 6),
        *(_fixed(de, "n", 10) for de in range(74, 82)),
        *(_fixed(de, "n", 12) for de in range(82, 86)),
        *(_fixed(de, "n", 16) for de in range(86, 90)),
        _fixed(90, "n", 42),
        _fixed(91, "an", 1),
        _fixed(92, "an", 2),
        _fixed(93, "an", 5),
        _fixed(94, "an", 7),
        _fixed(95, "an", 42),
        _fixed(96, "b", 8),
        _fixed(97, "xn", 17),
        _fixed(98, "ans", 25),
        _ll(99, "n", 11),
        _ll(100, "n", 11),
        _ll(101, "ans", 17),
        _ll(102, "ans", 28),
        _ll(103, "ans", 28),
        _lll(104, "ans", 100),
        *(_lll(de, "ans") for de in range(105, 128)),
        _fixed(128, "b", 8),
    ),
)
ISO1987_ASCII_HEX: Final = ISO1987_ASCII.variant(
    "iso1987_ascii_hex", "ISO 8583:1987, ASCII, bitmap as 16 or 32 hex characters", bitmap="hex"
)
