"""A terminal's 0400 by the state of its original.

Goal: the table of rules §6, one scenario a line, and what each writes. Method: the pure judge on
scenes made by hand.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from switch.journal import Original, OutcomeState, Scene
from switch.reversal import ReversalAsk, WireIdentity, judge_reversal
from tests.switch.rows import (
    KEY,
    NOW,
    PAN_TOKEN,
    REQUEST,
    REVERSAL,
    TODAY,
    follow_up,
    original,
    outcome,
)

TOMBSTONE = msgspec.structs.replace(REQUEST, request_id=2, type="tombstone")
FLYING: dict[str, Any] = {
    "outcome": None,
    "outcome_date": None,
    "captured_minor": 0,
    "in_flight": True,
}


def ask(**changes: Any) -> ReversalAsk:
    plain = ReversalAsk(
        key=KEY,
        pan_token=PAN_TOKEN,
        amount_minor=10_000,
        reason="98",
        tombstone=TOMBSTONE,
        numbers=lambda acquirer: WireIdentity(77, "000002", "0304120001"),
        received_at=NOW,
        answer_wait_s=32.0,
    )
    return msgspec.structs.replace(plain, **changes)


def declined(state: OutcomeState) -> Original:
    return original(outcome=outcome(state, response_code="51"), captured_minor=0)


# original, what the 0400 says differently → answer, is a 0420 queued, what becomes of the capture
TABLE: dict[str, tuple[Original | None, dict[str, Any], str, bool, str]] = {
    "unknown": (None, {}, "25", False, ""),
    "tombstone": (original(request=TOMBSTONE), {}, "25", False, ""),
    "in flight": (original(**FLYING), {}, "00", True, ""),
    "declined": (declined(OutcomeState.DECLINED), {}, "00", False, ""),
    "refused, nothing sent": (declined(OutcomeState.REFUSED), {}, "00", False, ""),
    "of a type no table knows": (
        original(
            request=msgspec.structs.replace(REQUEST, type="unsupported"),
            attempts=(),
            outcome=outcome(OutcomeState.REFUSED, response_code="40"),
            captured_minor=0,
        ),
        {}, "00", False, "",
    ),
    "already reversed": (original(reversals=(REVERSAL,)), {}, "00", False, ""),
    "approved": (original(), {}, "00", True, "cancel"),
    "approved, other reason": (original(), {"reason": "06"}, "00", True, "cancel"),
    "approved, no card named": (original(), {"pan_token": None}, "00", True, "cancel"),
    "approved, date cut": (original(date_state="cut"), {}, "00", True, "cancel"),
    "approved, date frozen": (original(date_state="frozen"), {}, "00", True, "opposite"),
    "approved, batch closed": (original(batch_state="closed"), {}, "00", True, "cancel"),
    "date posted": (original(date_state="posted"), {}, "12", False, ""),
    "voided": (original(follow_ups=(follow_up("void"),)), {}, "12", False, ""),
    "void in flight": (original(follow_ups=(follow_up("void", state=None),)), {}, "12", False, ""),
    "void declined": (
        original(follow_ups=(follow_up("void", state=OutcomeState.DECLINED),)), {}, "00", True, "cancel",
    ),
    "void reversed": (
        original(follow_ups=(follow_up("void", reversed_=True),)), {}, "00", True, "cancel",
    ),
    "refunded in part": (original(follow_ups=(follow_up("refund", 1),)), {}, "12", False, ""),
    "tipped": (original(follow_ups=(follow_up("tip", 1),)), {}, "12", False, ""),
    "its script's result came": (
        original(follow_ups=(follow_up("script_result", 0),)), {}, "00", True, "cancel",
    ),
    "amount differs": (original(), {"amount_minor": 9_999}, "12", False, ""),
    "PAN differs": (original(), {"pan_token": b"another"}, "12", False, ""),
    "in flight, amount differs": (original(**FLYING), {"amount_minor": 1}, "12", False, ""),
    "a refund": (
        original(request=msgspec.structs.replace(REQUEST, type="refund")), {}, "12", False, "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_table(name: str) -> None:
    found, said, answer, queued, capture = TABLE[name]
    scene = Scene(TODAY, 1, () if found is None else (found,))
    judgement = judge_reversal(ask(**said), scene)
    commit = judgement.commit
    assert commit is not None
    assert judgement.response_code == answer
    assert commit.reversal_request is not None, "a 0400 is kept, whatever came of it"
    assert commit.reversal_request.response_code == answer
    assert (commit.queue is not None) is queued
    assert (commit.reversal is not None) is queued
    assert (commit.reversal.capture if commit.reversal else "") == capture
    assert (commit.case is not None) is (answer == "12")


def test_a_repeat_of_what_was_told_12_is_told_12_without_another_case() -> None:
    judgement = judge_reversal(ask(reason="06"), Scene(TODAY, 1, (original(told="12"),)))
    assert judgement.response_code == "12"
    assert judgement.commit is not None
    assert judgement.commit.case is None
    assert judgement.commit.reversal is None


def test_unknown_leaves_a_tombstone_under_the_originals_key() -> None:
    judgement = judge_reversal(ask(), Scene(TODAY, 1, ()))
    assert judgement.commit is not None
    assert judgement.commit.request is TOMBSTONE


def test_in_flight_takes_the_outcome_and_waits_for_the_answer() -> None:
    judgement = judge_reversal(ask(), Scene(TODAY, 1, (original(**FLYING),)))
    commit = judgement.commit
    assert commit is not None
    assert commit.outcome is not None
    assert commit.outcome.state is OutcomeState.REVERSED
    assert commit.queue is not None
    assert commit.queue.delay_s == 32.0


def test_partly_approved_is_reversed_by_either_amount() -> None:
    partly = original(
        outcome=outcome(OutcomeState.APPROVED, approved_amount_minor=4_000), captured_minor=4_000
    )
    for amount_minor in (4_000, 10_000):
        judgement = judge_reversal(ask(amount_minor=amount_minor), Scene(TODAY, 1, (partly,)))
        assert judgement.response_code == "00"


def test_without_numbers_nothing_is_written() -> None:
    judgement = judge_reversal(ask(numbers=lambda acquirer: None), Scene(TODAY, 1, (original(),)))
    assert judgement.commit is None
    assert judgement.response_code == "96"
