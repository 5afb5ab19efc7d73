"""Slots among processes on one store, in virtual time.

Goal: a bank never sees more connections than it grants while every lease is kept, every living process
comes to its share within seconds, and what a dead or paused one held is taken over. Method: processes
with `Slots` and keepers that open and close counted connections; leases renewed, or not, as duties do.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st
from structlog.testing import capture_logs

from switch.adapters.memory import MemoryStore
from switch.journal import StoreDownError
from switch.rows import Standing
from switch.slots import Slots
from switch.spread import AFTER_S, FOR_S, PAUSE_S
from switch.virtual.loop import run_virtual
from tests.switch.acquirers.wire import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from switch.slots import Slot

ACQUIRER = "bank_a"
LEASE_S, SPARE_S = 5.0, 1.0  # a process counts its lease as over so much earlier


class Bank:
    """Counts connections. `closing_s`: how long one takes that ends without hurry."""

    def __init__(self, granted: int, closing_s: float = 0.3) -> None:
        self.granted = granted
        self.closing_s = closing_s
        self.open: dict[Connection, None] = {}
        self.most = 0

    async def connects_to(self, process: Process, slot: Slot) -> None:
        """Return when there is one for the slot, or it has ended: at once, it is we who connect."""

    def held_by(self, process: Process) -> int:
        return sum(connection.process is process for connection in self.open)


class Caller(Bank):
    """It connects to us, and makes no more than `made`; not to those in `unknown`."""

    def __init__(self, granted: int, made: int) -> None:
        super().__init__(granted)
        self.made = made
        self.unknown: list[Process] = []

    async def connects_to(self, process: Process, slot: Slot) -> None:
        while not slot.ended.is_set() and (  # noqa: ASYNC110 - three parties change it
            len(self.open) >= self.made or process.slots.holds_back or process in self.unknown
        ):
            await asyncio.sleep(0.1)


class Connection:
    def __init__(self, process: Process) -> None:
        self.process = process
        self.closed = asyncio.Event()
        bank = process.bank
        bank.open[self] = None
        bank.most = max(bank.most, len(bank.open))

    @property
    def signed_on(self) -> bool:
        return True

    @property
    def stands(self) -> bool:
        return not self.closed.is_set()

    def end(self, *, at_once: bool) -> None:
        if self.process.stopped:
            return  # it does nothing, and the kernel keeps its connections
        if at_once:
            self.close()
        else:
            asyncio.get_running_loop().call_later(self.process.bank.closing_s, self.close)

    def close(self) -> None:
        self.process.bank.open.pop(self, None)
        self.closed.set()


class Process:
    """A worker: an owner's lease, slots, and a keeper for each connection there may be."""

    def __init__(self, store: MemoryStore, bank: Bank, node: str, worker: int = 0) -> None:
        self.bank = bank
        self.stopped = False
        self.cut_off = False  # from the store
        self.standing = Standing()
        self._store = store
        self._name = node, worker
        owners: Any = self
        self.slots = Slots(
            ACQUIRER,
            owners=owners,
            clock=VirtualClock(),
            standing=self.standing,
            period_s=1.0,
        )
        self.slots.granted = bank.granted
        self._tasks: list[asyncio.Task[None]] = []

    async def hold_slots(self, *asked: Any) -> Any:
        """`Owners.hold_slots`, over a wire that may be cut."""
        await asyncio.sleep(0.01)
        if self.cut_off or self.stopped:
            raise StoreDownError("cut off")
        held = await self._store.owners.hold_slots(*asked)
        await asyncio.sleep(0.01)
        return held

    async def tell_connected(self, *told: Any) -> Any:
        await asyncio.sleep(0.01)
        return await self._store.owners.tell_connected(*told)

    async def start(self) -> None:
        await self._register()
        self.slots.start()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._renew())]
        self._tasks += [loop.create_task(self._keep()) for _ in range(self.bank.granted)]

    async def _register(self) -> None:
        self.standing.owner_id = await self._store.owners.register(*self._name)
        self._prolong()

    def _prolong(self) -> None:
        self.standing.until_ns = VirtualClock().monotonic_ns() + int((LEASE_S - SPARE_S) * 1e9)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if self.cut_off or self.stopped:
                continue
            if await self._store.owners.renew(self.standing.owner_id, 1):
                self._prolong()
            else:
                await self._register()

    async def _keep(self) -> None:
        while True:
            slot: Slot = await self.slots.take()
            await self.bank.connects_to(self, slot)
            if not slot.ended.is_set():
                connection = slot.user = Connection(self)
                await connection.closed.wait()
            self.slots.give_back(slot)

    def kill(self) -> None:
        """Its connections close with it; its lease runs out by itself."""
        for task in (*self._tasks, *self.slots._tasks):
            task.cancel()
        for connection in list(self.bank.open):
            if connection.process is self:
                connection.close()

    async def drain(self) -> None:
        self.kill()
        await self.slots.stop()
        await self._store.owners.release(self.standing.owner_id)


