"""Own money out of the reserve. Goal: what is ours and funded, once, and never a customer's fen.

Method: one suite in memory and on PostgreSQL, with the bank's statements of both accounts; the reserve
check after every move; then the whole way killed at every commit and write.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from settlement.adapters.payout_postgres import open_payouts
from settlement.four_eyes import RefusedError, judge
from settlement.iso20022.pain001 import NAMESPACE
from settlement.payouts.dates import bring_on
from settlement.payouts.desk import Desk, PayoutError
from settlement.payouts.export import export
from settlement.payouts.ports import Batch
from settlement.payouts.rejection import propose_rejection, reject
from settlement.payouts.release import release, withdraw
from settlement.payouts.sweep import Sweepable, sweep, sweepable
from settlement.reserve import checks
from settlement.statements import take_in
from tests.database import FreshDatabase
from tests.settlement.payout_world import (
    AT,
    CHECKER,
    CNY,
    MAKER,
    MONDAY,
    NOODLES,
    NUMBERS,
    ONE_DAY,
    OWN,
    REFERENCES,
    RESERVE,
    TEA,
    Place,
    Told,
    Town,
    bank_account,
    let_go,
    merchant,
    pay,
    told,
)
from tests.settlement.test_payout import PAYER, Killed, Killing
from tests.settlement.test_payout_store import a_town, on_its_store
from tests.settlement.world import PANS, Sink

TUESDAY, WEDNESDAY = MONDAY + ONE_DAY, MONDAY + 2 * ONE_DAY
Check = Callable[[Place], Awaitable[None]]
DISCOUNT = 60


@pytest.fixture(params=["memory", "postgres"])
def with_town(request: pytest.FixtureRequest) -> Callable[[Check], None]:
    return on_its_store(request)


async def funded(town: Place) -> None:
    """Monday: a sale of 10,000 of which 60 are ours; the network has paid."""
    await town.day(MONDAY, {TEA: 10_000}, discount_minor=DISCOUNT)
    await told(town, TUESDAY, Told(10_000, counterparty=PAYER))
    await bring_on(town.desk(), TUESDAY)


async def assert_covered(town: Place) -> None:
    """The reserve check's second line holds at this moment."""
    for one in checks(MONDAY, await town.payouts.balances(WEDNESDAY + ONE_DAY), []):
        assert one.cover_difference_minor == 0, one


async def swept(town: Place, **options: Any) -> Batch:
    ((batch, proposal),) = await sweep(town.desk(), TUESDAY, **options)
    await let_go(town, proposal)
    return batch


def test_income_goes_when_it_is_funded_and_arrives_as_own_funds(
    with_town: Callable[[Check], None],
) -> None:
    async def check(town: Place) -> None:
        await town.day(MONDAY, {TEA: 10_000}, discount_minor=DISCOUNT)
        assert await sweep(town.desk(), TUESDAY) == []  # not funded yet
        await told(town, TUESDAY, Told(10_000, counterparty=PAYER))
        await bring_on(town.desk(), TUESDAY)
        assert await sweepable(town.payouts) == [Sweepable(CNY, "income", MONDAY, 60, 60, 0, 0, 60)]
        ((batch, proposal),) = await sweep(town.desk(), TUESDAY)
        assert (batch.kind, batch.account, batch.sum_minor) == ("sweep", RESERVE, 60)
        assert proposal.act == "reserve.sweep"
        assert proposal.payload["orders"] == [
            {
                "payee": "own/income",
                "amount_minor": 60,
                "name": "Tongbao Payments",
                "account": NUMBERS[OWN],
                "bank": "PBOCCNBJ",
            }
        ]
        again = await sweep(town.desk(), TUESDAY)
        assert again == [(batch, proposal)], "told again, not made again"
        await let_go(town, proposal)
        await assert_covered(town)
        assert await town.balance("income_swept") == 60
        assert await sweep(town.desk(), TUESDAY) == []
        sink = Sink()
        made = await export(town.desk(), batch.id, sink)
        assert NAMESPACE.encode() in sink.files[made.name]
        assert NUMBERS[OWN].encode() in sink.files[made.name]
        (order,) = await town.payouts.orders([batch.id])
        assert order.end_to_end_id.startswith("P260804S00")

        # the own account's statement may come first; the order is still on its way
        (taken,) = await told(town, TUESDAY, Told(60, order.end_to_end_id), account=OWN)
        assert taken.unmatched == 0
        assert await town.payouts.open_orders() == [order]
        (taken,) = await told(town, WEDNESDAY, Told(-60, order.end_to_end_id))
        assert taken.unmatched == 0
        assert await town.payouts.open_orders() == []
        assert await town.balance("payout_in_transit") == 0
        assert await town.balance("bank_reserve") == 10_000 - 60
        assert await town.balance("bank_own") == 60
        assert await town.balance("own_funds") == -60
        await assert_covered(town)
        # the same credit a second time is nobody's
        (taken,) = await told(town, WEDNESDAY, Told(60, order.end_to_end_id), account=OWN)
        assert taken.unmatched == 1

    with_town(check)


