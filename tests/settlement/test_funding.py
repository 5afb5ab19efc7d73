"""Lines of statements against what the books wait for.

Goal: money is never credited by a guess, and what nothing explains is a case that ends by itself
when something does. Method: one table of lines and receivables; then scenes with a real ledger.
"""

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from settlement.adapters.ledger_memory import MemoryLedger
from settlement.adapters.payout_memory import MemoryPayouts
from settlement.cases import Resolution
from settlement.contracts import BankAccount
from settlement.funding import Known, explain
from settlement.ledger import Entry
from settlement.payouts.dates import bring_on
from settlement.payouts.ports import Receivable, StatementLine
from settlement.reserve import reserve_check
from settlement.statements import case_id, gaps, take_in
from tests.settlement.payout_world import (
    BOOKS,
    CNY,
    MONDAY,
    ONE_DAY,
    OWN,
    REFERENCES,
    RESERVE,
    TEA,
    Told,
    Town,
    merchant,
    pay,
    told,
)
from tests.settlement.world import (
    DAY,
    NEXT,
    PANS,
    REFERENCES as CLOSE_REFERENCES,
    Dates,
    billed,
    com_file,
    inbox,
    reference,
    run_close,
    trade,
    world,
)

TUESDAY, WEDNESDAY, THURSDAY = (MONDAY + n * ONE_DAY for n in (1, 2, 3))
A, B = "acct-a", "acct-b"  # of the networks
ACCOUNTS = {
    name: BankAccount(name=name, purpose=purpose, account=name, bank="X", holder="T")  # type: ignore[arg-type]
    for name, purpose in ((RESERVE, "reserve"), (OWN, "own"))
}


def owed(day: date, amount: int, acquirer: str = "a", currency: str = CNY) -> Receivable:
    return Receivable(acquirer, day, currency, amount)


def line(amount: int, payer: str = A, number: int = 1, **changes: Any) -> StatementLine:
    values: dict[str, Any] = {"booked_on": THURSDAY, "value_on": THURSDAY, "currency": CNY}
    return StatementLine(
        RESERVE, "S1", number, amount_minor=amount, counterparty=payer, **(values | changes)
    )


def rule_of(
    one: StatementLine, receivables: list[Receivable], payers: dict[str, str] | None = None
) -> tuple[str, tuple[str, ...]]:
    payers = {"a": A, "b": B} if payers is None else payers
    known = Known(ACCOUNTS, payers, {}, {}, [], receivables)
    (found,) = explain([one], known, MONDAY)
    if found.match is None:
        return found.why, ()
    return found.match.rule, found.match.objects


THREE = [owed(MONDAY, 100), owed(TUESDAY, 200), owed(WEDNESDAY, 300)]


