"""What a date's entries must have moved on the networks' receivables, out of the files themselves.

    rows that today's close settled or broke     + amount less the fees of their file
    today's captures that wait for their file    + effect
    earlier captures that waited until today     - effect, counted on the date that carried them

by (acquirer, settlement date) and currency. A fee that a file does not state is ours.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import ibis  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]

from settlement.charges import subjects
from settlement.clearing import ClearingRecord, ClearingRow
from settlement.columns import schema_of, table_of
from settlement.fees import NetworkCost
from settlement.ledger import Movement, owner_of_day
from settlement.matches import Match
from settlement.plain import IDS
from settlement.records import exact, records_table, table_named
from settlement.rows import effect_of, fee_of, id_of, rows_table
from settlement.run import Run

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

Totals = Counter[tuple[str, str]]  # (owner, currency) -> sum


async def assert_as_filed(run: Run, moved: Iterable[Movement]) -> None:
    """Asserts that `moved`, the date's movements, are what files and captures come to."""
    breaks = [one for one in await run.breaks() if one.row or one.record]
    earlier = await run.open_breaks()
    counted = {one.record for one in earlier} | {one.row for one in earlier}
    rows = await run.store.rows_by_id({one.row for one in breaks} - {""})
    records = await run.store.records_by_key({one.record for one in breaks} - {""})
    run.engine.load("counted", pa.table([sorted(counted - {""})], schema=IDS))
    run.engine.load("broken_rows", table_of(ClearingRow, rows.values()))
    run.engine.load("broken_records", table_of(ClearingRecord, records.values()))
    expected: Totals = Counter()
    for acquirer, day, currency, amount in cast("list[Any]", run.engine.rows(_filed(run.date))):
        expected[owner_of_day(acquirer, day), currency] += amount
    booked: Totals = Counter()
    for line in moved:
        if line.account == "network_receivable":
            booked[line.owner, line.currency] += line.amount_minor
    differing = {
        key: (booked[key], expected[key])
        for key in sorted(booked.keys() | expected.keys())
        if booked[key] != expected[key]
    }
    assert not differing, f"receivables of {run.date}, (booked, filed): {differing}"


@cache
def _filed(business_date: date) -> "ir.Table":
    """(acquirer, settlement date, currency, amount)."""
    every = ibis.union(_rows_filed(), _unstated(), _waiting(), _waited(business_date))
    names = ["acquirer", "settlement_date", "currency"]
    sums = every.group_by(names).agg(amount=exact(every.amount.sum()))
    return sums.order_by(names)


def _matches() -> "ir.Table":
    return table_named("matches", schema_of(Match))


def _rows_filed() -> "ir.Table":
    every = rows_table("incoming_rows")
    matched = every.mutate(id=id_of(every)).semi_join(_matches().select(id=_matches().row), "id")
    broken = rows_table("broken_rows")
    alone = broken.mutate(id=id_of(broken)).anti_join(matched, "id")
    rows = matched.union(alone).anti_join(table_named("counted", IDS), "id")
    return rows.select(
        "acquirer", "settlement_date", "currency", amount=effect_of(rows) - fee_of(rows)
    )


def _unstated() -> "ir.Table":
    costs = table_named("network_costs", schema_of(NetworkCost))
    issuer = ibis.ifelse(costs.issuer_file_minor.isnull(), costs.issuer_ours_minor, 0)
    network = ibis.ifelse(costs.network_file_minor.isnull(), costs.network_ours_minor, 0)
    ours = costs.select("row", amount=-(issuer + network))
    rows = rows_table("incoming_rows")
    places = rows.select("acquirer", "settlement_date", "currency", row=id_of(rows))
    return ours.filter(ours.amount != 0).join(places, "row")[
        ["acquirer", "settlement_date", "currency", "amount"]
    ]


def _waiting() -> "ir.Table":
    records = records_table("records")
    untouched = (
        records.filter(records.effect_minor != 0)
        .anti_join(_matches().select(key=_matches().record), "key")
        .anti_join(records_table("broken_records"), "key")
    )
    return untouched.select(
        "acquirer", "settlement_date", "currency", amount=untouched.effect_minor
    )


def _waited(business_date: date) -> "ir.Table":
    broken = records_table("broken_records")
    matched = subjects()
    alone = broken.filter(broken.effect_minor != 0).anti_join(matched, "key")
    touched = matched.union(alone)
    counted = table_named("counted", IDS)
    earlier = touched.filter(touched.business_date < business_date).anti_join(
        counted, touched.key == counted.id
    )
    return earlier.select("acquirer", "settlement_date", "currency", amount=-earlier.effect_minor)
