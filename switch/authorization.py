"""The state machine of one authorisation: (stage, event) → (stage, effect).

Theory of operation. A request that passed intake is *recorded*: request, key and first attempt in
one commit (P1). Only then is the attempt *exchanged* with the acquirer. Whatever comes of that —
an answer, silence, nothing sent — is *decided* by a second commit, and only the winner of the
outcome row is told to the terminal as it is. Refusals and follow-ups reach the same table by their
own first step:

    RECORDING ──Stored──▶ EXCHANGING ──Answer/NoAnswer/…──▶ DECIDING ──Stored──▶ Reply
        │                     └──NotSent, alternate left──▶ REROUTING ──Judged──▶ EXCHANGING
        ├──Duplicate──▶ REPEATING ──Found──▶ Reply           └──Lost──▶ OVERTAKEN ──▶ Reply
        └──Stale──▶ Reconsider
    ENDING    (request and outcome in one commit: a refusal, an advice) ──Stored──▶ Reply
    JUDGING   (void, refund: originals under lock) ──Judged──▶ EXCHANGING or Reply

Every step returns exactly one effect; the engine performs it and brings back one event. Nothing
here awaits, reads a clock or draws a number: rows and numbers are made by intake and `numbers`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from enum import IntEnum, auto
from typing import TYPE_CHECKING

import msgspec

from switch import answers
from switch.acquirers.ports import APPROVED, PARTIAL, REMARK, UNMAPPED, Answer
from switch.advice import held, repeat_item
from switch.effects import Decide, Effect, Exchange, Look, Reconsider, Reply, Store
from switch.events import Event, Found, Judged, NoAnswer, NotSent, VaultRefused
from switch.journal import (
    AttemptRow,
    Commit,
    Duplicate,
    FindById,
    Judgement,
    Lost,
    Original,
    OutcomeRow,
    OutcomeState,
    RequestRow,
    Stale,
    Stored,
)
from switch.reversal import SWITCH_TIME_OUT, WireIdentity, reverse
from switch.routing import Passed
from switch.store_and_forward import judge_late_answer
from switch.store_ports import Undecided
from switch.transactions import OnUnknown, TransactionType

if TYPE_CHECKING:
    from switch.journal import Find, Scene


class Stage(IntEnum):  # its hash costs no call in Python: TABLE is asked with it at every step
    RECORDING = auto()
    ENDING = auto()
    JUDGING = auto()
    EXCHANGING = auto()
    REROUTING = auto()
    DECIDING = auto()
    OVERTAKEN = auto()
    REPEATING = auto()


# Bare names for what every request asks for: through its class a member of an enumeration costs as
# much as a call.
RECORDING, ENDING, JUDGING, EXCHANGING, REROUTING, DECIDING, OVERTAKEN, REPEATING = Stage
REPEAT, REVERSE = OnUnknown.REPEAT, OnUnknown.REVERSE
APPROVES_ALL = frozenset((APPROVED, REMARK))
OUTCOME_APPROVED = OutcomeState.APPROVED

# No byte of the request can have left: an error of ours in these is a plain 96.
NOTHING_SENT = frozenset((RECORDING, ENDING, JUDGING, REPEATING))


class NumbersExhaustedError(Exception):
    """No number is left for a reversal or repeat: the request stays undecided until one is."""


class Authorization(msgspec.Struct, eq=False):
    """One request on its way. `step` is called with each event until it returns a Reply."""

    request: RequestRow
    type: TransactionType
    partial_allowed: bool
    now: Callable[[], dt.datetime]
    numbers: Callable[[str], WireIdentity | None]
    alternates: tuple[str, ...] = ()
    # at one of those: its row, or why it can not be tried
    next_attempt: Callable[[RequestRow, AttemptRow, str, Passed], AttemptRow | str] | None = None
    attempt: AttemptRow | None = None
    outcome: OutcomeRow | None = None
    answer: Answer | None = None
    business_date: dt.date | None = None
    original: Original | None = None  # of a void or refund
    stage: Stage = RECORDING

    # -- the ways in --------------------------------------------------------------------------

    def record(self, attempt: AttemptRow) -> Effect:
        """A new request with a route."""
        self.attempt = attempt
        self.stage = RECORDING
        return Store(Commit(request=self.request, attempt=attempt))

    def refuse(self, response_code: str, rule: str) -> Effect:
        """A request that a check after the MAC refuses: kept with its reason."""
        self.stage = ENDING
        self.request = msgspec.structs.replace(self.request, any_batch=True)
        self.outcome = OutcomeRow(
            request_id=self.request.request_id,
            state=OutcomeState.REFUSED,
            response_code=response_code,
            decided_at=self.request.received_at,
            rule=rule,
        )
        return Store(Commit(request=self.request, outcome=self.outcome))

    def take_in(self, commit: Commit) -> Effect:
        """An advice, which brings its outcome along."""
        self.stage = ENDING
        self.attempt, self.outcome = commit.attempt, commit.outcome
        return Store(commit)

    def hold(self, rule: str) -> Effect:
        """An advice that a person must look at."""
        return self.take_in(held(self.request, rule))

    def repeat(self, former: Duplicate) -> Effect:
        """A request that is known before it is stored, to be a repeat."""
        return repeated(self, former)

    def judge(self, find: Find, judge: Callable[[Scene], Judgement]) -> Effect:
        """A void or refund: its original decides."""
        self.stage = JUDGING
        return Decide(find, judge)

    def step(self, event: Event) -> Effect:
        """What to do next. An event that the stage's row does not name is a bug of ours."""
        return TABLE[self.stage, type(event)](self, event)

    def undecided(self) -> Undecided | None:
        """What recovery needs to decide it, should this process fail to; None: nothing is stored."""
        if self.business_date is None or self.attempt is None:
            return None
        sent = () if self.stage is REROUTING else (self.attempt,)
        return Undecided(self.request, self.business_date, sent)

    def reply(self, response_code: str, rule: str) -> Reply:
        return Reply(response_code, rule, self.request, self.attempt, self.outcome)


