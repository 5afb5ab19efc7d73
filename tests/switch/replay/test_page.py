"""The page of two runs: well-formed whatever is in a value, in both languages, nothing fetched."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import msgspec
import pytest

from switch.replay.compare import Ignored, Summary, differences
from switch.replay.page import render
from tests.switch.replay.test_compare import line

BUILDS = ("v0.3 (0.3.0)", "<b>.&</b> (0.4.0)")


def changed(**facts: str) -> Any:
    return msgspec.structs.replace(line(), facts={**line().facts, **facts})


def made(language: str, lines: int, shown: int) -> tuple[str, ET.Element]:
    summary = Summary()
    ours = [msgspec.structs.replace(line(), line=number) for number in range(lines)]
    theirs = [
        msgspec.structs.replace(
            changed(response_code="51", state="</td><script>"), line=number, type="<i>"
        )
        for number in range(lines)
    ]
    found = list(differences(ours, theirs, Ignored(), summary))
    text = render(BUILDS, summary, found[:shown], language=language)
    return text, ET.fromstring(text.removeprefix("<!doctype html>"))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_page_is_well_formed_and_needs_nothing(language: str) -> None:
    text, tree = made(language, 5, 3)
    assert tree.get("lang") == language
    assert not tree.findall(".//script")
    assert not re.search(r"https?:|url\(|@import|\ssrc=|\shref=", text)
    for each in ("en", "zh"):
        (body,) = tree.findall(f".//div[@lang='{each}']")
        assert len(body.findall(".//details")) == 3
        cells = [cell.text for cell in body.findall(".//details//td")]
        assert cells[:6] == ["state", "approved", "</td><script>", "response_code", "00", "51"]
        assert ("… and 2 lines more" if each == "en" else "另有 2 行") in "".join(body.itertext())


def test_counts_are_bars_the_longest_first() -> None:
    _, tree = made("en", 4, 4)
    (body,) = tree.findall(".//div[@lang='en']")
    assert {bar.get("style") for bar in body.findall(".//i")} == {"width: 100.0%"}
    assert "00 → 51" in [cell.text for cell in body.findall(".//td")]


def test_no_difference_is_said_and_has_no_list() -> None:
    summary = Summary()
    assert not list(differences([line()], [line()], Ignored(), summary))
    tree = ET.fromstring(render(BUILDS, summary, [], language="en").removeprefix("<!doctype html>"))
    (title,) = tree.findall(".//div[@lang='en']/h1")
    assert title.text == f"no difference between {BUILDS[0]} and {BUILDS[1]} in 1 lines"
    assert not tree.findall(".//details")
