"""`tongbao close`: composes the day's end (`settlement.close`) with the store, the vault and files."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from settlement.adapters.duckdb_engine import DuckDbEngine
from settlement.adapters.files import DirectoryInbox, DirectorySink
from settlement.adapters.postgres import PostgresDates, PostgresStore
from settlement.close import CloseResult, close
from settlement.settings import DEFAULTS, Settings
from switch.adapters.system import SystemClock, core_dumps_off
from switch.commands.common import CommandError, Exit, print_line, print_table, reference
from switch.data_keys import open_pans

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection
    from pathlib import Path

    from hsm.lmk import Lmk
    from settlement.ports import Progress
    from switch.commands.common import Node
    from switch.config import Config

CONNECTIONS_MAX = 4
REPORTS = "reports"  # folder in the data folder; file names carry the date


def run(
    node: Node, business_date: dt.date, files: Path, approved: Collection[str], *, as_json: bool
) -> Exit:
    """Close one business date, or go on with its close. The exit code is the result's."""
    if not files.is_dir():
        raise CommandError(f"--files: no folder {files}", Exit.USAGE)
    core_dumps_off()
    lmk = node.lmk()
    with node.store() as store:
        result = asyncio.run(
            close_date(
                store.dsn,
                lmk,
                business_date,
                files=files,
                reports=node.config.data_folder / REPORTS,
                approved=approved,
                settings=settings_of(node.config),
            )
        )
    if as_json:
        print_line(result.to_json().decode())
    else:
        show(node, result)
    return Exit(result.exit_code)


async def close_date(
    dsn: str,
    lmk: Lmk,
    business_date: dt.date,
    *,
    files: Path,
    reports: Path,
    approved: Collection[str] = (),
    settings: Settings = DEFAULTS,
    progress: Progress | None = None,
) -> CloseResult:
    """The day's end on the store at `dsn`; also what the demonstration calls."""
    async with reference(dsn) as store:
        pans = open_pans(lmk, await store.snapshot())
    async with asyncpg.create_pool(dsn, min_size=1, max_size=CONNECTIONS_MAX) as pool:
        return await close(
            business_date,
            DirectoryInbox(files),
            PostgresStore(pool),
            PostgresDates(pool),
            pans,
            DirectorySink(reports),
            progress or Steps(),
            engine=DuckDbEngine(),
            at=SystemClock().now(),
            approved=approved,
            settings=settings,
        )


def settings_of(config: Config) -> Settings:
    """The day's end's settings as the node's file has them."""
    return msgspec.structs.replace(DEFAULTS, **msgspec.structs.asdict(config.settlement))


class Steps:
    """`settlement.ports.Progress` as lines on stderr."""

    def started(self, step: str) -> None:
        sys.stderr.write(f"{step} …\n")

    def advanced(self, step: str, note: str) -> None:
        sys.stderr.write(f"{step}: {note}\n")

    def finished(self, step: str, totals: dict[str, int]) -> None:
        words = " ".join(f"{name}={value}" for name, value in totals.items())
        sys.stderr.write(f"{step}: {words or '-'}\n")


def show(node: Node, result: CloseResult) -> None:
    """Tables for a person: steps, breaks, nets, trial balance, files."""
    print_line(f"{result.business_date} {result.message}".rstrip())
    print_table(
        ("step", "state", "totals"),
        (
            (step.name, step.state, " ".join(f"{k}={v}" for k, v in step.totals.items()))
            for step in result.steps
        ),
    )
    if result.breaks:
        print_line("")
        print_table(
            ("break", "class", "acquirer", "ours", "theirs"),
            (
                (one.id, one.break_class, one.acquirer, one.ours_minor, one.theirs_minor)
                for one in result.breaks
            ),
        )
    for output in result.files:
        print_line(str(node.config.data_folder / REPORTS / output.name))
