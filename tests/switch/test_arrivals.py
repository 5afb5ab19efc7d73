"""The way of a connection to being a terminal's: PROXY headers, TLS handshakes, rates of sources.

Goal: whoever does as agreed reaches the engine under the right address, whatever pieces its bytes come
in; whoever does not is closed by a named rule, in bounded time, at nobody else's cost, and leaves
nothing behind. Method: real sockets on both loops, certificates made for the test, an engine that
answers every frame with itself; after every test no connection, count or open file may be left.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import os
import socket
import ssl
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from hypothesis import given, settings, strategies as st

from iso8583.framing import POS, Frame, Framer
from switch.accepting import Entrance
from switch.config import Config, Listener, Rates, Server, Tls
from switch.proxy_protocol import SIGNATURE
from switch.server import TerminalServer
from switch.tls import Pem
from tests.certificates import Certificate, client_context
from tests.switch.test_proxy_protocol import header
from tests.switch.test_server import frame_of, number_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from switch.server import TerminalConnection

    Scenario = Callable[[], Coroutine[Any, Any, None]]

ROOT_CA = Certificate.make("root")
SERVER = Certificate.make("server", ROOT_CA)
PEM = Pem(SERVER.pem, SERVER.key_pem())
PATIENCE_S = 60.0
BALANCER = ("127.0.0.1",)
UNBOUND = Rates()
PATIENT = Tls(handshake_s=PATIENCE_S)


class Echo:
    """An engine that answers each frame with its body."""

    def __init__(self) -> None:
        self.sources: list[str] = []
        self.held = 0  # so many are not answered

    def submit(self, frame: Frame, peer: TerminalConnection, _now_s: float) -> None:
        self.sources.append(peer.source)
        if self.held:
            self.held -= 1
            return
        peer.answer(frame, frame.body)
        asyncio.get_running_loop().call_soon(peer.finished)


class Log:
    def __init__(self) -> None:
        self.refusals: list[tuple[str, str]] = []
        self.events: Counter[str] = Counter()

    def refused(self, source: str, _response_code: str, rule: str) -> None:
        self.refusals.append((source, rule.partition(":")[0]))

    def noted(self, event: str) -> None:
        self.events[event] += 1


class Bench:
    def __init__(self, server: TerminalServer, engine: Echo, log: Log, port: int) -> None:
        self.server, self.engine, self.log, self.port = server, engine, log, port
        self.sockets: list[socket.socket] = []

    async def rules(self, count: int) -> list[str]:
        """The rules of the first refusals, once there are so many."""
        await eventually(lambda: len(self.log.refusals) >= count)
        return [rule for _, rule in self.log.refusals]

    async def connect(self, tls: ssl.SSLContext | None = None, first: bytes = b"") -> Peer:
        return await self.reach(Peer(socket.socket(), tls), first)

    async def reach(self, peer: Peer, first: bytes = b"") -> Peer:
        """Connect; TLS peers shake hands, with `first` before their first word."""
        self.sockets.append(peer.sock)
        peer.sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(peer.sock, ("127.0.0.1", self.port))
        if peer.tls is not None:
            await peer.handshake(first)
        elif first:
            await loop.sock_sendall(peer.sock, first)
        return peer


class Peer:
    """A client whose TLS is its own, so that its first bytes may be in one piece with other bytes."""

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        self.sock = sock
        self.framer = Framer(POS)
        self.come, self.go = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls: ssl.SSLObject | None = None
        if tls is not None:
            self.tls = tls.wrap_bio(self.come, self.go, server_hostname="127.0.0.1")

    async def handshake(self, first: bytes) -> None:
        assert self.tls is not None
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.flush(first)
                first = b""
                self.come.write(await self.some())
            else:
                return await self.flush()

    async def flush(self, first: bytes = b"") -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, first + self.go.read())

    async def some(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            data = await asyncio.get_running_loop().sock_recv(self.sock, 65_536)
        if not data:
            raise ConnectionResetError
        return data

    async def ask(self, number: int) -> int:
        """Send a frame; the number of the one that comes back."""
        if self.tls is None:
            await asyncio.get_running_loop().sock_sendall(self.sock, frame_of(number))
        else:
            self.tls.write(frame_of(number))
            await self.flush()
        return await self.answer()

    async def answer(self) -> int:
        while True:
            frames = self.framer.receive_bytes(await self.read())
            if frames:
                return number_of(frames[0])

    async def read(self) -> bytes:
        if self.tls is None:
            return await self.some()
        while True:
            try:
                data = self.tls.read(65_536)
            except ssl.SSLWantReadError:
                self.come.write(await self.some())
            else:
                if not data:
                    raise ConnectionResetError
                return data

    def serial(self) -> int:
        """Of the certificate that was shown."""
        assert self.tls is not None
        shown: Any = self.tls.getpeercert()
        return int(shown["serialNumber"], 16)

    async def closed(self) -> bool:
        """Whether it is closed by the other side, with no answer."""
        try:
            await self.read()
        except (ConnectionError, ssl.SSLError):
            return True
        return False

    def close(self) -> None:
        self.sock.close()


@asynccontextmanager
async def serving(
    *,
    pem: Pem | None = None,
    proxy_from: tuple[str, ...] = (),
    rates: Rates = UNBOUND,
    tls: Tls = PATIENT,
    **bounds: Any,
) -> AsyncIterator[Bench]:
    """A server on a free port; in the end nothing of anybody may be left."""
    engine, log = Echo(), Log()
    config = Config(server=Server(**bounds), rates=rates, tls=tls)
    listener = Listener(proxy_from=proxy_from, tls_certificate="set" if pem else "", tls_key="set")
    server = TerminalServer(config, listener, engine, log)  # type: ignore[arg-type]
    if pem is not None:
        server.arrivals.renew(pem)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        await server.start(Entrance(listening))
        bench = Bench(server, engine, log, listening.getsockname()[1])
        try:
            yield bench
        finally:
            for each in bench.sockets:
                each.close()
            server.close()
            await eventually(lambda: not len(server.arrivals) and not server.connections)
        assert not server.sources._open
        assert not server.arrivals._shaking


async def eventually(what: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not what():  # noqa: ASYNC110 - looked at from outside
            await asyncio.sleep(0.01)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    """Runs a scenario on either loop, and finds no more open files afterwards."""

    def runs(scenario: Scenario) -> None:
        factory = uvloop.new_event_loop if request.param == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.sleep(0))  # what a loop keeps for the next one
        gc.collect()  # what an earlier test has left
        before = open_files()
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(scenario())
        assert open_files() <= before

    return runs


# -- TLS ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_frames_over_tls(run: Any, version: ssl.TLSVersion) -> None:
    async def scenario() -> None:
        async with serving(pem=PEM) as bench:
            context = client_context(ROOT_CA)
            context.minimum_version = context.maximum_version = version
            peer = await bench.connect(context)
            assert peer.tls is not None
            assert peer.tls.version() == version.name.replace("_", ".")
            assert [await peer.ask(number) for number in (1, 2)] == [1, 2]
            assert bench.engine.sources == ["127.0.0.1"] * 2
            assert bench.log.events == {"opened": 1, "tls": 1}

    run(scenario)


@pytest.mark.parametrize(
    "first",
    [
        frame_of(1),  # plain
        header("192.0.2.1"),  # nobody is listed here
        bytes(100),
    ],
    ids=["plain", "proxy", "noise"],
)
def test_who_does_not_speak_tls_is_closed(run: Any, first: bytes) -> None:
    async def scenario() -> None:
        async with serving(pem=PEM) as bench:
            peer = await bench.connect(first=first)
            assert await bench.rules(1) == ["tls.failed"]
            while not await peer.closed():
                pass  # an alert

    run(scenario)


def test_tls_1_1_is_refused(run: Any) -> None:
    async def scenario() -> None:
        async with serving(pem=PEM) as bench:
            context = client_context(None)
            context.set_ciphers("ALL:@SECLEVEL=0")
            with pytest.warns(DeprecationWarning, match="TLSv1_1"):
                context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await bench.connect(context)
            assert await bench.rules(1) == ["tls.failed"]

    run(scenario)


def test_terminals_show_a_certificate_where_they_must(run: Any, tmp_path: Path) -> None:
    good = Certificate.make("terminal", ROOT_CA).write(tmp_path, "good")
    foreign = Certificate.make("terminal", Certificate.make("other")).write(tmp_path, "foreign")
    ended = Certificate.make("terminal", ROOT_CA, lasts=-dt.timedelta(days=1)).write(
        tmp_path, "ended"
    )

    async def scenario() -> None:
        async with serving(pem=Pem(PEM.certificate, PEM.key, ROOT_CA.pem)) as bench:
            peer = await bench.connect(client_context(ROOT_CA, good))
            assert await peer.ask(7) == 7
            peer.close()
            for own in (None, foreign, ended):
                peer = await bench.connect(client_context(ROOT_CA, own))
                assert await peer.closed()
                peer.close()
            assert await bench.rules(3) == ["tls.failed"] * 3
            assert bench.engine.sources == ["127.0.0.1"]

    run(scenario)


def test_a_new_certificate_is_for_new_connections(run: Any) -> None:
    async def scenario() -> None:
        async with serving(pem=PEM) as bench:
            context = client_context(ROOT_CA)
            old = await bench.connect(context)
            fresh = Certificate.make("server", ROOT_CA)
            bench.server.arrivals.renew(Pem(fresh.pem, fresh.key_pem()))
            new = await bench.connect(context)
            assert [await old.ask(1), await new.ask(2)] == [1, 2]
            assert [peer.serial() for peer in (old, new)] == [SERVER.serial, fresh.serial]

    run(scenario)


def test_a_session_is_resumed(run: Any) -> None:
    async def scenario() -> None:
        async with serving(pem=PEM) as bench:
            context = client_context(ROOT_CA)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            first = await bench.connect(context)
            assert await first.ask(1) == 1
            assert first.tls is not None
            again = Peer(socket.socket(), None)
            again.tls = context.wrap_bio(
                again.come, again.go, server_hostname="127.0.0.1", session=first.tls.session
            )
            await bench.reach(again)
            assert await again.ask(2) == 2
            await eventually(lambda: bench.log.events["tls_resumed"] == 1)

    run(scenario)


def test_a_terminal_that_ends_its_tls_is_gone(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with serving(pem=PEM) as bench:
            peer = await bench.connect(client_context(ROOT_CA))
            bench.engine.held = 1
            assert peer.tls is not None
            peer.tls.write(frame_of(1))
            await peer.flush()
            await eventually(lambda: bench.engine.sources)
            with pytest.raises(ssl.SSLWantReadError):
                peer.tls.unwrap()
            await peer.flush()
            await eventually(lambda: not bench.server.connections)

    run(scenario)
    assert not caplog.records


async def dawdlers(bench: Bench) -> list[Peer]:
    """Who connects and says nothing, or half of his first word."""
    half = bytes.fromhex("1603010200010001fc")
    return [await bench.connect(first=first) for first in (b"", half) for _ in range(30)]


def test_slow_handshakes_cost_nobody_anything(run: Any) -> None:
    async def scenario() -> None:
        async with serving(pem=PEM) as bench:
            slow = await dawdlers(bench)
            peer = await bench.connect(client_context(ROOT_CA))
            assert await peer.ask(1) == 1
            assert len(bench.server.arrivals) == len(slow)
            assert not bench.log.refusals

    run(scenario)


def test_slow_handshakes_end(run: Any) -> None:
    async def scenario() -> None:
        async with serving(pem=PEM, tls=Tls(handshake_s=0.1)) as bench:
            slow = await dawdlers(bench)
            assert await bench.rules(len(slow)) == ["tls.handshake_s"] * len(slow)
            for each in slow:
                assert await each.closed()

    run(scenario)


def test_the_oldest_handshake_makes_room_for_a_new_one(run: Any) -> None:
    async def scenario() -> None:
        async with serving(pem=PEM, tls=Tls(handshake_s=PATIENCE_S, handshakes=4)) as bench:
            mute = [await bench.connect() for _ in range(10)]
            assert await bench.rules(6) == ["tls.handshakes"] * 6
            assert all([await slow.closed() for slow in mute[:6]])
            for number in range(3):
                peer = await bench.connect(client_context(ROOT_CA))
                assert await peer.ask(number) == number
                peer.close()
            assert await bench.rules(7) == ["tls.handshakes"] * 7  # one place, taken in turn

    run(scenario)


def test_many_handshakes_at_once_are_all_served(run: Any) -> None:
    async def scenario() -> None:
        async with serving(pem=PEM) as bench:
            context = client_context(ROOT_CA)
            peers = await asyncio.gather(*(bench.connect(context) for _ in range(60)))
            asked = [peer.ask(number) for number, peer in enumerate(peers)]
            assert await asyncio.gather(*asked) == list(range(60))
            assert bench.log.events["tls"] == 60

    run(scenario)


# -- PROXY --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_the_source_is_whom_the_balancer_names(run: Any, tls: bool) -> None:
    async def scenario() -> None:
        async with serving(pem=PEM if tls else None, proxy_from=BALANCER) as bench:
            context = client_context(ROOT_CA) if tls else None
            named = [
                await bench.connect(
                    context, header("192.0.2.1", more=bytes.fromhex("040003000000"))
                ),
                await bench.connect(context, header("2001:db8::1")),
                await bench.connect(context, header("192.0.2.1", command=0x20)),
            ]
            assert [await peer.ask(number) for number, peer in enumerate(named)] == [0, 1, 2]
            assert bench.engine.sources == ["192.0.2.1", "2001:db8::1", "127.0.0.1"]
            assert sorted(bench.server.sources._open) == ["127.0.0.1", "192.0.2.1", "2001:db8::/64"]

    run(scenario)


def test_a_header_may_come_byte_by_byte_and_with_the_first_frame(run: Any) -> None:
    async def scenario() -> None:
        async with serving(proxy_from=BALANCER) as bench:
            whole = await bench.connect(first=header("192.0.2.1") + frame_of(5))
            assert await whole.answer() == 5
            pieces = await bench.connect()
            for byte in header("192.0.2.2") + frame_of(6):
                await asyncio.get_running_loop().sock_sendall(pieces.sock, bytes([byte]))
                await asyncio.sleep(0)
            assert await pieces.answer() == 6
            assert bench.engine.sources == ["192.0.2.1", "192.0.2.2"]

    run(scenario)


@pytest.mark.parametrize(
    ("proxy_from", "first", "rule"),
    [
        (BALANCER, frame_of(1), "proxy.signature"),  # listed, and does not say whom it stands for
        (BALANCER, b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 8583\r\n", "proxy.signature"),
        (BALANCER, header("192.0.2.1", family=0x12), "proxy.family"),
        (BALANCER, header("192.0.2.1") + header("192.0.2.2") + bytes(8), "proxy.not_listed"),
        (("10.0.0.0/8",), header("192.0.2.1"), "proxy.not_listed"),
        ((), header("192.0.2.1") + frame_of(1), "proxy.not_listed"),
        ((), b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 8583\r\n", "frame"),
    ],
)
def test_whoever_says_it_wrongly_or_unasked_is_closed(
    run: Any, proxy_from: tuple[str, ...], first: bytes, rule: str
) -> None:
    async def scenario() -> None:
        async with serving(proxy_from=proxy_from) as bench:
            peer = await bench.connect(first=first)
            assert await peer.closed()
            assert await bench.rules(1) == [rule]
            assert not bench.engine.sources

    run(scenario)


def test_who_is_not_listed_is_served_as_itself(run: Any) -> None:
    async def scenario() -> None:
        async with serving(proxy_from=("10.0.0.0/8",)) as bench:
            peer = await bench.connect()
            assert await peer.ask(3) == 3
            assert bench.engine.sources == ["127.0.0.1"]

    run(scenario)


def test_a_header_that_does_not_come_and_one_that_ends(run: Any) -> None:
    async def scenario() -> None:
        async with serving(proxy_from=BALANCER) as bench:
            check = await bench.connect()
            check.close()  # a balancer's look whether the port is open
            await eventually(lambda: bench.log.events["proxy.gone"] == 1)
            assert not bench.log.refusals
            cut = await bench.connect(first=header("192.0.2.1")[:20])
            cut.sock.shutdown(socket.SHUT_WR)
            assert await bench.rules(1) == ["proxy.cut_short"]
            assert await cut.closed()
        async with serving(proxy_from=BALANCER, tls=Tls(handshake_s=0.1)) as bench:
            silent = await bench.connect()
            slow = await bench.connect(first=SIGNATURE)
            assert await bench.rules(2) == ["proxy.handshake_s"] * 2
            for peer in (silent, slow):
                assert await peer.closed()

    run(scenario)


@given(
    noise=st.binary(max_size=60),
    at=st.integers(0, 27),
    byte=st.integers(0, 255),
    cut=st.integers(0, 28),
    kind=st.sampled_from(["noise", "signed noise", "changed", "cut"]),
)
@settings(max_examples=60, deadline=None)
def test_no_header_harms(noise: bytes, at: int, byte: int, cut: int, kind: str) -> None:
    """Whatever a balancer sends, it is closed or its frame is served; the next one is served anyway."""
    good = header("192.0.2.1")
    first = {
        "noise": noise,
        "signed noise": SIGNATURE + noise,
        "changed": good[:at] + bytes([byte]) + good[at + 1 :],
        "cut": good[:cut],
    }[kind]

    async def scenario() -> None:
        async with serving(proxy_from=BALANCER) as bench:
            peer = await bench.connect(first=first)
            await asyncio.get_running_loop().sock_sendall(peer.sock, frame_of(9))
            peer.sock.shutdown(socket.SHUT_WR)
            answered = not await peer.closed()
            peer.close()
            assert answered == bool(bench.engine.sources)
            told = bench.log.refusals or bench.log.events["proxy.gone"]
            assert answered or told or kind == "cut"  # the frame completed the header
            honest = await bench.connect(first=header("192.0.2.9") + frame_of(4))
            assert await honest.answer() == 4

    uvloop.run(scenario())


# -- rates --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_open_connections_of_one_source(run: Any, tls: bool) -> None:
    async def scenario() -> None:
        rates = Rates(source_connections=2, ipv4_bits=24)
        pem, context = (PEM, client_context(ROOT_CA)) if tls else (None, None)
        async with serving(pem=pem, proxy_from=BALANCER, rates=rates) as bench:
            first = [await bench.connect(context, header(f"192.0.2.{n}")) for n in (1, 2)]
            assert [await peer.ask(1) for peer in first] == [1, 1]
            third = await bench.connect(first=header("192.0.2.3"))
            assert await third.closed()
            assert bench.log.refusals == [("192.0.2.3", "rates.source_connections")]
            other = await bench.connect(context, header("192.0.3.1"))
            assert await other.ask(2) == 2
            first[0].close()
            await eventually(lambda: bench.server.sources._open["192.0.2.0/24"] == 1)
            again = await bench.connect(context, header("192.0.2.4"))
            assert await again.ask(3) == 3

    run(scenario)


@pytest.mark.parametrize("tls", [False, True])
def test_a_flood_of_connections_is_closed_before_it_costs_a_handshake(run: Any, tls: bool) -> None:
    async def scenario() -> None:
        rates = Rates(source_connections_per_s=0.001, source_connections_burst=5)
        async with serving(pem=PEM if tls else None, rates=rates) as bench:
            peers = [await bench.connect() for _ in range(25)]
            assert await bench.rules(20) == ["rates.source_connections_per_s"] * 20
            assert bench.log.events["opened"] == 5
            assert all([await peer.closed() for peer in peers[5:]])

    run(scenario)


def test_too_many_messages_of_a_source_are_read_later(run: Any) -> None:
    async def scenario() -> None:
        rates = Rates(source_messages_per_s=100, source_messages_burst=10)
        async with serving(rates=rates, proxy_from=BALANCER) as bench:
            began_s = asyncio.get_running_loop().time()
            frames = b"".join(frame_of(number, 600) for number in range(40))
            flood = await bench.connect(first=header("192.0.2.1") + frames)
            other = await bench.connect(first=header("192.0.2.2"))
            assert await other.ask(1) == 1
            answers: list[Frame] = []
            while len(answers) < 40:
                answers += flood.framer.receive_bytes(await flood.read())
            assert [number_of(answer) for answer in answers] == list(range(40))
            assert asyncio.get_running_loop().time() - began_s > 0.2  # 28 beyond the burst
            assert bench.log.events["rates.source_messages"] > 0
            assert not bench.log.refusals

    run(scenario)


def test_the_bound_of_all_counts_those_on_their_way(run: Any) -> None:
    async def scenario() -> None:
        async with serving(pem=PEM, connections=3) as bench:
            for _ in range(3):
                await bench.connect()
            await eventually(lambda: len(bench.server.arrivals) == 3)
            await bench.connect()
            assert await bench.rules(1) == ["server.connections"]

    run(scenario)


def test_what_is_on_its_way_when_we_drain_arrives(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switch.server.LEAVE_S", PATIENCE_S)

    async def scenario() -> None:
        async with serving(pem=PEM) as bench:
            await bench.connect()
            await eventually(lambda: len(bench.server.arrivals) == 1)
            connecting = asyncio.ensure_future(bench.connect(client_context(ROOT_CA)))
            while len(bench.server.arrivals) < 2:  # noqa: ASYNC110 - looked at from outside
                await asyncio.sleep(0)  # it has connected, and said at most its first word
            bench.server.drain()
            draining = asyncio.ensure_future(bench.server.drained(PATIENCE_S))
            peer = await connecting
            assert await peer.ask(1) == 1
            assert await peer.closed()
            assert not draining.done()
            monkeypatch.setattr("switch.server.LEAVE_S", 0.0)  # for who still says nothing
            await draining
            assert not len(bench.server.arrivals)
            assert not bench.server.connections

    run(scenario)
