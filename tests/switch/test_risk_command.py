"""`tongbao risk`: alerts from open to closed, rules, counters, a card's token; in both languages.

Method: requests meet a rule on a database of the test; operators work its alert with typer's runner.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from hsm.lmk import TEST_LMK
from hsm.local import LocalVault
from switch import cli, data_keys
from switch.adapters.postgres import PostgresStore
from switch.adapters.system import SystemClock, SystemEntropy
from tests.contract.test_risk import CARD, THREE, buy
from tests.contract.worlds import stored
from tests.schemas import assert_valid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.database import FreshDatabase

RULE = """
[[risk_rule]]
name = "three"
scope = "card"
when = { types = ["purchase"] }
measure = "count"
threshold = 3
window_s = 600
action = "decline"
alert = true
"""
PAN = "6220000000000019"


@pytest.fixture
def run(tmp_path: Path, database_dsn: FreshDatabase) -> Callable[..., tuple[int, str]]:
    """`run("alerts")`: exit code and output, on a store whose card has asked once too often."""

    async def ask() -> None:
        store = await PostgresStore.open(database_dsn.app, SystemClock())
        try:
            vault = LocalVault(TEST_LMK, SystemEntropy().bytes)
            await data_keys.ensure(store.reference, vault)
            for number in range(1, 5):
                masked = "622000******0019"
                row = await buy(store, number, generation=99, pan_masked=masked)
                stored(row[1])
        finally:
            await store.close()

    asyncio.run(ask())
    config = tmp_path / "node.toml"
    config.write_text(f'[database]\ndsn = "{database_dsn.owner}"\n')
    (tmp_path / "rules.toml").write_text(RULE)

    def call(
        *words: str, by: str = "", lang: str = "en", stdin: str | None = None
    ) -> tuple[int, str]:
        whom = ["--demo"] if by else []
        login = ["--operator", by] if by else []
        place = ["--config", str(config), "--lang", lang]
        answer = CliRunner().invoke(cli.app, [*login, *words, *whom, *place], input=stdin)
        return answer.exit_code, answer.output

    return call


def test_an_alert_is_taken_and_closed(run: Callable[..., tuple[int, str]]) -> None:
    code, output = run("risk", "alerts", "--json", "--state", "open")
    assert code == 0
    (alert,) = [json.loads(line) for line in output.splitlines()]
    assert_valid("risk-alert", alert)
    assert (alert["subject"], alert["measured"], alert["rule"]) == ("622000******0019", 4, "three")
    number = str(alert["alert"])

    code, output = run("risk", "take", number, by="demo", lang="zh")
    assert (code, "处理中" in output, "demo" in output) == (0, True, True)
    code, output = run("risk", "take", number, "--json", by="demo")  # it is his already
    assert (code, len(json.loads(output)["acts"])) == (0, 1)
    code, output = run("risk", "take", number, "--json", by="demo-checker")  # handed on
    taken = json.loads(output)
    assert_valid("risk-alert", taken)
    assert (taken["state"], taken["owner"], len(taken["acts"])) == ("taken", "demo-checker", 2)

    said = f"a test card, {PAN}"
    code, output = run("risk", "close", number, "--reason", said, "--json", by="demo-checker")
    closed = json.loads(output)
    assert (code, closed["state"], closed["owner"]) == (0, "closed", "demo-checker")
    assert closed["acts"][-1]["reason"] == "a test card, 622000******0019"
    assert run("risk", "take", number, by="demo")[0] == 4
    assert run("risk", "close", "77", "--reason", "x", by="demo")[0] == 4
    assert run("risk", "close", number, "--reason", " ", by="demo")[0] == 2
    assert run("risk", "alerts", "--state", "odd")[0] == 2
    assert "closed" in run("risk", "alerts", "--rule", "three", "--owner", "demo-checker")[1]
    assert run("risk", "alerts", "--json", "--state", "open") == (0, "")

    code, output = run("audit", "list", "--json")
    acts = [json.loads(line) for line in output.splitlines()]
    assert [(each["actor"], each["act"]) for each in acts if each["act"].startswith("risk.")] == [
        ("demo", "risk.taken"),
        ("demo-checker", "risk.taken"),
        ("demo-checker", "risk.closed"),
    ]


def test_rules_and_counters(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    assert run("data", "apply", str(tmp_path / "rules.toml"), by="demo")[0] == 0
    code, output = run("risk", "rules", "--json")
    (rule,) = [json.loads(line) for line in output.splitlines()]
    assert_valid("risk-rule", rule)
    assert (code, rule["name"], rule["version"], rule["threshold"]) == (0, "three", 1, 3)
    assert "three" in run("risk", "rules", lang="zh")[1]

    code, output = run("risk", "counters", THREE.name, "--json")
    (counter,) = [json.loads(line) for line in output.splitlines()]
    assert_valid("risk-counter", counter)
    assert (code, counter["counter"], counter["subject"]) == (0, "three/600", CARD)
    assert (counter["count"], counter["amount_minor"]) == (3, 300)
    assert CARD in run("risk", "counters")[1]
    assert run("risk", "counters", "other", "--json") == (0, "")


def test_a_cards_token(run: Callable[..., tuple[int, str]]) -> None:
    code, output = run("risk", "token", by="demo", stdin=f"{PAN}\n")
    assert code == 0
    assert len(bytes.fromhex(output.strip())) == 16
    assert run("risk", "token", by="demo", stdin=f"{PAN}\n") == (0, output)
    code, output = run("risk", "token", by="demo", stdin="6220000000000013\n")
    assert (code, "6220000000000013" in output) == (2, False)
