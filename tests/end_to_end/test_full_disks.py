"""Full disks: of the logs, and of the store. Both go on by themselves when there is room again.

Method: a real node whose log folder, or whose PostgreSQL, lies on a small file system of its own. It is
filled under load, and made free again; terminals' and banks' views must agree with the journal's.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
import urllib.request
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from switch.reporter import STORE_SAID_S
from tests.crash.history import Answered
from tests.database import temporary_folder
from tests.disks import fill, mounted
from tests.end_to_end.day import check_views, quiet, trade
from tests.end_to_end.node import Hosts, Node, furnish, running
from tests.end_to_end.test_standby import fleet_on

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from tests.crash.history import Event

pytestmark = pytest.mark.xdist_group("end_to_end_2")

TERMINALS = 6
ENDS_S = 300.0  # until the server of a full disk has ended, and was tried again
AGAIN_S = 300.0  # from room until approvals, PostgreSQL's start and recovery included


def lines_lost(node: Node) -> float:
    at = node.facts["metrics"]
    with urllib.request.urlopen(f"http://{at['host']}:{at['port']}{at['path']}") as page:
        for line in page.read().decode().splitlines():
            if line.startswith("tongbao_log_lines_lost_total "):
                return float(line.split()[1])
    raise AssertionError("no such metric")


def test_a_full_disk_of_logs_costs_lines_only(tmp_path: Path) -> None:
    logs = tmp_path / "data" / "log"
    with mounted(logs, "1m"), running(tmp_path) as node:

        async def day() -> None:
            async with Hosts() as hosts:
                await furnish(node, hosts, TERMINALS)
                filler = fill(logs)
                result = await trade(node, TERMINALS, 100)
                assert not result.surprises, result.surprises
                assert not result.gave_up
                await quiet(node)
                await check_views(node, hosts, result)
                until = time.monotonic() + ENDS_S
                while lines_lost(node) < 50:
                    assert time.monotonic() < until
                    await asyncio.sleep(0.1)
                filler.unlink()
                result = await trade(node, TERMINALS, 20)
                assert not result.surprises, result.surprises

        asyncio.run(day())
        assert node.stop() == 0, node.log()
        said = node.log()
        lost = 0
        for file in logs.glob("*.jsonl"):
            events = map(json.loads, file.read_text().splitlines())
            lost += max((event.get("lost_in_all", 0) for event in events), default=0)
        assert lost >= 50
        begun = [said.count(f"log_lines_lost file={file.name}") for file in logs.glob("*.jsonl")]
        assert max(begun) == 1, said


def test_a_full_disk_of_the_store_refuses_early_and_recovers() -> None:
    """Tables can not grow: each commit fails, the server stays."""
    with temporary_folder() as folder, mounted(folder / "data" / "postgres", "400m") as disk:
        (folder / "data").chmod(0o711)
        with running(folder) as node:
            check_end(node, asyncio.run(day_on(node, disk)))


def test_a_full_disk_of_the_write_ahead_log_ends_the_server_and_recovers() -> None:
    """The server can not write its log: it ends, can not start, and starts when there is room."""
    with temporary_folder() as folder, mounted(folder / "wal", "160m") as disk:
        (folder / "data").mkdir()  # by its default mode within the server's reach
        with running(folder) as node:
            assert node.stop() == 0
        wal = folder / "data" / "postgres" / "data" / "pg_wal"
        owner = wal.stat()
        shutil.copytree(wal, disk, dirs_exist_ok=True)
        shutil.rmtree(wal)
        wal.symlink_to(disk)
        for path in (disk, *disk.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        with running(folder) as node:
            took_s = asyncio.run(day_on(node, disk, use_up_wal(node)))
            assert "postgres_not_restarted" in events_of(node, "supervisor")
            check_end(node, took_s)


async def use_up_wal(node: Node) -> None:
    """Begin new segments until none can be made, and the server can not start any more.

    The trade alone may end the server before we are there, and between two ends it may recover: then
    it is connected to again, and so is one that says it is starting (57P03).
    """
    superuser = node.facts["database"]["owner_dsn"].replace("tongbao_owner@", "postgres@")
    until_s = time.monotonic() + ENDS_S
    while "postgres_not_restarted" not in events_of(node, "supervisor"):
        assert time.monotonic() < until_s, server_said(node)
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            connection = await asyncpg.connect(superuser, timeout=5.0)
            try:
                while True:
                    await connection.execute(
                        "SELECT pg_switch_wal(), pg_logical_emit_message(true, '', '')"
                    )
            finally:
                connection.terminate()
        await asyncio.sleep(0.1)


def lines_of(node: Node, process: str) -> list[dict[str, Any]]:
    """File by file: of one worker after the other."""
    files = sorted((node.folder / "data" / "log").glob(f"{process}*.jsonl"))
    return [
        {"file": file.name, **json.loads(line)}
        for file in files
        for line in file.read_text().splitlines()
    ]


def events_of(node: Node, process: str) -> list[str]:
    return [line["event"] for line in lines_of(node, process)]


def server_said(node: Node) -> list[str]:
    """The end of PostgreSQL's log, without those who knocked meanwhile."""
    files = sorted((node.folder / "data" / "postgres" / "data" / "log").glob("*.log"))
    lines = [line for file in files for line in file.read_text().splitlines()]
    return [line for line in lines if "FATAL:  the database system" not in line][-40:]


def check_end(node: Node, took_s: float) -> None:
    """It drains; the outage was told once by whom it concerned, not once a request."""
    assert node.stop() == 0, node.log()
    said = Counter(events_of(node, "worker"))
    assert said["journal_store_back"]
    told = [
        (line["file"], line.get("reason"))
        for line in lines_of(node, "worker")
        if line["event"] in ("journal_store_away", "journal_store_back")
    ]
    for before, after in pairwise(told):  # each new reason once, until it is back
        assert before != after, told
    # two workers, once a minute; more than twenty requests were refused
    assert said["store_refused"] <= 2 * (1 + took_s / STORE_SAID_S), said
    assert not said["request_failed"], said


async def day_on(node: Node, disk: Path, harm: Coroutine[Any, Any, None] | None = None) -> float:
    """How long it lasted, from the full disk on."""
    async with Hosts(latency_s=0.02) as hosts:
        await furnish(node, hosts, TERMINALS, timeout_s=2.0)
        events: list[Event] = []
        fleet = fleet_on(node, TERMINALS, events)
        trading = asyncio.create_task(fleet.run())

        def codes(since_s: float) -> list[str]:
            return [e.code for e in events if isinstance(e, Answered) and e.at_s > since_s]

        await asyncio.sleep(1.0)
        begun_s = time.monotonic()
        filler = fill(disk)
        if harm is not None:
            await harm
        while codes(begun_s).count("96") < 20:
            assert time.monotonic() < begun_s + ENDS_S, codes(begun_s)
            await asyncio.sleep(0.1)
        freed_s = time.monotonic()
        filler.unlink()
        while codes(freed_s).count("00") < 20:
            assert time.monotonic() < freed_s + AGAIN_S, server_said(node)
            await asyncio.sleep(0.1)
        fleet.stop()
        result = await asyncio.wait_for(trading, AGAIN_S)
        assert not result.gave_up
        await quiet(node)
        await check_views(node, hosts, result)
        return time.monotonic() - begun_s
