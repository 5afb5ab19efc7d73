"""Two nodes on one PostgreSQL: restarted one after the other under load, changed, and one killed.

Goal: who looks from outside sees no failed transaction, and a bank never more connections than it
grants; what a dead node held is the other's within ten seconds. Method: two real nodes, terminals that
connect to either as a balancer would make them, banks that count their connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from switch.adapters.embedded_postgres import EmbeddedPostgres
from switch.adapters.postgres_place import APP, OWNER, READER
from switch.server import LEAVE_S
from terminals.simulator.bank import BankProtocol, BankServer
from terminals.simulator.card import BANK_A, BANK_B, card_pools
from tests.end_to_end import command
from tests.end_to_end.day import seen
from tests.end_to_end.node import Hosts, Node, furnish, kill, make_terminals
from tests.end_to_end.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from terminals.simulator.terminal import Outcome, Request, Terminal

pytestmark = pytest.mark.xdist_group("end_to_end_2")

TERMINALS = 8
THINK_S = 0.1
GRANTED = 3  # by each bank: two for one node, one for the other
SETTLED_S = 180.0  # for what takes a few seconds on a machine that has nothing else to do
CARDS = card_pools(BANK_A + BANK_B).sound
HELD = """
SELECT acquirer, array_agg(slots ORDER BY slots) FROM (
    SELECT s.acquirer, count(*) AS slots FROM switch.link_slot AS s
    JOIN switch.owner AS o USING (owner_id)
    WHERE o.lease_until > clock_timestamp() AND o.taken_by IS NULL GROUP BY s.acquirer, o.node
) AS by_node GROUP BY acquirer ORDER BY acquirer
"""
LEASED = """
SELECT l.acquirer, o.node FROM switch.acquirer_lease AS l JOIN switch.owner AS o USING (owner_id)
WHERE l.lease_until > clock_timestamp() ORDER BY 1
"""


class Cluster:
    """Two nodes, the banks, and who has most connections at a bank so far."""

    def __init__(self, folder: Path, postgres: EmbeddedPostgres) -> None:
        self.dsn = postgres.dsn(APP)
        database = f'[database]\ndsn = "{self.dsn}"\nowner_dsn = "{postgres.dsn(OWNER)}"\n'
        self.reader_dsn = postgres.dsn(READER)
        self.nodes = []
        for name in ("a", "b"):
            (folder / name).mkdir(mode=0o711)
            self.nodes.append(Node(folder / name, name=name, more=database))
        self.hosts = Hosts(latency_s=0.01)
        self.hosts.servers = [BankServer(bank, self._counted) for bank in self.hosts.banks]
        self.most = 0

    def _counted(self, server: BankServer) -> BankProtocol:
        cluster = self

        class Counted(BankProtocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                cluster.most = max(cluster.most, len(server.connections))

        return Counted(server)

    async def query(self, sql: str) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self.dsn)
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    async def until(self, sql: str, expected: list[tuple[Any, ...]], within_s: float) -> float:
        """Seconds until the store says so."""
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        connection = await asyncpg.connect(self.dsn)
        try:
            while (found := [tuple(row) for row in await connection.fetch(sql)]) != expected:
                assert loop.time() < begun_s + within_s, (found, expected)
                await asyncio.sleep(0.05)
        finally:
            await connection.close()
        return loop.time() - begun_s

    async def furnish(self) -> None:
        await furnish(self.nodes[0], self.hosts, TERMINALS, link_connections=GRANTED, dsn=self.dsn)
        await self.until(HELD, [("bank_a", [1, 2]), ("bank_b", [1, 2])], SETTLED_S)
        await self.connected()

    async def connected(self) -> None:
        """To each bank with all that it grants."""
        async with asyncio.timeout(SETTLED_S):
            while [len(server.connections) for server in self.hosts.servers] != [GRANTED] * 2:  # noqa: ASYNC110 - a list tells nobody
                await asyncio.sleep(0.05)

    async def restart(self, node: Node) -> None:
        assert await asyncio.to_thread(node.stop) == 0, node.log()
        await asyncio.to_thread(node.start, same_port=True)

    def tongbao(self, *words: str) -> str:
        """The command, on the store of these nodes."""
        return command.process(*words, "--config", str(self.nodes[0].config))


@contextlib.contextmanager
def cluster_in(folder: Path) -> Iterator[Cluster]:
    with EmbeddedPostgres.start(folder / "postgres", fsync=False) as postgres:
        cluster = Cluster(folder, postgres)
        try:
            for node in cluster.nodes:
                node.start()
            yield cluster
        finally:
            for node in cluster.nodes:
                node.close()


class Shop:
    """A terminal that sells without end, on a connection that it keeps for some sales."""

    def __init__(self, cluster: Cluster, terminal: Terminal, number: int) -> None:
        self.outcomes: list[Outcome] = []
        self.failed: list[str] = []
        self._nodes = cluster.nodes
        self._terminal = terminal
        self._turn = number
        self._keeps = 1 + number % 4 * 5  # sales a connection; the first shops connect for each
        self._wire: Wire | None = None
        self._connected_s = 0.0

    async def trade(self, stop: asyncio.Event) -> None:
        await self._ask(self._terminal.sign_on())
        while not stop.is_set() and not self.failed:
            card = CARDS[len(self.outcomes) % len(CARDS)]
            await self._ask(self._terminal.purchase(card, 1_00, pin=card.pin))
            if len(self.outcomes) % self._keeps == 0:
                await self._hang_up()
            await asyncio.sleep(THINK_S)
        await self._hang_up()

    async def _ask(self, request: Request) -> None:
        """On a connection that was kept the node's farewell may cross our request: then it goes again,
        the same bytes, as it would for any other peer that had closed a kept connection. So it may
        on a new one where this process stood still before its first word."""
        loop = asyncio.get_running_loop()
        outcome = None
        while outcome is None:
            kept = self._wire is not None
            wire = self._wire or await self._connect()
            late = loop.time() - self._connected_s > LEAVE_S / 2
            try:
                outcome = await wire.ask(self._terminal, request)
            except (OSError, EOFError) as error:
                await self._hang_up()
                if not (kept or late):
                    self.failed.append(f"{request.kind} {request.trace}: {error!r}")
                    return
        self.outcomes.append(outcome)
        if outcome.response_code != "00":
            self.failed.append(repr(outcome))

    async def _connect(self) -> Wire:
        """To the next node that takes us."""
        while self._wire is None:
            self._turn += 1
            wire = Wire(self._nodes[self._turn % len(self._nodes)].address)
            self._connected_s = asyncio.get_running_loop().time()
            with contextlib.suppress(ConnectionRefusedError):
                self._wire = await wire.__aenter__()
        return self._wire

    async def _hang_up(self) -> None:
        if self._wire is not None:
            await self._wire.__aexit__()
            self._wire = None


async def sold(shops: Sequence[Shop], more: int) -> None:
    """So many outcomes more, or a failure."""
    wanted = more + sum(len(shop.outcomes) for shop in shops)
    await seen(
        lambda: (
            sum(len(shop.outcomes) for shop in shops) >= wanted
            or any(shop.failed for shop in shops)
        )
    )


def test_two_nodes_roll_and_change_under_load(tmp_path: Path) -> None:
    async def day(cluster: Cluster) -> None:
        async with cluster.hosts:
            await cluster.furnish()
            shops = [Shop(cluster, one, at) for at, one in enumerate(make_terminals(TERMINALS))]
            stop = asyncio.Event()
            trading = [asyncio.create_task(shop.trade(stop)) for shop in shops]
            for change, node in enumerate(cluster.nodes, 1):
                await sold(shops, 12 * TERMINALS)
                await cluster.restart(node)
                await asyncio.to_thread(change_links, cluster, tmp_path, change)
            await sold(shops, 12 * TERMINALS)
            stop.set()
            await asyncio.gather(*trading)
            assert [failed for shop in shops for failed in shop.failed] == []
            assert cluster.most == GRANTED
            await cluster.until(
                "SELECT sum(effect_minor)::bigint FROM switch.capture_v1",
                [(sum(slip.effect_minor for shop in shops for slip in shop._terminal.slips),)],
                SETTLED_S,
            )
            in_force = await cluster.query("SELECT max(version) FROM switch.reference_item")
            assert in_force == [(3,)]

    with cluster_in(tmp_path) as cluster:
        asyncio.run(day(cluster))
        read = Counter(requests_read(cluster))
        assert len(read) > 30 * TERMINALS
        assert [key for key, times in read.items() if times > 1] == [], "read, and not answered"


def requests_read(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Every request that some node has taken off a connection, by terminal and trace."""
    for node in cluster.nodes:
        for file in (node.folder / "data" / "log").glob("authorizations-*.jsonl"):
            for line in file.read_text().splitlines():
                said = json.loads(line)
                yield said["terminal"], said["stan"]


