"""Downloads of terminals: the messages of DE 60.3 36x to 39x, and the digit that asks for them.

Theory of operation. What a terminal should have has a version (`offers`). A download is begun by its
first message and ended by its last, both facts in the store; every part in between is given out of the
data that this process has. A part of another version than the one that was begun makes the download
*mixed*: its end says nothing, and the terminal is asked again. So whoever ends one has all of one
version, whichever nodes have served it and whatever has changed meanwhile.

    nothing, ended ── first part ──▶ begun ── end, same version ──▶ ended
                         ▲             │
                         │             └── a part of another version ──▶ mixed
                         └───────────────── first part ───────────────────┘

These messages carry no MAC (rules §10). An end counts at once for whoever comes from the same address, and
for everybody once that address has sent a verified MAC. Card numbers are only given to one that has.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

import msgspec

from hsm.errors import VaultError
from iso8583.errors import DecodeError
from switch import listed_cards
from switch.journal import StoreDownError
from switch.offers import Offers
from switch.store_ports import DownloadFact
from terminals import downloads
from terminals.downloads import SIGN_ON_DIGIT, STATUS, STATUS_CODE, STATUS_DIGIT, STEPS

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from hsm.pans import Pans
    from switch import config
    from switch.access import Access
    from switch.engine import Log
    from switch.offers import Offer, Offered
    from switch.ports import Clock
    from switch.reception import Received
    from switch.reference import Snapshot
    from switch.store_ports import Downloads as Store, KeptDownload, Session

TRACES: Final = 999_999
# So many traces behind the newest a message is a late copy: the terminal no longer waits for its answer.
# Further behind, the terminal has begun to count anew.
LATE_TRACES: Final = 64
SIGN_ON: Final = "sign_on"
DIGITS: Final = {SIGN_ON: SIGN_ON_DIGIT, STATUS: STATUS_DIGIT} | {
    topic.name: topic.digit for topic in downloads.TOPICS
}


class Answer(msgspec.Struct, frozen=True):
    response_code: str
    rule: str
    de62: bytes = b""


# -- what a message comes to: pure ------------------------------------------------------------------


def is_late(stan: int, newest: int) -> bool:
    """A copy that was held up somewhere: its sender has long gone on.

    >>> is_late(7, 9), is_late(9, 9), is_late(999_998, 1), is_late(1, 500)
    (True, False, True, False)
    """
    return 0 < (newest - stan) % TRACES <= LATE_TRACES


def taken(
    before: DownloadFact | None, now: DownloadFact, step: downloads.Step, *, first: bool
) -> DownloadFact | None:
    """What becomes of a topic by a message that `now` describes; None: nothing.

    `before` is its newest fact, `first` the part that a download begins with. Without a version the
    process that was asked knows of nothing: the terminal was told so, in the middle of what it may have begun.
    """
    if before is not None and is_late(now.stan, before.stan):
        return None
    replace = msgspec.structs.replace
    mixed = replace(now, act="mixed", stan=now.stan if before is None else before.stan)
    if first and now.version:
        if before is None or now.stan != before.stan:
            return replace(now, act="begun")
        return mixed if now.version != before.version and before.act == "begun" else None
    if before is None or before.act != "begun":
        return None
    if step == "end":
        return replace(now, act="ended") if now.version == before.version else None
    return mixed if now.version != before.version else None


def had(facts: Iterable[KeptDownload], address: str) -> dict[str, KeptDownload]:
    """The newest end of each topic that counts for who comes from `address`, unless something was begun
    since: what has come of that nobody knows, and the data may be what they were before."""
    has: dict[str, KeptDownload] = {}
    for kept in facts:
        fact = kept.fact
        if fact.act != "ended":
            has.pop(fact.topic, None)
        elif fact.shown or fact.address == address:
            has[fact.topic] = kept
    return has


def due(
    offered: Offered, has: dict[str, KeptDownload], now: dt.datetime, *, shown: bool
) -> list[tuple[str, str]]:
    """(topic, version) of everything that a terminal is to take or to send, the most urgent first."""
    wanted = [
        (name, offer.version)
        for name, offer in offered.offers.items()
        if (name not in has or has[name].fact.version != offer.version)
        and (shown or not offer.topic.guarded)
    ]
    told = has.get(STATUS)
    age_s = None if told is None else (now - told.at).total_seconds()
    if offered.status_s and (age_s is None or age_s >= offered.status_s):
        wanted.append((STATUS, "" if told is None else str(told.download_id)))
    return wanted


# -- the shell --------------------------------------------------------------------------------------


class Downloads:
    """Of one process."""

    def __init__(
        self, settings: config.Downloads, store: Store, pans: Pans, clock: Clock, log: Log
    ) -> None:
        self._settings = settings
        self._store = store
        self._pans = pans
        self._clock = clock
        self._log = log
        self._offers: Offers | None = None

    def offered(self, received: Received, snapshot: Snapshot) -> Offered | None:
        if self._offers is None or self._offers.snapshot is not snapshot:
            self._offers = Offers(snapshot)
        return self._offers.of(received.terminal, received.merchant, received.profile)

    @staticmethod
    def takes(mti: str, code: str) -> bool:
        return (mti, code) in STEPS or (mti, code) == ("0820", STATUS_CODE)

    @staticmethod
    def ends(received: Received, rule: str) -> bool:
        """Nothing of this download follows: the next one may be asked for."""
        at_once = not received.profile.parameters_end
        return rule.endswith(".end") or (at_once and rule == "download.parameters.get")

    async def answer(
        self, received: Received, snapshot: Snapshot, code: str, source: str, *, shown: bool
    ) -> Answer:
        """What DE 39 and 62 of the answer are, once what follows from it is durable."""
        try:
            if code == STATUS_CODE:
                return await self._status(received, source, shown=shown)
            return await self._step(received, snapshot, code, source, shown=shown)
        except DecodeError as error:
            return Answer("30", f"download.form: {error}")
        except VaultError as error:
            self._log.failed(error)
            return Answer("96", "download.sealed")

    async def _step(
        self, received: Received, snapshot: Snapshot, code: str, source: str, *, shown: bool
    ) -> Answer:
        topic, step = STEPS[received.mti, code]
        rule = f"download.{topic.name}.{step}"
        de62 = _de62(received)
        if topic.guarded and not shown:
            return Answer("77", "download.source_not_verified")
        offered = self.offered(received, snapshot)
        offer = None if offered is None else offered.offers.get(topic.name)
        place = _place(topic, step, de62)
        if offered is None or offer is None:
            answer = _nothing(topic, step, rule)
        else:
            answer = self._given(offer, offered, step, de62, place, rule)
        now = DownloadFact(
            topic=topic.name,
            act="",
            version="" if offer is None else offer.version,
            source="" if offer is None else offer.source,
            stan=int(str(received.message[11])),
            address=source,
            shown=shown,
        )
        first = place == 0 and step == ("list" if topic.list else "get")
        at_once = topic.name == "parameters" and not received.profile.parameters_end

        def judge(before: DownloadFact | None) -> DownloadFact | None:
            fact = taken(before, now, step, first=first)
            if fact is not None and at_once and fact.act == "begun":
                return msgspec.structs.replace(fact, act="ended")
            return fact

        fact = await self._store.step(received.merchant_id, received.terminal_id, topic.name, judge)
        if fact is not None:
            self._log.downloaded(topic.name, fact.act)
        return answer

    def _given(
        self,
        offer: Offer,
        offered: Offered,
        step: downloads.Step,
        de62: bytes,
        place: int,
        rule: str,
    ) -> Answer:
        """What stands in the data for this message."""
        name = offer.topic.name
        if step == "end":
            return Answer("00", rule)
        if offer.topic.list and step == "get":
            named = downloads.key_named(de62) if name == "ca_keys" else downloads.aid_named(de62)
            tags = offer.items.get(named)
            if tags is None:
                return Answer("00", f"{rule}.unknown", downloads.NONE)
            return Answer("00", rule, downloads.ALL + tags)
        if name == "parameters":
            return Answer("00", rule, offer.groups[0])
        if name == "blacklist":
            upto = place + downloads.cards_a_page(offered.wire)
            numbers = [listed_cards.open_(self._pans, card) for card in offer.cards[place:upto]]
            more = len(offer.cards) > upto
            return Answer("00", rule, downloads.card_page(numbers, place, offered.wire, more=more))
        return Answer("00", rule, downloads.page(offer.groups, place, offered.wire.bytes_max))

    async def _status(self, received: Received, source: str, *, shown: bool) -> Answer:
        told = json.dumps(downloads.status(_de62(received)), ensure_ascii=False)
        now = DownloadFact(
            topic=STATUS,
            act="ended",
            version="",
            source="",
            stan=int(str(received.message[11])),
            address=source,
            shown=shown,
            detail=told,
        )

        def judge(before: DownloadFact | None) -> DownloadFact | None:
            again = before is not None and (before.stan, before.detail) == (now.stan, told)
            return None if again else now

        if await self._store.step(received.merchant_id, received.terminal_id, STATUS, judge):
            self._log.downloaded(STATUS, "ended")
        return Answer("00", "download.status")

    # -- the header's digit ---------------------------------------------------------------------------

    def may_ask(self, snapshot: Snapshot) -> bool:
        """Could any terminal be asked for anything?"""
        return bool(self._settings.sign_on_again_s or snapshot.download_sets)

    async def ask(
        self,
        access: Access,
        received: Received,
        snapshot: Snapshot,
        source: str,
        *,
        shown: bool,
        session: Session | None = None,
    ) -> int:
        """The processing request digit of the answer; 0 where nothing is wanted, or nobody can say.

        Nothing is paid for a terminal that has everything. What is due is looked for in the store once
        more, since other processes may have served it, and said once in `downloads.ask_s`.
        """
        if session is not None and self._are_old(session):
            wanted = SIGN_ON, str(session.session_id)
            if self._may_ask(access, *wanted):
                return self._asked(access, *wanted)
        offered = self.offered(received, snapshot)
        if offered is None:
            return 0
        try:
            return await self._ask(access, received, offered, source, shown=shown)
        except StoreDownError:
            return 0

    def _are_old(self, session: Session) -> bool:
        again_s = self._settings.sign_on_again_s
        return bool(again_s) and (
            (self._clock.now() - session.created_at).total_seconds() >= again_s
        )

    async def _ask(
        self,
        access: Access,
        received: Received,
        offered: Offered,
        source: str,
        *,
        shown: bool,
    ) -> int:
        now = self._clock.now()
        who = (received.merchant_id, received.terminal_id)
        looked = access.downloads is None
        if access.downloads is None:
            access.downloads = await self._store.of(*who)
        wanted = due(offered, had(access.downloads, source), now, shown=shown)
        wanted = [each for each in wanted if self._may_ask(access, *each)]
        if wanted and not looked:
            access.downloads = await self._store.of(*who)
            still = due(offered, had(access.downloads, source), now, shown=shown)
            wanted = [each for each in still if each in wanted]
        return self._asked(access, *wanted[0]) if wanted else 0

    def _may_ask(self, access: Access, topic: str, version: str) -> bool:
        """Not again and again: a terminal may not know the digit, or be busy."""
        of, at_s = access.asked.get(topic, (None, 0.0))
        now_s = asyncio.get_running_loop().time()
        return of != version or now_s - at_s >= self._settings.ask_s

    def _asked(self, access: Access, topic: str, version: str) -> int:
        access.asked[topic] = version, asyncio.get_running_loop().time()
        self._log.downloaded(topic, "asked")
        return DIGITS[topic]


def _de62(received: Received) -> bytes:
    value = received.message.get(62, b"")
    return value if isinstance(value, bytes) else value.encode()


def _place(topic: downloads.Topic, step: downloads.Step, de62: bytes) -> int:
    """How much of it the terminal says it has."""
    if step == "end" or topic.name == "parameters" or (topic.list and step == "get"):
        return 0
    return downloads.cards_of(de62) if topic.name == "blacklist" else downloads.received_of(de62)


def _nothing(topic: downloads.Topic, step: downloads.Step, rule: str) -> Answer:
    """Nothing of this is assigned to the terminal: the protocol's own word for it, where it has one."""
    if step == "end":
        return Answer("00", rule)
    if topic.name == "parameters":
        return Answer("40", f"{rule}.nothing")
    return Answer("00", f"{rule}.nothing", b"0000" if topic.name == "blacklist" else downloads.NONE)
