"""Open files run out: those who are connected go on, and everything comes back when there is room.

Method: a real node of one worker, crowded by connections that say nothing; its limit is low from the
start, or is lowered under it. Meanwhile its connections to the store and to the banks are cut.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from switch.config import Config
from switch.supervisor import OTHER_FILES, SupervisorError, with_room_for
from tests.contract.worlds import wait_for
from tests.crash.history import Answered
from tests.end_to_end.day import check_views, quiet
from tests.end_to_end.node import Hosts, Node, furnish, running
from tests.end_to_end.test_standby import fleet_on
from tests.standby import ask

if TYPE_CHECKING:
    from tests.crash.history import Event

pytestmark = [
    pytest.mark.xdist_group("end_to_end"),
    pytest.mark.skipif(not shutil.which("prlimit"), reason="no prlimit"),
]

TERMINALS = 6
ROOM = 40  # connections of terminals in the first test
IDLE_CPU = 0.2  # share of a core that a worker with little to do stays below


class Crowd:
    """Connections that say nothing, made as long as the node is there."""

    def __init__(self, node: Node, count: int) -> None:
        self._node = node
        self._count = count
        self._open: list[asyncio.StreamWriter] = []
        self.closed = 0  # by the node

    async def __aenter__(self) -> Self:
        for _ in range(self._count):
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(*self._node.address)
                self._open.append(writer)
                asyncio.get_running_loop().create_task(self._watch(reader))
        return self

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            await reader.read()
        self.closed += 1

    async def __aexit__(self, *_: object) -> None:
        for writer in self._open:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def cut(node: Node, hosts: Hosts) -> None:
    """End what the node holds to the store and to the banks."""
    superuser = node.facts["database"]["owner_dsn"].replace("tongbao_owner@", "postgres@")
    await ask(
        superuser,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tongbao_app'",
    )
    for server in hosts.servers:
        for connection in list(server.connections):
            if connection.transport is not None:
                connection.transport.abort()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def approved(events: list[Event], count: int = 20) -> None:
    """So many more approvals."""
    before = len(events)
    await wait_for(
        lambda: sum(isinstance(e, Answered) and e.code == "00" for e in events[before:]) >= count
    )


@pytest.mark.parametrize("how", ["bound", "exhausted"])
def test_a_crowd_costs_nobody_else(tmp_path: Path, how: str) -> None:
    """`bound`: at the start the limit leaves few connections, and the store and the banks theirs.
    `exhausted`: the limit itself is met, as if the bound had been wrong."""
    files = OTHER_FILES + ROOM if how == "bound" else 0

    async def day(node: Node) -> None:
        async with Hosts() as hosts:
            await furnish(node, hosts, TERMINALS, timeout_s=2.0)
            events: list[Event] = []
            fleet = fleet_on(node, TERMINALS, events, one_shot=0.0, hang_ups=False)
            trading = asyncio.create_task(fleet.run())
            await approved(events)
            worker = node.workers[0]
            usual = resource.prlimit(worker, resource.RLIMIT_NOFILE)
            if how == "exhausted":
                held = len(os.listdir(f"/proc/{worker}/fd"))
                resource.prlimit(worker, resource.RLIMIT_NOFILE, (held + 5, usual[1]))
            async with Crowd(node, 300) as crowd:
                await wait_for(lambda: crowd.closed >= 300 - ROOM)
                await approved(events)
                if how == "bound":
                    await cut(node, hosts)
                    await approved(events)
            resource.prlimit(worker, resource.RLIMIT_NOFILE, usual)
            if how == "exhausted":
                await cut(node, hosts)
                await approved(events)
            fleet.stop()
            result = await asyncio.wait_for(trading, 300.0)
            assert not result.gave_up
            await quiet(node)
            await check_views(node, hosts, result)
            # nobody trades: the crowd knocks in vain, and costs little
            if how == "exhausted":
                held = len(os.listdir(f"/proc/{worker}/fd"))
                resource.prlimit(worker, resource.RLIMIT_NOFILE, (held, usual[1]))
            before_s, began_s = cpu_s(worker), time.monotonic()
            async with Crowd(node, 300):
                await asyncio.sleep(4.0)
            took_s = time.monotonic() - began_s
            assert cpu_s(worker) - before_s < IDLE_CPU * took_s
            resource.prlimit(worker, resource.RLIMIT_NOFILE, usual)

    with running(tmp_path, workers=1, open_files=files) as node:
        asyncio.run(day(node))
        assert node.stop() == 0, node.log()
        log = (node.folder / "serve.log").read_text(errors="replace")  # all of it: it says so first
        assert ("server.connections is lowered" in log) == (how == "bound")


def test_the_limit_is_compared_with_what_the_settings_may_need() -> None:
    config = Config()
    enough = OTHER_FILES + config.server.connections
    assert with_room_for(enough, config, "en") == config
    assert with_room_for(enough - 1, config, "en").server.connections == enough - 1 - OTHER_FILES
    with pytest.raises(SupervisorError, match=f"only 256 .* at least {OTHER_FILES + 1} are needed"):
        with_room_for(OTHER_FILES, config, "en")
