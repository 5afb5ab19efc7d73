"""The hand-over between the workers of one node: a link's connections, used by those that have none.

Theory of operation. Each pair of workers shares one stream over a Unix socket (the higher index
connects). Each tells the other which of its link connections are usable; the other *mirrors* them
(`Mirrored`) and sends on one when it has none of its own. What is handed over is a finished frame:
encoding, MAC, timer, matching and verification stay with the worker whose request it is.

    A: encode, sign, register ── Send ──▶ B: connection usable? in time? ── frame ──▶ bank
    A: verify, match, decide ◀── Came ── B: whose is this answer?        ◀── frame ── bank

B answers `NotSent` only where certainly nothing left, and A may then take a second route. When the
stream ends, nobody knows: what was handed over stays unanswered, and so unknown (rules §4). A worker
that hangs keeps its stream: so all beat, and one that is silent is handed nothing. An answer
that no link of this process knows is offered to all siblings before it is called unmatched.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import msgspec
import structlog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from switch.config import Handover
    from switch.ports import Closable, LocalTransport
    from switch.reference import Link

_log = structlog.get_logger(__name__)

OFFERS_MAX: Final = 1_024  # unknown answers that wait for the siblings' word
OFFER_S: Final = 1.0  # for that word
RETRY_MAX_S: Final = 1.0  # between tries to reach a sibling; it may be restarting

MatchKey = tuple[Any, ...]  # str and bytes


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """First on a stream, from the side that connected."""

    worker: int


class Announced(msgspec.Struct, frozen=True, tag="announced"):
    """One of our connections has come, may be used or not, or is lost (`open` false)."""

    acquirer: str
    settings: str  # digest of the link's `wire`: frames of others do not fit
    link: int
    serial: int
    open: bool
    usable: bool


class Send(msgspec.Struct, frozen=True, tag="send"):
    """A frame for one of your connections; `key` is what its answer will be matched by."""

    acquirer: str
    link: int
    serial: int
    data: bytes
    send_by_ns: int
    key: tuple[Any, ...]
    ticket: int


class NotSent(msgspec.Struct, frozen=True, tag="not_sent"):
    """Certainly nothing of that hand-over left."""

    acquirer: str
    key: tuple[Any, ...]
    ticket: int
    reason: str


class Came(msgspec.Struct, frozen=True, tag="came"):
    """An answer to what you handed over."""

    acquirer: str
    body: bytes


class Offer(msgspec.Struct, frozen=True, tag="offer"):
    """An answer that belongs to nobody here: is it yours?"""

    acquirer: str
    body: bytes
    number: int


class Taken(msgspec.Struct, frozen=True, tag="taken"):
    number: int
    taken: bool


class Draining(msgspec.Struct, frozen=True, tag="draining"):
    """We are told to stop; `done` once we shall hand over nothing more."""

    done: bool


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """We live, and so do our connections."""


Said = Hello | Announced | Send | NotSent | Came | Offer | Taken | Draining | Beat

_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Said] = msgspec.msgpack.Decoder(Said)
_length = struct.Struct(">I")


def pack(message: Said) -> bytes:
    body = _encode(message)
    return _length.pack(len(body)) + body


class Unpacker:
    """Bytes of a stream, however cut, into messages.

    >>> unpacker = Unpacker(100)
    >>> data = pack(Taken(7, True)) + pack(Draining(False))
    >>> unpacker.receive(data[:5]), unpacker.receive(data[5:])
    ([], [Taken(number=7, taken=True), Draining(done=False)])
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._waiting = b""

    def receive(self, data: bytes) -> list[Said]:
        """Raises ValueError for what no sibling of this version says."""
        data = self._waiting + data
        at, messages = 0, []
        while len(data) - at >= _length.size:
            (count,) = _length.unpack_from(data, at)
            if count > self._bytes_max:
                raise ValueError(f"message of {count} bytes")
            end = at + _length.size + count
            if len(data) < end:
                break
            messages.append(_decoder.decode(memoryview(data)[at + _length.size : end]))
            at = end
        self._waiting = data[at:]
        return messages


def settings_of(link: Link) -> str:
    """What must be the same on both sides of a hand-over."""
    return hashlib.sha256(msgspec.json.encode(link.wire)).hexdigest()[:32]