def change_links(cluster: Cluster, folder: Path, change: int) -> None:
    """Another time-out and another bound: nothing that a bank could see."""
    shown = re.sub(r"^in_flight_max = .*\n", "", cluster.tongbao("data", "show"), flags=re.M)
    link = f"timeout_s = {30 + change}.0\nin_flight_max = {1_000 * change}"
    changed, links = re.subn(r"^timeout_s = .*", link, shown, flags=re.M)
    assert links == len(cluster.hosts.banks)
    (folder / "links.toml").write_text(changed)
    cluster.tongbao("data", "apply", "--demo", str(folder / "links.toml"))


def test_what_a_killed_node_held_is_taken_over(tmp_path: Path) -> None:
    async def day(cluster: Cluster) -> None:
        async with cluster.hosts:
            await cluster.furnish()
            await cluster.until("SELECT count(*) FROM switch.acquirer_lease", [(2,)], SETTLED_S)
            holder = (await cluster.query(LEASED))[0][1]
            dead, other = sorted(cluster.nodes, key=lambda node: node.folder.name != holder)
            for pid in (dead.facts["pids"]["supervisor"], *dead.workers):
                kill(pid)
            name = other.folder.name
            leased = cluster.until(LEASED, [("bank_a", name), ("bank_b", name)], SETTLED_S)
            held = [("bank_a", [GRANTED]), ("bank_b", [GRANTED])]
            took_s = await asyncio.gather(leased, cluster.until(HELD, held, SETTLED_S))
            print(f"taken over: leases {took_s[0]:.1f} s, slots {took_s[1]:.1f} s")  # noqa: T201
            await cluster.connected()
            assert cluster.most == GRANTED

    with cluster_in(tmp_path) as cluster:
        asyncio.run(day(cluster))
