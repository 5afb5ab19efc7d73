"""Records against rows: the step of the day's end. Plain pairs in columns, the rest one by one."""

from collections import Counter
from collections.abc import Collection
from datetime import date, timedelta
from functools import cache
from typing import TYPE_CHECKING, Final, cast

from settlement import plain, summed
from settlement.cases import BREAK_CLASSES, MATCH_CLASSES, ONE_SIDED, Break, Resolution
from settlement.clearing import ClearingRecord, ClearingRow
from settlement.columns import Relation, relation, schema_of, table_of
from settlement.file_totals import check_file_totals
from settlement.matches import Match, Member
from settlement.ports import Facts
from settlement.reconcile import VERSIONS, Result, reconcile
from settlement.records import different, records_table, table_named
from settlement.run import Run, extract, load, number
from settlement.terminal_totals import check_totals

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

Taken = set[tuple[str, date]]

# break classes that other steps find
OTHERS_FINDINGS: Final = (
    "fee_mismatch",
    "file_changed",
    "file_late",
    "terminal_totals",
    "file_totals",
    "receivable_overdue",
    "statement_unmatched",
    "reserve_difference",
)


async def reconcile_day(run: Run) -> tuple[Facts, dict[str, int]]:
    window = timedelta(days=run.settings.window_days)
    await extract(run, "records")
    named = _settling(run) | {run.date} | await _late_dates(run)
    first, last = min(named) - window, max(named) + window
    open_breaks = await run.open_breaks()
    mismatches = [one for one in open_breaks if one.break_class == "status_mismatch"]
    mismatched = await _rows_of(run, mismatches)
    await load(run, "open_records", "open_records", run.date, first)
    await _load_shorts(run, open_breaks)
    await load(run, "ahead", "transactions_ahead", run.date, last)
    run.at_hand["incoming_rows"] = await load(run, "incoming_rows", "rows", first, last)
    run.engine.load("mismatched", table_of(ClearingRow, mismatched))
    taken_in = await _taken_in(run)
    broken = {side for one in open_breaks for side in (one.record, one.row) if side}
    run.progress.advanced("reconcile", "pairs")
    rest = plain.split(
        run.engine, run.date, run.settings.window_days, broken=broken, taken_in=taken_in
    )
    run.progress.advanced("reconcile", f"{sum(rest.matched.values()):,} plain")
    result = reconcile(
        run.date,
        rest,
        broken=broken,
        mismatched=mismatched,
        reversed_there=await _records_of(run, mismatches),
        taken_in=taken_in,
        window_days=run.settings.window_days,
    )
    run.engine.load("match_rest", table_of(Match, result.matches))
    matches = run.extracts.keep("matches", _matches(run.date), schema_of(Match))
    run.at_hand["matches"] = matches
    run.at_hand["members"] = members = _members(run, rest.sums)
    settled = {side for one in result.matches for side in (one.record, one.row) if side}
    resolutions = _resolutions(run, open_breaks, result, settled | rest.sums.broken)
    breaks = number(result.breaks, run.date, "R")
    totals = await check_totals(run.store, run.date, run.engine, run.settings.currency)
    of_terminals = number(totals.breaks, run.date, "T")
    sums = await check_file_totals(run, open_breaks)
    of_files = number(sums.breaks, run.date, "Z")
    resolutions += sums.resolutions
    counts = Counter(rest.matched)
    counts["matched"] += rest.sums.matches
    counts.update(one.match_class for one in result.matches)
    counts.update(one.break_class for one in breaks if one.break_class in ONE_SIDED)
    by_class = {
        name: counts[name]
        for name in (*MATCH_CLASSES, *BREAK_CLASSES)
        if name not in OTHERS_FINDINGS
    }
    return Facts(
        matches=matches,
        members=members,
        breaks=[*breaks, *of_terminals, *of_files],
        resolutions=resolutions,
        batch_sums=totals.sums,
        batches_checked=totals.batches,
        settled_sums=sums.sums,
    ), {
        **by_class,
        "summed": rest.sums.matches,
        "carried_records": rest.carried_records + len(result.carried_records),
        "carried_rows": rest.carried_rows + len(result.carried_rows),
        "resolved": len(resolutions),
        "batches_checked": len(totals.batches),
        "terminal_totals": len(of_terminals),
        "file_totals_compared": sums.files,
        "file_totals": len(of_files),
    }


def _members(run: Run, found: summed.Summed) -> Relation:
    """Which lines make one match; hardly a day has any."""
    if found.matches:
        return run.extracts.keep("members", summed.members(run.date), schema_of(Member))
    run.engine.load("members", table_of(Member, ()))
    return relation(Member)


@cache
def _matches(business_date: date) -> "ir.Table":
    schema = schema_of(Match)
    found = table_named("match_rest", schema)
    every = plain.matches(VERSIONS, business_date)[schema.names].union(found)
    return every.order_by("record", "row")


def _settling(run: Run) -> set[date]:
    """Settlement dates of the date's captures."""
    return {day for (day,) in cast("list[tuple[date]]", run.engine.rows(_settling_dates()))}


@cache
def _settling_dates() -> "ir.Table":
    records = records_table("records")
    return different(records.filter(records.effect_minor != 0), "settlement_date")


async def _load_shorts(run: Run, open_breaks: list[Break]) -> None:
    """Shorts, however old: the other side of one may still come."""
    shorts = [one.record for one in open_breaks if one.break_class == "network_short"]
    found = await run.store.records_by_key(shorts)
    run.engine.load("shorts", table_of(ClearingRecord, [found[key] for key in sorted(found)]))


@cache
def _acquirers() -> "ir.Table":
    return different(plain.standing(), "acquirer")


def _resolutions(
    run: Run, open_breaks: list[Break], result: Result, settled: Collection[str]
) -> list[Resolution]:
    """Open breaks whose other side this close found. What stood in suspense goes back on the
    break's own receivable; where either side reversed later, on that reversal's."""
    found: list[Resolution] = []
    day: date | None
    for one in open_breaks:
        if one.row in result.taken_back:
            day, reason = result.taken_back[one.row], "taken back by a later file"
        elif one.break_class == "status_mismatch" and one.record in result.reversed_since:
            day, reason = result.reversed_since[one.record], "reversed on our side, too"
        elif one.break_class in ONE_SIDED and (one.row or one.record) in settled:
            day, reason = one.settlement_date, "found by a later close"
        else:
            continue
        assert day is not None
        found.append(Resolution(one.id, run.date, reason, day))
    return found


async def _late_dates(run: Run) -> set[date]:
    """Earlier settlement dates whose files came today."""
    return {
        file.settlement_date
        for acquirer in run.tariffs.acquirers
        for file in await run.store.files(acquirer)
        if file.business_date == run.date and file.settlement_date < run.date
    }


async def _rows_of(run: Run, mismatches: list[Break]) -> list[ClearingRow]:
    """Rows that were billed though we had taken them back: the network may yet take them back."""
    rows = await run.store.rows_by_id([one.row for one in mismatches if one.theirs_minor])
    return [rows[row_id] for row_id in sorted(rows)]


async def _records_of(run: Run, mismatches: list[Break]) -> list[ClearingRecord]:
    """Captures that the network had reversed: we may have reversed them since."""
    records = await run.store.records_by_key([one.record for one in mismatches if one.ours_minor])
    return [records[key] for key in sorted(records)]


async def _taken_in(run: Run) -> Taken:
    return {
        (file.acquirer, file.settlement_date)
        for (acquirer,) in run.engine.rows(_acquirers())
        for file in await run.store.files(str(acquirer))
    }
