"""Payouts and statements on PostgreSQL: `settlement.payouts.ports.Payouts` over asyncpg.

Reading; `payout_commit.py` adds the facts of an act.
"""

# ruff: noqa: S608 - what is formatted into queries are column names of our own structs

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import date
from typing import Final, TypeVar

import asyncpg
import msgspec

from settlement.adapters.ledger_postgres import open_date
from settlement.adapters.ledger_reading import PostgresLedgerQueries
from settlement.adapters.payout_commit import commit
from settlement.adapters.postgres import POOL_MAX, PostgresStore
from settlement.cases import Break
from settlement.clearing import Reference
from settlement.contracts import AGENT
from settlement.netting import Net
from settlement.payouts.ports import (
    Balance,
    Batch,
    DateState,
    Decision,
    Facts,
    LineMatch,
    Order,
    OrderEvent,
    OrderStatus,
    Payable,
    PayoutFile,
    PayoutReport,
    Receivable,
    ReserveCheck,
    RollingReserve,
    Statement,
    StatementLine,
)
from settlement.posting_rules import rules_on

Struct = TypeVar("Struct", bound=msgspec.Struct)

SINCE: Final = ["payout", "statement"]  # steps that count at once, whatever their date
# rules of those steps, and of rolling reserves, on what payees are owed: where the index finds them
RULES: Final = [
    name
    for name in sorted({*rules_on("merchant_payable"), *rules_on("agent_share_payable")})
    if name.startswith(("payout_", "advance_", "agent_payout_", "rolling_"))
]


@asynccontextmanager
async def open_payouts(dsn: str) -> AsyncIterator["PostgresPayouts"]:
    """On a pool of its own."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=POOL_MAX) as pool:
        yield PostgresPayouts(pool)


class PostgresPayouts:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._books = PostgresStore(pool)
        self._ledger = PostgresLedgerQueries(pool)

    async def _read(self, shape: type[Struct], query: str, *values: object) -> list[Struct]:
        return [shape(**row) for row in await self._pool.fetch(query, *values)]

    async def generation(self) -> int:
        found = await self._pool.fetchval("SELECT max(generation) FROM settlement.payout_act")
        return int(found or 0)

    async def commit(self, facts: Facts) -> None:
        await commit(self._pool, facts)

    # -- the books

    async def open_date(self) -> date:
        async with self._pool.acquire() as connection:
            return await open_date(connection)

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
        sums: dict[tuple[str, str], list[int]] = {}

        def add(column: int, owner: str, currency: str, owed_minor: int) -> None:
            sums.setdefault((owner, currency), [0, 0, 0, 0])[column] += owed_minor

        for column, account, at, prefix in (
            (0, "merchant_payable", through, ""),
            (1, "merchant_payable", None, ""),
            (0, "agent_share_payable", through, AGENT),
            (1, "agent_share_payable", None, AGENT),
            (2, "merchant_held", None, ""),
            (3, "merchant_reserve", None, ""),
        ):
            for one in await self._ledger.balances(account, at=at):
                add(column, prefix + one.owner, one.currency, -one.balance_minor)
        rows = await self._pool.fetch(
            "SELECT CASE account WHEN 'agent_share_payable' THEN $4 ELSE '' END || owner AS payee, "
            "currency, -sum(amount_minor)::bigint AS owed_minor "
            "FROM settlement.posting WHERE business_date > $1 "
            "AND account IN ('merchant_payable', 'agent_share_payable') "
            "AND rule = ANY ($2) AND (step = ANY ($3) "
            "OR step = 'reserve' AND (amount_minor < 0 OR settlement_date <= $1)) GROUP BY 1, 2",
            through,
            RULES,
            SINCE,
            AGENT,
        )
        for row in rows:
            add(0, row["payee"], row["currency"], row["owed_minor"])
        return sorted(Payable(*key, *line) for key, line in sums.items() if any(line))

    async def receivables(self) -> list[Receivable]:
        sums: dict[tuple[str, str], int] = {}
        for one in await self._ledger.balances("network_receivable"):
            key = (one.owner, one.currency)
            sums[key] = sums.get(key, 0) + one.balance_minor
        found: list[Receivable] = []
        for (owner, currency), amount in sums.items():
            acquirer, _, day = owner.rpartition("/")
            if amount:
                found.append(Receivable(acquirer, date.fromisoformat(day), currency, amount))
        return sorted(found)

    async def receivables_moved(self, business_date: date) -> list[str]:
        rows = await self._pool.fetch(
            "SELECT DISTINCT owner FROM settlement.checkpoint "
            "WHERE business_date = $1 AND account = 'network_receivable' ORDER BY 1",
            business_date,
        )
        return [row["owner"] for row in rows]

    async def balances(self, through: date) -> list[Balance]:
        sums: dict[tuple[str, str], int] = {}
        for one in await self._ledger.turnover(None, through):
            key = (one.account, one.currency)
            sums[key] = sums.get(key, 0) + one.closing_minor
        return sorted(Balance(*key, amount) for key, amount in sums.items() if amount)

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
            f"WHERE e.end_to_end_id = o.end_to_end_id AND e.kind <> 'received') AND {_STANDS}"
        )

    async def returned_orders(self) -> list[Order]:
        return await self._orders(
            "o.cycle <> '' AND EXISTS (SELECT FROM settlement.payout_event AS e WHERE e.end_to_end_id = o.end_to_end_id "
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

    async def reports(self, batches: Collection[str] | None = None) -> list[PayoutReport]:
        return await self._read(
            PayoutReport,
            f"SELECT {_columns(PayoutReport)} FROM settlement.payout_report "
            "WHERE $1::text[] IS NULL OR batch = ANY ($1) ORDER BY batch, made_at, account, id",
            _texts(batches),
        )

    async def statuses(self, end_to_end_ids: Collection[str]) -> list[OrderStatus]:
        columns = ", ".join(f"s.{name}" for name in OrderStatus.__struct_fields__)
        return await self._read(
            OrderStatus,
            f"SELECT {columns} FROM settlement.payout_status AS s "
            "JOIN settlement.payout_report AS r ON (r.account, r.id) = (s.account, s.report) "
            "WHERE s.end_to_end_id = ANY ($1) ORDER BY s.end_to_end_id, r.made_at, s.report",
            sorted(end_to_end_ids),
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

    async def standing_breaks(self, break_class: str) -> list[Break]:
        return await self._books.standing_breaks(break_class)

    async def resolved(self, break_ids: Collection[str]) -> set[str]:
        rows = await self._pool.fetch(
            "SELECT DISTINCT case_id FROM settlement.case_event "
            "WHERE case_id = ANY ($1) AND difference_minor <> 0",
            sorted(break_ids),
        )
        return {row["case_id"] for row in rows} | await self._books.resolved(break_ids)


# an order that counts: its batch was not withdrawn
_STANDS: Final = (
    "NOT EXISTS (SELECT FROM settlement.payout_decision AS d "
    "WHERE d.batch = o.batch AND d.decision = 'withdrawn')"
)


def _columns(shape: type[msgspec.Struct]) -> str:
    return ", ".join(shape.__struct_fields__)


def _texts(values: Collection[str] | None) -> list[str] | None:
    return None if values is None else sorted(values)
