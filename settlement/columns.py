"""Facts in columns: one Arrow schema for each Struct, and one canonical text of their rows.

The day's bulk never becomes Python objects: it stays in relations whose columns have the names of
the Structs in `settlement`. Bytes are text here as PostgreSQL writes them (`\\x` and hex digits), so
that a relation goes to the store and comes back by COPY without a row being touched.
"""

import hashlib
import types
import typing
from collections.abc import Iterable, Iterator
from datetime import date
from functools import cache, cached_property, lru_cache
from operator import attrgetter
from typing import Any, Final, Literal, TypeVar, Union

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv as pa_csv  # type: ignore[import-untyped]

Struct = TypeVar("Struct", bound=msgspec.Struct)

BATCH: Final = 65_536  # rows
_TYPES: Final[dict[object, pa.DataType]] = {
    str: pa.string(),
    bytes: pa.string(),
    int: pa.int64(),
    date: pa.date32(),
    tuple[str, ...]: pa.string(),  # as PostgreSQL writes an array
    tuple[int, ...]: pa.string(),
}


@cache
def schema_of(shape: type[msgspec.Struct]) -> pa.Schema:
    """Columns of a Struct's fields, in order; instants have no place in the books and are left out."""
    return pa.schema([(name, _TYPES[kind]) for name, kind in _kinds(shape).items()])


@cache
def _kinds(shape: type[msgspec.Struct]) -> dict[str, object]:
    kinds: dict[str, object] = {}
    for name, hint in typing.get_type_hints(shape).items():
        if name not in shape.__struct_fields__:
            continue
        kind = hint
        if typing.get_origin(hint) in (Union, types.UnionType):
            (kind,) = (one for one in typing.get_args(hint) if one is not type(None))
        if typing.get_origin(kind) is Literal:
            kind = str
        if kind in _TYPES:
            kinds[name] = kind
    return kinds


def text_arrays(shape: type[msgspec.Struct]) -> frozenset[str]:
    """The columns that hold an array of texts, as text."""
    return frozenset(name for name, kind in _kinds(shape).items() if kind == tuple[str, ...])


def table_of(shape: type[msgspec.Struct], items: Iterable[msgspec.Struct]) -> pa.Table:
    """The relation of some Structs, row by row in their order."""
    rows = list(items)
    if not rows:  # an array, even of nothing, makes pyarrow import pandas: 0.2 s of every command
        return pa.Table.from_batches([], schema_of(shape))
    return pa.table(
        {
            name: pa.array(_cells(kind, map(attrgetter(name), rows)), _TYPES[kind], size=len(rows))
            for name, kind in _kinds(shape).items()
        },
        schema_of(shape),
    )


def structs_of(shape: type[Struct], rows: pa.Table) -> list[Struct]:
    """The Structs of a relation's rows: for the few that need a look of their own."""
    kinds = _kinds(shape)
    columns = []
    for name, kind in kinds.items():
        values = rows.column(name).to_pylist()
        if kind is bytes:
            values = [bytes.fromhex(value[2:]) for value in values]
        elif kind == tuple[str, ...]:
            values = [tuple(_texts_of(value)) for value in values]
        elif kind == tuple[int, ...]:
            values = [tuple(map(int, value[1:-1].split(","))) for value in values]
        columns.append(values)
    names = list(kinds)
    return [shape(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]


def _cells(kind: object, values: Iterable[Any]) -> Iterable[object]:
    """A field's values as its column has them: most as they are."""
    if kind is bytes:
        return (None if one is None else "\\x" + one.hex() for one in values)
    if kind == tuple[str, ...]:
        return ("{" + ",".join(map(_element, one)) + "}" for one in values)
    if kind == tuple[int, ...]:
        return ("{" + ",".join(map(str, one)) + "}" for one in values)
    return values


@lru_cache(10_000)  # names of accounts and owners, mostly the same ones
def _element(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _texts_of(array: str) -> Iterator[str]:
    """The elements of a text array in which each one is quoted."""
    text, at = array[1:-1], 0
    while at < len(text):
        assert text[at] == '"', array
        at += 1
        found = []
        while text[at] != '"':
            at += text[at] == "\\"
            found.append(text[at])
            at += 1
        yield "".join(found)
        at += 2


class Relation:
    """Rows of one schema, in order, in memory; an adapter may keep them elsewhere."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    @property
    def names(self) -> list[str]:
        return list(self._rows.schema.names)

    def batches(self) -> Iterator[pa.RecordBatch]:
        yield from self._rows.to_batches(BATCH)

    def table(self) -> pa.Table:
        """All of it in memory."""
        return self._rows

    def csv(self) -> Iterator[bytes]:
        """The canonical text, as COPY takes it: no heading, texts quoted, NULL is nothing at all."""
        options = pa_csv.WriteOptions(include_header=False, quoting_style="needed")
        for batch in self.batches():
            text = pa.BufferOutputStream()
            pa_csv.write_csv(batch, text, options)
            yield text.getvalue().to_pybytes()

    def forget_text(self) -> None:
        """Drop what the hash has kept of the text where nobody will copy it."""

    @cached_property
    def sha256(self) -> str:
        """Hex, over the canonical text: the same rows in the same order, wherever they are kept."""
        digest = hashlib.sha256()
        for part in self.csv():
            digest.update(part)
        return digest.hexdigest()


def relation(shape: type[msgspec.Struct], items: Iterable[msgspec.Struct] = ()) -> Relation:
    return Relation(table_of(shape, items))


def read_csv(data: bytes, schema: pa.Schema) -> pa.Table:
    """Rows of the canonical text, or of PostgreSQL's: nothing is NULL, `""` is an empty text."""
    return pa_csv.read_csv(
        pa.BufferReader(data),
        read_options=pa_csv.ReadOptions(column_names=schema.names, block_size=len(data) + 1),
        convert_options=pa_csv.ConvertOptions(
            column_types=schema,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
