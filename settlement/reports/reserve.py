"""The daily check of the reserve (备付金): what is held and claimed against what is owed to others."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from settlement.chart import CHART
from settlement.payouts.ports import ReserveCheck
from settlement.reports.figures import money
from settlement.reports.model import Bar, Chart, Column, Money, Report, Row, Table
from settlement.texts import TEXTS, both

_SIDES: Final = ("assets", "liabilities")


def report(business_date: date, at: datetime, checks: Sequence[ReserveCheck]) -> Report:
    """The checks as they were recorded, one a currency."""
    parts: list[Table | Chart] = [*(_chart(check) for check in checks), table(checks)]
    return Report("report_reserve", business_date.isoformat(), at, tuple(parts))


def _chart(check: ReserveCheck) -> Chart:
    sums = {
        side: sum(term.amount_minor for term in check.terms if term.side == side) for side in _SIDES
    }
    bars = tuple(
        Bar(both(f"side_{side}"), max(amount, 0), money(amount, check.currency))
        for side, amount in sums.items()
    )
    alarm = bool(check.bank_difference_minor or check.cover_difference_minor)
    return Chart("reserve_terms", bars, check.currency, alarm)


def table(checks: Sequence[ReserveCheck]) -> Table:
    """A line a term; the differences stand below, and are cases."""
    columns = (
        Column("business_date", shown="data"),
        Column("side", shown="data"),
        Column("side_name", shown="page", text="side"),
        Column("term", shown="data"),
        Column("term_name", shown="page", text="term"),
        Column("currency"),
        Column("amount", "money"),
    )
    rows: list[Row] = [
        (
            check.business_date,
            term.side,
            both(f"side_{term.side}"),
            term.term,
            _name(term.term),
            check.currency,
            Money(term.amount_minor, check.currency),
        )
        for check in checks
        for term in check.terms
    ]
    foot: list[Row] = [
        (
            "",
            "",
            both("difference_reserve"),
            "",
            both(name),
            check.currency,
            Money(amount, check.currency),
        )
        for check in checks
        for name, amount in (
            ("difference_bank", check.bank_difference_minor),
            ("difference_cover", check.cover_difference_minor),
        )
    ]
    return Table("reserve_terms", columns, rows, foot, "reserve.csv")


def _name(term: str) -> str:
    account = CHART.get(term)
    if account is not None:
        return f"{account.name} · {account.name_zh}"
    return both(term) if term in TEXTS else term  # own income; or account/statement
