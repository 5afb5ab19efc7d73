"""The state machine of an authorisation, step by step.

Goal: every row of its table and what each writes (rules §2 to §5). Method: events by hand; the effect
that comes back is compared. A property walks random events and holds that the machine ends.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from switch.acquirers.ports import Answer, AnswerKind
from switch.advice import Way, taken_in
from switch.authorization import TABLE, Authorization, NumbersExhaustedError, Stage
from switch.effects import Decide, Effect, Exchange, Look, Reconsider, Reply, Store
from switch.events import Found, Judged, NoAnswer, NotSent, VaultRefused
from switch.journal import (
    AttemptRow,
    Duplicate,
    Judgement,
    Lost,
    OutcomeState,
    RequestRow,
    Scene,
    Stale,
    Stored,
    StoredOutcome,
)
from switch.reversal import WireIdentity
from switch.transactions import TYPES
from tests.switch.rows import APPROVED, ATTEMPT, NOW, REQUEST, TODAY, original, outcome

if TYPE_CHECKING:
    from switch.routing import Passed


def machine(
    type_: str = "purchase", *, partial: bool = False, alternates: int = 0
) -> Authorization:
    def next_attempt(
        request: RequestRow, former: AttemptRow, acquirer: str, passed: Passed
    ) -> AttemptRow:
        return msgspec.structs.replace(former, attempt=former.attempt + 1, acquirer=acquirer)

    auth = Authorization(
        msgspec.structs.replace(REQUEST, type=type_),
        TYPES[type_],
        partial_allowed=partial,
        now=lambda: NOW,
        numbers=lambda acquirer: WireIdentity(77, "000002", "0304120001"),
        next_attempt=next_attempt,
    )
    auth.alternates = tuple(f"alternate_{n}" for n in range(alternates))
    return auth


def exchanging(type_: str = "purchase", **options: Any) -> Authorization:
    auth = machine(type_, **options)
    auth.record(ATTEMPT)
    assert auth.step(Stored(TODAY)) == Exchange(ATTEMPT)
    return auth


def answer(kind: AnswerKind, code: str, amount_minor: int | None = None) -> Answer:
    return Answer(kind, code, amount_minor, "A00001", dt.date(2026, 3, 5), REQUEST.rrn)


def test_the_attempt_is_durable_before_it_is_exchanged() -> None:
    auth = machine()
    effect = auth.record(ATTEMPT)
    assert isinstance(effect, Store)
    assert effect.commit.request is auth.request
    assert effect.commit.attempt is ATTEMPT
    assert auth.step(Stored(TODAY)) == Exchange(ATTEMPT)


# type, event → state, response code, effect on money, is a reversal queued, a repeat queued
ENDS: list[tuple[str, Any, OutcomeState | None, str, int | None, bool, bool]] = [
    ("purchase", answer(AnswerKind.APPROVED, "00"), OutcomeState.APPROVED, "00", 10_000, False, False),
    ("purchase", answer(AnswerKind.REMARK, "A2"), OutcomeState.APPROVED, "A2", 10_000, False, False),
    ("purchase", answer(AnswerKind.DECLINED, "51"), OutcomeState.DECLINED, "51", None, False, False),
    ("purchase", answer(AnswerKind.UNMAPPED, "ZZ"), OutcomeState.DECLINED, "ZZ", None, True, False),
    ("purchase", answer(AnswerKind.PARTIAL, "10", 4_000), OutcomeState.DECLINED, "51", None, True, False),
    ("purchase", NoAnswer("timeout"), OutcomeState.UNKNOWN, "98", None, True, False),
    ("purchase", NotSent("link_down"), OutcomeState.DECLINED, "91", None, False, False),
    ("purchase", VaultRefused("99", "pin.block"), OutcomeState.DECLINED, "99", None, False, False),
    ("void", answer(AnswerKind.APPROVED, "00"), OutcomeState.APPROVED, "00", -10_000, False, False),
    ("void", NoAnswer("timeout"), OutcomeState.UNKNOWN, "98", None, True, False),
    ("refund", answer(AnswerKind.APPROVED, "00"), OutcomeState.APPROVED, "00", -10_000, False, False),
    ("refund", answer(AnswerKind.DECLINED, "91"), OutcomeState.DECLINED, "91", None, False, False),
    ("refund", NoAnswer("timeout"), None, "98", None, False, True),
    ("refund", answer(AnswerKind.UNMAPPED, "ZZ"), None, "98", None, False, True),
    ("balance", answer(AnswerKind.APPROVED, "00"), OutcomeState.APPROVED, "00", None, False, False),
    ("balance", NoAnswer("timeout"), OutcomeState.UNKNOWN, "98", None, False, False),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "event", "state", "code", "money", "reverses", "repeats"), ENDS)
def test_what_comes_of_an_attempt(
    type_: str,
    event: Any,
    state: OutcomeState | None,
    code: str,
    money: int | None,
    reverses: bool,
    repeats: bool,
) -> None:
    auth = exchanging(type_)
    effect = auth.step(event)
    assert isinstance(effect, Store)
    commit = effect.commit
    assert (None if commit.outcome is None else commit.outcome.state) == state
    if commit.outcome is not None:
        assert commit.outcome.effect_minor == money
        assert commit.outcome.request_date == TODAY
    assert (commit.reversal is not None) is reverses
    assert (commit.queue is not None) is (reverses or repeats)
    if commit.queue is not None:
        assert commit.queue.kind == ("reversal" if reverses else "repeat")
    reply = auth.step(Stored(TODAY))
    assert isinstance(reply, Reply)
    assert reply.response_code == code


def test_a_repeat_of_a_refund_keeps_its_wire_identity() -> None:
    effect = exchanging("refund").step(NoAnswer("timeout"))
    assert isinstance(effect, Store)
    queue = effect.commit.queue
    assert queue is not None
    assert (queue.link_stan, queue.transmission_time) == (
        ATTEMPT.link_stan,
        ATTEMPT.transmission_time,
    )


@pytest.mark.parametrize("event", [NotSent("send_by_passed"), VaultRefused("96", "vault.failed")])
def test_a_refund_that_did_not_leave_is_left_to_the_queue(event: Any) -> None:
    effect = exchanging("refund").step(event)
    assert isinstance(effect, Store)
    assert effect.commit.outcome is None
    assert effect.commit.queue is not None


def test_a_reversal_has_a_wire_identity_of_its_own() -> None:
    effect = exchanging().step(NoAnswer("timeout"))
    assert isinstance(effect, Store)
    queue = effect.commit.queue
    assert queue is not None
    assert queue.link_stan != ATTEMPT.link_stan


def test_partial_is_captured_in_part_where_it_is_allowed() -> None:
    effect = exchanging(partial=True).step(answer(AnswerKind.PARTIAL, "10", 4_000))
    assert isinstance(effect, Store)
    outcome = effect.commit.outcome
    assert outcome is not None
    assert (outcome.approved_amount_minor, outcome.effect_minor) == (4_000, 4_000)


def test_nothing_sent_takes_the_next_route_as_its_own_committed_attempt() -> None:
    auth = exchanging(alternates=1)
    effect = auth.step(NotSent("link_down"))
    assert isinstance(effect, Decide)
    undecided = original(outcome=None, outcome_date=None, captured_minor=0, in_flight=True)
    judgement = effect.judge(Scene(TODAY, 1, (undecided,)))
    assert judgement.commit is not None
    second = judgement.commit.attempt
    assert second is not None
    assert (second.acquirer, second.attempt, second.request_date) == ("alternate_0", 2, TODAY)
    assert judgement.commit.request is None
    assert auth.step(Judged(judgement, Stored(TODAY))) == Exchange(second)


@pytest.mark.parametrize(
    "since",
    [{"outcome": outcome(OutcomeState.REVERSED)}, {"outcome": None, "in_flight": False}],
    ids=["a 0400 won", "taken over"],
)
def test_no_second_attempt_of_what_was_ended_meanwhile(since: dict[str, Any]) -> None:
    auth = exchanging(alternates=1)
    effect = auth.step(NotSent("link_down"))
    assert isinstance(effect, Decide)
    judgement = effect.judge(Scene(TODAY, 1, (original(captured_minor=0, **since),)))
    assert judgement.commit is None
    reply = auth.step(Judged(judgement, None))
    assert isinstance(reply, Reply)
    assert reply.response_code == "98"


@pytest.mark.parametrize("type_", ["purchase", "refund"])
def test_without_numbers_it_stays_undecided(type_: str) -> None:
    auth = exchanging(type_)
    auth.numbers = lambda acquirer: None
    with pytest.raises(NumbersExhaustedError):
        auth.step(NoAnswer("timeout"))
    undecided = auth.undecided()
    assert undecided is not None
    assert undecided.attempts == (ATTEMPT,)


def test_no_answer_never_takes_another_route() -> None:
    effect = exchanging(alternates=1).step(NoAnswer("timeout"))
    assert isinstance(effect, Store)
    assert effect.commit.attempt is None


def test_an_approval_that_lost_its_outcome_is_late() -> None:
    auth = exchanging()
    auth.step(answer(AnswerKind.APPROVED, "00"))
    effect = auth.step(Lost(1))
    assert isinstance(effect, Decide)
    reply = auth.step(Judged(Judgement(None, "", "late"), None))
    assert isinstance(reply, Reply)
    assert reply.response_code == "98"


def test_silence_that_lost_its_outcome_has_nothing_to_add() -> None:
    auth = exchanging()
    auth.step(NoAnswer("timeout"))
    reply = auth.step(Lost(1))
    assert isinstance(reply, Reply)
    assert reply.response_code == "98"


def stored(standing: bool = True, **changes: Any) -> StoredOutcome:
    plain = StoredOutcome(REQUEST, TODAY, ATTEMPT, APPROVED, standing, pending=False)
    return msgspec.structs.replace(plain, **changes)


# duplicate, what is found of it → response code
REPEATS = [
    (Duplicate(1, TODAY, REQUEST.content, False), stored(), "00"),
    (Duplicate(1, TODAY, REQUEST.content, False), stored(standing=False), "12"),
    (Duplicate(1, TODAY, REQUEST.content, False), stored(outcome=None), "98"),
    (Duplicate(1, TODAY, REQUEST.content, False), stored(outcome=None, pending=True), "98"),
    (Duplicate(1, TODAY, REQUEST.content, False), None, "98"),
    (Duplicate(1, TODAY, b"other content", False), None, "94"),
    (Duplicate(1, TODAY, REQUEST.content, True), None, "12"),
]


@pytest.mark.parametrize(("duplicate", "found", "code"), REPEATS)
def test_a_repeat(duplicate: Duplicate, found: StoredOutcome | None, code: str) -> None:
    auth = machine()
    auth.record(ATTEMPT)
    effect = auth.step(duplicate)
    if isinstance(effect, Look):
        effect = auth.step(Found(found))
    assert isinstance(effect, Reply)
    assert effect.response_code == code


def test_moved_ground_is_looked_at_again() -> None:
    auth = machine()
    auth.record(ATTEMPT)
    assert auth.step(Stale(2, False)) == Reconsider(batch_frozen=False)
    auth = machine()
    auth.record(ATTEMPT)
    assert auth.step(Stale(2, True)) == Reconsider(batch_frozen=True)


EVENTS = st.one_of(
    st.sampled_from(
        [
            Stored(TODAY),
            Lost(1),
            Stale(2, False),
            NoAnswer("timeout"),
            NotSent("link_down"),
            VaultRefused("96", "vault"),
            Duplicate(1, TODAY, REQUEST.content, False),
            Duplicate(1, TODAY, b"other", False),
            Found(stored()),
            Found(None),
            Judged(Judgement(None, "25", "test"), None),
        ]
    ),
    st.sampled_from(AnswerKind).map(lambda kind: answer(kind, "00", 4_000)),
)


@given(
    st.sampled_from(["purchase", "void", "refund", "balance"]),
    st.integers(0, 3),
    st.lists(EVENTS, max_size=60),
)
def test_it_ends_and_never_sends_again_after_silence(
    type_: str, alternates: int, events: list[Any]
) -> None:
    auth = machine(type_, alternates=alternates)
    effect: Effect = auth.record(ATTEMPT)
    silent = False
    steps = 0
    for event in events:
        if isinstance(effect, Reply | Reconsider):
            break
        if (auth.stage, type(event)) not in TABLE:
            continue
        if auth.stage is Stage.EXCHANGING and not isinstance(event, NotSent):
            silent = True
        effect = auth.step(event)
        steps += 1
        assert not (silent and isinstance(effect, Exchange)), "sent again as new (P3)"
    assert steps <= 6 + 2 * alternates


# -- advices ------------------------------------------------------------------------------------


def test_an_advice_is_told_00_once_its_commit_stands() -> None:
    auth = machine("offline_sale")
    way = Way(ATTEMPT, "V12345", auth.numbers)
    commit = taken_in(auth.request, way, 10_000, auth.request.request_id)
    assert commit is not None
    assert auth.take_in(commit) == Store(commit)
    assert (commit.outcome is not None, commit.queue is not None) == (True, True)
    reply = auth.step(Stored(TODAY))
    assert isinstance(reply, Reply)
    assert (reply.response_code, reply.rule) == ("00", "advice.taken_in")
    assert auth.undecided() is None, "nothing is left to recovery"


def test_a_held_advice_is_told_00_too() -> None:
    auth = machine("offline_sale")
    effect = auth.hold("card.number")
    assert isinstance(effect, Store)
    assert effect.commit.case is not None
    reply = auth.step(Stored(TODAY))
    assert isinstance(reply, Reply)
    assert (reply.response_code, reply.rule) == ("00", "held.card.number")


def test_no_queue_item_no_commit() -> None:
    way = Way(ATTEMPT, "", lambda _: None)
    assert taken_in(REQUEST, way, 10_000, 1) is None


def test_a_refund_that_is_approved_in_part_is_never_reversed() -> None:
    effect = exchanging("refund").step(answer(AnswerKind.PARTIAL, "10", 4_000))
    assert isinstance(effect, Store)
    assert effect.commit.reversal is None
    assert effect.commit.outcome is not None
    assert effect.commit.outcome.effect_minor == -4_000
