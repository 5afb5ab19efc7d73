"""What a link expects: data that is checked when it comes in, and the page that tells it."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from settlement.files.page import page
from settlement.files.registry import FORMATS, ExpectedError, expected_of, recognise
from settlement.files.rows import Expected
from tests.settlement.files.samples import CSV

PAGE = Path(__file__).resolve().parents[3] / "docs" / "clearing-files.md"


def test_short_forms() -> None:
    assert expected_of("com") == {"COM": Expected()}
    assert expected_of("none") == {}


def test_types_with_their_options() -> None:
    found = expected_of(
        {"COM": {}, "ZPSUM": {"optional": True}, "IPM": {"name": r"T(?P<date>\d{6})"}}
    )
    assert {type_: one.optional for type_, one in found.items()} == {
        "COM": False,
        "ZPSUM": True,
        "IPM": False,
    }


@pytest.mark.parametrize(
    ("clearing", "reason"),
    [
        ("tcr", "com, none, or a table"),
        ({}, "com, none, or a table"),
        (["COM"], "com, none, or a table"),
        ({"TCR": {}}, "TCR: no such type; there are COM, "),
        ({"COM": {"colour": 1}}, "COM: Object contains unknown field `colour`"),
        ({"COM": {"optional": "yes"}}, "COM: Expected `bool`"),
        ({"CHECK": {"gives": ["S22"]}}, "CHECK: name: needed"),
        ({"CHECK": {"name": r"(?P<date>\d{8})"}}, "CHECK: gives: the codes of sales are needed"),
        ({"IPM": {"name": "T112"}}, "IPM: no group `date`"),
        ({"IPM": {"name": "("}}, "IPM: not a regular expression"),
        ({"IPM": {"name": r"(?P<date>\d{6})(?P<x>.)"}}, "IPM: groups are"),
        ({"CSV": {"name": r"(?P<date>\d{6})"}}, "CSV: columns: 1 to 200"),
        ({"CSV": {"columns": [{"field": "amount", "colour": 1}]}}, "CSV: Object contains unknown"),
    ],
)
def test_what_is_not_understood_is_refused(clearing: Any, reason: str) -> None:
    with pytest.raises(ExpectedError) as refused:
        expected_of(clearing)
    assert str(refused.value).startswith(reason)


def test_a_sequence_and_both_ways_of_a_year() -> None:
    expected = expected_of({"PRESENTMENT": {"name": r"p(?P<date>\d{6}|\d{8})_(?P<sequence>\d+)"}})
    short, long = (recognise("a", name, expected) for name in ("p260803_7", "p20260803_7"))
    assert short is not None
    assert long is not None
    assert (short.settlement_date, short.sequence) == (long.settlement_date, 7)


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "tongbao files layout --markdown > docs/clearing-files.md"
    )


def test_the_page_names_every_type_and_its_examples_are_understood() -> None:
    text = page()
    for name in FORMATS:
        assert f"\n## {name}\n" in text
    examples = [block.partition("\n```")[0] for block in text.split("```toml\n")[1:]]
    links = [link for block in examples for link in tomllib.loads(block)["link"]]
    found = [expected_of(link["clearing"]) for link in links if isinstance(link, dict)]
    assert {"COM", "CSV"} <= {type_ for one in found for type_ in one}


def test_a_description_survives_the_store() -> None:
    kept = msgspec.json.decode(msgspec.json.encode({"CSV": CSV}))
    assert expected_of(kept) == {"CSV": CSV}
