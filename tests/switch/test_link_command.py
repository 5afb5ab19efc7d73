"""`tongbao link` on a real store: what it shows of answers that counted for nothing, in both languages."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import msgspec
import pytest
from typer.testing import CliRunner

from switch import cli
from switch.adapters.postgres import PostgresStore
from switch.adapters.system import SystemClock
from switch.store_ports import UnmatchedRow
from tests.contract.test_link_facts import ANSWER
from tests.schemas import assert_valid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.database import FreshDatabase


@pytest.fixture
def run(database_dsn: FreshDatabase, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    async def keep() -> None:
        store = await PostgresStore.open(database_dsn.app, SystemClock())
        now = SystemClock().now()
        late = msgspec.structs.replace(ANSWER, reason="late", acquirer="bank_b", nearest=None)
        rows = [UnmatchedRow(1, 1, now, ANSWER), UnmatchedRow(1, 2, now, late)]
        await store.link_facts.keep_unmatched(rows)
        await store.close()

    asyncio.run(keep())
    config = tmp_path / "node.toml"
    config.write_text(f'[database]\ndsn = "{database_dsn.owner}"\n')

    def call(*words: str, lang: str = "en") -> tuple[int, str]:
        place = ["--config", str(config), "--lang", lang]
        answer = CliRunner().invoke(cli.app, [*words, *place], env={"COLUMNS": "250"})
        return answer.exit_code, answer.output

    return call


def test_what_counted_for_nothing(run: Callable[..., tuple[int, str]]) -> None:
    code, output = run("link", "unmatched", "--json")
    late, strange = [json.loads(line) for line in output.splitlines()]
    assert code == 0
    for each in (late, strange):
        assert_valid("unmatched-answer", each)
    assert (late["nearest"], strange["nearest"]["request_id"]) == (None, 77)
    assert strange["differences"][0] == {
        "de": 37,
        "asked": "606000000124",
        "answered": "606000000123",
    }
    for lang, words in (("en", "DE 37: asked 606000000124"), ("zh", "请求 606000000124")):
        assert words in run("link", "unmatched", lang=lang)[1]
    for narrowed in (("--link", "bank_b"), ("--reason", "late"), ("--limit", "1")):
        assert json.loads(run("link", "unmatched", "--json", *narrowed)[1]) == late
    assert (
        json.loads(run("link", "unmatched", "--json", "--request", "77", "--hours", "1")[1])
        == strange
    )
    assert run("link", "unmatched", "--reason", "odd")[0] == 2


def test_a_key_is_asked_for_and_listed(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "link.toml").write_text(
        '[[link]]\nacquirer = "bank_a"\nhost = "h"\nport = 1\nde32 = "1"\n'
    )
    ask = ("keys", "send", "--link", "bank_a", "--usage", "zak", "--demo")
    by = ("--operator", "demo")
    assert run(*by, "data", "apply", str(tmp_path / "link.toml"), "--demo")[0] == 0
    assert run(*by, *ask)[0] == 4  # without a ZMK nothing could ever be sent
    zmk = ("--usage", "zmk", "--component", "0123456789ABCDEFFEDCBA9876543210")
    assert run(*by, "keys", "import", "--link", "bank_a", *zmk, "--demo")[0] == 0
    assert run(*by, *ask)[0] == 0
    assert run(*by, *ask, lang="zh")[0] == 3  # one is under way
    assert run(*by, "keys", "send", "--link", "other", "--usage", "zpk", "--demo")[0] == 4
    assert run(*by, "keys", "send", "--link", "bank_a", "--usage", "zmk", "--demo")[0] == 2
    code, output = run("link", "keys", "--json", "--link", "bank_a")
    exchange = json.loads(output)
    assert_valid("key-exchange", exchange)
    assert (code, exchange["state"], exchange["asked_by"]) == (0, "asked", "demo")
    assert "已申请" in run("link", "keys", lang="zh")[1]
    acts = [json.loads(line) for line in run("audit", "list", "--json")[1].splitlines()]
    assert ("demo", "keys.send") in [(each["actor"], each["act"]) for each in acts]
