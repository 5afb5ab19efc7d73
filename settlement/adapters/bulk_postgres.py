"""The day's bulk between PostgreSQL and relations: COPY both ways, no row becomes an object."""

# ruff: noqa: S608 - what is formatted into queries are column names of our own structs

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from typing import Any, Final

import asyncpg
import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from settlement.clearing import Capture, ClearingRecord, ClearingRow, Transaction
from settlement.columns import Relation, read_csv, schema_of, text_arrays
from settlement.fees import MerchantFee, NetworkCost
from settlement.ledger import Entry
from settlement.matches import Match, Member
from settlement.shares import RecordShare

BLOCK: Final = 4 << 20  # bytes of COPY that are parsed at once
BLOCKS_AHEAD: Final = 4

# a captured record's age: its number, which is the key without its letter
NUMBER: Final = "substr(key, 2)::bigint"


class Query(msgspec.Struct, frozen=True):
    """A read of the store: one Struct a row; `order` is total."""

    shape: type[msgspec.Struct]
    of: str  # what follows the columns
    order: str
    columns: str = ""  # where they are not the Struct's names
    by_hash: bool = (
        False  # nearly every row meets one of what is joined, which the planner can not know
    )

    @property
    def text(self) -> str:
        return f"SELECT {self.columns or columns(self.shape)} {self.of} ORDER BY {self.order}"


def columns(shape: type[msgspec.Struct], *, but: str = "", of: str = "") -> str:
    prefix = f"{of}." if of else ""
    return ", ".join(prefix + name for name in shape.__struct_fields__ if name != but)


# The postings of a date's entries, as `settlement.posting` has them. Lists that are selected unfold at a
# third of the cost of lists that are joined.
POSTINGS: Final = (
    "(SELECT unnest(accounts) AS account, unnest(owners) AS owner, unnest(amounts) AS amount_minor, "
    "currency, layer, rule, step FROM settlement.entry WHERE business_date = $1)"
)

_RECORDS: Final = "FROM settlement.clearing_record AS r WHERE "
_RECORD_ORDER: Final = f"business_date, left(key, 1), {NUMBER}"

QUERIES: Final = {
    "captures": Query(Capture, "FROM switch.capture_v1 WHERE business_date = $1", "capture_id"),
    "transactions": Query(
        Transaction,
        "FROM switch.transaction_v1 WHERE business_date = $1 "
        f"UNION ALL SELECT {columns(Transaction)} FROM switch.transaction_v1 "
        "WHERE business_date <> $1 AND (request_id, business_date) IN "
        "(SELECT c.request_id, c.request_date FROM switch.capture_v1 AS c "
        "WHERE c.business_date = $1 AND c.request_date <> $1)",
        "request_id",
    ),
    "transactions_ahead": Query(
        Transaction,
        "FROM switch.transaction_v1 WHERE business_date > $1 "
        "AND settlement_date <= $2 AND state = 'approved'",
        "request_id",
    ),
    "records": Query(ClearingRecord, _RECORDS + "business_date = $1", _RECORD_ORDER),
    "open_records": Query(
        ClearingRecord,
        _RECORDS + "business_date < $1 AND settlement_date >= $2 "
        "AND NOT EXISTS (SELECT FROM settlement.match AS m WHERE m.record = r.key "
        # nothing is matched before it is there: older matches need not be looked at
        "AND m.business_date >= (SELECT min(o.business_date) FROM settlement.clearing_record AS o "
        "WHERE o.business_date < $1 AND o.settlement_date >= $2))",
        _RECORD_ORDER,
        by_hash=True,
    ),
    "rows": Query(
        ClearingRow,
        "FROM settlement.standing_row AS r WHERE settlement_date BETWEEN $1 AND $2 "
        "AND NOT EXISTS (SELECT FROM settlement.match AS m WHERE m.row = r.id "
        # all rows of a file have its settlement date
        "AND m.business_date >= (SELECT min(f.business_date) FROM settlement.incoming_file AS f "
        "WHERE f.settlement_date BETWEEN $1 AND $2))",
        "settlement_date, acquirer, file, line",
        by_hash=True,
    ),
    "matched_rows": Query(
        ClearingRow,
        "FROM settlement.standing_row AS r WHERE id IN "
        "(SELECT m.row FROM settlement.match AS m WHERE m.business_date = $1) "
        # all rows of a file have its settlement date: of the books only those are read
        "AND settlement_date = ANY (ARRAY(SELECT f.settlement_date FROM settlement.incoming_file AS f "
        "WHERE f.acquirer || '/' || f.name || '/' || f.version IN "
        "(SELECT substring(m.row FROM '^(.*):') FROM settlement.match AS m "
        "WHERE m.business_date = $1)))",
        "settlement_date, acquirer, file, line",
        by_hash=True,
    ),
    "matches": Query(
        Match,
        "FROM settlement.match WHERE business_date = $1",
        "5, 6",
        "business_date, match_class, rule, rule_version, "
        "coalesce(record, '') AS record, coalesce(row, '') AS row",
    ),
    "members": Query(
        Member,
        "FROM settlement.match_member WHERE business_date = $1",
        "match_id, side, member",
    ),
    "merchant_fees": Query(
        MerchantFee, "FROM settlement.merchant_fee WHERE business_date = $1", NUMBER
    ),
    "network_costs": Query(
        NetworkCost, "FROM settlement.network_cost WHERE business_date = $1", NUMBER
    ),
    "agent_shares": Query(
        RecordShare, "FROM settlement.agent_share WHERE business_date = $1", NUMBER
    ),
    "entries": Query(Entry, "FROM settlement.entry WHERE business_date = $1", "step, source, key"),
}


