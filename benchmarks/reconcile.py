"""The matching passes over two files of any size, beside the bare join of the same files.

    python -m benchmarks.reconcile [--rows N] [--rounds N] [--memory-mib N] [--no-bare]
                                   [--folder DIR] [--json]

A day of N records and a file of about as many rows, in another order, as two Parquet files. In each
thousand one row is missing, one is foreign, one is billed twice, one has another amount, one another
trace, and two another trace and RRN, one of them on the next day. In turns, each in a process of its
own with the same threads and memory: `SELECT count(*)` of the files joined on the exact keys by DuckDB
alone, and all passes through the engine of the day's end, which leave the pairs with their rules and
what is open on both sides as tables. The counts of every rule are checked against what was planted.

Seconds are from the files' opening to the last table, without the start of the interpreter; resident
memory is the process's peak. The median of the rounds counts, and the ratio is of the medians.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import duckdb
import ibis  # type: ignore[import-untyped]

from benchmarks import report
from settlement.adapters.duckdb_engine import DuckDbEngine
from settlement.passes import COLUMNS, OURS_LEFT, PASSES, THEIRS_LEFT, pair_tables

MODULE: Final = "benchmarks.reconcile"
DAY: Final = 739_831  # 2026-08-03, as a proleptic ordinal
FAULTS: Final = 1_000  # lines to one of each fault
THREADS: Final = 2

# The n-th line as our books have it; a file's row differs by its fault, n % 1000.
OURS: Final = """
SELECT n * 16 AS key, 'bank-' || (n % 3) AS acquirer, '156' AS currency,
       CASE WHEN n % 97 = 0 THEN 'reversal' ELSE 'asked' END AS side,
       '4802' || (n % 3) || '000' AS de32, '4802' || (n % 3) || '000' AS de33,
       lpad((n % 1000000)::text, 6, '0') AS stan,
       '0803' || strftime(make_timestamp((n * 86400 // {rows}) * 1000000), '%H%M%S') AS time,
       '6215' || lpad(n::text, 8, '0') AS rrn,
       lpad((n * 7919 % 50000)::text, 8, '0') AS terminal,
       '1041100581' || lpad((n * 7919 % 50000 // 10)::text, 5, '0') AS merchant,
       lpad((n * 31 % 1000000)::text, 6, '0') AS auth,
       sha256((n * 13 % 400000)::text) AS token,
       'c' || (n * 16) AS content,
       (100 + hash(n) % 100000)::bigint AS amount, {day}::bigint AS day, 0::bigint AS rank
FROM range({rows}) AS t (n)"""
THEIRS: Final = """
SELECT n * 2 + (suffix = 'b')::bigint AS row, acquirer, currency, side,
       de32, de33,
       CASE WHEN fault IN (1, 2, 5, 6) THEN 'X' || stan ELSE stan END AS stan,
       CASE WHEN fault IN (1, 2, 5, 6) THEN '0804000000' ELSE time END AS time,
       CASE WHEN fault IN (2, 5, 6) THEN 'X' || rrn ELSE rrn END AS rrn,
       terminal, merchant, CASE WHEN fault = 6 THEN 'X' || auth ELSE auth END AS auth, token,
       sha256(n::text) || suffix AS content,
       CASE WHEN fault = 3 THEN amount + 1 ELSE amount END AS amount,
       CASE WHEN fault = 5 THEN day + 1 ELSE day END AS day, rank
FROM (SELECT *, key // 16 AS n, key // 16 % 1000 AS fault
      FROM read_parquet('{ours}')),
     (VALUES (''), ('b')) AS twice (suffix)
WHERE fault <> 0 AND (suffix = '' OR fault = 4)
ORDER BY hash(n), suffix"""


def main() -> None:
    given = arguments()
    if given.child:
        print(json.dumps(CHILDREN[given.child](given)))
        return
    with tempfile.TemporaryDirectory(prefix="tongbao-reconcile-", dir=given.folder) as made:
        given.folder = Path(made)
        child("make", given)
        names = ["passes"] if given.no_bare else ["bare", "passes"]
        rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for _ in range(given.rounds):
            for name in names:
                rounds[name].append(child(name, given))
    check(rounds["passes"], given.rows)
    tell(given, rounds)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-mib", type=int, default=1_536)
    parser.add_argument("--no-bare", action="store_true", help="only the passes")
    parser.add_argument("--folder", help="where the files are made and removed")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", choices=sorted(CHILDREN), help=argparse.SUPPRESS)
    return parser.parse_args()


# -- what is measured, each in a process of its own ----------------------------------------------


def child(name: str, given: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", MODULE, "--child", name, "--folder", str(given.folder)]
    command += ["--memory-mib", str(given.memory_mib), "--rows", str(given.rows)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def make_files(given: argparse.Namespace) -> dict[str, Any]:
    folder = Path(given.folder)
    config: dict[str, str | bool | int | float | list[str]] = {
        "temp_directory": str(folder / "spill-make"),
        "memory_limit": f"{given.memory_mib}MiB",
    }
    with duckdb.connect(":memory:", config=config) as database:
        ours = OURS.format(rows=given.rows, day=DAY)
        theirs = THEIRS.format(ours=folder / "ours.parquet")
        for name, query in (("ours", ours), ("theirs", theirs)):
            database.execute(f"COPY ({query}) TO '{folder}/{name}.parquet' (FORMAT parquet)")
    return {}


def bare(given: argparse.Namespace) -> dict[str, Any]:
    folder = Path(given.folder)
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": THREADS,
        "memory_limit": f"{given.memory_mib}MiB",
        "temp_directory": str(folder / "spill-bare"),
        "preserve_insertion_order": False,
    }
    with duckdb.connect(":memory:", config=config) as database:
        started = begin()
        (pairs,) = database.execute(
            f"SELECT count(*) FROM read_parquet('{folder}/ours.parquet') AS a"
            f" JOIN read_parquet('{folder}/theirs.parquet') AS b USING ({', '.join(PASSES[0].keys)})"
        ).fetchall()[0]
        return {"pairs": pairs, **taken(started)}


def passes(given: argparse.Namespace) -> dict[str, Any]:
    folder = Path(given.folder)
    engine = DuckDbEngine(
        threads=THREADS, memory_mib=given.memory_mib, spill=folder / "spill-passes"
    )
    started = begin()
    for name in ("ours", "theirs"):
        engine.read_parquet(name, [f"{folder}/{name}.parquet"])
    found = pair_tables(engine, "ours", "theirs", identity="int64")
    figures = taken(started)
    assert found is not None
    by_rule = found.group_by("rule").agg(pairs=found.count()).order_by("rule")
    return {
        "rules": {str(rule): count for rule, count in engine.rows(by_rule)},
        "open": [
            engine.rows(ibis.table({identity: "string", **COLUMNS}, name=name).count().as_table())[
                0
            ][0]
            for name, identity in ((OURS_LEFT, "key"), (THEIRS_LEFT, "row"))
        ],
        **figures,
    }


def begin() -> tuple[float, float]:
    return time.perf_counter(), processor_s()


def processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def taken(started: tuple[float, float]) -> dict[str, float]:
    """Seconds, those of the processor (both threads together), and the peak of memory so far."""
    seconds, used_s = time.perf_counter() - started[0], processor_s() - started[1]
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak_kib = int(status.partition("VmHWM:")[2].split()[0])
    return {
        "seconds": seconds,
        "processor_s": used_s,
        "peak_mib": peak_kib / 1024,
    }


CHILDREN: Final = {"make": make_files, "bare": bare, "passes": passes}


# -- what came of it -----------------------------------------------------------------------------


def check(rounds: list[dict[str, Any]], rows: int) -> None:
    """Every rule found what was planted for it, and nothing else."""
    each, rest = divmod(rows, FAULTS)
    assert rest == 0, f"--rows is a multiple of {FAULTS}"
    expected = {
        "exact": (FAULTS - 6) * each,
        "exact-keys": each,
        "rrn": each,
        "auth-day": each,
        "auth-next-day": each,
    }
    for found in rounds:
        assert found["rules"] == expected, (found["rules"], expected)
        assert found["open"] == [2 * each, 2 * each], found["open"]


FIGURES: Final = ("seconds", "processor_s", "peak_mib")


def tell(given: argparse.Namespace, rounds: dict[str, list[dict[str, Any]]]) -> None:
    medians = {
        name: {figure: statistics.median(one[figure] for one in found) for figure in FIGURES}
        for name, found in rounds.items()
    }
    ratios = {
        figure: medians["passes"][figure] / medians["bare"][figure]
        for figure in FIGURES
        if "bare" in medians
    }
    if given.json:
        figures = {"rows": given.rows, "memory_mib": given.memory_mib, "threads": THREADS}
        report.as_json(MODULE, **figures, medians=medians, ratios=ratios, rounds=rounds)
        return
    lines = [[name, *(f"{one[figure]:.2f}" for figure in FIGURES)] for name, one in medians.items()]
    if ratios:
        lines.append(["passes / bare", *(f"{ratios[figure]:.2f}" for figure in FIGURES)])
    title = f"{given.rows:,} records, {THREADS} threads, {given.memory_mib} MiB for the engine"
    report.show(MODULE, title, ("", "s", "processor s", "peak MiB"), lines)


if __name__ == "__main__":
    main()