@pytest.mark.parametrize(
    ("one", "receivables", "payers", "rule", "objects"),
    [
        (line(200), THREE, None, "one-date", ("a/2026-08-04",)),
        (line(300), THREE, None, "one-date", ("a/2026-08-05",)),  # rather than Monday and Tuesday
        (line(600), THREE, None, "consecutive-dates", ("a/2026-08-03", "a/2026-08-04", "a/2026-08-05")),
        (line(500), THREE, None, "consecutive-dates", ("a/2026-08-04", "a/2026-08-05")),
        (line(400), THREE, None, "no order, and no receivable of 400", ()),  # not in a row
        (line(201), THREE, None, "no order, and no receivable of 201", ()),  # never nearly
        (line(200, B), THREE, None, "no order, and no receivable of 200", ()),  # another payer
        (line(200, "?"), THREE, None, "no order, and no receivable of 200", ()),
        (line(200, "?"), THREE, {}, "one-date", ("a/2026-08-04",)),  # nobody says who pays
        (line(200, booked_on=MONDAY), THREE, None, "no order, and no receivable of 200", ()),
        (line(200, currency="344"), THREE, None, "no order, and no receivable of 200", ()),
        (line(-50), [owed(MONDAY, -50)], None, "one-date", ("a/2026-08-03",)),  # we owe
        (line(50), [owed(MONDAY, 100), owed(TUESDAY, -50)], None, "consecutive-dates", ("a/2026-08-03", "a/2026-08-04")),
        (line(100), [owed(MONDAY, 100), owed(TUESDAY, 100)], None, "one-date", ("a/2026-08-03",)),
        (line(100, text="FOR 20260804."), [owed(MONDAY, 100), owed(TUESDAY, 100)], None, "named-date", ("a/2026-08-04",)),
        (line(100, text="2026-08-04"), [owed(MONDAY, 100)], None, "one-date", ("a/2026-08-03",)),
        (line(100, "?"), [owed(MONDAY, 100), owed(MONDAY, 100, "b")], {}, "one-date: fits a, b", ()),
    ],
)  # fmt: skip
def test_a_credit_is_the_receivable_that_it_fits(
    one: StatementLine,
    receivables: list[Receivable],
    payers: dict[str, str] | None,
    rule: str,
    objects: tuple[str, ...],
) -> None:
    assert rule_of(one, receivables, payers) == (rule, objects)


def test_a_receivable_is_settled_once() -> None:
    known = Known(ACCOUNTS, {"a": A}, {}, {}, [], [owed(MONDAY, 100)])
    first, second = explain([line(100, number=2), line(100)], known, MONDAY)
    assert first.line.line == 1
    assert first.match is not None
    assert second.match is None


def test_an_own_account_is_no_business_of_the_books_but_its_balance() -> None:
    known = Known(ACCOUNTS, {"a": A}, {}, {}, [], [owed(MONDAY, 100)])
    (found,) = explain([line(100)], known, MONDAY)
    assert found.match is not None
    own = StatementLine(OWN, "S1", 1, THURSDAY, THURSDAY, CNY, 100, counterparty=A)
    (found,) = explain([own], known, MONDAY)
    assert found.match is not None
    assert found.match.kind == "own"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.integers(-3, 6).filter(bool)),
        unique_by=lambda one: one[:2],
        max_size=10,
    ),
    st.lists(st.tuples(st.sampled_from([A, B, "?"]), st.integers(-5, 15).filter(bool)), max_size=8),
    st.booleans(),
)
def test_what_lines_settle_they_are_exactly(
    receivables: list[tuple[str, int, int]], lines: list[tuple[str, int]], named: bool
) -> None:
    due = [owed(MONDAY + n * ONE_DAY, amount, who) for who, n, amount in receivables]
    payers = {"a": A, "b": B} if named else {}
    known = Known(ACCOUNTS, payers, {}, {}, [], due)
    stated = [
        line(amount, who, number, booked_on=MONDAY + 9 * ONE_DAY)
        for number, (who, amount) in enumerate(lines, 1)
    ]
    found = explain(stated, known, MONDAY)
    assert [one.line for one in found] == stated
    settled = [one for each in found for one in each.receivables]
    assert len(settled) == len(set(settled)), "settled twice"
    for each in found:
        if each.match is not None:
            assert sum(one.amount_minor for one in each.receivables) == each.line.amount_minor
            assert len({one.acquirer for one in each.receivables}) == 1
            assert not named or payers[each.receivables[0].acquirer] == each.line.counterparty
        else:
            assert each.why
    assert explain(reversed(stated), known, MONDAY) == found, "their order does not count"


# -- with a ledger --------------------------------------------------------------------------------

TWO_NETWORKS = [
    *REFERENCES,
    reference("link", "bank-b-1", {"acquirer": "bank-b", "settlement_payer": "990002"}),
]


