"""Void and refund: transactions that name an original (rules §7).

Pure: a judge gets the originals under lock. What it allows goes to the acquirer of the original's
approved attempt, never to an alternate.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable

import msgspec

from switch.journal import (
    AttemptRow,
    CaseRow,
    Commit,
    FollowUp,
    Judgement,
    Original,
    OutcomeRow,
    OutcomeState,
    RequestRow,
    Scene,
)
from switch.transactions import TYPES


class FollowUpAsk(msgspec.Struct, frozen=True):
    """A void or refund that passed intake. `attempt` makes the row for the original's acquirer.

    `attempt` returns None when that acquirer's link is down: then the request is refused with 91.
    """

    request: RequestRow
    attempt: Callable[[str], AttemptRow | None]
    rrn: str  # DE 37 as sent, "" where absent
    auth_code: str  # DE 38 as sent, "" where absent
    refund_window_days: int
    unreferenced: str = ""  # acquirer that takes a refund without an original; "": none does


def judge_void(ask: FollowUpAsk, scene: Scene) -> Judgement:
    """Same terminal, same open batch, same business date, full approved amount, once."""
    original, refusal = _select(ask, scene)
    if original is None:
        return _refused(ask, *refusal)
    standing = _standing(original, ("void", "refund"))
    if standing:
        return _refused(ask, "12", f"void.{standing[0].type}_stands", original)
    if (
        original.outcome_date != scene.business_date
        or original.request.key.batch != ask.request.key.batch
    ):
        return _refused(ask, "22", "void.too_late", original)
    if ask.request.amount_minor != original.captured_minor:
        return _refused(ask, "64", "void.amount_differs", original)
    return _allowed(ask, original, "void.allowed")


def judge_refund(ask: FollowUpAsk, scene: Scene) -> Judgement:
    """Same merchant, same PAN, Σ refunds ≤ captured, within the window."""
    original, refusal = _select(ask, scene)
    if original is None:
        without = ask.unreferenced and refusal[0] == "25"
        return _unreferenced(ask) if without else _refused(ask, *refusal)
    if _standing(original, ("void",)):
        return _refused(ask, "12", "refund.original_voided", original)
    age = scene.business_date - (original.outcome_date or original.request_date)
    if age > dt.timedelta(days=ask.refund_window_days):
        return _refused(ask, "22", "refund.too_late", original)
    refunded = sum(refund.amount_minor for refund in _standing(original, ("refund",)))
    if refunded + ask.request.amount_minor > original.captured_minor:
        return _refused(ask, "64", "refund.too_much", original)
    return _allowed(ask, original, "refund.allowed")


JUDGES = {"void": judge_void, "refund": judge_refund}


def _select(ask: FollowUpAsk, scene: Scene) -> tuple[Original | None, tuple[str, str]]:
    """The one original that the references name, or why there is none."""
    types = TYPES[ask.request.type].follows
    named = [found for found in scene.originals if found.request.type in types]
    if not named:
        return None, ("25", "original.not_found")
    if ask.request.pan_token is not None:
        named = [found for found in named if found.request.pan_token == ask.request.pan_token]
    if not named:
        return None, ("12", "original.pan_differs")
    if ask.rrn:
        named = [found for found in named if found.request.rrn == ask.rrn]
    if not named:
        return None, ("12", "original.rrn_differs")
    if ask.auth_code:
        named = [
            found
            for found in named
            if found.outcome is not None and found.outcome.auth_code in ("", ask.auth_code)
        ]
    if not named:
        return None, ("12", "original.auth_code_differs")
    if len(named) > 1:
        approved = [found for found in named if _approved(found)]
        if len(approved) != 1:
            return None, ("25", "original.ambiguous")
        named = approved
    if not _approved(named[0]):
        return None, ("12", "original.not_approved")
    return named[0], ("", "")


def _approved(original: Original) -> bool:
    return (
        original.outcome is not None
        and original.outcome.state is OutcomeState.APPROVED
        and not original.reversals
    )


def _standing(original: Original, types: tuple[str, ...]) -> list[FollowUp]:
    """Follow-ups of these types that are approved, pending or in flight, and not reversed."""
    return [
        follow_up
        for follow_up in original.follow_ups
        if follow_up.type in types
        and follow_up.state in (None, OutcomeState.APPROVED)
        and not follow_up.reversed
    ]


def _allowed(ask: FollowUpAsk, original: Original, rule: str) -> Judgement:
    if any(found.reversed and not found.reversal_final for found in original.follow_ups):
        # an earlier void may still stand at the bank: a new one waits for the word on its reversal
        return Judgement(
            commit=None,
            response_code="91",
            rule="original.being_reversed",
            original=original,
            wait=True,
        )
    approved_attempt = original.attempts[-1]
    attempt = ask.attempt(approved_attempt.acquirer)
    if attempt is None:
        return _refused(ask, "91", "link.down", original)
    request = msgspec.structs.replace(ask.request, original_request_id=original.request.request_id)
    return Judgement(
        commit=Commit(request=request, attempt=attempt),
        response_code="",
        rule=rule,
        original=original,
    )


def _unreferenced(ask: FollowUpAsk) -> Judgement:
    """No original, and the merchant is allowed that: a case, so that it is looked at (rules §7)."""
    request = ask.request
    attempt = ask.attempt(ask.unreferenced)
    if attempt is None:
        return _refused(ask, "91", "link.down")
    case = CaseRow(
        kind="unreferenced_refund",
        request_id=request.request_id,
        merchant=request.key.merchant,
        terminal=request.key.terminal,
        detail=json.dumps({"rrn": request.rrn, "amount_minor": request.amount_minor}),
        opened_at=request.received_at,
    )
    return Judgement(
        commit=Commit(request=request, attempt=attempt, case=case),
        response_code="",
        rule="refund.unreferenced",
    )


def _refused(
    ask: FollowUpAsk, response_code: str, rule: str, original: Original | None = None
) -> Judgement:
    request = ask.request
    if original is not None:
        request = msgspec.structs.replace(request, original_request_id=original.request.request_id)
    outcome = OutcomeRow(
        request_id=request.request_id,
        state=OutcomeState.REFUSED,
        response_code=response_code,
        decided_at=request.received_at,
        rule=rule,
    )
    return Judgement(
        commit=Commit(request=request, outcome=outcome),
        response_code=response_code,
        rule=rule,
        original=original,
    )
