"""`settlement.evidence_facts.EvidenceStore` on PostgreSQL, and the keys that evidence is signed with."""

# ruff: noqa: S608 - what is formatted into queries are column names of our own structs

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Final

import asyncpg
import msgspec

from settlement.adapters.postgres import PostgresStore
from settlement.clearing import Capture, ClearingRecord, ClearingRow, IncomingFile, Transaction
from settlement.fees import MerchantFee, NetworkCost
from settlement.ledger import Entry, Seal
from settlement.ports import Facts, Step
from settlement.reconcile import Match
from settlement.shares import RecordShare

# name -> (shape, table, order)
_EXTRACTS: Final[dict[str, tuple[type[msgspec.Struct], str, str]]] = {
    "captures": (Capture, "switch.capture_v1", "capture_id"),
    "records": (
        ClearingRecord,
        "settlement.clearing_record",
        "left(key, 1), substr(key, 2)::bigint",
    ),
    "matches": (Match, "settlement.match", "record, row"),
    "merchant_fees": (MerchantFee, "settlement.merchant_fee", "substr(key, 2)::bigint"),
    "network_costs": (NetworkCost, "settlement.network_cost", "substr(key, 2)::bigint"),
    "agent_shares": (RecordShare, "settlement.agent_share", "substr(key, 2)::bigint"),
    "entries": (Entry, "settlement.entry", "step, source, key"),
}


def _columns(shape: type[msgspec.Struct], of: str = "") -> str:
    return ", ".join(f"{of}{name}" for name in shape.__struct_fields__)


class PostgresEvidence(PostgresStore):
    """The store as of the close of `business_date`."""

    def __init__(self, pool: asyncpg.Pool, business_date: date) -> None:
        super().__init__(pool)
        self._date = business_date

    async def finish(self, step: Step, facts: Facts) -> bool:
        raise AssertionError("evidence writes nothing")

    async def files(self, acquirer: str) -> list[IncomingFile]:
        return [one for one in await super().files(acquirer) if one.business_date <= self._date]

    async def transactions_ahead(self, business_date: date, last: date) -> list[Transaction]:
        # those that the close could see: it had finished when the others came
        return await self._read(
            Transaction,
            f"SELECT {_columns(Transaction)} FROM switch.transaction_v1 WHERE business_date > $1 "
            "AND settlement_date <= $2 AND state = 'approved' AND received_at <= "
            "(SELECT finished_at FROM settlement.step WHERE (business_date, name) = ($3, 'reconcile')) "
            "ORDER BY request_id",
            business_date,
            last,
            self._date,
        )

    async def open_records(self, before: date, settles_from: date) -> list[ClearingRecord]:
        return await self._records(
            "business_date < $1 AND settlement_date >= $2 AND NOT EXISTS (SELECT FROM settlement.match "
            "AS m WHERE m.record = r.key AND m.business_date < $3)",
            before,
            settles_from,
            self._date,
        )

    async def rows(self, first: date, last: date) -> list[ClearingRow]:
        return await self._read(
            ClearingRow,
            f"SELECT {_columns(ClearingRow, 'r.')} FROM settlement.clearing_row AS r "
            "WHERE r.settlement_date BETWEEN $1 AND $2 "
            "AND r.version = (SELECT max(f.version) FROM settlement.incoming_file AS f "
            "WHERE (f.acquirer, f.name) = (r.acquirer, r.file) AND f.business_date <= $3) "
            "AND NOT EXISTS (SELECT FROM settlement.match AS m WHERE m.business_date < $3 "
            "AND m.row = r.acquirer || '/' || r.file || '/' || r.version || ':' || r.line) "
            "ORDER BY r.settlement_date, r.acquirer, r.file, r.line",
            first,
            last,
            self._date,
        )

    async def last_seal(self) -> Seal | None:
        found = await self._read(
            Seal,
            f"SELECT {_columns(Seal)} FROM settlement.seal "
            "WHERE business_date < $1 ORDER BY business_date DESC, step DESC, chunk DESC LIMIT 1",
            self._date,
        )
        return found[0] if found else None

    async def extract(self, name: str, business_date: date, write: Callable[[bytes], None]) -> None:
        shape, table, order = _EXTRACTS[name]

        async def take(piece: bytes) -> None:
            write(piece)

        async with self._pool.acquire() as connection:
            await connection.copy_from_query(
                f"SELECT {_columns(shape)} FROM {table} WHERE business_date = $1 ORDER BY {order}",
                business_date,
                output=take,
                format="csv",
                null="\\N",
            )


@asynccontextmanager
async def open_evidence(dsn: str, business_date: date) -> AsyncIterator[PostgresEvidence]:
    """The store as of a date's close, on a pool of its own."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool:
        yield PostgresEvidence(pool, business_date)


class EvidenceKey(msgspec.Struct, frozen=True):
    """A key that evidence is signed with; `sealed` is its private half under the vault's data key."""

    version: int
    public_key: str  # hex
    sealed: bytes
    made_at: datetime | None = None


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def evidence_keys(dsn: str) -> list[EvidenceKey]:
    """All of them, the newest, which signs, first."""
    async with connected(dsn) as connection:
        rows = await connection.fetch(
            f"SELECT {_columns(EvidenceKey)} FROM settlement.evidence_key ORDER BY version DESC"
        )
        return [EvidenceKey(**row) for row in rows]


async def add_evidence_key(dsn: str, key: EvidenceKey) -> None:
    """Raises where the version stands already: two at once can not both be the next."""
    async with connected(dsn) as connection:
        await connection.execute(
            "INSERT INTO settlement.evidence_key (version, public_key, sealed) VALUES ($1, $2, $3)",
            key.version,
            key.public_key,
            key.sealed,
        )
