"""What everything costs: `tongbao serve` with two workers on an embedded PostgreSQL that syncs.

    python -m benchmarks.switch [--terminals N] [--seconds S] [--rounds N] [--workers N] [--rate N,N…]
                                [--mac x9.19-binary|cmac] [--data DIR] [--no-baseline] [--json]

Terminals sign on, then ask for 267-byte purchases with chip and PIN in a closed loop: MAC in and out,
PIN translation, the link's MAC both ways, two durable records, routing, the check for repeats, the
log. Generator, bank, switch and PostgreSQL share the same two cores. Figures are processor time for
each transaction: of the switch (supervisor and workers) and of PostgreSQL (all its processes). Beside
it, in turns, a bare forwarder on pyiso8583 and uvloop, which does none of that.

What a closed loop calls latency is the number of terminals divided by what is done a second. With `--rate`
as many terminals ask so often a second, answered or not (`benchmarks.open_loop`): latency is from when a
request was due.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from benchmarks import report
from benchmarks.forward import CONTENDERS, WARM_S, Contender
from benchmarks.load import PURCHASES, TMK, Plan, Process
from benchmarks.open_loop import TAIL_S
from hsm.des_keys import with_odd_parity
from hsm.keys import Algorithm, KeyUsage
from hsm.lmk import TEST_LMK
from hsm.local import LocalVault
from switch.config import Config, parse
from switch.reference import Link, Route
from switch.store import Store
from terminals.registry import Merchant, StoredKey, Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

MODULE: Final = "benchmarks.switch"
MARK_US: Final = {"cmac": 110.0, "x9.19-binary": 130.0}
MARK_TPS: Final = 6_000.0
MERCHANT_TERMINALS: Final = 16
TPS_MAX: Final = 8_000  # for which there are enough identities
LONE_TPS_MAX: Final = 1_000  # of one terminal by itself
LINK_MAC: Final = "x9.19-binary"
CALM_TPS, CALM_S = 300.0, 2.0  # before rates are measured: every terminal has its keys read
READY_S: Final = 60.0
LOGGED_S: Final = 3.0  # until the lines of the last requests are in the log
ROOT: Final = Path(__file__).resolve().parent.parent

RATES = "[rates]\nterminal_messages_per_s = 100_000\n"  # counted, and never refused


class Node:
    """A node of its own in a folder: configured, filled, served, stopped, removed."""

    def __init__(
        self,
        stack: ExitStack,
        folder: Path,
        workers: int,
        plan: Plan,
        *,
        bank: str = "benchmarks.load",
        more: str = "",
        link_mac: str = LINK_MAC,
    ) -> None:
        """`bank`: the module of its process; `more`: further tables of the configuration."""
        self.folder = folder
        self.link_mac = link_mac
        zak, zpk = (with_odd_parity(os.urandom(16)) for _ in range(2))
        self.bank = Process(bank, "bank", "iso1987_ascii", zak.hex(), link_mac)
        stack.callback(self.bank.stop)
        settings = (
            f'data = "{folder / "data"}"\nworkers = {workers}\n'
            f'[[listeners]]\nhost = "127.0.0.1"\nport = 0\n{more}\n{RATES}'
        )
        (folder / "tongbao.toml").write_text(settings, encoding="utf-8")
        config = parse(settings)
        self.fill(config, plan, zak, zpk)
        ready = folder / "ready.json"
        began_s = time.monotonic()
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "tongbao", "serve", "--demo",
                "--config", str(folder / "tongbao.toml"), "--ready-file", str(ready),
            ],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=(folder / "serve.log").open("wb"),
        )  # fmt: skip
        stack.callback(self.stop)
        self.wait_for(ready.exists)
        self.wait_for(lambda: self.bank.ask(5.0)["signed_on"] >= workers)
        self.ready_s = time.monotonic() - began_s
        self.facts = json.loads(ready.read_text(encoding="utf-8"))
        self.port: int = self.facts["terminals"][0]["port"]

    def wait_for(self, condition: Any) -> None:
        until_s = time.monotonic() + READY_S
        while not condition():
            if self.process.poll() is not None or time.monotonic() > until_s:
                log = (self.folder / "serve.log").read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"the node does not serve:\n{log[-4000:]}")
            time.sleep(0.05)

    def fill(self, config: Config, plan: Plan, zak: bytes, zpk: bytes) -> None:
        """Reference data and keys, into the store that the node then serves."""
        from switch.commands.common import reference

        vault = LocalVault(TEST_LMK, os.urandom)
        entries: list[tuple[str, msgspec.Struct]] = [
            (plan.merchant, Merchant(merchant=plan.merchant, name="Benchmark")),
            ("622000", Route(prefix="622000", acquirer="bank", pin_required=True)),
            (
                "bank",
                Link(
                    acquirer="bank", host="127.0.0.1", port=self.bank.ready["port"],
                    de32="48000000", max_connections=config.workers, mac_algorithm=self.link_mac,
                ),
            ),
            *(
                (f"{plan.merchant}/{name}", Terminal(merchant=plan.merchant, terminal=name))
                for name in plan.names()
            ),
        ]  # fmt: skip
        keys = [
            ("link:bank", KeyUsage.ZAK, zak),
            ("link:bank", KeyUsage.ZPK, zpk),
            *(
                (f"terminal:{plan.merchant}/{name}", KeyUsage.TMK, bytes.fromhex(plan.tmk))
                for name in plan.names()
            ),
        ]

        async def write(dsn: str) -> None:
            async with reference(dsn) as store:
                await store.apply(
                    [
                        (type(item).__name__.lower(), key, msgspec.to_builtins(item))
                        for key, item in entries
                    ],
                    maker="benchmark",
                )
                for owner, usage, key in keys:
                    aes = usage is KeyUsage.ZAK and self.link_mac == "cmac"
                    block = vault.import_components(
                        usage, [key], algorithm=Algorithm.AES if aes else None, allow_weak=True
                    )
                    await store.add_key(
                        StoredKey(
                            owner=owner, usage=usage.value, version=0, block=block.block,
                            check_value=block.check_value, lmk_id=block.lmk_id,
                        )
                    )  # fmt: skip

        with Store(config, "en") as store:
            asyncio.run(write(store.dsn))

    def pids(self) -> tuple[list[int], list[int]]:
        """Of the switch, and of PostgreSQL."""
        pids = json.loads((self.folder / "ready.json").read_text(encoding="utf-8"))["pids"]
        return [pids["supervisor"], *pids["workers"]], list(report.descendants(pids["postgres"]))

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Everything:
    """The node, its terminals and its bank."""

    def __init__(
        self,
        stack: ExitStack,
        folder: Path,
        workers: int,
        plan: Plan,
        link_mac: str = LINK_MAC,
        *,
        more: int = 0,
    ) -> None:
        """`more`: terminals that it knows besides those of the plan."""
        count = plan.lines * plan.spare + more
        known = msgspec.structs.replace(plan, lines=1, spare=count)
        self.node = Node(stack, folder, workers, known, link_mac=link_mac)
        self.load = Process("benchmarks.load", "terminals")
        stack.callback(self.load.stop)
        plan = msgspec.structs.replace(plan, port=self.node.port)
        self.load.ask(90.0, do="connect", **msgspec.to_builtins(plan))
        self.trade(WARM_S)

    def trade(self, seconds: float) -> dict[str, Any]:
        """One round: what the terminals saw and what the processor gave."""
        switch, postgres = self.node.pids()
        answered = self.node.bank.ask(5.0)["answered"]
        before = self.used(switch, postgres)
        result = self.load.ask(seconds + 30.0, do="run", seconds=seconds)
        after = self.used(switch, postgres)
        spent = {name: after[name] - before[name] for name in after}
        count = result["transactions"]
        if result["codes"] != {"00": count}:
            raise RuntimeError(f"not every purchase was approved: {result['codes']}")
        if self.node.bank.ask(5.0)["answered"] - answered != count:
            raise RuntimeError("the bank saw another number of purchases than the terminals")
        figures = {f"{name}_us": used.total_s * 1e6 / count for name, used in spent.items()}
        return {
            "cpu_us": figures["switch_us"] + figures["postgres_us"],
            **figures,
            "switch_system_us": spent["switch"].system_s * 1e6 / count,
            "postgres_system_us": spent["postgres"].system_s * 1e6 / count,
            "tps": count / result["seconds"],
            "latency_ms_p50": result["latency_ms_p50"],
            "latency_ms_p99": result["latency_ms_p99"],
        }

    def lone(self, seconds: float) -> dict[str, float]:
        """One terminal, one transaction at a time: p50 and p99 as it sees them, and, by the node's log,
        without what the link and the bank take."""
        result = self.load.ask(seconds + 30.0, do="run", seconds=seconds, lines=1)
        time.sleep(LOGGED_S)
        lines = [
            json.loads(line)
            for file in (self.node.folder / "data" / "log").glob("authorizations-*.jsonl")
            for line in file.read_text(encoding="utf-8").splitlines()
        ]
        lines.sort(key=lambda line: str(line["time"]))
        own_ns = array("q")
        for line in lines[-result["transactions"] :]:
            own_ns.append((line["total_us"] - line["acquirer_us"]) * 1_000)
        own_ms = report.percentiles(own_ns)
        return {
            "ms_p50": result["latency_ms_p50"],
            "ms_p99": result["latency_ms_p99"],
            "own_ms_p50": own_ms["p50"],
            "own_ms_p99": own_ms["p99"],
        }

    def at_rates(
        self, stack: ExitStack, plan: Plan, rates: Sequence[float], seconds: float
    ) -> list[dict[str, Any]]:
        """What terminals see that ask so often a second, all together."""
        load = Process("benchmarks.open_loop", "terminals")
        stack.callback(load.stop)
        plan = msgspec.structs.replace(plan, port=self.node.port)
        load.ask(90.0, do="connect", **msgspec.to_builtins(plan))
        load.ask(CALM_S + TAIL_S + 30.0, do="run", phases=[(CALM_TPS, CALM_S)])
        return [self.at_rate(load, rate, seconds) for rate in rates]

    def at_rate(self, load: Process, rate: float, seconds: float) -> dict[str, Any]:
        switch, postgres = self.node.pids()
        before = self.used(switch, postgres)
        prepared_s = rate * seconds / 10_000
        answer = load.ask(prepared_s + seconds + TAIL_S + 30.0, do="run", phases=[(rate, seconds)])
        after = self.used(switch, postgres)
        if answer["unanswered"]:
            raise RuntimeError(f"{answer['unanswered']} requests had no answer")
        (phase,) = answer["phases"]
        accepted = phase["codes"].get("00", 0)
        cpu_s = sum((after[name] - before[name]).total_s for name in ("switch", "postgres"))
        return {
            "rate": rate,
            "answered_tps": accepted / seconds,
            "refused": (phase["sent"] - accepted) / phase["sent"],
            "cpu_us": cpu_s * 1e6 / max(1, accepted),
            "latency_ms": phase["accepted_ms"],
            "behind_ms": phase["behind_ms"],
        }

    def used(self, switch: list[int], postgres: list[int]) -> dict[str, report.Usage]:
        return {
            "switch": report.usage(switch),
            "postgres": report.usage(postgres) + report.usage_of_dead_children(postgres[0]),
            "terminals": report.usage([self.load.pid]),
            "bank": report.usage([self.node.bank.pid]),
        }


class Figures(NamedTuple):
    of: dict[str, dict[str, float]]  # the node and the baseline, medians of the rounds
    lone: dict[str, float]
    rates: list[dict[str, Any]]
    sync_ms: float


def measure(given: argparse.Namespace) -> Figures:
    """The node and the baseline in turns; a lone terminal; rates; how long the disk syncs."""
    total_s = WARM_S + given.rounds * given.seconds
    plan = Plan(
        port=0,
        lines=given.terminals,
        spare=math.ceil(total_s * TPS_MAX / given.terminals / PURCHASES)
        + math.ceil(given.seconds * LONE_TPS_MAX / PURCHASES),
        tmk=TMK,
    )
    baseline = "pyiso8583 + uvloop"
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="tongbao-benchmark-", dir=given.data))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)  # PostgreSQL's own user passes through
        open_plan = Plan(port=0, lines=given.terminals, tmk=TMK, first=plan.lines * plan.spare)
        more = given.terminals if given.rate else 0
        everything = Everything(stack, folder, given.workers, plan, given.mac, more=more)
        contenders: dict[str, Everything | Contender] = {"tongbao": everything}
        sync_ms = report.sync_ms(folder)
        if given.baseline:
            forwarder = Contender(CONTENDERS[baseline], "iso1987_ascii", given.terminals)
            stack.callback(forwarder.stop)
            contenders[baseline] = forwarder
        measured: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
        for _ in range(given.rounds):
            for name, contender in contenders.items():
                measured[name].append(contender.trade(given.seconds))
        sync_ms = max(sync_ms, report.sync_ms(folder))
        lone = everything.lone(given.seconds)
        rates = []
        if given.rate:
            rates = everything.at_rates(stack, open_plan, given.rate, given.seconds)
        medians = {name: report.medians(rows) for name, rows in measured.items()}
        return Figures(medians, lone, rates, sync_ms)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=f"python -m {MODULE}", description="what an authorisation costs in full"
    )
    parser.add_argument("--terminals", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--rate",
        type=lambda text: [float(each) for each in text.split(",")],
        default=[],
        help="requests a second, whether or not the former are answered; several in turn",
    )
    parser.add_argument("--mac", choices=(LINK_MAC, "cmac"), default=LINK_MAC, help="of the link")
    parser.add_argument("--data", default=None, help="where the data folder is made; default /tmp")
    parser.add_argument("--no-baseline", dest="baseline", action="store_false")
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    given = parser.parse_args()
    report.begin()
    figures, lone, rates, sync_ms = measure(given)
    if given.json:
        report.as_json(
            MODULE,
            terminals=given.terminals,
            workers=given.workers,
            median=figures,
            lone=lone,
            rates=rates,
            fdatasync_ms=sync_ms,
        )
        return
    report.show(
        MODULE,
        f"everything, link MAC {given.mac}, {given.terminals} terminals, {given.workers} workers; "
        f"medians of {given.rounds} rounds of {given.seconds:g} s",
        ("", "CPU µs", "switch", "PostgreSQL", "TPS", "p50 ms", "p99 ms", "(terminals µs", "bank µs)"),
        [
            (
                name,
                f"{row['cpu_us']:.1f}",
                f"{row['switch_us']:.1f}" if "switch_us" in row else "-",
                f"{row['postgres_us']:.1f}" if "postgres_us" in row else "-",
                f"{row['tps']:,.0f}", f"{row['latency_ms_p50']:.2f}", f"{row['latency_ms_p99']:.2f}",
                f"{row['terminals_us']:.1f}", f"{row['bank_us']:.1f}",
            )
            for name, row in figures.items()
        ],
        f"marks: at most {MARK_US[given.mac]:.0f} µs, at least {MARK_TPS:,.0f} TPS; "
        f"8 KiB and fdatasync take {sync_ms:.2f} ms here\n"
        f"a lone transaction: p50 {lone['ms_p50']:.2f}, p99 {lone['ms_p99']:.2f} ms; without link and bank "
        f"{lone['own_ms_p50']:.2f} and {lone['own_ms_p99']:.2f}",
    )  # fmt: skip
    if rates:
        show_rates(rates)


def show_rates(rates: list[dict[str, Any]]) -> None:
    print()
    report.table(
        ("asked TPS", "approved", "refused", "CPU µs", "p50 ms", "p99 ms", "p99.9 ms",
         "(generator behind ms)"),
        [
            (
                f"{each['rate']:,.0f}", f"{each['answered_tps']:,.0f}", f"{each['refused']:.1%}",
                f"{each['cpu_us']:.1f}",
                *(f"{each['latency_ms'].get(name, math.nan):.1f}" for name in ("p50", "p99", "p99.9")),
                f"{each['behind_ms']:.0f}",
            )
            for each in rates
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
