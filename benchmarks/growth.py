"""Whether a transaction costs the same with a long journal and with a large estate.

    python -m benchmarks.growth [--rows N,N…] [--terminals N,N…] [--requests N] [--rounds N]
                                [--quick] [--data DIR] [--json]

A node for each length of the journal (all with 1,000 terminals) and for each size of the estate (all
with the shortest journal), all alive, trading in turns; every terminal of an estate trades, in turn.
The journal is made by copying purchases that the node has just served, under other keys: half of the
rows on the open date, the rest on two dates before, one in a hundred reversed. Each node has one worker: how
connections fall to several is left to the kernel, and differs. A figure is the
processor time of the switch and of PostgreSQL for one purchase, its median over the rounds, and its
ratio to the smallest node's in the same rounds.

With the longest journal the switch's statements that run by themselves are looked at: what a second
without traffic costs, and which tables were read from end to end. With the largest estate: how long a
start takes, what a worker holds, and how long one terminal's change keeps requests waiting.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from benchmarks import report
from benchmarks.estate import Estate, EstateNode, Traffic
from benchmarks.history import fill_journal, scans, settled

if TYPE_CHECKING:
    from collections.abc import Iterable

MODULE: Final = "benchmarks.growth"
TOLERANCE: Final = 0.10
TERMINALS: Final = 1_000  # of the nodes that differ in their journals
BATCH: Final = 3  # the open one; the journal's rows are in the former
REMEMBERED: Final = 65_536  # by the one worker that has them all
IN_FLIGHT: Final = 50
LINES: Final = 50  # so that a terminal of any of the estates keeps its connection
CHANGES: Final = 3
BAR: Final = 30  # characters of the chart


class Contender:
    """A node, the size that it stands for, and what it measured."""

    def __init__(
        self, stack: ExitStack, folder: Path, given: argparse.Namespace, rows: int, terminals: int
    ) -> None:
        self.rows, self.terminals = rows, terminals
        room = f"terminals = {REMEMBERED}\n"
        self.node = EstateNode(stack, folder, given.workers, Estate(terminals, BATCH), server=room)
        self.traffic = Traffic(self.node, stack, lines=LINES, used=terminals)
        self.traffic.trade(min(terminals, 1_000), IN_FLIGHT)
        self.measured: list[dict[str, Any]] = []

    def fill(self) -> None:
        asyncio.run(fill_journal(self.node.owner_dsn, self.node.estate, self.rows))

    def warm(self) -> None:
        """Every terminal has traded once: what is remembered of it is there, or never will be."""
        self.traffic.trade(max(self.terminals, 1_000), IN_FLIGHT)

    def round(self, requests: int) -> None:
        self.measured.append(self.traffic.trade(requests, IN_FLIGHT))


def measure(given: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="tongbao-benchmark-", dir=given.data))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)  # PostgreSQL's own user passes through
        shortest = min(given.rows)
        sizes = [(rows, TERMINALS) for rows in given.rows]
        sizes += [(shortest, each) for each in given.terminals if each != TERMINALS]
        contenders = {
            size: Contender(stack, folder / "x".join(map(str, size)), given, *size)
            for size in sizes
        }
        for each in contenders.values():
            each.fill()
        for each in contenders.values():
            each.warm()
        if not given.quick:
            asyncio.run(all_settled(each.node.owner_dsn for each in contenders.values()))
        for _ in range(given.rounds):
            for each in contenders.values():
                each.round(given.requests)
        base = contenders[shortest, TERMINALS]
        longest = contenders[max(given.rows), TERMINALS]
        largest = contenders[shortest, max(given.terminals)]
        return {
            "journal": compared([contenders[rows, TERMINALS] for rows in sorted(given.rows)]),
            "estate": compared([contenders[shortest, each] for each in sorted(given.terminals)]),
            "idle": [idle(each, given.idle_s) for each in dict.fromkeys((base, longest, largest))],
            "reference": [changed(each, given.requests) for each in dict.fromkeys((base, largest))],
        }


async def all_settled(dsns: Iterable[str]) -> None:
    await asyncio.gather(*map(settled, dsns))


def compared(contenders: list[Contender]) -> list[dict[str, Any]]:
    """Medians of each, and the median of the rounds' ratios to the first."""
    found = []
    first = contenders[0].measured
    for each in contenders:
        ratios = [
            {key: row[key] / base[key] for key in ("cpu_us", "switch_us", "postgres_us")}
            for row, base in zip(each.measured, first, strict=True)
        ]
        found.append(
            {
                "rows": each.rows,
                "terminals": each.terminals,
                **report.medians(each.measured),
                "ratio": report.medians(ratios),
            }
        )
    return found


def idle(contender: Contender, seconds: float) -> dict[str, Any]:
    """What a second without traffic costs, and the tables read from end to end meanwhile."""
    node = contender.node
    tables, before = asyncio.run(scans(node.owner_dsn)), node.used()
    time.sleep(seconds)
    after, later = node.used(), asyncio.run(scans(node.owner_dsn))
    spent = {f"{name}_ms_a_second": (after[name] - before[name]) * 1e3 / seconds for name in after}
    scanned = {
        name: {key: later[name][key] - was[key] for key in was} for name, was in tables.items()
    }
    del scanned["business_day"]  # one row, which no index could make fewer
    return {
        "rows": contender.rows,
        "terminals": contender.terminals,
        **spent,
        "scanned": {name: each for name, each in scanned.items() if each["seq_scan"]},
    }


