"""Fees: the figures of the 96 reform, roundings, and the one formula over a chain's net."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from settlement.clearing import Reference
from settlement.fee_check import explain, faults
from settlement.fees import (
    BUILT_IN,
    REFORM_96,
    STANDARD,
    Basis,
    Component,
    NotInForceError,
    Plan,
    Rate,
    Tariffs,
    step_reached,
)
from tests.settlement.world import reference


@pytest.mark.parametrize(
    ("card_type", "amount_minor", "issuer", "network", "source"),
    [
        ("debit", 1_000_000, 1_300, 325, "reference §2: 10 000 yuan debit = 13 + 3.25 = 16.25"),
        ("credit", 1_000_000, 4_500, 325, "reference §2: credit = 45 + 3.25 = 48.25"),
        ("debit", 10_000, 35, 3, "reference §6: purchase 100.00: 0.35, 0.0325 -> 0.03"),
        ("debit", 371_428, 1_300, 121, "0.35 % = 1299.998, just under the cap, half up"),
        ("debit", 371_571, 1_300, 121, "the cap"),
        ("credit", 111, 0, 0, "0.4995 fen"),
        ("credit", 112, 1, 0, "0.504 fen"),
        ("debit", 1_000_001, 1_300, 325, "both caps"),
    ],
)
def test_the_96_reform(
    card_type: str, amount_minor: int, issuer: int, network: int, source: str
) -> None:
    assert REFORM_96.fee("issuer", amount_minor, card_type, "5812") == issuer, source
    assert REFORM_96.fee("network", amount_minor, card_type, "5812") == network, source


@pytest.mark.parametrize("mcc", ["8062", "8211", "8220", "8398"])
def test_hospitals_schools_and_welfare_are_waived(mcc: str) -> None:
    assert REFORM_96.fee("issuer", 1_000_000, "credit", mcc) == 0
    assert REFORM_96.fee("network", 1_000_000, "credit", mcc) == 0


def test_half_up_on_the_absolute_amount_then_signed() -> None:
    plan = Plan((Component("merchant_discount", (Rate(Decimal("0.005")),)),))
    assert plan.change("merchant_discount", 0, 100, "debit", "", refund=False) == 1  # 0.5 -> 1
    assert plan.change("merchant_discount", 0, -100, "debit", "", refund=False) == -1


def test_a_refund_gives_back_what_the_smaller_net_no_longer_bears() -> None:
    def refund(before: int, after: int) -> int:
        return REFORM_96.change("issuer", before, after, "debit", "", refund=True)

    assert refund(1_000_000, 500_000) == 0  # 5 000 yuan still bears the cap
    assert refund(500_000, 0) == -1_300
    assert refund(10_000, 5_000) == 18 - 35


def test_a_component_that_is_not_returned_stays_on_refund_but_not_on_void() -> None:
    plan = Plan((Component("issuer", (Rate(Decimal("0.01")),), on_refund="none"),))
    assert plan.change("issuer", 10_000, 0, "debit", "", refund=True) == 0
    assert plan.change("issuer", 10_000, 0, "debit", "", refund=False) == -100


def test_a_component_that_only_a_whole_refund_gives_back() -> None:
    plan = Plan((Component("issuer", (Rate(Decimal("0.01")),), on_refund="whole"),))
    assert plan.change("issuer", 10_000, 4_000, "debit", "", refund=True) == 0
    assert plan.change("issuer", 10_000, 0, "debit", "", refund=True) == -100
    assert plan.change("issuer", 4_000, 0, "debit", "", refund=True) == -40  # of what was left
    assert plan.change("issuer", 10_000, 4_000, "debit", "", refund=False) == -60


@pytest.mark.parametrize(
    ("rounding", "fees"),
    [("half_up", (1, 2, 3)), ("down", (0, 1, 2)), ("half_even", (0, 2, 2))],
)
def test_roundings_by_name(rounding: Any, fees: tuple[int, ...]) -> None:
    """0.5, 1.5, 2.5 fen."""
    plan = Plan((Component("issuer", (Rate(Decimal("0.005")),), rounding=rounding),))
    assert tuple(plan.fee("issuer", n, "debit", "") for n in (100, 300, 500)) == fees


TIERS = Plan(
    name="tiers",
    components=(
        Component(
            "merchant_discount",
            (
                # small amounts by code or without PIN: a price of their own
                Rate(
                    Decimal("0.0038"),
                    entry=("qr", "contactless_no_pin"),
                    amount_up_to_minor=100_000,
                ),
                Rate(Decimal("0.0050"), mcc=("5811-5814", "7011"), fixed_minor=10),
                Rate(Decimal("0.0045"), volume_from_minor=100_000_000),
                Rate(Decimal("0.0055"), amount_from_minor=500_000, cap_minor=8_000),
                Rate(Decimal("0.0060"), minimum_minor=5),
            ),
        ),
    ),
)


@pytest.mark.parametrize(
    ("amount", "basis", "line", "fee"),
    [
        (100_000, Basis("debit", "5411", "qr"), 0, 380),
        (100_001, Basis("debit", "5411", "qr"), 4, 600),
        (100_000, Basis("debit", "5411", "contactless"), 4, 600),
        (10_000, Basis("credit", "5812", "chip"), 1, 60),
        (10_000, Basis("credit", "7011", "chip"), 1, 60),
        (10_000, Basis("credit", "5815", "chip"), 4, 60),
        (10_000, Basis("credit", "5411", "chip", 99_999_999), 4, 60),
        (10_000, Basis("credit", "5411", "chip", 100_000_000), 2, 45),
        (499_999, Basis("debit", "5411"), 4, 3_000),
        (500_000, Basis("debit", "5411"), 3, 2_750),
        (9_000_000, Basis("debit", "5411"), 3, 8_000),
        (1, Basis("debit", "5411"), 4, 5),
        (0, Basis("debit", "5411"), 4, 0),
    ],
)
def test_the_first_line_whose_conditions_hold(
    amount: int, basis: Basis, line: int, fee: int
) -> None:
    (told,) = explain(TIERS, amount, basis)
    assert (told.line, told.fee_minor) == (line, fee)
    assert told.fee_minor == TIERS.fee(
        "merchant_discount",
        amount,
        basis.card_type,
        basis.mcc,
        entry=basis.entry,
        volume_minor=basis.volume_minor,
    )
    assert [one.line for one in told.passed_over] == list(range(line))


def test_an_explanation_says_why_and_what_bounded_it() -> None:
    (told,) = explain(TIERS, 9_000_000, Basis("debit", "5411", "qr", 5))
    assert [(one.condition, one.asks, one.has) for one in told.passed_over] == [
        ("amount_up_to_minor", 100_000, 9_000_000),
        ("mcc", ("5811-5814", "7011"), "5411"),
        ("volume_from_minor", 100_000_000, 5),
    ]
    assert (told.exact, told.bound) == (Decimal("49500.0000"), "cap_minor")
    (least,) = explain(TIERS, 1, Basis("debit", "5411"))
    assert least.bound == "minimum_minor"
    (none,) = explain(Plan((Component("issuer", ()),)), 1, Basis("debit", ""))
    assert (none.line, none.fee_minor, none.exact) == (None, 0, None)


def test_turnovers_on_one_step_make_one_combination() -> None:
    assert TIERS.volume_steps == (100_000_000,)
    reached = [step_reached(n, TIERS.volume_steps) for n in (0, 99_999_999, 100_000_000, 10**12)]
    assert reached == [0, 0, 100_000_000, 100_000_000]
    assert step_reached(10**12, STANDARD.volume_steps) == 0


def test_a_discount_in_parts_is_their_sum() -> None:
    """Interchange and network at cost, and 0.10 % of ours: each with its own cap and rounding."""
    plan = Plan(
        (
            *REFORM_96.components,
            Component("acquirer", (Rate(Decimal("0.001")),), rounding="down", on_refund="none"),
        )
    )
    assert plan.fee("merchant_discount", 1_000_000, "debit", "5812") == 1_300 + 325 + 1_000
    assert plan.fee("issuer", 1_000_000, "debit", "5812") == 1_300
    back = plan.change("merchant_discount", 1_000_000, 0, "debit", "5812", refund=True)
    assert back == -1_625
    # a cost plan is no price for merchants
    assert REFORM_96.fee("merchant_discount", 1_000_000, "debit", "5812") == 0


FAULTY = [
    ('rate = "1.1"', "rates[0].rate", "0 to 1"),
    ('rate = "NaN"', "rates[0].rate", "0 to 1"),
    ('rate = "0.123456789"', "rates[0].rate", "8 decimals"),
    ('rate = "0", card_type = "gold"', "rates[0].card_type", "debit, credit"),
    ('rate = "0", mcc = ["58"]', "rates[0].mcc[0]", "four digits"),
    ('rate = "0", mcc = ["5411", "5814-5811"]', "rates[0].mcc[1]", "ends before"),
    ('rate = "0", mcc = []', "rates[0].mcc", "empty"),
    ('rate = "0", entry = ["nfc"]', "rates[0].entry[0]", "qr, contactless_no_pin"),
    ('rate = "0", volume_from_minor = -1', "rates[0]", "from 0 on"),
    ('rate = "0", fixed_minor = -1', "rates[0]", "from 0 on"),
    ('rate = "0", minimum_minor = 2, cap_minor = 1', "rates[0].cap_minor", "not below"),
    (
        'rate = "0", amount_from_minor = 2, amount_up_to_minor = 1',
        "rates[0].amount_up",
        "not below",
    ),
    ('rate = "0" }, { rate = "1"', "rates[1]", "never applies: rates[0]"),
    (
        'rate = "0", mcc = ["5800-5899"] }, { rate = "1", mcc = ["5811-5814"], card_type = "debit"',
        "rates[1]",
        "never applies",
    ),
]


@pytest.mark.parametrize(("lines", "path", "reason"), FAULTY)
def test_faulty_plans_are_told_by_their_place(lines: str, path: str, reason: str) -> None:
    text = f'name = "p"\ncomponents = [{{ name = "issuer", rates = [{{ {lines} }}] }}]'
    plan = msgspec.toml.decode(text, type=Plan)
    (found,) = list(faults(plan))
    assert found[0].startswith(f"components[0].{path}")
    assert reason in found[1]


def test_what_stands_twice_or_beside_its_sum_is_refused() -> None:
    line = (Rate(Decimal("0.1")),)
    twice = Plan((Component("issuer", line), Component("issuer", line)), "p")
    beside = Plan((Component("merchant_discount", line), Component("acquirer", line)), "p")
    assert [path for path, _ in faults(twice)] == ["components[1].name"]
    assert [path for path, _ in faults(beside)] == ["components[1].name"]
    assert [path for path, _ in faults(Plan(()))] == ["name"]
    for plan in (*BUILT_IN.values(), TIERS):
        assert list(faults(plan)) == []


BANDS = st.lists(
    st.builds(
        Rate,
        rate=st.just(Decimal("0.01")),
        card_type=st.sampled_from([None, "debit", "credit"]),
        mcc=st.sampled_from([None, ("5811",), ("5811-5814",), ("5800-5812", "7011")]),
        entry=st.sampled_from([None, ("qr",), ("qr", "chip")]),
        amount_from_minor=st.integers(0, 3),
        amount_up_to_minor=st.one_of(st.none(), st.integers(3, 6)),
        volume_from_minor=st.integers(0, 2),
    ),
    min_size=2,
    max_size=2,
)


@given(BANDS)
def test_a_line_is_called_unreachable_only_if_it_never_applies(rates: list[Rate]) -> None:
    plan = Plan((Component("issuer", tuple(rates)),), "p")
    unreachable = any("never applies" in reason for _, reason in faults(plan))
    reached = any(
        plan.components[0].line(amount, Basis(card, mcc, entry, volume)) == 1
        for amount in range(8)
        for card in ("debit", "credit")
        for mcc in ("5800", "5811", "5812", "5813", "7011", "9999")
        for entry in ("qr", "chip", "")
        for volume in range(4)
    )
    assert not (unreachable and reached)


@given(
    st.lists(st.integers(1, 10**9), min_size=1, max_size=6),
    st.sampled_from(["debit", "credit"]),
    st.sampled_from(
        [("issuer", REFORM_96), ("network", REFORM_96), ("merchant_discount", STANDARD)]
    ),
)
def test_the_fees_of_a_chain_sum_to_the_fee_of_its_net(
    refunds: list[int], card_type: str, what: tuple[str, Plan]
) -> None:
    component, plan = what
    net = sum(refunds) + 17
    paid = plan.change(component, 0, net, card_type, "", refund=False)
    for amount in refunds:
        paid += plan.change(component, net, net - amount, card_type, "", refund=True)
        net -= amount
        assert paid == plan.fee(component, net, card_type, "") >= 0


@given(st.integers(0, 10**10), st.integers(0, 10**10))
def test_a_larger_amount_never_bears_a_smaller_fee(one: int, other: int) -> None:
    low, high = sorted((one, other))
    for component in ("issuer", "network"):
        assert REFORM_96.fee(component, low, "debit", "") <= REFORM_96.fee(
            component, high, "debit", ""
        )


def rates(rate: str) -> dict[str, object]:
    return {"components": [{"name": "merchant_discount", "rates": [{"rate": rate}]}]}


def test_the_version_in_force_on_the_settlement_date() -> None:
    tariffs = Tariffs(
        [
            reference("merchant", "m", {"fee_plan": "tea"}),
            reference("fee_plan", "tea", rates("0.01"), 1, date(2026, 1, 1)),
            reference("fee_plan", "tea", rates("0.02"), 2, date(2026, 8, 4)),
        ]
    )
    before, after = (
        tariffs.merchant_plan("m", date(2026, 8, 3)),
        tariffs.merchant_plan("m", date(2026, 8, 4)),
    )
    assert (before.version, after.version) == (1, 2)
    assert after.fee("merchant_discount", 10_000, "debit", "") == 200
    assert tariffs.plan("tea", 1).fee("merchant_discount", 10_000, "debit", "") == 100


def test_a_day_ends_at_midnight_in_shanghai() -> None:
    late = datetime(2026, 8, 3, 16, 0, tzinfo=UTC)  # 4 August in Shanghai
    tariffs = Tariffs([Reference("fee_plan", "tea", 1, late, rates("0.01"))])
    with pytest.raises(NotInForceError, match="fee plan tea is not in force on 2026-08-03"):
        tariffs.plan_on("tea", date(2026, 8, 3))
    assert tariffs.plan_on("tea", date(2026, 8, 4)).name == "tea"


def test_the_newest_version_counts_not_the_one_that_began_last() -> None:
    """As in the switch: version 3, made in haste, holds although 2 was to begin later."""
    tariffs = Tariffs(
        [
            reference("fee_plan", "tea", rates("0.02"), 2, date(2026, 9, 1)),
            reference("fee_plan", "tea", rates("0.03"), 3, date(2026, 8, 20)),
        ]
    )
    assert tariffs.plan_on("tea", date(2026, 9, 2)).version == 3


def test_a_merchant_that_is_not_in_force_has_no_plan() -> None:
    tariffs = Tariffs([reference("merchant", "m", {}, 1, date(2026, 8, 4))])
    with pytest.raises(NotInForceError, match="merchant m is not in force on 2026-08-03"):
        tariffs.merchant_plan("m", date(2026, 8, 3))
    assert tariffs.merchant_plan("m", date(2026, 8, 4)) is STANDARD


def test_card_types_by_the_route_that_was_decided_on() -> None:
    """A route may be longer than what a mask shows, and may have changed since."""
    tariffs = Tariffs(
        [
            reference("route", "62", {"prefix": "62", "card_type": "debit"}),
            reference("route", "62220212", {"prefix": "62220212", "card_type": "debit"}, 1),
            reference("route", "62220212", {"prefix": "62220212", "card_type": "credit"}, 2),
        ]
    )
    assert tariffs.card_type("62@1") == "debit"
    assert tariffs.card_type("62220212@1") == "debit"
    assert tariffs.card_type("62220212@2") == "credit"
    assert tariffs.card_type("@0") == "credit"
    assert tariffs.card_type("") == "credit"
