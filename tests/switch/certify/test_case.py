"""Cases and cards: what the files may say, and how a mistake in one is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from iso8583.track import luhn_ok
from switch.certify.cards import CardFileError, read, simulated
from switch.certify.case import FOLDER, WORDS, CaseError, load
from tests.end_to_end.node import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CASE = """
[[case]]
id = "one"
title = "t"
title_zh = "题"
purpose = "p"
purpose_zh = "目的"
[[case.step]]
do = "purchase"
"""


def cases(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "a.toml").write_text(text)
    return [case.id for case in load(tmp_path)]


def test_every_case_that_comes_along_is_in_both_languages() -> None:
    for case in load():
        assert re.search("[\u4e00-\u9fff]", case.title_zh), case.id
        assert re.search("[\u4e00-\u9fff]", case.purpose_zh), case.id
        assert case.title
        assert case.purpose.endswith(".")
        assert any(step.link for step in case.step), case.id


def test_each_makes_a_case_of_every_value(tmp_path: Path) -> None:
    text = CASE.replace('id = "one"', 'each = ["05", "41"]\nid = "declined_{each}"')
    assert cases(tmp_path, text) == ["declined_05", "declined_41"]


WRONG = [
    ("twice", CASE + CASE, "one: stands twice"),
    ("no act", CASE.replace("purchase", "guess"), "no act 'guess'"),
    ("no fault", CASE + 'fault = "guess"', "no fault 'guess'"),
    ("nothing before", CASE + 'of = "sale"', "no step 'sale' before it"),
    ("unknown key", CASE + "guess = 1", "guess"),
    ("no shape", CASE + '[[case.step.link]]\nto = "bank"\nmti = "0200"\nlike = ["x"]', "no shape 'x'"),
    ("no element", CASE + '[[case.step.link]]\nto = "bank"\nmti = "0200"\nelements = { 200 = "a" }', "no data element '200'"),
    ("no pattern", CASE + '[[case.step.link]]\nto = "bank"\nmti = "0200"\nelements = { 4 = "(" }', "DE 4"),
    ("an id", CASE.replace('"one"', '"../one"'), "an id is small letters"),
    ("no TOML", "[[case", "a.toml"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), [pytest.param(*row[1:], id=row[0]) for row in WRONG])
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(CaseError, match=re.escape(reason)):
        cases(tmp_path, text)


def test_a_folder_without_cases_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(CaseError, match="no cases here"):
            load(folder)


def test_words_are_told_in_the_docs() -> None:
    page = (ROOT / "docs" / "certification.md").read_text(encoding="utf-8")
    assert [word for word in WORDS if f"`{word}`" not in page] == []


def test_cards_of_the_example() -> None:
    cards = read(ROOT / "docs" / "example-certification-cards.toml")
    roles = {step.card for case in load(FOLDER) for step in case.step}
    assert set(cards) <= roles
    assert "sound" in cards
    assert all(luhn_ok(card.pan) for card in cards.values())


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('role = "a"\npan = "6220000000000000011"\nexpiry = "3012"', "check digit"),
        ('role = "a"\npan = "4111111111111111"\nexpiry = "12"', "YYMM"),
        ('role = "a"\npan = "4111111111111111"\nexpiry = "3012"\npin = "12"', "4 to 12 digits"),
    ],
)
def test_a_card_that_is_none_is_told_without_its_number(
    tmp_path: Path, row: str, reason: str
) -> None:
    (tmp_path / "cards.toml").write_text(f"[[card]]\n{row}\n")
    with pytest.raises(CardFileError, match=reason) as caught:
        read(tmp_path / "cards.toml")
    assert "411111111111" not in str(caught.value)
    assert "622000000000" not in str(caught.value)


def test_simulated_cards_are_sound() -> None:
    made = simulated(["sound", "declines_05", "part"])
    assert all(luhn_ok(card.pan) for card in made.values())
    assert (made["declines_05"].declines, made["sound"].declines) == ("05", "")
    assert "622000" in repr(made["sound"])
    assert made["sound"].pan not in repr(made["sound"])
