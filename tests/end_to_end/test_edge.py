"""A real node behind TLS and a balancer: its certificate changes under traffic, floods, whose address counts.

Goal: terminals over TLS lose nothing while the certificate is renewed, while a file is broken, while a
worker dies meanwhile, and while others shake hands without end; the address that a balancer names is
the terminal's for its session; a terminal that sends without end is refused and others are not.
Method: one real node with a plain listener, one of TLS, one of TLS behind a balancer; simulated
terminals over real sockets; what the node shows is read from /metrics, /ready and the handshakes.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import socket
import ssl
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any, Self

import pytest

from terminals.simulator.card import BANK_A, card_pools
from terminals.simulator.fleet import Fleet, FleetOptions, FleetResult
from terminals.simulator.terminal import Terminal
from tests.certificates import Certificate, client_context
from tests.end_to_end.day import quiet
from tests.end_to_end.node import (
    ROOT,
    Node,
    banks,
    furnish,
    kill,
    make_terminals,
    running,
    terminal_options,
)
from tests.end_to_end.wire import Wire, echo_request, framed, metrics, total
from tests.schemas import assert_valid
from tests.switch.test_proxy_protocol import header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.loop_thread import LoopThread

pytestmark = pytest.mark.xdist_group("end_to_end_2")

TERMINALS = 8
TRADING = 4
MOVER, MAD, CLI, CALM = range(TRADING, TERMINALS)
PLAIN, TLS, BALANCED = range(3)  # listeners
PATIENCE_S = 120.0
CARDS = card_pools(BANK_A).sound
AUTHORITY = Certificate.make("root")
SOON = dt.timedelta(days=5)

SETTINGS = """
[[listeners]]
tls_certificate = "node.pem"
tls_key = "node.key"
[[listeners]]
tls_certificate = "node.pem"
tls_key = "node.key"
tls_clients = "clients.pem"
proxy_from = ["127.0.0.1"]
[tls]
handshake_s = 10
look_s = 0.2
[rates]
terminal_messages_per_s = 5
terminal_messages_burst = 400
"""


class Stage:
    def __init__(self, node: Node, loop: LoopThread, folder: Path) -> None:
        self.node, self.run, self.folder = node, loop.run, folder
        self.authority = client_context(AUTHORITY)
        own = Certificate.make("terminal", AUTHORITY).write(folder, "terminal")
        self.known = client_context(AUTHORITY, own)

    def address(self, listener: int) -> tuple[str, int]:
        at = self.node.facts["terminals"][listener]
        return at["host"], at["port"]

    def fleet(self, **more: Any) -> Fleet:
        """Terminals over TLS."""
        host, port = self.address(TLS)

        async def connect(host: str, port: int, factory: Any) -> tuple[Any, Any]:
            loop = asyncio.get_running_loop()
            return await loop.create_connection(factory, host, port, ssl=self.authority)

        options = FleetOptions(
            host=host, port=port, answer_timeout_s=PATIENCE_S, retry_s=0.2, **more
        )
        return Fleet(make_terminals(TRADING), options, random.Random(1), connect)

    async def trade(self, transactions: int, **more: Any) -> FleetResult:
        """All of it must come out as it should."""
        return all_well(await self.fleet(transactions=transactions, **more).run())

    async def shown(self) -> int:
        """The serial of the certificate that a new connection sees."""
        return await asyncio.to_thread(self._shown)

    def _shown(self) -> int:
        with (
            socket.create_connection(self.address(TLS), PATIENCE_S) as sock,
            self.authority.wrap_socket(sock, server_hostname="127.0.0.1") as tls,
        ):
            found: Any = tls.getpeercert()
            return int(found["serialNumber"], 16)

    def ready(self) -> dict[str, Any]:
        at = self.node.facts["metrics"]
        with urllib.request.urlopen(
            f"http://{at['host']}:{at['port']}/ready", timeout=PATIENCE_S
        ) as page:
            found: dict[str, Any] = json.load(page)
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        file = self.node.folder / "data" / "log" / "supervisor.jsonl"
        lines = map(json.loads, file.read_text().splitlines())
        return [line for line in lines if line["event"] == name]


def all_well(result: FleetResult) -> FleetResult:
    assert not result.surprises, (result.surprises, result.counts)
    assert not result.undecided
    assert not result.gave_up
    assert set(result.settlements) == {"balanced"}, result.settlements
    return result


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("edge")
    Certificate.make("node", AUTHORITY, lasts=SOON).write(folder, "node")
    (folder / "clients.pem").write_bytes(AUTHORITY.pem)
    with banks() as (loop, hosts), running(folder, more=SETTINGS) as node:
        loop.run(furnish(node, hosts, TERMINALS))
        yield Stage(node, loop, folder)
        loop.run(quiet(node))
        assert node.stop() == 0, node.log()


async def until(what: Any) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = what()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.1)


def test_what_is_about_to_end_is_shown_and_told(stage: Stage) -> None:
    told = stage.events("certificate_ends_soon")
    assert {line["listener"] for line in told} == {
        f"{host}:{port}" for host, port in (stage.address(TLS), stage.address(BALANCED))
    }
    assert all(4 < line["days"] < 6 for line in told)
    assert stage.events("certificate_ends_soon")[0]["level"] == "warning"
    body = stage.ready()
    assert_valid("ready", body)
    assert body["ready"]
    assert body["degraded"]
    reasons = [reason for reason in body["reasons"] if reason.startswith("certificate.")]
    assert reasons == [f"certificate.{line['listener']}: 5 days left" for line in told]
    states = body["certificates"]
    assert [(state["valid"], state["refused"]) for state in states] == [(True, None)] * 2
    host, port = stage.address(TLS)
    series = f'tongbao_certificate_expires_seconds{{listener="{host}:{port}"}}'
    left = metrics(stage.node)[series]
    assert 0 < left < SOON.total_seconds()
    assert [at["tls"] for at in stage.node.facts["terminals"]] == [False, True, True]


def test_a_simulated_terminal_speaks_tls(stage: Stage) -> None:
    (stage.folder / "root.pem").write_bytes(AUTHORITY.pem)
    options = terminal_options(CLI)
    command = [sys.executable, "-m", "tongbao", "simulate", "terminals", "--json"]
    command += ["--port", str(stage.address(TLS)[1]), "--merchant", options.merchant]
    command += ["--terminal", options.terminal, "--tmk", options.tmk, "--transactions", "5"]
    command += ["--tls", "--tls-authority", str(stage.folder / "root.pem")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["transactions"], told["surprises"], told["undecided"]) == (5, {}, 0)


def test_the_certificate_changes_under_traffic(stage: Stage) -> None:
    fresh = Certificate.make("node", AUTHORITY)

    async def scenario() -> None:
        old = await stage.shown()
        fleet = stage.fleet(duration_s=3_600.0, one_shot=0.5, think_s=0.1)
        trading = asyncio.ensure_future(fleet.run())
        await until(lambda: fleet.result.transactions >= 2 * TRADING)
        fresh.write(stage.folder, "node")

        async def all_workers() -> bool:
            return {await stage.shown() for _ in range(8)} == {fresh.serial}

        await until(all_workers)
        assert old != fresh.serial
        traded = fleet.result.transactions
        await until(lambda: fleet.result.transactions >= traded + 2 * TRADING)
        fleet.stop()
        all_well(await trading)
        assert len(stage.events("certificate_read")) == 2  # both listeners'

    stage.run(scenario())


def test_a_broken_file_changes_nothing_for_workers_that_start_meanwhile_too(stage: Stage) -> None:
    async def scenario() -> None:
        before = await stage.shown()
        whole = (stage.folder / "node.key").read_bytes()
        (stage.folder / "node.key").write_bytes(b"-----BEGIN PRIVATE KEY-----\n")
        await until(lambda: stage.ready()["certificates"][0]["refused"])
        assert total(metrics(stage.node), "tongbao_certificate_refused") == 2
        victims = stage.node.workers
        for victim in victims:
            kill(victim)

        def anew() -> bool:
            stage.node.read_facts()
            return not set(stage.node.workers) & set(victims)

        await until(anew)
        assert {await stage.shown() for _ in range(6)} == {before}
        (stage.folder / "node.key").write_bytes(whole)
        await until(lambda: not stage.ready()["certificates"][0]["refused"])
        await stage.trade(10)

    stage.run(scenario())


def test_floods_and_slow_handshakes_beside_honest_terminals(stage: Stage) -> None:
    noise = random.Random(5)

    kept: list[asyncio.StreamWriter] = []  # until all is counted: what dawdles must not leave

    async def attack(stop: asyncio.Event) -> None:
        """Connections that say nothing, half a handshake, noise, or leave at once."""
        while not stop.is_set():
            _, writer = await asyncio.open_connection(*stage.address(TLS))
            kind = len(kept) % 4
            if kind == 0:
                writer.write(bytes.fromhex("1603010200010001fc"))
            elif kind == 1:
                writer.write(noise.randbytes(300))
            elif kind == 2:
                writer.close()
            kept.append(writer)
            await asyncio.sleep(0.002)

    async def scenario() -> None:
        before = metrics(stage.node)
        stop = asyncio.Event()
        attackers = [asyncio.ensure_future(attack(stop)) for _ in range(3)]
        result = await stage.trade(120, one_shot=0.5)
        await until(lambda: len(kept) >= 40)
        stop.set()
        await asyncio.gather(*attackers)
        assert result.transactions == 120

        def counted() -> bool:
            now = metrics(stage.node)
            return all(
                total(now, "tongbao_connections_total", event=event)
                > total(before, "tongbao_connections_total", event=event)
                for event in ("tls", "tls.failed", "tls.gone", "tls.handshake_s")
            )

        await until(counted)
        failures = "tongbao_failures_total"
        assert total(metrics(stage.node), failures) == total(before, failures)
        for writer in kept:
            writer.close()

    stage.run(scenario())


class Balanced(Wire):
    """A terminal's line through the balancer, which names `source`."""

    def __init__(self, stage: Stage, source: str) -> None:
        super().__init__(stage.address(BALANCED))
        self._stage, self._source = stage, source

    async def __aenter__(self) -> Self:
        sock = socket.create_connection(self._address)
        sock.sendall(header(self._source))
        self.reader, self.writer = await asyncio.open_connection(
            sock=sock, ssl=self._stage.known, server_hostname="127.0.0.1"
        )
        return self


