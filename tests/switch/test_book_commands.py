"""`tongbao fees`, `report`, `evidence`: what they answer on a closed date, and their exit codes."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from typer.testing import CliRunner

from settlement.adapters.postgres import open_postgres
from switch import cli
from tests.schemas import assert_valid
from tests.settlement.test_fee_book import MERCHANT, WITH_AGENTS, close_both, two_days
from tests.settlement.test_reports import Page, sheets
from tests.settlement.test_store import publish
from tests.settlement.world import DAY, captures_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.database import FreshDatabase

PLAN = """
[[fee_plan]]
name = "tea"
[[fee_plan.components]]
name = "merchant_discount"
rates = [
    {{ rate = "0.0038", entry = ["qr"], amount_up_to_minor = 100000 }},
    {{ rate = "0.0060", cap_minor = 8000 }},{more}
]
"""


@pytest.fixture
def run(tmp_path: Path, database_dsn: FreshDatabase) -> Callable[..., Any]:
    """`run("report", "day", …)` on a database with two closed dates."""
    config = tmp_path / "node.toml"
    config.write_text(
        f'[database]\ndsn = "{database_dsn.owner}"\n[settlement]\nfreeze_wait_s = 1.0\n'
    )

    async def closed() -> None:
        trades, _ = two_days()
        await publish(database_dsn.owner, trades, captures_of(trades), WITH_AGENTS)
        async with open_postgres(database_dsn.app) as (store, _):
            await close_both(store)

    asyncio.run(closed())

    def call(*words: str, lang: str = "en") -> Any:
        return CliRunner().invoke(
            cli.app, [*words, "--config", str(config), "--data", str(tmp_path), "--lang", lang]
        )

    return call


def plain(*words: str) -> Any:
    return CliRunner().invoke(cli.app, [*words, "--lang", "en"])


def lines(answer: Any) -> list[dict[str, Any]]:
    assert answer.exit_code == 0, answer.output
    return [json.loads(line) for line in answer.stdout.splitlines()]


def test_plans_are_judged_and_explained_without_a_store(tmp_path: Path) -> None:
    file = tmp_path / "plans.toml"
    file.write_text(PLAN.format(more=""))
    assert plain("fees", "check", str(file)).exit_code == 0
    asked = ("fees", "explain", "--plan", "tea", "--file", str(file), "--amount", "2000000")
    told = json.loads(plain(*asked, "--entry-mode", "032", "--json").stdout)
    assert_valid("fee-explanation", told)
    (part,) = told["components"]
    assert (part["line"], part["fee_minor"], part["bound"]) == (1, 8_000, "cap_minor")
    assert part["passed_over"][0]["condition"] == "amount_up_to_minor"
    assert "rates[1]" in plain(*asked).stdout
    file.write_text(PLAN.format(more=' { rate = "2" }'))
    answer = plain("fees", "check", str(file), "--json")
    assert answer.exit_code == 2
    assert [json.loads(line)["at"] for line in answer.stdout.splitlines()] == [
        "fee_plan[1].components[0].rates[2].rate",
        "fee_plan[1].components[0].rates[2]",
    ]
    assert plain(*asked).exit_code == 2
    assert plain("fees", "check", str(tmp_path / "none.toml")).exit_code == 2


def test_reports_in_every_form(run: Callable[..., Any], tmp_path: Path) -> None:
    date = ("--date", DAY.isoformat())
    rows = lines(run("report", "fees", *date, "--json"))
    assert {row["table"] for row in rows} == {"discounts", "costs"}
    (one, *_) = lines(run("report", "merchant", "--merchant", MERCHANT, *date, "--json"))
    assert one["table"] == "merchants"
    unknown = run("report", "merchant", "--merchant", "nobody", *date)
    assert (unknown.exit_code, "no merchant nobody" in unknown.stderr) == (4, True)
    assert "Fees" in run("report", "fees", *date).stdout
    for language, there, absent in (("en", "Cut-over", "日切"), ("zh", "日切", "Cut-over")):
        text = run("report", "day", *date, lang=language).stdout
        assert (there in text, absent in text, " · " in text) == (True, False, False)
    Page(run("report", "day", *date, "--format", "html").stdout_bytes)
    book = tmp_path / "breaks.xlsx"
    run("report", "breaks", *date, "--format", "xlsx", "--out", str(book))
    assert len(sheets(book.read_bytes())) == 1
    table = run("report", "shares", *date, "--format", "csv").stdout
    assert [row["agent"] for row in csv.DictReader(io.StringIO(table))] == ["a", "b"]
    due = lines(run("report", "statement", "--agent", "b", "--month", "2026-08", "--json"))
    total = due[0]
    assert total["gross_minor"] == total["vat_minor"] + total["net_minor"]
    assert total["gross_minor"] == sum(row["share_minor"] for row in due[1:])
    assert run("report", "day", "--date", "2026-09-01").exit_code == 3
    assert run("report", "reserve", *date).exit_code == 3  # not checked yet
    assert run("report", "day", *date, "--format", "pdf").exit_code == 2
    assert run("report", "day", *date, "--table", "none").exit_code == 2


def test_evidence_from_its_key_to_a_changed_store(
    run: Callable[..., Any], tmp_path: Path, database_dsn: FreshDatabase
) -> None:
    date, file = ("--date", DAY.isoformat()), tmp_path / "evidence.zip"
    make = ("evidence", "make", *date, "--demo", "--out", str(file))
    assert run(*make).exit_code == 3  # no key yet
    key = run("evidence", "init", "--demo").stdout.strip()
    assert run("evidence", "init", "--demo").stdout.strip() == key
    assert [one["public_key"] for one in lines(run("evidence", "keys", "--json"))] == [key]
    assert run(*make).exit_code == 0
    kept = file.read_bytes()
    assert run(*make).exit_code == 0
    assert file.read_bytes() == kept
    verify = ("evidence", "verify", str(file), "--json", "--key")
    answer = run(*verify, key, "--rerun")
    told = json.loads(answer.stdout)
    assert (answer.exit_code, told["findings"]) == (0, [])
    assert_valid("evidence", told)
    assert [one["step"] for one in told["decided_again"]] == ["reconcile", "fees", "post", "net"]
    assert run(*verify, "00" * 32).exit_code == 1
    for wrong in ("00", "x" * 64, "", "@/nowhere"):
        refused = run(*verify, wrong)
        assert (refused.exit_code, refused.stderr.startswith("tongbao: --key: ")) == (2, True)
    assert run("evidence", "make", "--date", "2026-09-01", "--demo").exit_code == 3

    # another key signs from now on: the former bundle stays, and is not written over
    second = run("evidence", "init", "--new", "--demo").stdout.strip()
    assert second != key
    assert run(*make).exit_code == 1
    assert run(*verify, second).exit_code == 1
    assert run(*verify, second, "--key", key).exit_code == 0

    async def change() -> None:
        connection = await asyncpg.connect(database_dsn.superuser)
        await connection.execute(
            "UPDATE settlement.merchant_fee SET discount_minor = discount_minor + 1 "
            "WHERE key = 'c54'"
        )
        await connection.close()

    asyncio.run(change())
    answer = run(*verify, key, "--rerun")
    places = [one["place"] for one in json.loads(answer.stdout)["findings"]]
    assert answer.exit_code == 1
    assert any(place.startswith("fees.merchant_fees") for place in places), places
