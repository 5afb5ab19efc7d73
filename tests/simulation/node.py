"""A process of the switch in the simulation: started, paused, drained, killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from hsm.adapters.local import LocalHsm
from hsm.local import LocalVault
from switch import data_keys
from switch.config import Config, Downloads, Engine, Journal, Listener, Queue, Server
from switch.journal import StoreDownError
from switch.virtual.loop import Process, VirtualLoop, end
from switch.virtual.ports import (
    LocalTransport,
    Machine,
    NetworkTransport,
    SimulatedClock,
    entropy_of,
)
from switch.watch import authorization_line
from switch.wiring import Ports, Stores, build
from terminals.simulator.dice import Dice
from tests.simulation.edge import SimulatedEdge
from tests.simulation.store import Remote
from tests.simulation.vault import FaultyVault, VaultFaults

if TYPE_CHECKING:
    from collections.abc import Callable

    from switch.effects import Reply
    from switch.reception import Received
    from switch.store_ports import Undecided
    from switch.watch import Watch
    from switch.wiring import Switch
    from tests.simulation.world import World

PORT = 8583


class Bounds(msgspec.Struct, frozen=True):
    """Of a process, and of each link as a process sees it. Where a plan has none they are as shipped.

    `in_flight`: requests inside · `connections`: of terminals · `terminals`: remembered · `take`: items
    read from a queue at a time · `link_in_flight`: requests that wait for a bank · `link_concurrency`:
    queued items under way to it.
    """

    in_flight: int
    connections: int
    terminals: int
    take: int
    link_in_flight: int
    link_concurrency: int


class Boot:
    """One life of a process."""

    def __init__(self, node: Node, number: int) -> None:
        self.node = node
        self.clock = node.clock
        self.process = Process(f"{node.name}.{number}")
        self.switch: Switch | None = None
        self.serving = False
        self.work: asyncio.Task[None] | None = None
        self.owners_before = len(node.world.store.owner_rows)  # its own owner ids are above


class Node:
    """One worker of one node, on its own address. `first`: worker 0 of the same node."""

    def __init__(
        self,
        world: World,
        name: str,
        worker: int,
        workers: int,
        host: str,
        dice: Dice,
        first: Node | None,
    ) -> None:
        self.world = world
        self.name = f"{name}-{worker}"
        self.host = host
        self.dice = dice
        machine = Machine(drift=(dice.random() - 0.5) * 4e-4, ahead_s=dice.random())
        clock = SimulatedClock(machine if first is None else first.clock.machine)
        self.clock: SimulatedClock = clock
        self.folder = Path("/run") / name
        bounds = world.plan.bounds
        # what is periodic comes half as often as by default: it was most of what a seed cost
        engine = Engine(
            drain_s=15.0,
            repeat_wait_s=30.0,
            lease_renew_s=2.0,
            takeover_s=2.0,
            reference_poll_s=1.0,
        )
        queue, server = Queue(poll_s=1.0), Server()
        if bounds is not None:
            engine = msgspec.structs.replace(engine, in_flight=bounds.in_flight)
            queue = msgspec.structs.replace(queue, take=bounds.take)
            server = Server(connections=bounds.connections, terminals=bounds.terminals)
        self.config = Config(
            node=name,
            workers=workers,
            listeners=(Listener(host=host, port=PORT),),
            server=server,
            engine=engine,
            journal=Journal(request_id_block=40, link_stan_block=30, rrn_block=30),
            queue=queue,
            downloads=Downloads(ask_s=5.0),
        )
        self.worker = worker
        self.boots = 0
        self.boot: Boot | None = None
        vault = LocalHsm(LocalVault(world.lmk, entropy_of(Dice(dice.bits64()))))
        second = Dice(world.second_dice.bits64())
        self.vault = FaultyVault(vault, self, VaultFaults(), second)
        machine.drift += (second.random() - 0.5) * 2 * world.plan.upheaval.drift

    @property
    def alive(self) -> bool:
        return self.boot is not None and not self.boot.process.gone

    def start(self) -> None:
        """Boot; if starting fails, again a little later, as a supervisor does."""
        if self.alive:
            return
        self.boots += 1
        self.clock.busy_until_s = 0.0
        boot = self.boot = Boot(self, self.boots)
        self.world.note("boot", boot.process.name)
        loop = asyncio.get_running_loop()
        boot.work = loop.create_task(self._run(boot), context=boot.process.context)

    async def _run(self, boot: Boot) -> None:
        store = self.world.store
        remote: Callable[[Any], Any] = lambda port: Remote(  # noqa: E731
            boot, port, self.dice, self.world.disturbed
        )
        try:
            transport = NetworkTransport(self.world.network, self.host)
            reference = remote(store.reference)
            pans = data_keys.open_pans(self.world.lmk, await reference.snapshot())
            ports = Ports(
                stores=Stores(
                    journal=remote(store.journal),
                    numbers=remote(store.numbers),
                    owners=remote(store.owners),
                    queue=remote(store.queue),
                    batches=remote(store.batches),
                    downloads=remote(store.downloads),
                    reference=reference,
                    link_facts=remote(store.link_facts),
                    key_exchanges=remote(store.key_exchanges),
                ),
                hsm=self.vault,
                pans=pans,
                clock=self.clock,
                transport=transport,
                edge=SimulatedEdge(self.world.network, transport, self.host, boot.process),
                log=NodeLog(self.world, boot.process.name),
                local=LocalTransport(self.world.local, boot.process),
                run_folder=self.folder,
            )
            boot.switch = build(self.config, self.worker, ports)
            await boot.switch.start([None])
        except StoreDownError:
            self.crash("could not start")
            return
        boot.serving = True
        self.world.network.listen(self.host, PORT, boot.switch.servers[0].accept, boot.process)
        self.world.note("serving", boot.process.name)

    def crash(self, why: str) -> None:
        """kill -9: nothing that it still does has an effect. It starts again after a while."""
        boot = self.boot
        if boot is None or boot.process.gone:
            return
        self._end(boot, why)
        restart_s = 0.2 + 8.0 * self.dice.random()
        self.world.call_later(restart_s, self.start)

    def _end(self, boot: Boot, why: str) -> None:
        self.world.note("end", boot.process.name, why)
        self.world.count(f"node {why}")
        boot.process.gone = True
        if boot.serving:
            self.world.network.stop_listening(self.host, PORT)
        self.world.network.end_of(boot.process)
        self.world.local.end_of(boot.process)
        self.world.serve(self.world.create_task(end(boot.process)))

    def pause(self, for_s: float) -> None:
        """SIGSTOP and SIGCONT."""
        boot = self.boot
        if boot is None or boot.process.gone or boot.process.paused:
            return
        self.world.note("pause", boot.process.name, f"{for_s:.3f}")
        self.world.count("node paused")
        boot.process.paused = True
        self.world.call_later(for_s, self._resume, boot)

    def block(self, for_s: float) -> None:
        """A call that does not suspend takes so long: the clock goes on, nothing else here does."""
        boot = self.boot
        if boot is None or boot.process.gone or boot.process.paused:
            return
        self.clock.busy_until_s = asyncio.get_running_loop().time() + for_s
        boot.process.paused = True
        self.world.call_later(for_s, self._resume, boot)

    def _resume(self, boot: Boot) -> None:
        if boot.process.paused and not boot.process.gone:
            self.world.note("resume", boot.process.name)
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.resume(boot.process)

    def drain(self, restart_s: float | None) -> None:
        """A restart without force: everything in flight ends first."""
        boot = self.boot
        if boot is None or boot.process.gone or not boot.serving or boot.process.paused:
            return
        boot.serving = False
        self.world.note("drain", boot.process.name)
        self.world.network.stop_listening(self.host, PORT)
        loop = asyncio.get_running_loop()
        boot.work = loop.create_task(self._drain(boot, restart_s), context=boot.process.context)

    async def _drain(self, boot: Boot, restart_s: float | None) -> None:
        assert boot.switch is not None
        with contextlib.suppress(StoreDownError):
            await boot.switch.drain()
        if boot.process.gone:
            return
        self.world.checkers.drained(boot)
        self._end(boot, "drained")
        if restart_s is not None:
            self.world.call_later(restart_s, self.start)


class NodeLog:
    """`switch.engine.Log` into the trace. Errors of our own that no fault explains break the run."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name

    def authorized(self, reply: Reply, watch: Watch) -> None:
        line = authorization_line(reply, watch)
        self._world.checkers.no_secrets("the log", line)
        self._world.checkers.lines.answered(line)
        self._world.note(
            "authorized",
            self._name,
            line.terminal,
            line.stan,
            line.type,
            line.response_code,
            line.rule,
        )
        self._world.count(f"answered {line.type} {line.response_code}")

    def managed(self, received: Received, response_code: str, rule: str) -> None:
        self._world.note("managed", self._name, received.terminal_id, received.mti, rule)

    def refused(self, source: str, response_code: str, rule: str) -> None:
        self._world.checkers.no_secrets("the log", source, rule)
        self._world.note("refused", self._name, source, response_code, rule)
        self._world.count(f"refused {response_code} {rule[:40]}")

    def noted(self, event: str) -> None:
        self._world.count(f"connection {event}")

    def downloaded(self, topic: str, act: str) -> None:
        self._world.count(f"download {topic} {act}")

    def recovered(self, undecided: Undecided) -> None:
        self._world.note("recovered", self._name, undecided.request.request_id)
        self._world.count("recovered")

    def failed(self, error: BaseException) -> None:
        self._world.failed_inside(self._name, error)
