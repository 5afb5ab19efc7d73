"""Working days as data: a calendar for a country or a bank (reference data of the kind `calendar`).

A day is a working day unless it is a weekend day or a holiday; a make-up day (调休) is one although
it is a weekend day. What years the data covers is said in the calendar: a question about a day of
another year is an error and never a guess, since no rule knows next year's official days.
"""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Final

import msgspec

from settlement.said import SaidError

ONE_DAY: Final = timedelta(days=1)
COUNT_MAX: Final = 400  # working days that one question may count
HOLIDAY_DAYS_MAX: Final = 31


class CalendarError(SaidError):
    """The calendars do not say: a day outside their years, or a name that there is not."""


class Holiday(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Days off in a row, both ends included; without `last` a single day."""

    first: date
    last: date | None = None
    name: str = ""

    @property
    def days(self) -> list[date]:
        last = self.last or self.first
        return [self.first + ONE_DAY * n for n in range((last - self.first).days + 1)]


class Calendar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Kind `calendar`, key = name: a country's official days, or a bank's own."""

    name: str
    years: tuple[int, ...]  # whose official days are all in here
    weekend: tuple[int, ...] = (6, 7)  # ISO weekdays, Monday is 1
    holidays: tuple[Holiday, ...] = ()
    make_up_days: tuple[date, ...] = ()

    def is_working_day(self, day: date) -> bool:
        """Raises `CalendarError` for a day of a year that is not in the data."""
        if day.year not in self.years:
            raise CalendarError("calendar_year", calendar=self.name, year=day.year)
        if day in self.make_up_days:
            return True
        if day.isoweekday() in self.weekend:
            return False
        return not any(one.first <= day <= (one.last or one.first) for one in self.holidays)

    def add_working_days(self, day: date, count: int) -> date:
        """See `add_working_days`."""
        return add_working_days([self], day, count)


def problems(calendar: Calendar) -> Iterable[tuple[str, str]]:
    """What a type can not say about one calendar: (key's path, reason)."""
    if not calendar.name:
        yield "name", "a calendar has a name"
    if not calendar.years:
        yield "years", "at least one year whose days are all in"
    if not set(calendar.weekend) <= set(range(1, 8)) or len(set(calendar.weekend)) == 7:
        yield "weekend", "ISO weekdays, 1 (Monday) to 7, not all of them"
    off: dict[date, int] = {}
    for number, holiday in enumerate(calendar.holidays):
        at = f"holidays[{number}]"
        last = holiday.last or holiday.first
        if not 0 <= (last - holiday.first).days < HOLIDAY_DAYS_MAX:
            yield f"{at}.last", f"from first on, {HOLIDAY_DAYS_MAX} days at most"
            continue
        for day in holiday.days:
            if day.year not in calendar.years:
                yield at, f"{day} is of a year that is not in years"
            if day in off:
                yield at, f"{day} is in holidays[{off[day]}] already"
            off[day] = number
    for number, day in enumerate(calendar.make_up_days):
        at = f"make_up_days[{number}]"
        if day.year not in calendar.years:
            yield at, f"{day} is of a year that is not in years"
        if day.isoweekday() not in calendar.weekend:
            yield at, f"{day} is no weekend day: it needs no making up"
        if day in off:
            yield at, f"{day} is in holidays[{off[day]}], too"


# -- several calendars at once: the merchant's country and our bank --------------------------------


def is_working_day(calendars: Sequence[Calendar], day: date) -> bool:
    """Whether it is one in all of them."""
    return all(calendar.is_working_day(day) for calendar in calendars)


def add_working_days(calendars: Sequence[Calendar], day: date, count: int) -> date:
    """The count-th working day after `day`, which itself need not be one; for 0 the first working
    day from `day` on.

    >>> from datetime import date
    >>> plain = Calendar("plain", (2026,))
    >>> add_working_days([plain], date(2026, 8, 7), 1)  # a Friday
    datetime.date(2026, 8, 10)
    >>> add_working_days([plain], date(2026, 8, 8), 1), add_working_days([plain], date(2026, 8, 8), 0)
    (datetime.date(2026, 8, 10), datetime.date(2026, 8, 10))
    """
    assert 0 <= count <= COUNT_MAX, count
    if count == 0:
        while not is_working_day(calendars, day):
            day += ONE_DAY
    for _ in range(count):
        day += ONE_DAY
        while not is_working_day(calendars, day):
            day += ONE_DAY
    return day


def last_due(calendars: Sequence[Calendar], payout_date: date, count: int) -> date:
    """The last date whose T+count is `payout_date` or before. T+0: the payout date itself.

    >>> from datetime import date
    >>> last_due([Calendar("plain", (2026,))], date(2026, 8, 10), 1)  # a Monday pays up to Sunday
    datetime.date(2026, 8, 9)
    """
    assert 0 <= count <= COUNT_MAX, count
    day = payout_date
    while count and add_working_days(calendars, day, count) > payout_date:
        day -= ONE_DAY
    return day
