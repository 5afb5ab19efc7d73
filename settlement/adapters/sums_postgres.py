"""`settlement.file_totals.SettledSums` on PostgreSQL: functions over a pool, or over the connection
of the transaction that records the step."""

# ruff: noqa: S608 - what is formatted into queries are column names of our own structs

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final

import asyncpg
import msgspec

from settlement.kept_sums import SettledSum

COLUMNS: Final = ", ".join(SettledSum.__struct_fields__)


async def store_settled(connection: Any, business_date: date, sums: Sequence[SettledSum]) -> None:
    await connection.copy_records_to_table(
        "settled_sum",
        schema_name="settlement",
        columns=["business_date", *SettledSum.__struct_fields__],
        records=((business_date, *msgspec.structs.astuple(one)) for one in sums),
    )


async def settled_sums(pool: asyncpg.Pool, business_date: date) -> list[SettledSum]:
    rows = await pool.fetch(
        f"SELECT {COLUMNS} FROM settlement.settled_sum WHERE business_date = $1", business_date
    )
    return sorted(SettledSum(**row) for row in rows)


async def settled_before(
    pool: asyncpg.Pool, business_date: date, settlement_dates: Iterable[date]
) -> list[SettledSum]:
    rows = await pool.fetch(
        f"SELECT {COLUMNS} FROM settlement.settled_sum "
        "WHERE business_date < $1 AND settlement_date = ANY ($2)",
        business_date,
        sorted(settlement_dates),
    )
    return sorted(SettledSum(**row) for row in rows)
