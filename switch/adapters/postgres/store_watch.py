"""The supervisor's look at the store: does it answer, and what waits in it. For metrics and /ready."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg

from switch.adapters.servers import Servers

if TYPE_CHECKING:
    from switch.metrics import Registry

LOOK_S = 2.0
ANSWER_S = 5.0  # a store that takes longer is away
SLOWLY = 30  # looks between those at what changes slowly and costs more

_QUEUES = """
SELECT q.acquirer, q.items, extract(epoch FROM clock_timestamp() - i.created_at)::float8 AS oldest_s
FROM (SELECT acquirer, count(*) AS items, min(position) AS first FROM switch.queue_open
      GROUP BY acquirer) AS q
JOIN switch.queue_open AS o ON o.acquirer = q.acquirer AND o.position = q.first
JOIN switch.queue_item AS i ON i.item_id = o.item_id
"""
_LINKS = """
SELECT DISTINCT key FROM switch.reference_item WHERE kind = 'link'
"""
_DATES = """
SELECT (SELECT extract(epoch FROM clock_timestamp() - opened_at)::float8
        FROM switch.business_date WHERE state = 'open') AS open_s,
       (SELECT count(*) FROM switch.business_date WHERE state IN ('cut', 'frozen')) AS unposted,
       (SELECT extract(epoch FROM clock_timestamp() - max(at))::float8
        FROM switch.upkeep WHERE kind = 'backup') AS backup_s,
       (SELECT extract(epoch FROM clock_timestamp() - max(at))::float8
        FROM switch.upkeep WHERE kind = 'purge') AS purge_s
"""
_SIZE = "SELECT pg_database_size(current_database())"
# the newest key of each owner and usage counts; of those the oldest is shown
_KEYS = """
SELECT usage, extract(epoch FROM clock_timestamp() - min(newest))::float8 AS age_s
FROM (SELECT owner, usage, max(active_at) AS newest FROM switch.stored_key
      WHERE active_at IS NOT NULL AND retired_at IS NULL GROUP BY owner, usage) AS k
GROUP BY usage
"""


class StoreWatch:
    """`run` looks for ever; what it saw last is in the metrics, and in `away_s` and `reason`."""

    def __init__(self, dsn: str, registry: Registry) -> None:
        self._servers = Servers(dsn)
        self._connection: Any = None
        self._away_since_s: float | None = None
        self.reason = ""
        level = registry.level
        self._up = level("tongbao_store_up", "1 while the store answers the supervisor")
        self._took = level("tongbao_store_look_seconds", "how long the last look took")
        self._items = level(
            "tongbao_queue_items", "store and forward: items not delivered", "acquirer"
        )
        self._oldest = level("tongbao_queue_oldest_seconds", "age of the first of them", "acquirer")
        self._open = level("tongbao_business_date_age_seconds", "since the open date was opened")
        self._unposted = level("tongbao_dates_unposted", "business dates cut and not posted")
        self._backup = level(
            "tongbao_backup_age_seconds", "since the last backup; none: absent", "of"
        )
        self._purge = level("tongbao_purge_age_seconds", "since the last purge; none: absent", "of")
        self._size = level("tongbao_database_bytes", "size of the database")
        self._keys = level("tongbao_key_age_seconds", "age of the oldest key in use", "usage")

    @property
    def away_s(self) -> float:
        if self._away_since_s is None:
            return 0.0
        return max(asyncio.get_running_loop().time() - self._away_since_s, 0.001)

    async def run(self) -> None:
        looks = 0
        while True:
            began_s = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(ANSWER_S):
                    await self._look(slowly=looks % SLOWLY == 0)
                looks += 1
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                self._lost(began_s, error)
            else:
                self._took.set(asyncio.get_running_loop().time() - began_s)
                self._up.set(1.0)
                self._away_since_s, self.reason = None, ""
            await asyncio.sleep(LOOK_S)

    def _lost(self, began_s: float, error: BaseException) -> None:
        if self._away_since_s is None:
            self._away_since_s = began_s
        self.reason = f"{error}" or type(error).__name__
        self._up.set(0.0)
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _look(self, *, slowly: bool) -> None:
        if self._connection is None:
            self._connection = await self._servers.connect()
        fetch = self._connection.fetch
        for metric in (self._items, self._oldest):
            metric.clear()
        for row in await fetch(_LINKS):
            self._items.set(0.0, row["key"])
        for row in await fetch(_QUEUES):
            self._items.set(row["items"], row["acquirer"])
            self._oldest.set(row["oldest_s"], row["acquirer"])
        dates = (await fetch(_DATES))[0]
        self._open.set(dates["open_s"] or 0.0)
        self._unposted.set(dates["unposted"])
        for metric, age_s in ((self._backup, dates["backup_s"]), (self._purge, dates["purge_s"])):
            if age_s is not None:
                metric.set(age_s, "database")
        if slowly:
            self._size.set((await fetch(_SIZE))[0][0])
            self._keys.clear()
            for row in await fetch(_KEYS):
                self._keys.set(row["age_s"], row["usage"])

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
