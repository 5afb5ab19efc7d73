"""A terminal's 0400, decided by the state of its original (rules §6), and what unknown leads to.

Pure: a judge gets the locked scene and returns the commit. One original has one reversal, whoever
asked for it first; its wire identity is allotted when it is queued and never changes.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable

import msgspec

from switch.journal import (
    CaseRow,
    Commit,
    FollowUp,
    Judgement,
    Key,
    Original,
    OutcomeRow,
    OutcomeState,
    QueueRow,
    RequestRow,
    ReversalRequestRow,
    ReversalRow,
    Scene,
)
from switch.transactions import TOMBSTONE, TYPES

SWITCH_TIME_OUT = "68"  # DE 39 of a reversal that is the switch's own


class WireIdentity(msgspec.Struct, frozen=True, gc=False):
    """What a queued message is known by on its link, for ever."""

    item_id: int
    link_stan: str
    transmission_time: str


class ReversalAsk(msgspec.Struct, frozen=True):
    """A 0400 as decoded. `key` names the original; `tombstone` is written where there is none."""

    key: Key
    pan_token: bytes | None  # None: the 0400 named no card
    amount_minor: int
    reason: str
    tombstone: RequestRow
    numbers: Callable[[str], WireIdentity | None]  # acquirer → identity for the 0420
    received_at: dt.datetime
    answer_wait_s: float  # longest time that an original in flight may still be answered


def judge_reversal(ask: ReversalAsk, scene: Scene) -> Judgement:
    """The table of rules §6, in its order of evidence."""
    if not scene.originals:
        return _told(ask, None, "25", "reversal.unknown", request=ask.tombstone)
    original = scene.originals[0]
    if original.request.type == TOMBSTONE:
        return _told(ask, original, "25", "reversal.tombstone")
    if original.reversals or _state(original) is OutcomeState.REVERSED:
        return _told(ask, original, "00", "reversal.repeated")
    if original.told == "12":
        return _told(ask, original, "12", "reversal.repeated")  # whatever has changed since
    if _state(original) is OutcomeState.REFUSED:
        return _told(ask, original, "00", "reversal.nothing_sent")
    disagreement = _disagreement(ask, original)
    if disagreement:
        return _refused(ask, original, disagreement)
    if original.outcome is None:
        return _in_flight(ask, original)
    if original.outcome.state is not OutcomeState.APPROVED:
        return _told(ask, original, "00", "reversal.nothing_approved")
    if original.date_state == "posted":
        return _refused(ask, original, "reversal.date_posted")
    if any(_stands(follow_up) for follow_up in original.follow_ups):
        return _refused(ask, original, "reversal.followed_up")
    return _approved(ask, original)


def _stands(follow_up: FollowUp) -> bool:
    """One in flight, pending or approved stands in the way; a failed one does not, nor a script's
    result, which changes nothing."""
    if follow_up.reversed or TYPES[follow_up.type].judge == "script":
        return False
    return follow_up.state in (None, OutcomeState.APPROVED)


def _state(original: Original) -> OutcomeState | None:
    return None if original.outcome is None else original.outcome.state


def _disagreement(ask: ReversalAsk, original: Original) -> str:
    request = original.request
    if not TYPES[request.type].terminal_may_reverse:
        return "reversal.type_never_reversed"
    if ask.pan_token is not None and ask.pan_token != request.pan_token:
        return "reversal.pan_differs"
    amounts = {request.amount_minor}
    if original.outcome is not None and original.outcome.approved_amount_minor is not None:
        amounts.add(original.outcome.approved_amount_minor)
    return "" if ask.amount_minor in amounts else "reversal.amount_differs"


def _in_flight(ask: ReversalAsk, original: Original) -> Judgement:
    """It wins the outcome; the 0420 leaves when the original is answered or its time is over."""
    request = original.request
    outcome = OutcomeRow(
        request_id=request.request_id,
        request_date=original.request_date,
        state=OutcomeState.REVERSED,
        response_code="98",
        decided_at=ask.received_at,
        rule="reversal.in_flight",
        attempt=len(original.attempts) or None,
    )
    commit = reverse(
        original, ask.numbers, "terminal", ask.reason, ask.received_at, delay_s=ask.answer_wait_s
    )
    if commit is None:
        return Judgement(commit=None, response_code="96", rule="reversal.no_numbers")
    commit = msgspec.structs.replace(commit, outcome=outcome)
    return _told(ask, original, "00", "reversal.in_flight", commit=commit)


def _approved(ask: ReversalAsk, original: Original) -> Judgement:
    commit = reverse(original, ask.numbers, "terminal", ask.reason, ask.received_at)
    if commit is None:
        return Judgement(commit=None, response_code="96", rule="reversal.no_numbers")
    return _told(ask, original, "00", "reversal.approved", commit=commit)


def reverse(
    original: Original,
    numbers: Callable[[str], WireIdentity | None],
    origin: str,
    reason: str,
    at: dt.datetime,
    *,
    delay_s: float = 0.0,
) -> Commit | None:
    """The reversal of an original and its 0420, as rows; None where no numbers are left.

    The captured effect, if there is one, is cancelled before the freeze of its date and met by a
    linked opposite afterwards.
    """
    attempt = original.attempts[-1] if original.attempts else None
    capture = ""
    if original.captured_minor:
        capture = "cancel" if original.date_state in ("open", "cut") else "opposite"
    row = ReversalRow(
        original_request_id=original.request.request_id,
        original_date=original.request_date,
        seq=1 + len(original.reversals),
        origin=origin,
        reason=reason,
        queued_at=at,
        capture=capture,
    )
    if attempt is None:
        return Commit(reversal=row)
    identity = numbers(attempt.acquirer)
    if identity is None:
        return None
    return Commit(
        reversal=row,
        queue=QueueRow(
            item_id=identity.item_id,
            acquirer=attempt.acquirer,
            kind="reversal",
            request_id=original.request.request_id,
            request_date=original.request_date,
            root_request_id=original.request.original_request_id or original.request.request_id,
            seq=row.seq,
            link_stan=identity.link_stan,
            transmission_time=identity.transmission_time,
            delay_s=delay_s,
        ),
    )


def _told(
    ask: ReversalAsk,
    original: Original | None,
    response_code: str,
    rule: str,
    *,
    commit: Commit | None = None,
    request: RequestRow | None = None,
    case: CaseRow | None = None,
) -> Judgement:
    """The answer, with the 0400 itself kept beside what it caused."""
    said = ReversalRequestRow(
        key=ask.key,
        original_request_id=None if original is None else original.request.request_id,
        reason=ask.reason,
        response_code=response_code,
        rule=rule,
        received_at=ask.received_at,
    )
    commit = msgspec.structs.replace(commit or Commit(), reversal_request=said)
    if request is not None:
        commit = msgspec.structs.replace(commit, request=request)
    if case is not None:
        commit = msgspec.structs.replace(commit, case=case)
    return Judgement(commit=commit, response_code=response_code, rule=rule, original=original)


def _refused(ask: ReversalAsk, original: Original, rule: str) -> Judgement:
    case = CaseRow(
        kind="reversal_refused",
        request_id=original.request.request_id,
        merchant=ask.key.merchant,
        terminal=ask.key.terminal,
        detail=json.dumps({"rule": rule, "amount_minor": ask.amount_minor, "reason": ask.reason}),
        opened_at=ask.received_at,
    )
    return _told(ask, original, "12", rule, case=case)
