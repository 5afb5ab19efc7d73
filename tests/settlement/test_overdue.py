"""Receivables whose money has not come: when they are late, and what begins and ends their breaks.

Method: days of a town in memory, looked at on one day after the other; then due days over weekends
and holidays by hand, and sets of receivables in any order.
"""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings as hypothesis, strategies as st

from settlement.cases import Break, Resolution
from settlement.contracts import Contracts
from settlement.overdue import changes, overdue
from settlement.payouts.dates import bring_on, find_overdue
from settlement.payouts.desk import Desk
from settlement.payouts.ports import Facts, Receivable, StaleError
from tests.settlement.payout_world import (
    CALENDAR,
    CNY,
    HKD,
    MONDAY,
    ONE_DAY,
    REFERENCES,
    TEA,
    Told,
    Town,
    bank_account,
    pay,
    told,
)
from tests.settlement.world import reference

TUESDAY, WEDNESDAY, THURSDAY = (MONDAY + ONE_DAY * n for n in (1, 2, 3))
FRIDAY, SUNDAY = MONDAY + 4 * ONE_DAY, MONDAY + 6 * ONE_DAY
PAYER = "990001"


def on(town: Town, day: date) -> Desk:
    """The desk on that day."""
    return msgspec.structs.replace(
        town.desk(), at=datetime(day.year, day.month, day.day, 2, tzinfo=UTC)
    )


async def standing(town: Town) -> list[Break]:
    return await town.payouts.standing_breaks("receivable_overdue")


def test_money_that_does_not_come_is_a_case_until_it_comes() -> None:
    async def scenario() -> None:
        town = Town()
        await town.day(MONDAY, {TEA: 10_000})
        await told(town, TUESDAY)  # a statement without it
        for day in (TUESDAY, WEDNESDAY):
            assert await find_overdue(on(town, day)) == [], "due, or within the tolerance"
        (one,) = await find_overdue(on(town, THURSDAY))
        assert one.keys == {"settlement_date": "2026-08-03", "due_on": "2026-08-04"}
        assert (one.acquirer, one.currency, one.business_date) == ("bank-a", CNY, TUESDAY)
        assert (one.ours_minor, one.theirs_minor, one.difference_minor) == (10_000, 0, 0)
        assert one.evidence["statements_through"] == "2026-08-04"
        await bring_on(on(town, FRIDAY), FRIDAY)
        assert await standing(town) == [one], "once"
        assert await pay(town, FRIDAY) == [], "nothing is paid that did not come"
        await told(town, FRIDAY, Told(10_000, counterparty=PAYER))
        await bring_on(on(town, FRIDAY), FRIDAY)
        assert await standing(town) == []
        assert await town.payouts.resolved([one.id]) == {one.id}
        assert await find_overdue(on(town, SUNDAY)) == []
        (batch,) = await pay(town, FRIDAY)
        assert batch.sum_minor == 10_000

    asyncio.run(scenario())


def test_a_receivable_that_is_owed_again_is_late_again() -> None:
    async def scenario() -> None:
        town = Town()
        await town.day(MONDAY, {TEA: 10_000})
        (first,) = await find_overdue(on(town, THURSDAY))
        await told(town, THURSDAY, Told(10_000, counterparty=PAYER))
        assert await find_overdue(on(town, THURSDAY)) == []
        await town.day(TUESDAY, {TEA: 300}, settlement_date=MONDAY)
        (second,) = await find_overdue(on(town, THURSDAY))
        assert (second.ours_minor, second.id != first.id) == (300, True)

    asyncio.run(scenario())


def test_what_we_owe_a_network_is_not_overdue() -> None:
    async def scenario() -> None:
        town = Town()
        await town.day(MONDAY, {TEA: -10_000})
        assert await find_overdue(on(town, SUNDAY)) == []

    asyncio.run(scenario())


def test_a_break_stands_on_no_closed_date() -> None:
    async def scenario() -> None:
        town = Town()
        await town.day(MONDAY, {TEA: 10_000})
        late = overdue(
            Contracts(REFERENCES, THURSDAY), await town.payouts.receivables(), THURSDAY, 1
        )
        breaks, _ = changes(late, [], [], [], act=1, book_date=MONDAY, tolerance_days=1)
        assert breaks
        with pytest.raises(StaleError):
            await on(town, THURSDAY).commit(Facts(0, "receivable.overdue", breaks=breaks))

    asyncio.run(scenario())