def test_what_nothing_explains_waits_in_suspense_until_something_does() -> None:
    async def scenario() -> None:
        town = Town()
        (taken,) = await told(town, TUESDAY, Told(10_000, counterparty="990001"), Told(-3))
        assert (taken.matched, taken.unmatched) == (0, 2)
        assert await town.balance("bank_reserve") == 9_997
        assert await town.balance("long_suspense") == -10_000
        assert await town.balance("short_suspense") == 3
        credit, debit = await town.payouts.open_lines()
        cases = {one.id: one for one in await town.books.breaks(MONDAY)}
        assert cases.keys() == {case_id(credit), case_id(debit)}
        assert cases[case_id(credit)].break_class == "statement_unmatched"
        assert cases[case_id(credit)].difference_minor == 10_000
        await town.day(MONDAY, {TEA: 10_000})  # the close that it came before
        await bring_on(town.desk(), TUESDAY)
        assert await town.balance("network_receivable") == 0
        assert await town.balance("long_suspense") == 0
        assert await town.balance("bank_reserve") == 9_997
        assert await town.payouts.resolved(cases) == {case_id(credit)}
        assert await town.payouts.open_lines() == [debit]
        assert "funded" in {one.state for one in await town.payouts.states(MONDAY)}
        assert await bring_on(town.desk(), TUESDAY) == []

    asyncio.run(scenario())


def test_a_case_that_people_ended_is_not_ended_again() -> None:
    async def scenario() -> None:
        town = Town()
        await told(town, TUESDAY, Told(10_000, counterparty="990001"))
        (open_line,) = await town.payouts.open_lines()
        ended = Resolution(case_id(open_line), MONDAY, "given back by hand", MONDAY)
        town.books.add(resolutions=[ended])
        await town.day(MONDAY, {TEA: 10_000})
        await bring_on(town.desk(), TUESDAY)
        assert await town.balance("network_receivable") == 10_000

    asyncio.run(scenario())


def test_a_date_is_funded_when_all_that_it_moved_is_paid() -> None:
    async def scenario() -> None:
        town = Town(TWO_NETWORKS)
        await town.day(MONDAY, {TEA: 10_000})
        await town.day(TUESDAY, {TEA: 500}, settlement_date=MONDAY)  # late on Monday's date
        town.post()
        await town.day(WEDNESDAY, {TEA: 70}, acquirer="bank-b")
        await told(town, WEDNESDAY, Told(70, counterparty="990002"))
        await bring_on(town.desk(), WEDNESDAY)
        funded = [s.business_date for s in await town.payouts.states() if s.state == "funded"]
        assert funded == [WEDNESDAY]
        assert await pay(town, THURSDAY) == [], "dates are paid in order"
        await told(town, THURSDAY, Told(10_500, counterparty="990001"))
        await bring_on(town.desk(), THURSDAY)
        (batch,) = await pay(town, THURSDAY)
        assert batch.sum_minor == 10_570

    asyncio.run(scenario())


def test_orders_that_do_not_fit_their_lines_are_cases() -> None:
    async def scenario() -> None:
        town = Town()
        await town.day(MONDAY, {TEA: 10_000, BOOKS: 5_000})
        await told(town, TUESDAY, Told(15_000, counterparty="990001"))
        await bring_on(town.desk(), TUESDAY)
        await pay(town, TUESDAY)
        tea, books = (order.end_to_end_id for order in await town.payouts.orders())
        (taken,) = await told(
            town,
            TUESDAY,
            Told(10_000, tea, reason="AC04"),  # back before it went
            Told(-9_999, tea),  # not its amount
            Told(-10_000, tea),
            Told(-10_000, tea),  # once too often
            Told(10_000, tea, reason="AC04"),
            Told(10_000, tea, reason="AC04"),
            Told(-5_000, "P999"),  # nobody's
        )
        assert (taken.matched, taken.unmatched) == (2, 5)
        assert sorted(one.evidence["why"] for one in await town.books.breaks(TUESDAY)) == [
            "no order, and no receivable of -5000",
            f"order {tea} came back before",
            f"order {tea} comes back, but no statement shows that it was paid",
            f"order {tea} is of 10000",
            f"order {tea} was paid before",
        ]
        (other,) = await told(town, TUESDAY, Told(-5_000, books), account=OWN)
        assert (other.matched, other.unmatched) == (0, 1), "paid by the wrong account"
        assert await town.balance("payout_in_transit") == -5_000
        assert await town.balance("bank_own") == -5_000

    asyncio.run(scenario())


