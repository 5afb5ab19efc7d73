"""`settlement.files.store.FileRows` on PostgreSQL."""

# ruff: noqa: S608 - what is formatted into queries are column names of our own structs

from collections.abc import Iterable
from datetime import date
from typing import Any, Final

import asyncpg
import msgspec

from settlement.clearing import IncomingFile
from settlement.files.rows import KINDS, FileRow

COLUMNS: Final = FileRow.__struct_fields__
FILE_COLUMNS: Final = tuple(n for n in IncomingFile.__struct_fields__ if n != "sealed")


async def copy_file_rows(connection: Any, rows: Iterable[FileRow]) -> None:
    """In the transaction that takes their file in."""
    await connection.copy_records_to_table(
        "file_row",
        schema_name="settlement",
        columns=["kind", *COLUMNS, "content"],
        records=(_values(row) for row in rows),
    )


def _values(row: FileRow) -> tuple[Any, ...]:
    content = {name: getattr(row, name) for name in row.__struct_fields__ if name not in COLUMNS}
    columns = (getattr(row, name) for name in COLUMNS)
    return (row.kind, *columns, msgspec.json.encode(content).decode())


async def read_file_rows(
    pool: asyncpg.Pool, kind: str, first: date, last: date, as_of: date | None = None
) -> list[FileRow]:
    """Of the versions that closes up to `as_of` took in, or of the last ones."""
    found = await pool.fetch(
        f"SELECT {', '.join(COLUMNS)}, content FROM settlement.file_row AS r "
        "WHERE kind = $1 AND settlement_date BETWEEN $2 AND $3 "
        "AND version = (SELECT max(f.version) FROM settlement.incoming_file AS f "
        "WHERE (f.acquirer, f.name) = (r.acquirer, r.file) "
        "AND f.business_date <= coalesce($4::date, 'infinity')) "
        "ORDER BY settlement_date, acquirer, file, line",
        kind,
        first,
        last,
        as_of,
    )
    shape = KINDS[kind]
    return [
        msgspec.convert(
            {**{name: row[name] for name in COLUMNS}, **msgspec.json.decode(row["content"])}, shape
        )
        for row in found
    ]


async def read_files(pool: asyncpg.Pool, first: date, last: date) -> list[IncomingFile]:
    found = await pool.fetch(
        f"SELECT {', '.join(FILE_COLUMNS)} FROM settlement.incoming_file "
        "WHERE settlement_date BETWEEN $1 AND $2 "
        "ORDER BY settlement_date, acquirer, name, version",
        first,
        last,
    )
    return [IncomingFile(**row) for row in found]
