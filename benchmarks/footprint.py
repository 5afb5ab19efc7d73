"""What a transaction leaves behind: bytes of the store, of its write-ahead log, of logs and of a backup.

    python -m benchmarks.footprint [--requests N] [--terminals N] [--data DIR] [--json]

One node on the embedded PostgreSQL serves purchases; what tables, indexes, logs and WAL hold after them and did not
before is divided by their number. Then a backup is made and restored beside it, each timed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import asyncpg

from benchmarks.estate import Estate, EstateNode, Traffic

MODULE: Final = "benchmarks.footprint"
ROOT: Final = Path(__file__).resolve().parent.parent
IN_FLIGHT: Final = 64
SIZES: Final = """
SELECT coalesce(p.relname, c.relname) AS name,
       sum(pg_table_size(c.oid))::bigint AS rows, sum(pg_indexes_size(c.oid))::bigint AS indexes
FROM pg_class AS c
LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
LEFT JOIN pg_class AS p ON p.oid = i.inhparent
WHERE c.relnamespace = 'switch'::regnamespace AND c.relkind = 'r' GROUP BY 1
"""


async def held(dsn: str) -> dict[str, Any]:
    """Bytes of each table, and where the write-ahead log is."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("VACUUM ANALYZE")
        found: dict[str, Any] = {
            row["name"]: (row["rows"], row["indexes"]) for row in await connection.fetch(SIZES)
        }
        found["wal"] = await connection.fetchval(
            "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"
        )
        return found
    finally:
        await connection.close()


async def wal_of(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        at: int = await connection.fetchval(
            "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"
        )
        return at
    finally:
        await connection.close()


def logged(node: EstateNode) -> int:
    return sum(path.stat().st_size for path in Path(node.facts["log"]).glob("authorizations-*"))


def tongbao(*words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tongbao", *words, "--json"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(given: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="tongbao-benchmark-", dir=given.data))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)  # PostgreSQL's own user passes through
        node = EstateNode(stack, folder / "node", 2, Estate(given.terminals, 1))
        traffic = Traffic(node, stack, lines=IN_FLIGHT, used=given.terminals)
        traffic.trade(given.terminals, IN_FLIGHT)  # every terminal is known, every page there
        before, lines = asyncio.run(held(node.owner_dsn)), logged(node)
        wal = asyncio.run(wal_of(node.owner_dsn))
        cost = traffic.trade(given.requests, IN_FLIGHT)
        wal = asyncio.run(wal_of(node.owner_dsn)) - wal
        after = asyncio.run(held(node.owner_dsn))
        grown = {
            name: [
                round((now - was) / given.requests, 1)
                for now, was in zip(after[name], before[name], strict=False)
            ]
            for name in after
            if name != "wal" and after[name] != before[name]
        }
        config = str(folder / "node" / "tongbao.toml")
        data = node.facts["data"]
        place = ("--config", config, "--data", data) if Path(config).is_file() else ("--data", data)
        made = tongbao("backup", str(folder / "backup"), *place)
        back = tongbao("restore", str(folder / "backup"), "--data", str(folder / "restored"))
        return {
            "requests": given.requests,
            "cpu_us": cost["cpu_us"],
            "tables": grown,
            "store_bytes": round(sum(sum(each) for each in grown.values()), 1),
            "wal_bytes": round(wal / given.requests, 1),
            "log_bytes": round((logged(node) - lines) / given.requests, 1),
            "backup_bytes": round(made["bytes"] / (given.requests + given.terminals), 1),
            "backup_s": made["seconds"],
            "restore_s": back["seconds"],
            "restored": back["requests"],
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog=MODULE)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--terminals", type=int, default=1_000)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given)
    if given.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{found['requests']} purchases; bytes of each, of rows and of indexes:")
    for name, (rows, indexes) in sorted(found["tables"].items(), key=lambda each: -sum(each[1])):
        print(f"  {name:20} {rows:8} {indexes:8}")
    for name in ("store", "wal", "log", "backup"):
        print(f"  {name:20} {found[f'{name}_bytes']:8}")
    print(f"backup {found['backup_s']} s, restore {found['restore_s']} s of {found['restored']}")


if __name__ == "__main__":
    main()
