"""Goal: the port answers whatever comes, to many at once, and bounds what it holds.

Method: the server on a real socket of loopback; clients that pipeline, split, lie and stall.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from hsm.adapters.server import HostPort, HostServer
from hsm.host.framing import frame
from tests.hsm.host.support import Host

CA = (
    b"CAU8463435FC4B4DAA0C49025272C29B12CU1EF828AA8F6B80EB83E19FBC373F3A85"
    b"126428EB94035AF53B0101550000025321"
)
CB = b"CB000491DDDA0A7C12CFAA01"
PATIENCE_S = 60.0


@asynccontextmanager
async def serving(**port: float) -> AsyncIterator[tuple[HostServer, int]]:
    told: list[str] = []
    given = {"connections_max": 4, "message_bytes_max": 2048, **port}
    server = HostServer(
        Host().dispatcher,
        HostPort("127.0.0.1", 0, **given),  # type: ignore[arg-type]
        lambda event, **_facts: told.append(event),
    )
    _, number = await server.start()
    try:
        yield server, number
    finally:
        await server.close()


async def none_left(server: HostServer) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while server.connections:  # noqa: ASYNC110 - looked at from outside
            await asyncio.sleep(0.01)


async def read(reader: asyncio.StreamReader) -> bytes:
    size = int.from_bytes(await reader.readexactly(2), "big")
    return await reader.readexactly(size)


def test_answers_carry_the_header_of_their_command() -> None:
    async def talk() -> None:
        async with serving() as (_, number):
            reader, writer = await asyncio.open_connection("127.0.0.1", number)
            for count in range(500):  # more than one turn of the loop takes
                writer.write(frame(b"%04d" % count + CA))
            for count in range(500):
                assert await read(reader) == b"%04d" % count + CB
            writer.close()

    asyncio.run(talk())


def test_a_stream_may_be_split_anywhere() -> None:
    async def talk() -> None:
        async with serving() as (_, number):
            reader, writer = await asyncio.open_connection("127.0.0.1", number)
            for octet in frame(b"ABCD" + CA):
                writer.write(bytes([octet]))
                await writer.drain()
                await asyncio.sleep(0)
            assert await read(reader) == b"ABCD" + CB
            writer.close()

    asyncio.run(talk())


def test_nonsense_is_answered_and_the_connection_stays() -> None:
    async def talk() -> None:
        async with serving() as (_, number):
            reader, writer = await asyncio.open_connection("127.0.0.1", number)
            for nonsense, answer in (
                (b"0000??", b"0000?@68"),
                (b"0000CA", b"0000CB80"),
                (b"0000\xff\xff\xff", b"0000\xff\x0068"),
                (b"0000CA" + b"U" * 1000, b"0000CB15"),
            ):
                writer.write(frame(nonsense))
                assert await read(reader) == answer
            writer.write(frame(b"0000" + CA))
            assert await read(reader) == b"0000" + CB
            writer.close()

    asyncio.run(talk())


def test_a_frame_over_the_bound_and_a_message_without_a_command_end_the_connection() -> None:
    async def talk() -> None:
        async with serving() as (_, number):
            for lie in (b"\xff\xffrest", frame(b"000"), frame(b"")):
                reader, writer = await asyncio.open_connection("127.0.0.1", number)
                writer.write(lie)
                assert await reader.read() == b""
                writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", number)
            writer.write(frame(b"0000" + CA))
            assert await read(reader) == b"0000" + CB
            writer.close()

    asyncio.run(talk())


def test_what_came_before_it_is_answered_first() -> None:
    async def talk() -> None:
        async with serving() as (_, number):
            for lie in (b"\xff\xffrest", frame(b"000")):
                reader, writer = await asyncio.open_connection("127.0.0.1", number)
                count = 100  # more than one turn of the loop takes
                writer.write(frame(b"0000" + CA) * count + lie + frame(b"0000" + CA))
                for _ in range(count):
                    assert await read(reader) == b"0000" + CB
                with suppress(ConnectionResetError):
                    assert await reader.read() == b""
                writer.close()

    asyncio.run(talk())


def test_a_command_that_never_ends_is_silence() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            writer.write(b"\x07\xff")
            while True:
                writer.write(b"0")
                await writer.drain()
                await asyncio.sleep(0.02)

    async def talk() -> None:
        async with serving(idle_timeout_s=0.2) as (server, number):
            reader, writer = await asyncio.open_connection("127.0.0.1", number)
            dripping = asyncio.create_task(drip(writer))
            async with asyncio.timeout(PATIENCE_S):
                with suppress(ConnectionError):
                    assert await reader.read() == b""
                await dripping
            writer.close()
            await none_left(server)

    asyncio.run(talk())


def test_connections_are_bounded() -> None:
    async def talk() -> None:
        async with serving(connections_max=2) as (server, number):
            held = [await asyncio.open_connection("127.0.0.1", number) for _ in range(2)]
            reader, writer = await asyncio.open_connection("127.0.0.1", number)
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            assert server.refused == 1
            assert len(server.connections) == 2
            for _, other in (*held, (reader, writer)):
                other.close()

    asyncio.run(talk())


def test_the_silent_are_closed() -> None:
    async def talk() -> None:
        async with serving(idle_timeout_s=0.2) as (server, number):
            reader, writer = await asyncio.open_connection("127.0.0.1", number)
            assert await reader.read() == b""
            writer.close()
            await none_left(server)

    asyncio.run(talk())


async def moves(server: HostServer, writer: asyncio.StreamWriter) -> bool:
    """Whether the client gets rid of what it has written; False: neither does it, nor is it served."""
    draining = asyncio.ensure_future(writer.drain())
    still, calls = 0, -1
    while not draining.done() and still < 50:
        before, calls = calls, server.dispatcher.counters()["CA"].calls
        still = still + 1 if calls == before else 0
        await asyncio.sleep(0.01)
    return draining.done() or not draining.cancel()


def test_a_client_that_does_not_read_is_not_read_from() -> None:
    async def talk() -> None:
        async with serving() as (server, number):
            reader, writer = await asyncio.open_connection("127.0.0.1", number)
            other_reader, other = await asyncio.open_connection("127.0.0.1", number)
            try:
                command = frame(b"0000" + CA)
                asked = others = 0
                while server.dispatcher.counters()["CA"].calls == asked + others:
                    assert asked < 1_000_000
                    while await moves(server, writer):  # the client's and the kernel's buffers fill
                        writer.write(command * 500)
                        asked += 500
                    other.write(command)
                    assert await read(other_reader) == b"0000" + CB
                    others += 1
                for _ in range(asked):
                    assert await read(reader) == b"0000" + CB
            finally:
                writer.close()
                other.close()

    asyncio.run(talk())
