"""Payouts in memory. Goal: every merchant gets what is due, once, and nobody gets what is not there.

Method: a town with closed dates and a bank that writes real camt.053; scenes first, then drawn days
against the sum of what was sold; then the same killed at every commit and write.
"""

import asyncio
from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from settlement.calendars import Calendar, Holiday
from settlement.contracts import Contract
from settlement.four_eyes import Actor, Approval, RefusedError, judge
from settlement.ledger import entry, movements, trial_balance
from settlement.payouts.dates import bring_on
from settlement.payouts.desk import PayoutError
from settlement.payouts.due import positions
from settlement.payouts.export import export
from settlement.payouts.ports import StaleError
from settlement.payouts.propose import propose
from settlement.payouts.rejection import propose_rejection, reject
from settlement.payouts.release import release, withdraw
from settlement.reserve import reserve_check
from settlement.statements import take_in
from tests.settlement.payout_world import (
    BOOKS,
    CHECKER,
    CNY,
    HKD,
    MONDAY,
    NOODLES,
    ONE_DAY,
    OWN,
    REFERENCES,
    RESERVE,
    TEA,
    Told,
    Town,
    agent,
    bank_account,
    let_go,
    merchant,
    pay,
    told,
)
from tests.settlement.world import PANS, Sink

TUESDAY, WEDNESDAY, FRIDAY = MONDAY + ONE_DAY, MONDAY + 2 * ONE_DAY, MONDAY + 4 * ONE_DAY
PAYER = "990001"  # of bank-a, in its link's item


async def funded_monday(sales: dict[Any, int] | None = None, **town: Any) -> Town:
    made = Town(**town)
    sales = sales or {TEA: 10_000, BOOKS: 5_000}
    await made.day(MONDAY, sales)
    total = sum(amount for key, amount in sales.items() if not isinstance(key, tuple))
    await told(made, TUESDAY, Told(total, counterparty=PAYER))
    await bring_on(made.desk(), TUESDAY)
    return made


def the_reason(found: list[Any], who: str, currency: str = CNY) -> str:
    (one,) = [one for one in found if (one.payee, one.currency) == (who, currency)]
    return str(one.reason)


# -- what is due ----------------------------------------------------------------------------------


def test_paid_when_due_and_funded() -> None:
    async def scenario() -> None:
        town = Town()
        await town.day(MONDAY, {TEA: 10_000, BOOKS: 5_000})
        assert the_reason(await positions(town.payouts, TUESDAY), TEA) == "not_funded"
        assert await pay(town, TUESDAY) == []
        (taken,) = await told(town, TUESDAY, Told(15_000, counterparty=PAYER))
        assert (taken.matched, taken.unmatched) == (1, 0)
        assert [one.state for one in await bring_on(town.desk(), TUESDAY)] == ["withheld", "funded"]
        (batch,) = await pay(town, TUESDAY)
        assert (batch.id, batch.account, batch.count, batch.sum_minor) == (
            "20260804-001",
            RESERVE,
            2,
            15_000,
        )
        assert await town.balance("merchant_payable") == 0
        assert await town.balance("payout_in_transit") == -15_000
        assert await town.balance("bank_reserve") == 15_000
        orders = await town.payouts.orders([batch.id])
        (taken,) = await told(
            town, WEDNESDAY, *(Told(-o.amount_minor, o.end_to_end_id) for o in orders)
        )
        assert taken.unmatched == 0
        await bring_on(town.desk(), WEDNESDAY)
        assert await town.balance("payout_in_transit") == 0
        assert await town.balance("bank_reserve") == 0
        states = await town.payouts.states(MONDAY)
        assert {one.state for one in states} == {"withheld", "funded", "paid", "confirmed"}

    asyncio.run(scenario())


