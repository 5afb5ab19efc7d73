"""Where a run's relations lie: Parquet files in the data folder, or memory for small days.

The files are a cache of what PostgreSQL holds: one that is lost, cut off or another's is not found
by its content, and the run reads the store again. PANs are in them as token and mask only.
"""

import hashlib
import os
from collections.abc import AsyncIterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from settlement.columns import BATCH, Relation

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

    from settlement.ports import Engine


TEXT: Final = ".csv"
TEXT_READ: Final = 1 << 20  # bytes
# of rows that are read once or twice and were not sorted: half the time of the default
LOADED: Final[dict[str, Any]] = {
    "compression": "lz4",
    "use_dictionary": False,
    "write_statistics": False,
}


class MemoryExtracts:
    """`settlement.ports.Extracts` in the engine's memory; nothing outlives the run."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def keep(self, name: str, expression: "ir.Table", schema: pa.Schema) -> Relation:
        rows = self._engine.table(expression)
        _assert_columns(name, rows.schema, schema)
        rows = rows.cast(schema)  # NULLs may stand where this time there are none
        self._engine.load(name, rows)
        return Relation(rows)

    async def load(
        self, name: str, schema: pa.Schema, batches: AsyncIterable[pa.RecordBatch]
    ) -> Relation:
        rows = pa.Table.from_batches([batch async for batch in batches], schema)
        self._engine.load(name, rows)
        return Relation(rows)

    def find(self, name: str, sha256: str) -> Relation | None:
        return None


class ParquetRelation(Relation):
    """Rows in a file. Its text, which is hashed first and copied into the store then, lies beside it
    between the two."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = path.with_suffix(TEXT)

    def __len__(self) -> int:
        return int(pq.read_metadata(self._path).num_rows)

    @property
    def names(self) -> list[str]:
        return list(pq.read_schema(self._path).names)

    def batches(self) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(self._path) as file:
            yield from file.iter_batches(BATCH)

    def table(self) -> pa.Table:
        return pq.read_table(self._path)

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        with self._text.open("wb") as file:
            for part in super().csv():
                digest.update(part)
                file.write(part)
        return digest.hexdigest()

    def forget_text(self) -> None:
        self._text.unlink(missing_ok=True)

    def csv(self) -> Iterator[bytes]:
        if not self._text.exists():
            yield from super().csv()
            return
        with self._text.open("rb") as file:
            while part := file.read(TEXT_READ):
                yield part
        self._text.unlink()


class ParquetExtracts:
    """`settlement.ports.Extracts` as `<folder>/<name>.parquet`, each whole or not at all."""

    def __init__(self, engine: "Engine", folder: Path) -> None:
        self._engine, self._folder = engine, folder
        folder.mkdir(parents=True, exist_ok=True)
        for left in (*folder.glob(f"*{TEXT}"), *folder.glob(".*.part")):  # by a run that was killed
            left.unlink()

    def keep(self, name: str, expression: "ir.Table", schema: pa.Schema) -> Relation:
        part = self._part(name)
        self._engine.write_parquet(expression, str(part))
        _assert_columns(name, pq.read_schema(part), schema)
        return self._found(name, part)

    async def load(
        self, name: str, schema: pa.Schema, batches: AsyncIterable[pa.RecordBatch]
    ) -> Relation:
        part = self._part(name)
        try:
            with pq.ParquetWriter(part, schema, **LOADED) as file:
                async for batch in batches:
                    file.write_batch(batch)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return self._found(name, part)

    def find(self, name: str, sha256: str) -> Relation | None:
        path = self._path(name)
        relation = ParquetRelation(path)
        try:
            if relation.sha256 != sha256:
                return None
        except (OSError, pa.ArrowException):
            return None
        finally:
            relation.forget_text()
        self._engine.read_parquet(name, [str(path)])
        return relation

    def _found(self, name: str, part: Path) -> Relation:
        path = self._path(name)
        part.replace(path)
        self._engine.read_parquet(name, [str(path)])
        return ParquetRelation(path)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.parquet"

    def _part(self, name: str) -> Path:
        return self._folder / f".{name}.{os.getpid()}.part"


def _assert_columns(name: str, made: pa.Schema, expected: pa.Schema) -> None:
    found, wanted = (list(zip(one.names, one.types, strict=True)) for one in (made, expected))
    assert found == wanted, f"{name}: {made} is not {expected}"
