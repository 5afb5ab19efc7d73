"""What open connections cost: memory of a node, and processor time beside a node that has few.

    python -m benchmarks.connections [--connections N] [--workers N] [--requests N] [--rounds N]
                                     [--quick] [--data DIR] [--json]

Two nodes, each with as many registered terminals as connections. On the first they connect in steps,
each with one purchase, so that every connection has a terminal whose keys and batch are known; after
each step the resident memory of supervisor and workers is read. The second has 64. Then both trade in
turns, 64 requests at a time: the first over all of its connections, the second over its 64.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks import report
from benchmarks.estate import Estate, EstateNode, Traffic
from switch import logs
from switch.adapters.system import SystemClock

MODULE: Final = "benchmarks.connections"
MARK_MIB: Final = 600.0
FEW: Final = 64
IN_FLIGHT: Final = 64
SETTLED_S: Final = 2.0  # before memory is read


def measure(given: argparse.Namespace) -> dict[str, Any]:
    many: int = given.connections
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="tongbao-benchmark-", dir=given.data))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)  # PostgreSQL's own user passes through
        loaded = EstateNode(stack, folder / "many", given.workers, Estate(many))
        steps = [{"connections": 0, **loaded.memory()}]
        traffic = Traffic(loaded, stack, lines=0, used=many)
        for connections in (many // 10, many):
            traffic.connect(connections)
            traffic.trade(connections, IN_FLIGHT)
            time.sleep(SETTLED_S)
            steps.append({"connections": connections, **loaded.memory()})
        quiet = EstateNode(stack, folder / "few", given.workers, Estate(many))
        beside = Traffic(quiet, stack, lines=FEW, used=FEW)
        beside.trade(given.requests, IN_FLIGHT)
        rounds: dict[str, list[dict[str, Any]]] = {"few": [], "many": []}
        for _ in range(given.rounds):
            rounds["few"].append(beside.trade(given.requests, IN_FLIGHT))
            rounds["many"].append(traffic.trade(given.requests, IN_FLIGHT))
        traded = {"connections": many, **loaded.memory()}
    cost = {name: report.medians(rows) for name, rows in rounds.items()}
    return {
        "memory": steps,
        "after_trading": traded,
        "bytes_a_connection": (steps[-1]["switch_mib"] - steps[0]["switch_mib"]) * 2**20 / many,
        "cost": cost,
        "cost_ratio": cost["many"]["cpu_us"] / cost["few"]["cpu_us"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description="open connections")
    parser.add_argument("--connections", type=int, default=None, help="10,000; quick: 1,000")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--requests", type=int, default=None, help="a round: 5,000; quick: 1,000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--data", default=None, help="where the data folder is made; default /tmp")
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    given = parser.parse_args()
    given.connections = given.connections or (1_000 if given.quick else 10_000)
    given.requests = given.requests or (1_000 if given.quick else 5_000)
    report.two_cores()
    report.open_files(given.connections + 1_000)
    logs.configure(SystemClock(), "benchmark", level="warning", file=None)
    figures = measure(given)
    if given.json:
        report.as_json(MODULE, workers=given.workers, **figures)
    else:
        show(given, figures)


def show(given: argparse.Namespace, figures: dict[str, Any]) -> None:
    rows = [(f"{each['connections']:,} open", each) for each in figures["memory"]]
    rows.append(("after trading", figures["after_trading"]))
    report.show(
        MODULE,
        f"resident MiB, {given.workers} workers, each connection with a terminal that has traded",
        ("", "supervisor + workers", "workers", "PostgreSQL"),
        [
            (name, *(f"{each[key]:,.0f}" for key in ("switch_mib", "workers_mib", "postgres_mib")))
            for name, each in rows
        ],
        f"{figures['bytes_a_connection']:,.0f} bytes a connection with its terminal; "
        f"mark: {MARK_MIB:.0f} MiB of supervisor and workers at 10,000\n",
    )
    report.table(
        ("open connections", "CPU µs", "switch", "PostgreSQL", "TPS", "p99 ms"),
        [
            (
                f"{open_:,}", *(f"{row[key]:.1f}" for key in ("cpu_us", "switch_us", "postgres_us")),
                f"{row['tps']:,.0f}", f"{row['latency_ms_p99']:.1f}",
            )
            for open_, row in (
                (FEW, figures["cost"]["few"]), (given.connections, figures["cost"]["many"])
            )
        ],
    )  # fmt: skip
    print(f"\nratio {figures['cost_ratio']:.3f}, medians of {given.rounds} rounds in turns")


if __name__ == "__main__":
    main()
