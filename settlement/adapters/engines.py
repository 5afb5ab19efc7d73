"""The engine that a node's settings name."""

from pathlib import Path

from settlement.adapters.duckdb_engine import DuckDbEngine
from settlement.ports import Engine
from settlement.run import UsageError
from settlement.settings import Settings


def open_engine(settings: Settings, folder: Path) -> Engine:
    """DuckDB in this process, or a session on the Spark cluster that `settings.engine` names.

    `folder` receives what does not fit into memory; a cluster keeps all its tables there, so its
    workers must see it under the same path. PySpark is imported only where it is asked for.
    """
    if settings.engine == "duckdb":
        return DuckDbEngine(
            threads=settings.engine_threads, memory_mib=settings.engine_memory_mib, spill=folder
        )
    try:
        from settlement.adapters.spark_engine import SparkEngine
    except ImportError as missing:
        raise UsageError("engine_missing", engine=settings.engine) from missing
    return SparkEngine(
        settings.engine,
        folder,
        memory_mib=settings.engine_memory_mib,
        partitions=settings.engine_threads,
    )
