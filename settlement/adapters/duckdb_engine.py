"""The embedded engine: ibis writes the SQL, DuckDB runs it, in memory.

Expressions are compiled from unbound tables and run on our own connection. ibis's own DuckDB
backend is not used: ibis 12 with sqlglot >= 30.18 writes `DROP TABLE IF EXISTS` without a name
(ibis issues 12101, 12124), which breaks its caches and in-memory tables; compiling is unaffected.
"""

import itertools
from typing import TYPE_CHECKING

import duckdb
import ibis  # type: ignore[import-untyped]

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]
    import pyarrow as pa  # type: ignore[import-untyped]


class DuckDbEngine:
    """One in-memory database for a run of the day's end."""

    def __init__(self, *, threads: int | None = None, memory: str | None = None) -> None:
        settings: dict[str, str | bool | int | float | list[str]] = {}
        if threads is not None:
            settings["threads"] = threads
        if memory is not None:
            settings["memory_limit"] = memory
        self._database = duckdb.connect(":memory:", config=settings)
        self._names = itertools.count()

    def table(self, name: str, rows: "pa.Table") -> "ir.Table":
        made = f"{name}_{next(self._names)}"
        self._database.register("incoming", rows)
        self._database.execute(f"CREATE TABLE {made} AS SELECT * FROM incoming")  # noqa: S608 - own name
        self._database.unregister("incoming")
        return ibis.table(ibis.memtable(rows).schema(), name=made)

    def keep(self, expression: "ir.Table") -> "ir.Table":
        made = f"kept_{next(self._names)}"
        query = ibis.to_sql(expression, dialect="duckdb")
        self._database.execute(f"CREATE TABLE {made} AS {query}")
        return ibis.table(expression.schema(), name=made)

    def rows(self, expression: "ir.Table") -> list[tuple[object, ...]]:
        return self._database.execute(str(ibis.to_sql(expression, dialect="duckdb"))).fetchall()

    def close(self) -> None:
        self._database.close()
