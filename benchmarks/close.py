"""How long a day's end takes and what it holds: a journal of any length, the banks' files as long.

    python -m benchmarks.close [--rows N] [--days N] [--data DIR] [--profile] [--keep] [-v] [--json]

A real PostgreSQL with fsync on the same two cores; the switch's own tables, filled by COPY; then
`close` in a process of its own, every step's seconds and its peak of resident memory. With several days each
is closed on the books of those before it.
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
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

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
    date = asyncio.run(prepare(store, folder, given.rows, number))
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
    return {"date": date.isoformat(), "seconds": seconds, "result": told[-1], "steps": told[:-1]}


async def prepare(store: Store, folder: Path, rows: int, number: int) -> dt.date:
    """Fill the journal of the store's open date, the first of which is today, and write the files."""
    await prepare_data_keys(store.dsn, TEST_LMK)
    async with open_postgres(store.dsn) as (_, dates):
        date = dt.datetime.now(dt.UTC).date()
        while await dates.state(date) != "open":
            date += dt.timedelta(days=1)
    async with common.reference(store.dsn) as reference:
        pans = open_pans(TEST_LMK, await reference.snapshot())
    day = BooksDay(rows, date, pans.token, pans.mask, FIRST_ID + number * rows)
    assert store.embedded is not None
    owner = store.embedded.dsn(OWNER)
    if not number:
        await load_reference(owner, date)
    await load_journal(owner, day.write_journal(folder), date)
    day.write_files(folder / "in")
    day.close()
    return date


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
        server = report.usage(report.descendants(self._postgres))
        server += report.usage_of_dead_children(self._postgres)
        return time.monotonic(), time.process_time(), server.total_s


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
    peak = max(step["peak_mib"] for step in day["steps"])
    cpu = [
        f"{sum(step[name] for step in day['steps']):.2f}" for name in ("cpu_s", "postgres_cpu_s")
    ]
    lines.append(("all", f"{day['seconds']:.2f}", *cpu, f"{peak:,.0f}"))
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
