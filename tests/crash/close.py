"""A day's end that is killed: `python -m tests.crash.close --instants 200 --seed 1`.

`tongbao close` runs as a process on a real PostgreSQL and is killed (-9): before and after the commit
of every step and of a file's rows, and at drawn instants. Then it is run again, to its end. What it
prints, every file that it wrote, byte for byte, and the ledger with its chain must be those of a run
that nobody disturbed. One line a kill; the first that differs ends the run with exit code 1.
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
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import msgspec

from benchmarks.books import BANKS, BooksDay, load_journal
from hsm.lmk import TEST_LMK
from settlement.adapters.postgres import PostgresStore
from settlement.ports import STEPS
from switch.commands import common
from switch.data_keys import open_pans
from switch.store import prepare_data_keys
from tests.database import DatabaseServer, temporary_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from settlement.ports import Facts, Step

ROOT: Final = Path(__file__).resolve().parents[2]
MODULE: Final = "tests.crash.close"
ROWS: Final = 600
AT: Final = dt.datetime(2026, 1, 2, 1, 30, tzinfo=dt.UTC)
UNDER_WAY: Final = "is under way"
GONE_S: Final = 30.0  # until PostgreSQL has noticed that a killed run is gone
BOUNDARIES: Final = (
    *(f"{when} {step}" for step in STEPS for when in ("before", "after")),
    *("before take_in", "after take_in"),
)


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

    def start(self, *module: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *module, *self.arguments()],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kill_at(self, moment: str) -> None:
        """Run until it kills itself at a boundary."""
        process = self.start(MODULE, "--kill", moment)
        _, said = process.communicate()
        assert process.returncode == -signal.SIGKILL, f"{moment} never came: {said}"

    def kill_after(self, seconds: float) -> bool:
        """Run for so long; whether there was something to kill."""
        process = self.start("tongbao")
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return True
        return False

    def run(self) -> dict[str, Any]:
        """To the end; what the command told."""
        until = time.monotonic() + GONE_S
        while True:
            told, said = (process := self.start("tongbao")).communicate()
            assert process.returncode in (0, 1, 3), said + told
            result: dict[str, Any] = msgspec.json.decode(told)
            if UNDER_WAY not in result["message"]:
                return result
            assert time.monotonic() < until, result["message"]

    def outcome(self) -> Outcome:
        told = self.run()
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


# -- the killed process ---------------------------------------------------------------------------


def close_and_die(moment: str, arguments: list[str]) -> None:
    """`tongbao` in this process, which ends itself at a boundary, as abruptly as `kill -9`."""

    def at(here: str) -> None:
        if here == moment:
            os.kill(os.getpid(), signal.SIGKILL)

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
    from switch.cli import main as tongbao

    sys.argv = ["tongbao", *arguments]
    tongbao()


# -- the run --------------------------------------------------------------------------------------


def differences(found: Outcome, expected: Outcome) -> list[str]:
    """The first names under which two outcomes differ."""
    names = [
        name
        for name in ("told", "entries", "chain", "left")
        if getattr(found, name) != getattr(expected, name)
    ]
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


def killed(day: Day, kill: str | float) -> Outcome:
    """The outcome of a close that was killed at a boundary, or after some seconds."""
    trial = day.trial()
    if isinstance(kill, str):
        trial.kill_at(kill)
    else:
        trial.kill_after(kill)
    found = trial.outcome()
    trial.close()
    return found


def run(kills: Iterable[str | float], day: Day, expected: Outcome) -> bool:
    for kill in kills:
        begun_s = time.monotonic()
        differ = differences(killed(day, kill), expected)
        when = kill if isinstance(kill, str) else f"after {kill:.3f} s"
        print(
            f"killed {when:24} {time.monotonic() - begun_s:6.1f} s  "
            f"{'differs: ' + ', '.join(differ) if differ else 'the same'}",
            flush=True,
        )
        if differ:
            return False
    return True


def main() -> int:
    if sys.argv[1:2] == ["--kill"]:
        close_and_die(sys.argv[2], sys.argv[3:])
        return 0
    parser = argparse.ArgumentParser()
    parser.add_argument("--instants", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=ROWS)
    given = parser.parse_args()
    with temporary_folder(in_memory=True) as folder:
        server = DatabaseServer(folder)
        try:
            day = Day(folder, server, given.rows)
            expected, took_s = undisturbed(day)
            print(f"undisturbed: {took_s:.1f} s, {len(expected.files)} files", flush=True)
            chance = Random(given.seed)
            instants = [chance.uniform(0.0, took_s) for _ in range(given.instants)]
            same = run([*BOUNDARIES, *instants], day, expected)
        finally:
            server.postgres.stop()
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
