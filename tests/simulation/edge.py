"""What a node has of its own for links, in memory: banks that connect to it, and pairs of connections."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from switch.ports import Transport
    from switch.reference import Link
    from switch.virtual.loop import Process
    from switch.virtual.network import Endpoint, Network

BANK_SOURCE: Final = "10.2.0.1"
LINK_PORT: Final = 9001
LINK_PORTS: Final = {
    "bank_a": LINK_PORT,
    "bank_b": LINK_PORT + 1,
}  # of a process, where banks connect
SENDING_PORT: Final = 7  # of a bank that sends on other connections, where we dial those


class SimulatedEdge:
    """`switch.ports.LinkEdge` of one process."""

    def __init__(
        self,
        network: Network,
        transport: Transport,
        host: str,
        process: Process | None,
    ) -> None:
        self._network = network
        self._transport = transport
        self._host = host
        self._process = process

    def way_out(self, link: Link) -> Transport:
        return self._transport

    def way_in(self, link: Link) -> SimulatedAccepts:
        at = self._host, LINK_PORTS[link.acquirer]
        return SimulatedAccepts(self._network, at, self._process)

    def sources(self, link: Link) -> tuple[str, ...]:
        return (BANK_SOURCE,)


class SimulatedAccepts:
    """`switch.ports.Accepts`: a listening socket and its backlog."""

    def __init__(self, network: Network, at: tuple[str, int], process: Process | None) -> None:
        self._network = network
        self._at = at
        self._waiting: deque[Knock] = deque()
        self._there = asyncio.Event()
        network.listen(*at, self._knock, process)
        self._listener = network.listeners[at]

    def _knock(self) -> Knock:
        return Knock(self)

    def came(self, knock: Knock) -> None:
        self._waiting.append(knock)
        self._there.set()

    async def waits(self) -> None:
        while not self._pending():
            self._there.clear()
            await self._there.wait()

    def take(self) -> Knock | None:
        return self._waiting.popleft() if self._pending() else None

    def _pending(self) -> bool:
        while self._waiting and self._waiting[0].lost:
            self._waiting.popleft()
        return bool(self._waiting)

    def close(self) -> None:
        # a link that follows this one may listen there already
        if self._network.listeners.get(self._at) is self._listener:
            self._network.stop_listening(*self._at)
        for knock in self._waiting:
            knock.refuse()


class Knock(asyncio.Protocol):
    """`switch.ports.Arrived`: nothing is read before somebody has taken it."""

    def __init__(self, accepts: SimulatedAccepts) -> None:
        self.lost = False
        self._accepts = accepts
        self._endpoint: Endpoint

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._endpoint = cast("Endpoint", transport)
        self._endpoint.pause_reading()
        self._accepts.came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    @property
    def source(self) -> str:
        return str(self._endpoint.get_extra_info("peername")[0])

    async def adopt(self, factory: Callable[[], asyncio.Protocol]) -> asyncio.Transport:
        await asyncio.sleep(self._accepts._network.delay_s())
        if self.lost:
            raise ConnectionResetError("gone before it was taken")
        self._endpoint.resume_reading()  # a protocol that does not want to pauses it again
        self._endpoint.made(factory)
        self._accepts._network.on_connect(self._endpoint.connection)
        return self._endpoint

    def refuse(self) -> None:
        self._endpoint.abort()
