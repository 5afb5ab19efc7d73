"""The rows that a request becomes: what the journal keeps of a message, and with which numbers."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import TYPE_CHECKING

import msgspec

from switch import intake, numbers
from switch.acquirers.ports import Health
from switch.advice import Way
from switch.chip import ChipFilter
from switch.journal import AttemptRow, Key, RequestRow
from switch.reversal import WireIdentity
from switch.transactions import TOMBSTONE

if TYPE_CHECKING:
    from hsm.pans import Pans
    from switch.acquirers.ports import Acquirer
    from switch.intake import Ask, Refusal
    from switch.load import Load
    from switch.ports import Clock
    from switch.reception import Received, Verified
    from switch.reference import Link, Snapshot

PAN_COLUMN = "switch.request.pan_cipher"
UNSUPPORTED = "unsupported"  # type of the row of a request that no table row knows


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

    number: int  # since 1970
    time: dt.datetime
    text: str  # MMDDhhmmss


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
        self._clock = clock
        self._standing = standing
        self._load = load
        self._acquirers = acquirers
        self._request_ids = request_ids
        self._rrns = rrns
        self._timezone = timezone
        self._chips = ChipFilter()
        self._seconds: dict[str, Second] = {}  # zone -> the second last asked for

    def local(self, timezone: str = "") -> Second:
        """The present second in a merchant's time zone, or in the node's."""
        return self._second(self._clock.now(), timezone or self._timezone)

    def _second(self, now: dt.datetime, timezone: str) -> Second:
        """Made once a second and zone."""
        number = int(now.timestamp())
        second = self._seconds.get(timezone)
        if second is None or second.number != number:
            zone = zoneinfo.ZoneInfo(timezone)
            time = dt.datetime.fromtimestamp(number, zone)
            second = Second(number, time, time.strftime("%m%d%H%M%S"))
            self._seconds[timezone] = second
        return second

    def request(
        self,
        received: Received,
        verified: Verified,
        snapshot: Snapshot,
        key: Key,
        asked: Ask | Refusal | None,
    ) -> RequestRow | None:
        """The request's row; None while no numbers are left. `asked` None: a 0400's tombstone."""
        request_id, serial = self._request_ids.take(), self._rrns.take()
        if request_id is None or serial is None:
            return None
        message, merchant = received.message, received.merchant
        now = self._clock.now()
        local = self._second(
            now, self._timezone if merchant is None else merchant.timezone or self._timezone
        )
        pan, expiry = intake.read_card(message) or ("", "")
        route = snapshot.route(pan) if pan else None
        amount = str(message.get(4, "0"))
        chip = message.get(55)
        known = asked.type.name if isinstance(asked, intake.Ask) else UNSUPPORTED
        return RequestRow(
            request_id=request_id,
            owner_id=self._standing.owner_id,
            generation=snapshot.generation,
            key=key,
            content=self._pans.content(
                (pan, str(message[3]), amount, str(message.get(49, "")), str(message.get(61, "")))
            ),
            type=TOMBSTONE if asked is None else known,
            mti=received.mti,
            processing_code=str(message[3]),
            amount_minor=int(amount),
            currency=str(message.get(49, "")),
            rrn=numbers.rrn(serial, local.time.date()),
            received_at=now,
            local_time=local.text,
            entry_mode=str(message.get(22, "")),
            condition_code=str(message.get(25, "")),
            card_sequence=str(message.get(23, "")),
            mcc="" if merchant is None else merchant.mcc,
            pan_token=self._pans.token(pan) if pan else None,
            pan_masked=self._pans.mask(pan) if pan else "",
            pan_cipher=self._pans.protect(pan, expiry, request_id, PAN_COLUMN) if pan else None,
            chip=self._chips.kept(chip) if isinstance(chip, bytes) else None,
            foreign=route is not None and route.foreign,
            any_batch=asked is None or (isinstance(asked, intake.Ask) and asked.type.advice),
            session_id=verified.session.session_id,
            decision=versions(received, snapshot, "" if route is None else route.prefix),
        )

    def attempt(
        self,
        request: RequestRow,
        former: AttemptRow | None,
        acquirer: str,
        rule: str,
        snapshot: Snapshot,
    ) -> AttemptRow | None:
        """The next attempt's row; None where that acquirer can not be used from here now.

        At the bound of its queue only what may itself need the queue least goes on: 0220 and 0400
        are always taken in (rules §8).
        """
        if acquirer in self._standing.full and request.mti[:3] != "022":
            return None
        host = self._acquirers.get(acquirer)
        link = snapshot.links.get(acquirer)
        if host is None or link is None or self._load.waiting_at(acquirer) >= link.in_flight_max:
            return None  # a bank that does not answer costs its own requests only
        health = host.health()
        if health is not Health.UP and health is not Health.PROBING:
            return None
        pair = host.numbers()
        return None if pair is None else self._attempt(request, former, rule, link, pair, snapshot)

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
    ) -> AttemptRow:
        acquirer = link.acquirer
        return AttemptRow(
            request_id=request.request_id,
            attempt=1 if former is None else former.attempt + 1,
            acquirer=acquirer,
            link_stan=pair[0],
            transmission_time=pair[1],
            de32=link.de32,
            de33=link.de33,
            route_rule=f"{rule}@{snapshot.version('link', acquirer)}",
        )

    def identity(self, acquirer: str) -> WireIdentity | None:
        """What a queued message to an acquirer will be known by; None while no block is there."""
        host, item_id = self._acquirers.get(acquirer), self._request_ids.take()
        pair = None if host is None else host.numbers()
        if pair is None or item_id is None:
            return None
        return WireIdentity(item_id, pair[0], pair[1])


def versions(received: Received, snapshot: Snapshot, prefix: str) -> str:
    """Which reference data the decision rests on (P10), as JSON."""
    merchant = snapshot.version("merchant", received.merchant_id)
    terminal = snapshot.version("terminal", received.terminal.name)
    return (
        f'{{"generation":{snapshot.generation},"merchant":{merchant},"terminal":{terminal},'
        f'"route":"{prefix}@{snapshot.version("route", prefix)}"}}'
    )
