"""`settlement.evidence_facts.EvidenceStore` on PostgreSQL, and the keys that evidence is signed with."""

# ruff: noqa: S608 - what is formatted into queries are column names of our own structs

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Final

import asyncpg
import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from settlement.adapters.bulk_postgres import QUERIES, Query, columns, extract
from settlement.adapters.files_postgres import read_file_rows
from settlement.adapters.four_eyes_postgres import audit
from settlement.adapters.passes_postgres import batches_captured, batches_said
from settlement.adapters.postgres import PostgresStore, Struct
from settlement.clearing import ClearingRecord, ClearingRow, IncomingFile, Transaction
from settlement.files.rows import FileRow
from settlement.kept_sums import BatchKey, BatchTotal
from settlement.ports import Extracted, Facts, Step

# The reads that later dates add to, as they were for the date that is asked last. Of what comes
# later the close could see only what had come when it had reconciled.
_AS_OF: Final = {
    "transactions_ahead": Query(
        Transaction,
        "FROM switch.transaction_v1 WHERE business_date > $1 AND settlement_date <= $2 "
        "AND state = 'approved' AND received_at <= (SELECT finished_at FROM settlement.step "
        "WHERE (business_date, name) = ($3, 'reconcile'))",
        "request_id",
    ),
    "open_records": Query(
        ClearingRecord,
        "FROM settlement.clearing_record AS r WHERE business_date < $1 AND settlement_date >= $2 "
        "AND NOT EXISTS (SELECT FROM settlement.match AS m "
        "WHERE m.record = r.key AND m.business_date < $3)",
        QUERIES["open_records"].order,
    ),
    "rows": Query(
        ClearingRow,
        "FROM settlement.clearing_row AS r WHERE settlement_date BETWEEN $1 AND $2 "
        "AND version = (SELECT max(f.version) FROM settlement.incoming_file AS f "
        "WHERE (f.acquirer, f.name) = (r.acquirer, r.file) AND f.business_date <= $3) "
        "AND NOT EXISTS (SELECT FROM settlement.match AS m WHERE m.business_date < $3 "
        "AND m.row = r.acquirer || '/' || r.file || '/' || r.version || ':' || r.line)",
        QUERIES["rows"].order,
    ),
}


class PostgresEvidence(PostgresStore):
    """The store as of the close of `business_date`."""

    def __init__(self, pool: asyncpg.Pool, business_date: date) -> None:
        super().__init__(pool)
        self._date = business_date

    async def finish(self, step: Step, facts: Facts) -> bool:
        raise AssertionError("evidence writes nothing")

    async def files(self, acquirer: str) -> list[IncomingFile]:
        return [one for one in await super().files(acquirer) if one.business_date <= self._date]

    async def file_rows(self, kind: str, first: date, last: date) -> list[FileRow]:
        return await read_file_rows(self._pool, kind, first, last, as_of=self._date)

    async def batches_said(self, business_date: date) -> list[BatchTotal]:
        return await batches_said(self._pool, business_date, as_closed=True)

    async def batches_captured(self, batches: Collection[BatchKey]) -> list[BatchTotal]:
        return await batches_captured(self._pool, batches, before=self._date)

    async def transactions_ahead(self, business_date: date, last: date) -> list[Transaction]:
        return await self._as_of("transactions_ahead", Transaction, business_date, last)

    async def open_records(self, before: date, settles_from: date) -> list[ClearingRecord]:
        return await self._as_of("open_records", ClearingRecord, before, settles_from)

    async def rows(self, first: date, last: date) -> list[ClearingRow]:
        return await self._as_of("rows", ClearingRow, first, last)

    async def _as_of(self, name: str, shape: type[Struct], *dates: date) -> list[Struct]:
        return await self._read(shape, _AS_OF[name].text, *dates, self._date)

    def extract(
        self, name: Extracted, *dates: date, ordered: bool = False
    ) -> AsyncIterator[pa.RecordBatch]:
        if name in _AS_OF:
            return extract(self._pool, _AS_OF[name], *dates, self._date, ordered=ordered)
        return super().extract(name, *dates, ordered=ordered)


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
            f"SELECT {columns(EvidenceKey)} FROM settlement.evidence_key ORDER BY version DESC"
        )
        return [EvidenceKey(**row) for row in rows]


async def add_evidence_key(dsn: str, key: EvidenceKey, maker: str) -> None:
    """With its audit record, or not at all. Raises where the version stands already: two at once
    can not both be the next."""
    after = {"version": key.version, "public_key": key.public_key}
    async with connected(dsn) as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO settlement.evidence_key (version, public_key, sealed) VALUES ($1, $2, $3)",
            key.version,
            key.public_key,
            key.sealed,
        )
        await audit(connection, maker, "evidence.key", f"evidence key {key.version}", None, after)