def test_who_is_not_paid_and_why() -> None:
    async def scenario() -> None:
        who = [f"10411005812000{n}" for n in range(9)]
        changed: list[dict[str, Any]] = [
            {"status": "suspended"},
            {"settlement_account": ""},
            {"payout_calendar": ""},
            {"payout_calendar": "XX"},
            {"payout_cycle": "T+3"},
            {"payout_minimum_minor": 20_000},
            {"payout_account": OWN},  # T+1 never from own funds
            {"payout_cycle": "T+0"},  # and T+0 must name its account
            {"payout_cycle": "T+0", "payout_account": RESERVE},  # never customers' money
        ]
        references = [
            *REFERENCES[:5],
            *(merchant(key, **change) for key, change in zip(who, changed, strict=True)),
        ]
        town = await funded_monday(dict.fromkeys(who, 10_000), references=references)
        town.post(await sale("104110058129999", day=TUESDAY))
        found = await positions(town.payouts, TUESDAY)
        assert [the_reason(found, key) for key in who] == [
            "suspended",
            "no_account",
            "no_calendar",
            "no_calendar",
            "not_due",
            "minimum",
            "no_account",
            "no_account",
            "no_account",
        ]
        assert the_reason(found, "104110058129999") == "no_contract"
        assert await pay(town, TUESDAY) == []
        saturday = await positions(town.payouts, date(2026, 8, 8))
        assert the_reason(saturday, who[4]) == "holiday"
        assert the_reason(await positions(town.payouts, date(2026, 8, 6)), who[4]) == "pay"

    asyncio.run(scenario())


async def sale(who: str, amount: int = 1, day: date = MONDAY, step: str = "case") -> Any:
    return entry(
        "captured",
        "test",
        f"{who}/{day}/{step}/{amount}",
        {"effect": amount, "discount": 0},
        business_date=day,
        step=step,
        currency=CNY,
        acquirer="bank-b",
        settlement_date=day,
        merchant=who,
    )


def test_a_minus_is_carried_and_eats_the_next_days_sales() -> None:
    async def scenario() -> None:
        town = await funded_monday({TEA: -3_000, BOOKS: 5_000})
        found = await positions(town.payouts, TUESDAY)
        assert the_reason(found, TEA) == "minus"
        (batch,) = await pay(town, TUESDAY)
        assert batch.sum_minor == 5_000
        await town.day(TUESDAY, {TEA: 8_000})
        await told(town, WEDNESDAY, Told(8_000, counterparty=PAYER))
        await bring_on(town.desk(), WEDNESDAY)
        (batch,) = await pay(town, WEDNESDAY)
        assert [one.amount_minor for one in await town.payouts.orders([batch.id])] == [5_000]

    asyncio.run(scenario())


def test_what_a_later_date_takes_back_is_not_paid_though_it_is_not_due_yet() -> None:
    async def scenario() -> None:
        town = await funded_monday({TEA: 10_000})
        await town.day(TUESDAY, {TEA: -4_000})
        (batch,) = await pay(town, TUESDAY)
        assert batch.sum_minor == 6_000

    asyncio.run(scenario())


def test_two_currencies_two_batches() -> None:
    async def scenario() -> None:
        town = Town()
        await town.day(MONDAY, {TEA: 10_000, (TEA, HKD): 7_000})
        await told(town, TUESDAY, Told(10_000, counterparty=PAYER))
        await told(
            town, TUESDAY, Told(7_000, counterparty=PAYER), account="reserve-hk", currency=HKD
        )
        await bring_on(town.desk(), TUESDAY)
        batches = await pay(town, TUESDAY)
        assert [(one.account, one.currency, one.sum_minor) for one in batches] == [
            (RESERVE, CNY, 10_000),
            ("reserve-hk", HKD, 7_000),
        ]

    asyncio.run(scenario())


# -- maker and checker ----------------------------------------------------------------------------


