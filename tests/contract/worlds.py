"""The stores under contract, and rows to put into them.

A `World` is one database; `process()` is one process's handle on it. Time passes by itself in
PostgreSQL and by `advance` in memory, so a test that needs an expired lease says `expire`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from typing import TYPE_CHECKING, Any

import asyncpg
from hypothesis import HealthCheck, settings

from switch.adapters.memory import MemoryStore
from switch.adapters.postgres import PostgresStore
from switch.adapters.system import SystemClock
from switch.journal import (
    AttemptRow,
    CaseRow,
    Commit,
    FindById,
    FindByKey,
    Judgement,
    Key,
    OutcomeRow,
    OutcomeState,
    QueueRow,
    RequestRow,
    ReversalRequestRow,
    ReversalRow,
    Scene,
    Stored,
    Verdict,
)
from switch.store_ports import Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.database import FreshDatabase

NOW = dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
MERCHANT, TERMINAL, ACQUIRER = "898123456789012", "00000001", "unionpay"
DAY = dt.timedelta(days=1)

LEASE_S = 240.0  # longer than any test, shorter than a lease that is not believed (`HOLDS_MAX_S`)

Store = Any  # MemoryStore or PostgresStore: the same ports


# For sequences that hypothesis draws: each example has a fresh database, and takes its time.
DRAWN = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class StepClock:
    """Moves only when told to."""

    def __init__(self) -> None:
        self.instant = NOW

    def now(self) -> dt.datetime:
        return self.instant

    def monotonic_ns(self) -> int:
        return int((self.instant - NOW).total_seconds() * 1e9)


class World:
    name = ""

    async def process(self, lease_s: float = LEASE_S) -> Store:
        """One process's handle; `lease_s`: of its leases, in memory of everybody's."""
        raise NotImplementedError

    async def expire(self, owner_id: int) -> None:
        """Let the lease of this owner, and its acquirers', run out."""
        raise NotImplementedError

    async def set_clock_back(self, seconds: float) -> None:
        """The store's clock: what was dated by it is so much later now."""
        raise NotImplementedError

    async def lease_left_s(self, owner_id: int) -> float:
        """How long the lease of this owner lasts, by the store's clock."""
        raise NotImplementedError

    async def pass_time(self, seconds: float) -> None:
        raise NotImplementedError

    async def captures(self) -> list[tuple[int, int, dt.date, int]]:
        """Standing captured effects: (request id, seq, business date, effect)."""
        raise NotImplementedError

    async def cases(self) -> list[tuple[str, int | None]]:
        """(kind, request id) of every case, sorted."""
        raise NotImplementedError

    async def close(self) -> None:
        """Disconnect."""


class MemoryWorld(World):
    name = "memory"

    def __init__(self) -> None:
        self.clock = StepClock()
        self.store = MemoryStore(self.clock)

    async def process(self, lease_s: float = LEASE_S) -> Store:
        self.store.lease = dt.timedelta(seconds=lease_s)
        return self.store

    async def expire(self, owner_id: int) -> None:
        past = self.clock.now() - dt.timedelta(seconds=1)
        self.store.owner_rows[owner_id].lease_until = past
        for acquirer, (holder, epoch, _) in self.store.acquirer_leases.items():
            if holder == owner_id:
                self.store.acquirer_leases[acquirer] = (holder, epoch, past)

    async def set_clock_back(self, seconds: float) -> None:
        self.clock.instant -= dt.timedelta(seconds=seconds)

    async def lease_left_s(self, owner_id: int) -> float:
        left = self.store.owner_rows[owner_id].lease_until - self.clock.now()
        return left.total_seconds()

    async def pass_time(self, seconds: float) -> None:
        self.clock.instant += dt.timedelta(seconds=seconds)

    async def captures(self) -> list[tuple[int, int, dt.date, int]]:
        return self.store.captures()

    async def cases(self) -> list[tuple[str, int | None]]:
        return sorted(
            ((row.kind, row.request_id) for row in self.store.cases.values()),
            key=lambda case: (case[0], case[1] or 0),
        )


