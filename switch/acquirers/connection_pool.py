"""A link's connections in this process, and which of them a message takes.

A connection is kept open for each slot that the process holds (`switch/slots.py`). Where it has none
that takes bytes, those of its siblings do (`hand_over.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from switch import network_management as management
from switch.acquirers.link_connection import Connection, SlotCounters
from switch.acquirers.sibling_stream import Mirrored
from switch.bounded import remember
from switch.network_management import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iso8583.message import Message
    from switch.acquirers.hand_over import HandOver
    from switch.acquirers.in_flight import InFlight, MatchKey
    from switch.acquirers.link_connection import Owner
    from switch.acquirers.reach import Reach
    from switch.slots import Slot, SlotSource

_log = structlog.get_logger(__name__)

CLOSED_MAX: Final = 1_024  # connections of which it is known when they closed
RECONNECT_MAX_S: Final = 30.0
AGAIN_S: Final = 0.02  # before we wait again for a bank that connects to us
SIGN_OFF_S: Final = 2.0  # for the answers to it, when we leave
DOUBTED: Final = 1 << 30  # more than can wait
LOOK_S: Final = 0.05  # between looks whether what is in flight has ended
RETIRE_S: Final = 0.25  # until siblings have heard that a connection takes nothing more

Way = TypeVar("Way", Connection, Mirrored)


class ConnectionPool:
    """`owner` is the link; `slots` says how many of `Link.max_connections` are this process'; `reach`
    gives a keeper its way to a connection."""

    def __init__(
        self,
        owner: Owner,
        *,
        slots: SlotSource,
        reach: Callable[[], Reach],
        in_flight: InFlight,
        hand_over: HandOver,
    ) -> None:
        self.ready: list[Connection] = []  # signed on and not retiring
        self.draining = False
        self._owner = owner
        self._slots = slots
        self._reach = reach
        self._in_flight = in_flight
        self._hand_over = hand_over
        self._given_up: dict[int, Slot] = {}  # by the connection that has yet to close
        self._keepers: list[asyncio.Task[None]] = []
        self._serial = 0
        self._open: dict[int, Connection] = {}
        self._turn = 0
        self._closed_at: OrderedDict[int, float] = OrderedDict()
        self._slot_counters: dict[int, SlotCounters] = {}  # bounded by what the bank grants

    # -- which of them ------------------------------------------------------------------------

    def way(self, followed: int | None, bound: int = 0) -> Connection | Mirrored | None:
        """Behind its original if `followed` names the connection that it left on (rules §8); else
        of those that are signed on and take bytes the one on which fewest messages wait, in turn; one
        that is doubted, and the siblings', only if need be. `bound`: none with so many, 0: any."""
        if followed is not None:
            ways: list[Connection | Mirrored] = [*self.ready, *self._hand_over.mirrored.values()]
            for way in ways:
                if way.serial == followed and way.writable:
                    return way
        return self._round(self.ready, bound) or self._round(
            list(self._hand_over.mirrored.values()), bound
        )

    def _round(self, ready: Sequence[Way], bound: int) -> Way | None:
        """One that stands still soon has most that waits, and so gets little."""
        best: Way | None = None
        least, count = 0, len(ready)
        for _ in range(count):
            self._turn = turn = (self._turn + 1) % count
            way = ready[turn]
            load = way.waiting
            if not way.writable or (bound and load >= bound):
                continue
            if way.doubted:
                load += DOUBTED
            if not load:
                return way
            if best is None or load < least:
                best, least = way, load
        return best

    def own(self) -> Connection | None:
        """One of this process's that is signed on and takes bytes."""
        return self._round(self.ready, 0)

    def may_overtake(self, key: MatchKey, serial: int, first_seen_s: float) -> bool:
        """Could a 0420 that leaves now on connection `serial` arrive before its original (rules §8)?

        Where the original's connection is not known (another process, long ago, or so many have
        closed since), its echoes have closed it or shown that it flows within a known time.
        """
        used = self._in_flight.sent_on.get(key)
        if used == serial:
            return False
        if used in self._open or used in self._hand_over.mirrored:
            return True
        link = self._owner.link
        now_s = asyncio.get_running_loop().time()
        closed_at_s = None if used is None else self._closed_at.get(used)
        if closed_at_s is None:
            known_s = link.echo_idle_s + management.MISSES_MAX * link.timeout_s
            return now_s < first_seen_s + known_s + link.reversal_unknown_after_s
        return now_s < closed_at_s + link.reversal_unknown_after_s

    def get(self, serial: int) -> Connection | None:
        """One that is open."""
        return self._open.get(serial)

    def asked_on(self, answer: Message) -> Connection | None:
        """The open connection that asked what this answers."""
        return next((one for one in self._open.values() if one.asks(answer)), None)

    def states(self) -> list[tuple[int, bool]]:
        """Those that are open: serial, and whether requests may go out on it."""
        usable = [] if self.draining else [connection.serial for connection in self.ready]
        return [(serial, serial in usable) for serial in self._open]

    # -- kept open ------------------------------------------------------------------------------

    def keep(self) -> None:
        """One keeper for each connection that the bank grants; more where it grants more."""
        loop = asyncio.get_running_loop()
        name = self._owner.name
        self._keepers += [
            loop.create_task(self._keep_connected(), name=f"link {name} {number}")
            for number in range(len(self._keepers), self._owner.link.max_connections)
        ]

    async def _keep_connected(self) -> None:
        while not self.draining:
            await self._use(await self._slots.take())

    async def _use(self, slot: Slot) -> None:
        """One connection for as long as the slot is ours: connect, wait until it is lost, pause, again."""
        reach = self._reach()
        first_s = self._owner.link.reconnect_s if reach.backs_off else AGAIN_S
        pause_s = first_s
        connection: Connection | None = None
        try:
            while not (self.draining or slot.ended.is_set()):
                self._serial += 1
                connection = slot.user = reach.connection(self._serial, slot.number)
                if await reach.open(connection):
                    await connection.closed.wait()
                    if connection.was_ready:
                        pause_s = first_s
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await slot.ended.wait()
                if reach.backs_off:
                    pause_s = min(pause_s * 2, RECONNECT_MAX_S)
        finally:
            if connection is not None and connection.opened and not connection.closed.is_set():
                self._given_up[connection.serial] = slot
            else:
                self._slots.give_back(slot)
            reach.close()

    def slot_counters(self, slot: int) -> SlotCounters:
        """What happened there since this process started."""
        return self._slot_counters.setdefault(slot, SlotCounters())

    def slots(self) -> list[tuple[int, SlotCounters, int]]:
        """Every slot that this process has had: what happened there, what waits there now."""
        waiting: dict[int, int] = {}
        for connection in self._open.values():
            waiting[connection.slot] = waiting.get(connection.slot, 0) + connection.waiting
        return [
            (slot, counters, waiting.get(slot, 0))
            for slot, counters in sorted(self._slot_counters.items())
        ]

    def opened(self, connection: Connection) -> None:
        connection.counters.opened += 1
        self._owner.counters.connections_opened += 1
        self._open[connection.serial] = connection
        self._announce(connection, usable=False)

    def usable(self, connection: Connection, *, usable: bool) -> None:
        self.ready = [other for other in self.ready if other is not connection]
        usable = usable and not connection.retiring
        if usable:
            self.ready.append(connection)
        self._announce(connection, usable=usable)
        _log.info(
            "link_signed_on" if usable else "link_not_ready",
            acquirer=self._owner.name,
            connection=connection.serial,
            ready=len(self.ready),
        )

    def _announce(self, connection: Connection, *, usable: bool) -> None:
        usable = usable and not self.draining
        self._hand_over.announce(connection.serial, is_open=True, usable=usable)

    def lost(self, connection: Connection) -> None:
        self._owner.counters.connections_lost += 1
        connection.counters.lost += 1
        self._open.pop(connection.serial, None)
        now_s = asyncio.get_running_loop().time()
        remember(self._closed_at, connection.serial, now_s, CLOSED_MAX)
        if (slot := self._given_up.pop(connection.serial, None)) is not None:
            self._slots.give_back(slot)
        self._hand_over.announce(connection.serial, is_open=False, usable=False)

    # -- the siblings' --------------------------------------------------------------------------

    def mirror(self, connection: Mirrored) -> None:
        self._hand_over.mirrored[connection.serial] = connection

    def mirror_lost(self, connection: Mirrored, *, for_certain: bool) -> None:
        """Where only its owner is out of reach it may live on: until its echoes have closed it."""
        self._hand_over.mirrored.pop(connection.serial, None)
        closed_at_s = asyncio.get_running_loop().time()
        if not for_certain:
            link = self._owner.link
            closed_at_s += link.echo_idle_s + management.MISSES_MAX * link.timeout_s
        remember(self._closed_at, connection.serial, closed_at_s, CLOSED_MAX)

    # -- given up -------------------------------------------------------------------------------

    def retire(self, connection: Connection) -> None:
        """Others may have this one: what is in flight on it is answered, then it signs off."""
        if not connection.retiring:
            connection.retiring = True
            self.usable(connection, usable=False)
            self._owner.spawn(self._retire(connection))

    async def _retire(self, connection: Connection) -> None:
        timeout_s = self._owner.link.timeout_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(RETIRE_S)
                while self._awaited_on(connection.serial):  # noqa: ASYNC110 - ends by their timer
                    await asyncio.sleep(LOOK_S)
        connection.tell(Event.DRAIN)
        try:
            async with asyncio.timeout(timeout_s):
                await connection.closed.wait()
        except TimeoutError:
            connection.abort()

    def _awaited_on(self, serial: int) -> bool:
        """Is an answer to what left on this connection still awaited?"""
        return self._in_flight.on(serial) or self._hand_over.awaited(serial)

    def drain(self) -> None:
        """Take nothing new; siblings hear of it."""
        self.draining = True
        for serial, usable in self.states():
            self._hand_over.announce(serial, is_open=True, usable=usable)

    async def sign_off(self, timeout_s: float) -> None:
        """On all of them, and wait for the answers."""
        for keeper in self._keepers:
            keeper.cancel()
        connections = list(self._open.values())
        for connection in connections:
            connection.tell(Event.DRAIN)
        try:
            async with asyncio.timeout(min(timeout_s, SIGN_OFF_S)):
                for connection in connections:
                    await connection.closed.wait()
        except TimeoutError:
            pass

    def stop(self) -> list[asyncio.Task[None]]:
        """Close all of them now; the tasks that are ending."""
        self.draining = True
        for keeper in self._keepers:
            keeper.cancel()
        for connection in list(self._open.values()):
            connection.abort()
        return self._keepers