def test_what_an_advance_laid_out_comes_back_from_the_reserve(
    with_town: Callable[[Check], None],
) -> None:
    async def check(town: Place) -> None:
        await town.day(MONDAY, {NOODLES: 2_000})
        (advance,) = await pay(town, TUESDAY)
        assert advance.kind == "advance"
        assert await sweepable(town.payouts) == [], "the network has not paid yet"
        await told(town, TUESDAY, Told(2_000, counterparty=PAYER))
        await bring_on(town.desk(), TUESDAY)
        found = {one.what: one for one in await sweepable(town.payouts)}
        # the advance stands on Tuesday, which is not funded: conservative by a date
        assert found["advances"].amount_minor == 0
        assert found["advances"].standing_minor == 1_980
        await town.day(TUESDAY, {TEA: 100})
        await told(town, WEDNESDAY, Told(100, counterparty=PAYER))
        await bring_on(town.desk(), WEDNESDAY)
        batch = await swept(town)
        orders = {order.payee: order for order in await town.payouts.orders([batch.id])}
        assert {key: one.amount_minor for key, one in orders.items()} == {
            "own/advances": 1_980,
            "own/income": 20,
        }
        assert await town.balance("own_due") == 0
        await assert_covered(town)
        await told(
            town,
            WEDNESDAY,
            *(Told(one.amount_minor, one.end_to_end_id) for one in orders.values()),
            account=OWN,
        )
        assert await town.balance("own_claim") == 0
        assert await town.balance("own_funds") == -20
        await assert_covered(town)

    with_town(check)


def test_a_part_of_it_and_what_is_refused(with_town: Callable[[Check], None]) -> None:
    async def check(town: Place) -> None:
        await funded(town)
        with pytest.raises(RefusedError, match="no permission"):
            await sweep(town.desk(CHECKER), TUESDAY)
        with pytest.raises(PayoutError, match="at most 60"):
            await sweep(town.desk(), TUESDAY, amount_minor=61)
        with pytest.raises(PayoutError, match="own account: none"):
            await sweep(town.desk(), TUESDAY, to="elsewhere")
        ((batch, proposal),) = await sweep(town.desk(), TUESDAY, amount_minor=25)
        # while it waits nothing is made beside it, run again or not
        assert await sweep(town.desk(), TUESDAY, amount_minor=25) == [(batch, proposal)]
        with pytest.raises(RefusedError) as own:
            await let_go(town, proposal, MAKER)
        assert own.value.reason in ("self_approval", "not_allowed")
        await let_go(town, proposal)
        with pytest.raises(RefusedError) as twice:
            await let_go(town, proposal)
        assert twice.value.reason == "replayed"
        (left,) = await sweepable(town.payouts)
        assert left.amount_minor == 35

    with_town(check)


def test_withdrawn_returned_and_rejected_it_is_own_money_in_the_reserve_again(
    with_town: Callable[[Check], None],
) -> None:
    async def check(town: Place) -> None:
        await funded(town)
        ((batch, _),) = await sweep(town.desk(), TUESDAY)
        await withdraw(town.desk(), batch.id)
        batch = await swept(town)
        (order,) = await town.payouts.orders([batch.id])
        name = order.end_to_end_id
        await told(town, TUESDAY, Told(-60, name), Told(60, name, reason="AC04"))
        assert await town.payouts.returned_orders() == [], "the next sweep takes it"
        await assert_covered(town)
        batch = await swept(town)
        (order,) = await town.payouts.orders([batch.id])
        assert order.end_to_end_id != name
        said = await propose_rejection(town.desk(), order.end_to_end_id, "AC01")
        approval = judge(said, CHECKER, seen=said.sha256, used=False)
        await reject(town.desk(CHECKER), approval)
        await assert_covered(town)
        (again,) = await sweepable(town.payouts)
        assert again.amount_minor == 60
        (late,) = await told(town, WEDNESDAY, Told(60, order.end_to_end_id), account=OWN)
        assert late.unmatched == 1

    with_town(check)


