"""Answers that count for no request, in every store: kept once, read newest first, narrowed."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from switch.acquirers.unmatched import REASONS, Difference, Nearest, UnmatchedAnswer
from switch.store_ports import UnmatchedRow, UnmatchedWanted
from tests.contract.worlds import NOW

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.contract.worlds import World

    Run = Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]

ANSWER = UnmatchedAnswer(
    acquirer="bank_a",
    slot=1,
    reason="unmatched",
    detail="",
    mti="0210",
    stan="000123",
    transmission_time="0301120000",
    rrn="606000000123",
    response_code="00",
    elements={"0": "0210", "2": "622202*********0004", "43": "Caf\u00e9 \u6d4b\u8bd5"},
    nearest=Nearest(77, 1, "pending"),
    differences=(Difference(37, "606000000124", "606000000123"), Difference(41, "1", "")),
    dropped=0,
)


def row(seq: int, **changes: Any) -> UnmatchedRow:
    answer = msgspec.structs.replace(ANSWER, **changes)
    return UnmatchedRow(5, seq, NOW + dt.timedelta(seconds=seq), answer)


def test_what_is_kept_is_read_again_newest_first(run: Run) -> None:
    async def scenario(world: World) -> None:
        facts = (await world.process()).link_facts
        rows = [
            row(1),
            row(2, nearest=None, differences=(), reason="undecodable", elements={}, detail="DE 4"),
            row(3, acquirer="bank_b", nearest=Nearest(78, None, "expired"), dropped=9, slot=0),
        ]
        await facts.keep_unmatched(rows)
        assert await facts.unmatched(UnmatchedWanted(), 10) == rows[::-1]
        assert await facts.unmatched(UnmatchedWanted(), 2) == rows[:0:-1]
        assert await facts.unmatched(UnmatchedWanted(acquirer="bank_b"), 10) == rows[2:]
        assert await facts.unmatched(UnmatchedWanted(reason="undecodable"), 10) == rows[1:2]
        assert await facts.unmatched(UnmatchedWanted(request_id=77), 10) == rows[:1]
        assert await facts.unmatched(UnmatchedWanted(since=rows[1].received_at), 10) == rows[:0:-1]

    run(scenario)


def test_a_write_that_is_made_again_keeps_nothing_twice(run: Run) -> None:
    async def scenario(world: World) -> None:
        facts = (await world.process()).link_facts
        await facts.keep_unmatched([row(1)])
        await facts.keep_unmatched([row(1), row(2)])
        assert [each.seq for each in await facts.unmatched(UnmatchedWanted(), 10)] == [2, 1]

    run(scenario)


def test_every_reason_is_known_to_the_store(run: Run) -> None:
    async def scenario(world: World) -> None:
        facts = (await world.process()).link_facts
        await facts.keep_unmatched([row(at, reason=reason) for at, reason in enumerate(REASONS)])
        found = await facts.unmatched(UnmatchedWanted(), 10)
        assert {each.answer.reason for each in found} == set(REASONS)

    run(scenario)
