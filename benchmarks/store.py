"""What both durable records of a purchase cost in the store alone, by how many commits share a flush.

    python -m benchmarks.store [--groups N,N…] [--purchases N] [--rounds N] [--data DIR] [--json]

One process's writer on an embedded PostgreSQL that syncs. A flush of N carries N/2 requests, each with
its attempt, and the N/2 outcomes of those before; "counted" ones are judged by two counters of 1,000
cards as well. Figures are µs of processor time a purchase, of this process and of PostgreSQL's process
that serves it, medians of the rounds in turns; rows are made before the clock runs. At last a void of
each of some purchases, one after another: a decision over its original, in a transaction of its own. And
64 terminals in a closed loop that wait 2 ms for a bank.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import functools
import itertools
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from benchmarks import report
from switch.adapters.embedded_postgres import EmbeddedPostgres
from switch.adapters.postgres import PostgresStore
from switch.adapters.schema_runner import migrate
from switch.adapters.system import SystemClock
from switch.journal import (
    AttemptRow,
    Commit,
    Count,
    CounterMove,
    FindByReference,
    FindCounted,
    Guard,
    Judgement,
    Key,
    OutcomeRow,
    OutcomeState,
    RequestRow,
    Scene,
    Stored,
)

MODULE: Final = "benchmarks.store"
LINES: Final = 64
BANK_S: Final = 0.002
NOW: Final = dt.datetime(2026, 3, 4, 4, 0, tzinfo=dt.UTC)
DECISION: Final = '{"generation":1,"merchant":1,"terminal":1,"route":"622000@1"}'


def key_of(number: int) -> Key:
    return Key("898123456789012", f"T{number % 64:07d}", 1, number % 1_000_000, "020.00")


def purchase(number: int, owner_id: int) -> Commit:
    """A request with chip, track and PIN, as `switch.rows` lays it out, and its attempt."""
    request = RequestRow(
        request_id=number, owner_id=owner_id, generation=1,
        key=key_of(number),
        content=os.urandom(16), type="purchase", mti="0200", processing_code="000000",
        amount_minor=100_00, currency="156", rrn=f"{number:012d}", received_at=NOW,
        local_time="0304120000", entry_mode="051", condition_code="00", card_sequence="001",
        mcc="5999", pan_token=os.urandom(16), pan_masked="622000******0019",
        pan_cipher=os.urandom(46), chip=os.urandom(100), session_id=1, decision=DECISION,
    )  # fmt: skip
    attempt = AttemptRow(
        request_id=number, attempt=1, acquirer="bank", link_stan=f"{number % 1_000_000:06d}",
        transmission_time="0304120000", de32="48000000", de33="", route_rule="622000@1",
    )  # fmt: skip
    return Commit(request=request, attempt=attempt)


def approval(number: int, date: dt.date) -> Commit:
    return Commit(
        outcome=OutcomeRow(
            request_id=number, state=OutcomeState.APPROVED, response_code="00", decided_at=NOW,
            rule="acquirer", request_date=date, attempt=1, approved_amount_minor=100_00,
            effect_minor=100_00, auth_code="123456", settlement_date=date,
            acquirer_response_code="00", answer=b"\x80",
        )
    )  # fmt: skip


def counted(number: int, commit: Commit) -> tuple[FindCounted, Judgement]:
    """Two rules over counters of a card, neither near its limit, and what follows."""
    counts = tuple(
        Count(rule, f"{number % 1_000:032x}", 9, 0, NOW) for rule in ("few/600", "sum/day")
    )
    guards = (
        Guard(0, constant=-1_000_000, per_count=1),
        Guard(1, constant=-(10**12), per_amount=1),
    )
    moves = tuple(CounterMove(number, count, 1, 100_00, returns=True) for count in counts)
    judged = Commit(request=commit.request, attempt=commit.attempt, moves=moves)
    return FindCounted(counts, guards=guards), Judgement(judged, "", "risk.passed")


def void(commit: Commit, scene: Scene) -> Judgement:
    """Whatever else a judge looks at: it names its original."""
    (original,) = scene.originals
    assert commit.request is not None
    request = msgspec.structs.replace(
        commit.request, type="void", original_request_id=original.request.request_id
    )
    return Judgement(Commit(request=request, attempt=commit.attempt), "", "void.forward")


def backend_s(pid: int) -> float:
    """Seconds on a processor, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9


