"""What happens above capacity: a rate that does not wait, at parts and multiples of what is served.

    python -m benchmarks.overload [--seconds S] [--lines N] [--workers N] [--factors K,K…]
                                  [--data DIR] [--json]

The same node as in `benchmarks.switch`. First its capacity: what it approves a second when somewhat
more is asked than it can do. Then every factor in turn, and after each a calm phase, in which the
time to recover is read: until requests are neither refused nor slower than calm ones. At the end
every approval that a terminal saw is looked for in the bank's entries, and the other way round.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks import report
from benchmarks.load import TMK, Plan, Process
from benchmarks.open_loop import BIN_S, TAIL_S
from benchmarks.switch import Node

MODULE: Final = "benchmarks.overload"
WARM_TPS: Final = 300.0
PROBE_TPS: Final = (1_000.0, 2_000.0, 4_000.0, 8_000.0)  # asked in turn, while more is served
GROWS: Final = 1.1
PROBE_S, CALM_S = 2.5, 4.0
CALM_FACTOR: Final = 0.4
CALM_BINS: Final = 3  # so many in a row without refusals and slow answers: recovered
SLOW: Final = 4.0  # times the calm p99: a slow answer


class Flood:
    """The node, its bank with entries, and the open loop of terminals."""

    def __init__(self, stack: ExitStack, folder: Path, given: argparse.Namespace) -> None:
        plan = Plan(port=0, lines=given.lines, tmk=TMK)
        self.node = Node(stack, folder, given.workers, plan, bank="benchmarks.open_loop")
        self.load = Process("benchmarks.open_loop", "terminals")
        stack.callback(self.load.stop)
        plan = msgspec.structs.replace(plan, port=self.node.port)
        self.load.ask(90.0, do="connect", **msgspec.to_builtins(plan))
        self.sent = 0
        self.unanswered = 0

    def run(self, *phases: tuple[float, float]) -> list[dict[str, Any]]:
        """Phases of (requests a second, seconds)."""
        took_s = sum(seconds for _, seconds in phases)
        prepared_s = sum(rate * seconds for rate, seconds in phases) / 10_000
        answer = self.load.ask(took_s + prepared_s + TAIL_S + 30.0, do="run", phases=phases)
        self.unanswered += answer["unanswered"]
        results: list[dict[str, Any]] = answer["phases"]
        self.sent += sum(each["sent"] for each in results)
        return results

    def capacity_tps(self) -> float:
        """What is approved a second where more is asked than can be served."""
        self.run((WARM_TPS, PROBE_S))
        served = 0.0
        for rate in PROBE_TPS:
            (phase,) = self.run((rate, PROBE_S))
            former, served = served, max(served, phase["codes"].get("00", 0) / PROBE_S)
            if served < GROWS * former:
                break
        return served

    def books(self) -> dict[str, int]:
        """Approvals at the terminals against entries at the bank."""
        approved = Counter(self.load.ask(30.0, do="approved")["rrns"])
        facts = self.node.bank.ask(30.0, do="facts")
        entries, back = Counter(facts["entries"]), set(facts["reversed"])
        return {
            "sent": self.sent,
            "approved": approved.total(),
            "entries": entries.total(),
            "reversed": len(back),
            "unanswered": self.unanswered,
            "approved_twice": sum(count - 1 for count in approved.values()),
            "entered_twice": sum(count - 1 for count in entries.values()),
            "approved_without_entry": len(approved.keys() - entries.keys()),
            "entry_without_approval": len(entries.keys() - approved.keys() - back),
        }


def recovered_s(calm: dict[str, Any], usual_ms: float) -> float:
    """From the end of the burst to the first of some bins in a row like any other day's."""
    good = 0
    for at, each in enumerate(calm["bins"]):
        fine = not each["refused"] and each["slowest_ns"] / 1e6 <= usual_ms * SLOW
        good = good + 1 if fine else 0
        if good == CALM_BINS:
            return (at + 1 - CALM_BINS) * BIN_S
    return float("inf")


def measure(given: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="tongbao-benchmark-", dir=given.data))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)  # PostgreSQL's own user passes through
        flood = Flood(stack, folder, given)
        capacity = flood.capacity_tps()
        (calm,) = flood.run((CALM_FACTOR * capacity, CALM_S))
        rows = []
        for factor in given.factors:
            burst, after = flood.run(
                (factor * capacity, given.seconds), (CALM_FACTOR * capacity, CALM_S)
            )
            burst["factor"] = factor
            burst["recovered_s"] = recovered_s(after, calm["accepted_ms"]["p99"])
            del burst["bins"]
            rows.append(burst)
        return {"capacity_tps": capacity, "phases": rows, "books": flood.books()}


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description="above capacity")
    parser.add_argument("--seconds", type=float, default=8.0, help="a burst")
    parser.add_argument("--lines", type=int, default=512, help="terminals, a connection each")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--factors",
        type=lambda text: [float(each) for each in text.split(",")],
        default=[0.5, 1.0, 2.0, 3.0],
        help="of the capacity",
    )
    parser.add_argument("--data", default=None, help="where the data folder is made; default /tmp")
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    given = parser.parse_args()
    report.begin()
    figures = measure(given)
    if given.json:
        report.as_json(MODULE, workers=given.workers, lines=given.lines, **figures)
    else:
        show(given, figures)


def show(given: argparse.Namespace, figures: dict[str, Any]) -> None:
    def ms(of: dict[str, float], name: str) -> str:
        return f"{of[name]:,.0f}" if of else "-"

    rows = []
    for each in figures["phases"]:
        refused = {code: n for code, n in sorted(each["codes"].items()) if code != "00"}
        rows.append((
            f"{each['factor']:g} x capacity", f"{each['rate']:,.0f}", f"{each['accepted_tps']:,.0f}",
            f"{sum(refused.values()) / each['sent']:.0%}",
            " ".join(f"{code}: {n}" for code, n in refused.items()) or "-",
            ms(each["accepted_ms"], "p50"), ms(each["accepted_ms"], "p99"),
            ms(each["refused_ms"], "p50"), ms(each["refused_ms"], "p99"),
            f"{each['recovered_s']:.1f}", f"{each['behind_ms']:,.0f}",
        ))  # fmt: skip
    books = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in figures["books"].items())
    report.show(
        MODULE,
        f"open loop, {given.lines} terminals, {given.workers} workers, bursts of {given.seconds:g} s; "
        f"capacity {figures['capacity_tps']:,.0f} TPS",
        ("", "asked TPS", "accepted TPS", "refused", "codes", "p50 ms", "p99 ms",
         "refused p50", "p99", "recovered s", "(generator behind ms"),
        rows,
        books,
    )  # fmt: skip


if __name__ == "__main__":
    main()
