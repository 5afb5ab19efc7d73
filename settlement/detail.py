"""Every captured effect of a date as a line of its merchant's settlement report, in CSV.

The lines are made where the relations are; a merchant's file is a stretch of their bytes.
"""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Final

import ibis  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from settlement.columns import Relation, schema_of
from settlement.fee_book import DETAIL
from settlement.fees import MerchantFee
from settlement.matches import Match
from settlement.records import number_of, records_table, table_named

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]

LINES: Final = pa.schema([("merchant", pa.string()), ("line", pa.string())])


@cache
def lines() -> "ir.Table":
    """(merchant, line with its end) in order of merchant, terminal, batch, trace and number."""
    records = records_table("records")
    captured = records.filter(records.effect_minor != 0)
    fees = table_named("merchant_fees", schema_of(MerchantFee)).select(
        "key", "discount_minor", fee_plan_name="plan", fee_plan_version="plan_version"
    )
    matches = table_named("matches", schema_of(Match)).select(
        "match_class", "rule", "rule_version", key="record"
    )
    known = captured.join(fees, "key").left_join(matches, "key")
    columns: dict[str, ir.Value] = {name: known[name] for name in DETAIL if name in records.columns}
    columns |= {
        "batch": _six(known.batch),
        "stan": _six(known.stan),
        "net_minor": known.effect_minor - known.discount_minor,
        "discount_minor": known.discount_minor,
        "fee_plan": known.fee_plan_name + "/" + known.fee_plan_version.cast("string"),
        "match": known.match_class.fill_null("open"),
        "match_rule": (known.rule + "/" + known.rule_version.cast("string")).fill_null(""),
    }
    line = _cell(columns[DETAIL[0]])
    for name in DETAIL[1:]:
        line = line + "," + _cell(columns[name])
    order = ["merchant", "terminal", "batch", "stan"]
    made = known.select(*order, line=line + "\n", number=number_of(known.key))
    return made.order_by(*order, "number")[LINES.names]


def _six(value: "ir.IntegerValue") -> "ir.StringValue":
    return value.cast("string").lpad(6, "0")


def _cell(value: "ir.Value") -> "ir.StringValue":
    """A value as `csv` writes it; a text that a spreadsheet would run is marked."""
    if not value.type().is_string():
        return value.cast("string")
    first = value.substr(0, 1)
    marked = ibis.ifelse(first.isin(["=", "+", "-", "@", "\t"]), "'" + value, value)
    quoted = '"' + marked.replace('"', '""') + '"'
    return ibis.ifelse(marked.re_search('[",\\r\\n]'), quoted, marked)


def files(detail: Relation) -> Iterator[tuple[str, bytes]]:
    """(merchant, its lines), in order of merchant."""
    merchant: str | None = None
    parts: list[bytes] = []
    for batch in detail.batches():
        for name, part in _stretches(batch):
            if name != merchant:
                if merchant is not None:
                    yield merchant, b"".join(parts)
                merchant, parts = name, []
            parts.append(part)
    if merchant is not None:
        yield merchant, b"".join(parts)


def _stretches(batch: pa.RecordBatch) -> Iterator[tuple[str, bytes]]:
    runs = batch.column("merchant").dictionary_encode()
    ends = pc.run_end_encode(runs.indices)
    first = 0
    for value, end in zip(ends.values.to_pylist(), ends.run_ends.to_pylist(), strict=True):
        texts = batch.column("line").slice(first, end - first)
        yield runs.dictionary[value].as_py(), "".join(texts.to_pylist()).encode()
        first = end
