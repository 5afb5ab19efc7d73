"""Downloads of a world: data that change under way, terminals that take them, and whether each has in the
end just what the data say.

The data are changed every few seconds while shops trade. A shop's terminal does what the digit in an answer's
header asks for, and is cut off in between. Dice of its own: it shifts nothing of what else happens.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from switch import data_keys, listed_cards
from switch.adapters.memory.downloads import MemoryDownloads
from switch.downloads import had
from switch.offers import Offer, Offers
from terminals import downloads
from terminals.download_data import Aid, CaKey, check_sum
from terminals.registry import Profile
from terminals.simulator.dice import Dice

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsm.pans import Pans
    from switch.adapters.memory.facts import Facts
    from switch.reference import Snapshot
    from switch.store_ports import DownloadFact
    from terminals.simulator.downloads import Has
    from terminals.simulator.terminal import Request
    from tests.simulation.till import Till
    from tests.simulation.world import World

ESTATE_DICE: Final = 0x6A09E667F3BCC909
CHANGED_EVERY_S: Final = 12.0
ROUNDS_MAX: Final = 80  # of a terminal that is to have everything in the end
RID: Final = "A000000333"
INDICES: Final = tuple(f"{at:02X}" for at in range(1, 31))  # more than one message has room for
FEW: Final = 6
AIDS: Final = ("A000000333010101", "A000000333010102", "A000000333010103")
CARDS: Final = tuple(f"6225881234{at:06}" for at in range(40))  # digits; nobody checks them here
# What may happen to a message of a download, each to so many: together below 1
CHANGED_UNDER_WAY, SLOW_S = 0.35, 3.0
BROKEN_OFF, DOUBLE, REPEATED, POWER_CUT = 0.08, 0.06, 0.06, 0.03


class Estate:
    """The data, and what each version of them holds."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dice = Dice(world.plan.seed ^ ESTATE_DICE)
        self.contents: dict[tuple[str, str], Any] = {}  # topic, version → what a terminal has then
        self.pans: Pans

    async def open(self) -> None:
        """What there is at first; keys of all shapes."""
        world = self.world
        for card in CARDS:
            world.checkers.secrets.add("a card number", card)
        snapshot = await world.store.reference.snapshot()
        self.pans = data_keys.open_pans(world.lmk, snapshot)
        items: list[tuple[str, str, dict[str, Any]]] = [self._key(index) for index in INDICES]
        items += [self._aid(aid) for aid in AIDS]
        items += [
            self._parameters(),
            self._blacklist(),
            self._set("chip"),
            ("download_set", "shop", {"name": "shop", "ca_keys": [f"{RID}/{INDICES[0]}"]}),
            ("profile", "default", msgspec.to_builtins(Profile(name="default", downloads="chip"))),
        ]
        await self._apply(items)

    async def change(self) -> None:
        """For as long as shops trade."""
        while True:
            await asyncio.sleep(self.dice.exponential_s(CHANGED_EVERY_S))
            await self.change_once()

    async def change_once(self) -> None:
        """Something is another, or what it was before: there are not many."""
        what = self.dice.below(5)
        if what == 0:
            item = self._key(self.dice.choice(list(INDICES[:FEW])))
        elif what == 1:
            item = self._aid(self.dice.choice(list(AIDS)))
        elif what == 2:
            item = self._parameters()
        elif what == 3:
            item = self._blacklist()
        else:
            item = self._set("chip")
        self.world.count(f"download data changed: {item[0]}")
        await self._apply([item])

    async def _apply(self, items: list[tuple[str, str, dict[str, Any]]]) -> None:
        reference = self.world.store.reference
        await reference.apply(items, maker="simulation")
        self._know(await reference.snapshot())

    def _know(self, snapshot: Snapshot) -> None:
        """Of every version that any terminal may be given, what it holds."""
        for till in self.world.tills:
            for offer in self.offers(till, snapshot):
                self.contents[offer.topic.name, offer.version] = self._content(offer)

    def offers(self, till: Till, snapshot: Snapshot) -> list[Offer]:
        options = till.terminal.options
        registered = snapshot.terminals[f"{options.merchant}/{options.terminal}"]
        merchant = snapshot.merchants[options.merchant]
        offered = Offers(snapshot).of(registered, merchant, snapshot.profile(registered))
        return [] if offered is None else list(offered.offers.values())

    def _content(self, offer: Offer) -> Any:
        if offer.topic.list:
            return sorted(offer.items.values())
        if offer.topic.name == "blacklist":
            return [listed_cards.open_(self.pans, card)[:14] for card in offer.cards]
        return b"".join(offer.groups)

    # -- what the data may be -----------------------------------------------------------------------

    def _key(self, index: str) -> tuple[str, str, dict[str, Any]]:
        variant = self.dice.below(2)
        modulus = f"{index}{variant:02}" * 32
        expiry = f"203{variant}1231"
        key = CaKey(rid=RID, index=index, expiry=expiry, modulus=modulus, sha1="")
        key = msgspec.structs.replace(key, sha1=check_sum(key))
        return "ca_key", key.name, msgspec.to_builtins(key)

    def _aid(self, aid: str) -> tuple[str, str, dict[str, Any]]:
        tac = "00" * 5
        floor_minor = self.dice.below(2)
        made = Aid(
            aid=aid, tac_default=tac, tac_online=tac, tac_denial=tac, floor_limit_minor=floor_minor
        )
        return "aid", aid, msgspec.to_builtins(made)

    def _parameters(self) -> tuple[str, str, dict[str, Any]]:
        return "parameters", "p", {"name": "p", "timeout_s": self.dice.between(30, 31)}

    def _blacklist(self) -> tuple[str, str, dict[str, Any]]:
        cards = CARDS[: self.dice.choice([0, 5, 36, 40])]
        members = [listed_cards.seal(self.pans, card) for card in cards]
        return "risk_list", "stop", {"name": "stop", "members": [*members, "ab" * 16]}

    def _set(self, name: str) -> tuple[str, str, dict[str, Any]]:
        count = self.dice.choice([0, FEW, 28, 30])
        keys = [f"{RID}/{index}" for index in INDICES[:count]]
        aids = list(AIDS[: self.dice.between(1, len(AIDS))])
        return (
            "download_set",
            name,
            {
                "name": name,
                "parameters": "p",
                "ca_keys": keys,
                "aids": aids,
                "blacklist": "stop",
                "status_hours": 1,
            },
        )

    # -- what is checked ----------------------------------------------------------------------------

    def stands(self, merchant: str, terminal: str, fact: DownloadFact) -> None:
        """An end stands: the terminal has all of that version, and nothing of another."""
        self.world.note("download", terminal, fact.topic, fact.act, fact.version)
        self.world.checkers.no_secrets("a download", fact)
        if fact.act == "ended" and fact.topic in downloads.BY_NAME:
            till = next(one for one in self.world.tills if one.name == terminal)
            content = self.contents[fact.topic, fact.version]
            has = has_of(till.terminal.downloads.has, fact.topic)
            what = f"{terminal} ended {fact.topic} {fact.version}, and has another"
            self.world.checkers.check("P4", has == content, what)

    async def lacks(self, till: Till) -> str:
        """The first topic of which a terminal has not what the data say, or the store does not know it."""
        store, options = self.world.store, till.terminal.options
        facts = store.download_facts.get((options.merchant, options.terminal), [])
        ended = had(facts, till.source)
        for offer in self.offers(till, await store.reference.snapshot()):
            name = offer.topic.name
            if has_of(till.terminal.downloads.has, name) != self._content(offer):
                return f"{name} is not what the data say"
            if name not in ended or ended[name].fact.version != offer.version:
                return f"{name} is what the data say, and nobody knows"
        return ""

    async def rest(self) -> None:
        """Each terminal has in the end just what the data say of it, and the store knows."""
        for till in self.world.tills:
            lacks = await self.lacks(till)
            self.world.checkers.check("P4", not lacks, f"{till.name} at rest: {lacks}")


