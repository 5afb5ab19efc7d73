"""How long a day's end takes and what it holds: a journal of any length, the banks' files as long.

    python -m benchmarks.close [--rows N] [--days N] [--late N] [--early N] [--data DIR]
                               [--profile] [--keep] [-v] [--json]

A real PostgreSQL with fsync on the same two cores; the switch's own tables, filled by COPY; then
`close` in a process of its own, every step's seconds and its peak of resident memory. With several days each
is closed on the books of those before it. Each bank may bill a day's last N requests with the next one's (`--late`:
so many shorts, which the next close finds) and the next day's first N with a day's (`--early`: longs).
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import datetime as dt
import json
import operator
import pstats
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import asyncpg

from benchmarks import report
from benchmarks.books import FIRST_ID, BooksDay, load_journal, load_reference
from hsm.lmk import TEST_LMK
from settlement.adapters.postgres import open_postgres
from switch import config as configs
from switch.adapters.postgres_place import OWNER
from switch.commands import common
from switch.commands.close import close_date
from switch.data_keys import open_pans
from switch.store import Store, prepare_data_keys

MODULE: Final = "benchmarks.close"
SECONDS_BAR: Final = 60.0
MIB_BAR: Final = 2_048
PROFILED: Final = 40  # functions


def measure(given: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="tongbao-benchmark-", dir=given.data))
        if not given.keep:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)  # PostgreSQL's own user passes through
        config = configs.with_data(configs.load(None), folder / "data")
        store = stack.enter_context(Store(config, "en"))
        assert store.embedded is not None
        days = [measure_day(store, folder, given, number) for number in range(given.days)]
        return {"rows": given.rows, "days": days}


def measure_day(
    store: Store, folder: Path, given: argparse.Namespace, number: int
) -> dict[str, Any]:
    assert store.embedded is not None
    date = asyncio.run(prepare(store, folder, given, number))
    for path in folder.glob("*.csv"):
        path.unlink()
    command = [sys.executable, "-m", MODULE, "--close", date.isoformat()]
    command += ["--folder", str(folder), "--dsn", store.dsn]
    command += ["--postgres", str(store.embedded.pid)]
    command += ["-v"] * given.v + ["--profile"] * given.profile
    started = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    seconds = time.monotonic() - started
    told = [json.loads(line) for line in done.stdout.splitlines()]
    told.insert(-1, asyncio.run(vacuum(store.embedded.dsn(OWNER), store.embedded.pid)))
    return {"date": date.isoformat(), "seconds": seconds, "result": told[-1], "steps": told[:-1]}


async def prepare(store: Store, folder: Path, given: argparse.Namespace, number: int) -> dt.date:
    """Fill the journal of the store's open date, the first of which is today, and write the files."""
    await prepare_data_keys(store.dsn, TEST_LMK)
    async with open_postgres(store.dsn) as (_, dates):
        date = dt.datetime.now(dt.UTC).date()
        while await dates.state(date) != "open":
            date += dt.timedelta(days=1)
    async with common.reference(store.dsn) as reference:
        pans = open_pans(TEST_LMK, await reference.snapshot())

    def day_of(place: int) -> BooksDay:
        on = date + dt.timedelta(days=place - number)
        return BooksDay(given.rows, on, pans.token, pans.mask, FIRST_ID + place * given.rows)

    day = day_of(number)
    assert store.embedded is not None
    owner = store.embedded.dsn(OWNER)
    if not number:
        await no_autovacuum(owner)
        await load_reference(owner, date)
    await load_journal(owner, day.write_journal(folder), date)
    early = given.early if number else 0  # billed yesterday
    day.write_files(folder / "in", first=early, count=given.rows - early - given.late)
    day.close()
    if given.late and number:
        with closing(day_of(number - 1)) as before:
            before.write_files(folder / "in", date, given.rows - given.late, given.late)
    if given.early:
        with closing(day_of(number + 1)) as after:
            after.write_files(folder / "in", date, 0, given.early)
    return date


async def no_autovacuum(dsn: str) -> None:
    """It would fall into whatever step is under way; `vacuum` does its work after each close."""
    connection = await asyncpg.connect(dsn)
    try:
        for table in await connection.fetch(f"SELECT c.oid::regclass AS name {_TABLES}"):
            await connection.execute(f"ALTER TABLE {table['name']} SET (autovacuum_enabled = off)")
    finally:
        await connection.close()


