"""What a seed makes of a world: how many of what, and which faults how often (a swarm).

The ranges are `draws`.

A seed draws which kinds of fault it has at all, then their rates: worlds in which only one thing goes
wrong find other bugs than worlds in which everything does.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from switch.transactions import TYPES
from switch.virtual.network import Weather
from terminals.simulator.bank import BankFaults
from terminals.simulator.dice import Dice
from tests.simulation.draws import (
    DRIFT_MAX,
    RATES,
    RICH_FREEZE,
    RICH_POOR,
    RICH_POST,
    RICH_UPHEAVAL_EVERY_S,
    SHARES,
    SPANS,
    STORE_CLOCK_HOUR,
    TIGHT,
    drawn,
    rich_rates,
    rough_rates,
)
from tests.simulation.lines import LinkPlan
from tests.simulation.node import Bounds
from tests.simulation.store import StoreFaults
from tests.simulation.till import Mix, TillFaults
from tests.simulation.upheaval import Upheaval, UpheavalRates
from tests.simulation.vault import DeviceFaults, VaultFaults
from tests.simulation.world import ChaosRates, Plan

# Every kind of fault, as a run counts it: of many seeds each must have happened.
FAULTS: Final = (
    *(
        f"network {what}"
        for what in ("slow", "split", "join", "stall", "reset", "silent", "refuse")
    ),
    *(f"bank {what}" for what, _ in BankFaults().rates()),
    *(f"till {what}" for what in TillFaults.__struct_fields__),
    *(f"chaos {what}" for what in ChaosRates.__struct_fields__ if what != "every_s"),
    *(f"upheaval {what}" for what in UpheavalRates.__struct_fields__ if what != "every_s"),
    "node before a commit",
    "node after a commit",
    "store loses an acknowledgement",
    "store refuses a commit",
    "store has no space",
    "store stops a process behind its commit",
    "vault busy",
    "vault slow",
    "vault refuses",
    "vault asked over a network",
    "vault late",
    "vault lost",
    "key changes begun ZPK",
    "key changes begun ZAK",
    "key changes taken",
    "wrap of a link's STAN",
    "wrap of a terminal's trace",
    "dates frozen",
    *(f"hand-over {what}" for what in ("Send", "Came", "NotSent", "Offer", "Draining")),
    "dates posted",
    "late approval reversed anew",
    "links moved",
    "late approval reversed anew at the end of a reversal",
    "opposite of a frozen capture",
    "case late_approval",
    "case reversal_refused",
    "case of a batch",
    "settled balanced",
    "settled unbalanced",
    "sign-ons",
    *(f"siblings {what}" for what in ("split", "stall", "reset")),
    "refused 96 engine.overload",
    "refused  server.connections",
    "alive",
    "routing changed",
    *(f"circuit {state}" for state in ("open", "half_open", "closed")),
    "banks stood still",
    "keys of ours asked for",
    "keys of banks offered",
    "key exchange accepted",
    *(f"bank key {what}" for what in ("lost", "unanswered", "refused", "answer lost")),
    "link connection let go",
    "link passed over",
    "failed over",
    *(f"approved {name}" for name in TYPES),
    *(f"download {what}" for what in ("hang_up", "double", "repeated", "power_cut")),
    *(
        f"download {topic} {act}"
        for topic in ("parameters", "ca_keys", "aids", "blacklist")
        for act in ("asked", "begun", "mixed", "ended")
    ),
    "download status ended",
)


# How the banks are connected, in some worlds.
LINES: Final[dict[int, dict[str, Any]]] = {
    1: {"bank_connects": True},
    3: {"simplex": "dialled"},
    5: {"simplex": "accepted", "bank_connects": True},
}


def fair(seed: int = 1, transactions: int = 20) -> Plan:
    """Nothing goes wrong."""
    return Plan(seed=seed, transactions=transactions)


def plan_of(seed: int, transactions: int = 0) -> Plan:
    """The plan of a seed; every fourth world is rough, every fifth rich, and in every fifth, which is
    another, the store's clock is set, too. In every third risk rules are in force; in every seventh
    shops do all that a terminal can; in every fourth that is not rough a bank is of the binary kind, in
    every other fourth routing rules are in force, and in half of those with such a bank. In every eighth
    terminals download. In every second a bank connects to us, or sends on connections of its own. In
    about every third links have circuits, and in every fourth keys change both ways (`SHARES`)."""
    plan = with_tight_bounds(before_bounds(seed, transactions), everything=seed % 4 == 0)
    plan = with_links(with_device(plan))
    plan = msgspec.structs.replace(plan, risk=seed % 3 == 0, binary_host=seed % 4 == 2)
    if seed % 4 == 1 or seed % 8 == 2:
        plan = msgspec.structs.replace(plan, routing=True, alternates=True)
    if seed % 7 == 6:
        plan = every_type(plan)
    if seed % 8 == 5:
        plan = msgspec.structs.replace(plan, downloads=True)
    if seed % 6 in LINES:
        plan = msgspec.structs.replace(plan, **LINES[seed % 6])
    if seed % 5 != 3:
        return plan
    replace = msgspec.structs.replace
    rates = replace(plan.upheaval.rates, store_clock_hour=STORE_CLOCK_HOUR)
    return replace(plan, upheaval=replace(plan.upheaval, rates=rates))


def every_type(plan: Plan) -> Plan:
    """Every type of transaction, and a merchant who is allowed each."""
    mix = Mix(
        purchase=30.0,
        void=20.0,
        refund=15.0,
        pre_authorisation=20.0,
        release=6.0,
        completion=14.0,
        completion_void=6.0,
        completion_advice=8.0,
        offline_sale=8.0,
        e_cash_sale=3.0,
        adjustment=6.0,
        tip=6.0,
        qr_payment=8.0,
        moto_sale=6.0,
        instalment=4.0,
        points_sale=4.0,
        reservation=4.0,
        points_query=2.0,
        script_result=5.0,
        additional_pre_authorisation=3.0,
    )
    return msgspec.structs.replace(plan, mix=mix, every_type=True)


def with_tight_bounds(plan: Plan, *, everything: bool) -> Plan:
    """What the third dice of a seed say: the streams between workers, and the bounds of some worlds."""
    dice = Dice(plan.seed * 0xBF58476D1CE4E5B9 + 7)
    rates = drawn(dice, "siblings")
    tight = {name: span.whole(dice) for name, span in TIGHT.items()}
    return msgspec.structs.replace(
        plan,
        siblings=siblings_weather(rough_rates("siblings") if everything else rates),
        bounds=Bounds(**tight) if dice.chance(SHARES["tight bounds"]) else None,
    )


def with_device(plan: Plan) -> Plan:
    """What the fourth dice of a seed say: the vault of some worlds is a device on a network."""
    dice = Dice(plan.seed * 0x94D049BB133111EB + 11)
    rates, latency_s = drawn(dice, "device"), SPANS["device latency_s"].of(dice)
    if not dice.chance(SHARES["vault on a network"]):
        return plan
    replace = msgspec.structs.replace
    vault = replace(plan.upheaval.vault, slow=0.0)
    device = DeviceFaults(latency_s=latency_s, **rates)
    return replace(plan, upheaval=replace(plan.upheaval, vault=vault, device=device))


def with_links(plan: Plan) -> Plan:
    """What the fifth dice of a seed say: some worlds have circuits, some change keys both ways."""
    dice = Dice(plan.seed * 0xC2B2AE3D27D4EB4F + 13)
    every_s, still_s = SPANS["links every_s"].of(dice), SPANS["bank stands still s"].of(dice)
    circuit, still = dice.chance(SHARES["circuits"]), dice.chance(SHARES["banks that stand still"])
    keys, rates = dice.chance(SHARES["key changes both ways"]), drawn(dice, "links")
    if not (circuit or keys):
        return plan
    links = LinkPlan(
        circuit=circuit,
        stand_still_s=still_s if circuit and still else 0.0,
        keys=keys,
        every_s=every_s,
    )
    return msgspec.structs.replace(plan, links=msgspec.structs.replace(links, **rates))


def siblings_weather(rates: dict[str, float]) -> Weather:
    return msgspec.structs.replace(Weather(stall_s=6.0), **rates)


def before_bounds(seed: int, transactions: int = 0) -> Plan:
    """The first and second dice of a seed alone."""
    dice = Dice(seed * 0xAEF17502108EF2D9 + 5)
    plan = msgspec.structs.replace(
        before_upheaval(seed, transactions),
        upheaval=upheaval_of(seed),
        workers=SPANS["workers of a node"].whole(dice),
        link_connections=SPANS["connections of a link"].whole(dice),
    )
    return enriched(plan) if seed % 5 == 2 else plan


def enriched(plan: Plan) -> Plan:
    """With what came last: partial approvals, posted dates, shops that try what they may not, banks
    that approve what they have reversed."""
    replace = msgspec.structs.replace
    rates = replace(
        plan.upheaval.rates,
        every_s=RICH_UPHEAVAL_EVERY_S,
        freeze=RICH_FREEZE,
        post=RICH_POST,
    )
    return replace(
        plan,
        store=replace(plan.store, **rich_rates("store")),
        bank=replace(plan.bank, **rich_rates("bank")),
        till=replace(plan.till, **rich_rates("till")),
        upheaval=replace(plan.upheaval, rates=rates),
        mix=replace(plan.mix, poor=RICH_POOR),
        partial=True,
    )


def hunting(seed: int) -> Plan:
    """For planted bugs: short, and everything goes wrong. Processes that stop behind their commits give
    others' time-outs the word: only in one world of four."""
    plan = at_its_worst(seed)
    if seed % 4 != 1:
        plan = msgspec.structs.replace(
            plan, store=msgspec.structs.replace(plan.store, pause_after=0.0)
        )
    return with_tight_bounds(plan, everything=True)


