"""Payouts and statements on PostgreSQL: `settlement.payout_ports.Payouts` over asyncpg.

One act is one transaction. It begins by inserting its number, so a second act with the same number
waits for the first and then fails as a whole. A commit without a clear answer is found out by
reading: the act runs again, and what it would do has been done, or has not.
"""

# ruff: noqa: S608 - what is formatted into queries are column names of our own structs

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import date
from typing import Any, Final, TypeVar

import asyncpg
import msgspec

from settlement.adapters.postgres import POOL_MAX, PostgresDates, PostgresStore, post_entries
from settlement.cases import Break, Resolution
from settlement.clearing import Reference
from settlement.four_eyes import Approval, RefusedError
from settlement.netting import Net
from settlement.payout_ports import (
    Balance,
    Batch,
    DateState,
    Decision,
    Facts,
    LineMatch,
    Order,
    OrderEvent,
    Payable,
    PayoutFile,
    Receivable,
    ReserveCheck,
    RollingReserve,
    StaleError,
    Statement,
    StatementLine,
)

Struct = TypeVar("Struct", bound=msgspec.Struct)

SINCE: Final = ["payout", "statement"]  # steps that count at once, whatever their date


@asynccontextmanager
async def open_payouts(dsn: str) -> AsyncIterator[tuple["PostgresPayouts", PostgresDates]]:
    """Payouts and business dates on a pool of their own."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=POOL_MAX) as pool:
        yield PostgresPayouts(pool), PostgresDates(pool)


class PostgresPayouts:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._books = PostgresStore(pool)

    async def _read(self, shape: type[Struct], query: str, *values: object) -> list[Struct]:
        return [shape(**row) for row in await self._pool.fetch(query, *values)]

    async def generation(self) -> int:
        found = await self._pool.fetchval("SELECT max(generation) FROM settlement.payout_act")
        return int(found or 0)

    async def commit(self, facts: Facts) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            try:
                async with connection.transaction():
                    await connection.execute(
                        "INSERT INTO settlement.payout_act VALUES ($1, $2, $3)",
                        facts.generation + 1,
                        facts.act,
                        facts.at,
                    )
            except asyncpg.UniqueViolationError:
                raise StaleError(f"{facts.act} rests on {facts.generation}") from None
            await _approve(connection, facts.approval)
            await _add(connection, facts)
            await post_entries(connection, facts.entries)

    # -- the books

    async def references(self, kinds: Collection[str]) -> list[Reference]:
        return await self._books.references(kinds)

    async def posted(self) -> list[date]:
        rows = await self._pool.fetch(
            "SELECT business_date FROM settlement.step WHERE name = 'net' ORDER BY 1"
        )
        return [row["business_date"] for row in rows]

    async def nets(self, business_date: date) -> list[Net]:
        return await self._books.nets(business_date)

    async def payables(self, through: date) -> list[Payable]:
        await self._count()
        return sorted(
            await self._read(
                Payable,
                "WITH moved AS (SELECT owner, currency, account, -amount_minor AS amount_minor, "
                "  step = ANY ($2) OR (step <> 'reserve' AND business_date <= $1) AS counts "
                "  FROM settlement.position_now WHERE account IN "
                "  ('merchant_payable', 'merchant_held', 'merchant_reserve') "
                " UNION ALL SELECT merchant, currency, 'merchant_payable', "
                "  CASE kind WHEN 'released' THEN amount_minor ELSE -amount_minor END, NULL "
                "  FROM settlement.rolling_reserve "
                "  WHERE kind = 'released' OR business_date <= $1) "
                "SELECT owner AS merchant, currency, "
                "coalesce(sum(amount_minor) FILTER (WHERE account = 'merchant_payable' "
                "  AND counts IS DISTINCT FROM false), 0)::bigint AS through_minor, "
                "coalesce(sum(amount_minor) FILTER (WHERE account = 'merchant_payable' "
                "  AND counts IS NOT NULL), 0)::bigint AS total_minor, "
                "coalesce(sum(amount_minor) FILTER (WHERE account = 'merchant_held'), 0)::bigint "
                "  AS held_minor, "
                "coalesce(sum(amount_minor) FILTER (WHERE account = 'merchant_reserve'), 0)::bigint"
                "  AS reserve_minor "
                "FROM moved GROUP BY 1, 2",
                through,
                SINCE,
            )
        )

    async def receivables(self) -> list[Receivable]:
        await self._count()
        rows = await self._pool.fetch(
            "SELECT owner, currency, sum(amount_minor)::bigint AS amount_minor "
            "FROM settlement.position_now WHERE account = 'network_receivable' "
            "GROUP BY 1, 2 HAVING sum(amount_minor) <> 0"
        )
        found: list[Receivable] = []
        for row in rows:
            acquirer, _, day = row["owner"].rpartition("/")
            found.append(
                Receivable(acquirer, date.fromisoformat(day), row["currency"], row["amount_minor"])
            )
        return sorted(found)

    async def receivables_moved(self, business_date: date) -> list[str]:
        await self._count()
        rows = await self._pool.fetch(
            "SELECT DISTINCT owner FROM settlement.position_now WHERE business_date = $1 "
            "AND account = 'network_receivable' AND step = 'post' ORDER BY 1",
            business_date,
        )
        return [row["owner"] for row in rows]

    async def balances(self, through: date) -> list[Balance]:
        await self._count()
        return sorted(
            await self._read(
                Balance,
                "SELECT account, currency, sum(amount_minor)::bigint AS amount_minor "
                "FROM settlement.position_now WHERE business_date <= $1 "
                "GROUP BY 1, 2 HAVING sum(amount_minor) <> 0",
                through,
            )
        )

    async def _count(self) -> None:
        """Closed dates that are not counted yet: nothing is added to them any more."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                "INSERT INTO settlement.position_date SELECT b.business_date "
                "FROM switch.business_date AS b WHERE b.state = 'posted' AND NOT EXISTS "
                "(SELECT FROM settlement.position_date AS d WHERE d.business_date = b.business_date) "
                "ORDER BY 1 ON CONFLICT DO NOTHING RETURNING business_date"
            )
            if rows:
                await connection.execute(
                    "INSERT INTO settlement.position "
                    "SELECT business_date, step, account, owner, currency, sum(amount_minor) "
                    "FROM settlement.posting WHERE business_date = ANY ($1) "
                    "GROUP BY 1, 2, 3, 4, 5 HAVING sum(amount_minor) <> 0 OR step = 'post'",
                    [row["business_date"] for row in rows],
                )

    # -- payouts

    async def batches(self, payout_date: date | None = None) -> list[Batch]:
        return await self._read(
            Batch,
            f"SELECT {_columns(Batch)} FROM settlement.payout_batch "
            "WHERE $1::date IS NULL OR payout_date = $1 ORDER BY id",
            payout_date,
        )

    async def orders(self, batches: Collection[str] | None = None) -> list[Order]:
        return await self._orders("$1::text[] IS NULL OR batch = ANY ($1)", _texts(batches))

    async def open_orders(self) -> list[Order]:
        return await self._orders(
            "NOT EXISTS (SELECT FROM settlement.payout_event AS e "
            f"WHERE e.end_to_end_id = o.end_to_end_id) AND {_STANDS}"
        )

    async def returned_orders(self) -> list[Order]:
        return await self._orders(
            "EXISTS (SELECT FROM settlement.payout_event AS e WHERE e.end_to_end_id = o.end_to_end_id "
            "AND e.kind IN ('returned', 'rejected')) AND NOT EXISTS (SELECT "
            f"FROM settlement.payout_order AS n WHERE n.replaces = o.end_to_end_id "
            f"AND {_STANDS.replace('o.', 'n.')})"
        )

    async def orders_by_id(self, end_to_end_ids: Collection[str]) -> dict[str, Order]:
        found = await self._orders("end_to_end_id = ANY ($1)", sorted(end_to_end_ids))
        return {one.end_to_end_id: one for one in found}

    async def _orders(self, where: str, *values: object) -> list[Order]:
        return await self._read(
            Order,
            f"SELECT {_columns(Order)} FROM settlement.payout_order AS o WHERE {where} "
            "ORDER BY batch, end_to_end_id",
            *values,
        )

    async def decisions(self, batches: Collection[str] | None = None) -> list[Decision]:
        return await self._read(
            Decision,
            f"SELECT {_columns(Decision)} FROM settlement.payout_decision "
            "WHERE $1::text[] IS NULL OR batch = ANY ($1) ORDER BY batch",
            _texts(batches),
        )

    async def events(self, end_to_end_ids: Collection[str]) -> list[OrderEvent]:
        return await self._read(
            OrderEvent,
            f"SELECT {_columns(OrderEvent)} FROM settlement.payout_event "
            "WHERE end_to_end_id = ANY ($1) ORDER BY end_to_end_id, kind",
            sorted(end_to_end_ids),
        )

    async def reserves(self, release_by: date) -> list[RollingReserve]:
        return sorted(
            await self._read(
                RollingReserve,
                f"SELECT {_columns(RollingReserve)} FROM settlement.rolling_reserve AS w "
                "WHERE kind = 'withheld' AND release_on <= $1 AND NOT EXISTS (SELECT "
                "FROM settlement.rolling_reserve AS r WHERE (r.business_date, r.merchant, r.currency, "
                "r.kind) = (w.business_date, w.merchant, w.currency, 'released'))",
                release_by,
            )
        )

    async def files(self, batches: Collection[str] | None = None) -> list[PayoutFile]:
        return await self._read(
            PayoutFile,
            f"SELECT {_columns(PayoutFile)} FROM settlement.payout_file "
            "WHERE $1::text[] IS NULL OR batch = ANY ($1) ORDER BY batch",
            _texts(batches),
        )

    # -- statements, dates

    async def statements(self, account: str = "") -> list[Statement]:
        return await self._read(
            Statement,
            f"SELECT {_columns(Statement)} FROM settlement.statement WHERE $1 IN ('', account) "
            "ORDER BY account, first, last, coalesce(sequence, 0), id",
            account,
        )

    async def lines(self, account: str, statement: str) -> list[StatementLine]:
        return await self._read(
            StatementLine,
            f"SELECT {_columns(StatementLine)} FROM settlement.statement_line "
            "WHERE (account, statement) = ($1, $2) ORDER BY line",
            account,
            statement,
        )

    async def open_lines(self) -> list[StatementLine]:
        return await self._read(
            StatementLine,
            f"SELECT {_columns(StatementLine)} FROM settlement.statement_line AS l WHERE NOT EXISTS "
            "(SELECT FROM settlement.line_match AS m WHERE (m.account, m.statement, m.line) "
            "= (l.account, l.statement, l.line)) ORDER BY account, statement, line",
        )

    async def matches(self, account: str, statement: str) -> list[LineMatch]:
        rows = await self._pool.fetch(
            f"SELECT {_columns(LineMatch)} FROM settlement.line_match "
            "WHERE (account, statement) = ($1, $2) ORDER BY line",
            account,
            statement,
        )
        return [LineMatch(**{**row, "objects": tuple(row["objects"])}) for row in rows]

    async def states(self, business_date: date | None = None) -> list[DateState]:
        return sorted(
            await self._read(
                DateState,
                f"SELECT {_columns(DateState)} FROM settlement.date_state "
                "WHERE $1::date IS NULL OR business_date = $1",
                business_date,
            )
        )

    async def checks(self, business_date: date) -> list[ReserveCheck]:
        rows = await self._pool.fetch(
            f"SELECT {_columns(ReserveCheck)} FROM settlement.reserve_check "
            "WHERE business_date = $1 ORDER BY currency",
            business_date,
        )
        return [
            msgspec.convert({**row, "terms": msgspec.json.decode(row["terms"])}, ReserveCheck)
            for row in rows
        ]

    async def resolved(self, break_ids: Collection[str]) -> set[str]:
        return await self._books.resolved(break_ids)