# -- recording, ending, judging -------------------------------------------------------------


def recorded(auth: Authorization, event: Stored) -> Effect:
    assert auth.attempt is not None
    auth.business_date = event.business_date
    auth.stage = EXCHANGING
    return Exchange(auth.attempt)


def ended(auth: Authorization, _event: Stored) -> Effect:
    assert auth.outcome is not None
    return auth.reply(auth.outcome.response_code, auth.outcome.rule)


def repeated(auth: Authorization, event: Duplicate) -> Effect:
    """The same key again: other content is 94, a tombstone blocks, else the stored answer."""
    auth.attempt = auth.outcome = None
    if event.tombstone:
        return auth.reply("12", "repeat.blocked_by_reversal")
    if event.content != auth.request.content:
        return auth.reply("94", "repeat.content_differs")
    auth.stage = REPEATING
    return Look(event)


def found(auth: Authorization, event: Found) -> Effect:
    """A repeat gets the stored answer while it stands."""
    stored = event.stored
    if stored is None or stored.outcome is None:
        pending = stored is not None and stored.pending
        return auth.reply("98", "repeat.pending" if pending else "repeat.still_in_flight")
    if not stored.standing:
        return Reply("12", "repeat.no_longer_stands", stored.request)
    outcome = stored.outcome
    return Reply(outcome.response_code, "repeat.stored", stored.request, stored.attempt, outcome)


def moved(_auth: Authorization, event: Stale) -> Effect:
    return Reconsider(event.batch_frozen)


def judged(auth: Authorization, event: Judged) -> Effect:
    judgement, verdict = event.judgement, event.verdict
    if isinstance(verdict, Duplicate):
        return repeated(auth, verdict)
    if isinstance(verdict, Stale):
        return Reconsider(verdict.batch_frozen)
    if judgement.commit is None:  # it waited for an earlier follow-up's reversal, and in vain
        if auth.type.advice:  # no numbers for it: it comes again, and is no repeat then
            return auth.reply(judgement.response_code, judgement.rule)
        return auth.refuse(judgement.response_code, judgement.rule)
    assert isinstance(verdict, Stored)
    assert judgement.commit.request is not None
    auth.request = judgement.commit.request
    auth.business_date = verdict.business_date
    if judgement.commit.outcome is not None:
        auth.attempt, auth.outcome = judgement.commit.attempt, judgement.commit.outcome
        return auth.reply(judgement.response_code, judgement.rule)
    assert judgement.commit.attempt is not None
    auth.attempt = judgement.commit.attempt
    auth.original = judgement.original
    auth.stage = EXCHANGING
    return Exchange(auth.attempt)


# -- what came of the attempt ------------------------------------------------------------------


