"""Numbers run out while the store gives none, and go on where they stopped."""

from __future__ import annotations

import asyncio

from switch.journal import StoreDownError
from switch.numbers import Block


def test_numbers_run_out_while_the_store_is_away_and_none_is_given_twice() -> None:
    async def scenario() -> None:
        given = 0
        away = False

        async def refill(count: int) -> tuple[int, int]:
            nonlocal given
            await asyncio.sleep(0)
            if away:
                raise StoreDownError("away")
            given += count
            return given - count, given - 1

        block = Block(refill, 10)
        await block.start()
        away = True
        taken = []
        for _ in range(12):
            taken.append(block.take())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert taken == [*range(10), None, None]
        away = False
        assert block.take() is None  # it asks again
        for _ in range(4):
            await asyncio.sleep(0)
        assert [block.take() for _ in range(3)] == [10, 11, 12]

    asyncio.run(scenario())
