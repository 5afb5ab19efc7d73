"""`tongbao close`: gives the day's end (`settlement.cli`) the store, the vault and the files."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from settlement.adapters.postgres import open_postgres
from settlement.cli import close_books, close_command
from settlement.settings import DEFAULTS, Settings
from switch.adapters.servers import Servers
from switch.adapters.system import SystemClock, core_dumps_off
from switch.commands.common import CommandError, Exit, reference
from switch.data_keys import open_pans

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Collection
    from pathlib import Path

    from hsm.lmk import Lmk
    from settlement.close import CloseResult
    from settlement.ports import Dates, Pans, Progress, Store
    from switch.commands.common import Node
    from switch.config import Config

REPORTS = "reports"  # folder in the data folder; file names carry the date
BOOKS = "books"  # its relations, a cache of what the store holds


def run(
    node: Node, business_date: dt.date, files: Path, approved: Collection[str], *, as_json: bool
) -> Exit:
    """Close one business date, or go on with its close. The exit code is the result's."""
    if not files.is_dir():
        raise CommandError(f"--files: no folder {files}", Exit.USAGE)
    core_dumps_off()
    lmk = node.lmk()
    with node.store() as store:
        code = close_command(
            business_date,
            files,
            node.config.data_folder / REPORTS,
            node.config.data_folder / BOOKS,
            lambda: books(store.dsn, lmk),
            at=SystemClock().now(),
            as_json=as_json,
            approved=approved,
            chinese=node.language == "zh",
            settings=settings_of(node.config),
        )
    return Exit(code)


async def close_date(
    dsn: str, lmk: Lmk, business_date: dt.date, *, files: Path, reports: Path, progress: Progress
) -> CloseResult:
    """The day's end on the store at `dsn`, for a program that shows the result itself."""
    at = SystemClock().now()
    return await close_books(
        business_date,
        files,
        reports,
        reports.parent / BOOKS,
        lambda: books(dsn, lmk),
        progress,
        at,
    )


@asynccontextmanager
async def books(dsn: str, lmk: Lmk) -> AsyncIterator[tuple[Store, Dates, Pans]]:
    """What only the switch can open: the store's tables and the keys of card numbers."""
    async with reference(dsn) as store:
        pans = open_pans(lmk, await store.snapshot())
    async with open_postgres(await Servers(dsn).primary()) as (store_of_books, dates):
        yield store_of_books, dates, pans


def settings_of(config: Config) -> Settings:
    """The day's end's settings as the node's file has them."""
    return msgspec.structs.replace(DEFAULTS, **msgspec.structs.asdict(config.settlement))
