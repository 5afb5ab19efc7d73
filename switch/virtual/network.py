"""TCP in memory, in virtual time: connections, their delays, and what goes wrong with them.

A connection is two `Endpoint`s, each an `asyncio.Transport` that keeps asyncio's promises: bytes in
order or not at all, `pause_reading`, write buffer limits, `write_eof` and half-open connections,
`close` that sends what was written, `abort` that does not. What is written arrives after a drawn
delay, whole, in pieces, or joined with its neighbours. A connection may stall for a while, be reset,
or fall silent for ever (a cable cut: neither side is told).

`Network.taps` see every write at the moment it is made, before any fault: that is when bytes leave.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from switch.virtual.loop import PROCESS

if TYPE_CHECKING:
    from switch.virtual.loop import Process
    from terminals.simulator.dice import Dice

JOIN_TICK_S = 0.02  # bytes that are held for joining arrive on the next of these
HIGH_WATER_BYTES = 65_536
PIECES_MAX = 5


class Weather(msgspec.Struct, frozen=True, kw_only=True):
    """What a network does to bytes. Rates are per write, that of `refuse` per connect.

    `slow`: a write takes up to `slow_s` · `split`: it arrives in pieces · `join`: it arrives with
    its neighbours · `stall`: nothing moves in this direction for up to `stall_s` · `reset`: the connection is reset ·
    `silent`: it carries nothing any more, and neither side is told · `refuse`: no connection is made.
    """

    delay_s: tuple[float, float] = (0.0005, 0.003)
    slow: float = 0.0
    slow_s: float = 2.0
    split: float = 0.0
    join: float = 0.0
    stall: float = 0.0
    stall_s: float = 20.0
    reset: float = 0.0
    silent: float = 0.0
    refuse: float = 0.0


FAIR = Weather()

Tap = Callable[["Endpoint", bytes], None]


class Listener(msgspec.Struct):
    """Someone who accepts: the protocols are made and run in its context."""

    factory: Callable[[], asyncio.Protocol]
    context: contextvars.Context

    @property
    def process(self) -> Process | None:
        return self.context.get(PROCESS)


class Network:
    """Every connection of the world. Its dice are drawn in the order of connects and writes."""

    def __init__(self, dice: Dice, weather: Weather = FAIR, name: str = "network") -> None:
        self.name = name  # as what happens in it is counted
        self.dice = dice
        self.weather = weather
        self.listeners: dict[tuple[str, int], Listener] = {}
        self.cut_off: set[tuple[str, int]] = set()  # connects there hang, as behind a cut cable
        self.connections: dict[int, Connection] = {}
        self.taps: list[Tap] = []
        self.on_connect: Callable[[Connection], None] = lambda _: None
        self.counts: Counter[str] = Counter()
        self._serial = 0

    def happens(self, what: str, rate: float) -> bool:
        """Whether a fault happens now; counted."""
        happens = self.dice.chance(rate)
        self.counts[f"{self.name} {what}"] += happens
        return happens

    def listen(
        self, host: str, port: int, factory: Callable[[], asyncio.Protocol], process: Process | None
    ) -> None:
        context = contextvars.copy_context() if process is None else process.context
        self.listeners[host, port] = Listener(factory, context)

    def stop_listening(self, host: str, port: int) -> None:
        self.listeners.pop((host, port), None)

    async def connect(
        self,
        factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        source: str = "10.0.0.1",
    ) -> Endpoint:
        """A connection as `loop.create_connection` makes one; ConnectionRefusedError, or it hangs."""
        refused = self.happens("refuse", self.weather.refuse)
        await asyncio.sleep(self.delay_s())
        if (host, port) in self.cut_off:
            await asyncio.get_running_loop().create_future()
        listener = self.listeners.get((host, port))
        process = None if listener is None else listener.process
        if refused or listener is None or _is_gone(process):
            raise ConnectionRefusedError(host, port)
        self._serial += 1
        here = contextvars.copy_context()
        connection = Connection(self, self._serial, (host, port), source, here, listener.context)
        self.connections[self._serial] = connection
        theirs, ours = connection.server, connection.client
        asyncio.get_running_loop().call_soon(
            theirs.made, listener.factory, context=listener.context
        )
        ours.made(factory)
        self.on_connect(connection)
        return ours

    def delay_s(self) -> float:
        low_s, high_s = self.weather.delay_s
        delay_s = low_s + (high_s - low_s) * self.dice.random()
        if self.happens("slow", self.weather.slow):
            delay_s += self.weather.slow_s * self.dice.random()
        return delay_s

    def of(self, process: Process) -> list[Connection]:
        """The connections of a process, oldest first."""
        return [
            connection
            for connection in self.connections.values()
            if process in (connection.client.process, connection.server.process)
        ]

    def end_of(self, process: Process) -> None:
        """What the kernel does with a dead process's sockets: FIN behind what was sent, or RST."""
        for connection in self.of(process):
            mine = connection.server if connection.server.process is process else connection.client
            if self.dice.chance(0.5):
                mine.peer.lose_later(ConnectionResetError("peer died"), self.delay_s())
            else:
                mine.end_of_file()
            mine.lost = True
            connection.forget_when_over()


