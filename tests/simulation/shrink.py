"""A broken promise made small: the fewest faults, transactions and parts that still break it.

A plan is taken as plain data, and one thing after another is taken away: half of the transactions, a
node, a terminal, one kind of fault. What still breaks the same promise is kept. Bounded by time.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import msgspec

from tests.simulation.world import Plan, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.world import Report

BOX_S = 60.0
NEAR_S = 15.0  # a fault so long before a line that concerns the promise is shown with it
FAULT_GROUPS = ("weather", "store", "bank", "till", "chaos", "upheaval", "siblings")
NOT_RATES = frozenset({"slow_s", "stall_s", "reconnect_s", "late_s", "delay_s", "on_reversals"})
FAULT_EVENTS = frozenset(
    {"chaos", "upheaval", "boot", "end", "pause", "resume", "drain", "calm", "BROKEN"}
)
NONE_WRONG = msgspec.to_builtins(Plan(seed=0))
Changes = dict[str, Any]


def changed(plan: Plan, changes: Changes) -> Plan:
    """The plan with other values, as the command line gives them: `{"nodes": 1, "bank": {"late": 0}}`.

    A group that is null has no faults at all: `{"weather": null}`.
    """
    values = merged(msgspec.to_builtins(plan), changes)
    return msgspec.convert(
        {name: NONE_WRONG[name] if value is None else value for name, value in values.items()}, Plan
    )


def merged(before: Changes, changes: Changes) -> Changes:
    """`changes` over `before`; nothing is put back into a group that is null already."""
    result = dict(before)
    for name, value in changes.items():
        if isinstance(value, dict) and name in before and before[name] is None:
            continue
        deep = isinstance(value, dict) and isinstance(before.get(name), dict)
        result[name] = merged(before[name], value) if deep else value
    return result


def shrink(plan: Plan, report: Report, box_s: float = BOX_S) -> tuple[Changes, Report]:
    """(what to change of the plan, the run that still breaks the promise)."""
    until_s = time.monotonic() + box_s
    promise = report.broken.partition(":")[0]
    kept: Changes = {}
    progress = True
    while progress and time.monotonic() < until_s:
        progress = False
        for step in _steps(msgspec.to_builtins(changed(plan, kept))):
            if time.monotonic() > until_s:
                break
            tried = merged(kept, step)
            again = simulate(changed(plan, tried))
            if again.broken.partition(":")[0] == promise:
                kept, report, progress = tried, again, True
    return kept, report


def _steps(plan: Changes) -> Iterator[Changes]:
    """What may be taken away next, the largest first."""
    wrong = [group for group in FAULT_GROUPS if plan[group] != NONE_WRONG[group]]
    for group in wrong:
        yield {group: None}
    if plan["bounds"] is not None:
        yield {"bounds": None}
    for share in (2, 4, 8):
        if less := plan["transactions"] // share:
            yield {"transactions": plan["transactions"] - less}
    for part in ("nodes", "terminals"):
        if plan[part] > 1:
            yield {part: 1}
            yield {part: plan[part] - 1}
    for group in wrong:
        for rate in _rates(plan[group]):
            yield {group: rate}


def _rates(values: Changes) -> Iterator[Changes]:
    """Each rate above nothing, as the change that makes it nothing."""
    for name, value in values.items():
        if isinstance(value, dict):
            for below in _rates(value):
                yield {name: below}
        elif name not in NOT_RATES and isinstance(value, bool | int | float) and value:
            yield {name: type(value)(0)}


def relevant(report: Report) -> list[str]:
    """The lines that concern what the broken promise names, and what went wrong shortly before them."""
    names = re.findall(
        r"\b\d{12}\b|\b\d{8}/\d+/\d{6}\b|\('\w+', '\d{10}', '\d{6}'\)", report.broken
    )
    words: set[str] = set()
    pairs: set[tuple[str, ...]] = set()
    for name in names:
        if "/" in name:
            terminal, _, trace = name.split("/")
            pairs.add((terminal, trace))
        elif name.startswith("("):
            pairs.add(tuple(re.findall(r"\d{10}|\d{6}", name)))
        else:
            words.add(name)
    lines = report.tail
    if not words and not pairs:
        return lines[-40:]
    near: list[tuple[float, str]] = []  # (until when it is near, what happened)
    kept: list[str] = []
    for line in lines:
        tokens = set(re.findall(r"\w+", line))
        at_s, event, *more = line.split()
        if event in FAULT_EVENTS:
            lasts_s = float(more[1]) if event == "pause" and len(more) > 1 else 0.0
            near.append((float(at_s) + lasts_s, line))
        elif tokens & words or any(set(pair) <= tokens for pair in pairs):
            now_s = float(line.split()[0])
            kept += [each for at_s, each in near if at_s > now_s - NEAR_S]
            near.clear()
            kept.append(line)
    return kept + [line for _, line in near if " BROKEN " in line]
