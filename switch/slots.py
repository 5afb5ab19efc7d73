"""Who may have how many connections to a bank: the slots of a link, cluster-wide.

Theory of operation. A bank grants a link so many connections (`Link.max_connections`), whatever the
nodes. Each is a slot in the store: free, or one owner's for as long as that owner's lease lives. A
process holds slots up to its share (`shares`) and asks every second whether that has changed. Whoever
keeps a connection takes a slot first and gives it back when the connection has closed.

A process with more than its share ends one connection after the other without hurry: what is in
flight on it is answered first. A process whose lease ends closes its connections at once, by its own
monotonic clock and so before the store gives the slots to others; what is in flight on them is
others' to decide by then.

Where the bank connects to us, slots alone do not say which node it goes to: `switch/spread.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import structlog

from switch.journal import StoreDownError
from switch.rounds import rounds
from switch.spread import Spread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from switch.ports import Clock
    from switch.rows import Standing
    from switch.store_ports import Held, Owners

_log = structlog.get_logger(__name__)

SHORT_S: Final = 0.2  # between looks for free slots while we hold fewer than our share
WATCH_S: Final = 0.1  # between looks for a new lease, once one has ended

Who = TypeVar("Who", str, int)


def shares(granted: int, living: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    """How many slots each worker should hold; `living`: (node, worker) → how many it does.

    Even among the nodes, and in a node among its workers, which use each other's connections. What
    does not divide goes to those who hold most, so that nothing moves without need.

    >>> shares(5, {("a", 0): 0, ("a", 1): 0, ("b", 0): 4})
    {('a', 0): 1, ('a', 1): 1, ('b', 0): 3}
    """
    nodes: dict[str, dict[int, int]] = {}
    for (node, worker), held in living.items():
        nodes.setdefault(node, {})[worker] = held
    of_nodes = _divide(granted, {node: sum(held.values()) for node, held in nodes.items()})
    return {
        (node, worker): share
        for node, held in nodes.items()
        for worker, share in _divide(of_nodes[node], held).items()
    }


def _divide(granted: int, held: Mapping[Who, int]) -> dict[Who, int]:
    ranked = sorted(held, key=lambda who: (-held[who], who))
    whole, rest = divmod(granted, len(ranked))
    return {who: whole + (rank < rest) for rank, who in enumerate(ranked)}


class User(Protocol):
    """A connection as its slot knows it."""

    @property
    def signed_on(self) -> bool: ...

    @property
    def stands(self) -> bool:
        """The connection is made, and has not closed."""
        ...

    def end(self, *, at_once: bool) -> None:
        """Close: at once, or when what is in flight has been answered."""
        ...


class Slot:
    """The right to one connection, until it has `ended`."""

    __slots__ = ("ended", "lost", "number", "user")

    def __init__(self, number: int) -> None:
        self.number = number
        self.ended = asyncio.Event()
        self.lost = False  # it is ours no more, in the store either
        self.user: User | None = None

    @property
    def connected(self) -> bool:
        return self.user is not None and self.user.stands

    def end(self, *, at_once: bool) -> None:
        self.ended.set()
        self.lost = self.lost or at_once
        if self.user is not None:
            self.user.end(at_once=at_once)


class SlotSource(Protocol):
    """What a link needs of its slots."""

    @property
    def holds_back(self) -> bool:
        """No further connection of the bank's is taken now: one of its own must go elsewhere."""
        ...

    async def take(self) -> Slot:
        """Wait for a free one."""
        ...

    def give_back(self, slot: Slot) -> None:
        """Its connection has closed."""
        ...