def tell(story: Callable[[MemoryStore], Awaitable[None]]) -> None:
    async def main() -> None:
        await story(MemoryStore(VirtualClock()))

    with capture_logs():
        run_virtual(main())


async def started(*processes: Process) -> None:
    for process in processes:
        await process.start()
    await asyncio.sleep(5)


def test_two_nodes_share_and_one_takes_over_what_the_other_leaves() -> None:
    async def story(store: MemoryStore) -> None:
        bank = Bank(3)
        one, other = Process(store, bank, "a"), Process(store, bank, "b")
        await started(one)
        assert bank.held_by(one) == 3
        await started(other)
        assert (bank.held_by(one), bank.held_by(other)) == (2, 1)
        one.kill()
        await asyncio.sleep(LEASE_S + 1.5)
        assert bank.held_by(other) == 3
        again = Process(store, bank, "a")
        await started(again)
        assert (bank.held_by(again), bank.held_by(other)) == (1, 2)
        await other.drain()
        await asyncio.sleep(1.5)
        assert bank.held_by(again) == 3
        assert bank.most == 3

    tell(story)


def test_who_is_cut_off_from_the_store_closes_before_its_lease_ends() -> None:
    async def story(store: MemoryStore) -> None:
        bank = Bank(2)
        one, other = Process(store, bank, "a"), Process(store, bank, "b")
        await started(one, other)
        one.cut_off = True
        await asyncio.sleep(LEASE_S - SPARE_S + 0.1)
        assert bank.held_by(one) == 0
        await asyncio.sleep(2 * SPARE_S)
        assert bank.held_by(other) == 2
        one.cut_off = False
        await asyncio.sleep(5)
        assert (bank.held_by(one), bank.held_by(other)) == (1, 1)
        assert bank.most == 2

    tell(story)


def test_with_the_store_away_for_all_everybody_comes_back_to_its_share() -> None:
    async def story(store: MemoryStore) -> None:
        bank = Bank(4)
        processes = [Process(store, bank, node, worker) for node in "ab" for worker in range(2)]
        await started(*processes)
        for away_s in (2.0, 30.0):
            for process in processes:
                process.cut_off = True
            await asyncio.sleep(away_s)
            assert len(bank.open) == (4 if away_s < LEASE_S - SPARE_S else 0)
            for process in processes:
                process.cut_off = False
            await asyncio.sleep(6)
            assert [bank.held_by(process) for process in processes] == [1, 1, 1, 1]
        assert bank.most == 4

    tell(story)


def test_only_a_paused_process_leaves_more_open_and_only_until_it_wakes() -> None:
    """Nobody can close another machine's connections: its kernel keeps them while it stands still."""

    async def story(store: MemoryStore) -> None:
        bank = Bank(2)
        one, other = Process(store, bank, "a"), Process(store, bank, "b")
        await started(one, other)
        one.stopped = True
        await asyncio.sleep(20)
        assert (bank.held_by(one), bank.held_by(other)) == (1, 2)
        one.stopped = False
        for connection in list(bank.open):  # what its watch does first, on waking
            if connection.process is one:
                connection.close()
        await asyncio.sleep(6)
        assert (bank.held_by(one), bank.held_by(other)) == (1, 1)

    tell(story)


def test_workers_of_a_node_do_not_pass_its_last_connection_round() -> None:
    async def story(store: MemoryStore) -> None:
        bank = Bank(1)
        first = Process(store, bank, "a", 0)
        await started(first)
        second = Process(store, bank, "a", 1)
        await started(second)
        first.kill()
        await asyncio.sleep(7)
        assert bank.held_by(second) == 1
        again = Process(store, bank, "a", 0)
        await started(again)
        assert (bank.held_by(again), bank.held_by(second)) == (0, 1)

    tell(story)


