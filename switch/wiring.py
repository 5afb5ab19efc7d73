"""Composition: the only module that names adapters.

`build` puts one process together from a configuration and the ports it is given, so that production,
the benchmarks and the simulation in virtual time run the same `Switch`. `run_worker` gives it the
real ones.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from hsm import lmk as lmks
from hsm.adapters.network import NetworkHsm
from hsm.local import LocalVault
from iso8583.codec import codec_for
from iso8583.dialects import registry, usual
from switch import data_keys, vaults
from switch.accepting import Entrance, Shares
from switch.access import AccessCache
from switch.acquirers.iso8583_link import IsoLink
from switch.acquirers.siblings import Siblings
from switch.adapters.link_edge import SystemLinkEdge
from switch.adapters.postgres import PostgresStore
from switch.adapters.postgres.connections import Peer
from switch.adapters.system import (
    SystemClock,
    SystemEntropy,
    SystemTransport,
    UnixTransport,
)
from switch.admission import Admission
from switch.downloads import Downloads
from switch.duties import Duties, ReferenceData
from switch.engine import Engine, Log
from switch.gauges import Gauges
from switch.key_exchange import KeySender
from switch.late_answers import LateAnswers
from switch.load import Load
from switch.logs import LogFile
from switch.management import Management
from switch.numbers import Block
from switch.ports import EdgeError
from switch.rates import Sources
from switch.reporter import Reporter
from switch.rows import Rows, Standing
from switch.server import TerminalServer
from switch.slots import Slots
from switch.store_and_forward import Forwarder
from switch.unmatched_answers import UnmatchedAnswers

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Sequence

    from hsm.pans import Pans
    from hsm.ports import Hsm
    from switch.acquirers.ports import Acquirer
    from switch.adapters.postgres.writer import Writer
    from switch.config import Config
    from switch.journal import Journal
    from switch.key_rotation import Custody
    from switch.ports import Accepts, Clock, LinkEdge, LocalTransport, Transport
    from switch.reference import Link, ReferenceStore, Snapshot
    from switch.store_ports import (
        Batches,
        Downloads as DownloadStore,
        KeyExchanges,
        LinkFacts,
        Numbers,
        Owners,
        Queue,
    )
    from switch.tls import Pem
    from switch.worker import Control

_log = structlog.get_logger(__name__)

OTHER_KEYS = 1_024  # of links, data and sign-ons, opened at one time
SIGN_OFF_S = 1.0  # for the links at the end of a drain, although its time is up
SETTLE_S = 5.0  # a request takes besides its longest timer: commits, and the engine's own waits
SAMPLE_S = 1.0  # between looks at what the metrics show
USABLE_LOOK_S = 0.02  # between looks, at start, whether the links are usable


class Stores(msgspec.Struct, frozen=True):
    """The ports of the store; one adapter usually implements them all."""

    journal: "Journal"
    numbers: "Numbers"
    owners: "Owners"
    queue: "Queue"
    batches: "Batches"
    downloads: "DownloadStore"
    reference: "ReferenceStore"
    link_facts: "LinkFacts"
    key_exchanges: "KeyExchanges"


def stores_of(store: Any) -> Stores:
    """Of an adapter that implements them all under their names."""
    return Stores(**{name: getattr(store, name) for name in Stores.__struct_fields__})


class Ports(msgspec.Struct, frozen=True):
    """Everything outside that one process needs."""

    stores: Stores
    hsm: "Hsm"
    pans: "Pans"
    clock: "Clock"
    transport: "Transport"
    log: "Log"
    edge: "LinkEdge | None" = None  # what the node has of its own for links; None: nothing
    local: "LocalTransport | None" = None  # to the node's other workers; None: there are none
    run_folder: Path = Path()  # of the sockets between them


class Links:
    """The links of a process, as the reference data names them now: started, changed, ended."""

    def __init__(
        self,
        config: Config,
        ports: Ports,
        acquirers: dict[str, Acquirer],
        rows: Rows,
        late: LateAnswers,
        unmatched: UnmatchedAnswers,
        siblings: Siblings | None,
    ) -> None:
        self._siblings = siblings
        self._config = config
        self._ports = ports
        self._acquirers = acquirers
        self._rows = rows
        self._late = late
        self._unmatched = unmatched
        self._standing: Standing
        self._reference: ReferenceData
        self._running: dict[str, tuple[IsoLink, Forwarder]] = {}
        self._senders: dict[str, KeySender] = {}
        self._slots: dict[str, Slots] = {}  # a link and the one that it replaces share them
        self._ending: set[asyncio.Task[None]] = set()
        self.lacking: dict[str, EdgeError] = {}  # links that this node can not run, and why
        self._draining = False

    def know(self, reference: ReferenceData, standing: Standing) -> None:
        self._reference = reference
        self._standing = standing

    async def follow(self, snapshot: Snapshot) -> None:
        """Start what is new, change what has changed, end what is gone."""
        if self._draining:
            return
        for name, (host, forwarder) in list(self._running.items()):
            link = snapshot.links.get(name)
            if link is None or link.wire != host.link.wire:
                self._end(name, host.link.timeout_s)
            elif link != host.link:
                self._slots[name].granted = link.max_connections
                host.change(link)
                forwarder.change(link)
        for name in self.lacking.keys() - snapshot.links.keys():
            del self.lacking[name]
        for name, link in snapshot.links.items():
            if name not in self._running and not self._draining:
                await self._start(link)

    async def _start(self, link: Link) -> None:
        ports, stores = self._ports, self._ports.stores
        try:
            way_out, way_in = self._ways(link)
        except EdgeError as error:
            self._lacking(link, error)
            return
        self.lacking.pop(link.acquirer, None)
        host = IsoLink(
            link,
            slots=self._slots_of(link),
            transport=way_out,
            accepts=way_in,
            sources=() if ports.edge is None else ports.edge.sources(link),
            clock=ports.clock,
            hsm=ports.hsm,
            numbers=stores.numbers,
            reference=self._reference.snapshot,
            on_late=self._late.of(link.acquirer),
            on_unmatched=self._unmatched.take,
            reload=self._reference.reload,
            store_key=stores.key_exchanges.take,
            stan_block=self._config.journal.link_stan_block,
            siblings=self._siblings,
        )
        forwarder = Forwarder(
            link,
            host=host,
            queue=stores.queue,
            journal=stores.journal,
            pans=ports.pans,
            clock=ports.clock,
            owner=lambda: self._standing.owner_id,
            numbers=self._rows.identity,
            reference=self._reference.snapshot,
            poll_s=self._config.queue.poll_s,
            take=self._config.queue.take,
            send_by_s=self._config.engine.send_by_s,
            lease_renew_s=self._config.engine.lease_renew_s,
        )
        sender = KeySender(
            host, store=stores.key_exchanges, hsm=ports.hsm, reference=self._reference.snapshot
        )
        try:
            await host.start()
        except Exception:  # the store is away: then it is not running, and tried again
            if way_in is not None:
                way_in.close()
            raise
        if self._draining:
            await host.stop()
            return
        self._running[link.acquirer] = (host, forwarder)
        self._acquirers[link.acquirer] = host
        self._senders[link.acquirer] = sender
        _log.info("link_started", acquirer=link.acquirer)
        await forwarder.start()
        await sender.start()

    def _ways(self, link: Link) -> tuple[Transport, Accepts | None]:
        """To the bank, and from it where it connects to us. Raises EdgeError."""
        if not registry.is_known(link.dialect):
            raise EdgeError("dialects", f"this node has no file of {link.dialect!r}")
        edge = self._ports.edge
        if edge is None:
            if link.tls or link.accepts:
                raise EdgeError("links", "this node has no table for the link")
            return self._ports.transport, None
        way_out = edge.way_out(link) if link.connects == "us" else self._ports.transport
        return way_out, edge.way_in(link) if link.accepts else None

    def _lacking(self, link: Link, error: EdgeError) -> None:
        """The link runs on other nodes, or not at all: told once for each reason."""
        told = self.lacking.get(link.acquirer)
        self.lacking[link.acquirer] = error
        if str(told) != str(error):
            _log.error(
                "link_not_on_this_node",
                acquirer=link.acquirer,
                setting=error.setting,
                reason=error.reason,
            )

    def _slots_of(self, link: Link) -> Slots:
        slots = self._slots.get(link.acquirer)
        if slots is None:
            slots = self._slots[link.acquirer] = Slots(
                link.acquirer,
                owners=self._ports.stores.owners,
                clock=self._ports.clock,
                standing=self._standing,
                period_s=self._config.engine.lease_renew_s,
            )
            slots.start()
        slots.granted = link.max_connections
        slots.incoming = link.accepts
        return slots

    @property
    def running(self) -> Iterable[tuple[IsoLink, Forwarder]]:
        return self._running.values()

    async def usable(self, timeout_s: float) -> None:
        """Every link can take requests, or the time is up."""
        until_s = asyncio.get_running_loop().time() + timeout_s
        waiting = self._not_ready()
        while waiting and asyncio.get_running_loop().time() < until_s:
            await asyncio.sleep(USABLE_LOOK_S)
            waiting = self._not_ready()
        if waiting:
            _log.warning("links_not_usable_at_start", acquirers=waiting)

    def _not_ready(self) -> list[str]:
        return [name for name, (host, _) in self._running.items() if not host.ready]

    def _end(self, name: str, timeout_s: float) -> None:
        """Take nothing new at once; what is in flight ends in the background. Until its successor
        is there it still has numbers to give for what is queued."""
        host, forwarder = self._running.pop(name)
        host.ending = True
        sender = self._senders.pop(name)
        work = self._end_in_background(host, forwarder, sender, timeout_s)
        task = asyncio.get_running_loop().create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end_in_background(
        self, host: IsoLink, forwarder: Forwarder, sender: KeySender, timeout_s: float
    ) -> None:
        await sender.stop()
        await forwarder.stop()
        await host.drain(timeout_s)
        if host.name not in self._reference.snapshot().links:
            self._acquirers.pop(host.name, None)
            await self._slots.pop(host.name).stop()

    async def drain(self, timeout_s: float) -> None:
        self._draining = True
        for name in list(self._running):
            self._end(name, timeout_s)
        if self._ending:
            await asyncio.wait(self._ending)
        # the store may be away: then the slots are free when our lease has ended
        stopping = [asyncio.create_task(slots.stop()) for slots in self._slots.values()]
        if stopping:
            _, waiting = await asyncio.wait(stopping, timeout=SIGN_OFF_S)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*stopping, return_exceptions=True)


class Switch:
    """One process of the switch: its engine, its connections, its duties."""

    def __init__(self, config: Config, worker: int, ports: Ports, *, demo: bool) -> None:
        stores, clock, log = ports.stores, ports.clock, ports.log
        self._config = config
        self._log = log
        self.standing = Standing()
        self.load = Load(config.engine.in_flight, config.engine.wait_s)
        sources = Sources(config.rates)
        self.acquirers: dict[str, Acquirer] = {}
        self._request_ids = Block(stores.numbers.request_ids, config.journal.request_id_block)
        self._rrns = Block(stores.numbers.rrns, config.journal.rrn_block)
        self.rows = Rows(
            pans=ports.pans,
            clock=clock,
            standing=self.standing,
            load=self.load,
            acquirers=self.acquirers,
            request_ids=self._request_ids,
            rrns=self._rrns,
            timezone=config.timezone,
        )
        self._late = LateAnswers(
            stores.journal,
            self.rows,
            clock,
            log,
            lambda name: self.reference.snapshot().links.get(name),
        )
        self._siblings: Siblings | None = None
        if ports.local is not None and config.workers > 1:
            self._siblings = Siblings(
                worker, config.workers, ports.run_folder, ports.local, config.handover
            )
        self._unmatched = UnmatchedAnswers(stores.link_facts, stores.journal, clock, self.standing)
        self._links = Links(
            config, ports, self.acquirers, self.rows, self._late, self._unmatched, self._siblings
        )
        self.reference = ReferenceData(stores.reference, self._links.follow)
        self._links.know(self.reference, self.standing)
        cache = AccessCache(stores.batches, config.server.terminals, config.rules.old_keys_s)
        self._cache = cache
        downloads = Downloads(config.downloads, stores.downloads, ports.pans, clock, log)
        management = Management(
            config,
            stores.batches,
            cache,
            ports.hsm,
            ports.pans,
            clock,
            self._longest_timer_s,
            self.load,
            downloads,
        )
        self.engine = Engine(
            config,
            journal=stores.journal,
            batches=stores.batches,
            cache=cache,
            admission=Admission(config, stores.journal, cache, self.rows, clock),
            management=management,
            downloads=downloads,
            rows=self.rows,
            hsm=ports.hsm,
            clock=clock,
            log=log,
            standing=self.standing,
            load=self.load,
            acquirers=self.acquirers,
            request_ids=self._request_ids,
            snapshot=self.reference.snapshot,
            refresh=self.reference.refresh,
            sources=sources,
            demo=demo,
        )
        self._duties = Duties(
            config,
            worker,
            owners=stores.owners,
            journal=stores.journal,
            queue=stores.queue,
            engine=self.engine,
            management=management,
            reference=self.reference,
            rows=self.rows,
            standing=self.standing,
            clock=clock,
            log=log,
        )
        self.servers = [
            TerminalServer(config, listener, self.engine, log, sources)
            for listener in config.listeners
        ]

    def renew(self, certificates: Sequence[Pem | None]) -> None:
        """TLS certificates of the listeners, in order; None where one is plain."""
        for server, pem in zip(self.servers, certificates, strict=True):
            if pem is not None:
                server.arrivals.renew(pem)

    @property
    def links(self) -> list[tuple[IsoLink, Forwarder]]:
        """Those that run, each with its hand on its queue."""
        return list(self._links.running)

    @property
    def lacking(self) -> dict[str, EdgeError]:
        """Links that this node can not run, and why."""
        return self._links.lacking

    def _longest_timer_s(self) -> float:
        return self.engine.longest_timer_s()

    async def start(self, entrances: Sequence[Entrance | None]) -> None:
        """Numbers, an owner's lease, reference data, links; terminals are accepted once those are
        usable, or have not become so within `engine.links_wait_s`."""
        if self._siblings is not None:
            await self._siblings.start()
        await self._request_ids.start()
        await self._rrns.start()
        await self._duties.register()
        await self.reference.refresh()
        self._warm()
        await self._duties.take_over(at_start=True)
        self._duties.start()
        await self._links.usable(self._config.engine.links_wait_s)
        for server, entrance in zip(self.servers, entrances, strict=True):
            await server.start(entrance)

    def _warm(self) -> None:
        """Code for the usual shapes of every dialect spoken, 25 to 60 ms each, before traffic comes."""
        snapshot = self.reference.snapshot()
        spoken = {listener.dialect for listener in self._config.listeners}
        spoken |= {*snapshot.dialects, *(link.dialect for link in snapshot.links.values())}
        for name in sorted(spoken):
            if registry.is_known(name):
                usual.warm(codec_for(name))
            else:  # whoever speaks it is not served here; all others are
                _log.error("dialect_unknown", dialect=name)

    async def let_go_of_blocks(self) -> None:
        """Nothing here uses a key block any more that was read before this was called.

        Requests keep the key set that verified them until their answer is signed, so those in flight
        are waited for. One of them may have read a session before the store had its new form, and
        remembered it: hence twice.
        """
        await self.reference.reload()
        for _ in range(2):
            self._cache.forget_keys()
            await self.settled()

    async def settled(self) -> None:
        """What is in flight now has ended, and what it stores is stored."""
        if not await self.engine.settled(self._longest_timer_s() + SETTLE_S):
            _log.warning("requests_outlived_the_longest_timer")

    async def drain(self) -> None:
        """Stop accepting, finish what is in flight within the timer, sign off, give the lease back.

        Siblings that are drained too may still need our connections: links end after the last of them.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._config.engine.drain_s
        self._duties.drain()
        if self._siblings is not None:
            self._siblings.drain()
        for server in self.servers:
            server.drain()
        for server in self.servers:
            await server.drained(until_s - loop.time())
        drained = await self.engine.drain(until_s - loop.time())
        await self._late.drain(until_s - loop.time())
        await self._unmatched.drain(until_s - loop.time())
        for server in self.servers:
            server.close()
        if self._siblings is not None:
            await self._siblings.drained(until_s - loop.time())
        await self._links.drain(max(until_s - loop.time(), SIGN_OFF_S) if drained else 0.0)
        if self._siblings is not None:
            await self._siblings.stop()
        await self._duties.stop(drained=drained)


