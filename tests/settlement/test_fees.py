"""Fees: the figures of the 96 reform, roundings, and the one formula over a chain's net."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from settlement.clearing import Reference
from settlement.fees import REFORM_96, STANDARD, Component, NotInForceError, Plan, Rate, Tariffs
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
    plan = Plan((Component("issuer", (Rate(Decimal("0.01")),), returned_on_refund=False),))
    assert plan.change("issuer", 10_000, 0, "debit", "", refund=True) == 0
    assert plan.change("issuer", 10_000, 0, "debit", "", refund=False) == -100


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
