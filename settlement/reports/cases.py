"""The cases that are open at the end of a date, the books' and the switch's: how many, how old, how much.

As of the date: what people did on later dates is not in it, so it can be written again as it was.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime

from settlement.casework.states import Case
from settlement.casework.switch_cases import STEP
from settlement.casework.told import AGES, age_name, age_of
from settlement.reports.figures import pairs
from settlement.reports.model import (
    Bar,
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
from settlement.texts import TEXTS

STEADY_KEYS = ("request_id", "rrn", "terminal", "batch", "stan")  # of a transaction under way


def report(business_date: date, at: datetime, cases: Sequence[Case]) -> Report:
    parts = (*charts(business_date, cases), table(business_date, cases))
    return Report("report_cases", business_date.isoformat(), at, parts)


def charts(business_date: date, cases: Sequence[Case]) -> tuple[Chart, Chart]:
    """Open cases by age and by class."""
    ages = Counter(age_of(one, business_date) for one in cases)
    classes = Counter(one.facts.found.break_class for one in cases)
    return (
        Chart(
            "chart_case_ages",
            tuple(
                Bar(age_name(place), ages[place], str(ages[place]))
                for place in range(len(AGES))
                if cases
            ),
            alarm=True,
        ),
        Chart(
            "chart_case_classes",
            tuple(
                Bar(str(_class(name)), count, str(count))
                for name, count in sorted(classes.items(), key=lambda one: (-one[1], one[0]))
            ),
            alarm=True,
        ),
    )


def table(business_date: date, cases: Sequence[Case]) -> Table:
    columns = (
        Column("business_date", shown="data"),
        Column("id", "small"),
        Column("class", shown="data"),
        Column("class_name", shown="page", text="class"),
        Column("state", shown="data"),
        Column("state_name", shown="page", text="state"),
        Column("owner", text="case_owner"),
        Column("found_on"),
        Column("age_days", "count", text="case_age"),
        Column("acquirer"),
        Column("merchant"),
        Column("currency"),
        Column("amount", "money"),
        Column("left", "money", text="case_left"),
        Column("held", "money"),
        Column("keys", "small"),
    )
    rows: list[Row] = [_row(business_date, one) for one in cases]
    foot = [
        [cell if columns[n].key != "age_days" else None for n, cell in enumerate(line)]
        for line in totals(rows, columns, words("total"))
    ]
    return Table("cases", columns, rows, foot, "cases.csv")


def _row(business_date: date, one: Case) -> Row:
    found = one.facts.found
    # what a later answer may still change is not told of what the switch found
    keys = {k: v for k, v in found.keys.items() if found.step != STEP or k in STEADY_KEYS}
    return (
        business_date,
        one.id,
        found.break_class,
        _class(found.break_class),
        one.state,
        words(f"case_state_{one.state}"),
        one.owner,
        found.business_date,
        one.age_days(business_date),
        found.acquirer,
        found.merchant,
        found.currency,
        *(
            Money(amount, found.currency)
            for amount in (found.amount_minor, one.left_minor, one.held_minor)
        ),
        pairs(keys),
    )


def _class(name: str) -> Words | str:
    return words(f"class_{name}") if f"class_{name}" in TEXTS else name