# a text array as `columns` writes it: every element in quotes, whether it needs them or not
_TEXT_ARRAY: Final = (
    r"""'{{' || coalesce((SELECT string_agg('"' || replace(replace(x, '\', '\\'), '"', '\"') || '"', ',' """
    r"""ORDER BY n) FROM unnest({}) WITH ORDINALITY AS u (x, n)), '') || '}}'"""
)


async def extract(
    pool: asyncpg.Pool, query: Query, *values: date, ordered: bool
) -> AsyncIterator[pa.RecordBatch]:
    """The rows of a query in batches, while they arrive."""
    schema, texts = schema_of(query.shape), text_arrays(query.shape)
    listed = ", ".join(
        f"{_TEXT_ARRAY.format(name)} AS {name}" if name in texts else name for name in schema.names
    )
    text = query.text if ordered else query.text.rpartition(" ORDER BY ")[0]
    blocks: asyncio.Queue[bytes] = asyncio.Queue(BLOCKS_AHEAD)

    async def copy() -> None:
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            if query.by_hash:
                await connection.execute("SET LOCAL enable_nestloop = off")
            await connection.copy_from_query(
                f"SELECT {listed} FROM ({text}) AS q", *values, output=blocks.put, format="csv"
            )
        await blocks.put(b"")

    copying = asyncio.create_task(copy())
    try:
        async for part in _whole_lines(blocks, copying):
            for batch in read_csv(part, schema).to_batches():
                yield batch
    finally:
        copying.cancel()
        await asyncio.gather(copying, return_exceptions=True)


async def _whole_lines(
    blocks: asyncio.Queue[bytes], copying: asyncio.Task[None]
) -> AsyncIterator[bytes]:
    """What arrives, in parts that end with a row: at a line feed outside of quotes."""
    waiting = bytearray()
    async for block in _arriving(blocks, copying):
        waiting += block
        if len(waiting) >= BLOCK:
            end = waiting.rfind(b"\n") + 1
            if end and waiting.count(b'"', 0, end) % 2 == 0:
                yield bytes(waiting[:end])
                del waiting[:end]
    if waiting:
        yield bytes(waiting)


async def _arriving(
    blocks: asyncio.Queue[bytes], copying: asyncio.Task[None]
) -> AsyncIterator[bytes]:
    """Blocks until the empty one; what the copying task raises is raised here."""
    while True:
        getting = asyncio.create_task(blocks.get())
        await asyncio.wait({getting, copying}, return_when=asyncio.FIRST_COMPLETED)
        if not getting.done() and blocks.empty():
            getting.cancel()
            copying.result()
            raise AssertionError("the copy ended without its last block")
        block = await getting
        if not block:
            return
        yield block


async def fetch_sums(pool: asyncpg.Pool, query: str, *values: object) -> list[Any]:
    """The lines of a query that sums up a whole date."""
    async with pool.acquire() as connection, connection.transaction(readonly=True):
        await group_by_hash(connection)
        found: list[Any] = await connection.fetch(query, *values)
        return found


async def group_by_hash(connection: Any) -> None:
    """Until the transaction ends. The planner knows nothing yet of a date that was written just now:
    it takes a million rows for two, and would sort them to sum them up."""
    await connection.execute("SET LOCAL enable_sort = off")


async def copy_in(connection: Any, table: str, rows: Relation, **options: Any) -> None:
    """Add a relation's rows to a table of the books."""

    async def parts() -> AsyncIterator[bytes]:
        for part in rows.csv():
            yield part

    if not len(rows):
        rows.forget_text()
    else:
        await connection.copy_to_table(
            table,
            source=parts(),
            schema_name="settlement",
            columns=rows.names,
            format="csv",
            **options,
        )
