"""DE 7 and today's date in a link's zone, made once a second.

By the monotonic clock: a wall clock that is set is followed a second later.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from switch.ports import Clock


SECOND_NS: Final = 1_000_000_000


class LinkClock:
    def __init__(self, clock: Clock, timezone: str) -> None:
        self.monotonic_ns = clock.monotonic_ns
        self._clock = clock
        self._ends_ns = 0  # of the second that all this is of
        self._transmission_time = ""
        self._local = dt.datetime.fromtimestamp(0, dt.UTC)
        self.move(timezone)

    def move(self, timezone: str) -> None:
        self._zone, self._ends_ns = ZoneInfo(timezone), 0

    def transmission_time(self) -> str:
        """DE 7, MMDDhhmmss."""
        if self.monotonic_ns() >= self._ends_ns:
            self._look()
        return self._transmission_time

    def local(self) -> dt.datetime:
        """The second that it is now."""
        if self.monotonic_ns() >= self._ends_ns:
            self._look()
        return self._local

    def _look(self) -> None:
        now, now_ns = self._clock.now(), self.monotonic_ns()
        self._ends_ns = now_ns + SECOND_NS - 1_000 * now.microsecond
        self._local = now.replace(microsecond=0).astimezone(self._zone)
        self._transmission_time = self._local.strftime("%m%d%H%M%S")