def test_a_batch_that_the_bank_books_as_one() -> None:
    async def scenario() -> None:
        town = Town()
        await town.day(MONDAY, {TEA: 10_000, BOOKS: 5_000})
        await told(town, TUESDAY, Told(15_000, counterparty="990001"))
        await bring_on(town.desk(), TUESDAY)
        await pay(town, TUESDAY)
        name = "TB20260804-001"
        (taken,) = await told(town, TUESDAY, Told(-14_999, batch=name), Told(-15_000, batch=name))
        assert (taken.matched, taken.unmatched) == (1, 1)
        assert await town.balance("payout_in_transit") == 0
        (taken,) = await told(town, TUESDAY, Told(-15_000, batch=name))
        assert (taken.matched, taken.unmatched) == (0, 1)

    asyncio.run(scenario())


def test_a_return_whose_payment_comes_in_a_later_statement() -> None:
    async def scenario() -> None:
        town = Town()
        await town.day(MONDAY, {TEA: 10_000})
        await told(town, TUESDAY, Told(10_000, counterparty="990001"))
        await bring_on(town.desk(), TUESDAY)
        await pay(town, TUESDAY)
        (order,) = await town.payouts.orders()
        paid = town.bank.statement(TUESDAY, Told(-10_000, order.end_to_end_id))
        back = town.bank.statement(WEDNESDAY, Told(10_000, order.end_to_end_id, reason="AC04"))
        (taken,) = await take_in(town.desk(), "late first", back, PANS)
        assert (taken.matched, taken.unmatched) == (0, 1)
        (taken,) = await take_in(town.desk(), "then the other", paid, PANS)
        assert (taken.matched, taken.unmatched) == (1, 0)
        assert await town.payouts.open_lines() == []
        assert await town.balance("merchant_payable") == -10_000
        assert await town.balance("long_suspense") == 0
        assert await town.balance("bank_reserve") == 10_000

    asyncio.run(scenario())


def test_statements_that_are_missing_are_named() -> None:
    async def scenario() -> None:
        town = Town()
        await told(town, MONDAY, Told(1))
        await told(town, TUESDAY, Told(2))
        assert gaps(await town.payouts.statements()) == []
        lost = town.bank.statement(WEDNESDAY, Told(4))
        await told(town, THURSDAY, Told(8))
        (gap,) = gaps(await town.payouts.statements())
        assert (gap.after, gap.before, gap.missing_minor, gap.missing) == ("S0002", "S0004", 4, 1)
        await take_in(town.desk(), "found again", lost, PANS)
        assert gaps(await town.payouts.statements()) == []

    asyncio.run(scenario())


