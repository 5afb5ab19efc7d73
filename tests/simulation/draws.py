"""What a seed draws from: every fault with its ranges, in one table. `plans` draws from it, the page of
the simulation prints it. What a fault does is said where its struct stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from terminals.simulator.dice import Dice


class Draw(NamedTuple):
    """A rate: a share of worlds has the fault at all, each then up to `most` of it. `rough` is its
    rate where everything goes wrong at once; `rich`, where not None, in worlds made rich."""

    share: float
    most: float
    rough: float = 0.0
    rich: float | None = None


class Span(NamedTuple):
    """Uniform from `low` to `high`. Whole numbers: both included."""

    low: float
    high: float

    def of(self, dice: Dice) -> float:
        return self.low + (self.high - self.low) * dice.random()

    def whole(self, dice: Dice) -> int:
        return dice.between(int(self.low), int(self.high))


# Part of the plan → fault → its rates. A seed draws in this order: a new row goes last in its part,
# with a share of 0, or older seeds lose their meaning.
RATES: Final[dict[str, dict[str, Draw]]] = {
    "weather": {
        "slow": Draw(0.5, 0.1, 0.03),
        "split": Draw(0.5, 0.5, 0.2),
        "join": Draw(0.5, 0.5, 0.2),
        "stall": Draw(0.3, 0.01, 0.003),
        "reset": Draw(0.4, 0.02, 0.01),
        "silent": Draw(0.3, 0.005),
        "refuse": Draw(0.3, 0.1, 0.03),
    },
    "store": {
        "slow": Draw(0.4, 0.02, 0.01),
        "crash_before": Draw(0.4, 0.01, 0.01),
        "crash_after": Draw(0.4, 0.01, 0.01),
        "lost_acknowledgement": Draw(0.4, 0.03, 0.02),
        "down": Draw(0.3, 0.01, 0.005),
        "pause_after": Draw(0.0, 0.0, rich=0.01),
    },
    "bank": {
        "late": Draw(0.5, 0.08, 0.08),
        "silent": Draw(0.5, 0.08, 0.05),
        "lost": Draw(0.5, 0.08, 0.05),
        "twice": Draw(0.5, 0.08, 0.05),
        "drop": Draw(0.3, 0.03, 0.02),
        "forget": Draw(0.3, 0.05),
        "wrong_mac": Draw(0.4, 0.05, 0.03),
        "elsewhere": Draw(0.5, 0.15, 0.1),
        "overtaken": Draw(0.4, 0.08, 0.05),
        "system_error": Draw(0.4, 0.05, 0.03),
        "crossed": Draw(0.0, 0.0, rich=0.05),
        "withheld": Draw(0.0, 0.0, rich=0.05),
    },
    "till": {
        "hang_up": Draw(0.6, 0.1, 0.06),
        "abort": Draw(0.5, 0.08, 0.04),
        "overtake": Draw(0.5, 0.08, 0.05),
        "repeat": Draw(0.6, 0.1, 0.08),
        "repeat_lost": Draw(0.5, 0.08, 0.05),
        "double": Draw(0.5, 0.08, 0.05),
        "twin": Draw(0.5, 0.08, 0.05),
        "bad_mac": Draw(0.4, 0.04, 0.02),
        "half_close": Draw(0.5, 0.08, 0.05),
        "print_failure": Draw(0.5, 0.08, 0.05),
        "bad_answer": Draw(0.4, 0.06, 0.03),
        "ghost": Draw(0.5, 0.08, 0.05),
        "again": Draw(0.0, 0.0, rich=0.06),
        "altered": Draw(0.0, 0.0, rich=0.05),
        "late_undo": Draw(0.0, 0.0, rich=0.12),
        "wrong_reversal": Draw(0.0, 0.0, rich=0.05),
    },
    "vault": {
        "busy": Draw(0.4, 0.02),
        "slow": Draw(0.4, 0.01),
    },
    "device": {
        "late": Draw(0.6, 0.02),
        "lost": Draw(0.6, 0.02),
    },
    "links": {
        "lost": Draw(0.6, 0.25),
        "unanswered": Draw(0.6, 0.2),
        "refused": Draw(0.5, 0.15),
    },
    "siblings": {
        "split": Draw(0.5, 0.2, 0.1),
        "stall": Draw(0.4, 0.02, 0.01),
        "reset": Draw(0.4, 0.02, 0.01),
    },
}

# How much of everything; `…_s` in virtual seconds.
SPANS: Final[dict[str, Span]] = {
    "processes": Span(1, 3),
    "workers of a node": Span(1, 3),
    "connections of a link": Span(1, 3),
    "terminals": Span(1, 6),
    "transactions": Span(40, 160),
    "think_s": Span(1.0, 7.0),
    "bank late_s": Span(6.0, 16.0),
    "chaos every_s": Span(10.0, 40.0),
    "upheaval every_s": Span(15.0, 60.0),
    "device latency_s": Span(0.001, 0.2),
    "links every_s": Span(20.0, 90.0),
    "bank stands still s": Span(10.0, 60.0),
}

# Where bounds are tight: so few of each in a process, or on a link of it.
TIGHT: Final[dict[str, Span]] = {
    "in_flight": Span(1, 2),
    "connections": Span(2, 5),
    "terminals": Span(1, 3),
    "take": Span(1, 2),
    "link_in_flight": Span(1, 2),
    "link_concurrency": Span(1, 2),
}

# What a share of worlds has.
SHARES: Final[dict[str, float]] = {
    "chaos": 0.8,
    "upheaval": 0.75,
    "routes with an alternate": 0.5,
    "numbers that wrap": 0.5,
    "clocks that drift": 0.5,
    "tight bounds": 0.3,
    "vault on a network": 0.4,
    "circuits": 0.35,
    "banks that stand still": 0.7,  # of these
    "key changes both ways": 0.25,
}
DRIFT_MAX: Final = 0.01  # of every clock, either way, where clocks drift
RICH_UPHEAVAL_EVERY_S: Final = 20.0
RICH_POST: Final = 4.0  # weight of `post` among upheavals, in rich worlds
RICH_FREEZE: Final = 5.0  # of `freeze`: what comes between it and the posting is a linked opposite
STORE_CLOCK_HOUR: Final = 2.0  # weight of `store_clock_hour`, where the store's clock is set
RICH_POOR: Final = 10.0  # weight of cards without money


def drawn(dice: Dice, part: str) -> dict[str, float]:
    """A rate for each fault of a part. Always two draws a fault, so that one does not shift the rest."""
    rates: dict[str, float] = {}
    for name, draw in RATES[part].items():
        if not draw.share:
            continue
        rate = dice.random() * draw.most
        rates[name] = rate if dice.chance(draw.share) else 0.0
    return rates


def rough_rates(part: str) -> dict[str, float]:
    return {name: draw.rough for name, draw in RATES[part].items()}


def rich_rates(part: str) -> dict[str, float]:
    return {name: draw.rich for name, draw in RATES[part].items() if draw.rich is not None}
