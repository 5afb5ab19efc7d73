"""What the journal promises: rows, the unit of work, its verdict, and its port.

The engine hands over one `Commit` a time: rows that stand together or not at all. The adapter groups
the commits that wait and returns a verdict for each. Two rows are contested, and the store alone
decides who wins them: the *key* of a request (rules §3) and the *outcome* of a request (first writer
wins, `design.md` §8). Everything else follows its winner. Facts are only ever added; state is a
reading of them.

Rules over an original (void, refund, reversal …) go through `Journal.decide`: the originals are
locked, a pure judge reads the scene and returns the commit, and both happen in one transaction.
The store's other ports are in `switch.store_ports`.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


# -- rows ---------------------------------------------------------------------------------------


class Key(msgspec.Struct, frozen=True, gc=False):
    """What makes a request the same request again (rules §3)."""

    merchant: str  # DE 42, 15 characters
    terminal: str  # DE 41, 8 characters
    batch: int  # DE 60.2, 0 where the profile has none
    stan: int  # DE 11 of the terminal
    kind: str  # MTI without its repeat digit, a dot, first two digits of DE 3: "020.00"


class RequestRow(msgspec.Struct, frozen=True, gc=False):
    """One thing a terminal asked, once. `content` is a keyed HMAC (rules §3)."""

    request_id: int
    owner_id: int  # process and boot that will decide it
    generation: int  # reference data that the decision used; an older one makes the commit stale
    key: Key
    content: bytes
    type: str  # name of a row of switch.transactions.TYPES; "tombstone" for a 0400 that came first
    mti: str
    processing_code: str
    amount_minor: int
    currency: str
    rrn: str  # DE 37, issued by the switch, the same to host and terminal
    received_at: dt.datetime
    local_time: str  # MMDDhhmmss told to the terminal (DE 13, DE 12)
    entry_mode: str = ""
    condition_code: str = ""
    card_sequence: str = ""
    mcc: str = ""
    pan_token: bytes | None = None
    pan_masked: str = ""
    pan_cipher: bytes | None = None  # PAN and expiry, bound to request_id
    chip: bytes | None = None  # of DE 55 only what reversal and clearing need
    original_request_id: int | None = None
    foreign: bool = False  # counts on the foreign side of settlement totals
    any_batch: bool = False  # an advice that may name a frozen or closed batch (rules §9)
    session_id: int | None = None  # key set that verified the request
    decision: str = ""  # JSON: rules and versions that led here (P10)


class AttemptRow(msgspec.Struct, frozen=True, gc=False):
    """One message to one acquirer for a request, durable before its bytes leave (P1)."""

    request_id: int
    attempt: int  # 1, 2 …
    acquirer: str
    link_stan: str  # DE 11 of the link, n6
    transmission_time: str  # DE 7, MMDDhhmmss in the link's zone
    de32: str
    de33: str
    route_rule: str  # name and version of the route that chose it
    request_date: dt.date | None = None  # set when the attempt comes after its request's commit


class OutcomeState(StrEnum):
    """The final word on a request."""

    APPROVED = "approved"
    DECLINED = "declined"  # by the acquirer, or by us after an attempt that certainly sent nothing
    REFUSED = "refused"  # by us, before any attempt
    UNKNOWN = "unknown"  # no answer in time, or the process died: reversed
    REVERSED = "reversed"  # a 0400 won while the request was in flight


class OutcomeRow(msgspec.Struct, frozen=True, gc=False):
    """`request_date` None: the request is in the same commit."""

    request_id: int
    state: OutcomeState
    response_code: str  # DE 39 to the terminal
    decided_at: dt.datetime
    rule: str  # why: name of the check or "acquirer"
    request_date: dt.date | None = None
    attempt: int | None = None
    approved_amount_minor: int | None = None
    effect_minor: int | None = None  # signed captured effect; None: nothing is captured
    auth_code: str = ""  # DE 38
    settlement_date: dt.date | None = None  # DE 15 of the answer, year inferred
    acquirer_rrn: str = ""  # where the host answered another DE 37
    acquirer_response_code: str = ""
    answer: bytes = b""  # msgpack {DE: value} of what else the terminal was told (44, 54, 55)
    on_current_date: bool = False  # outcomes of `repeat` types take the date of their own commit


class ReversalRow(msgspec.Struct, frozen=True, gc=False):
    """The one reversal of an original; `seq` 2 and on are the new ones after a late approval."""

    original_request_id: int
    original_date: dt.date | None  # None: the request is in the same commit
    seq: int
    origin: str  # "terminal", "time_out", "recovery", "late_approval", "rule"
    reason: str  # DE 39 of the 0420
    queued_at: dt.datetime
    # what it does to the captured effect, if there is one: "cancel" before the freeze of the
    # original's date, "opposite" on the current date afterwards, "" where nothing was captured
    capture: str = ""


class QueueRow(msgspec.Struct, frozen=True, gc=False):
    """A message to deliver until finally answered. Its wire identity never changes."""

    item_id: int
    acquirer: str
    kind: str  # "reversal" (0420), "repeat" (0221 of a refund or advice)
    request_id: int  # the original of a reversal; the request itself of a repeat
    request_date: dt.date | None  # None: the request is in the same commit
    root_request_id: int  # ordered per root original
    seq: int  # ReversalRow.seq; 0 for a repeat
    link_stan: str
    transmission_time: str
    delay_s: float = 0.0  # not before this long after the commit


class LateAnswerRow(msgspec.Struct, frozen=True, gc=False):
    """An answer that came after the outcome, or was not good enough to be one (rules §5)."""

    request_id: int
    request_date: dt.date
    attempt: int
    response_code: str
    auth_code: str
    amount_minor: int | None
    reason: str  # "late", "mac", "mismatch"
    received_at: dt.datetime
    release_queue: bool = False  # the 0420 that waits for this answer may leave now


class ReversalRequestRow(msgspec.Struct, frozen=True, gc=False):
    """A 0400 as it came and what it was told."""

    key: Key  # of the original
    original_request_id: int | None
    reason: str  # DE 39 from the terminal
    response_code: str
    rule: str
    received_at: dt.datetime


class CaseRow(msgspec.Struct, frozen=True, gc=False):
    """Something a person must look at."""

    kind: str  # "reversal_refused", "late_approval", "undelivered", "batch_long", "batch_short" …
    request_id: int | None
    merchant: str
    terminal: str
    detail: str  # JSON
    opened_at: dt.datetime


class Count(msgspec.Struct, frozen=True, gc=False):
    """A counter to be read under its lock: one subject of one risk rule, in buckets of time."""

    counter: str  # rule, width of its window; the same for all subjects
    subject: str  # card token, merchant/terminal, merchant, agent or type
    bucket: int  # of now
    from_bucket: int  # the first that counts
    kept_until: dt.datetime  # the bucket of now counts nowhere any more


class Counted(msgspec.Struct, frozen=True, gc=False):
    """What stands in the buckets of a counter from `from_bucket` on."""

    count: int
    amount_minor: int
    newest: int | None  # bucket, of all that are kept


class Guard(msgspec.Struct, frozen=True, gc=False):
    """Whether one rule fires, as the sign of a number that is linear in what is counted.

    So a store can ask it under its own locks, whatever the rule means: `fires`, and in PostgreSQL
    `switch.flush`, are the only places that compute it. Places are of `FindCounted.counts`.
    """

    count: int
    part: int = -1  # of a ratio's part; -1: there is none
    constant: int = 0
    per_count: int = 0
    per_amount: int = 0  # for each minor unit
    per_part_count: int = 0
    per_part_amount: int = 0
    per_newest: int = 0  # for each bucket of the newest move; without any move nothing fires
    minimum_count: int = 0  # with fewer nothing fires

    def fires(self, counted: Sequence[Counted]) -> bool:
        of = counted[self.count]
        value = self.constant + self.per_count * of.count + self.per_amount * of.amount_minor
        if self.per_newest:
            value = 0 if of.newest is None else value + self.per_newest * of.newest
        if self.part >= 0:
            part = counted[self.part]
            value += self.per_part_count * part.count + self.per_part_amount * part.amount_minor
        return value > 0 and of.count >= self.minimum_count


class CounterMove(msgspec.Struct, frozen=True, gc=False):
    """What a request that goes forward adds to a counter. `returns`: until it ends without approval,
    or is reversed."""

    request_id: int
    of: Count
    count: int
    amount_minor: int
    returns: bool


class AlertRow(msgspec.Struct, frozen=True, gc=False):
    """A risk rule that wants to be seen. One a rule, subject and day: the first."""

    request_id: int
    rule: str
    version: int
    action: str  # what the rule does: "decline", "review", "alert"
    scope: str
    subject: str
    day: int  # since 1970, in the merchant's zone
    measured: int
    threshold: int
    merchant: str
    terminal: str
    pan_masked: str
    raised_at: dt.datetime


class EndRow(msgspec.Struct, frozen=True, gc=False):
    """The final answer to a queue item; "--" where it was given up."""

    item_id: int
    response_code: str


class Commit(msgspec.Struct, frozen=True, gc=False):
    """Rows that stand together. With a request that is a duplicate, an outcome that lost, or the end
    of an item that has ended, none."""

    request: RequestRow | None = None
    attempt: AttemptRow | None = None
    outcome: OutcomeRow | None = None
    reversal: ReversalRow | None = None
    queue: QueueRow | None = None
    late_answer: LateAnswerRow | None = None
    reversal_request: ReversalRequestRow | None = None
    case: CaseRow | None = None
    end: EndRow | None = None
    moves: tuple[CounterMove, ...] = ()  # these two go with a decision only, never with a flush
    alerts: tuple[AlertRow, ...] = ()


# -- verdicts -----------------------------------------------------------------------------------


class Stored(msgspec.Struct, frozen=True, gc=False):
    business_date: dt.date  # of this commit: read under the lock that cut-over waits for


class Duplicate(msgspec.Struct, frozen=True, gc=False):
    """The key was taken before. `tombstone`: by a 0400 that came first."""

    request_id: int
    request_date: dt.date
    content: bytes
    tombstone: bool


class Lost(msgspec.Struct, frozen=True, gc=False):
    """Another outcome stands."""

    request_id: int


class Stale(msgspec.Struct, frozen=True, gc=False):
    """Reference data changed since the decision, or the batch was frozen: read again, decide again."""

    generation: int
    batch_frozen: bool


Verdict = Stored | Duplicate | Lost | Stale


# -- what a judge sees --------------------------------------------------------------------------


class FollowUp(msgspec.Struct, frozen=True, gc=False):
    """A void, refund, completion or adjustment that names the original."""

    request_id: int
    type: str
    amount_minor: int
    state: OutcomeState | None  # None: in flight, or pending where the type repeats
    reversed: bool
    reversal_final: bool  # its reversal was finally answered
    captured_minor: int = 0  # standing signed effect


class Original(msgspec.Struct, frozen=True):
    """A request with everything that later facts say of it."""

    request: RequestRow
    request_date: dt.date
    attempts: tuple[AttemptRow, ...]
    outcome: OutcomeRow | None
    outcome_date: dt.date | None  # business date of the outcome and its capture
    captured_minor: int  # standing signed effect, 0 after a cancelling or opposite reversal
    reversals: tuple[ReversalRow, ...]
    reversal_response: str | None  # final DE 39 of the newest reversal's delivery
    follow_ups: tuple[FollowUp, ...]
    date_state: str  # "open", "cut", "frozen", "posted": of outcome_date, else of request_date
    batch_state: str  # "open", "frozen", "uploading", "closed"
    in_flight: bool  # no outcome and its owner's lease has not expired
    pending: bool  # no outcome, left to the queue (a repeat-type request), even if given up there
    late_codes: tuple[str, ...] = ()  # DE 39 of late answers, where there is a reversal
    undelivered: bool = False  # an advice that waits in the queue: its bank may not know it yet
    told: str | None = None  # DE 39 that the last stored 0400 for it was answered


class Scene(msgspec.Struct, frozen=True):
    """What a judge decides on; everything in it is locked or can not change any more."""

    business_date: dt.date
    generation: int
    originals: tuple[Original, ...]  # newest first; those that `Find` names
    counted: tuple[Counted, ...] = ()  # in the order of `FindCounted.counts`


class FindByKey(msgspec.Struct, frozen=True):
    """For a 0400: this terminal's request with this key."""

    key: Key


