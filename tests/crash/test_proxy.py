"""The proxy: bytes pass, and every trouble is what it says, so that a run is not spared what it plans."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.crash.proxy import Proxy, Trouble

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def with_echo(scenario: Callable[[Proxy, Streams], Awaitable[None]]) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(100):
                writer.write(data)
        except ConnectionResetError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = Proxy(server.sockets[0].getsockname()[:2])
    await proxy.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    await scenario(proxy, (reader, writer))
    proxy.close()
    writer.close()
    server.close()
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("trouble", ["stall", "delay"])
def test_bytes_come_late_and_in_order(trouble: Trouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.crash.proxy.DELAY_S", 3_600.0)  # ends by `heal` too

    async def scenario(proxy: Proxy, streams: Streams) -> None:
        reader, writer = streams
        proxy.begin(trouble)
        for part in (b"a", b"b", b"c"):
            writer.write(part)
            await asyncio.sleep(0.02)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.readexactly(1)
        proxy.heal()
        async with asyncio.timeout(60):
            assert await reader.readexactly(3) == b"abc"

    asyncio.run(with_echo(scenario))


def test_a_cut_is_a_reset() -> None:
    async def scenario(proxy: Proxy, streams: Streams) -> None:
        proxy.begin("cut")
        with pytest.raises(ConnectionResetError):
            await streams[0].read(1)

    asyncio.run(with_echo(scenario))


def test_a_black_hole_swallows_and_then_resets() -> None:
    async def scenario(proxy: Proxy, streams: Streams) -> None:
        reader, writer = streams
        proxy.begin("black_hole")
        writer.write(b"gone")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read(1)
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)

    asyncio.run(with_echo(scenario))


def test_a_half_close_ends_the_stream() -> None:
    async def scenario(proxy: Proxy, streams: Streams) -> None:
        proxy.begin("half_close")
        async with asyncio.timeout(60):
            assert await streams[0].read(1) == b""

    asyncio.run(with_echo(scenario))
