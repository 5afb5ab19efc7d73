"""Agents' shares: whoever shares, the margin is kept to the last fen.

Goal: Σ shares + own = margin for every record; what a refund takes back is what its sale gave;
no order of records and no history of a chain changes what it comes to. Method: drawn chains of
contracts and effects against these laws, worked examples for what each level gets.
"""

import asyncio
from datetime import date
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, strategies as st

from settlement.clearing import ClearingRecord, Reference
from settlement.fees import REFORM_96, Basis, Component, NotInForceError, Plan, Rate, Tariffs
from settlement.shares import (
    DEPTH_MAX,
    NOTHING,
    Agent,
    Level,
    RecordShare,
    Sale,
    accruals,
    contract_faults,
    levels_of,
    shares_of,
    statements,
    step_shares,
    totals,
    tree_fault,
)
from tests.settlement.world import (
    DAY,
    NEXT,
    REFERENCES,
    billed,
    com_file,
    inbox,
    reference,
    run_close,
    trade,
    world,
)

DEBIT = Basis("debit", "5812")
SOLD = date(2026, 3, 5)


def record(
    request_id: int, root: int, effect_minor: int, time: str, **changes: str
) -> ClearingRecord:
    return ClearingRecord(
        key=f"c{request_id * 16}",
        business_date=SOLD,
        settlement_date=SOLD,
        request_id=request_id,
        root_request_id=root,
        type=changes.get("type", "purchase" if request_id == root else "refund"),
        state=changes.get("state", "approved"),
        merchant="M",
        terminal="T",
        batch=1,
        stan=1,
        acquirer="bank",
        effect_minor=effect_minor,
        amount_minor=effect_minor,
        currency="156",
        de32="1",
        de33="1",
        link_stan="000001",
        transmission_time=time,
        rrn="",
        auth_code="",
        pan_token=b"",
        pan_masked="",
        mcc="5411",
        entry_mode="",
        response_code="00",
        card_type="debit",
        plan="standard",
        plan_version=1,
    )


def by_age(one: ClearingRecord) -> tuple[date, bool, str]:
    """A chain's sale first, the others by DE 7."""
    return one.business_date, one.request_id != one.root_request_id, one.transmission_time


def price(rate: str, name: str = "p", **more: Any) -> Plan:
    line = Rate(Decimal(rate), **more)
    return Plan((Component("merchant_discount", (line,)),), name, 1)


def level(agent: str, rate: str = "", *, per_mille: str = "0") -> Level:
    return Level(agent, 1, price(rate) if rate else None, Decimal(per_mille))


def sale(discount: str, *levels: Level, cost: Plan = REFORM_96) -> Sale:
    return Sale(price(discount, "sale"), cost, levels, DEBIT)


def test_each_level_keeps_the_difference_to_its_childs_price() -> None:
    """1 000.00 at 0.60 %: agent buys at 0.52 %, its parent at 0.45 %; bank and network take 3.83."""
    of = sale("0.0060", level("a", "0.0052"), level("b", "0.0045"))
    _, state, given = step_shares(of, ((100_000, False),))
    assert (state.discount_minor, state.cost_minor) == (600, 350 + 33)
    assert given == (80, 70)
    assert state.discount_minor - state.cost_minor - sum(given) == 67  # the house


def test_a_fixed_part_and_a_price_in_one_chain() -> None:
    of = sale("0.0060", level("a", per_mille="0.5"), level("b", "0.0048"))
    assert step_shares(of, ((100_000, False),))[2] == (50, 70)


@pytest.mark.parametrize(
    ("prices", "given"),
    [
        (("0.0070", "0.0045"), (0, 150)),  # asked more than the merchant pays: nothing, not minus
        (("0.0045", "0.0052"), (150, 0)),  # asked less than its parent: the parent goes without
        (("0.0010", "0.0005"), (217, 0)),  # below cost: the margin ends there
    ],
)
def test_no_share_is_minus_and_none_beyond_the_margin(
    prices: tuple[str, str], given: tuple[int, ...]
) -> None:
    of = sale("0.0060", level("a", prices[0]), level("b", prices[1]))
    assert step_shares(of, ((100_000, False),))[2] == given


def test_a_sale_below_cost_gives_nobody_anything() -> None:
    of = sale("0.0020", level("a", "0.0010"))
    _, state, given = step_shares(of, ((100_000, False),))
    assert (state.discount_minor - state.cost_minor, given) == (200 - 383, (0,))


