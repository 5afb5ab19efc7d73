"""Kill -9 of a worker, the supervisor and PostgreSQL, under load.

Goal: nothing acknowledged is lost, nothing has a second effect (P1-P5), seen from the outside. Method:
terminals trade while a process is killed by its pid; afterwards, on the restarted node, everybody's
views must agree. What the crash made unknown has happened exactly once in effect, or not at all.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from terminals.simulator.bank import BankFaults
from terminals.simulator.fleet import TerminalFaults
from tests.end_to_end.day import check_views, quiet, trade
from tests.end_to_end.node import Hosts, Node, furnish, kill, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("end_to_end")

TERMINALS, TRANSACTIONS = 12, 600
LATENCY_S = 0.05  # of the banks: so that many requests are in flight at any instant


async def under_load(
    node: Node, crash: Callable[[Node], None], pauses_s: tuple[float, ...]
) -> None:
    async with Hosts([BankFaults(lost=0.01)] * 2, LATENCY_S) as hosts:
        await furnish(node, hosts, TERMINALS, timeout_s=2.0)
        trading = asyncio.create_task(
            trade(node, TERMINALS, TRANSACTIONS, TerminalFaults(hang_up=0.02, repeat=0.02))
        )
        for pause_s in pauses_s:
            await asyncio.sleep(pause_s)
            assert not trading.done(), "the load ended before the crash"
            await asyncio.to_thread(crash, node)
        result = await trading
        # a refund without answer is never reversed: the journal ends it, whatever the terminal knows
        assert {slip.kind for slip in result.undecided} <= {"refund"}, result.undecided
        assert not result.repeats_different, result.repeats_different
        await quiet(node)
        await check_views(node, hosts, result)
        unexplained = await node.query(
            "SELECT count(*) AS n FROM switch.transaction_v1 WHERE state = 'in_flight'"
        )
        assert unexplained[0]["n"] == 0


def test_a_worker(tmp_path: Path) -> None:
    def crash(node: Node) -> None:
        node.read_facts()
        kill(node.workers[0])

    with running(tmp_path) as node:
        asyncio.run(under_load(node, crash, (1.0, 2.0)))
        assert node.stop() == 0, node.log()


def test_the_supervisor(tmp_path: Path) -> None:
    def crash(node: Node) -> None:
        node.kill()
        node.start(same_port=True)

    with running(tmp_path) as node:
        asyncio.run(under_load(node, crash, (1.5,)))
        assert node.stop() == 0, node.log()


def test_postgres(tmp_path: Path) -> None:
    def crash(node: Node) -> None:
        node.read_facts()
        kill(node.postgres)

    with running(tmp_path, fsync=True) as node:
        asyncio.run(under_load(node, crash, (1.5, 3.0)))
        assert node.stop() == 0, node.log()


def test_everything_at_once(tmp_path: Path) -> None:
    def crash(node: Node) -> None:
        node.read_facts()
        postgres, workers = node.postgres, node.workers
        node.kill()
        for pid in (*workers, postgres):
            kill(pid)
        node.start(same_port=True)

    with running(tmp_path, fsync=True) as node:
        asyncio.run(under_load(node, crash, (1.5,)))
        assert node.stop() == 0, node.log()
