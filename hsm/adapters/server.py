"""The vault behind TCP: a `Dispatcher` on every connection of one port.

A connection is a Protocol object. Commands are answered where they are read, in their order; a client may
have any number under way and must match answers by header, as with the devices that answer out of order.
Bounds: connections a port, bytes a command, commands a turn of the loop (so that no connection starves the
others), silence of a connection, which ends with a whole command and not with a byte, and a TLS handshake. A
peer that does not read its answers is not read from either. What can not be answered ends the connection, once
what came before it is answered.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, cast

import msgspec

from hsm.host.dispatch import Dispatcher
from hsm.host.framing import MESSAGE_BYTES_MAX, FrameTooLongError, HostFramer, frame

COMMANDS_A_TURN: Final = 64
TLS_HANDSHAKE_S: Final = 10.0


class HostPort(msgspec.Struct, frozen=True):
    """One listening port."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    connections_max: int = 64
    message_bytes_max: int = MESSAGE_BYTES_MAX
    idle_timeout_s: float = 600.0


class HostServer:
    """Listens, counts connections, closes them all on `close`. `told` gets events for the log."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        port: HostPort,
        told: Callable[..., None] = lambda _event, **_facts: None,
    ) -> None:
        self.dispatcher = dispatcher
        self.port = port
        self.told = told
        self.connections: set[HostConnection] = set()
        self.refused = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> tuple[str, int]:
        """Address and port that are listened on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: HostConnection(self),
            self.port.host,
            self.port.port,
            ssl=self.port.tls,
            ssl_handshake_timeout=None if self.port.tls is None else TLS_HANDSHAKE_S,
        )
        name = self._server.sockets[0].getsockname()
        return name[0], name[1]

    async def close(self) -> None:
        """Stop listening, close every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close()
        if self._server is not None:
            await self._server.wait_closed()


class HostConnection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: HostServer) -> None:
        self._server = server
        self._framer = HostFramer(server.port.message_bytes_max)
        self._waiting: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._writable = True
        self._broken = False  # nothing is read any more, and it is closed when all is answered
        self._idle: asyncio.TimerHandle | None = None
        self._heard_s = 0.0
        self.peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self._server
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else str(peer)
        if len(server.connections) >= server.port.connections_max:
            server.refused += 1
            server.told("hsm_connection_refused", peer=self.peer, why="connections_max")
            self._transport.abort()
            return
        server.connections.add(self)
        server.told("hsm_connected", peer=self.peer)
        self._heard_s = asyncio.get_running_loop().time()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._waiting.clear()
        if self in self._server.connections:
            self._server.connections.discard(self)
            self._server.told("hsm_disconnected", peer=self.peer)

    def data_received(self, data: bytes) -> None:
        if self._broken:
            return
        try:
            messages = self._framer.receive(data)
        except FrameTooLongError as error:
            self._server.told("hsm_frame_too_long", peer=self.peer)
            self._broken = True
            messages = error.messages
        if messages:
            self._heard_s = asyncio.get_running_loop().time()
        if self._waiting:
            self._waiting += messages
        else:
            self._waiting = messages
            self._answer()

    def _answer(self) -> None:
        """Answer what waits, a bounded number a turn; read on when all is answered and written."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        waiting = self._waiting
        turn, self._waiting = waiting[:COMMANDS_A_TURN], waiting[COMMANDS_A_TURN:]
        answer = self._server.dispatcher.answer
        answers = []
        for message in turn:
            found = answer(message)
            if found is None:
                self._server.told("hsm_message_too_short", peer=self.peer)
                self._broken = True
                self._waiting = []
                break
            answers.append(frame(found))
        if answers:
            transport.write(b"".join(answers))
        if self._waiting:
            transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._answer)
        elif self._broken:
            self.close()
        elif self._writable:
            transport.resume_reading()

    def pause_writing(self) -> None:
        self._writable = False
        assert self._transport is not None
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._writable = True
        if not self._waiting and self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close after what was written has gone out."""
        if self._transport is not None:
            self._transport.close()

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        timeout_s = self._server.port.idle_timeout_s
        if loop.time() - self._heard_s >= timeout_s:
            self._server.told("hsm_idle", peer=self.peer)
            self.close()
            return
        self._idle = loop.call_at(self._heard_s + timeout_s, self._watch)