async def vacuum(dsn: str, postgres: int) -> dict[str, Any]:
    """What autovacuum has to do for a day, as a step of its own."""
    before, started = server_usage(postgres), time.monotonic()
    connection = await asyncpg.connect(dsn)
    try:
        for table in await connection.fetch(f"SELECT c.oid::regclass AS name {_TABLES}"):
            await connection.execute(f"VACUUM (ANALYZE) {table['name']}")
        spent = server_usage(postgres) - before
    finally:
        await connection.close()
    figures = {"seconds": time.monotonic() - started, "cpu_s": 0.0, "postgres_cpu_s": spent}
    return {"step": "vacuum", **figures, "peak_mib": 0.0}


_TABLES: Final = (
    "FROM pg_class AS c WHERE c.relkind = 'r' "
    "AND c.relnamespace::regnamespace::text IN ('switch', 'settlement') ORDER BY 1"
)


def server_usage(postgres: int) -> float:
    """Processor seconds of every process of the server, ended ones too."""
    server = report.usage(report.descendants(postgres))
    return (server + report.usage_of_dead_children(postgres)).total_s


# -- the process that closes ----------------------------------------------------------------------


class Watch:
    """`settlement.ports.Progress` as JSON lines with time, processor time and memory. A step counts
    until the next one starts, even where its facts are still being written then."""

    def __init__(self, postgres: int, *, verbose: bool) -> None:
        self._postgres, self._verbose = postgres, verbose
        self._before = self._now()
        self._step = ""

    def started(self, step: str) -> None:
        self.tell()
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        self._step, self._before = step, self._now()

    def advanced(self, step: str, note: str) -> None:
        if self._verbose:
            print(f"{time.monotonic() - self._before[0]:8.2f} {step} {note}", file=sys.stderr)

    def finished(self, step: str, totals: dict[str, int]) -> None:
        pass

    def tell(self) -> None:
        """What the step has taken that started last."""
        if self._step:
            seconds, cpu_s, postgres_s = map(operator.sub, self._now(), self._before)
            figures = {"seconds": seconds, "cpu_s": cpu_s, "postgres_cpu_s": postgres_s}
            told = {"step": self._step, **figures, "peak_mib": peak_mib()}
            print(json.dumps(told), flush=True)

    def _now(self) -> tuple[float, float, float]:
        return time.monotonic(), time.process_time(), server_usage(self._postgres)


def peak_mib() -> float:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM")


def close_here(given: argparse.Namespace) -> None:
    profile = cProfile.Profile(time.process_time)
    if given.profile:
        profile.enable()
    watch = Watch(given.postgres, verbose=given.v)
    result = asyncio.run(
        close_date(
            given.dsn,
            TEST_LMK,
            dt.date.fromisoformat(given.close),
            files=given.folder / "in",
            reports=given.folder / "data" / "reports",
            progress=watch,
        )
    )
    watch.tell()
    if given.profile:
        profile.disable()
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(PROFILED)
    print(json.dumps({"exit_code": result.exit_code, "message": result.message}))


def show(rows: int, day: dict[str, Any]) -> None:
    lines: list[tuple[str, ...]] = [
        (
            step["step"],
            f"{step['seconds']:.2f}",
            f"{step['cpu_s']:.2f}",
            f"{step['postgres_cpu_s']:.2f}",
            f"{step['peak_mib']:,.0f}",
        )
        for step in day["steps"]
    ]
    closing_steps = [step for step in day["steps"] if step["step"] != "vacuum"]
    peak = max(step["peak_mib"] for step in closing_steps)
    cpu = [
        f"{sum(step[name] for step in closing_steps):.2f}" for name in ("cpu_s", "postgres_cpu_s")
    ]
    lines.append(("close", f"{day['seconds']:.2f}", *cpu, f"{peak:,.0f}"))
    report.show(
        MODULE,
        f"{day['date']}, {rows:,} transactions: exit {day['result']}",
        ("step", "seconds", "CPU here s", "PostgreSQL s", "peak MiB"),
        lines,
        f"bar at 1,000,000: {SECONDS_BAR:.0f} s and {MIB_BAR:,} MiB",
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--late", type=int, default=0, help="requests billed with the next day's")
    parser.add_argument("--early", type=int, default=0, help="requests billed with the last day's")
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("-v", action="store_true", help="what each step is at, on stderr")
    parser.add_argument("--keep", action="store_true", help="leave the folder where it is")
    parser.add_argument("--profile", action="store_true", help="processor time by function")
    parser.add_argument("--postgres", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--close", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dsn", help=argparse.SUPPRESS)
    given = parser.parse_args()
    report.begin()
    if given.close:
        close_here(given)
        return
    figures = measure(given)
    if given.json:
        report.as_json(MODULE, **figures)
    else:
        for day in figures["days"]:
            show(figures["rows"], day)


if __name__ == "__main__":
    main()
