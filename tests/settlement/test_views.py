"""The day's end over the switch's own views: its store writes the commits, ours reads what they show.

Goal: what `switch/adapters/schema` publishes means what the books take it to mean: standing captures,
cancelled ones, linked opposites, requests without success, the route of a decision, dates that freeze.
"""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from settlement.adapters.postgres import open_postgres
from settlement.close import CloseResult
from settlement.ports import Facts, Step
from switch.journal import Commit, OutcomeState
from tests.contract.worlds import (
    ACQUIRER,
    MERCHANT,
    TERMINAL,
    PostgresWorld,
    Store,
    attempt,
    key,
    outcome,
    request,
    reverse,
    stored,
)
from tests.database import FreshDatabase
from tests.settlement.world import PAN, Inbox, Sink, com_file, run_close

REFERENCES: list[tuple[str, str, dict[str, Any]]] = [
    ("link", ACQUIRER, {"acquirer": ACQUIRER, "host": "h", "port": 1, "de32": "00012345"}),
    ("route", "62220212", {"prefix": "62220212", "acquirer": ACQUIRER, "card_type": "debit"}),
    ("merchant", MERCHANT, {"merchant": MERCHANT, "name": "Corner shop", "mcc": "5812"}),
]
AMOUNT = 10_000


async def trade(
    store: Store, number: int, generation: int, state: OutcomeState = OutcomeState.APPROVED
) -> date:
    row = msgspec.structs.replace(
        request(number, amount_minor=AMOUNT, generation=generation),
        decision='{"generation":1,"merchant":1,"terminal":1,"route":"62220212@1"}',
    )
    day = stored(await store.journal.commit(Commit(request=row, attempt=attempt(number))))
    ended = outcome(number, day, state=state, effect_minor=AMOUNT, settlement_date=day)
    stored(await store.journal.commit(Commit(outcome=ended)))
    return day


def row_of(number: int, **changes: Any) -> dict[str, Any]:
    """The bank's row of a trade."""
    return {
        "acquirer_id": "00012345",
        "stan": f"{number:06d}",
        "transmission_time": "0304130607",
        "pan": PAN,
        "amount": AMOUNT,
        "mti": "0200",
        "processing_code": "000000",
        "mcc": "5812",
        "terminal": TERMINAL,
        "merchant": MERCHANT,
        "rrn": f"6063{number:08d}",
        "auth_code": "654321",
        "response_code": "00",
        "fee_receivable": 0,
        "fee_payable": 35,
        "switching_fee": -3,
    } | changes


def test_a_cancel_an_opposite_and_a_decline_over_two_dates(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        world = PostgresWorld(database_dsn)
        try:
            await check(world, database_dsn.app)
        finally:
            await world.close()

    asyncio.run(scenario())


async def check(world: PostgresWorld, dsn: str) -> None:
    switch = await world.process()
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    await switch.reference.apply(REFERENCES, maker="test", effective_from=long_ago)
    generation = await switch.reference.generation()
    day = await trade(switch, 1, generation)
    for number in (2, 3):
        await trade(switch, number, generation)
    await trade(switch, 4, generation, OutcomeState.DECLINED)
    await reverse(switch, key(2), 100)  # before the freeze: cancels
    async with open_postgres(dsn) as (store, dates):
        before = await store.captures(day)
        assert [one.capture_id for one in before] == [16, 48]

        async def close(on: date, *rows: dict[str, Any]) -> CloseResult:
            name, data = com_file(rows, on)
            return await run_close(
                store, Inbox({(ACQUIRER, name): data}), day=on, dates=dates, sink=Sink()
            )

        finish = store.finish

        async def reversed_after_the_freeze(step: Step, facts: Facts) -> bool:
            done = await finish(step, facts)
            if step.name == "freeze" and step.business_date == day:
                await reverse(switch, key(3), 101)
            return done

        store.finish = reversed_after_the_freeze  # type: ignore[method-assign]
        first = await close(day, row_of(1), row_of(3))
        assert (first.exit_code, first.message) == (0, "")
        assert (first.totals["matched"], first.totals["captured_minor"]) == (2, 2 * AMOUNT)
        records = {one.request_id: one for one in await store.records(day)}
        assert [records[n].state for n in (1, 2, 3, 4)] == [
            "approved",
            "reversed",
            "approved",
            "declined",
        ]
        assert {one.card_type for one in records.values()} == {"debit"}
        assert first.nets[0].discount_minor == 2 * 50  # 0.5 % of a debit card

        reversal = row_of(
            3,
            mti="0420",
            stan="000101",
            original_stan="000003",
            original_time="0304130607",
            fee_receivable=35,
            fee_payable=0,
            switching_fee=3,
        )
        second = await close(day + timedelta(days=1), reversal)
        assert (second.exit_code, second.message) == (0, "")
        assert second.totals["matched"] == 1
        (opposite,) = await store.records(day + timedelta(days=1))
        assert (opposite.key, opposite.state, opposite.effect_minor) == ("c49", "opposite", -AMOUNT)
        assert opposite.settlement_date == day + timedelta(days=1)
        assert second.nets[0].net_minor == -(AMOUNT - 50)