def at_its_worst(seed: int) -> Plan:
    return enriched(rough(seed, 40, nodes=2 + seed % 2))


def hunting_sleepers(seed: int) -> Plan:
    """For what a process does that has slept through its lease: one in ten of its commits is followed by that."""
    plan = at_its_worst(seed)
    store = msgspec.structs.replace(plan.store, pause_after=0.1)
    return with_tight_bounds(msgspec.structs.replace(plan, store=store), everything=True)


def hunting_downloads(seed: int) -> Plan:
    return msgspec.structs.replace(hunting(seed), downloads=True)


def hunting_routes(seed: int) -> Plan:
    """For planted bugs of routing and failover: several links for a card, each good for one request at
    a time, a slow store and shops in a hurry. Between a commit and its send others have taken the link."""
    plan = hunting(seed)
    replace = msgspec.structs.replace
    bounds = Bounds(64, 64, 64, 16, 1, 8)
    return replace(
        plan,
        nodes=1,
        terminals=6,
        think_s=0.3,
        store=replace(plan.store, delay_s=(0.05, 0.5)),
        chaos=replace(plan.chaos, every_s=30.0, link_drop=8.0),
        bounds=bounds,
        routing=True,
        alternates=True,
    )


def changing_keys(seed: int) -> Plan:
    """Nothing goes wrong but the changes of keys themselves, in both directions: no request may fail."""
    links = LinkPlan(keys=True, every_s=5.0, lost=0.25, unanswered=0.2, refused=0.15, flawless=True)
    return Plan(
        seed=seed,
        nodes=3,
        terminals=5,
        transactions=150,
        think_s=6.0,
        link_connections=3,
        links=links,
    )