def answered(auth: Authorization, event: Answer) -> Effect:
    auth.answer = event
    kind = event.kind
    if kind in APPROVES_ALL:
        return decide(auth, outcome_approved(auth, event, auth.request.amount_minor))
    if kind is UNMAPPED and auth.type.on_unknown is REPEAT:
        return no_answer(auth, NoAnswer("unmapped response code"))
    if kind is PARTIAL:
        assert event.amount_minor is not None
        if auth.partial_allowed or auth.type.on_unknown is REPEAT:  # never reversed
            return decide(auth, outcome_approved(auth, event, event.amount_minor))
        outcome = outcome_plain(auth, OutcomeState.DECLINED, "51", "partial.not_supported")
        return decide(auth, outcome, reverse_reason=SWITCH_TIME_OUT)
    outcome = outcome_plain(auth, OutcomeState.DECLINED, event.response_code, "acquirer")
    outcome = msgspec.structs.replace(
        outcome,
        acquirer_response_code=event.response_code,
        answer=answers.kept(event.elements),
        on_current_date=auth.type.on_unknown is REPEAT,
    )
    unmapped = kind is UNMAPPED and auth.type.on_unknown is REVERSE
    return decide(auth, outcome, reverse_reason=SWITCH_TIME_OUT if unmapped else "")


def no_answer(auth: Authorization, _event: NoAnswer) -> Effect:
    """Unknown is not declined: reverse, repeat or forget, in the same commit (P3)."""
    if auth.type.on_unknown is REPEAT:
        return decide_pending(auth)
    outcome = outcome_plain(auth, OutcomeState.UNKNOWN, "98", "acquirer.no_answer")
    reverses = auth.type.on_unknown is REVERSE
    return decide(auth, outcome, reverse_reason=SWITCH_TIME_OUT if reverses else "")


def not_sent(auth: Authorization, event: NotSent) -> Effect:
    """Certainly nothing left: the next route, as its own committed attempt, or 91."""
    assert auth.attempt is not None
    if auth.type.on_unknown is REPEAT:
        # Whoever took this request over has queued it, without an outcome that ours could lose to:
        # a decline from here would stand beside a delivered refund. The queue settles who is right.
        return no_answer(auth, NoAnswer(event.reason))
    passed: Passed = ((auth.attempt.acquirer, event.reason),)
    while auth.alternates:
        assert auth.next_attempt is not None, "alternates come with it"
        acquirer, *rest = auth.alternates
        auth.alternates = tuple(rest)
        attempt = auth.next_attempt(auth.request, auth.attempt, acquirer, passed)
        if isinstance(attempt, str):
            passed = (*passed, (acquirer, attempt))
        else:
            assert auth.business_date is not None
            auth.attempt = msgspec.structs.replace(attempt, request_date=auth.business_date)
            auth.stage = REROUTING
            find = FindById(auth.request.request_id, auth.business_date)
            return Decide(find, judge_second_attempt(auth.attempt))
    others = "".join(f", {acquirer} {why}" for acquirer, why in passed[1:])
    rule = f"link.{event.reason}{others}"
    return decide(auth, outcome_plain(auth, OutcomeState.DECLINED, "91", rule))


def vault_refused(auth: Authorization, event: VaultRefused) -> Effect:
    """Nothing left, and no other route would do better: declined, without a reversal."""
    if auth.type.on_unknown is REPEAT:
        return no_answer(auth, NoAnswer(event.rule))  # as in `not_sent`
    return decide(auth, outcome_plain(auth, OutcomeState.DECLINED, event.response_code, event.rule))


def judge_second_attempt(attempt: AttemptRow) -> Callable[[Scene], Judgement]:
    """Under lock: a 0400 or a take-over may have ended the request since its first attempt."""

    def judge(scene: Scene) -> Judgement:
        original = scene.originals[0]
        if original.outcome is not None or not original.in_flight:
            return Judgement(commit=None, response_code="98", rule="outcome.overtaken")
        return Judgement(commit=Commit(attempt=attempt), response_code="", rule="route.alternate")

    return judge


def rerouted(auth: Authorization, event: Judged) -> Effect:
    assert auth.attempt is not None
    if event.judgement.commit is None:
        return overtaken(auth, event)
    auth.stage = EXCHANGING
    return Exchange(auth.attempt)


# -- deciding ----------------------------------------------------------------------------------