class FindById(msgspec.Struct, frozen=True):
    request_id: int
    request_date: dt.date | None = None


class FindByReference(msgspec.Struct, frozen=True):
    """For follow-ups: elements that are None do not narrow (rules §7)."""

    merchant: str
    terminal: str | None = None  # None: all terminals of the merchant
    batch: int | None = None
    stan: int | None = None
    month_day: str | None = None  # MMDD of the original's local date
    pan_token: bytes | None = None
    rrn: str | None = None
    auth_code: str | None = None
    types: tuple[str, ...] = ()


class FindCounted(msgspec.Struct, frozen=True):
    """Counters of risk rules, and the originals that are asked of besides.

    Without `of` the judge looks at nothing of the scene but `counted`, and at that only to learn which
    `guards` fire. So a store may judge on what is likely, and keep the judgement if the guards say
    the same once the counters are locked (decision 35).
    """

    counts: tuple[Count, ...]
    of: FindByReference | None = None
    guards: tuple[Guard, ...] = ()


Find = FindByKey | FindById | FindByReference | FindCounted


class Judgement(msgspec.Struct, frozen=True):
    """What a judge decided: the commit (None: nothing is written) and the words for the terminal."""

    commit: Commit | None
    response_code: str
    rule: str
    original: Original | None = None
    wait: bool = False  # an earlier follow-up is still being reversed: ask again soon


