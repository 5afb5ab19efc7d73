"""The body of `tongbao close`: progress while it works, then tables or JSON, and the exit code.

The switch mounts it with what only the switch can open: the store, the dates and the vault.
"""

import asyncio
import sys
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from settlement.adapters.engines import open_engine
from settlement.adapters.extracts import ParquetExtracts
from settlement.adapters.files import DirectoryInbox, DirectorySink
from settlement.casework.ports import Casework
from settlement.chart import CHART
from settlement.close import USAGE, CloseResult, close
from settlement.payouts.ports import Payouts
from settlement.ports import STEPS, Dates, Pans, Progress as StepProgress, Store
from settlement.reports.figures import money, pairs
from settlement.run import UsageError
from settlement.settings import DEFAULTS, Settings
from settlement.texts import TEXTS

Books = AbstractAsyncContextManager[tuple[Store, Casework, Payouts, Dates, Pans]]
BREAKS_SHOWN = 50


def close_command(
    business_date: date,
    files: Path,
    reports: Path,
    books: Path,
    open_books: Callable[[], Books],
    *,
    at: datetime,
    as_json: bool = False,
    approved: Collection[str] = (),
    chinese: bool = False,
    settings: Settings = DEFAULTS,
) -> int:
    """Close `business_date` and tell the result on stdout; progress goes to stderr.

    `files` holds `<acquirer>/<file>`; `reports` receives `<date>/...`. Returns the exit code. Ctrl-C
    goes on to the caller, once it is said what it leaves.
    """
    try:
        with Bars(chinese=chinese) as bars:
            result = asyncio.run(
                close_books(
                    business_date, files, reports, books, open_books, bars, at, approved, settings
                )
            )
    except UsageError as usage:
        sys.stderr.write(f"{usage.told(chinese=chinese)}\n")
        return USAGE
    except KeyboardInterrupt:
        sys.stderr.write(f"{TEXTS['interrupted'][int(chinese)]}\n")
        raise
    if as_json:
        sys.stdout.write(result.to_json().decode() + "\n")
    else:
        show(result, Console(), reports, chinese=chinese)
    return result.exit_code


async def close_books(
    business_date: date,
    files: Path,
    reports: Path,
    books: Path,
    open_books: Callable[[], Books],
    progress: StepProgress,
    at: datetime,
    approved: Collection[str] = (),
    settings: Settings = DEFAULTS,
) -> CloseResult:
    """The same without a screen: for a program that shows progress and result itself. `books` keeps
    the date's relations, `<date>/<name>.parquet`, for the runs that go on with it."""
    folder = books / business_date.isoformat()
    engine = open_engine(settings, books / ".spill")
    try:
        async with open_books() as (store, casework, payouts, dates, pans):
            return await close(
                business_date,
                DirectoryInbox(files),
                store,
                dates,
                pans,
                DirectorySink(reports),
                progress,
                casework=casework,
                payouts=payouts,
                engine=engine,
                extracts=ParquetExtracts(engine, folder),
                at=at,
                approved=approved,
                settings=settings,
            )
    finally:
        engine.close()


class Bars:
    """`settlement.ports.Progress` as one bar over the steps, on stderr."""

    def __init__(self, *, chinese: bool = False) -> None:
        self._language = int(chinese)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task(
            TEXTS["title"][self._language], total=len(STEPS), note=""
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def started(self, step: str) -> None:
        self._progress.update(
            self._task, description=TEXTS[f"step_{step}"][self._language], note=""
        )

    def advanced(self, step: str, note: str) -> None:
        self._progress.update(self._task, note=note)

    def finished(self, step: str, totals: dict[str, int]) -> None:
        self._progress.update(self._task, advance=1, note="")


def show(result: CloseResult, console: Console, reports: Path, *, chinese: bool = False) -> None:
    """Steps, breaks, nets and trial balance as tables."""
    console.print(_steps(result, chinese=chinese))
    if told := result.told(chinese=chinese):
        console.print(told, style="bold", markup=False, soft_wrap=True)
    if result.breaks:
        console.print(_breaks(result, chinese=chinese))
    if result.nets:
        console.print(_nets(result, chinese=chinese))
    if result.trial_balance:
        console.print(_trial_balance(result, chinese=chinese))
    for output in result.files:
        console.print(str(reports / output.name), markup=False, highlight=False, soft_wrap=True)


def _table(title: str, words: str, figures: str = "", *, chinese: bool) -> Table:
    """An empty table; the columns of figures stand to the right."""
    made = Table(title=TEXTS[title][int(chinese)], title_justify="left", header_style="bold")
    for key in words.split():
        made.add_column(TEXTS[key][int(chinese)], overflow="fold")
    for key in figures.split():
        made.add_column(TEXTS[key][int(chinese)], justify="right", overflow="fold")
    return made


def _steps(result: CloseResult, *, chinese: bool) -> Table:
    made = _table("steps", "step state totals", chinese=chinese)
    for step in result.steps:
        made.add_row(
            TEXTS[f"step_{step.name}"][int(chinese)],
            TEXTS[f"run_{step.state}"][int(chinese)],
            pairs({k: str(v) for k, v in step.totals.items()}),
        )
    return made


def _breaks(result: CloseResult, *, chinese: bool) -> Table:
    made = _table("breaks", "class acquirer keys", "ours theirs", chinese=chinese)
    for one in result.breaks[:BREAKS_SHOWN]:
        made.add_row(
            TEXTS[f"class_{one.break_class}"][int(chinese)],
            one.acquirer,
            f"{one.id} {pairs(one.keys)}",
            money(one.ours_minor, one.currency),
            money(one.theirs_minor, one.currency),
        )
    return made


def _nets(result: CloseResult, *, chinese: bool) -> Table:
    figures = "count gross taken_back discount held net"
    made = _table("merchants", "merchant", figures, chinese=chinese)
    for net in result.nets:
        amounts = (net.gross_minor, net.taken_back_minor, net.discount_minor)
        made.add_row(
            net.merchant,
            str(net.count),
            *(money(one, net.currency) for one in (*amounts, net.held_minor, net.net_minor)),
        )
    return made


def _trial_balance(result: CloseResult, *, chinese: bool) -> Table:
    made = _table("trial_balance", "account currency", "debit credit", chinese=chinese)
    for line in result.trial_balance:
        account = CHART[line.account]
        made.add_row(
            account.name_zh if chinese else account.name,
            line.currency,
            money(line.debit_minor, line.currency),
            money(line.credit_minor, line.currency),
        )
    return made