def test_cases_of_statements_are_no_business_of_the_close() -> None:
    """A real day's end on a date on which statements came: what they put into suspense, and took out
    of it, is there once."""

    async def scenario() -> None:
        trades = [trade(1), trade(2, 7_000)]
        town = Town()
        rows = [billed(one) for one in trades]
        town.books = world(trades, [*CLOSE_REFERENCES, *REFERENCES[:4]])
        town.books.ledger = MemoryLedger(first=DAY)
        town.payouts = MemoryPayouts(town.books)
        dates = Dates({DAY: "open"})
        await told(town, DAY, Told(-5), Told(17_000))  # before the close: in suspense
        result = await run_close(town.books, inbox(com_file(rows)), dates=dates)
        assert result.exit_code == 1, "the two lines are cases of the date"
        assert await town.balance("short_suspense") == 5
        assert await town.balance("long_suspense") == -17_000
        net = -await town.balance("merchant_payable")
        owed = await town.balance("network_receivable")
        town.bank.balances[RESERVE] = 16_995
        await told(town, NEXT, Told(owed, counterparty="990001"))
        await bring_on(town.desk(), NEXT)
        later = await run_close(town.books, inbox(com_file([], NEXT)), day=NEXT, dates=dates)
        assert later.exit_code == 0
        assert await town.balance("network_receivable") == 0
        assert await town.balance("long_suspense") == -17_000
        assert await town.balance("short_suspense") == 5
        assert -await town.balance("merchant_payable") == net
        assert "funded" in {one.state for one in await town.payouts.states(DAY)}
        await bring_on(town.desk(), NEXT)
        assert await reserve_check(town.desk(), NEXT) == await town.payouts.checks(NEXT)
        for check in await town.payouts.checks(NEXT):
            assert (check.bank_difference_minor, check.cover_difference_minor) == (0, 0)

    asyncio.run(scenario())


# -- the reserve check ----------------------------------------------------------------------------


def test_the_reserve_holds_over_days_with_advances_and_returns() -> None:
    async def scenario() -> None:
        shop = merchant(
            BOOKS, payout_cycle="T+0", payout_account=OWN, advance_fee_rate=Decimal("0.01")
        )
        town = Town([*REFERENCES[:6], shop])
        await town.day(MONDAY, {TEA: 10_000, BOOKS: 5_000})
        await pay(town, TUESDAY)
        await told(town, TUESDAY, Told(15_000, counterparty="990001"))
        await bring_on(town.desk(), TUESDAY)
        await pay(town, TUESDAY)
        (check,) = await reserve_check(town.desk(), MONDAY)
        assert (check.bank_difference_minor, check.cover_difference_minor) == (0, 0)
        terms = {(one.side, one.term): one.amount_minor for one in check.terms}
        assert terms["assets", "network_receivable"] == 15_000
        assert terms["liabilities", "merchant_payable"] == 15_000
        await town.day(TUESDAY, {})
        (check,) = await reserve_check(town.desk(), TUESDAY)
        terms = {(one.side, one.term): one.amount_minor for one in check.terms if one.amount_minor}
        assert terms == {
            ("bank", "reserve-a/S0001"): 15_000,
            ("assets", "bank_reserve"): 15_000,
            ("assets", "payout_in_transit"): -10_000,
            ("liabilities", "own_due"): 4_950,
            ("liabilities", "own_income"): 50,
        }
        assert (check.bank_difference_minor, check.cover_difference_minor) == (0, 0)
        assert await reserve_check(town.desk(), TUESDAY) == [check]
        assert await town.books.breaks(WEDNESDAY) == []

    asyncio.run(scenario())


def test_a_missing_statement_and_mixed_funds_are_differences_and_cases() -> None:
    async def scenario() -> None:
        town = Town()
        town.bank.statement(MONDAY, Told(100))  # never came
        await told(town, MONDAY, Told(5, counterparty="?"))
        mixed = Entry(
            MONDAY, "case", "test", "mixed", "test", 1, CNY, TEA, "", "", 0, MONDAY,
            ("own_claim", "bank_reserve"), ("", ""), (30, -30),
        )  # fmt: skip
        town.post(mixed)
        await town.day(MONDAY, {})
        (check,) = await reserve_check(town.desk(), MONDAY)
        assert (check.bank_difference_minor, check.cover_difference_minor) == (130, -30)
        found = [b for b in await town.books.breaks(TUESDAY) if b.step == "reserve"]
        assert [(one.break_class, one.keys["what"]) for one in found] == [
            ("reserve_difference", "bank"),
            ("reserve_difference", "cover"),
        ]

    asyncio.run(scenario())
