"""Other ways for a bank to be connected: it dials, it signs on, it sends on connections of their own."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from terminals.simulator.bank import Bank, BankProtocol, BankServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


IDLE_S: Final = 40.0  # longer than the switch is silent: then the bank dials again
ECHO_S: Final = 20.0  # between echoes of a connection that nothing comes on, and for their answers


class Greeting(BankProtocol):
    """A connection on which it is the bank who signs on; it closes one that has fallen silent."""

    def __init__(self, server: BankServer, idle_s: float = IDLE_S) -> None:
        super().__init__(server)
        self._idle_s = idle_s
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.tell(self._server.bank.announce("001", {}))
        self._wait()

    def data_received(self, data: bytes) -> None:
        self._wait()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.transport is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._idle_s, self.transport.abort)


class SimplexServer(BankServer):
    """A bank that sends on other connections than those that it reads from.

    `protocol` is for those, `sender` for the others, whoever makes them. An answer leaves on whichever
    is next of those to the machine that asked, not on the one that belongs to its request.
    """

    def __init__(self, bank: Bank) -> None:
        super().__init__(bank, SimplexProtocol)
        self.senders: list[Sender] = []
        self._turn = 0
        self._echoes: dict[tuple[str, str], Sender] = {}
        bank.on_answer = self._answered

    def echo(self, sender: Sender) -> None:
        """On this very connection; the answer comes on one of those that we read."""
        assert sender.transport is not None
        sender.transport.write(self.bank.announce("301", {}))
        self._echoes[self.bank.announced_as()] = sender

    def _answered(self, echo: tuple[str, str]) -> None:
        sender = self._echoes.pop(echo, None)
        if sender is not None:
            sender.answered = True

    def forget(self, sender: Sender) -> None:
        self.senders.remove(sender)
        self._echoes = {echo: of for echo, of in self._echoes.items() if of is not sender}

    def sender(self) -> Sender:
        return Sender(self)

    def next_sender(self, machine: str) -> Sender | None:
        senders = [sender for sender in self.senders if machine_of(sender.transport) == machine]
        if not senders:
            return None
        self._turn = (self._turn + 1) % len(senders)
        return senders[self._turn]

    def close(self) -> None:
        super().close()
        for sender in list(self.senders):
            if sender.transport is not None:
                sender.transport.close()


class SimplexProtocol(BankProtocol):
    """It reads only."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._machine = machine_of(transport)

    def tell(self, data: bytes, *, elsewhere: bool = False) -> None:
        server = self._server
        assert isinstance(server, SimplexServer)
        sender = server.next_sender(self._machine)
        if sender is not None and sender.transport is not None:
            sender.transport.write(data)


def machine_of(transport: asyncio.BaseTransport | None) -> str:
    return "" if transport is None else str(transport.get_extra_info("peername")[0])


class Sender(asyncio.Protocol):
    """It writes only; what comes in here is counted and nothing else."""

    def __init__(self, server: SimplexServer) -> None:
        self.transport: asyncio.Transport | None = None
        self.answered = True  # our last echo
        self._server = server
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._server.senders.append(self)
        self._timer = asyncio.get_running_loop().call_later(ECHO_S, self._look)

    def _look(self) -> None:
        if self.transport is None:
            return
        if not self.answered:
            self.transport.abort()
            return
        self.answered = False
        self._server.echo(self)
        self._timer = asyncio.get_running_loop().call_later(ECHO_S, self._look)

    def data_received(self, data: bytes) -> None:
        self._server.bank.faults["came on the wrong connection"] += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._server.forget(self)


class Dialler:
    """Keeps `count` connections to the addresses, one after the other where one does not stand.

    `failed` is told of a connection that could not be made.
    """

    def __init__(
        self,
        connect: Callable[[Callable[[], asyncio.Protocol], str, int], Awaitable[object]],
        addresses: Sequence[tuple[str, int]],
        protocol: Callable[[], asyncio.Protocol],
        *,
        count: int,
        pause_s: float,
        failed: Callable[[str, int, OSError], None] = lambda _host, _port, _error: None,
    ) -> None:
        self._connect = connect
        self._addresses = addresses
        self._protocol = protocol
        self._count = count
        self._pause_s = pause_s
        self._failed = failed

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
            except OSError as error:
                self._failed(host, port, error)
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