class Bench:
    def __init__(self, store: PostgresStore, owner_id: int, date: dt.date) -> None:
        self._journal, self._writer, self._pool = store.journal, store.writer, store.sessions.pool
        self._owner_id, self._date = owner_id, date
        backend = store.writer._backend  # noqa: SLF001 # whose time it is
        assert backend is not None
        self._pid = backend.pid
        self.numbers = itertools.count(1)

    async def judge(self, find: FindCounted, judgement: Judgement) -> Any:
        _, verdict = await self._journal.decide(find, lambda _: judgement)
        return verdict

    async def round(self, group: int, purchases: int, *, judged: bool) -> dict[str, float]:
        flushes = [
            [(number, purchase(number, self._owner_id)) for number in itertools.islice(numbers, group // 2)]
            for numbers in itertools.repeat(self.numbers, max(2, purchases // (group // 2)))
        ]  # fmt: skip
        asked = [[counted(*each) for each in flush] for flush in flushes] if judged else []
        outcomes = [[approval(number, self._date) for number, _ in flush] for flush in flushes]
        former: list[Commit] = []
        before, used_s, server_s = self._writer.flushes, time.process_time(), backend_s(self._pid)
        for place, flush in enumerate(flushes):
            waiting: list[Any] = []
            if judged:
                waiting = [asyncio.ensure_future(self.judge(*each)) for each in asked[place]]
                await asyncio.sleep(0)  # now they wait as well
            else:
                waiting = [self._writer.commit(commit) for _, commit in flush]
            waiting += [self._writer.commit(commit) for commit in former]
            for result in await asyncio.gather(*waiting):
                assert isinstance(result, Stored), result
            former = outcomes[place]
        used_s, server_s = time.process_time() - used_s, backend_s(self._pid) - server_s
        stored = len(flushes) * (group // 2)
        return {
            "process_us": used_s * 1e6 / stored,
            "postgres_us": server_s * 1e6 / stored,
            "postgres_us_a_flush": server_s * 1e6 / (self._writer.flushes - before),
        }

    async def loop(self, purchases: int) -> dict[str, float]:
        """Groups as they come about: what waits when the last flush returns."""
        made = [
            (purchase(number, self._owner_id), approval(number, self._date))
            for number in itertools.islice(self.numbers, purchases)
        ]
        left = iter(made)

        async def terminal() -> None:
            for asked, approved in left:
                await self._writer.commit(asked)
                await asyncio.sleep(BANK_S)
                await self._writer.commit(approved)

        before, used_s, server_s = self._writer.flushes, time.process_time(), backend_s(self._pid)
        await asyncio.gather(*(terminal() for _ in range(LINES)))
        used_s, server_s = time.process_time() - used_s, backend_s(self._pid) - server_s
        flushes = self._writer.flushes - before
        return {
            "process_us": used_s * 1e6 / purchases,
            "postgres_us": server_s * 1e6 / purchases,
            "postgres_us_a_flush": server_s * 1e6 / flushes,
            "commits_a_flush": 2 * purchases / flushes,
        }

    async def voids(self, purchases: int) -> dict[str, float]:
        """Of the first purchases; all in turn, so on one connection of the pool."""
        begun = next(self.numbers)
        connection = await self._pool.take()
        self._pool.give_back(connection, usable=True)
        pid = connection.get_server_pid()
        used_s, server_s = time.process_time(), backend_s(pid)
        for number in range(1, purchases + 1):
            key = key_of(number)
            find = FindByReference(key.merchant, key.terminal, key.batch, key.stan)
            judge = functools.partial(void, purchase(begun + number, self._owner_id))
            _, verdict = await self._journal.decide(find, judge)
            assert isinstance(verdict, Stored), verdict
        used_s, server_s = time.process_time() - used_s, backend_s(pid) - server_s
        return {
            "process_us": used_s * 1e6 / purchases,
            "postgres_us": server_s * 1e6 / purchases,
            "postgres_us_a_flush": server_s * 1e6 / purchases,
        }


async def measure(
    server: EmbeddedPostgres, given: argparse.Namespace
) -> dict[str, dict[str, float]]:
    await migrate(server.dsn("tongbao_owner"))
    dsn, clock = server.dsn("tongbao_app"), SystemClock()
    store = await PostgresStore.open(dsn, clock, group_max=1_024)
    try:
        owner_id = await store.owners.register("benchmark", 0)
        bench = Bench(store, owner_id, await store.days.business_date())
        found: dict[str, list[dict[str, float]]] = {}

        def add(name: str, figures: dict[str, float]) -> None:
            found.setdefault(name, []).append(figures)

        for _ in range(given.rounds + 1):
            for group in given.groups:
                add(f"{group}", await bench.round(group, given.purchases, judged=False))
                add(f"{group}, counted", await bench.round(group, given.purchases, judged=True))
            add("closed loop", await bench.loop(given.purchases))
            add("a void", await bench.voids(given.purchases // 10))
        return {
            name: {key: statistics.median(each[key] for each in of[1:]) for key in of[0]}
            for name, of in found.items()
        }
    finally:
        await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=f"python -m {MODULE}", description="What both records of a purchase cost in the store."
    )
    parser.add_argument(
        "--groups",
        type=lambda text: [int(each) for each in text.split(",")],
        default=[2, 8, 32, 128],
    )
    parser.add_argument("--purchases", type=int, default=1_000, help="a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", default=None, help="where the data folder is made; default /tmp")
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    given = parser.parse_args()
    report.begin()
    folder = Path(tempfile.mkdtemp(prefix="tongbao-benchmark-", dir=given.data))
    folder.chmod(0o711)
    try:
        server = EmbeddedPostgres.start(folder)
        try:
            sync_ms = report.sync_ms(folder)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                figures = runner.run(measure(server, given))
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if given.json:
        report.as_json(MODULE, median=figures, fdatasync_ms=sync_ms)
        return
    report.show(
        MODULE,
        f"the store alone; medians of {given.rounds} rounds of {given.purchases:,} purchases",
        ("commits a flush", "process µs", "PostgreSQL µs", "of a flush", "commits"),
        [
            (
                name,
                f"{of['process_us']:.1f}",
                f"{of['postgres_us']:.1f}",
                f"{of['postgres_us_a_flush']:.0f}",
                f"{of['commits_a_flush']:.1f}" if "commits_a_flush" in of else "",
            )
            for name, of in figures.items()
        ],
        f"8 KiB and fdatasync take {sync_ms:.2f} ms here",
    )


if __name__ == "__main__":
    main()
