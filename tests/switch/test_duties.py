"""What a worker does beside requests, over the in-memory store: its lease, and taking over the dead."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from switch.adapters.memory import MemoryStore
from switch.config import Config
from switch.duties import Duties, ReferenceData
from switch.journal import Commit, OutcomeState, RowRefusedError, Verdict
from switch.reference import Link
from switch.reversal import WireIdentity
from switch.rows import Standing
from tests.contract.worlds import (
    ACQUIRER,
    StepClock,
    approve,
    attempt,
    key,
    look,
    request,
    reverse,
    stored,
)

if TYPE_CHECKING:
    from switch.reference import Snapshot
    from switch.store_ports import Undecided


class Desk:
    """One worker's duties without the rest of it."""

    lowest_undecided = 1
    abandoned: tuple[Undecided, ...] = ()

    def __init__(self) -> None:
        self.clock = StepClock()
        self.store = MemoryStore(self.clock)
        self.standing = Standing()
        self.errors: list[BaseException] = []
        self.numbers = 0
        nobody: Any = None
        stand_in: Any = self
        self.duties = Duties(
            Config(),
            0,
            owners=self.store.owners,
            journal=self.store.journal,
            queue=self.store.queue,
            engine=stand_in,
            management=nobody,
            reference=nobody,
            rows=stand_in,
            standing=self.standing,
            clock=self.clock,
            log=stand_in,
        )

    def failed(self, error: BaseException) -> None:
        self.errors.append(error)

    def noted(self, event: str) -> None: ...

    def recovered(self, undecided: Undecided) -> None:
        """Told of every one."""

    def identity(self, acquirer: str) -> WireIdentity | None:
        self.numbers += 1
        return WireIdentity(1_000 + self.numbers, f"{self.numbers:06d}", "0304130700")

    def longest_timer_s(self) -> float:
        return 30.0

    def lose_lease(self) -> None:
        self.store.owner_rows[self.standing.owner_id].lease_until = self.clock.now()


def test_a_lost_lease_is_replaced() -> None:
    async def scenario() -> None:
        desk = Desk()
        await desk.duties.register()
        await desk.duties._renew()
        assert desk.standing.owner_id == 1
        desk.lose_lease()
        await desk.duties._renew()
        assert desk.standing.owner_id == 2

    asyncio.run(scenario())


def test_a_lost_lease_is_not_replaced_while_draining() -> None:
    """The successor has this worker's place by then; a newer owner would look like its next boot."""

    async def scenario() -> None:
        desk = Desk()
        await desk.duties.register()
        desk.duties.drain()
        await desk.duties._renew()
        desk.lose_lease()
        await desk.duties._renew()
        assert list(desk.store.owner_rows) == [1]
        await desk.duties.stop(drained=True)
        assert desk.store.owner_rows[1].closed

    asyncio.run(scenario())


async def nothing_follows(_snapshot: Snapshot) -> None: ...


def test_an_acquirer_whose_queue_is_at_its_bound_is_full_until_it_drains() -> None:
    async def scenario() -> None:
        desk = Desk()
        await approve(desk.store, 1)
        await approve(desk.store, 2)
        link = Link(acquirer=ACQUIRER, host="h", port=1, de32="1", queue_max=2)
        content = msgspec.to_builtins(link)
        await desk.store.reference.apply([("link", ACQUIRER, content)], maker="test")
        desk.duties._reference = ReferenceData(desk.store.reference, nothing_follows)
        await desk.duties._reference.reload()
        for each in (1, 2):
            await reverse(desk.store, key(each), 100 + each)
            await desk.duties._count_queues()
            assert desk.standing.full == (frozenset({ACQUIRER}) if each == 2 else frozenset())
        items = await desk.store.queue.due(ACQUIRER, 10, ())
        await desk.store.queue.finish(items[0], "00", None)
        await desk.duties._count_queues()
        assert desk.standing.full == frozenset()

    asyncio.run(scenario())


def test_one_request_that_the_store_refuses_holds_up_no_other() -> None:
    async def scenario() -> None:
        desk = Desk()
        dead = await desk.store.owners.register("node2", 0)
        for each in (1, 2, 3):
            row = request(each, owner_id=dead)
            stored(await desk.store.journal.commit(Commit(request=row, attempt=attempt(each))))
        desk.store.owner_rows[dead].lease_until = desk.clock.now()
        commit = desk.store.journal.commit

        async def refuse_one(what: Commit) -> Verdict:
            if what.outcome is not None and what.outcome.request_id == 1:
                raise RowRefusedError("outcome")
            return await commit(what)

        desk.store.journal.commit = refuse_one  # type: ignore[assignment,method-assign]
        await desk.duties.register()
        await desk.duties.take_over()
        assert [type(error) for error in desk.errors] == [RowRefusedError]
        for each in (2, 3):
            assert (await look(desk.store, each)).outcome.state is OutcomeState.UNKNOWN
        assert not desk.store.owner_rows[dead].closed

    asyncio.run(scenario())
