"""What a person sees: progress while it runs, tables afterwards; and the same as one object."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from settlement.chart import CHART
from settlement.reports import figures
from switch.demo.plan import MERCHANTS, merchant_id
from switch.demo.texts import say
from terminals.simulator.commands import pairs_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.progress import TaskID

    from switch.demo.day import Day, Watch

YUAN = "156"

MANY_FILES = 8
WIDTH = 120  # where no terminal says one


# -- while it runs --------------------------------------------------------------------------------


class Bars:
    """A bar for each stage; events are printed above them."""

    def __init__(self, progress: Progress, language: str) -> None:
        self._progress = progress
        self._language = language
        self._task: TaskID | None = None

    def stage(self, name: str, total: int | None = None) -> None:
        self.finish()
        self._task = self._progress.add_task(say(name, self._language), total=total)

    def advance(self) -> None:
        if self._task is not None:
            self._progress.advance(self._task)

    def event(self, key: str, **values: object) -> None:
        self._progress.console.print(f"  {say(key, self._language, **values)}", highlight=False)

    def finish(self) -> None:
        if self._task is not None:
            task = self._progress.tasks[self._task]
            total = task.total if task.total is not None else 1
            self._progress.update(self._task, total=total, completed=total)


class Lines:
    """The same where nobody watches: a line a stage."""

    def __init__(self, console: Console, language: str) -> None:
        self._console = console
        self._language = language

    def stage(self, name: str, total: int | None = None) -> None:
        self.event(name)

    def advance(self) -> None:
        pass

    def event(self, key: str, **values: object) -> None:
        self._console.print(f"{say(key, self._language, **values)} …", highlight=False)


@contextmanager
def watching(language: str, *, quiet: bool) -> Iterator[Watch]:
    """Progress on stderr."""
    console = Console(stderr=True, quiet=quiet)
    if not console.is_terminal:
        yield Lines(console, language)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bars = Bars(progress, language)
        yield bars
        bars.finish()


# -- tables ---------------------------------------------------------------------------------------


def tables(day: Day, language: str) -> None:
    """All of them, on stdout."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    for make in (_traffic, _faults, _reversals, _breaks, _nets, _trial, _money, _checks):
        console.print(make(day, language))
    console.print(say("files", language))
    for line in condensed(day.files):
        console.print(f"  {line}", soft_wrap=True, markup=False)
    console.print(
        say(
            "took",
            language,
            transactions=day.fleet.transactions,
            wall=day.wall_s,
            trading=day.stages_s.get("trade", 0.0),
            seed=day.seed,
        )
        + "  CPU "
        + " ".join(f"{name} {seconds:.0f} s" for name, seconds in day.cpu_s.items())
    )
    verdict = "verdict_good" if day.right else "verdict_bad"
    console.print(say(verdict, language), style="bold green" if day.right else "bold red")


def condensed(files: Sequence[str]) -> list[str]:
    """A folder with many files of one kind is one line.

    >>> condensed(["a/1.csv", "a/2.csv", "b/x"]), condensed([f"a/{n}.csv" for n in range(9)])
    (['a/1.csv', 'a/2.csv', 'b/x'], ['a/*.csv (9)'])
    """
    kinds: dict[str, list[str]] = {}
    for file in files:
        path = PurePath(file)
        kinds.setdefault(f"{path.parent}/*{path.suffix}", []).append(file)
    lines: list[str] = []
    for kind, members in kinds.items():
        lines += members if len(members) < MANY_FILES else [f"{kind} ({len(members)})"]
    return lines


def _table(language: str, title: str, columns: Sequence[str], numbers: Iterable[str] = ()) -> Table:
    table = Table(title=say(title, language), title_justify="left")
    right = set(numbers)
    for column in columns:
        table.add_column(say(column, language), justify="right" if column in right else "left")
    return table


def money(amount_minor: int) -> str:
    """An amount of the demonstration, which trades in yuan alone."""
    return figures.money(amount_minor, YUAN)


def _traffic(day: Day, language: str) -> Table:
    numbers = ("count", "p50", "p99")
    table = _table(language, "traffic", ("type", "count", "answers", "p50", "p99"), numbers)
    for kind, codes in sorted(day.fleet.counts.items()):
        latency = day.fleet.latency.get(kind)
        answers = "  ".join(f"{code} x{number}" for code, number in sorted(codes.items()))
        times = (f"{latency.p50_ms:.1f}", f"{latency.p99_ms:.1f}") if latency else ("", "")
        table.add_row(kind, str(sum(codes.values())), answers, *times)
    return table


def _faults(day: Day, language: str) -> Table:
    table = _table(language, "faults", ("where", "what"))
    table.add_row(say("fault_terminals", language), pairs_text(day.fleet.faults))
    for bank in day.banks:
        table.add_row(bank.name, pairs_text(bank.faults))
    counts = {name.removeprefix("event_"): day.events.count(name) for name in day.events}
    table.add_row(say("fault_node", language), pairs_text(counts))
    return table


