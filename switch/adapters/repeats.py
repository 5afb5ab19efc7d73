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
        standing=not voided and _stands(original),
        pending=original.pending,
    )


def _stands(original: Original) -> bool:
    """An approval stands until it is reversed. An unknown or a decline brought its reversal along
    in its own commit and stands with it: its repeat is told the same again."""
    if original.outcome is None or original.outcome.state is OutcomeState.REVERSED:
        return False
    return original.outcome.state is not OutcomeState.APPROVED or not original.reversals
