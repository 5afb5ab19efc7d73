"""The whole database out and in: PostgreSQL's own pg_dump and pg_restore, and what both can be held against.

The dump and the digests of its tables are of one snapshot: it is exported by a connection of ours, and pg_dump
takes it. A restore is one transaction: the database is empty, or it is whole.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from switch.adapters.postgres_place import find_binaries
from switch.adapters.servers import Servers
from switch.upkeep.manifest import Table

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator
    from pathlib import Path

SCHEMAS: Final = ("schema_runner", "switch", "terminals", "settlement")
# What a node may have given out since the backup, at most: numbers go on that far behind it.
SKIP_REQUESTS: Final = 1_000_000_000
SKIP_OTHERS: Final = 10_000_000

_TABLES = """
SELECT n.nspname || '.' || c.relname AS name FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""
_FACTS = """
SELECT (SELECT business_date::text FROM switch.business_day) AS business_date,
       (SELECT array_agg(DISTINCT lmk_id ORDER BY lmk_id) FROM switch.stored_key) AS lmk_ids,
       (SELECT seq || ':' || encode(hash, 'hex') FROM switch.audit_record
        ORDER BY seq DESC LIMIT 1) AS audit,
       (SELECT business_date || '=' || encode(hash, 'hex') FROM settlement.anchor
        ORDER BY business_date DESC LIMIT 1) AS ledger
"""


class ToolError(Exception):
    """pg_dump or pg_restore failed: which, its code, its last words."""

    def __init__(self, tool: str, code: int, said: str) -> None:
        super().__init__(f"{tool} ended with {code}: {said}")
        self.tool, self.code, self.said = tool, code, said


class Snapshot:
    """One instant of the database."""

    def __init__(self, connection: Any, dsn: str, name: str, at: dt.datetime) -> None:
        self._connection = connection
        self._dsn = dsn
        self._name = name
        self.at = at

    async def facts(self) -> dict[str, Any]:
        row = (await self._connection.fetch(_FACTS))[0]
        schema = await self._connection.fetch(
            "SELECT folder || '/' || name FROM schema_runner.applied ORDER BY folder, number"
        )
        return {
            "business_date": row["business_date"],
            "lmk_ids": row["lmk_ids"] or [],
            "audit_anchor": row["audit"] or "",
            "ledger_anchor": row["ledger"] or "",
            "schema": [each[0] for each in schema],
        }

    async def tables(self) -> list[Table]:
        return await digests(self._connection)

    def dump(self, target: Path, postgres_bin: Path | None) -> None:
        """Blocking. Raises ToolError."""
        arguments = ["--format=custom", "--compress=gzip:3", f"--snapshot={self._name}"]
        run_tool("pg_dump", [*arguments, f"--file={target}"], self._dsn, postgres_bin)


@asynccontextmanager
async def snapshot(dsn_owner: str) -> AsyncIterator[Snapshot]:
    servers = Servers(dsn_owner)
    dsn = await servers.primary()
    connection = await servers.connect()
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            name = await connection.fetchval("SELECT pg_export_snapshot()")
            at = await connection.fetchval("SELECT clock_timestamp()")
            yield Snapshot(connection, dsn, name, at)
    finally:
        await connection.close()


async def digests(connection: Any) -> list[Table]:
    """Rows and digest of every table of ours; the same rows in whatever order give the same."""
    found = []
    for row in await connection.fetch(_TABLES, list(SCHEMAS)):
        schema, _, table = row["name"].partition(".")
        counted = await connection.fetchrow(
            "SELECT count(*) AS rows, coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text"  # noqa: S608
            f' AS digest FROM "{schema}"."{table}" AS t'
        )
        found.append(Table(row["name"], counted["rows"], counted["digest"]))
    return found


async def note_backup(dsn: str, node: str, name: str, size: int, detail: str) -> None:
    connection = await Servers(dsn).connect()
    try:
        await connection.execute(
            "INSERT INTO switch.upkeep (kind, object, rows, detail, node)"
            " VALUES ('backup', $1, $2, $3, $4)",
            name,
            size,
            detail,
            node,
        )
    finally:
        await connection.close()


async def is_empty(dsn_owner: str) -> bool:
    """None of our schemas is there. Raises what `Servers.connect` does."""
    connection = await Servers(dsn_owner).connect()
    try:
        found = await connection.fetchval(
            "SELECT count(*) FROM pg_namespace WHERE nspname = ANY ($1::text[])", list(SCHEMAS)
        )
        return not found
    finally:
        await connection.close()


async def load(dsn_owner: str, source: Path, postgres_bin: Path | None) -> list[Table]:
    """Everything, in one transaction; what is there then. Raises ToolError."""
    servers = Servers(dsn_owner)
    arguments = ["--single-transaction", "--exit-on-error", "--no-owner", str(source)]
    run_tool("pg_restore", arguments, await servers.primary(), postgres_bin)
    connection = await servers.connect()
    try:
        await connection.execute("ANALYZE")
        return await digests(connection)
    finally:
        await connection.close()


async def go_on_after(dsn_owner: str, node: str, detail: str) -> int:
    """Numbers that may have been given out since the backup are skipped, and the restore is written down;
    how many requests there are."""
    connection = await Servers(dsn_owner).connect()
    try:
        async with connection.transaction():
            await connection.execute(
                "UPDATE switch.number_block"
                " SET given = given + CASE WHEN name = 'request' THEN $1::bigint ELSE $2::bigint END",
                SKIP_REQUESTS,
                SKIP_OTHERS,
            )
            await connection.execute(
                "SELECT setval('switch.writer_id', nextval('switch.writer_id') + 1000000)"
            )
            requests: int = await connection.fetchval("SELECT count(*) FROM switch.request")
            await connection.execute(
                "INSERT INTO switch.upkeep (kind, object, rows, detail, node)"
                " VALUES ('restore', '', $1, $2, $3)",
                requests,
                detail,
                node,
            )
            await connection.execute(
                "SELECT switch.audit_v1('node', 'store.restore', $1, '', $2)", node, detail
            )
        return requests
    finally:
        await connection.close()


def run_tool(tool: str, arguments: list[str], dsn: str, postgres_bin: Path | None) -> None:
    """A tool of PostgreSQL's on one server. The password goes by the environment, which other users can not
    read; a command line they can."""
    parts = urlsplit(dsn)
    environment = {**os.environ}
    if parts.password is not None:
        environment["PGPASSWORD"] = unquote(parts.password)
        user = parts.netloc.rpartition("@")[0].partition(":")[0]
        host = parts.netloc.rpartition("@")[2]
        dsn = urlunsplit(parts._replace(netloc=f"{user}@{host}"))
    done = subprocess.run(  # noqa: S603 - the binary that the configuration or the wheel names
        [find_binaries(postgres_bin) / tool, "--no-password", f"--dbname={dsn}", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise ToolError(tool, done.returncode, " / ".join(words[-3:]))
