"""What a link has in flight: requests that wait for their answer, and for a while those that waited in vain.

All requests of a link wait equally long, so their order is the order of their deadlines, and one timer
serves them all.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from switch.acquirers.ports import NoAnswerError
from switch.bounded import remember

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iso8583.message import Message
    from switch.acquirers.circuit import Circuit
    from switch.acquirers.link_connection import Counters
    from switch.acquirers.ports import Told
    from switch.journal import AttemptRow

EXPIRED_KEPT_S: Final = 600.0  # an expired attempt is known this long without asking the journal
EXPIRED_MAX: Final = 16_384

_COMPARED: Final = (0, 3, 4, 7, 11, 32, 33, 37, 41, 49)  # what a late answer is held against

MatchKey = tuple[str | bytes, ...]


class Pending:
    """`request_id`: whose it is. `circuit`: by what number its link's circuit knows it."""

    __slots__ = (
        "attempt", "circuit", "deadline_s", "key", "request", "request_id", "serial", "ticket",
        "told",
    )  # fmt: skip

    def __init__(
        self,
        key: MatchKey,
        request: Message,
        attempt: AttemptRow | None,
        told: Told,
        deadline_s: float,
        serial: int,
        request_id: int,
        circuit: int,
    ) -> None:
        self.key = key
        self.request = request
        self.attempt = attempt
        self.told = told
        self.deadline_s = deadline_s
        self.serial = serial
        self.request_id = request_id
        self.circuit = circuit
        self.ticket = 0  # of its hand-over to a sibling


class Expired:
    __slots__ = ("at_s", "attempt", "request", "request_id")

    def __init__(self, pending: Pending, at_s: float) -> None:
        self.attempt = pending.attempt
        self.request_id = pending.request_id
        self.request: Message = {
            de: pending.request[de] for de in _COMPARED if de in pending.request
        }
        self.at_s = at_s


class InFlight:
    """`pending` and `expired` by the elements that an answer is matched by."""

    def __init__(self, counters: Counters, circuit: Circuit) -> None:
        self.pending: dict[MatchKey, Pending] = {}
        self.expired: dict[MatchKey, Expired] = {}
        self.stans: set[str] = set()  # DE 11 of the pending
        self.empty = asyncio.Event()
        self.empty.set()
        self._counters = counters
        self._circuit = circuit
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self.pending)

    def add(self, pending: Pending) -> None:
        self.pending[pending.key] = pending
        self.stans.add(str(pending.request[11]))
        self.empty.clear()
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(pending.deadline_s, self._expire)

    def give_up(self, pending: Pending) -> None:
        """Nobody waits for it any more."""
        self.forget(pending)
        self._circuit.released(pending.circuit)
        self._keep_expired(pending)

    def end_by(self, until_s: float) -> None:
        """None waits longer than new ones will: the order stays that of the deadlines."""
        for pending in self.pending.values():
            pending.deadline_s = min(pending.deadline_s, until_s)
        if self._timer is not None:
            self._timer.cancel()
            self._expire()

    def stop(self) -> None:
        """What still waits ends unknown."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for pending in list(self.pending.values()):
            self._fail(pending, "stopped")

    def forget(self, pending: Pending) -> None:
        if self.pending.get(pending.key) is pending:
            del self.pending[pending.key]
            self.stans.discard(str(pending.request[11]))
        if not self.pending:
            self.empty.set()

    def on(self, serial: int) -> bool:
        """Is an answer to what left on this connection still awaited?"""
        return any(pending.serial == serial for pending in self.pending.values())

    def nearest(self, message: Message, matching: Sequence[int]) -> str:
        """In what the request that looks most like it differs: a first hint for people."""
        elements = (*matching, 37, 41)
        best: list[int] | None = None
        for pending in self.pending.values():
            differs = [de for de in elements if pending.request.get(de) != message.get(de)]
            if len(differs) < len(elements) - 2 and (best is None or len(differs) < len(best)):
                best = differs
        return "none" if best is None else ", ".join(f"DE {de} differs" for de in best)

    def _expire(self) -> None:
        """The oldest deadlines have passed."""
        loop = asyncio.get_running_loop()
        self._timer = None
        now_s = loop.time()
        for pending in list(self.pending.values()):
            if pending.deadline_s > now_s:
                self._timer = loop.call_at(pending.deadline_s, self._expire)
                return
            self._counters.expired += 1
            self._circuit.failed(pending.circuit, now_s)
            self._fail(pending, "timeout")

    def _fail(self, pending: Pending, reason: str) -> None:
        self.forget(pending)
        self._keep_expired(pending)
        pending.told(NoAnswerError(reason))

    def _keep_expired(self, pending: Pending) -> None:
        now_s = asyncio.get_running_loop().time()
        while self.expired:
            oldest = next(iter(self.expired))
            if self.expired[oldest].at_s > now_s - EXPIRED_KEPT_S:
                break
            del self.expired[oldest]
        remember(self.expired, pending.key, Expired(pending, now_s), EXPIRED_MAX)
