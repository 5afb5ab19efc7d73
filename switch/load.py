"""How much a process has taken on, and whether it takes more (P8). Pure.

Theory of operation. A request is *inside* while something here has to be done for it, and *away*
while it waits for an acquirer, or for the outcome of other requests: a repeat, a settlement. Each time it leaves,
for an acquirer or for good, one step of work is done. What comes now waits until those inside have
had their step: by Little's law that takes their number divided by the steps done a second. So no new
request is taken in while more are inside than steps were done in the last `wait_s` seconds. There is
nothing to tune to the machine: a slow one does fewer steps, and a store that stands still does none.

The window is cut into slots. Where there was not always work in it, it says nothing of what could
have been done: those who came together are still on their way to their first step, all in one flush. What
the last busy window showed counts then, and is forgotten slowly: a store that stood still for a second
has not become slow. Fewer than `FLOOR` inside are always taken: they are no queue, they fill a flush.

Those away cost memory only, and no request to another acquirer anything: each link bounds its own
(`Link.in_flight_max`), and so an acquirer that does not answer never fills this process.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOTS: Final = 8
FLOOR: Final = 64
START: Final = 1_024  # before a busy window has shown what can be done; a tenth of it is 3 s, once
LEAST: Final = 256  # what is known is never less: with `FLOOR` inside no window would be busy
FORGET: Final = 0.98  # of that, a slot later
RESERVE: Final = 4  # a quarter of the bound, for what is always taken in (rules §8)
WATCHERS: Final = 16  # a sixteenth of the bound may wait for the outcome of others


class Load:
    """One process's requests, counted. Times are the loop's."""

    def __init__(self, in_flight: int, wait_s: float) -> None:
        self.inside = 0
        self.watchers = 0  # away, waiting for the outcome of others
        self._bound = in_flight
        self.away_at: dict[str, int] = {}  # acquirer → requests that wait for it
        self._slot_s = wait_s / SLOTS
        self._slots = [0] * SLOTS  # steps done; a ring, by the slot's number
        self._known = float(START)  # steps in the last window that was busy throughout
        self._busy = 0  # slots in a row, up to now, in which there was always work
        self._slot = 0  # number of the present one
        self._slot_ends_s = 0.0
        self._limit = 0  # as of its beginning
        self._steps = 0  # in the present one
        self._idle = True  # at some time in the present one

    # -- what happens ------------------------------------------------------------------------------

    def take_new(self, now_s: float) -> bool:
        """Take in a new request, where there is room; False: it has to be turned away."""
        if self.inside >= (self._limit if now_s < self._slot_ends_s else self.limit(now_s)):
            return False
        self.inside += 1
        return True

    def take_always(self, now_s: float) -> None:
        """Take in what is taken at the bound too."""
        if now_s >= self._slot_ends_s:
            self._roll(now_s)
        self.inside += 1

    def sent(self, acquirer: str, now_s: float) -> None:
        """One request waits for an acquirer: it is away until it is `back`."""
        at = self.away_at
        at[acquirer] = at.get(acquirer, 0) + 1
        self.ended(now_s)

    def back(self, acquirer: str) -> None:
        self.away_at[acquirer] -= 1
        self.inside += 1

    def ended(self, now_s: float) -> None:
        """What was to be done for one request is done, for now or for good."""
        if now_s >= self._slot_ends_s:
            self._roll(now_s)
        self._steps += 1
        self.inside -= 1
        if self.inside < FLOOR:
            self._idle = True

    @contextmanager
    def away(self) -> Iterator[None]:
        """One request waits for somebody else. No step of work was done for it."""
        self.inside -= 1
        if self.inside < FLOOR:
            self._idle = True
        try:
            yield
        finally:
            self.inside += 1

    @contextmanager
    def watching(self) -> Iterator[None]:
        """One request waits for the outcome of others."""
        self.watchers += 1
        try:
            with self.away():
                yield
        finally:
            self.watchers -= 1

    # -- what is asked -----------------------------------------------------------------------------

    def limit(self, now_s: float) -> int:
        """How many may be inside when a new request is taken."""
        if now_s >= self._slot_ends_s:
            self._roll(now_s)
        return self._limit

    @property
    def takes_first(self) -> bool:
        """Is there room for what is taken when nothing else is?"""
        return self.inside < self._bound + self._bound // RESERVE

    @property
    def takes_watcher(self) -> bool:
        """May one more wait for the outcome of others?"""
        return self.watchers < max(1, self._bound // WATCHERS)

    # -- slots -------------------------------------------------------------------------------------

    def _roll(self, now_s: float) -> None:
        slot = int(now_s / self._slot_s)
        for number in range(max(self._slot, slot - SLOTS), slot):
            self._end_slot(number)
        self._slot = slot
        self._slot_ends_s = (slot + 1) * self._slot_s
        busy = self._busy >= SLOTS
        self._limit = min(self._bound, max(FLOOR, sum(self._slots) if busy else int(self._known)))

    def _end_slot(self, number: int) -> None:
        self._busy = 0 if self._idle else self._busy + 1
        self._slots[number % SLOTS] = self._steps
        if self._busy >= SLOTS:
            self._known = max(sum(self._slots), FORGET * self._known, LEAST)
        self._steps = 0
        self._idle = self.inside < FLOOR
