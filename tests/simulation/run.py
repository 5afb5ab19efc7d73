"""Run seeds: `python -m tests.simulation.run --seeds 1-1000`, or one of them: `--seed N`.

Seeds are shared out among processes. Of a broken promise: what was promised, the one command that
replays it, and the trace of the smallest world found that still breaks it. `--change` takes what such
a command names: changes of the seed's plan as JSON. Afterwards: how often each kind of fault happened
and each promise was checked; of many seeds a kind that never happened is a mistake of the plans.
"""

# ruff: noqa: T201 - it prints

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from tests.simulation.plans import FAULTS, plan_of
from tests.simulation.promises import PROMISES
from tests.simulation.shrink import BOX_S, changed, relevant, shrink
from tests.simulation.world import Report, simulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.simulation.shrink import Changes
    from tests.simulation.world import Plan

TAIL = 200
PROGRESS_S = 10.0
MANY_SEEDS = 200  # from here on every kind of fault must have happened


class Ran(msgspec.Struct):
    """A seed that ran, without its trace unless it broke a promise."""

    report: Report
    cpu_s: float
    changes: dict[str, object] = {}  # of the smallest plan that still breaks the promise
    small: Report | None = None


class Summary(msgspec.Struct):
    """What `--json` prints."""

    seeds: int
    broken: dict[int, str]
    replay: dict[int, str]
    faults: dict[str, int]
    counts: dict[str, int]
    checked: dict[str, int]
    never: list[str]
    cpu_s: float
    elapsed_s: float


