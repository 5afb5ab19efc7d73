"""`tongbao explain` on a real store: by every key, as text, JSON and page, and what it says of none."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import msgspec
import pytest
from typer.testing import CliRunner

from switch import cli
from switch.adapters.postgres import PostgresStore
from switch.adapters.system import SystemClock
from switch.journal import Commit, OutcomeRow, OutcomeState, Stored
from tests.schemas import assert_valid
from tests.switch import rows
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
    code, _, err = run("606300000001", "--trace", "43", lang="zh")
    assert code == 4
    assert "RRN of 2026-03-04; RRN; request id; case, dispute; --trace 43" in err
    assert run()[0] == 2
    assert run("a b")[0] == 2
    code, _, err = run("--trace", "x")
    assert (code, err) == (2, "tongbao: --trace is 1-6 digits, not x\n")


def test_where_several_are_found_it_says_what_tells_them_apart(
    run: Callable[..., Any], database_dsn: FreshDatabase
) -> None:
    asyncio.run(store_another(database_dsn.app))
    code, out, _ = run("--merchant", "M00000000000001", "--json")
    assert code == 1
    rows = [json.loads(line) for line in out.splitlines()]
    for row in rows:
        assert_valid("found-transaction", row)
    assert [row["stan"] for row in rows] == ["000042", "000043"]
    code, out, _ = run("--link-stan", "000001")
    assert code == 1
    assert out.splitlines()[-1] == "2 transactions; narrow with --acquirer --trace REQUEST_ID"
    assert run("--link-stan", "000001", "--acquirer", "bank_b", "--json")[0] == 0
    # a refused one has no attempt, and a story all the same
    code, out, _ = run("--trace", "44", "--json")
    assert code == 0
    assert "check_failed" in [step["event"] for step in json.loads(out)["timeline"]]


async def store_another(dsn: str) -> None:
    """A purchase at another bank with the same number on its link, and one that a rule refused."""
    store = await PostgresStore.open(dsn, SystemClock())
    try:
        owner = await store.owners.register("n2", 0)
        more = {"owner_id": owner, "generation": await store.reference.generation()}
        second = msgspec.structs.replace(
            rows.REQUEST, request_id=2, key=msgspec.structs.replace(rows.KEY, stan=43), **more
        )
        attempt = msgspec.structs.replace(rows.ATTEMPT, request_id=2, acquirer="bank_b")
        third = msgspec.structs.replace(
            rows.REQUEST,
            request_id=3,
            key=msgspec.structs.replace(rows.KEY, merchant="M00000000000002", stan=44),
            **more,
        )
        refused = OutcomeRow(3, OutcomeState.REFUSED, "61", rows.NOW, "merchant.amount_limit")
        for commit in (Commit(second, attempt), Commit(third, outcome=refused)):
            assert isinstance(await store.journal.commit(commit), Stored)
    finally:
        await store.close()
