"""`tongbao explain` on a real store: by every key, as text, JSON and page, and what it says of none."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from switch import cli
from tests.schemas import assert_valid
from tests.switch.test_cli import store_purchase

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.database import FreshDatabase


@pytest.fixture
def run(tmp_path: Path, database_dsn: FreshDatabase) -> Callable[..., Any]:
    """`run("606300000001")`: `tongbao explain` on a database with a purchase; code, out, err."""
    asyncio.run(store_purchase(database_dsn.app))
    config = tmp_path / "node.toml"
    config.write_text(f'[database]\ndsn = "{database_dsn.owner}"\n')

    def call(*words: str, lang: str = "en") -> tuple[int, str, str]:
        line = ["explain", *words, "--config", str(config), "--data", str(tmp_path), "--lang", lang]
        answer = CliRunner().invoke(cli.app, line)
        if answer.exception is not None and not isinstance(answer.exception, SystemExit):
            raise answer.exception
        return answer.exit_code, answer.stdout, answer.stderr

    return call


def test_it_is_found_by_every_key(run: Callable[..., Any]) -> None:
    code, whole, _ = run("606300000001", "--json")
    assert code == 0
    assert_valid("story", json.loads(whole))
    for key in (
        ("1",),
        ("c16",),
        ("r1",),
        ("captured/c16",),
        ("--link-stan", "1", "--transmission-time", "0304120000"),
        ("--terminal", "T0000001", "--batch", "7", "--trace", "42"),
        ("--merchant", "M00000000000001"),
        ("--auth-code", "A00001", "--date", json.loads(whole)["transaction"]["business_date"]),
        ("606300000001", "--trace", "000042"),
    ):
        assert run(*key, "--json") == (0, whole, ""), key


def test_text_in_both_languages_and_the_page(run: Callable[..., Any], tmp_path: Path) -> None:
    _, english, _ = run("606300000001")
    assert "outcome approved, 00, by acquirer" in english
    _, chinese, _ = run("606300000001", lang="zh")
    assert "消费 100.00 156" in chinese
    file = tmp_path / "story.html"
    code, out, _ = run("606300000001", "--html", str(file))
    assert (code, out) == (0, f"written to {file}\n")
    page = ET.fromstring(file.read_text(encoding="utf-8").removeprefix("<!doctype html>"))
    assert len(page.findall(".//svg")) == 2


def test_what_is_not_there_is_said(run: Callable[..., Any]) -> None:
    code, out, err = run("999999999999")
    assert (code, out) == (4, "")
    assert err == "tongbao: no transaction. Looked in: RRN; request id; case, dispute\n"
    assert run("606300000001", "--trace", "43")[0] == 4
    assert run()[0] == 2
    assert run("--trace", "x")[0] == 2