# an order that counts: its batch was not withdrawn
_STANDS: Final = (
    "NOT EXISTS (SELECT FROM settlement.payout_decision AS d "
    "WHERE d.batch = o.batch AND d.decision = 'withdrawn')"
)

_TABLES: Final[tuple[tuple[str, str, type[msgspec.Struct]], ...]] = (
    ("payout_batch", "batches", Batch),
    ("payout_order", "orders", Order),
    ("payout_decision", "decisions", Decision),
    ("payout_event", "events", OrderEvent),
    ("rolling_reserve", "reserves", RollingReserve),
    ("payout_file", "files", PayoutFile),
    ("statement", "statements", Statement),
    ("statement_line", "lines", StatementLine),
    ("line_match", "matches", LineMatch),
    ("date_state", "states", DateState),
    ("reserve_check", "checks", ReserveCheck),
    ("break_case", "breaks", Break),
    ("resolution", "resolutions", Resolution),
)


async def _approve(connection: Any, approval: Approval | None) -> None:
    """Use the approval up, in the act's own transaction.

    Raises `RefusedError` where it is used already: two checkers at once.
    """
    if approval is None:
        return
    used = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM settlement.payout_decision WHERE proposal = $1)",
        approval.proposal.id,
    )
    if used:
        raise RefusedError("replayed", f"{approval.proposal.id} has been approved already")


async def _add(connection: Any, facts: Facts) -> None:
    if facts.statement_files:
        await connection.executemany(
            "INSERT INTO settlement.statement_file VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            [msgspec.structs.astuple(one) for one in facts.statement_files],
        )
    for table, name, shape in _TABLES:
        rows: list[msgspec.Struct] = list(getattr(facts, name))
        if rows:
            await connection.copy_records_to_table(
                table,
                schema_name="settlement",
                columns=list(shape.__struct_fields__),
                records=[_values(one, facts.generation + 1) for one in rows],
            )


def _values(one: msgspec.Struct, generation: int) -> tuple[Any, ...]:
    if isinstance(one, Decision | DateState):
        one = msgspec.structs.replace(one, generation=generation)
    values = msgspec.structs.astuple(one)
    if isinstance(one, Break):
        return tuple(_json(value) if isinstance(value, dict) else value for value in values)
    if isinstance(one, ReserveCheck):
        return tuple(_json(value) if isinstance(value, tuple) else value for value in values)
    return values


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _columns(shape: type[msgspec.Struct]) -> str:
    return ", ".join(shape.__struct_fields__)


def _texts(values: Collection[str] | None) -> list[str] | None:
    return None if values is None else sorted(values)