def build(config: Config, worker: int, ports: Ports, *, demo: bool = False) -> Switch:
    """One process from its ports; nothing is started."""
    return Switch(config, worker, ports, demo=demo)


def keys_max(config: Config) -> int:
    """Opened keys of one process: PIK and MAK of every terminal it remembers, and all others.

    With room for fewer, terminals that trade in turn would find theirs closed every time.
    """
    return 2 * config.server.terminals + OTHER_KEYS


def entrances_of(
    config: Config, worker: int, sockets: Sequence[socket.socket], run_folder: Path
) -> list[Entrance]:
    """Of the listeners, whose sockets are the first; several workers share out who comes."""
    return [
        Entrance(
            listening,
            Shares(run_folder / f"listener-{n}", worker, config.workers)
            if config.workers > 1
            else None,
        )
        for n, listening in enumerate(sockets[: len(config.listeners)])
    ]


async def run_worker(
    config: Config,
    worker_index: int,
    listening_sockets: Sequence[socket.socket],
    lmk: bytes,
    control: Control,
) -> None:
    """Serve until told to drain, with the real clock, store, vault and sockets."""
    clock = SystemClock()
    opened = lmks.take_over(lmk)
    vault = LocalVault(opened, SystemEntropy().bytes, keys_max=keys_max(config))
    file = LogFile(
        config.log_folder / f"authorizations-{worker_index}.jsonl",
        config.log.file_bytes,
        config.log.files,
    )
    reporter = Reporter(config, control.registry, file, (control.log_file,))
    stores = await PostgresStore.open(
        config.database.dsn,
        clock,
        pool_size=config.database.read_connections,
        peer=Peer(config.database.keepalive_s, config.database.tcp_user_timeout_s),
        group_max=config.journal.group_max,
        queue_max=config.journal.queue_max,
        lease_s=config.engine.lease_s,
    )
    try:
        stores.writer.when_failed(lambda: control.request_drain("the journal's writer has failed"))
        await data_keys.ensure(stores.reference, vault)
        snapshot = await stores.reference.snapshot()
        pans = data_keys.open_pans(opened, snapshot)
        hsm = await vaults.opened(config.hsm, vault, snapshot)
        transport = SystemTransport()
        edge = SystemLinkEdge(config.links, listening_sockets[len(config.listeners) :], transport)
        ports = Ports(
            stores=stores_of(stores),
            hsm=hsm,
            pans=pans,
            clock=clock,
            transport=transport,
            edge=edge,
            log=reporter,
            local=UnixTransport(),
            run_folder=control.run_folder,
        )
        await stores.custody.hold(config.node, worker_index, vault.lmk_ids)
        control.held(vault.lmk_ids)
        switch = build(config, worker_index, ports, demo=control.demo)

        def renew(certificates: Sequence[Pem | None]) -> None:
            """Of the listeners, then of the links."""
            switch.renew(certificates[: len(config.listeners)])
            edge.renew(certificates[len(config.listeners) :])

        control.on_certificates(renew)
        await switch.start(
            entrances_of(config, worker_index, listening_sockets, control.run_folder)
        )
        loop = asyncio.get_running_loop()
        gauges = Gauges(control.registry)
        gauges.sample(switch, stores.writer, SAMPLE_S)
        metrics = vaults.DeviceMetrics(control.registry)
        flushing = loop.create_task(_flush(reporter, lambda: metrics.take(hsm), config.log.flush_s))
        following = loop.create_task(
            _follow_lmk(config.node, vault, switch, stores.custody, control)
        )
        sampling = loop.create_task(_sample(gauges, switch, stores.writer))
        links = switch.reference.snapshot().links
        control.ready({name: f"{link.host}:{link.port}" for name, link in links.items()})
        await control.drain_requested()
        await switch.drain()
        flushing.cancel()
        following.cancel()
        sampling.cancel()
        if isinstance(hsm, NetworkHsm):
            await hsm.stop()
    finally:
        reporter.flush()
        file.close()
        await stores.close()


