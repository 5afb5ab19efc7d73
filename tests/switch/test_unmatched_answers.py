"""Gathering answers that count for nothing: together, bounded, through an outage, at the end of a drain."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from structlog.testing import capture_logs

from switch import unmatched_answers
from switch.acquirers.unmatched import Nearest
from switch.journal import StoreDownError
from switch.rows import Standing
from switch.unmatched_answers import UnmatchedAnswers
from switch.virtual.loop import run_virtual
from tests.contract.test_link_facts import ANSWER
from tests.switch.acquirers.wire import VirtualClock
from tests.switch.rows import ATTEMPT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from switch.journal import AttemptRow
    from switch.store_ports import UnmatchedRow

STRANGE = msgspec.structs.replace(ANSWER, nearest=None)


class Store:
    """`LinkFacts` and what of the journal is asked."""

    def __init__(self) -> None:
        self.groups: list[Sequence[UnmatchedRow]] = []
        self.down = False
        self.broken = False
        self.known: dict[str, AttemptRow] = {}
        self.queued: dict[str, int] = {}

    async def keep_unmatched(self, rows: Sequence[UnmatchedRow]) -> None:
        await asyncio.sleep(0.01)
        if self.down:
            raise StoreDownError("away")
        if self.broken:
            raise ValueError("a bug")
        self.groups.append(rows)

    async def find_attempt(
        self, _acquirer: str, stan: str, _time: str
    ) -> tuple[AttemptRow, dt.date] | None:
        found = self.known.get(stan)
        return None if found is None else (found, dt.date(2026, 3, 1))

    async def find_queued(self, _acquirer: str, stan: str, _time: str) -> int | None:
        return self.queued.get(stan)


def tell(story: Callable[[UnmatchedAnswers, Store], Awaitable[None]]) -> list[Any]:
    async def main() -> None:
        store: Any = Store()
        await story(UnmatchedAnswers(store, store, VirtualClock(), Standing()), store)

    with capture_logs() as logs:
        run_virtual(main())
    return logs


def seqs(store: Store) -> list[list[int]]:
    return [[row.seq for row in group] for group in store.groups]


def test_those_of_a_second_are_written_together() -> None:
    async def story(answers: UnmatchedAnswers, store: Store) -> None:
        for _ in range(3):
            answers.take(ANSWER)
            await asyncio.sleep(0.3)
        await asyncio.sleep(2)
        answers.take(ANSWER)
        await asyncio.sleep(2)
        assert seqs(store) == [[1, 2, 3], [4]]

    tell(story)


def test_an_outage_costs_no_row_until_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unmatched_answers, "WAITING_MAX", 3)

    async def story(answers: UnmatchedAnswers, store: Store) -> None:
        store.down = True
        for _ in range(5):
            answers.take(ANSWER)
        await asyncio.sleep(10)
        store.down = False
        await asyncio.sleep(40)
        answers.take(ANSWER)
        await asyncio.sleep(2)
        assert seqs(store) == [[1, 2, 3], [4]]
        assert [row.answer.dropped for group in store.groups for row in group] == [0, 0, 0, 2]

    tell(story)


def test_a_request_that_only_the_journal_knows_is_named() -> None:
    async def story(answers: UnmatchedAnswers, store: Store) -> None:
        store.known[STRANGE.stan] = ATTEMPT
        answers.take(STRANGE)
        answers.take(msgspec.structs.replace(STRANGE, stan="999999"))
        await asyncio.sleep(2)
        ((known, strange),) = store.groups
        assert known.answer.nearest == Nearest(ATTEMPT.request_id, ATTEMPT.attempt, "stored")
        assert strange.answer.nearest is None

    tell(story)


def test_its_own_numbers_say_more_than_what_it_looks_like() -> None:
    async def story(answers: UnmatchedAnswers, store: Store) -> None:
        store.known[ANSWER.stan] = ATTEMPT
        mismatch = msgspec.structs.replace(ANSWER, reason="mismatch")
        for answer in (ANSWER, mismatch):
            answers.take(answer)
        await asyncio.sleep(2)
        ((guessed, matched),) = store.groups
        assert guessed.answer.nearest == Nearest(ATTEMPT.request_id, ATTEMPT.attempt, "stored")
        assert guessed.answer.differences == ()
        assert matched.answer == mismatch  # its request is in memory

    tell(story)


def test_whose_reversal_it_answers_is_named_where_it_is_no_attempts() -> None:
    async def story(answers: UnmatchedAnswers, store: Store) -> None:
        store.queued[ANSWER.stan] = 88
        answers.take(msgspec.structs.replace(ANSWER, mti="0430"))
        await asyncio.sleep(2)
        ((row,),) = store.groups
        assert row.answer.nearest == Nearest(88, None, "stored")
        assert row.answer.differences == ()

    tell(story)


def test_what_can_not_be_stored_is_not_tried_for_ever() -> None:
    async def story(answers: UnmatchedAnswers, store: Store) -> None:
        store.broken = True
        answers.take(ANSWER)
        await asyncio.sleep(2)
        store.broken = False
        answers.take(ANSWER)
        await asyncio.sleep(2)
        assert seqs(store) == [[2]]

    assert [each["event"] for each in tell(story)] == ["unmatched_answers_not_stored"]


@pytest.mark.parametrize("down", [False, True])
def test_a_drain_writes_what_waits(down: bool) -> None:
    async def story(answers: UnmatchedAnswers, store: Store) -> None:
        store.down = down
        answers.take(ANSWER)
        started_s = asyncio.get_running_loop().time()
        await answers.drain(5.0)
        assert asyncio.get_running_loop().time() - started_s < 1
        assert seqs(store) == ([] if down else [[1]])

    assert bool(tell(story)) is down
