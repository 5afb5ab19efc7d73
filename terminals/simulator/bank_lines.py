"""Other ways for a bank to be connected: it dials, it signs on, it sends on connections of their own."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, cast

from terminals.simulator.bank import Bank, BankProtocol, BankServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


class Greeting(BankProtocol):
    """A connection on which it is the bank who signs on."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.tell(self._server.bank.announce("001", {}))


class SimplexServer(BankServer):
    """A bank that sends on other connections than those that it reads from.

    `protocol` is for those, `sender` for the others, whoever makes them. An answer leaves on whichever
    of them is next, not on the one that belongs to its request.
    """

    def __init__(self, bank: Bank) -> None:
        super().__init__(bank, SimplexProtocol)
        self.senders: list[Sender] = []
        self._turn = 0

    def sender(self) -> Sender:
        return Sender(self)

    def next_sender(self) -> Sender | None:
        if not self.senders:
            return None
        self._turn = (self._turn + 1) % len(self.senders)
        return self.senders[self._turn]

    def close(self) -> None:
        super().close()
        for sender in list(self.senders):
            if sender.transport is not None:
                sender.transport.close()


class SimplexProtocol(BankProtocol):
    """It reads only."""

    def tell(self, data: bytes, *, elsewhere: bool = False) -> None:
        server = self._server
        assert isinstance(server, SimplexServer)
        sender = server.next_sender()
        if sender is not None and sender.transport is not None:
            sender.transport.write(data)


class Sender(asyncio.Protocol):
    """It writes only; what comes in here is counted and nothing else."""

    def __init__(self, server: SimplexServer) -> None:
        self.transport: asyncio.Transport | None = None
        self.closed = asyncio.Event()
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._server.senders.append(self)

    def data_received(self, data: bytes) -> None:
        self._server.bank.faults["came on the wrong connection"] += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._server.senders.remove(self)
        self.closed.set()


class Dialler:
    """Keeps `count` connections to the addresses, one after the other where one does not stand."""

    def __init__(
        self,
        connect: Callable[[Callable[[], asyncio.Protocol], str, int], Awaitable[object]],
        addresses: Sequence[tuple[str, int]],
        protocol: Callable[[], asyncio.Protocol],
        *,
        count: int,
        pause_s: float,
    ) -> None:
        self._connect = connect
        self._addresses = addresses
        self._protocol = protocol
        self._count = count
        self._pause_s = pause_s

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(*(self._keep(number) for number in range(self._count)))

    def _kept(self, lost: asyncio.Event) -> Kept:
        return Kept(self._protocol(), lost)

    async def _keep(self, number: int) -> None:
        while True:
            host, port = self._addresses[number % len(self._addresses)]
            number += 1
            lost = asyncio.Event()
            try:
                await self._connect(partial(self._kept, lost), host, port)
                await lost.wait()
            except OSError:
                pass
            await asyncio.sleep(self._pause_s)


class Kept(asyncio.Protocol):
    """The protocol that is kept, and the word that it is lost."""

    def __init__(self, kept: asyncio.Protocol, lost: asyncio.Event) -> None:
        self._kept = kept
        self._lost = lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._kept.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._kept.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._kept.connection_lost(exc)
        self._lost.set()