class StoredOutcome(msgspec.Struct, frozen=True):
    """What a repeat is told, and whether it still stands."""

    request: RequestRow
    request_date: dt.date
    attempt: AttemptRow | None
    outcome: OutcomeRow | None
    standing: bool  # False: since reversed, voided or blocked
    pending: bool


# -- ports --------------------------------------------------------------------------------------


class Journal(Protocol):
    """The durable record. Errors: `StoreDownError` when nothing can be decided for now."""

    async def commit(self, commit: Commit) -> Verdict:
        """Store one commit in the next group; return once it is durable, or who won."""
        ...

    def submit(self, commit: Commit, told: Callable[[Verdict | Exception], None]) -> None:
        """`commit` for who does not wait: `told` is called once, with what it would return or raise."""
        ...

    async def decide(
        self, find: Find, judge: Callable[[Scene], Judgement]
    ) -> tuple[Judgement, Verdict | None]:
        """Lock what `find` names, let `judge` decide on it, store its commit, in one transaction.

        A commit that loses its outcome meanwhile is judged again on the winner in the same
        transaction. The judge may run several times and must be pure. The verdict is None where
        the judgement had no commit.
        """
        ...

    async def find_request(self, key: Key) -> Duplicate | None:
        """Was this key ever taken? For repeats that must be answered whatever the terminal's state."""
        ...

    async def stored_outcome(
        self, request_id: int, request_date: dt.date
    ) -> StoredOutcome | None: ...

    async def find_attempt(
        self, acquirer: str, link_stan: str, transmission_time: str
    ) -> tuple[AttemptRow, dt.date] | None:
        """Whose attempt an answer is that no process waits for any more; with its request's date."""
        ...

    async def find_queued(
        self, acquirer: str, link_stan: str, transmission_time: str
    ) -> int | None:
        """The same of a message of store and forward: the request that it is for."""
        ...


class StoreDownError(Exception):
    """The store can not decide now; whatever was sent to it is unknown until it answers."""


class OwnerTakenError(StoreDownError):
    """This process lost its lease and another has taken over: it may store no new request."""


class RowRefusedError(Exception):
    """The store refused a row for what is in it; nothing of its commit stands. A bug, not an outage."""
