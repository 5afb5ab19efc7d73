"""Two at once on PostgreSQL, step by step: one stands in its transaction while the other must wait.

Method: the first acts and does not commit; the second is started and must still wait after a while; then the
first commits, or does not, and the second ends as it must.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from settlement.adapters import ledger_postgres, ledger_sealing
from settlement.adapters.ledger_postgres import PostgresLedger, post_entries
from settlement.ledger import Entry, LedgerClosedError, LedgerConflictError
from settlement.limits import LedgerLimitError
from tests.database import FreshDatabase
from tests.settlement.test_ledger_store import held, sale
from tests.settlement.world import DAY, NEXT

WAIT_S = 0.3

First = Callable[[Any], Awaitable[object]]


@asynccontextmanager
async def while_uncommitted(
    pool: asyncpg.Pool, first: First, *, commits: bool = True
) -> AsyncIterator[Callable[[Awaitable[Any]], Awaitable[Any]]]:
    """`first` has acted. What is yielded starts the second, sees it wait, ends the first and returns
    what the second comes to."""

    async def then(second: Awaitable[Any]) -> Any:
        task = asyncio.ensure_future(second)
        await asyncio.sleep(WAIT_S)
        assert not task.done(), "the second did not wait"
        await (transaction.commit() if commits else transaction.rollback())
        return await task

    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await first(connection)
        yield then


def posting(*entries: Entry) -> First:
    return lambda connection: post_entries(connection, entries)


Scenario = Callable[[asyncpg.Pool, PostgresLedger], Awaitable[None]]


def run(dsn: FreshDatabase, scenario: Scenario) -> None:
    async def with_pool() -> None:
        async with asyncpg.create_pool(dsn.app, min_size=1, max_size=4) as pool:
            await scenario(pool, PostgresLedger(pool))

    asyncio.run(with_pool())


def test_who_seals_waits_for_posters(database_dsn: FreshDatabase) -> None:
    async def scenario(pool: asyncpg.Pool, ledger: PostgresLedger) -> None:
        async with while_uncommitted(pool, posting(sale(1))) as then:
            assert (await then(ledger.seal(DAY))).entries == 1

    run(database_dsn, scenario)


def test_a_poster_waits_for_who_ends_the_date_and_is_refused(database_dsn: FreshDatabase) -> None:
    async def end(connection: Any) -> None:
        await ledger_sealing._end_posting(connection, DAY)

    async def scenario(pool: asyncpg.Pool, ledger: PostgresLedger) -> None:
        async with while_uncommitted(pool, end) as then:
            with pytest.raises(LedgerClosedError, match="2026-08-03 is posted"):
                await then(ledger.post([sale(1)]))
        await ledger.post([sale(2, day=NEXT)])

    run(database_dsn, scenario)


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("second", [[sale(1)], [sale(1, 5)], [sale(2), sale(1)]])
def test_the_same_key_at_once(
    database_dsn: FreshDatabase, second: Sequence[Entry], commits: bool
) -> None:
    async def scenario(pool: asyncpg.Pool, ledger: PostgresLedger) -> None:
        async with while_uncommitted(pool, posting(sale(1)), commits=commits) as then:
            if commits and sale(1) not in second:
                with pytest.raises(LedgerConflictError):
                    await then(ledger.post(second))
            else:
                await then(ledger.post(second))

    run(database_dsn, scenario)


@pytest.mark.parametrize("commits", [True, False])
def test_two_can_not_both_spend_what_is_there_once(
    database_dsn: FreshDatabase, commits: bool
) -> None:
    async def scenario(pool: asyncpg.Pool, ledger: PostgresLedger) -> None:
        await ledger.post([held(1, 100)])
        async with while_uncommitted(pool, posting(held(2, -60)), commits=commits) as then:
            if commits:
                with pytest.raises(LedgerLimitError, match="from 40 to -20"):
                    await then(ledger.post([held(3, -60)]))
            else:
                await then(ledger.post([held(3, -60)]))

    run(database_dsn, scenario)


@pytest.mark.parametrize("commits", [True, False])
def test_the_first_move_of_a_balance_at_once(database_dsn: FreshDatabase, commits: bool) -> None:
    """Neither finds a row to lock: whoever makes it, both are counted."""

    async def scenario(pool: asyncpg.Pool, ledger: PostgresLedger) -> None:
        async with while_uncommitted(pool, posting(held(1, 100)), commits=commits) as then:
            await then(ledger.post([held(2, 50)]))
        total = 150 if commits else 50
        with pytest.raises(LedgerLimitError, match=f"from {total} to -1"):
            await ledger.post([held(3, -total - 1)])
        await ledger.post([held(4, -total)])

    run(database_dsn, scenario)


def test_a_large_batch_that_loses_a_key_is_posted_one_by_one(database_dsn: FreshDatabase) -> None:
    """COPY stands or falls as a whole; beside an entry that stands it is not lost."""
    many = [sale(number) for number in range(ledger_postgres.COPY_FROM + 1)]

    async def scenario(pool: asyncpg.Pool, ledger: PostgresLedger) -> None:
        await ledger.post(many[7:9])
        await ledger.post(many)
        await ledger.post(many)
        with pytest.raises(LedgerConflictError):
            await ledger.post([*many, *(sale(1_000_000 + n) for n in range(9)), sale(3, 1)])
        assert (await ledger.seal(DAY)).entries == len(many)

    run(database_dsn, scenario)


def test_calls_that_cross_end_in_a_deadlock_and_post_again(database_dsn: FreshDatabase) -> None:
    """Two calls in one transaction may take keys in any order; the ledger's own post is repeated."""

    async def scenario(pool: asyncpg.Pool, ledger: PostgresLedger) -> None:
        async with pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await post_entries(connection, [sale(2)])
            task = asyncio.ensure_future(ledger.post([sale(1), sale(2)]))
            await asyncio.sleep(WAIT_S)
            try:
                await post_entries(connection, [sale(1)])
            except asyncpg.DeadlockDetectedError:
                await transaction.rollback()
            else:
                await transaction.commit()
        await task
        assert (await ledger.seal(DAY)).entries == 2

    run(database_dsn, scenario)


