"""What a worker does beside requests, over the in-memory store: its lease, and taking over the dead."""

from __future__ import annotations

import asyncio
from typing import Any

from switch.adapters.memory import MemoryStore
from switch.config import Config
from switch.duties import Duties
from switch.rows import Standing
from tests.contract.worlds import StepClock


class Desk:
    """One worker's duties without the rest of it."""

    lowest_undecided = 1

    def __init__(self) -> None:
        self.clock = StepClock()
        self.store = MemoryStore(self.clock)
        self.standing = Standing()
        self.errors: list[BaseException] = []
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
            rows=nobody,
            standing=self.standing,
            clock=self.clock,
            log=stand_in,
        )

    def failed(self, error: BaseException) -> None:
        self.errors.append(error)

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