def standing_still(seed: int) -> Plan:
    """Banks answer nothing for a while, now and then."""
    links = LinkPlan(circuit=True, stand_still_s=60.0, every_s=90.0)
    return Plan(
        seed=seed, nodes=2, terminals=5, transactions=150, alternates=seed % 2 == 0, links=links
    )


def few_connections(seed: int) -> Plan:
    """Two banks that connect to us, one in halves, and make two connections of the three that they grant.
    Nodes crash, and the bank goes to the other."""
    only_crashes = dict.fromkeys(ChaosRates.__struct_fields__, 0.0) | {
        "every_s": 20.0,
        "crash": 1.0,
    }
    return msgspec.structs.replace(
        fair(seed, 60),
        nodes=2,
        workers=1,
        link_connections=3,
        bank_connects=True,
        simplex="accepted",
        chaos=ChaosRates(**only_crashes),
    )


def links_at_their_worst(seed: int) -> Plan:
    """Everything goes wrong at once, and links have their own part of it."""
    links = LinkPlan(
        circuit=True, stand_still_s=30.0, keys=True, lost=0.2, unanswered=0.2, refused=0.1
    )
    return msgspec.structs.replace(hunting(seed), links=links, transactions=60)


def upheaval_of(seed: int) -> Upheaval:
    """What a seed's second dice say."""
    dice = Dice(seed * 0xD1342543DE82EF95 + 3)
    every_s = SPANS["upheaval every_s"].of(dice)
    busy, slow, wrap, drift = (dice.random() for _ in range(4))
    vault = RATES["vault"]
    return Upheaval(
        rates=UpheavalRates(every_s=every_s if dice.chance(SHARES["upheaval"]) else 0.0),
        vault=VaultFaults(
            busy=busy * vault["busy"].most if dice.chance(vault["busy"].share) else 0.0,
            slow=slow * vault["slow"].most if dice.chance(vault["slow"].share) else 0.0,
        ),
        wrap=wrap < SHARES["numbers that wrap"],
        drift=DRIFT_MAX * drift if dice.chance(SHARES["clocks that drift"]) else 0.0,
    )


