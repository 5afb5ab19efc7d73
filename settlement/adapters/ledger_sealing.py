"""A date's end on PostgreSQL: no more entries, then the chain, the checkpoints and the anchor.

Posters hold `LOCK_OPEN` shared until they commit; who ends a date holds it alone, for a moment, so that a date
which has ended has no poster left. The chain is made after that, with nobody waiting.
"""

# ruff: noqa: S608 - what is formatted into queries are column names of our own structs

from datetime import date
from typing import Any, Final

import asyncpg
import msgspec

from settlement.adapters.bulk_postgres import POSTINGS, group_by_hash
from settlement.chain import CHUNK, FINGERPRINT, Anchor, Seal, anchor, link_hash
from settlement.definitions import definitions

LOCK: Final = 8592  # class of the ledger's advisory locks
LOCK_OPEN: Final = 0  # shared by posters; alone by who ends a date
LOCK_SEAL: Final = 1  # one sealer at a time

CHUNKS: Final = """
WITH placed AS (
    SELECT step, source, key, hash,
           row_number() OVER (PARTITION BY step ORDER BY source, key) - 1 AS n
    FROM settlement.entry WHERE business_date = $1)
SELECT step, (n / $2)::int AS chunk, count(*)::int AS count,
       max(source) FILTER (WHERE n % $2 = 0) AS first_source,
       max(key) FILTER (WHERE n % $2 = 0) AS first_key,
       sha256(string_agg(hash, ''::bytea ORDER BY n)) AS digest,
       string_agg(substr(hash, 1, $3), ''::bytea ORDER BY n) AS fingerprints
FROM placed GROUP BY 1, 2 ORDER BY 1, 2
"""

MOVED: Final = f"""
SELECT p.account, p.owner, p.currency, p.layer, $1::date, count(*),
       coalesce(sum(p.amount_minor) FILTER (WHERE p.amount_minor > 0), 0)::bigint,
       coalesce(-sum(p.amount_minor) FILTER (WHERE p.amount_minor < 0), 0)::bigint,
       settlement.closing(p.account, p.owner, p.currency, p.layer, $1)
           + sum(p.amount_minor)::bigint
FROM {POSTINGS} AS p GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""


async def seal_date(pool: asyncpg.Pool, business_date: date, chunk: int = CHUNK) -> Anchor:
    """`Ledger.seal`. First the date ends, which waits for its posters; then, with nobody waiting, its
    entries are chained. Killed between the two, the next call goes on."""
    async with pool.acquire() as connection:
        async with connection.transaction():
            await _end_posting(connection, business_date)
        async with connection.transaction():
            return await _seal(connection, business_date, chunk)


async def _end_posting(connection: Any, business_date: date) -> None:
    await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", LOCK, LOCK_OPEN)
    ended: date | None = await connection.fetchval(
        "SELECT max(business_date) FROM settlement.posting_end"
    )
    if ended is not None and business_date <= ended:
        return
    earlier: date | None = await connection.fetchval(
        "SELECT min(business_date) FROM settlement.entry "
        "WHERE business_date < $1 AND ($2::date IS NULL OR business_date > $2)",
        business_date,
        ended,
    )
    assert earlier is None, f"{earlier} has entries and is not posted"
    await connection.execute(
        "INSERT INTO settlement.posting_end (business_date) VALUES ($1)", business_date
    )


async def _seal(connection: Any, business_date: date, chunk: int) -> Anchor:
    await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", LOCK, LOCK_SEAL)
    due = await connection.fetch(
        "SELECT business_date FROM settlement.posting_end AS e WHERE business_date <= $1 "
        "AND NOT EXISTS (SELECT FROM settlement.anchor AS a "
        "WHERE a.business_date = e.business_date) ORDER BY 1",
        business_date,
    )
    await connection.execute("SET LOCAL work_mem = '128MB'")
    for row in due:
        await _register(connection)
        await _chain(connection, row["business_date"], chunk)
    found = await read_anchors(connection, "WHERE business_date = $1", business_date)
    assert found, f"{business_date} was passed over when a later date was sealed"
    return found[0]


async def _register(connection: Any) -> None:
    """The accounts and rules in force, and that no version of any has changed."""
    wanted = definitions()
    await connection.executemany(
        "INSERT INTO settlement.definition (kind, name, version, content, sha256) "
        "VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        [(*msgspec.structs.astuple(one), one.sha256) for one in wanted],
    )
    rows = await connection.fetch("SELECT kind, name, version, sha256 FROM settlement.definition")
    known = {(row["kind"], row["name"], row["version"]): row["sha256"] for row in rows}
    for one in wanted:
        place = (one.kind, one.name, one.version)
        assert known[place] == one.sha256, f"{place} is not what it was: give it a new version"


async def _chain(connection: Any, business_date: date, chunk_size: int) -> None:
    previous: bytes = await connection.fetchval(
        "SELECT coalesce((SELECT link FROM settlement.anchor ORDER BY business_date DESC LIMIT 1), ''::bytea)"
    )
    seals: list[Seal] = []
    for row in await connection.fetch(CHUNKS, business_date, chunk_size, FINGERPRINT):
        step, chunk, count = row["step"], row["chunk"], row["count"]
        made = link_hash(business_date, step, chunk, count, row["digest"], previous)
        seals.append(
            Seal(
                business_date,
                step,
                chunk,
                count,
                row["first_source"],
                row["first_key"],
                row["fingerprints"],
                previous,
                made,
            )
        )
        previous = made
    await connection.copy_records_to_table(
        "seal",
        schema_name="settlement",
        columns=Seal.__struct_fields__,
        records=[msgspec.structs.astuple(one) for one in seals],
    )
    await group_by_hash(connection)
    await connection.execute(f"INSERT INTO settlement.checkpoint {MOVED}", business_date)
    former: bytes = await connection.fetchval(
        "SELECT coalesce((SELECT hash FROM settlement.anchor ORDER BY business_date DESC LIMIT 1), ''::bytea)"
    )
    made_anchor = anchor(business_date, sum(one.count for one in seals), previous, former)
    await connection.execute(
        "INSERT INTO settlement.anchor (business_date, entries, link, previous, hash) "
        "VALUES ($1, $2, $3, $4, $5)",
        *msgspec.structs.astuple(made_anchor),
    )


async def read_anchors(connection: Any, where: str = "", *values: object) -> list[Anchor]:
    rows = await connection.fetch(
        "SELECT business_date, entries, link, previous, hash FROM settlement.anchor "
        f"{where} ORDER BY business_date",
        *values,
    )
    return [Anchor(**row) for row in rows]


async def read_seals(connection: Any, business_date: date) -> list[Seal]:
    rows = await connection.fetch(
        f"SELECT {', '.join(Seal.__struct_fields__)} FROM settlement.seal "
        "WHERE business_date = $1 ORDER BY step, chunk",
        business_date,
    )
    return [Seal(**row) for row in rows]
