"""What comes in on a link: which request an answer belongs to, and whether it counts.

An answer counts only if its MAC verifies and it agrees with its request (rules §5). What does not
count leaves the request waiting: a good answer may still come. What comes after the deadline, or
belongs to nobody here, is handed to `on_late`.

The vault verifies. One on a network takes its time: answers may be verified in another order than
they came in, and the request is looked for once that is done.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from iso8583.errors import DecodeError
from switch.acquirers import link_messages
from switch.acquirers.in_flight import EXPIRED_MAX
from switch.bounded import remember

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from iso8583.message import Message
    from switch.acquirers.circuit import Circuit
    from switch.acquirers.hand_over import HandOver
    from switch.acquirers.in_flight import Expired, InFlight, MatchKey, Pending
    from switch.acquirers.link_clock import LinkClock
    from switch.acquirers.link_connection import Connection, Owner
    from switch.acquirers.link_frames import Frames
    from switch.acquirers.ports import OnLate
    from switch.reference import Snapshot

_log = structlog.get_logger(__name__)

PARKED_MAX: Final = 256  # answers that wait for a look at newer keys


class Answers:
    """`owner` is the link; `reload` reads the reference data anew from the store."""

    def __init__(
        self,
        owner: Owner,
        *,
        frames: Frames,
        clock: LinkClock,
        circuit: Circuit,
        in_flight: InFlight,
        hand_over: HandOver,
        on_late: OnLate,
        reload: Callable[[], Awaitable[Snapshot]] | None,
    ) -> None:
        self.matching = link_messages.matching_of(owner.link.dialect)
        self._owner = owner
        self._name = owner.name
        self._counters = owner.counters
        self._codec = frames.codec
        self._mac = frames.mac
        self._clock = clock
        self._circuit = circuit
        self._in_flight = in_flight
        self._hand_over = hand_over
        self._on_late = on_late
        self._reload = reload
        self._approved_late: dict[MatchKey, float] = {}
        self._parked: list[tuple[Message, bytes, bool]] = []

    def key(self, message: Message) -> MatchKey:
        return tuple([message.get(de, "") for de in self.matching])

    def approved_late_since(self, key: MatchKey, since_s: float) -> bool:
        return self._approved_late.get(key, -1.0) >= since_s

    # -- from our connections ---------------------------------------------------------------------

    def received(self, connection: Connection, body: bytes) -> None:
        """One frame, whatever it is."""
        try:
            message = self._codec.decode(body)
        except DecodeError as error:
            self._counters.undecodable += 1
            _log.warning("link_message_undecodable", acquirer=self._name, reason=str(error))
            return
        if str(message[0])[1] == "8":
            self._owner.at_once(connection.managed(message, body))
        else:
            self._answered(message, body, newest_keys=self._reload is None)

    # -- from siblings ----------------------------------------------------------------------------

    def take(self, body: bytes) -> bool:
        """Handle it if its request is in flight here, or was; False: it is not ours."""
        try:
            message = self._codec.decode(body)
        except DecodeError:
            return False
        if not self._waits_for(self.key(message)):
            return False
        self._answered(message, body, newest_keys=self._reload is None, nobodys=True)
        return True

    def nobodys(self, body: bytes) -> None:
        """Handle an answer that no sibling knows either."""
        message = self._codec.decode(body)
        self._answered(message, body, newest_keys=self._reload is None, nobodys=True)

    def _waits_for(self, key: MatchKey) -> bool:
        """Is this answer ours for certain? What store and forward gave up waiting for here, a
        sibling may since have sent again under the same numbers: on our connection, for certain."""
        if key in self._in_flight.pending:
            return True
        expired = self._in_flight.expired.get(key)
        return (
            expired is not None
            and expired.attempt is not None
            and not self._hand_over.waits_for(key)
        )

    # -- does it count? ---------------------------------------------------------------------------

    def _answered(
        self, message: Message, body: bytes, *, newest_keys: bool, nobodys: bool = False
    ) -> None:
        key = self.key(message)
        if self._hand_over.on and not nobodys and not self._waits_for(key):
            self._hand_over.pass_on(key, body, lambda: self.nobodys(body))
            return
        work = self._judged(key, message, body, newest_keys=newest_keys, nobodys=nobodys)
        self._owner.at_once(work)

    async def _judged(
        self, key: MatchKey, message: Message, body: bytes, *, newest_keys: bool, nobodys: bool
    ) -> None:
        """Does it count, and for which request? The second is asked once the vault has looked at it."""
        verified = await self._mac.verifies(message, body)
        if not (verified or newest_keys) and len(self._parked) < PARKED_MAX:
            self._look_for_newer_keys(message, body, nobodys=nobodys)
            return
        pending = self._in_flight.pending.get(key)
        expired = None if pending is not None else self._in_flight.expired.get(key)
        if not verified:
            self._not_counting(message, pending, expired, "mac")
            return
        link, local = self._owner.link, self._clock.local()
        if pending is not None:
            answer = link_messages.read_answer(pending.request, message, link, local.date())
            if isinstance(answer, str):
                self._not_counting(message, pending, None, "mismatch", answer)
                return
            if answer.settlement_date is None and answer.kind.approves:
                date = link_messages.settlement_date(None, link, local)
                answer = msgspec.structs.replace(answer, settlement_date=date)
            self._in_flight.forget(pending)
            now_s = asyncio.get_running_loop().time()
            self._counters.answered_in(now_s - (pending.deadline_s - link.timeout_s))
            if answer.response_code in link.circuit_codes:
                self._circuit.failed(pending.circuit, now_s)
            else:
                self._circuit.succeeded(pending.circuit, now_s)
            pending.told(answer)
        elif expired is not None:
            late = link_messages.read_answer(expired.request, message, link, local.date())
            if isinstance(late, str):
                self._not_counting(message, None, expired, "mismatch", late)
                return
            self._counters.late += 1
            if late.kind.approves:
                now_s = asyncio.get_running_loop().time()
                remember(self._approved_late, key, now_s, EXPIRED_MAX)
            if expired.attempt is not None:
                self._on_late(expired.attempt, message, "late")
        else:
            self._unmatched(message)

    def _not_counting(
        self,
        message: Message,
        pending: Pending | None,
        expired: Expired | None,
        reason: str,
        detail: str = "",
    ) -> None:
        """Counted and stored, otherwise as if it had not come (rules §5). Nobody's: only counted."""
        if reason == "mac":
            self._counters.mac_failed += 1
        else:
            self._counters.mismatched += 1
        attempt = pending.attempt if pending else expired.attempt if expired else None
        _log.warning(
            "link_answer_refused",
            acquirer=self._name,
            reason=reason,
            detail=detail,
            stan=message.get(11),
            rrn=message.get(37),
        )
        if attempt is not None:
            self._on_late(attempt, message, reason)

    def _unmatched(self, message: Message) -> None:
        """A good answer to nothing we remember. A 0430 finds its item again when it is repeated."""
        self._counters.unmatched += 1
        _log.warning(
            "link_answer_unmatched",
            acquirer=self._name,
            mti=message[0],
            stan=message.get(11),
            rrn=message.get(37),
            nearest=self._in_flight.nearest(message, self.matching),
        )
        mti = str(message[0])
        if mti[1] != "4" and mti[2] in "13":
            self._on_late(None, message, "late")

    def _look_for_newer_keys(self, message: Message, body: bytes, *, nobodys: bool) -> None:
        """Another process may have taken a key change: ask the store before the MAC is called wrong."""
        self._parked.append((message, body, nobodys))
        if len(self._parked) == 1:
            self._owner.spawn(self._verify_parked())

    async def _verify_parked(self) -> None:
        assert self._reload is not None
        try:
            self._mac.refresh(await self._reload())
        except Exception as error:  # noqa: BLE001 - whatever the store's failure, the answers must be judged
            _log.warning("link_keys_not_reloaded", acquirer=self._name, error=repr(error))
        finally:
            parked, self._parked = self._parked, []
        for message, body, nobodys in parked:
            self._answered(message, body, newest_keys=True, nobodys=nobodys)
