"""An answer that counts for no request: what is kept of it, and which request it looks like. Pure.

People ask "what did the bank send, and why did we not take it". So what is kept is the answer, masked,
the request that it looks most like, and each element in which the two differ: "DE 37: asked
630510000017, answered 630510000018".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from iso8583.message import mask_pan, masked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from iso8583.message import Message

# Element → how much it says that an answer belongs to a request, where both have the same.
WEIGHTS: Final = {11: 4, 37: 4, 2: 2, 4: 2, 7: 2, 41: 2, 3: 1, 32: 1, 33: 1, 49: 1}
NEAR: Final = 7  # so much in common, or the two have nothing to do with one another
VALUE_MAX: Final = 120  # characters of an element
REASONS: Final = ("mac", "unmatched", "mismatch", "late", "twice", "undecodable")


class Difference(msgspec.Struct, frozen=True, gc=False):
    """An element that the answer has otherwise than the request; "" where one has none."""

    de: int
    asked: str
    answered: str


class Nearest(msgspec.Struct, frozen=True, gc=False):
    """The request that an answer looks most like, and whether it still waits."""

    request_id: int
    attempt: int | None  # None: a message of store and forward
    state: str  # "pending", "expired"; "stored" where only the journal knows it


class UnmatchedAnswer(msgspec.Struct, frozen=True, gc=False):
    """As a link tells it. `reason` is one of REASONS: the MAC is wrong, no request has its matching
    elements, it contradicts its request, its request was given up, its request has its answer, it
    can not be read."""

    acquirer: str
    slot: int  # of the connection that it came on; 0: a sibling's
    reason: str
    detail: str
    mti: str
    stan: str
    transmission_time: str
    rrn: str
    response_code: str
    elements: dict[str, str]  # masked
    nearest: Nearest | None
    differences: tuple[Difference, ...]
    dropped: int  # answers since the one kept before that were not kept


class OnUnmatched(Protocol):
    """Told of every answer that is kept. Must not block."""

    def __call__(self, answer: UnmatchedAnswer) -> None: ...


def likeness(request: Message, answer: Message) -> int:
    """How much of what identifies the two is the same.

    >>> likeness({11: "000001", 37: "A", 4: "1"}, {11: "000001", 37: "B", 4: "1"})
    6
    """
    return sum(
        weight
        for de, weight in WEIGHTS.items()
        if (value := answer.get(de)) is not None and request.get(de) == value
    )


def most_like(requests: Iterable[Message], answer: Message) -> int | None:
    """The place of the request that an answer looks most like, the first of equals; None: of none."""
    best, place = NEAR - 1, None
    for at, request in enumerate(requests):
        like = likeness(request, answer)
        if like > best:
            best, place = like, at
    return place


def differences(request: Message, answer: Message) -> tuple[Difference, ...]:
    """In the order of elements. DE 4 of an answer that approves a part is a difference too.

    >>> differences({37: "A", 41: "T"}, {37: "B", 41: "T"})
    (Difference(de=37, asked='A', answered='B'),)
    """
    return tuple(
        Difference(de, _shown(de, request.get(de)), _shown(de, answer.get(de)))
        for de in sorted(WEIGHTS)
        if de in request and request[de] != answer.get(de)
    )


def _shown(de: int, value: str | bytes | None) -> str:
    text = value.hex() if isinstance(value, bytes) else value or ""
    return mask_pan(text) if de == 2 else printable(text)


def shown(message: Message, family: str) -> dict[str, str]:
    """The elements for people: the MTI is "0". MAC and what is hidden keep their length only."""
    return {
        str(de): printable(value) for de, value in masked(message, family=family).items() if value
    }


def printable(text: str) -> str:
    """For a line of text and for the store, which takes no NUL.

    >>> printable("a" + chr(0) + "b" + chr(10))
    'a�b�'
    """
    text = text[:VALUE_MAX]
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


class Bound:
    """So many a second, and how many were beyond it since the last that was not."""

    def __init__(self) -> None:
        self.dropped = 0
        self._second = -1
        self._taken = 0

    def takes(self, now_s: float, per_s: int) -> bool:
        second = int(now_s)
        if second != self._second:
            self._second, self._taken = second, 0
        if self._taken >= per_s:
            self.dropped += 1
            return False
        self._taken += 1
        return True

    def told(self) -> int:
        """How many were dropped since this was last asked."""
        dropped, self.dropped = self.dropped, 0
        return dropped
