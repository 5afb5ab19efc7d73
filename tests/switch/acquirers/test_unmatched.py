"""Answers that count for no request: what is told of them, the request that they look like, the bound.

The link in virtual time against a bank that answers what it should not; and properties of the likeness.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from switch.acquirers.unmatched import (
    NEAR,
    WEIGHTS,
    Bound,
    Difference,
    differences,
    likeness,
    most_like,
    shown,
)
from tests.switch.acquirers.test_iso8583_link import ask, not_answered, tell
from tests.switch.acquirers.test_siblings import original_of
from tests.switch.acquirers.wire import FAR_NS, answer_to, make_link

if TYPE_CHECKING:
    from iso8583.message import Message
    from switch.acquirers.unmatched import UnmatchedAnswer
    from tests.switch.acquirers.wire import World


def send(world: World, message: Message) -> None:
    world.bank.connections[0].send(message)


async def told(world: World) -> UnmatchedAnswer:
    await asyncio.sleep(1)
    (answer,) = world.unmatched
    return answer


def nearest_of(answer: UnmatchedAnswer) -> tuple[int, int | None, str]:
    assert answer.nearest is not None
    return answer.nearest.request_id, answer.nearest.attempt, answer.nearest.state


# -- why it does not count --------------------------------------------------------------------------


def test_no_match_is_told_with_the_nearest_request_and_what_differs() -> None:
    async def story(world: World) -> None:
        world.bank.silent.add("0200")
        message, attempt = world.message()
        request = asyncio.ensure_future(answer_to(world.iso, message, attempt, FAR_NS))
        other, other_attempt = world.message(de_4="000000020000")
        others = asyncio.ensure_future(answer_to(world.iso, other, other_attempt, FAR_NS))
        await asyncio.sleep(1)
        answer = world.bank.answer(message) | {7: "0101000000", 37: "606000999999"}
        send(world, answer)
        kept = await told(world)
        assert (kept.reason, kept.mti, kept.response_code, kept.slot) == (
            "unmatched", "0210", "00", 1,
        )  # fmt: skip
        assert nearest_of(kept) == (attempt.request_id, 1, "pending")
        assert kept.differences == (
            Difference(7, str(message[7]), "0101000000"),
            Difference(37, str(message[37]), "606000999999"),
        )
        assert world.iso.counters.unmatched == 1
        for waiting in (request, others):
            waiting.cancel()

    tell(story)


def test_elements_are_masked() -> None:
    async def story(world: World) -> None:
        await ask(world)
        send(
            world,
            world.bank.answer(world.bank.received[-1]) | {2: "6222020000000000012", 11: "777777"},
        )
        kept = await told(world)
        assert kept.elements["2"] == "622202*********0012"
        assert "6222020000000000012" not in repr(kept)
        assert not {"52", "35", "55"} & kept.elements.keys()

    tell(story)


def test_a_card_that_differs_is_masked_on_both_sides() -> None:
    assert differences({2: "6222020000000000004"}, {2: "6222020000000000012"}) == (
        Difference(2, "622202*********0004", "622202*********0012"),
    )


@pytest.mark.parametrize(
    ("reason", "change", "detail"),
    [
        ("mismatch", {4: "000000009900"}, "DE 4 differs"),
        ("mismatch", {41: "10000002"}, "DE 41 differs"),
    ],
)
def test_what_contradicts_its_request(reason: str, change: Message, detail: str) -> None:
    async def story(world: World) -> None:
        world.bank.change = lambda message: message | change if message[0] == "0210" else message
        await not_answered(world)
        kept = await told(world)
        assert (kept.reason, kept.detail) == (reason, detail)
        assert [one.de for one in kept.differences] == list(change)
        assert nearest_of(kept)[2] == "pending"

    tell(story)


def test_a_wrong_mac_is_kept_for_what_it_may_be() -> None:
    async def story(world: World) -> None:
        world.bank.sign = lambda mac: bytes(8)
        await not_answered(world)
        kept = await told(world)
        assert (kept.reason, kept.differences) == ("mac", ())
        assert nearest_of(kept)[2] == "pending"

    tell(story)


def test_late_then_twice() -> None:
    async def story(world: World) -> None:
        world.bank.delay_s = 31
        await not_answered(world)
        await asyncio.sleep(2)
        send(world, world.bank.answer(world.bank.received[-1]))
        await asyncio.sleep(1)
        assert [one.reason for one in world.unmatched] == ["late", "twice"]
        assert [nearest_of(one)[2] for one in world.unmatched] == ["expired"] * 2
        assert [reason for _, _, reason in world.late] == ["late"]  # it says nothing new

    tell(story)


def test_a_late_approval_after_a_late_decline_is_told() -> None:
    async def story(world: World) -> None:
        world.bank.silent.add("0200")
        await not_answered(world)
        late = world.bank.answer(world.bank.received[-1])
        send(world, late | {39: "05"})
        await asyncio.sleep(1)
        send(world, late)
        await asyncio.sleep(1)
        assert [message[39] for _, message, _ in world.late] == ["05", "00"]

    tell(story)


def test_an_answer_to_what_has_its_answer() -> None:
    async def story(world: World) -> None:
        await ask(world)
        send(world, world.bank.answer(world.bank.received[-1]))
        assert (await told(world)).reason == "twice"
        assert (world.iso.counters.twice, world.iso.counters.unmatched) == (1, 0)

    tell(story)


def test_an_answer_to_what_has_its_answer_is_no_other_requests_however_alike() -> None:
    async def story(world: World) -> None:
        await ask(world)
        first = world.bank.answer(world.bank.received[-1])
        world.bank.silent.add("0200")
        waits = asyncio.create_task(ask(world))  # of the same card, shop and amount
        await asyncio.sleep(1)
        send(world, first)
        kept = await told(world)
        assert (kept.reason, kept.nearest, kept.differences) == ("twice", None, ())
        waits.cancel()

    tell(story)


def test_a_late_answer_to_a_reversal_names_its_original() -> None:
    async def story(world: World) -> None:
        world.bank.delay_s = 31
        request, attempt = world.message()
        reversal, _ = world.message(de_0="0420")
        delivery = world.iso.deliver(reversal, original_of(request, attempt), 0.0, FAR_NS)
        await asyncio.gather(delivery, return_exceptions=True)
        await asyncio.sleep(1)
        kept = await told(world)
        assert kept.reason == "late"
        assert nearest_of(kept)[1:] == (None, "expired")

    tell(story)


def test_what_can_not_be_read_is_kept_without_its_elements() -> None:
    async def story(world: World) -> None:
        world.bank.connections[0].send_body(b"0210 no bitmap")
        kept = await told(world)
        assert (kept.reason, kept.elements, kept.nearest) == ("undecodable", {}, None)
        assert kept.detail

    tell(story)


def test_an_0810_to_nothing_of_ours() -> None:
    async def story(world: World) -> None:
        send(world, {0: "0810", 7: "0301000000", 11: "000777", 32: "1", 39: "00", 70: "301"})
        kept = await told(world)
        assert (kept.reason, kept.mti, kept.stan) == ("unmatched", "0810", "000777")

    tell(story)


# -- a flood ----------------------------------------------------------------------------------------


def test_a_flood_is_kept_so_far_and_counted() -> None:
    async def story(world: World) -> None:
        await ask(world)
        stray = world.bank.answer(world.bank.received[-1])
        for number in range(1_000):
            send(world, stray | {11: f"{number:06}"})
        await asyncio.sleep(2)
        send(world, stray | {11: "777777"})
        await asyncio.sleep(1)
        first, last = world.unmatched[:-1], world.unmatched[-1]
        assert len(first) == 3
        assert last.dropped == 997
        assert world.iso.counters.unmatched_dropped == 997
        assert world.iso.counters.unmatched + world.iso.counters.twice == 1_001
        assert len(world.late) <= 2 * 256  # the journal is asked about so many a second

    tell(story, make_link(unmatched_per_s=3))


@given(st.lists(st.floats(0, 2, allow_nan=False), max_size=60), st.integers(0, 4))
def test_the_bound_holds_in_every_second_and_loses_no_count(
    pauses_s: list[float], per_s: int
) -> None:
    bound, now_s, told_of = Bound(), 0.0, 0
    taken: dict[int, int] = {}
    for pause_s in pauses_s:
        now_s += pause_s
        if bound.takes(now_s, per_s):
            taken[int(now_s)] = taken.get(int(now_s), 0) + 1
            told_of += bound.told()
    assert all(count <= per_s for count in taken.values())
    assert sum(taken.values()) + told_of + bound.told() == len(pauses_s)


# -- likeness ---------------------------------------------------------------------------------------

messages = st.dictionaries(st.sampled_from(sorted(WEIGHTS)), st.sampled_from("ab"), max_size=10)


@given(messages, messages)
def test_likeness_and_differences_are_two_sides_of_one_thing(
    request: Message, answer: Message
) -> None:
    differ = {one.de for one in differences(request, answer)}
    same = {de for de in request if de in answer and request[de] == answer[de]}
    assert differ | same == set(request)
    assert not differ & same
    assert likeness(request, answer) == likeness(answer, request) == sum(WEIGHTS[de] for de in same)


@given(st.lists(messages, max_size=6), messages)
def test_the_nearest_is_the_first_of_the_most_like(
    requests: list[Message], answer: Message
) -> None:
    at = most_like(requests, answer)
    likes = [likeness(request, answer) for request in requests]
    if at is None:
        assert max(likes, default=0) < NEAR
    else:
        assert likes[at] == max(likes) >= NEAR
        assert likes.index(max(likes)) == at


def test_one_that_has_only_the_shop_in_common_is_not_near() -> None:
    request: Message = {11: "000001", 37: "A", 41: "10000001", 32: "1", 33: "", 49: "156", 3: "0"}
    assert most_like([request], request | {11: "000002", 37: "B"}) is None


def test_what_is_shown_has_no_control_characters() -> None:
    assert shown({0: "0210", 44: "a\x00b\n"}, "iso1987")["44"] == "a\ufffdb\ufffd"