def test_refusals_are_told_and_change_nothing() -> None:
    async def scenario() -> None:
        town = await funded_monday()
        everything = frozenset({"propose:payout.release", "approve:payout.release"})
        both = Actor("both", everything)
        with pytest.raises(RefusedError, match="no permission propose:"):
            await propose(town.desk(CHECKER), TUESDAY)
        ((_, proposal),) = await propose(town.desk(both), TUESDAY)
        for actor, seen, reason in (
            (both, proposal.sha256, "self_approval"),
            (Actor("nobody"), proposal.sha256, "not_allowed"),
            (CHECKER, "0" * 64, "changed"),
        ):
            with pytest.raises(RefusedError) as refused:
                await let_go(town, proposal, actor, seen)
            assert refused.value.reason == reason
        assert await town.balance("payout_in_transit") == 0
        approval = judge(proposal, CHECKER, seen=proposal.sha256, used=False)
        await release(town.desk(CHECKER), approval)
        with pytest.raises(RefusedError, match="released already"):  # the same approval again
            await release(town.desk(CHECKER), approval)
        with pytest.raises(RefusedError, match="approved already"):
            await let_go(town, proposal)
        other = msgspec.structs.replace(proposal, act="case.adjust")
        with pytest.raises(RefusedError, match="proposes no payout"):
            await release(town.desk(CHECKER), Approval(other, "chen"))
        for act in (
            withdraw(town.desk(CHECKER), "20260804-001"),
            export(town.desk(CHECKER), "20260804-001", Sink()),
            take_in(town.desk(CHECKER), "s", b"", PANS),
            reserve_check(town.desk(CHECKER), MONDAY),
        ):
            with pytest.raises(RefusedError, match="chen has no permission do:"):
                await act
        assert await town.balance("payout_in_transit") == -15_000
        assert town.payouts.audit[-1] == ("chen", "payout.release", "20260804-001")

    asyncio.run(scenario())


def test_orders_changed_behind_the_proposal_are_refused() -> None:
    async def scenario() -> None:
        town = await funded_monday()
        ((batch, proposal),) = await propose(town.desk(), TUESDAY)
        order = (await town.payouts.orders([batch.id]))[0]
        town.payouts._orders[order.end_to_end_id] = msgspec.structs.replace(
            order, creditor_account="6666"
        )
        with pytest.raises(RefusedError, match="not what was proposed"):
            await let_go(town, proposal)

    asyncio.run(scenario())


def test_money_that_is_gone_since_the_proposal_is_not_released() -> None:
    async def scenario() -> None:
        town = await funded_monday()
        ((batch, proposal),) = await propose(town.desk(), TUESDAY)
        town.post(await sale(TEA, -1, TUESDAY))
        with pytest.raises(PayoutError, match="has less than this by now"):
            await let_go(town, proposal)
        await withdraw(town.desk(), batch.id)
        with pytest.raises(RefusedError, match="withdrawn already"):
            await release(town.desk(CHECKER), Approval(proposal, "chen"))
        (again,) = await pay(town, TUESDAY)
        assert (again.id, again.sum_minor) == ("20260804-002", 14_999)
        first = await town.payouts.orders(["20260804-001"])
        second = await town.payouts.orders(["20260804-002"])
        assert not {o.end_to_end_id for o in first} & {o.end_to_end_id for o in second}
        with pytest.raises(PayoutError, match="released already"):
            await withdraw(town.desk(), again.id)

    asyncio.run(scenario())


def test_proposing_again_makes_nothing_new() -> None:
    async def scenario() -> None:
        town = await funded_monday()
        first = await propose(town.desk(), TUESDAY)
        assert await propose(town.desk(), TUESDAY) == first
        assert the_reason(await positions(town.payouts, TUESDAY), TEA) == "pending"
        assert the_reason(await positions(town.payouts, WEDNESDAY), TEA) == "pending"

    asyncio.run(scenario())


def test_two_who_release_at_once_release_once() -> None:
    async def scenario() -> None:
        town = await funded_monday()
        ((_, proposal),) = await propose(town.desk(), TUESDAY)
        results = await asyncio.gather(
            *(let_go(town, proposal) for _ in range(5)),
            return_exceptions=True,
        )
        assert sum(isinstance(one, RefusedError) for one in results) == 4
        assert await town.balance("payout_in_transit") == -15_000

    asyncio.run(scenario())


# -- T+0 ------------------------------------------------------------------------------------------

ADVANCED = merchant(
    NOODLES, payout_cycle="T+0", payout_account=OWN, advance_fee_rate=Decimal("0.01")
)


