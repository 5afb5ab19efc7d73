"""The ledger on PostgreSQL with fsync: bulk, sealing, verifying, posters at once, and what questions cost.

`bulk` is the way of the day's end: one call with all entries of a date, then its seal, then the verifier over
it. `posters` are processes that post for some seconds, each commit with its own entries, one in ten on an
agent's float that all of them lock. `questions` are asked as the history grows, date by date.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import msgspec

from benchmarks import report
from settlement.adapters.ledger_postgres import PostgresLedger
from settlement.adapters.ledger_reading import PostgresLedgerQueries
from settlement.adapters.ledger_stored import open_stored
from settlement.ledger import Entry, entry
from settlement.ledger_verify import Unwatched, verify
from switch.adapters.embedded_postgres import EmbeddedPostgres
from switch.adapters.schema_runner import migrate
from tests.database import temporary_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

MODULE: Final = "benchmarks.ledger"
FIRST: Final = date(2026, 1, 1)
MERCHANTS: Final = 5_000
AGENTS: Final = 20
DATES: Final = 20  # of the history that questions are asked of


def sales(day: date, first: int, count: int) -> Iterator[Entry]:
    """Captured purchases of many merchants, in canonical order."""
    template = entry(
        "captured",
        "captured",
        "c",
        {"effect": 10_000, "discount": 60},
        business_date=day,
        step="post",
        currency="156",
        acquirer="bank-a",
        settlement_date=day,
        merchant="m",
        terminal="12345678",
        batch=1,
    )
    assert template is not None
    for number in range(first, first + count):
        merchant = f"1041100581{number * 7919 % MERCHANTS:05d}"
        amount = 1_000 + number % 9_973
        yield msgspec.structs.replace(
            template,
            key=f"c{number:09d}",
            merchant=merchant,
            owners=(template.owners[0], merchant, ""),
            amounts=(amount, 6 - amount, -6),
        )


def top_up(day: date, number: int) -> Entry:
    """A merchant's money put aside, which moves a balance with a limit."""
    made = entry(
        "payout_hold",
        "hold",
        f"h{number}",
        {"held": 1 + number % 100},
        business_date=day,
        step="case",
        currency="156",
        acquirer="bank-a",
        settlement_date=day,
        merchant=f"agent-{number % AGENTS}",
    )
    assert made is not None
    return made


class Books:
    """An embedded PostgreSQL with an empty ledger."""

    def __init__(self, folder: Path) -> None:
        self.server = EmbeddedPostgres.start(folder)
        self.server.create_database("ledger")
        self.dsn = self.server.dsn("tongbao_app", "ledger")
        self.owner = self.server.dsn("tongbao_owner", "ledger")
        asyncio.run(migrate(self.owner))


# -- bulk ---------------------------------------------------------------------------------------


