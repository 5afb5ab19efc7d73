"""Links that banks connect to, and simplex pairs, in virtual time on a network in memory.

Goal: whoever connects, requests leave only where an answer can come back, nothing is lost that can be
found, and what the bank may not have is closed. Method: stories about one link and a bank of the test's
own script; the network keeps TCP's promises, backlog and half-open connections included.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from switch.acquirers.ports import NotSentError
from switch.ports import EdgeError
from switch.virtual.loop import run_virtual
from switch.virtual.network import FAIR, Network
from terminals.simulator.dice import Dice
from tests.simulation.edge import BANK_SOURCE, LINK_PORT, SimulatedEdge
from tests.switch.acquirers.wire import FAR_NS, Bank, BankConnection, World, answer_to, make_link

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from switch.acquirers.ports import Answer
    from switch.reference import Link
    from switch.virtual.network import Endpoint

US, HERE = "10.0.0.1", ("10.0.0.1", LINK_PORT)
OUT, INTO = ("bank", 1), ("bank", 2)


class Transport:
    def __init__(self, network: Network) -> None:
        self._network = network
        self.dialling = False

    async def connect(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> Endpoint:
        self.dialling = True
        try:
            return await self._network.connect(factory, host, port, US)
        finally:
            self.dialling = False


class Lines(World):
    """A link that is connected as its settings say, and the bank's side of it."""

    def __init__(self, link: Link, network: Network, connections: int) -> None:
        self.network = network
        self.dials = transport = Transport(network)
        edge = SimulatedEdge(network, transport, US, None)
        bank = Bank(link)
        super().__init__(
            link,
            connections=connections,
            bank=bank,
            transport=transport,
            accepts=edge.way_in(link) if link.accepts else None,
        )
        self.into: list[BankConnection] = []
        network.listen(*OUT, lambda: BankConnection(bank), None)
        network.listen(*INTO, self.sender, None)
        if link.receive_on != "same":
            bank.answer_on = lambda _: self.into[-1]

    def sender(self) -> BankConnection:
        """The bank's end of a connection that it only sends on."""
        self.into.append(BankConnection(self.bank))
        return self.into[-1]

    async def dial(
        self, source: str = BANK_SOURCE, make: Callable[[], BankConnection] | None = None
    ) -> BankConnection:
        made: list[BankConnection] = []

        def factory() -> BankConnection:
            made.append(make() if make is not None else BankConnection(self.bank))
            return made[-1]

        await self.network.connect(factory, *HERE, source)
        return made[0]

    async def ask(self) -> Answer:
        message, attempt = self.message()
        return await answer_to(self.iso, message, attempt, FAR_NS)

    def said(self, connection: BankConnection, code: str) -> None:
        """The bank's own 0800."""
        numbers = f"{len(self.bank.received):06d}"
        connection.send({0: "0800", 7: "0301120000", 11: numbers, 32: "1", 70: code})


def tell(
    story: Callable[[Lines], Awaitable[None]], *, connections: int = 1, **settings: Any
) -> list[MutableMapping[str, Any]]:
    async def main() -> None:
        link = make_link(port=1, receive_port=2, timeout_s=8.0, echo_idle_s=30.0, **settings)
        network = Network(Dice(1), FAIR)
        async with Lines(link, network, connections) as lines:
            await story(lines)

    with capture_logs() as logs:
        run_virtual(main())
    return logs


def closed(connection: BankConnection) -> bool:
    return connection not in connection.bank.connections


# -- the bank connects ----------------------------------------------------------------------------


def test_a_bank_connects_and_we_sign_on() -> None:
    async def story(lines: Lines) -> None:
        assert not lines.iso.ready
        await lines.dial()
        await asyncio.sleep(0.1)
        assert lines.iso.ready
        assert len(lines.bank.asked("001")) == 1
        assert (await lines.ask()).response_code == "00"

    tell(story, connects="bank")


def test_it_connects_again_and_is_not_kept_waiting() -> None:
    async def story(lines: Lines) -> None:
        for _ in range(3):
            await lines.dial()
            await asyncio.sleep(0.1)
            assert (await lines.ask()).response_code == "00"
            lines.bank.drop()
            await asyncio.sleep(0.1)
            assert not lines.iso.ready
            with pytest.raises(NotSentError, match="link_down"):
                await lines.ask()

    tell(story, connects="bank")


