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

from settlement.adapters.cases_memory import MemoryCasework
from settlement.cases import Break, Resolution
from settlement.casework import work
from settlement.casework.acts import NotPossibleError
from settlement.casework.ports import Work
from settlement.contracts import Contracts
from settlement.four_eyes import RefusedError
from settlement.overdue import changes, overdue
from settlement.payouts.dates import bring_on, find_overdue
from settlement.payouts.desk import Desk
from settlement.payouts.ports import Facts, Receivable, StaleError
from tests.settlement.desk import Desk as CaseDesk, MemoryPeople
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
from tests.settlement.world import Dates, reference

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


# -- what ends it without the money -----------------------------------------------------------------


def worked() -> Dates:
    """The date that found the case is posted: now it can be worked."""
    return Dates({MONDAY: "posted", TUESDAY: "posted", WEDNESDAY: "open"})


def casework(town: Town) -> CaseDesk:
    """The cases of the town's books; the next date is open."""
    dates = worked()
    people = MemoryPeople(town.books.cases.approved)
    return CaseDesk(town.books, dates, MemoryCasework(town.books, dates), people)


async def write_off(town: Town, case: Break, amount: int | None = None) -> None:
    cases = casework(town)
    made = await cases.propose(case.id, "write_off_receivable", amount)
    assert await work.still_stands(cases.casework, made)
    await cases.approve(made)


def test_what_will_never_come_is_written_off_by_two() -> None:
    async def scenario() -> None:
        town = Town()
        await town.day(MONDAY, {TEA: 10_000})
        (one,) = await find_overdue(on(town, THURSDAY))
        await town.day(TUESDAY, {})
        await write_off(town, one)
        assert await town.balance("network_receivable") == 0
        assert await town.balance("write_off_loss") == 10_000
        case = await work.case(casework(town).casework, one.id)
        assert (case.state, [event.kind for event in case.facts.events]) == (
            "ended",
            ["proposed", "adjusted"],
        )
        assert await find_overdue(on(town, SUNDAY)) == []
        assert await town.payouts.resolved([one.id]) == {one.id}
        with pytest.raises(NotPossibleError):
            await casework(town).propose(one.id, "write_off_receivable")
        await bring_on(on(town, FRIDAY), FRIDAY)
        (batch,) = await pay(town, FRIDAY)
        assert batch.sum_minor == 10_000, "the merchant gets it all the same"

    asyncio.run(scenario())


def test_a_part_that_came_is_named_and_settles_what_is_left() -> None:
    async def scenario() -> None:
        town = Town()
        await town.day(MONDAY, {TEA: 10_000})
        await told(town, TUESDAY, Told(9_000, counterparty=PAYER), Told(800, counterparty="other"))
        (late,) = await find_overdue(on(town, THURSDAY))
        await town.day(TUESDAY, {})
        part, other = sorted(
            await town.payouts.standing_breaks("statement_unmatched"),
            key=lambda found: -found.difference_minor,
        )
        assert late.evidence["cases"] == part.id
        cases = casework(town).casework
        for one, named in ((late, [part.id]), (part, [late.id]), (other, [])):
            assert await work.related(cases, await work.case(cases, one.id)) == named
        with pytest.raises(NotPossibleError, match="holds 10000, not 10001"):
            await casework(town).propose(late.id, "write_off_receivable", 10_001)
        await write_off(town, late, 1_000)
        case = await work.case(cases, late.id)
        assert (case.state, case.facts.events[-1].kind) == ("assigned", "reduced")
        await bring_on(on(town, FRIDAY), FRIDAY)
        assert await standing(town) == []
        assert await town.payouts.standing_breaks("statement_unmatched") == [other]
        assert await town.balance("network_receivable") == 0
        assert await town.balance("write_off_loss") == 1_000
        assert await town.balance("long_suspense") == -800

    asyncio.run(scenario())


def test_a_part_that_comes_late_names_what_it_may_be_of() -> None:
    async def scenario() -> None:
        town = Town()
        await town.day(MONDAY, {TEA: 10_000})
        (late,) = await find_overdue(on(town, THURSDAY))
        await town.day(TUESDAY, {})
        await told(town, THURSDAY, Told(9_000, counterparty=PAYER), Told(10_001))
        part, more = sorted(
            await town.payouts.standing_breaks("statement_unmatched"),
            key=lambda found: found.difference_minor,
        )
        assert (part.evidence["cases"], "cases" in more.evidence) == (late.id, False)
        cases = casework(town).casework
        assert await work.related(cases, await work.case(cases, late.id)) == [part.id]

    asyncio.run(scenario())


def test_nothing_is_written_off_that_has_come_since() -> None:
    async def scenario() -> None:
        town = Town()
        await town.day(MONDAY, {TEA: 10_000})
        (late,) = await find_overdue(on(town, THURSDAY))
        await town.day(TUESDAY, {})
        cases = casework(town)
        made = await cases.propose(late.id, "write_off_receivable")
        await told(town, THURSDAY, Told(10_000, counterparty=PAYER))
        assert not await work.still_stands(cases.casework, made)
        with pytest.raises(RefusedError) as refused:
            await cases.approve(made)
        assert refused.value.reason == "changed"
        assert await town.balance("network_receivable") == 0
        assert await town.balance("write_off_loss") == 0

    asyncio.run(scenario())


class Interrupted(MemoryCasework):
    """A statement settles the receivable after a write-off has read it, and before it is stored."""

    def __init__(self, town: Town, dates: Dates) -> None:
        super().__init__(town.books, dates)
        self._town = town

    async def commit(self, work: Work) -> None:
        if work.rests_on is not None:
            await told(self._town, THURSDAY, Told(10_000, counterparty=PAYER))
        await super().commit(work)


def test_a_statement_between_judgement_and_commit_is_noticed() -> None:
    async def scenario() -> None:
        town = Town()
        await town.day(MONDAY, {TEA: 10_000})
        (late,) = await find_overdue(on(town, THURSDAY))
        await town.day(TUESDAY, {})
        dates = worked()
        people = MemoryPeople(town.books.cases.approved)
        cases = CaseDesk(town.books, dates, Interrupted(town, dates), people)
        made = await cases.propose(late.id, "write_off_receivable")
        with pytest.raises(RefusedError):
            await cases.approve(made)
        assert await town.balance("network_receivable") == 0

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
