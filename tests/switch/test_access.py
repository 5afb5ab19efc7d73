"""What is remembered of terminals: how long former keys stay good, and whom a full cache forgets."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from switch.access import Access, AccessCache
from switch.adapters.memory import MemoryStore
from switch.store_ports import Session
from switch.virtual.loop import run_virtual
from tests.contract.worlds import StepClock

NOON = dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC)


def session(number: int, *, confirmed: bool) -> Session:
    return Session(
        session_id=number,
        merchant="M" * 15,
        terminal="T" * 8,
        layout="003",
        pik="",
        mak="",
        tdk=None,
        created_at=NOON,
        confirmed=confirmed,
    )


@pytest.mark.parametrize(
    ("age_s", "confirmed", "usable"),
    [
        (0, False, [2, 1]),
        (5, False, [2, 1]),
        (6, False, [2]),
        (0, True, [2]),  # a message has verified under the new set
    ],
)
def test_the_former_set_ends_by_use_or_by_age(
    age_s: int, confirmed: bool, usable: list[int]
) -> None:
    access = Access([session(2, confirmed=confirmed), session(1, confirmed=True)], None, 5.0)
    found = access.usable(NOON + dt.timedelta(seconds=age_s))
    assert [each.session_id for each in found] == usable


def test_the_terminal_that_was_read_longest_ago_is_forgotten() -> None:
    async def scenario() -> None:
        cache = AccessCache(MemoryStore(StepClock()).batches, 2, 5.0)
        for terminal in ("A", "B", "A", "C"):
            await cache.read("M", terminal)
        assert [terminal for terminal in "ABC" if cache.get("M", terminal)] == ["A", "C"]

    asyncio.run(scenario())


def test_what_was_read_long_ago_is_read_again() -> None:
    async def scenario() -> None:
        cache = AccessCache(MemoryStore(StepClock()).batches, 2, 5.0)
        await cache.read("M", "A")
        await asyncio.sleep(4.9)
        assert cache.get("M", "A") is not None
        await asyncio.sleep(0.2)
        assert cache.get("M", "A") is None

    run_virtual(scenario())


@pytest.mark.parametrize(
    ("items", "added", "old"),
    [
        (0, 449, False),
        (0, 450, True),
        (450, 224, False),
        (450, 225, True),
        (898, 0, False),
        (898, 1, True),
        (900, 1, True),
    ],
)
def test_a_batchs_count_is_asked_for_again_when_it_could_be_full(
    items: int, added: int, old: bool
) -> None:
    access = Access([], None, 5.0)
    access.items, access.added = items, added
    assert access.count_is_old(900, workers=2) is old


def test_a_long_batch_asks_for_its_count_a_few_times() -> None:
    access, asked = Access([], None, 5.0), 0
    for _ in range(450):  # each of two workers takes every second item
        if access.count_is_old(900, workers=2):
            access.items, access.added, asked = access.items + 2 * access.added, 0, asked + 1
        access.added += 1
    assert asked < 5