class SharedLink(Protocol):
    """A link of this process, as its siblings may use it and as it uses theirs."""

    link: Link

    @property
    def name(self) -> str: ...

    def connections(self) -> list[tuple[int, bool]]:
        """Own connections that are open: serial, and whether requests may go out on it."""
        ...

    def mirror(self, connection: Mirrored) -> None:
        """A sibling's connection has come or changed."""
        ...

    def mirror_lost(self, connection: Mirrored, *, for_certain: bool) -> None:
        """It has closed; not for certain where only the stream to its owner has ended."""
        ...

    def hand_in(self, message: Send, sibling: Sibling) -> str:
        """Write a sibling's frame; a reason if certainly nothing was and will be written, else ""."""
        ...

    def not_sent(self, key: MatchKey, ticket: int, reason: str) -> None: ...

    def take(self, body: bytes) -> bool:
        """Handle an answer if its request is in flight here, or was; False: it is not ours."""
        ...

    def nobodys(self, body: bytes) -> None:
        """Handle an answer to what was handed over and is no longer remembered."""
        ...


class Mirrored:
    """A sibling's connection, for one link of this process, under a serial of that link's own."""

    def __init__(self, sibling: Sibling, link: int, theirs: int, link_serial: int) -> None:
        self.serial = link_serial
        self.said_usable = False
        self._sibling = sibling
        self._link = link
        self._theirs = theirs

    @property
    def usable(self) -> bool:
        return self.said_usable and not self._sibling.silent

    @property
    def writable(self) -> bool:
        return self.usable and self._sibling.writable

    def hand_over(
        self, acquirer: str, data: bytes, send_by_ns: int, key: MatchKey, ticket: int
    ) -> None:
        self._sibling.say(Send(acquirer, self._link, self._theirs, data, send_by_ns, key, ticket))


class Sibling(asyncio.Protocol):
    """The stream to one other worker."""

    def __init__(self, owner: Siblings, worker: int | None) -> None:
        self.worker = worker  # None until it has said so
        self.closed = asyncio.Event()
        self.draining = False
        self._owner = owner
        self._unpacker = Unpacker(owner.bounds.message_bytes)
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._outgoing: list[bytes] = []  # of this turn of the loop: one system call
        self._heard_s = 0.0

    @property
    def writable(self) -> bool:
        transport = self._transport
        return transport is not None and not self._paused and not transport.is_closing()

    @property
    def silent(self) -> bool:
        """It has not even beaten for long: it hangs, or is stopped."""
        bounds = self._owner.bounds
        return asyncio.get_running_loop().time() - self._heard_s > bounds.silent_s

    def protocol(self) -> Sibling:
        return self

    def say(self, message: Said) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(pack(message))

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(b"".join(outgoing))
        if transport.get_write_buffer_size() > self._owner.bounds.backlog_bytes:
            _log.error("sibling_does_not_read", worker=self.worker)
            transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self._owner.bounds.buffer_bytes)
        self._heard_s = asyncio.get_running_loop().time()
        if self.worker is not None:
            self.say(Hello(self._owner.worker))
            self._owner.joined(self)

    def data_received(self, data: bytes) -> None:
        self._heard_s = asyncio.get_running_loop().time()
        try:
            messages = self._unpacker.receive(data)
        except (ValueError, msgspec.DecodeError) as error:
            _log.error("sibling_not_understood", worker=self.worker, reason=str(error))
            self.abort()
            return
        for message in messages:
            try:
                self._owner.heard(self, message)
            except Exception:  # noqa: BLE001 - one message must not cost the others their stream
                _log.exception("sibling_message_failed", worker=self.worker)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._outgoing.clear()
        self.closed.set()
        self._owner.left(self)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _Offered:
    __slots__ = ("asked", "otherwise", "timer")

    def __init__(
        self, asked: list[Sibling], otherwise: Callable[[], None], timer: asyncio.TimerHandle
    ) -> None:
        self.asked = asked
        self.otherwise = otherwise
        self.timer = timer


