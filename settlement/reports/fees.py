"""Fees of a date: what merchants paid by plan, what banks and networks took by file and how that
differs from our plans, and where the discount goes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime

from settlement.fee_book import AgentLine, CostLine, DiscountLine
from settlement.reports.figures import money
from settlement.reports.model import Bar, Chart, Column, Money, Report, Row, Table, totals, words
from settlement.texts import both


def report(
    business_date: date,
    at: datetime,
    discount_lines: Sequence[DiscountLine],
    cost_lines: Sequence[CostLine],
    agent_lines: Sequence[AgentLine],
) -> Report:
    parts: list[Table | Chart] = [
        *margin_charts(discount_lines, cost_lines, agent_lines),
        discounts(business_date, discount_lines),
        costs(business_date, cost_lines),
    ]
    return Report("report_fees", business_date.isoformat(), at, tuple(parts))


def margin_charts(
    discount_lines: Sequence[DiscountLine],
    cost_lines: Sequence[CostLine],
    agent_lines: Sequence[AgentLine],
) -> Iterator[Chart]:
    """By currency: discount taken, costs booked, shares, and what is left. Costs come when their
    file does, so a date may bear those of another date's sales."""
    sums: Counter[tuple[str, str]] = Counter()
    for discount in discount_lines:
        sums[discount.currency, "discount"] += discount.discount_minor
    for cost in cost_lines:
        sums[cost.currency, "issuer_fee"] += cost.issuer_minor
        sums[cost.currency, "network_fee"] += cost.network_minor
    for agent in agent_lines:
        sums[agent.currency, "shares"] += agent.share_minor
    for currency in sorted({currency for currency, _ in sums}):
        of = {
            name: sums[currency, name]
            for name in ("discount", "issuer_fee", "network_fee", "shares")
        }
        of["own"] = of["discount"] - of["issuer_fee"] - of["network_fee"] - of["shares"]
        bars = tuple(
            Bar(both(name), max(amount, 0), money(amount, currency))
            for name, amount in of.items()
            if amount
        )
        yield Chart("chart_margin", bars, currency)


def discounts(business_date: date, lines: Sequence[DiscountLine]) -> Table:
    columns = (
        Column("business_date", shown="data"),
        Column("plan"),
        Column("plan_version", text="plan_version"),
        Column("card_type"),
        Column("currency"),
        Column("count", "count"),
        Column("effect", "money"),
        Column("discount", "money"),
    )
    rows: list[Row] = [
        (
            business_date,
            line.plan,
            line.plan_version,
            line.card_type,
            line.currency,
            line.count,
            Money(line.effect_minor, line.currency),
            Money(line.discount_minor, line.currency),
        )
        for line in lines
    ]
    return Table("discounts", columns, rows, totals(rows, columns, words("total")), "fees.csv")


def costs(business_date: date, lines: Sequence[CostLine]) -> Table:
    columns = (
        Column("business_date", shown="data"),
        Column("acquirer"),
        Column("file"),
        Column("plan"),
        Column("plan_version"),
        Column("currency"),
        Column("count", "count"),
        Column("differing", "count"),
        Column("issuer_ours", "money"),
        Column("issuer_file", "money"),
        Column("issuer", "money"),
        Column("network_ours", "money"),
        Column("network_file", "money"),
        Column("network", "money"),
        Column("difference", "money", text="fee_difference"),
        Column("excess", "money"),
    )
    rows: list[Row] = [
        (
            business_date,
            line.acquirer,
            line.file,
            line.plan,
            line.plan_version,
            line.currency,
            line.count,
            line.differing,
            *(
                Money(amount, line.currency)
                for amount in (
                    line.issuer_ours_minor,
                    line.issuer_file_minor,
                    line.issuer_minor,
                    line.network_ours_minor,
                    line.network_file_minor,
                    line.network_minor,
                    line.difference_minor,
                    line.excess_minor,
                )
            ),
        )
        for line in lines
    ]
    return Table("costs", columns, rows, totals(rows, columns, words("total")), "fee-files.csv")
