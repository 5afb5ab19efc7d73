"""The parts of a crash run as processes and sockets, and what is done to them.

                  ┌ proxy ─ node1 (supervisor, 2 workers) ─ proxy ┐
    terminals ────┤                                               ├─ PostgreSQL (fsync)
    (this process)└ proxy ─ node2 (supervisor, 2 workers) ─ proxy ┘
                              └── proxy ─ bank a, bank b (a process each, with its book)

Proxies and terminals live in the process of the run. An embedded world has node1 alone, on a
PostgreSQL that its supervisor keeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from iso8583.codec import codec_for
from iso8583.errors import DecodeError, FramingError
from iso8583.framing import POS, Framer
from iso8583.message import mask_pan
from switch.adapters.embedded_postgres import EmbeddedPostgres
from switch.adapters.postgres_place import PORT
from terminals.simulator.fleet import Fleet, FleetOptions, Line, TerminalFaults
from terminals.simulator.terminal import Terminal
from tests.crash import bank as banks
from tests.crash.checker import check
from tests.crash.history import Answered, Asked, Event, Harm, History, Slip
from tests.crash.plan import TRADING_S
from tests.crash.proxy import Proxy, Trouble
from tests.end_to_end.node import ROOT, Hosts, Node, furnish, kill, terminal_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from terminals.simulator.bank import BankOptions
    from terminals.simulator.fleet import FleetResult
    from tests.crash.checker import Anomaly
    from tests.crash.plan import Fault

TERMINALS = 32
LATENCY_S = 0.03  # of the banks, so that requests are in flight at any instant
LINK_CONNECTIONS = 8  # enough for every worker of every node
AFTERWARDS_S = 1.5  # of trading when the last harm is over
DRAIN_S = 30.0  # after the terminals are done, until every entry is explained
STUCK_S = 120.0  # for the terminals to end what they began
BANK_UP_S = 15.0
MORE = "[rules]\nsign_ons = 1000\n"


class RecordedLine(Line):
    """A terminal's line that notes what was said on it."""

    def __init__(self, node: str, note: Callable[[Event], None]) -> None:
        super().__init__()
        self._node = node
        self._note = note
        self._out, self._in = Framer(POS), Framer(POS)
        self._codec = codec_for("unionpay_pos")

    def write(self, data: bytes) -> None:
        self._read(self._out, data)
        super().write(data)

    def data_received(self, data: bytes) -> None:
        self._read(self._in, data)
        super().data_received(data)

    def _read(self, framer: Framer, data: bytes) -> None:
        with contextlib.suppress(FramingError, DecodeError):
            for frame in framer.receive_bytes(data):
                event = event_of(self._codec.decode(frame.body), self._node)
                if event is not None:
                    self._note(event)


def event_of(message: dict[int, Any], node: str) -> Asked | Answered | None:
    """A money message as an event; None for any other."""
    mti = str(message[0])
    if mti[:2] not in ("02", "04") or 42 not in message or 60 not in message:
        return None
    answer = mti[2] in "13"
    what = mti[:2] + str(int(mti[2]) & ~1)
    terminal = f"{message[42]}/{message[41]}"
    batch, trace = str(message[60])[2:8], str(message[11])
    amount_minor = int(str(message.get(4, "0")))
    original = str(message.get(61, ""))
    if not answer:
        return Asked(
            at_s=time.monotonic(),
            node=node,
            terminal=terminal,
            what=what,
            function=str(message.get(3, ""))[:2],
            batch=batch,
            trace=trace,
            amount_minor=amount_minor,
            pan_masked=mask_pan(str(message.get(2, ""))),
            original=f"{original[:6]}/{original[6:12]}" if original and what != "040" else "",
        )
    return Answered(
        at_s=time.monotonic(),
        node=node,
        terminal=terminal,
        what=what,
        batch=batch,
        trace=trace,
        code=str(message.get(39, "")),
        rrn=str(message.get(37, "")),
        auth_code=str(message.get(38, "")),
        amount_minor=amount_minor,
    )


