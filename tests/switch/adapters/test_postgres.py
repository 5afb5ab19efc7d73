"""The journal on PostgreSQL where it can go wrong: races between processes, lost connections,
killed servers, bad rows, privileges.

Each test runs real stores, several where processes race; backends and servers are killed under load
and the database is then read as its superuser: nothing lost, nothing doubled.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec
import pytest

from switch.adapters.embedded_postgres import EmbeddedPostgres
from switch.adapters.postgres import PostgresStore, rows
from switch.adapters.postgres.connections import connect
from switch.adapters.postgres.rows import Presumed
from switch.adapters.postgres.sessions import is_outage
from switch.adapters.postgres.writer import WARY_FOR, Again, Writer
from switch.adapters.schema_runner import migrate
from switch.adapters.servers import Servers
from switch.adapters.system import SystemClock
from switch.journal import (
    Commit,
    Count,
    Counted,
    Duplicate,
    EndRow,
    FindById,
    FindByKey,
    FindCounted,
    Guard,
    Judgement,
    Lost,
    OutcomeState,
    RowRefusedError,
    Scene,
    Stale,
    Stored,
    StoreDownError,
)
from tests.contract.worlds import (
    ACQUIRER,
    DAY,
    MERCHANT,
    NOW,
    TERMINAL,
    PostgresWorld,
    approve,
    attempt,
    key,
    look,
    outcome,
    queued,
    request,
    reversal,
    reverse,
    session,
    stored,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from tests.database import FreshDatabase


@pytest.fixture
def run(database_dsn: FreshDatabase, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """A store that takes its time is not taken for away."""
    monkeypatch.setattr("switch.adapters.postgres.writer.HUNG_AFTER_S", 60.0)

    def runner(scenario: Callable[[PostgresWorld], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            world = PostgresWorld(database_dsn)
            try:
                await scenario(world)
            finally:
                await world.close()

        asyncio.run(main())

    return runner


# -- groups ---------------------------------------------------------------------------------------


def test_what_arrives_while_callers_go_on_comes_with_the_next_group(run: Any) -> None:
    """A flush has its price whatever is in it."""

    async def scenario(world: PostgresWorld) -> None:
        writer = (await world.process()).writer
        loop = asyncio.get_running_loop()
        told: list[Any] = []
        done = asyncio.Event()

        def submit(number: int) -> None:
            commit = Commit(request=request(number, number), attempt=attempt(number))
            writer.submit(commit, functools.partial(tell, number))

        def tell(number: int, verdict: Any) -> None:
            told.append(verdict)
            if number == 1:
                submit(2)
                loop.call_soon(submit, 3)  # as a socket that is read in the next turn
            if len(told) == 3:
                done.set()

        submit(1)
        await done.wait()
        assert [type(verdict) for verdict in told] == [Stored] * 3
        assert writer.flushes == 2

    run(scenario)


# -- reading --------------------------------------------------------------------------------------


def test_of_terminals_that_come_together_the_first_is_not_kept_until_all_have_begun(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a start nobody is remembered, and all come: each has three statements to wait for."""

    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        terminals = [f"{n:08d}" for n in range(1, 9)]
        for terminal in terminals:
            await store.batches.sign_on(session(terminal=terminal))
        pool, begun, ended = store.sessions.pool, 0, []
        take = pool.take

        async def counted() -> Any:
            nonlocal begun
            connection = await take()
            begun += 1
            return connection

        monkeypatch.setattr(pool, "take", counted)
        monkeypatch.setattr(pool, "_slots", asyncio.Semaphore(1))

        async def read(terminal: str) -> None:
            await store.batches.standing(MERCHANT, terminal)
            ended.append((terminal, begun))

        await asyncio.gather(*map(read, terminals))
        assert ended == [(terminal, n) for n, terminal in enumerate(terminals, start=1)]

    run(scenario)


# -- races ----------------------------------------------------------------------------------------