def test_what_is_laid_out_is_covered_first() -> None:
    """A merchant's minus and a short: own income waits for them, customers do not."""

    async def scenario() -> None:
        town = Town()
        await town.day(MONDAY, {TEA: 10_000}, discount_minor=DISCOUNT)
        await told(town, TUESDAY, Told(10_000, counterparty=PAYER), Told(-45, text="fee?"))
        await bring_on(town.desk(), TUESDAY)
        (one,) = await sweepable(town.payouts)
        assert (one.uncovered_minor, one.amount_minor) == (45, 15)
        await town.day(TUESDAY, {TEA: -9_945})
        (one,) = await sweepable(town.payouts)
        assert (one.uncovered_minor, one.amount_minor) == (50, 10), "TEA owes 5"

    asyncio.run(scenario())


def test_money_that_is_gone_since_the_proposal_stays() -> None:
    async def scenario() -> None:
        town = Town()
        await funded(town)
        ((_, proposal),) = await sweep(town.desk(), TUESDAY)
        await told(town, TUESDAY, Told(-1, text="fee?"))
        with pytest.raises(PayoutError, match="less than this"):
            await let_go(town, proposal)

    asyncio.run(scenario())


def test_two_own_accounts_must_be_told_apart() -> None:
    async def scenario() -> None:
        town = Town([*REFERENCES, bank_account("own-b", "own"), merchant(TEA)])
        await funded(town)
        with pytest.raises(PayoutError, match="own-a, own-b"):
            await sweep(town.desk(), TUESDAY)
        batch = await swept(town, to="own-b")
        (order,) = await town.payouts.orders([batch.id])
        assert order.creditor_account == "own-b"
        (taken,) = await told(town, TUESDAY, Told(60, order.end_to_end_id), account=OWN)
        assert taken.unmatched == 1, "it went to the other one"

    asyncio.run(scenario())


# -- never twice ----------------------------------------------------------------------------------


async def everything(town: Town, sink: Sink, statements: list[bytes]) -> None:
    """From the network's credit to both ends of the sweep, each command as one would run it again."""
    await take_in(town.desk(), "s.xml", statements[0], PANS)
    await bring_on(town.desk(), TUESDAY)
    for _, proposal in await sweep(town.desk(), TUESDAY):
        await let_go(town, proposal)
    for batch in await town.payouts.batches():
        await export(town.desk(), batch.id, sink)
    for data in statements[1:]:
        await take_in(town.desk(), "s.xml", data, PANS)


async def town_and_statements() -> tuple[Town, list[bytes]]:
    town = Town()
    await town.day(MONDAY, {TEA: 10_000}, discount_minor=DISCOUNT)
    made = Town()
    await funded(made)
    (order,) = await made.payouts.orders([(await swept(made)).id])
    return town, [
        town.bank.statement(TUESDAY, Told(10_000, counterparty=PAYER)),
        town.bank.statement(TUESDAY, Told(60, order.end_to_end_id), account=OWN),
        town.bank.statement(WEDNESDAY, Told(-60, order.end_to_end_id)),
    ]


def test_killed_at_every_commit_and_write_it_goes_once() -> None:
    async def scenario() -> None:
        undisturbed, statements = await town_and_statements()
        whole = Sink()
        await everything(undisturbed, whole, statements)
        moments = 0
        while True:
            town, statements = await town_and_statements()
            sink = Sink()
            killing = Killing(town, sink, moments)
            with suppress(Killed):
                await everything(town, sink, statements)
            await everything(town, sink, statements)
            if killing.left >= 0:
                break
            assert sink.files == whole.files, moments
            assert town.entries() == undisturbed.entries(), moments
            moments += 1
        assert moments > 12

    asyncio.run(scenario())


def test_many_who_sweep_and_release_at_once_sweep_once(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        async with a_town(database_dsn) as town:
            await funded(town)

            async def one() -> None:
                async with open_payouts(database_dsn.app) as payouts:
                    desk = Desk(payouts, town.people, MAKER, AT)
                    for _, proposal in await sweep(desk, TUESDAY):
                        with suppress(RefusedError, PayoutError):
                            approval = judge(proposal, CHECKER, seen=proposal.sha256, used=False)
                            await release(Desk(payouts, town.people, CHECKER, AT), approval)

            await asyncio.gather(*(one() for _ in range(6)), return_exceptions=True)
            (order,) = await town.payouts.orders()
            assert order.amount_minor == 60
            assert await town.balance("payout_in_transit") == -60

    asyncio.run(scenario())
