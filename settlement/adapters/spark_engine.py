"""The engine of days that outgrow one machine: ibis writes the SQL, a Spark cluster runs it.

Every table is a folder of Parquet files below one working folder, which the driver (this process)
and all workers see under the same path. What is kept is written there at once: a worker that is
lost takes nothing with it, and a plan never grows beyond one expression. PySpark is the extra
`spark`; Java 17 or later comes from the system.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import ibis  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from pyspark.sql import SparkSession

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]
    import pyarrow as pa

_SETTINGS: Final = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",  # an overflow is an error, as on DuckDB
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


class SparkEngine:
    """One session on the cluster at `master`, such as spark://host:7077 or local[2]."""

    def __init__(
        self,
        master: str,
        folder: Path,
        *,
        memory_mib: int,
        partitions: int,
        settings: dict[str, str] | None = None,
    ) -> None:
        """`folder` receives all tables; PANs are in them as token and mask only. `memory_mib` is
        that of the driver and of each executor, `partitions` how many parts a join is cut into."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        builder = SparkSession.builder.master(master).appName("tongbao")
        chosen = {
            **_SETTINGS,
            "spark.driver.memory": f"{memory_mib}m",
            "spark.executor.memory": f"{memory_mib}m",
            "spark.sql.shuffle.partitions": str(partitions),
            **(settings or {}),
        }
        for name, value in chosen.items():
            builder = builder.config(name, value)
        self._spark = builder.getOrCreate()
        self._made = 0
        self._folders: dict[str, Path] = {}
        self._queries: dict[object, str] = {}

    def load(self, name: str, rows: "pa.Table") -> None:
        place = self._place(name)
        place.mkdir()
        pq.write_table(rows, place / "rows.parquet")
        self._stand(name, place)

    def keep(self, name: str, expression: "ir.Table") -> None:
        place = self._place(name)
        self._spark.sql(self._query(expression)).write.parquet(str(place))
        self._stand(name, place)

    def read_parquet(self, name: str, paths: Sequence[str]) -> None:
        self._spark.read.parquet(*paths).createOrReplaceTempView(name)
        self._forget(name)

    def write_parquet(self, expression: "ir.Table", path: str) -> None:
        """One file in a folder, which is `path`: rows in the expression's order."""
        self._spark.sql(self._query(expression)).coalesce(1).write.parquet(path)

    def rows(self, expression: "ir.Table") -> list[tuple[object, ...]]:
        return [tuple(row) for row in self._spark.sql(self._query(expression)).collect()]

    def table(self, expression: "ir.Table") -> "pa.Table":
        return self._spark.sql(self._query(expression)).toArrow()

    def close(self) -> None:
        self._spark.stop()
        for name in list(self._folders):
            self._forget(name)

    def _query(self, expression: "ir.Table") -> str:
        known = expression.op()
        if known not in self._queries:
            self._queries[known] = str(ibis.to_sql(expression, dialect="pyspark"))
        return self._queries[known]

    def _place(self, name: str) -> Path:
        self._made += 1
        return self._folder / f"{name}-{self._made}"

    def _stand(self, name: str, place: Path) -> None:
        self._spark.read.parquet(str(place)).createOrReplaceTempView(name)
        self._forget(name)
        self._folders[name] = place

    def _forget(self, name: str) -> None:
        """Remove the files of the table that `name` was."""
        former = self._folders.pop(name, None)
        if former is not None:
            shutil.rmtree(former)
