"""DE 7 and today's date in a link's zone, made once a second."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from switch.ports import Clock


class LinkClock:
    def __init__(self, clock: Clock, timezone: str) -> None:
        self.monotonic_ns = clock.monotonic_ns
        self._clock = clock
        self._transmission_time = ""
        self._local = dt.datetime.fromtimestamp(0, dt.UTC)
        self.move(timezone)

    def move(self, timezone: str) -> None:
        self._zone, self._second = ZoneInfo(timezone), 0

    def transmission_time(self) -> str:
        """DE 7, MMDDhhmmss."""
        self.local()
        return self._transmission_time

    def local(self) -> dt.datetime:
        now = self._clock.now()
        second = int(now.timestamp())
        if second != self._second:
            local = now.astimezone(self._zone)
            self._second = second
            self._transmission_time = local.strftime("%m%d%H%M%S")
            self._local = local
        return self._local
