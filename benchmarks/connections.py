"""What open connections cost: memory of a node, and processor time beside a node that has few.

    python -m benchmarks.connections [--connections N] [--workers N] [--requests N] [--rounds N]
                                     [--quick] [--data DIR] [--json]

A node with as many registered terminals as connections. They connect in steps, each with one purchase,
so that every connection has a terminal whose keys and batch are known; after each step the resident
memory of supervisor and workers is read. Then two nodes of one worker trade in turns, 64 requests at a
time: one over its 64 connections, one over as many as before. (How connections fall to several workers
is left to the kernel, and a commit costs less where more requests meet in one worker.)
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks import report
from benchmarks.estate import Estate, EstateNode, Traffic

MODULE: Final = "benchmarks.connections"
MARK_MIB: Final = 600.0
FEW: Final = 64
IN_FLIGHT: Final = 64
WARM: Final = 2_000  # requests before a node is measured
SETTLED_S: Final = 2.0  # before memory is read


def measure(given: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="tongbao-benchmark-", dir=given.data))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)  # PostgreSQL's own user passes through
        steps = memory(folder / "memory", given.workers, given.connections)
        cost = compare(folder, given)
    return {
        "memory": steps,
        "bytes_a_connection": (steps[-1]["switch_mib"] - steps[0]["switch_mib"])
        * 2**20
        / given.connections,
        "cost": cost,
        "cost_ratio": statistics.median(
            many["cpu_us"] / few["cpu_us"]
            for few, many in zip(cost["few"], cost["many"], strict=True)
        ),
    }


def memory(folder: Path, workers: int, connections: int) -> list[dict[str, Any]]:
    """What the node holds without connections, with a tenth of them, with all."""
    with ExitStack() as stack:
        node = EstateNode(stack, folder, workers, Estate(connections))
        traffic = Traffic(node, stack, lines=0, used=connections)
        steps: list[dict[str, Any]] = []
        for step in (0, connections // 10, connections):
            if step:
                traffic.connect(step)
                traffic.trade(step, IN_FLIGHT)
            time.sleep(SETTLED_S)
            steps.append({"connections": step, "shares": node.connections(), **node.memory()})
        return steps


def compare(folder: Path, given: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Rounds in turns of a node with few and of one with many connections, one worker each."""
    with ExitStack() as stack:
        sides: dict[str, Traffic] = {}
        for name, connections in (("few", FEW), ("many", given.connections)):
            node = EstateNode(
                stack, folder / name, 1, Estate(given.connections),
                server=f"connections = {2 * given.connections}\n",
            )  # fmt: skip
            sides[name] = Traffic(node, stack, lines=connections, used=connections)
            sides[name].trade(max(connections, WARM), IN_FLIGHT)
        rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        for _ in range(given.rounds):
            for name, traffic in sides.items():
                rounds[name].append(traffic.trade(given.requests, IN_FLIGHT))
        return rounds


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description="open connections")
    parser.add_argument("--connections", type=int, default=None, help="10,000; quick: 1,000")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--requests", type=int, default=None, help="a round: 2,000; quick: 500")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--data", default=None, help="where the data folder is made; default /tmp")
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    given = parser.parse_args()
    given.connections = given.connections or (1_000 if given.quick else 10_000)
    given.requests = given.requests or (500 if given.quick else 2_000)
    report.begin()
    report.open_files(given.connections + 1_000)
    figures = measure(given)
    if given.json:
        report.as_json(MODULE, workers=given.workers, **figures)
    else:
        show(given, figures)


def show(given: argparse.Namespace, figures: dict[str, Any]) -> None:
    report.show(
        MODULE,
        f"resident MiB, {given.workers} workers, each connection with a terminal that has traded",
        ("open connections", "supervisor + workers", "workers", "PostgreSQL", "of each worker"),
        [
            (
                f"{each['connections']:,}",
                *(f"{each[key]:,.0f}" for key in ("switch_mib", "workers_mib", "postgres_mib")),
                " ".join(f"{share:,}" for share in each["shares"]),
            )
            for each in figures["memory"]
        ],
        f"{figures['bytes_a_connection']:,.0f} bytes a connection with its terminal; "
        f"mark: {MARK_MIB:.0f} MiB of supervisor and workers at 10,000\n",
    )
    cost = {name: report.medians(rows) for name, rows in figures["cost"].items()}
    report.table(
        ("open connections", "CPU µs", "switch", "PostgreSQL", "TPS", "p99 ms"),
        [
            (
                f"{open_:,}", *(f"{row[key]:.1f}" for key in ("cpu_us", "switch_us", "postgres_us")),
                f"{row['tps']:,.0f}", f"{row['latency_ms_p99']:.1f}",
            )
            for open_, row in ((FEW, cost["few"]), (given.connections, cost["many"]))
        ],
    )  # fmt: skip
    print(
        f"\nratio {figures['cost_ratio']:.3f}: medians of {given.rounds} rounds of "
        f"{given.requests:,} purchases in turns, one worker each"
    )


if __name__ == "__main__":
    main()