def has_of(has: Has, topic: str) -> Any:
    """What is in a terminal, as `Estate.contents` has it."""
    held = getattr(has, topic)
    return sorted(held.values()) if isinstance(held, dict) else held


class WatchedDownloads(MemoryDownloads):
    """Tells of every fact that stands."""

    told: Callable[[str, str, DownloadFact], None]

    def __init__(self, store: Facts, told: Callable[[str, str, DownloadFact], None]) -> None:
        super().__init__(store)
        self.told = told

    async def step(
        self,
        merchant: str,
        terminal: str,
        topic: str,
        judge: Callable[[DownloadFact | None], DownloadFact | None],
    ) -> DownloadFact | None:
        fact = await super().step(merchant, terminal, topic, judge)
        if fact is not None:
            self.told(merchant, terminal, fact)
        return fact


# -- what a shop does --------------------------------------------------------------------------------


async def fetch(till: Till, dice: Dice | None) -> None:
    """What answers have asked for, message by message. `dice`: faults on the way; None: there are none."""
    device = till.terminal.downloads
    while device.due and till.terminal.signed_on and not till.terminal.reversal_due:
        if dice is not None and dice.chance(CHANGED_UNDER_WAY):
            assert till.world.estate is not None
            await till.world.estate.change_once()
            await asyncio.sleep(SLOW_S * dice.random())  # in which processes hear of it, or some do
        fault = "none" if dice is None else _fault(dice)
        if fault != "none":
            till.world.count(f"download {fault}")
        outcome = await till.ask(till.terminal.download, fault)
        if fault == "power_cut":
            device.give_up()
        elif fault == "repeated" and outcome.state in ("approved", "declined"):
            await till.ask(till.terminal.repeat)
        if outcome.state == "no_answer":
            return  # another time


def _fault(dice: Dice) -> str:
    point = dice.random()
    for name, share in (
        ("hang_up", BROKEN_OFF),
        ("double", DOUBLE),
        ("repeated", REPEATED),
        ("power_cut", POWER_CUT),
    ):
        point -= share
        if point < 0:
            return name
    return "none"


async def take_all(till: Till) -> None:
    """Faults have stopped: trade, and take what is asked for, until nothing is lacking."""
    estate = till.world.estate
    assert estate is not None
    for _ in range(ROUNDS_MAX):
        await fetch(till, None)
        if not await estate.lacks(till):
            return
        await till.clear()
        if not till.terminal.signed_on:
            await till.sign_on()
        await till.ask(_balance(till))
        await asyncio.sleep(2.0)


def _balance(till: Till) -> Callable[[], Request]:
    card = till.cards[0]
    return lambda: till.terminal.balance(card, pin=card.pin)
