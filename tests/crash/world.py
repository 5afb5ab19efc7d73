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
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from switch.adapters.embedded_postgres import EmbeddedPostgres
from switch.adapters.postgres_place import PORT
from tests.crash import bank as banks
from tests.crash.checker import check
from tests.crash.history import OVER, Event, Harm, History, Slip
from tests.crash.load import Load
from tests.crash.proxy import Proxy, Trouble
from tests.crash.recovery import PROCESSES
from tests.end_to_end.node import STOP_S, Hosts, Node, furnish, kill, terminal_options
from tests.end_to_end.wire import known

if TYPE_CHECKING:
    import subprocess

    from tests.crash.checker import Anomaly
    from tests.crash.plan import Fault

LATENCY_S = 0.03  # of the banks, so that requests are in flight at any instant
DRAIN_S = 30.0  # after the terminals are done, until every entry is explained
STARTS = 10  # of a node, a second apart
MORE = "[rules]\nsign_ons = 1000\n"


class World:
    """Everything that is up between two full restarts. The terminals and their slips live as long."""

    def __init__(self, folder: Path, *, embedded: bool, link_connections: int, seed: int) -> None:
        self.folder = folder
        self.embedded = embedded
        self.link_connections = link_connections
        self.names = ("node1",) if embedded else ("node1", "node2")
        self.events: list[Event] = []
        self.hosts = Hosts(latency_s=LATENCY_S)
        self.banks = {
            of.options.name[-1]: banks.BankProcess(of.options, folder) for of in self.hosts.banks
        }
        self.nodes: dict[str, Node] = {}
        self._starting = {name: asyncio.Lock() for name in self.names}
        self.proxies: dict[str, Proxy] = {}
        self.postgres: EmbeddedPostgres | None = None
        self.load = Load(self.names, random.Random(seed), self.events.append, self._port_of)
        self._dsn = ""

    async def __aenter__(self) -> Self:
        for name, one in self.banks.items():
            await asyncio.to_thread(one.start)
            await self._proxy(f"link:{name}", ("127.0.0.1", one.port))
        self.hosts.ports = [self.proxies[f"link:{name}"].port for name in self.banks]
        if not self.embedded:
            self.postgres = await asyncio.to_thread(EmbeddedPostgres.start, self.folder)
            self._dsn = self.postgres.dsn()
        for name in self.names:
            await self._start_node(name)
        await furnish(
            self.nodes["node1"],
            self.hosts,
            len(self.load.terminals),
            timeout_s=2.0,
            link_connections=self.link_connections,
            dsn=self._dsn,
            ready=False,
        )
        # one that does not know a terminal tells a repeat 97, which no slip survives
        last = terminal_options(len(self.load.terminals) - 1)
        for node in self.nodes.values():
            await known(node, last.merchant, last.terminal)
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

    def _port_of(self, name: str) -> int:
        return self.proxies[f"terminals:{name}"].port

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(asyncio.to_thread(node.close) for node in self.nodes.values()))
        for one in self.banks.values():
            await asyncio.to_thread(one.kill)
        for proxy in self.proxies.values():
            proxy.close()
        if self.postgres is not None:
            await asyncio.to_thread(self.postgres.stop)

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
        elif fault.deed == "drain":
            await self._drain(fault)
        else:
            await self._kill(fault)
        self._note(fault.deed + OVER, fault.target)

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

    async def _drain(self, fault: Fault) -> None:
        """SIGTERM, until it has ended. A worker's supervisor starts another; a supervisor ends with
        its node and is started again by us: a rolling restart."""
        part, _, name = fault.target.partition(":")
        pids, process = self._pids(fault), self.nodes[name].process
        self.load.resting |= {name} if part == "supervisor" else set()
        for pid in pids:
            send(pid, signal.SIGTERM)
        if part == "worker":
            await asyncio.gather(*(ended(pid) for pid in pids))
        else:
            await self._start_after(name, process)
            self.load.resting.discard(name)

    async def _kill(self, fault: Fault) -> None:
        part, _, name = fault.target.partition(":")
        if part == "bank":
            self.banks[name].kill()
            await asyncio.sleep(fault.lasts_s)
            await asyncio.to_thread(self.banks[name].start)
            return
        if part in PROCESSES:
            self.load.killed_s[name] = asyncio.get_running_loop().time()
        pids, process = self._pids(fault), self.nodes[name or "node1"].process
        for pid in pids:
            kill(pid)
        if part in ("supervisor", "node"):
            await asyncio.sleep(fault.lasts_s)
            await self._start_after(name, process)
        elif part == "postgres" and self.postgres is not None and fault.deed == "kill":
            await asyncio.sleep(fault.lasts_s)
            await asyncio.to_thread(self.postgres.ensure_running)

    async def _start_after(self, name: str, process: subprocess.Popen[bytes] | None) -> None:
        """Start a node again when this supervisor of it has ended, unless another deed has."""
        assert process is not None
        await asyncio.to_thread(process.wait, STOP_S)
        async with self._starting[name]:
            if self.nodes[name].process is process:
                await asyncio.to_thread(start_again, self.nodes[name])

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
            supervisor = [node.process.pid] if node.process is not None else []
            if part in ("supervisor", "node"):
                return supervisor + (node.workers if part == "node" else [])
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
            for terminal in self.load.terminals
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


def start_again(node: Node) -> None:
    """As a service manager does: again, where it ends at once because the store is not up yet."""
    for left in range(STARTS - 1, -1, -1):
        try:
            node.start(same_port=True)
        except AssertionError:
            if not left:
                raise
            time.sleep(1.0)
        else:
            return


def send(pid: int, number: int) -> None:
    """A signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


async def ended(pid: int) -> None:
    """Wait for the end of a process that is not our child."""
    until_s = time.monotonic() + STOP_S
    while time.monotonic() < until_s:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        await asyncio.sleep(0.02)


def children(pid: int) -> list[int]:
    """The processes that `pid` started, in order."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(stat.parent.name))
    return sorted(found)
