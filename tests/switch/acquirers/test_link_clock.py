"""DE 7 and a link's second: made once a second, right in every one.

Goal: whatever the two clocks say, DE 7 is never of another second than the wall clock's, but for the
second in which that is set. Method: a clock whose two faces are moved by hand.
"""

from __future__ import annotations

import datetime as dt

from switch.acquirers.link_clock import LinkClock

NOON = dt.datetime(2026, 3, 4, 12, 0, 0, 250_000, dt.UTC)


class HandClock:
    """`ports.Clock`, moved by hand."""

    def __init__(self) -> None:
        self.wall = NOON
        self.ns = 7_000_000_000
        self.asked = 0

    def now(self) -> dt.datetime:
        self.asked += 1
        return self.wall

    def monotonic_ns(self) -> int:
        return self.ns

    def passes(self, milliseconds: int) -> None:
        self.wall += dt.timedelta(milliseconds=milliseconds)
        self.ns += milliseconds * 1_000_000


def test_a_second_is_made_once_and_ends_with_the_wall_clocks() -> None:
    clock = HandClock()
    link = LinkClock(clock, "Asia/Shanghai")
    assert link.transmission_time() == "0304200000"
    clock.passes(749)
    assert link.transmission_time() == "0304200000"
    assert link.local().isoformat() == "2026-03-04T20:00:00+08:00"
    assert clock.asked == 1
    clock.passes(1)
    assert (link.transmission_time(), clock.asked) == ("0304200001", 2)
    clock.passes(3_600_000)
    assert link.local().isoformat() == "2026-03-04T21:00:01+08:00"


def test_a_wall_clock_that_is_set_is_followed_within_a_second() -> None:
    clock = HandClock()
    link = LinkClock(clock, "UTC")
    assert link.transmission_time() == "0304120000"
    clock.wall -= dt.timedelta(hours=1)
    clock.passes(1_000)
    assert link.transmission_time() == "0304110001"


def test_another_zone_counts_at_once() -> None:
    link = LinkClock(HandClock(), "UTC")
    assert link.transmission_time() == "0304120000"
    link.move("Asia/Shanghai")
    assert link.transmission_time() == "0304200000"
