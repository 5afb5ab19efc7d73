"""The terminals' side: connections, frames in, answers out, and the bounds of both (P7, P8).

A connection is a Protocol object. It cuts frames and hands them to the engine; what becomes of them
is not its business, and answers that come after it has gone are dropped. Many terminals may share
one connection: an answer finds its terminal by TPDU, and answers go in any order.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from iso8583.errors import FramingError
from iso8583.framing import Frame, Framer, FramingSpec, answer_header, answer_tpdu, build

if TYPE_CHECKING:
    import socket

    from switch.config import Config, Listener
    from switch.engine import Engine, Log

SWEEP_S = 1.0  # between looks for idle connections and slow frames


class TerminalServer:
    """The connections of one listener in one process."""

    def __init__(self, config: Config, listener: Listener, engine: Engine, log: Log) -> None:
        self.bounds = config.server
        self.dialect = listener.dialect
        self.framing = FramingSpec(
            length=listener.length,
            inclusive=listener.length_inclusive,
            tpdu=listener.tpdu,
            header_bytes=listener.header_bytes,
            max_frame_bytes=config.server.frame_bytes,
        )
        self.engine = engine
        self.log = log
        self.connections: set[TerminalConnection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, listening: socket.socket | None = None) -> None:
        """Accept on an inherited socket; without one (tests) `accept` is called directly."""
        loop = asyncio.get_running_loop()
        if listening is not None:
            self._server = await loop.create_server(self.accept, sock=listening)
        self._sweeper = loop.create_task(self._sweep())

    def accept(self) -> TerminalConnection:
        return TerminalConnection(self)

    def stop_accepting(self) -> None:
        """Draining: the listening socket stays with the supervisor and the other workers."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        self.stop_accepting()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.close()

    async def _sweep(self) -> None:
        """One timer for all connections: nothing is paid for a frame that comes in time."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = loop.time()
            for connection in [c for c in self.connections if c.overdue(now_s)]:
                connection.close()


class TerminalConnection(asyncio.Protocol):
    """One TCP connection; `engine.Peer` for every frame that comes on it."""

    __slots__ = (
        "_begun_s", "_ended", "_framer", "_in_flight", "_odd", "_paused", "_seen_s", "_server",
        "_transport", "dialect", "source",
    )  # fmt: skip

    def __init__(self, server: TerminalServer) -> None:
        self._server = server
        self._framer = Framer(server.framing)
        self._transport: asyncio.Transport | None = None
        self._in_flight = 0
        self._odd = 0
        self._paused = False
        self._ended = False  # the peer has sent its last byte; answers may still go out
        self._seen_s = 0.0
        self._begun_s: float | None = None  # when the first byte of an unfinished frame came
        self.dialect = server.dialect
        self.source = ""

    # -- asyncio.Protocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        address = transport.get_extra_info("peername")
        self.source = str(address[0]) if address else ""
        self._seen_s = asyncio.get_running_loop().time()
        if len(self._server.connections) >= self._server.bounds.connections:
            self._server.log.refused(self.source, "", "server.connections")
            self._transport.abort()
            return
        self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        now_s = asyncio.get_running_loop().time()
        try:
            frames = self._framer.receive_bytes(data)
        except FramingError:
            frames = []  # the framer keeps it: below
        if frames:
            self._seen_s = now_s
            self._begun_s = None
        if self._framer.buffered_bytes and self._begun_s is None:
            self._begun_s = now_s
        for frame in frames:
            self._in_flight += 1
            self._server.engine.submit(frame, self)
        if self._framer.error is not None:
            self._server.log.refused(self.source, "", f"frame: {self._framer.error}")
            self._ended = True
            self._close_when_answered()
            return
        if self._in_flight >= self._server.bounds.in_flight_per_connection and not self._paused:
            assert self._transport is not None
            self._transport.pause_reading()
            self._paused = True

    def eof_received(self) -> bool:
        """A half-closed connection still gets its answers."""
        self._ended = True
        return self._in_flight > 0

    def connection_lost(self, _error: Exception | None) -> None:
        self._server.connections.discard(self)
        self._transport = None

    # -- engine.Peer ---------------------------------------------------------------------------

    def answer(self, frame: Frame, body: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > self._server.bounds.write_buffer_bytes:
            self._server.log.refused(self.source, "", "server.answers_not_read")
            transport.abort()
            return
        reply = Frame(answer_tpdu(frame.tpdu), answer_header(frame.header), body)
        transport.write(build(reply, self._server.framing))

    def odd(self) -> None:
        self._odd += 1
        if self._odd >= self._server.bounds.odd_messages:
            self.close()

    def finished(self) -> None:
        self._in_flight -= 1
        transport = self._transport
        if transport is None:
            return
        if self._ended:
            self._close_when_answered()
        elif self._paused and self._in_flight < self._server.bounds.in_flight_per_connection // 2:
            self._paused = False
            transport.resume_reading()

    def _close_when_answered(self) -> None:
        """No frame can come any more; the answers of those that came still go out."""
        assert self._transport is not None
        if self._in_flight == 0:
            self.close()
        else:
            self._transport.pause_reading()

    # -- bounds --------------------------------------------------------------------------------

    def overdue(self, now_s: float) -> bool:
        """Idle too long, or a frame that takes too long from its first byte to its last."""
        bounds = self._server.bounds
        if self._begun_s is not None and now_s - self._begun_s > bounds.frame_s:
            return True
        return self._in_flight == 0 and now_s - self._seen_s > bounds.idle_s

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
