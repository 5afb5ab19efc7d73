"""What the verifier reads of PostgreSQL: one snapshot, entry by entry through a cursor."""

# ruff: noqa: S608 - what is formatted into queries are column names of our own structs

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Any, Final

import asyncpg

from settlement.adapters.ledger_reading import PLACES, snapshot
from settlement.adapters.ledger_sealing import read_anchors
from settlement.chain import Anchor, Seal
from settlement.chunk_verify import Place, StoredEntry
from settlement.ledger import Entry
from settlement.ledger_verify import Closing
from settlement.limits import Layered, Limited

ROWS_A_FETCH: Final = 5_000


@asynccontextmanager
async def open_stored(dsn: str) -> AsyncIterator["PostgresStored"]:
    """The ledger as it is now, on a connection of its own."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool, snapshot(pool) as found:
        await found.execute("SET LOCAL work_mem = '128MB'")
        yield PostgresStored(found)


class PostgresStored:
    """`ledger_verify.Stored` on a connection that sees one snapshot."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def anchors(self) -> list[Anchor]:
        return await read_anchors(self._connection)

    async def links(self, business_date: date) -> list[Seal]:
        columns = [name for name in Seal.__struct_fields__ if name != "fingerprints"]
        rows = await self._connection.fetch(
            f"SELECT {', '.join(columns)}, ''::bytea AS fingerprints FROM settlement.seal "
            "WHERE business_date = $1 ORDER BY step, chunk",
            business_date,
        )
        return [Seal(**row) for row in rows]

    async def fingerprints(self, business_date: date, step: str, chunk: int) -> bytes:
        found: bytes = await self._connection.fetchval(
            "SELECT fingerprints FROM settlement.seal "
            "WHERE (business_date, step, chunk) = ($1, $2, $3)",
            business_date,
            step,
            chunk,
        )
        return found

    async def entries(self, business_date: date) -> AsyncIterator[Sequence[StoredEntry]]:
        cursor = await self._connection.cursor(
            f"SELECT {', '.join(Entry.__struct_fields__)}, hash FROM settlement.entry "
            "WHERE business_date = $1 ORDER BY step, source, key",
            business_date,
        )
        while rows := await cursor.fetch(ROWS_A_FETCH):
            yield [StoredEntry(values[:-1], values[-1]) for values in map(tuple, rows)]

    async def dates(self) -> list[date]:
        rows = await self._connection.fetch(
            "WITH RECURSIVE d AS (SELECT min(business_date) AS day FROM settlement.entry UNION ALL "
            "SELECT (SELECT min(e.business_date) FROM settlement.entry AS e "
            "WHERE e.business_date > d.day) FROM d WHERE d.day IS NOT NULL) "
            "SELECT day FROM d WHERE day IS NOT NULL ORDER BY day"
        )
        return [row["day"] for row in rows]

    async def checkpoints(self, business_date: date) -> dict[Place, Closing]:
        rows = await self._connection.fetch(
            "SELECT account, owner, currency, layer, count, debit_minor, credit_minor, "
            "balance_minor FROM settlement.checkpoint WHERE business_date = $1",
            business_date,
        )
        return {tuple(row)[:4]: Closing(*tuple(row)[4:]) for row in rows}

    async def closings(self, at: date) -> dict[Place, int]:
        rows = await self._connection.fetch(
            f"WITH RECURSIVE {PLACES.format(where='true')} SELECT account, owner, currency, layer, "
            "settlement.closing(account, owner, currency, layer, $1) AS balance FROM place",
            at,
        )
        return {tuple(row)[:4]: row["balance"] for row in rows}

    async def limited(self) -> dict[Limited, Layered]:
        rows = await self._connection.fetch(
            "SELECT account, owner, currency, pending_minor, settled_minor "
            "FROM settlement.limited_balance ORDER BY 1, 2, 3"
        )
        return {Limited(*tuple(row)[:3]): Layered(*tuple(row)[3:]) for row in rows}
