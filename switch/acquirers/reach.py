"""How a keeper comes by a connection: it dials, waits until the bank has dialled, or joins a pair.

A pair is two simplex connections that are one to everybody else: what we send leaves on one, what the
bank sends comes on the other. It carries something only while both stand. Where one of them drops the
other stays: what comes in still finds its request, and the next connection of the same keeper uses it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, cast

import structlog

from switch.acquirers.link_connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from iso8583.message import Message
    from switch.acquirers.incoming import Incoming
    from switch.acquirers.link_connection import Owner
    from switch.ports import Transport

_log = structlog.get_logger(__name__)


class Reach(Protocol):
    """Of one keeper, for as long as it has its slot."""

    backs_off: bool  # whether to pause after a connection that came to nothing, longer each time

    def connection(self, serial: int, slot: int) -> Connection: ...

    async def open(self, connection: Connection) -> bool:
        """Until the connection is made; False: it came to nothing, or was given up."""
        ...

    def close(self) -> None:
        """The keeper has given its slot back, or left it to the connection."""
        ...


async def dial(
    owner: Owner,
    transport: Transport,
    factory: Callable[[], asyncio.Protocol],
    abandon: Callable[[], None],
    port: int,
) -> bool:
    link = owner.link
    try:
        async with asyncio.timeout(link.connect_timeout_s):
            await transport.connect(factory, link.host, port)
    except Exception as error:  # noqa: BLE001 - a name that is none, too: the keeper goes on
        abandon()
        _log.warning("link_connect_failed", acquirer=owner.name, error=repr(error))
        return False
    except asyncio.CancelledError:
        abandon()
        raise
    return True


class Dialled:
    """We connect to the bank, and both send on what is made."""

    backs_off = True

    def __init__(self, owner: Owner, transport: Transport) -> None:
        self._owner = owner
        self._transport = transport

    def connection(self, serial: int, slot: int) -> Connection:
        return Connection(self._owner, serial, slot)

    async def open(self, connection: Connection) -> bool:
        port = self._owner.link.port
        return await dial(
            self._owner, self._transport, connection.protocol, connection.abandon, port
        )

    def close(self) -> None:
        pass


class Accepted:
    """The bank connects to us. Who is to connect again is not kept waiting."""

    backs_off = False

    def __init__(self, owner: Owner, incoming: Incoming) -> None:
        self._owner = owner
        self._incoming = incoming

    def connection(self, serial: int, slot: int) -> Connection:
        return Connection(self._owner, serial, slot)

    async def open(self, connection: Connection) -> bool:
        return await self._incoming.take(connection, connection.protocol)

    def close(self) -> None:
        pass


class Pair:
    """Two simplex connections. `incoming` None: we dial the one that the bank sends on, too."""

    backs_off = True

    def __init__(self, owner: Owner, transport: Transport, incoming: Incoming | None) -> None:
        self.kept = True  # by a keeper, who will use what stands of it again
        self._owner = owner
        self._transport = transport
        self._incoming = incoming
        self._out: Half | None = None
        self._into: Half | None = None
        self._dialling: Half | None = None

    def connection(self, serial: int, slot: int) -> PairedConnection:
        return PairedConnection(self._owner, serial, slot, self)

    async def open(self, connection: Connection) -> bool:
        """Ours first: the bank may wait for it before it makes its own."""
        assert isinstance(connection, PairedConnection)
        if self._out is None or not self._out.stands:
            self._out = await self._dialled(connection, self._owner.link.port, reads=False)
        if self._out is None:
            return False
        self._out.user = connection
        if self._into is None or not self._into.stands:
            self._into = await self._second(connection)
        if self._into is None or not self._out.stands or connection.given_up:
            return False
        connection.join(self._out, self._into)
        return True

    async def _dialled(
        self, connection: PairedConnection, port: int, *, reads: bool
    ) -> Half | None:
        half = self._dialling = Half(self._owner, reads=reads)
        made = await dial(self._owner, self._transport, half.protocol, half.abandon, port)
        self._dialling = None
        return half if made and half.stands and not connection.given_up else None

    def give_up(self) -> None:
        """What is being dialled closes as it is made."""
        if self._dialling is not None:
            self._dialling.abandon()

    async def _second(self, connection: PairedConnection) -> Half | None:
        if self._incoming is None:
            port = self._owner.link.receive_port
            return await self._dialled(connection, port, reads=True)
        half = Half(self._owner, reads=True)
        try:
            taken = await self._incoming.take(connection, half.protocol)
        except asyncio.CancelledError:
            half.abandon()
            raise
        if not taken:
            half.abandon()
        return half if taken and half.stands else None

    def other_lost(self) -> None:
        """One of them has dropped: the other is of use only to a keeper."""
        if not self.kept:
            self.abort()

    def close(self) -> None:
        self.kept = False
        user = None if self._out is None else self._out.user
        if user is None or not user.opened or user.closed.is_set():
            self.abort()

    def abort(self) -> None:
        for half in (self._out, self._into):
            if half is not None:
                half.abandon()


class Half(asyncio.Protocol):
    """One of the two. `reads`: the bank sends on it, and only there."""

    def __init__(self, owner: Owner, *, reads: bool) -> None:
        self.transport: asyncio.Transport | None = None
        self.user: PairedConnection | None = None  # the latest
        self.paused = False  # it takes no bytes, whoever uses it
        self._owner = owner
        self._reads = reads
        self._over = False

    @property
    def stands(self) -> bool:
        return self.transport is not None and not self._over and not self.transport.is_closing()

    def protocol(self) -> asyncio.Protocol:
        return self

    def abandon(self) -> None:
        self._over = True
        if self.transport is not None:
            self.transport.abort()

    # -- asyncio.Protocol --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self._over:
            self.transport.abort()
        elif self._reads:
            self.transport.pause_reading()  # until there is somebody to answer

    def data_received(self, data: bytes) -> None:
        if self._reads and self.user is not None:
            self.user.data_received(data)
            return
        self._owner.counters.undecodable += 1
        _log.warning("link_simplex_broken", acquirer=self._owner.name)
        self.abandon()

    def pause_writing(self) -> None:
        self.paused = True
        if self.user is not None:
            self.user.pause_writing()

    def resume_writing(self) -> None:
        self.paused = False
        if self.user is not None:
            self.user.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = True
        if self.user is not None:
            self.user.half_lost(exc)


def reach_of(owner: Owner, transport: Transport, incoming: Incoming | None) -> Reach:
    """As the link's `connects` and `receive_on` say."""
    if owner.link.receive_on != "same":
        return Pair(owner, transport, incoming)
    return Dialled(owner, transport) if incoming is None else Accepted(owner, incoming)


