"""Relations: the same rows as the Structs, one text wherever they lie, and the same as one by one.

The oracles work on one row, record or entry at a time (`oracle.py`, `com.parse`, `ledger.entry`).
"""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from settlement import bulk_posting, records as expressions
from settlement.adapters.extracts import MemoryExtracts, ParquetExtracts
from settlement.clearing import Capture, ClearingRecord, Transaction
from settlement.columns import Relation, read_csv, relation, schema_of, structs_of, table_of
from settlement.entry_columns import ENTRY_COLUMNS, entry_relation
from settlement.freeze import _load_tariffs
from settlement.ledger import Entry, entry
from settlement.records import roots_of
from tests.depth import examples
from tests.settlement.oracle import records_of
from tests.settlement.world import (
    ACQUIRER,
    DAY,
    ENGINE,
    NEXT,
    captures_of,
    trade,
)

SLOW = settings(
    max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\x1e\x1f\r"), max_size=6)


def entries_of(texts: list[str]) -> list[Entry]:
    made = [
        entry(
            "captured",
            "captured",
            f"c{number}",
            {"effect": 100, "discount": number},
            business_date=DAY,
            step="post",
            currency="156",
            acquirer=ACQUIRER,
            settlement_date=DAY,
            merchant=text,
            terminal=text[::-1],
            batch=number,
        )
        for number, text in enumerate(texts)
    ]
    return [one for one in made if one is not None]


# -- one text -------------------------------------------------------------------------------------


@SLOW
@given(st.lists(TEXTS, max_size=5))
def test_structs_columns_and_text_are_the_same(texts: list[str]) -> None:
    entries = entries_of(texts)
    rows = entry_relation(entries)
    assert structs_of(Entry, rows.table()) == entries
    text = b"".join(rows.csv())
    again = read_csv(text, ENTRY_COLUMNS) if text else ENTRY_COLUMNS.empty_table()
    assert again.equals(rows.table())
    assert Relation(again).sha256 == rows.sha256


def test_nothing_and_an_empty_text_differ() -> None:
    shown = table_of(Transaction, [trade(1, rrn=None), trade(2, rrn="")])
    again = read_csv(b"".join(Relation(shown).csv()), schema_of(Transaction))
    assert again.column("rrn").to_pylist() == [None, ""]


@pytest.fixture
def rows() -> pa.Table:
    return table_of(ClearingRecord, records_of(DAY, captures_of([trade(1)]), [trade(1)], {}))


def extracts(folder: Path) -> ParquetExtracts:
    return ParquetExtracts(ENGINE, folder)


async def _batches(rows: pa.Table) -> Any:
    for batch in rows.to_batches():
        yield batch


def kept(folder: Path, rows: pa.Table) -> Relation:
    schema = schema_of(ClearingRecord)
    return asyncio.run(extracts(folder).load("records", schema, _batches(rows)))


def test_an_extract_is_found_by_its_content(tmp_path: Path, rows: pa.Table) -> None:
    in_file, in_memory = kept(tmp_path, rows), Relation(rows)
    assert in_file.sha256 == in_memory.sha256
    assert b"".join(in_file.csv()) == b"".join(in_memory.csv())
    assert list(tmp_path.glob("*.csv")) == [], "the text is there until it is read"
    found = extracts(tmp_path).find("records", in_memory.sha256)
    assert found is not None
    assert found.table().equals(rows)
    assert list(tmp_path.glob("*.csv")) == []


@pytest.mark.parametrize("harm", ["lost", "cut", "other"])
def test_a_lost_or_foreign_extract_is_not_found(tmp_path: Path, rows: pa.Table, harm: str) -> None:
    sha256 = kept(tmp_path, rows).sha256
    path = tmp_path / "records.parquet"
    if harm == "lost":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        kept(tmp_path, pa.concat_tables([rows, rows]))
    assert extracts(tmp_path).find("records", sha256) is None
    assert list(tmp_path.glob("*.csv")) == [], "a text that nobody will read"


def test_an_expression_of_other_types_is_refused(tmp_path: Path, rows: pa.Table) -> None:
    ENGINE.load("records", rows)
    expression = expressions.records_table("records").select("key").order_by("key")
    for one in (extracts(tmp_path), MemoryExtracts(ENGINE)):
        with pytest.raises(AssertionError, match="is not key: int64"):
            one.keep("made", expression, pa.schema([("key", pa.int64())]))


# -- records --------------------------------------------------------------------------------------


EARLIER = 500  # a request of a date before; its root may be known


@st.composite
def journals(draw: st.DrawFn) -> tuple[list[Capture], list[Transaction]]:
    """Chains of any state and date, and opposites of what an earlier date captured."""
    trades: list[Transaction] = []
    for number in range(1, draw(st.integers(0, 6)) + 1):
        original = draw(st.sampled_from([None, EARLIER, *(one.request_id for one in trades)]))
        trades.append(
            trade(
                number,
                draw(st.sampled_from((0, 700))),
                type=draw(st.sampled_from(("purchase", "void", "refund", "adjustment"))),
                state=draw(st.sampled_from(("approved", "approved", "declined", "unknown"))),
                business_date=draw(st.sampled_from((DAY, DAY, DAY - timedelta(days=1)))),
                settlement_date=draw(st.sampled_from((DAY, NEXT, None))),
                link_stan=draw(st.sampled_from(("000001", None))),
                de33=draw(st.sampled_from((None, "0001", "48021000  "))),
                original_request_id=original,
            )
        )
    captures = [msgspec.structs.replace(one, business_date=DAY) for one in captures_of(trades)]
    for one in list(captures):
        if draw(st.booleans()):
            effect = -one.effect_minor
            number = one.capture_id + 100
            captures.append(msgspec.structs.replace(one, capture_id=number, effect_minor=effect))
    return captures, trades


class _Tariffs:
    """Stands for `Tariffs`: one card type, one plan."""

    def card_type(self, route: str) -> str:
        return f"type of {route}"

    def merchant_plan(self, merchant: str, on: Any) -> Any:
        return msgspec.defstruct("Plan", [("name", str), ("version", int)])("flat", 3)


@SLOW
@given(journals(), st.sampled_from(({}, {EARLIER: 400})))
def test_records_are_what_one_by_one_gives(
    journal: tuple[list[Capture], list[Transaction]], known: dict[int, int]
) -> None:
    captures, trades = journal
    ENGINE.load("captures", table_of(Capture, captures))
    ENGINE.load("transactions", table_of(Transaction, trades))
    found = [line[:2] for line in ENGINE.rows(expressions.follow_ups(DAY))]
    roots = roots_of(found, known)  # type: ignore[arg-type]
    columns = list(zip(*roots, strict=True)) if roots else [(), ()]
    ENGINE.load("roots", pa.table(columns, schema=expressions.ROOTS))
    run: Any = msgspec.defstruct("Run", ["engine", "tariffs", "date"])(ENGINE, _Tariffs(), DAY)
    _load_tariffs(run)
    made = structs_of(ClearingRecord, ENGINE.table(expressions.records(DAY)))
    expected = [
        msgspec.structs.replace(
            one,
            card_type=f"type of {one.card_type}",
            plan="flat" if one.captured else "",
            plan_version=3 if one.captured else 0,
        )
        for one in records_of(DAY, captures, trades, known)
    ]
    assert made == expected


# -- entries --------------------------------------------------------------------------------------

LINES = pa.schema(
    [
        *((name, pa.string()) for name in ("key", "currency", "acquirer", "merchant", "terminal")),
        ("layer", pa.string()),
        ("settlement_date", pa.date32()),
        *((name, pa.int64()) for name in ("batch", "effect", "discount")),
    ]
)


@SLOW
@given(st.lists(st.tuples(TEXTS, st.integers(-500, 500), st.integers(-1, 1)), max_size=5))
def test_entries_of_a_relation_are_those_of_one_by_one(
    lines: list[tuple[str, int, int]],
) -> None:
    rows: list[dict[str, Any]] = [
        {
            "key": f"c{number}",
            "currency": "156",
            "acquirer": ACQUIRER,
            "merchant": merchant,
            "terminal": "T",
            "layer": "pending",
            "settlement_date": NEXT,
            "batch": number,
            "effect": effect,
            "discount": discount,
        }
        for number, (merchant, effect, discount) in enumerate(lines)
    ]
    ENGINE.load("lines", pa.Table.from_pylist(rows, LINES))
    table = expressions.table_named("lines", LINES)
    variables = {"effect": table.effect, "discount": table.discount}
    legs = bulk_posting.legs("captured", table, variables)
    made = ENGINE.table(bulk_posting.entries("captured", "captured", legs, DAY, "post"))
    one_by_one = [
        entry(
            "captured",
            "captured",
            row["key"],
            {"effect": row["effect"], "discount": row["discount"]},
            business_date=DAY,
            step="post",
            **{n: row[n] for n in LINES.names if n not in ("key", "effect", "discount")},
        )
        for row in rows
    ]
    expected = entry_relation([one for one in one_by_one if one is not None]).table()
    assert made.sort_by("key").to_pylist() == expected.sort_by("key").to_pylist()


def test_a_relation_of_nothing_has_no_text() -> None:
    assert b"".join(relation(ClearingRecord).csv()) == b""
