"""Driving a node for a while, waiting until it is quiet, and comparing everybody's views."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from terminals.simulator.fleet import Fleet, FleetOptions, FleetResult, TerminalFaults
from tests.end_to_end.node import make_terminals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.end_to_end.node import Hosts, Node

QUIET_S = 180.0
SEEN_S = 180.0  # more than any event takes on the slowest machine


async def connect(host: str, port: int, factory: Any) -> tuple[Any, Any]:
    return await asyncio.get_running_loop().create_connection(factory, host, port)


def fleet_on(
    node: Node, terminals: int, transactions: int, faults: TerminalFaults | None = None, **more: Any
) -> Fleet:
    host, port = node.address
    options = FleetOptions(
        host=host,
        port=port,
        transactions=transactions,
        faults=faults or TerminalFaults(),
        **{"answer_timeout_s": 60.0, "retry_s": 0.2} | more,
    )
    return Fleet(make_terminals(terminals), options, random.Random(1), connect)


async def trade(
    node: Node, terminals: int, transactions: int, faults: TerminalFaults | None = None, **more: Any
) -> FleetResult:
    return await fleet_on(node, terminals, transactions, faults, **more).run()


@contextlib.asynccontextmanager
async def trading(node: Node, terminals: int, **more: Any) -> AsyncIterator[Fleet]:
    """Terminals that trade for as long as the block lasts, then settle; `result` is theirs.

    For what must happen under traffic: no number of transactions is large enough on every machine.
    """
    fleet = fleet_on(node, terminals, 0, duration_s=3_600.0, **more)
    running = asyncio.create_task(fleet.run())
    try:
        yield fleet
    except BaseException:
        running.cancel()
        raise
    fleet.stop()
    await running


async def seen(happened: Callable[[], bool | Awaitable[bool]], what: str = "") -> None:
    """Wait for an event of which nobody tells."""
    assert await within(SEEN_S, happened), f"never happened: {what or happened}"


async def within(limit_s: float, happened: Callable[[], bool | Awaitable[bool]]) -> bool:
    until_s = asyncio.get_running_loop().time() + limit_s
    while True:
        now = happened()
        if now if isinstance(now, bool) else await now:
            return True
        if asyncio.get_running_loop().time() > until_s:
            return False
        await asyncio.sleep(0.05)


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
        if slip.state == "approved" and slip.kind not in ("balance", "points_query"):
            row = rows[slip.terminal, int(slip.batch), int(slip.trace), slip.kind]
            assert row["state"] == "approved", (slip, dict(row))
            assert row["approved_amount_minor"] == slip.approved_minor
            assert row["rrn"] == slip.rrn
    ours = sum(row["effect_minor"] for row in captures)
    assert ours == result.effect_minor + sum(
        row["effect_minor"]
        for slip in result.undecided  # refunds that the terminal gave up asking for
        for row in captures
        if (row["terminal"], row["batch"], row["stan"])
        == (slip.terminal, int(slip.batch), int(slip.trace))
    ), differences(captures, result)
    assert ours == sum(bank.report().standing_minor for bank in hosts.banks)


def differences(captures: list[Any], result: FleetResult) -> list[Any]:
    """Where a terminal and the journal count another effect: request, journal's, the slip."""
    ours: Counter[tuple[str, int, int]] = Counter()
    for row in captures:
        ours[row["terminal"], row["batch"], row["stan"]] += row["effect_minor"]
    slips = {(slip.terminal, int(slip.batch), int(slip.trace)): slip for slip in result.slips}
    return [
        (request, ours[request], slips.get(request))
        for request in sorted({*ours, *slips})
        if ours[request] != (slips[request].effect_minor if request in slips else 0)
    ]
