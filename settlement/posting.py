"""The day's entries, P5 over them, and what every merchant is owed out of them.

captured   an entry a captured effect
cost       an entry a merchant, acquirer and settlement date; each record's own cost is a fact
           beside it (`network_cost`), and the entry is their sum
others     one by one: fees beyond the tolerance, cut-off transfers, what breaks and resolutions move,
           what leaves the pending layer
"""

import asyncio
from collections.abc import Iterable
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import ibis  # type: ignore[import-untyped]
import msgspec

from settlement import bulk_posting
from settlement.cases import Break
from settlement.charges import load_matched, subjects, unbooked_costs
from settlement.clearing import Capture, ClearingRecord
from settlement.columns import schema_of
from settlement.entry_columns import ENTRY_COLUMNS, entry_relation
from settlement.fees import MerchantFee, NetworkCost
from settlement.layers import confirmations, load_broken, with_layer
from settlement.ledger import Entry, Movement, entry, movements, trial_balance
from settlement.matches import Match
from settlement.netting import MerchantTotal, nets
from settlement.ports import Facts, Total
from settlement.receivable import assert_as_filed
from settlement.records import exact, number_of, records_table, table_named
from settlement.rows import id_of, rows_table
from settlement.run import Run, extract, in_minor
from settlement.shares import accruals

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

STEP = "post"


async def post(run: Run) -> tuple[Facts, dict[str, int]]:
    for name in ("records", "matches", "merchant_fees", "network_costs"):
        await extract(run, name)
    await load_matched(run)
    await load_broken(run)
    run.engine.keep("captured_legs", _captured())
    run.engine.keep("cost_legs", _costs(run.date))
    assert_conserved(
        run.date,
        ("clearing records", captured_totals(run)),
        ("postings", _posted_totals(run)),
    )
    others = await _others(run)
    run.engine.load("entries_rest", entry_relation(others).table())
    run.progress.advanced(STEP, "entries")
    entries = run.extracts.keep("entries", _entries(run.date), ENTRY_COLUMNS)
    moved = _moved(run, others)
    await assert_as_filed(run, moved)
    lines = trial_balance(moved)
    run.progress.advanced(STEP, f"{len(entries):,} entries")
    return Facts(entries=entries), {
        "entries": len(entries),
        **in_minor("debit", ((line.currency, line.debit_minor) for line in lines), run.home),
        **in_minor("credit", ((line.currency, line.credit_minor) for line in lines), run.home),
    }


@cache
def _captured() -> "ir.Table":
    records = records_table("records")
    captured = records.filter(records.effect_minor != 0)
    fees = table_named("merchant_fees", schema_of(MerchantFee)).select("key", "discount_minor")
    lines = with_layer(captured).join(fees, "key")
    variables = {"effect": lines.effect_minor, "discount": lines.discount_minor}
    return bulk_posting.legs("captured", lines, variables)


@cache
def _costs(business_date: date) -> "ir.Table":
    """Costs summed by what their receivable and their merchant are."""
    costs = table_named("network_costs", schema_of(NetworkCost))
    records = subjects().select("key", "acquirer", "currency", "merchant")
    rows = rows_table("incoming_rows")
    days = rows.select("settlement_date", row=id_of(rows))
    known = costs.join(records, "key").join(days, "row")
    names = ["acquirer", "settlement_date", "merchant", "currency"]
    sums = known.group_by(names).agg(
        issuer=exact(known.issuer_minor.sum()),
        network=exact(known.network_minor.sum()),
    )
    place = [sums.acquirer, sums.settlement_date.cast("string"), sums.merchant, sums.currency]
    key = ibis.literal(business_date.isoformat())
    for part in place:
        key = key + "/" + part
    lines = sums.mutate(
        key=key,
        terminal=ibis.literal(""),
        batch=ibis.literal(0, "int64"),
        layer=ibis.literal("settled"),
    )
    variables = {"issuer": lines.issuer, "network": lines.network}
    return bulk_posting.legs("network_cost", lines, variables)


@cache
def _legs(name: str, of: "ir.Table") -> "ir.Table":
    return ibis.table(of.schema(), name=name)


@cache
def _entries(business_date: date) -> "ir.Table":
    captured = _legs("captured_legs", _captured())
    costs = _legs("cost_legs", _costs(business_date))
    every = ibis.union(
        bulk_posting.entries("captured", "captured", captured, business_date, STEP),
        bulk_posting.entries("network_cost", "cost", costs, business_date, STEP),
        table_named("entries_rest", ENTRY_COLUMNS),
    )
    return every.order_by("source", "key")  # of one date and step: the canonical order


