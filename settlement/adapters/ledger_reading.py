"""The ledger's questions on PostgreSQL: a checkpoint, and what open dates have moved since.

A sealed date's balances are one row each, found by the checkpoints' key, however long the history is. Dates
that are not sealed are summed from their entries, by the rules that post on the account.
"""

# ruff: noqa: S608 - what is formatted into queries are conditions of our own

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any, Final

import asyncpg

from settlement.adapters.ledger_postgres import read_entries
from settlement.adapters.ledger_sealing import read_anchors
from settlement.chain import Anchor
from settlement.chart import CHART
from settlement.ledger import Entry, Layer
from settlement.ledger_queries import PAGE, Balance, Place, Statement, StatementLine, Turnover
from settlement.posting_rules import rules_on

DATES_A_STATEMENT: Final = 32

# The places that ever moved, from one to the next through the key: as many steps as there are
# places, not as there are checkpoints. `where` picks neighbours: it only ends the walk.
PLACES: Final = """
place AS (
    (SELECT n.account, n.owner, n.currency, n.layer FROM settlement.checkpoint AS n
     WHERE {where} ORDER BY 1, 2, 3, 4 LIMIT 1)
    UNION ALL
    SELECT n.* FROM place AS p, LATERAL (
        SELECT c.account, c.owner, c.currency, c.layer FROM settlement.checkpoint AS c
        WHERE (c.account, c.owner, c.currency, c.layer) > (p.account, p.owner, p.currency, p.layer)
        ORDER BY 1, 2, 3, 4 LIMIT 1) AS n
    WHERE {where}
)"""


class PostgresLedgerQueries:
    """`ledger_queries.LedgerQueries` over asyncpg; every answer is of one snapshot."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def balances(
        self, account: str, owner: str | None = None, at: date | None = None
    ) -> list[Balance]:
        async with snapshot(self._pool) as connection:
            return await _balances(connection, account, owner, at or date.max)

    async def statement(
        self,
        account: str,
        owner: str,
        currency: str,
        first: date,
        last: date,
        *,
        layer: Layer | None = None,
        after: Place | None = None,
        limit: int = PAGE,
    ) -> Statement:
        async with snapshot(self._pool) as connection:
            lines = _Lines(connection, account, owner, currency, layer)
            opening = await lines.standing_before(first, after)
            found = await lines.page(first, last, after, limit + 1)
        balance = opening
        page: list[StatementLine] = []
        for row in found[:limit]:
            balance += row["amount_minor"]
            page.append(StatementLine(**row, balance_minor=balance))
        more = page[-1].place if len(found) > limit else None
        return Statement(
            account, owner, currency, layer, first, last, opening, tuple(page), balance, more
        )

    async def turnover(self, first: date | None, last: date) -> list[Turnover]:
        async with snapshot(self._pool) as connection:
            return await _turnover(connection, first or date.min, last)

    async def entry(self, source: str, key: str) -> Entry | None:
        async with snapshot(self._pool) as connection:
            return (await read_entries(connection, [(source, key)])).get((source, key))

    async def anchors(self) -> list[Anchor]:
        async with snapshot(self._pool) as connection:
            return await read_anchors(connection)

    async def open_entries(self) -> int:
        async with snapshot(self._pool) as connection:
            count: int = await connection.fetchval(
                "SELECT count(*) FROM settlement.entry WHERE business_date > $1",
                await last_sealed(connection),
            )
            return count


@asynccontextmanager
async def open_queries(dsn: str) -> AsyncIterator[PostgresLedgerQueries]:
    """For a command: on a connection of its own."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        yield PostgresLedgerQueries(pool)


@asynccontextmanager
async def snapshot(pool: asyncpg.Pool) -> AsyncIterator[Any]:
    """A connection that sees one moment and writes nothing."""
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        # dates decide how much is read: a plan for any date would be one for none
        await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        yield connection


async def last_sealed(connection: Any) -> date:
    found: date = await connection.fetchval(
        "SELECT coalesce(max(business_date), '-infinity') FROM settlement.anchor"
    )
    return found  # asyncpg: -infinity is date.min


def _by_owner(account: str) -> str:
    """Narrows entries to one owner by the index, where an entry names its owner itself."""
    return "AND merchant = $2" if CHART[account].owner == "merchant" else ""


async def _balances(connection: Any, account: str, owner: str | None, at: date) -> list[Balance]:
    one_owner = owner is not None
    places = PLACES.format(where="n.account = $1" + (" AND n.owner = $2" if one_owner else ""))
    rows = await connection.fetch(
        f"WITH RECURSIVE {places}, standing AS ("
        "SELECT owner, currency, layer, settlement.closing(account, owner, currency, layer, $3) "
        "AS amount_minor FROM place UNION ALL "
        "SELECT owner, currency, layer, amount_minor FROM settlement.posting "
        "WHERE business_date > $4 AND business_date <= $3 AND rule = ANY ($5::text[]) "
        "AND account = $1 AND ($2::text IS NULL OR owner = $2) "
        f"{_by_owner(account) if one_owner else ''}) "
        "SELECT owner, currency, layer, sum(amount_minor)::bigint AS balance_minor FROM standing "
        "GROUP BY 1, 2, 3 HAVING sum(amount_minor) <> 0 ORDER BY 1, 2, 3",
        account,
        owner,
        at,
        await last_sealed(connection),
        rules_on(account),
    )
    return [Balance(account=account, **row) for row in rows]


