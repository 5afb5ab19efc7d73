"""The bank's credits against receivables: one scenario a line, then both sides are whole."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from settlement.three_way import (
    BankLeg,
    Payer,
    Receivable,
    StatementLine,
    bank_leg,
)
from tests.settlement.world import ACQUIRER, DAY

ACCOUNT = "reserve"
PAYERS = [Payer(ACQUIRER, ACCOUNT, "BANK A"), Payer("bank-b", ACCOUNT, "BANK B")]
D1, D2, D3, D4 = (DAY + timedelta(days=number) for number in range(4))
TODAY = D4 + timedelta(days=1)


def line(amount: int, on: date = D4, text: str = "BANK A", number: int = 1) -> StatementLine:
    return StatementLine(f"{ACCOUNT}/1/{number}", ACCOUNT, on, amount, "156", text)


def owed(**by_day: int) -> list[Receivable]:
    days = {"d1": D1, "d2": D2, "d3": D3, "d4": D4}
    return [Receivable(ACQUIRER, days[name], "156", amount) for name, amount in by_day.items()]


def leg(lines: Sequence[StatementLine], receivables: Sequence[Receivable]) -> BankLeg:
    return bank_leg(TODAY, lines, receivables, PAYERS, lambda one: one.settlement_date)


def told(found: BankLeg) -> tuple[list[tuple[str, int, int]], list[str]]:
    """(rule, lines, dates) and the classes of breaks."""
    return (
        [(one.rule, len(one.lines), len(one.settlement_dates)) for one in found.fundings],
        [one.break_class for one in found.breaks],
    )


NAMED = f"BANK A {D1:%Y%m%d}"


@pytest.mark.parametrize(
    ("lines", "receivables", "fundings", "breaks"),
    [
        ([line(500)], owed(d1=500), [("credit-date", 1, 1)], []),
        ([line(-500)], owed(d1=-500), [("credit-date", 1, 1)], []),
        ([line(500, text=NAMED)], owed(d1=500, d2=500), [("credit-named", 1, 1)], ["bank_missing"]),
        ([line(490, text=NAMED)], owed(d1=500), [("credit-named", 1, 1)], ["bank_mismatch"]),
        # the name stands by itself
        ([line(490, text=f"{NAMED}77")], owed(d1=500), [], ["statement_unmatched", "bank_missing"]),
        (
            [line(1_000, text=f"BANK A {D1:%Y%m%d} {D2:%Y%m%d}")],
            owed(d1=700, d2=300),
            [("credit-named", 1, 2)],
            [],
        ),
        # a weekend in one credit
        ([line(600)], owed(d1=100, d2=200, d3=300), [("credit-run", 1, 3)], []),
        ([line(500)], owed(d1=100, d2=200, d3=300), [("credit-run", 1, 2)], ["bank_missing"]),
        # two runs would do: proves nothing
        (
            [line(300)],
            owed(d1=100, d2=200, d3=100),
            [],
            ["statement_unmatched", *["bank_missing"] * 3],
        ),
        # one date in two credits
        ([line(200), line(300, number=2)], owed(d1=500), [("credit-parts", 2, 1)], []),
        # money does not come before its date
        ([line(500, D1)], owed(d2=500), [], ["statement_unmatched", "bank_missing"]),
        # the oldest of equal dates
        ([line(500)], owed(d1=500, d2=500), [("credit-date", 1, 1)], ["bank_missing"]),
        # nothing owed needs no credit
        ([], owed(d1=0), [], []),
        ([line(500, text="SALARY")], [], [], []),
        ([line(500, text="BANK A BANK B")], [], [], []),
        ([line(500, text="BANK B")], owed(d1=500), [], ["bank_missing", "statement_unmatched"]),
    ],
)
def test_bank_leg(
    lines: list[StatementLine],
    receivables: list[Receivable],
    fundings: list[tuple[str, int, int]],
    breaks: list[str],
) -> None:
    assert told(leg(lines, receivables)) == (fundings, breaks)


def test_what_is_not_due_yet_waits() -> None:
    due = lambda one: one.settlement_date + timedelta(days=2)  # noqa: E731
    found = bank_leg(D3, [], owed(d1=1, d2=2), PAYERS, due)
    assert ([one.amount_minor for one in found.waiting], found.breaks) == ([1, 2], [])
    found = bank_leg(D4, [], owed(d1=1, d2=2), PAYERS, due)
    assert [one.amount_minor for one in found.waiting] == [2]
    assert [(one.break_class, one.ours_minor) for one in found.breaks] == [("bank_missing", 1)]


def test_a_difference_says_how_much() -> None:
    (found,) = leg([line(490, text=NAMED)], owed(d1=500)).breaks
    assert (found.ours_minor, found.theirs_minor, found.difference_minor) == (500, 490, -10)
    assert found.settlement_date == D1
    assert found.evidence == {"rule": "credit-named/1"}


@st.composite
def statements(draw: st.DrawFn) -> tuple[list[StatementLine], list[Receivable]]:
    amounts = st.integers(-4, 9).map(lambda number: number * 100)
    days = st.sampled_from((D1, D2, D3, D4))
    texts = st.sampled_from(("BANK A", "BANK B", NAMED, "SALARY", f"BANK B {D2:%Y%m%d}"))
    lines = [
        line(*drawn, number)
        for number, drawn in enumerate(draw(st.lists(st.tuples(amounts, days, texts), max_size=7)))
    ]
    keys = st.tuples(st.sampled_from((ACQUIRER, "bank-b")), days)
    receivables = draw(st.dictionaries(keys, amounts, max_size=6))
    return lines, [Receivable(*key, "156", amount) for key, amount in receivables.items()]


@settings(max_examples=200, deadline=None)
@given(statements(), st.randoms(use_true_random=False))
def test_both_sides_of_the_bank_leg_are_whole(
    drawn: tuple[list[StatementLine], list[Receivable]], chance: Any
) -> None:
    lines, receivables = drawn
    found = leg(lines, receivables)
    settled = [name for one in found.fundings for name in one.lines]
    alone = [one.keys["line"] for one in found.breaks if one.break_class == "statement_unmatched"]
    assert sorted([*settled, *alone, *found.foreign]) == sorted(one.id for one in lines)
    days = [(one.acquirer, day) for one in found.fundings for day in one.settlement_dates]
    days += [
        (one.acquirer, one.settlement_date)
        for one in found.breaks
        if one.break_class == "bank_missing" and one.settlement_date
    ]
    days += [(one.acquirer, one.settlement_date) for one in found.waiting]
    assert sorted(days) == sorted(
        (one.acquirer, one.settlement_date) for one in receivables if one.amount_minor
    )
    # money: what came less what was owed is what the breaks say, and nothing else
    mine = [one for one in lines if one.id not in found.foreign]
    received = sum(one.amount_minor for one in mine)
    expected = sum(one.amount_minor for one in receivables)
    waiting = sum(one.amount_minor for one in found.waiting)
    assert received - (expected - waiting) == sum(one.difference_minor for one in found.breaks)
    chance.shuffle(lines)
    chance.shuffle(receivables)
    assert leg(lines, receivables) == found
