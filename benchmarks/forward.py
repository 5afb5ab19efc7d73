"""What the switch itself costs: the same engine, with a store, a vault and a log that cost nothing.

    python -m benchmarks.forward [--link unionpay_pos|iso1987_ascii] [--terminals N] [--seconds S]
                                 [--rounds N] [--json]

A closed loop of terminals sends a 267-byte purchase with chip and PIN over loopback; the switch checks
and routes it and asks a bank that approves; the answer goes back: two hops each way. Beside it, in
turns, a bare forwarder on pyiso8583 and uvloop. Generator, bank and each switch are processes of their
own; the figure is the processor time of the switch's process for each transaction.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import socket
import sys
from typing import Any, Final

import msgspec

from benchmarks import report
from benchmarks.load import Plan, Process, obey, run
from benchmarks.null_ports import null_switch
from switch import logs
from switch.accepting import Entrance
from switch.adapters.system import SystemClock, SystemTransport
from switch.reference import Link

MODULE: Final = "benchmarks.forward"
MARK_US: Final = 40.0
WARM_S: Final = 1.5
CONTENDERS: Final = {
    "tongbao": (MODULE, "serve"),
    "pyiso8583 + uvloop": ("benchmarks.pyiso8583_forward",),
}


# -- the switch's process -----------------------------------------------------------------------


async def serve(dialect: str, bank_port: int, terminals: int) -> None:
    """`switch.wiring.build` with null ports, until stdin ends."""
    logs.configure(SystemClock(), "forward", level="warning", file=None)
    plan = Plan(port=0, lines=terminals)
    link = Link(
        acquirer="bank", host="127.0.0.1", port=bank_port, de32="48000000", dialect=dialect,
        max_connections=1,
    )  # fmt: skip
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    switch = null_switch(plan, link, SystemTransport())
    await switch.start([Entrance(listening)])
    while not switch.acquirers["bank"].ready:  # noqa: ASYNC110 - a port without an event
        await asyncio.sleep(0.01)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)  # as switch.worker

    async def perform(_command: dict[str, Any]) -> dict[str, Any]:
        return {}

    await obey(perform, port=listening.getsockname()[1])


# -- the parent ---------------------------------------------------------------------------------


class Contender:
    """A switch, its bank and its terminals."""

    def __init__(self, module: tuple[str, ...], dialect: str, terminals: int) -> None:
        self.bank = Process("benchmarks.load", "bank", dialect)
        bank_port = str(self.bank.ready["port"])
        more = (str(terminals),) if module[0] == MODULE else ()
        self.switch = Process(*module, dialect, bank_port, *more)
        self.load = Process("benchmarks.load", "terminals")
        plan = Plan(port=self.switch.ready["port"], lines=terminals)
        self.load.ask(60.0, do="connect", **msgspec.to_builtins(plan))
        self.trade(WARM_S)

    def trade(self, seconds: float) -> dict[str, Any]:
        """One round: what the terminals saw and what the processor gave."""
        processes = {"cpu_us": self.switch, "terminals_us": self.load, "bank_us": self.bank}
        forwarded = self.bank.ask(5.0)["answered"]
        before = {name: report.usage([process.pid]) for name, process in processes.items()}
        result = self.load.ask(seconds + 30.0, do="run", seconds=seconds)
        spent = {
            name: report.usage([process.pid]) - before[name] for name, process in processes.items()
        }
        count = result["transactions"]
        if result["codes"] != {"00": count} or self.bank.ask(5.0)["answered"] - forwarded != count:
            raise RuntimeError(f"not every purchase was forwarded and approved: {result['codes']}")
        figures = {name: used.total_s * 1e6 / count for name, used in spent.items()}
        return {
            "cpu_us": figures.pop("cpu_us"),
            "cpu_user_us": spent["cpu_us"].user_s * 1e6 / count,
            "cpu_system_us": spent["cpu_us"].system_s * 1e6 / count,
            "tps": count / result["seconds"],
            "latency_ms_p50": result["latency_ms_p50"],
            "latency_ms_p99": result["latency_ms_p99"],
            **figures,
        }

    def stop(self) -> None:
        for process in (self.load, self.switch, self.bank):
            process.stop()


def compare(dialect: str, terminals: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Contenders in turns; the median of each figure over the rounds."""
    contenders: dict[str, Contender] = {}
    try:
        for name, module in CONTENDERS.items():
            contenders[name] = Contender(module, dialect, terminals)
        measured: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, contender in contenders.items():
                measured[name].append(contender.trade(seconds))
    finally:
        for contender in contenders.values():
            contender.stop()
    return {name: report.medians(rows) for name, rows in measured.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--link", choices=("unionpay_pos", "iso1987_ascii"), default="unionpay_pos")
    parser.add_argument("--terminals", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0, help="a round and contender")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    given = parser.parse_args()
    figures = compare(given.link, given.terminals, given.seconds, given.rounds)
    ours, theirs = figures.values()
    ratio = theirs["cpu_us"] / ours["cpu_us"]
    if given.json:
        report.as_json(
            MODULE, link=given.link, terminals=given.terminals, median=figures, ratio=ratio
        )
        return
    report.show(
        MODULE,
        f"forward only, link in {given.link}, {given.terminals} terminals; "
        f"medians of {given.rounds} rounds of {given.seconds:g} s",
        ("switch", "CPU µs", "user", "system", "TPS", "p50 ms", "p99 ms", "(terminals µs", "bank µs)"),
        [
            (
                name,
                f"{row['cpu_us']:.1f}", f"{row['cpu_user_us']:.1f}", f"{row['cpu_system_us']:.1f}",
                f"{row['tps']:,.0f}", f"{row['latency_ms_p50']:.2f}", f"{row['latency_ms_p99']:.2f}",
                f"{row['terminals_us']:.1f}", f"{row['bank_us']:.1f}",
            )
            for name, row in figures.items()
        ],
        f"pyiso8583 / tongbao: {ratio:.2f}; mark: at most {MARK_US:.0f} µs",
    )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        run(serve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
    else:
        main()
