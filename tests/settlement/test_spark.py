"""The day's end on a Spark cluster of two workers: the same rows as on DuckDB.

Run by `make test-spark`; needs the extra `spark`, and Java 17 of the system.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ibis  # type: ignore[import-untyped]
import pytest

from settlement.passes import COLUMNS, OURS_LEFT, THEIRS_LEFT, pair_tables
from settlement.ports import Engine
from settlement.sums import sum_tables
from tests.settlement.engines import Line, drawn_sides, oracle, table
from tests.settlement.spark_cluster import spark_cluster
from tests.settlement.world import ENGINE

pytestmark = pytest.mark.spark


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


def passes_on(engine: Engine, ours: list[Line], theirs: list[Line]) -> tuple[Rows, Rows]:
    engine.load("ours", table(ours, "key"))
    engine.load("theirs", table(theirs, "row"))
    found = pair_tables(engine, "ours", "theirs").order_by(["record", "row"])
    return engine.rows(found), left(engine)


def left(engine: Engine) -> Rows:
    rows: Rows = []
    for name, identity in ((OURS_LEFT, "key"), (THEIRS_LEFT, "row")):
        rows += engine.rows(
            ibis.table({identity: "string", **COLUMNS}, name=name).order_by(identity)
        )
    return rows


@pytest.mark.parametrize("seed", [1, 2])
def test_passes_find_the_same_pairs(spark: Engine, seed: int) -> None:
    ours, theirs = drawn_sides(random.Random(seed), 400)
    here, there = passes_on(ENGINE, ours, theirs), passes_on(spark, ours, theirs)
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


def test_files_go_in_and_out(spark: Engine, tmp_path: Path) -> None:
    ours, theirs = drawn_sides(random.Random(3), 60)
    pairs: list[Any] = []
    for number, engine in enumerate((ENGINE, spark)):
        engine.load("drawn", table(ours, "key"))
        drawn = ibis.table({"key": "string", **COLUMNS}, name="drawn")
        engine.write_parquet(drawn.order_by("key"), tmp_path / f"{number}.parquet")
        engine.read_parquet("ours", [tmp_path / f"{number}.parquet"])
        engine.load("theirs", table(theirs, "row"))
        pairs.append(engine.rows(pair_tables(engine, "ours", "theirs").order_by("record")))
        again = ibis.table({"key": "string", **COLUMNS}, name="ours")
        assert len(engine.rows(again.order_by("key"))) == len(ours)
    assert pairs[0] == pairs[1]
