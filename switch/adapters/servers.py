"""The servers that a DSN names, and which of them is the primary.

`postgresql://user@h1:p1,h2:p2/db` or `postgresql://user@/db?host=h1,h2&port=p1,p2`. Nothing of ours
promotes a server or fences one (docs/operations.md, "The standby"); we find the one that takes writes.

All are asked at once, so a server that does not answer delays nobody. A promotion begins a new
timeline, and what an earlier one still commits is in no history that anybody will read. Therefore
the primary of the latest timeline is taken, and none of an earlier one than this process has seen:
a former primary that comes back without a fence is left alone.
"""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from switch.dsn import dsns_of, name_of

CONNECT_TIMEOUT_S = 5.0  # of each server, until it has said what it is
OTHERS_S = 0.2  # after the first primary: how long another may take to show a later timeline

Connection = Any  # asyncpg.Connection; the library has no types
Asked = asyncio.Task[tuple[int, Connection]]  # what came of asking one server: its timeline

_TIMELINE = """SELECT CASE WHEN pg_is_in_recovery() THEN 0
    ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint END"""


class NoPrimaryError(OSError):
    """No server of the DSN takes writes now; says what each of them said."""


class Servers:
    """The servers of one DSN, as one process knows them."""

    def __init__(self, dsn: str) -> None:
        self._dsns = list(dict.fromkeys(dsns_of(dsn)))
        self._timeline = 0  # the latest that was seen

    async def connect(self, **options: Any) -> Connection:
        """A connection to the primary. Raises NoPrimaryError, or what asyncpg raises of a DSN with
        one server; `options` are those of `asyncpg.connect`."""
        connection, _ = await self._find(options)
        return connection

    async def primary(self) -> str:
        """The DSN of the server that is the primary now, for who needs no other later."""
        connection, dsn = await self._find({})
        await connection.close(timeout=CONNECT_TIMEOUT_S)
        return dsn

    async def _find(self, options: dict[str, Any]) -> tuple[Connection, str]:
        asked = {dsn: asyncio.create_task(_ask(dsn, options)) for dsn in self._dsns}
        chosen: tuple[Connection, str] | None = None
        try:
            await self._wait_for_primary(list(asked.values()))
            chosen = self._choose(asked)
        finally:
            for task in asked.values():
                task.cancel()
            for other in await asyncio.gather(*asked.values(), return_exceptions=True):
                if not isinstance(other, BaseException) and (not chosen or other[1] != chosen[0]):
                    other[1].terminate()
        return chosen

    async def _wait_for_primary(self, asked: list[Asked]) -> None:
        """Until one of the timeline that is known, or a later one, has answered; then a little.

        Who knows none yet waits for all: the first to answer may be a former primary.
        """
        if not self._timeline:
            await asyncio.wait(asked)
            return

        def known(task: Asked) -> bool:
            return task.exception() is None and 0 < task.result()[0] >= self._timeline

        waiting = set(asked)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if any(map(known, done)):
                break
        if waiting:
            await asyncio.wait(waiting, timeout=OTHERS_S)

    def _choose(self, asked: dict[str, Asked]) -> tuple[Connection, str]:
        answered = {
            dsn: task.result()
            for dsn, task in asked.items()
            if task.done() and not task.exception()
        }
        latest = max((timeline for timeline, _ in answered.values()), default=0)
        if 0 < latest >= self._timeline:
            self._timeline = latest
            return next(
                (connection, dsn)
                for dsn, (timeline, connection) in answered.items()
                if timeline == latest
            )
        raise self._reason(asked)

    def _reason(self, asked: dict[str, Asked]) -> BaseException:
        if len(asked) == 1:
            (task,) = asked.values()
            if error := task.exception():
                return error
        said = (f"{name_of(dsn)} {self._said(task)}" for dsn, task in asked.items())
        return NoPrimaryError(f"no PostgreSQL that takes writes: {'; '.join(said)}")

    def _said(self, task: Asked) -> str:
        if not task.done():
            return "has not answered"
        if error := task.exception():
            return f"failed ({type(error).__name__}: {error})"
        timeline = task.result()[0]
        if not timeline:
            return "is a standby"
        return f"is of timeline {timeline}, before the primary's {self._timeline}"


async def _ask(dsn: str, options: dict[str, Any]) -> tuple[int, Connection]:
    """A connection to one server, and its timeline; 0: it is a standby."""
    connection = None
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            connection = await asyncpg.connect(dsn, timeout=None, **options)
            return await timeline_of(connection), connection
    except BaseException:
        if connection is not None:
            connection.terminate()
        raise


async def timeline_of(connection: Connection) -> int:
    """The timeline that this server writes; 0: it is a standby and writes none."""
    found: int = await connection.fetchval(_TIMELINE)
    return found
