"""The embedded engine for days of a few rows: getting ready to read them is most of what a close costs.

So in every run it plans nothing, and what it reads again it does not parse and bind again: half for each
of some thousand closes. In `make test-deep` it does, as the command's own engine always does
(`tests/crash`, `tests/end_to_end`, the command's tests).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from settlement.adapters.duckdb_engine import DuckDbEngine
from tests.depth import DEPTH

if TYPE_CHECKING:
    import duckdb
    import ibis.expr.types as ir  # type: ignore[import-untyped]
    import pyarrow as pa  # type: ignore[import-untyped]


def small_engine() -> DuckDbEngine:
    made = DuckDbEngine if DEPTH > 1 else SmallEngine
    return made(threads=1, memory_mib=256, spill=Path(tempfile.gettempdir()))


class SmallEngine(DuckDbEngine):
    """One for the closes of many tests: the same questions on tables of the same columns."""

    def __init__(self, *, threads: int, memory_mib: int, spill: Path) -> None:
        super().__init__(threads=threads, memory_mib=memory_mib, spill=spill)
        self._database.execute("PRAGMA disable_optimizer")
        self._statements: dict[object, duckdb.Statement] = {}
        self._relations: dict[object, duckdb.DuckDBPyRelation] = {}

    def keep(self, name: str, expression: ir.Table) -> None:
        known = (name, expression.op())
        if known not in self._statements:
            text = f"CREATE OR REPLACE TABLE {name} AS {self._query(expression)}"
            self._statements[known] = self._parsed(text)
        self._database.execute(self._statements[known])

    def rows(self, expression: ir.Table) -> list[tuple[object, ...]]:
        known = expression.op()
        if known not in self._statements:
            self._statements[known] = self._parsed(self._query(expression))
        return self._database.execute(self._statements[known]).fetchall()

    def table(self, expression: ir.Table) -> pa.Table:
        known = expression.op()
        if known not in self._relations:
            self._relations[known] = self._database.sql(self._query(expression))
        return self._relations[known].to_arrow_table()

    def _parsed(self, text: str) -> duckdb.Statement:
        (statement,) = self._database.extract_statements(text)
        return statement
