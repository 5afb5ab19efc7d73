"""`tongbao simulate`: options, exit codes and files, with real sockets and a short life.

Method: the commands run in this process; the host of the terminals lives in a thread, the terminals
of the bank are a scripted switch in a thread.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from iso8583.framing import LINK, POS, Framer
from terminals.cli import app
from terminals.simulator.commands import UsageError, read_key, read_pairs
from terminals.texts import LANGUAGES, TEXTS
from tests.certificates import Certificate
from tests.terminals.simulator.host import TMK, TinyHost
from tests.terminals.simulator.link import ZAK, ZPK, ScriptedSwitch, bank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from iso8583.message import Message

RUNNER = CliRunner()


def invoke(*words: str) -> Result:
    """The command line in pieces; none of them holds a blank that means anything."""
    return RUNNER.invoke(app, " ".join(words).split())


@contextmanager
def served(host: TinyHost) -> Iterator[int]:
    """The port of a host on real TCP."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    ports: list[int] = []
    stop = asyncio.Event()

    class Served(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport
            self.framer = Framer(POS)

        def data_received(self, data: bytes) -> None:
            for frame in self.framer.receive_bytes(data):
                self.transport.write(host.reply(frame))

    async def main() -> None:
        server = await loop.create_server(Served, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        started.set()
        await stop.wait()
        server.close()
        await server.wait_closed()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    started.wait(60)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()


def test_terminals_trade_and_tell(tmp_path: Path) -> None:
    rows = [
        {"merchant": "898100000000001", "terminal": f"{10000001 + n}", "tmk": TMK} for n in range(3)
    ]
    listed = tmp_path / "terminals.json"
    listed.write_text(json.dumps(rows), encoding="utf-8")
    views = tmp_path / "views.json"
    with served(TinyHost()) as port:
        result = invoke(
            f"terminals --port {port} --terminals {listed} --transactions 30 --views {views}",
            "--mix purchase=1,void=0,refund=0,balance=0 --fault repeat=0.2 --json",
        )
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["transactions"] == 30
    assert shown["settlements"] == {"balanced": 3}
    slips = json.loads(views.read_text(encoding="utf-8"))
    assert sum(slip["effect_minor"] for slip in slips) == shown["effect_minor"]
    assert all("*" in slip["pan_masked"] for slip in slips)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_one_terminal_by_flags_and_tables(lang: str, tmp_path: Path) -> None:
    (tmp_path / "tmk").write_text(TMK + "\n", encoding="ascii")
    with served(TinyHost()) as port:
        result = invoke(
            f"terminals --port {port} --merchant 898100000000001 --terminal 10000001",
            f"--tmk @{tmp_path / 'tmk'} --transactions 5 --lang {lang}",
        )
    assert result.exit_code == 0, result.output
    assert TEXTS["traffic"][LANGUAGES.index(lang)] in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--terminals"),
        (["--merchant", "1", "--terminal", "2", "--tmk", TMK], "8 characters"),
        (["--merchant", "898100000000001", "--terminal", "10000001", "--tmk", "xx"], "hex"),
        (["--fault", "hang_up"], "name=number"),
        (["--fault", "nonsense=1"], "nonsense"),
        (["--fault", "hang_up=2"], "together"),
        (["--terminals", "/nowhere/x.json"], "No such file"),
        (["--tls-authority", "ca.pem"], "need --tls"),
        (["--tls", "--tls-authority", "/nowhere/ca.pem"], "No such file"),
        (["--tls", "--tls-certificate", __file__], "TLS: "),
    ],
)
def test_wrong_flags_are_named(arguments: list[str], says: str) -> None:
    known = ["--merchant", "898100000000001", "--terminal", "10000001", "--tmk", TMK]
    given = arguments + (
        known if arguments and arguments[0] in ("--fault", "--tls", "--tls-authority") else []
    )
    result = RUNNER.invoke(app, ["terminals", *given])
    assert result.exit_code in (2, 4)
    assert says in result.stderr


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def beside_the_bank(ready: Path, trade: Callable[[], None]) -> Iterator[None]:
    """`trade` in a thread, once the bank is ready; then the bank, which runs in our process, is stopped."""

    def work() -> None:
        for _ in range(1_200):
            if ready.exists():
                break
            threading.Event().wait(0.05)
        else:
            raise AssertionError("the bank is not ready")
        try:
            trade()
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def trade_over_tcp(port: int, purchases: int) -> None:
    """A switch that signs on and buys, over a blocking socket."""
    switch = ScriptedSwitch(bank(), sign_on=False)
    framer = Framer(LINK)
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    with connection:
        for message in [switch.management("001"), *(switch.purchase() for _ in range(purchases))]:
            connection.sendall(switch.framed(message))
            while not framer.receive_bytes(connection.recv(4096)):
                pass


def test_a_bank_listens_and_writes_its_files(tmp_path: Path) -> None:
    port, ready = free_port(), tmp_path / "ready.json"
    with beside_the_bank(ready, lambda: trade_over_tcp(port, 20)):
        result = invoke(
            f"bank --zpk {ZPK} --zak {ZAK} --port {port} --settlement-date 2026-06-09",
            f"--files {tmp_path} --ready-file {ready} --json",
            "--plant missing=2,duplicate=1",
        )
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["report"]["counts"]["0200 purchase 00"] == 20
    assert shown["report"]["standing_minor"] == 20_000
    path = tmp_path / "bank-a" / "IND26060901ACOM"
    assert shown["files"] == [str(path)]
    assert len(path.read_bytes().splitlines()) == 19
    assert path.stat().st_mode & 0o077 == 0
    planted = json.loads((tmp_path / "bank-a" / "IND26060901ACOM.breaks.json").read_text("utf-8"))
    assert [one["kind"] for one in planted["breaks"]] == ["missing", "missing", "duplicate"]
    assert json.loads(ready.read_text("utf-8"))["port"] == port


