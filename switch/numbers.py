"""Numbers for requests: taken from blocks that the store has leased to this process, without waiting.

A block is refilled in the background when half of it is used. A process that dies loses the rest of
its block: numbers are never given twice, and gaps mean nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from typing import TYPE_CHECKING

from switch.journal import StoreDownError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Digits with zeros before them are cut from a number with one digit more: half of what a format costs.
RRN_TAIL = 10**8
STAN_MAX = 999_999


class Block:
    """Numbers of one kind. `refill(count)` leases (first, last) from the store."""

    def __init__(self, refill: Callable[[int], Awaitable[tuple[int, int]]], size: int) -> None:
        self._refill = refill
        self._size = size
        self._half = size // 2
        self.lowest = 0  # no number that will still be taken is below this one
        self._last = -1
        self._spare: tuple[int, int] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.lowest, self._last = await self._refill(self._size)

    def take(self) -> int | None:
        """The next number; None while the store has not given another block."""
        number = self.lowest
        if number > self._last:
            if self._spare is None:
                self._fetch()
                return None
            (number, self._last), self._spare = self._spare, None
        self.lowest = number + 1
        if self._last - number < self._half and self._spare is None:
            self._fetch()
        return number

    def _fetch(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._fetch_spare())

    async def _fetch_spare(self) -> None:
        # a store that is down is asked again by the next `take`
        with contextlib.suppress(StoreDownError):
            self._spare = await self._refill(self._size)


def rrn(number: int, head: str) -> str:
    """DE 37: last digit of the year, day of the year (`rrn_head`), eight digits of the counter.

    Unique per acquirer as long as fewer than 10^8 numbers are taken in a day, and for ten years.

    >>> import datetime
    >>> rrn(42, rrn_head(datetime.date(2026, 2, 1)))
    '603200000042'
    """
    return head + str(RRN_TAIL + number % RRN_TAIL)[1:]


def rrn_head(today: dt.date) -> str:
    return f"{today.year % 10}{today.timetuple().tm_yday:03d}"


def rrn_date(rrn: str, today: dt.date) -> dt.date | None:
    """The day that an RRN of ours says it was issued on, the last such day before tomorrow; None where it
    says none.

    >>> import datetime
    >>> rrn_date("603200000042", datetime.date(2026, 2, 1))
    datetime.date(2026, 2, 1)
    >>> rrn_date("936500000042", datetime.date(2026, 2, 1))
    datetime.date(2019, 12, 31)
    >>> rrn_date("000000000042", datetime.date(2026, 2, 1))
    """
    if not (rrn[:4].isascii() and rrn[:4].isdecimal()):
        return None
    tomorrow = today + dt.timedelta(days=1)
    year = tomorrow.year - (tomorrow.year - int(rrn[0])) % 10
    days = int(rrn[1:4])
    for each in (year, year - 10):
        found = dt.date(each, 1, 1) + dt.timedelta(days=days - 1)
        if found.year == each and found <= tomorrow:
            return found
    return None


def stan(number: int) -> str:
    """DE 11 from an endless counter: 000001 to 999999, round and round.

    >>> stan(0), stan(999_998), stan(999_999)
    ('000001', '999999', '000001')
    """
    return str(10**6 + number % STAN_MAX + 1)[1:]
