"""What a worker does beside requests: its lease, fresh reference data, taking over the dead."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from switch.journal import Lost
from switch.recovery import recover

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from switch.config import Config
    from switch.engine import Engine, Log
    from switch.journal import Journal
    from switch.management import Management
    from switch.ports import Clock
    from switch.reference import ReferenceStore, Snapshot
    from switch.rows import Rows, Standing
    from switch.store_ports import Owners, Queue, Undecided

QUEUES_S = 1.0  # between looks how long the acquirers' queues are
UPLOADS_S = 10.0  # between looks for uploads that never ended


class ReferenceData:
    """The snapshot in force in this process. `on_change` is told of every newer one."""

    def __init__(
        self, store: ReferenceStore, on_change: Callable[[Snapshot], Awaitable[None]]
    ) -> None:
        self._store = store
        self._on_change = on_change
        self._snapshot: Snapshot | None = None
        self._followed = False
        self._reading = asyncio.Lock()

    def snapshot(self) -> Snapshot:
        assert self._snapshot is not None, "read before anything is served"
        return self._snapshot

    async def refresh(self) -> None:
        """Read again if the store's generation has grown."""
        async with self._reading:
            known = -1 if self._snapshot is None else self._snapshot.generation
            if await self._store.generation() != known or not self._followed:
                await self.reload_held()

    async def reload(self) -> Snapshot:
        async with self._reading:
            await self.reload_held()
        return self.snapshot()

    async def reload_held(self) -> None:
        self._snapshot = await self._store.snapshot()
        self._followed = False  # should that fail, the next round tries again
        await self._on_change(self._snapshot)
        self._followed = True


class Duties:
    """The loops of one worker. Each survives whatever goes wrong in one round, and logs it."""

    def __init__(
        self,
        config: Config,
        worker: int,
        *,
        owners: Owners,
        journal: Journal,
        queue: Queue,
        engine: Engine,
        management: Management,
        reference: ReferenceData,
        rows: Rows,
        standing: Standing,
        clock: Clock,
        log: Log,
    ) -> None:
        self._config = config
        self._worker = worker
        self._owners = owners
        self._journal = journal
        self._queue = queue
        self._engine = engine
        self._management = management
        self._reference = reference
        self._rows = rows
        self._standing = standing
        self._clock = clock
        self._log = log
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False

    async def register(self) -> None:
        """A new owner id; nothing is sent past its lease."""
        asked_ns = self._clock.monotonic_ns()
        owner_id = await self._owners.register(self._config.node, self._worker)
        # The store takes a new owner for one without numbers; ours go on in the block we hold.
        # Before that stands, no request may carry this owner: nobody would find it after a crash.
        await self._owners.renew(owner_id, self._engine.lowest_undecided)
        self._standing.owner_id = owner_id
        self._prolong(asked_ns)

    def start(self) -> None:
        engine = self._config.engine
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._every(period_s, duty))
            for period_s, duty in (
                (engine.lease_renew_s, self._renew),
                (engine.reference_poll_s, self._reference.refresh),
                (engine.takeover_s, self.take_over),
                (QUEUES_S, self._count_queues),
                (UPLOADS_S, self._management.expire_uploads),
            )
        ]

    def drain(self) -> None:
        """A lease that is lost from now on is not replaced: a successor may live already."""
        self._draining = True

    async def stop(self, *, drained: bool) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if drained:
            await self._owners.release(self._standing.owner_id)

    async def _every(self, period_s: float, duty: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(period_s)
            try:
                await duty()
            except Exception as error:  # noqa: BLE001 - the next round may succeed
                self._log.failed(error)

    async def _renew(self) -> None:
        """Prolong the lease; one that had expired is replaced: its requests are others' now."""
        asked_ns = self._clock.monotonic_ns()
        owner_id = self._standing.owner_id
        if await self._owners.renew(owner_id, self._engine.lowest_undecided):
            self._prolong(asked_ns)
        elif not self._draining:
            await self.register()

    async def _count_queues(self) -> None:
        """Which queues are at their bound: new requests to those acquirers are refused (P8)."""
        links = self._reference.snapshot().links.values()
        lengths = {link.acquirer: await self._queue.open_items(link.acquirer) for link in links}
        self._standing.full = frozenset(
            link.acquirer for link in links if lengths[link.acquirer] >= link.queue_max
        )

    def _prolong(self, asked_ns: int) -> None:
        """Counted from before the store was asked, less the time a send may take."""
        engine = self._config.engine
        until_ns = asked_ns + int((engine.lease_s - engine.send_by_s / 2) * 1e9)
        self._standing.until_ns = max(self._standing.until_ns, until_ns)

    async def take_over(self, *, at_start: bool = False) -> None:
        """Decide what dead owners left undecided, each by its type's rule, and what failed here."""
        await self._decide_abandoned()
        found = await self._owners.take_over(
            self._standing.owner_id, self._config.node, self._worker, at_start=at_start
        )
        decided = [each.request.request_id for each in found if await self._decide(each)]
        if decided:
            await self._owners.recovered(self._standing.owner_id, decided)

    async def _decide_abandoned(self) -> None:
        for undecided in self._engine.abandoned:
            if await self._decide(undecided):
                self._engine.decided(undecided.request.request_id)

    async def _decide(self, undecided: Undecided) -> bool:
        """Give it an outcome; False: the next round may."""
        try:
            commit = recover(
                undecided, self._rows.identity, self._clock.now(), self._engine.longest_timer_s()
            )
            if commit is None:
                return False  # no numbers for its reversal yet
            verdict = await self._journal.commit(commit)
        except Exception as error:  # noqa: BLE001 - one that can not be decided holds up no other
            self._log.failed(error)
            return False
        if not isinstance(verdict, Lost):
            self._log.recovered(undecided)
        return True
