"""Several connections of a link: where messages go, one that stands still, bounds, counters of each."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from switch.acquirers.ports import Answer, NotSentError
from tests.switch.acquirers.test_iso8583_link import ask, loop_time, tell
from tests.switch.acquirers.test_siblings import original_of
from tests.switch.acquirers.wire import FAR_NS, make_link

if TYPE_CHECKING:
    from iso8583.message import Message
    from tests.switch.acquirers.wire import BankConnection, World


def requests_on(world: World) -> Counter[int]:
    """How many 0200 each of the bank's connections has read."""
    at = {id(connection): number for number, connection in enumerate(world.bank.connections)}
    return Counter(
        at[id(connection)]
        for connection, message in zip(world.bank.received_on, world.bank.received, strict=True)
        if message[0] == "0200" and id(connection) in at
    )


def deafen(world: World, which: int) -> BankConnection:
    """The bank reads on this connection, and answers nothing that came on it."""
    deaf = world.bank.connections[which]
    on_message = world.bank.on_message

    def heard(connection: BankConnection, message: Message, body: bytes) -> None:
        if connection is deaf:
            world.bank.received.append(message)
            world.bank.received_on.append(connection)
        else:
            on_message(connection, message, body)

    world.bank.on_message = heard  # type: ignore[method-assign]
    return deaf


def test_requests_one_after_the_other_take_connections_in_turn() -> None:
    async def story(world: World) -> None:
        for _ in range(9):
            await ask(world)
        assert requests_on(world) == {0: 3, 1: 3, 2: 3}

    tell(story, connections=3)


def test_requests_at_once_are_spread() -> None:
    async def story(world: World) -> None:
        world.bank.delay_s = 1
        await asyncio.gather(*(ask(world) for _ in range(30)))
        assert requests_on(world) == {0: 10, 1: 10, 2: 10}

    tell(story, connections=3)


def test_one_that_stands_still_gets_little_is_doubted_and_closes() -> None:
    """With a request a second, answered at once: while one waits on it, it gets no other."""

    async def story(world: World) -> None:
        deaf = deafen(world, 0)
        started_s = loop_time()
        asked = []
        for _ in range(40):
            asked.append(asyncio.ensure_future(ask(world)))
            await asyncio.sleep(1)
        on_deaf = sum(
            connection is deaf and message[0] == "0200"
            for connection, message in zip(world.bank.received_on, world.bank.received, strict=True)
        )
        assert on_deaf <= 4  # in turn it would be 20
        # `echo_waiting_s`, a look later at most, then two echoes of `timeout_s`: it has closed by now
        assert loop_time() - started_s >= 10 + 5 + 2 * 5 + 1
        assert deaf not in world.bank.connections
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(result, Answer) for result in results) == 40 - on_deaf
        assert world.iso.counters.echoes_missed == 2

    tell(story, make_link(timeout_s=5.0, echo_waiting_s=10.0), connections=2)


def test_a_doubted_connection_carries_on_where_there_is_no_other() -> None:
    async def story(world: World) -> None:
        deafen(world, 0)
        first = asyncio.ensure_future(ask(world))
        await asyncio.sleep(15)
        assert world.iso._pool.ready[0].doubted
        second = asyncio.ensure_future(ask(world))
        await asyncio.sleep(0.1)
        assert len(world.bank.seen("0200")) == 2
        for request in (first, second):
            request.cancel()

    tell(story, make_link(echo_waiting_s=10.0))


def test_a_connection_that_is_heard_again_is_doubted_no_more() -> None:
    async def story(world: World) -> None:
        world.bank.silent.add("0200")
        waits = asyncio.ensure_future(ask(world))
        await asyncio.sleep(25)  # echoes are answered
        assert world.bank.asked("301")
        assert not world.iso._pool.ready[0].doubted
        assert len(world.bank.connections) == 1
        waits.cancel()

    tell(story, make_link(echo_waiting_s=10.0))


def test_the_bound_of_a_connection_is_one_of_requests() -> None:
    async def story(world: World) -> None:
        world.bank.delay_s = 2
        asked = [asyncio.ensure_future(ask(world)) for _ in range(4)]
        await asyncio.sleep(0.1)
        with pytest.raises(NotSentError, match="connection_in_flight_max"):
            await ask(world)
        request, attempt = world.message()
        reversal, _ = world.message(de_0="0420")
        delivery = await world.iso.deliver(
            reversal, original_of(request, attempt), loop_time(), FAR_NS
        )
        assert delivery.answer.response_code == "00"
        await asyncio.gather(*asked)
        assert set(requests_on(world).values()) == {2}
        assert isinstance(await ask(world), Answer)

    tell(story, make_link(connection_in_flight_max=2), connections=2)


def test_what_happened_is_counted_by_slot() -> None:
    async def story(world: World) -> None:
        for _ in range(4):
            await ask(world)
        world.bank.silent.add("0200")
        waits = [asyncio.ensure_future(ask(world)) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert [(slot, waiting) for slot, _, waiting in world.iso.slots()] == [(1, 1), (2, 1)]
        await asyncio.gather(*waits, return_exceptions=True)
        world.bank.drop()
        await asyncio.sleep(5)
        told = [
            (of.sent, of.answered, of.expired, of.opened, of.lost)
            for _, of, waiting in world.iso.slots()
            if not waiting
        ]
        assert told == [(3, 2, 1, 2, 1)] * 2

    tell(story, make_link(timeout_s=5.0), connections=2)


def test_what_waits_on_a_connection_that_is_lost_is_answered_on_another() -> None:
    async def story(world: World) -> None:
        world.bank.delay_s = 3
        request = asyncio.ensure_future(ask(world))
        await asyncio.sleep(1)
        gone = world.bank.received_on[-1]
        other = next(one for one in world.bank.connections if one is not gone)
        world.bank.answer_on = lambda _connection: other
        assert gone.transport is not None
        gone.transport.close()
        assert (await request).response_code == "00"
        assert all(way.waiting == 0 for way in world.iso._pool.ready)

    tell(story, connections=2)


def test_deliveries_count_before_the_commit_as_they_do_before_sending() -> None:
    """A request is refused early where what is queued has filled the link."""
    from switch.acquirers.ports import Health

    async def story(world: World) -> None:
        world.bank.delay_s = 2
        deliveries = []
        for _ in range(2):
            request, attempt = world.message()
            reversal, _ = world.message(de_0="0420")
            deliveries.append(
                asyncio.ensure_future(
                    world.iso.deliver(reversal, original_of(request, attempt), 0.0, FAR_NS)
                )
            )
        await asyncio.sleep(0.1)
        assert world.iso.health() is Health.FULL
        with pytest.raises(NotSentError, match="in_flight_max"):
            await ask(world)
        await asyncio.gather(*deliveries)
        assert world.iso.health() is Health.UP

    tell(story, make_link(in_flight_max=2))
