"""Connections to the store: how they are made, and how a lost one is known to be over.

A commit that was sent on a connection that broke is unknown until its backend is gone: only then
does a missing row prove anything. So every connection knows its backend (process id, start, timeline).
A backend of an earlier timeline is gone for good: the standby that was promoted took in what it had
received by then, and whatever its former primary does later is not in the history that we read.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import asyncpg

from switch.adapters.servers import CONNECT_TIMEOUT_S, Connection, Servers, timeline_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 1.0
BACKEND_POLL_S = 0.02
PROBES_S = 2  # between keepalive probes that are not answered

# What ends a connection or says that the server is not there, as opposed to what a row may cause.
# (asyncpg is confused, and says so, by a server that ends while nothing is asked.)
LOST = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, EOFError)


class Peer(NamedTuple):
    """How soon either side notices that the other has vanished: the only time-outs there are."""

    keepalive_s: float = 10.0  # idle time before a probe
    tcp_user_timeout_s: float = 10.0  # a byte that is not acknowledged so long ends the connection


PEER = Peer()


class Backend(NamedTuple):
    """The server process of a connection, by what no later one shares."""

    pid: int
    started_at: dt.datetime
    timeline: int


async def connect(
    servers: Servers, name: str, peer: Peer = PEER, *, idle_s: float = 0.0
) -> Connection:
    """A connection to the primary, without statement time-outs. Raises what `Servers.connect` does.

    `idle_s`: how long a transaction may stand still between two statements; 0: for ever. A process that
    is paused in one holds its locks so long and no longer; what it had not committed is not there.
    """
    connection = await servers.connect(
        command_timeout=None,
        server_settings={
            "application_name": name,
            "jit": "off",
            # every statement of ours looks something up: no plan may depend on young statistics, nor
            # on values, and none is worth being made for each call
            "plan_cache_mode": "force_generic_plan",
            "enable_seqscan": "off",
            "enable_hashjoin": "off",
            "enable_mergejoin": "off",
            "idle_in_transaction_session_timeout": str(round(idle_s * 1_000)),
            "tcp_keepalives_idle": str(max(1, round(peer.keepalive_s))),
            "tcp_keepalives_interval": str(PROBES_S),
            "tcp_user_timeout": str(round(peer.tcp_user_timeout_s * 1_000)),
        },
    )
    _watch_peer(connection, peer)
    return connection


def _watch_peer(connection: Connection, peer: Peer) -> None:
    """Notice a peer that vanished: asyncpg has no setting for it."""
    sock = connection._transport.get_extra_info("socket")  # noqa: SLF001
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        idle_s, timeout_ms = max(1, round(peer.keepalive_s)), round(peer.tcp_user_timeout_s * 1_000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
        # the kernel looks whether the user time-out has passed when it probes, by default every 75 s
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBES_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)


class Warned:
    """Whether the server has warned on a connection since this was made.

    A warning during a commit may mean that a standby was not waited for: the commit is unknown.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._warned = False
        connection.add_log_listener(self._heard)

    def __bool__(self) -> bool:
        return self._warned

    def check(self) -> None:
        """Raises ConnectionError if it has."""
        if self._warned:
            raise ConnectionError("a warning during the commit")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.remove_log_listener(self._heard)

    def _heard(self, _: Any, message: Any) -> None:
        if (getattr(message, "severity_en", None) or message.severity) == "WARNING":
            self._warned = True


async def backend_of(connection: Connection) -> Backend:
    row = await connection.fetchrow(
        "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    )
    return Backend(row["pid"], row["backend_start"], await timeline_of(connection))


async def wait_until_gone(connection: Connection, backend: Backend) -> None:
    """Return when `backend` can commit nothing any more; it is told to end."""
    if await timeline_of(connection) > backend.timeline:
        return
    while True:
        there = await connection.fetchval(
            "SELECT pg_terminate_backend(pid) IS NOT NULL FROM pg_stat_activity"
            " WHERE pid = $1 AND backend_start = $2",
            backend.pid,
            backend.started_at,
        )
        if not there:
            return
        await asyncio.sleep(BACKEND_POLL_S)


class Backoff:
    """How long to wait before the next try."""

    def __init__(self) -> None:
        self._next_s = BACKOFF_FIRST_S

    async def wait(self) -> None:
        await asyncio.sleep(self._next_s)
        self._next_s = min(self._next_s * 2, BACKOFF_MAX_S)


class Pool:
    """A few connections for what is not the hot path. A connection that failed is not used again."""

    def __init__(self, connect: Callable[[], Any], size: int) -> None:
        self._connect = connect
        self._free: list[Connection] = []
        self._slots = asyncio.Semaphore(size)
        self._out: set[Connection] = set()
        self._backends: dict[Connection, Backend] = {}

    async def take(self) -> Connection:
        await self._slots.acquire()
        connection = None
        try:
            while self._free and (connection is None or connection.is_closed()):
                connection = self._free.pop()
                if connection.is_closed():
                    self._backends.pop(connection, None)
            if connection is None or connection.is_closed():
                connection = await self._connect()
                self._backends[connection] = await backend_of(connection)
        except BaseException:
            if connection is not None:
                connection.terminate()
            self._slots.release()
            raise
        self._out.add(connection)
        return connection

    def give_back(self, connection: Connection, *, usable: bool) -> None:
        self._out.discard(connection)
        if usable and not connection.is_closed():
            self._free.append(connection)
        else:
            self._backends.pop(connection, None)
            connection.terminate()
        self._slots.release()

    def backend_of(self, connection: Connection) -> Backend:
        return self._backends[connection]

    async def close(self) -> None:
        for connection in self._out:
            connection.terminate()
        while self._free:
            await self._free.pop().close(timeout=CONNECT_TIMEOUT_S)
