"""What an authorisation asks of the engine: one effect a step, answered by one event."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from switch.journal import (
    AttemptRow,
    Commit,
    Duplicate,
    Find,
    Judgement,
    OutcomeRow,
    RequestRow,
    Scene,
)


class Store(msgspec.Struct, frozen=True, gc=False):
    """Make this durable → Stored, Duplicate, Lost or Stale."""

    commit: Commit


class Decide(msgspec.Struct, frozen=True, gc=False):
    """Judge over locked originals → Judged."""

    find: Find
    judge: Callable[[Scene], Judgement]


class Exchange(msgspec.Struct, frozen=True, gc=False):
    """Send the attempt and wait → Answer, NotSent, NoAnswer or VaultRefused."""

    attempt: AttemptRow


class Look(msgspec.Struct, frozen=True, gc=False):
    """Wait for the outcome of the request that took the key first → Found."""

    duplicate: Duplicate


class Reconsider(msgspec.Struct, frozen=True, gc=False):
    """The ground moved: read reference data again, the batch too where it was frozen; start over."""

    batch_frozen: bool


class Reply(msgspec.Struct, frozen=True, gc=False):
    """The last effect: tell the terminal."""

    response_code: str
    rule: str
    request: RequestRow
    attempt: AttemptRow | None = None
    outcome: OutcomeRow | None = None


Effect = Store | Decide | Exchange | Look | Reconsider | Reply
