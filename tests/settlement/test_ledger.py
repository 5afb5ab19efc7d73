"""The ledger: balanced whatever the amounts, and a chain that names the first broken chunk."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, strategies as st

from settlement.ledger import Entry, Seal, entry, movements, seal, trial_balance, verify
from settlement.posting_rules import POSTING_RULES
from tests.settlement.world import DAY, NEXT

AMOUNT = st.integers(-(10**14), 10**14)


def make(rule: str, variables: dict[str, int], key: str = "1") -> Entry | None:
    return entry(
        rule,
        "test",
        key,
        variables,
        business_date=DAY,
        step="post",
        currency="156",
        acquirer="bank-a",
        settlement_date=DAY,
        from_settlement_date=NEXT if rule == "cutoff_transfer" else None,
        merchant="m",
    )


@given(st.data())
def test_every_rule_balances_for_all_amounts(data: st.DataObject) -> None:
    for rule in POSTING_RULES.values():
        variables = {name: data.draw(AMOUNT) for name in sorted(rule.variables)}
        made = make(rule.name, variables)
        if made is None:
            assert not any(variables.values())
        else:
            assert sum(made.amounts) == 0
            trial_balance(movements([made]))


def test_the_example_of_the_reference() -> None:
    # reference §6: Dr receivable 100.00 / Cr payable 99.40, Cr discount 0.60
    sale = make("captured", {"effect": 10_000, "discount": 60})
    assert sale is not None
    assert list(zip(sale.accounts, sale.owners, sale.amounts, strict=True)) == [
        ("network_receivable", "bank-a/2026-08-03", 10_000),
        ("merchant_payable", "m", -9_940),
        ("merchant_discount", "", -60),
    ]
    cost = make("network_cost", {"issuer": 35, "network": 3})
    assert cost is not None
    assert cost.amounts == (35, 3, -38)


def test_a_transfer_stands_on_two_days() -> None:
    made = make("cutoff_transfer", {"effect": 100})
    assert made is not None
    assert made.owners == ("bank-a/2026-08-03", "bank-a/2026-08-04")


def test_an_unbalanced_entry_can_not_be_made() -> None:
    made = make("captured", {"effect": 100, "discount": 0})
    assert made is not None
    with pytest.raises(AssertionError, match="is not zero"):
        msgspec.structs.replace(made, amounts=(100, -99))


def entries(count: int) -> list[Entry]:
    made = [make("captured", {"effect": n + 1, "discount": 0}, f"c{n}") for n in range(count)]
    return [one for one in made if one is not None]


def test_the_chain_verifies_and_names_what_was_changed() -> None:
    made = entries(25)
    seals = seal(DAY, "post", made, b"", chunk=10)
    assert [link.count for link in seals] == [10, 10, 5]
    assert verify(made, seals, chunk=10) is None
    forged = [
        msgspec.structs.replace(one, amounts=(999, -999)) if one.key == "c24" else one
        for one in made
    ]
    order = sorted(made, key=lambda one: one.order)
    chunk = next(i for i, one in enumerate(order) if one.key == "c24") // 10
    assert (
        verify(forged, seals, chunk=10) == f"2026-08-03 post chunk {chunk} is not what was sealed"
    )
    missing = verify(made[:-1], seals, chunk=10)
    assert missing is not None
    assert "is not what was sealed" in missing
    extra = verify([*made, *entries(26)[25:]], seals, chunk=10)
    assert extra is not None


def test_a_day_that_is_taken_out_of_the_chain_is_missed() -> None:
    days = [
        [
            msgspec.structs.replace(one, business_date=day, key=f"{day}{one.key}")
            for one in entries(5)
        ]
        for day in (DAY, NEXT, NEXT + timedelta(days=1))
    ]
    seals: list[Seal] = []
    for made in days:
        seals += seal(made[0].business_date, "post", made, seals[-1].hash if seals else b"")
    assert verify([*days[0], *days[1], *days[2]], seals) is None
    assert verify(days[1], seals[1:2], previous=seals[0].hash) is None
    gone = verify([*days[0], *days[2]], [seals[0], seals[2]])
    assert gone == "2026-08-05 post chunk 0 does not follow its link"


@given(st.permutations(entries(12)))
def test_the_chain_does_not_depend_on_the_order_of_writing(made: list[Entry]) -> None:
    assert seal(DAY, "post", made, b"x") == seal(DAY, "post", entries(12), b"x")