def test_an_advance_is_own_money_for_a_fee_and_never_the_reserve() -> None:
    async def scenario() -> None:
        town = Town([*REFERENCES[:-1], ADVANCED])
        await town.day(MONDAY, {NOODLES: 10_000})
        assert await bring_on(town.desk(), TUESDAY), "not funded, but that does not matter here"
        (batch,) = await pay(town, TUESDAY)
        assert (batch.account, batch.kind, batch.sum_minor) == (OWN, "advance", 9_900)
        assert await town.balance("merchant_payable") == 0
        assert await town.balance("own_due") == -9_900
        assert await town.balance("advance_fee") == -100
        assert await town.balance("own_claim") == 9_900
        assert await town.balance("payout_in_transit") == await town.balance("bank_reserve") == 0
        (order,) = await town.payouts.orders([batch.id])
        await told(town, TUESDAY, Told(-9_900, order.end_to_end_id), account=OWN)
        assert await town.balance("bank_own") == -9_900
        assert await town.balance("advance_in_transit") == 0
        await told(town, WEDNESDAY, Told(9_900, order.end_to_end_id, reason="AC04"), account=OWN)
        assert await town.balance("bank_own") == 0
        assert await town.balance("merchant_payable") == -10_000
        for account in ("own_due", "own_claim", "advance_fee"):
            assert await town.balance(account) == 0
        await told(town, WEDNESDAY, Told(10_000, counterparty=PAYER))
        assert the_reason(await positions(town.payouts, WEDNESDAY), NOODLES) == "returned"

    asyncio.run(scenario())


# -- rolling reserve ------------------------------------------------------------------------------


def test_a_rolling_reserve_up_to_its_cap_and_back_after_its_days() -> None:
    async def scenario() -> None:
        kept = merchant(TEA, reserve_rate=Decimal("0.10"), reserve_days=3, reserve_cap_minor=1_500)
        town = Town([*REFERENCES[:5], kept])
        paid = []
        for n in range(3):
            day = MONDAY + n * ONE_DAY
            await town.day(day, {TEA: 10_000})
            await told(town, day + ONE_DAY, Told(10_000, counterparty=PAYER))
            await bring_on(town.desk(), day + ONE_DAY)
            paid += [batch.sum_minor for batch in await pay(town, day + ONE_DAY)]
        # 1,000 of Monday, 500 of Tuesday up to the cap; on Thursday Monday's comes back
        assert paid == [9_000, 9_500, 11_000]
        assert await town.balance("merchant_reserve") == -500
        await bring_on(town.desk(), FRIDAY)
        assert await town.balance("merchant_reserve") == 0
        assert [one.sum_minor for one in await pay(town, FRIDAY)] == [500]

    asyncio.run(scenario())


def test_a_reserve_of_a_date_that_is_not_due_leaves_earlier_dates_alone() -> None:
    async def scenario() -> None:
        kept = merchant(TEA, reserve_rate=Decimal("0.10"), reserve_days=90, payout_cycle="T+3")
        town = Town([*REFERENCES[:5], kept])
        for n in range(3):
            day = MONDAY + n * ONE_DAY
            await town.day(day, {TEA: 10_000})
            await told(town, day + ONE_DAY, Told(10_000, counterparty=PAYER))
        await bring_on(town.desk(), date(2026, 8, 6))
        (batch,) = await pay(town, date(2026, 8, 6))
        assert batch.sum_minor == 9_000

    asyncio.run(scenario())


# -- agents ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cycle", "on", "through"),
    [
        ("M+1", date(2026, 9, 1), date(2026, 8, 31)),  # Tuesday, the first working day
        ("M+1", date(2026, 8, 31), date(2026, 7, 31)),
        ("M+3", date(2026, 9, 2), date(2026, 7, 31)),
        ("M+3", date(2026, 9, 3), date(2026, 8, 31)),
        ("M+1", date(2026, 10, 7), date(2026, 8, 31)),  # holidays to the 7th
        ("M+1", date(2026, 10, 8), date(2026, 9, 30)),
        ("M+1", date(2026, 2, 2), date(2026, 1, 31)),  # the 1st is a Sunday
        ("M+1", date(2026, 2, 1), date(2025, 12, 31)),
    ],
)
def test_a_month_is_paid_in_the_next(cycle: str, on: date, through: date) -> None:
    calendar = Calendar("CN", (2026,), holidays=(Holiday(date(2026, 10, 1), date(2026, 10, 7)),))
    assert Contract("x", payout_cycle=cycle).last_due([calendar], on) == through


