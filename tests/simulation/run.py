"""Run seeds: `python -m tests.simulation.run --seed N`, or `--seeds 1-100`.

One line a seed; of a broken promise the end of the trace, and the command that replays it.
"""

# ruff: noqa: T201 - it prints

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.plans import plan_of
from tests.simulation.world import Report, simulate

TAIL = 60


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed, with what happened in it")
    parser.add_argument("--seeds", default="1-20", help="FIRST-LAST")
    parser.add_argument("--transactions", type=int, default=0, help="0: as the seed says")
    parser.add_argument("--budget-s", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--tail", type=int, default=TAIL, help="lines of the trace of a failure")
    parser.add_argument(
        "--grep", default="", help="with --seed: lines of the trace with any of a|b"
    )
    arguments = parser.parse_args()
    if arguments.seed is not None:
        seeds = range(arguments.seed, arguments.seed + 1)
    else:
        first, _, last = arguments.seeds.partition("-")
        seeds = range(int(first), int(last or first) + 1)
    failed: list[int] = []
    begun_s = time.monotonic()
    done = 0
    for seed in seeds:
        if time.monotonic() - begun_s > arguments.budget_s:
            break
        at_s = time.monotonic()
        report = simulate(plan_of(seed, arguments.transactions))
        done += 1
        took_s = time.monotonic() - at_s
        print(
            f"seed {seed}: {'BROKEN' if report.broken else 'kept'} · {took_s:.1f} s for "
            f"{report.virtual_s:.0f} s · {report.steps} steps · {report.trace_hash[:16]}"
            + (f" · unbalanced {report.unbalanced}" if report.unbalanced else ""),
            flush=True,
        )
        if arguments.seed is not None:
            show(report)
            words = [word for word in arguments.grep.split("|") if word]
            for line in report.tail:
                if any(word in line for word in words):
                    print(line)
        if report.broken:
            failed.append(seed)
            print(explain(report, arguments.tail), flush=True)
    print(f"{done} seeds, {len(failed)} broken{': ' if failed else ''}{failed or ''}")
    return 1 if failed else 0


def explain(report: Report, tail: int = TAIL) -> str:
    """The promise, the end of the trace, the command."""
    return "\n".join(
        [
            *report.tail[-tail:],
            f"BROKEN {report.broken}",
            f"replay: python -m tests.simulation.run --seed {report.seed}",
        ]
    )


def show(report: Report) -> None:
    for name, count in report.counts.items():
        print(f"  {count:6} {name}")
    print("  checked:", ", ".join(f"{name} {count}" for name, count in report.checked.items()))
    print(f"  forgotten by banks: {report.forgotten}; told 96 of a copy: {report.copy_refused}")
    print(f"  unbalanced: {report.unbalanced}")


if __name__ == "__main__":
    sys.exit(main())