class PairedConnection(Connection):
    """A connection whose two directions are connections of their own.

    That something comes in does not show that what we send arrives: it echoes every `echo_idle_s`,
    whatever it hears, and only the answers count.
    """

    def __init__(self, owner: Owner, serial: int, slot: int, pair: Pair) -> None:
        super().__init__(owner, serial, slot)
        self._pair = pair

    @property
    def given_up(self) -> bool:
        return self._abandoned

    def abandon(self) -> None:
        super().abandon()
        self._pair.give_up()

    def join(self, out: Half, into: Half) -> None:
        if into.user is not None:  # what it has of a message belongs to its rest
            self._framer = into.user._framer  # noqa: SLF001 - of its own class
        out.user = into.user = self
        self._paused = out.paused
        self.connection_made(PairTransport(out, into))
        assert into.transport is not None
        into.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.take(data)

    def half_lost(self, exc: Exception | None) -> None:
        if self.opened and not self.closed.is_set():
            self.connection_lost(exc)
        if self.place is not None:
            self.place.end(taken=False)
        self._pair.other_lost()

    async def managed(self, message: Message, body: bytes) -> None:
        """The bank may answer on whichever of its connections: whoever asked hears it."""
        asked = self._owner.asked_on(message) if str(message[0])[2] in "13" else None
        if isinstance(asked, PairedConnection):
            asked.proved()
        await Connection.managed(asked or self, message, body)

    def proved(self) -> None:
        """An answer to what we have asked: both directions live."""
        self._heard_at_s = asyncio.get_running_loop().time()
        self.doubted = False


class PairTransport(asyncio.Transport):
    """To the connection that uses them, one transport."""

    def __init__(self, out: Half, into: Half) -> None:
        super().__init__()
        assert out.transport is not None
        assert into.transport is not None
        self._out = out.transport
        self._into = into.transport

    def write(self, data: Any) -> None:
        if not self._out.is_closing():
            self._out.write(data)

    def is_closing(self) -> bool:
        return self._out.is_closing() or self._into.is_closing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._out.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._out.get_extra_info(name, default)

    def close(self) -> None:
        self._out.close()
        self._into.close()

    def abort(self) -> None:
        self._out.abort()
        self._into.abort()
