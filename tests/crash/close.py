"""A day's end that is killed: `python -m tests.crash.close --instants 200 --seed 1`.

`tongbao close` runs as a process on a real PostgreSQL and is killed (-9): before and after the commit
of every step and of a file's rows, and at drawn instants. At some it is interrupted as by Ctrl-C
instead, also while rows are copied from and to PostgreSQL: it must end by itself, with its exit code
and without a traceback. Then it is run again, to its end. What it prints, every file that it wrote,
byte for byte, and the ledger with its chain must be those of a run that nobody disturbed. A part of the blows
falls on runs that store every step on a thread of its own, as days from `ports.BULK_FROM` rows on
do: there also before, in and after the thread's own commit, while the next step is under way.

One numbered line a blow, with what is left; the first that differs ends the run with exit code 1. The
blows of a seed are always the same: `--from N` goes on with the N-th, `--jobs` strikes several at once.
"""

# ruff: noqa: T201 - it prints

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import msgspec

from benchmarks.books import BANKS, BooksDay, load_journal, load_reference
from hsm.lmk import TEST_LMK
from settlement import ports
from settlement.adapters import postgres
from settlement.adapters.bulk_postgres import copy_in
from settlement.adapters.postgres import PostgresStore
from settlement.disputes.day_end import DISPUTES
from settlement.ports import STEPS
from switch.commands import common
from switch.data_keys import open_pans
from switch.store import prepare_data_keys
from tests.database import DatabaseServer, temporary_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from settlement.ports import Facts, Step

ROOT: Final = Path(__file__).resolve().parents[2]
MODULE: Final = "tests.crash.close"
ROWS: Final = 300
AT: Final = dt.datetime(2026, 1, 2, 1, 30, tzinfo=dt.UTC)
UNDER_WAY: Final = "is under way"
GO_ON: Final = "Run the same command again"
ENDS_S: Final = 120.0  # of an interrupted close, on a loaded machine
GONE_S: Final = 30.0  # until PostgreSQL has noticed that a killed run is gone
BOUNDARIES: Final = (
    *(f"{when} {step}" for step in (*STEPS, DISPUTES) for when in ("before", "after")),
    *("before take_in", "after take_in"),
)
COPIES: Final = ("copy_from_query", "copy_to_table", "copy_records_to_table")  # of asyncpg
# of a step whose facts a thread stores: its transaction begins, its first rows go in, it has committed
THREADS: Final = tuple(
    f"{when} the thread of {step}"
    for step in ("freeze", "reconcile", "fees", "post")
    for when in ("before", "in", "after")
)
NEXT_S: Final = 0.2  # in which the next step begins beside a thread that is struck
CHILD: Final = "--struck"
NEVER: Final = "never"
INTERRUPTED: Final = 130
INTERRUPT_EACH: Final = 4  # every so many instants it is Ctrl-C
STARTS_S: Final = 1.0  # of a process on a loaded machine; until then Ctrl-C is Python's to answer


class Blow(msgspec.Struct, frozen=True):
    """What is done to a close: `at` a boundary or a copy, or after a part of an undisturbed run."""

    at: str | float
    interrupt: bool = False  # Ctrl-C; else kill -9
    threaded: bool = False  # a run whose steps are all stored on threads

    def __str__(self) -> str:
        how = ("threaded " * self.threaded) + ("interrupted" if self.interrupt else "killed")
        return f"{how} {self.at if isinstance(self.at, str) else f'at {self.at:.1%} of a run'}"


class Outcome(msgspec.Struct, frozen=True):
    """What a date's close came to; of every file and of the ledger a hash."""

    told: dict[str, Any]  # the command's own JSON
    files: dict[str, str]
    entries: str
    chain: str
    left: list[str]  # in the inbox, or half written


