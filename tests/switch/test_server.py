"""The bounds of a terminal's connection: frames, requests in flight, time, answers nobody reads.

Goal: whatever bytes come, in whatever pieces, every frame reaches the engine once and in order, never
more at a time than the bound, and a peer that breaks a bound loses its own connection only. Method: a
transport and an engine that only note what they are told; time is handed to `check`.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from iso8583.framing import POS, Frame, Framer, build
from switch.accepting import Entrance
from switch.config import Config, Listener, Server
from switch.server import LEAVE_S, PIECE_BYTES, QUIET_S, TerminalConnection, TerminalServer

if TYPE_CHECKING:
    from collections.abc import Callable

TPDU, HEADER = bytes.fromhex("6000030001"), bytes.fromhex("603100310000")


def frame_of(number: int, size: int = 20) -> bytes:
    return build(Frame(TPDU, HEADER, number.to_bytes(4, "big").ljust(size, b".")), POS)


def number_of(frame: Frame) -> int:
    return int.from_bytes(frame.body[:4], "big")


class Transport(asyncio.Transport):
    """Notes what the connection does with it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 50_000)})
        self.sent = b""
        self.unsent_bytes = 0  # what a peer that does not read has left lying
        self.reading = True
        self.closing = False
        self.aborted = False

    def write(self, data: Any) -> None:
        assert not self.closing
        self.sent += data

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def pause_reading(self) -> None:
        assert self.reading, "paused twice"
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading, "resumed while reading"
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def answers(self) -> list[Frame]:
        return Framer(POS).receive_bytes(self.sent)


