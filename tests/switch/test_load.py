"""When a process takes more on, and when not.

Goal: the wait of what is taken in stays bounded whatever is asked, nothing is left undone that could
be done, and no acquirer's silence counts as our own load. Method: `Load` beside a model of a process
that does a known number of steps a second, in steps of a millisecond; no loop, no clock.
"""

from __future__ import annotations

from collections import deque

import pytest

from switch.load import FLOOR, RESERVE, START, WATCHERS, Load

WAIT_S = 0.25
BOUND = 4_096
TICK_S = 0.001


class Server:
    """First come, first served; `rate` steps a second, one a request."""

    def __init__(self) -> None:
        self.load = Load(BOUND, WAIT_S)
        self.now_s = 0.0
        self.queue: deque[float] = deque()
        self.asked = self.credit = 0.0
        self.waits_s: list[float] = []
        self.refused = 0

    def run(self, seconds: float, *, asked: float, rate: float) -> tuple[int, int, float]:
        """Served, refused and the longest wait, of `asked` requests a second."""
        self.waits_s, self.refused = [], 0
        for _ in range(round(seconds / TICK_S)):
            self.now_s += TICK_S
            self.asked += asked * TICK_S
            while self.asked >= 1:
                self.asked -= 1
                self.ask()
            self.credit = min(self.credit + rate * TICK_S, 1 + rate * TICK_S)
            while self.credit >= 1 and self.queue:
                self.credit -= 1
                self.serve()
        return len(self.waits_s), self.refused, max(self.waits_s, default=0.0)

    def ask(self) -> None:
        if self.load.take_new(self.now_s):
            self.queue.append(self.now_s)
        else:
            self.refused += 1

    def serve(self) -> None:
        self.waits_s.append(self.now_s - self.queue.popleft())
        self.load.ended(self.now_s)


@pytest.mark.parametrize("rate", [400, 2_000, 8_000])
@pytest.mark.parametrize("times", [1.2, 3, 10])
def test_above_capacity_all_is_done_that_can_be_and_nobody_waits_long(
    rate: float, times: float
) -> None:
    server = Server()
    server.run(START / rate + 2.0, asked=times * rate, rate=rate)  # it has learned what it can do
    served, refused, longest_s = server.run(10.0, asked=times * rate, rate=rate)
    assert served >= 0.95 * 10 * rate
    assert refused >= 0.95 * 10 * (times - 1) * rate
    assert longest_s <= max(WAIT_S, FLOOR / rate) * 1.5


@pytest.mark.parametrize("rate", [400, 8_000])
@pytest.mark.parametrize("times", [3, 10])
def test_the_first_burst_is_bounded_too(rate: float, times: float) -> None:
    """Nothing is known yet, and soon it is."""
    server = Server()
    _, _, longest_s = server.run(1.0, asked=times * rate, rate=rate)
    assert longest_s <= START / rate + 2 * WAIT_S
    served, _, _ = server.run(1.0, asked=times * rate, rate=rate)
    assert served >= 0.95 * rate


def test_a_storm_that_it_can_serve_is_served_though_nothing_is_known_yet() -> None:
    """So many terminals at once, each with its next request as soon as it has its answer; the first step
    takes long, for caches are cold and all are in one flush."""
    server = Server()
    for _ in range(START):
        server.ask()
    server.run(WAIT_S / 2, asked=0, rate=0)
    for _ in range(2_000):
        done, _, _ = server.run(TICK_S, asked=0, rate=3 * START / WAIT_S)
        for _ in range(done):
            server.ask()
        assert server.refused == 0


def test_below_capacity_nothing_is_refused() -> None:
    server = Server()
    server.run(3.0, asked=3_000, rate=1_000)
    server.run(1.0, asked=0, rate=1_000)
    for asked in (100, 500, 950):
        assert server.run(5.0, asked=asked, rate=1_000)[1] == 0


def test_after_a_burst_it_takes_everything_again_at_once() -> None:
    server = Server()
    server.run(5.0, asked=10_000, rate=1_000)
    served, refused, _ = server.run(1.0, asked=500, rate=1_000)
    assert refused <= 500 * WAIT_S * 2
    assert served
    assert server.run(5.0, asked=500, rate=1_000)[1] == 0


def test_a_store_that_stands_still_lets_only_a_few_wait() -> None:
    server = Server()
    server.run(3.0, asked=1_500, rate=1_000)
    server.run(5.0, asked=1_500, rate=0)
    assert len(server.queue) <= 1_000 * WAIT_S * 1.5  # what it could do before
    server.queue.clear()
    while server.load.inside:
        server.load.ended(server.now_s)
    _, refused, _ = server.run(5.0, asked=1_500, rate=0)  # and nothing was done since
    assert len(server.queue) <= 1_000 * WAIT_S * 1.5
    assert refused >= 5 * 1_500 - 1_000 * WAIT_S * 1.5


def test_a_short_stop_refuses_nobody_at_half_load() -> None:
    """A flush that takes long: a third of the window passes unnoticed."""
    server = Server()
    server.run(3.0, asked=2_000, rate=1_000)
    server.run(2.0, asked=500, rate=1_000)
    assert server.run(WAIT_S / 3, asked=500, rate=0)[1] == 0
    assert server.run(2.0, asked=500, rate=1_000)[1] == 0


def test_a_stop_of_the_store_is_forgotten() -> None:
    """Short bursts never fill a window: what was known before the stop must do."""
    server = Server()
    server.run(4.0, asked=20_000, rate=9_000)
    server.run(2.0, asked=50, rate=9_000)
    server.run(1.5, asked=200, rate=0)
    server.run(1.0, asked=0, rate=9_000)
    for _ in range(30):
        assert server.run(0.01, asked=20_000, rate=9_000)[1] == 0
        assert server.run(0.99, asked=0, rate=9_000)[1] == 0


def test_it_grows_out_of_a_slow_time() -> None:
    """What was learned from a slow machine is forgotten within a window or two."""
    server = Server()
    server.run(5.0, asked=1_000, rate=20)
    server.run(1.0, asked=5_000, rate=2_000)
    served, _, _ = server.run(2.0, asked=5_000, rate=2_000)
    assert served >= 0.95 * 2 * 2_000


def test_those_away_are_nobodys_burden() -> None:
    load = Load(BOUND, WAIT_S)
    for n in range(3 * BOUND):
        now_s = n * TICK_S
        assert load.take_new(now_s)
        load.sent("bank", now_s)
    assert (load.inside, load.away_at["bank"]) == (0, 3 * BOUND)
    for _ in range(3 * BOUND):
        load.back("bank")
    assert (load.inside, load.away_at["bank"]) == (3 * BOUND, 0)
    assert not load.take_new(3 * BOUND * TICK_S)


def test_the_reserve_is_for_what_is_always_taken() -> None:
    load = Load(100, WAIT_S)
    for _ in range(100):
        load.take_always(0.0)
    assert not load.take_new(0.0)
    for _ in range(100 // RESERVE):
        assert load.takes_first
        load.take_always(0.0)
    assert not load.takes_first


def test_few_wait_for_the_outcome_of_others() -> None:
    load = Load(WATCHERS, WAIT_S)
    load.take_always(0.0)
    assert load.takes_watcher
    with load.watching():
        assert (load.inside, load.takes_watcher) == (0, False)
    assert (load.inside, load.takes_watcher) == (1, True)