def test_a_discount_that_is_kept_on_refund_keeps_its_shares_too() -> None:
    kept = Plan((Component("merchant_discount", (Rate(Decimal("0.006")),), on_refund="none"),))
    of = Sale(kept, REFORM_96, (level("a", per_mille="1"),), DEBIT)
    _, state, given = step_shares(of, ((100_000, False), (-100_000, True)))
    # the cost comes back, the discount does not; the fixed part is of the net, which is nothing
    assert (state.discount_minor, state.cost_minor, given) == (600, 0, (-100,))


# -- laws --------------------------------------------------------------------------------------

RATES = st.integers(0, 120).map(lambda n: str(Decimal(n) / 10_000))
LEVELS = st.lists(
    st.one_of(
        RATES.map(lambda rate: level("x", rate or "0")),
        st.integers(1, 90).map(lambda n: level("x", per_mille=str(Decimal(n) / 10))),
    ),
    min_size=1,
    max_size=DEPTH_MAX,
)
ROUNDING: st.SearchStrategy[Any] = st.sampled_from(["half_up", "down", "half_even"])
ON_REFUND: st.SearchStrategy[Any] = st.sampled_from(["difference", "whole", "none"])


@st.composite
def sales(draw: st.DrawFn) -> Sale:
    def component(name: str, cap: int | None) -> Component:
        return Component(
            name,
            (Rate(Decimal(draw(RATES)), cap_minor=cap),),
            draw(ROUNDING),
            draw(ON_REFUND),
        )

    plan = Plan((component("merchant_discount", draw(st.sampled_from([None, 2_000]))),), "s", 1)
    cost = Plan((component("issuer", 1_300), component("network", 325)), "c", 1)
    return Sale(plan, cost, tuple(draw(LEVELS)), DEBIT)


@st.composite
def steps(draw: st.DrawFn) -> tuple[tuple[int, bool], ...]:
    """A sale and refunds of parts of it; at times a refund of a sale that is not ours."""
    if draw(st.booleans()) and draw(st.booleans()):
        return ((-draw(st.integers(1, 10**7)), True),)
    net = draw(st.integers(1, 10**7))
    made = [(net, False)]
    while net and len(made) < 5 and draw(st.booleans()):
        part = draw(st.integers(1, net))
        made.append((-part, draw(st.booleans())))
        net -= part
    return tuple(made)


@given(sales(), steps())
def test_the_shares_and_ours_are_the_margin_at_every_step(of: Sale, chain: Any) -> None:
    sums = [0] * len(of.levels)
    for end in range(1, len(chain) + 1):
        before, after, given = step_shares(of, chain[:end])
        sums = [total + share for total, share in zip(sums, given, strict=True)]
        margin = after.discount_minor - after.cost_minor
        if after.discount_minor >= 0:
            assert 0 <= sum(sums) <= max(after.discount_minor, 0)
            assert sum(sums) <= max(margin, 0) or after.cost_minor < 0
            assert min(sums) >= 0
        else:
            assert sum(sums) <= 0
            assert max(sums) <= 0
        # RecordShare holds the law to the fen, and would not be made otherwise
        share = RecordShare(
            DAY, "c1", "M", "156", *_names(of), given,
            after.discount_minor - before.discount_minor,
            after.cost_minor - before.cost_minor,
            margin - (before.discount_minor - before.cost_minor) - sum(given),
        )  # fmt: skip
        assert share.own_minor + sum(share.shares_minor) == share.discount_minor - share.cost_minor


def _names(of: Sale) -> tuple[tuple[str, ...], tuple[int, ...], tuple[str, ...]]:
    count = len(of.levels)
    return ("x",) * count, (1,) * count, ("t",) * count


@given(sales(), st.integers(1, 10**7), st.data())
def test_what_ends_at_nothing_leaves_nothing(of: Sale, net: int, data: st.DataObject) -> None:
    """Whatever was taken back in how many parts, voids here: they always give all back."""
    chain: list[tuple[int, bool]] = [(net, False)]
    while net:
        part = data.draw(st.integers(1, net)) if len(chain) < 4 else net
        chain.append((-part, False))
        net -= part
    sums = [0] * len(of.levels)
    after = NOTHING
    for end in range(1, len(chain) + 1):
        _, after, given = step_shares(of, tuple(chain[:end]))
        sums = [total + share for total, share in zip(sums, given, strict=True)]
    assert (after.net_minor, after.discount_minor, after.cost_minor) == (0, 0, 0)
    assert set(sums) == {0}


