"""The spine on real parts: sign-on, trade, silence with reversal, restart, 0500.

Goal: the promises hold from the outside, over real TCP and PostgreSQL with two workers. Method:
simulated terminals and banks around a real node; after the traffic their views and the journal's
published view must agree, transaction by transaction.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from terminals.simulator.bank import BankFaults
from terminals.simulator.fleet import FleetOptions, FleetResult, TerminalFaults, run
from tests.end_to_end.node import Hosts, Node, furnish, make_terminals, running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("end_to_end")

QUIET_S = 30.0


async def connect(host: str, port: int, factory: Any) -> tuple[Any, Any]:
    return await asyncio.get_running_loop().create_connection(factory, host, port)


async def trade(
    node: Node, terminals: int, transactions: int, faults: TerminalFaults | None = None, **more: Any
) -> FleetResult:
    host, port = node.address
    options = FleetOptions(
        host=host,
        port=port,
        transactions=transactions,
        faults=faults or TerminalFaults(),
        answer_timeout_s=8.0,
        retry_s=0.2,
        **more,
    )
    return await run(make_terminals(terminals), options, random.Random(1), connect)


async def quiet(node: Node) -> None:
    """Wait until nothing is undecided and nothing waits to be delivered."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + QUIET_S
    while True:
        states = await node.query(
            "SELECT state, count(*) AS n FROM switch.transaction_v1"
            " WHERE state IN ('in_flight', 'pending') GROUP BY state"
            " UNION ALL SELECT 'queued', count(*) FROM switch.queue_v1 HAVING count(*) > 0"
        )
        if not states:
            return
        assert loop.time() < until_s, f"not quiet: {[tuple(row) for row in states]}"
        await asyncio.sleep(0.2)


async def check_views(node: Node, hosts: Hosts, result: FleetResult) -> None:
    """Terminals, journal and banks say the same of every transaction."""
    journal = await node.query("SELECT * FROM switch.transaction_v1")
    captures = await node.query("SELECT * FROM switch.capture_v1")
    by_key = Counter(
        (row["merchant"], row["terminal"], row["batch"], row["stan"], row["mti"]) for row in journal
    )
    assert all(count == 1 for count in by_key.values())
    rows = {(row["terminal"], row["batch"], row["stan"], row["type"]): row for row in journal}
    for slip in result.slips:
        if slip.state == "approved" and slip.kind != "balance":
            row = rows[slip.terminal, int(slip.batch), int(slip.trace), slip.kind]
            assert row["state"] == "approved", (slip, dict(row))
            assert row["approved_amount_minor"] == slip.approved_minor
            assert row["rrn"] == slip.rrn
    ours = sum(row["effect_minor"] for row in captures)
    assert ours == result.effect_minor
    assert ours == sum(bank.report().standing_minor for bank in hosts.banks)


def test_a_day_without_faults(tmp_path: Path) -> None:
    async def day(node: Node) -> None:
        async with Hosts() as hosts:
            await furnish(node, hosts, terminals=6)
            result = await trade(node, 6, 120)
            assert result.transactions == 120
            assert not result.undecided
            assert not result.surprises, (result.surprises, result.counts)
            assert not result.gave_up
            assert set(result.settlements) == {"balanced"}, result.settlements
            await quiet(node)
            await check_views(node, hosts, result)

    with running(tmp_path) as node:
        asyncio.run(day(node))
        assert node.stop() == 0, node.log()


def test_silence_and_hang_ups_are_reversed(tmp_path: Path) -> None:
    async def day(node: Node) -> None:
        faults = BankFaults(silent=0.06, lost=0.04, late=0.05, late_s=4.0, drop=0.01, twice=0.03)
        async with Hosts([faults, faults]) as hosts:
            await furnish(node, hosts, terminals=6, timeout_s=2.0)
            mean = TerminalFaults(
                hang_up=0.05, repeat=0.05, repeat_lost=0.05, bad_mac=0.03, print_failure=0.03
            )
            result = await trade(node, 6, 150, mean)
            assert not result.undecided, result.undecided
            assert result.repeats_same
            assert not result.repeats_different
            await quiet(node)
            await check_views(node, hosts, result)

    with running(tmp_path) as node:
        asyncio.run(day(node))
        assert node.stop() == 0, node.log()