def _moved(run: Run, others: list[Entry]) -> list[Movement]:
    lines: list[tuple[object, ...]] = []
    lines += run.engine.rows(bulk_posting.moved("captured", _legs("captured_legs", _captured())))
    lines += run.engine.rows(
        bulk_posting.moved("network_cost", _legs("cost_legs", _costs(run.date)))
    )
    return sorted([*(Movement(*cast("Any", line)) for line in lines), *movements(others)])


# -- P5 -----------------------------------------------------------------------------------------


def totals_of(run: Run, name: str, shape: type[Capture | ClearingRecord]) -> list[Total]:
    """Sums of the engine's captures or clearing records by P5's dimensions."""
    return [Total(*cast("Any", line)) for line in run.engine.rows(_totals(name, shape))]


def captured_totals(run: Run) -> list[Total]:
    """Those of the clearing records."""
    return totals_of(run, "records", ClearingRecord)


def _posted_totals(run: Run) -> list[Total]:
    return [Total(run.date, *cast("Any", line)) for line in run.engine.rows(_posted_sums(run.date))]


@cache
def _totals(name: str, shape: type[Capture | ClearingRecord]) -> "ir.Table":
    effects = table_named(name, schema_of(shape))
    names = [name for name in Total.__struct_fields__ if name != "amount_minor"]
    summed = effects.group_by(names).agg(amount_minor=exact(effects.effect_minor.sum()))
    return summed.filter(summed.amount_minor != 0).order_by(names)


@cache
def _posted_sums(business_date: date) -> "ir.Table":
    """Sums of the receivable's leg, which is the first of `captured`."""
    lines = _legs("captured_legs", _captured())
    names = [n for n in Total.__struct_fields__ if n not in ("amount_minor", "business_date")]
    summed = lines.group_by(names).agg(amount_minor=exact(lines.amount_0.sum()))
    return summed.filter(summed.amount_minor != 0).order_by(names)


def posted_totals_of(entries: Iterable[Entry]) -> list[Total]:
    """What a store's `posted_totals` must equal."""
    sums: dict[tuple[date, str, str, str, str, int], int] = {}
    for one in entries:
        if one.source == "captured":
            key = (
                one.business_date,
                one.currency,
                one.merchant,
                one.acquirer,
                one.terminal,
                one.batch,
            )
            for account, amount in zip(one.accounts, one.amounts, strict=True):
                if account == "network_receivable":
                    sums[key] = sums.get(key, 0) + amount
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


async def post_after(run: Run) -> None:
    """Read back what was written; only a ledger that holds P5, agrees with the files and sums to
    zero locks the date."""
    for name in ("records", "matches", "network_costs"):
        await extract(run, name)
    await load_matched(run)
    captured, posted, moved = await asyncio.gather(
        run.store.captured_totals(run.date),
        run.store.posted_totals(run.date),
        run.store.movements(run.date),
    )
    assert_conserved(
        run.date,
        ("captures", captured),
        ("clearing records", captured_totals(run)),
        ("postings", posted),
    )
    run.moved = moved
    await assert_as_filed(run, moved)
    trial_balance(moved)
    await run.store.seal(run.date)
    if await run.dates.state(run.date) != "posted":
        await run.dates.mark_posted(run.date)


# -- entries one by one -----------------------------------------------------------------------


async def _others(run: Run) -> list[Entry]:
    made = [*await _excess_entries(run), *await _transfers(run), *await _break_entries(run)]
    shared = await run.store.fee_book().agent_lines(run.date)
    made += accruals(run.date, {(one.agent, one.currency): one.share_minor for one in shared})
    made += await confirmations(run)
    return sorted((one for one in made if one is not None), key=lambda one: one.order)


async def _excess_entries(run: Run) -> list[Entry | None]:
    """What of the files' fees is not booked as cost."""
    costs = [NetworkCost(**line) for line in run.engine.table(unbooked_costs()).to_pylist()]
    records = await run.store.records_by_key([cost.key for cost in costs])
    rows = await run.store.rows_by_id([cost.row for cost in costs])
    return [
        entry(
            "fee_over" if cost.excess_minor > 0 else "fee_under",
            "fee",
            cost.key,
            {"excess": cost.excess_minor},
            business_date=run.date,
            step=STEP,
            currency=records[cost.key].currency,
            acquirer=records[cost.key].acquirer,
            settlement_date=rows[cost.row].settlement_date,
            merchant=records[cost.key].merchant,
            terminal=records[cost.key].terminal,
            batch=records[cost.key].batch,
        )
        for cost in costs
    ]