def test_the_bank_signs_on() -> None:
    async def story(lines: Lines) -> None:
        connection = await lines.dial()
        await asyncio.sleep(1)
        assert not lines.iso.ready
        lines.said(connection, "001")
        await asyncio.sleep(0.1)
        assert (await lines.ask()).response_code == "00"
        lines.said(connection, "002")
        await asyncio.sleep(0.1)
        assert not lines.iso.ready
        await asyncio.sleep(20)
        lines.said(connection, "001")
        await asyncio.sleep(0.1)
        assert (await lines.ask()).response_code == "00"
        assert not lines.bank.asked("001")  # it was never ours to ask

    tell(story, connects="bank", sign_on="bank")


@pytest.mark.parametrize("first", ["", "001"])
def test_who_does_not_sign_on_is_closed(first: str) -> None:
    async def story(lines: Lines) -> None:
        connection = await lines.dial()
        await asyncio.sleep(0.1)
        if first:
            for code in ("001", "002"):
                lines.said(connection, code)
                await asyncio.sleep(0.1)
        await asyncio.sleep(29)
        assert not closed(connection)
        await asyncio.sleep(2)
        assert closed(connection)

    tell(story, connects="bank", sign_on="bank")


def test_one_too_many_is_closed_and_the_others_stay() -> None:
    async def story(lines: Lines) -> None:
        granted = [await lines.dial(), await lines.dial()]
        await asyncio.sleep(0.1)
        extra = await lines.dial()
        await asyncio.sleep(1.9)
        assert not closed(extra)
        await asyncio.sleep(0.2)
        assert closed(extra)
        assert not any(map(closed, granted))
        assert lines.iso.counters.connections_refused == 1
        assert (await lines.ask()).response_code == "00"

    logs = tell(story, connections=2, connects="bank", extra_s=2.0)
    (refused,) = [log for log in logs if log["event"] == "link_connection_refused"]
    assert (refused["reason"], refused["source"]) == ("extra", BANK_SOURCE)


def test_one_that_waits_takes_the_place_of_one_that_ends() -> None:
    async def story(lines: Lines) -> None:
        await lines.dial()
        await asyncio.sleep(0.1)
        second = await lines.dial()
        await asyncio.sleep(0.5)
        first = lines.bank.connections[0]
        assert first.transport is not None
        first.transport.close()
        await asyncio.sleep(0.2)
        assert not closed(second)
        assert (await lines.ask()).response_code == "00"
        assert lines.iso.counters.connections_refused == 0

    tell(story, connects="bank", extra_s=2.0)


def test_one_that_must_go_elsewhere_is_closed_though_there_is_room() -> None:
    async def story(lines: Lines) -> None:
        await lines.dial()
        await asyncio.sleep(0.1)
        lines.slots.holds_back = True
        second = await lines.dial()
        await asyncio.sleep(lines.link.extra_s + 0.1)
        assert closed(second)
        lines.slots.holds_back = False
        third = await lines.dial()
        await asyncio.sleep(0.1)
        assert not closed(third)
        assert len(lines.bank.asked("001")) == 2

    logs = tell(story, connections=2, connects="bank")
    assert [log["reason"] for log in logs if log["event"] == "link_connection_refused"] == ["extra"]


def test_nobody_else_may_connect() -> None:
    async def story(lines: Lines) -> None:
        stranger = await lines.dial("192.0.2.7")
        await asyncio.sleep(0.1)
        assert closed(stranger)
        assert lines.iso.counters.connections_refused == 1
        await lines.dial()
        await asyncio.sleep(0.1)
        assert (await lines.ask()).response_code == "00"

    logs = tell(story, connects="bank")
    (refused,) = [log for log in logs if log["event"] == "link_connection_refused"]
    assert (refused["reason"], refused["source"]) == ("source", "192.0.2.7")


