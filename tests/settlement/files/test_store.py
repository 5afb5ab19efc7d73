"""Rows that are no transactions, in memory and on PostgreSQL: one suite for both."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import pytest

from settlement.adapters.memory import MemoryStore
from settlement.adapters.postgres import open_postgres
from settlement.clearing import ClearingRow, IncomingFile
from settlement.columns import relation
from settlement.files.rows import KINDS, FileRow, Parsed
from settlement.ports import Store
from tests.settlement.files.samples import FILES, NAMES, acoma_row, read
from tests.settlement.files.test_known_answers import pair
from tests.settlement.world import ACQUIRER, DAY, NEXT

if TYPE_CHECKING:
    from tests.database import FreshDatabase

Check = Callable[[Store], Awaitable[None]]


@pytest.fixture(params=["memory", "postgres"])
def with_store(request: pytest.FixtureRequest) -> Callable[[Check], None]:
    dsn: FreshDatabase | None = None
    if request.param == "postgres":
        dsn = request.getfixturevalue("database_dsn")

    async def run(check: Check) -> None:
        if dsn is None:
            await check(MemoryStore())
            return
        async with open_postgres(dsn.app) as (store, _):
            await check(store)

    return lambda check: asyncio.run(run(check))


async def take_in(
    store: Store, type_: str, parsed: Parsed, version: int = 1, sha256: bytes = b"h" * 32
) -> None:
    count = len(parsed.transactions) + len(parsed.rows)
    file = IncomingFile(
        ACQUIRER, NAMES[type_], type_, DAY, 1, version, sha256, count, DAY, b"sealed"
    )
    await store.take_in(file, relation(ClearingRow, parsed.transactions), parsed.rows)


def test_every_kind_comes_back_as_it_went_in(with_store: Callable[[Check], None]) -> None:
    async def check(store: Store) -> None:
        wanted: dict[str, list[FileRow]] = {kind: [] for kind in KINDS}
        files = {**FILES, "ACOMA": pair("C", 500, 500)}
        for type_ in ("ACOMA", "ALFEE", "ERRA", "ZSUM", "ZPSUM", "IPM"):
            parsed = read(type_, files[type_])
            await take_in(store, type_, parsed, sha256=type_.encode().ljust(32))
            for row in parsed.rows:
                wanted[row.kind].append(row)
        for kind, rows in wanted.items():
            assert rows, kind
            found = await store.file_rows(kind, DAY, DAY)
            assert found == sorted(rows, key=lambda row: (row.file, row.line)), kind
            assert await store.file_rows(kind, NEXT, NEXT) == []

    with_store(check)


def test_a_file_is_stored_once_and_its_last_version_counts(
    with_store: Callable[[Check], None],
) -> None:
    async def check(store: Store) -> None:
        first = read("ERRA", FILES["ERRA"])
        for _ in range(2):
            await take_in(store, "ERRA", first)
        assert await store.file_rows("adjustment", DAY, DAY) == first.rows
        second = Parsed(rows=[msgspec.structs.replace(first.rows[1], version=2)])
        await take_in(store, "ERRA", second, version=2, sha256=b"i" * 32)
        assert await store.file_rows("adjustment", DAY, DAY) == second.rows

    with_store(check)


def test_two_empty_files_of_a_day_are_two_files(with_store: Callable[[Check], None]) -> None:
    async def check(store: Store) -> None:
        for type_ in ("COM", "ERRA"):
            await take_in(store, type_, Parsed())
        assert [file.type for file in await store.files(ACQUIRER)] == ["COM", "ERRA"]

    with_store(check)


def test_an_agency_fee_stands_beside_its_transaction(with_store: Callable[[Check], None]) -> None:
    async def check(store: Store) -> None:
        parsed = read("ACOMA", FILES["ACOMA"])
        await take_in(store, "ACOMA", parsed)
        rows = await store.rows(DAY, DAY)
        fees = await store.file_rows("agency_fee", DAY, DAY)
        assert [row.id for row in rows] == [fee.id for fee in fees]
        assert rows[0].rrn == acoma_row(1)["rrn"]

    with_store(check)


def test_files_are_listed_in_one_order(with_store: Callable[[Check], None]) -> None:
    async def check(store: Store) -> None:
        for type_ in ("ERRA", "COM"):
            await take_in(store, type_, Parsed(), sha256=type_.encode().ljust(32))
        await take_in(store, "ERRA", Parsed(), version=2)
        found = await store.files_between(DAY, DAY)
        assert [(one.type, one.version) for one in found] == [("COM", 1), ("ERRA", 1), ("ERRA", 2)]
        assert not any(one.sealed for one in found)
        assert await store.files_between(NEXT, NEXT) == []

    with_store(check)
