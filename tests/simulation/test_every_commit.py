"""A process dies before, and after, every single write of a small day; every promise is kept.

Goal: no place between two writes at which a crash loses or doubles anything. Method: the day is
counted once without a crash; then for each n a run of its own in which the process that asks for
write n is killed before it stands, or after it stands and before it is told.
"""

from __future__ import annotations

import pytest

from tests.simulation.till import Mix
from tests.simulation.world import Plan, World, simulate

DAY = Plan(
    seed=5,
    nodes=2,
    terminals=1,
    transactions=5,
    think_s=0.3,
    link_timeout_s=3.0,
    mix=Mix(purchase=40.0, void=20.0, refund=20.0, balance=0.0, settle=10.0, sign_on=5.0, poor=5.0),
)
STRIPES = 4


def writes_of_the_day() -> int:
    counted: list[World] = []
    report = simulate(DAY, counted.append)
    assert not report.broken, report.broken
    return counted[0].disturbed.commits


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("stripe", range(STRIPES))
def test_a_crash_at_every_write(stripe: int, late: bool) -> None:
    writes = writes_of_the_day()
    assert writes > 30, "a day has more writes"
    for number in range(1 + stripe, writes + 1, STRIPES):

        def die(world: World, number: int = number) -> None:
            world.disturbed.crash_at, world.disturbed.crash_late = number, late

        report = simulate(DAY, die)
        assert not report.broken, f"write {number}: {report.broken}"
        when = "after" if late else "before"
        assert any(f"node {when} write {number} " in name for name in report.counts), (
            f"nobody died at write {number}: {report.counts}"
        )
