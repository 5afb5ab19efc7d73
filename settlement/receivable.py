"""What a date's entries must have moved on the networks' receivables, out of the files themselves.

    rows that today's close settled or broke     + amount less the fees of their file
    today's captures that wait for their file    + effect
    earlier captures that waited until today     - effect, counted on the date that carried them

by (acquirer, settlement date) and currency. A fee that a file does not state is ours.
"""

from collections import Counter
from collections.abc import Iterable

from settlement.clearing import ClearingRecord, ClearingRow
from settlement.fees import NetworkCost
from settlement.ledger import Movement, owner_of_day
from settlement.run import Run

Totals = Counter[tuple[str, str]]  # (owner, currency) -> sum


async def assert_as_filed(run: Run, moved: Iterable[Movement]) -> None:
    """Asserts that `moved`, the date's movements, are what files and captures come to."""
    matches = await run.store.matches(run.date)
    breaks = [one for one in await run.store.breaks(run.date) if one.row or one.record]
    earlier = await run.store.open_breaks(run.date)
    counted = {one.record for one in earlier} | {one.row for one in earlier}
    touched = {one.record for one in matches} | {one.record for one in breaks}
    records = {record.key: record for record in await run.store.records(run.date)}
    records |= await run.store.records_by_key(touched - {""})
    seen = {one.row for one in matches} | {one.row for one in breaks}
    rows = await run.store.rows_by_id(seen - {""})
    expected = _rows_filed([row for key, row in rows.items() if key not in counted])
    for cost in await run.store.network_costs(run.date):
        _add_unstated(expected, cost, rows[cost.row])
    for key, record in records.items():
        if record.captured and record.business_date == run.date and key not in touched:
            _add(expected, record, record.effect_minor)
        elif record.captured and record.business_date < run.date and key not in counted:
            _add(expected, record, -record.effect_minor)
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


def _rows_filed(rows: Iterable[ClearingRow]) -> Totals:
    expected: Totals = Counter()
    for row in rows:
        _add(expected, row, row.effect_minor - row.fee_minor)
    return expected


def _add_unstated(expected: Totals, cost: NetworkCost, row: ClearingRow) -> None:
    if cost.issuer_file_minor is None:
        _add(expected, row, -cost.issuer_ours_minor)
    if cost.network_file_minor is None:
        _add(expected, row, -cost.network_ours_minor)


def _add(totals: Totals, source: ClearingRecord | ClearingRow, amount_minor: int) -> None:
    owner = owner_of_day(source.acquirer, source.settlement_date)
    totals[owner, source.currency] += amount_minor
