"""Working days. Goal: T+n is right over weekends, long holidays with make-up days, and years.

Method: dates worked out by hand on a printed calendar; laws on drawn calendars against counting one
day at a time.
"""

from datetime import date, timedelta

import pytest
from hypothesis import given, strategies as st

from settlement.calendars import (
    Calendar,
    CalendarError,
    Holiday,
    add_working_days,
    is_working_day,
    last_due,
    problems,
)

CHINA = Calendar(
    "CN",
    years=(2026, 2027),
    holidays=(
        Holiday(date(2026, 1, 1), date(2026, 1, 3), "元旦"),
        Holiday(date(2026, 2, 15), date(2026, 2, 23), "春节"),
        Holiday(date(2026, 10, 1), date(2026, 10, 7), "国庆节"),
        Holiday(date(2027, 1, 1), name="元旦"),
    ),
    make_up_days=(date(2026, 1, 4), date(2026, 2, 14), date(2026, 2, 28), date(2026, 10, 10)),
)
BANK = Calendar("bank", years=(2026,), holidays=(Holiday(date(2026, 8, 4)),))
ONE_DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("day", "count", "due"),
    [
        (date(2026, 8, 3), 1, date(2026, 8, 4)),  # Monday
        (date(2026, 8, 7), 1, date(2026, 8, 10)),  # Friday
        (date(2026, 8, 8), 1, date(2026, 8, 10)),  # Saturday, with Friday
        (date(2026, 8, 7), 0, date(2026, 8, 7)),
        (date(2026, 8, 8), 0, date(2026, 8, 10)),
        (date(2026, 2, 12), 1, date(2026, 2, 13)),  # before the Spring Festival
        (date(2026, 2, 13), 1, date(2026, 2, 14)),  # a Saturday that is worked
        (date(2026, 2, 14), 1, date(2026, 2, 24)),
        (date(2026, 2, 20), 1, date(2026, 2, 24)),  # within it
        (date(2026, 2, 13), 3, date(2026, 2, 25)),
        (date(2026, 2, 27), 1, date(2026, 2, 28)),  # the second make-up day
        (date(2026, 1, 3), 1, date(2026, 1, 4)),  # a Sunday that is worked
        (date(2026, 12, 31), 1, date(2027, 1, 4)),  # New Year on a Friday
        (date(2026, 12, 30), 1, date(2026, 12, 31)),
        (date(2026, 9, 30), 2, date(2026, 10, 9)),
    ],
)
def test_t_plus_n(day: date, count: int, due: date) -> None:
    assert CHINA.add_working_days(day, count) == due


def test_a_bank_that_is_closed_too_counts() -> None:
    assert add_working_days([CHINA], date(2026, 8, 3), 1) == date(2026, 8, 4)
    assert add_working_days([CHINA, BANK], date(2026, 8, 3), 1) == date(2026, 8, 5)
    assert not is_working_day([CHINA, BANK], date(2026, 8, 4))


def test_a_year_that_nobody_has_entered_is_an_error_and_no_guess() -> None:
    with pytest.raises(CalendarError, match="CN has no days of 2028"):
        CHINA.add_working_days(date(2027, 12, 31), 1)
    with pytest.raises(CalendarError):
        CHINA.is_working_day(date(2025, 12, 31))


@pytest.mark.parametrize(
    ("payout_date", "count", "last"),
    [
        (date(2026, 8, 10), 1, date(2026, 8, 9)),  # Monday pays Friday to Sunday
        (date(2026, 8, 10), 0, date(2026, 8, 10)),
        (date(2026, 2, 24), 1, date(2026, 2, 23)),
        (date(2026, 2, 14), 1, date(2026, 2, 13)),
        (date(2026, 2, 24), 2, date(2026, 2, 13)),
    ],
)
def test_what_a_payout_date_pays(payout_date: date, count: int, last: date) -> None:
    assert last_due([CHINA], payout_date, count) == last


DAYS = st.dates(date(2026, 1, 1), date(2026, 12, 31))


@st.composite
def calendars(draw: st.DrawFn) -> Calendar:
    off = draw(st.sets(DAYS, max_size=30))
    worked = {day for day in draw(st.sets(DAYS, max_size=10)) if day.isoweekday() > 5} - off
    made = Calendar(
        "drawn",
        years=(2025, 2026, 2027),
        holidays=tuple(Holiday(day) for day in sorted(off)),
        make_up_days=tuple(sorted(worked)),
    )
    assert list(problems(made)) == []
    return made


@given(calendars(), DAYS, st.integers(1, 12))
def test_t_plus_n_by_counting(calendar: Calendar, day: date, count: int) -> None:
    due = calendar.add_working_days(day, count)
    between = [day + ONE_DAY * n for n in range(1, (due - day).days + 1)]
    assert sum(calendar.is_working_day(one) for one in between) == count
    assert calendar.is_working_day(due)


@given(calendars(), DAYS, st.integers(0, 5))
def test_a_date_is_due_exactly_from_its_t_plus_n_on(
    calendar: Calendar, payout_date: date, count: int
) -> None:
    last = last_due([calendar], payout_date, count)
    if count:
        assert calendar.add_working_days(last, count) <= payout_date
        assert calendar.add_working_days(last + ONE_DAY, count) > payout_date
    else:
        assert last == payout_date


@pytest.mark.parametrize(
    ("calendar", "at"),
    [
        (Calendar("", (2026,)), "name"),
        (Calendar("x", ()), "years"),
        (Calendar("x", (2026,), weekend=(0,)), "weekend"),
        (Calendar("x", (2026,), weekend=(1, 2, 3, 4, 5, 6, 7)), "weekend"),
        (
            Calendar("x", (2026,), holidays=(Holiday(date(2026, 5, 2), date(2026, 5, 1)),)),
            "holidays[0].last",
        ),
        (Calendar("x", (2026,), holidays=(Holiday(date(2027, 1, 1)),)), "holidays[0]"),
        (
            Calendar("x", (2026,), holidays=(Holiday(date(2026, 5, 1)), Holiday(date(2026, 5, 1)))),
            "holidays[1]",
        ),
        (Calendar("x", (2026,), make_up_days=(date(2026, 8, 3),)), "make_up_days[0]"),
        (Calendar("x", (2026,), make_up_days=(date(2027, 8, 1),)), "make_up_days[0]"),
        (
            Calendar(
                "x",
                (2026,),
                holidays=(Holiday(date(2026, 8, 1)),),
                make_up_days=(date(2026, 8, 1),),
            ),
            "make_up_days[0]",
        ),
    ],
)
def test_what_is_wrong_with_a_calendar_is_named(calendar: Calendar, at: str) -> None:
    assert [path for path, _ in problems(calendar)] == [at]


def test_china_is_right() -> None:
    assert list(problems(CHINA)) == []
