"""The embedded engine: ibis writes the SQL, DuckDB runs it, in memory.

Expressions name their tables; they are compiled once and run on our own connection. ibis's own DuckDB
backend is not used: ibis 12 with sqlglot >= 30.18 writes `DROP TABLE IF EXISTS` without a name
(ibis issues 12101, 12124), which breaks its caches and in-memory tables; compiling is unaffected.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import duckdb
import ibis  # type: ignore[import-untyped]

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]
    import pyarrow as pa  # type: ignore[import-untyped]

KEYS_MAX: Final = 16  # columns that a hash may be of


class DuckDbEngine:
    """One in-memory database for a run of the day's end."""

    def __init__(self, *, threads: int, memory_mib: int, spill: Path) -> None:
        """`spill` receives what does not fit into memory; PANs are in it as token and mask only."""
        self._database = duckdb.connect(
            ":memory:",
            config={
                "threads": threads,
                "memory_limit": f"{memory_mib}MiB",
                "temp_directory": str(spill),
                # Rows of a table have no order of their own: queries that need one say so.
                "preserve_insertion_order": False,
            },
        )
        # Views of files stand behind the tables: `keep` may replace one that it reads.
        self._database.execute("CREATE SCHEMA files; SET search_path = 'main,files'")
        # What expressions call by Spark's name: 63 bits of DuckDB's own hash.
        keys = [f"key_{number}" for number in range(KEYS_MAX)]
        forms = [
            f"({', '.join(keys[:count])}) AS (hash({', '.join(keys[:count])}) >> 1)::BIGINT"
            for count in range(1, KEYS_MAX + 1)
        ]
        self._database.execute(f"CREATE MACRO xxhash64 {', '.join(forms)}")
        self._queries: dict[object, str] = {}

    def load(self, name: str, rows: "pa.Table") -> None:
        self._database.register("incoming", rows)
        self._database.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM incoming")  # noqa: S608 - our own name
        self._database.unregister("incoming")

    def keep(self, name: str, expression: "ir.Table") -> None:
        self._database.execute(f"CREATE OR REPLACE TABLE {name} AS {self._query(expression)}")

    def read_parquet(self, name: str, paths: Sequence[str]) -> None:
        files = ", ".join(_literal(path) for path in paths)
        self._database.execute(f"DROP TABLE IF EXISTS main.{name}")
        self._database.execute(
            f"CREATE OR REPLACE VIEW files.{name} AS SELECT * FROM read_parquet([{files}])"  # noqa: S608 - our own name, quoted paths
        )

    def write_parquet(self, expression: "ir.Table", path: str) -> None:
        self._database.execute(
            f"COPY ({self._query(expression)}) TO {_literal(path)} (FORMAT parquet, COMPRESSION zstd)"
        )

    def rows(self, expression: "ir.Table") -> list[tuple[object, ...]]:
        return self._database.execute(self._query(expression)).fetchall()

    def table(self, expression: "ir.Table") -> "pa.Table":
        return self._database.sql(self._query(expression)).to_arrow_table()

    def close(self) -> None:
        self._database.close()

    def _query(self, expression: "ir.Table") -> str:
        known = expression.op()
        if known not in self._queries:
            self._queries[known] = str(ibis.to_sql(expression, dialect="duckdb"))
        return self._queries[known]


def _literal(path: str) -> str:
    quoted = path.replace("'", "''")
    return f"'{quoted}'"