def outcome_plain(
    auth: Authorization, state: OutcomeState, response_code: str, rule: str
) -> OutcomeRow:
    assert auth.attempt is not None
    return OutcomeRow(
        request_id=auth.request.request_id,
        request_date=auth.business_date,
        state=state,
        response_code=response_code,
        decided_at=auth.now(),
        rule=rule,
        attempt=auth.attempt.attempt,
    )


def outcome_approved(auth: Authorization, answer: Answer, amount_minor: int) -> OutcomeRow:
    """All approved kinds capture, the approved amount and never the requested one (P5)."""
    assert 0 <= amount_minor <= auth.request.amount_minor
    assert auth.attempt is not None
    request, type_ = auth.request, auth.type
    # By position, in the order of its fields: by name the whole row costs five times as much.
    return OutcomeRow(
        request.request_id,
        OUTCOME_APPROVED,
        answer.response_code,
        auth.now(),
        "acquirer",  # whose rule it is
        auth.business_date,
        auth.attempt.attempt,
        amount_minor,
        type_.sign * amount_minor if type_.sign else None,
        answer.auth_code,
        answer.settlement_date,
        "" if answer.rrn == request.rrn else answer.rrn,
        answer.response_code,
        answers.kept(answer.elements),
        type_.on_unknown is REPEAT,  # on the current date
    )


def decide(auth: Authorization, outcome: OutcomeRow, reverse_reason: str = "") -> Effect:
    """Store the outcome, with its reversal in the same commit where one follows."""
    auth.outcome = outcome
    auth.stage = DECIDING
    if not reverse_reason:
        return Store(Commit(outcome=outcome))
    commit = reverse(
        as_original(auth), auth.numbers, "time_out", reverse_reason, outcome.decided_at
    )
    if commit is None:
        raise NumbersExhaustedError(auth.attempt)
    return Store(msgspec.structs.replace(commit, outcome=outcome))


def decide_pending(auth: Authorization) -> Effect:
    """A refund without answer is repeated until answered; its outcome comes later (rules §2)."""
    attempt = auth.attempt
    assert attempt is not None
    assert auth.business_date is not None
    auth.stage = DECIDING
    auth.outcome = None
    queue = repeat_item(auth.request, attempt, auth.business_date, auth.numbers)
    if queue is None:
        raise NumbersExhaustedError(attempt)
    return Store(Commit(queue=queue))


def as_original(auth: Authorization) -> Original:
    """The request as `reverse` sees it, before anything else is known of it."""
    assert auth.business_date is not None
    assert auth.attempt is not None
    return Original(
        request=auth.request,
        request_date=auth.business_date,
        attempts=(auth.attempt,),
        outcome=None,
        outcome_date=None,
        captured_minor=0,
        reversals=(),
        reversal_response=None,
        follow_ups=(),
        date_state="open",
        batch_state="open",
        in_flight=True,
        pending=False,
    )


def decided(auth: Authorization, _event: Stored) -> Effect:
    if auth.outcome is None:
        return auth.reply("98", "refund.pending")
    return auth.reply(auth.outcome.response_code, auth.outcome.rule)


def lost(auth: Authorization, _event: Lost) -> Effect:
    """Another outcome stands: an answer that came is now a late one (rules §5)."""
    if auth.answer is None:
        return overtaken(auth, None)
    assert auth.attempt is not None
    assert auth.business_date is not None
    auth.stage = OVERTAKEN
    judge = judge_late_answer(
        auth.attempt, auth.business_date, auth.answer, "late", auth.numbers, auth.now()
    )
    return Decide(FindById(auth.request.request_id, auth.business_date), judge)


def overtaken(auth: Authorization, _event: Judged | None) -> Effect:
    auth.outcome = None
    return auth.reply("98", "outcome.overtaken")


# The whole machine. A pair that is not here can not happen.
TABLE: dict[tuple[Stage, type], Callable[..., Effect]] = {
    (RECORDING, Stored): recorded,
    (RECORDING, Duplicate): repeated,
    (RECORDING, Stale): moved,
    (ENDING, Stored): ended,
    (ENDING, Duplicate): repeated,
    (ENDING, Stale): moved,
    (JUDGING, Judged): judged,
    (EXCHANGING, Answer): answered,
    (EXCHANGING, NoAnswer): no_answer,
    (EXCHANGING, NotSent): not_sent,
    (EXCHANGING, VaultRefused): vault_refused,
    (REROUTING, Judged): rerouted,
    (DECIDING, Stored): decided,
    (DECIDING, Lost): lost,
    (OVERTAKEN, Judged): overtaken,
    (REPEATING, Found): found,
}