async def bulk(dsn: str, rows: int) -> dict[str, float]:
    entries = list(sales(FIRST, 0, rows))
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        ledger = PostgresLedger(pool)
        began = time.perf_counter()
        hashes = [one.hash for one in entries]
        hashed_s = time.perf_counter() - began
        assert len(set(hashes)) == rows
        began = time.perf_counter()
        await ledger.post(entries)
        posted_s = time.perf_counter() - began
        del entries, hashes
        began = time.perf_counter()
        anchor = await ledger.seal(FIRST)
        sealed_s = time.perf_counter() - began
    assert anchor.entries == rows
    began = time.perf_counter()
    async with open_stored(dsn) as stored:
        verified = await verify(stored, Unwatched())
    verified_s = time.perf_counter() - began
    assert not verified.findings, verified.findings
    return {
        "rows": rows,
        "hash_s": hashed_s,
        "post_s": posted_s,
        "seal_s": sealed_s,
        "verify_s": verified_s,
        "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


# -- posters ------------------------------------------------------------------------------------


def poster(dsn: str, day: date, number: int, batch: int, seconds: float) -> tuple[int, list[float]]:
    """Post for so long; entries, and the seconds of each commit."""
    return asyncio.run(_post(dsn, day, number, batch, seconds))


async def _post(
    dsn: str, day: date, number: int, batch: int, seconds: float
) -> tuple[int, list[float]]:
    taken: list[float] = []
    key = number * 10_000_000
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        ledger = PostgresLedger(pool)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            entries: list[Entry] = list(sales(day, key, batch))
            if len(taken) % 10 == 0:
                entries.append(top_up(day, key))
            key += batch
            began = time.perf_counter()
            await ledger.post(entries)
            taken.append(time.perf_counter() - began)
    return len(taken) * batch, taken


def posters(dsn: str, day: date, processes: int, batch: int, seconds: float) -> dict[str, float]:
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        base = processes * 1_000 + batch * 10
        runs = [
            pool.submit(poster, dsn, day, base + number, batch, seconds)
            for number in range(processes)
        ]
        found = [run.result() for run in runs]
    taken = [each for _, many in found for each in many]
    return {
        "processes": processes,
        "batch": batch,
        "entries_s": sum(count for count, _ in found) / seconds,
        "commits_s": len(taken) / seconds,
        "p50_ms": statistics.median(taken) * 1e3,
        "p99_ms": sorted(taken)[len(taken) * 99 // 100] * 1e3,
    }


# -- questions ----------------------------------------------------------------------------------


async def questions(dsn: str, sizes: Sequence[int]) -> AsyncIterator[dict[str, float]]:
    """Milliseconds of each question when the history has so many entries."""
    day, posted = FIRST, 0
    merchant = f"1041100581{7919 % MERCHANTS:05d}"
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        ledger, queries = PostgresLedger(pool), PostgresLedgerQueries(pool)
        for size in sizes:
            part = max(1, (size - posted) // DATES)
            while posted < size:
                await ledger.post(list(sales(day, posted, part)))
                await ledger.seal(day)
                posted += part
                day += timedelta(days=1)
            last = day - timedelta(days=1)
            receivable = ("network_receivable", f"bank-a/{last.isoformat()}", "156")
            yield {
                "entries": posted,
                "dates": (day - FIRST).days,
                "balance_ms": await ms(queries.balances, "merchant_payable", merchant),
                "of_date_ms": await ms(queries.balances, "merchant_payable", merchant, FIRST),
                "statement_ms": await ms(
                    queries.statement, "merchant_payable", merchant, "156", FIRST, last
                ),
                "large_ms": await ms(queries.statement, *receivable, last, last),
                "all_owners_ms": await ms(queries.balances, "merchant_payable"),
                "trial_ms": await ms(queries.turnover, last, last),
            }


async def ms(ask: Callable[..., Awaitable[object]], *of: object) -> float:
    """The median of nine times."""
    taken = []
    for _ in range(9):
        began = time.perf_counter()
        await ask(*of)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="entries of the bulk date")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each round of posters")
    parser.add_argument("--sizes", default="10000,100000,1000000", help="entries of the history")
    parser.add_argument("--only", choices=["bulk", "posters", "questions"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report.begin()
    found: dict[str, Any] = {}
    if options.only in (None, "bulk"):
        with temporary_folder() as folder:
            books = Books(folder)
            found["bulk"] = [asyncio.run(bulk(books.dsn, options.rows))]
            books.server.stop()
    if options.only in (None, "posters"):
        with temporary_folder() as folder:
            books = Books(folder)
            found["posters"] = [
                posters(books.dsn, FIRST, processes, batch, options.seconds)
                for batch in (1, 100)
                for processes in (1, 2, 4)
            ]
            books.server.stop()
    if options.only in (None, "questions"):
        sizes = [int(size) for size in options.sizes.split(",")]
        with temporary_folder() as folder:
            books = Books(folder)

            async def ask() -> list[dict[str, float]]:
                return [each async for each in questions(books.dsn, sizes)]

            found["questions"] = asyncio.run(ask())
            books.server.stop()
    if options.json:
        report.as_json(MODULE, **found)
        return
    for title, rows in found.items():
        columns = list(rows[0])
        lines = [[f"{row[name]:,.1f}".removesuffix(".0") for name in columns] for row in rows]
        report.show(MODULE, title, columns, lines)
        print()


if __name__ == "__main__":
    main()
