"""DE 7 and today's date in a link's zone, made once a second."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from switch.ports import Clock


ONE_SECOND = dt.timedelta(seconds=1)


class LinkClock:
    def __init__(self, clock: Clock, timezone: str) -> None:
        self.monotonic_ns = clock.monotonic_ns
        self._clock = clock
        self._transmission_time = ""
        # the second that all this is of
        self._begins = self._ends = self._local = dt.datetime.fromtimestamp(0, dt.UTC)
        self.date = self._local.date()  # as `local` last said
        self.move(timezone)

    def move(self, timezone: str) -> None:
        self._zone, self._ends = ZoneInfo(timezone), self._begins

    def transmission_time(self) -> str:
        """DE 7, MMDDhhmmss."""
        self.local()
        return self._transmission_time

    def local(self) -> dt.datetime:
        now = self._clock.now()
        if not self._begins <= now < self._ends:
            self._begins = now.replace(microsecond=0)
            self._ends = self._begins + ONE_SECOND
            self._local = self._begins.astimezone(self._zone)
            self._transmission_time = self._local.strftime("%m%d%H%M%S")
            self.date = self._local.date()
        return self._local