class Slots:
    """The slots of one link in this process. `granted`: by the bank; it may change, as may `incoming`:
    whether it is the bank who connects."""

    def __init__(
        self,
        acquirer: str,
        *,
        owners: Owners,
        clock: Clock,
        standing: Standing,
        period_s: float,
    ) -> None:
        self.granted = 0
        self.incoming = False
        self._acquirer = acquirer
        self._owners = owners
        self._clock = clock
        self._standing = standing
        self._period_s = period_s
        self._owner_id = 0  # under which `_free` and `_used` are held
        self._free: list[Slot] = []
        self._used: dict[int, Slot] = {}
        self._told: Held | None = None
        self._spread = Spread()
        self._freed = asyncio.Event()
        self._nudged = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # -- for the keepers of connections ---------------------------------------------------------

    @property
    def holds_back(self) -> bool:
        return self.incoming and self._spread.holds_back

    async def take(self) -> Slot:
        while not self._free:
            self._freed.clear()
            await self._freed.wait()
        slot = self._free.pop(0)
        self._used[slot.number] = slot
        return slot

    def give_back(self, slot: Slot) -> None:
        del self._used[slot.number]
        if slot.ended.is_set():
            self._nudged.set()  # others wait for it
            return
        slot.user = None
        self._free.append(slot)
        self._freed.set()

    # -- with the store -------------------------------------------------------------------------

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        looks = rounds(
            self._round, "slots", self._acquirer, pause_s=self._pause_s, nudged=self._nudged
        )
        self._tasks = [
            loop.create_task(work, name=f"slots {self._acquirer}")
            for work in (looks, self._watch())
        ]

    async def stop(self) -> None:
        """Give everything back; the connections have closed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(StoreDownError):  # then they are free when our lease has ended
            await self._owners.hold_slots(self._standing.owner_id, self._acquirer, 0, ())

    def _pause_s(self) -> float:
        told = self._told
        short = told is not None and len(told.slots) < told.share
        return SHORT_S if short else self._period_s

    async def _round(self) -> None:
        owner_id = self._standing.owner_id
        if owner_id != self._owner_id:
            self._lose()
            self._owner_id = owner_id
        if self._left_s() <= 0:
            return
        used = [slot.number for slot in self._used.values() if not slot.lost]
        keep = [*used, *(slot.number for slot in self._free)]
        held = await self._owners.hold_slots(owner_id, self._acquirer, self.granted, keep)
        if owner_id == self._standing.owner_id and self._left_s() > 0:
            self._take_up(held)
            if self.incoming:
                await self._spread_out(owner_id, held)

    def _take_up(self, held: Held) -> None:
        if held != self._told:
            self._told = held
            _log.info("link_slots", acquirer=self._acquirer, slots=held.slots, share=held.share)
        for slot in list(self._used.values()):
            if slot.number not in held.slots and not slot.lost:
                slot.end(at_once=True)
        self._free = [slot for slot in self._free if slot.number in held.slots]
        known = {*self._used, *(slot.number for slot in self._free)}
        self._free += [Slot(number) for number in held.slots if number not in known]
        in_use = [slot for slot in self._used.values() if not slot.ended.is_set()]
        surplus = len(self._free) + len(in_use) - held.share
        while surplus > 0 and self._free:
            self._free.pop()
            surplus -= 1
            self._nudged.set()
        in_use.sort(key=lambda slot: slot.user is not None and slot.user.signed_on, reverse=True)
        for slot in in_use[::-1][: max(surplus, 0)]:  # what carries nothing first, then the newest
            slot.end(at_once=False)
        if self._free:
            self._freed.set()

    async def _spread_out(self, owner_id: int, held: Held) -> None:
        connected = [number for number, slot in self._used.items() if slot.connected]
        slots = await self._owners.tell_connected(owner_id, self._acquirer, connected)
        number = self._spread.look(asyncio.get_running_loop().time(), slots, held.slots)
        slot = None if number is None else self._used.get(number)
        if slot is not None:
            _log.info("link_connection_let_go", acquirer=self._acquirer, slot=slot.number)
            slot.end(at_once=False)

    async def _watch(self) -> None:
        while True:
            left_s = self._left_s()
            if left_s <= 0:
                self._lose()
            await asyncio.sleep(left_s if left_s > 0 else WATCH_S)

    def _left_s(self) -> float:
        return (self._standing.until_ns - self._clock.monotonic_ns()) / 1e9

    def _lose(self) -> None:
        self._free.clear()
        for slot in list(self._used.values()):
            if not slot.lost:
                _log.warning("link_slot_lost", acquirer=self._acquirer, slot=slot.number)
                slot.end(at_once=True)
