"""Bring a database to the schema of this tree: every folder's numbered SQL files, in order, once.

The files are `<folder>/adapters/schema/NNNN_name.sql`, and each is complete: it makes what it needs
in the PostgreSQL schema of its folder's name (which exists, and is first on the search path, when
the file runs), grants included. A file runs in one transaction together with its record; so it may
not contain COMMIT, nor what PostgreSQL refuses in a transaction, such as CREATE INDEX CONCURRENTLY.

What has run is recorded in `schema_runner.applied`. A file that was applied never changes: to change
the schema, add a file (expand first, contract a release later). A database that is ahead of this
tree is left as it is, because a node of the former release may start beside one of the next.
"""

import hashlib
import re
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from switch.adapters.servers import Servers

# The application root: the repository, or the tree inside the wheel.
ROOT = Path(__file__).resolve().parent.parent.parent

# In the order in which they run: a later folder may read an earlier one's published views.
FOLDERS = ("switch", "terminals", "settlement")

LOCK_KEY = int.from_bytes(b"tongbao") >> 8  # of pg_advisory_lock: any fixed number of 63 bits

_RECORDS = """
CREATE SCHEMA IF NOT EXISTS schema_runner;
CREATE TABLE IF NOT EXISTS schema_runner.applied (
    folder      text        NOT NULL COLLATE "C",
    number      integer     NOT NULL CHECK (number > 0),
    name        text        NOT NULL COLLATE "C",
    sha256      text        NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (folder, number)
);
"""


class SchemaError(RuntimeError):
    """The files and the database do not fit, or a file failed; names the file and the reason."""


class Migration(NamedTuple):
    """One file: `folder/adapters/schema/NNNN_name.sql`."""

    folder: str
    number: int
    name: str  # with the number, without .sql
    sha256: str
    sql: str

    def __str__(self) -> str:
        return f"{self.folder}/{self.name}"


async def migrate(dsn_owner: str, *, root: Path = ROOT) -> list[Migration]:
    """Apply what is missing, as the owner of the database; returns that. Raises SchemaError.

    Two at once: the second waits for the first and finds nothing left to do.
    """
    migrations = find_migrations(root)
    connection = await Servers(dsn_owner).connect()
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
        await connection.execute(_RECORDS)
        rows = await connection.fetch(
            "SELECT folder, number, name, sha256 FROM schema_runner.applied ORDER BY folder, number"
        )
        applied = {(row["folder"], row["number"]): (row["name"], row["sha256"]) for row in rows}
        missing = choose_missing(migrations, applied)
        for migration in missing:
            await _apply(connection, migration)
    finally:
        await connection.close()  # and with it the lock
    return missing


def find_migrations(root: Path = ROOT) -> list[Migration]:
    """Every migration of the tree, in the order in which they run."""
    migrations = []
    for folder in FOLDERS:
        numbers: dict[int, str] = {}
        for path in sorted((root / folder / "adapters" / "schema").glob("*.sql")):
            match = re.fullmatch(r"([0-9]{4})_[a-z0-9_]+", path.stem)
            if match is None or int(match[1]) == 0:
                raise SchemaError(f"{path} is not named NNNN_name.sql, counting from 0001")
            number = int(match[1])
            if number in numbers:
                raise SchemaError(f"{folder}: {numbers[number]} and {path.stem} share a number")
            numbers[number] = path.stem
            content = path.read_bytes()
            migrations.append(
                Migration(
                    folder,
                    number,
                    path.stem,
                    hashlib.sha256(content).hexdigest(),
                    content.decode("utf-8"),
                )
            )
    return migrations


def choose_missing(
    migrations: list[Migration], applied: dict[tuple[str, int], tuple[str, str]]
) -> list[Migration]:
    """What is still to run; `applied` maps (folder, number) to (name, SHA-256).

    Refuses a file that changed, was renamed or removed after it was applied, and a new file that
    has a lower number than an applied one: elsewhere they would run in another order.
    """
    missing = []
    for migration in migrations:
        record = applied.get((migration.folder, migration.number))
        if record is None:
            last = max((n for folder, n in applied if folder == migration.folder), default=0)
            if migration.number < last:
                raise SchemaError(
                    f"{migration} is new, but {migration.folder}/{last:04d} was applied before it:"
                    " give it the next number"
                )
            missing.append(migration)
        elif record != (migration.name, migration.sha256):
            raise SchemaError(
                f"{migration} is not the file that was applied ({record[0]}, SHA-256"
                f" {record[1][:12]}…, now {migration.sha256[:12]}…): restore it, and put the"
                " change into a file of its own with the next number"
            )
    for folder in FOLDERS:
        numbers = {migration.number for migration in migrations if migration.folder == folder}
        for gone in sorted(n for f, n in applied if f == folder and n < max(numbers, default=0)):
            if gone not in numbers:
                raise SchemaError(f"{folder}/{applied[folder, gone][0]} was applied and is gone")
    return missing


async def _apply(connection: Any, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{migration.folder}"')
            await connection.execute(f'SET LOCAL search_path TO "{migration.folder}"')
            before = await connection.fetchval("SELECT pg_current_xact_id()::text")
            await connection.execute(migration.sql)
            if before != await connection.fetchval("SELECT pg_current_xact_id()::text"):
                raise SchemaError(
                    f"{migration} ends the transaction it runs in: it is applied in part and not"
                    " recorded; repair the database by hand"
                )
            await connection.execute(
                "INSERT INTO schema_runner.applied (folder, number, name, sha256)"
                " VALUES ($1, $2, $3, $4)",
                migration.folder,
                migration.number,
                migration.name,
                migration.sha256,
            )
    except asyncpg.PostgresError as error:
        raise SchemaError(_explain(migration, error)) from error


def _explain(migration: Migration, error: Any) -> str:
    position = error.position
    line = "" if position is None else f":{migration.sql[: int(position) - 1].count(chr(10)) + 1}"
    hint = f" ({error.detail})" if error.detail else ""
    return f"{migration}.sql{line}: {error.message or error}{hint}"
