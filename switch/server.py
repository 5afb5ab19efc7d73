"""The terminals' side: connections, frames in, answers out, and the bounds of both (P7, P8).

A connection is a Protocol object. It cuts frames and hands them to the engine; what becomes of them
is not its business, and answers that come after it has gone are dropped. Many terminals may share
one connection: an answer finds its terminal by TPDU, and answers go in any order.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from iso8583.errors import FramingError
from iso8583.framing import Builder, Frame, Framer, FramingSpec, answer_head
from switch.accepting import Door
from switch.arrivals import Arrivals
from switch.proxy_protocol import SIGNATURE, normal
from switch.rates import Sources

if TYPE_CHECKING:
    import socket

    from switch.accepting import Entrance, Shares
    from switch.config import Config, Listener
    from switch.engine import Engine, Log

QUIET_S = 0.05  # nothing in flight and nothing heard: a draining connection is closed
LEAVE_S = 2.0  # for a draining connection to become quiet, or to say its first word
SWEEP_S = 1.0  # between looks for idle connections and slow frames
PIECE_BYTES = 1_024  # of a read, cut into frames at a time: 78 frames at most


class TerminalServer:
    """The connections of one listener in one process."""

    def __init__(
        self,
        config: Config,
        listener: Listener,
        engine: Engine,
        log: Log,
        sources: Sources | None = None,
    ) -> None:
        """`sources`: shared by all listeners of a process."""
        self.bounds = config.server
        self.sources = sources or Sources(config.rates)
        self.arrivals = Arrivals(self, listener, config.tls)
        self.dialect = listener.dialect
        self.framing = FramingSpec(
            length=listener.length,
            inclusive=listener.length_inclusive,
            tpdu=listener.tpdu,
            header_bytes=listener.header_bytes,
            max_frame_bytes=config.server.frame_bytes,
        )
        self.build = Builder(self.framing).build
        self.engine = engine
        self.log = log
        self.connections: dict[TerminalConnection, None] = {}  # oldest first: a set has no order
        self.leaving_s: float | None = None  # since when we want to close all of them
        self._shares: Shares | None = None
        self._door: Door | None = None
        self._backlog = config.server.backlog
        self._accepting: dict[asyncio.Task[object], None] = {}  # in order: a set has none
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, entrance: Entrance | None = None) -> None:
        """Accept on an inherited socket; without one (tests) `accept` is called directly."""
        if entrance is not None:
            self._shares = entrance.shares
            self._door = Door(
                entrance.listening,
                self._take,
                self._stay_out,
                lambda: self.refused("", "server.open_files"),
            )
            self._say()
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    def accept(self) -> TerminalConnection:
        return TerminalConnection(self)

    def _take(self, taken: socket.socket, address: str) -> None:
        """Who has connected."""
        if self.arrivals.needed:
            self.arrivals.take(taken, normal(address))
        else:
            loop = asyncio.get_running_loop()
            task = loop.create_task(loop.connect_accepted_socket(self.accept, taken))
            self._accepting[task] = None
            task.add_done_callback(self._accepted)
        self._say()

    @property
    def _taken(self) -> int:
        """Connections here, and those on their way to being one."""
        return len(self.connections) + len(self.arrivals) + len(self._accepting)

    def _stay_out(self) -> bool:
        """Another worker has fewer connections, and is to have who comes now."""
        if self._shares is None:
            return False
        return self._shares.more_than_another(self._taken, asyncio.get_running_loop().time())

    def _say(self) -> None:
        if self._shares is not None and self._door is not None:
            self._shares.say(self._taken, asyncio.get_running_loop().time())

    def connection(self, source: str, prefix: str) -> TerminalConnection:
        """Of a source that has entered already."""
        return TerminalConnection(self, source, prefix)

    def enter(self, source: str, prefix: str) -> str:
        """A connection more: the rule that closes it, "" where it may stay and `sources` counts it."""
        if len(self.connections) + len(self.arrivals) >= self.bounds.connections:
            rule = "server.connections"
        else:
            rule = self.sources.enter(prefix, asyncio.get_running_loop().time())
        if rule:
            self.refused(source, rule)
        else:
            self.noted("opened")
        return rule

    def refused(self, source: str, rule: str) -> None:
        """A connection of theirs is closed, or will be."""
        self.log.refused(source, "", rule)
        self.noted(rule.partition(":")[0])

    def noted(self, event: str) -> None:
        self.log.noted(event)

    def stop_accepting(self) -> None:
        """Draining: nothing more is accepted but what has connected already.

        Whoever waits in the kernel's queue is connected as far as it knows, and would be reset when
        the last process closes the listening socket.
        """
        if self._door is not None:
            self._door.take_all(self._backlog)
            self._door.close()
            self._door = None

    def _accepted(self, task: asyncio.Task[object]) -> None:
        self._accepting.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            self.log.refused("", "", "server.accept")  # it was gone before it was ours

    def drain(self) -> None:
        """Accept nothing more. `drained` closes what is open."""
        self.leaving_s = asyncio.get_running_loop().time()
        self.stop_accepting()

    async def drained(self, timeout_s: float) -> None:
        """A connection is closed when it is quiet; return when none is left, or the time is up.

        What the peer has sent is still served. One that has just connected is about to send.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        while True:
            await asyncio.sleep(QUIET_S)
            await asyncio.sleep(0)  # a late timer comes before what has arrived meanwhile is read
            for connection in list(self.connections):
                connection.leave_if_quiet(loop.time())
            if self.leaving_s is not None and loop.time() - self.leaving_s > LEAVE_S:
                self.arrivals.close()
            if loop.time() >= until_s or not (
                self.connections or self._accepting or len(self.arrivals)
            ):
                return

    def close(self) -> None:
        self.stop_accepting()
        if self._sweeper is not None:
            self._sweeper.cancel()
        self.arrivals.close()
        for connection in list(self.connections):
            connection.close()

    async def _sweep(self) -> None:
        """One timer for all connections: nothing is paid for a frame that comes in time."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = loop.time()
            self._say()
            for connection in list(self.connections):
                connection.check(now_s)


class TerminalConnection(asyncio.Protocol):
    """One TCP connection; `engine.Peer` for every frame that comes on it.

    Bytes wait in `_unread` while the bound of requests in flight is reached: what has been read from
    the kernel before it was told to stop, at most one read of the transport. Frames are cut only
    when they can be handed on, so that a read of thousands of tiny frames stays bytes.
    """

    __slots__ = (
        "_at",
        "_begun_s",
        "_closing_s",
        "_cutting",
        "_ended",
        "_framer",
        "_heard_s",
        "_held",
        "_in_flight",
        "_odd",
        "_paused",
        "_prefix",
        "_seen_s",
        "_server",
        "_spoken",
        "_time",
        "_transport",
        "_unread",
        "dialect",
        "handed_over",
        "made",
        "source",
    )  # fmt: skip

    def __init__(self, server: TerminalServer, source: str = "", prefix: str = "") -> None:
        """`source`, `prefix`: who it is and is counted for, where it has entered already."""
        self._server = server
        self._framer = Framer(server.framing)
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._at = 0  # how far `_unread` has been cut
        self._cutting = False  # frames are being handed on: what has ended meanwhile waits for that
        self._in_flight = 0
        self._odd = 0
        self._paused = False
        self._ended = False  # no byte will be taken any more; answers may still go out
        self._seen_s = 0.0
        self._spoken = False
        self._heard_s = 0.0  # when bytes came; before any, when it connected
        self._begun_s: float | None = None  # when the first byte of an unfinished frame came
        self._closing_s: float | None = None  # since when the peer is awaited to read the rest
        self._held: asyncio.TimerHandle | None = None  # its source has sent too much: read later
        self._prefix = prefix  # whom it is counted for; "" when it is not, or no more
        self.dialect = server.dialect
        self.source = source
        self.handed_over = False  # the transport owns the socket now
        self.made = False

    # -- asyncio.Protocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._time = (
            asyncio.get_running_loop().time
        )  # looking the loop up costs more than asking it
        self._seen_s = self._heard_s = self._time()
        self.made = True
        if not self._prefix:
            self.source = peer_of(transport)
            prefix = self._server.sources.prefix(self.source)
            if self._server.enter(self.source, prefix):
                self._ended = True
                self._transport.abort()
                return
            self._prefix = prefix
        self._server.connections[self] = None

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self._heard_s = now_s = self._time()
        if not self._spoken and data.startswith(SIGNATURE):
            self._refused("proxy.not_listed")
            self.end()
            return
        self._spoken = True
        self._unread, self._at = (self._unread[self._at :] + data if self._unread else data), 0
        self._cut(now_s)

    def eof_received(self) -> bool:
        """A half-closed connection still gets its answers."""
        self._ended = True
        self._cut_short()
        if self._transport is not None and self._transport.get_extra_info("ssl_object"):
            return False  # TLS ends both ways at once
        return self._in_flight > 0 or bool(self._unread)

    def connection_lost(self, _error: Exception | None) -> None:
        self._cut_short()
        self._server.connections.pop(self, None)
        if self._prefix:
            self._server.sources.leave(self._prefix)
            self._prefix = ""
        if self._held is not None:
            self._held.cancel()
        self._transport = None
        self._unread = b""

    # -- frames --------------------------------------------------------------------------------

    def _cut(self, now_s: float) -> None:
        """Hand on frames up to the bound; then the connection is not read further."""
        server = self._server
        bound = server.bounds.in_flight_per_connection
        shaping = server.sources.shaping
        while self._unread and self._in_flight < bound:
            if shaping and self._hold(now_s):
                break
            piece = self._unread
            if len(piece) <= PIECE_BYTES:
                piece, self._unread, self._at = piece[self._at :], b"", 0
            else:
                piece = piece[self._at : self._at + PIECE_BYTES]
                self._at += len(piece)
                if self._at >= len(self._unread):
                    self._unread, self._at = b"", 0
            try:
                frames = self._framer.receive_bytes(piece)
            except FramingError:
                frames = []  # the framer keeps it: below
            if frames:
                self._seen_s = now_s
                self._begun_s = None
            if self._framer.held and self._begun_s is None:
                self._begun_s = now_s
            if shaping:
                server.sources.sent(self._prefix, now_s, len(frames))
            self._in_flight += len(frames)
            self._cutting = True
            for frame in frames:
                server.engine.submit(frame, self, now_s)
            self._cutting = False
            if self._framer.error is not None:
                self._refused(f"frame: {self._framer.error}")
                self.end()
                return
        if self._ended:
            self._close_when_answered()
        elif self._in_flight >= bound:
            self._pause()

    def _hold(self, now_s: float) -> bool:
        """Is nothing more to be taken now, because all of this source together sent too much?"""
        wait_s = self._server.sources.owes_s(self._prefix, now_s)
        if self._held is None and wait_s:
            self._server.noted("rates.source_messages")
            self._held = asyncio.get_running_loop().call_later(wait_s, self._held_long_enough)
            self._pause()
        return self._held is not None

    def _held_long_enough(self) -> None:
        self._held = None
        self._go_on()

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True

    def _cut_short(self) -> None:
        """The peer has ended in the middle of a frame."""
        if self._begun_s is not None and not self._unread:
            self._begun_s = None
            self._refused("frame.cut_short")

    def _refused(self, rule: str) -> None:
        self._server.refused(self.source, rule)

    # -- engine.Peer ---------------------------------------------------------------------------

    def answer(self, frame: Frame, body: bytes, request: int = 0) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > self._server.bounds.write_buffer_bytes:
            self._refused("server.answers_not_read")
            transport.abort()
            return
        head = answer_head(frame.tpdu, frame.header, request)
        transport.write(self._server.build(head, body))

    def odd(self) -> None:
        self._odd += 1
        if self._odd >= self._server.bounds.odd_messages:
            self.end()

    def finished(self) -> None:
        self._in_flight -= 1
        if (self._paused or self._ended or self._unread) and not self._cutting:
            self._go_on()

    def _go_on(self) -> None:
        """Read what waits, and then further, where there is room."""
        transport = self._transport
        if transport is None or self._held is not None:
            return
        room = self._in_flight <= self._server.bounds.in_flight_per_connection // 2
        if room and self._unread:
            self._cut(self._time())
        if self._ended:
            self._close_when_answered()
        elif room and self._paused and not self._unread and self._held is None:
            self._paused = False
            if self._begun_s is not None:  # it was we who did not read the rest
                self._begun_s = self._time()
            transport.resume_reading()

    def end(self) -> None:
        """Nothing more is taken from this peer; the answers of what came before still go out."""
        self._ended = True
        self._begun_s = None
        self._unread, self._at = b"", 0
        self._close_when_answered()

    def leave_if_quiet(self, now_s: float) -> None:
        """Our side wants to go: nothing is in flight, and nothing is likely to be on its way."""
        if self._transport is None or self._transport.is_closing():
            return
        leaving_s = self._server.leaving_s
        quiet_s = QUIET_S if self._spoken else LEAVE_S
        if leaving_s is not None and now_s - leaving_s > LEAVE_S:
            self.end()
        elif not self._busy and now_s - self._heard_s >= quiet_s:
            self.close()

    @property
    def _busy(self) -> bool:
        """A request is in flight, or has come in part."""
        return self._in_flight > 0 or self._begun_s is not None or bool(self._unread)

    def _close_when_answered(self) -> None:
        if self._in_flight == 0 and not self._unread:
            self.close()
        else:
            self._pause()

    # -- bounds --------------------------------------------------------------------------------

    def check(self, now_s: float) -> None:
        """Idle too long, a frame that takes too long, or a peer that does not let us close."""
        bounds, transport = self._server.bounds, self._transport
        if transport is None:
            return
        if transport.is_closing():
            if self._closing_s is None:
                self._closing_s = now_s
            elif now_s - self._closing_s > bounds.frame_s:
                transport.abort()
        elif self._begun_s is not None and not self._paused:
            if now_s - self._begun_s > bounds.frame_s:
                self._refused("server.frame_s")
                self.end()
        elif self._in_flight == 0 and now_s - self._seen_s > bounds.idle_s:
            self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def peer_of(transport: asyncio.BaseTransport) -> str:
    address = transport.get_extra_info("peername")
    return normal(str(address[0])) if address else ""
