"""What holds when a world has come to rest: nothing waits, what was due to a person is there, closed
dates are as they were.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt

    from switch.journal import Commit
    from tests.simulation.node import Node
    from tests.simulation.world import World

Capture = tuple[int, int, int]  # request id, seq, signed effect in minor units
Owed = tuple[int, str]  # request id, kind of the case


class ClosedDates:
    """What dates captured when they were frozen."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._as_frozen: dict[dt.date, list[Capture]] = {}

    def frozen(self, date: dt.date) -> None:
        self._as_frozen.setdefault(date, self._captures(date))

    def stand(self) -> None:
        """A frozen date's captures never change: what follows is a linked opposite on another date."""
        for date, captures in self._as_frozen.items():
            now = self._captures(date)
            changed = sorted(set(captures) ^ set(now))
            self._world.checkers.check(
                "P9",
                captures == now,
                f"captures of {date} have changed since its freeze: {changed}",
            )

    def _captures(self, date: dt.date) -> list[Capture]:
        captures = self._world.store.captures()
        return [(request_id, seq, minor) for request_id, seq, on, minor in captures if on == date]


class Cases:
    """What a person must look at (rules §5, §6, §8, §9), by what was committed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._owed: Counter[Owed] = Counter()

    def committed(self, commit: Commit, kind: str) -> None:
        """`kind` of the queue item that it ends, "" where it ends none."""
        if commit.reversal is not None and commit.reversal.origin == "late_approval":
            self._owed[commit.reversal.original_request_id, "late_approval"] += 1
        elif commit.end is not None:
            owed = OWED_AT_END.get((kind, commit.end.response_code), "")
            if owed:
                request_id = self._world.store.queue_items[commit.end.item_id].request_id
                self._owed[request_id, owed] += 1
        said = commit.reversal_request
        if said is not None and said.response_code == "12" and said.rule != "reversal.repeated":
            assert said.original_request_id is not None
            self._owed[said.original_request_id, "reversal_refused"] += 1

    def opened(self) -> None:
        """A late approval reversed anew, a refused 0400, an item given up or answered 12 or 94, a batch
        that differs: each has its case."""
        world = self._world
        there = Counter((case.request_id, case.kind) for case in world.store.cases.values())
        for (request_id, kind), times in self._owed.items():
            world.count(f"case {kind}")
            world.checkers.check(
                "P4",
                there[request_id, kind] >= times,
                f"{world.checkers.name_of(request_id)} has {there[request_id, kind]} cases "
                f"{kind!r}, and is owed {times}",
            )
        self._of_batches()

    def _of_batches(self) -> None:
        """A closed batch whose totals differ has a case of what one side lacks."""
        world = self._world
        there = {
            (case.merchant, case.terminal, json.loads(case.detail)["batch"])
            for case in world.store.cases.values()
            if case.kind.startswith("batch_")
        }
        for (merchant, terminal), rows in world.store.batch_rows.items():
            for row in rows:
                if row.closed and row.said != row.ours:
                    world.count("case of a batch")
                    opened = (merchant, terminal, row.number) in there
                    world.checkers.check(
                        "P5", opened, f"batch {terminal}/{row.number} differs, and has no case"
                    )


# (kind of item, DE 39 that ended it) → the case that it needs
OWED_AT_END = {
    ("reversal", "12"): "reversal_refused",
    ("repeat", "94"): "repeat_duplicate",
    ("reversal", "--"): "undelivered",
    ("repeat", "--"): "undelivered",
}


def nothing_waits(world: World) -> None:
    """At rest every count of a process is back to nothing: what is not counted down fills a bound."""
    for node in world.nodes:
        waits = {what: count for what, count in counts_of(node).items() if count}
        world.checkers.check("P8", not waits, f"{node.name} is at rest, and counts {waits}")


def counts_of(node: Node) -> dict[str, int]:
    """What a process has under way, by its own books."""
    boot = node.boot
    if boot is None or boot.switch is None or boot.process.gone:
        return {}
    switch = boot.switch
    load, engine, siblings = switch.load, switch.engine, switch._siblings
    counts = {
        "inside": load.inside,
        "watching": load.watchers,
        "in flight": engine.in_flight,
        "undecided": len(engine._undecided),
        "abandoned": len(engine.abandoned),
        "offers": 0 if siblings is None else len(siblings._offers),
        "late answers": len(switch._late._tasks),
    }
    for name, (host, forwarder) in switch._links._running.items():
        counts[f"waiting at {name}"] = load.away_at.get(name, 0)
        counts[f"pending at {name}"] = host.in_flight
        counts[f"being delivered to {name}"] = len(forwarder._busy)
    return counts