class BankProcess:
    """One bank, started, killed and started again on its book and its port."""

    def __init__(self, options: BankOptions, folder: Path) -> None:
        self.options = options
        self.book = folder / f"{options.name}.book"
        self._options_file = folder / f"{options.name}.json"
        self._options_file.write_bytes(msgspec.json.encode(options))
        self._log = folder / f"{options.name}.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [str(self._options_file), str(self.book), str(self.port)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.bank", *words], cwd=ROOT, stdout=log, stderr=log
            )
        until = time.monotonic() + BANK_UP_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, "the bank does not listen"
            time.sleep(0.05)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class World:
    """Everything that is up between two full restarts. The terminals and their slips live as long."""

    def __init__(self, folder: Path, *, embedded: bool, seed: int) -> None:
        self.folder = folder
        self.embedded = embedded
        self.events: list[Event] = []
        self.terminals = [
            Terminal(terminal_options(index, reversal_tries=10_000), f"{index:04X}")
            for index in range(TERMINALS)
        ]
        self.hosts = Hosts(latency_s=LATENCY_S)
        self.banks = {
            of.options.name[-1]: BankProcess(of.options, folder) for of in self.hosts.banks
        }
        self.nodes: dict[str, Node] = {}
        self.proxies: dict[str, Proxy] = {}
        self.postgres: EmbeddedPostgres | None = None
        self._dice = random.Random(seed)
        self._dsn = ""

    async def __aenter__(self) -> Self:
        for name, one in self.banks.items():
            await asyncio.to_thread(one.start)
            await self._proxy(f"link:{name}", ("127.0.0.1", one.port))
        self.hosts.ports = [self.proxies[f"link:{name}"].port for name in self.banks]
        if not self.embedded:
            self.postgres = await asyncio.to_thread(EmbeddedPostgres.start, self.folder)
            self._dsn = self.postgres.dsn()
        for name in ("node1",) if self.embedded else ("node1", "node2"):
            await self._start_node(name)
        await furnish(
            self.nodes["node1"],
            self.hosts,
            TERMINALS,
            timeout_s=2.0,
            link_connections=LINK_CONNECTIONS,
            dsn=self._dsn,
        )
        return self

    async def _start_node(self, name: str) -> None:
        folder = self.folder / name
        folder.mkdir(mode=0o711)
        more = MORE
        if self.postgres is not None:
            path = f"{self.postgres.socket_dir}/.s.PGSQL.{PORT}"
            port = await self._proxy(f"database:{name}", path)
            at = f"127.0.0.1:{port}/tongbao?sslmode=disable"
            more += f'[database]\ndsn = "postgresql://tongbao_app@{at}"\n'
            more += f'owner_dsn = "postgresql://tongbao_owner@{at}"\n'
        node = self.nodes[name] = Node(folder, name=name, fsync=True, more=more)
        await asyncio.to_thread(node.start)
        await self._proxy(f"terminals:{name}", node.address)

    async def _proxy(self, name: str, to: tuple[str, int] | str) -> int:
        proxy = self.proxies[name] = Proxy(to)
        await proxy.start()
        return proxy.port

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(asyncio.to_thread(node.close) for node in self.nodes.values()))
        for one in self.banks.values():
            await asyncio.to_thread(one.kill)
        for proxy in self.proxies.values():
            proxy.close()
        if self.postgres is not None:
            await asyncio.to_thread(self.postgres.stop)

    # -- load ------------------------------------------------------------------

    async def trade(self, harm: asyncio.Task[None]) -> FleetResult:
        """Every terminal trades until the harm is over, and a little longer; then it clears what it
        owes and settles its batch."""
        options = FleetOptions(
            duration_s=STUCK_S,
            think_s=0.08,
            faults=TerminalFaults(
                hang_up=0.02, repeat=0.03, repeat_lost=0.02, double=0.01, print_failure=0.02
            ),
            answer_timeout_s=4.0,
            retry_s=0.2,
            tries=300,
            refund_tries=60,
            one_shot=0.3,
        )
        fleet = Fleet(self.terminals, options, self._dice, self._connect)
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + TRADING_S

        def stop(_: asyncio.Task[None]) -> None:
            loop.call_later(max(ends_s - loop.time(), AFTERWARDS_S), fleet.stop)

        harm.add_done_callback(stop)
        async with asyncio.timeout(STUCK_S):
            return await fleet.run()

    async def _connect(self, _host: str, _port: int, _factory: Any) -> tuple[Any, Any]:
        """Any node will do: a repeat or a reversal often comes to another than its original."""
        name = self._dice.choice(list(self.nodes))
        return await asyncio.get_running_loop().create_connection(
            lambda: RecordedLine(name, self.events.append),
            "127.0.0.1",
            self.proxies[f"terminals:{name}"].port,
        )

    # -- harm ------------------------------------------------------------------

    async def harm(self, faults: tuple[Fault, ...]) -> None:
        """All of a round, each at its time; returns when the last has ended."""
        begun_s = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                group.create_task(self._one(fault, begun_s))

    async def _one(self, fault: Fault, begun_s: float) -> None:
        await asyncio.sleep(max(begun_s + fault.at_s - asyncio.get_running_loop().time(), 0.0))
        self._note(fault.deed, fault.target)
        if fault.target in self.proxies:
            await self._trouble(self.proxies[fault.target], fault)
        elif fault.deed == "pause":
            await self._pause(fault)
        else:
            await self._kill(fault)
        self._note(f"{fault.deed} over", fault.target)

    def _note(self, what: str, target: str) -> None:
        self.events.append(Harm(time.monotonic(), what, target))

    async def _trouble(self, proxy: Proxy, fault: Fault) -> None:
        deed: Trouble = fault.deed  # type: ignore[assignment] # a plan gives channels troubles only
        proxy.begin(deed)
        await asyncio.sleep(fault.lasts_s)
        proxy.heal()

    async def _pause(self, fault: Fault) -> None:
        pids = self._pids(fault)
        for pid in pids:
            send(pid, signal.SIGSTOP)
        await asyncio.sleep(fault.lasts_s)
        for pid in pids:
            send(pid, signal.SIGCONT)

    async def _kill(self, fault: Fault) -> None:
        part, _, name = fault.target.partition(":")
        if part == "bank":
            self.banks[name].kill()
            await asyncio.sleep(fault.lasts_s)
            await asyncio.to_thread(self.banks[name].start)
        elif part == "supervisor":
            await asyncio.to_thread(self.nodes[name].kill)
            await asyncio.sleep(fault.lasts_s)
            await asyncio.to_thread(self.nodes[name].start, same_port=True)
        else:
            for pid in self._pids(fault):
                kill(pid)
            if part == "postgres" and self.postgres is not None and fault.deed == "kill":
                await asyncio.sleep(fault.lasts_s)
                await asyncio.to_thread(self.postgres.ensure_running)

    def _pids(self, fault: Fault) -> list[int]:
        """Whom it hits; nobody where the part is down already."""
        part, _, name = fault.target.partition(":")
        if part == "bank":
            process = self.banks[name].process
            return [process.pid] if process is not None else []
        if part == "postgres" and self.postgres is not None:
            postmaster = self.postgres.pid
        else:
            node = self.nodes[name or "node1"]
            with contextlib.suppress(FileNotFoundError):
                node.read_facts()
            if part == "worker":
                return node.workers[fault.pick % 2 : fault.pick % 2 + 1]
            if part == "supervisor":
                return [node.process.pid] if node.process is not None else []
            postmaster = node.postgres
        backends = children(postmaster)
        if fault.deed == "kill_backend":
            return backends[fault.pick % len(backends) :][:1] if backends else []
        return [postmaster, *backends]

    # -- the verdict -------------------------------------------------------------

    def history(self) -> History:
        """Everything up to now, with both statements."""
        history = History(self.events)
        for one in self.banks.values():
            history.events += banks.history_of(one.options, one.book)
        history.events += [
            Slip(
                terminal=f"{slip.merchant}/{slip.terminal}",
                kind=slip.kind,
                batch=slip.batch,
                trace=slip.trace,
                state=slip.state,
                amount_minor=slip.amount_minor,
                approved_minor=slip.approved_minor,
                rrn=slip.rrn,
            )
            for terminal in self.terminals
            for slip in terminal.slips
        ]
        return history

    async def settled(self) -> tuple[float, list[Anomaly]]:
        """Wait until the history is sound, as queues may take; how long it took, what is left."""
        begun_s = time.monotonic()
        while True:
            anomalies = check(self.history())
            waited_s = time.monotonic() - begun_s
            if not anomalies or waited_s > DRAIN_S:
                return waited_s, anomalies
            await asyncio.sleep(0.3)


def send(pid: int, number: int) -> None:
    """A signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def children(pid: int) -> list[int]:
    """The processes that `pid` started, in order."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(stat.parent.name))
    return sorted(found)


def recovery_s(events: list[Event]) -> float:
    """The longest time from a kill or a trouble until a node approved, at a bank, what was asked after it."""
    harms = [event.at_s for event in events if isinstance(event, Harm) if "over" not in event.what]
    asked: dict[tuple[str, ...], Asked] = {}
    approved: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for event in events:
        if isinstance(event, Asked) and event.what == "020":
            asked[event.terminal, event.batch, event.trace] = event
        elif isinstance(event, Answered) and event.what == "020" and event.code == "00":
            of = asked.get((event.terminal, event.batch, event.trace))
            if of is not None:
                pair = (event.node, of.pan_masked[:6])
                approved.setdefault(pair, []).append((of.at_s, event.at_s))
    longest_s = 0.0
    for harm_s in harms:
        for times in approved.values():
            after = [answered_s - harm_s for asked_s, answered_s in times if asked_s >= harm_s]
            if after:
                longest_s = max(longest_s, min(after))
    return longest_s