def test_agents_are_paid_by_the_month_from_their_shares() -> None:
    async def scenario() -> None:
        town = Town([*REFERENCES, agent("north"), agent("south", settlement_account="")])
        await town.day(MONDAY, {TEA: 10_000, "agent/north": 700, "agent/south": 9})
        await told(town, TUESDAY, Told(10_000, counterparty=PAYER))
        await bring_on(town.desk(), TUESDAY)
        found = await positions(town.payouts, TUESDAY)
        assert the_reason(found, "agent/north") == "not_due"
        assert the_reason(found, "agent/south") == "no_account"
        await pay(town, TUESDAY)
        await told(town, TUESDAY, Told(-10_000, f"P260804T01{TEA}156001"))
        await bring_on(town.desk(), TUESDAY)
        assert "confirmed" in {one.state for one in await town.payouts.states(MONDAY)}
        september = date(2026, 9, 1)
        (batch,) = await pay(town, september)
        (order,) = await town.payouts.orders([batch.id])
        assert (order.payee, order.amount_minor, order.cycle) == ("agent/north", 700, "M+1")
        assert await town.balance("agent_share_payable", "north") == 0
        await told(
            town,
            september,
            Told(-700, order.end_to_end_id),
            Told(700, order.end_to_end_id, reason="AC04"),
        )
        assert await town.balance("agent_share_payable", "north") == -700
        assert await town.balance("payout_in_transit") == 0
        (batch,) = await pay(town, september, replace=[order.end_to_end_id])
        assert batch.sum_minor == 700

    asyncio.run(scenario())


# -- returns --------------------------------------------------------------------------------------


async def returned(town: Town) -> str:
    (batch,) = await pay(town, TUESDAY)
    order = next(o for o in await town.payouts.orders([batch.id]) if o.payee == TEA)
    others = [o for o in await town.payouts.orders([batch.id]) if o.payee != TEA]
    await told(
        town,
        TUESDAY,
        *(Told(-o.amount_minor, o.end_to_end_id) for o in [order, *others]),
        Told(order.amount_minor, order.end_to_end_id, reason="AC04"),
    )
    return order.end_to_end_id


def test_a_returned_payout_is_the_merchants_again_and_needs_a_new_order() -> None:
    async def scenario() -> None:
        town = await funded_monday()
        old = await returned(town)
        assert await town.balance("merchant_payable", TEA) == -10_000
        (event,) = [e for e in await town.payouts.events([old]) if e.kind == "returned"]
        assert event.reason == "AC04"
        assert the_reason(await positions(town.payouts, WEDNESDAY), TEA) == "returned"
        assert await pay(town, WEDNESDAY) == [], "never by itself"
        assert await pay(town, TUESDAY) == []
        (batch,) = await pay(town, TUESDAY, replace=[old])
        (order,) = await town.payouts.orders([batch.id])
        assert (order.replaces, order.amount_minor, order.sequence) == (old, 10_000, 2)
        assert order.end_to_end_id == old[:-3] + "002"
        assert await town.balance("merchant_payable", TEA) == 0
        with pytest.raises(PayoutError, match="new order already"):
            await propose(town.desk(), TUESDAY, replace=[old])
        assert await town.payouts.returned_orders() == []

    asyncio.run(scenario())


def test_a_new_order_pays_no_more_than_is_left() -> None:
    async def scenario() -> None:
        town = await funded_monday()
        old = await returned(town)
        town.post(await sale(TEA, -9_000, TUESDAY))
        (batch,) = await pay(town, WEDNESDAY, replace=[old])
        assert batch.sum_minor == 1_000
        town = await funded_monday()
        old = await returned(town)
        town.post(await sale(TEA, -10_001, TUESDAY))
        with pytest.raises(PayoutError, match="nothing is left"):
            await propose(town.desk(), WEDNESDAY, replace=[old])

    asyncio.run(scenario())


def test_new_sales_are_paid_beside_a_returned_payout() -> None:
    async def scenario() -> None:
        town = await funded_monday()
        await returned(town)
        await town.day(TUESDAY, {TEA: 700})
        await told(town, WEDNESDAY, Told(700, counterparty=PAYER))
        await bring_on(town.desk(), WEDNESDAY)
        (batch,) = await pay(town, WEDNESDAY)
        assert batch.sum_minor == 700

    asyncio.run(scenario())


