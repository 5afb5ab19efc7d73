"""What a repeat is told, out of what a judge would see: the same for every store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switch.journal import OutcomeState, StoredOutcome
from switch.transactions import TYPES

if TYPE_CHECKING:
    from switch.journal import Original

VOID_TYPES = frozenset(name for name in TYPES if name.endswith("void"))


def stored_outcome(original: Original) -> StoredOutcome:
    """What a repeat is told, out of what a judge would see."""
    voided = any(
        each.state in (None, OutcomeState.APPROVED)
        and not each.reversed
        and each.type in VOID_TYPES
        for each in original.follow_ups
    )
    attempt = None
    if original.attempts:
        wanted = None if original.outcome is None else original.outcome.attempt
        attempt = next(
            (each for each in original.attempts if each.attempt == wanted), original.attempts[-1]
        )
    return StoredOutcome(
        request=original.request,
        request_date=original.request_date,
        attempt=attempt,
        outcome=original.outcome,
        standing=original.outcome is not None and not original.reversals and not voided,
        pending=original.pending,
    )
