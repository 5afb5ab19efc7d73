"""Voids, refunds, completions: transactions that name an original (rules §7).

Pure: a judge gets the originals under lock. What it allows goes to the acquirer of the original's
approved attempt, never to an alternate.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable

import msgspec

from switch.advice import TAKEN, Way, held, taken_in
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
from switch.routing import Passed
from switch.transactions import TYPES


class FollowUpAsk(msgspec.Struct, frozen=True):
    """A transaction that names an original, and passed intake.

    `attempt` makes the row for the original's acquirer, `way` that of an advice.
    `attempt` returns None when that acquirer's link is down: then the request is refused with 91.
    """

    request: RequestRow
    attempt: Callable[[str], AttemptRow | None]
    rrn: str  # DE 37 as sent, "" where absent
    auth_code: str  # DE 38 as sent, "" where absent
    refund_window_days: int
    hold_days: int = 30  # that a pre-authorisation is good for
    completion_percent: int = 115  # of it that may be taken
    way: Callable[[str], Way | None] = lambda _acquirer: None
    # the attempt of a refund without an original, or why no link can take it; None: it may have none
    unreferenced: Callable[[], AttemptRow | Passed] | None = None


def judge_void(ask: FollowUpAsk, scene: Scene) -> Judgement:
    """Same terminal, same open batch, same business date, full approved amount, once."""
    original, refusal = _select(ask, scene)
    if original is None:
        return _refused(ask, *refusal)
    standing = _standing(original)
    if standing:
        return _refused(ask, "12", f"void.{standing[0].type}_stands", original)
    theirs, key = original.request.key, ask.request.key
    if theirs.terminal != key.terminal:
        return _refused(ask, "12", "void.other_terminal", original)
    if original.outcome_date != scene.business_date or theirs.batch != key.batch:
        return _refused(ask, "22", "void.too_late", original)
    if ask.request.amount_minor != original.captured_minor:
        return _refused(ask, "64", "void.amount_differs", original)
    return _allowed(ask, original, "void.allowed")


def judge_refund(ask: FollowUpAsk, scene: Scene) -> Judgement:
    """Same merchant, same PAN, Σ refunds ≤ captured, within the window."""
    original, refusal = _select(ask, scene)
    if original is None:
        if ask.unreferenced is not None and refusal[0] == "25":
            return _unreferenced(ask, ask.unreferenced())
        return _refused(ask, *refusal)
    standing = _standing(original)
    if any(TYPES[follow_up.type].judge == "void" for follow_up in standing):
        return _refused(ask, "12", "refund.original_voided", original)
    if _age(original, scene) > dt.timedelta(days=ask.refund_window_days):
        return _refused(ask, "22", "refund.too_late", original)
    refunded = sum(
        follow_up.amount_minor for follow_up in standing if TYPES[follow_up.type].judge == "refund"
    )
    if refunded + ask.request.amount_minor > _captured_minor(original):
        return _refused(ask, "64", "refund.too_much", original)
    return _allowed(ask, original, "refund.allowed")


def judge_release(ask: FollowUpAsk, scene: Scene) -> Judgement:
    """The void of a pre-authorisation: the whole of it, not expired, not completed, once."""
    original = _hold(ask, scene, "release")
    if isinstance(original, Judgement):
        return original
    if ask.request.amount_minor != _held_minor(original):
        return _refused(ask, "64", "release.amount_differs", original)
    return _allowed(ask, original, "release.allowed")


def judge_completion(ask: FollowUpAsk, scene: Scene) -> Judgement:
    """Of a pre-authorisation that is not expired, a little more at most than it held, once."""
    original = _hold(ask, scene, "completion")
    if isinstance(original, Judgement):
        return original
    if ask.request.amount_minor * 100 > _held_minor(original) * ask.completion_percent:
        return _refused(ask, "64", "completion.too_much", original)
    return _allowed(ask, original, "completion.allowed")


def judge_adjustment(ask: FollowUpAsk, scene: Scene) -> Judgement:
    """Of a sale of this terminal's batch that nothing has taken back: DE 4 is its new total."""
    original, refusal = _select(ask, scene)
    if original is None:
        return _refused(ask, *refusal)
    for follow_up in _standing(original):
        if TYPES[follow_up.type].judge != "adjustment":
            return _refused(ask, "12", f"adjustment.{follow_up.type}_stands", original)
    if original.request.key.batch != ask.request.key.batch:
        # the totals of a batch may not fall below nothing by what another one took
        return _refused(ask, "22", "adjustment.other_batch", original)
    effect_minor = ask.request.amount_minor - _captured_minor(original)
    return _allowed(ask, original, "adjustment.allowed", effect_minor)


