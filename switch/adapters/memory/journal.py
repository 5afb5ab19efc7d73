"""The durable record in memory: `journal.Journal` and `store_ports.Queue`."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from switch.adapters.memory.faults import LostAcknowledgementError
from switch.adapters.repeats import stored_outcome
from switch.at_once import told_of
from switch.journal import (
    AttemptRow,
    Commit,
    Duplicate,
    EndRow,
    FindById,
    FindByKey,
    FindCounted,
    Key,
    Lost,
    Scene,
    Stale,
    StoredOutcome,
    Verdict,
)
from switch.store_ports import HOLDS_MAX_S, Lease, QueueItem
from switch.transactions import TOMBSTONE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from switch.journal import Find, FindByReference, Judgement

if TYPE_CHECKING:
    from switch.adapters.memory import MemoryStore
    from switch.adapters.memory.facts import KeptRequest, OpenItem


HOLDS_MAX = dt.timedelta(seconds=HOLDS_MAX_S)
ORIGINALS_MAX = 32
DATE_SLACK = dt.timedelta(days=3)


class MemoryJournal:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def commit(self, commit: Commit) -> Verdict:
        return await self._store.store(commit)

    def submit(self, commit: Commit, told: Callable[[Verdict | Exception], None]) -> None:
        told_of(self.commit(commit), told)

    async def decide(
        self, find: Find, judge: Callable[[Scene], Judgement]
    ) -> tuple[Judgement, Verdict | None]:
        store = self._store
        commit_id = store.next_commit_id()
        decided: tuple[Judgement, Verdict | None] | None = None
        while True:
            try:
                await store.faults.before(None)
                if decided is None:
                    decided = self._decide(find, judge, commit_id)
                await store.faults.after(decided[0].commit)
            except LostAcknowledgementError:
                store.reruns += 1
            else:
                return decided

    def _decide(
        self, find: Find, judge: Callable[[Scene], Judgement], commit_id: int
    ) -> tuple[Judgement, Verdict | None]:
        store = self._store
        judgement = judge(
            Scene(
                business_date=store.today,
                generation=store.generation,
                originals=tuple(store.original(each) for each in self._locate(find)),
                counted=tuple(store.counted(each) for each in find.counts)
                if isinstance(find, FindCounted)
                else (),
            )
        )
        if judgement.commit is None:
            return judgement, None
        return judgement, store.apply(judgement.commit, commit_id)

    def _locate(self, find: Find) -> list[int]:
        store = self._store
        if isinstance(find, FindCounted):
            return [] if find.of is None else self._locate_by_reference(find.of)
        if isinstance(find, FindByKey):
            found = store.keys.get(find.key)
            return [] if found is None else [found.request_id]
        if isinstance(find, FindById):
            request = store.requests.get(find.request_id)
            if request is None or find.request_date not in (None, request.date):
                return []
            return [find.request_id]
        return self._locate_by_reference(find)

    def _locate_by_reference(self, find: FindByReference) -> list[int]:
        store = self._store
        if find.stan is None:
            candidates = store.by_merchant.get(find.merchant, [])
        else:
            candidates = store.by_stan.get((find.merchant, find.stan), [])
        named = [each for each in candidates if self._named(find, store.requests[each])]
        named.sort(key=lambda each: (store.requests[each].date, each), reverse=True)
        return named[:ORIGINALS_MAX]

    def _named(self, find: FindByReference, request: KeptRequest) -> bool:
        row = request.row
        if row.type == TOMBSTONE:
            return False
        outcome = self._store.outcomes.get(row.request_id)
        pairs: tuple[tuple[Any, Any], ...] = (
            (find.terminal, row.key.terminal),
            (find.batch, row.key.batch),
            (find.month_day, row.local_time[:4]),
            (find.pan_token, row.pan_token),
            (find.rrn, row.rrn),
            (find.auth_code, None if outcome is None else outcome.row.auth_code),
        )
        if any(wanted is not None and wanted != there for wanted, there in pairs):
            return False
        if find.types and row.type not in find.types:
            return False
        return find.month_day is None or self._near(find.month_day, request.date)

    def _near(self, month_day: str, date: dt.date) -> bool:
        """Of the newest year that the MMDD can mean."""
        today = self._store.today
        for year in range(today.year + 1, today.year - 8, -1):
            try:
                local = dt.date(year, int(month_day[:2]), int(month_day[2:]))
            except ValueError:
                continue
            if local <= today + DATE_SLACK:
                return abs(date - local) <= DATE_SLACK
        return False

    async def find_request(self, key: Key) -> Duplicate | None:
        await asyncio.sleep(0)
        return self._store.keys.get(key)

    async def stored_outcome(self, request_id: int, request_date: dt.date) -> StoredOutcome | None:
        await asyncio.sleep(0)
        request = self._store.requests.get(request_id)
        if request is None or request.date != request_date:
            return None
        return stored_outcome(self._store.original(request_id))

    async def find_attempt(
        self, acquirer: str, link_stan: str, transmission_time: str
    ) -> tuple[AttemptRow, dt.date] | None:
        await asyncio.sleep(0)
        for request in reversed(self._store.requests.values()):
            for attempt in request.attempts:
                if (attempt.acquirer, attempt.link_stan, attempt.transmission_time) == (
                    acquirer,
                    link_stan,
                    transmission_time,
                ):
                    return attempt, request.date
        return None

    async def find_queued(
        self, acquirer: str, link_stan: str, transmission_time: str
    ) -> int | None:
        await asyncio.sleep(0)
        for item in reversed(self._store.queue_items.values()):
            if (item.acquirer, item.link_stan, item.transmission_time) == (
                acquirer,
                link_stan,
                transmission_time,
            ):
                return item.request_id
        return None


class MemoryQueue:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def lease(self, acquirer: str, owner_id: int) -> Lease | None:
        store = self._store
        asked_s = store.clock.monotonic_ns() / 1e9
        await asyncio.sleep(0)
        now = store.clock.now()
        holder, epoch, until = store.acquirer_leases.get(acquirer, (owner_id, 0, now))
        if holder != owner_id and now < until <= now + HOLDS_MAX:
            return None
        if holder != owner_id or until <= now:
            epoch += 1
        store.acquirer_leases[acquirer] = (owner_id, epoch, now + store.lease)
        return Lease(epoch=epoch, until_s=asked_s + store.lease.total_seconds())

    async def due(self, acquirer: str, limit: int, exclude: Sequence[int]) -> list[QueueItem]:
        await asyncio.sleep(0)
        store = self._store
        now = store.clock.now()
        first: dict[int, int] = {}  # root → position of its oldest open item
        for item in store.queue_open.values():
            root = item.row.root_request_id
            first[root] = min(item.position, first.get(root, item.position))
        found = [
            self._item(item)
            for item in sorted(store.queue_open.values(), key=lambda each: each.position)
            if item.row.acquirer == acquirer
            and not now < item.not_before <= now + HOLDS_MAX
            and item.row.item_id not in exclude
            and first[item.row.root_request_id] == item.position
        ]
        return found[:limit]

    def _item(self, item: OpenItem) -> QueueItem:
        store = self._store
        reason = ""
        if item.row.kind == "reversal":
            for each in store.reversals.get(item.row.request_id, ()):
                if each.row.seq == item.row.seq:
                    reason = each.row.reason
        return QueueItem(
            row=item.row,
            original=store.original(item.row.request_id),
            reason=reason,
            tries=len(store.queue_sent.get(item.row.item_id, ())),
            age_s=(store.clock.now() - item.created_at).total_seconds(),
        )

    async def sent(self, item_id: int, attempt: int) -> None:
        await self._store.store(Commit(), sent=(item_id, attempt))

    async def finish(
        self, item: QueueItem, response_code: str, commit: Commit | None
    ) -> Verdict | None:
        end = EndRow(item.row.item_id, response_code)
        verdict = await self._store.store(msgspec.structs.replace(commit or Commit(), end=end))
        return verdict if commit is not None or isinstance(verdict, Lost | Stale) else None

    async def open_items(self, acquirer: str) -> int:
        await asyncio.sleep(0)
        return sum(item.row.acquirer == acquirer for item in self._store.queue_open.values())
