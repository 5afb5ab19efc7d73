"""Posters in several processes on one PostgreSQL: duplicates, conflicts, limits, kills, and a date that is
sealed while they post.

Goal: P5 holds in every layer, nothing stands twice or in part, no limit is passed, and nothing enters a
sealed date. Method: processes (`ledger_poster.py`) that draw from the same few entries, killed by SIGKILL at
drawn instants and started again; then everything that they wrote down is held against what stands.
"""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import asyncpg

from settlement.adapters.ledger_postgres import PostgresLedger
from settlement.adapters.ledger_reading import open_queries
from settlement.adapters.ledger_stored import open_stored
from settlement.chain import Anchor
from settlement.ledger import Entry
from settlement.ledger_queries import assert_zero
from settlement.ledger_verify import Unwatched, Verified, verify
from tests.database import ROOT, FreshDatabase
from tests.settlement.ledger_poster import GO, SHARED, SHOPS, Drawn, draw, read, shared
from tests.settlement.test_ledger_store import postgres_books
from tests.settlement.world import DAY

POSTERS = 3
BATCHES = 240
KILLS = 6
TIMEOUT_S = 600.0


def start(dsn: FreshDatabase, seed: int, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.settlement.ledger_poster", dsn.app, str(seed)]
    return subprocess.Popen([*command, str(BATCHES), str(log)], cwd=ROOT)


def post_and_kill(dsn: FreshDatabase, logs: dict[int, Path]) -> Anchor:
    """Run all posters to their end, killing some on the way, and seal the first date meanwhile."""
    chance = random.Random(20260803)
    running = {seed: start(dsn, seed, log) for seed, log in logs.items()}
    anchor: Anchor | None = None
    killed = 0
    deadline = time.monotonic() + TIMEOUT_S
    try:
        while any(process.poll() is None for process in running.values()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
            told = [log.read_bytes().count(b"\n") if log.exists() else 0 for log in logs.values()]
            begun = min(told) > 0
            alive = [seed for seed, process in running.items() if process.poll() is None]
            due = sum(told) * (KILLS + 2) // (POSTERS * BATCHES)  # kills, spread over all batches
            if begun and alive and killed < min(due, KILLS):
                seed = chance.choice(alive)
                running[seed].send_signal(signal.SIGKILL)
                killed += running[seed].wait() == -signal.SIGKILL
                running[seed] = start(dsn, seed, logs[seed])
            if begun and anchor is None and killed >= KILLS // 2:
                anchor = asyncio.run(seal(dsn))
            if killed == KILLS and anchor is not None:
                logs[1].with_name(GO).touch()
        assert [process.returncode for process in running.values()] == [0] * POSTERS
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    assert anchor is not None
    return anchor


async def seal(dsn: FreshDatabase) -> Anchor:
    async with asyncpg.create_pool(dsn.app, min_size=1, max_size=1) as pool:
        return await PostgresLedger(pool).seal(DAY)


async def standing(dsn: FreshDatabase) -> dict[tuple[str, str], Entry]:
    async with open_queries(dsn.app) as queries:
        found: dict[tuple[str, str], Entry] = {}
        connection = await asyncpg.connect(dsn.app)
        names = await connection.fetch("SELECT source, key FROM settlement.entry")
        await connection.close()
        for source, key in names:
            made = await queries.entry(source, key)
            assert made is not None
            found[source, key] = made
        return found


def test_posters_that_are_killed_leave_whole_books(
    database_dsn: FreshDatabase, tmp_path: Path
) -> None:
    async def prepare() -> None:
        async with postgres_books(database_dsn):
            pass

    asyncio.run(prepare())
    logs = {seed: tmp_path / f"{seed}.log" for seed in range(1, POSTERS + 1)}
    anchor = post_and_kill(database_dsn, logs)

    # the ledger by itself
    verified = asyncio.run(whole(database_dsn))
    assert verified.findings == []
    assert verified.entries == anchor.entries
    assert anchor.entries, "nothing was posted on the first date"
    assert verified.open_entries, "nothing was posted on the second date"

    # what stands is what was asked, once, in one of its versions
    stands = asyncio.run(standing(database_dsn))
    drawn = {batch.name: batch for seed in logs for batch in draw(seed, BATCHES)}
    for number in range(SHARED):
        found = stands.get(("captured", f"c{number}"))
        if found is not None:
            assert any(found.same_request(shared(number, version)) for version in (0, 1))
    asked = {(one.source, one.key) for batch in drawn.values() for one in batch.entries}
    assert stands.keys() <= asked

    # what was told stands; what was refused does not, neither in whole nor in part
    told = {line.batch: line for log in logs.values() for line in read(log)}
    assert told.keys() == drawn.keys()
    for name, line in told.items():
        held_against(drawn[name], line.end, stands)
    ends = Counter(line.end for line in told.values())
    assert min(ends["posted"], ends["conflict"], ends["limit"]) > 0, ends
    assert len({line.day for line in told.values()}) == 2


def held_against(batch: Drawn, end: str, stands: dict[tuple[str, str], Entry]) -> None:
    for one in batch.entries:
        found = stands.get((one.source, one.key))
        if end == "posted":
            assert found is not None, f"{batch.name}: {one.key} was told and is gone"
            assert found.same_request(one), f"{batch.name}: {one.key} is another one"
        elif one.key.startswith(batch.name):
            assert found is None, f"{batch.name} was refused, and {one.key} stands"


async def whole(dsn: FreshDatabase) -> Verified:
    async with open_queries(dsn.app) as queries:
        for shop in SHOPS:
            for one in await queries.balances("merchant_held", shop):
                assert one.balance_minor <= 0, f"{shop} holds less than nothing"
        assert_zero(await queries.turnover(None, DAY.replace(year=2030)))
    async with open_stored(dsn.app) as stored:
        return await verify(stored, Unwatched())
