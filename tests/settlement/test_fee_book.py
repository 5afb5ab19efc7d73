"""One suite for the fee book in memory and on PostgreSQL: the same day closed on both says the same."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from settlement.adapters.postgres import open_postgres
from settlement.fee_book import FeeBook
from settlement.fees import Tariffs
from settlement.ports import REFERENCE_KINDS, Store
from settlement.reports import day as days
from tests.database import DatabaseServer, FreshDatabase
from tests.settlement.test_close import a_day
from tests.settlement.test_store import publish
from tests.settlement.world import (
    DAY,
    NEXT,
    REFERENCES,
    Dates,
    billed,
    captures_of,
    casework_of,
    com_file,
    inbox,
    payouts_of,
    reference,
    run_close,
    trade,
    world,
)

MERCHANT = "104110058120001"
OTHER = '-41,"05812"0002'  # printable ASCII, 15 characters, and hostile to CSV and spreadsheets
TIERS: dict[str, object] = {
    "components": [
        {
            "name": "merchant_discount",
            "rates": [{"rate": "0.004", "volume_from_minor": 50_000}, {"rate": "0.006"}],
        }
    ]
}
WITH_AGENTS = [
    *(one for one in REFERENCES if one.kind != "merchant"),
    reference("merchant", MERCHANT, {"name": "Tea", "name_zh": "茶", "agent": "a"}),
    reference("merchant", OTHER, {"name": "Other", "agent": "b", "fee_plan": "tiers"}),
    reference("fee_plan", "tiers", TIERS),
    reference("agent", "a", {"agent": "a", "name": "A", "parent": "b", "per_mille": "0.3"}),
    reference("agent", "b", {"agent": "b", "name": "B", "per_mille": "0.2"}),
]


def two_days() -> tuple[list[Any], list[list[dict[str, Any]]]]:
    """The first with every class of break and a large merchant, the second with refunds."""
    trades, rows = a_day()
    for number in range(50, 60):
        trades.append(trade(number, 9_000 + number, merchant=OTHER, terminal="=1+1    "))
        rows.append(billed(trades[-1]))
    rows[-1]["fee_payable"] += 7  # beyond the tolerance: ours is booked, the rest a break
    second = [
        trade(70, 10_000, merchant=OTHER, business_date=NEXT, settlement_date=NEXT),
        trade(
            71,
            9_050,
            merchant=OTHER,
            type="refund",
            original_request_id=50,
            business_date=NEXT,
            settlement_date=NEXT,
        ),
    ]
    return [*trades, *second], [rows, [billed(one) for one in second]]


async def close_both(store: Store) -> None:
    _, files = two_days()
    states = {DAY: "open"}
    for day, rows in zip((DAY, NEXT), files, strict=True):
        result = await run_close(
            store, inbox(com_file(rows, day)), day=day, dates=Dates(states), sink=None
        )
        assert result.exit_code in (0, 1), result.message
        states = {DAY: "posted", NEXT: "open"}


pytestmark = pytest.mark.xdist_group("fee_book")  # one worker closes the days

Check = Callable[[Store, FeeBook], Awaitable[None]]


@pytest.fixture(params=["memory", "postgres"], scope="module")
def with_book(request: pytest.FixtureRequest) -> Iterator[Callable[[Check], None]]:
    """Both days are closed once in a store; checks only read."""
    trades, _ = two_days()
    if request.param == "memory":
        store = world(trades, WITH_AGENTS)
        asyncio.run(close_both(store))

        async def on_memory(check: Check) -> None:
            await check(store, store.fee_book())

        yield lambda check: asyncio.run(on_memory(check))
        return
    server: DatabaseServer = request.getfixturevalue("_database_server")
    fresh = server.clone()

    async def prepare() -> None:
        await publish(fresh.owner, trades, captures_of(trades), WITH_AGENTS)
        async with open_postgres(fresh.app) as (kept, _):
            await close_both(kept)

    async def scenario(check: Check) -> None:
        async with open_postgres(fresh.app) as (kept, _):
            await check(kept, kept.fee_book())

    asyncio.run(prepare())
    yield lambda check: asyncio.run(scenario(check))
    server.drop(fresh)


async def everything(store: Store, book: FeeBook) -> dict[str, Any]:
    """All that a book says, as plain values."""
    said: dict[str, Any] = {}
    for day in (DAY, NEXT):
        pieces: list[bytes] = []
        await book.detail(day, pieces.append)
        said[f"{day} detail"] = b"".join(pieces)
        said[f"{day} shares"] = await book.shares(day)
        said[f"{day} agents"] = await book.agent_lines(day)
        said[f"{day} discounts"] = await book.discount_lines(day)
        said[f"{day} costs"] = await book.cost_lines(day)
        said[f"{day} volumes"] = await book.month_volumes(day)
        said[f"{day} nets"] = await store.nets(day)
    for agent in ("a", "b", "nobody"):
        said[agent] = await book.share_lines(agent, DAY, NEXT)
    said["by key"] = await book.shares_by_key(["c50", "c70", "c999"])
    return said


def test_reports_out_of_the_store_are_those_of_the_run(
    with_book: Callable[[Check], None],
) -> None:
    async def check(store: Store, _: FeeBook) -> None:
        tariffs = Tariffs(await store.references(REFERENCE_KINDS))
        for day in (DAY, NEXT):
            sums = await days.stored_sums(store, day)
            assert sums.discounts
            assert sums.costs
            at = await store.begin(day, datetime.max.replace(tzinfo=UTC))
            steps = await store.steps(day)
            told = await days.day_of(
                store,
                sums,
                day,
                at,
                steps,
                tariffs,
                casework=casework_of(store, Dates({NEXT: "open"})),
                payouts=payouts_of(store),
            )
            written = {one.name: one.sha256 for one in await store.outputs(day)}
            for name, data in days.files(told):
                assert hashlib.sha256(data).hexdigest() == written[f"{day}/{name}"], name

    with_book(check)


def test_what_the_day_left_is_told_consistently(with_book: Callable[[Check], None]) -> None:
    async def check(store: Store, book: FeeBook) -> None:
        said = await everything(store, book)
        for day in (DAY, NEXT):
            shares = said[f"{day} shares"]
            fees = {one.key: one.discount_minor for one in await store.merchant_fees(day)}
            assert {one.key: one.discount_minor for one in shares} == fees
            by_agent = {line.agent: line.share_minor for line in said[f"{day} agents"]}
            for agent in ("a", "b"):
                lines = [one for one in said[agent] if one.business_date == day]
                assert sum(one.share_minor for one in lines) == by_agent.get(agent, 0)
                owed = [
                    -line.amount_minor
                    for line in await store.movements(day)
                    if (line.account, line.owner) == ("agent_share_payable", agent)
                ]
                assert sum(owed) == by_agent.get(agent, 0)
            discounts = sum(line.discount_minor for line in said[f"{day} discounts"])
            assert (
                discounts
                == sum(fees.values())
                == sum(n.discount_minor for n in said[f"{day} nets"])
            )
        assert said["nobody"] == []
        assert sorted(said["by key"]) == ["c50", "c70"]
        assert said["by key"]["c70"].agents == ("b",)

    with_book(check)


def test_turnover_counts_the_month_before_the_date(with_book: Callable[[Check], None]) -> None:
    async def check(_: Store, book: FeeBook) -> None:
        said = await book.month_volumes(NEXT)
        assert said[OTHER, "156"] == sum(9_000 + number for number in range(50, 60))
        assert await book.month_volumes(DAY) == {}
        assert await book.month_volumes(DAY.replace(month=9, day=1)) == {}
        fees = {
            line.plan: line for line in await book.discount_lines(NEXT) if line.plan == "tiers"
        }["tiers"]
        # 100.00 sold at the price of the reached step, 90.50 taken back at that of its own sale
        assert fees.discount_minor == 40 - 54

    with_book(check)


def test_both_say_the_same(database_dsn: FreshDatabase) -> None:
    trades, _ = two_days()

    async def scenario() -> None:
        memory = world(trades, WITH_AGENTS)
        await close_both(memory)
        await publish(database_dsn.owner, trades, captures_of(trades), WITH_AGENTS)
        async with open_postgres(database_dsn.app) as (kept, _):
            await close_both(kept)
            expected = await everything(memory, memory.fee_book())
            found = await everything(kept, kept.fee_book())
        for what, said in expected.items():
            assert found[what] == said, what

    asyncio.run(scenario())


def test_a_share_that_is_not_the_margin_does_not_stand(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        connection = await asyncpg.connect(database_dsn.app)
        try:
            for own, stands in ((5, True), (6, False)):
                share = (DAY, f"c{own}", "M", "156", ["a"], [1], ["t"], [4], 10, 1, own)
                try:
                    await connection.copy_records_to_table(
                        "agent_share", schema_name="settlement", records=[share]
                    )
                    assert stands
                except asyncpg.CheckViolationError:
                    assert not stands
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("UPDATE settlement.agent_share SET own_minor = 0")
        finally:
            await connection.close()

    asyncio.run(scenario())
