"""Agents' shares: of a date, and an agent's statement of a month."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from settlement.fee_book import AgentLine
from settlement.reports.figures import money
from settlement.reports.model import Bar, Chart, Column, Money, Report, Table, totals, words
from settlement.shares import Statement


def report(business_date: date, at: datetime, lines: Sequence[AgentLine]) -> Report:
    parts: list[Table | Chart] = [*_charts(lines), table(business_date, lines)]
    return Report("report_shares", business_date.isoformat(), at, tuple(parts))


def _charts(lines: Sequence[AgentLine]) -> Iterator[Chart]:
    for currency in sorted({line.currency for line in lines}):
        bars = tuple(
            Bar(line.agent, max(line.share_minor, 0), money(line.share_minor, currency))
            for line in lines
            if line.currency == currency
        )
        yield Chart("chart_shares", bars, currency)


def table(business_date: date, lines: Sequence[AgentLine]) -> Table:
    columns = (
        Column("business_date", shown="data"),
        Column("agent"),
        Column("currency"),
        Column("count", "count"),
        Column("share", "money"),
    )
    rows = [
        (
            business_date,
            line.agent,
            line.currency,
            line.count,
            Money(line.share_minor, line.currency),
        )
        for line in lines
    ]
    foot = totals(rows, columns, words("total"))
    return Table("agent_shares", columns, rows, foot, "agent-shares.csv")


def statement(at: datetime, agent: str, month: str, made: Sequence[Statement]) -> Report:
    """`at` is the instant of the month's last closed date."""
    columns = (
        Column("business_date"),
        Column("merchant"),
        Column("currency"),
        Column("count", "count"),
        Column("share", "money"),
    )
    rows = [
        (
            line.business_date,
            line.merchant,
            line.currency,
            line.count,
            Money(line.share_minor, line.currency),
        )
        for one in made
        for line in one.lines
    ]
    lines = Table("agent_shares", columns, rows, totals(rows, columns, words("total")))
    return Report("report_statement", f"{agent} {month}", at, (_due(made), lines))


def _due(made: Sequence[Statement]) -> Table:
    columns = (
        Column("currency"),
        Column("gross", "money", text="gross_share"),
        Column("vat_rate"),
        Column("vat", "money"),
        Column("net", "money", text="net_of_tax"),
    )
    rows = [
        (
            one.currency,
            Money(one.gross_minor, one.currency),
            str(one.vat_rate),
            Money(one.vat_minor, one.currency),
            Money(one.net_minor, one.currency),
        )
        for one in made
    ]
    return Table("statement_total", columns, rows)