class Listener:
    """A switch that the bank connects to, in a thread: it answers the bank's sign-on, then buys."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(60)
        self._tls = tls
        self.port = int(self._socket.getsockname()[1])
        self.shown: list[Mapping[str, object] | None] = []

    def trade(self, connections: int, purchases: int) -> None:
        with self._socket:
            for _ in range(connections):
                raw, _ = self._socket.accept()
                line = self._tls.wrap_socket(raw, server_side=True) if self._tls else raw
                if isinstance(line, ssl.SSLSocket):
                    self.shown.append(line.getpeercert())
                self._trade(line, purchases)

    def _trade(self, line: socket.socket, purchases: int) -> None:
        switch, framer = ScriptedSwitch(bank(), sign_on=False), Framer(LINK)

        def heard() -> Message:
            while not (frames := framer.receive_bytes(line.recv(4096))):
                pass
            return switch.codec.decode(frames[0].body)

        with line:
            asked = heard()
            assert (asked[0], asked[70]) == ("0800", "001")
            answer = {de: asked[de] for de in (7, 11, 32, 70)} | {0: "0810", 39: "00"}
            line.sendall(switch.framed(answer))
            for _ in range(purchases):
                line.sendall(switch.framed(switch.purchase()))
                assert heard()[39] == "00"


def test_a_bank_connects_signs_on_and_shows_its_certificate(tmp_path: Path) -> None:
    authority = Certificate.make("authority")
    ours, theirs = Certificate.make("switch", authority), Certificate.make("bank", authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*ours.write(tmp_path, "switch"))
    context.load_verify_locations(cadata=authority.pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    certificate, key = theirs.write(tmp_path, "bank")
    trusted, _ = authority.write(tmp_path, "authority")
    switch, nobody = Listener(context), free_port()
    ready = tmp_path / "ready.json"
    with beside_the_bank(ready, lambda: switch.trade(2, 5)):
        result = invoke(
            f"bank --zpk {ZPK} --zak {ZAK} --json --signs-on --connections 2 --ready-file {ready}",
            f"--dial 127.0.0.1:{nobody} --dial 127.0.0.1:{switch.port}",
            f"--tls --tls-authority {trusted} --tls-certificate {certificate} --tls-key {key}",
        )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["report"]["counts"]["0200 purchase 00"] == 10
    serials = [int(str(shown["serialNumber"]), 16) for shown in switch.shown if shown]
    assert serials == [theirs.serial] * 2
    assert result.stderr.count(f":{nobody}: ") == 1, "why, told once"


def test_a_simplex_bank_reads_on_one_connection_and_sends_on_another(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    told: list[str] = []

    def trade() -> None:
        ports = json.loads(ready.read_text("utf-8"))
        switch, framer = ScriptedSwitch(bank(), sign_on=False), Framer(LINK)
        with (
            # before the other: an answer that finds no way to us is gone
            socket.create_connection(("127.0.0.1", ports["send_port"]), timeout=60) as into,
            socket.create_connection(("127.0.0.1", ports["port"]), timeout=60) as out,
        ):
            for message in (switch.management("001"), switch.purchase()):
                out.sendall(switch.framed(message))
                while not (frames := framer.receive_bytes(into.recv(4096))):
                    pass
                told.append(str(switch.codec.decode(frames[0].body)[39]))

    with beside_the_bank(ready, trade):
        result = invoke(f"bank --zpk {ZPK} --zak {ZAK} --port 0 --simplex --ready-file {ready}")
    assert result.exit_code == 0, result.output
    assert told == ["00", "00"]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--dial nowhere", "host:port"),
        ("--dial :9100", "host:port"),
        ("--tls", "--tls-certificate"),
        ("--tls-key x.pem", "need --tls"),
        ("--simplex --signs-on", "together"),
    ],
)
def test_lines_that_can_not_be_are_named(flags: str, says: str) -> None:
    result = invoke(f"bank --zpk {ZPK} --zak {ZAK} {flags}")
    assert result.exit_code == 2
    assert says in result.stderr


def test_an_options_file_and_flags(tmp_path: Path) -> None:
    file = tmp_path / "bank.toml"
    file.write_text('name = "bank-b"\n[faults]\nlate = 0.5\n[breaks]\nextra = 1\n', "utf-8")
    (tmp_path / "cards.toml").write_text('[[card]]\nbin = "621799"\nissuer = "04030000"\n', "utf-8")
    result = invoke(
        f"bank --zpk {ZPK} --zak {ZAK} --port 0 --duration 0.05 --json",
        f"--options {file} --cards {tmp_path / 'cards.toml'}",
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["report"]["name"] == "bank-b"
    wrong = invoke(f"bank --zpk {ZPK} --zak 12 --port 0")
    assert wrong.exit_code == 2
    assert "zak" in wrong.stderr


def test_reading_keys_and_pairs() -> None:
    assert read_pairs(["a=1,b=0.5", "c=2"]) == {"a": 1.0, "b": 0.5, "c": 2.0}
    with pytest.raises(UsageError):
        read_key("xyz")


def test_every_text_has_both_halves() -> None:
    for key, halves in TEXTS.items():
        assert len(halves) == len(LANGUAGES)
        assert all(halves), key
