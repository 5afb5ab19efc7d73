"""Voids and refunds by the state of their originals.

Goal: rules §7, one scenario a line. Method: the pure judges on scenes made by hand.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from switch.follow_up import FollowUpAsk, judge_refund, judge_void
from switch.journal import AttemptRow, Original, OutcomeState, Scene
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
    judgement = judge_refund(ask("refund", unreferenced="bank_b"), Scene(TODAY, 1, ()))
    assert judgement.commit is not None
    assert judgement.commit.attempt is not None
    assert judgement.commit.attempt.acquirer == "bank_b"
    assert judgement.commit.case is not None
    assert judgement.commit.request is not None
    assert judgement.commit.request.original_request_id is None
    too_late = judge_refund(ask("refund", unreferenced="bank_b"), Scene(TODAY, 1, (aged(181),)))
    assert too_late.response_code == "22", "an original that is found decides"


def test_a_void_waits_for_the_word_on_an_earlier_ones_reversal() -> None:
    waiting = original(follow_ups=(follow_up("void", reversed_=True, final=False),))
    judgement = judge_void(ask("void"), Scene(TODAY, 1, (waiting,)))
    assert judgement.wait
    assert judgement.commit is None
