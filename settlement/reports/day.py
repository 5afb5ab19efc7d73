"""A date's reports as the day's end writes them: the overview, breaks, cases, merchants' nets, fees,
shares, reserve check, trial balance."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Final

import msgspec

from settlement.cases import BREAK_CLASSES, Break
from settlement.casework.ports import Casework, Wanted
from settlement.casework.states import Case
from settlement.casework.work import cases as cases_of
from settlement.chart import CHART
from settlement.fee_book import AgentLine, CostLine, DiscountLine
from settlement.fees import Tariffs
from settlement.ledger import TrialLine, trial_balance
from settlement.netting import Net
from settlement.payouts.ports import Payouts, ReserveCheck
from settlement.ports import Step, Store
from settlement.reports import breaks, cases, csv, fees, html, reserve, shares, sums, xlsx
from settlement.reports.figures import money
from settlement.reports.model import (
    Bar,
    Cell,
    Chart,
    Column,
    Money,
    Report,
    Row,
    Table,
    Words,
    totals,
    words,
)
from settlement.reports.sums import SumLines
from settlement.reserve import checks_of
from settlement.texts import TEXTS

CHART_BARS: Final = 20

Names = dict[str, tuple[str, str]]  # merchant -> English and Chinese name


class Day(msgspec.Struct, frozen=True):
    """Everything that the reports of one date say, but for the lines of single transactions."""

    business_date: date
    at: datetime
    steps: list[Step]
    breaks: list[Break]
    nets: list[Net]
    trial: list[TrialLine]
    discounts: list[DiscountLine]
    costs: list[CostLine]
    agents: list[AgentLine]
    sums: SumLines
    merchant_names: Names
    cases: list[Case]  # open at the end of the date
    reserve: list[ReserveCheck]


class Sums(msgspec.Struct, frozen=True):
    """What is summed up over single transactions."""

    trial: list[TrialLine]
    discounts: list[DiscountLine]
    costs: list[CostLine]


async def stored_sums(store: Store, business_date: date) -> Sums:
    """Out of the store; the day's end has them at hand (`step.sums_at_hand`)."""
    book = store.fee_book()
    return Sums(
        trial=trial_balance(await store.movements(business_date)),
        discounts=await book.discount_lines(business_date),
        costs=await book.cost_lines(business_date),
    )


async def day_of(
    store: Store,
    summed: Sums,
    business_date: date,
    at: datetime,
    steps: Mapping[str, Step],
    tariffs: Tariffs,
    *,
    casework: Casework,
    payouts: Payouts,
) -> Day:
    """What the reports say of a date whose net is made. `at` is the recorded instant of its run."""
    return Day(
        business_date=business_date,
        at=at,
        steps=[step for name, step in steps.items() if name != "reports"],  # as they finished
        breaks=await store.breaks(business_date),
        nets=await store.nets(business_date),
        trial=summed.trial,
        discounts=summed.discounts,
        costs=summed.costs,
        agents=await store.fee_book().agent_lines(business_date),
        sums=await sums.lines_of(store, business_date),
        merchant_names=merchant_names(tariffs, business_date),
        cases=await open_cases(casework, business_date),
        reserve=await checks_of(payouts, business_date),
    )


async def open_cases(casework: Casework, business_date: date) -> list[Case]:
    """Those that were open when the date ended, oldest first."""
    return await cases_of(casework, Wanted(as_of=business_date), today=business_date)


def merchant_names(tariffs: Tariffs, on: date) -> Names:
    names: Names = {}
    for merchant in tariffs.keys("merchant"):
        found = tariffs.in_force("merchant", merchant, on)
        if found is not None:
            content = found.content
            names[merchant] = (str(content.get("name", "")), str(content.get("name_zh", "")))
    return names


def files(day: Day) -> Iterator[tuple[str, bytes]]:
    """(file name, content), in a fixed order."""
    for name, table in (
        ("merchants.csv", merchants(day)),
        ("breaks.csv", breaks.table(day.breaks)),
        ("sums.csv", sums.table(day.sums)),
        ("cases.csv", cases.table(day.business_date, day.cases)),
        ("reserve.csv", reserve.table(day.reserve)),
        ("trial-balance.csv", trial(day)),
        ("fees.csv", fees.discounts(day.business_date, day.discounts)),
        ("fee-files.csv", fees.costs(day.business_date, day.costs)),
        ("agent-shares.csv", shares.table(day.business_date, day.agents)),
    ):
        yield name, b"".join(csv.render(table))
    overview = report(day)
    yield "report.xlsx", xlsx.render(overview)
    yield "report.html", html.render(overview)