class Siblings:
    """The other workers of the node, and which of their connections may be used.

    `folder` holds a socket for each worker that has others to listen for.
    """

    def __init__(
        self, worker: int, workers: int, folder: Path, transport: LocalTransport, bounds: Handover
    ) -> None:
        self.worker = worker
        self.bounds = bounds
        self._workers = workers
        self._folder = folder
        self._transport = transport
        self._listening: Closable | None = None
        self._keepers: list[asyncio.Task[None]] = []
        self._siblings: dict[int, Sibling] = {}
        self._strangers: dict[Sibling, None] = {}  # that have not said who they are
        self._links: dict[int, SharedLink] = {}
        self._announced: dict[tuple[int, int, int], Announced] = {}  # worker, link, serial
        self._mirrors: dict[tuple[int, int, int], dict[int, Mirrored]] = {}  # → by our link
        self._offers: dict[int, _Offered] = {}
        self._last = 0  # of links, mirrors and offers: each has a number of its own
        self._draining: bool | None = None  # as told to siblings: False while, True when done
        self._changed = asyncio.Event()

    def number(self) -> int:
        self._last += 1
        return self._last

    @property
    def connected(self) -> list[int]:
        return sorted(self._siblings)

    # -- life -------------------------------------------------------------------------------------

    def _path(self, worker: int) -> str:
        return str(self._folder / f"worker-{worker}.sock")

    async def start(self) -> None:
        """Listen for the siblings above us, keep connected to those below."""
        loop = asyncio.get_running_loop()
        if self.worker < self._workers - 1:
            self._listening = await self._transport.listen(self._accept, self._path(self.worker))
        self._keepers = [
            loop.create_task(self._keep_connected(below), name=f"sibling {below}")
            for below in range(self.worker)
        ]
        self._keepers.append(loop.create_task(self._beat(), name="siblings' beat"))

    def _accept(self) -> Sibling:
        stranger = Sibling(self, None)
        self._strangers[stranger] = None
        return stranger

    async def _keep_connected(self, worker: int) -> None:
        first_s = self.bounds.retry_s
        pause_s = first_s
        while True:
            sibling = Sibling(self, worker)
            try:
                async with asyncio.timeout(RETRY_MAX_S):
                    await self._transport.connect(sibling.protocol, self._path(worker))
            except (OSError, TimeoutError):
                sibling.abort()
            else:
                pause_s = first_s
                await sibling.closed.wait()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.bounds.beat_s)
            self._say_to_all(Beat())

    async def stop(self) -> None:
        if self._listening is not None:
            self._listening.close()
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for sibling in (*self._siblings.values(), *self._strangers):
            sibling.abort()
        for offered in self._offers.values():
            offered.timer.cancel()
        self._offers.clear()

    # -- draining -----------------------------------------------------------------------------------

    def drain(self) -> None:
        """We have been told to stop, and still need the siblings' connections."""
        self._draining = False
        self._say_to_all(Draining(done=False))

    async def drained(self, timeout_s: float) -> None:
        """We hand over nothing more; wait for the siblings that are being stopped too."""
        self._draining = True
        self._say_to_all(Draining(done=True))
        try:
            async with asyncio.timeout(timeout_s):
                while any(sibling.draining for sibling in self._siblings.values()):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            _log.warning("siblings_still_draining")

    # -- our links ------------------------------------------------------------------------------------

    def attach(self, link: SharedLink) -> int:
        """A link begins: it learns of the siblings' connections. Returns its number here."""
        number = self.number()
        self._links[number] = link
        for place in list(self._announced):
            self._mirror(place, number)
        return number

    def detach(self, number: int) -> None:
        link = self._links.get(number)
        if link is None:
            return
        for serial, _ in link.connections():
            self.announce(number, serial, is_open=False, usable=False)
        del self._links[number]
        for mirrors in self._mirrors.values():
            mirrors.pop(number, None)

    def announce(self, number: int, serial: int, *, is_open: bool, usable: bool) -> None:
        """One of our connections has come, changed or gone."""
        link = self._links.get(number)
        if link is not None:
            self._say_to_all(_announcement(number, link, serial, is_open=is_open, usable=usable))

    def offer(self, number: int, body: bytes, otherwise: Callable[[], None]) -> None:
        """Find whose answer this is; `otherwise` is called when it is nobody's."""
        name = self._links[number].name
        for other, link in self._links.items():
            if other != number and link.name == name and link.take(body):
                return
        asked = list(self._siblings.values())
        if not asked or len(self._offers) >= OFFERS_MAX:
            otherwise()
            return
        at = self.number()
        timer = asyncio.get_running_loop().call_later(OFFER_S, self._nobody, at)
        self._offers[at] = _Offered(asked, otherwise, timer)
        for sibling in asked:
            sibling.say(Offer(name, body, at))

    def _nobody(self, at: int) -> None:
        offered = self._offers.pop(at, None)
        if offered is not None:
            offered.timer.cancel()
            offered.otherwise()

    def _say_to_all(self, message: Said) -> None:
        for sibling in self._siblings.values():
            sibling.say(message)

    # -- for the streams ------------------------------------------------------------------------------

    def joined(self, sibling: Sibling) -> None:
        """A stream is there and it is known whose."""
        assert sibling.worker is not None
        former = self._siblings.pop(sibling.worker, None)
        if former is not None:
            former.abort()
            self._forget(former)
        self._siblings[sibling.worker] = sibling
        for number, link in self._links.items():
            for serial, usable in link.connections():
                sibling.say(_announcement(number, link, serial, is_open=True, usable=usable))
        if self._draining is not None:
            sibling.say(Draining(self._draining))
        _log.info("sibling_joined", worker=sibling.worker)

    def left(self, sibling: Sibling) -> None:
        self._strangers.pop(sibling, None)
        if sibling.worker is None or self._siblings.get(sibling.worker) is not sibling:
            return
        del self._siblings[sibling.worker]
        _log.info("sibling_left", worker=sibling.worker)
        self._forget(sibling)

    def _forget(self, sibling: Sibling) -> None:
        """Its connections are lost to us, and it has no say any more."""
        for place in [place for place in self._announced if place[0] == sibling.worker]:
            self._lost(place, for_certain=False)
        for at, offered in list(self._offers.items()):
            self._answered(at, offered, sibling)
        self._changed.set()

    def heard(self, sibling: Sibling, message: Said) -> None:
        if isinstance(message, Hello):
            self._strangers.pop(sibling, None)
            sibling.worker = message.worker
            self.joined(sibling)
        elif sibling.worker is None or self._siblings.get(sibling.worker) is not sibling:
            sibling.abort()  # a former stream's last words
        elif isinstance(message, Send):
            self._send(sibling, message)
        elif isinstance(message, Came):
            self._came(message)
        elif isinstance(message, NotSent):
            for link in self._named(message.acquirer):
                link.not_sent(message.key, message.ticket, message.reason)
        elif isinstance(message, Announced):
            self._hear_announced(sibling.worker, message)
        elif isinstance(message, Offer):
            taken = any(link.take(message.body) for link in self._named(message.acquirer))
            sibling.say(Taken(message.number, taken))
        elif isinstance(message, Taken):
            offered = self._offers.get(message.number)
            if offered is not None and message.taken:
                del self._offers[message.number]
                offered.timer.cancel()
            elif offered is not None:
                self._answered(message.number, offered, sibling)
        elif isinstance(message, Draining):
            sibling.draining = not message.done
            self._changed.set()
        else:
            assert isinstance(message, Beat)  # that it was heard is all

    def _named(self, acquirer: str) -> list[SharedLink]:
        """Newest first: the one that a change of settings replaced still waits for answers."""
        return [link for link in reversed(self._links.values()) if link.name == acquirer]

    def _answered(self, at: int, offered: _Offered, sibling: Sibling) -> None:
        """One sibling less that may know the answer."""
        offered.asked = [other for other in offered.asked if other is not sibling]
        if not offered.asked:
            self._nobody(at)

    def _send(self, sibling: Sibling, message: Send) -> None:
        link = self._links.get(message.link)
        reason = "connection_gone" if link is None else link.hand_in(message, sibling)
        if reason:
            sibling.say(NotSent(message.acquirer, message.key, message.ticket, reason))

    def _came(self, message: Came) -> None:
        links = self._named(message.acquirer)
        if links and not any(link.take(message.body) for link in links):
            links[0].nobodys(message.body)

    # -- the siblings' connections --------------------------------------------------------------------

    def _hear_announced(self, worker: int, message: Announced) -> None:
        place = (worker, message.link, message.serial)
        if not message.open:
            self._lost(place, for_certain=True)
            return
        self._announced[place] = message
        for number in self._links:
            self._mirror(place, number)

    def _mirror(self, place: tuple[int, int, int], number: int) -> None:
        link, said = self._links[number], self._announced[place]
        if link.name != said.acquirer or settings_of(link.link) != said.settings:
            return
        mirrors = self._mirrors.setdefault(place, {})
        mirrored = mirrors.get(number)
        if mirrored is None:
            sibling = self._siblings[place[0]]
            mirrored = mirrors[number] = Mirrored(sibling, said.link, said.serial, -self.number())
        mirrored.said_usable = said.usable
        link.mirror(mirrored)

    def _lost(self, place: tuple[int, int, int], *, for_certain: bool) -> None:
        self._announced.pop(place, None)
        for number, mirrored in self._mirrors.pop(place, {}).items():
            mirrored.said_usable = False
            self._links[number].mirror_lost(mirrored, for_certain=for_certain)


def _announcement(
    number: int, link: SharedLink, serial: int, *, is_open: bool, usable: bool
) -> Announced:
    return Announced(link.name, settings_of(link.link), number, serial, is_open, usable)
