"""The primary is killed under load and its synchronous standby promoted: nothing answered is lost.

Method: a real node on two real servers that its DSN names, banks and terminals around it. The primary
is killed with all its processes, the standby promoted as an operator would. Afterwards what terminals
hold and what banks booked is compared with the new primary's journal.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from terminals.simulator.fleet import Fleet, FleetOptions, TerminalFaults
from tests.crash.history import Answered, Harm, History
from tests.crash.load import RecordedLine
from tests.crash.recovery import NEVER_S, recovery_s
from tests.end_to_end.day import check_views, quiet, seen
from tests.end_to_end.node import Hosts, Node, furnish, make_terminals, running
from tests.standby import Pair, promote

if TYPE_CHECKING:
    from pathlib import Path

    from tests.crash.history import Event

pytestmark = pytest.mark.xdist_group("standby")

TERMINALS = 9
UNTIL_PROMOTED_S, AFTER_S = 1.0, 5.0
GO_ON_S = 300.0  # from the kill until each bank's cards are approved again


def test_a_promoted_standby_has_lost_nothing(tmp_path: Path) -> None:
    with Pair() as pair:
        more = f'[database]\ndsn = "{pair.dsn()}"\nowner_dsn = "{pair.dsn("tongbao_owner")}"\n'
        with running(tmp_path, more=more) as node:
            node.facts["database"]["reader_dsn"] = pair.dsn(
                "tongbao_reader", "&target_session_attrs=primary"
            )
            asyncio.run(day(node, pair))
            assert node.stop() == 0, node.log()


async def day(node: Node, pair: Pair) -> None:
    async with Hosts(latency_s=0.03) as hosts:
        await furnish(node, hosts, TERMINALS, timeout_s=2.0, dsn=pair.dsn())
        events: list[Event] = []
        fleet = fleet_on(node, TERMINALS, events)
        trading = asyncio.create_task(fleet.run())
        await seen(
            lambda: sum(isinstance(one, Answered) and one.code == "00" for one in events) >= 100
        )
        events.append(Harm(time.monotonic(), "kill", "primary"))
        await asyncio.to_thread(pair.primary.kill)
        await asyncio.sleep(UNTIL_PROMOTED_S)
        await promote(pair.standby)
        begun_s = time.monotonic()
        while recovery_s(History(events)) == NEVER_S and time.monotonic() - begun_s < GO_ON_S:  # noqa: ASYNC110 - a history has no event
            await asyncio.sleep(0.2)
        await asyncio.sleep(AFTER_S)
        fleet.stop()
        result = await asyncio.wait_for(trading, 300.0)
        took_s = recovery_s(History(events))
        sys.stdout.write(
            f"approved again {took_s:.1f} s after the kill, {UNTIL_PROMOTED_S} s after it promoted\n"
        )
        assert 0.0 < took_s <= GO_ON_S
        assert not result.gave_up
        await quiet(node)
        await check_views(node, hosts, result)


def fleet_on(
    node: Node,
    terminals: int,
    events: list[Event],
    *,
    one_shot: float = 0.3,
    hang_ups: bool = True,
) -> Fleet:
    """Terminals that trade until they are stopped, and what they say and hear."""
    # no repeat of what was answered: after a 96, of which nothing is kept, it would be a new request
    mean = TerminalFaults(hang_up=0.03, repeat_lost=0.04, print_failure=0.02)
    options = FleetOptions(
        duration_s=3_600.0,
        think_s=0.05,
        faults=mean if hang_ups else TerminalFaults(),
        answer_timeout_s=4.0,
        retry_s=0.2,
        tries=100,
        refund_tries=60,
        one_shot=one_shot,
    )

    async def connect(_host: str, _port: int, _factory: Any) -> tuple[Any, Any]:
        return await asyncio.get_running_loop().create_connection(
            lambda: RecordedLine("node", events.append), *node.address
        )

    return Fleet(make_terminals(terminals), options, random.Random(1), connect)
