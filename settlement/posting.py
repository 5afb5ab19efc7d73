"""The day's entries, P5 over them, and what every merchant is owed out of them."""

from collections.abc import Iterable
from datetime import date

import msgspec

from settlement.cases import Break
from settlement.clearing import ClearingRecord, ClearingRow
from settlement.fees import MerchantFee
from settlement.ledger import Entry, entry, movements, seal, trial_balance
from settlement.netting import MerchantTotal, nets
from settlement.ports import Facts, Total
from settlement.receivable import assert_as_filed
from settlement.run import Run, in_minor
from settlement.shares import accruals


async def post(run: Run) -> tuple[Facts, dict[str, int]]:
    records = [record for record in await run.store.records(run.date) if record.captured]
    discounts = {one.key: one for one in await run.store.merchant_fees(run.date)}
    made = [_captured(run.date, record, discounts[record.key]) for record in records]
    assert_conserved(
        run.date,
        ("captures", await run.store.captured_totals(run.date)),
        ("clearing records", totals_of(records)),
        ("postings", posted_totals_of([one for one in made if one is not None])),
    )
    made += await _cost_entries(run)
    made += await _transfers(run)
    made += await _break_entries(run)
    made += accruals(run.date, await run.store.fee_book().shares(run.date))
    entries = sorted((one for one in made if one is not None), key=lambda one: one.order)
    last = await run.store.last_seal()
    seals = seal(run.date, "post", entries, last.hash if last else b"")
    moved = movements(entries)
    await assert_as_filed(run, moved)
    lines = trial_balance(moved)
    return Facts(entries=entries, seals=seals), {
        "entries": len(entries),
        **in_minor("debit", ((line.currency, line.debit_minor) for line in lines), run.home),
        **in_minor("credit", ((line.currency, line.credit_minor) for line in lines), run.home),
    }


def _captured(business_date: date, record: ClearingRecord, fee: MerchantFee) -> Entry | None:
    return entry(
        "captured",
        "captured",
        record.key,
        {"effect": record.effect_minor, "discount": fee.discount_minor},
        business_date=business_date,
        step="post",
        currency=record.currency,
        acquirer=record.acquirer,
        settlement_date=record.settlement_date,
        merchant=record.merchant,
        terminal=record.terminal,
        batch=record.batch,
    )


async def _cost_entries(run: Run) -> list[Entry | None]:
    costs = await run.store.network_costs(run.date)
    records = await run.store.records_by_key([cost.key for cost in costs])
    rows = await run.store.rows_by_id([cost.row for cost in costs])
    made: list[Entry | None] = []
    for cost in costs:
        record, row = records[cost.key], rows[cost.row]

        def made_of(
            rule: str,
            source: str,
            variables: dict[str, int],
            record: ClearingRecord = record,
            row: ClearingRow = row,
        ) -> Entry | None:
            return entry(
                rule,
                source,
                record.key,
                variables,
                business_date=run.date,
                step="post",
                currency=record.currency,
                acquirer=record.acquirer,
                settlement_date=row.settlement_date,
                merchant=record.merchant,
                terminal=record.terminal,
                batch=record.batch,
            )

        booked = {"issuer": cost.issuer_minor, "network": cost.network_minor}
        made.append(made_of("network_cost", "cost", booked))
        if cost.excess_minor:
            rule = "fee_over" if cost.excess_minor > 0 else "fee_under"
            made.append(made_of(rule, "fee", {"excess": cost.excess_minor}))
    return made


async def _transfers(run: Run) -> list[Entry | None]:
    """A record that settles on another date than its own moves to that date's receivable: the
    date of its row, or, for a pair that no file has, the later date of the two."""
    matches = [
        one
        for one in await run.store.matches(run.date)
        if one.record.startswith("c") and (one.row or one.rule == "voided-pair")
    ]
    records = await run.store.records_by_key([match.record for match in matches])
    rows = await run.store.rows_by_id([match.row for match in matches if match.row])
    latest: dict[int, date] = {}
    for match in matches:
        if not match.row:
            record = records[match.record]
            known = latest.get(record.root_request_id, record.settlement_date)
            latest[record.root_request_id] = max(known, record.settlement_date)
    made: list[Entry | None] = []
    for match in matches:
        record = records[match.record]
        day = rows[match.row].settlement_date if match.row else latest[record.root_request_id]
        if record.settlement_date != day:
            made.append(
                entry(
                    "cutoff_transfer",
                    "cutoff",
                    record.key,
                    {"effect": record.effect_minor},
                    business_date=run.date,
                    step="post",
                    currency=record.currency,
                    acquirer=record.acquirer,
                    settlement_date=day,
                    from_settlement_date=record.settlement_date,
                    merchant=record.merchant,
                    terminal=record.terminal,
                    batch=record.batch,
                )
            )
    return made