class PostgresWorld(World):
    name = "postgres"

    def __init__(self, database: FreshDatabase) -> None:
        self.database = database
        self.stores: list[PostgresStore] = []

    async def process(self, lease_s: float = LEASE_S) -> Store:
        store = await PostgresStore.open(self.database.app, SystemClock(), lease_s=lease_s)
        self.stores.append(store)
        return store

    async def query(self, query: str, *args: Any) -> list[Any]:
        """As the superuser."""
        connection = await asyncpg.connect(self.database.superuser)
        try:
            found: list[Any] = await connection.fetch(query, *args)
            return found
        finally:
            await connection.close()

    async def expire(self, owner_id: int) -> None:
        for table in ("owner", "acquirer_lease"):
            await self.query(
                f"UPDATE switch.{table} SET lease_until = now() - interval '1 second'"
                " WHERE owner_id = $1",
                owner_id,
            )

    async def set_clock_back(self, seconds: float) -> None:
        for table, column in (
            ("owner", "lease_until"),
            ("acquirer_lease", "lease_until"),
            ("queue_open", "not_before"),
            ("reference_item", "effective_from"),
            ("reference_item", "created_at"),
            ("business_day", "scheduled_until"),
        ):
            await self.query(
                f"UPDATE switch.{table} SET {column} = {column} + $1::float8 * interval '1 second'",
                seconds,
            )

    async def lease_left_s(self, owner_id: int) -> float:
        found = await self.query(
            "SELECT extract(epoch FROM lease_until - clock_timestamp())::float8"
            " FROM switch.owner WHERE owner_id = $1",
            owner_id,
        )
        return float(found[0][0])

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def captures(self) -> list[tuple[int, int, dt.date, int]]:
        rows = await self.query(
            "SELECT request_id, (capture_id % 16)::int, business_date, effect_minor"
            " FROM switch.capture_v1 ORDER BY 1, 2"
        )
        return [tuple(row) for row in rows]

    async def cases(self) -> list[tuple[str, int | None]]:
        rows = await self.query("SELECT kind, request_id FROM switch.case_fact")
        return sorted((tuple(row) for row in rows), key=lambda case: (case[0], case[1] or 0))

    async def close(self) -> None:
        for store in self.stores:
            await store.close()


def in_both(
    database: FreshDatabase, scenario: Callable[[PostgresWorld, MemoryWorld], Awaitable[None]]
) -> None:
    """The real store and the simulated one, side by side."""

    async def main() -> None:
        real = PostgresWorld(database)
        try:
            await scenario(real, MemoryWorld())
        finally:
            await real.close()

    asyncio.run(main())


# -- rows -----------------------------------------------------------------------------------------


def key(stan: int, *, batch: int = 1, terminal: str = TERMINAL, kind: str = "020.00") -> Key:
    return Key(merchant=MERCHANT, terminal=terminal, batch=batch, stan=stan, kind=kind)


def request(
    request_id: int,
    stan: int | None = None,
    *,
    of: Key | None = None,
    type: str = "purchase",  # noqa: A002 # the row's own name
    amount_minor: int = 100,
    generation: int = 1,
    owner_id: int = 0,
    **more: Any,
) -> RequestRow:
    return RequestRow(
        request_id=request_id,
        owner_id=owner_id,
        generation=generation,
        key=of or key(request_id if stan is None else stan),
        content=b"content of " + str(request_id).encode(),
        type=type,
        mti="0200",
        processing_code="000000",
        amount_minor=amount_minor,
        currency="156",
        rrn=f"6063{request_id:08d}",
        received_at=NOW,
        local_time="0304130607",
        decision="{}",
        **more,
    )


def attempt(request_id: int, number: int = 1, **more: Any) -> AttemptRow:
    return AttemptRow(
        request_id=request_id,
        attempt=number,
        acquirer=ACQUIRER,
        link_stan=f"{request_id % 1_000_000:06d}",
        transmission_time="0304130607",
        de32="00012345",
        de33="",
        route_rule="route 62 version 1",
        **more,
    )


def outcome(
    request_id: int,
    request_date: dt.date | None = None,
    *,
    state: OutcomeState = OutcomeState.APPROVED,
    effect_minor: int | None = 100,
    **more: Any,
) -> OutcomeRow:
    approved = state is OutcomeState.APPROVED
    return OutcomeRow(
        request_id=request_id,
        state=state,
        response_code="00" if approved else "98",
        decided_at=NOW,
        rule="acquirer",
        request_date=request_date,
        attempt=1,
        approved_amount_minor=abs(effect_minor or 0) if approved else None,
        effect_minor=effect_minor if approved else None,
        auth_code="654321" if approved else "",
        **more,
    )


