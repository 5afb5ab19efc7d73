"""The journal's ports in memory, for the simulation: same promises, virtual time, injected faults.

One `MemoryStore` is the database that all simulated processes share. It keeps facts as PostgreSQL
does and reads states from them. A commit is applied between two awaits, so it stands or does not:
a process that is cancelled before leaves nothing, after it leaves everything and learns nothing.

    class Slow(Faults):
        async def before(self, commit: Commit | None) -> None:
            await asyncio.sleep(0.002)

    store = MemoryStore(clock, faults=Slow())

Reading order: `facts.py` (what is kept, and the readings), `commits.py` (who wins), `journal.py`
(decisions), then the rest, each named as its counterpart in `switch/adapters/postgres/`.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from switch.adapters.memory.batches import MemoryBatches
from switch.adapters.memory.commits import apply
from switch.adapters.memory.downloads import MemoryDownloads
from switch.adapters.memory.facts import Facts
from switch.adapters.memory.faults import Faults, LostAcknowledgementError
from switch.adapters.memory.journal import MemoryJournal, MemoryQueue
from switch.adapters.memory.key_exchange import MemoryKeyExchanges
from switch.adapters.memory.link_facts import MemoryLinkFacts
from switch.adapters.memory.numbers import MemoryDays, MemoryNumbers, MemoryOwners
from switch.adapters.memory.people import MemoryPeople
from switch.adapters.memory.reference import MemoryReference
from switch.adapters.memory.risk import MemoryRisk

if TYPE_CHECKING:
    from switch.journal import Commit, Verdict
    from switch.ports import Clock

LEASE = dt.timedelta(seconds=5)


class MemoryStore(Facts):
    """All facts, and all ports onto them."""

    def __init__(
        self,
        clock: Clock,
        *,
        business_date: dt.date = dt.date(2026, 1, 5),
        faults: Faults | None = None,
        lease: dt.timedelta = LEASE,
    ) -> None:
        super().__init__(clock, business_date)
        self.lease = lease
        self.faults = Faults() if faults is None else faults
        self.people = MemoryPeople(clock)
        self.reruns = 0
        self._commit_count = 0

        self.journal = MemoryJournal(self)
        self.numbers = MemoryNumbers(self)
        self.owners = MemoryOwners(self)
        self.queue = MemoryQueue(self)
        self.batches = MemoryBatches(self)
        self.downloads = MemoryDownloads(self)
        self.days = MemoryDays(self)
        self.reference = MemoryReference(self)
        self.risk = MemoryRisk(self)
        self.link_facts = MemoryLinkFacts(self)
        self.key_exchanges = MemoryKeyExchanges(self)

    async def close(self) -> None:
        """Nothing is open."""

    def next_commit_id(self) -> int:
        self._commit_count += 1
        return self._commit_count

    async def store(
        self,
        commit: Commit,
        sent: tuple[int, int] | None = None,
    ) -> Verdict:
        """Apply one commit, again with the same id while its acknowledgement is lost."""
        commit_id = self.next_commit_id()
        while True:
            try:
                await self.faults.before(commit)
                verdict = self.apply(commit, commit_id, sent)
                await self.faults.after(commit)
            except LostAcknowledgementError:
                self.reruns += 1
            else:
                return verdict

    def apply(
        self,
        commit: Commit,
        commit_id: int,
        sent: tuple[int, int] | None = None,
    ) -> Verdict:
        return apply(self, commit, commit_id, sent)