def before_upheaval(seed: int, transactions: int = 0) -> Plan:
    """The first dice of a seed alone."""
    if seed % 4 == 0:
        return rough(seed, transactions or 120, nodes=3, terminals=5)
    dice = Dice(seed * 0x9E3779B97F4A7C15 + 1)
    replace = msgspec.structs.replace
    weather = replace(Weather(slow_s=4.0), **drawn(dice, "weather"))
    store = replace(StoreFaults(slow_s=4.0, reconnect_s=3.0), **drawn(dice, "store"))
    bank = replace(BankFaults(), **drawn(dice, "bank"), late_s=SPANS["bank late_s"].of(dice))
    till = replace(TillFaults(), **drawn(dice, "till"))
    calm = dice.chance(1 - SHARES["chaos"])
    chaos = ChaosRates(every_s=0.0 if calm else SPANS["chaos every_s"].of(dice))
    return Plan(
        seed=seed,
        nodes=SPANS["processes"].whole(dice),
        terminals=SPANS["terminals"].whole(dice),
        transactions=transactions or SPANS["transactions"].whole(dice),
        think_s=SPANS["think_s"].of(dice),
        weather=weather,
        store=store,
        bank=bank,
        till=till,
        mix=Mix(),
        chaos=chaos,
        alternates=dice.chance(SHARES["routes with an alternate"]),
    )


def rough(seed: int, transactions: int = 60, *, nodes: int = 2, terminals: int = 3) -> Plan:
    """Everything goes wrong at once."""
    replace = msgspec.structs.replace
    return Plan(
        seed=seed,
        nodes=nodes,
        terminals=terminals,
        transactions=transactions,
        think_s=2.0,
        weather=replace(Weather(), **rough_rates("weather")),
        store=replace(StoreFaults(), **rough_rates("store")),
        bank=replace(BankFaults(late_s=10.0), **rough_rates("bank")),
        till=replace(TillFaults(), **rough_rates("till")),
        chaos=ChaosRates(every_s=15.0),
        alternates=True,
    )
