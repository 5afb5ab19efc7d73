"""What the reference data say that a terminal has: its offers, each with a version. Pure.

A version is a hash of everything that the terminal gets, so it changes with a key, an AID, the merchant's
name or the set that is assigned, and comes back where the data come back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from switch import listed_cards
from terminals import downloads
from terminals.downloads import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switch.reference import Snapshot
    from terminals.download_data import DownloadSet
    from terminals.registry import Merchant, Profile, Terminal

REMEMBERED: Final = 200_000  # terminals whose offers are known; then all are made anew
# What is asked for first: keys that nothing else works without, then how to talk, then chips, then the rest.
PRECEDENCE: Final = ("parameters", "ca_keys", "aids", "blacklist", "tms")

FIELDS: Final = {"ca_keys": "ca_keys", "aids": "aids", "blacklist": "blacklist", "tms": "tms_hex"}


class Offer(msgspec.Struct, frozen=True):
    """One topic. `groups`: what pages are made of; `items`: what a get names, by its name."""

    topic: downloads.Topic
    version: str
    source: str  # set@version
    groups: tuple[bytes, ...] = ()
    items: dict[str, bytes] = {}
    cards: tuple[str, ...] = ()  # sealed


class Offered(msgspec.Struct, frozen=True):
    """Everything that one terminal should have."""

    offers: dict[str, Offer]  # by topic
    wire: Wire
    status_s: float = 0.0  # between status uploads; 0: none is asked for
    status_source: str = ""


class Offers:
    """Of one snapshot; what was made once is remembered."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._by_terminal: dict[str, Offered | None] = {}
        self._shared: dict[tuple[str, str, Wire], Offer] = {}  # topic, set, wire

    def of(self, terminal: Terminal, merchant: Merchant | None, profile: Profile) -> Offered | None:
        """None: no set says anything to this terminal."""
        if not self.snapshot.download_sets:
            return None
        name = terminal.name
        if name not in self._by_terminal:
            if len(self._by_terminal) >= REMEMBERED:
                self._by_terminal.clear()
            self._by_terminal[name] = self._made(terminal, merchant, profile)
        return self._by_terminal[name]

    def _made(
        self, terminal: Terminal, merchant: Merchant | None, profile: Profile
    ) -> Offered | None:
        names = (
            terminal.downloads,
            "" if merchant is None else merchant.downloads,
            profile.downloads,
        )
        known = self.snapshot.download_sets  # what is named may be of a later day
        sets = [known[name] for name in names if name in known]
        if not sets:
            return None
        wire = Wire(profile.download_bytes, profile.ca_expiry, profile.blacklist_digits)
        offers = {
            offer.topic.name: offer for offer in self._offers(sets, wire, _shown_name(merchant))
        }
        status = next((one for one in sets if one.status_hours), None)
        return Offered(
            {name: offers[name] for name in PRECEDENCE if name in offers},
            wire,
            0.0 if status is None else status.status_hours * 3_600.0,
            "" if status is None else self._source(status),
        )

    def _offers(self, sets: list[DownloadSet], wire: Wire, name: str) -> Iterator[Offer]:
        """Of each topic what the first set that speaks of it says."""
        for one in sets:
            of = self.snapshot.parameters.get(one.parameters)
            if of is not None:
                yield self._offer("parameters", one, (downloads.parameters(of, name),))
                break
        for topic, field in FIELDS.items():
            speaking = next((one for one in sets if getattr(one, field) not in (None, "")), None)
            if speaking is not None:
                yield self._of_set(topic, speaking, wire)

    def _of_set(self, topic: str, one: DownloadSet, wire: Wire) -> Offer:
        """The same for everybody who has the set."""
        key = (topic, one.name, wire)
        found = self._shared.get(key)
        if found is None:
            found = self._shared[key] = getattr(self, f"_{topic}")(one, wire)
        return found

    def _ca_keys(self, one: DownloadSet, wire: Wire) -> Offer:
        known = self.snapshot.ca_keys
        keys = [known[name] for name in one.ca_keys or () if name in known]
        groups = tuple(downloads.ca_group(key, wire) for key in keys)
        return self._offer(
            "ca_keys", one, groups, {key.name: downloads.ca_tags(key, wire) for key in keys}
        )

    def _aids(self, one: DownloadSet, _wire: Wire) -> Offer:
        known = self.snapshot.aids
        aids = [known[name] for name in one.aids or () if name in known]
        groups = tuple(downloads.aid_group(aid) for aid in aids)
        return self._offer("aids", one, groups, {aid.aid: downloads.aid_tags(aid) for aid in aids})

    def _blacklist(self, one: DownloadSet, wire: Wire) -> Offer:
        listed = self.snapshot.risk_lists.get(one.blacklist)
        cards = listed_cards.sealed(() if listed is None else listed.members)
        width = str(wire.blacklist_digits).encode()
        tokens = tuple(listed_cards.token_of(card).encode() for card in cards)
        version = downloads.version_of((width, *tokens))
        topic = downloads.BY_NAME["blacklist"]
        return Offer(topic, version, self._source(one), cards=cards)

    def _tms(self, one: DownloadSet, wire: Wire) -> Offer:
        data, size = bytes.fromhex(one.tms_hex), wire.bytes_max - 1
        blocks = tuple(data[at : at + size] for at in range(0, len(data), size))
        return self._offer("tms", one, blocks)

    def _offer(
        self,
        topic: str,
        one: DownloadSet,
        groups: tuple[bytes, ...],
        items: dict[str, bytes] | None = None,
    ) -> Offer:
        version = downloads.version_of((*groups, *(items or {}).values()))
        return Offer(downloads.BY_NAME[topic], version, self._source(one), groups, items or {})

    def _source(self, one: DownloadSet) -> str:
        return f"{one.name}@{self.snapshot.version('download_set', one.name)}"


def _shown_name(merchant: Merchant | None) -> str:
    return "" if merchant is None else merchant.name_zh or merchant.name
