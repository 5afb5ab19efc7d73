"""The day's end on a Spark cluster of two workers: the same rows as on DuckDB.

Run by `make test-spark`; needs the extra `spark`, and Java 17 of the system.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import ibis  # type: ignore[import-untyped]
import pytest

from settlement.adapters.extracts import ParquetExtracts
from settlement.adapters.ledger_memory import MemoryStored
from settlement.adapters.memory import MemoryStore
from settlement.ledger_verify import Unwatched, verify
from settlement.passes import COLUMNS, OURS_LEFT, THEIRS_LEFT, pair_tables
from settlement.ports import Engine, Extracts
from settlement.sums import passes_with_groups, sum_tables
from tests.settlement.engines import Line, drawn_sides, oracle, table
from tests.settlement.spark_cluster import spark_cluster
from tests.settlement.test_close import a_day, opposite_of, reversal_of
from tests.settlement.world import (
    DAY,
    ENGINE,
    NEXT,
    REFERENCES,
    Dates,
    Sink,
    billed,
    captures_of,
    com_file,
    inbox,
    reference,
    run_close,
    trade,
)

pytestmark = [
    pytest.mark.spark,
    # PySpark leaves the sockets that bring rows to the collector of garbage
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    from settlement.adapters.spark_engine import SparkEngine

    folder = tmp_path_factory.mktemp("spark")
    with spark_cluster(folder) as master:
        engine = SparkEngine(master, folder / "tables", memory_mib=512, partitions=2)
        try:
            yield engine
        finally:
            engine.close()


Rows = list[tuple[object, ...]]


def passes_on(engine: Engine, ours: list[Line], theirs: list[Line], bulk: int) -> tuple[Rows, Rows]:
    engine.load("ours", table(ours, "key"))
    engine.load("theirs", table(theirs, "row"))
    found = pair_tables(engine, "ours", "theirs", bulk=bulk)
    assert found is not None
    return engine.rows(found.order_by(["record", "row"])), left(engine)


def left(engine: Engine) -> Rows:
    rows: Rows = []
    for name, identity in ((OURS_LEFT, "key"), (THEIRS_LEFT, "row")):
        rows += engine.rows(
            ibis.table({identity: "string", **COLUMNS}, name=name).order_by(identity)
        )
    return rows


def test_passes_find_the_same_pairs(spark: Engine) -> None:
    # the first passes by hashes, then counted; the last, with fewer lines left, counted alone
    ours, theirs = drawn_sides(random.Random(1), 400)
    here, there = (passes_on(engine, ours, theirs, bulk=200) for engine in (ENGINE, spark))
    assert there == here
    assert here[0] == oracle(ours, theirs)[0]
    # and one with several, over what is left
    assert passes_with_groups(spark) == passes_with_groups(ENGINE) != ()
    sums = [
        engine.rows(sum_tables(engine).order_by(["rule", "total", "member"]))
        for engine in (ENGINE, spark)
    ]
    assert sums[0] == sums[1]
    assert sums[0]
    assert left(ENGINE) == left(spark)


# -- two whole closes ---------------------------------------------------------------------------

ABROAD = "bank-b"
BOOKS = [
    *REFERENCES,
    reference("link", "bank-b-1", {"acquirer": ABROAD, "currency": "344"}),
    reference(
        "merchant",
        "104110058120001",
        {"name": "Tea House", "name_zh": "老茶馆", "fee_plan": "standard", "agent": "tea"},
        version=2,
    ),
    reference(
        "agent", "tea", {"agent": "tea", "name": "Tea", "parent": "north", "per_mille": "0.3"}
    ),
    reference("agent", "north", {"agent": "north", "name": "North", "per_mille": "0.1"}),
]


class Closed(NamedTuple):
    steps: list[tuple[str, str]]  # name and content, which is the hash of every fact
    breaks: list[str]
    resolved: int
    files: dict[str, bytes]
    anchor: str  # of the ledger


def two_closes(engine: Engine, extracts: Callable[[date], Extracts | None]) -> list[Closed]:
    """A day with a break of each kind, a row taken back, a second currency and agents; a day that
    has the row that was missing, a refund and a reversal of what the first day sold."""
    trades, rows = a_day()
    taken_back, late = trade(20, 10_000), trade(21, 2_100, settlement_date=NEXT)
    abroad = [trade(n, 100 * n, currency="344", acquirer=ABROAD) for n in (22, 23)]
    refund = trade(
        24,
        1_200,
        type="refund",
        mti="0220",
        processing_code="200000",
        original_request_id=3,
        business_date=NEXT,
        settlement_date=NEXT,
        transmission_time="0804101500",
    )
    missing, reversed_late = trades[4], trades[3]
    trades += [taken_back, late, *abroad, refund]
    store = MemoryStore([*captures_of(trades), opposite_of(reversed_late)], trades, BOOKS)
    inboxes = {
        DAY: inbox(com_file([*rows, billed(taken_back), reversal_of(taken_back)])),
        NEXT: inbox(
            com_file(
                [billed(missing), billed(late), billed(refund), reversal_of(reversed_late)], NEXT
            )
        ),
    }
    name, data = com_file([billed(one) for one in abroad])
    inboxes[DAY].files[ABROAD, name] = data
    name, data = com_file([], NEXT)
    inboxes[NEXT].files[ABROAD, name] = data
    dates = Dates({DAY: "open"})
    closed = []
    for day, files in inboxes.items():
        sink = Sink()
        done = asyncio.run(
            run_close(
                store, files, day=day, dates=dates, sink=sink, engine=engine, extracts=extracts(day)
            )
        )
        assert done.message == ""
        verified = asyncio.run(verify(MemoryStored(store.ledger), Unwatched()))
        assert verified.findings == []
        closed.append(
            Closed(
                [(step.name, step.content) for step in done.steps],
                sorted(one.break_class for one in done.breaks),
                done.totals["resolved"],
                sink.files,
                verified.anchor,
            )
        )
    return closed


def test_closes_write_the_same_files(spark: Engine, tmp_path: Path) -> None:
    here = two_closes(ENGINE, lambda _: None)
    there = two_closes(spark, lambda day: ParquetExtracts(spark, tmp_path / day.isoformat()))
    for one, other in zip(here, there, strict=True):
        assert other.steps == one.steps  # the first that differs is where to look
        assert other == one
    first, second = here
    assert len(first.breaks) > 5
    assert second.resolved
    assert b",tea,344," in first.files[f"{DAY}/agent-shares.csv"]


def test_files_go_in_and_out(spark: Engine, tmp_path: Path) -> None:
    ours, theirs = drawn_sides(random.Random(3), 60)
    pairs: list[Any] = []
    for number, engine in enumerate((ENGINE, spark)):
        engine.load("drawn", table(ours, "key"))
        drawn = ibis.table({"key": "string", **COLUMNS}, name="drawn")
        engine.write_parquet(drawn.order_by("key"), str(tmp_path / f"{number}.parquet"))
        engine.read_parquet("ours", [str(tmp_path / f"{number}.parquet")])
        engine.load("theirs", table(theirs, "row"))
        found = pair_tables(engine, "ours", "theirs")
        assert found is not None
        pairs.append(engine.rows(found.order_by("record")))
        again = ibis.table({"key": "string", **COLUMNS}, name="ours")
        assert len(engine.rows(again.order_by("key"))) == len(ours)
    assert pairs[0] == pairs[1]
