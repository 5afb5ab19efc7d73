"""`settlement.story.Books` of a request from PostgreSQL, on a connection that the caller holds."""

# ruff: noqa: S608 - what is formatted into queries are column names of our own structs

from collections.abc import Iterable
from typing import Any, Final, TypeVar

import msgspec

from settlement.adapters.bulk_postgres import columns
from settlement.adapters.cases_postgres import PostgresCasework
from settlement.adapters.fees_postgres import PostgresFeeBook
from settlement.adapters.ledger_postgres import entry_of
from settlement.adapters.postgres import PostgresStore
from settlement.clearing import ClearingRecord
from settlement.fees import MerchantFee, NetworkCost
from settlement.ledger import Entry
from settlement.matches import Match
from settlement.netting import Net
from settlement.payouts.ports import Decision, Order, OrderEvent
from settlement.story import Books, record_keys, references

Struct = TypeVar("Struct", bound=msgspec.Struct)

# entries whose key is a record's, by (source, key); those of sums are told by the ledger's commands
SOURCES: Final = ("captured", "fee", "confirm_out", "confirm_in", "cutoff")
CASE_SOURCES: Final = ("break", "hold", "release", "unhold")


class BooksReader:
    """Reads on one connection, so that all of it is of one snapshot."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._store = PostgresStore(connection)
        self._casework = PostgresCasework(connection)

    async def books(self, request_id: int) -> Books:
        records = await self._records(request_id)
        keys = [one.key for one in records]
        matches = await self._read(
            Match, "match", "record = ANY ($1::text[]) ORDER BY business_date, record", keys
        )
        members = await self._store.matched_with(keys)
        named = {one.row for one in matches} | {
            one.member for one in members if one.side == "theirs"
        }
        rows = await self._store.rows_by_id(named - {"", None})
        cases = await self._cases(request_id, keys, sorted(named - {"", None}))
        about = [one.found.id for one in cases]
        disputes = await self._dispute_ids(keys, about)
        orders = await self._orders(references(records))
        ids = [one.end_to_end_id for one in orders]
        shares = await PostgresFeeBook(self._connection).shares_by_key(keys)
        return Books(
            records=records,
            matches=tuple(matches),
            members=tuple(members),
            rows=tuple(rows[name] for name in sorted(rows)),
            fees=await self._of(MerchantFee, "merchant_fee", keys),
            costs=await self._of(NetworkCost, "network_cost", keys),
            shares=tuple(shares[key] for key in sorted(shares)),
            entries=await self._entries(keys, about),
            nets=await self._nets(references(records)),
            orders=tuple(orders),
            decisions=tuple(
                await self._read(
                    Decision,
                    "payout_decision",
                    "batch = ANY ($1::text[]) ORDER BY batch",
                    [one.batch for one in orders],
                )
            ),
            events=tuple(
                await self._read(
                    OrderEvent,
                    "payout_event",
                    "end_to_end_id = ANY ($1::text[]) ORDER BY business_date, end_to_end_id, kind",
                    ids,
                )
            ),
            cases=tuple(cases),
            disputes=tuple(
                [one for id_ in disputes if (one := await self._casework.dispute(id_)) is not None]
            ),
        )

    async def named(self, name: str) -> list[int]:
        """Requests that a case or dispute is about."""
        rows = await self._connection.fetch(
            "WITH about AS (SELECT record, keys ->> 'request_id' AS request "
            "FROM settlement.case_found WHERE id = $1 OR id = "
            "(SELECT case_id FROM settlement.dispute WHERE id = $1 AND case_id <> '') UNION "
            "SELECT record, NULL FROM settlement.dispute WHERE id = $1) "
            "SELECT coalesce(r.request_id, a.request::bigint) AS request_id FROM about AS a "
            "LEFT JOIN settlement.clearing_record AS r ON r.key = a.record",
            name,
        )
        return sorted({row["request_id"] for row in rows} - {None})

    # -- parts

    async def _records(self, request_id: int) -> tuple[ClearingRecord, ...]:
        """By their keys, which are the captures' and the request's numbers; a capture that was cancelled
        after its date had been closed stands in no view, but its number is known."""
        captures = await self._connection.fetch(
            "SELECT capture_id FROM switch.capture_v1 WHERE request_id = $1", request_id
        )
        keys = {*record_keys(request_id), *(f"c{row['capture_id']}" for row in captures)}
        found = (await self._store.records_by_key(keys)).values()
        mine = [one for one in found if one.request_id == request_id]
        return tuple(sorted(mine, key=lambda one: (one.business_date, one.key)))

    async def _read(
        self, shape: type[Struct], table: str, where: str, *values: object
    ) -> list[Struct]:
        rows = await self._connection.fetch(
            f"SELECT {columns(shape)} FROM settlement.{table} WHERE {where}", *values
        )
        return [shape(**row) for row in rows]

    async def _of(self, shape: type[Struct], table: str, keys: list[str]) -> tuple[Struct, ...]:
        return tuple(await self._read(shape, table, "key = ANY ($1::text[]) ORDER BY key", keys))

    async def _entries(self, keys: list[str], cases: list[str]) -> tuple[Entry, ...]:
        """By their primary key."""
        wanted = [(source, key) for source in SOURCES for key in keys]
        wanted += [(source, key) for source in CASE_SOURCES for key in cases]
        rows = await self._connection.fetch(
            f"SELECT {columns(Entry, of='e')}, e.hash "
            "FROM unnest($1::text[], $2::text[]) AS w (source, key) "
            "JOIN settlement.entry AS e USING (source, key) "
            "ORDER BY e.business_date, e.step, e.source, e.key",
            [source for source, _ in wanted],
            [key for _, key in wanted],
        )
        linked = [one for case in cases for one in await self._casework.linked_entries(case)]
        return (*map(entry_of, rows), *linked)

    async def _nets(self, of: Iterable[tuple[str, str, object]]) -> tuple[Net, ...]:
        found = []
        for merchant, currency, day in of:
            found += await self._read(
                Net,
                "net",
                "(business_date, merchant, currency) = ($1, $2, $3)",
                day,
                merchant,
                currency,
            )
        return tuple(found)

    async def _orders(self, of: Iterable[tuple[str, str, object]]) -> list[Order]:
        """The first order that pays each date, and those that sent its money again."""
        found: dict[str, Order] = {}
        for merchant, currency, day in of:
            first = await self._read(
                Order,
                "payout_order",
                "payee = $1 AND currency = $2 AND through >= $3 AND replaces = '' "
                "AND NOT EXISTS (SELECT FROM settlement.payout_decision AS d "
                "WHERE d.batch = payout_order.batch AND d.decision = 'withdrawn') "
                "ORDER BY through, batch, end_to_end_id LIMIT 1",
                merchant,
                currency,
                day,
            )
            waiting = [one for one in first if one.end_to_end_id not in found]
            while waiting:
                order = waiting.pop()
                found[order.end_to_end_id] = order
                waiting += await self._read(
                    Order,
                    "payout_order",
                    "replaces = $1 AND replaces <> '' ORDER BY end_to_end_id",
                    order.end_to_end_id,
                )
        return list(found.values())

    async def _cases(self, request_id: int, keys: list[str], rows: list[str]) -> list[Any]:
        ids = await self._connection.fetch(
            "SELECT id FROM settlement.case_found WHERE record = ANY ($1::text[]) "
            "OR (row <> '' AND row = ANY ($2::text[])) OR keys ->> 'request_id' = $3 "
            "UNION SELECT case_id FROM switch.case_v1 WHERE request_id = $4 ORDER BY 1",
            keys,
            rows,
            str(request_id),
            request_id,
        )
        found = [await self._casework.case(row["id"]) for row in ids]
        return [one for one in found if one is not None]

    async def _dispute_ids(self, keys: list[str], cases: list[str]) -> list[str]:
        rows = await self._connection.fetch(
            "SELECT id FROM settlement.dispute WHERE record = ANY ($1::text[]) "
            "OR (case_id <> '' AND case_id = ANY ($2::text[])) ORDER BY id",
            keys,
            cases,
        )
        return [row["id"] for row in rows]
