"""The hand-over between two workers of a node, in virtual time.

Two links of one bank, each with its `Siblings`, joined by a stream in memory. The first worker has the
connections that a test gives it; what the second does on them must look to it like connections of its
own, and be unknown where nobody can say what happened.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec
import pytest
from structlog.testing import capture_logs

from switch.acquirers.ports import NoAnswerError, NotSentError
from switch.acquirers.sibling_messages import Came, Unpacker, pack
from switch.acquirers.siblings import Siblings
from switch.config import Handover
from switch.virtual.loop import Process, run_virtual
from switch.virtual.network import Network
from switch.virtual.ports import LocalTransport
from terminals.simulator.dice import Dice
from tests.switch import rows
from tests.switch.acquirers.test_iso8583_link import ask, loop_time
from tests.switch.acquirers.wire import FAR_NS, Bank, MemoryNumbers, World, answer_to, make_link

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from iso8583.message import Message
    from switch.journal import AttemptRow, Original
    from switch.reference import Link


class Pair:
    """Two workers of one node: `owner` has connections, `other` as many as asked."""

    def __init__(self, link: Link, owner_connections: int, other_connections: int) -> None:
        bank = Bank(link)
        network = Network(Dice(1))
        self.siblings = [
            Siblings(
                worker, 2, Path("/run"), LocalTransport(network, Process(str(worker))), Handover()
            )
            for worker in range(2)
        ]
        self.owner, self.other = (
            World(
                link,
                connections=connections,
                numbers=MemoryNumbers(first),
                bank=bank,
                siblings=siblings,
            )
            for connections, first, siblings in zip(
                (owner_connections, other_connections), (0, 5_000), self.siblings, strict=True
            )
        )
        self.bank = bank

    async def __aenter__(self) -> Self:
        for siblings in self.siblings:
            await siblings.start()
        for world in (self.owner, self.other):
            await world.iso.start()
        await asyncio.sleep(1)
        return self

    async def __aexit__(self, *_: object) -> None:
        for world in (self.owner, self.other):
            await world.iso.stop()
        for siblings in self.siblings:
            await siblings.stop()

    def part(self) -> None:
        """The stream between the workers ends, and no other is made."""
        for siblings in self.siblings:
            for keeper in siblings._keepers:
                keeper.cancel()
            for sibling in siblings._siblings.values():
                sibling.abort()


def original_of(request: Message, attempt: AttemptRow) -> Original:
    key = msgspec.structs.replace(rows.KEY, terminal=str(request[41]))
    return rows.original(
        request=msgspec.structs.replace(rows.REQUEST, key=key), attempts=(attempt,)
    )


def tell(
    story: Callable[[Pair], Awaitable[None]],
    *,
    link: Link | None = None,
    owner: int = 1,
    other: int = 0,
) -> None:
    async def main() -> None:
        async with Pair(link or make_link(), owner, other) as pair:
            await story(pair)

    with capture_logs():
        run_virtual(main())


def test_a_worker_without_a_connection_asks_through_its_sibling() -> None:
    async def story(pair: Pair) -> None:
        assert pair.other.iso.ready
        assert (await ask(pair.other)).response_code == "00"
        assert (await ask(pair.owner)).response_code == "00"
        assert len(pair.bank.connections) == 1
        assert pair.other.iso.counters.connections_opened == 0
        assert pair.other.iso.counters.answered == pair.owner.iso.counters.answered == 1

    tell(story)


def test_its_own_connection_comes_first() -> None:
    async def story(pair: Pair) -> None:
        for _ in range(4):
            await ask(pair.other)
        own = {id(connection) for connection in pair.bank.received_on[-4:]}
        await ask(pair.owner)
        assert len(own) == 1
        assert id(pair.bank.received_on[-1]) not in own

    tell(story, other=1)


def test_without_the_siblings_connection_the_link_is_down() -> None:
    async def story(pair: Pair) -> None:
        pair.owner.transport.down = True
        pair.bank.drop()
        await asyncio.sleep(0.5)
        assert not pair.other.iso.ready
        with pytest.raises(NotSentError, match="link_down"):
            await ask(pair.other)
        pair.owner.transport.down = False
        await asyncio.sleep(60)
        assert (await ask(pair.other)).response_code == "00"

    tell(story)


def test_a_sibling_that_hangs_is_handed_nothing() -> None:
    """Its stream is open and its connections are announced: only the beat is missing."""

    async def story(pair: Pair) -> None:
        hangs = pair.siblings[0]
        beat = next(keeper for keeper in hangs._keepers if keeper.get_name() == "siblings' beat")
        await asyncio.sleep(60)
        assert pair.other.iso.ready
        beat.cancel()
        await asyncio.sleep(Handover().silent_s + 0.1)
        assert not pair.other.iso.ready
        with pytest.raises(NotSentError, match="link_down"):
            await ask(pair.other)
        hangs._keepers.append(asyncio.create_task(hangs._beat()))
        await asyncio.sleep(Handover().beat_s + 0.1)
        assert (await ask(pair.other)).response_code == "00"

    tell(story)


def test_what_is_handed_over_as_its_connection_retires_is_still_sent() -> None:
    """The sibling has not heard yet; and the connection waits for that answer too."""

    async def story(pair: Pair) -> None:
        pair.bank.delay_s = 3.0
        pair.owner.slots.used[1].end(at_once=False)
        assert (await ask(pair.other)).response_code == "00"
        assert not pair.other.iso.ready
        await asyncio.sleep(10)
        assert not pair.bank.connections

    tell(story)


def test_what_came_too_late_at_the_owner_was_certainly_not_sent() -> None:
    async def story(pair: Pair) -> None:
        message, attempt = pair.other.message()
        soon_ns = int(loop_time() * 1e9) + 1_000  # the way between the workers takes longer
        with pytest.raises(NotSentError, match="send_by_passed"):
            await answer_to(pair.other.iso, message, attempt, soon_ns)
        assert not pair.bank.seen("0200")

    tell(story)


def test_a_sibling_that_is_gone_leaves_the_request_unknown() -> None:
    async def story(pair: Pair) -> None:
        pair.bank.silent.add("0200")
        asking = asyncio.create_task(ask(pair.other))
        await asyncio.sleep(0.5)
        assert pair.bank.seen("0200")
        began_s = loop_time()
        pair.part()
        with pytest.raises(NoAnswerError):
            await asking
        assert loop_time() - began_s == pytest.approx(pair.other.link.timeout_s - 0.5, abs=0.01)
        assert not pair.other.iso.ready

    tell(story)


def test_an_answer_on_a_siblings_connection_finds_its_request() -> None:
    async def story(pair: Pair) -> None:
        first, second = pair.bank.connections
        pair.bank.answer_on = lambda used: second if used is first else first
        assert (await ask(pair.other)).response_code == "00"
        assert (await ask(pair.owner)).response_code == "00"
        assert pair.owner.iso.counters.unmatched == pair.other.iso.counters.unmatched == 0

    tell(story, other=1)


def test_an_answer_to_nothing_is_asked_around_and_then_unmatched() -> None:
    async def story(pair: Pair) -> None:
        message, _ = pair.owner.message()
        pair.bank.connections[0].send(pair.bank.answer(message))
        await asyncio.sleep(2)
        assert pair.owner.iso.counters.unmatched == 1
        assert [reason for _, _, reason in pair.owner.late] == ["late"]
        assert not pair.other.late

    tell(story)


def test_a_late_answer_goes_to_the_worker_that_asked() -> None:
    async def story(pair: Pair) -> None:
        pair.bank.delay_s = pair.other.link.timeout_s + 5
        with pytest.raises(NoAnswerError):
            await ask(pair.other)
        await asyncio.sleep(10)
        assert [reason for _, _, reason in pair.other.late] == ["late"]
        assert not pair.owner.late

    tell(story)


def test_a_reversal_that_the_owner_gave_up_is_answered_to_who_sends_it_now() -> None:
    """Its numbers never change, so two workers may have sent it, one after the other."""

    async def story(pair: Pair) -> None:
        request, attempt = pair.owner.message()
        await answer_to(pair.owner.iso, request, attempt, FAR_NS)
        reversal, _ = pair.owner.message(de_0="0420")
        original = original_of(request, attempt)
        pair.bank.silent.add("0420")
        with pytest.raises(NoAnswerError):
            await pair.owner.iso.deliver(reversal, original, loop_time(), FAR_NS)
        pair.bank.silent.clear()
        again = {**reversal, 0: "0421"}
        delivery = await pair.other.iso.deliver(again, original, loop_time(), FAR_NS)
        assert delivery.answer.response_code == "00"

    tell(story)


def test_a_refund_that_the_owner_gave_up_is_answered_to_who_repeats_it() -> None:
    """Its repeat has the numbers of the first try, which the owner still knows as its own."""

    async def story(pair: Pair) -> None:
        refund, attempt = pair.owner.message(de_0="0220")
        pair.bank.silent.add("0220")
        with pytest.raises(NoAnswerError):
            await answer_to(pair.owner.iso, refund, attempt, FAR_NS)
        again = {**refund, 0: "0221"}
        original = original_of(refund, attempt)
        delivery = await pair.other.iso.deliver(again, original, loop_time(), FAR_NS)
        assert delivery.answer.response_code == "00"
        assert not pair.owner.late

    tell(story)


def test_a_reversal_follows_its_original_over_the_same_connection() -> None:
    """On another it might overtake, and 25 would never be the last word (rules §8)."""

    async def story(pair: Pair) -> None:
        pair.bank.response_codes["0420"] = ["25"]
        for _ in range(4):
            request, attempt = pair.other.message()
            await answer_to(pair.other.iso, request, attempt, FAR_NS)
            used = pair.bank.received_on[-1]
            reversal, _ = pair.other.message(de_0="0420")
            delivery = await pair.other.iso.deliver(
                reversal, original_of(request, attempt), loop_time(), FAR_NS
            )
            assert pair.bank.received_on[-1] is used
            assert (delivery.answer.response_code, delivery.overtook) == ("25", False)

    tell(story, owner=3)


def test_a_25_is_not_final_where_the_closing_is_forgotten() -> None:
    """A bank that flaps: more connections have closed since than are remembered."""

    async def story(pair: Pair) -> None:
        pair.bank.response_codes["0420"] = ["25"]
        request, attempt = pair.owner.message()
        await answer_to(pair.owner.iso, request, attempt, FAR_NS)
        pair.bank.drop()
        await asyncio.sleep(60)
        closed = pair.owner.iso._pool._closed_at
        assert len(closed) == 1
        closed.clear()
        reversal, _ = pair.owner.message(de_0="0420")
        original = original_of(request, attempt)
        delivery = await pair.owner.iso.deliver(reversal, original, loop_time(), FAR_NS)
        assert (delivery.answer.response_code, delivery.overtook) == ("25", True)

    tell(story)


def test_while_the_owner_drains_what_was_handed_in_is_still_answered() -> None:
    async def story(pair: Pair) -> None:
        pair.bank.delay_s = 3.0
        asking = asyncio.create_task(ask(pair.other))
        await asyncio.sleep(0.5)
        draining = asyncio.create_task(pair.owner.iso.drain(20.0))
        await asyncio.sleep(0.5)
        assert not pair.other.iso.ready
        assert (await asking).response_code == "00"
        await draining

    tell(story)


def test_a_message_over_the_bound_is_not_read() -> None:
    with pytest.raises(ValueError, match="message of"):
        Unpacker(10).receive(pack(Came("bank_a", bytes(100))))