async def _break_entries(run: Run) -> list[Entry | None]:
    """What breaks of today move to suspense and hold, and what resolved ones give back."""
    found = [one for one in await run.store.breaks(run.date) if one.step != "fees"]
    ended = {one.break_id: one for one in await run.store.resolutions(run.date)}
    released = [
        msgspec.structs.replace(one, settlement_date=ended[one.id].settlement_date)
        for one in await run.store.open_breaks(run.date)
        if one.id in ended
    ]
    records = await run.store.records_by_key(
        [one.record for one in (*found, *released) if one.record]
    )
    discounts = {
        fee.key: fee.discount_minor
        for day in sorted({record.business_date for record in records.values()})
        for fee in await run.store.merchant_fees(day)
    }
    made: list[Entry | None] = []
    for one, sign in [*((one, 1) for one in found), *((one, -1) for one in released)]:
        record = records.get(one.record)
        sources = ("break", "hold") if sign > 0 else ("release", "unhold")
        if one.difference_minor:
            rule = "difference_long" if one.difference_minor > 0 else "difference_short"
            variables = {"difference": sign * one.difference_minor}
            made.append(_break_entry(run.date, one, record, rule, sources[0], variables))
        if record is not None and record.effect_minor > 0 and not one.theirs_minor:
            held = record.effect_minor - discounts[record.key]
            made.append(
                _break_entry(
                    run.date, one, record, "payout_hold", sources[1], {"held": sign * held}
                )
            )
    return made


def _break_entry(
    business_date: date,
    one: Break,
    record: ClearingRecord | None,
    rule: str,
    source: str,
    variables: dict[str, int],
) -> Entry | None:
    assert one.settlement_date is not None
    return entry(
        rule,
        source,
        one.id,
        variables,
        business_date=business_date,
        step="post",
        currency=one.currency,
        acquirer=one.acquirer,
        settlement_date=one.settlement_date,
        merchant=record.merchant if record else "",
        terminal=record.terminal if record else "",
        batch=record.batch if record else 0,
    )


async def post_after(run: Run) -> None:
    """Read back what was written; only a ledger that holds P5, agrees with the files and sums to
    zero locks the date."""
    records = await run.store.records(run.date)
    assert_conserved(
        run.date,
        ("captures", await run.store.captured_totals(run.date)),
        ("clearing records", totals_of(records)),
        ("postings", await run.store.posted_totals(run.date)),
    )
    moved = await run.store.movements(run.date)
    await assert_as_filed(run, moved)
    trial_balance(moved)
    if await run.dates.state(run.date) != "posted":
        await run.dates.mark_posted(run.date)


def totals_of(records: list[ClearingRecord]) -> list[Total]:
    return _totals(
        (r.business_date, r.currency, r.merchant, r.acquirer, r.terminal, r.batch, r.effect_minor)
        for r in records
        if r.captured
    )


def posted_totals_of(entries: Iterable[Entry]) -> list[Total]:
    return _totals(
        (e.business_date, e.currency, e.merchant, e.acquirer, e.terminal, e.batch, amount)
        for e in entries
        if e.source == "captured"
        for account, amount in zip(e.accounts, e.amounts, strict=True)
        if account == "network_receivable"
    )


def _totals(lines: Iterable[tuple[date, str, str, str, str, int, int]]) -> list[Total]:
    sums: dict[tuple[date, str, str, str, str, int], int] = {}
    for line in lines:
        sums[line[:6]] = sums.get(line[:6], 0) + line[6]
    return sorted(Total(*key, amount) for key, amount in sums.items() if amount)


def assert_conserved(business_date: date, *sides: tuple[str, list[Total]]) -> None:
    """P5: the sums agree in every dimension; the first that does not is named."""
    first_name, first = sides[0]
    for name, other in sides[1:]:
        if first != other:
            differing = sorted(set(first) ^ set(other))[:4]
            raise AssertionError(
                f"P5 of {business_date}: {first_name} and {name} differ: {differing}"
            )


async def net(run: Run) -> tuple[Facts, dict[str, int]]:
    totals: dict[tuple[str, str], list[int]] = {}
    discounts = {one.key: one.discount_minor for one in await run.store.merchant_fees(run.date)}
    for record in await run.store.records(run.date):
        if record.captured:
            line = totals.setdefault((record.merchant, record.currency), [0, 0, 0, 0])
            line[0] += 1
            line[1 if record.effect_minor > 0 else 2] += record.effect_minor
            line[3] += discounts[record.key]
    made = nets(
        run.date,
        [MerchantTotal(*key, *line) for key, line in sorted(totals.items())],
        await run.store.movements(run.date),
    )
    return Facts(nets=made), {
        "merchants": len({net.merchant for net in made}),
        **in_minor("net", ((net.currency, net.net_minor) for net in made), run.home),
        **in_minor("held", ((net.currency, net.held_minor) for net in made), run.home),
    }
