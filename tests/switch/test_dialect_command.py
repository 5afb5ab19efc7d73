"""`tongbao dialect`: tables as people and programs read them, and files that are none.

Goal: whoever writes a dialect sees what it says, or the line to mend; objects are as the schemas say.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from iso8583.dialects import registry
from iso8583.dialects.from_toml import DialectFileError, from_toml
from iso8583.texts import DIALECT_TITLES
from switch import cli
from tests.pages import commands
from tests.schemas import assert_valid

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent.parent
ACME = """name = "acme_pos"
title = "ACME's terminals"
base = "unionpay_pos"
remove = [58]

[elements.48]
content = "ans"
size = 322
encoding = "ascii"
prefix = "lll_bcd"

[elements.43]
content = "ans"
size = 40
encoding = "gbk"
"""


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    file = tmp_path / "acme.toml"
    file.write_text(ACME, encoding="utf-8")
    return file


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test adds to the dialects is not known after it."""
    known = registry.names()
    yield
    for name in set(registry.names()) - set(known):
        del registry._DIALECTS[name]


def said(*words: str, code: int = 0) -> str:
    answer = CliRunner().invoke(cli.app, ["dialect", *words])
    assert answer.exit_code == code, answer.output
    return answer.output


def test_all_are_listed() -> None:
    lines = said("list", "--lang", "en").splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(registry.names())
    objects = [json.loads(line) for line in said("list", "--json").splitlines()]
    assert [one["name"] for one in objects] == list(registry.names())
    for one in objects:
        assert_valid("dialect", one)


@pytest.mark.parametrize("name", registry.names())
def test_one_is_shown_as_a_table_and_as_an_object(name: str) -> None:
    dialect = registry.get(name)
    page = said("show", name, "--lang", "en").splitlines()
    assert page[0] == f"{name}: {dialect.title}"
    assert page[2].split() == ["DE", "name", "format", "encoding", "prefix", "padding"]
    numbers = [line.split()[0] for line in page[3:] if line[:1].isdigit()]
    assert numbers == [str(row.de) for row in dialect.elements]
    shown = json.loads(said("show", name, "--json", "--lang", "zh"))
    assert_valid("dialect", shown)
    assert [row["de"] for row in shown["elements"]] == [row.de for row in dialect.elements]
    assert shown["title"] == DIALECT_TITLES[name]


def test_the_table_has_subfields_and_speaks_chinese() -> None:
    page = said("show", "unionpay_pos", "--lang", "en")
    assert "  60.2      batch number" in page
    assert "working keys, double length:" in page
    chinese = said("show", "unionpay_pos", "--lang", "zh")
    assert "批次号" in chinese
    assert "主账号" in chinese
    assert "action code" in said("show", "iso1993_ascii", "--lang", "en")
    assert "no dialect 'klingon'; there are unionpay_pos" in said("show", "klingon", code=2)


def test_a_file_is_checked_and_shown(acme: Path) -> None:
    lines = said("check", str(acme), "--lang", "en").splitlines()
    assert lines == [
        "acme_pos: 35 elements",
        "other than in unionpay_pos: DE 48",
        "not in unionpay_pos: DE 43",
        "only in unionpay_pos: DE 58",
    ]
    found = json.loads(said("check", str(acme), "--json"))
    assert_valid("dialect-check", found)
    assert (found["replaced"], found["added"], found["removed"]) == ([48], [43], [58])
    assert said("show", str(acme), "--lang", "en").startswith("acme_pos: ACME's terminals\n")


def test_a_file_that_is_none_is_told_by_line(acme: Path) -> None:
    acme.write_text(ACME.replace("322", '"322"'), encoding="utf-8")
    told = said("check", str(acme), code=2)
    assert f"{acme}: line 8: elements.48.size: expected `int`, got `str`" in told
    found = json.loads(said("check", str(acme), "--json", code=2))
    assert_valid("dialect-check", found)
    assert (found["error"]["key"], found["error"]["line"]) == ("elements.48.size", 8)
    assert "line 8" in said("show", str(acme), code=2)
    assert "No such file" in said("check", str(acme.parent / "none.toml"), code=2)


def test_a_nodes_own_dialects_are_listed(acme: Path) -> None:
    node = acme.parent / "node.toml"
    node.write_text('dialects = ["acme.toml"]\n', encoding="utf-8")
    assert "acme_pos" in said("list", "--config", str(node), "--lang", "en")
    assert "acme_pos" in said("show", "acme_pos", "--config", str(node), "--lang", "en")


def test_the_walk_through_of_the_page_does_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    page = ROOT / "docs" / "dialects.md"
    text = page.read_text(encoding="utf-8")
    answers = [
        (words, CliRunner().invoke(cli.app, [*words, "--lang", "en"]))
        for words in commands(page)
        if "--lang" not in words
    ]
    assert len(answers) == 6
    for words, answer in answers:
        refused = words[0] == "inspect" and words[-1] == "unionpay_pos"
        assert answer.exit_code == refused, answer.output
        if refused:
            assert "DE 22 at byte 45: wrong filler nibble" in " ".join(answer.output.split())
        if words[:2] == ["dialect", "check"]:
            assert f"```text\n{answer.output}```" in text
    example = (ROOT / "docs" / "example-dialect.toml").read_text(encoding="utf-8").splitlines()
    assert example[23] == 'prefix = "lll_bcd"'
    wrong = "\n".join([*example[:23], 'prefix = "lll"', *example[24:]])
    with pytest.raises(DialectFileError) as refusal:
        from_toml(wrong, registry.get)
    assert " ".join(str(refusal.value).split()) in " ".join(text.split())


def test_every_dialect_of_ours_has_a_chinese_title() -> None:
    assert set(DIALECT_TITLES) == {dialect.name for dialect in registry.SHIPPED}