def _reversals(day: Day, language: str) -> Table:
    table = _table(language, "reversals", ("origin", "answer", "count"), ("count",))
    for one in day.reversals:
        table.add_row(f"{one.origin} {one.reason}", one.answer or "-", str(one.count))
    for name, number in sorted(day.fleet.reversals.items()):
        table.add_row(f"{say('fault_terminals', language)} 0400 {name}", "", str(number))
    table.add_row(say("batches", language), pairs_text(day.batches), str(sum(day.batches.values())))
    return table


def _breaks(day: Day, language: str) -> Table:
    numbers = ("planted", "explained", "found")
    table = _table(
        language, "breaks", ("class", "acquirer", "planted", "explained", "found"), numbers
    )
    of = day.breaks
    for name, acquirer in sorted(of.planted.keys() | of.forgotten.keys() | of.found.keys()):
        at = name, acquirer
        cells = (of.planted.get(at, 0), of.forgotten.get(at, 0), of.found.get(at, 0))
        table.add_row(name, acquirer, *map(str, cells))
    return table


def _nets(day: Day, language: str) -> Table:
    numbers = ("count", "gross", "taken_back", "discount", "net")
    table = _table(language, "nets", ("merchant", *numbers), numbers)
    names = {
        merchant_id(index): (name, name_zh) for index, (name, name_zh, *_) in enumerate(MERCHANTS)
    }
    sums = [0, 0, 0, 0, 0]
    for net in day.close.nets:
        figures = (
            net.count,
            net.gross_minor,
            net.taken_back_minor,
            net.discount_minor,
            net.net_minor,
        )
        sums = [total + figure for total, figure in zip(sums, figures, strict=True)]
        name = names.get(net.merchant, (net.merchant, net.merchant))[language == "zh"]
        table.add_row(name, str(net.count), *(money(figure) for figure in figures[1:]))
    table.add_section()
    table.add_row(say("total", language), str(sums[0]), *(money(figure) for figure in sums[1:]))
    return table


def _trial(day: Day, language: str) -> Table:
    numbers = ("debit", "credit", "balance")
    table = _table(language, "trial_balance", ("account", *numbers), numbers)
    sums = [0, 0, 0]
    for line in day.close.trial_balance:
        account = CHART[line.account]
        figures = (line.debit_minor, line.credit_minor, line.balance_minor)
        sums = [total + figure for total, figure in zip(sums, figures, strict=True)]
        name = account.name_zh if language == "zh" else account.name
        table.add_row(name, *(money(figure) for figure in figures))
    table.add_section()
    table.add_row(say("total", language), *(money(figure) for figure in sums))
    return table


def _money(day: Day, language: str) -> Table:
    table = _table(language, "money", ("party", "amount", "explains"), ("amount",))
    for view in day.money.views:
        gaps = [
            f"{money(gap.amount_minor)}: {say(f'gap_{gap.reason}', language, count=gap.count)}"
            for gap in view.gaps
        ]
        first = view is day.money.views[0]
        table.add_row(
            say(f"view_{view.party}", language),
            money(view.amount_minor),
            "\n".join(gaps) or ("" if first else say("gap_none", language)),
        )
    return table


def _checks(day: Day, language: str) -> Table:
    table = Table(title=say("checks", language), title_justify="left", show_header=False)
    for check in day.checks:
        word = say("passed" if check.passed else "failed", language)
        style = "green" if check.passed else "bold red"
        detail = "" if check.passed else check.detail
        table.add_row(f"[{style}]{word}[/]", say(check.name, language), detail)
    return table


# -- for scripts ----------------------------------------------------------------------------------


def summary(day: Day) -> dict[str, Any]:
    """The day as plain values; card numbers are masked wherever they occur."""
    fleet = day.fleet
    return {
        "right": day.right,
        "seed": day.seed,
        "business_date": day.business_date,
        "transactions": fleet.transactions,
        "wall_s": round(day.wall_s, 1),
        "stages_s": day.stages_s,
        "cpu_s": day.cpu_s,
        "counts": fleet.counts,
        "latency": fleet.latency,
        "faults": {
            "terminals": fleet.faults,
            **{bank.name: bank.faults for bank in day.banks},
            "node": day.events,
        },
        "reversals": day.reversals,
        "terminal_reversals": fleet.reversals,
        "repeats_same": fleet.repeats_same,
        "repeats_different": fleet.repeats_different,
        "surprises": fleet.surprises,
        "batches": day.batches,
        "cases": day.cases,
        "breaks": {
            kind: [
                {"class": name, "acquirer": acquirer, "count": number}
                for (name, acquirer), number in counts.items()
            ]
            for kind, counts in (
                ("planted", day.breaks.planted),
                ("forgotten", day.breaks.forgotten),
                ("found", day.breaks.found),
            )
        },
        "breaks_not_found": day.breaks.not_found,
        "breaks_not_expected": day.breaks.not_expected,
        "money": day.money,
        "nets": day.close.nets,
        "trial_balance": day.close.trial_balance,
        "checks": day.checks,
        "files": day.files,
    }