class _Lines:
    """The entries on one account, owner and currency, in one snapshot."""

    def __init__(
        self, connection: Any, account: str, owner: str, currency: str, layer: Layer | None
    ) -> None:
        self._connection = connection
        self._layer = layer
        self._values = (account, owner, currency, layer, rules_on(account))
        self._from = (
            "FROM settlement.entry AS e, LATERAL ("
            "SELECT sum(p.amount)::bigint AS amount_minor "
            "FROM unnest(e.accounts, e.owners, e.amounts) AS p (account, owner, amount) "
            "WHERE p.account = $1 AND p.owner = $2) AS m "
            "WHERE m.amount_minor IS NOT NULL AND e.currency = $3 "
            "AND ($4::text IS NULL OR e.layer = $4) AND e.rule = ANY ($5::text[]) "
            f"{_by_owner(account)} "
        )

    async def standing_before(self, first: date, after: Place | None) -> int:
        """The balance before the page that begins on `first`, or behind `after`."""
        if after is None or after.business_date < first:
            return await self._standing(first - timedelta(days=1))
        moved: int = await self._connection.fetchval(
            f"SELECT coalesce(sum(m.amount_minor), 0)::bigint {self._from} "
            "AND e.business_date = $6 AND (e.step, e.source, e.key) <= ($7, $8, $9)",
            *self._values,
            after.business_date,
            after.step,
            after.source,
            after.key,
        )
        return await self._standing(after.business_date - timedelta(days=1)) + moved

    async def _standing(self, at: date) -> int:
        account, owner, currency, _, _ = self._values
        balances = await _balances(self._connection, account, owner, at)
        return sum(
            one.balance_minor
            for one in balances
            if one.currency == currency and self._layer in (None, one.layer)
        )

    async def page(self, first: date, last: date, after: Place | None, limit: int) -> list[Any]:
        """Up to `limit` lines; only dates on which the account moved are looked at."""
        account, owner, currency, _, _ = self._values
        if after is not None:
            first = max(first, after.business_date)
        dates: list[date] = await self._connection.fetchval(
            "SELECT coalesce(array_agg(d.business_date ORDER BY 1), '{}') FROM ("
            "SELECT business_date FROM settlement.checkpoint WHERE account = $1 AND owner = $2 "
            "AND currency = $3 AND business_date BETWEEN $4 AND $5 "
            "UNION SELECT business_date FROM settlement.entry "
            "WHERE business_date > $6 AND business_date BETWEEN $4 AND $5) AS d",
            account,
            owner,
            currency,
            first,
            last,
            await last_sealed(self._connection),
        )
        found: list[Any] = []
        place = after or Place(date.min, "", "", "")
        for index in range(0, len(dates), DATES_A_STATEMENT):
            found += await self._connection.fetch(
                "SELECT e.business_date, e.step, e.source, e.key, e.rule, e.rule_version, "
                f"e.settlement_date, e.layer, m.amount_minor {self._from} "
                "AND e.business_date = ANY ($6::date[]) "
                "AND (e.business_date, e.step, e.source, e.key) > ($7, $8, $9, $10) "
                "ORDER BY 1, 2, 3, 4 LIMIT $11",
                *self._values,
                dates[index : index + DATES_A_STATEMENT],
                place.business_date,
                place.step,
                place.source,
                place.key,
                limit - len(found),
            )
            if len(found) == limit:
                break
        return found


async def _turnover(connection: Any, first: date, last: date) -> list[Turnover]:
    rows = await connection.fetch(
        f"WITH RECURSIVE {PLACES.format(where='true')}, part AS ("
        # what stood before, what sealed dates moved, and what open ones did
        "SELECT account, currency, layer, 0::bigint AS debit, 0::bigint AS credit, "
        "settlement.closing(account, owner, currency, layer, $1::date - 1) AS opening "
        "FROM place WHERE $1::date > '-infinity' UNION ALL "
        "SELECT account, currency, layer, debit_minor, credit_minor, 0 "
        "FROM settlement.checkpoint WHERE business_date BETWEEN $1 AND $2 UNION ALL "
        "SELECT account, currency, layer, "
        "CASE WHEN business_date >= $1 THEN greatest(amount_minor, 0) ELSE 0 END, "
        "CASE WHEN business_date >= $1 THEN greatest(-amount_minor, 0) ELSE 0 END, "
        "CASE WHEN business_date < $1 THEN amount_minor ELSE 0 END "
        "FROM settlement.posting WHERE business_date > $3 AND business_date <= $2) "
        "SELECT account, currency, layer, sum(opening)::bigint AS opening_minor, "
        "sum(debit)::bigint AS debit_minor, sum(credit)::bigint AS credit_minor "
        "FROM part GROUP BY 1, 2, 3 "
        "HAVING sum(opening) <> 0 OR sum(debit) <> 0 OR sum(credit) <> 0 ORDER BY 1, 2, 3",
        first,
        last,
        await last_sealed(connection),
    )
    return [Turnover(**row) for row in rows]
