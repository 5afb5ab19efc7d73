"""The daily check of the reserve (备付金): what is held and claimed against what is owed to others."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal

import msgspec

from settlement.chart import CHART
from settlement.reports.model import Column, Money, Report, Table
from settlement.texts import both


class Term(msgspec.Struct, frozen=True):
    """One term of the equation; both sides must come to the same, by currency."""

    side: Literal["have", "owe"]
    term: str  # an account of the chart, or words of the check's own
    currency: str
    amount_minor: int


def report(business_date: date, at: datetime, terms: Sequence[Term]) -> Report:
    return Report("report_reserve", business_date.isoformat(), at, (table(business_date, terms),))


def differences(terms: Sequence[Term]) -> dict[str, int]:
    """Currency -> what is held and claimed less what is owed."""
    sums: dict[str, int] = {}
    for term in terms:
        sign = 1 if term.side == "have" else -1
        sums[term.currency] = sums.get(term.currency, 0) + sign * term.amount_minor
    return {currency: sums[currency] for currency in sorted(sums)}


def table(business_date: date, terms: Sequence[Term]) -> Table:
    columns = (
        Column("business_date", shown="data"),
        Column("side", shown="data"),
        Column("side_name", shown="page", text="side"),
        Column("term", shown="data"),
        Column("term_name", shown="page", text="term"),
        Column("currency"),
        Column("amount", "money"),
    )
    rows = [
        (
            business_date,
            term.side,
            both(f"side_{term.side}"),
            term.term,
            _name(term.term),
            term.currency,
            Money(term.amount_minor, term.currency),
        )
        for term in terms
    ]
    foot = [
        (None, "", both("difference"), "", "", currency, Money(amount, currency))
        for currency, amount in differences(terms).items()
    ]
    return Table("reserve_terms", columns, rows, foot, "reserve.csv")


def _name(term: str) -> str:
    account = CHART.get(term)
    return f"{account.name} · {account.name_zh}" if account else term