async def _follow_lmk(
    node: str, vault: LocalVault, switch: Switch, custody: Custody, control: Control
) -> None:
    """Work with every LMK that the supervisor hands over, and say so when it is done.

    That keys open under another LMK too is so at once. That all that is stored from now on is under
    it, or that nothing here needs the former one, waits for the requests in flight.
    """
    while True:
        lmk = lmks.take_over(await control.next_lmk())
        try:
            if set(vault.lmk_ids) <= set(lmk.lmk_ids):
                vault.take(lmk)
                await switch.settled()
            else:
                await switch.let_go_of_blocks()
                vault.take(lmk)
            await custody.hold(node, control.index, lmk.lmk_ids)
        except Exception:  # noqa: BLE001 - the command that waits tells of it, and is given again
            _log.exception("lmk_not_taken", lmk_id=lmk.lmk_id)
            continue
        control.held(lmk.lmk_ids)
        _log.info("lmk_taken", lmk_id=lmk.lmk_id)


async def _sample(gauges: Gauges, switch: Switch, writer: Writer) -> None:
    while True:
        await asyncio.sleep(SAMPLE_S)
        try:
            gauges.sample(switch, writer, SAMPLE_S)
        except Exception:  # noqa: BLE001 - whatever it is, the next look may succeed
            _log.exception("metrics_not_sampled")


async def _flush(reporter: Reporter, count: Callable[[], None], period_s: float) -> None:
    while True:
        await asyncio.sleep(period_s)
        reporter.flush()
        count()
