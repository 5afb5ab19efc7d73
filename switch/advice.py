"""Advices: what a terminal says has happened, answered 00 once it is durable (rules §2, §11). Pure.

Completion advice, offline sale, adjustment, tip. The captured effect stands in the commit of the
request, beside the queue item that carries the advice to its acquirer until it is finally answered
(`store_and_forward`); refused there, it gets its linked opposite and a case. One that can not be
taken at its word (its original is not found, its type not allowed …) is *held*: answered 00 and kept
with a case, not captured and not sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from switch.journal import AttemptRow, CaseRow, Commit, OutcomeRow, OutcomeState, QueueRow
from switch.reversal import WireIdentity

if TYPE_CHECKING:
    import datetime as dt

    from switch.journal import RequestRow

TAKEN = "00"  # DE 39 to the terminal, whatever becomes of it


class Way(msgspec.Struct, frozen=True):
    """Where an advice goes and what is known of it before any bank has spoken."""

    attempt: AttemptRow
    auth_code: str  # DE 38 as the terminal sent it, "" where absent
    numbers: Callable[[str], WireIdentity | None]


def taken_in(
    request: RequestRow, way: Way, effect_minor: int | None, root_request_id: int
) -> Commit | None:
    """Request, capture and queue item as one commit; None while no number is left for it.

    `effect_minor` is the captured effect, None where the type has none.
    """
    queue = repeat_item(request, way.attempt, None, way.numbers, root_request_id)
    if queue is None:
        return None
    outcome = OutcomeRow(
        request_id=request.request_id,
        state=OutcomeState.APPROVED,
        response_code=TAKEN,
        decided_at=request.received_at,
        rule="advice.taken_in",
        attempt=way.attempt.attempt,
        approved_amount_minor=request.amount_minor,
        effect_minor=effect_minor,
        auth_code=way.auth_code,
        on_current_date=True,
    )
    return Commit(request=request, attempt=way.attempt, outcome=outcome, queue=queue)


def held(request: RequestRow, rule: str) -> Commit:
    """Kept with a case for a person: nothing is captured and nothing is sent."""
    case = CaseRow(
        kind="advice_held",
        request_id=request.request_id,
        merchant=request.key.merchant,
        terminal=request.key.terminal,
        detail=json.dumps({"rule": rule, "rrn": request.rrn, "amount_minor": request.amount_minor}),
        opened_at=request.received_at,
    )
    outcome = OutcomeRow(
        request_id=request.request_id,
        state=OutcomeState.REFUSED,
        response_code=TAKEN,
        decided_at=request.received_at,
        rule=f"held.{rule}",
    )
    return Commit(request=request, outcome=outcome, case=case)


def repeat_item(
    request: RequestRow,
    attempt: AttemptRow,
    request_date: dt.date | None,
    numbers: Callable[[str], WireIdentity | None],
    root_request_id: int | None = None,
) -> QueueRow | None:
    """The queue's row for a `repeat` type: same DE 7 and 11 as the first try."""
    identity = numbers(attempt.acquirer)
    if identity is None:
        return None
    return QueueRow(
        item_id=identity.item_id,
        acquirer=attempt.acquirer,
        kind="repeat",
        request_id=request.request_id,
        request_date=request_date,
        root_request_id=root_request_id or request.original_request_id or request.request_id,
        seq=0,
        link_stan=attempt.link_stan,
        transmission_time=attempt.transmission_time,
    )