def test_two_processes_race_for_keys(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        stores = [await world.process(), await world.process()]
        rows = [
            [request(base + stan, stan) for stan in order]
            for base, order in ((1000, range(1, 201)), (2000, range(200, 0, -1)))
        ]
        verdicts = await asyncio.gather(
            *(
                store.journal.commit(Commit(request=row, attempt=attempt(row.request_id)))
                for pair in zip(*rows, strict=True)
                for store, row in zip(stores, pair, strict=True)
            )
        )
        asked = [row for pair in zip(*rows, strict=True) for row in pair]
        winners = {
            row.key.stan: row.request_id
            for row, verdict in zip(asked, verdicts, strict=True)
            if isinstance(verdict, Stored)
        }
        assert len(winners) == 200
        for row, verdict in zip(asked, verdicts, strict=True):
            if not isinstance(verdict, Stored):
                assert isinstance(verdict, Duplicate)
                assert verdict.request_id == winners[row.key.stan]
        found = await world.query("SELECT stan, request_id FROM switch.request")
        assert dict(tuple(row) for row in found) == winners

    run(scenario)


def test_two_processes_race_for_outcomes(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        one, other = await world.process(), await world.process()
        ids = list(range(1, 151))
        dates = await asyncio.gather(
            *(one.journal.commit(Commit(request=request(each))) for each in ids)
        )
        date = stored(dates[0])

        def unknown(each: int) -> Commit:
            return Commit(
                outcome=outcome(each, date, state=OutcomeState.UNKNOWN),
                reversal=reversal(each, date),
                queue=queued(10_000 + each, each, date),
            )

        approvals, takeovers = await asyncio.gather(
            asyncio.gather(
                *(one.journal.commit(Commit(outcome=outcome(each, date))) for each in ids)
            ),
            asyncio.gather(*(other.journal.commit(unknown(each)) for each in reversed(ids))),
        )
        for each, mine, theirs in zip(ids, approvals, reversed(takeovers), strict=True):
            assert {type(mine), type(theirs)} == {Stored, Lost}, each
        found = await world.query(
            "SELECT o.request_id, o.state, v.seq, q.item_id FROM switch.outcome AS o"
            " LEFT JOIN switch.reversal AS v ON v.original_request_id = o.request_id"
            " LEFT JOIN switch.queue_open AS q USING (request_id)"
        )
        assert len(found) == 150
        for row in found:
            was_approved = isinstance(approvals[row["request_id"] - 1], Stored)
            assert (row["state"] == "approved") == was_approved
            assert (row["seq"] is None) == (row["item_id"] is None) == was_approved

    run(scenario)


def test_a_reversal_races_its_original(run: Any) -> None:
    """Either the original came first and is reversed, or the tombstone did and stops it."""

    async def scenario(world: PostgresWorld) -> None:
        one, other = await world.process(), await world.process()
        told: Counter[tuple[str, bool]] = Counter()
        for stan in range(1, 41):
            if stan % 2:
                original, (judgement, _) = await asyncio.gather(
                    one.journal.commit(Commit(request=request(stan), attempt=attempt(stan))),
                    reverse(other, key(stan), 1000 + stan),
                )
            else:
                (judgement, _), original = await asyncio.gather(
                    reverse(other, key(stan), 1000 + stan),
                    one.journal.commit(Commit(request=request(stan), attempt=attempt(stan))),
                )
            blocked = isinstance(original, Duplicate) and original.tombstone
            told[judgement.response_code, blocked] += 1
            found = await look(one, 1000 + stan if blocked else stan)
            assert len(found.reversals) == (not blocked)
        assert set(told) <= {("00", False), ("25", True)}

    run(scenario)


def test_a_reversal_races_the_approval(run: Any) -> None:
    """Approved and cancelled, or reversed in flight: nothing is captured, one 0420 is queued."""

    async def scenario(world: PostgresWorld) -> None:
        one, other = await world.process(), await world.process()
        for each in range(1, 41):
            commit = Commit(request=request(each), attempt=attempt(each))
            date = stored(await one.journal.commit(commit))
            approval, (judgement, verdict) = await asyncio.gather(
                one.journal.commit(Commit(outcome=outcome(each, date))),
                reverse(other, key(each), 1000 + each),
            )
            assert judgement.response_code == "00"
            stored(verdict)
            found = await look(one, each)
            won = isinstance(approval, Stored)
            assert found.outcome.state == ("approved" if won else "reversed")
            assert [row.capture for row in found.reversals] == ["cancel" if won else ""]
        assert await world.captures() == []
        assert await one.queue.open_items(ACQUIRER) == 40

    run(scenario)


def test_refunds_never_exceed_the_sale(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        stores = [await world.process() for _ in range(3)]
        await approve(stores[0], 1)

        async def refund(store: PostgresStore, number: int) -> str:
            def judge(scene: Scene) -> Judgement:
                original = scene.originals[0]
                if sum(each.amount_minor for each in original.follow_ups) + 30 > 100:
                    return Judgement(commit=None, response_code="64", rule="too_much")
                row = request(
                    number, type="refund", amount_minor=30, original_request_id=1,
                    of=key(number, kind="022.20"),
                )  # fmt: skip
                return Judgement(Commit(request=row), "", "allowed")

            judgement, _ = await store.journal.decide(FindById(1), judge)
            return judgement.response_code

        told = await asyncio.gather(
            *(refund(stores[number % 3], 10 + number) for number in range(12))
        )
        assert sorted(told) == [""] * 3 + ["64"] * 9

    run(scenario)


# -- marks against commits under load -----------------------------------------------------------


class Load:
    """Requests without pause from several processes, and what came of each."""

    def __init__(self, stores: list[PostgresStore], width: int = 8, **row: Any) -> None:
        self.stores = stores
        self.row = row
        self.issued = 0
        self.verdicts: dict[int, Any] = {}
        self.order: dict[int, int] = {}  # request id → how many had been issued before
        self._stop = False
        self._tasks = [
            asyncio.create_task(self._commit(store)) for store in stores for _ in range(width)
        ]

    async def _commit(self, store: PostgresStore) -> None:
        while not self._stop:
            self.issued += 1
            number = self.issued
            row = request(number, owner_id=0, **self.row)
            self.verdicts[number] = await store.journal.commit(Commit(request=row))

    async def warm(self, count: int = 200) -> None:
        start = len(self.verdicts)
        await wait_for(lambda: len(self.verdicts) >= start + count)

    async def stop(self) -> None:
        self._stop = True
        await asyncio.gather(*self._tasks)


def test_a_frozen_batch_is_frozen_for_commits_under_way(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        stores = [await world.process() for _ in range(3)]
        await stores[0].batches.sign_on(session())
        load = Load(stores[:2])
        await load.warm()
        undecided = await stores[2].batches.freeze(MERCHANT, TERMINAL, 1)
        await load.warm()
        await load.stop()
        counted = Counter(type(verdict) for verdict in load.verdicts.values())
        assert counted[Stored] == undecided >= 200
        assert counted[Stale] > 0
        assert set(counted) == {Stored, Stale}

    run(scenario)


def test_every_commit_is_on_one_side_of_the_cut_over(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        stores = [await world.process() for _ in range(3)]
        date = await stores[2].days.business_date()
        load = Load(stores[:2])
        await load.warm()
        await asyncio.wait_for(stores[2].days.cut_over(date + DAY), 60.0)
        issued = load.issued
        found = await world.query(
            "SELECT count(*) FROM switch.request WHERE request_date = $1", date
        )
        await load.warm()
        await load.stop()
        dates = {number: stored(verdict) for number, verdict in load.verdicts.items()}
        assert {dates[number] for number in dates if number > issued} == {date + DAY}
        # when cut-over returned, the old date was complete
        assert found[0][0] == sum(each == date for each in dates.values()) >= 200
        assert await stores[2].days.freeze(date) == found[0][0]

    run(scenario)


def test_a_date_freezes_once_its_last_request_is_decided(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        one, other = await world.process(), await world.process()
        ids = range(1, 101)
        await asyncio.gather(*(one.journal.commit(Commit(request=request(each))) for each in ids))
        date = await one.days.business_date()
        await one.days.cut_over(date + DAY)

        async def decide_all() -> None:
            for each in ids:
                stored(await one.journal.commit(Commit(outcome=outcome(each, date))))
                if each % 3 == 0:
                    await reverse(one, key(each), 1000 + each)

        deciding = asyncio.create_task(decide_all())
        left = [await other.days.freeze(date)]
        while left[-1]:
            left.append(await other.days.freeze(date))
        await deciding
        assert left == sorted(left, reverse=True)
        captures = await world.captures()
        # each reversal cancelled before the freeze, or posted the opposite after it
        opposites = [capture for capture in captures if capture[1]]
        assert all(capture[2] == date + DAY for capture in opposites)
        assert sum(capture[3] for capture in captures) == 100 * (100 - 33)

    run(scenario)


# -- leases under load ------------------------------------------------------------------------------


def test_leases_and_numbers_do_not_wait_behind_decisions(run: Any) -> None:
    """A storm of 0400s takes every connection of the pool, for as long as its originals are locked."""

    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        owner = await store.owners.register("node", 0)
        await approve(store, 1)
        holder = await asyncpg.connect(world.database.app)
        await holder.execute("BEGIN; SELECT pg_advisory_xact_lock(1)")
        storm = [asyncio.create_task(reverse(store, key(1), 100 + each)) for each in range(20)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(60.0):
            assert await store.owners.renew(owner, 1)
            assert await store.queue.lease(ACQUIRER, owner)
            await store.numbers.request_ids(10)
        assert not any(each.done() for each in storm)
        await holder.execute("ROLLBACK")
        await holder.close()
        await asyncio.gather(*storm)
        assert len((await look(store, 1)).reversals) == 1

    run(scenario)


# -- lost answers -----------------------------------------------------------------------------------


async def kill_backends(world: PostgresWorld, name: str, times: int, pause_s: float) -> None:
    for _ in range(times):
        await asyncio.sleep(pause_s)
        await world.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = $1 AND datname = current_database()",
            name,
        )


def test_killed_writers_lose_and_double_nothing(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        stores = [await world.process(), await world.process()]
        stop = False
        approved: list[int] = []

        async def trade(store: PostgresStore, first: int) -> None:
            number = first
            while not stop:
                row = request(number)
                number += 32
                try:
                    date = stored(await store.journal.commit(Commit(request=row)))
                except StoreDownError:  # on a slow machine it is away for long enough to be refused
                    continue
                stored(await store.journal.commit(Commit(outcome=outcome(row.request_id, date))))
                approved.append(row.request_id)

        traders = [
            asyncio.create_task(trade(stores[number % 2], number)) for number in range(1, 33)
        ]
        await kill_backends(world, "tongbao journal", 25, 0.03)
        await wait_for(lambda: len(approved) > 500)
        stop = True
        await asyncio.gather(*traders)
        assert any(store.writer.reruns for store in stores)
        found = await world.query(
            "SELECT request_id FROM switch.outcome JOIN switch.request USING (request_id)"
        )
        assert sorted(row[0] for row in found) == sorted(approved)
        assert len(await world.captures()) == len(approved)

    run(scenario)


@pytest.mark.parametrize("state", ["53100", "57014"])
def test_an_outcome_outlasts_a_server_that_can_not(run: Any, state: str) -> None:
    """A full disk or a cancelled statement is nothing that a row could cause: it is tried again."""

    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        date = stored(await store.journal.commit(Commit(request=request(1), attempt=attempt(1))))
        await world.query(
            "CREATE FUNCTION switch.fail() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE EXCEPTION 'can not' USING ERRCODE = '{state}'; END $$"
        )
        await world.query(
            "CREATE TRIGGER fail BEFORE INSERT ON switch.outcome"
            " FOR EACH ROW EXECUTE FUNCTION switch.fail()"
        )
        last = asyncio.create_task(store.journal.commit(Commit(outcome=outcome(1, date))))
        await wait_for(lambda: last.done() or store.writer.reruns > 5)
        assert not last.done()
        await world.query("DROP TRIGGER fail ON switch.outcome")
        stored(await asyncio.wait_for(last, 60.0))
        assert await world.captures() == [(1, 0, date, 100)]

    run(scenario)


def test_killed_decisions_lose_and_double_nothing(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        ids = range(1, 121)
        await asyncio.gather(*(approve(store, each) for each in ids))
        killing = asyncio.create_task(kill_backends(world, "tongbao", 12, 0.02))
        told: Counter[str] = Counter()

        async def reverse_until_told(each: int) -> None:
            for number in range(100):
                try:
                    judgement, _ = await reverse(store, key(each), 1000 * (number + 1) + each)
                except StoreDownError:
                    continue
                told[judgement.rule] += 1
                return

        for first in range(1, 121, 8):
            await asyncio.gather(*(reverse_until_told(each) for each in range(first, first + 8)))
        await killing
        # "repeated" would mean that a decision that stood was not recognised
        assert told == {"reversed": 120}
        found = await world.query("SELECT count(*) FROM switch.reversal")
        assert found[0][0] == 120
        found = await world.query("SELECT count(*) FROM switch.reversal_request")
        assert found[0][0] == 120
        assert await world.captures() == []

    run(scenario)


def test_a_warning_during_a_commit_makes_it_unknown(run: Any) -> None:
    """A cancelled wait for a standby looks like success, but for a warning."""

    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        await world.query("CREATE SEQUENCE public.warned")
        await world.query("GRANT ALL ON SEQUENCE public.warned TO public")
        await world.query(
            "CREATE FUNCTION public.warn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF nextval('public.warned') <= 2 THEN RAISE WARNING 'not replicated'; END IF;"
            " RETURN NULL; END $$"
        )
        await world.query(
            "CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON switch.request_key"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.warn()"
        )
        await asyncio.gather(
            *(store.journal.commit(Commit(request=request(each))) for each in range(1, 9))
        )
        assert store.writer.reruns >= 1
        found = await world.query("SELECT count(*), sum(commits) FROM switch.rerun")
        assert found[0][0] == store.writer.reruns
        # and a decision
        await world.query("SELECT setval('public.warned', 1, false)")
        await approve(store, 10)

        def judge(scene: Scene) -> Judgement:
            row = request(11, original_request_id=10)
            return Judgement(Commit(request=row), "", "allowed")

        await world.query("SELECT setval('public.warned', 1, false)")
        _, verdict = await store.journal.decide(FindById(10), judge)
        stored(verdict)
        assert len((await look(store, 10)).follow_ups) == 1

    run(scenario)


def test_a_decision_that_only_ends_an_item_is_found_by_that(run: Any) -> None:
    """Its COMMIT says nothing clear, and it has no other row to look for."""

    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        await approve(store, 1)
        await reverse(store, key(1), 101)
        await world.query(
            "CREATE FUNCTION public.warn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE WARNING 'not replicated'; RETURN NULL; END $$"
        )
        await world.query(
            "CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON switch.queue_end"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.warn()"
        )

        def judge(scene: Scene) -> Judgement:
            if scene.originals[0].reversal_response is not None:
                return Judgement(None, "", "ended before")
            return Judgement(Commit(end=EndRow(101, "25")), "", "ended")

        judgement, verdict = await store.journal.decide(FindById(1), judge)
        assert judgement.rule == "ended", "it stood, and was not recognised"
        stored(verdict)
        found = await world.query("SELECT item_id, response_code FROM switch.queue_end")
        assert [tuple(row) for row in found] == [(101, "25")]

    run(scenario)


def test_a_caller_that_goes_away_disturbs_nobody(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        tasks = [
            asyncio.create_task(store.journal.commit(Commit(request=request(each))))
            for each in range(1, 41)
        ]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, Stored) for each in results[1::2])
        await store.journal.commit(Commit(request=request(41)))
        found = await world.query("SELECT count(*) FROM switch.request")
        assert found[0][0] == 41

    run(scenario)


def test_a_writer_that_fails_is_told_and_leaves_nobody_waiting(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of ours in its task: the process must end, for it stores nothing any more."""

    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        told = asyncio.Event()
        store.writer.when_failed(told.set)

        async def fail(_works: Any) -> None:
            raise IndexError("a bug")

        monkeypatch.setattr(store.writer, "_settle", fail)
        with pytest.raises(StoreDownError):
            await store.journal.commit(Commit(request=request(1)))
        await asyncio.wait_for(told.wait(), 60.0)
        with pytest.raises(StoreDownError):
            await store.journal.commit(Commit(request=request(2)))

    run(scenario)


def test_a_caller_that_fails_when_told_costs_the_others_nothing(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        told: list[Any] = []

        def fail(verdict: Any) -> None:
            told.append(verdict)
            raise RuntimeError("a bug")

        for number in range(1, 11):
            call = fail if number % 2 else told.append
            store.writer.submit(Commit(request=request(number)), told=call)
        await wait_for(lambda: len(told) == 10)
        assert all(isinstance(each, Stored) for each in told)
        stored(await store.journal.commit(Commit(request=request(11))))

    run(scenario)


def test_whoever_was_told_is_not_told_again_when_the_writer_ends(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group is halved around a bad row, and the writer ends between the halves."""

    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        flush = store.writer._flush
        told: dict[int, list[Any]] = {number: [] for number in range(1, 9)}
        ended = asyncio.Event()
        store.writer.when_failed(ended.set)

        async def flush_until_half(works: Any) -> Any:
            if len(works) == 4 and works[0].commit.request.request_id > 4:
                raise IndexError("a bug")
            return await flush(works)

        monkeypatch.setattr(store.writer, "_flush", flush_until_half)
        for number, heard in told.items():
            row = request(number, amount_minor=-1 if number == 8 else 100)
            store.writer.submit(Commit(request=row), told=heard.append)
        await asyncio.wait_for(ended.wait(), 60.0)
        heard_of = [[type(said) for said in heard] for heard in told.values()]
        assert heard_of == [[Stored]] * 4 + [[StoreDownError]] * 4

    run(scenario)


def test_who_is_told_that_the_store_is_away_may_store_something_else() -> None:
    """What it puts in meanwhile waits with the rest for the store to come back."""

    async def main() -> None:
        writer = Writer(lambda: None)
        writer._task = asyncio.create_task(asyncio.sleep(60))
        ended = Commit(outcome=outcome(1))
        told: list[Any] = []

        def go_on(said: Any) -> None:
            told.append(said)
            writer.submit(ended, told=told.append)

        writer.submit(ended, told=told.append)
        for number in (2, 3):
            writer.submit(Commit(request=request(number)), told=go_on)
        writer.submit(ended, told=told.append)
        writer._down_since = asyncio.get_running_loop().time() - 60.0
        writer._refuse_waiting()
        assert [type(said) for said in told] == [StoreDownError] * 2
        assert writer.waiting == 4
        writer._task.cancel()

    asyncio.run(main())


def test_every_kind_of_bad_row_is_refused_alone(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        bad: dict[int, Any] = {
            3: request(3, amount_minor=-1),
            7: request(7, pan_masked="nul\0"),
            11: request(11, amount_minor=2**63),
            12: request(12, mcc=None),
            19: request(19, pan_token="text"),
        }
        rows = [bad.get(number) or request(number) for number in range(1, 33)]
        results = await asyncio.gather(
            *(store.journal.commit(Commit(request=row)) for row in rows), return_exceptions=True
        )
        for number, result in enumerate(results, 1):
            assert type(result) is (RowRefusedError if number in bad else Stored), number
        assert store.writer.reruns == 0

    run(scenario)


# -- the server goes away ---------------------------------------------------------------------------


def test_a_killed_server_loses_no_answered_commit(data_folder: Path) -> None:
    """kill -9 of PostgreSQL under load, with fsync: all that was answered is there afterwards."""
    server = EmbeddedPostgres.start(data_folder)
    try:
        asyncio.run(migrate(server.dsn("tongbao_owner")))
        asyncio.run(_trade_over_a_killed_server(server))
    finally:
        server.stop()


async def _trade_over_a_killed_server(server: EmbeddedPostgres) -> None:
    store = await PostgresStore.open(server.dsn(), SystemClock())
    date = await store.days.business_date()
    await store.journal.commit(Commit(request=request(1)))
    answered: set[int] = {1}
    refused: set[int] = set()
    number = 1
    stop = False

    async def trade() -> None:
        nonlocal number
        while not stop:
            number += 1
            mine = number
            try:
                stored(await store.journal.commit(Commit(request=request(mine))))
            except StoreDownError:
                refused.add(mine)
                await asyncio.sleep(0.02)
            else:
                answered.add(mine)

    traders = [asyncio.create_task(trade()) for _ in range(16)]
    await wait_for(lambda: len(answered) > 100)
    os.kill(server.pid, signal.SIGKILL)
    await wait_for(lambda: store.writer._down_since is not None)
    # an outcome waits, however long; a new request is refused after a while
    last = asyncio.create_task(store.journal.commit(Commit(outcome=outcome(1, date))))
    traders += [asyncio.create_task(trade()) for _ in range(16)]
    await wait_for(lambda: len(refused) > 10)
    with pytest.raises(StoreDownError):
        await reverse(store, key(1), 9999)
    assert not last.done()
    await asyncio.to_thread(server.ensure_running)
    stored(await asyncio.wait_for(last, 60.0))
    before = len(answered)
    await wait_for(lambda: len(answered) > before + 100)
    stop = True
    await asyncio.gather(*traders)
    connection = await asyncpg.connect(server.dsn())
    found = {row[0] for row in await connection.fetch("SELECT request_id FROM switch.request")}
    await connection.close()
    assert found == answered
    assert not found & refused
    await store.close()


def test_commits_beyond_the_bound_are_refused_at_once(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        store = await PostgresStore.open(database_dsn.app, SystemClock(), queue_max=3)
        rows = [Commit(request=request(number)) for number in range(1, 6)]
        results = await asyncio.gather(*map(store.journal.commit, rows), return_exceptions=True)
        assert [type(each) for each in results] == [Stored] * 3 + [StoreDownError] * 2
        stored(await store.journal.commit(rows[3]))
        await store.close()

    asyncio.run(scenario())


class Losing:
    """A connection that is lost as soon as a statement is prepared on it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def prepare(self, query: str) -> Any:
        statement = await self._connection.prepare(query)
        asyncio.get_running_loop().call_soon(self._connection.terminate)
        return statement


def test_an_outage_in_which_all_that_waits_is_refused_ends_as_well(run: Any) -> None:
    """Connected again, the writer has nothing to ask, and the first connection is lost at once."""

    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        connect, away = store.writer._connect, True
        made: list[Any] = []

        async def connect_when_there() -> Any:
            if away:
                raise ConnectionRefusedError
            made.append(await connect())
            return Losing(made[-1]) if len(made) == 1 else made[-1]

        store.writer._connect = connect_when_there
        assert store.writer._connection is not None
        store.writer._connection.terminate()
        with pytest.raises(StoreDownError):
            await store.journal.commit(Commit(request=request(1)))
        away = False
        await wait_for(lambda: bool(made) and not store.writer._is_away())
        stored(await store.journal.commit(Commit(request=request(2))))

    run(scenario)


# -- the flush --------------------------------------------------------------------------------------


def test_commits_that_wait_share_a_flush(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        many = [store.journal.commit(Commit(request=request(number))) for number in range(1, 9)]
        for verdict in await asyncio.gather(*many):
            stored(verdict)
        assert (store.writer.flushes, store.writer.commits) == (1, 8)

    run(scenario)


def test_after_a_group_that_was_not_plain_the_writer_is_wary_for_a_while(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        journal, writer = store.journal, store.writer
        stored(await journal.commit(Commit(request=request(1))))
        assert writer.flushes == 1
        again = journal.commit(Commit(request=request(2, stan=1)))
        other = journal.commit(Commit(request=request(3)))
        duplicate, kept = await asyncio.gather(again, other)
        assert isinstance(duplicate, Duplicate)
        stored(kept)
        assert writer.flushes == 3  # tried plainly, then asked
        for number in range(10, 10 + WARY_FOR):
            stored(await journal.commit(Commit(request=request(number))))
        assert (writer.flushes, writer._wary) == (3 + WARY_FOR, 0)
        stored(await journal.commit(Commit(outcome=outcome(3))))
        lost = await journal.commit(Commit(outcome=outcome(3)))
        assert isinstance(lost, Lost)
        assert (writer.flushes, writer.reruns) == (3 + WARY_FOR + 3, 0)

    run(scenario)


@pytest.mark.parametrize("stands", [False, True])
def test_a_plain_flush_without_an_answer_is_asked_about(
    run: Any, monkeypatch: pytest.MonkeyPatch, *, stands: bool
) -> None:
    """Its connection is lost before or after the commit: it is stored once, and so is what it says."""

    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        writer = store.writer
        plainly = writer._plainly

        class Cut:
            async def fetchval(self, *args: Any) -> Any:
                if stands:
                    await plainly.fetchval(*args)
                assert writer._connection is not None
                writer._connection.terminate()
                raise ConnectionResetError

        monkeypatch.setattr(writer, "_plainly", Cut())
        stored(await store.journal.commit(Commit(request=request(1))))
        assert writer.reruns == 1
        stored(await store.journal.commit(Commit(outcome=outcome(1))))
        assert (await look(store, 1)).captured_minor == 100

    run(scenario)


def test_an_outcome_that_can_not_be_is_refused_alone(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        odd: dict[int, dict[str, Any]] = {
            2: {"state": "settled", "effect_minor": None},
            4: {"approved_amount_minor": -1},
            6: {"state": OutcomeState.DECLINED},  # and it captures
        }
        bad = {
            number: msgspec.structs.replace(outcome(number), **more) for number, more in odd.items()
        }
        for number in range(1, 9):
            stored(await store.journal.commit(Commit(request=request(number))))
        outcomes = [bad.get(number) or outcome(number) for number in range(1, 9)]
        results = await asyncio.gather(
            *(store.journal.commit(Commit(outcome=row)) for row in outcomes),
            return_exceptions=True,
        )
        for number, result in enumerate(results, 1):
            assert type(result) is (RowRefusedError if number in bad else Stored), number
        assert str(results[1]) == "CheckViolationError 23514 outcome"

    run(scenario)


def test_the_former_release_stores_beside_this_one(run: Any) -> None:
    """Its nodes call `switch.store` while this one's call `switch.flush`: one key, one winner."""

    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        connection = await asyncpg.connect(world.database.app)
        try:
            args: list[list[Any]] = [[] for _ in range(10)]
            args[0] = [rows.request_tuple(0, request(1), attempt(1))]
            former = "SELECT * FROM switch.store($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
            (said,) = await connection.fetch(former, *args)
            verdict = await store.journal.commit(Commit(request=request(2, stan=1)))
            assert isinstance(verdict, Duplicate)
            assert (verdict.request_id, verdict.request_date) == (1, said["request_date"])
            stored(await store.journal.commit(Commit(request=request(3))))
            args[0] = [rows.request_tuple(0, request(4, stan=3), attempt(4))]
            _, said = await connection.fetch(former, *args)
            assert (said["verdict"], said["request_id"]) == ("duplicate", 3)
        finally:
            await connection.close()

    run(scenario)


def test_a_commit_that_is_judged_again_leaves_no_key(run: Any) -> None:
    """Its key is taken back in the same flush, and the others of it stand."""

    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        count = Count("any/600", "card", 5, 0, NOW + DAY)
        find = FindCounted((count,), guards=(Guard(0, constant=1, per_count=1),))  # always fires
        works = [
            store.writer.commit(
                Commit(request=request(number)), presumed=Presumed(find, (number == 2,))
            )
            for number in (1, 2, 3)
        ]
        works.append(store.writer.commit(Commit(request=request(4))))
        results = await asyncio.gather(*works)
        assert results[0] == results[2] == Again((Counted(0, 0, None),))
        stored(results[1])
        stored(results[3])
        assert store.writer.flushes == 1
        for table in ("request_key", "request"):
            found = await world.query(f"SELECT request_id FROM switch.{table} ORDER BY 1")
            assert [row[0] for row in found] == [2, 4], table
        stored(await store.journal.commit(Commit(request=request(1))))  # its key is free

    run(scenario)


def test_a_paused_process_does_not_hold_its_counters_for_ever(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        servers = Servers(world.database.app)
        paused = await connect(servers, "paused", idle_s=0.5)
        await paused.execute("BEGIN")
        await paused.fetch("SELECT switch.risk_count('{any/600}', '{card}', '{0}')")
        count = Count("any/600", "card", 5, 0, NOW + DAY)
        find = FindCounted((count,), guards=(Guard(0, per_count=1),))
        commit = Commit(request=request(1))
        _, verdict = await store.journal.decide(find, lambda _: Judgement(commit, "", ""))
        stored(verdict)  # it waited for the lock, and nobody gave it back
        with pytest.raises(Exception) as gone:  # noqa: PT011 # whichever of them asyncpg raises
            await paused.execute("COMMIT")
        assert is_outage(gone.value)

    run(scenario)


# -- privileges -------------------------------------------------------------------------------------

LEASES = {
    "number_block",
    "owner",
    "acquirer_lease",
    "queue_open",
    "lmk_holder",
    "risk_bucket",
    "link_slot",
}
DERIVED = {"queue_open", "link_slot", "risk_bucket", "risk_move"}
READABLE = {"business_day", "business_date", "lmk_holder", "upkeep"}  # beside the views


def test_the_application_adds_facts_and_changes_none(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        tables = [
            row[0]
            for row in await world.query(
                "SELECT relname FROM pg_class WHERE relnamespace = 'switch'::regnamespace"
                " AND relkind IN ('r', 'p')"
            )
        ]
        assert len(tables) > 30
        for table in tables:
            (row,) = await world.query(
                "SELECT has_table_privilege('tongbao_app', $1, 'UPDATE') AS updates,"
                " has_table_privilege('tongbao_app', $1, 'DELETE') AS deletes,"
                " has_table_privilege('tongbao_app', $1, 'TRUNCATE, TRIGGER, REFERENCES') AS more,"
                " has_any_column_privilege('tongbao_app', $1, 'UPDATE') AS columns,"
                " has_table_privilege('tongbao_reader', $1, 'SELECT') AS reads,"
                " has_table_privilege('tongbao_reader', $1, 'INSERT, UPDATE, DELETE') AS writes,"
                " pg_get_userbyid(relowner) AS owner FROM pg_class WHERE oid = $1::regclass",
                f"switch.{table}",
            )
            assert row["updates"] == row["columns"] == (table in LEASES), table
            assert row["deletes"] == (table in DERIVED), table
            assert not row["more"], table
            assert row["reads"] == (table in READABLE), table
            assert not row["writes"], table
            assert row["owner"] == "tongbao_owner", table

    run(scenario)


def test_the_application_can_not_get_around_it(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        await approve(store, 1)
        connection = await asyncpg.connect(world.database.app)
        try:
            for statement in (
                "UPDATE switch.outcome SET effect_minor = 1",
                "DELETE FROM switch.request",
                "DELETE FROM switch.request_key",
                "TRUNCATE switch.outcome",
                "DROP TABLE switch.reversal",
                "CREATE TABLE switch.mine (id int)",
                "UPDATE switch.business_day SET business_date = '2000-01-01'",
                "UPDATE switch.business_date SET state = 'posted'",
                "ALTER FUNCTION switch.store OWNER TO tongbao_app",
                "SELECT * FROM pg_authid",
                "ALTER FUNCTION switch.unkey OWNER TO tongbao_app",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
            # what takes keys back takes none that stands
            await connection.execute(
                "SELECT switch.unkey($1, $2)", [rows.request_tuple(0, request(1), None)], [0]
            )
        finally:
            await connection.close()
        assert await store.journal.find_request(key(1)) is not None
        reader = await asyncpg.connect(world.database.reader)
        try:
            assert len(await reader.fetch("SELECT * FROM switch.transaction_v1")) == 1
            assert len(await reader.fetch("SELECT * FROM switch.capture_v1")) == 1
            for statement in (
                "SELECT pan_cipher FROM switch.request",
                "SELECT * FROM switch.stored_key",
                "SELECT * FROM switch.session",
                "SELECT switch.cut_over('2030-01-01')",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await reader.execute(statement)
        finally:
            await reader.close()

    run(scenario)


# -- readings ---------------------------------------------------------------------------------------


def test_views_show_states_and_captures(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        date = await approve(store, 1)
        await approve(store, 2)
        await reverse(store, key(2), 1002)
        await reverse(store, key(3), 3)  # a tombstone is no transaction
        refused = outcome(4, state=OutcomeState.REFUSED)
        await store.journal.commit(Commit(request=request(4), outcome=refused))
        await store.journal.commit(Commit(request=request(5), attempt=attempt(5)))
        await store.journal.commit(Commit(attempt=attempt(5, 2, request_date=date)))
        pending = Commit(
            request=request(6, type="refund", original_request_id=1),
            attempt=attempt(6),
            queue=queued(60, 6, None, kind="repeat", seq=0),
        )
        await store.journal.commit(pending)
        found = await world.query("SELECT * FROM switch.transaction_v1 ORDER BY request_id")
        assert [(row["request_id"], row["state"]) for row in found] == [
            (1, "approved"),
            (2, "reversed"),
            (4, "refused"),
            (5, "in_flight"),
            (6, "pending"),
        ]
        assert found[0]["acquirer"] == ACQUIRER
        listed = await store.journal.list_transactions(date)
        assert [row["request_id"] for row in listed] == [1, 2, 4, 5, 6]
        assert [row["state"] for row in listed] == [row["state"] for row in found]
        assert [len(row["attempts"]) for row in listed] == [1, 1, 0, 2, 1]
        assert listed[1]["reversals"][0]["state"] == "queued"
        assert listed[4]["original"]["stan"] == 1
        captures = await world.query("SELECT * FROM switch.capture_v1")
        assert [(row["capture_id"], row["effect_minor"]) for row in captures] == [(16, 100)]
        assert (captures[0]["merchant"], captures[0]["acquirer"]) == (MERCHANT, ACQUIRER)

    run(scenario)


def test_lookups_use_indexes_whatever_the_statistics(run: Any) -> None:
    """With half a year of partitions, what a refund names is found by index in every one of them."""

    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        date = await store.days.business_date()
        for days in range(1, 30):
            await world.query("SELECT switch.open_date($1)", date - days * DAY)
        await world.query("ANALYZE switch.request")
        connection = await store.sessions.pool.take()
        try:
            plan = await connection.fetch(
                "EXPLAIN SELECT request_id FROM switch.request WHERE merchant = 'm' AND stan = 1"
            )
        finally:
            store.sessions.pool.give_back(connection, usable=True)
        text = "\n".join(row[0] for row in plan)
        assert "Seq Scan" not in text
        assert text.count("merchant_stan_batch_idx") >= 30

    run(scenario)


def test_a_find_by_key_takes_no_time_out_for_locked_originals(run: Any) -> None:
    """A decision waits for the one before it, and then sees what it did."""

    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        await approve(store, 1)
        holder = await asyncpg.connect(world.database.app)
        await holder.execute("BEGIN")
        await holder.execute("SELECT pg_advisory_xact_lock(1)")
        seen: list[Scene] = []

        def judge(scene: Scene) -> Judgement:
            seen.append(scene)
            return Judgement(commit=None, response_code="", rule="")

        waiting = asyncio.create_task(store.journal.decide(FindByKey(key(1)), judge))
        await asyncio.sleep(0.1)
        assert not seen
        await holder.execute("ROLLBACK")
        await holder.close()
        await waiting
        assert seen[0].originals[0].captured_minor == 100

    run(scenario)


READ = """
    SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint AS rows
    FROM pg_stat_user_tables WHERE schemaname = 'switch'
"""


def test_what_runs_by_itself_reads_nothing_of_a_long_history(run: Any) -> None:
    """Leases, looks for the dead, the queues and uploads: the same few rows whatever there was."""

    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        await asyncio.gather(*(approve(store, number) for number in range(1, 401)))
        for number in range(1, 41):
            await reverse(store, key(number), 1_000 + number)
        for item in await store.queue.due(ACQUIRER, 100, []):
            await store.queue.finish(item, "00", None)
        for table, columns, values in (
            ("batch", "position", "n"),
            ("batch_settled", "said, ours, result", "array_fill(0, ARRAY[8]), array_fill(0, ARRAY[8]), '22'"),
            ("batch_closed", "rule", "'uploaded'"),
        ):  # fmt: skip
            await world.query(
                f"INSERT INTO switch.{table} (merchant, terminal, batch, {columns})"
                f" SELECT 'm', 't', n, {values} FROM generate_series(1, 2000) AS n"
            )
        await store.close()
        (before,) = await world.query(READ)

        store = await world.process()
        owner_id = await store.owners.register("n", 0)
        for _ in range(3):
            assert await store.owners.renew(owner_id, 401)
            assert await store.owners.take_over(owner_id, "n", 0) == []
            assert await store.queue.lease(ACQUIRER, owner_id) is not None
            assert await store.queue.due(ACQUIRER, 100, []) == []
            assert await store.queue.open_items(ACQUIRER) == 0
            assert await store.batches.overdue_uploads(0.0) == []
            assert await store.reference.generation() == 1
        await store.close()  # the server counts what a connection read when it ends
        (after,) = await world.query(READ)
        assert after["rows"] - before["rows"] < 100

    run(scenario)


# -- reference data -------------------------------------------------------------------------------


def test_a_reload_reads_what_changed(run: Any) -> None:
    """The price of one terminal's change is not the size of the estate."""

    async def scenario(world: PostgresWorld) -> None:
        one, other = await world.process(), await world.process()
        content = {"merchant": MERCHANT, "terminal": "00000001"}
        await one.reference.apply(
            [("terminal", "a", content), ("terminal", "b", content)], maker="a"
        )
        former = await one.reference.snapshot()
        suspended = {**content, "status": "suspended"}
        await other.reference.apply([("terminal", "a", suspended)], maker="b")
        later = await one.reference.snapshot()
        assert later.terminals["a"].status == "suspended"
        assert former.terminals["a"].status == "active"
        assert later.terminals["b"] is former.terminals["b"]

    run(scenario)


def test_a_change_that_commits_late_is_not_overlooked(run: Any) -> None:
    """Two writers: nobody sees the second's change while the first's is still to come."""

    async def scenario(world: PostgresWorld) -> None:
        first, second, reader = [await world.process() for _ in range(3)]
        pool = first.reference._sessions.pool
        connection = await pool.take()
        await connection.execute(
            "BEGIN; SELECT pg_advisory_xact_lock(8586, 1); INSERT INTO switch.reference_item"
            " (kind, key, version, effective_from, content, sha256, maker) VALUES"
            " ('route', '4', 1, now(), '{\"prefix\": \"4\", \"acquirer\": \"a\"}', sha256(''), 'a')"
        )
        route = {"prefix": "5", "acquirer": "a"}
        applying = asyncio.create_task(second.reference.apply([("route", "5", route)], maker="b"))
        await asyncio.sleep(0.2)
        assert list((await reader.reference.snapshot()).routes) == []
        await connection.execute("SELECT switch.bump_generation(); COMMIT")
        pool.give_back(connection, usable=True)
        await applying
        assert sorted((await reader.reference.snapshot()).routes) == ["4", "5"]

    run(scenario)


def test_a_store_that_was_set_back_is_read_anew(run: Any) -> None:
    async def scenario(world: PostgresWorld) -> None:
        store = await world.process()
        route = {"prefix": "5", "acquirer": "a"}
        await store.reference.apply([("route", "5", route)], maker="a")
        assert list((await store.reference.snapshot()).routes) == ["5"]
        await world.query("DELETE FROM switch.reference_item")
        await world.query("UPDATE switch.business_day SET generation = 1")
        assert (await store.reference.snapshot()).routes == {}

    run(scenario)