async def _transfers(run: Run) -> list[Entry | None]:
    """A record that settles on another date than its own moves to that date's receivable: the
    date of its row, or, for a pair that no file has, the later date of the two."""
    found = cast("list[Any]", run.engine.rows(_shifts()))
    return [
        entry(
            "cutoff_transfer",
            "cutoff",
            key,
            {"effect": effect},
            business_date=run.date,
            step=STEP,
            currency=currency,
            acquirer=acquirer,
            settlement_date=day,
            from_settlement_date=own_day,
            merchant=merchant,
            terminal=terminal,
            batch=batch,
        )
        for key, day, effect, currency, acquirer, own_day, merchant, terminal, batch in found
    ]


@cache
def _shifts() -> "ir.Table":
    """(record, the settlement date that it moves to, what its entry says of the record)."""
    matches = table_named("matches", schema_of(Match))
    told = ("effect_minor", "currency", "acquirer", "own_date", "merchant", "terminal", "batch")
    every = subjects()
    records = every.rename(record="key", own_date="settlement_date").select(
        "record", "root_request_id", *told
    )
    rows = rows_table("incoming_rows")
    days = rows.select("settlement_date", row=id_of(rows))
    named = matches.select("record", "row", "rule")
    billed = named.filter(named.row != "").join(records, "record").join(days, "row")
    paired = named.filter((named.row == "") & (named.rule == "voided-pair"))
    chains = paired.join(records, "record")
    latest = chains.group_by("root_request_id").agg(settlement_date=chains.own_date.max())
    voided = chains.join(latest, "root_request_id")
    names = ["record", "settlement_date", *told]
    every = billed[names].union(voided[names])
    moved = every.filter(every.own_date != every.settlement_date)
    return moved.select(names).order_by(number_of(moved.record))


async def _break_entries(run: Run) -> list[Entry | None]:
    """What breaks of today move to suspense and hold, and what resolved ones give back. Cases that
    others open and end on an open date (bank statements) bring their own entries."""
    found = [one for one in await run.breaks() if one.step == "reconcile"]
    ended = {one.break_id: one for one in await run.store.resolutions(run.date)}
    released = [
        msgspec.structs.replace(one, settlement_date=ended[one.id].settlement_date)
        for one in await run.open_breaks()
        if one.id in ended and one.step == "reconcile"
    ]
    records = await run.store.records_by_key(
        [one.record for one in (*found, *released) if one.record]
    )
    discounts = await run.store.discounts(sorted(records))
    freed = await run.store.freed([one.id for one in released])
    made: list[Entry | None] = []
    for one, sign in [*((one, 1) for one in found), *((one, -1) for one in released)]:
        record = records.get(one.record)
        sources = ("break", "hold") if sign > 0 else ("release", "unhold")
        if one.difference_minor:
            rule = "difference_long" if one.difference_minor > 0 else "difference_short"
            variables = {"difference": sign * one.difference_minor}
            made.append(_break_entry(run.date, one, record, rule, sources[0], variables))
        if record is not None and record.effect_minor > 0 and not one.theirs_minor:
            held = record.effect_minor - discounts[record.key] - freed.get(one.id, 0)
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
        step=STEP,
        currency=one.currency,
        acquirer=one.acquirer,
        settlement_date=one.settlement_date,
        merchant=record.merchant if record else "",
        terminal=record.terminal if record else "",
        batch=record.batch if record else 0,
    )


# -- nets -----------------------------------------------------------------------------------------


async def net(run: Run) -> tuple[Facts, dict[str, int]]:
    await extract(run, "records")
    await extract(run, "merchant_fees")
    totals = [MerchantTotal(*cast("Any", line)) for line in run.engine.rows(_merchant_totals())]
    moved = [line for line in await run.movements() if line.rule != "confirmed"]  # sums to zero
    made = nets(run.date, totals, moved)
    return Facts(nets=made), {
        "merchants": len({net.merchant for net in made}),
        **in_minor("net", ((net.currency, net.net_minor) for net in made), run.home),
        **in_minor("held", ((net.currency, net.held_minor) for net in made), run.home),
    }


@cache
def _merchant_totals() -> "ir.Table":
    records = records_table("records")
    fees = table_named("merchant_fees", schema_of(MerchantFee)).select("key", "discount_minor")
    captured = records.filter(records.effect_minor != 0).join(fees, "key")
    effect = captured.effect_minor
    return (
        captured.group_by("merchant", "currency")
        .agg(
            count=captured.count(),
            gross=exact(ibis.ifelse(effect > 0, effect, 0).sum()),
            taken_back=exact(ibis.ifelse(effect < 0, effect, 0).sum()),
            discount=exact(captured.discount_minor.sum()),
        )
        .order_by("merchant", "currency")
    )
