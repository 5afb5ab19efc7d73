"""What the switch asks of a host that authorises, and what it may get back.

Two ways to fail, never mixed (rules §4): `NotSentError` when certainly nothing left, so a second
route is allowed; `NoAnswerError` when bytes may have left, so the outcome is unknown.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from iso8583.message import Message
    from switch.journal import AttemptRow, Original


class NotSentError(Exception):
    """Certainly nothing left. `reason` is fit for a log line and a rule's name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NoAnswerError(Exception):
    """It may have been sent, and no answer that counts came in time: unknown."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AnswerKind(StrEnum):
    """What the link's table makes of DE 39 (rules §5)."""

    APPROVED = "approved"
    REMARK = "remark"  # approved with a remark
    PARTIAL = "partial"  # approved for less than asked
    DECLINED = "declined"
    UNMAPPED = "unmapped"  # a decline, and a reversal where the type reverses

    @property
    def approves(self) -> bool:
        return self in _APPROVING


# By their bare names, here and below: through its class each costs as much as three calls.
APPROVED, REMARK, PARTIAL, DECLINED, UNMAPPED = AnswerKind
_APPROVING: Final = (APPROVED, REMARK, PARTIAL)


class Answer(msgspec.Struct, frozen=True):
    """An answer that counts: its MAC verified and its elements agree with the request."""

    kind: AnswerKind
    response_code: str
    amount_minor: int | None  # DE 4 of the answer: smaller than asked only where PARTIAL
    auth_code: str = ""
    settlement_date: dt.date | None = None  # DE 15, its year inferred
    rrn: str = ""  # DE 37 of the answer; the host's own where it differs from ours
    elements: dict[int, str | bytes] = {}  # what else is told to the terminal


class Delivery(msgspec.Struct, frozen=True):
    """The answer to a message of store-and-forward."""

    answer: Answer
    overtook: bool  # the 0420 may have come before its original: then 25 is not final (rules §8)


class OnLate(Protocol):
    """Told of an answer that came too late ("late"), badly signed ("mac") or contradictory ("mismatch").

    `attempt` is None where this process does not remember one: then the journal must say whose it is.
    """

    def __call__(self, attempt: AttemptRow | None, message: Message, reason: str) -> None: ...


class Health(StrEnum):
    """How a host does, as one process sees it: what routing may choose by.

    A new request may go to one that is `UP` or `PROBING`; anywhere else it would be refused early.
    """

    UP = "up"
    PROBING = "probing"  # its circuit is half open, and lets one more request out now
    OPEN = "open"  # its circuit is open, or half open with all its probes out
    FULL = "full"  # `Link.in_flight_max` messages wait for their answer
    DOWN = "down"  # no signed-on connection


UP, PROBING, OPEN, FULL, DOWN = Health


Told = Callable[["Answer | NotSentError | NoAnswerError"], None]


class Acquirer(Protocol):
    """A host as one process sees it."""

    @property
    def name(self) -> str: ...

    @property
    def ready(self) -> bool:
        """A signed-on connection is usable from this process now."""
        ...

    def health(self) -> Health:
        """Would a new request leave for it now? Costs no await; asked once a request and route."""
        ...

    def numbers(self) -> tuple[str, str] | None:
        """(DE 11 of the link, DE 7), never given again; None while no block of numbers is there."""
        ...

    def send(self, message: Message, attempt: AttemptRow, send_by_ns: int, told: Told) -> None:
        """Send once; `told` is called once, with the answer or why there is none. It may be at once.

        Nothing is sent at or after `send_by_ns` of the monotonic clock (rules §4).
        """
        ...


class Deliverer(Protocol):
    """What store-and-forward needs of a host."""

    @property
    def name(self) -> str: ...

    @property
    def ready(self) -> bool: ...

    @property
    def spared(self) -> bool:
        """Its circuit is not closed: one message at a time is enough."""
        ...

    async def deliver(
        self, message: Message, original: Original, first_seen_s: float, send_by_ns: int
    ) -> Delivery:
        """Send a reversal or repeat and wait. Raises NotSentError or NoAnswerError.

        `first_seen_s`: loop time since when this process knows of the item.
        """
        ...
