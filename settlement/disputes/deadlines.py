"""By when a dispute must go on: working days by a calendar, each bound a setting."""

from datetime import date, timedelta
from typing import Final, Protocol

# Working days to go on, by deadline: defaults, for networks and editions of their rules differ
# [unverified].
DEADLINES_DAYS: Final[dict[str, int]] = {
    "query": 5,
    "retrieval": 10,
    "representment": 20,
    "network": 10,  # for the network's row of what we sent
    "second_chargeback": 20,
    "arbitration": 20,
    "award": 60,
    "quiet": 120,  # after an answer: then the issuer can ask no more
    "credit_adjustment": 10,
    "claim": 20,
    "collection": 30,
    "manual_refund": 10,
}


class Calendar(Protocol):
    """Working days of the network's country."""

    def add_working_days(self, day: date, days: int, /) -> date: ...


class WeekDays:
    """Monday to Friday, where no calendar says more: it knows no holidays and no make-up days.

    >>> WeekDays().add_working_days(date(2026, 8, 7), 1).isoformat()  # a Friday
    '2026-08-10'
    """

    def add_working_days(self, day: date, days: int, /) -> date:
        while days:
            day += timedelta(days=1)
            days -= day.isoweekday() <= 5
        return day
