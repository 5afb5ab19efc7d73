"""The day's end on a Spark cluster of two workers: the same rows as on DuckDB.

Run by `make test-spark`; needs the extra `spark`, and Java 17 of the system.
"""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ibis  # type: ignore[import-untyped]
import pytest

from settlement.adapters.extracts import ParquetExtracts
from settlement.passes import COLUMNS, OURS_LEFT, THEIRS_LEFT, pair_tables
from settlement.ports import Engine
from settlement.sums import sum_tables
from tests.settlement.engines import Line, drawn_sides, oracle, table
from tests.settlement.spark_cluster import spark_cluster
from tests.settlement.test_close import a_day
from tests.settlement.world import ENGINE, Sink, com_file, inbox, run_close, world

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
        engine = SparkEngine(master, folder / "tables", memory_mib=512, partitions=4)
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
    sums = [
        engine.rows(sum_tables(engine).order_by(["rule", "total", "member"]))
        for engine in (ENGINE, spark)
    ]
    assert sums[0] == sums[1]
    assert sums[0]
    assert left(ENGINE) == left(spark)


# The matching is the same on both engines; a whole close is not yet: its sums of captures and of
# clearing records differ on Spark. Strict, so that the day it holds it is taken for good.
@pytest.mark.xfail(reason="only the matching has its rows on Spark", strict=True)
def test_a_close_writes_the_same_files(spark: Engine, tmp_path: Path) -> None:
    trades, rows = a_day()
    files: list[dict[str, bytes]] = []
    for engine, extracts in ((ENGINE, None), (spark, ParquetExtracts(spark, tmp_path / "books"))):
        sink = Sink()
        done = asyncio.run(
            run_close(
                world(trades),
                inbox(com_file(rows)),
                sink=sink,
                engine=engine,
                extracts=extracts,
            )
        )
        assert (done.exit_code, done.message) == (1, "")
        files.append(sink.files)
    assert files[0] == files[1]


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