def test_killed_between_the_end_of_a_date_and_its_chain(database_dsn: FreshDatabase) -> None:
    async def scenario(pool: asyncpg.Pool, ledger: PostgresLedger) -> None:
        await ledger.post([sale(1)])
        async with pool.acquire() as connection, connection.transaction():
            await ledger_sealing._end_posting(connection, DAY)
        with pytest.raises(LedgerClosedError):
            await ledger.post([sale(2)])
        # the next date's seal takes the earlier one with it
        await ledger.post([sale(3, day=NEXT)])
        second = await ledger.seal(NEXT)
        first = await ledger.seal(DAY)
        assert (first.entries, second.entries) == (1, 1)
        assert second.previous == first.hash

    run(database_dsn, scenario)


def test_a_rule_changed_without_a_new_version_seals_nothing(database_dsn: FreshDatabase) -> None:
    async def scenario(pool: asyncpg.Pool, ledger: PostgresLedger) -> None:
        await ledger.seal(DAY)
        owner = await asyncpg.connect(database_dsn.owner)
        await owner.execute(
            "UPDATE settlement.definition SET sha256 = sha256('x') "
            "WHERE (kind, name) = ('rule', 'captured')"
        )
        await owner.close()
        with pytest.raises(AssertionError, match=r"'captured', 1\) is not what it was"):
            await ledger.seal(NEXT)

    run(database_dsn, scenario)


def test_the_application_may_only_add(database_dsn: FreshDatabase) -> None:
    async def scenario(pool: asyncpg.Pool, ledger: PostgresLedger) -> None:
        await ledger.post([sale(1), held(1, 1)])
        await ledger.seal(DAY)
        for table in (
            "entry",
            "seal",
            "anchor",
            "posting_end",
            "checkpoint",
            "definition",
            "limited_balance",
        ):
            for change in (f"DELETE FROM settlement.{table}", f"TRUNCATE settlement.{table}"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await pool.execute(change)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute("UPDATE settlement.limited_balance SET settled_minor = 0")

    run(database_dsn, scenario)