def reversal(
    request_id: int, date: dt.date | None, *, seq: int = 1, capture: str = "", reason: str = "98"
) -> ReversalRow:
    return ReversalRow(
        original_request_id=request_id,
        original_date=date,
        seq=seq,
        origin="terminal",
        reason=reason,
        queued_at=NOW,
        capture=capture,
    )


def queued(
    item_id: int,
    request_id: int,
    date: dt.date | None,
    *,
    kind: str = "reversal",
    seq: int = 1,
    root: int | None = None,
    delay_s: float = 0.0,
) -> QueueRow:
    return QueueRow(
        item_id=item_id,
        acquirer=ACQUIRER,
        kind=kind,
        request_id=request_id,
        request_date=date,
        root_request_id=root or request_id,
        seq=seq,
        link_stan=f"{item_id % 1_000_000:06d}",
        transmission_time="0304130700",
        delay_s=delay_s,
    )


def reversal_request(of: Key, original: int | None, response_code: str) -> ReversalRequestRow:
    return ReversalRequestRow(
        key=of,
        original_request_id=original,
        reason="98",
        response_code=response_code,
        rule="test",
        received_at=NOW,
    )


def case(kind: str, request_id: int | None) -> CaseRow:
    return CaseRow(
        kind=kind,
        request_id=request_id,
        merchant=MERCHANT,
        terminal=TERMINAL,
        detail="{}",
        opened_at=NOW,
    )


def session(**more: Any) -> Session:
    values: dict[str, Any] = {
        "session_id": 0,
        "merchant": MERCHANT,
        "terminal": TERMINAL,
        "layout": "003",
        "pik": "pik block",
        "mak": "mak block",
        "tdk": None,
        "created_at": NOW,
        "confirmed": False,
    }
    return Session(**(values | more))


# -- steps ----------------------------------------------------------------------------------------


async def approve(store: Store, request_id: int, **more: Any) -> dt.date:
    """A request and its approval; its business date."""
    effect = more.pop("effect_minor", 100)
    row = request(request_id, **more)
    date = stored(await store.journal.commit(Commit(request=row, attempt=attempt(request_id))))
    done = Commit(outcome=outcome(request_id, date, effect_minor=effect))
    stored(await store.journal.commit(done))
    return date


def stored(verdict: Verdict | None) -> dt.date:
    assert isinstance(verdict, Stored), verdict
    return verdict.business_date


async def look(store: Store, request_id: int) -> Any:
    """The original, as a judge sees it; None where there is none."""
    seen: list[Scene] = []

    def judge(scene: Scene) -> Judgement:
        seen.append(scene)
        return Judgement(commit=None, response_code="", rule="test")

    await store.journal.decide(FindById(request_id), judge)
    return seen[-1].originals[0] if seen[-1].originals else None


def reverse_judge(of: Key, new_id: int) -> Callable[[Scene], Judgement]:
    """A 0400: tombstone for an unknown original, the outcome in flight, else its capture cancelled."""

    def judge(scene: Scene) -> Judgement:
        if not scene.originals:
            commit = Commit(
                request=request(new_id, of=of, type="tombstone", amount_minor=0),
                reversal_request=reversal_request(of, None, "25"),
            )
            return Judgement(commit=commit, response_code="25", rule="unknown")
        original = scene.originals[0]
        request_id, date = original.request.request_id, original.request_date
        told = reversal_request(of, request_id, "00")
        if original.request.type == "tombstone":
            return Judgement(Commit(reversal_request=told), "25", "tombstone", original)
        if original.reversals:
            return Judgement(Commit(reversal_request=told), "00", "repeated", original)
        commit = Commit(
            outcome=outcome(request_id, date, state=OutcomeState.REVERSED)
            if original.outcome is None
            else None,
            reversal=reversal(
                request_id, date, capture="cancel" if original.captured_minor else ""
            ),
            queue=queued(new_id, request_id, date),
            reversal_request=told,
        )
        if original.outcome is not None and original.outcome.state is not OutcomeState.APPROVED:
            return Judgement(Commit(reversal_request=told), "00", "declined", original)
        return Judgement(commit, "00", "reversed", original)

    return judge


async def reverse(store: Store, of: Key, new_id: int) -> tuple[Judgement, Verdict | None]:
    result: tuple[Judgement, Verdict | None] = await store.journal.decide(
        FindByKey(of), reverse_judge(of, new_id)
    )
    return result


async def wait_for(condition: Callable[[], bool], limit_s: float = 60.0) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "waited too long"
        await asyncio.sleep(0.005)