class Connection:
    def __init__(
        self,
        network: Network,
        serial: int,
        to: tuple[str, int],
        source: str,
        client: contextvars.Context,
        server: contextvars.Context,
    ) -> None:
        self.network = network
        self.serial = serial
        self.to = to
        self.silent = False
        self.client = Endpoint(self, client, to)
        self.server = Endpoint(self, server, (source, 40_000 + serial % 20_000))
        self.client.peer, self.server.peer = self.server, self.client

    def __repr__(self) -> str:
        return f"Connection({self.serial} to {self.to[0]}:{self.to[1]})"

    def reset(self) -> None:
        """Both sides lose it; bytes on their way are gone."""
        for end in (self.client, self.server):
            end.lose_later(ConnectionResetError("reset"), self.network.delay_s())

    def forget_when_over(self) -> None:
        if self.client.lost and self.server.lost:
            self.network.connections.pop(self.serial, None)


class Endpoint(asyncio.Transport):
    """One side of a connection, for the protocol that uses it."""

    def __init__(
        self, connection: Connection, context: contextvars.Context, peername: tuple[str, int]
    ) -> None:
        super().__init__({"peername": peername})
        self.connection = connection
        self.network = connection.network
        self.context = context
        self.process = context.get(PROCESS)
        self.peer: Endpoint
        self.protocol: asyncio.Protocol | None = None
        self.lost = False  # connection_lost was or will be called, or nobody is left to call
        self._closing = False
        self._eof_sent = False
        self._eof_came = False
        self._reading = True
        self._inbox = bytearray()  # arrived, not yet read
        self._delivering = False
        self._pipe: deque[bytes] = deque()  # written, not yet arrived; b"" is the end of file
        self._on_its_way = 0  # written, not yet read by the peer
        self._writing_paused = False
        self._high = HIGH_WATER_BYTES
        self._arrives_s = 0.0  # when the last byte written so far arrives

    def __repr__(self) -> str:
        side = "client" if self is self.connection.client else "server"
        return f"Endpoint({self.connection.serial} {side})"

    def made(self, factory: Callable[[], asyncio.Protocol]) -> None:
        self.protocol = factory()
        self.protocol.connection_made(self)

    # -- asyncio.Transport -----------------------------------------------------------------

    def write(self, data: Any) -> None:
        data = bytes(data)
        if self._closing or self.lost or not data or _is_gone(self.process):
            return
        if self._eof_sent:
            raise RuntimeError("Cannot call write() after write_eof()")
        for tap in self.network.taps:
            tap(self, data)
        network, weather, dice = self.network, self.network.weather, self.network.dice
        if network.happens("reset", weather.reset):
            self.connection.reset()
            return
        if network.happens("silent", weather.silent):
            self.connection.silent = True
        if network.happens("stall", weather.stall):
            self.hold_up(weather.stall_s * dice.random())
        pieces = [data]
        if network.happens("split", weather.split):
            pieces = cut(data, dice)
        joined = network.happens("join", weather.join)
        for piece in pieces:
            at_s = max(self._arrives_s, _now_s() + network.delay_s())
            if joined:
                at_s = (int(at_s / JOIN_TICK_S) + 1) * JOIN_TICK_S
            self._arrives_s = at_s
            self._on_its_way += len(piece)
            self._pipe.append(piece)
            self._at(at_s, self.peer, self.peer.arrive)
        if self._on_its_way > self._high and not self._writing_paused and self.protocol is not None:
            self._writing_paused = True
            self.protocol.pause_writing()

    def write_eof(self) -> None:
        self.end_of_file()

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return self._on_its_way

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = HIGH_WATER_BYTES if high is None else high

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._deliver_soon()

    def is_reading(self) -> bool:
        return self._reading

    def is_closing(self) -> bool:
        return self._closing or self.lost

    def close(self) -> None:
        """What was written still goes out, then end of file; nothing is read any more."""
        if self._closing or self.lost:
            return
        self._closing = True
        self.end_of_file()
        self.lose_later(None, 0.0)

    def abort(self) -> None:
        """Now, and the peer is told by a reset."""
        if self.lost:
            return
        self._closing = True
        if not _is_gone(self.process):
            self.peer.lose_later(ConnectionResetError("aborted"), self.network.delay_s())
        self.lose_later(None, 0.0)

    def hold_up(self, for_s: float) -> None:
        """What is written from now on arrives so much later."""
        self._arrives_s = max(self._arrives_s, _now_s()) + for_s

    # -- inside ------------------------------------------------------------------------------

    def _at(self, at_s: float, owner: Endpoint, callback: Callable[..., None], *args: Any) -> None:
        loop = asyncio.get_running_loop()
        loop.call_at(at_s, callback, *args, context=owner.context)

    def end_of_file(self) -> None:
        if self._eof_sent or self.lost:
            return
        self._eof_sent = True
        at_s = max(self._arrives_s, _now_s() + self.network.delay_s())
        self._pipe.append(b"")
        self._at(at_s, self.peer, self.peer.arrive)

    def arrive(self) -> None:
        """The next piece is there. Runs in the context of the one who reads.

        Which piece is not the timer's to say: timers of one instant run in any order.
        """
        data = self.peer.next_piece()
        if self.connection.silent:
            return
        if not data:
            self._eof_came = not self.is_closing()
        elif self.is_closing():
            # bytes for a closed socket: the answer is a reset
            self.peer.lose_later(BrokenPipeError("peer has closed"), self.network.delay_s())
        else:
            self._inbox += data
        self._deliver_soon()

    def next_piece(self) -> bytes:
        return self._pipe.popleft()

    def _deliver_soon(self) -> None:
        """One callback for everything that arrives at one instant: that is how reads are joined."""
        if not self._delivering:
            self._delivering = True
            asyncio.get_running_loop().call_soon(self._deliver, context=self.context)

    def _deliver(self) -> None:
        self._delivering = False
        if self.lost or self._closing or not self._reading or self.protocol is None:
            return
        if self._inbox:
            data, self._inbox = bytes(self._inbox), bytearray()
            loop = asyncio.get_running_loop()
            loop.call_soon(self.peer.taken, len(data), context=self.peer.context)
            self.protocol.data_received(data)
        if self._eof_came and not self._inbox and not self.is_closing() and self._reading:
            self._eof_came = False
            if not self.protocol.eof_received():
                self.close()

    def taken(self, count: int) -> None:
        """The peer has read so many bytes."""
        self._on_its_way -= count
        if self._writing_paused and self._on_its_way <= self._high // 4 and not self.lost:
            self._writing_paused = False
            if self.protocol is not None:
                self.protocol.resume_writing()

    def lose_later(self, error: Exception | None, delay_s: float) -> None:
        if not self.lost and (error is None or not self.connection.silent):
            self._at(_now_s() + delay_s, self, self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        if self.lost:
            return
        self.lost = self._closing = True
        self.connection.forget_when_over()
        if self.protocol is not None:
            self.protocol.connection_lost(error)


def cut(data: bytes, dice: Dice) -> list[bytes]:
    """The same bytes in 2 to `PIECES_MAX` pieces, if there are so many bytes."""
    count = min(dice.between(2, PIECES_MAX), len(data))
    places = sorted(dice.sample(range(1, len(data)), count - 1))
    return [
        data[start:stop] for start, stop in zip([0, *places], [*places, len(data)], strict=True)
    ]


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _is_gone(process: Process | None) -> bool:
    return process is not None and process.gone
