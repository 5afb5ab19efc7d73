"""Is every planted bug found? `python -m tests.simulation.mutants`, which is `make sim-mutants`.

Each is tried with seeds from 1 until a checker finds it, in as many processes as there are cores.
`--record` writes the cheapest of the first seeds that find it; `test_mutations` runs those alone.
`--show NAME` tells what one of them comes to.
"""

# ruff: noqa: T201 - it prints

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tests.simulation.link_mutations import WORLDS
from tests.simulation.mutations import MUTATIONS, OF_DOWNLOADS, OF_ROUTING
from tests.simulation.plans import hunting, hunting_downloads, hunting_routes
from tests.simulation.run import Ran, explain, small
from tests.simulation.shrink import BOX_S
from tests.simulation.world import Plan, simulate

if TYPE_CHECKING:
    from collections.abc import Callable

RECORD = Path(__file__).with_name("mutants.json")
SEEDS_MAX = 200
FURTHER = 2  # seeds tried after the first that finds a bug: the cheapest is recorded


class Found(msgspec.Struct):
    """A planted bug and the seed that found it; 0: none did."""

    name: str
    promises: str
    seed: int = 0
    cpu_s: float = 0.0
    broken: str = ""


def plan_for(name: str, seed: int) -> Plan:
    return world_of(name)(seed)


def world_of(name: str) -> Callable[[int], Plan]:
    """Where a bug is hunted."""
    if name in WORLDS:
        return WORLDS[name]
    if name in OF_ROUTING:
        return hunting_routes
    return hunting_downloads if name in OF_DOWNLOADS else hunting


def hunt(work: tuple[str, int, int]) -> Found:
    """Seeds from 1; of the first that finds the bug and `further` ones the cheapest."""
    name, seeds, further = work
    mutation, promises = MUTATIONS[name]
    best, last = Found(name, promises), seeds
    with mutation():
        for seed in range(1, seeds + 1):
            if seed > last:
                break
            begun_s = time.process_time()
            broken = simulate(plan_for(name, seed), keep_trace=False).broken
            cpu_s = time.process_time() - begun_s
            if broken.partition(":")[0] not in promises.split():
                continue
            if not best.seed:
                last = seed + further
            if not best.seed or cpu_s < best.cpu_s:
                best = Found(name, promises, seed, round(cpu_s, 2), broken)
    return best


def recorded() -> dict[str, int]:
    """Planted bug → the seed that finds it."""
    return msgspec.json.decode(RECORD.read_bytes(), type=dict[str, int])


def record(one: Found) -> None:
    known = recorded() if RECORD.exists() else {}
    seeds = {name: seed for name, seed in known.items() if name in MUTATIONS} | {one.name: one.seed}
    RECORD.write_text(json.dumps(dict(sorted(seeds.items())), indent=2) + "\n")


def show(name: str) -> str:
    """The trace of a planted bug's recorded seed, made small, as that of a broken promise is told."""
    mutation, _ = MUTATIONS[name]
    plan = plan_for(name, recorded()[name])
    with mutation():
        ran = small(plan, Ran(simulate(plan), 0.0), BOX_S)
    *told, _ = explain(ran).splitlines()
    return "\n".join([*told, f"replay: python -m tests.simulation.mutants --show '{name}'"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS_MAX, help="how many are tried at most")
    parser.add_argument("--only", default="", help="planted bugs whose name has this")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--show", choices=sorted(MUTATIONS), help="what its recorded seed comes to")
    arguments = parser.parse_args()
    if arguments.show:
        print(show(arguments.show))
        return 0
    further = FURTHER if arguments.record else 0
    works = [(name, arguments.seeds, further) for name in MUTATIONS if arguments.only in name]
    found: list[Found] = []
    context = multiprocessing.get_context("spawn")  # no process has another's mutation
    with context.Pool(min(arguments.jobs, max(len(works), 1)), maxtasksperchild=1) as pool:
        for one in pool.imap_unordered(hunt, works, chunksize=1):
            found.append(one)
            if arguments.record and one.seed:
                record(one)  # at once: a run that is cut short keeps what it has found
            if not arguments.json:
                print(line_of(one), flush=True)
    survivors = [one.name for one in found if not one.seed]
    if arguments.json:
        print(msgspec.json.encode(found).decode())
    else:
        print(
            f"{len(found)} planted bugs, {len(survivors)} not found{': ' if survivors else ''}"
            + ", ".join(survivors)
        )
    return 1 if survivors or not found else 0


def line_of(one: Found) -> str:
    if not one.seed:
        return f"{one.name:42} NOT FOUND ({one.promises})"
    promise, _, seen = one.broken.partition(": ")
    return f"{one.name:42} {promise:3} seed {one.seed:3} {one.cpu_s:5.2f} s  {seen[:110]}"


if __name__ == "__main__":
    sys.exit(main())
