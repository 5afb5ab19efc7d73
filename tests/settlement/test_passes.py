"""The matching passes as relations: an oracle in plain Python, then what may not change a result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ibis  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings, strategies as st

from settlement import passes
from settlement.adapters.duckdb_engine import DuckDbEngine
from settlement.passes import BULK, COLUMNS, OURS_LEFT, PASSES, THEIRS_LEFT, pair_tables
from tests.settlement.engines import Line, Pairs, oracle, sides, table
from tests.settlement.world import ENGINE

EXAMPLES = settings(max_examples=20, deadline=None)


both_ways = pytest.mark.parametrize("bulk", [BULK, 0], ids=["counted", "hashed first"])


def matched(
    ours: Sequence[Line], theirs: Sequence[Line], bulk: int = BULK
) -> tuple[Pairs, set[str], set[str]]:
    """The same shape as `oracle`, by the passes."""
    ENGINE.load("ours", table(ours, "key"))
    ENGINE.load("theirs", table(theirs, "row"))
    found = pair_tables(ENGINE, "ours", "theirs", bulk=bulk)
    lines = [] if found is None else ENGINE.rows(found.order_by(["record", "row"]))
    left = []
    for name, identity in ((OURS_LEFT, "key"), (THEIRS_LEFT, "row")):
        side = ibis.table({identity: "string", **COLUMNS}, name=name)
        left.append({str(row[0]) for row in ENGINE.rows(side.select(identity).order_by(identity))})
    return [(str(rule), str(record), str(row)) for rule, record, row in lines], left[0], left[1]


@both_ways
@EXAMPLES
@given(drawn=sides())
def test_passes_are_what_the_oracle_says(drawn: tuple[list[Line], list[Line]], bulk: int) -> None:
    assert matched(*drawn, bulk) == oracle(*drawn)


@EXAMPLES
@given(sides())
def test_matched_and_open_are_both_sides(drawn: tuple[list[Line], list[Line]]) -> None:
    ours, theirs = drawn
    pairs, ours_left, theirs_left = matched(ours, theirs)
    records, rows = [pair[1] for pair in pairs], [pair[2] for pair in pairs]
    assert sorted([*records, *ours_left]) == sorted(line["key"] for line in ours)
    assert sorted([*rows, *theirs_left]) == sorted(line["row"] for line in theirs)
    by_record = {line["key"]: line for line in ours}
    by_row = {line["row"]: line for line in theirs}
    keys = {one.name: one.keys for one in PASSES}
    for rule, record, row in pairs:
        for name in keys[rule]:
            assert by_record[record][name] == by_row[row][name] != ""


@EXAMPLES
@given(sides(), st.randoms(use_true_random=False))
def test_order_changes_nothing(drawn: tuple[list[Line], list[Line]], chance: Any) -> None:
    ours, theirs = drawn
    expected = matched(ours, theirs)
    chance.shuffle(ours)
    chance.shuffle(theirs)
    assert matched(ours, theirs) == expected


@EXAMPLES
@given(sides(), st.integers(0, 8))
def test_splitting_a_file_changes_nothing(drawn: tuple[list[Line], list[Line]], at: int) -> None:
    # the rows of the second file have other ids and the same content
    ours, theirs = drawn
    expected = matched(ours, theirs)
    moved = {line["row"]: f"z{line['row']}" for line in theirs[at:]}
    split = [{**line, "row": moved.get(line["row"], line["row"])} for line in theirs]
    back = {new: old for old, new in moved.items()}
    pairs, ours_left, theirs_left = matched(ours, split)
    assert sorted((r, k, back.get(row, row)) for r, k, row in pairs) == sorted(expected[0])
    assert ours_left == expected[1]
    assert {back.get(row, row) for row in theirs_left} == expected[2]


@EXAMPLES
@given(sides(most=5))
def test_a_file_twice_matches_no_record_twice(drawn: tuple[list[Line], list[Line]]) -> None:
    ours, theirs = drawn
    again = [{**line, "row": f"z{line['row']}", "content": f"z{line['row']}"} for line in theirs]
    pairs, ours_left, theirs_left = matched(ours, [*theirs, *again])
    assert (pairs, ours_left, theirs_left) == oracle(ours, [*theirs, *again])
    assert len({record for _, record, _ in pairs}) == len(pairs)
    assert len(theirs_left) == 2 * len(theirs) - len(pairs)


@both_ways
def test_keys_that_stand_a_thousand_times_cost_no_product(bulk: int) -> None:
    line = {**dict.fromkeys(COLUMNS, "x"), "amount": 1, "day": 1, "rank": 0}
    ours = [{**line, "key": f"o{n:04d}", "content": f"{n:04d}"} for n in range(2_000)]
    theirs = [{**line, "row": f"t{n:04d}", "content": f"{n:04d}"} for n in range(1_999)]
    pairs, ours_left, theirs_left = matched(ours, theirs, bulk)
    assert pairs == [("exact", f"o{n:04d}", f"t{n:04d}") for n in range(1_999)]
    assert (ours_left, theirs_left) == ({"o1999"}, set())


@pytest.mark.parametrize("constant", [True, False])
def test_hashes_that_collide_are_compared_in_full(
    monkeypatch: pytest.MonkeyPatch, *, constant: bool
) -> None:
    """With one hash for all keys, or one for every two, the result is the same."""
    ours = [
        {**dict.fromkeys(COLUMNS, "x"), "rrn": "", "auth": "", "amount": n, "day": 1, "rank": 0}
        | {"stan": f"{n}", "key": f"o{n}", "content": f"o{n}"}
        for n in range(5)
    ]
    theirs = [{**line, "row": f"t{line['key']}"} for line in reversed(ours[:4])]
    expected = matched(ours, theirs)

    def poor(columns: list[Any]) -> Any:
        return next(
            (column * 0 if constant else column // 2)
            for column in columns
            if column.get_name() == "amount"
        )

    monkeypatch.setattr(passes, "_hash", poor)
    monkeypatch.setattr(passes, "PASSES", tuple(one for one in PASSES if "amount" in one.keys))
    passes.once_plan.cache_clear()
    try:
        assert matched(ours, theirs, 0) == expected == oracle(ours, theirs)
    finally:
        passes.once_plan.cache_clear()


# -- tables from files --------------------------------------------------------------------------


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    made = DuckDbEngine(threads=1, memory_mib=128, spill=tmp_path / "spill")
    yield made
    made.close()


def test_sides_may_be_files(engine: DuckDbEngine, tmp_path: Path) -> None:
    line = {**dict.fromkeys(COLUMNS, "x"), "amount": 1, "day": 1, "rank": 0, "content": "c"}
    for number in (1, 2):
        side = [{**line, "key": f"o{number}", "content": f"{number}", "stan": f"{number}"}]
        pq.write_table(table(side, "key"), tmp_path / f"it's ours {number}.parquet")
    rows = [{**line, "row": f"t{n}", "content": f"{n}", "stan": f"{n}"} for n in (2, 3)]
    pq.write_table(table(rows, "row"), tmp_path / "theirs.parquet")
    engine.read_parquet(
        "ours", [str(tmp_path / f"it's ours {number}.parquet") for number in (1, 2)]
    )
    engine.read_parquet("theirs", [str(tmp_path / "theirs.parquet")])
    found = in_order(pair_tables(engine, "ours", "theirs"))
    assert engine.rows(found) == [("rrn", "o1", "t3"), ("exact", "o2", "t2")]
    engine.write_parquet(found, str(tmp_path / "pairs.parquet"))
    written = pq.read_table(tmp_path / "pairs.parquet").to_pylist()
    assert [tuple(line.values()) for line in written] == engine.rows(found)
    # a table takes a file's name, and the other way round
    engine.load("ours", table([], "key"))
    assert pair_tables(engine, "ours", "theirs") is None
    engine.read_parquet("ours", [str(tmp_path / "it's ours 2.parquet")])
    found = in_order(pair_tables(engine, "ours", "theirs"))
    assert engine.rows(found) == [("exact", "o2", "t2")]


def in_order(found: Any) -> Any:
    assert found is not None
    return found.order_by("record")


def test_written_rows_keep_their_order(engine: DuckDbEngine, tmp_path: Path) -> None:
    lines = [
        {**dict.fromkeys(COLUMNS, "x"), "amount": n * 7919 % 300_007, "day": 1, "rank": 0}
        | {"key": f"o{n}", "content": f"o{n}"}
        for n in range(200_000)
    ]
    engine.load("ours", table(lines, "key"))
    side = ibis.table({"key": "string", **COLUMNS}, name="ours")
    engine.write_parquet(
        side.order_by("amount").select("amount"), str(tmp_path / "in-order.parquet")
    )
    written = pq.read_table(tmp_path / "in-order.parquet").column("amount").to_pylist()
    assert written == sorted(n * 7919 % 300_007 for n in range(200_000))
