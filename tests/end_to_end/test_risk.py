"""A velocity rule on a real node: one card at many terminals at once, over real TCP and PostgreSQL.

Goal: two workers, and terminals that do not wait for each other, do not pass a limit; what is refused
is told, journalled with the rule's version, and raises one alert. Method: the rule comes in by
`data apply`; every terminal buys with the same card at the same moment, then repeats what it sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from terminals.simulator.card import BANK_A, card_pools
from tests.end_to_end import command
from tests.end_to_end.node import ROOT, Hosts, Node, furnish, make_terminals, running
from tests.end_to_end.wire import Wire
from tests.schemas import assert_valid

if TYPE_CHECKING:
    from pathlib import Path

    from tests.database import FreshDatabase

pytestmark = pytest.mark.xdist_group("end_to_end")

TERMINALS, ROUNDS, MOST = 12, 2, 5
RULE = f"""
[[risk_rule]]
name = "card-velocity"
scope = "card"
when = {{ types = ["purchase"] }}
measure = "count"
threshold = {MOST}
window_s = 3600
action = "decline"
alert = true
"""


def place_of(node: Node) -> list[str]:
    return command.place(node.config, node.folder / "data")


def lines(*words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in command.tongbao(*words).splitlines()]


def test_one_card_at_many_terminals(tmp_path: Path) -> None:
    card = card_pools(BANK_A).sound[0]

    async def day(node: Node) -> None:
        async with AsyncExitStack() as stack:
            hosts = await stack.enter_async_context(Hosts())
            await furnish(node, hosts, TERMINALS)
            rules = tmp_path / "rules.toml"
            rules.write_text(RULE)
            words = ("data", "apply", "--demo", str(rules), *place_of(node))
            await asyncio.to_thread(command.process, *words)
            told: Counter[str] = Counter()
            terminals = make_terminals(TERMINALS)
            wires = [await stack.enter_async_context(Wire(node.address)) for _ in range(TERMINALS)]
            for terminal, wire in zip(terminals, wires, strict=True):
                await wire.ask(terminal, terminal.sign_on())
            for _ in range(ROUNDS):
                requests = [terminal.purchase(card, 10_00, pin=card.pin) for terminal in terminals]
                asked = list(zip(terminals, wires, requests, strict=True))
                answers = await asyncio.gather(
                    *(wire.ask(terminal, request) for terminal, wire, request in asked)
                )
                told.update(answer.response_code for answer in answers)
                for (_, wire, request), answer in zip(asked, answers, strict=True):
                    wire.send(request.frame)
                    assert (await wire.message())[39] == answer.response_code
            assert told == {"00": MOST, "65": TERMINALS * ROUNDS - MOST}
            rows = await node.query(
                "SELECT state, rule, count(*) AS n FROM switch.journal_v1 GROUP BY 1, 2 ORDER BY 1"
            )
            assert [tuple(row) for row in rows] == [
                ("approved", "acquirer", MOST),
                ("refused", "risk.card-velocity@1", TERMINALS * ROUNDS - MOST),
            ]

    with running(tmp_path) as node:
        asyncio.run(day(node))
        (alert,) = lines("risk", "alerts", "--json", *place_of(node))
        assert_valid("risk-alert", alert)
        assert (alert["state"], alert["measured"], alert["threshold"]) == ("open", MOST + 1, MOST)
        (counter,) = lines("risk", "counters", "--json", *place_of(node))
        assert (counter["count"], counter["amount_minor"]) == (MOST, MOST * 10_00)
        assert node.stop() == 0, node.log()


def test_racing_processes_of_the_operating_system(database_dsn: FreshDatabase) -> None:
    """Three processes, each with its own connections, ask for one card as fast as they can."""
    racer_of = [sys.executable, "-m", "tests.contract.risk_racer", database_dsn.app]
    racers = [
        subprocess.Popen(
            [*racer_of, str(first)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in (1_000, 2_000, 3_000)
    ]
    told: Counter[str] = Counter()
    for racer in racers:
        output, _ = racer.communicate(timeout=120)
        assert racer.returncode == 0
        told.update(output.split())
    assert told == {"passed": 3, "65": 57}