def report(day: Day) -> Report:
    parts: list[Table | Chart] = [
        *_nets_charts(day),
        *fees.margin_charts(day.discounts, day.costs, day.agents),
        breaks.chart(day.breaks),
        *cases.charts(day.business_date, day.cases),
        *reserve.charts(day.reserve),
        merchants(day),
        breaks.table(day.breaks),
        cases.table(day.business_date, day.cases),
        reserve.table(day.reserve),
        fees.discounts(day.business_date, day.discounts),
        fees.costs(day.business_date, day.costs),
    ]
    if day.agents:
        parts.append(shares.table(day.business_date, day.agents))
    if day.sums:
        parts.append(sums.table(day.sums))
    parts += [trial(day), _steps(day)]
    return Report("title", day.business_date.isoformat(), day.at, tuple(parts))


def _nets_charts(day: Day) -> Iterator[Chart]:
    """One a currency: amounts of two currencies have no common scale."""
    for currency in sorted({net.currency for net in day.nets}):
        largest = sorted(
            (net for net in day.nets if net.currency == currency and net.net_minor > 0),
            key=lambda net: (-net.net_minor, net.merchant),
        )
        bars = tuple(
            Bar(
                display_name(day.merchant_names, net.merchant),
                net.net_minor,
                money(net.net_minor, currency),
            )
            for net in largest[:CHART_BARS]
        )
        yield Chart("chart_nets", bars, currency)


def display_name(names: Names, merchant: str) -> str:
    english, chinese = names.get(merchant, ("", ""))
    return chinese or english or merchant


NET_COLUMNS: Final = (
    Column("count", "count"),
    Column("gross", "money"),
    Column("taken_back", "money"),
    Column("discount", "money"),
    Column("held", "money"),
    Column("net", "money"),
)


def net_cells(net: Net) -> tuple[Cell, ...]:
    """The cells of `NET_COLUMNS`."""
    amounts = (
        net.gross_minor,
        net.taken_back_minor,
        net.discount_minor,
        net.held_minor,
        net.net_minor,
    )
    return net.count, *(Money(amount, net.currency) for amount in amounts)


def merchants(day: Day) -> Table:
    columns = (
        Column("business_date", shown="data"),
        Column("merchant"),
        Column("name", shown="data"),
        Column("name_zh", shown="data"),
        Column("display_name", shown="page", text="name"),
        Column("currency"),
        *NET_COLUMNS,
    )
    rows: list[Row] = [
        (
            net.business_date,
            net.merchant,
            *day.merchant_names.get(net.merchant, ("", "")),
            display_name(day.merchant_names, net.merchant),
            net.currency,
            *net_cells(net),
        )
        for net in day.nets
    ]
    foot = totals(rows, columns, words("total"))
    return Table("merchants", columns, rows, foot, "merchants.csv")


def trial(day: Day) -> Table:
    columns = (
        Column("business_date", shown="data"),
        Column("account", shown="data"),
        Column("name", shown="data"),
        Column("name_zh", shown="data"),
        Column("account_name", shown="page", text="account"),
        Column("currency"),
        Column("debit", "money"),
        Column("credit", "money"),
        Column("balance", "money"),
    )
    rows: list[Row] = [
        (
            day.business_date,
            line.account,
            CHART[line.account].name,
            CHART[line.account].name_zh,
            Words(CHART[line.account].name, CHART[line.account].name_zh),
            line.currency,
            Money(line.debit_minor, line.currency),
            Money(line.credit_minor, line.currency),
            Money(line.balance_minor, line.currency),
        )
        for line in day.trial
    ]
    return Table("trial_balance", columns, rows, totals(rows, columns, words("total")))


def _steps(day: Day) -> Table:
    columns = (Column("step"), Column("totals", "small"), Column("content", "small"))
    rows: list[Row] = [
        (
            words(f"step_{step.name}") if f"step_{step.name}" in TEXTS else step.name,
            " ".join(f"{key}={value}" for key, value in step.totals.items()),
            step.content[:16],
        )
        for step in day.steps
    ]
    return Table("steps", columns, rows)


assert all(f"class_{name}" in TEXTS for name in BREAK_CLASSES)
