"""The daily check of the reserve (备付金): what is held and claimed against what is owed to others."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from settlement.chart import CHART
from settlement.payouts.ports import ReserveCheck
from settlement.reports.figures import money
from settlement.reports.model import Bar, Chart, Column, Money, Report, Row, Table, Words, words
from settlement.texts import TEXTS, both

_SIDES: Final = ("assets", "liabilities")


def report(business_date: date, at: datetime, checks: Sequence[ReserveCheck]) -> Report:
    """The checks as they were recorded, one a currency."""
    parts: list[Table | Chart] = [*charts(checks), table(checks)]
    return Report("report_reserve", business_date.isoformat(), at, tuple(parts))


def charts(checks: Sequence[ReserveCheck]) -> list[Chart]:
    return [_chart(check) for check in checks]


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
    """A line a term, then the differences, which are cases."""
    columns = (
        Column("business_date", shown="data"),
        Column("currency"),
        Column("side", shown="data"),
        Column("side_name", shown="page", text="side"),
        Column("term", shown="data"),
        Column("term_name", shown="page", text="term"),
        Column("amount", "money"),
    )
    rows: list[Row] = []
    for check in checks:
        rows += [
            _row(
                check,
                term.side,
                words(f"side_{term.side}"),
                term.term,
                _name(term.term),
                term.amount_minor,
            )
            for term in check.terms
        ]
        rows += [
            _row(check, "difference", words("difference_reserve"), what, words(name), amount)
            for what, name, amount in (
                ("bank", "difference_bank", check.bank_difference_minor),
                ("cover", "difference_cover", check.cover_difference_minor),
            )
        ]
    return Table("reserve_terms", columns, rows, more_in="reserve.csv")


def _row(
    check: ReserveCheck,
    side: str,
    side_name: Words,
    term: str,
    term_name: Words | str,
    amount_minor: int,
) -> Row:
    amount = Money(amount_minor, check.currency)
    return (check.business_date, check.currency, side, side_name, term, term_name, amount)


def _name(term: str) -> Words | str:
    account = CHART.get(term)
    if account is not None:
        return Words(account.name, account.name_zh)
    return words(term) if term in TEXTS else term  # own income; or account/statement
