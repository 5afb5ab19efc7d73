"""What can happen to an authorisation: verdicts of the store, words of the acquirer, silence."""

from __future__ import annotations

import msgspec

from switch.acquirers.ports import Answer
from switch.journal import Duplicate, Judgement, Lost, Stale, Stored, StoredOutcome, Verdict


class Judged(msgspec.Struct, frozen=True, gc=False):
    """A judge decided over the originals; `verdict` is None where nothing was written."""

    judgement: Judgement
    verdict: Verdict | None


class NotSent(msgspec.Struct, frozen=True, gc=False):
    """Certainly no byte of the attempt left this process."""

    reason: str


class NoAnswer(msgspec.Struct, frozen=True, gc=False):
    """The attempt may have reached the acquirer; no answer that counts came in time."""

    reason: str


class VaultRefused(msgspec.Struct, frozen=True, gc=False):
    """Nothing was sent because the vault would not: 99 for a bad PIN block, 96 else."""

    response_code: str
    rule: str


class Found(msgspec.Struct, frozen=True, gc=False):
    """What the store knows of the request that took the key first."""

    stored: StoredOutcome | None


Event = (
    Stored | Duplicate | Lost | Stale | Judged | Answer | NotSent | NoAnswer | VaultRefused | Found
)
