"""A journal of any length, made of copies of what the node has just served.

Rows are copied by the server from a sample of real ones, so that they are as wide as real ones are;
what a unique key or an index is about differs from copy to copy. They stand under request ids that
were given out for them before the node began, in batches that are closed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import asyncpg

if TYPE_CHECKING:
    from benchmarks.estate import Estate

ROWS_MAX: Final = 2_000_000  # request ids that are kept free for copies
SAMPLE: Final = 100
PIECE: Final = 50_000  # rows of one statement
REVERSED_EVERY: Final = 100
SETTLED_S: Final = 150.0  # autovacuum looks once a minute

# n numbers the copy
REQUEST_DATE: Final = "d.business_date - (CASE WHEN n % 4 < 2 THEN 0 ELSE (n % 4)::int - 1 END)"
COPIED: Final[dict[str, dict[str, str]]] = {
    "request_key": {"content": "sha256(n::text::bytea)"},
    "request": {
        "content": "sha256(n::text::bytea)",
        "rrn": "lpad(n::text, 12, '0')",
        "pan_token": "sha256((n % 100000)::text::bytea)",
        "link_stan": "lpad((n % 1000000)::text, 6, '0')",
        "received_at": "s.received_at - interval '1 hour'",
    },
    "outcome": {
        "business_date": REQUEST_DATE,
        "decided_at": "s.decided_at - interval '1 hour'",
        "on_current_date": "false",
    },
}


async def keep_numbers(connection: Any) -> None:
    """Before the node serves: its requests come after all copies."""
    await connection.execute(
        "INSERT INTO switch.number_block (name, given) VALUES ('request', $1)", ROWS_MAX + 1
    )


async def fill_journal(dsn: str, estate: Estate, rows: int) -> None:
    """So many requests with their outcomes, as the owner of the store."""
    assert rows <= ROWS_MAX
    connection = await asyncpg.connect(dsn)
    try:
        today = await connection.fetchval("SELECT business_date FROM switch.business_day")
        for back in (1, 2):
            await connection.execute("SELECT switch.open_date($1::date - $2::int)", today, back)
        for table, differs in COPIED.items():
            statement = await _copy(connection, table, {**place_in(estate), **differs})
            for first in range(1, rows + 1, PIECE):
                last = min(rows, first + PIECE - 1)
                await connection.execute(statement, first, last)
        await _reverse(connection, rows)
        await _close_batches(connection)
    finally:
        await connection.close()


def place_in(estate: Estate) -> dict[str, str]:
    """Whose the n-th copy is: terminals in turn, in their closed batches, traces from 1."""
    terminals, per_merchant = estate.terminals, estate.per_merchant
    return {
        "request_id": "n",
        "request_date": REQUEST_DATE,
        "merchant": f"(100000000000000 + n % {terminals} / {per_merchant})::text",
        "terminal": f"lpad((n % {terminals})::text, 8, '0')",
        "batch": f"1 + (n / {terminals} % {estate.batch - 1})::int",
        "stan": f"(n / {terminals} / {estate.batch - 1} + 1)::int",
    }


async def _copy(connection: Any, table: str, differs: dict[str, str]) -> str:
    await connection.execute(
        f"CREATE TEMP TABLE sample_{table} AS"
        f" SELECT row_number() OVER () - 1 AS sample_at, t.* FROM switch.{table} AS t LIMIT {SAMPLE}"
    )
    columns = [
        row[0]
        for row in await connection.fetch(
            "SELECT column_name::text FROM information_schema.columns"
            " WHERE table_schema = 'switch' AND table_name = $1 ORDER BY ordinal_position",
            table,
        )
    ]
    values = [differs.get(column, f"s.{column}") for column in columns]
    return (
        f"INSERT INTO switch.{table} ({', '.join(columns)}) SELECT {', '.join(values)}"
        " FROM generate_series($1::bigint, $2::bigint) AS n"
        f" JOIN sample_{table} AS s ON s.sample_at = n % {SAMPLE}"
        " CROSS JOIN switch.business_day AS d"
    )


async def _reverse(connection: Any, rows: int) -> None:
    """One in a hundred was reversed, and its reversal was answered at once."""
    for statement in (
        "INSERT INTO switch.reversal SELECT request_id, 1, request_date, 'timeout', '98', now(),"
        " 'cancel', request_id, request_date FROM switch.request",
        "INSERT INTO switch.queue_item SELECT request_id, acquirer, 'reversal', request_id,"
        " request_date, request_id, 1, link_stan, transmission_time, 0 FROM switch.request",
        "INSERT INTO switch.queue_sent SELECT request_id, 1 FROM switch.request",
        "INSERT INTO switch.queue_end SELECT request_id, '00', now(), request_id"
        " FROM switch.request",
    ):
        await connection.execute(
            f"{statement} WHERE request_id <= $1 AND request_id % $2 = 0", rows, REVERSED_EVERY
        )


async def _close_batches(connection: Any) -> None:
    """All but the newest batch of every terminal was settled and is closed."""
    old = (
        " FROM switch.batch AS b WHERE EXISTS (SELECT FROM switch.batch AS later"
        " WHERE (later.merchant, later.terminal) = (b.merchant, b.terminal)"
        " AND later.position > b.position) ON CONFLICT DO NOTHING"
    )
    for statement in (
        "INSERT INTO switch.batch_frozen SELECT merchant, terminal, batch",
        "INSERT INTO switch.batch_settled SELECT merchant, terminal, batch,"
        " array_fill(0::bigint, ARRAY[8]), array_fill(0::bigint, ARRAY[8]), '11',"
        " now() - interval '2 hours'",
        "INSERT INTO switch.batch_closed SELECT merchant, terminal, batch, 'balanced'",
    ):
        await connection.execute(statement + old)


async def settled(dsn: str) -> None:
    """Return when autovacuum has seen what was copied, or has had the time."""
    connection = await asyncpg.connect(dsn)
    try:
        for _ in range(int(SETTLED_S)):
            behind = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_user_tables WHERE schemaname = 'switch'"
                " AND (n_ins_since_vacuum > 1000 + 0.25 * n_live_tup"
                " OR n_mod_since_analyze > 100 + 0.15 * n_live_tup)"
            )
            working = await connection.fetchval("SELECT count(*) FROM pg_stat_progress_vacuum")
            if not behind and not working:
                return
            await asyncio.sleep(1.0)
    finally:
        await connection.close()


async def scans(dsn: str) -> dict[str, dict[str, int]]:
    """How often each table of the switch was read from end to end so far, and how many rows."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT relname::text, seq_scan, seq_tup_read FROM pg_stat_user_tables"
            " WHERE schemaname = 'switch'"
        )
        return {
            row["relname"]: {"seq_scan": row["seq_scan"], "seq_tup_read": row["seq_tup_read"]}
            for row in rows
        }
    finally:
        await connection.close()
