"""TCP in memory: in order, whole or in pieces, half-closed, stalled, reset, silent; pauses and bounds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from switch.virtual.loop import run_virtual
from switch.virtual.network import Endpoint, Network, Weather
from terminals.simulator.dice import Dice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

AT = ("host", 1)


class Recorder(asyncio.Protocol):
    """Notes everything that happens to it. `stays`: half-open after the peer's end of file."""

    def __init__(self, *, stays: bool = False) -> None:
        self.chunks: list[bytes] = []
        self.events: list[str] = []
        self.stays = stays
        self.transport: Endpoint

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, Endpoint)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.chunks.append(data)

    def eof_received(self) -> bool:
        self.events.append("eof")
        return self.stays

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost" if exc is None else type(exc).__name__)


def meet(
    scenario: Callable[[Network, Recorder, Recorder], Awaitable[None]],
    weather: Weather | None = None,
    *,
    server_stays: bool = False,
) -> tuple[Recorder, Recorder]:
    """Connect two recorders, run the scenario, give the network a minute."""

    async def main() -> tuple[Recorder, Recorder]:
        network = Network(Dice(7), weather or Weather())
        server = Recorder(stays=server_stays)
        network.listen(*AT, lambda: server, None)
        client = Recorder()
        await network.connect(lambda: client, *AT)
        await asyncio.sleep(0.1)
        await scenario(network, client, server)
        await asyncio.sleep(60)
        return client, server

    return run_virtual(main())[0]


@pytest.mark.parametrize(
    "weather",
    [Weather(), Weather(split=1.0), Weather(join=1.0), Weather(split=0.5, join=0.5, slow=0.5)],
)
def test_bytes_come_in_order_whatever_the_weather(weather: Weather) -> None:
    lines = [b"%04d" % number * 20 for number in range(50)]

    async def scenario(_network: Network, client: Recorder, _server: Recorder) -> None:
        for line in lines:
            client.transport.write(line)
            await asyncio.sleep(0.001)

    _, server = meet(scenario, weather)
    assert server.data == b"".join(lines)
    if weather.split == 1.0:
        assert len(server.chunks) > len(lines)
    if weather.join == 1.0:
        assert len(server.chunks) < len(lines) / 2


def test_close_sends_what_was_written_and_ends_both() -> None:
    async def scenario(_network: Network, client: Recorder, _server: Recorder) -> None:
        client.transport.write(b"last words")
        client.transport.close()
        assert client.transport.is_closing()

    client, server = meet(scenario)
    assert server.data == b"last words"
    assert (client.events, server.events) == (["lost"], ["eof", "lost"])


def test_a_half_closed_connection_still_gets_its_answer() -> None:
    async def scenario(_network: Network, client: Recorder, server: Recorder) -> None:
        client.transport.write(b"request")
        client.transport.write_eof()
        await asyncio.sleep(1)
        server.transport.write(b"answer")
        server.transport.close()

    client, server = meet(scenario, server_stays=True)
    assert (server.data, client.data) == (b"request", b"answer")
    assert server.events == ["eof", "lost"]
    assert client.events == ["eof", "lost"]


def test_abort_tells_the_peer_by_a_reset() -> None:
    async def scenario(_network: Network, client: Recorder, _server: Recorder) -> None:
        client.transport.abort()

    client, server = meet(scenario)
    assert (client.events, server.events) == (["lost"], ["ConnectionResetError"])


def test_writing_to_a_closed_peer_breaks_the_pipe() -> None:
    async def scenario(_network: Network, client: Recorder, server: Recorder) -> None:
        client.transport.close()
        await asyncio.sleep(1)
        server.transport.write(b"answer")

    _, server = meet(scenario, server_stays=True)
    assert server.events == ["eof", "BrokenPipeError"]


def test_a_reader_that_pauses_stops_the_writer_at_its_limit() -> None:
    async def scenario(_network: Network, client: Recorder, server: Recorder) -> None:
        server.transport.pause_reading()
        client.transport.set_write_buffer_limits(high=1_000)
        client.transport.write(b"x" * 2_000)
        assert client.events == ["pause"]
        assert client.transport.get_write_buffer_size() == 2_000
        await asyncio.sleep(10)
        assert server.data == b""
        server.transport.resume_reading()
        await asyncio.sleep(1)
        assert client.events == ["pause", "resume"]

    _, server = meet(scenario)
    assert len(server.data) == 2_000


def test_silence_is_told_to_nobody() -> None:
    async def scenario(network: Network, client: Recorder, _server: Recorder) -> None:
        (connection,) = network.connections.values()
        connection.silent = True
        client.transport.write(b"lost for ever")
        client.transport.close()

    client, server = meet(scenario)
    assert (client.events, server.events, server.data) == (["lost"], [], b"")


def test_a_stall_delays_and_keeps_order() -> None:
    async def scenario(network: Network, client: Recorder, server: Recorder) -> None:
        network.weather = Weather(stall=1.0, stall_s=20.0)
        client.transport.write(b"a")
        network.weather = Weather()
        client.transport.write(b"b")
        await asyncio.sleep(0.5)
        assert server.data == b""

    _, server = meet(scenario)
    assert server.data == b"ab"


def test_nobody_listens_and_a_cut_cable() -> None:
    async def main() -> list[str]:
        network, said = Network(Dice(1)), list[str]()
        for host in ("nobody", "behind the cable"):
            network.cut_off = {("behind the cable", 1)}
            try:
                async with asyncio.timeout(5):
                    await network.connect(Recorder, host, 1)
            except (TimeoutError, ConnectionRefusedError) as error:
                said.append(type(error).__name__)
        return said

    assert run_virtual(main())[0] == ["ConnectionRefusedError", "TimeoutError"]
