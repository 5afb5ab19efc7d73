"""Statements and short transactions on the pool, with errors as the journal names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from switch.adapters.postgres.connections import LOST, PEER, Backoff, Peer, Pool, connect
from switch.journal import StoreDownError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

TRIES = 5
# the server ends, starts, has no room, or is a standby now: nothing that a row could cause
OUTAGE = ("08", "53", "57", "58", "25006", "3D")
RERUN_STATES = ("40001", "40P01")  # serialisation, deadlock: the same again


def is_outage(error: BaseException) -> bool:
    if isinstance(error, LOST):
        return True
    return isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "").startswith(OUTAGE)


class Sessions:
    """Every operation here is idempotent, so a broken connection is a reason to try again."""

    def __init__(self, dsn: str, name: str, size: int, peer: Peer = PEER) -> None:
        self.pool = Pool(lambda: connect(dsn, name, peer), size)

    async def transaction(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Run `work(connection)` in one transaction, again after an outage or a deadlock."""

        async def whole(connection: Any) -> T:
            async with connection.transaction():
                return await work(connection)

        return await self._tried(whole)

    async def _tried(self, work: Callable[[Any], Awaitable[T]]) -> T:
        backoff = Backoff()
        for left in reversed(range(TRIES)):
            connection = None
            usable = False
            try:
                connection = await self.pool.take()
                result = await work(connection)
                usable = True
            except Exception as error:
                state = getattr(error, "sqlstate", None)
                usable = isinstance(error, asyncpg.PostgresError) and not is_outage(error)
                if state not in RERUN_STATES and not is_outage(error):
                    raise
                if not left:
                    raise StoreDownError(f"{type(error).__name__} {state}") from error
            else:
                return result
            finally:
                if connection is not None:
                    self.pool.give_back(connection, usable=usable)
            await backoff.wait()
        raise AssertionError

    # One statement is a transaction of its own: one round trip, and a process that is paused in the
    # middle holds no lock that others wait for.

    async def value(self, query: str, *args: Any) -> Any:
        return await self._tried(lambda connection: connection.fetchval(query, *args))

    async def rows(self, query: str, *args: Any) -> list[Any]:
        return await self._tried(lambda connection: connection.fetch(query, *args))

    async def column(self, query: str, *args: Any) -> list[Any]:
        return [row[0] for row in await self.rows(query, *args)]

    async def execute(self, query: str, *args: Any) -> None:
        await self._tried(lambda connection: connection.execute(query, *args))

    async def close(self) -> None:
        await self.pool.close()
