"""Matches of one with several and batch totals on PostgreSQL: functions over a pool, or over the
connection of the transaction that records the step."""

from collections.abc import Collection, Sequence
from datetime import date, timedelta
from typing import Any, Final

import asyncpg
import msgspec

from settlement.adapters.bulk_postgres import copy_in
from settlement.columns import Relation
from settlement.kept_sums import BatchKey, BatchTotal

# Dates whose batches a close looks at: each was checked by its own close, but for those that were
# settled while that close ran.
LOOK_BACK_DAYS: Final = 7

# -- matches of one with several


async def store_members(connection: Any, business_date: date, found: Relation) -> None:
    """Asserts that each stands alone in `match`, too: its unique indexes keep the promise."""
    if not len(found):
        return
    await copy_in(connection, "match_member", found)
    lacking = await connection.fetchval(
        "SELECT m.member FROM settlement.match_member AS m WHERE m.business_date = $1 "
        "AND NOT EXISTS (SELECT FROM settlement.match AS a WHERE m.side = 'ours' AND a.record = m.member) "
        "AND NOT EXISTS (SELECT FROM settlement.match AS a WHERE m.side = 'theirs' AND a.row = m.member) "
        "LIMIT 1",
        business_date,
    )
    assert lacking is None, f"{lacking} is in no match"


# -- the terminals' totals


async def store_batches(
    connection: Any,
    business_date: date,
    sums: Sequence[BatchTotal],
    checked: Sequence[BatchKey],
) -> None:
    await connection.copy_records_to_table(
        "batch_sum",
        schema_name="settlement",
        columns=["business_date", *BatchTotal.__struct_fields__],
        records=((business_date, *msgspec.structs.astuple(one)) for one in sums),
    )
    await connection.copy_records_to_table(
        "batch_checked",
        schema_name="settlement",
        columns=["merchant", "terminal", "batch", "business_date"],
        records=((*key, business_date) for key in checked),
    )


async def batches_said(
    pool: asyncpg.Pool, business_date: date, *, as_closed: bool = False
) -> list[BatchTotal]:
    """A batch counts on the business date that was open when its terminal said what it came to.
    With `as_closed` those that the date's own close has checked are among them."""
    rows = await pool.fetch(
        "SELECT merchant, terminal, batch, debit_minor, debit_count, credit_minor, credit_count "
        "FROM switch.batch_v1 AS b "
        "WHERE settled_at >= (SELECT min(d.opened_at) FROM switch.business_date AS d "
        "WHERE d.business_date > $2) "
        "AND settled_at < coalesce((SELECT min(d.opened_at) FROM switch.business_date AS d "
        "WHERE d.business_date > $1), 'infinity') "
        "AND NOT EXISTS (SELECT FROM settlement.batch_checked AS c "
        "WHERE (c.merchant, c.terminal, c.batch) = (b.merchant, b.terminal, b.batch) "
        "AND c.business_date IS DISTINCT FROM $3)",
        business_date,
        business_date - timedelta(days=LOOK_BACK_DAYS),
        business_date if as_closed else None,
    )
    return sorted(BatchTotal(**row) for row in rows)


async def batches_captured(
    pool: asyncpg.Pool, batches: Collection[BatchKey], before: date | None = None
) -> list[BatchTotal]:
    """By closes of dates before that, or all."""
    keys = sorted(batches)
    rows = await pool.fetch(
        "SELECT s.merchant, s.terminal, s.batch, debit_minor, debit_count, credit_minor, credit_count "
        "FROM settlement.batch_sum AS s "
        "JOIN unnest($1::text[], $2::text[], $3::int[]) AS w (merchant, terminal, batch) "
        "USING (merchant, terminal, batch) "
        "WHERE s.business_date < coalesce($4::date, 'infinity')",
        [merchant for merchant, _, _ in keys],
        [terminal for _, terminal, _ in keys],
        [batch for _, _, batch in keys],
        before,
    )
    return sorted(BatchTotal(**row) for row in rows)


async def batch_sums(pool: asyncpg.Pool, business_date: date) -> list[BatchTotal]:
    rows = await pool.fetch(
        "SELECT merchant, terminal, batch, debit_minor, debit_count, credit_minor, credit_count "
        "FROM settlement.batch_sum WHERE business_date = $1",
        business_date,
    )
    return sorted(BatchTotal(**row) for row in rows)


async def batches_checked(pool: asyncpg.Pool, business_date: date) -> list[BatchKey]:
    rows = await pool.fetch(
        "SELECT merchant, terminal, batch FROM settlement.batch_checked WHERE business_date = $1",
        business_date,
    )
    return sorted(tuple(row) for row in rows)