def main() -> int:
    arguments = parse()
    begun_s = time.monotonic()
    summary = Summary(0, {}, {}, {}, {}, {}, [], 0.0, 0.0)
    counts: Counter[str] = Counter()
    checked: Counter[str] = Counter()
    told_s = begun_s
    for ran in run(arguments):
        report = ran.report
        summary.seeds += 1
        summary.cpu_s += ran.cpu_s
        counts.update(report.counts)
        checked.update(report.checked)
        if report.broken:
            summary.broken[report.seed] = report.broken
            summary.replay[report.seed] = command(report.seed, arguments.transactions, ran.changes)
        if arguments.json:
            continue
        if arguments.seed is not None or report.broken or not arguments.quiet:
            print(line_of(ran), flush=True)
        elif time.monotonic() - told_s > PROGRESS_S:
            told_s = time.monotonic()
            print(f"{summary.seeds} seeds, {len(summary.broken)} broken", flush=True)
        if arguments.seed is not None:
            show(report, arguments.grep)
        if report.broken:
            print(explain(ran, arguments.transactions, arguments.tail), flush=True)
    summary.elapsed_s = time.monotonic() - begun_s
    summary.counts, summary.checked = dict(sorted(counts.items())), dict(sorted(checked.items()))
    summary.faults = {name: counts[name] for name in FAULTS}
    if summary.seeds >= MANY_SEEDS:
        summary.never = [name for name in FAULTS if not counts[name]]
    print(msgspec.json.encode(summary).decode() if arguments.json else end_of(summary))
    return 1 if summary.broken or summary.never else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed, with what happened in it")
    parser.add_argument("--seeds", default="1-20", help="FIRST-LAST")
    parser.add_argument("--transactions", type=int, default=0, help="0: as the seed says")
    parser.add_argument("--change", default="{}", help="changes of the plan, JSON")
    parser.add_argument("--jobs", type=int, default=0, help="processes; 0: one a core")
    parser.add_argument("--budget-s", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument(
        "--shrink-s", type=float, default=BOX_S, help="time to make a failure small; 0: as it is"
    )
    parser.add_argument("--tail", type=int, default=TAIL, help="lines of the trace of a failure")
    parser.add_argument(
        "--grep", default="", help="with --seed: lines of the trace with any of a|b"
    )
    parser.add_argument("--quiet", action="store_true", help="a line every few seconds, not a seed")
    parser.add_argument("--json", action="store_true", help="the summary alone, as JSON")
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> Iterator[Ran]:
    """The seeds in the order in which they end."""
    seeds = seeds_of(arguments)
    changes: Changes = json.loads(arguments.change)
    works = [
        (seed, arguments.transactions, changes, arguments.shrink_s, arguments.grep)
        for seed in seeds
    ]
    jobs = min(arguments.jobs or os.cpu_count() or 1, len(works))
    until_s = time.monotonic() + arguments.budget_s
    if jobs == 1:
        yield from _until(map(run_one, works), until_s)
        return
    context = multiprocessing.get_context("spawn")  # nothing is inherited: as a run by itself
    with context.Pool(jobs) as pool:
        yield from _until(pool.imap_unordered(run_one, works), until_s)


def _until(results: Iterable[Ran], until_s: float) -> Iterator[Ran]:
    for result in results:
        yield result
        if time.monotonic() > until_s:
            return


def seeds_of(arguments: argparse.Namespace) -> range:
    if arguments.seed is not None:
        return range(arguments.seed, arguments.seed + 1)
    first, _, last = arguments.seeds.partition("-")
    return range(int(first), int(last or first) + 1)


def run_one(work: tuple[int, int, Changes, float, str]) -> Ran:
    """In a process of its own; a trace is long, and comes back only where it is shown."""
    seed, transactions, changes, shrink_s, trace = work
    plan = changed(plan_of(seed, transactions), changes)
    begun_s = time.process_time()
    report = simulate(plan, keep_trace=bool(trace))
    ran = Ran(report, time.process_time() - begun_s, changes=changes)
    if report.broken and shrink_s:
        ran = small(plan, ran, shrink_s)
    return ran


def small(plan: Plan, ran: Ran, shrink_s: float) -> Ran:
    more, report = shrink(plan, ran.report, shrink_s)
    return Ran(ran.report, ran.cpu_s, changes={**ran.changes, **more}, small=report)


def line_of(ran: Ran) -> str:
    report = ran.report
    unbalanced = f" · unbalanced {report.unbalanced}" if report.unbalanced else ""
    return (
        f"seed {report.seed}: {'BROKEN' if report.broken else 'kept'} · {ran.cpu_s:.1f} s for "
        f"{report.virtual_s:.0f} s · {report.steps} steps · {report.trace_hash[:16]}{unbalanced}"
    )


def explain(ran: Ran, transactions: int = 0, tail: int = TAIL) -> str:
    """The lines that matter, the promise, the command."""
    report = ran.small or ran.report
    promise = report.broken.partition(":")[0]
    return "\n".join(
        [
            *relevant(report)[-tail:],
            f"BROKEN {report.broken}",
            f"promise {promise}: {PROMISES[promise]}",
            f"replay: {command(report.seed, transactions, ran.changes)}",
        ]
    )


def command(seed: int, transactions: int, changes: Changes) -> str:
    words = ["python -m tests.simulation.run", f"--seed {seed}"]
    if transactions:
        words.append(f"--transactions {transactions}")
    if changes:
        words.append(f"--change '{json.dumps(changes)}'")
    return " ".join(words)


def show(report: Report, grep: str) -> None:
    for name, count in report.counts.items():
        print(f"  {count:6} {name}")
    print("  checked:", ", ".join(f"{name} {count}" for name, count in report.checked.items()))
    print(f"  forgotten by banks: {report.forgotten}; told 96 of a copy: {report.copy_refused}")
    print(f"  unbalanced: {report.unbalanced}")
    words = [word for word in grep.split("|") if word]
    for line in report.tail:
        if any(word in line for word in words):
            print(line)


def end_of(summary: Summary) -> str:
    lines = []
    if summary.seeds > 1:
        lines += [f"  {count:7} {name}" for name, count in summary.faults.items()]
        checks = ", ".join(f"{name} {count}" for name, count in summary.checked.items())
        per_seed_s = summary.cpu_s / summary.seeds
        lines.append(f"  checked: {checks}")
        lines.append(f"  {per_seed_s:.2f} CPU s a seed, {summary.elapsed_s:.0f} s in all")
    if summary.never:
        lines.append(f"  NEVER HAPPENED: {', '.join(summary.never)}")
    failed = sorted(summary.broken)
    lines.append(
        f"{summary.seeds} seeds, {len(failed)} broken{': ' if failed else ''}{failed or ''}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
