"""The terminals' side: what is noted of a connection that ends, and where a balancer sends whom."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from iso8583.codec import codec_for
from iso8583.framing import POS, Frame, build
from tests.crash.history import Answered, Asked, Event, Lost
from tests.crash.load import Load, RecordedLine

if TYPE_CHECKING:
    from iso8583.message import Message

REQUEST: Message = {
    0: "0200",
    3: "000000",
    4: "000000000500",
    11: "000001",
    41: "T0000001",
    42: "M00000000000001",
    49: "156",
    60: "22000001000",
}


def framed(message: Message) -> bytes:
    body = codec_for("unionpay_pos").encode(message)
    return build(Frame(bytes.fromhex("6000030001"), bytes.fromhex("603100310000"), body), POS)


async def talk(*, answers: bool, who_ends: str) -> list[Event]:
    """A line on which a purchase is asked, answered or not, and which one side ends."""
    events: list[Event] = []
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    async def host(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4_096)
        if answers:
            writer.write(framed({**REQUEST, 0: "0210", 37: "000000000001", 39: "00"}))
            await writer.drain()
        if who_ends == "terminal":
            await reader.read()  # to its end
        writer.close()
        await writer.wait_closed()
        over.set_result(None)

    server = await asyncio.start_server(host, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()[:2]
    _, line = await loop.create_connection(lambda: RecordedLine("node1", events.append), *address)
    line.write(framed(REQUEST))
    if who_ends == "terminal":
        line.close()
    async with asyncio.timeout(60):
        await line.closed
        await over
    server.close()
    return events


@pytest.mark.parametrize(
    ("answers", "who_ends", "noted"),
    [
        (False, "host", [Asked, Lost]),
        (True, "host", [Asked, Answered]),
        (False, "terminal", [Asked]),
    ],
)
def test_a_request_is_lost_when_the_host_ends_its_connection_unanswered(
    answers: bool, who_ends: str, noted: list[type[Event]]
) -> None:
    events = asyncio.run(talk(answers=answers, who_ends=who_ends))
    assert [type(event) for event in events] == noted


def test_a_node_that_is_restarted_is_spared_while_there_is_another() -> None:
    load = Load(("node1", "node2"), random.Random(1), lambda _: None, lambda _: 0)
    assert {load.choose() for _ in range(50)} == {"node1", "node2"}
    load.resting.add("node2")
    assert {load.choose() for _ in range(50)} == {"node1"}
    load.resting.add("node1")
    assert {load.choose() for _ in range(50)} == {"node1", "node2"}
