"""The facts of the store in memory, kept as PostgreSQL keeps them, and the readings of them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from switch.adapters.batch_sums import (
    CapturedItem,
)
from switch.journal import (
    AttemptRow,
    CaseRow,
    Count,
    Counted,
    CounterMove,
    Duplicate,
    FollowUp,
    Key,
    LateAnswerRow,
    Original,
    OutcomeRow,
    QueueRow,
    RequestRow,
    ReversalRequestRow,
    ReversalRow,
)
from switch.store_ports import (
    BatchItem,
    KeptDownload,
    KeyExchange,
    RiskAlert,
    Session,
    UnmatchedRow,
)

if TYPE_CHECKING:
    from switch.ports import Clock
    from switch.reference import Item
    from terminals.registry import StoredKey


class KeptRequest(msgspec.Struct):
    row: RequestRow
    date: dt.date
    attempts: list[AttemptRow]


class KeptOutcome(msgspec.Struct):
    row: OutcomeRow
    commit_id: int
    business_date: dt.date


class KeptReversal(msgspec.Struct):
    row: ReversalRow
    commit_id: int


class OpenItem(msgspec.Struct):
    """A queue item without an end."""

    row: QueueRow
    position: int
    not_before: dt.datetime
    created_at: dt.datetime


class KeptOwner(msgspec.Struct):
    owner_id: int
    node: str
    worker: int
    lease_until: dt.datetime
    undecided_from_id: int
    taken_by: int | None = None
    closed: bool = False


class KeptSlot(msgspec.Struct):
    """A connection that an owner may have to a bank; `connected`: whether it has, as far as it said."""

    owner_id: int
    connected: bool | None = None


class KeptBatch(msgspec.Struct):
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


class Facts:
    """The tables, by what they are looked up by."""

    def __init__(self, clock: Clock, business_date: dt.date) -> None:
        self.clock = clock
        self.today = business_date
        self.generation = 1
        self.dates: dict[dt.date, str] = {business_date: "open"}
        self.keys: dict[Key, Duplicate] = {}
        self.requests: dict[int, KeptRequest] = {}
        self.by_merchant: dict[str, list[int]] = {}
        self.by_stan: dict[tuple[str, int], list[int]] = {}
        self.by_batch: dict[tuple[str, str, int], list[int]] = {}
        self.follow_ups: dict[int, list[int]] = {}
        self.undecided: dict[int, None] = {}  # request ids without an outcome
        self.outcomes: dict[int, KeptOutcome] = {}
        self.reversals: dict[int, list[KeptReversal]] = {}
        self.opposites: list[tuple[int, int, dt.date, int]] = []  # request, seq, date, effect
        self.late_answers: dict[int, LateAnswerRow] = {}  # by commit id
        self.reversal_requests: dict[int, ReversalRequestRow] = {}
        self.told: dict[Key, tuple[dt.datetime, int, str]] = {}  # received at, commit id, DE 39
        self.cases: dict[tuple[int, int], CaseRow] = {}
        self.risk_buckets: dict[tuple[str, str], dict[int, list[int]]] = {}  # → [count, amount]
        self.risk_moves: dict[int, dict[tuple[str, str], CounterMove]] = {}  # by request id
        self.risk_alerts: dict[tuple[str, str, int], RiskAlert] = {}  # by rule, subject, day
        self.download_facts: dict[tuple[str, str], list[KeptDownload]] = {}  # by terminal
        self.download_count = 0
        self.unmatched: dict[tuple[int, int], UnmatchedRow] = {}  # by owner and seq
        self.exchange_rows: dict[int, KeyExchange] = {}
        self.queue_items: dict[int, QueueRow] = {}
        self.queue_by_subject: dict[tuple[int, str, int], int] = {}
        self.queue_open: dict[int, OpenItem] = {}
        self.queue_sent: dict[int, dict[int, dt.datetime]] = {}
        self.queue_end: dict[int, tuple[str, int]] = {}  # response code, commit id
        self.owner_rows: dict[int, KeptOwner] = {}
        self.acquirer_leases: dict[str, tuple[int, int, dt.datetime]] = {}
        self.link_slots: dict[tuple[str, int], KeptSlot] = {}  # by acquirer and slot
        self.batch_rows: dict[tuple[str, str], list[KeptBatch]] = {}
        self.session_rows: dict[int, Session] = {}
        self.confirmed: dict[int, None] = {}
        self.sources: dict[tuple[str, str, int, str], None] = {}
        self.blocks: dict[str, int] = {}
        self.items: list[tuple[Item, dt.datetime]] = []  # and when it was made
        self.stored_keys: list[StoredKey] = []
        self.scheduled_until = clock.now()
        self.position = 0  # of the newest queue item

    # -- readings ---------------------------------------------------------------------------------

    def find_batch(self, merchant: str, terminal: str, batch: int) -> KeptBatch | None:
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
                stan, minor = row.key.stan, row.amount_minor
                items.append(CapturedItem(request_id, stan, row.type, effect, row.foreign, minor))
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
            undelivered=outcome is not None
            and self.queue_by_subject.get((request_id, "repeat", 0)) in self.queue_open,
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
            captured_minor=self.standing_effect(request_id) or 0,
        )

    def counted(self, count: Count) -> Counted:
        buckets = self.risk_buckets.get((count.counter, count.subject), {})
        read = [held for bucket, held in buckets.items() if bucket >= count.from_bucket]
        return Counted(
            sum(held[0] for held in read), sum(held[1] for held in read), max(buckets, default=None)
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
