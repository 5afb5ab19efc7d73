"""A process that posts, for `test_ledger_stress.py`; it may be killed at any instant.

It draws batches out of few entries that its siblings draw too, half of them in another version, and posts
them; after each commit it writes down what stood. Started again with the same seed it draws the same.
The last quarter waits for a file `go` beside the log: until then there is somebody to kill.

    python -m tests.settlement.ledger_poster DSN SEED BATCHES LOG
"""

import asyncio
import random
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import asyncpg
import msgspec

from settlement.adapters.ledger_postgres import PostgresLedger
from settlement.ledger import Entry, LedgerClosedError, LedgerConflictError
from settlement.limits import LedgerLimitError
from tests.settlement.test_ledger_store import held, sale

GO = "go"
SHARED = 300  # entries that all posters draw from
SHOPS = [f"shop-{number}" for number in range(4)]  # few: all meet on their limits


class Drawn(msgspec.Struct, frozen=True):
    """A batch: what it is called, and its entries, whose date is set when they are posted."""

    name: str
    entries: tuple[Entry, ...]


class Written(msgspec.Struct, frozen=True):
    """A line of the log: how a batch ended, and on which date it was posted."""

    batch: str
    end: str  # posted, conflict, limit
    day: date


def shared(number: int, version: int) -> Entry:
    """One of the entries that all draw: two versions, of which one may ever stand."""
    made = sale(number, 1_000 + number + version, 3, merchant=SHOPS[number % len(SHOPS)])
    return msgspec.structs.replace(made, step="case")


def draw(seed: int, batches: int) -> Iterator[Drawn]:
    chance = random.Random(seed)
    for batch in range(batches):
        name = f"{seed}-{batch}"
        entries: list[Entry] = []
        for at in range(chance.randint(1, 6)):
            key = f"{name}-{at}"
            what = chance.random()
            if what < 0.4:
                version = int(chance.random() < 0.1)
                entries.append(shared(chance.randrange(SHARED), version))
            elif what < 0.7:
                own = sale(0, chance.randint(1, 9_999), merchant=chance.choice(SHOPS))
                entries.append(msgspec.structs.replace(own, key=key, step="case"))
            else:
                moved = chance.choice([-1, 1]) * chance.randint(1, 500)
                move = held(0, moved, merchant=chance.choice(SHOPS))
                entries.append(msgspec.structs.replace(move, key=key))
        chance.shuffle(entries)
        yield Drawn(name, tuple(entries))


async def run(dsn: str, seed: int, batches: int, log: Path) -> None:
    done = {one.batch for one in read(log)}
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        ledger = PostgresLedger(pool)
        for number, batch in enumerate(draw(seed, batches)):
            while 4 * number >= 3 * batches and not log.with_name(GO).exists():  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.01)
            if batch.name not in done:
                write(log, await post(ledger, batch))


async def post(ledger: PostgresLedger, batch: Drawn) -> Written:
    while True:
        day = await ledger.open_date()
        dated = [msgspec.structs.replace(one, business_date=day) for one in batch.entries]
        try:
            await ledger.post(dated)
        except LedgerClosedError:
            continue  # it was sealed in between
        except LedgerConflictError:
            return Written(batch.name, "conflict", day)
        except LedgerLimitError:
            return Written(batch.name, "limit", day)
        return Written(batch.name, "posted", day)


def write(log: Path, line: Written) -> None:
    with log.open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")


def read(log: Path) -> list[Written]:
    """Whole lines: a killed process may have left half a one."""
    if not log.exists():
        return []
    lines = log.read_bytes().split(b"\n")[:-1]
    return [msgspec.json.decode(line, type=Written) for line in lines]


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