@pytest.mark.parametrize("error", [TimeoutError(), EdgeError("links.tls_certificate", "ended")])
@pytest.mark.parametrize("made", [False, True])
def test_a_handshake_that_fails_costs_no_keeper(error: Exception, *, made: bool) -> None:
    """`made`: its timer runs out in the turn in which the connection is made."""

    async def story(lines: Lines) -> None:
        assert lines.iso._incoming is not None
        take = lines.iso._incoming._accepts.take

        def take_failing() -> Any:
            arrived: Any = take()
            adopt = arrived.adopt

            async def fail(factory: Callable[[], asyncio.Protocol]) -> None:
                transport = await adopt(factory) if made else None
                if transport is not None:
                    transport.close()
                raise error

            arrived.adopt = fail
            return arrived

        lines.iso._incoming._accepts.take = take_failing  # type: ignore[method-assign]
        await lines.dial()
        await asyncio.sleep(0.1)
        lines.iso._incoming._accepts.take = take  # type: ignore[method-assign]
        await lines.dial()
        await asyncio.sleep(0.1)
        assert (await lines.ask()).response_code == "00"
        assert [usable for _, usable in lines.iso.connections()] == [True]

    tell(story, connects="bank")


@pytest.mark.parametrize("error", [UnicodeError("label empty"), EdgeError("links.tls", "ended")])
def test_a_connection_that_can_not_even_be_tried_is_tried_again(error: Exception) -> None:
    async def story(lines: Lines) -> None:
        await asyncio.sleep(0.1)
        connect = lines.network.connect

        async def fail(*_: Any) -> Any:
            raise error

        lines.network.connect = fail  # type: ignore[method-assign, assignment]
        lines.bank.drop()
        await asyncio.sleep(60)
        lines.network.connect = connect  # type: ignore[method-assign]
        await asyncio.sleep(60)
        assert (await lines.ask()).response_code == "00"

    tell(story)


def test_a_drain_takes_no_more_and_signs_off() -> None:
    async def story(lines: Lines) -> None:
        await lines.dial()
        await asyncio.sleep(0.1)
        await lines.iso.drain(5)
        assert len(lines.bank.asked("002")) == 1
        with pytest.raises(ConnectionRefusedError):
            await lines.dial()

    tell(story, connects="bank")


def test_a_slot_that_ends_leaves_nobody_waiting() -> None:
    async def story(lines: Lines) -> None:
        (slot,) = lines.slots.used.values()
        slot.end(at_once=False)
        await asyncio.sleep(0.1)
        assert not lines.slots.used
        extra = await lines.dial()
        await asyncio.sleep(1.1)
        assert closed(extra)

    tell(story, connects="bank")


# -- pairs ----------------------------------------------------------------------------------------


def pair(receive_on: str) -> dict[str, Any]:
    return {"receive_on": receive_on, "reconnect_s": 0.5}


async def come(lines: Lines) -> None:
    """Its second connection stands, whoever makes it."""
    if lines.link.receive_on == "accepted":
        await lines.dial(make=lines.sender)
    await asyncio.sleep(2)


both_ways = pytest.mark.parametrize("receive_on", ["dialled", "accepted"])


@both_ways
def test_answers_come_on_the_other_connection(receive_on: str) -> None:
    async def story(lines: Lines) -> None:
        if receive_on == "accepted":
            assert not lines.iso.ready
            assert not lines.bank.received  # nothing leaves before both stand
        await come(lines)
        assert (await lines.ask()).response_code == "00"
        (reading,) = [one for one in lines.bank.connections if one not in lines.into]
        assert set(lines.bank.received_on) == {reading}

    tell(story, **pair(receive_on))


@both_ways
def test_what_the_bank_asks_is_answered_on_ours(receive_on: str) -> None:
    async def story(lines: Lines) -> None:
        await come(lines)
        lines.said(lines.into[-1], "301")
        await asyncio.sleep(0.1)
        assert [answer[70] for answer in lines.bank.answered_to_us] == ["301"]

    tell(story, **pair(receive_on))


@both_ways
def test_where_its_connection_drops_nothing_leaves(receive_on: str) -> None:
    async def story(lines: Lines) -> None:
        await come(lines)
        (reading,) = [one for one in lines.bank.connections if one not in lines.into]
        transport = lines.into[-1].transport
        assert transport is not None
        transport.close()
        await asyncio.sleep(0.1)
        with pytest.raises(NotSentError, match="link_down"):
            await lines.ask()
        await come(lines)
        assert (await lines.ask()).response_code == "00"
        assert not closed(reading)  # ours has stayed

    tell(story, **pair(receive_on))