@given(sales(), st.integers(1, 10**7))
def test_a_refund_takes_back_exactly_what_the_sale_gave(of: Sale, amount: int) -> None:
    returned = Sale(
        Plan(tuple(_returned(part) for part in of.plan.components), "s", 1),
        Plan(tuple(_returned(part) for part in of.cost_plan.components), "c", 1),
        of.levels,
        of.basis,
    )
    given = step_shares(returned, ((amount, False),))[2]
    taken = step_shares(returned, ((amount, False), (-amount, True)))[2]
    assert taken == tuple(-share for share in given)
    orphan = step_shares(returned, ((-amount, True),))[2]
    if returned.plan.components[0].rates[0].fee(amount):
        assert orphan == taken  # of a sale that is not ours, too


def _returned(part: Component) -> Component:
    return Component(part.name, part.rates, part.rounding, "difference")


# -- records -----------------------------------------------------------------------------------

PLANS = [
    reference("merchant", "M", {"agent": "tea", "fee_plan": "standard"}),
    reference("fee_plan", "buy", {"components": [
        {"name": "merchant_discount", "rates": [{"rate": "0.0045"}]}]}),
    reference("agent", "tea", {"agent": "tea", "name": "Tea", "parent": "north",
                               "cost_plan": "buy"}),
    reference("agent", "north", {"agent": "north", "name": "North", "per_mille": "0.1"}),
]  # fmt: skip


def made_of(
    records: list[ClearingRecord],
    on: date,
    references: list[Reference] = PLANS,
    earlier: dict[str, RecordShare] | None = None,
) -> list[RecordShare]:
    chains: dict[int, list[ClearingRecord]] = {}
    for one in sorted(records, key=by_age):
        chains.setdefault(one.root_request_id, []).append(one)
    today = [one for one in records if one.business_date == on]
    return shares_of(on, today, chains, Tariffs(references), earlier or {}, {})


def test_permuted_records_give_the_same_shares() -> None:
    records = [
        record(1, 1, 500_000, "0305120000"),
        record(2, 1, -300_000, "0305120100"),
        record(3, 3, 7_777, "0305120200"),
        record(4, 4, 1, "0305120300"),
    ]
    day = records[0].business_date
    first = made_of(records, day)
    assert [one.key for one in first] == ["c16", "c32", "c48", "c64"]
    assert first[0].terms == ("buy/1", "0.1 per mille")
    for other in permutations(records):
        assert made_of(list(other), day) == first


def test_a_refund_goes_by_the_terms_of_its_sale() -> None:
    """The contract changed, and another agent took over, between the sale and its refund."""
    later = date(2026, 4, 9)
    sold = record(1, 1, 100_000, "0305120000")
    (given,) = made_of([sold], sold.business_date)
    refund = record(2, 1, -100_000, "0409120000")
    refund = _on(refund, later)
    changed = [
        *PLANS,
        reference("merchant", "M", {"agent": "other"}, 2, date(2026, 4, 1)),
        reference("agent", "tea", {"agent": "tea", "name": "T", "per_mille": "3"}, 2, later),
        reference("agent", "other", {"agent": "other", "name": "O", "per_mille": "1"}),
    ]
    (taken,) = made_of([sold, refund], later, changed, {sold.key: given})
    assert taken.business_date == later
    assert taken.agents == given.agents
    assert taken.shares_minor == tuple(-share for share in given.shares_minor)
    # and a sale that nobody had a share of leaves nothing to take back
    assert made_of([sold, refund], later, changed, {}) == []


def _on(one: ClearingRecord, day: date) -> ClearingRecord:
    import msgspec

    return msgspec.structs.replace(one, business_date=day, settlement_date=day)


def test_levels_that_do_not_end_or_do_not_exist() -> None:
    loop = [
        reference("merchant", "M", {"agent": "a"}),
        reference("agent", "a", {"agent": "a", "name": "A", "parent": "b", "per_mille": "1"}),
        reference("agent", "b", {"agent": "b", "name": "B", "parent": "a", "per_mille": "1"}),
    ]
    with pytest.raises(NotInForceError, match="do not end"):
        levels_of(Tariffs(loop), "M", DAY)
    with pytest.raises(NotInForceError, match="agent b is not in force"):
        levels_of(Tariffs(loop[:2]), "M", DAY)
    assert levels_of(Tariffs([]), "M", DAY) == ()