class Day:
    """A day in a database that trials are cloned from, and the files of its banks."""

    def __init__(self, folder: Path, server: DatabaseServer, rows: int) -> None:
        self.folder, self.server = folder, server
        self.template = server.clone()
        self.inbox = folder / "in"
        self.trials = 0
        self.date = asyncio.run(self._prepare(rows))

    async def _prepare(self, rows: int) -> dt.date:
        await prepare_data_keys(self.template.app, TEST_LMK)
        async with common.reference(self.template.app) as reference:
            pans = open_pans(TEST_LMK, await reference.snapshot())
        connection = await asyncpg.connect(self.template.app)
        try:
            date: dt.date = await connection.fetchval(
                "SELECT business_date FROM switch.business_day"
            )
            # every trial's first run finds the same instant, which reaches its reports
            await connection.execute("INSERT INTO settlement.run VALUES ($1, $2)", date, AT)
        finally:
            await connection.close()
        day = BooksDay(rows, date, pans.token, pans.mask)
        await load_reference(self.template.owner, date)
        await load_journal(self.template.owner, day.write_journal(self.folder), date)
        day.write_files(self.inbox)
        day.close()
        return date

    def trial(self) -> Trial:
        self.trials += 1
        return Trial(self, f"trial_{self.trials}")


class Trial:
    """One close of the day, in a database, an inbox and a data folder of its own."""

    def __init__(self, day: Day, name: str) -> None:
        self.day, self.name = day, name
        self.folder = day.folder / name
        self.data, self.inbox = self.folder / "data", self.folder / "in"
        day.server.postgres.create_database(name, template=day.template.name)
        shutil.copytree(day.inbox, self.inbox)
        self.dsns = {
            role: getattr(day.template, role).replace(day.template.name, name)
            for role in ("app", "owner")
        }
        self.config = self.folder / "node.toml"
        self.config.write_text(
            f'[database]\ndsn = "{self.dsns["app"]}"\nowner_dsn = "{self.dsns["owner"]}"\n'
        )

    def close(self) -> None:
        self.day.server.postgres.drop_database(self.name)
        shutil.rmtree(self.folder)

    def arguments(self) -> list[str]:
        chosen = ["--date", self.day.date.isoformat(), "--files", str(self.inbox), "--json"]
        return ["close", *chosen, "--demo", "--config", str(self.config), "--data", str(self.data)]

    def start(
        self, blow: Blow | None = None, *, strikes_itself: bool = False
    ) -> subprocess.Popen[str]:
        """`tongbao`; in the way of a blow, which the process may deal itself."""
        module = ["tongbao"]
        if blow is not None and (strikes_itself or blow.threaded):
            own = msgspec.structs.replace(blow, at=blow.at if strikes_itself else NEVER)
            module = [MODULE, CHILD, msgspec.json.encode(own).decode()]
        return subprocess.Popen(
            [sys.executable, "-m", *module, *self.arguments()],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def strike(self, blow: Blow, run_s: float) -> None:
        """Run until `blow`. At an instant that comes too late there is nothing to strike."""
        by = signal.SIGINT if blow.interrupt else signal.SIGKILL
        ends = INTERRUPTED if blow.interrupt else -signal.SIGKILL
        if isinstance(blow.at, str):
            process = self.start(blow, strikes_itself=True)
            told, said = process.communicate(timeout=ENDS_S)
            assert process.returncode == ends, f"exit code {process.returncode}: {said}"
        else:
            process = self.start(blow)
            try:
                told, said = process.communicate(timeout=blow.at * run_s)
            except subprocess.TimeoutExpired:
                process.send_signal(by)
                told, said = process.communicate(timeout=ENDS_S)
            if process.returncode == -signal.SIGINT and blow.at * run_s < STARTS_S:
                return  # Python's own answer, before there was a command
            if process.returncode != ends:  # it had told its result already
                assert msgspec.json.decode(told)["exit_code"] == process.returncode, said
        if process.returncode == INTERRUPTED:
            assert "Traceback" not in said, said
            assert GO_ON in said or isinstance(blow.at, float), said

    def run(self, blow: Blow | None = None) -> dict[str, Any]:
        """To the end, in the way of a blow; what the command told."""
        until = time.monotonic() + GONE_S
        while True:
            told, said = (process := self.start(blow)).communicate()
            assert process.returncode in (0, 1, 3), said + told
            result: dict[str, Any] = msgspec.json.decode(told)
            if UNDER_WAY not in result["message"]:
                return result
            assert time.monotonic() < until, result["message"]

    def outcome(self, blow: Blow | None = None) -> Outcome:
        told = self.run(blow)
        reports = self.data / "reports"
        files = {
            str(path.relative_to(reports)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(reports.rglob("*"))
            if path.is_file()
        }
        left = [*self.inbox.rglob("*"), *self.data.rglob("*.part"), *self.data.rglob("*.csv")]
        entries, chain = asyncio.run(_ledger(self.dsns["app"]))
        return Outcome(
            told=told,
            files=files,
            entries=entries,
            chain=chain,
            left=sorted(
                path.name for path in left if path.is_file() and reports not in path.parents
            ),
        )


async def _ledger(dsn: str) -> tuple[str, str]:
    """SHA-256 over all entries, and the chain's last hash."""
    connection = await asyncpg.connect(dsn)
    try:
        entries = await connection.fetch(
            "SELECT source, key, hash FROM settlement.entry ORDER BY source, key"
        )
        digest = hashlib.sha256(repr([tuple(row) for row in entries]).encode()).hexdigest()
        chain = await connection.fetchval(
            "SELECT hash FROM settlement.seal AS s WHERE NOT EXISTS "
            "(SELECT FROM settlement.seal AS n WHERE n.previous = s.hash)"
        )
    finally:
        await connection.close()
    return digest, chain.hex()


# -- the struck process ---------------------------------------------------------------------------


def close_and_die(blow: Blow, arguments: list[str]) -> None:
    """`tongbao` in this process, which strikes itself at a boundary or in the middle of a copy."""
    struck = False

    def at(here: str) -> None:
        nonlocal struck
        if here == blow.at and not struck:
            struck = True
            os.kill(os.getpid(), signal.SIGINT if blow.interrupt else signal.SIGKILL)

    finish, take_in = PostgresStore.finish, PostgresStore.take_in

    async def dying_finish(self: PostgresStore, step: Step, facts: Facts) -> bool:
        at(f"before {step.name}")
        stored = await finish(self, step, facts)
        at(f"after {step.name}")
        return stored

    async def dying_take_in(self: PostgresStore, *values: Any) -> None:
        at("before take_in")
        await take_in(self, *values)
        at("after take_in")

    PostgresStore.finish = dying_finish  # type: ignore[method-assign]
    PostgresStore.take_in = dying_take_in  # type: ignore[method-assign,assignment]
    if blow.at in COPIES:
        strike_in_copies(at)
    if blow.threaded:
        ports.BULK_FROM = 0  # type: ignore[misc]
        strike_in_threads(at)
    from switch.cli import main as tongbao

    sys.argv = ["tongbao", *arguments]
    tongbao()


def strike_in_threads(at: Callable[[str], None]) -> None:
    """What a thread does for a step, with a strike where the next step has had time to begin."""
    finish, copy = PostgresStore._finish_alone, copy_in
    storing = threading.local()

    async def dying_finish(self: PostgresStore, step: Step, facts: Facts) -> bool:
        storing.step = step.name
        time.sleep(NEXT_S)  # noqa: ASYNC251 - the loop is the thread's own
        at(f"before the thread of {step.name}")
        stored = await finish(self, step, facts)
        time.sleep(NEXT_S)  # noqa: ASYNC251 - the loop is the thread's own
        at(f"after the thread of {step.name}")
        return stored

    async def dying_copy(*values: Any, **options: Any) -> None:
        await copy(*values, **options)
        if here := getattr(storing, "step", ""):
            at(f"in the thread of {here}")

    PostgresStore._finish_alone = dying_finish  # type: ignore[method-assign]
    setattr(postgres, "copy_in", dying_copy)  # noqa: B010 - where the store has it from elsewhere


def strike_in_copies(at: Callable[[str], None]) -> None:
    """asyncpg's copies, with a strike when the first of the rows is on its way."""
    connection = asyncpg.Connection
    from_query, to_table = connection.copy_from_query, connection.copy_to_table
    records_to_table = connection.copy_records_to_table

    async def dying_from_query(self: Any, *values: Any, output: Any, **options: Any) -> str:
        async def take(block: bytes) -> None:
            at("copy_from_query")
            await output(block)

        return await from_query(self, *values, output=take, **options)  # type: ignore[no-any-return]

    async def dying_to_table(self: Any, *values: Any, source: Any, **options: Any) -> str:
        async def parts() -> AsyncIterator[bytes]:
            async for part in source:
                yield part
                at("copy_to_table")
                await asyncio.sleep(0)

        return await to_table(self, *values, source=parts(), **options)  # type: ignore[no-any-return]

    async def dying_records(self: Any, *values: Any, records: Any, **options: Any) -> str:
        async def each() -> AsyncIterator[Any]:
            for record in records:
                yield record
                at("copy_records_to_table")
                await asyncio.sleep(0)

        return await records_to_table(self, *values, records=each(), **options)  # type: ignore[no-any-return]

    connection.copy_from_query = dying_from_query
    connection.copy_to_table = dying_to_table
    connection.copy_records_to_table = dying_records


# -- the run --------------------------------------------------------------------------------------


def differences(found: Outcome, expected: Outcome) -> list[str]:
    """The first names under which two outcomes differ."""
    names = [
        name
        for name in ("told", "entries", "chain")
        if getattr(found, name) != getattr(expected, name)
    ]
    if found.left != expected.left:
        names.append(f"left: {', '.join(found.left)}")
    every = sorted(found.files.keys() | expected.files.keys())
    return names + [one for one in every if found.files.get(one) != expected.files.get(one)][:5]


def undisturbed(day: Day) -> tuple[Outcome, float]:
    """What every other close must come to, and how long a process takes for it."""
    trial = day.trial()
    begun_s = time.monotonic()
    trial.run()
    took_s = time.monotonic() - begun_s
    expected = trial.outcome()
    trial.close()
    assert expected.left == [], expected.left
    assert len(expected.files) > len(BANKS), "a day without reports"
    return expected, took_s


def struck(day: Day, blow: Blow, run_s: float) -> Outcome:
    """The outcome of a close that was struck and run again."""
    trial = day.trial()
    trial.strike(blow, run_s)
    found = trial.outcome(blow)
    trial.close()
    return found


def blows_of(seed: int, instants: int) -> list[Blow]:
    """Every boundary and copy, then instants; always the same of a seed."""
    chance = Random(seed)
    return [
        *(Blow(at) for at in BOUNDARIES),
        *(Blow(at, interrupt=True) for at in (*COPIES, "before post", "after reconcile")),
        *(Blow(at, threaded=True) for at in (*BOUNDARIES, *COPIES, *THREADS)),
        *(Blow(at, interrupt=True, threaded=True) for at in (*COPIES, *THREADS)),
        *(
            Blow(
                chance.uniform(0.0, 1.0),
                interrupt=number % INTERRUPT_EACH == 0,
                threaded=number % 2 == 1,
            )
            for number in range(instants)
        ),
    ]


class Run:
    """The blows one after another, or some at once, until one comes to something else."""

    def __init__(self, day: Day, expected: Outcome, run_s: float, jobs: int) -> None:
        self.day, self.expected, self.run_s, self.jobs = day, expected, run_s, jobs
        self.same = True
        self._begun_s = time.monotonic()
        self._lock = threading.Lock()
        self._done = 0

    def all(self, blows: Sequence[tuple[int, Blow]]) -> bool:
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = [pool.submit(self._one, *each, len(blows)) for each in blows]
        for future in futures:
            future.result()
        return self.same

    def _one(self, number: int, blow: Blow, count: int) -> None:
        if not self.same:
            return
        try:
            differ = differences(struck(self.day, blow, self.run_s), self.expected)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            differ = [str(error)]
        with self._lock:
            self._done += 1
            passed_s = time.monotonic() - self._begun_s
            left_s = passed_s / self._done * (count - self._done)
            print(
                f"{number:4}  {blow!s:36} {'differs: ' + ', '.join(differ) if differ else 'the same'}"
                f"  ({self._done}/{count}, {passed_s:.0f} s, about {left_s:.0f} s left)",
                flush=True,
            )
            if differ:
                self.same = False


def main() -> int:
    if sys.argv[1:2] == [CHILD]:
        close_and_die(msgspec.json.decode(sys.argv[2], type=Blow), sys.argv[3:])
        return 0
    parser = argparse.ArgumentParser()
    parser.add_argument("--instants", type=int, default=200, help="beside the boundaries")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--from", dest="first", type=int, default=1, help="the blow to begin with")
    parser.add_argument("--limit", type=int, default=0, help="strike so many and no more")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    blows = list(enumerate(blows_of(given.seed, given.instants), 1))[given.first - 1 :]
    with temporary_folder(in_memory=True) as folder:
        server = DatabaseServer(folder)
        try:
            day = Day(folder, server, given.rows)
            expected, run_s = undisturbed(day)
            print(f"undisturbed: {run_s:.1f} s, {len(expected.files)} files", flush=True)
            same = Run(day, expected, run_s, given.jobs).all(blows[: given.limit or None])
        finally:
            server.postgres.stop()
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