@both_ways
def test_who_takes_no_bytes_takes_none_for_the_next_connection_either(receive_on: str) -> None:
    async def story(lines: Lines) -> None:
        await come(lines)
        (connection,) = lines.iso._pool.ready
        ours: Any = connection
        ours._pair._out.pause_writing()
        transport = lines.into[-1].transport
        assert transport is not None
        transport.close()
        await asyncio.sleep(0.1)
        await come(lines)
        with pytest.raises(NotSentError, match="backpressure"):
            await lines.ask()
        ours._pair._out.resume_writing()
        assert (await lines.ask()).response_code == "00"

    tell(story, **pair(receive_on))


@both_ways
def test_an_answer_comes_though_ours_has_dropped(receive_on: str) -> None:
    async def story(lines: Lines) -> None:
        await come(lines)
        lines.bank.delay_s = 1.5  # by then ours stands again, or not
        asked = asyncio.create_task(lines.ask())
        await asyncio.sleep(0.1)
        (reading,) = [one for one in lines.bank.connections if one not in lines.into]
        assert reading.transport is not None
        reading.transport.abort()
        await asyncio.sleep(0.1)
        assert not lines.iso.ready
        assert (await asked).response_code == "00"
        lines.bank.delay_s = 0.0
        await asyncio.sleep(3)
        assert len(lines.into) == 1  # its own has stayed
        assert (await lines.ask()).response_code == "00"

    tell(story, **pair(receive_on))


@both_ways
def test_echoes_show_that_both_directions_live(receive_on: str) -> None:
    async def story(lines: Lines) -> None:
        await come(lines)
        for _ in range(6):  # the bank is heard all the time
            lines.said(lines.into[-1], "301")
            await asyncio.sleep(10)
        assert 1 <= len(lines.bank.asked("301")) <= 3
        lines.bank.silent.add("301")
        for _ in range(8):
            if not lines.iso.ready:
                break
            lines.said(lines.into[-1], "201")
            await asyncio.sleep(10)
        assert lines.iso.counters.connections_lost == 1

    tell(story, **pair(receive_on))


def test_what_comes_on_the_wrong_one_ends_it() -> None:
    async def story(lines: Lines) -> None:
        await come(lines)
        (reading,) = [one for one in lines.bank.connections if one not in lines.into]
        lines.said(reading, "301")
        await asyncio.sleep(0.1)
        assert closed(reading)
        assert not lines.iso.ready
        await asyncio.sleep(3)
        assert (await lines.ask()).response_code == "00"

    logs = tell(story, **pair("dialled"))
    assert [log["event"] for log in logs].count("link_simplex_broken") == 1


def test_two_pairs_hear_each_others_answers() -> None:
    async def story(lines: Lines) -> None:
        await asyncio.sleep(2)
        assert len(lines.into) == 2
        assert len(lines.bank.asked("001")) == 2  # both answers came on one of them
        assert len(lines.iso._pool.ready) == 2
        answers = await asyncio.gather(*(lines.ask() for _ in range(10)))
        assert {answer.response_code for answer in answers} == {"00"}

    tell(story, connections=2, **pair("dialled"))


@both_ways
def test_a_pair_ends_whole(receive_on: str) -> None:
    async def story(lines: Lines) -> None:
        await come(lines)
        await lines.iso.drain(5)
        await asyncio.sleep(0.5)
        assert len(lines.bank.asked("002")) == 1
        assert not lines.bank.connections

    tell(story, **pair(receive_on))


@both_ways
def test_a_half_whose_slot_ends_is_closed(receive_on: str) -> None:
    async def story(lines: Lines) -> None:
        await come(lines)
        transport = lines.into[-1].transport
        assert transport is not None
        lines.network.stop_listening(*INTO)
        transport.close()
        await asyncio.sleep(0.2)
        (slot,) = lines.slots.used.values()
        slot.end(at_once=False)
        await asyncio.sleep(3)
        assert not lines.bank.connections

    tell(story, **pair(receive_on))


@both_ways
def test_a_half_that_is_being_made_as_its_slot_ends_is_closed_at_once(receive_on: str) -> None:
    """A process that has stood still dials as it wakes, and hears only then that its slot is another's."""

    async def story(lines: Lines) -> None:
        await come(lines)
        closing: list[bool] = []
        lines.network.on_connect = lambda made: closing.append(made.client.is_closing())
        lines.bank.drop()
        while not lines.dials.dialling:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)
        (slot,) = lines.slots.used.values()
        slot.end(at_once=True)
        await asyncio.sleep(3)
        assert closing == [True]

    tell(story, **pair(receive_on))
