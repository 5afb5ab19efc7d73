"""Connections on their way to being a terminal's: PROXY header, then TLS handshake, in bounded time.

Theory of operation. Who was accepted comes as a bare socket, so that not a byte more is read than the
header has and the handshake finds all of its own. One task a connection goes the way, and is the
connection's until a transport has it. A peer that dawdles holds nothing but memory: its time ends, and
where `tls.handshakes` are under way the oldest makes room, which an honest one, done in two round
trips, is not. Handshakes cost 0.1 to 1 ms of processor each, so only a few begin in one turn of the
loop, and terminals that are in already are served between them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import TYPE_CHECKING, Final

from switch.proxy_protocol import (
    PREFIX_BYTES,
    ProxyError,
    is_listed,
    networks,
    rest_bytes,
    source_of,
)
from switch.tls import context_of

if TYPE_CHECKING:
    import socket

    from switch.config import Listener, Tls
    from switch.server import TerminalConnection, TerminalServer
    from switch.tls import Pem

BEGUN_AT_ONCE: Final = 8  # handshakes, in one turn of the loop
SHUTDOWN_S: Final = 2.0  # for a peer to confirm that we close


class Arrivals:
    """Those of one listener in one process."""

    def __init__(self, server: TerminalServer, listener: Listener, tls: Tls) -> None:
        self._server = server
        self._bounds = tls
        self._balancers = networks(listener.proxy_from)
        self._context: ssl.SSLContext | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._shaking: dict[asyncio.Task[None], None] = {}  # handshakes, oldest first
        self._turns: deque[asyncio.Future[None]] = deque()  # those that have not begun
        self.needed = bool(self._balancers or listener.tls_certificate)

    def __len__(self) -> int:
        return len(self._tasks)

    def renew(self, pem: Pem) -> None:
        """Handshakes that begin from now on see this certificate. Raises `TlsError`."""
        self._context = context_of(pem)

    def close(self) -> None:
        """End all that are still on their way."""
        for task in list(self._tasks):
            task.cancel()

    # -- one connection ------------------------------------------------------------------------

    def take(self, taken: socket.socket, peer: str) -> None:
        """Who has connected. Who is over a bound costs no more than this."""
        prefix = ""
        if not is_listed(peer, self._balancers):
            prefix = self._server.sources.prefix(peer)
            if self._server.enter(peer, prefix):
                taken.close()
                return
        task = asyncio.get_running_loop().create_task(self._arrive(taken, peer, prefix))
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    async def _arrive(self, taken: socket.socket, peer: str, prefix: str) -> None:
        """`prefix`: whom it is counted for already; "" for a balancer, who names its source first."""
        source, phase = peer, "tls" if prefix else "proxy"
        connection: TerminalConnection | None = None
        try:
            async with asyncio.timeout(self._bounds.handshake_s):
                if not prefix:
                    source = await self._named(taken) or peer
                    prefix = self._server.sources.prefix(source)
                    if self._server.enter(source, prefix):
                        prefix = ""
                        return
                phase = "tls"
                connection = self._server.connection(source, prefix)
                await self._hand_over(taken, connection)
        except TimeoutError:
            self._server.refused(source, f"{phase}.handshake_s")
        except ProxyError as error:
            self._server.refused(source, str(error))
        except ssl.SSLError as error:
            self._server.refused(source, f"tls.failed: {error.reason or type(error).__name__}")
        except OSError:
            self._server.noted(f"{phase}.gone")  # as health checks go
        except asyncio.CancelledError as error:
            if not error.args:  # the end of the process; else room was needed
                raise
            self._server.refused(source, str(error.args[0]))
        finally:
            if connection is None or not connection.handed_over:
                taken.close()
            if prefix and (connection is None or not connection.made):
                self._server.sources.leave(prefix)

    async def _named(self, taken: socket.socket) -> str | None:
        """Whom the balancer stands for; None: itself."""
        prefix = await exactly(taken, PREFIX_BYTES)
        return source_of(prefix + await exactly(taken, rest_bytes(prefix)))

    async def _hand_over(self, taken: socket.socket, connection: TerminalConnection) -> None:
        """From a socket to a connection that reads frames."""
        loop = asyncio.get_running_loop()
        if self._context is None:
            connection.handed_over = True
            await loop.connect_accepted_socket(lambda: connection, taken)
            return
        task = asyncio.current_task()
        assert task is not None
        if len(self._shaking) >= self._bounds.handshakes:
            next(iter(self._shaking)).cancel("tls.handshakes")
        self._shaking[task] = None
        try:
            await self._turn()
            connection.handed_over = True
            transport, _ = await loop.connect_accepted_socket(
                lambda: connection,
                taken,
                ssl=self._context,
                ssl_handshake_timeout=self._bounds.handshake_s,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        finally:
            self._shaking.pop(task, None)
        resumed = transport.get_extra_info("ssl_object").session_reused
        self._server.noted("tls_resumed" if resumed else "tls")

    async def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._turns:
            loop.call_soon(self._begin)
        turn: asyncio.Future[None] = loop.create_future()
        self._turns.append(turn)
        await turn

    def _begin(self) -> None:
        for _ in range(min(BEGUN_AT_ONCE, len(self._turns))):
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
        if self._turns:
            asyncio.get_running_loop().call_soon(self._begin)


async def exactly(taken: socket.socket, count: int) -> bytes:
    """So many bytes, and none that follow. Raises `ProxyError` where the peer ends before."""
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < count:
        more = await loop.sock_recv(taken, count - len(data))
        if not more:
            if not data and count == PREFIX_BYTES:
                raise ConnectionResetError  # it said nothing at all
            raise ProxyError("proxy.cut_short")
        data += more
    return data
