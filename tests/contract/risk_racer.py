"""A process that asks for one card as fast as it can: `python -m tests.contract.risk_racer DSN FIRST`.

Twenty requests with ids from FIRST, four at a time; prints what each was told.
"""

from __future__ import annotations

import asyncio
import sys

from switch.adapters.postgres import PostgresStore
from switch.adapters.system import SystemClock
from tests.contract.test_risk import code

COUNT, AT_ONCE = 20, 4


async def race(dsn: str, first: int) -> None:
    store = await PostgresStore.open(dsn, SystemClock())
    try:
        for start in range(first, first + COUNT, AT_ONCE):
            ids = range(start, start + AT_ONCE)
            told = await asyncio.gather(*(code(store, number) for number in ids))
            sys.stdout.write("".join(f"{each or 'passed'}\n" for each in told))
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(race(sys.argv[1], int(sys.argv[2])))
