"""TCP without sockets, for the fleet: a host function behind in-memory transports on any loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from iso8583.errors import DecodeError, FramingError
from iso8583.framing import POS, Framer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.terminals.simulator.host import TinyHost

LATENCY_S = 0.01


class MemoryNet:
    """Connections to one `TinyHost`. `refuse` makes the next so many dials fail; `drop_every` makes
    every n-th frame close its connection unanswered; `silent_every` leaves it unanswered."""

    def __init__(self, host: TinyHost) -> None:
        self.host = host
        self.refuse = 0
        self.drop_every = 0
        self.silent_every = 0
        self.frames = 0
        self.live = 0
        self.dials = 0
        self.noise = 0

    async def connect(
        self, host: str, port: int, factory: Callable[[], asyncio.Protocol]
    ) -> tuple[asyncio.BaseTransport, asyncio.Protocol]:
        await asyncio.sleep(LATENCY_S)
        self.dials += 1
        if self.refuse > 0:
            self.refuse -= 1
            raise ConnectionRefusedError(f"{host}:{port}")
        protocol = factory()
        transport = MemoryTransport(self, protocol)
        protocol.connection_made(transport)
        return transport, protocol


class MemoryTransport(asyncio.Transport):
    """The fleet's end; the host answers whole frames after `LATENCY_S`."""

    def __init__(self, net: MemoryNet, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._net = net
        self._protocol = protocol
        self._framer = Framer(POS)
        self._closing = False
        net.live += 1

    def is_closing(self) -> bool:
        return self._closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:
            asyncio.get_running_loop().call_later(LATENCY_S, self._arrived, bytes(data))

    def _arrived(self, data: bytes) -> None:
        net = self._net
        try:
            frames = self._framer.receive_bytes(data)
        except FramingError:
            net.noise += 1
            self.close()
            return
        for frame in frames:
            net.frames += 1
            if net.drop_every and net.frames % net.drop_every == 0:
                self.close()
                return
            try:
                answer = net.host.reply(frame)
            except DecodeError:
                net.noise += 1
                self.close()
                return
            if not (net.silent_every and net.frames % net.silent_every == 0):
                asyncio.get_running_loop().call_later(LATENCY_S, self._answered, answer)

    def _answered(self, data: bytes) -> None:
        if not self._closing:
            self._protocol.data_received(data)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._net.live -= 1
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()
