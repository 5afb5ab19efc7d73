"""Statements and short transactions on the pool, with errors as the journal names them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from switch.adapters.postgres.connections import LOST, PEER, Backoff, Peer, Pool, Warned, connect
from switch.journal import StoreDownError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from switch.adapters.servers import Servers

T = TypeVar("T")

TRIES = 5
AGAIN_S = 0.5  # between tries of a server that is away when a process starts
# the server ends, starts, has no room, or is a standby now; we stood still in a transaction for too
# long: nothing that a row could cause
OUTAGE = ("08", "53", "57", "58", "25006", "25P03", "3D")
_CONFIRM = "INSERT INTO switch.rerun (commit_id, commits, reason) VALUES (0, 1, 'session')"
RERUN_STATES = ("40001", "40P01")  # serialisation, deadlock: the same again


def is_outage(error: BaseException) -> bool:
    if isinstance(error, LOST):
        return True
    return isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "").startswith(OUTAGE)


class AwayError(OSError):
    """The server did not answer, or refuses us; says what it said."""


async def when_it_answers(
    work: Callable[[], Awaitable[T]], wait_s: float, told: Callable[[str], None]
) -> T:
    """What `work` comes to, once a server that is away, or starting, answers.

    `told` hears of the first reason, and of another. Raises `AwayError` after `wait_s`, and at once
    where the server answers and refuses: a password, a role, a right.
    """
    until_s = asyncio.get_running_loop().time() + wait_s
    said = ""
    while True:
        try:
            return await work()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            reason = f"{error}" or type(error).__name__
            if not is_outage(error):
                raise AwayError(reason) from error
            if asyncio.get_running_loop().time() + AGAIN_S > until_s:
                raise AwayError(reason) from error
            if reason != said:
                told(reason)
            said = reason
            await asyncio.sleep(AGAIN_S)


class Sessions:
    """Every operation here is idempotent, so a broken connection is a reason to try again.

    The second try may find all done and write nothing. It begins with a write of its own: where a
    standby must confirm, its commit confirms the first try's too.
    """

    def __init__(
        self, servers: Servers, name: str, size: int, peer: Peer = PEER, *, idle_s: float = 0.0
    ) -> None:
        self.pool = Pool(lambda: connect(servers, name, peer, idle_s=idle_s), size)

    async def transaction(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Run `work(connection)` in one transaction, again after an outage or a deadlock."""

        async def whole(connection: Any) -> T:
            async with connection.transaction():
                return await work(connection)

        return await self._tried(whole)

    async def _tried(self, work: Callable[[Any], Awaitable[T]]) -> T:
        backoff = Backoff()
        unknown = False
        for left in reversed(range(TRIES)):
            connection = None
            usable = False
            try:
                connection = await self.pool.take()
                with Warned(connection) as warned:
                    if unknown:
                        await connection.execute(_CONFIRM)
                    result = await work(connection)
                    warned.check()
                usable = True
            except Exception as error:
                state = getattr(error, "sqlstate", None)
                usable = isinstance(error, asyncpg.PostgresError) and not is_outage(error)
                if state not in RERUN_STATES and not is_outage(error):
                    raise
                unknown |= is_outage(error)
                if not left:
                    raise StoreDownError(f"{type(error).__name__} {state}") from error
            else:
                return result
            finally:
                if connection is not None:
                    self.pool.give_back(connection, usable=usable)
            await backoff.wait()
        raise AssertionError

    async def reading(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Run `work(connection)`, which only reads, statement by statement; again after an outage.

        Who has begun ends first: statement by statement from the pool, of many that come at once nobody
        would have his last before all others had their first.
        """
        return await self._tried(work)

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
