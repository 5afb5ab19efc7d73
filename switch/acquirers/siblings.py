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

What is said is in `sibling_messages.py`, the stream in `sibling_stream.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import structlog

from switch.acquirers.sibling_messages import (
    Announced,
    Beat,
    Came,
    Draining,
    Hello,
    NotSent,
    Offer,
    Send,
    Taken,
)
from switch.acquirers.sibling_stream import Mirrored, Sibling

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from switch.acquirers.sibling_messages import MatchKey, Said
    from switch.config import Handover
    from switch.ports import Closable, LocalTransport
    from switch.reference import Link

_log = structlog.get_logger(__name__)

OFFERS_MAX: Final = 1_024  # unknown answers that wait for the siblings' word
OFFER_S: Final = 1.0  # for that word
RETRY_MAX_S: Final = 1.0  # between tries to reach a sibling; it may be restarting


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