async def say_rejected(town: Town, name: str) -> Any:
    proposal = await propose_rejection(town.desk(), name, "AC01")
    return judge(proposal, CHECKER, seen=proposal.sha256, used=False)


@pytest.mark.parametrize("advance", [False, True])
def test_what_the_bank_did_not_execute_can_be_paid_again(advance: bool) -> None:
    async def scenario() -> None:
        town = Town([*REFERENCES[:-1], ADVANCED])
        who = NOODLES if advance else TEA
        await town.day(MONDAY, {who: 10_000})
        await told(town, TUESDAY, Told(10_000, counterparty=PAYER))
        await bring_on(town.desk(), TUESDAY)
        ((batch, proposal),) = await propose(town.desk(), TUESDAY)
        (order,) = await town.payouts.orders([batch.id])
        name = order.end_to_end_id
        for asked, why in ((name, "is not released"), ("P9", "there is no order P9")):
            with pytest.raises(PayoutError, match=why):
                await propose_rejection(town.desk(), asked, "AC01")
        await let_go(town, proposal)
        approval = await say_rejected(town, name)
        await reject(town.desk(CHECKER), approval)
        assert await town.balance("merchant_payable") == -10_000
        for account in ("payout_in_transit", "advance_in_transit", "own_due", "own_claim"):
            assert await town.balance(account) == 0
        with pytest.raises(PayoutError, match="is rejected already"):
            await reject(town.desk(CHECKER), approval)
        account = OWN if advance else RESERVE
        (taken,) = await told(town, TUESDAY, Told(-order.amount_minor, name), account=account)
        assert taken.unmatched == 1, "paid all the same: a case"
        assert the_reason(await positions(town.payouts, TUESDAY), who) == "returned"
        (batch,) = await pay(town, TUESDAY, replace=[name])
        assert batch.sum_minor == order.amount_minor

    asyncio.run(scenario())


def test_a_confirmed_order_is_not_rejected() -> None:
    async def scenario() -> None:
        town = await funded_monday()
        (batch,) = await pay(town, TUESDAY)
        tea = (await town.payouts.orders([batch.id]))[0]
        approval = await say_rejected(town, tea.end_to_end_id)
        await told(town, TUESDAY, Told(-tea.amount_minor, tea.end_to_end_id))
        with pytest.raises(PayoutError, match="is confirmed already"):
            await reject(town.desk(CHECKER), approval)

    asyncio.run(scenario())


# -- the file -------------------------------------------------------------------------------------


def test_a_file_only_of_what_is_released_and_always_the_same() -> None:
    async def scenario() -> None:
        town = await funded_monday()
        ((batch, proposal),) = await propose(town.desk(), TUESDAY)
        sink = Sink()
        with pytest.raises(PayoutError, match="not released"):
            await export(town.desk(), batch.id, sink)
        await let_go(town, proposal)
        first = await export(town.desk(), batch.id, sink)
        assert first.name == "2026-08-04/TB20260804-001.xml"
        kept = dict(sink.files)
        assert await export(town.desk(), batch.id, sink) == first
        sink.files.clear()  # lost: written again
        assert await export(town.desk(), batch.id, sink) == first
        assert sink.files == kept
        with pytest.raises(PayoutError, match="no batch"):
            await export(town.desk(), "20260804-009", sink)

    asyncio.run(scenario())


# -- properties -----------------------------------------------------------------------------------

AMOUNTS = st.integers(-2_000, 5_000)
SHOPS: dict[str, dict[str, Any]] = {
    TEA: {},
    BOOKS: {"payout_minimum_minor": 800, "reserve_rate": Decimal("0.05"), "reserve_days": 2},
    NOODLES: {
        "payout_cycle": "T+0",
        "payout_account": OWN,
        "advance_fee_rate": Decimal("0.003"),
    },
    "104110058120004": {"payout_cycle": "T+2"},
}