class Engine:
    """Takes frames and finishes them when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Frame, TerminalConnection]] = []
        self.taken: list[int] = []
        self.most = 0

    def submit(self, frame: Frame, peer: TerminalConnection, _now_s: float) -> None:
        self.taken.append(number_of(frame))
        self.waiting.append((frame, peer))
        self.most = max(self.most, len(self.waiting))

    def finish(self, count: int = 1) -> None:
        for _ in range(count):
            frame, peer = self.waiting.pop(0)
            peer.answer(frame, frame.body)
            peer.finished()

    def finish_all(self) -> None:
        while self.waiting:
            self.finish()


class Refusals:
    def __init__(self) -> None:
        self.rules: list[str] = []

    def refused(self, _source: str, _response_code: str, rule: str) -> None:
        self.rules.append(rule)

    def noted(self, _event: str) -> None: ...


class Bench:
    """A server with its parts, made inside a loop."""

    def __init__(self, **bounds: Any) -> None:
        self.engine = Engine()
        self.log = Refusals()
        config = Config(server=Server(**bounds))
        engine: Any = self.engine
        log: Any = self.log
        self.server = TerminalServer(config, Listener(), engine, log)

    def connect(self) -> tuple[TerminalConnection, Transport]:
        connection, transport = TerminalConnection(self.server), Transport()
        connection.connection_made(transport)
        return connection, transport


def inside(scenario: Callable[[], None]) -> None:
    async def run() -> None:
        scenario()

    asyncio.run(run())


def now_s() -> float:
    return asyncio.get_running_loop().time()


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(4, 300), min_size=1, max_size=40),
    cuts=st.lists(st.integers(1, 400), min_size=1, max_size=60),
    bound=st.integers(1, 9),
    finishing=st.lists(st.integers(0, 6), min_size=1, max_size=30),
)
def test_any_split_gives_every_frame_once_and_in_order(
    sizes: list[int], cuts: list[int], bound: int, finishing: list[int]
) -> None:
    def scenario() -> None:
        bench = Bench(in_flight_per_connection=bound)
        connection, transport = bench.connect()
        stream = b"".join(frame_of(at, size) for at, size in enumerate(sizes))
        step = 0
        while stream:
            if transport.reading:
                size = cuts[step % len(cuts)]
                connection.data_received(stream[:size])
                stream = stream[size:]
            ends = finishing[step % len(finishing)]
            bench.engine.finish(min(ends, len(bench.engine.waiting)))
            if not transport.reading and not ends:
                bench.engine.finish()
            step += 1
        bench.engine.finish_all()
        assert bench.engine.taken == list(range(len(sizes)))
        assert [number_of(answer) for answer in transport.answers()] == bench.engine.taken
        assert bench.engine.most < bound + PIECE_BYTES // 17 + 1
        assert transport.reading
        assert not transport.closing
        assert not bench.log.rules

    inside(scenario)


def test_thousands_of_tiny_frames_in_one_read_wait_as_bytes() -> None:
    def scenario() -> None:
        bench = Bench(in_flight_per_connection=8)
        connection, transport = bench.connect()
        connection.data_received(b"".join(frame_of(at, 4) for at in range(5_000)))
        assert len(bench.engine.waiting) <= 8 + PIECE_BYTES // 17
        assert not transport.reading
        bench.engine.finish_all()
        assert bench.engine.taken == list(range(5_000))
        assert transport.reading

    inside(scenario)


def test_one_request_at_a_time_is_a_bound_too() -> None:
    def scenario() -> None:
        bench = Bench(in_flight_per_connection=1)
        connection, transport = bench.connect()
        for number in range(3):
            assert transport.reading
            connection.data_received(frame_of(number))
            assert not transport.reading
            bench.engine.finish()
        assert transport.reading

    inside(scenario)


def test_an_answer_goes_back_with_the_addresses_swapped() -> None:
    def scenario() -> None:
        bench = Bench()
        connection, transport = bench.connect()
        connection.data_received(frame_of(7))
        bench.engine.finish()
        (answer,) = transport.answers()
        assert (answer.tpdu.hex(), answer.header) == ("6000010003", HEADER)

    inside(scenario)


@pytest.mark.parametrize(
    "bad",
    [bytes.fromhex("FFFF"), bytes.fromhex("0000"), bytes.fromhex("000B"), bytes(65_536)],
    ids=["too long", "nothing", "no message", "noise"],
)
def test_a_bad_length_ends_the_connection_when_the_frames_before_it_are_answered(
    bad: bytes,
) -> None:
    def scenario() -> None:
        bench = Bench()
        connection, transport = bench.connect()
        connection.data_received(frame_of(1) + bad + frame_of(2))
        assert bench.engine.taken == [1]
        assert not transport.closing
        connection.data_received(frame_of(3))
        bench.engine.finish()
        assert len(transport.answers()) == 1
        assert transport.closing
        assert bench.engine.taken == [1]
        assert [rule.split(":")[0] for rule in bench.log.rules] == ["frame"]
        alone, other = bench.connect()
        alone.data_received(bad)
        assert other.closing

    inside(scenario)


def test_a_half_closed_connection_gets_its_answers() -> None:
    def scenario() -> None:
        bench = Bench(in_flight_per_connection=1)
        connection, transport = bench.connect()
        connection.data_received(frame_of(1) + frame_of(2) + frame_of(3))
        assert connection.eof_received() is True
        bench.engine.finish_all()
        assert bench.engine.taken == [1, 2, 3]
        assert len(transport.answers()) == 3
        assert transport.closing
        assert not bench.log.rules

    inside(scenario)


def test_a_frame_cut_short_is_counted_once() -> None:
    def scenario() -> None:
        bench = Bench()
        for half_closed in (True, False):
            connection, _ = bench.connect()
            connection.data_received(frame_of(1)[:-1])
            if half_closed:
                assert connection.eof_received() is False
            connection.connection_lost(None)
        assert bench.log.rules == ["frame.cut_short"] * 2
        connection, _ = bench.connect()
        connection.data_received(frame_of(1))
        assert connection.eof_received() is True
        connection.connection_lost(None)
        assert len(bench.log.rules) == 2
        idle, _ = bench.connect()
        assert idle.eof_received() is False

    inside(scenario)


def test_a_slow_frame_ends_the_connection_when_the_others_are_answered() -> None:
    def scenario() -> None:
        bench = Bench(frame_s=10.0)
        connection, transport = bench.connect()
        connection.data_received(frame_of(1) + frame_of(2)[:1])
        connection.check(now_s() + 9.9)
        for byte in frame_of(2)[1:5]:  # one byte at a time does not buy time
            connection.data_received(bytes([byte]))
        assert not bench.log.rules
        connection.check(now_s() + 10.1)
        connection.check(now_s() + 11.1)
        assert bench.log.rules == ["server.frame_s"]
        assert not transport.closing
        bench.engine.finish()
        assert transport.closing
        assert len(transport.answers()) == 1

    inside(scenario)


def test_a_frame_that_we_did_not_read_on_is_not_slow() -> None:
    def scenario() -> None:
        bench = Bench(in_flight_per_connection=2, frame_s=10.0)
        connection, transport = bench.connect()
        connection.data_received(frame_of(1) + frame_of(2) + frame_of(3)[:9])
        assert not transport.reading
        connection.check(now_s() + 60)
        bench.engine.finish(2)
        assert transport.reading
        connection.data_received(frame_of(3)[9:])
        bench.engine.finish()
        assert bench.engine.taken == [1, 2, 3]
        assert not bench.log.rules

    inside(scenario)


def test_an_idle_connection_is_closed_one_that_waits_for_its_bank_is_not() -> None:
    def scenario() -> None:
        bench = Bench(idle_s=300.0)
        connection, transport = bench.connect()
        connection.data_received(frame_of(1))
        connection.check(now_s() + 400)
        assert not transport.closing
        bench.engine.finish()
        connection.check(now_s() + 299)
        assert not transport.closing
        connection.check(now_s() + 301)
        assert transport.closing

    inside(scenario)


def test_a_peer_that_reads_no_answers_is_cut_off() -> None:
    def scenario() -> None:
        bench = Bench(write_buffer_bytes=4_096)
        connection, transport = bench.connect()
        connection.data_received(frame_of(1) + frame_of(2))
        bench.engine.finish()
        transport.unsent_bytes = 4_097
        bench.engine.finish()
        assert transport.aborted
        assert bench.log.rules == ["server.answers_not_read"]

    inside(scenario)


def test_a_peer_that_does_not_read_the_rest_can_not_keep_a_closing_connection() -> None:
    def scenario() -> None:
        bench = Bench(frame_s=10.0)
        connection, transport = bench.connect()
        connection.data_received(frame_of(1) + b"\0\0")
        bench.engine.finish()
        transport.unsent_bytes = 1
        assert transport.closing
        connection.check(now_s() + 1)
        connection.check(now_s() + 10)
        assert not transport.aborted
        connection.check(now_s() + 12)
        assert transport.aborted

    inside(scenario)


def test_odd_messages_end_the_connection_and_the_rest_of_it_is_not_looked_at() -> None:
    def scenario() -> None:
        bench = Bench(odd_messages=3, in_flight_per_connection=4)
        connection, transport = bench.connect()
        connection.data_received(b"".join(frame_of(at) for at in range(500)))
        for _ in range(3):
            _, peer = bench.engine.waiting.pop(0)
            peer.odd()
            peer.finished()
        taken = len(bench.engine.taken)
        bench.engine.finish_all()
        assert len(bench.engine.taken) == taken < 100
        assert transport.closing

    inside(scenario)


def test_connections_beyond_the_bound_are_refused_at_once() -> None:
    def scenario() -> None:
        bench = Bench(connections=2)
        first, _ = bench.connect()
        bench.connect()
        third, transport = bench.connect()
        assert transport.aborted
        third.data_received(frame_of(1))
        assert not bench.engine.taken
        assert bench.log.rules == ["server.connections"]
        third.connection_lost(None)
        first.connection_lost(None)
        _, transport = bench.connect()
        assert not transport.closing

    inside(scenario)


def test_an_answer_to_a_connection_that_is_gone_is_dropped() -> None:
    def scenario() -> None:
        bench = Bench(in_flight_per_connection=1)
        connection, transport = bench.connect()
        connection.data_received(frame_of(1) + frame_of(2))
        connection.connection_lost(ConnectionResetError())
        bench.engine.finish_all()
        assert transport.sent == b""
        assert not bench.server.connections

    inside(scenario)


def test_over_real_sockets() -> None:
    """A half-closed socket, the frames split byte by byte, on the loop of the platform."""

    async def scenario() -> None:
        bench = Bench(in_flight_per_connection=2)
        listening = socket.create_server(("127.0.0.1", 0))
        address = listening.getsockname()
        await bench.server.start(Entrance(listening))
        reader, writer = await asyncio.open_connection(*address)
        for byte in b"".join(frame_of(at) for at in range(5)):
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        writer.write_eof()
        received = Framer(POS)
        frames: list[Frame] = []
        async with asyncio.timeout(60):
            while len(frames) < 5:
                await asyncio.sleep(0.01)
                bench.engine.finish_all()
                if bench.engine.taken and len(bench.engine.taken) > len(frames):
                    frames += received.receive_bytes(await reader.read(65_536))
            assert await reader.read() == b""
        assert [number_of(frame) for frame in frames] == list(range(5))
        writer.close()
        bench.server.close()
        await asyncio.sleep(0)

    asyncio.run(scenario())


def test_a_quiet_connection_is_closed_as_soon_as_we_drain() -> None:
    async def scenario() -> None:
        bench = Bench()
        connection, spoken = bench.connect()
        connection.data_received(frame_of(1))
        bench.engine.finish_all()
        connection._heard_s -= QUIET_S
        never, silent = bench.connect()
        never._heard_s -= LEAVE_S  # connected long ago: no request is on its way
        bench.server.drain()
        await bench.server.drained(0.0)
        assert spoken.closing
        assert silent.closing
        assert not spoken.aborted
        assert not silent.aborted

    asyncio.run(scenario())


@pytest.mark.parametrize("runner", ["asyncio", "uvloop"])
def test_who_waits_in_the_kernels_queue_while_we_drain_is_served(runner: str) -> None:
    async def scenario() -> None:
        bench = Bench()
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        await bench.server.start(Entrance(listening))
        clients = [socket.create_connection(listening.getsockname()) for _ in range(3)]
        bench.server.drain()  # the loop has not had a turn to accept them
        draining = asyncio.ensure_future(bench.server.drained(60.0))
        for number, client in enumerate(clients):
            client.sendall(frame_of(number))
            client.setblocking(False)
        async with asyncio.timeout(60):
            while len(bench.engine.waiting) < len(clients):  # noqa: ASYNC110 - a sync stand-in
                await asyncio.sleep(0.01)
        bench.engine.finish_all()
        await draining
        for number, client in enumerate(clients):
            data = await asyncio.get_running_loop().sock_recv(client, 65_536)
            assert [number_of(frame) for frame in Framer(POS).receive_bytes(data)] == [number]
            assert await asyncio.get_running_loop().sock_recv(client, 65_536) == b""
            client.close()
        bench.server.close()
        await asyncio.sleep(0)

    if runner == "uvloop":
        import uvloop

        uvloop.run(scenario())
    else:
        asyncio.run(scenario())


def test_who_has_just_connected_is_served_while_we_drain() -> None:
    """Its request is on its way, and no byte of it has come: closing now would reset it."""

    def scenario() -> None:
        bench = Bench()
        connection, transport = bench.connect()
        accepted = TerminalConnection(bench.server)  # and told to us only after the drain has begun
        bench.server.drain()
        late = Transport()
        accepted.connection_made(late)
        for one in (connection, accepted):
            one.leave_if_quiet(now_s() + 10 * QUIET_S)
        assert not transport.closing
        assert not late.closing
        connection.data_received(frame_of(1))
        bench.engine.finish_all()
        assert [number_of(answer) for answer in transport.answers()] == [1]
        connection.leave_if_quiet(now_s() + QUIET_S)
        assert transport.closing
        accepted.leave_if_quiet(now_s() + LEAVE_S)
        assert late.closing  # it says nothing

    inside(scenario)


def test_what_comes_on_a_busy_connection_while_we_drain_is_served() -> None:
    def scenario() -> None:
        bench = Bench()
        connection, transport = bench.connect()
        connection.data_received(frame_of(1))
        bench.server.drain()
        connection.data_received(frame_of(2) + frame_of(3)[:5])
        bench.engine.finish_all()
        connection.leave_if_quiet(now_s() + QUIET_S)
        assert not transport.closing  # the third has begun
        connection.data_received(frame_of(3)[5:])
        bench.engine.finish_all()
        assert [number_of(answer) for answer in transport.answers()] == [1, 2, 3]
        connection.leave_if_quiet(now_s())
        assert not transport.closing  # the next may be on its way
        connection.leave_if_quiet(now_s() + QUIET_S)
        assert transport.closing

    inside(scenario)


def test_a_connection_that_never_grows_quiet_is_ended_all_the_same() -> None:
    def scenario() -> None:
        bench = Bench()
        connection, transport = bench.connect()
        connection.data_received(frame_of(1))
        bench.server.drain()
        connection.leave_if_quiet(now_s() + LEAVE_S + 1)
        connection.data_received(frame_of(2))
        assert bench.engine.taken == [1]
        bench.engine.finish_all()
        assert transport.closing
        assert [number_of(answer) for answer in transport.answers()] == [1]

    inside(scenario)
