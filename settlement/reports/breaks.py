"""The breaks of a date: differences between our books and the networks' files."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime

from settlement.cases import BREAK_CLASSES, Break
from settlement.reports.figures import pairs
from settlement.reports.model import Bar, Chart, Column, Money, Report, Table, words
from settlement.texts import both


def report(business_date: date, at: datetime, breaks: Sequence[Break]) -> Report:
    return Report("report_breaks", business_date.isoformat(), at, (chart(breaks), table(breaks)))


def chart(breaks: Sequence[Break]) -> Chart:
    counts = Counter(one.break_class for one in breaks)
    bars = tuple(
        Bar(both(f"class_{name}"), counts[name], str(counts[name]))
        for name in BREAK_CLASSES
        if counts[name]
    )
    return Chart("chart_breaks", bars, alarm=True)


def table(breaks: Sequence[Break]) -> Table:
    columns = (
        Column("id", "small"),
        Column("business_date", shown="data"),
        Column("class", shown="data"),
        Column("class_name", shown="page", text="class"),
        Column("acquirer"),
        Column("currency", shown="data"),
        Column("ours", "money"),
        Column("theirs", "money"),
        Column("difference", "money"),
        Column("keys", "small"),
        Column("evidence", "small", shown="data"),
    )
    rows = [
        (
            one.id,
            one.business_date,
            one.break_class,
            words(f"class_{one.break_class}"),
            one.acquirer,
            one.currency,
            Money(one.ours_minor, one.currency),
            Money(one.theirs_minor, one.currency),
            Money(one.difference_minor, one.currency),
            pairs(one.keys),
            pairs(one.evidence),
        )
        for one in breaks
    ]
    return Table("breaks", columns, rows, more_in="breaks.csv")