def test_the_address_that_the_balancer_names_is_the_sessions(stage: Stage) -> None:
    """A settlement is unsigned: its source must have sent a verified MAC (rules §10)."""

    async def scenario() -> None:
        terminal = Terminal(terminal_options(MOVER), "0007")
        card = CARDS[0]
        async with Balanced(stage, "192.0.2.1") as at_home:
            assert (await at_home.ask(terminal, terminal.sign_on())).state == "approved"
            bought = await at_home.ask(terminal, terminal.purchase(card, 1_00, pin=card.pin))
            assert bought.state == "approved"
            async with Balanced(stage, "192.0.2.2") as elsewhere:
                refused = await elsewhere.ask(terminal, terminal.settle())
                assert refused.response_code == "77"
            settled = await at_home.ask(terminal, terminal.settle())
            assert settled.response_code in ("00", "")

    stage.run(scenario())


def test_who_shows_no_certificate_or_names_nobody_is_closed(stage: Stage) -> None:
    async def scenario() -> None:
        async with Wire(stage.address(BALANCED)) as silent:
            silent.send(
                framed(
                    echo_request(terminal_options(CALM).merchant, terminal_options(CALM).terminal)
                )
            )
            assert await silent.closed()
        anonymous = Balanced(stage, "192.0.2.3")
        stage.known, known = stage.authority, stage.known
        try:
            with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
                async with anonymous:
                    await anonymous.frame()
        finally:
            stage.known = known

    stage.run(scenario())


