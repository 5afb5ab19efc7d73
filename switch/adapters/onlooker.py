"""The store for the demonstration: what it waits for and what it counts, read and never written.

Every connection is read-only by its own setting, so that the role of the application can be used for
tables that are not published.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import asyncpg
import msgspec

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator

_REVERSALS = """
SELECT v.origin, v.reason,
       coalesce(e.response_code, CASE WHEN i.item_id IS NULL THEN '' ELSE '?' END) AS answer,
       count(*)::integer AS count
FROM switch.reversal AS v
LEFT JOIN switch.queue_item AS i
       ON i.request_id = v.original_request_id AND i.kind = 'reversal' AND i.seq = v.seq
LEFT JOIN switch.queue_end AS e ON e.item_id = i.item_id
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""

_BATCHES = """
SELECT coalesce(c.rule, 'not closed') AS rule,
       array_agg(b.terminal ORDER BY b.terminal) AS terminals
FROM switch.batch AS b LEFT JOIN switch.batch_closed AS c USING (merchant, terminal, batch)
GROUP BY 1 ORDER BY 1
"""

_CASES = "SELECT kind, count(*)::integer AS count FROM switch.case_fact GROUP BY 1 ORDER BY 1"

# 20xxxx takes back, and a reversal turns that round.
_FILED = """
SELECT acquirer,
       sum(amount_minor * CASE WHEN (left(processing_code, 2) = '20') <> (left(mti, 2) = '04')
                               THEN -1 ELSE 1 END)::bigint AS effect_minor
FROM settlement.standing_row WHERE settlement_date = $1 GROUP BY 1 ORDER BY 1
"""


class ReversalCount(msgspec.Struct, frozen=True):
    """Reversals of one kind: who asked, DE 39 of the 0420, its final answer ("?": none yet, "": not
    sent, for nothing was to be taken back)."""

    origin: str
    reason: str
    answer: str
    count: int


class Onlooker:
    """The looks that it takes, one query each."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str) -> AsyncIterator[Self]:
        settings = {"default_transaction_read_only": "on", "application_name": "tongbao demo"}
        async with asyncpg.create_pool(
            dsn, min_size=1, max_size=2, server_settings=settings
        ) as pool:
            yield cls(pool)

    async def business_date(self) -> dt.date:
        found: dt.date = await self._pool.fetchval("SELECT business_date FROM switch.business_day")
        return found

    async def left_over(self, business_date: dt.date) -> int:
        """Requests of the date that are undecided, and items that wait in a queue."""
        return int(
            await self._pool.fetchval(
                "SELECT switch.undecided($1) + (SELECT count(*) FROM switch.queue_open)",
                business_date,
            )
        )

    async def reversals(self) -> list[ReversalCount]:
        return [ReversalCount(**row) for row in await self._pool.fetch(_REVERSALS)]

    async def batches(self) -> dict[str, list[str]]:
        """Terminals of the batches, by how these were closed."""
        return {row["rule"]: list(row["terminals"]) for row in await self._pool.fetch(_BATCHES)}

    async def cases(self) -> dict[str, int]:
        return {row["kind"]: row["count"] for row in await self._pool.fetch(_CASES)}

    async def filed(self, settlement_date: dt.date) -> dict[str, int]:
        """What each bank's file bills, by acquirer, from the rows that were taken in."""
        rows = await self._pool.fetch(_FILED, settlement_date)
        return {row["acquirer"]: int(row["effect_minor"]) for row in rows}
