"""The store on PostgreSQL, and the switch's business dates behind their functions.

Bulk rows go in by COPY, in the transaction that records their step. Structs and columns have the
same names, so a row is read into its struct by name and a wrong column is an error at once.
"""

# ruff: noqa: S608 - what is formatted into queries are column names of our own structs

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any, Final, TypeVar

import asyncpg
import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from settlement.adapters.bulk_postgres import (
    NUMBER,
    POSTINGS,
    QUERIES,
    columns,
    copy_in,
    extract,
    fetch_sums,
)
from settlement.adapters.fees_postgres import PostgresFeeBook
from settlement.adapters.files_postgres import copy_file_rows, read_file_rows, read_files
from settlement.adapters.ledger_postgres import entry_of, post_relation, read_entries
from settlement.adapters.ledger_sealing import read_seals, seal_date
from settlement.adapters.passes_postgres import (
    batch_sums,
    batches_captured,
    batches_checked,
    batches_said,
    store_batches,
    store_members,
)
from settlement.adapters.sums_postgres import settled_before, settled_sums, store_settled
from settlement.cases import Break, Resolution
from settlement.chain import Anchor, Seal
from settlement.clearing import (
    Capture,
    ClearingRecord,
    ClearingRow,
    HeldFile,
    IncomingFile,
    Reference,
    Transaction,
)
from settlement.columns import Relation
from settlement.fees import MerchantFee, NetworkCost
from settlement.files.rows import FileRow
from settlement.kept_sums import BatchKey, BatchTotal, SettledSum
from settlement.ledger import DAY_END_STEP, Entry, Movement
from settlement.matches import Match, Member
from settlement.netting import Net
from settlement.ports import Extracted, Facts, Output, Step, Total

Struct = TypeVar("Struct", bound=msgspec.Struct)

POOL_MAX: Final = 4
WORK_MEM: Final = "128MB"  # of a connection's sort or join
LOCK: Final = 8591  # class of the advisory locks of the day's end, one for each business date


@asynccontextmanager
async def open_postgres(dsn: str) -> AsyncIterator[tuple["PostgresStore", "PostgresDates"]]:
    """Store and dates on a pool of their own, with room for joins of a whole day."""
    async with asyncpg.create_pool(
        dsn, min_size=1, max_size=POOL_MAX, server_settings={"work_mem": WORK_MEM}
    ) as pool:
        yield PostgresStore(pool, dsn), PostgresDates(pool)


