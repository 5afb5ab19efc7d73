"""The journal's ports in memory, for the simulation: same promises, virtual time, injected faults.

One `MemoryStore` is the database that all simulated processes share. It keeps facts as PostgreSQL
does and reads states from them. A commit is applied between two awaits, so it stands or does not:
a process that is cancelled before leaves nothing, after it leaves everything and learns nothing.

    class Slow(Faults):
        async def before(self, commit: Commit | None) -> None:
            await asyncio.sleep(0.002)

    store = MemoryStore(clock, faults=Slow())
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from switch.adapters.batch_sums import (
    CapturedItem,
    compare,
    counted,
    new_items,
    result_of,
    totals_of,
)
from switch.adapters.people_memory import MemoryPeople
from switch.adapters.repeats import stored_outcome
from switch.journal import (
    HOLDS_MAX_S,
    SESSIONS_LOOKED_AT,
    AttemptRow,
    Batch,
    BatchItem,
    CaseRow,
    Commit,
    Duplicate,
    EndRow,
    FindById,
    FindByKey,
    FollowUp,
    Held,
    Key,
    LateAnswerRow,
    Lease,
    Lost,
    Original,
    OutcomeRow,
    OutcomeState,
    OwnerTakenError,
    QueueItem,
    QueueRow,
    RequestRow,
    ReversalRequestRow,
    ReversalRow,
    RowRefusedError,
    Scene,
    Session,
    Stale,
    Stored,
    StoredOutcome,
    Undecided,
    Verdict,
)
from switch.people.told import told_of, told_of_key
from switch.reference import NODE, Item, Snapshot, check_account
from switch.slots import shares
from switch.transactions import TOMBSTONE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from settlement.four_eyes import Approval
    from switch.adapters.batch_sums import Totals
    from switch.journal import Find, FindByReference, Judgement
    from switch.ports import Clock
    from terminals.registry import StoredKey

LEASE = dt.timedelta(seconds=5)
HOLDS_MAX = dt.timedelta(seconds=HOLDS_MAX_S)
ORIGINALS_MAX = 32
DATE_SLACK = dt.timedelta(days=3)
BATCH_NUMBER_MAX = 999_999
REVERSAL_SEQ_MAX = 15


class LostAcknowledgementError(Exception):
    """Raised by a fault: the connection broke. The store asks again, as the real one does."""


class Faults:
    """What happens around a commit; `commit` is None while a decision is not made yet.

    Either may sleep, raise LostAcknowledgementError, or be cancelled with its process. `before` may
    raise StoreDownError: nothing stands.
    """

    async def before(self, commit: Commit | None) -> None:
        await asyncio.sleep(0)

    async def after(self, commit: Commit | None) -> None:
        """The rows stand by now."""


class _Request(msgspec.Struct):
    row: RequestRow
    date: dt.date
    attempts: list[AttemptRow]


class _Outcome(msgspec.Struct):
    row: OutcomeRow
    commit_id: int
    business_date: dt.date


class _Reversal(msgspec.Struct):
    row: ReversalRow
    commit_id: int


class _Open(msgspec.Struct):
    """A queue item without an end."""

    row: QueueRow
    position: int
    not_before: dt.datetime
    created_at: dt.datetime


class _Owner(msgspec.Struct):
    owner_id: int
    node: str
    worker: int
    lease_until: dt.datetime
    undecided_from_id: int
    taken_by: int | None = None
    closed: bool = False


class _Batch(msgspec.Struct):
    number: int
    frozen: bool = False
    closed: bool = False
    settled_at: dt.datetime | None = None
    said: Any = None
    ours: Any = None
    result: str = ""
    uploaded: dict[int, BatchItem] = msgspec.field(default_factory=dict)
    evidence: dict[int, BatchItem] = msgspec.field(default_factory=dict)

    @property
    def state(self) -> str:
        if self.closed:
            return "closed"
        if self.settled_at is not None:
            return "uploading"
        return "frozen" if self.frozen else "open"


class MemoryStore:
    """All facts, and all ports onto them."""

    def __init__(
        self,
        clock: Clock,
        *,
        business_date: dt.date = dt.date(2026, 1, 5),
        faults: Faults | None = None,
        lease: dt.timedelta = LEASE,
    ) -> None:
        self.clock = clock
        self.lease = lease
        self.faults = Faults() if faults is None else faults
        self.today = business_date
        self.generation = 1
        self.dates: dict[dt.date, str] = {business_date: "open"}
        self.keys: dict[Key, Duplicate] = {}
        self.requests: dict[int, _Request] = {}
        self.by_merchant: dict[str, list[int]] = {}
        self.by_stan: dict[tuple[str, int], list[int]] = {}
        self.by_batch: dict[tuple[str, str, int], list[int]] = {}
        self.follow_ups: dict[int, list[int]] = {}
        self.undecided: dict[int, None] = {}  # request ids without an outcome
        self.outcomes: dict[int, _Outcome] = {}
        self.reversals: dict[int, list[_Reversal]] = {}
        self.opposites: list[tuple[int, int, dt.date, int]] = []  # request, seq, date, effect
        self.late_answers: dict[int, LateAnswerRow] = {}  # by commit id
        self.reversal_requests: dict[int, ReversalRequestRow] = {}
        self.told: dict[Key, tuple[dt.datetime, int, str]] = {}  # received at, commit id, DE 39
        self.cases: dict[tuple[int, int], CaseRow] = {}
        self.queue_items: dict[int, QueueRow] = {}
        self.queue_by_subject: dict[tuple[int, str, int], int] = {}
        self.queue_open: dict[int, _Open] = {}
        self.queue_sent: dict[int, dict[int, dt.datetime]] = {}
        self.queue_end: dict[int, tuple[str, int]] = {}  # response code, commit id
        self.owner_rows: dict[int, _Owner] = {}
        self.acquirer_leases: dict[str, tuple[int, int, dt.datetime]] = {}
        self.link_slots: dict[tuple[str, int], int] = {}  # (acquirer, slot) → owner id
        self.batch_rows: dict[tuple[str, str], list[_Batch]] = {}
        self.session_rows: dict[int, Session] = {}
        self.confirmed: dict[int, None] = {}
        self.sources: dict[tuple[str, str, int, str], None] = {}
        self.blocks: dict[str, int] = {}
        self.items: list[tuple[Item, dt.datetime]] = []  # and when it was made
        self.stored_keys: list[StoredKey] = []
        self.people = MemoryPeople(clock)
        self.scheduled_until = clock.now()
        self._commit_count = 0
        self._position = 0
        self.reruns = 0

        self.journal = MemoryJournal(self)
        self.numbers = MemoryNumbers(self)
        self.owners = MemoryOwners(self)
        self.queue = MemoryQueue(self)
        self.batches = MemoryBatches(self)
        self.days = MemoryDays(self)
        self.reference = MemoryReference(self)

    async def close(self) -> None:
        """Nothing is open."""

    # -- storing ----------------------------------------------------------------------------------

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
        """Who wins, in the order of `switch.store`; then the rows, all of them or none."""
        self._check(commit)
        end = commit.end
        if end is not None:
            ended = self.queue_end.get(end.item_id)
            if ended is not None and ended[1] != commit_id:
                return Lost(request_id=end.item_id)
            if ended is None:
                self.queue_end[end.item_id] = (end.response_code, commit_id)
                self.queue_open.pop(end.item_id, None)
        verdict = self._contest(commit, commit_id)
        if verdict is not None:
            return verdict
        self._write(commit, commit_id)
        if sent is not None:
            self.queue_sent.setdefault(sent[0], {}).setdefault(sent[1], self.clock.now())
        return Stored(business_date=self.today)

    def _check(self, commit: Commit) -> None:
        """The constraints of the tables."""
        request, outcome, reversal = commit.request, commit.outcome, commit.reversal
        if request is not None and request.amount_minor < 0:
            raise RowRefusedError("request.amount_minor")
        if outcome is not None:
            if outcome.effect_minor is not None and outcome.state is not OutcomeState.APPROVED:
                raise RowRefusedError("outcome.effect_minor")
            if (outcome.approved_amount_minor or 0) < 0:
                raise RowRefusedError("outcome.approved_amount_minor")
        if reversal is not None:
            if not 1 <= reversal.seq <= REVERSAL_SEQ_MAX:
                raise RowRefusedError("reversal.seq")
            if reversal.capture not in ("", "cancel", "opposite"):
                raise RowRefusedError("reversal.capture")

    def _contest(self, commit: Commit, commit_id: int) -> Verdict | None:
        """The verdict of a commit that leaves no row (or has left its rows before)."""
        request, outcome, reversal, queue = (
            commit.request,
            commit.outcome,
            commit.reversal,
            commit.queue,
        )
        if request is not None:
            verdict = self._contest_key(request)
            if verdict is not None:
                return verdict
        if outcome is not None:
            stood = self.outcomes.get(outcome.request_id)
            if stood is not None:
                if stood.commit_id != commit_id:
                    return Lost(request_id=outcome.request_id)
                return Stored(
                    business_date=stood.business_date if outcome.on_current_date else self.today
                )
        if reversal is not None:
            for other in self.reversals.get(reversal.original_request_id, ()):
                if other.row.seq == reversal.seq:
                    if outcome is not None:
                        raise RowRefusedError("a reversal stands without an outcome")
                    if other.commit_id != commit_id:
                        return Lost(request_id=reversal.original_request_id)
                    return Stored(business_date=self.today)
        if queue is not None:
            if queue.item_id in self.queue_items:
                return Stored(business_date=self.today)
            if (queue.request_id, queue.kind, queue.seq) in self.queue_by_subject:
                return Lost(request_id=queue.request_id)
        return None

    def _contest_key(self, request: RequestRow) -> Verdict | None:
        found = self.keys.get(request.key)
        if found is not None:
            if found.request_id == request.request_id:
                return Stored(business_date=found.request_date)
            return found
        owner = self.owner_rows.get(request.owner_id)
        if owner is not None and owner.taken_by is not None:
            raise OwnerTakenError("another process has taken over this one's requests")
        if request.type == TOMBSTONE:
            return None
        if not request.any_batch:
            batch = self.find_batch(request.key.merchant, request.key.terminal, request.key.batch)
            if batch is not None and batch.frozen:
                return Stale(generation=self.generation, batch_frozen=True)
        if request.generation < self.generation:
            return Stale(generation=self.generation, batch_frozen=False)
        return None

    def _write(self, commit: Commit, commit_id: int) -> None:
        request, attempt = commit.request, commit.attempt
        if request is not None:
            self._write_request(request)
        if attempt is not None:
            of = self.requests[attempt.request_id]
            if attempt.attempt not in [each.attempt for each in of.attempts]:
                dated = msgspec.structs.replace(attempt, request_date=of.date)
                of.attempts.append(dated)
                of.attempts.sort(key=lambda each: each.attempt)
        if commit.outcome is not None:
            self._write_outcome(commit.outcome, commit_id)
        if commit.reversal is not None:
            self._write_reversal(commit.reversal, commit_id)
        if commit.queue is not None:
            self._write_queue(commit.queue)
        if commit.late_answer is not None:
            self.late_answers[commit_id] = commit.late_answer
            if commit.late_answer.release_queue:
                for item in self.queue_open.values():
                    if (item.row.request_id, item.row.kind) == (
                        commit.late_answer.request_id,
                        "reversal",
                    ):
                        item.not_before = min(item.not_before, self.clock.now())
        if commit.reversal_request is not None:
            said = self.reversal_requests[commit_id] = commit.reversal_request
            told = (said.received_at, commit_id, said.response_code)
            self.told[said.key] = max(told, self.told.get(said.key, told))
        if commit.case is not None:
            self.cases[commit_id, 0] = commit.case

    def _write_request(self, row: RequestRow) -> None:
        key = row.key
        self.keys[key] = Duplicate(
            request_id=row.request_id,
            request_date=self.today,
            content=row.content,
            tombstone=row.type == TOMBSTONE,
        )
        self.requests[row.request_id] = _Request(row, self.today, [])
        self.by_merchant.setdefault(key.merchant, []).append(row.request_id)
        self.by_stan.setdefault((key.merchant, key.stan), []).append(row.request_id)
        self.by_batch.setdefault((key.merchant, key.terminal, key.batch), []).append(row.request_id)
        if row.original_request_id is not None:
            self.follow_ups.setdefault(row.original_request_id, []).append(row.request_id)
        if row.type != TOMBSTONE:
            self.undecided[row.request_id] = None

    def _write_outcome(self, row: OutcomeRow, commit_id: int) -> None:
        request_date = self.today if row.request_date is None else row.request_date
        dated = msgspec.structs.replace(row, request_date=request_date)
        business_date = self.today if row.on_current_date else request_date
        self.outcomes[row.request_id] = _Outcome(dated, commit_id, business_date)
        self.undecided.pop(row.request_id, None)

    def _write_reversal(self, row: ReversalRow, commit_id: int) -> None:
        capture = ""
        outcome = self.outcomes.get(row.original_request_id)
        earlier = self.reversals.setdefault(row.original_request_id, [])
        if (
            row.capture
            and outcome is not None
            and outcome.row.effect_minor is not None
            and not any(each.row.capture for each in earlier)
        ):
            if self.dates[outcome.business_date] in ("open", "cut"):
                capture = "cancel"
            else:
                capture = "opposite"
                self.opposites.append(
                    (row.original_request_id, row.seq, self.today, -outcome.row.effect_minor)
                )
        original_date = self.today if row.original_date is None else row.original_date
        stored = msgspec.structs.replace(row, original_date=original_date, capture=capture)
        earlier.append(_Reversal(stored, commit_id))

    def _write_queue(self, row: QueueRow) -> None:
        request_date = self.today if row.request_date is None else row.request_date
        stored = msgspec.structs.replace(row, request_date=request_date)
        self.queue_items[row.item_id] = stored
        self.queue_by_subject[row.request_id, row.kind, row.seq] = row.item_id
        self._position += 1
        now = self.clock.now()
        self.queue_open[row.item_id] = _Open(
            row=stored,
            position=self._position,
            not_before=now + dt.timedelta(seconds=row.delay_s),
            created_at=now,
        )

    # -- readings ---------------------------------------------------------------------------------

    def find_batch(self, merchant: str, terminal: str, batch: int) -> _Batch | None:
        for row in reversed(self.batch_rows.get((merchant, terminal), [])):
            if row.number == batch:
                return row
        return None

    def is_pending(self, request_id: int) -> bool:
        """Left to the queue, where a message of its own waits for a final answer or was given up."""
        return (request_id, "repeat", 0) in self.queue_by_subject

    def is_left(self, request_id: int) -> bool:
        """Neither decided nor left to the queue."""
        return request_id in self.undecided and not self.is_pending(request_id)

    def standing_effect(self, request_id: int) -> int | None:
        """The captured effect, unless a reversal has cancelled or met it."""
        outcome = self.outcomes.get(request_id)
        if outcome is None or any(each.row.capture for each in self.reversals.get(request_id, ())):
            return None
        return outcome.row.effect_minor

    def captured(self, merchant: str, terminal: str, batch: int) -> list[CapturedItem]:
        items = []
        for request_id in sorted(self.by_batch.get((merchant, terminal, batch), [])):
            effect = self.standing_effect(request_id)
            if effect is not None:
                row = self.requests[request_id].row
                items.append(CapturedItem(request_id, row.key.stan, row.type, effect, row.foreign))
        return items

    def original(self, request_id: int) -> Original:
        request = self.requests[request_id]
        outcome = self.outcomes.get(request_id)
        reversals = self.reversals.get(request_id, [])
        outcome_date = None if outcome is None else outcome.business_date
        key = request.row.key
        batch = self.find_batch(key.merchant, key.terminal, key.batch)
        owner = self.owner_rows.get(request.row.owner_id)
        owned = (
            owner is not None
            and not owner.closed
            and owner.taken_by is None
            and owner.lease_until > self.clock.now()
        )
        pending = outcome is None and self.is_pending(request_id)
        response = None
        if reversals:
            item_id = self.queue_by_subject.get((request_id, "reversal", reversals[-1].row.seq), 0)
            response = self.queue_end.get(item_id, (None, 0))[0]
        return Original(
            request=request.row,
            request_date=request.date,
            attempts=tuple(request.attempts),
            outcome=None if outcome is None else outcome.row,
            outcome_date=outcome_date,
            captured_minor=self.standing_effect(request_id) or 0,
            reversals=tuple(each.row for each in reversals),
            reversal_response=response,
            late_codes=tuple(
                late.response_code
                for _, late in sorted(self.late_answers.items())
                if reversals and late.request_id == request_id and late.reason == "late"
            ),
            follow_ups=tuple(
                self._follow_up(each) for each in sorted(self.follow_ups.get(request_id, []))
            ),
            date_state=self.dates[outcome_date or request.date],
            batch_state="open" if batch is None else batch.state,
            in_flight=outcome is None and not pending and owned,
            pending=pending,
            told=self.told[key][2] if key in self.told else None,
        )

    def _follow_up(self, request_id: int) -> FollowUp:
        row = self.requests[request_id].row
        outcome = self.outcomes.get(request_id)
        was_reversed = request_id in self.reversals
        waiting = any(
            item.row.request_id == request_id and item.row.kind == "reversal"
            for item in self.queue_open.values()
        )
        return FollowUp(
            request_id=request_id,
            type=row.type,
            amount_minor=row.amount_minor,
            state=None if outcome is None else outcome.row.state,
            reversed=was_reversed,
            reversal_final=was_reversed and not waiting,
        )

    def captures(self) -> list[tuple[int, int, dt.date, int]]:
        """Every captured effect that stands: (request id, seq, business date, effect)."""
        found = [
            (request_id, 0, outcome.business_date, outcome.row.effect_minor)
            for request_id, outcome in self.outcomes.items()
            if outcome.row.effect_minor is not None
            and not any(each.row.capture == "cancel" for each in self.reversals.get(request_id, ()))
        ]
        return sorted(found + self.opposites)


class MemoryJournal:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def commit(self, commit: Commit) -> Verdict:
        return await self._store.store(commit)

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
            )
        )
        if judgement.commit is None:
            return judgement, None
        return judgement, store.apply(judgement.commit, commit_id)

    def _locate(self, find: Find) -> list[int]:
        store = self._store
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

    def _named(self, find: FindByReference, request: _Request) -> bool:
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


class MemoryNumbers:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def request_ids(self, count: int) -> tuple[int, int]:
        return await self._block("request", 1, count)

    async def link_stans(self, acquirer: str, count: int) -> tuple[int, int]:
        return await self._block(f"stan:{acquirer}", 0, count)

    async def rrns(self, count: int) -> tuple[int, int]:
        return await self._block("rrn", 0, count)

    async def _block(self, name: str, first: int, count: int) -> tuple[int, int]:
        assert count > 0
        await asyncio.sleep(0)
        start = self._store.blocks.get(name, first)
        self._store.blocks[name] = start + count
        return start, start + count - 1


class MemoryOwners:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def register(self, node: str, worker: int) -> int:
        await asyncio.sleep(0)
        store = self._store
        owner_id = len(store.owner_rows) + 1
        store.owner_rows[owner_id] = _Owner(
            owner_id=owner_id,
            node=node,
            worker=worker,
            lease_until=store.clock.now() + store.lease,
            undecided_from_id=store.blocks.get("request", 1),
        )
        return owner_id

    async def renew(self, owner_id: int, undecided_from_id: int) -> bool:
        await asyncio.sleep(0)
        owner = self._store.owner_rows.get(owner_id)
        now = self._store.clock.now()
        if owner is None or owner.closed or owner.taken_by is not None or owner.lease_until <= now:
            return False
        owner.lease_until = now + self._store.lease
        owner.undecided_from_id = undecided_from_id
        return True

    async def release(self, owner_id: int) -> None:
        await asyncio.sleep(0)
        owner = self._store.owner_rows[owner_id]
        owner.lease_until = self._store.clock.now()
        if owner.taken_by is None:
            owner.taken_by = owner_id  # it stores no request any more
        if not self._left(owner):
            owner.closed = True

    async def take_over(
        self, owner_id: int, node: str, worker: int, *, at_start: bool = False
    ) -> list[Undecided]:
        await asyncio.sleep(0)
        store = self._store
        now = store.clock.now()

        def over(owner: _Owner) -> bool:
            own_earlier = (owner.node, owner.worker) == (node, worker) and owner.owner_id < owner_id
            return (at_start and own_earlier) or owner.lease_until <= now

        for owner in store.owner_rows.values():
            owner.lease_until = min(owner.lease_until, now + HOLDS_MAX)
        left: list[int] = []
        for owner in store.owner_rows.values():
            if owner.closed or owner.owner_id == owner_id:
                continue
            if owner.taken_by != owner_id and not over(owner):
                continue
            if owner.taken_by not in (None, owner_id):
                taker = store.owner_rows[owner.taken_by]
                if not taker.closed and not over(taker):
                    continue
            owner.taken_by = owner_id
            left += self._left(owner)
        if not left:
            await self.recovered(owner_id, [])
        return [
            Undecided(
                request=store.requests[each].row,
                request_date=store.requests[each].date,
                attempts=tuple(store.requests[each].attempts),
            )
            for each in sorted(left)
        ]

    async def recovered(self, owner_id: int, request_ids: Sequence[int]) -> None:
        del request_ids
        await asyncio.sleep(0)
        for owner in self._store.owner_rows.values():
            if owner.taken_by == owner_id and not self._left(owner):
                owner.closed = True

    async def hold_slots(
        self, owner_id: int, acquirer: str, granted: int, keep: Sequence[int]
    ) -> Held:
        await asyncio.sleep(0)
        slots, rows = self._store.link_slots, self._store.owner_rows
        for at, holder in list(slots.items()):
            given_back = holder == owner_id and at[1] not in keep
            if at[0] == acquirer and (given_back or not self._lives(rows[holder])):
                del slots[at]
        holders = [holder for (name, _), holder in slots.items() if name == acquirer]
        living: Counter[tuple[str, int]] = Counter()
        for owner in rows.values():
            if self._lives(owner):
                living[owner.node, owner.worker] += holders.count(owner.owner_id)
        asker = rows[owner_id]
        share = shares(granted, living)[asker.node, asker.worker] if self._lives(asker) else 0
        left = min(share - holders.count(owner_id), granted - len(holders))
        free = [slot for slot in range(1, granted + 1) if (acquirer, slot) not in slots]
        for slot in free[: max(left, 0)]:
            slots[acquirer, slot] = owner_id
        held = sorted(
            slot for (name, slot), holder in slots.items() if (name, holder) == (acquirer, owner_id)
        )
        return Held(share, tuple(held))

    def _lives(self, owner: _Owner) -> bool:
        taken = owner.closed or owner.taken_by is not None
        return not taken and owner.lease_until > self._store.clock.now()

    def _left(self, owner: _Owner) -> list[int]:
        store = self._store
        return [
            each
            for each in store.undecided
            if store.requests[each].row.owner_id == owner.owner_id
            and each >= owner.undecided_from_id
            and store.is_left(each)
        ]


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

    def _item(self, item: _Open) -> QueueItem:
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


class MemoryBatches:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def sign_on(self, session: Session) -> int:
        await asyncio.sleep(0)
        store = self._store
        if session.session_id == 0:
            session = msgspec.structs.replace(session, session_id=len(store.session_rows) + 1)
        stored = msgspec.structs.replace(session, confirmed=False)
        store.session_rows.setdefault(session.session_id, stored)
        rows = store.batch_rows.setdefault((session.merchant, session.terminal), [])
        if not rows or rows[-1].closed:
            rows.append(_Batch(rows[-1].number % BATCH_NUMBER_MAX + 1 if rows else 1))
        return rows[-1].number

    async def sessions(self, merchant: str, terminal: str) -> list[Session]:
        await asyncio.sleep(0)
        store = self._store
        found = [
            msgspec.structs.replace(row, confirmed=row.session_id in store.confirmed)
            for row in store.session_rows.values()
            if (row.merchant, row.terminal) == (merchant, terminal)
        ]
        found.sort(key=lambda row: -row.session_id)
        former = sorted(found[1:SESSIONS_LOOKED_AT], key=lambda row: not row.confirmed)
        return found[:1] + former[:1]

    async def confirm_session(self, session_id: int) -> None:
        await asyncio.sleep(0)
        self._store.confirmed[session_id] = None

    async def note_source(self, merchant: str, terminal: str, batch: int, address: str) -> None:
        await asyncio.sleep(0)
        self._store.sources[merchant, terminal, batch, address] = None

    async def source_known(self, merchant: str, terminal: str, batch: int, address: str) -> bool:
        await asyncio.sleep(0)
        return (merchant, terminal, batch, address) in self._store.sources

    async def current(self, merchant: str, terminal: str) -> Batch | None:
        await asyncio.sleep(0)
        rows = self._store.batch_rows.get((merchant, terminal))
        newest = self._read(merchant, terminal, rows[-1].number) if rows else None
        return None if newest is None else msgspec.structs.replace(newest, uploaded=())

    async def get(self, merchant: str, terminal: str, batch: int) -> Batch | None:
        await asyncio.sleep(0)
        return self._read(merchant, terminal, batch)

    async def freeze(self, merchant: str, terminal: str, batch: int) -> int:
        await asyncio.sleep(0)
        row = self._store.find_batch(merchant, terminal, batch)
        if row is not None:
            row.frozen = True
        return self._left(merchant, terminal, batch)

    def _left(self, merchant: str, terminal: str, batch: int) -> int:
        ids = self._store.by_batch.get((merchant, terminal, batch), [])
        return sum(self._store.is_left(each) for each in ids)

    async def settle(
        self, merchant: str, terminal: str, batch: int, terminal_totals: Totals
    ) -> Batch:
        await asyncio.sleep(0)
        if self._left(merchant, terminal, batch):
            raise ValueError(f"batch {batch} has requests in flight")
        row = self._store.find_batch(merchant, terminal, batch)
        assert row is not None
        if row.settled_at is None:
            row.frozen = True
            row.settled_at = self._store.clock.now()
            row.said = terminal_totals
            row.ours = totals_of(self._store.captured(merchant, terminal, batch))
            row.result = result_of(row.said, row.ours)
            row.closed = row.said == row.ours
        settled = self._read(merchant, terminal, batch)
        assert settled is not None
        return settled

    async def upload(
        self, merchant: str, terminal: str, batch: int, items: Sequence[BatchItem]
    ) -> Batch | None:
        await asyncio.sleep(0)
        row = self._store.find_batch(merchant, terminal, batch)
        if row is None:
            return None
        for item in new_items(items, row.uploaded.keys() | row.evidence.keys()):
            (row.evidence if row.closed else row.uploaded)[item.stan] = item
        return self._read(merchant, terminal, batch)

    async def finish_upload(self, merchant: str, terminal: str, batch: int) -> Batch | None:
        await asyncio.sleep(0)
        store = self._store
        row = store.find_batch(merchant, terminal, batch)
        if row is not None and row.state == "uploading":
            uploaded = [row.uploaded[stan] for stan in sorted(row.uploaded)]
            commit_id = store.next_commit_id()
            differences = compare(store.captured(merchant, terminal, batch), uploaded)
            for seq, each in enumerate(differences):
                store.cases[commit_id, seq] = CaseRow(
                    kind=each.kind,
                    request_id=each.request_id,
                    merchant=merchant,
                    terminal=terminal,
                    detail=json.dumps({"batch": batch} | json.loads(each.detail)),
                    opened_at=store.clock.now(),
                )
            row.closed = True
        return self._read(merchant, terminal, batch)

    async def overdue_uploads(self, older_than_s: float) -> list[Batch]:
        await asyncio.sleep(0)
        before = self._store.clock.now() - dt.timedelta(seconds=older_than_s)
        found = []
        for (merchant, terminal), rows in sorted(self._store.batch_rows.items()):
            for row in rows:
                settled_at = row.settled_at
                if not row.closed and settled_at is not None and settled_at < before:
                    found.append((settled_at, merchant, terminal, row.number))
        batches = [self._read(*each[1:]) for each in sorted(found)[:100]]
        return [each for each in batches if each is not None]

    def _read(self, merchant: str, terminal: str, batch: int) -> Batch | None:
        row = self._store.find_batch(merchant, terminal, batch)
        if row is None:
            return None
        return Batch(
            merchant=merchant,
            terminal=terminal,
            batch=batch,
            state=row.state,
            items=counted(self._store.captured(merchant, terminal, batch)),
            terminal_totals=row.said,
            totals=row.ours,
            result=row.result,
            uploaded=tuple(row.uploaded[stan] for stan in sorted(row.uploaded)),
        )


class MemoryDays:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def business_date(self) -> dt.date:
        await asyncio.sleep(0)
        return self._store.today

    async def state(self, business_date: dt.date) -> str | None:
        await asyncio.sleep(0)
        return self._store.dates.get(business_date)

    async def cut_over(self, new_date: dt.date) -> None:
        await asyncio.sleep(0)
        store = self._store
        if new_date < store.today:
            raise ValueError(f"the business date is {store.today} already")
        if new_date > store.today:
            store.dates[store.today] = "cut"
            store.dates[new_date] = "open"
            store.today = new_date

    async def freeze(self, business_date: dt.date) -> int:
        await asyncio.sleep(0)
        store = self._store
        state = store.dates.get(business_date)
        if state in ("frozen", "posted"):
            return 0
        if state != "cut":
            raise ValueError(f"business date {business_date} is {state or 'unknown'}, not cut")
        left = sum(
            store.requests[each].date == business_date and store.is_left(each)
            for each in store.undecided
        )
        if not left:
            store.dates[business_date] = "frozen"
        return left

    async def mark_posted(self, business_date: dt.date) -> None:
        await asyncio.sleep(0)
        state = self._store.dates.get(business_date)
        if state == "posted":
            return
        if state != "frozen":
            raise ValueError(f"business date {business_date} is {state or 'unknown'}, not frozen")
        self._store.dates[business_date] = "posted"


class MemoryReference:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def generation(self) -> int:
        await asyncio.sleep(0)
        return self._read_generation()

    def _read_generation(self) -> int:
        """Items whose time has come since it was last asked raise it."""
        store = self._store
        now = store.clock.now()
        if any(
            item.effective_from > made and store.scheduled_until < item.effective_from <= now
            for item, made in store.items
        ):
            store.generation += 1
            store.scheduled_until = now
        return store.generation

    async def snapshot(self) -> Snapshot:
        await asyncio.sleep(0)
        store = self._store
        generation = self._read_generation()
        return Snapshot(generation, self._in_force(), store.stored_keys)

    def _in_force(self) -> list[Item]:
        """What came into force stays in force, also where the clock is set back behind its time."""
        store = self._store
        passed = max(store.clock.now(), store.scheduled_until)
        return [item for item, made in store.items if item.effective_from <= max(passed, made)]

    async def items(self, kind: str | None = None) -> list[Item]:
        await asyncio.sleep(0)
        found = [item for item, _ in self._store.items if kind in (None, item.kind)]
        return sorted(found, key=lambda item: (item.kind, item.key, item.version))

    async def apply(
        self,
        items: Sequence[tuple[str, str, dict[str, Any]]],
        *,
        maker: str,
        act: str = "data.apply",
        effective_from: dt.datetime | None = None,
        approval: Approval | None = None,
    ) -> list[Item]:
        await asyncio.sleep(0)
        store = self._store
        now = store.clock.now()
        made: list[Item] = []
        told = []
        for kind, key, content in items:
            versions = [item for item, _ in store.items if (item.kind, item.key) == (kind, key)]
            in_force = [item for item in self._in_force() if (item.kind, item.key) == (kind, key)]
            if in_force and max(in_force, key=lambda item: item.version).content == content:
                continue
            item = Item(
                kind=kind,
                key=key,
                version=1 + max((item.version for item in versions), default=0),
                effective_from=now if effective_from is None else effective_from,
                content=content,
                maker=maker,
            )
            former = max(versions, key=lambda item: item.version).content if versions else None
            check_account(kind, key, former, content, approval)
            made.append(item)
            told.append((f"{kind} {key}", former and told_of(former), told_of(item)))
        if made and approval is not None:
            store.people.may_use(approval)
        for subject, before, after in told:
            store.people.append(maker, act, subject, before, after)
        if made and approval is not None:
            store.people.use(approval)
        store.items += [(item, now) for item in made]
        if made:
            store.generation += 1
        return made

    async def add_key(
        self, key: StoredKey, *, maker: str = NODE, act: str = "keys.import"
    ) -> StoredKey:
        await asyncio.sleep(0)
        store = self._store
        version = 1 + max(
            (
                each.version
                for each in store.stored_keys
                if (each.owner, each.usage) == (key.owner, key.usage)
            ),
            default=0,
        )
        stored = msgspec.structs.replace(key, version=version)
        store.people.append(maker, act, *told_of_key(stored))
        store.stored_keys.append(stored)
        store.generation += 1
        return stored
