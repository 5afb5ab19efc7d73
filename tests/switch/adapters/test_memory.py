"""The in-memory store's faults: what stands after a crash before or after, and a lost answer.

In virtual time; what the store promises otherwise is the contract suite's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from switch.adapters.memory import MemoryStore
from switch.adapters.memory.faults import Faults, LostAcknowledgementError
from switch.journal import Commit, Duplicate, Lost, StoreDownError
from switch.virtual.loop import run_virtual
from tests.contract.worlds import (
    StepClock,
    approve,
    key,
    look,
    outcome,
    request,
    reverse,
    stored,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Script(Faults):
    """Does what it is told at the next commits, one word each."""

    def __init__(self, *before: str, after: tuple[str, ...] = ()) -> None:
        self.words_before = list(before)
        self.words_after = list(after)

    async def before(self, commit: Commit | None) -> None:
        await self._do(self.words_before)

    async def after(self, commit: Commit | None) -> None:
        await self._do(self.words_after)

    async def _do(self, words: list[str]) -> None:
        match words.pop(0) if words else "":
            case "lose":
                raise LostAcknowledgementError
            case "down":
                raise StoreDownError
            case "hang":
                await asyncio.sleep(3600)


def run(scenario: Coroutine[None, None, None]) -> None:
    run_virtual(scenario)


def test_a_lost_answer_is_asked_for_again() -> None:
    async def scenario() -> None:
        store = MemoryStore(StepClock(), faults=Script(after=("lose", "lose", "", "lose")))
        date = await approve(store, 1)
        assert store.reruns == 3
        assert await store.journal.commit(Commit(outcome=outcome(1, date))) == Lost(1)
        store.faults = Script("lose", after=("", "lose"))
        assert isinstance(await store.journal.commit(Commit(request=request(2, stan=1))), Duplicate)
        judgement, verdict = await reverse(store, key(1), 100)
        assert (judgement.rule, stored(verdict)) == ("reversed", date)
        assert len((await look(store, 1)).reversals) == 1

    run(scenario())


def test_a_store_that_is_down_takes_nothing() -> None:
    async def scenario() -> None:
        store = MemoryStore(StepClock(), faults=Script("down", "", "down"))
        with pytest.raises(StoreDownError):
            await store.journal.commit(Commit(request=request(1)))
        assert store.requests == {}
        stored(await store.journal.commit(Commit(request=request(1))))
        with pytest.raises(StoreDownError):
            await reverse(store, key(1), 100)
        assert (await look(store, 1)).reversals == ()

    run(scenario())


@pytest.mark.parametrize("stands", [False, True])
def test_a_process_that_dies_leaves_all_or_nothing(stands: bool) -> None:
    async def scenario() -> None:
        faults = Script(after=("hang",)) if stands else Script("hang")
        store = MemoryStore(StepClock(), faults=faults)
        task = asyncio.create_task(store.journal.commit(Commit(request=request(1))))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await store.journal.find_request(key(1)) is not None) == stands

    run(scenario())
