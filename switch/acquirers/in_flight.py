"""What a link has in flight: requests that wait for their answer, and for a while those that waited in vain.

All requests of a link wait equally long, so their order is the order of their deadlines, and one timer
serves them all.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from iso8583.message import Message
from switch.acquirers.link_connection import Connection, Counters
from switch.acquirers.ports import Answer, NoAnswerError, Told
from switch.acquirers.sibling_stream import Mirrored
from switch.acquirers.unmatched import most_like
from switch.bounded import remember
from switch.journal import AttemptRow

if TYPE_CHECKING:
    from switch.acquirers.circuit import Circuit

EXPIRED_KEPT_S: Final = 600.0  # an expired attempt is known this long without asking the journal
EXPIRED_MAX: Final = 16_384
SENT_MAX: Final = 65_536  # messages of which it is known on which connection they left
NEAR_MAX: Final = 64  # requests that an answer to none is held against, of either kind
TOLD_MAX: Final = 4  # different late answers to one request

_COMPARED: Final = (0, 3, 4, 7, 11, 32, 33, 37, 41, 49)  # what a late answer is held against

MatchKey = tuple[str | bytes, ...]


class Pending(msgspec.Struct, eq=False):
    """A message that is to leave, and then waits. `attempt` None: of store and forward. `request_id`:
    whose it is. `circuit`: by what number its link's circuit knows it. `told`: is called with what
    comes of it."""

    key: MatchKey
    request: Message
    attempt: AttemptRow | None
    told: Told
    send_by_ns: int
    request_id: int
    circuit: int
    # once it has left
    deadline_s: float = 0.0
    way: Connection | Mirrored | None = None
    ticket: int = 0  # of its hand-over to a sibling, 0: of none


class Expired:
    __slots__ = ("at_s", "attempt", "request", "request_id", "told")

    def __init__(self, pending: Pending, at_s: float) -> None:
        self.attempt = pending.attempt
        self.request_id = pending.request_id
        self.request: Message = {
            de: pending.request[de] for de in _COMPARED if de in pending.request
        }
        self.at_s = at_s
        self.told: set[tuple[str, int | None]] = set()  # (DE 39, DE 4) of late answers so far

    def news(self, answer: Answer) -> bool:
        """Is a late answer another than those that came before it?"""
        said = answer.response_code, answer.amount_minor
        if said in self.told or len(self.told) >= TOLD_MAX:
            return False
        self.told.add(said)
        return True


class InFlight:
    """`pending`, `expired` and on which connection a message left (`sent_on`), by the elements that an
    answer is matched by."""

    def __init__(self, counters: Counters, circuit: Circuit) -> None:
        self.pending: dict[MatchKey, Pending] = {}
        self.expired: OrderedDict[MatchKey, Expired] = OrderedDict()
        self.stans: dict[str | bytes, Pending] = {}  # the pending by DE 11
        self.sent_on: OrderedDict[MatchKey, int] = OrderedDict()  # serial of the connection
        self.empty = asyncio.Event()
        self.empty.set()
        self._counters = counters
        self._circuit = circuit
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self.pending)

    def add(self, pending: Pending, way: Connection | Mirrored, deadline_s: float) -> None:
        """It leaves that way now."""
        pending.way, pending.deadline_s = way, deadline_s
        key = pending.key
        self.pending[key] = pending
        self.stans[pending.request[11]] = pending
        remember(self.sent_on, key, way.serial, SENT_MAX)
        way.waiting += 1
        way.counters.sent += 1
        if len(self.pending) == 1:
            self.empty.clear()
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(deadline_s, self._expire)

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
        key, all_pending, stans = pending.key, self.pending, self.stans
        if all_pending.get(key) is pending:
            assert pending.way is not None
            del all_pending[key]
            pending.way.waiting -= 1
            stan = pending.request[11]
            if stans.get(stan) is pending:
                del stans[stan]
        if not all_pending:
            self.empty.set()

    def on(self, serial: int) -> bool:
        """Is an answer to what left on this connection still awaited?"""
        return any(
            pending.way is not None and pending.way.serial == serial
            for pending in self.pending.values()
        )

    def nearest(self, message: Message) -> Pending | Expired | None:
        """The request that an answer looks most like: of those with its DE 11, and of the newest."""
        same = self.stans.get(message.get(11, ""))
        near: list[Pending | Expired] = [] if same is None else [same]
        near += islice(reversed(self.pending.values()), NEAR_MAX)
        near += islice(reversed(self.expired.values()), NEAR_MAX)
        at = most_like((one.request for one in near), message)
        return None if at is None else near[at]

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
            assert pending.way is not None
            pending.way.counters.expired += 1
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
