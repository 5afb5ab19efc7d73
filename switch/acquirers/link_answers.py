"""What comes in on a link: which request an answer belongs to, and whether it counts.

An answer counts only if its MAC verifies and it agrees with its request (rules §5). What does not
count leaves the request waiting: a good answer may still come. What comes after the deadline, or
belongs to nobody here, is handed to `on_late`, which decides what it means for the money; and whatever
counts for nothing is kept for people (`unmatched.py`), so many a second and no more.

The vault verifies. One on a network takes its time: answers may be verified in another order than
they came in, and the request is looked for once that is done.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from iso8583.dialects import registry
from iso8583.errors import DecodeError
from switch.acquirers import link_messages
from switch.acquirers.in_flight import EXPIRED_MAX, Pending
from switch.acquirers.unmatched import (
    Bound,
    Nearest,
    UnmatchedAnswer,
    differences,
    printable,
    shown,
)
from switch.bounded import remember

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from iso8583.message import Message
    from switch.acquirers.circuit import Circuit
    from switch.acquirers.hand_over import HandOver
    from switch.acquirers.in_flight import Expired, InFlight, MatchKey
    from switch.acquirers.link_clock import LinkClock
    from switch.acquirers.link_connection import Connection, Owner
    from switch.acquirers.link_frames import Frames
    from switch.acquirers.ports import OnLate
    from switch.acquirers.unmatched import OnUnmatched
    from switch.reference import Snapshot

_log = structlog.get_logger(__name__)

A_SIBLINGS: Final = 0  # the slot of an answer that a sibling's connection brought
PARKED_MAX: Final = 256  # answers that wait for a look at newer keys
ASKED_ABOUT_PER_S: Final = 256  # answers to nothing in flight that the journal is asked about


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
        on_unmatched: OnUnmatched | None,
        reload: Callable[[], Awaitable[Snapshot]] | None,
    ) -> None:
        self.matching = link_messages.matching_of(owner.link.dialect)
        self.key = link_messages.key_by(self.matching)
        self._owner = owner
        self._name = owner.name
        self._family = registry.get(owner.link.dialect).family
        self._counters = owner.counters
        self._codec = frames.codec
        self._mac = frames.mac
        self._clock = clock
        self._circuit = circuit
        self._in_flight = in_flight
        self._hand_over = hand_over
        self._on_late = on_late
        self._on_unmatched = on_unmatched
        self._reload = reload
        # looking the loop up costs more than asking it
        self._time = asyncio.get_running_loop().time
        self._kept, self._asked_about = Bound(), Bound()
        self._approved_late: OrderedDict[MatchKey, float] = OrderedDict()
        self._parked: list[tuple[Message, bytes, int]] = []

    def approved_late_since(self, key: MatchKey, since_s: float) -> bool:
        return self._approved_late.get(key, -1.0) >= since_s

    # -- from our connections ---------------------------------------------------------------------

    def received(self, connection: Connection, body: bytes) -> None:
        """One frame, whatever it is."""
        try:
            message = self._codec.decode(body)
        except DecodeError as error:
            self._counters.undecodable += 1
            self._keep({}, connection.slot, "undecodable", str(error))
            return
        mti: Any = message[0]
        if mti[1] == "8":
            self._owner.at_once(connection.managed(message, body))
        else:
            self._answered(message, body, connection.slot)

    # -- from siblings ----------------------------------------------------------------------------

    def take(self, body: bytes) -> bool:
        """Handle it if its request is in flight here, or was; False: it is not ours."""
        try:
            message = self._codec.decode(body)
        except DecodeError:
            return False
        if not self._waits_for(self.key(message)):
            return False
        self._answered(message, body, A_SIBLINGS)
        return True

    def nobodys(self, body: bytes) -> None:
        """Handle an answer that no sibling knows either."""
        message = self._codec.decode(body)
        self._answered(message, body, A_SIBLINGS)

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
        self, message: Message, body: bytes, slot: int, *, newest_keys: bool = False
    ) -> None:
        """`newest_keys`: the store has been asked for them already."""
        key = self.key(message)
        if self._hand_over.on and slot != A_SIBLINGS and not self._waits_for(key):
            self._hand_over.pass_on(key, body, lambda: self.nobodys(body))
            return
        try:
            verified = self._mac.verifies(message, body)
            if verified is True:
                self._judge(key, message, slot)
            elif verified is False:
                self._badly_signed(key, message, body, slot, newest_keys=newest_keys)
            else:
                work = self._judge_in_time(
                    verified, key, message, body, slot, newest_keys=newest_keys
                )
                self._owner.at_once(work)
        except Exception:  # noqa: BLE001 - one answer must not cost the others theirs
            _log.exception("link_message_failed", acquirer=self._name)

    async def _judge_in_time(
        self,
        verified: Awaitable[bool],
        key: MatchKey,
        message: Message,
        body: bytes,
        slot: int,
        *,
        newest_keys: bool,
    ) -> None:
        if await verified:
            self._judge(key, message, slot)
        else:
            self._badly_signed(key, message, body, slot, newest_keys=newest_keys)

    def _badly_signed(
        self, key: MatchKey, message: Message, body: bytes, slot: int, *, newest_keys: bool
    ) -> None:
        """By the keys that we know. Another process may have taken a change: the store is asked first."""
        look = self._reload is not None and not newest_keys
        if look and len(self._parked) < PARKED_MAX:
            self._parked.append((message, body, slot))
            if len(self._parked) == 1:
                self._owner.spawn(self._verify_parked())
            return
        self._counters.mac_failed += 1
        of = self._in_flight.pending.get(key) or self._in_flight.expired.get(key)
        self._not_counting(message, slot, of, "mac")

    async def _verify_parked(self) -> None:
        assert self._reload is not None
        try:
            self._mac.refresh(await self._reload())
        except Exception as error:  # noqa: BLE001 - whatever the store's failure, the answers must be judged
            _log.warning("link_keys_not_reloaded", acquirer=self._name, error=repr(error))
        finally:
            parked, self._parked = self._parked, []
        for message, body, slot in parked:
            self._answered(message, body, slot, newest_keys=True)

    def _judge(self, key: MatchKey, message: Message, slot: int) -> None:
        """Which request is it for? Asked once the vault has looked at it."""
        pending = self._in_flight.pending.get(key)
        if pending is not None:
            self._answer(pending, message, slot)
            return
        expired = self._in_flight.expired.get(key)
        if expired is not None:
            self._late(key, message, slot, expired)
        else:
            self._unmatched(key, message, slot)

    def _answer(self, pending: Pending, message: Message, slot: int) -> None:
        link, local = self._owner.link, self._clock.local()
        answer = link_messages.read_answer(pending.request, message, link, local.date())
        if isinstance(answer, str):
            self._counters.mismatched += 1
            self._not_counting(message, slot, pending, "mismatch", answer)
            return
        if answer.settlement_date is None and answer.kind.approves:
            date = link_messages.settlement_date(None, link, local)
            answer = msgspec.structs.replace(answer, settlement_date=date)
        self._in_flight.forget(pending)
        assert pending.way is not None
        pending.way.counters.answered += 1
        now_s = self._time()
        self._counters.answered_in(now_s - (pending.deadline_s - link.timeout_s))
        if answer.response_code in link.circuit_codes:
            self._circuit.failed(pending.circuit, now_s)
        else:
            self._circuit.succeeded(pending.circuit, now_s)
        pending.told(answer)

    # -- what does not ------------------------------------------------------------------------------

    def _late(self, key: MatchKey, message: Message, slot: int, expired: Expired) -> None:
        """A good answer to what was given up. Each different one is told: what it means for the money
        is decided there; those that say the same again are only kept."""
        late = link_messages.read_answer(
            expired.request, message, self._owner.link, self._clock.local().date()
        )
        if isinstance(late, str):
            self._counters.mismatched += 1
            self._not_counting(message, slot, expired, "mismatch", late)
            return
        self._counters.late += 1
        if late.kind.approves:
            now_s = self._time()
            remember(self._approved_late, key, now_s, EXPIRED_MAX)
        reason = "twice" if expired.told else "late"
        if expired.news(late) and expired.attempt is not None:
            self._on_late(expired.attempt, message, "late")
        self._keep(message, slot, reason, "", expired)

    def _not_counting(
        self,
        message: Message,
        slot: int,
        of: Pending | Expired | None,
        reason: str,
        detail: str = "",
    ) -> None:
        """Kept and stored, otherwise as if it had not come (rules §5)."""
        kept = self._keep(message, slot, reason, detail, of)
        if kept and of is not None and of.attempt is not None:
            self._on_late(of.attempt, message, reason)

    def _unmatched(self, key: MatchKey, message: Message, slot: int) -> None:
        """A good answer to nothing in flight. A 0430 finds its item again when it is repeated."""
        twice = key in self._in_flight.sent_on
        if twice:
            self._counters.twice += 1
        else:
            self._counters.unmatched += 1
        self._keep(message, slot, "twice" if twice else "unmatched", "")
        mti = str(message[0])
        if mti[1] != "4" and mti[2] in "13":
            now_s = self._time()
            if self._asked_about.takes(now_s, ASKED_ABOUT_PER_S):
                self._on_late(None, message, "late")

    def management(self, message: Message, slot: int) -> None:
        """An 08xx that answers nothing of ours."""
        self._counters.unmatched += 1
        self._keep(message, slot, "unmatched", "")

    def _keep(
        self,
        message: Message,
        slot: int,
        reason: str,
        detail: str,
        of: Pending | Expired | None = None,
    ) -> bool:
        """Have it kept, with the request that it looks most like; False: too many this second."""
        now_s = self._time()
        if not self._kept.takes(now_s, self._owner.link.unmatched_per_s):
            self._counters.unmatched_dropped += 1
            return False
        near = of or self._in_flight.nearest(message)
        if reason == "twice" and near is not None and near.request.get(11) != message.get(11):
            near = None  # its own request has its answer: this one is only alike
        nearest = None
        if near is not None:
            attempt = None if near.attempt is None else near.attempt.attempt
            state = "pending" if isinstance(near, Pending) else "expired"
            nearest = Nearest(near.request_id, attempt, state)
        answer = UnmatchedAnswer(
            acquirer=self._name,
            slot=slot,
            reason=reason,
            detail=printable(detail),
            mti=str(message.get(0, "")),
            stan=str(message.get(11, "")),
            transmission_time=str(message.get(7, "")),
            rrn=str(message.get(37, "")),
            response_code=str(message.get(39, "")),
            elements=shown(message, self._family),
            nearest=nearest,
            differences=() if near is None else differences(near.request, message),
            dropped=self._kept.told(),
        )
        _log.warning(
            "link_answer_unmatched",
            acquirer=self._name,
            slot=slot,
            reason=reason,
            detail=answer.detail,
            mti=answer.mti,
            stan=answer.stan,
            rrn=answer.rrn,
            response_code=answer.response_code,
            nearest=None if nearest is None else nearest.request_id,
            differs=[f"DE {one.de}" for one in answer.differences],
            dropped=answer.dropped,
        )
        if self._on_unmatched is not None:
            self._on_unmatched(answer)
        return True