def test_a_terminal_that_sends_without_end_is_refused_alone(stage: Stage) -> None:
    async def scenario() -> None:
        options, calm = terminal_options(MAD), terminal_options(CALM)
        async with Wire(stage.address(PLAIN)) as wire:
            begun_s = asyncio.get_running_loop().time()
            for trace in range(1, 901):
                wire.send(framed(echo_request(options.merchant, options.terminal, trace)))
            reversal = echo_request(options.merchant, options.terminal, 1) | {0: "0400"}
            wire.send(framed(reversal))  # taken in all the same: it is malformed, not too many
            answers = [await wire.message() for _ in range(901)]
            assert [answer[39] for answer in answers if answer[0] == "0410"] == ["30"]
            codes = [str(answer[39]) for answer in answers if answer[0] != "0410"]
            took_s = asyncio.get_running_loop().time() - begun_s
            assert 400 <= codes.count("00") <= 400 + 5 * took_s + 1
            assert set(codes) == {"00", "96"}
            wire.send(framed(echo_request(calm.merchant, calm.terminal)))
            assert (await wire.message())[39] == "00"
            async with asyncio.timeout(PATIENCE_S):  # and it recovers by itself
                while True:
                    wire.send(framed(echo_request(options.merchant, options.terminal, 901)))
                    if (await wire.message())[39] == "00":
                        return
                    await asyncio.sleep(0.1)

    stage.run(scenario())