def judge_script(ask: FollowUpAsk, scene: Scene) -> Judgement:
    """What the chip made of the issuer's script: it changes nothing, its bank is told."""
    original, refusal = _select(ask, scene)
    if original is None:
        return _refused(ask, *refusal)
    return _allowed(ask, original, "script.allowed")


JUDGES = {
    "void": judge_void,
    "refund": judge_refund,
    "release": judge_release,
    "completion": judge_completion,
    "adjustment": judge_adjustment,
    "script": judge_script,
}


def _hold(ask: FollowUpAsk, scene: Scene, rule: str) -> Original | Judgement:
    """The pre-authorisation that is named, if what it holds still stands; else the refusal.

    A completion that was voided has ended it too: the bank released the hold with the completion.
    """
    original, refusal = _select(ask, scene)
    if original is None:
        return _refused(ask, *refusal)
    standing = _standing(original)
    if standing:
        return _refused(ask, "12", f"{rule}.{standing[0].type}_stands", original)
    if _age(original, scene) > dt.timedelta(days=ask.hold_days):
        return _refused(ask, "22", f"{rule}.expired", original)
    return original


def _captured_minor(original: Original) -> int:
    """What stands captured of a sale, adjusted."""
    return original.captured_minor + sum(
        follow_up.captured_minor
        for follow_up in _standing(original)
        if TYPES[follow_up.type].judge == "adjustment"
    )


def _held_minor(original: Original) -> int:
    """What the bank approved of a pre-authorisation."""
    assert original.outcome is not None
    return original.outcome.approved_amount_minor or 0


def _age(original: Original, scene: Scene) -> dt.timedelta:
    return scene.business_date - (original.outcome_date or original.request_date)


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


def _standing(original: Original) -> list[FollowUp]:
    """Follow-ups that are approved, pending or in flight, and not reversed."""
    return [
        follow_up
        for follow_up in original.follow_ups
        if TYPES[follow_up.type].judge != "script"
        and follow_up.state in (None, OutcomeState.APPROVED)
        and not follow_up.reversed
    ]


def _allowed(
    ask: FollowUpAsk, original: Original, rule: str, effect_minor: int | None = None
) -> Judgement:
    """`effect_minor`: what an advice captures, where that is not its amount."""
    if TYPES[ask.request.type].advice:
        return _taken_in(ask, original, rule, effect_minor)
    if original.undelivered or any(
        found.reversed and not found.reversal_final for found in original.follow_ups
    ):
        # the bank may not know the original yet, or an earlier void may still stand there: a new
        # one waits for its word
        return Judgement(
            commit=None,
            response_code="91",
            rule="original.undelivered" if original.undelivered else "original.being_reversed",
            original=original,
            wait=True,
        )
    attempt = ask.attempt(original.attempts[-1].acquirer)
    if attempt is None:
        return _refused(ask, "91", "link.down", original)
    request = msgspec.structs.replace(ask.request, original_request_id=original.request.request_id)
    return Judgement(
        commit=Commit(request=request, attempt=attempt),
        response_code="",
        rule=rule,
        original=original,
    )


def _taken_in(
    ask: FollowUpAsk, original: Original, rule: str, effect_minor: int | None
) -> Judgement:
    """An advice: after whatever waits in the queue for the same root original."""
    of = original.request
    request = msgspec.structs.replace(ask.request, original_request_id=of.request_id)
    way = ask.way(original.attempts[-1].acquirer)
    effect_minor = request.amount_minor if effect_minor is None else effect_minor
    if not TYPES[request.type].sign:
        effect_minor = None
    root = of.original_request_id or of.request_id
    commit = None if way is None else taken_in(request, way, effect_minor, root)
    if commit is None:
        return Judgement(commit=None, response_code="96", rule="numbers.exhausted")
    return Judgement(commit=commit, response_code=TAKEN, rule=rule, original=original)


def _unreferenced(ask: FollowUpAsk, attempt: AttemptRow | Passed) -> Judgement:
    """No original, and the merchant is allowed that: a case, so that it is looked at (rules §7)."""
    request = ask.request
    if not isinstance(attempt, AttemptRow):
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
    if TYPES[request.type].advice:
        commit = held(ask.request, rule)  # names no original: it is none of its follow-ups
        return Judgement(commit=commit, response_code=TAKEN, rule=f"held.{rule}")
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
