"""What reconciliation had to find: the banks' own list of mistakes against the breaks it found. Pure.

Each bank says what it planted in its file, and which approvals it lost (the fault `forget`). Every
one of them must appear once, with its class, key and amounts, and nothing else may.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from settlement.cases import Break
    from terminals.simulator.com_file import PlantedBreak

Line = tuple[str, str, str, str, int | None, int | None]  # bank, class, time, STAN, ours, theirs


class Comparison(msgspec.Struct, frozen=True):
    """Counts by (class, bank): planted, forgotten, found; and the lines on one side only."""

    planted: dict[tuple[str, str], int]
    forgotten: dict[tuple[str, str], int]
    found: dict[tuple[str, str], int]
    not_found: list[Line]
    not_expected: list[Line]

    @property
    def right(self) -> bool:
        return not self.not_found and not self.not_expected


def compare_breaks(
    planted: Mapping[str, Sequence[PlantedBreak]], found: Iterable[Break]
) -> Comparison:
    """`planted` by acquirer."""
    expected: Counter[Line] = Counter()
    by_plan: Counter[tuple[str, str]] = Counter()
    by_bank: Counter[tuple[str, str]] = Counter()
    for acquirer, mistakes in planted.items():
        for one in mistakes:
            expected[line_of(acquirer, one)] += 1
            by = by_plan if one.cause == "planted" else by_bank
            by[one.break_class, acquirer] += 1
    seen: Counter[Line] = Counter()
    by_found: Counter[tuple[str, str]] = Counter()
    for each in found:
        seen[line_found(each)] += 1
        by_found[each.break_class, each.acquirer] += 1
    return Comparison(
        planted=dict(sorted(by_plan.items())),
        forgotten=dict(sorted(by_bank.items())),
        found=dict(sorted(by_found.items())),
        not_found=sorted((expected - seen).elements(), key=str),
        not_expected=sorted((seen - expected).elements(), key=str),
    )


def line_of(acquirer: str, one: PlantedBreak) -> Line:
    """A mistake as the break it leads to. Of a duplicate only the second row is a break."""
    ours = None if one.kind == "duplicate" else one.ours_minor
    if one.kind == "reversed_but_billed":
        ours = 0  # our record is there, and stands for nothing
    return acquirer, one.break_class, one.transmission_time, one.stan, ours, one.file_minor


def line_found(one: Break) -> Line:
    keys = one.keys
    ours = None if one.ours_minor is None else abs(one.ours_minor)
    theirs = None if one.theirs_minor is None else abs(one.theirs_minor)
    time, stan = keys.get("transmission_time", ""), keys.get("link_stan", "")
    return one.acquirer, one.break_class, time, stan, ours, theirs
