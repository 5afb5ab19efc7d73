"""Voids and refunds by the state of their originals.

Goal: rules §7, one scenario a line. Method: the pure judges on scenes made by hand.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from switch.advice import Way
from switch.follow_up import (
    FollowUpAsk,
    judge_adjustment,
    judge_completion,
    judge_refund,
    judge_release,
    judge_void,
)
from switch.journal import AttemptRow, Original, OutcomeState, Scene
from switch.reversal import WireIdentity
from tests.switch.rows import ATTEMPT, KEY, REQUEST, REVERSAL, TODAY, follow_up, original, outcome

OTHER_BATCH = msgspec.structs.replace(REQUEST, key=msgspec.structs.replace(KEY, batch=6))


def ask(type_: str, amount_minor: int = 10_000, **changes: Any) -> FollowUpAsk:
    request = msgspec.structs.replace(
        REQUEST,
        request_id=3,
        type=type_,
        amount_minor=amount_minor,
        key=msgspec.structs.replace(KEY, stan=43, kind="020.20"),
    )

    def attempt(acquirer: str) -> AttemptRow | None:
        return msgspec.structs.replace(ATTEMPT, request_id=3, acquirer=acquirer)

    plain = FollowUpAsk(request, attempt, rrn="", auth_code="", refund_window_days=180)
    return msgspec.structs.replace(plain, **changes)


def aged(days: int) -> Original:
    return original(outcome_date=TODAY - dt.timedelta(days=days), date_state="posted")


# originals, the ask → "" allowed, else the response code
VOIDS: dict[str, tuple[tuple[Original, ...], FollowUpAsk, str]] = {
    "allowed": ((original(),), ask("void"), ""),
    "no original": ((), ask("void"), "25"),
    "original declined": ((original(outcome=outcome(OutcomeState.DECLINED)),), ask("void"), "12"),
    "original unknown yet": ((original(outcome=None),), ask("void"), "12"),
    "original reversed": ((original(reversals=(REVERSAL,)),), ask("void"), "12"),
    "voided before": ((original(follow_ups=(follow_up("void"),)),), ask("void"), "12"),
    "void in flight": ((original(follow_ups=(follow_up("void", state=None),)),), ask("void"), "12"),
    "refunded": ((original(follow_ups=(follow_up("refund", 1),)),), ask("void"), "12"),
    "earlier void declined": (
        (original(follow_ups=(follow_up("void", state=OutcomeState.DECLINED),)),), ask("void"), "",
    ),
    "earlier void reversed": (
        (original(follow_ups=(follow_up("void", reversed_=True, final=True),)),), ask("void"), "",
    ),
    "not today": ((aged(1),), ask("void"), "22"),
    "other batch": ((original(request=OTHER_BATCH),), ask("void"), "22"),
    "part of the amount": ((original(),), ask("void", 9_999), "64"),
    "other card": (
        (original(request=msgspec.structs.replace(REQUEST, pan_token=b"other")),), ask("void"), "12",
    ),
    "other RRN": ((original(),), ask("void", rrn="999999999999"), "12"),
    "right RRN": ((original(),), ask("void", rrn=REQUEST.rrn), ""),
    "other authorisation code": ((original(),), ask("void", auth_code="XXXXXX"), "12"),
    "link down": ((original(),), ask("void", attempt=lambda acquirer: None), "91"),
}  # fmt: skip

REFUNDS: dict[str, tuple[tuple[Original, ...], FollowUpAsk, str]] = {
    "in full": ((aged(3),), ask("refund"), ""),
    "in part": ((aged(3),), ask("refund", 1), ""),
    "too much": ((aged(3),), ask("refund", 10_001), "64"),
    "no original": ((), ask("refund"), "25"),
    "last day": ((aged(180),), ask("refund"), ""),
    "too late": ((aged(181),), ask("refund"), "22"),
    "second within the rest": (
        (original(follow_ups=(follow_up("refund", 4_000),)),), ask("refund", 6_000), "",
    ),
    "second beyond the rest": (
        (original(follow_ups=(follow_up("refund", 4_000),)),), ask("refund", 6_001), "64",
    ),
    "pending ones count": (
        (original(follow_ups=(follow_up("refund", 4_000, state=None),)),), ask("refund", 6_001), "64",
    ),
    "declined ones do not": (
        (original(follow_ups=(follow_up("refund", 4_000, state=OutcomeState.DECLINED),)),),
        ask("refund"), "",
    ),
    "voided": ((original(follow_ups=(follow_up("void"),)),), ask("refund"), "12"),
    "partly approved": (
        (original(outcome=outcome(OutcomeState.APPROVED), captured_minor=4_000),),
        ask("refund", 4_001), "64",
    ),
    "two approved originals": ((aged(3), aged(4)), ask("refund"), "25"),
}  # fmt: skip


@pytest.mark.parametrize("name", VOIDS)
def test_void(name: str) -> None:
    check(judge_void, *VOIDS[name])


@pytest.mark.parametrize("name", REFUNDS)
def test_refund(name: str) -> None:
    check(judge_refund, *REFUNDS[name])


def check(judge: Any, originals: tuple[Original, ...], asked: FollowUpAsk, code: str) -> None:
    judgement = judge(asked, Scene(TODAY, 1, originals))
    assert judgement.response_code == code, judgement.rule
    commit = judgement.commit
    assert commit is not None
    assert commit.request is not None, "kept, allowed or not"
    assert (commit.attempt is not None) is (code == "")
    assert (commit.outcome is not None) is (code != "")
    if code == "":
        assert commit.request.original_request_id == 1
        assert commit.attempt is not None
        assert commit.attempt.acquirer == "bank_a", "where the original was approved"


def test_a_refund_without_an_original_is_sent_and_looked_at_where_that_is_allowed() -> None:
    anew = msgspec.structs.replace(ATTEMPT, request_id=3, acquirer="bank_b")
    asked = ask("refund", unreferenced=lambda: anew)
    judgement = judge_refund(asked, Scene(TODAY, 1, ()))
    assert judgement.commit is not None
    assert judgement.commit.attempt is not None
    assert judgement.commit.attempt.acquirer == "bank_b"
    assert judgement.commit.case is not None
    assert judgement.commit.request is not None
    assert judgement.commit.request.original_request_id is None
    too_late = judge_refund(asked, Scene(TODAY, 1, (aged(181),)))
    assert too_late.response_code == "22", "an original that is found decides"
    down = ask("refund", unreferenced=lambda: (("bank_b", "link_down"),))
    assert judge_refund(down, Scene(TODAY, 1, ())).response_code == "91"


def test_a_void_waits_for_the_word_on_an_earlier_ones_reversal() -> None:
    waiting = original(follow_ups=(follow_up("void", reversed_=True, final=False),))
    judgement = judge_void(ask("void"), Scene(TODAY, 1, (waiting,)))
    assert judgement.wait
    assert judgement.commit is None


# -- pre-authorisations ------------------------------------------------------------------------

HELD_MINOR = 10_000
PRE = msgspec.structs.replace(
    REQUEST, type="pre_authorisation", key=msgspec.structs.replace(KEY, kind="010.03")
)


def hold(days: int = 0, **changes: Any) -> Original:
    """Approved, and moving no money."""
    approved = outcome(OutcomeState.APPROVED, approved_amount_minor=HELD_MINOR)
    date = TODAY - dt.timedelta(days=days)
    return original(request=PRE, outcome=approved, captured_minor=0, outcome_date=date, **changes)


HOLDS: dict[str, tuple[Any, tuple[Original, ...], FollowUpAsk, str]] = {
    "completed for less": (judge_completion, (hold(),), ask("completion", 1), ""),
    "completed at the bound": (judge_completion, (hold(),), ask("completion", 11_500), ""),
    "completed beyond it": (judge_completion, (hold(),), ask("completion", 11_501), "64"),
    "on the last day": (judge_completion, (hold(30),), ask("completion"), ""),
    "expired": (judge_completion, (hold(31),), ask("completion"), "22"),
    "of a purchase": (judge_completion, (original(),), ask("completion"), "25"),
    "completed before": (
        judge_completion, (hold(follow_ups=(follow_up("completion", 1),)),), ask("completion"), "12",
    ),
    "completion in flight": (
        judge_completion, (hold(follow_ups=(follow_up("completion", 1, None),)),), ask("completion"), "12",
    ),
    "advised before": (
        judge_completion, (hold(follow_ups=(follow_up("completion_advice"),)),), ask("completion"), "12",
    ),
    "completion reversed": (
        judge_completion,
        (hold(follow_ups=(follow_up("completion", reversed_=True, final=True),)),),
        ask("completion"), "",
    ),
    "voided before": (
        judge_completion, (hold(follow_ups=(follow_up("pre_authorisation_void"),)),), ask("completion"), "12",
    ),
    "released": (judge_release, (hold(),), ask("pre_authorisation_void"), ""),
    "released in part": (judge_release, (hold(),), ask("pre_authorisation_void", 9_999), "64"),
    "released after its completion": (
        judge_release, (hold(follow_ups=(follow_up("completion"),)),), ask("pre_authorisation_void"), "12",
    ),
    "released too late": (judge_release, (hold(31),), ask("pre_authorisation_void"), "22"),
    "a completion voided elsewhere": (
        judge_void,
        (original(request=msgspec.structs.replace(
            REQUEST, type="completion", key=msgspec.structs.replace(KEY, terminal="T0000002"))),),
        ask("completion_void"), "12",
    ),
    "a completion voided": (
        judge_void, (original(request=msgspec.structs.replace(REQUEST, type="completion")),),
        ask("completion_void"), "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOLDS)
def test_hold(name: str) -> None:
    check(*HOLDS[name])


# -- advices -----------------------------------------------------------------------------------


def advice(type_: str, amount_minor: int = 10_000, **changes: Any) -> FollowUpAsk:
    def way(acquirer: str) -> Way:
        attempt = msgspec.structs.replace(ATTEMPT, request_id=3, acquirer=acquirer)
        return Way(attempt, "V12345", lambda _: WireIdentity(8, "000009", "0304120009"))

    return ask(type_, amount_minor, **{"way": way, **changes})


def test_a_completion_advice_is_captured_and_queued_at_once() -> None:
    judgement = judge_completion(advice("completion_advice", 9_000), Scene(TODAY, 1, (hold(),)))
    commit = judgement.commit
    assert judgement.response_code == "00"
    assert commit is not None
    assert commit.outcome is not None
    assert (commit.outcome.effect_minor, commit.outcome.auth_code) == (9_000, "V12345")
    assert commit.queue is not None
    assert (commit.queue.kind, commit.queue.root_request_id) == ("repeat", 1)
    assert (commit.queue.link_stan, commit.queue.transmission_time) == (
        ATTEMPT.link_stan,
        ATTEMPT.transmission_time,
    )


def test_it_does_not_wait_for_a_reversal_but_queues_behind_it() -> None:
    waiting = hold(follow_ups=(follow_up("completion", reversed_=True, final=False),))
    assert not judge_completion(advice("completion_advice"), Scene(TODAY, 1, (waiting,))).wait
    assert judge_completion(ask("completion"), Scene(TODAY, 1, (waiting,))).wait


@pytest.mark.parametrize(
    ("judge", "asked", "originals", "rule"),
    [
        (judge_completion, advice("completion_advice"), (), "original.not_found"),
        (judge_completion, advice("completion_advice", 11_501), (hold(),), "completion.too_much"),
        (judge_completion, advice("completion_advice"), (hold(31),), "completion.expired"),
        (
            judge_adjustment,
            advice("tip"),
            (original(request=OTHER_BATCH),),
            "adjustment.other_batch",
        ),
        (
            judge_adjustment,
            advice("adjustment"),
            (original(follow_ups=(follow_up("refund", 1),)),),
            "adjustment.refund_stands",
        ),
    ],
)
def test_an_advice_that_can_not_be_taken_at_its_word_is_held(
    judge: Any, asked: FollowUpAsk, originals: tuple[Original, ...], rule: str
) -> None:
    judgement = judge(asked, Scene(TODAY, 1, originals))
    commit = judgement.commit
    assert (judgement.response_code, judgement.rule) == ("00", f"held.{rule}")
    assert commit.outcome.state is OutcomeState.REFUSED
    assert (commit.outcome.response_code, commit.outcome.effect_minor) == ("00", None)
    assert (commit.attempt, commit.queue) == (None, None)
    assert commit.case.kind == "advice_held"
    assert commit.request.original_request_id is None, "it stands in nothing's way"


def test_an_advice_without_numbers_leaves_nothing() -> None:
    asked = advice("completion_advice", way=lambda _: None)
    judgement = judge_completion(asked, Scene(TODAY, 1, (hold(),)))
    assert (judgement.commit, judgement.response_code) == (None, "96")


def tipped(captured_minor: int) -> Any:
    tip = follow_up("tip", 10_000 + captured_minor)
    return msgspec.structs.replace(tip, captured_minor=captured_minor)


@pytest.mark.parametrize(
    ("total_minor", "before", "effect_minor"),
    [(12_000, (), 2_000), (7_000, (), -3_000), (10_000, (), 0), (12_500, (tipped(2_000),), 500)],
)
def test_an_adjustment_captures_the_change(
    total_minor: int, before: tuple[Any, ...], effect_minor: int
) -> None:
    scene = Scene(TODAY, 1, (original(follow_ups=before),))
    commit = judge_adjustment(advice("adjustment", total_minor), scene).commit
    assert commit is not None
    assert commit.outcome is not None
    assert commit.outcome.effect_minor == effect_minor


def test_a_refund_may_take_back_the_tip_and_a_void_not() -> None:
    sale = original(follow_ups=(tipped(2_000),))
    check(judge_refund, (sale,), ask("refund", 12_000), "")
    check(judge_refund, (sale,), ask("refund", 12_001), "64")
    check(judge_void, (sale,), ask("void"), "12")


def test_what_follows_an_advice_waits_until_its_bank_knows_it() -> None:
    judgement = judge_refund(ask("refund"), Scene(TODAY, 1, (original(undelivered=True),)))
    assert (judgement.wait, judgement.commit, judgement.response_code) == (True, None, "91")
