"""The terminals' own totals against the journal: what a 0500 said of a batch, and what it captured.

A batch may have captures on several business dates, so every close adds what its records came to by
batch, and checks the batches that were settled by then and that no close has checked. A difference
moves no money: the journal is what was answered and what is cleared. The case finds out what the
terminal has that the journal lacks, or the other way round.
"""

from collections.abc import Sequence
from datetime import date
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

import ibis  # type: ignore[import-untyped]
import msgspec

from settlement.cases import Break
from settlement.clearing import NEGATIVE_TYPES
from settlement.kept_sums import BatchKey, BatchTotal, BatchTotals
from settlement.records import exact, records_table

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

    from settlement.ports import Engine


class Checked(msgspec.Struct, frozen=True):
    """What a close adds: its date's sums, the batches it has checked, and what differs."""

    sums: list[BatchTotal]
    batches: list[BatchKey]
    breaks: list[Break]


async def check_totals(
    store: BatchTotals, business_date: date, engine: "Engine", currency: str
) -> Checked:
    """The terminals' leg of a date's close. The engine holds the date's `records`."""
    sums = batch_sums(engine)
    said = await store.batches_said(business_date)
    wanted = {one.key for one in said}
    captured = await store.batches_captured(wanted)
    captured += [one for one in sums if one.key in wanted]
    breaks = terminal_leg(business_date, said, captured, currency)
    return Checked(sums, [one.key for one in said], breaks)


def batch_sums(engine: "Engine") -> list[BatchTotal]:
    """What the date's records captured, by batch."""
    return [BatchTotal(*cast("Any", line)) for line in engine.rows(_batch_sums())]


@cache
def _batch_sums() -> "ir.Table":
    """As a 0500 counts: a linked opposite takes its sale away."""
    records = records_table("records")
    captured = records.filter(records.effect_minor != 0)
    credit = captured.type.isin(sorted(NEGATIVE_TYPES))
    once = ibis.ifelse(captured.state == "opposite", -1, 1)
    keys = ["merchant", "terminal", "batch"]
    sums = captured.group_by(keys).agg(
        debit_minor=exact(ibis.ifelse(credit, 0, captured.effect_minor).sum()),
        debit_count=exact(ibis.ifelse(credit, 0, once).sum()),
        credit_minor=exact(ibis.ifelse(credit, -captured.effect_minor, 0).sum()),
        credit_count=exact(ibis.ifelse(credit, once, 0).sum()),
    )
    return sums.order_by(keys)


def terminal_leg(
    business_date: date,
    said: Sequence[BatchTotal],
    captured: Sequence[BatchTotal],
    currency: str,
) -> list[Break]:
    """Batches whose terminal said something else than the journal captured, over all its dates.

    `captured` may have several lines a batch, one for each business date. `currency` is that of the
    terminals, whose totals name none.
    """
    ours = {key: list(lines) for key, lines in groupby(sorted(captured), key=lambda one: one.key)}
    breaks = []
    for one in sorted(said):
        lines = ours.get(one.key, [])
        sums = BatchTotal(
            *one.key,
            sum(line.debit_minor for line in lines),
            sum(line.debit_count for line in lines),
            sum(line.credit_minor for line in lines),
            sum(line.credit_count for line in lines),
        )
        if sums != one:
            breaks.append(_totals_break(business_date, one, sums, currency))
    return breaks


def _totals_break(business_date: date, said: BatchTotal, ours: BatchTotal, currency: str) -> Break:
    evidence = {
        f"{side}_{name}": str(getattr(total, name))
        for side, total in (("terminal", said), ("journal", ours))
        for name in ("debit_minor", "debit_count", "credit_minor", "credit_count")
    }
    return Break(
        id="",
        business_date=business_date,
        break_class="terminal_totals",
        acquirer="",
        currency=currency,
        keys={
            "merchant": said.merchant,
            "terminal": said.terminal,
            "batch": f"{said.batch:06d}",
        },
        ours_minor=ours.debit_minor - ours.credit_minor,
        theirs_minor=said.debit_minor - said.credit_minor,
        evidence=evidence,
        merchant=said.merchant,
    )