class PostgresDates:
    """`switch.business_date` and the functions that move it."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def state(self, business_date: date) -> str | None:
        found: str | None = await self._pool.fetchval(
            "SELECT state FROM switch.business_date WHERE business_date = $1", business_date
        )
        return found

    async def unposted_before(self, business_date: date) -> date | None:
        found: date | None = await self._pool.fetchval(
            "SELECT min(business_date) FROM switch.business_date "
            "WHERE business_date < $1 AND state <> 'posted'",
            business_date,
        )
        return found

    async def cut_over(self, new_date: date) -> None:
        await self._pool.execute("SELECT switch.cut_over($1)", new_date)

    async def freeze(self, business_date: date) -> int:
        return int(await self._pool.fetchval("SELECT switch.freeze($1)", business_date))

    async def mark_posted(self, business_date: date) -> None:
        await self._pool.execute("SELECT switch.mark_posted($1)", business_date)


class PostgresStore:
    """`settlement.ports.Store` over asyncpg."""

    def __init__(self, pool: asyncpg.Pool, dsn: str = "") -> None:
        """With a DSN bulk facts go in on a connection and a thread of their own."""
        self._pool, self._dsn = pool, dsn

    @property
    def pool(self) -> asyncpg.Pool:
        return self._pool

    def fee_book(self) -> PostgresFeeBook:
        return PostgresFeeBook(self._pool)

    async def _read(self, shape: type[Struct], query: str, *values: object) -> list[Struct]:
        rows = await self._pool.fetch(query, *values)
        return [shape(**row) for row in rows]

    async def _read_sums(self, shape: type[Struct], query: str, *values: object) -> list[Struct]:
        return [shape(**row) for row in await fetch_sums(self._pool, query, *values)]

    async def _read_named(self, name: str, shape: type[Struct], *values: date) -> list[Struct]:
        return await self._read(shape, QUERIES[name].text, *values)

    def extract(
        self, name: Extracted, *dates: date, ordered: bool = False
    ) -> AsyncIterator[pa.RecordBatch]:
        return extract(self._pool, QUERIES[name], *dates, ordered=ordered)

    # -- what the switch publishes

    async def captures(self, business_date: date) -> list[Capture]:
        return await self._read_named("captures", Capture, business_date)

    async def captured_totals(self, business_date: date) -> list[Total]:
        found = await self._read_sums(
            Total,
            "SELECT business_date, currency, merchant, acquirer, terminal, batch, "
            "sum(effect_minor)::bigint AS amount_minor FROM switch.capture_v1 "
            "WHERE business_date = $1 GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(effect_minor) <> 0",
            business_date,
        )
        return sorted(found)

    async def transactions(self, business_date: date) -> list[Transaction]:
        return await self._read_named("transactions", Transaction, business_date)

    async def transactions_ahead(self, business_date: date, last: date) -> list[Transaction]:
        return await self._read_named("transactions_ahead", Transaction, business_date, last)

    async def references(self, kinds: Collection[str]) -> list[Reference]:
        rows = await self._pool.fetch(
            f"SELECT {columns(Reference)} FROM switch.reference_v1 WHERE kind = ANY ($1::text[]) "
            'ORDER BY kind COLLATE "C", key COLLATE "C", version',
            sorted(kinds),
        )
        return [
            Reference(**{**row, "content": msgspec.json.decode(row["content"])}) for row in rows
        ]

    # -- a date's run

    @asynccontextmanager
    async def alone(self, business_date: date) -> AsyncIterator[bool]:
        # of the session: a run that is killed lets go with its connection
        key = (LOCK, business_date.toordinal())
        async with self._pool.acquire() as connection:
            held = bool(await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", *key))
            try:
                yield held
            finally:
                if held:
                    await connection.execute("SELECT pg_advisory_unlock($1, $2)", *key)

    async def begin(self, business_date: date, at: datetime) -> datetime:
        await self._pool.execute(
            "INSERT INTO settlement.run VALUES ($1, $2) ON CONFLICT DO NOTHING", business_date, at
        )
        started: datetime = await self._pool.fetchval(
            "SELECT started_at FROM settlement.run WHERE business_date = $1", business_date
        )
        return started

    async def steps(self, business_date: date) -> dict[str, Step]:
        rows = await self._pool.fetch(
            "SELECT business_date, name, content, totals FROM settlement.step "
            "WHERE business_date = $1 ORDER BY finished_at, name",
            business_date,
        )
        return {
            row["name"]: Step(**{**row, "totals": msgspec.json.decode(row["totals"])})
            for row in rows
        }

    async def extracts(self, business_date: date) -> dict[str, str]:
        rows = await self._pool.fetch(
            "SELECT name, sha256 FROM settlement.extract WHERE business_date = $1 ORDER BY name",
            business_date,
        )
        return {row["name"]: row["sha256"] for row in rows}

    async def finish(self, step: Step, facts: Facts) -> bool:
        if self._dsn and facts.is_bulk:
            return await asyncio.to_thread(asyncio.run, self._finish_alone(step, facts))
        async with self._pool.acquire() as connection:
            return await _finish(connection, step, facts)

    async def _finish_alone(self, step: Step, facts: Facts) -> bool:
        connection = await asyncpg.connect(self._dsn, server_settings={"work_mem": WORK_MEM})
        try:
            return await _finish(connection, step, facts)
        finally:
            await connection.close()

    # -- incoming files

    async def files(self, acquirer: str) -> list[IncomingFile]:
        return await self._read(
            IncomingFile,
            f"SELECT {columns(IncomingFile, but='sealed')} FROM settlement.incoming_file "
            "WHERE acquirer = $1 ORDER BY settlement_date, name, version",
            acquirer,
        )

    async def take_in(
        self, file: IncomingFile, rows: Relation, others: Sequence[FileRow] = ()
    ) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            names = columns(IncomingFile)
            places = ", ".join(f"${n}" for n, _ in enumerate(IncomingFile.__struct_fields__, 1))
            stored = await connection.execute(
                f"INSERT INTO settlement.incoming_file ({names}) VALUES ({places}) "
                "ON CONFLICT DO NOTHING",
                *msgspec.structs.astuple(file),
            )
            if not stored.endswith(" 0"):
                await copy_in(connection, "clearing_row", rows)
                await copy_file_rows(connection, others)

    async def file_rows(self, kind: str, first: date, last: date) -> list[FileRow]:
        return await read_file_rows(self._pool, kind, first, last)

    async def files_between(self, first: date, last: date) -> list[IncomingFile]:
        return await read_files(self._pool, first, last)

    async def held(self, acquirer: str) -> list[HeldFile]:
        return await self._read(
            HeldFile,
            f"SELECT {columns(HeldFile)} FROM settlement.held_file "
            "WHERE acquirer = $1 ORDER BY name, sha256",
            acquirer,
        )

    async def in_use(self, acquirer: str, name: str) -> bool:
        found: bool = await self._pool.fetchval(
            "SELECT EXISTS (SELECT FROM settlement.match AS m WHERE m.row >= $1 AND m.row < $2) "
            "OR EXISTS (SELECT FROM settlement.break_case AS b WHERE b.row >= $1 AND b.row < $2) "
            "OR EXISTS (SELECT FROM settlement.placed_row AS p WHERE (p.acquirer, p.file) = ($3, $4))",
            f"{acquirer}/{name}/",
            f"{acquirer}/{name}0",  # 0 comes after /
            acquirer,
            name,
        )
        return found

    async def sealed(self, acquirer: str, name: str, version: int) -> bytes:
        found: bytes = await self._pool.fetchval(
            "SELECT sealed FROM settlement.incoming_file "
            "WHERE (acquirer, name, version) = ($1, $2, $3)",
            acquirer,
            name,
            version,
        )
        return found

    async def rows(self, first: date, last: date) -> list[ClearingRow]:
        return await self._read_named("rows", ClearingRow, first, last)

    async def matched_rows(self, business_date: date) -> list[ClearingRow]:
        return await self._read_named("matched_rows", ClearingRow, business_date)

    async def rows_by_id(self, ids: Collection[str]) -> dict[str, ClearingRow]:
        # by the primary key: an id is acquirer/file/version:line
        wanted = [_row_key(one) for one in sorted(set(ids))]
        found = await self._read(
            ClearingRow,
            f"SELECT {columns(ClearingRow, of='r')} "
            "FROM unnest($1::text[], $2::text[], $3::int[], $4::int[]) "
            "AS w (acquirer, file, version, line) "
            "JOIN settlement.clearing_row AS r USING (acquirer, file, version, line)",
            *(list(column) for column in zip(*wanted, strict=True)) if wanted else ([],) * 4,
        )
        return {row.id: row for row in found}

    # -- reads

    async def records(self, business_date: date) -> list[ClearingRecord]:
        return await self._read_named("records", ClearingRecord, business_date)

    async def open_records(self, before: date, settles_from: date) -> list[ClearingRecord]:
        return await self._read_named("open_records", ClearingRecord, before, settles_from)

    async def records_by_key(self, keys: Collection[str]) -> dict[str, ClearingRecord]:
        found = await self._records("key = ANY ($1::text[])", sorted(set(keys)))
        return {record.key: record for record in found}

    async def records_by_root(self, roots: Collection[int]) -> list[ClearingRecord]:
        return await self._records(
            "effect_minor <> 0 AND root_request_id = ANY ($1::bigint[])", sorted(set(roots))
        )

    async def _records(self, where: str, *values: object) -> list[ClearingRecord]:
        return await self._read(
            ClearingRecord,
            f"SELECT {columns(ClearingRecord)} FROM settlement.clearing_record AS r "
            f"WHERE {where} ORDER BY business_date, left(key, 1), {NUMBER}",
            *values,
        )

    async def roots(self, request_ids: Collection[int]) -> dict[int, int]:
        rows = await self._pool.fetch(
            "SELECT DISTINCT request_id, root_request_id FROM settlement.clearing_record "
            "WHERE effect_minor <> 0 AND request_id <> root_request_id "
            "AND request_id = ANY ($1::bigint[])",
            sorted(set(request_ids)),
        )
        return {row["request_id"]: row["root_request_id"] for row in rows}

    async def matches(self, business_date: date) -> list[Match]:
        return await self._read_named("matches", Match, business_date)

    async def members(self, business_date: date) -> list[Member]:
        return await self._read_named("members", Member, business_date)

    async def matched_with(self, lines: Collection[str]) -> list[Member]:
        return await self._read(
            Member,
            f"SELECT {columns(Member)} FROM settlement.match_member WHERE match_id IN "
            "(SELECT m.match_id FROM settlement.match_member AS m "
            "WHERE m.side IN ('ours', 'theirs') AND m.member = ANY ($1::text[])) "
            "ORDER BY match_id, side, member",
            sorted(set(lines)),
        )

    async def batches_said(self, business_date: date) -> list[BatchTotal]:
        return await batches_said(self._pool, business_date)

    async def batches_captured(self, batches: Collection[BatchKey]) -> list[BatchTotal]:
        return await batches_captured(self._pool, batches)

    async def batch_sums(self, business_date: date) -> list[BatchTotal]:
        return await batch_sums(self._pool, business_date)

    async def batches_checked(self, business_date: date) -> list[BatchKey]:
        return await batches_checked(self._pool, business_date)

    async def settled_sums(self, business_date: date) -> list[SettledSum]:
        return await settled_sums(self._pool, business_date)

    async def settled_before(
        self, business_date: date, settlement_dates: Iterable[date]
    ) -> list[SettledSum]:
        return await settled_before(self._pool, business_date, settlement_dates)

    async def breaks(self, business_date: date) -> list[Break]:
        return await self._breaks("business_date = $1", business_date)

    async def open_breaks(self, before: date) -> list[Break]:
        return await self._breaks(
            "business_date < $1 AND NOT EXISTS (SELECT FROM settlement.resolution AS e "
            "WHERE e.break_id = b.id AND e.business_date < $1)",
            before,
        )

    async def standing_breaks(self, break_class: str) -> list[Break]:
        """`payouts.ports.Payouts.standing_breaks`."""
        return await self._breaks(
            "break_class = $1 AND NOT EXISTS (SELECT FROM settlement.resolution AS e "
            "WHERE e.break_id = b.id)",
            break_class,
        )

    async def _breaks(self, where: str, *values: object) -> list[Break]:
        rows = await self._pool.fetch(
            f"SELECT {columns(Break)} FROM settlement.break_case AS b WHERE {where} ORDER BY id",
            *values,
        )
        return [stored_break(row) for row in rows]

    async def resolutions(self, business_date: date) -> list[Resolution]:
        return await self._read(
            Resolution,
            f"SELECT {columns(Resolution)} FROM settlement.resolution "
            "WHERE business_date = $1 ORDER BY break_id",
            business_date,
        )

    async def resolved(self, break_ids: Collection[str]) -> set[str]:
        rows = await self._pool.fetch(
            "SELECT break_id FROM settlement.resolution WHERE break_id = ANY ($1::text[])",
            sorted(break_ids),
        )
        return {row["break_id"] for row in rows}

    async def discounts(self, keys: Collection[str]) -> dict[str, int]:
        rows = await self._pool.fetch(
            "SELECT key, discount_minor FROM settlement.merchant_fee WHERE key = ANY ($1::text[])",
            sorted(set(keys)),
        )
        return {row["key"]: row["discount_minor"] for row in rows}

    async def freed(self, break_ids: Collection[str]) -> dict[str, int]:
        rows = await self._pool.fetch(
            "SELECT split_part(key, '/', 1) AS break_id, sum(amount_minor)::bigint AS amount "
            "FROM settlement.posting WHERE source = 'case_unhold' AND account = 'merchant_held' "
            "AND split_part(key, '/', 1) = ANY ($1::text[]) GROUP BY 1",
            sorted(break_ids),
        )
        return {row["break_id"]: row["amount"] for row in rows}

    async def merchant_fees(self, business_date: date) -> list[MerchantFee]:
        return await self._read_named("merchant_fees", MerchantFee, business_date)

    async def network_costs(self, business_date: date) -> list[NetworkCost]:
        return await self._read_named("network_costs", NetworkCost, business_date)

    async def entries(self, business_date: date) -> list[Entry]:
        rows = await self._pool.fetch(
            f"SELECT {columns(Entry)}, hash FROM settlement.entry "
            "WHERE business_date = $1 ORDER BY step, source, key",
            business_date,
        )
        return [entry_of(row) for row in rows]

    async def entries_by_key(self, source: str, keys: Collection[str]) -> dict[str, Entry]:
        names = [(source, key) for key in sorted(set(keys))]
        async with self._pool.acquire() as connection:
            found = await read_entries(connection, names)
        return {key: found[source, key] for _, key in names if (source, key) in found}

    async def posted_totals(self, business_date: date) -> list[Total]:
        found = await self._read_sums(
            Total,
            "SELECT business_date, currency, merchant, acquirer, terminal, batch, "
            "sum(amounts[array_position(accounts, 'network_receivable')])::bigint AS amount_minor "
            "FROM settlement.entry WHERE business_date = $1 AND source = 'captured' "
            "GROUP BY 1, 2, 3, 4, 5, 6 "
            "HAVING sum(amounts[array_position(accounts, 'network_receivable')]) <> 0",
            business_date,
        )
        return sorted(found)

    async def movements(self, business_date: date) -> list[Movement]:
        found = await self._read_sums(
            Movement,
            "SELECT account, owner, currency, rule, count(*) AS count, "
            "coalesce(sum(amount_minor) FILTER (WHERE amount_minor > 0), 0)::bigint AS debit_minor, "
            "coalesce(-sum(amount_minor) FILTER (WHERE amount_minor < 0), 0)::bigint AS credit_minor "
            f"FROM {POSTINGS} AS p WHERE step = $2 GROUP BY 1, 2, 3, 4",
            business_date,
            DAY_END_STEP,
        )
        return sorted(found)

    async def seal(self, business_date: date) -> Anchor:
        return await seal_date(self._pool, business_date)

    async def seals(self, business_date: date) -> list[Seal]:
        async with self._pool.acquire() as connection:
            return await read_seals(connection, business_date)

    async def nets(self, business_date: date) -> list[Net]:
        found = await self._read(
            Net,
            f"SELECT {columns(Net)} FROM settlement.net WHERE business_date = $1",
            business_date,
        )
        return sorted(found)

    async def outputs(self, business_date: date) -> list[Output]:
        return await self._read(
            Output,
            f"SELECT {columns(Output)} FROM settlement.output "
            "WHERE business_date = $1 ORDER BY name",
            business_date,
        )


async def _finish(connection: Any, step: Step, facts: Facts) -> bool:
    async with connection.transaction():
        stored = await connection.execute(
            "INSERT INTO settlement.step (business_date, name, content, totals, inputs) "
            "VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
            step.business_date,
            step.name,
            step.content,
            _json(step.totals),
            list(facts.inputs),
        )
        if stored.endswith(" 0"):
            return False
        await connection.executemany(
            "INSERT INTO settlement.extract VALUES ($1, $2, $3)",
            [(step.business_date, *one) for one in sorted(facts.extracts.items())],
        )
        await copy_in(connection, "clearing_record", facts.records)
        await copy_in(connection, "match", facts.matches, force_null=["record", "row"])
        await store_members(connection, step.business_date, facts.members)
        await store_batches(connection, step.business_date, facts.batch_sums, facts.batches_checked)
        await store_settled(connection, step.business_date, facts.settled_sums)
        await _copy(connection, "break_case", Break, facts.breaks)
        await _copy(connection, "held_file", HeldFile, facts.held)
        await _copy(connection, "resolution", Resolution, facts.resolutions)
        await copy_in(connection, "merchant_fee", facts.merchant_fees)
        await copy_in(connection, "network_cost", facts.network_costs)
        await copy_in(connection, "agent_share", facts.agent_shares)
        await post_relation(connection, step.business_date, facts.entries)
        await _copy(connection, "net", Net, facts.nets)
        await connection.copy_records_to_table(
            "output",
            schema_name="settlement",
            columns=["business_date", *Output.__struct_fields__],
            records=[(step.business_date, *msgspec.structs.astuple(one)) for one in facts.outputs],
        )
    return True


def _row_key(row_id: str) -> tuple[str, str, int, int]:
    name, _, line = row_id.rpartition(":")
    acquirer, file, version = name.split("/")
    return acquirer, file, int(version), int(line)


_TEXTS: Final = msgspec.json.Decoder(dict[str, str])
_TEXTS_AT: Final = [Break.__struct_fields__.index(name) for name in ("keys", "evidence")]


def stored_break(row: Any) -> Break:
    """Of a record with `Break`'s columns first, in order."""
    values = list(row.values())[: len(Break.__struct_fields__)]
    for place in _TEXTS_AT:
        values[place] = _TEXTS.decode(values[place])
    return Break(*values)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _values(one: msgspec.Struct) -> tuple[Any, ...]:
    values = msgspec.structs.astuple(one)
    if isinstance(one, Break):
        return tuple(_json(value) if isinstance(value, dict) else value for value in values)
    return values


async def _copy(
    connection: Any, table: str, shape: type[msgspec.Struct], facts: Iterable[msgspec.Struct]
) -> None:
    await connection.copy_records_to_table(
        table,
        schema_name="settlement",
        columns=list(shape.__struct_fields__),
        records=(_values(one) for one in facts),
    )
