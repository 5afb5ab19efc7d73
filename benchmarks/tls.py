"""What TLS and the PROXY header cost a worker: a connection, a message, the memory of a connection.

    python -m benchmarks.tls [--messages N] [--connections N] [--rounds N] [--quick] [--json]

One process serves listeners of every kind with the product's own server and an engine that gives each
frame back; this process is the terminals. What is told is the server's processor time, in rounds in
turns, medians. A message is a frame of 267 bytes in and as many out.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import socket
import ssl
import statistics
import time
from typing import TYPE_CHECKING, Any, Final

import uvloop

from benchmarks import report
from benchmarks.estate import resident_mib
from iso8583.framing import POS, Frame, build
from switch.accepting import Entrance
from switch.config import Config, Listener, Rates
from switch.proxy_protocol import SIGNATURE
from switch.server import TerminalServer
from switch.tls import Pem
from tests.certificates import Certificate

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from switch.server import TerminalConnection

MODULE: Final = "benchmarks.tls"
FRAME: Final = build(
    Frame(bytes.fromhex("6000030001"), bytes.fromhex("603100310000"), b"." * 254), POS
)
HEADER: Final = SIGNATURE + bytes.fromhex("2111000c7f0000017f000001dc042187")
LINES: Final = 64
SETTLED_S: Final = 0.5
KINDS: Final = ("plain", "proxy", "ec", "rsa")


# -- the server ---------------------------------------------------------------------------------


class Echo:
    def submit(self, frame: Frame, peer: TerminalConnection) -> None:
        peer.answer(frame, frame.body)
        asyncio.get_running_loop().call_soon(peer.finished)


class Quiet:
    def refused(self, _source: str, _response_code: str, rule: str) -> None:
        raise AssertionError(rule)

    def noted(self, event: str) -> None: ...


def serve(line: Connection) -> None:
    uvloop.run(serving(line))


async def serving(line: Connection) -> None:
    """Tell the ports, then the processor time at every word."""
    authority = Certificate.make("root")
    keys = {
        "ec": Certificate.make("ec", authority),
        "rsa": Certificate.make("rsa", authority, rsa_bits=2_048),
    }
    config = Config(rates=Rates(source_connections_per_s=0))
    ports: dict[str, int] = {}
    for kind in KINDS:
        listener = Listener(
            tls_certificate="set" if kind in keys else "",
            proxy_from=("127.0.0.1",) if kind == "proxy" else (),
        )
        engine: Any = Echo()
        log: Any = Quiet()
        server = TerminalServer(config, listener, engine, log)
        if kind in keys:
            server.arrivals.renew(Pem(keys[kind].pem, keys[kind].key_pem()))
        listening = socket.create_server(("127.0.0.1", 0), backlog=1_024)
        listening.settimeout(0)
        await server.start(Entrance(listening))
        ports[kind] = listening.getsockname()[1]
    line.send(ports)
    ended = asyncio.Event()

    def word() -> None:
        if line.recv() == "end":
            ended.set()
        else:
            line.send(time.process_time_ns())

    asyncio.get_running_loop().add_reader(line.fileno(), word)
    await ended.wait()


# -- the terminals ------------------------------------------------------------------------------


class Terminals:
    def __init__(self, line: Connection, pid: int) -> None:
        self.line, self.pid = line, pid
        self.ports: dict[str, int] = line.recv()

    def spent_us(self, work: Callable[[], None], of: int) -> float:
        """Processor time of the server for one of so many."""
        before = self._cpu_ns()
        work()
        return (self._cpu_ns() - before) / 1_000 / of

    def _cpu_ns(self) -> int:
        self.line.send("time")
        found: int = self.line.recv()
        return found

    def connect(
        self, kind: str, context: ssl.SSLContext | None, session: ssl.SSLSession | None = None
    ) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.ports[kind]))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if kind == "proxy":
            sock.sendall(HEADER)
        return sock if context is None else context.wrap_socket(sock, session=session)


def ask(sock: socket.socket) -> None:
    sock.sendall(FRAME)
    hear(sock)


def hear(sock: socket.socket) -> None:
    left = len(FRAME)
    while left:
        got = len(sock.recv(left))
        if not got:
            raise ConnectionResetError
        left -= got


def client(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    return context


def connections(
    terminals: Terminals, kind: str, context: ssl.SSLContext | None, count: int, *, resume: bool
) -> float:
    """Connect, one message, close."""
    session: ssl.SSLSession | None = None
    if resume:
        assert context is not None
        with terminals.connect(kind, context) as first:
            ask(first)
            session = first.session  # type: ignore[attr-defined]

    def work() -> None:
        for _ in range(count):
            with terminals.connect(kind, context, session) as sock:
                ask(sock)
                if resume:
                    assert sock.session_reused  # type: ignore[attr-defined]

    return terminals.spent_us(work, count)


def messages(terminals: Terminals, kind: str, context: ssl.SSLContext | None, count: int) -> float:
    """Over open connections, one in flight on each."""
    socks = [terminals.connect(kind, context) for _ in range(LINES)]
    for sock in socks:
        ask(sock)

    def work() -> None:
        for _ in range(count // LINES):
            for sock in socks:
                sock.sendall(FRAME)
            for sock in socks:
                hear(sock)

    spent = terminals.spent_us(work, count // LINES * LINES)
    for sock in socks:
        sock.close()
    return spent


def memory_kib(
    terminals: Terminals, kind: str, context: ssl.SSLContext | None, count: int
) -> float:
    """Resident memory that an open connection adds, after a message."""
    before = resident_mib(terminals.pid)
    socks = [terminals.connect(kind, context) for _ in range(count)]
    for sock in socks:
        ask(sock)
    time.sleep(SETTLED_S)
    grown = resident_mib(terminals.pid) - before
    for sock in socks:
        sock.close()
    time.sleep(SETTLED_S)
    return grown * 1_024 / count


def measure(given: argparse.Namespace) -> dict[str, Any]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    terminals = Terminals(ours, process.pid or 0)
    v12, v13 = (client(version) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
    kinds: dict[str, tuple[str, ssl.SSLContext | None, bool]] = {
        "plain": ("plain", None, False),
        "PROXY header": ("proxy", None, False),
        "TLS 1.3, P-256": ("ec", v13, False),
        "TLS 1.3, RSA 2048": ("rsa", v13, False),
        "TLS 1.3, resumed": ("ec", v13, True),
        "TLS 1.2, P-256": ("ec", v12, False),
        "TLS 1.2, RSA 2048": ("rsa", v12, False),
        "TLS 1.2, resumed": ("ec", v12, True),
    }
    sent = {"plain": ("plain", None), "TLS 1.3": ("ec", v13), "TLS 1.2": ("ec", v12)}
    of: dict[str, dict[str, list[float]]] = {
        "connection": {name: [] for name in kinds}, "message": {name: [] for name in sent},
    }  # fmt: skip
    memory = {name: memory_kib(terminals, *how, given.open) for name, how in sent.items()}
    for _ in range(given.rounds):
        for name, (kind, context, resume) in kinds.items():
            spent = connections(terminals, kind, context, given.connections, resume=resume)
            of["connection"][name].append(spent)
        for name, how in sent.items():
            of["message"][name].append(messages(terminals, *how, given.messages))
    ours.send("end")
    process.join()
    medians = {
        what: {name: statistics.median(each) for name, each in rows.items()}
        for what, rows in of.items()
    }
    return {
        "connection_us": medians["connection"],
        "message_us": medians["message"],
        "memory_kib": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description="TLS")
    parser.add_argument("--messages", type=int, default=None, help="a round: 20,000; quick: 4,000")
    parser.add_argument("--connections", type=int, default=None, help="a round: 300; quick: 100")
    parser.add_argument("--open", type=int, default=500, help="connections, for the memory of one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    given = parser.parse_args()
    given.messages = given.messages or (4_000 if given.quick else 20_000)
    given.connections = given.connections or (100 if given.quick else 300)
    report.begin()
    report.open_files(2 * given.open + 500)
    figures = measure(given)
    if given.json:
        report.as_json(MODULE, **figures)
        return
    plain = figures["connection_us"]["plain"]
    report.show(
        MODULE,
        "processor time of the server: a connection with one message, made and closed",
        ("connection", "µs", "more than plain"),
        [
            (name, f"{spent:.0f}", f"{spent - plain:.0f}")
            for name, spent in figures["connection_us"].items()
        ],
    )
    print()
    report.table(
        ("open connection", "µs a message", "KiB a connection"),
        [
            (name, f"{spent:.1f}", f"{figures['memory_kib'][name]:.1f}")
            for name, spent in figures["message_us"].items()
        ],
    )


if __name__ == "__main__":
    main()
