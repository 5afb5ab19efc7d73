"""Which layer a capture stands in: `pending` until the network's file has it, or a break says it does not.

A capture that today's file has, or that is a break of today, is posted as `settled` at once. The rest is
carried to the next close, `pending`; the close that hears of it moves it over (`ledger.confirmed`). So the
pending layer is, at any date's end, what of the captures no file has confirmed and no case is about.
"""

from functools import cache
from typing import TYPE_CHECKING, Final

import ibis  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]

from settlement.columns import schema_of
from settlement.ledger import Entry, confirmed
from settlement.matches import Match
from settlement.records import records_table, table_named
from settlement.run import Run

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

BROKEN: Final = pa.schema([("record", pa.string())])


async def load_broken(run: Run) -> None:
    """The records of today's breaks, as `broken`."""
    broken = {one.record for one in await run.breaks() if one.record}
    run.engine.load("broken", pa.table({"record": sorted(broken)}, BROKEN))


def with_layer(records: "ir.Table") -> "ir.Table":
    """The records with the layer in which they are posted today."""
    heard = _heard().mutate(heard=True)
    found = records.left_join(heard, records.key == heard.record)
    layer = ibis.ifelse(found.heard.notnull(), "settled", "pending")
    return found.select(*records.columns, layer=layer)


@cache
def _heard() -> "ir.Table":
    """Records that today's matches or breaks are about."""
    matches = table_named("matches", schema_of(Match)).select("record")
    every = matches.union(table_named("broken", BROKEN))
    return every.filter(every.record != "").distinct()


async def confirmations(run: Run) -> list[Entry]:
    """What leaves the pending layer today: earlier captures that are heard of for the first time."""
    known = {one.record for one in await run.open_breaks()}  # heard of when they broke
    heard = [str(key) for (key,) in run.engine.rows(_heard_of_earlier())]
    keys = [key for key in heard if key not in known]
    captured = await run.store.entries_by_key("captured", keys)
    confirmed_in = await run.store.entries_by_key("confirm_in", keys)
    before = {key for key, one in confirmed_in.items() if one.business_date < run.date}
    waiting = [
        captured[key]
        for key in keys
        if key in captured and captured[key].layer == "pending" and key not in before
    ]
    return [made for one in waiting for made in confirmed(one, run.date)]


@cache
def _heard_of_earlier() -> "ir.Table":
    heard, today = _heard(), records_table("records")
    earlier = heard.anti_join(today, heard.record == today.key)
    return earlier.select("record").order_by("record")
