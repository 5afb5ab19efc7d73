"""Entries as a relation: the columns of `Entry`, and their hash last, as a store takes them."""

from collections.abc import Iterable
from typing import Final

import pyarrow as pa  # type: ignore[import-untyped]

from settlement.columns import Relation, schema_of, table_of
from settlement.ledger import Entry

ENTRY_COLUMNS: Final = schema_of(Entry).append(pa.field("hash", pa.string()))


def entry_relation(entries: Iterable[Entry]) -> Relation:
    """Entries in columns, each with its hash."""
    made = list(entries)
    if not made:  # as `table_of`: no array, no pandas
        return Relation(pa.Table.from_batches([], ENTRY_COLUMNS))
    hashes = pa.array(["\\x" + one.hash.hex() for one in made], pa.string())
    return Relation(table_of(Entry, made).append_column("hash", hashes))