@pytest.mark.parametrize(
    ("parents", "fault"),
    [
        ({"a": "", "b": "a", "c": "b"}, None),
        ({"a": "b", "b": "a"}, ("a", "stands above itself")),
        ({"c": "a", "a": "b", "b": "a"}, ("a", "stands above itself")),
        (
            {f"{n:02}": f"{n + 1:02}" for n in range(DEPTH_MAX)},
            ("00", f"over {DEPTH_MAX} levels"),
        ),
        ({f"{n:02}": f"{n + 1:02}" for n in range(DEPTH_MAX - 1)}, None),
    ],
)
def test_agents_are_a_tree_of_bounded_depth(
    parents: dict[str, str], fault: tuple[str, str] | None
) -> None:
    known = {**parents, **{above: "" for above in parents.values() if above not in parents}}
    assert tree_fault({key: parent for key, parent in known.items() if key}) == fault


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({}, "cost_plan"),
        ({"cost_plan": "p", "per_mille": Decimal(1)}, "cost_plan"),
        ({"per_mille": Decimal(-1)}, "per_mille"),
        ({"per_mille": Decimal("NaN")}, "per_mille"),
        ({"per_mille": Decimal(1), "vat_rate": Decimal(1)}, "vat_rate"),
        ({"per_mille": Decimal(1), "parent": "a"}, "parent"),
    ],
)
def test_faulty_contracts(values: dict[str, Any], path: str) -> None:
    assert next(iter(contract_faults(Agent(agent="a", name="A", **values))))[0] == path


# -- accrual, statement, a whole day -------------------------------------------------------------


def test_a_date_accrues_to_each_agent_out_of_the_discount() -> None:
    records = [record(1, 1, 500_000, "0305120000"), record(3, 3, 77_777, "0305120200")]
    day = records[0].business_date
    made = made_of(records, day)
    entries = accruals(day, totals(made))
    assert {(one.key, one.owners, one.amounts) for one in entries} == {
        (f"{day:%Y%m%d}/{agent}/156", ("", agent), (share, -share))
        for (agent, _), share in totals(made).items()
    }
    assert {one.accounts for one in entries} == {("merchant_discount", "agent_share_payable")}


def test_a_statement_is_a_month_with_its_tax() -> None:
    from settlement.shares import ShareLine

    lines = [
        ShareLine(DAY, "M", "156", 3, 10_000),
        ShareLine(NEXT, "M", "156", 1, 600),
        ShareLine(NEXT, "M", "344", 1, -7),
    ]
    home, abroad = statements("a", "2026-08", Decimal("0.06"), lines)
    assert (home.gross_minor, home.net_minor, home.vat_minor) == (10_600, 10_000, 600)
    assert (abroad.currency, abroad.gross_minor, abroad.net_minor + abroad.vat_minor) == (
        "344",
        -7,
        -7,
    )


def test_a_day_with_agents_closes_and_a_later_refund_takes_back() -> None:
    merchant = "104110058120001"
    references = [
        *(one for one in REFERENCES if one.kind != "merchant"),
        reference("merchant", merchant, {"name": "Tea House", "agent": "tea"}),
        *PLANS[1:],
    ]
    sold = trade(1, 100_000)
    refund = trade(
        2, 100_000, type="refund", business_date=NEXT, settlement_date=NEXT, original_request_id=1
    )
    store = world([sold, refund], references)
    first = asyncio.run(run_close(store, inbox(com_file([billed(sold)]))))
    assert (first.exit_code, first.message) == (0, "")
    # 0.5 % less 0.45 % to the agent, 0.1 per mille to the one above; 383 are the bank's
    (given,) = asyncio.run(store.fee_book().shares(DAY))
    assert (given.shares_minor, given.own_minor) == ((50, 10), 500 - 383 - 60)
    assert first.totals["agent_share_minor"] == 60
    owed = {
        line.owner: line.amount_minor
        for line in asyncio.run(store.movements(DAY))
        if line.account == "agent_share_payable"
    }
    assert owed == {"tea": -50, "north": -10}
    second = asyncio.run(
        run_close(store, inbox(com_file([billed(refund)], NEXT)), day=NEXT, dates=_dates())
    )
    assert (second.exit_code, second.message) == (0, "")
    (taken,) = asyncio.run(store.fee_book().shares(NEXT))
    assert taken.shares_minor == (-50, -10)


def _dates() -> Any:
    from tests.settlement.world import Dates

    return Dates({DAY: "posted", NEXT: "open"})
