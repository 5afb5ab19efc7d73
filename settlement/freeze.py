"""Nothing of the date is undecided any more: its captures become clearing records."""

import asyncio
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa  # type: ignore[import-untyped]

from settlement import records as expressions
from settlement.clearing import Capture, ClearingRecord
from settlement.columns import Relation, schema_of
from settlement.ports import Facts
from settlement.posting import assert_conserved, captured_totals, totals_of
from settlement.run import Run, WaitingError, in_minor, load

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]


async def freeze(run: Run) -> tuple[Facts, dict[str, int]]:
    await _decided(run)
    await asyncio.gather(
        load(run, "captures", "captures", run.date),
        load(run, "transactions", "transactions", run.date),
    )
    records = run.at_hand["records"] = await _records(run)
    assert_conserved(
        run.date,
        ("captures", totals_of(run, "captures", Capture)),
        ("clearing records", captured_totals(run)),
    )
    sums = [(str(one[0]), int(cast("Any", one[1]))) for one in run.engine.rows(_by_currency())]
    counts = {str(one[0]): int(cast("Any", one[2])) for one in run.engine.rows(_by_currency())}
    captured = sum(counts.values())
    return Facts(records=records), {
        "captures": captured,
        **in_minor("captured", sums, run.home),
        "requests_without_capture": len(records) - captured,
    }


async def _records(run: Run) -> Relation:
    await _load_roots(run)
    _load_tariffs(run)
    return run.extracts.keep("records", expressions.records(run.date), schema_of(ClearingRecord))


async def _decided(run: Run) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + run.settings.freeze_wait_s
    while left := await run.dates.freeze(run.date):
        if loop.time() >= until:
            raise WaitingError("undecided", count=left, date=run.date)
        run.progress.advanced("freeze", f"{left} undecided")
        await asyncio.sleep(run.settings.freeze_poll_s)


async def _load_roots(run: Run) -> None:
    found = cast(
        "list[tuple[int, int | None, int]]", run.engine.rows(expressions.follow_ups(run.date))
    )
    pairs = [(request_id, original) for request_id, original, _ in found]
    asked = {one for pair in pairs for one in pair if one is not None}
    roots = expressions.roots_of(pairs, await run.store.roots(asked))
    columns = list(zip(*roots, strict=True)) if roots else [(), ()]
    run.engine.load("roots", pa.table(columns, schema=expressions.ROOTS))


def _load_tariffs(run: Run) -> None:
    """Card type by route, fee plan by merchant and settlement date: each asked for once."""
    routes = [str(route or "") for (route,) in run.engine.rows(expressions.routes())]
    types = [run.tariffs.card_type(route) for route in routes]
    run.engine.load("card_types", pa.table([routes, types], schema=expressions.CARD_TYPES))
    found = cast("list[Any]", run.engine.rows(expressions.captured_merchants(run.date)))
    plans = [run.tariffs.merchant_plan(merchant, day) for merchant, day in found]
    run.engine.load(
        "plans",
        pa.table(
            [
                [merchant for merchant, _ in found],
                [day for _, day in found],
                [plan.name for plan in plans],
                [plan.version for plan in plans],
            ],
            schema=expressions.PLANS,
        ),
    )


@cache
def _by_currency() -> "ir.Table":
    records = expressions.records_table("records")
    captured = records.filter(records.effect_minor != 0)
    return (
        captured.group_by("currency")
        .agg(effect=expressions.exact(captured.effect_minor.sum()), count=captured.count())
        .order_by("currency")
    )
