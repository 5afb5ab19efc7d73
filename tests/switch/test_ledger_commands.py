"""`tongbao ledger`: what each command answers on a ledger of three days, and its exit code.

Method: typer's runner on a database of the test, as `test_cli.py` does.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, get_args

import asyncpg
import pytest
from typer.testing import CliRunner

from settlement.chart import CHART, COMPOSITES
from settlement.chunk_verify import FindingKind
from settlement.posting_rules import RULE_VERSIONS
from switch import cli
from tests.schemas import assert_valid, schema
from tests.settlement.test_ledger_store import OTHER, SHOP, postgres_books, three_days
from tests.settlement.world import ACQUIRER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.database import FreshDatabase


class Answer:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def run(tmp_path: Path, database_dsn: FreshDatabase) -> Callable[..., Answer]:
    """`run("balance", "agent_float")` on a ledger of three days, the last of them open."""
    config = tmp_path / "node.toml"
    config.write_text(
        f'[database]\ndsn = "{database_dsn.app}"\nowner_dsn = "{database_dsn.owner}"\n'
    )

    async def fill() -> None:
        async with postgres_books(database_dsn) as books:
            await three_days(books)

    asyncio.run(fill())

    def call(*words: str, lang: str = "en") -> Answer:
        answer = CliRunner().invoke(
            cli.app, ["ledger", *words, "--config", str(config), "--lang", lang]
        )
        return Answer(answer.exit_code, answer.stdout, answer.stderr)

    return call


def test_accounts(run: Callable[..., Answer]) -> None:
    found = {one["code"]: one for one in run("accounts", "--json").lines()}
    assert found.keys() == {*CHART, *COMPOSITES}
    for one in found.values():
        assert_valid("ledger-account", one)
    assert found["customer_money"] == {
        "composite": True,
        "code": "customer_money",
        "kind": "liability",
        "name": "Customers' money",
        "name_zh": "客户资金",
        "parent": "liabilities",
        "version": 1,
        "depth": 1,
    }
    assert found["agent_float"]["minimum_minor"] == 0
    shown = run("accounts", lang="zh").out
    assert "代理商预存款" in shown
    assert "不低于 0" in shown


def test_rules(run: Callable[..., Answer]) -> None:
    found = run("rules", "--json").lines()
    for one in found:
        assert_valid("ledger-rule", one)
    assert {(one["name"], one["version"]) for one in found} == set(RULE_VERSIONS)
    shown = run("rules", lang="zh").out
    assert "captured@1" in shown
    assert "- effect + discount" in shown


def test_balance(run: Callable[..., Answer]) -> None:
    assert run("balance", "merchant_payable", "--date", "2026-08-03", "--json").lines() == [
        {
            "account": "merchant_payable",
            "owner": owner,
            "currency": "156",
            "layer": layer,
            "balance_minor": balance,
            "date": "2026-08-03",
        }
        for owner, layer, balance in (
            (SHOP, "pending", -495),
            (SHOP, "settled", -5_664),
            (OTHER, "settled", -693),
        )
    ]
    of_one = run("balance", "merchant_payable", "--owner", OTHER, "--json").lines()
    assert_valid("ledger-balance", of_one[0])
    assert [one["balance_minor"] for one in of_one] == [-693]
    shown = run("balance", "merchant_payable").out
    assert "-65.59" in shown
    assert "█" in shown
    assert run("balance", "nowhere").code == 2


def test_statement_by_pages(run: Callable[..., Answer]) -> None:
    asked = ("statement", "merchant_payable", "--owner", SHOP, "--limit", "5", "--json")
    first = json.loads(run(*asked).out)
    assert_valid("ledger-statement", first)
    second = json.loads(run(*asked, "--after", first["more"]).out)
    assert [one["key"] for one in first["lines"]] == ["h1", "c1", "c2", "c3", "c3"]
    assert [one["key"] for one in second["lines"]] == ["c3", "h2", "c6"]
    assert first["opening_minor"] == 0
    assert second["opening_minor"] == first["closing_minor"]
    assert (second["closing_minor"], second["more"]) == (-6_559, None)
    of_day = json.loads(run(*asked, "--from", "2026-08-04", "--to", "2026-08-04").out)
    assert [one["source"] for one in of_day["lines"]] == ["confirm_in", "confirm_out"]
    shown = run("statement", "merchant_payable", "--owner", SHOP, "--limit", "2").out
    assert "--after 2026-08-03/post/captured/c1" in shown
    assert run("statement", "merchant_payable", "--after", "yesterday").code == 2
    assert run("statement", "merchant_payable", "--layer", "sure").code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("statement", "merchant_payable", "--from", "2026-08-05", "--to", "2026-08-04"),
        ("trial-balance", "--from", "2026-08-05", "--date", "2026-08-04"),
        ("verify", "--from", "2026-08-05", "--to", "2026-08-04"),
    ],
    ids=lambda words: words[0],
)
def test_a_span_that_ends_before_it_begins_is_usage(
    run: Callable[..., Answer], words: tuple[str, ...]
) -> None:
    assert run(*words).code == 2


def test_trial_balance(run: Callable[..., Answer]) -> None:
    rows = run("trial-balance", "--date", "2026-08-04", "--json").lines()
    assert sum(one["closing_minor"] for one in rows if one["depth"] == 0) == 0
    for one in rows:
        assert_valid("ledger-trial", one)
    (payable,) = [
        one for one in rows if (one["account"], one["currency"]) == ("merchant_payable", "156")
    ]
    assert (payable["opening_minor"], payable["closing_minor"]) == (-6_852, -6_852)
    since = run("trial-balance", "--from", "2026-08-03", "--date", "2026-08-05", "--json").lines()
    assert {one["opening_minor"] for one in since} == {0}
    pending = run("trial-balance", "--date", "2026-08-03", "--layer", "pending", "--json").lines()
    assert {one["account"]: one["closing_minor"] for one in pending}["assets"] == 500
    shown = run("trial-balance").out
    assert "Trial balance 156" in shown
    assert "Trial balance 344" in shown


def test_entry(run: Callable[..., Answer]) -> None:
    found = json.loads(run("entry", "captured", "c1", "--json").out)
    assert_valid("ledger-entry", found)
    assert found["postings"] == [
        {
            "account": "network_receivable",
            "owner": f"{ACQUIRER}/2026-08-03",
            "amount_minor": 10_000,
        },
        {"account": "merchant_payable", "owner": SHOP, "amount_minor": -9_940},
        {"account": "merchant_discount", "owner": "", "amount_minor": -60},
    ]
    assert len(found["hash"]) == 64
    assert "99.40" in run("entry", "captured", "c1").out
    assert run("entry", "captured", "c99").code == 4


def test_verify_and_anchors(run: Callable[..., Answer], database_dsn: FreshDatabase) -> None:
    anchors = run("anchors", "--json").lines()
    assert_valid("ledger-anchor", anchors[0])
    assert [(one["business_date"], one["entries"]) for one in anchors] == [
        ("2026-08-03", 5),
        ("2026-08-04", 3),
    ]
    answer = run("verify", "--json")
    assert answer.code == 0
    assert json.loads(answer.out) == {
        "findings": [],
        "first": "2026-08-03",
        "last": "2026-08-04",
        "dates": 2,
        "entries": 8,
        "open_entries": 2,
        "anchor": anchors[-1]["anchor"],
    }
    assert "8 entries of 2 sealed dates and 2 of open ones hold" in run("verify").out
    of_second = json.loads(
        run("verify", "--from", "2026-08-04", "--to", "2026-08-04", "--json").out
    )
    assert (of_second["findings"], of_second["entries"]) == ([], 3)
    kept = [f"{one['business_date']}={one['anchor']}" for one in anchors]
    assert run("verify", "--anchor", kept[0], "--anchor", kept[1]).code == 0
    assert run("verify", "--anchor", f"2026-08-03={anchors[1]['anchor']}").code == 1
    assert run("verify", "--anchor", "2026-08-03").code == 1
    never = run("verify", "--anchor", f"2026-08-09={anchors[1]['anchor']}")
    assert (never.code, "was never made, or is gone" in never.out) == (1, True)
    assert run("verify", "--anchor", "yesterday=00").code == 2

    async def forge() -> None:
        owner = await asyncpg.connect(database_dsn.owner)
        await owner.execute("UPDATE settlement.entry SET merchant = 'x' WHERE key = 'c2'")
        await owner.close()

    asyncio.run(forge())
    answer = run("verify", "--json")
    assert answer.code == 1
    assert_valid("ledger-verification", json.loads(answer.out))
    (finding,) = json.loads(answer.out)["findings"]
    kinds = schema("ledger-verification")["properties"]["findings"]["items"]["properties"]["kind"]
    assert kinds["enum"] == list(get_args(FindingKind))
    assert (finding["kind"], finding["chunk"], finding["key"]) == ("changed", 0, "c2")
    assert "被改动" in run("verify", lang="zh").out


def test_an_entry_by_hand_from_proposal_to_reversal(
    run: Callable[..., Answer], tmp_path: Path
) -> None:
    """As the demo's two operators; the exit code says what waits."""

    def acting(*words: str, who: str = "demo", code: int = 0) -> Any:
        demo = () if words[:2] == ("approval", "list") else ("--demo",)
        line = ["--operator", who, *words, *demo, "--config", str(tmp_path / "node.toml")]
        answer = CliRunner().invoke(cli.app, [*line, "--lang", "en"])
        assert answer.exit_code == code, (answer.stdout, answer.stderr, answer.exception)
        return answer

    legs = ("--debit", "merchant_discount=600", "--credit", "vat_payable=600")
    why = ("--reason", "output tax of July", "--evidence", "return 2026-07 of 6222021234567890123")
    acting("ledger", "propose-entry", "V1", *legs, *why, code=3)
    acting("ledger", "propose-entry", "V2", "--debit", "bank_reserve=1", *legs[2:], *why, code=2)
    waits = json.loads(acting("approval", "list", "--json").stdout)
    assert (waits["act"], waits["subject"]) == ("ledger.entry", "V1")
    approve = ("ledger", "approve-entry", "V1", "--sha256")
    acting(*approve, waits["sha256"], code=4)  # his own
    assert "voucher V1 is posted" in acting(*approve, waits["sha256"], who="demo-checker").stdout
    acting("ledger", "propose-entry", "V1", *legs, *why, code=4)  # stands
    acting("ledger", "propose-reversal", "V1", *why, code=3)
    waits = json.loads(acting("approval", "list", "--json").stdout)
    acting(*approve, waits["sha256"], who="demo-checker")
    found = run("vouchers", "--json").lines()
    assert [(one["source"], one["key"]) for one in found] == [
        ("voucher", "V1"),
        ("voucher_reversal", "V1"),
    ]
    for one in found:
        assert_valid("voucher", one)
    assert "return 2026-07 of 622202*********0123" in run("vouchers").out
    (entry,) = run("entry", "voucher", "V1", "--json").out.split("\n", 1)[:1]
    assert entry == "{"
    assert run("balance", "vat_payable", "--json").lines() == []
