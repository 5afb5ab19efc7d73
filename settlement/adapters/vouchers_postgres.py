"""Vouchers on PostgreSQL: `settlement.vouchers.Vouchers` over asyncpg."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date

import asyncpg
import msgspec

from settlement.adapters.four_eyes_postgres import approve, audit
from settlement.adapters.ledger_postgres import ATTEMPTS, open_date, post_entries, read_entries
from settlement.four_eyes import Approval, RefusedError
from settlement.ledger import Entry
from settlement.vouchers import Note


@asynccontextmanager
async def open_vouchers(dsn: str) -> AsyncIterator["PostgresVouchers"]:
    """For a command: on a connection of its own."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        yield PostgresVouchers(pool)


class PostgresVouchers:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def open_date(self) -> date:
        return await open_date(self._pool)

    async def registered(self, kind: str, key: str) -> bool:
        found: bool = await self._pool.fetchval(
            "SELECT EXISTS (SELECT FROM switch.reference_v1 WHERE (kind, key) = ($1, $2))",
            kind,
            key,
        )
        return found

    async def entry(self, source: str, key: str) -> Entry | None:
        return (await read_entries(self._pool, [(source, key)])).get((source, key))

    async def notes(self) -> list[Note]:
        rows = await self._pool.fetch(
            "SELECT source, key, reason, evidence, maker, checker, proposal "
            "FROM settlement.voucher ORDER BY source, key"
        )
        return [Note(**row) for row in rows]

    async def commit(self, note: Note, entry: Entry, act: str, approval: Approval) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._commit(note, entry, act, approval)
            except asyncpg.DeadlockDetectedError:
                if attempt == ATTEMPTS:
                    raise
            except asyncpg.UniqueViolationError as error:
                raise RefusedError("replayed", "voucher_stands", voucher=note.key) from error
            else:
                return

    async def _commit(self, note: Note, entry: Entry, act: str, approval: Approval) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO settlement.voucher (source, key, reason, evidence, maker, checker, "
                "proposal) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                *msgspec.structs.astuple(note),
            )
            await post_entries(connection, [entry])
            # nothing may come after these two: see `four_eyes_postgres`
            told = {"entry": entry.hash.hex(), "business_date": entry.business_date.isoformat()}
            await audit(connection, note.checker, act, note.key, after=told)
            await approve(connection, approval)
