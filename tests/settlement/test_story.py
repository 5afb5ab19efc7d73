"""What the books have of one request, read back from a real store.

Method: a day with one break of each class is closed, a chargeback comes, and its money is paid out, sent back
and sent again; every record's story is read, and what all of them have together is what the tables have.
"""

import asyncio
from datetime import date, timedelta
from typing import Any

import asyncpg

from settlement.adapters.cases_postgres import open_casework
from settlement.adapters.story_postgres import SOURCES, BooksReader
from settlement.disputes.intake import take_in
from settlement.story import Books
from tests.database import FreshDatabase
from tests.settlement.desk import LI, NOW, TERMS
from tests.settlement.test_close import a_day
from tests.settlement.test_disputes import SALE, row
from tests.settlement.test_store import a_day_on
from tests.settlement.world import DAY, com_file, inbox, run_close

_BATCH = """
INSERT INTO settlement.payout_batch VALUES
($1, $2, 'reserve', '156', 'payout', 1, 100, repeat('0', 64), 'we', '1', '2', now(), 'wang')
"""
_ORDER = """
INSERT INTO settlement.payout_order VALUES
($1, $2, $3, '156', 'T+1', 1, 100, 0, $4, 'Shop', '3', '4', $5)
"""


async def pay(connection: Any, batch: str, order: str, through: date, replaces: str = "") -> None:
    await connection.execute(_BATCH, batch, through)
    await connection.execute(_ORDER, batch, order, SALE.merchant, through, replaces)


async def decide(connection: Any, batch: str, decision: str, act: int) -> None:
    await connection.execute(
        "INSERT INTO settlement.payout_act VALUES ($1, 'payout.release', now())", act
    )
    await connection.execute(
        "INSERT INTO settlement.payout_decision VALUES ($1, $2, 'li', $3, $4, $5)",
        batch, decision, DAY, f"P{act}", act,
    )  # fmt: skip


async def stories(dsn: str, find: str) -> list[Books]:
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            reader = BooksReader(connection)
            rows = await connection.fetch(find)
            return [await reader.books(row["request_id"]) for row in rows]
    finally:
        await connection.close()


EVERY = "SELECT DISTINCT request_id FROM settlement.clearing_record ORDER BY 1"
OF_SALE = f"SELECT {SALE.request_id} AS request_id"


def test_every_fact_of_a_day_is_in_the_story_of_its_request(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        _, rows = a_day()
        async with a_day_on(database_dsn) as (store, dates):
            result = await run_close(store, inbox(com_file(rows)), dates=dates)
        async with open_casework(database_dsn.app) as casework:
            await take_in(casework, [row("E23", -3_000)], NOW, TERMS, LI)
        connection = await asyncpg.connect(database_dsn.owner)
        try:
            # withdrawn, then released and returned, then sent again
            await pay(connection, "B0", "E0", DAY)
            await decide(connection, "B0", "withdrawn", 1)
            await pay(connection, "B1", "E1", DAY + timedelta(days=1))
            await decide(connection, "B1", "released", 2)
            await connection.execute(
                "INSERT INTO settlement.payout_event VALUES"
                " ('E1', 'returned', $1, 'reserve', 'S1', 3, 'AC04')",
                DAY,
            )
            await pay(connection, "B2", "E2", DAY + timedelta(days=2), "E1")
            await pay(connection, "B3", "E3", DAY + timedelta(days=3))
            every = await stories(database_dsn.app, EVERY)
            for name, of in (
                ("clearing_record", [one.key for books in every for one in books.records]),
                ("merchant_fee", [one.key for books in every for one in books.fees]),
                ("network_cost", [one.key for books in every for one in books.costs]),
            ):
                stored = await connection.fetch(f"SELECT key FROM settlement.{name}")
                assert sorted(each["key"] for each in stored) == sorted(of), name
            matched = await connection.fetch(
                "SELECT record FROM settlement.match WHERE record IS NOT NULL AND record <> ''"
            )
            told = [one.record for books in every for one in books.matches]
            assert sorted(each["record"] for each in matched) == sorted(told)
            entries = await connection.fetch(
                "SELECT source, key FROM settlement.entry WHERE source = ANY ($1::text[])", SOURCES
            )
            told_entries = {(one.source, one.key) for books in every for one in books.entries}
            assert {(each["source"], each["key"]) for each in entries} <= told_entries
            with_record = {one.id for one in result.breaks if one.record}
            assert with_record <= {one.found.id for books in every for one in books.cases}
            (sale,) = await stories(database_dsn.app, OF_SALE)
            assert [one.end_to_end_id for one in sale.orders] == ["E1", "E2"]
            assert [(one.batch, one.decision) for one in sale.decisions] == [("B1", "released")]
            assert [(one.end_to_end_id, one.kind) for one in sale.events] == [("E1", "returned")]
            (dispute,) = sale.disputes
            assert dispute.state == "charged_back"
            reader = BooksReader(connection)
            assert await reader.named(dispute.dispute.id) == [SALE.request_id]
            short = next(one for one in result.breaks if one.break_class == "network_short")
            record = next(
                one for books in every for one in books.records if one.key == short.record
            )
            assert await reader.named(short.id) == [record.request_id]
            assert await reader.named("nothing") == []
        finally:
            await connection.close()

    asyncio.run(scenario())
