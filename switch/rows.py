"""The rows that a request becomes: what the journal keeps of a message, and with which numbers."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import TYPE_CHECKING, Any

import msgspec

from switch import numbers
from switch.acquirers.ports import DOWN, FULL, OPEN, PROBING, UP
from switch.advice import Way
from switch.chip import ChipFilter
from switch.journal import AttemptRow, Key, RequestRow
from switch.reversal import WireIdentity
from switch.routing import route_rule

if TYPE_CHECKING:
    from hsm.pans import Pans
    from switch.acquirers.ports import Acquirer
    from switch.intake import Ask
    from switch.load import Load
    from switch.ports import Clock
    from switch.reception import Received, Verified
    from switch.reference import Link, Route, Snapshot
    from switch.routing import Passed

ONE_SECOND = dt.timedelta(seconds=1)
PAN_COLUMN = "switch.request.pan_cipher"
# How a host that takes no new request does, in the words of `NotSentError`.
UNFIT = {DOWN: "link_down", FULL: "in_flight_max", OPEN: "circuit_open"}


class Standing:
    """What this process may do right now. Renewed by `duties`; read before every send."""

    def __init__(self) -> None:
        self.owner_id = 0
        self.until_ns = 0  # on the monotonic clock: nothing is sent after it
        self.full: frozenset[str] = frozenset()  # acquirers whose queue is at its bound

    def of(self, owner_id: int) -> int:
        """Until when this process may send for requests of `owner_id`.

        A lease that ran out and was replaced does not come back: its requests are others' now.
        """
        return self.until_ns if owner_id == self.owner_id else 0


class Second(msgspec.Struct, frozen=True, gc=False):
    """A second of a time zone."""

    begins: dt.datetime
    ends: dt.datetime
    time: dt.datetime
    text: str  # MMDDhhmmss
    month: str  # YYMM, as an expiry is written
    rrn_head: str


class Rows:
    """Makes rows; the numbers in them are taken here, before the commit. One instance a process."""

    def __init__(
        self,
        *,
        pans: Pans,
        clock: Clock,
        standing: Standing,
        load: Load,
        acquirers: dict[str, Acquirer],
        request_ids: numbers.Block,
        rrns: numbers.Block,
        timezone: str,
    ) -> None:
        self._pans = pans
        self.now = clock.now
        self._standing = standing
        self._load = load
        self._acquirers = acquirers
        self._request_ids = request_ids
        self._rrns = rrns
        self._timezone = timezone
        self._chips = ChipFilter()
        self._seconds: dict[str, Second] = {}  # zone -> the second last asked for

    def local(self, timezone: str = "", now: dt.datetime | None = None) -> Second:
        """The present second in a merchant's time zone, or in the node's: made once a second and zone."""
        now = now or self.now()
        second = self._seconds.get(timezone)
        if second is None or not second.begins <= now < second.ends:
            second = self._seconds[timezone] = self._second(now, timezone or self._timezone)
        return second

    def _second(self, now: dt.datetime, timezone: str) -> Second:
        begins = now.replace(microsecond=0)
        time = begins.astimezone(zoneinfo.ZoneInfo(timezone))
        return Second(
            begins,
            begins + ONE_SECOND,
            time,
            time.strftime("%m%d%H%M%S"),
            time.strftime("%y%m"),
            numbers.rrn_head(time.date()),
        )

    def request(
        self,
        received: Received,
        verified: Verified,
        snapshot: Snapshot,
        key: Key,
        asked: Ask,
        route: Route | None,
        now: dt.datetime,
        local: Second,
    ) -> RequestRow | None:
        """The request's row; None while no numbers are left. `route`: of its card, if it has one.
        `local`: the second of `now` at its merchant's."""
        request_id, serial = self._request_ids.take(), self._rrns.take()
        if request_id is None or serial is None:
            return None
        sender, pans = received.sender, self._pans
        elements: dict[int, Any] = received.message
        pan, code, currency = asked.pan, asked.processing_code, asked.currency
        amount, reference = elements.get(4, "0"), elements.get(61, "")
        chip = elements.get(55)
        # By position, in the order of its fields: by name the whole row costs five times as much.
        return RequestRow(
            request_id,
            self._standing.owner_id,
            snapshot.generation,
            key,
            pans.content((pan, code, amount, currency, reference)),
            asked.type.name,
            received.mti,
            code,
            asked.amount_minor,
            currency,
            numbers.rrn(serial, local.rrn_head),
            now,
            local.text,
            asked.entry_mode,
            asked.condition,
            elements.get(23, ""),  # card sequence
            "" if sender.merchant is None else sender.merchant.mcc,
            pans.token(pan) if pan else None,
            pans.mask(pan) if pan else "",
            pans.protect(pan, asked.expiry, request_id, PAN_COLUMN) if pan else None,
            self._chips.kept(chip) if isinstance(chip, bytes) else None,
            None,  # its original: not known yet
            route is not None and route.foreign,
            asked.type.advice,  # may name any batch
            verified.session.session_id,
            sender.decision + route_told(snapshot, route, pin=52 in elements),
        )

    def attempt(
        self,
        request: RequestRow,
        former: AttemptRow | None,
        acquirer: str,
        rule: str,
        snapshot: Snapshot,
        passed: Passed = (),
    ) -> AttemptRow | str:
        """The next attempt's row; where that acquirer can not be used from here now, why.

        At the bound of its queue only what may itself need the queue least goes on: 0220 and 0400
        are always taken in (rules §8). `passed`: the acquirers that came before it.
        """
        if acquirer in self._standing.full and request.mti[:3] != "022":
            return "queue_full"
        host = self._acquirers.get(acquirer)
        link = snapshot.links.get(acquirer)
        if host is None or link is None:
            return "no_link"
        if self._load.away_at.get(acquirer, 0) >= link.in_flight_max:
            return "in_flight_max"  # a bank that does not answer costs its own requests only
        health = host.health()
        if health is not UP and health is not PROBING:
            return UNFIT[health]
        pair = host.numbers()
        if pair is None:
            return "no_numbers"
        return self._attempt(request, former, rule, link, pair, snapshot, passed)

    def way(
        self, request: RequestRow, acquirer: str, rule: str, auth_code: str, snapshot: Snapshot
    ) -> Way | None:
        """Where an advice goes, whether or not that link is up: it is delivered from the queue.

        None while no numbers are left.
        """
        host = self._acquirers.get(acquirer)
        link = snapshot.links.get(acquirer)
        pair = None if host is None else host.numbers()
        if link is None or pair is None:
            return None
        attempt = self._attempt(request, None, rule, link, pair, snapshot)
        return Way(attempt, auth_code, self.identity)

    def _attempt(
        self,
        request: RequestRow,
        former: AttemptRow | None,
        rule: str,
        link: Link,
        pair: tuple[str, str],
        snapshot: Snapshot,
        passed: Passed = (),
    ) -> AttemptRow:
        acquirer = link.acquirer
        told = "" if passed else snapshot.attempts_told.get((rule, acquirer), "")
        if not told:
            told = route_rule(rule, acquirer, snapshot.version("link", acquirer), passed)
            if not passed:
                snapshot.attempts_told[rule, acquirer] = told
        return AttemptRow(
            request.request_id,
            1 if former is None else former.attempt + 1,
            acquirer,
            pair[0],  # link STAN
            pair[1],  # transmission time
            link.de32,
            link.de33,
            told,
        )

    def identity(self, acquirer: str) -> WireIdentity | None:
        """What a queued message to an acquirer will be known by; None while no block is there."""
        host, item_id = self._acquirers.get(acquirer), self._request_ids.take()
        pair = None if host is None else host.numbers()
        if pair is None or item_id is None:
            return None
        return WireIdentity(item_id, pair[0], pair[1])


def route_told(snapshot: Snapshot, route: Route | None, *, pin: bool) -> str:
    """How a decision (P10) ends after `Sender.decision`: which route, and its version; whether there is a
    PIN for the vault to translate, which no other column tells."""
    prefix = "" if route is None else route.prefix
    told = snapshot.routes_told.get((prefix, pin))
    if told is None:
        told = f'"route":"{prefix}@{snapshot.version("route", prefix)}"'
        told = f'{told},"pin":true}}' if pin else f"{told}}}"
        snapshot.routes_told[prefix, pin] = told
    return told
