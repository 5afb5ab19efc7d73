"""What is done to whom and when in a round: a pure function of (seed, round).

The run itself is not repeatable, for the machine decides who is where at an instant; the schedule is.
"""

from __future__ import annotations

import random
from typing import Literal

import msgspec

from tests.crash.proxy import TROUBLES

Deed = Literal[
    "kill",
    "kill_backend",
    "pause",
    "drain",
    "cut",
    "stall",
    "black_hole",
    "delay",
    "half_close",
]
TRADING_S = 6.0  # at least
FIRST_S, LAST_S = 0.7, 4.2
PAUSE_S = (0.5, 6.5)  # longer than a lease too: a process may wake up and find itself replaced
TROUBLE_S = (0.3, 2.5)
RESTART_S = (0.0, 1.0)  # before what we start ourselves is started again
AWAY_S = (7.0, 11.0)  # of a whole node: longer than a lease, so that the other takes over
PLENTY = 8  # connections to a bank: enough for every worker of every node
# A worker killed while the store stands still takes with it all that waits for a commit. Left to
# chance the two would hardly ever meet.
TOGETHER = 0.3  # of the rounds
TOGETHER_S = (0.1, 0.6)  # from the one to the other


class Fault(msgspec.Struct, frozen=True):
    """`deed` to `target`, `at_s` after the load began, for `lasts_s`; `pick` chooses among several."""

    at_s: float
    deed: Deed
    target: str
    lasts_s: float
    pick: int


class Plan(msgspec.Struct, frozen=True):
    """A round. `embedded`: one node on a PostgreSQL of its own; else two nodes on one server.
    `link_connections` to a bank: in every second life one a node, so that its workers hand over."""

    seed: int
    round: int
    embedded: bool
    faults: tuple[Fault, ...]
    link_connections: int = PLENTY


def plan_of(seed: int, round_: int, life: int) -> Plan:
    """The schedule. Services live for `life` rounds; every third life is a node on its own."""
    lived = round_ // life
    embedded = lived % 3 == 2
    dice = random.Random(f"{seed}/{round_}")
    nodes = ["node1"] if embedded else ["node1", "node2"]
    processes = [f"worker:{node}" for node in nodes] * 2 + [f"supervisor:{node}" for node in nodes]
    processes += ["postgres", "postgres", "bank:a", "bank:b"]
    processes += [] if embedded else [f"node:{dice.choice(nodes)}"]
    channels = [f"terminals:{node}" for node in nodes] + ["link:a", "link:b"]
    if not embedded:
        channels += [f"database:{node}" for node in nodes]
    faults = []
    for at_s in sorted(dice.uniform(FIRST_S, LAST_S) for _ in range(dice.randint(2, 3))):
        pick = dice.getrandbits(16)
        if dice.random() < 0.6:
            target = dice.choice(processes)
            deed: Deed = dice.choice(("kill", "kill", "pause"))
            if target == "postgres" and deed == "kill":
                deed = dice.choice(("kill", "kill_backend"))
            elif target.startswith(("worker:", "supervisor:")):
                deed = dice.choice((deed, "drain"))
            elif target.startswith("node:"):
                deed = "kill"
            lasts_s = dice.uniform(*_range_s(deed, target))
        else:
            target, deed = dice.choice(channels), dice.choice(TROUBLES)
            lasts_s = 0.0 if deed == "cut" else dice.uniform(*TROUBLE_S)
        faults.append(Fault(round(at_s, 3), deed, target, round(lasts_s, 3), pick))
    if dice.random() < TOGETHER:
        faults += _together(dice, nodes)
    faults.sort(key=lambda fault: fault.at_s)
    scarce = lived % 2 == 1
    return Plan(seed, round_, embedded, tuple(faults), len(nodes) if scarce else PLENTY)


def _range_s(deed: Deed, target: str) -> tuple[float, float]:
    if deed == "pause":
        return PAUSE_S
    return AWAY_S if target.startswith("node:") else RESTART_S


def _together(dice: random.Random, nodes: list[str]) -> list[Fault]:
    """The store stands still, and a worker is killed meanwhile."""
    at_s, later_s = dice.uniform(FIRST_S, LAST_S), dice.uniform(*TOGETHER_S)
    stall = Fault(round(at_s, 3), "pause", "postgres", round(later_s + 0.3, 3), 0)
    target = f"worker:{dice.choice(nodes)}"
    kill = Fault(round(at_s + later_s, 3), "kill", target, 0.0, dice.getrandbits(16))
    return [stall, kill]