def changed(contender: Contender, requests: int) -> dict[str, Any]:
    """One terminal changes in the middle of a round: how long the slowest request took, and before."""
    node, traffic = contender.node, contender.traffic
    calm, stirred = [], []
    for _ in range(CHANGES):
        calm.append(traffic.trade(requests, IN_FLIGHT))
        stirred.append(
            traffic.trade(
                requests, IN_FLIGHT, meanwhile=lambda: asyncio.run(change(node.owner_dsn))
            )
        )
    before, after = report.medians(calm), report.medians(stirred)
    return {
        "terminals": contender.terminals,
        "start_s": node.ready_s,
        **node.memory(),
        "calm_ms_max": before["latency_ms_max"],
        "changed_ms_max": after["latency_ms_max"],
        "change_cpu_ms": (after["switch_us"] - before["switch_us"]) * requests / 1e3,
    }


async def change(dsn: str) -> None:
    """A new version of one terminal, as `data apply` makes it."""
    connection = await asyncpg.connect(dsn)
    try:
        await asyncio.sleep(0.3)
        await connection.execute(
            "SELECT pg_advisory_xact_lock(8586, 1); INSERT INTO switch.reference_item"
            " (kind, key, version, effective_from, content, sha256, maker)"
            " SELECT kind, key, version + 1, clock_timestamp(), content, sha256, maker"
            " FROM switch.reference_item WHERE kind = 'terminal' ORDER BY key, version DESC LIMIT 1;"
            " SELECT switch.bump_generation()"
        )
    finally:
        await connection.close()


def numbers(text: str) -> list[int]:
    return [int(each.replace("_", "")) for each in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description="what grows")
    parser.add_argument("--rows", type=numbers, default=None, help="1000,10000,100000,1000000")
    parser.add_argument("--terminals", type=numbers, default=None, help="10,1000,50000")
    parser.add_argument("--requests", type=int, default=None, help="a round: 750; quick: 250")
    parser.add_argument("--rounds", type=int, default=None, help="8; quick: 4")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="under a minute: small sizes")
    parser.add_argument("--data", default=None, help="where the data folders are; default /tmp")
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    given = parser.parse_args()
    given.rows = given.rows or ([1_000, 10_000] if given.quick else [10**3, 10**4, 10**5, 10**6])
    given.terminals = given.terminals or ([10, 1_000] if given.quick else [10, 1_000, 50_000])
    given.requests = given.requests or (250 if given.quick else 750)
    given.idle_s = 2.0 if given.quick else 12.0  # the slowest of what is periodic waits 10 s
    given.rounds = given.rounds or (4 if given.quick else 8)
    report.begin()
    figures = measure(given)
    if given.json:
        report.as_json(MODULE, workers=given.workers, **figures)
    else:
        show(given, figures)


def show(given: argparse.Namespace, figures: dict[str, Any]) -> None:
    columns = ("", "CPU µs", "switch", "PostgreSQL", "ratio", "switch", "PostgreSQL", "")
    rows = [cost(f"{each['rows']:,} rows", each, figures["journal"]) for each in figures["journal"]]
    rows += [
        cost(f"{each['terminals']:,} terminals", each, figures["estate"])
        for each in figures["estate"]
    ]
    report.show(
        MODULE,
        f"{given.workers} workers, {IN_FLIGHT} at a time, medians of {given.rounds} rounds of "
        f"{given.requests:,} purchases; mark: ratio within {TOLERANCE:.0%}",
        columns,
        rows,
    )
    print()
    report.table(
        ("without traffic, a second", "switch ms", "PostgreSQL ms", "tables read from end to end"),
        [
            (
                f"{each['rows']:,} rows, {each['terminals']:,} terminals",
                f"{each['switch_ms_a_second']:.1f}",
                f"{each['postgres_ms_a_second']:.1f}",
                ", ".join(
                    f"{name} {seen['seq_scan']}x {seen['seq_tup_read']:,} rows"
                    for name, seen in each["scanned"].items()
                ) or "none",
            )
            for each in figures["idle"]
        ],
    )  # fmt: skip
    print()
    report.table(
        ("reference data", "start s", "workers MiB", "slowest ms", "with a change", "its CPU ms"),
        [
            (
                f"{each['terminals']:,} terminals", f"{each['start_s']:.1f}",
                f"{each['workers_mib']:,.0f}", f"{each['calm_ms_max']:,.0f}",
                f"{each['changed_ms_max']:,.0f}", f"{each['change_cpu_ms']:,.0f}",
            )
            for each in figures["reference"]
        ],
    )  # fmt: skip


def cost(name: str, row: dict[str, Any], of: list[dict[str, Any]]) -> tuple[str, ...]:
    most = max(each["cpu_us"] for each in of)
    ratio = row["ratio"]
    return (
        name, *(f"{row[key]:.1f}" for key in ("cpu_us", "switch_us", "postgres_us")),
        *(f"{ratio[key]:.3f}" for key in ("cpu_us", "switch_us", "postgres_us")),
        ("▇" * round(BAR * row["cpu_us"] / most)).ljust(BAR),
    )  # fmt: skip


if __name__ == "__main__":
    main()
