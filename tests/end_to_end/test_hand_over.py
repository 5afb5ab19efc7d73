"""More workers than a bank grants connections: every worker serves every bank all the same.

Method: a real node with three workers, one connection for each link, terminals that connect anew for
most of their messages and so reach every worker; one of the workers is killed on the way.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.day import check_views, quiet, seen, trade, trading
from tests.end_to_end.node import Hosts, Node, furnish, kill, running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("end_to_end")

WORKERS, TERMINALS = 3, 9


def test_fewer_connections_than_workers(tmp_path: Path) -> None:
    async def day(node: Node) -> None:
        async with Hosts() as hosts:
            await furnish(node, hosts, TERMINALS, link_connections=1)
            result = await trade(node, TERMINALS, 270, one_shot=0.7)
            assert not result.undecided
            assert not result.surprises, (result.surprises, result.counts)
            assert [len(server.connections) for server in hosts.servers] == [1, 1]
            await quiet(node)
            await check_views(node, hosts, result)

    with running(tmp_path, workers=WORKERS) as node:
        asyncio.run(day(node))
        assert node.stop() == 0, node.log()
        assert all(approved_by_worker(node)), approved_by_worker(node)


def test_the_worker_with_the_connections_is_killed(tmp_path: Path) -> None:
    """Its siblings' requests on them are unknown and reversed; the next life takes over the place."""

    async def day(node: Node) -> None:
        async with Hosts(latency_s=0.05) as hosts:
            await furnish(node, hosts, TERMINALS, timeout_s=2.0, link_connections=1)
            victim = node.workers[0]
            async with trading(node, TERMINALS, one_shot=0.5) as fleet:
                await seen(lambda: fleet.result.transactions >= 100)
                kill(victim)
                await seen(lambda: replaced(node, victim))
                traded = fleet.result.transactions
                await seen(lambda: fleet.result.transactions >= traded + 100)
            result = fleet.result
            assert {slip.kind for slip in result.undecided} <= {"refund"}, result.undecided
            await quiet(node)
            await check_views(node, hosts, result)

    with running(tmp_path, workers=WORKERS) as node:
        asyncio.run(day(node))
        assert node.stop() == 0, node.log()


def replaced(node: Node, victim: int) -> bool:
    node.read_facts()
    return victim not in node.workers and len(node.workers) == WORKERS


def approved_by_worker(node: Node) -> list[int]:
    """Of each worker's own log of authorisations."""
    files = sorted((node.folder / "data" / "log").glob("authorizations-*.jsonl"))
    return [
        sum(json.loads(line)["rule"] == "acquirer" for line in file.read_text().splitlines())
        for file in files
    ]