@settings(max_examples=60, deadline=None)
@given(
    days=st.lists(
        st.dictionaries(st.sampled_from(sorted(SHOPS)), AMOUNTS, min_size=1), min_size=1, max_size=6
    ),
    paid_on=st.sets(st.integers(1, 9), max_size=6),
    funded_on=st.sets(st.integers(1, 9), max_size=6),
    returns=st.sets(st.integers(0, 20), max_size=4),
)
def test_paid_held_and_carried_are_all_that_was_sold(
    days: list[dict[str, int]], paid_on: set[int], funded_on: set[int], returns: set[int]
) -> None:
    async def scenario() -> None:
        references = [*REFERENCES[:5], *(merchant(key, **said) for key, said in SHOPS.items())]
        town = Town(references)
        owed: list[int] = []
        seen: set[str] = set()
        number = 0
        for n in range(10):
            day = MONDAY + n * ONE_DAY
            if n in funded_on and any(owed):
                await told(town, day, *(Told(a, counterparty=PAYER) for a in owed if a))
                owed.clear()
            await bring_on(town.desk(), day)
            if n in paid_on:
                for batch in await pay(town, day):
                    lines, back = [], []
                    for order in await town.payouts.orders([batch.id]):
                        assert order.amount_minor > 0
                        assert order.end_to_end_id not in seen, "paid twice"
                        seen.add(order.end_to_end_id)
                        lines.append(Told(-order.amount_minor, order.end_to_end_id))
                        if number in returns:
                            back.append(
                                Told(order.amount_minor, order.end_to_end_id, reason="AC04")
                            )
                        number += 1
                    assert (batch.account == OWN) == (batch.kind == "advance")
                    (taken,) = await told(town, day, *lines, *back, account=batch.account)
                    assert taken.unmatched == 0
                again = [o.end_to_end_id for o in await town.payouts.returned_orders()]
                for old in again:
                    with suppress(PayoutError):  # a holiday, or a balance that went into minus
                        await pay(town, day, replace=[old])
            if n < len(days):
                await town.day(day, days[n])
                owed.append(sum(days[n].values()))
        await check(town, days)

    asyncio.run(scenario())


async def check(town: Town, days: list[dict[str, int]]) -> None:
    orders = {o.end_to_end_id: o for o in await town.payouts.orders()}
    released = {d.batch for d in await town.payouts.decisions() if d.decision == "released"}
    back = {e.end_to_end_id for e in await town.payouts.events(orders) if e.kind == "returned"}
    paid: dict[str, int] = {}
    for name, order in orders.items():
        if order.batch in released and name not in back:
            paid[order.payee] = paid.get(order.payee, 0) + order.amount_minor + order.fee_minor
    for key in SHOPS:
        sold = sum(day.get(key, 0) for day in days)
        held = await town.balance("merchant_reserve", key)
        carried = await town.balance("merchant_payable", key)
        assert sold == paid.get(key, 0) - held - carried
        replaced = [o.replaces for o in orders.values() if o.replaces]
        assert len(replaced) == len(set(replaced)), "one return, one new order"
    trial_balance(movements(town.entries()))
    reserve = await town.balance("bank_reserve")
    assert reserve == town.bank.balances.get(RESERVE, 0)
    assert await town.balance("bank_own") == town.bank.balances.get(OWN, 0)
    # own and customers' money apart: each side sums to zero by itself
    own = ("bank_own", "advance_in_transit", "own_claim", "own_funds")
    assert sum([await town.balance(account) for account in own]) == 0


# -- killed ---------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


class Killing:
    """A store and a sink that end the process before or after the n-th commit or write."""

    def __init__(self, town: Town, sink: Sink, moment: int) -> None:
        self.left = moment
        commit, write, made = town.payouts.commit, sink.write, town.people.propose

        async def killing_commit(facts: Any) -> None:
            self.at()
            await commit(facts)
            self.at()

        async def killing_propose(*values: Any) -> Any:
            self.at()
            done = await made(*values)
            self.at()
            return done

        def killing_write(name: str, data: bytes) -> None:
            self.at()
            write(name, data)
            self.at()

        town.payouts.commit = killing_commit  # type: ignore[method-assign]
        town.people.propose = killing_propose  # type: ignore[assignment,method-assign]
        sink.write = killing_write  # type: ignore[method-assign]

    def at(self) -> None:
        self.left -= 1
        if self.left == -1:
            raise Killed


