"""What a seed makes of a world: how many of what, and which faults how often (a swarm).

A seed draws which kinds of fault it has at all, then their rates: worlds in which only one thing goes
wrong find other bugs than worlds in which everything does.
"""

from __future__ import annotations

from typing import Final

import msgspec

from terminals.simulator.bank import BankFaults
from terminals.simulator.dice import Dice
from tests.simulation.network import Weather
from tests.simulation.store import StoreFaults
from tests.simulation.till import Mix, TillFaults
from tests.simulation.upheaval import Upheaval, UpheavalRates
from tests.simulation.vault import VaultFaults
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
    "vault busy",
    "vault slow",
    "vault refuses",
    "key changes begun ZPK",
    "key changes begun ZAK",
    "key changes taken",
    "wrap of a link's STAN",
    "wrap of a terminal's trace",
    "dates frozen",
    *(f"hand-over {what}" for what in ("Send", "Came", "NotSent", "Offer", "Draining")),
    "dates posted",
)


def fair(seed: int = 1, transactions: int = 20) -> Plan:
    """Nothing goes wrong."""
    return Plan(seed=seed, transactions=transactions)


def plan_of(seed: int, transactions: int = 0) -> Plan:
    """The plan of a seed; every fourth world is rough."""
    dice = Dice(seed * 0xAEF17502108EF2D9 + 5)
    plan = msgspec.structs.replace(
        before_upheaval(seed, transactions),
        upheaval=upheaval_of(seed),
        workers=dice.between(1, 3),
        link_connections=dice.between(1, 3),
    )
    return enriched(plan) if seed % 5 == 2 else plan


def enriched(plan: Plan) -> Plan:
    """With what came last: partial approvals, posted dates, shops that try what they may not."""
    till = msgspec.structs.replace(plan.till, again=0.06, altered=0.05, late_undo=0.05)
    rates = msgspec.structs.replace(plan.upheaval.rates, every_s=20.0, post=4.0)
    upheaval = msgspec.structs.replace(plan.upheaval, rates=rates)
    mix = msgspec.structs.replace(plan.mix, poor=10.0)
    return msgspec.structs.replace(plan, till=till, upheaval=upheaval, mix=mix, partial=True)


def hunting(seed: int) -> Plan:
    """For planted bugs: short, and everything goes wrong."""
    return enriched(rough(seed, 40, nodes=2 + seed % 2))


def upheaval_of(seed: int) -> Upheaval:
    """What a seed's second dice say."""
    dice = Dice(seed * 0xD1342543DE82EF95 + 3)
    every_s = 15.0 + 45.0 * dice.random()
    busy, slow, wrap, drift = (dice.random() for _ in range(4))
    return Upheaval(
        rates=UpheavalRates(every_s=every_s if dice.chance(0.75) else 0.0),
        vault=VaultFaults(
            busy=busy * 0.02 if dice.chance(0.4) else 0.0,
            slow=slow * 0.01 if dice.chance(0.4) else 0.0,
        ),
        wrap=wrap < 0.5,
        drift=0.01 * drift if dice.chance(0.5) else 0.0,
    )


def before_upheaval(seed: int, transactions: int = 0) -> Plan:
    """The first dice of a seed alone."""
    if seed % 4 == 0:
        return rough(seed, transactions or 120, nodes=3, terminals=5)
    dice = Dice(seed * 0x9E3779B97F4A7C15 + 1)

    def some(share: float, most: float) -> float:
        """With a chance of `share` a rate up to `most`, else none."""
        rate = dice.random() * most
        return rate if dice.chance(share) else 0.0

    weather = Weather(
        slow=some(0.5, 0.1),
        slow_s=4.0,
        split=some(0.5, 0.5),
        join=some(0.5, 0.5),
        stall=some(0.3, 0.01),
        stall_s=20.0,
        reset=some(0.4, 0.02),
        silent=some(0.3, 0.005),
        refuse=some(0.3, 0.1),
    )
    store = StoreFaults(
        slow=some(0.4, 0.02),
        slow_s=4.0,
        crash_before=some(0.4, 0.01),
        crash_after=some(0.4, 0.01),
        lost_acknowledgement=some(0.4, 0.03),
        reconnect_s=3.0,
        down=some(0.3, 0.01),
    )
    bank = BankFaults(
        late=some(0.5, 0.08),
        silent=some(0.5, 0.08),
        lost=some(0.5, 0.08),
        twice=some(0.5, 0.08),
        drop=some(0.3, 0.03),
        forget=some(0.3, 0.05),
        wrong_mac=some(0.4, 0.05),
        elsewhere=some(0.5, 0.15),
        overtaken=some(0.4, 0.08),
        system_error=some(0.4, 0.05),
        late_s=6.0 + 10.0 * dice.random(),
    )
    till = TillFaults(
        hang_up=some(0.6, 0.1),
        abort=some(0.5, 0.08),
        overtake=some(0.5, 0.08),
        repeat=some(0.6, 0.1),
        repeat_lost=some(0.5, 0.08),
        double=some(0.5, 0.08),
        twin=some(0.5, 0.08),
        bad_mac=some(0.4, 0.04),
        half_close=some(0.5, 0.08),
        print_failure=some(0.5, 0.08),
        bad_answer=some(0.4, 0.06),
        ghost=some(0.5, 0.08),
    )
    chaos = ChaosRates(every_s=0.0 if dice.chance(0.2) else 10.0 + 30.0 * dice.random())
    return Plan(
        seed=seed,
        nodes=dice.between(1, 3),
        terminals=dice.between(1, 6),
        transactions=transactions or dice.between(40, 160),
        think_s=1.0 + 6.0 * dice.random(),
        weather=weather,
        store=store,
        bank=bank,
        till=till,
        mix=Mix(),
        chaos=chaos,
        alternates=dice.chance(0.5),
    )


def rough(seed: int, transactions: int = 60, *, nodes: int = 2, terminals: int = 3) -> Plan:
    """Everything goes wrong at once."""
    return Plan(
        seed=seed,
        nodes=nodes,
        terminals=terminals,
        transactions=transactions,
        think_s=2.0,
        weather=Weather(slow=0.03, split=0.2, join=0.2, stall=0.003, reset=0.01, refuse=0.03),
        store=StoreFaults(
            slow=0.01, crash_before=0.01, crash_after=0.01, lost_acknowledgement=0.02, down=0.005
        ),
        bank=BankFaults(
            late=0.08,
            silent=0.05,
            lost=0.05,
            twice=0.05,
            drop=0.02,
            wrong_mac=0.03,
            elsewhere=0.1,
            overtaken=0.05,
            system_error=0.03,
            late_s=10.0,
        ),
        till=TillFaults(
            hang_up=0.06,
            abort=0.04,
            overtake=0.05,
            repeat=0.08,
            repeat_lost=0.05,
            double=0.05,
            twin=0.05,
            bad_mac=0.02,
            half_close=0.05,
            print_failure=0.05,
            bad_answer=0.03,
            ghost=0.05,
        ),
        chaos=ChaosRates(every_s=15.0),
        alternates=True,
    )
