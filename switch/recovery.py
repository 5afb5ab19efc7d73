"""What happens to a request whose process died: every attempt without outcome is unknown (P3). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from switch.advice import repeat_item
from switch.journal import Commit, Original, OutcomeRow, OutcomeState
from switch.reversal import SWITCH_TIME_OUT, WireIdentity, reverse
from switch.transactions import TYPES, OnUnknown

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from switch.store_ports import Undecided


def recover(
    undecided: Undecided,
    numbers: Callable[[str], WireIdentity | None],
    now: dt.datetime,
    delay_s: float,
) -> Commit | None:
    """The commit that decides it; None where no numbers are left for its reversal.

    The reversal waits `delay_s`, so that it leaves after the original's answer could still come.
    """
    request = undecided.request
    on_unknown = TYPES[request.type].on_unknown
    attempt = undecided.attempts[-1] if undecided.attempts else None
    if on_unknown is OnUnknown.REPEAT and attempt is not None:
        queue = repeat_item(request, attempt, undecided.request_date, numbers)
        return None if queue is None else Commit(queue=queue)
    outcome = OutcomeRow(
        request_id=request.request_id,
        request_date=undecided.request_date,
        state=OutcomeState.UNKNOWN if attempt is not None else OutcomeState.DECLINED,
        response_code="98" if attempt is not None else "96",
        decided_at=now,
        rule="recovery.unknown" if attempt is not None else "recovery.nothing_sent",
        attempt=None if attempt is None else attempt.attempt,
    )
    if attempt is None or on_unknown is OnUnknown.FORGET:
        return Commit(outcome=outcome)
    original = Original(
        request=request,
        request_date=undecided.request_date,
        attempts=undecided.attempts,
        outcome=None,
        outcome_date=None,
        captured_minor=0,
        reversals=(),
        reversal_response=None,
        follow_ups=(),
        date_state="open",
        batch_state="open",
        in_flight=False,
        pending=False,
    )
    commit = reverse(original, numbers, "recovery", SWITCH_TIME_OUT, now, delay_s=delay_s)
    return None if commit is None else msgspec.structs.replace(commit, outcome=outcome)