async def everything(town: Town, sink: Sink, statements: list[bytes]) -> None:
    """A day's work from the network's credit to the new order for a returned payout: each command
    as an operator would run it again."""
    for data in statements[:1]:
        await take_in(town.desk(), "s.xml", data, PANS)
    await bring_on(town.desk(), TUESDAY)
    for _, proposal in await propose(town.desk(), TUESDAY):
        await let_go(town, proposal)
    for batch in await town.payouts.batches():
        await export(town.desk(), batch.id, sink)
    for data in statements[1:]:
        await take_in(town.desk(), "s.xml", data, PANS)
    await bring_on(town.desk(), WEDNESDAY)
    back = await town.payouts.returned_orders()
    if back:
        await propose(town.desk(), WEDNESDAY, replace=[o.end_to_end_id for o in back])
    for batch in await town.payouts.batches():
        for proposal in await town.people.pending():
            if proposal.subject == batch.id:
                await let_go(town, proposal)
    for batch in await town.payouts.batches():
        await export(town.desk(), batch.id, sink)
    await bring_on(town.desk(), WEDNESDAY)


async def town_and_statements() -> tuple[Town, list[bytes]]:
    town = Town([*REFERENCES[:-1], ADVANCED])
    await town.day(MONDAY, {TEA: 10_000, BOOKS: 5_000, NOODLES: 2_000})
    ids = [f"P260804T01{who}156001" for who in (TEA, BOOKS)]
    statements = [
        town.bank.statement(TUESDAY, Told(17_000, counterparty=PAYER)),
        town.bank.statement(
            WEDNESDAY,
            Told(-10_000, ids[0]),
            Told(-5_000, ids[1]),
            Told(10_000, ids[0], reason="AC04"),
        ),
        town.bank.statement(WEDNESDAY, Told(-1_980, f"P260804T00{NOODLES}156001"), account=OWN),
    ]
    return town, statements


def test_killed_at_every_commit_and_write_it_comes_to_the_same() -> None:
    async def scenario() -> None:
        undisturbed, statements = await town_and_statements()
        whole = Sink()
        await everything(undisturbed, whole, statements)
        assert len(whole.files) == 3
        moments = 0
        while True:
            town, statements = await town_and_statements()
            sink = Sink()
            killing = Killing(town, sink, moments)
            try:
                await everything(town, sink, statements)
            except Killed:
                await everything(town, sink, statements)
            if killing.left >= 0:
                break
            assert sink.files == whole.files, moments
            assert town.entries() == undisturbed.entries(), moments
            states, expected = await town.payouts.states(), await undisturbed.payouts.states()
            assert [(s.business_date, s.state) for s in states] == [
                (s.business_date, s.state) for s in expected
            ]
            moments += 1
        assert moments > 20

    asyncio.run(scenario())


def test_an_act_that_others_overtake_reads_again() -> None:
    async def scenario() -> None:
        town = await funded_monday()
        commit, failures = town.payouts.commit, iter(range(3))

        async def overtaken(facts: Any) -> None:
            if next(failures, None) is not None:
                raise StaleError("another")
            await commit(facts)

        town.payouts.commit = overtaken  # type: ignore[method-assign]
        assert [one.sum_minor for one in await pay(town, TUESDAY)] == [15_000]

        async def always(facts: Any) -> None:
            raise StaleError("another")

        await town.day(TUESDAY, {TEA: 10})
        town.payouts.commit = always  # type: ignore[method-assign]
        with pytest.raises(PayoutError, match="try again"):
            await bring_on(town.desk(), WEDNESDAY)

    asyncio.run(scenario())


def test_an_account_of_ours_with_another_currency_pays_nothing() -> None:
    async def scenario() -> None:
        references = [*REFERENCES[:2], bank_account("reserve-hk", "reserve", HKD), merchant(TEA)]
        town = Town(references)
        await town.day(MONDAY, {TEA: 10_000})
        assert the_reason(await positions(town.payouts, TUESDAY), TEA) == "no_account"

    asyncio.run(scenario())