@pytest.mark.parametrize("granted", [1, 3])
def test_a_bank_that_grants_fewer_or_more(granted: int) -> None:
    async def story(store: MemoryStore) -> None:
        bank = Bank(2)
        one, other = Process(store, bank, "a"), Process(store, bank, "b")
        bank.granted = 3  # keepers for as many
        await started(one, other)
        for process in (one, other):
            process.slots.granted = granted
        await asyncio.sleep(5)
        assert len(bank.open) == granted

    tell(story)


def test_a_bank_that_connects_comes_back_to_the_node_that_is_back() -> None:
    """It makes two connections and may have three: slots alone would leave both where they are."""

    async def story(store: MemoryStore) -> None:
        bank = Caller(granted=3, made=2)
        one, other = Process(store, bank, "a"), Process(store, bank, "b")
        for process in (one, other):
            process.slots.incoming = True
        bank.unknown = [other]
        await started(one, other)
        assert (bank.held_by(one), bank.held_by(other)) == (2, 0)
        await asyncio.sleep(FOR_S + 5.0)
        assert (bank.held_by(one), bank.held_by(other)) == (2, 0), "it knows no other address"
        bank.unknown = []
        await asyncio.sleep(PAUSE_S + 10.0)
        assert (bank.held_by(one), bank.held_by(other)) == (1, 1)
        one.kill()
        await asyncio.sleep(LEASE_S + 2.0)
        assert bank.held_by(other) == 2
        again = Process(store, bank, "a")
        again.slots.incoming = True
        await started(again)
        await asyncio.sleep(AFTER_S + 2.0)
        assert (bank.held_by(again), bank.held_by(other)) == (1, 1)

    tell(story)


def test_a_worker_that_let_a_connection_go_does_not_take_it_back() -> None:
    """Each worker of one node has a connection; the other node has none."""

    async def story(store: MemoryStore) -> None:
        bank = Caller(granted=4, made=2)
        one, two = Process(store, bank, "a", 0), Process(store, bank, "a", 1)
        other = Process(store, bank, "b")
        for process in (one, two, other):
            process.slots.incoming = True
        bank.unknown = [other]
        await started(one, two, other)
        assert [bank.held_by(process) for process in (one, two, other)] == [1, 1, 0]
        await asyncio.sleep(AFTER_S + 5.0)
        assert bank.held_by(one) + bank.held_by(two) == 1, "none comes back within `FOR_S`"
        bank.unknown = []
        await asyncio.sleep(1.0)
        assert bank.held_by(one) + bank.held_by(two) == bank.held_by(other) == 1

    tell(story)


@settings(max_examples=40, deadline=None)
@given(
    granted=st.integers(1, 5),
    events=st.lists(
        st.tuples(
            st.sampled_from(["kill", "drain", "cut", "drop", "wait"]),
            st.integers(0, 4),
            st.floats(0.05, 12.0),
        ),
        max_size=25,
    ),
)
def test_never_more_than_granted_whoever_comes_and_goes(
    granted: int, events: list[tuple[str, int, float]]
) -> None:
    async def story(store: MemoryStore) -> None:
        bank = Bank(granted)
        places = [("a", 0), ("a", 1), ("b", 0), ("c", 0), ("c", 1)]
        living = [Process(store, bank, *place) for place in places]
        for process in living:
            await process.start()
        for what, at, wait_s in events:
            process = living[at]
            if what in ("kill", "drain"):
                if what == "kill":
                    process.kill()
                else:
                    await process.drain()
                living[at] = Process(store, bank, *places[at])
                await living[at].start()
            elif what == "cut":
                process.cut_off = not process.cut_off
            elif what == "drop":
                for connection in list(bank.open):
                    if connection.process is process:
                        connection.close()
            await asyncio.sleep(wait_s)
        for process in living:
            process.cut_off = False
        await asyncio.sleep(20)
        assert bank.most <= granted
        assert len(bank.open) == granted, "all that is granted is used"
        nodes = [sum(bank.held_by(living[at]) for at in of) for of in ((0, 1), (2,), (3, 4))]
        assert max(nodes) - min(nodes) <= 1

    tell(story)
