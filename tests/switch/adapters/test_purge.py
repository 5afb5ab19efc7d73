"""Purging on a real store: what is old and settled goes, with its evidence; nothing else, whoever is in the way.

Method: business dates are made by cut-over and filled by the journal's own commits; one date is clean, each
other has one thing that must keep it. The purge is killed before each of its statements in turn; and it
waits for a reader while commits go on, which they could not behind an exclusive lock.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from switch.adapters.postgres.people import PostgresPeople
from switch.adapters.postgres.purge import (
    BusyError,
    NotAllowedError,
    Purger,
    Went,
    child,
    purge_daily,
    purger,
)
from switch.config import Retention
from switch.journal import CaseRow, Commit, EndRow, OutcomeState, Stored
from switch.people.audit import Verifier
from switch.upkeep.retention import HOLDS, KEPT, PARTITIONED, RULES
from switch.upkeep.texts import TEXTS
from tests.contract.worlds import (
    NOW,
    TERMINAL,
    PostgresWorld,
    attempt,
    key,
    outcome,
    queued,
    request,
    reversal,
)
from tests.tables import sections, table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.database import FreshDatabase

SETTINGS = Retention(duplicate_window_days=7, journal_days=30, batches_days=30, sessions_days=7)
DAY = dt.timedelta(days=1)
CLEAN = 0  # place of the date that may go; each later one has what the name says
HELD = ("unposted", "undelivered", "undecided", "dispute", "case")


def with_world(
    database: FreshDatabase, scenario: Callable[[PostgresWorld], Awaitable[None]]
) -> None:
    async def main() -> None:
        world = PostgresWorld(database)
        try:
            await scenario(world)
        finally:
            await world.close()

    asyncio.run(main())


async def one(world: PostgresWorld, query: str, *args: Any) -> Any:
    return (await world.query(query, *args))[0][0]


async def cut(world: PostgresWorld, date: dt.date) -> None:
    await world.query("SELECT switch.cut_over($1)", date)


async def post(world: PostgresWorld, date: dt.date) -> None:
    """As the day's end does at its end; the test's dates need not be frozen in earnest."""
    await world.query(
        "UPDATE switch.business_date SET state = 'posted', posted_at = now() WHERE business_date = $1",
        date,
    )


async def committed(store: Any, *commits: Commit) -> None:
    for each in commits:
        assert isinstance(await store.journal.commit(each), Stored)


async def fill(world: PostgresWorld) -> list[dt.date]:
    """A clean date, one for each of HELD, and a long time after: today."""
    store = await world.process()
    first = await one(world, "SELECT business_date FROM switch.business_day")
    dates = [first + place * DAY for place in range(1 + len(HELD))]
    for place, date in enumerate(dates):
        await cut(world, date)
        base = 100 * (place + 1)
        for number in range(3):
            request_id = base + number
            await committed(
                store,
                Commit(request=request(request_id), attempt=attempt(request_id)),
                Commit(attempt=attempt(request_id, 2, request_date=date)),
                Commit(outcome=outcome(request_id, date)),
            )
        await committed(
            store,
            Commit(request=request(base + 10), attempt=attempt(base + 10)),
            Commit(
                outcome=outcome(base + 10, date, state=OutcomeState.UNKNOWN, effect_minor=None),
                reversal=reversal(base + 10, date),
                queue=queued(base + 50, base + 10, date),
            ),
        )
        if place != HELD.index("undelivered") + 1:
            await committed(store, Commit(end=EndRow(base + 50, "00")))
    undecided = dates[HELD.index("undecided") + 1]
    await world.query(
        "DELETE FROM switch.outcome WHERE request_date = $1 AND request_id % 100 = 0", undecided
    )
    await dispute(world, dates[HELD.index("dispute") + 1])
    await cut(world, dates[-1] + 100 * DAY)
    for place, date in enumerate(dates):
        if place != HELD.index("unposted") + 1:
            await post(world, date)
    case_of = 100 * (HELD.index("case") + 2)
    await committed(store, Commit(case=CaseRow("late_approval", case_of, "", "", "{}", NOW)))
    return dates


async def dispute(world: PostgresWorld, date: dt.date) -> None:
    await world.query(
        "INSERT INTO settlement.dispute VALUES ('D1', $1, 'a', '156', 'm', 't', '', '', '', '', '', '',"
        " 100, NULL)",
        date,
    )
    await dispute_event(world, 1, "retrieval", date)


async def dispute_event(world: PostgresWorld, sequence: int, state: str, date: dt.date) -> None:
    await world.query(
        "INSERT INTO settlement.dispute_event (dispute_id, sequence, event, state, by, at,"
        " business_date, amount_minor, issuer_fee_minor, network_fee_minor, charged_minor, held_minor,"
        " reason, text, row, operator, checker, proposal)"
        " VALUES ('D1', $1, 'e', $2, 'network', now(), $3, 1, 0, 0, 0, 0, '', '', '', '', '', '')",
        sequence,
        state,
        date,
    )


async def purged(
    world: PostgresWorld, *, dry: bool = False
) -> dict[tuple[str, dt.date | None], Went]:
    async with purger(world.database.owner, SETTINGS, "n1") as of:
        done = await of.run(dry=dry)
    found = {(went.table, went.business_date): went for went in done}
    assert len(found) == len(done)
    return found


async def rows_of(world: PostgresWorld) -> dict[str, int]:
    tables = [*PARTITIONED, *(rule.table for rule in RULES)]
    return {name: await one(world, f"SELECT count(*) FROM switch.{name}") for name in tables}


def test_every_table_has_a_rule_or_a_reason(database_dsn: FreshDatabase) -> None:
    async def scenario(world: PostgresWorld) -> None:
        tables = await world.query(
            "SELECT relname FROM pg_class WHERE relnamespace = 'switch'::regnamespace"
            " AND relkind IN ('r', 'p') AND NOT relispartition"
        )
        known = [*PARTITIONED, *(rule.table for rule in RULES), *KEPT]
        assert sorted(known) == sorted(row[0] for row in tables)
        assert len(set(known)) == len(known)

    with_world(database_dsn, scenario)


def test_a_date_goes_whole_or_stays_whole(database_dsn: FreshDatabase) -> None:
    async def scenario(world: PostgresWorld) -> None:
        dates = await fill(world)
        before = await rows_of(world)
        digest = await one(
            world,
            "SELECT sum(hashtextextended(t::text, 0)::numeric)::text FROM switch.request AS t"
            " WHERE request_date = $1",
            dates[CLEAN],
        )
        would = await purged(world, dry=True)
        assert await rows_of(world) == before, "a dry run changes nothing"
        done = await purged(world)
        held = {date: went.held for (_, date), went in done.items() if went.held}
        assert held == dict(zip(dates[1:], HELD, strict=True))
        after = await rows_of(world)
        gone = {name: before[name] - after[name] for name in before}
        # the clean date: three sales with two attempts each, one that was reversed
        assert gone == {
            **dict.fromkeys(gone, 0),
            "request": 4,
            "outcome": 4,
            "attempt": 3,
            "reversal": 1,
            "queue_item": 1,
            "queue_end": 1,
            # of posted dates all, but what still waits in a queue
            "request_key": 4 * 5 - 1,
        }
        for counted in (would, done):
            rows = dict.fromkeys(gone, 0)
            for (name, _), went in counted.items():
                rows[name] += went.rows
            # a dry run looks at queue_sent and queue_end with their items still there
            assert rows == gone

        note = (
            await world.query(
                "SELECT rows, detail FROM switch.upkeep WHERE (kind, object, business_date)"
                " = ('purged', 'request', $1)",
                dates[CLEAN],
            )
        )[0]
        detail = json.loads(note["detail"])
        assert note["rows"] == 4
        assert detail["digest"] == digest
        assert detail["captured"] == [{"currency": "156", "count": 3, "effect_minor": 300}]
        assert await one(world, "SELECT to_regclass($1)", child("request", dates[CLEAN])) is None
        acts = await world.query(
            "SELECT act, object FROM switch.audit_record WHERE actor = 'n1'"
            " AND before NOT LIKE '%\"first\":null%' ORDER BY seq"  # partitions that were empty
        )
        assert [tuple(row) for row in acts] == [
            ("purge.drop", f"switch.request {dates[CLEAN]}"),
            ("purge.drop", f"switch.outcome {dates[CLEAN]}"),
            ("purge.run", "n1"),
        ]
        await chain_holds(world)

        again = await purged(world)
        assert not sum(went.rows for went in again.values()), "what went once is not there"

        # what held a date ends: it goes
        await dispute_event(world, 2, "won", dates[-1])
        assert (await purged(world))["request", dates[HELD.index("dispute") + 1]].rows == 4

    with_world(database_dsn, scenario)


async def chain_holds(world: PostgresWorld) -> None:
    verifier = Verifier()
    store = await world.process()
    async for record in PostgresPeople(store.sessions).records():
        verifier.take(record)


class KilledError(Exception):
    pass


class Mortal:
    """A connection that is cut before its statement number `left`."""

    def __init__(self, connection: Any, left: int) -> None:
        self._connection = connection
        self._left = left

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        if name not in ("execute", "fetch", "fetchrow", "fetchval"):
            return found

        async def call(*args: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise KilledError
            return await found(*args)

        return call


def test_a_purge_that_is_killed_anywhere_goes_on(database_dsn: FreshDatabase) -> None:
    async def scenario(world: PostgresWorld) -> None:
        dates = await fill(world)
        before = await rows_of(world)
        deaths = 0
        for left in range(200):
            async with purger(world.database.owner, SETTINGS, "n1") as of:
                mortal: Any = Mortal(of._connection, left)
                try:
                    await Purger(mortal, SETTINGS, "n1").run()
                    break
                except KilledError:
                    deaths += 1
        assert deaths > 30
        after = await rows_of(world)
        assert await one(world, "SELECT to_regclass($1)", child("outcome", dates[CLEAN])) is None
        noted = await world.query(
            "SELECT object, sum(rows)::int FROM switch.upkeep WHERE kind = 'purged' GROUP BY object"
        )
        gone = {name: before[name] - after[name] for name in before if before[name] != after[name]}
        assert {name: rows for name, rows in map(tuple, noted) if rows} == gone
        assert after["attempt"] == 3 * len(HELD)
        await chain_holds(world)

    with_world(database_dsn, scenario)


def test_commits_go_on_while_a_purge_waits(database_dsn: FreshDatabase) -> None:
    async def scenario(world: PostgresWorld) -> None:
        dates = await fill(world)
        store = await world.process()
        reader = await store.sessions.pool.take()
        reading = reader.transaction()
        await reading.start()
        await reader.fetch("SELECT count(*) FROM switch.request")
        purging = asyncio.create_task(purged(world))
        waits = (
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE%DETACH%'"
            " AND wait_event_type = 'Lock' AND datname = current_database()"
        )
        async with asyncio.timeout(60):
            while not await one(world, waits):
                assert not purging.done()
                await asyncio.sleep(0.01)
            for number in range(20):
                await committed(
                    store,
                    Commit(request=request(9_000 + number), attempt=attempt(9_000 + number)),
                    Commit(outcome=outcome(9_000 + number)),
                )
            assert not purging.done(), "it waits for the reader still"
            await reading.rollback()
            done = await purging
        store.sessions.pool.give_back(reader, usable=True)
        assert done["request", dates[CLEAN]].rows == 4
        assert (
            await one(world, "SELECT count(*) FROM switch.outcome WHERE request_id >= 9000") == 20
        )

    with_world(database_dsn, scenario)


def test_keys_of_an_open_batch_stay(database_dsn: FreshDatabase) -> None:
    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        first = await one(world, "SELECT business_date FROM switch.business_day")
        await world.query(
            "INSERT INTO switch.batch (merchant, terminal, batch, position)"
            " SELECT m, t, n, n FROM (VALUES ($1, $2)) AS v (m, t), generate_series(1, 2) AS n",
            key(1).merchant,
            TERMINAL,
        )
        await world.query(
            "INSERT INTO switch.batch_closed VALUES ($1, $2, 1, 'balanced', now())",
            key(1).merchant,
            TERMINAL,
        )
        for request_id, batch in ((1, 1), (2, 2), (3, 0)):
            await committed(
                store,
                Commit(
                    request=request(request_id, of=key(request_id, batch=batch)),
                    attempt=attempt(request_id),
                ),
                Commit(outcome=outcome(request_id)),
            )
        await cut(world, first + 20 * DAY)
        await post(world, first)
        assert (await purged(world))["request_key", None].rows == 2
        assert await one(world, "SELECT request_id FROM switch.request_key") == 2

    with_world(database_dsn, scenario)


def test_one_purge_at_a_time_and_by_the_owner(database_dsn: FreshDatabase) -> None:
    async def scenario(world: PostgresWorld) -> None:
        owner = world.database.owner
        with pytest.raises(NotAllowedError, match="tongbao_app"):
            async with purger(world.database.app, SETTINGS, "n1"):
                pass
        async with purger(owner, SETTINGS, "n1"):
            with pytest.raises(BusyError):
                async with purger(owner, SETTINGS, "n2"):
                    pass
            assert await purge_daily(owner, SETTINGS, "n2", not_within_s=60) is None
        assert await purge_daily(owner, SETTINGS, "n2", not_within_s=60) is not None
        assert await purge_daily(owner, SETTINGS, "n1", not_within_s=60) is None, "done lately"

    with_world(database_dsn, scenario)


def test_the_page_has_the_rules() -> None:
    page = sections((Path(__file__).resolve().parents[3] / "docs" / "data.md").read_text("utf-8"))
    told = {
        name: setting.partition(";")[0]
        for tables, setting in table(page["Retention"])
        for name in tables.split(", ")
    }
    rules = {rule.table: rule.setting for rule in RULES}
    assert told == dict.fromkeys(PARTITIONED, "journal_days") | rules


def test_what_holds_has_words() -> None:
    assert {f"purge_held_{reason}" for reason in HOLDS} <= set(TEXTS)
    assert set(HELD) == set(HOLDS)