# -- when -----------------------------------------------------------------------------------------


def contracts(calendar: str = "", days: int = 1, of_account: str = "") -> Contracts:
    link = {"acquirer": "bank-a", "settlement_days": days, "settlement_calendar": calendar}
    account = bank_account("reserve-a", "reserve")
    account.content["calendar"] = of_account
    return Contracts([CALENDAR, reference("link", "bank-a-1", link), account], MONDAY)


@pytest.mark.parametrize(
    ("of", "settled", "tolerance", "due_on", "last"),
    [
        (contracts("CN"), MONDAY, 1, TUESDAY, WEDNESDAY),
        (contracts("CN"), MONDAY, 0, TUESDAY, TUESDAY),
        (contracts("CN", days=2), MONDAY, 1, WEDNESDAY, THURSDAY),
        (contracts("CN", days=0), SUNDAY, 0, SUNDAY + ONE_DAY, SUNDAY + ONE_DAY),
        (contracts("CN"), FRIDAY, 1, SUNDAY + ONE_DAY, SUNDAY + 2 * ONE_DAY),
        (contracts(of_account="CN"), FRIDAY, 0, SUNDAY + ONE_DAY, SUNDAY + ONE_DAY),
        (contracts("CN"), date(2026, 9, 30), 0, date(2026, 10, 8), date(2026, 10, 8)),
        (contracts(), FRIDAY, 1, FRIDAY + ONE_DAY, SUNDAY),  # no calendar: every day
        (contracts("CN"), date(2026, 12, 31), 0, date(2027, 1, 1), date(2027, 1, 1)),  # not told
    ],
)
def test_due_and_late(
    of: Contracts, settled: date, tolerance: int, due_on: date, last: date
) -> None:
    one = Receivable("bank-a", settled, CNY, 5)
    assert overdue(of, [one], last, tolerance) == []
    (found,) = overdue(of, [one], last + ONE_DAY, tolerance)
    assert (found.receivable, found.due_on) == (one, due_on)


RECEIVABLES = st.lists(
    st.builds(
        Receivable,
        st.sampled_from(["bank-a", "bank-b"]),
        st.integers(0, 9).map(lambda n: MONDAY + timedelta(days=n)),
        st.sampled_from([CNY, HKD]),
        st.integers(-3, 9).filter(bool),
    ),
    unique_by=lambda one: (one.acquirer, one.settlement_date, one.currency),
)


@given(RECEIVABLES, st.randoms(use_true_random=False), st.integers(0, 14))
@hypothesis(max_examples=200)
def test_each_late_receivable_has_one_standing_break(
    owed: list[Receivable], random: Any, days: int
) -> None:
    """In any order, looked at once or twice, before and after some of the money has come."""
    of = contracts("CN")

    def look(owed: list[Receivable], known: list[Break], act: int, today: date) -> list[Break]:
        late = overdue(of, owed, today, 1)
        breaks, ends = changes(late, owed, known, [], act=act, book_date=MONDAY, tolerance_days=1)
        shuffled = random.sample(owed, len(owed)), random.sample(known, len(known))
        assert (breaks, ends) == changes(
            overdue(of, shuffled[0], today, 1),
            *shuffled,
            [],
            act=act,
            book_date=MONDAY,
            tolerance_days=1,
        )
        ended = {one.break_id for one in ends}
        assert len(ended) == len(ends)
        assert all(isinstance(one, Resolution) for one in ends)
        left = [one for one in known if one.id not in ended] + breaks
        assert len({one.id for one in left}) == len(left)
        return left

    def keys(of: list[Any]) -> list[Any]:
        return sorted((one.acquirer, one.settlement_date, one.currency) for one in of)

    today = MONDAY + timedelta(days=days)
    first = look(owed, [], 1, today)
    assert keys(first) == keys([one.receivable for one in overdue(of, owed, today, 1)])
    assert look(owed, first, 2, today) == first
    left = [one for one in owed if random.random() < 0.5]
    second = look(left, first, 3, today)
    assert keys(second) == keys([one.receivable for one in overdue(of, left, today, 1)])
