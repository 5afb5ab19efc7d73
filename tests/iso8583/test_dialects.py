"""Tables are checked when they are built, and can be read.

Goal: a contradiction between columns never becomes a codec; names are unique and found. Method:
tables of wrong rows; the printed dialect against a line of the standard's page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from iso8583 import elements
from iso8583.dialects import registry
from iso8583.dialects.table import Dialect, Element

ROOT = Path(__file__).resolve().parent.parent.parent

WRONG_ROWS: list[tuple[tuple[Any, ...], str]] = [
    ((1, "n", 4, "bcd"), "elements are"),
    ((65, "b", 8, "raw"), "elements are"),
    ((193, "n", 4, "bcd"), "elements are"),
    ((3, "x", 6, "bcd"), "content is none of"),
    ((3, "n", 6, "ebcdic"), "encoding is none of"),
    ((3, "n", 6, "utf-16"), "encoding is none of"),
    ((3, "n", 6, "bcd", "lllllll_bcd", "right_0"), "prefix is fixed, or"),
    ((3, "n", 5, "bcd", "fixed", "right_z"), "padding is none, even, or"),
    ((3, "n", 5, "bcd", "ll_bcd", "none", "", "bytes"), "come in pairs"),
    ((3, "n", 6, "bcd", "fixed", "none", "", "bytes"), "nothing is counted"),
    ((52, "b", 50, "hex", "ll_ascii", "none", "", "bytes"), "does not fit prefix"),
    ((41, "ans", 8, "bcd"), "bcd can not carry ans"),
    ((52, "b", 8, "ascii"), "ascii can not carry b"),
    ((4, "n", 12, "raw"), "raw can not carry n"),
    ((2, "n", 100, "bcd", "ll_bcd", "right_0"), "does not fit prefix"),
    ((60, "n", 0, "bcd", "lll_bcd", "right_0"), "does not fit prefix"),
    ((22, "n", 3, "bcd"), "padding none is for"),
    ((2, "n", 19, "bcd", "ll_bcd"), "padding none is for"),
    ((3, "n", 6, "bcd", "fixed", "left_0"), "padding is for"),
    ((41, "ans", 8, "ascii", "fixed", "left_0"), "padding is for"),
]


@pytest.mark.parametrize(("columns", "reason"), WRONG_ROWS)
def test_a_wrong_row_is_refused(columns: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Element(*columns)


def test_a_wrong_table_is_refused() -> None:
    row = Element(3, "n", 6, "bcd")
    with pytest.raises(ValueError, match="ascend, each once"):
        Dialect("twice", "", "bcd", "binary", (row, row))
    with pytest.raises(ValueError, match="versions"):
        Dialect("none", "", "bcd", "binary", (row,), versions="")
    with pytest.raises(ValueError, match="DE 129 needs another bitmap"):
        Dialect("far", "", "bcd", "binary", (Element(129, "n", 4, "bcd"),))
    with pytest.raises(ValueError, match="1 to 3 bitmaps"):
        Dialect("four", "", "bcd", "binary", (row,), bitmaps=4)


def test_names() -> None:
    assert registry.names()[:3] == ("unionpay_pos", "iso1987_ascii", "iso1987_ascii_hex")
    for name in registry.names():
        dialect = registry.get(name)
        assert dialect.name == name
        assert "." not in name or dialect.base == name.partition(".")[0]
    with pytest.raises(LookupError, match="no dialect 'pos'; there are unionpay_pos, "):
        registry.get("pos")


def test_a_variant_differs_only_in_its_rows() -> None:
    base, variant = registry.get("unionpay_pos"), registry.get("unionpay_pos.de22_right")
    changed = {a.de for a, b in zip(base.elements, variant.elements, strict=True) if a != b}
    assert changed == {22}


def test_a_dialect_prints_as_a_page() -> None:
    page = str(registry.get("unionpay_pos")).splitlines()
    assert page[1] == "MTI bcd, bitmap binary"
    assert page[2].split() == ["DE", "name", "format", "encoding", "prefix", "padding"]
    assert " ".join(page[3].split()) == "2 primary account number n..19 bcd ll_bcd right_0f"
    assert len(page) == 3 + len(registry.get("unionpay_pos").elements)


def test_every_element_has_both_names() -> None:
    assert set(elements.NAMES) == set(range(129)) - {65}
    assert all(english and chinese for english, chinese in elements.NAMES.values())
    assert elements.name(65) == "DE 65"


def test_the_page_lists_every_dialect() -> None:
    page = (ROOT / "docs" / "dialects.md").read_text(encoding="utf-8")
    for name in registry.names():
        assert f"`{name}`" in page
