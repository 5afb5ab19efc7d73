"""Entries: balanced whatever the amounts, one canonical form, one chain for one set of entries; the chart,
the rules and the limits as data."""

import asyncio
import hashlib

import msgspec
import pytest
from hypothesis import given, strategies as st

from settlement.adapters.ledger_memory import MemoryLedger
from settlement.chain import Anchor, Hashed, seal
from settlement.chart import BY_HAND, CHART, COMPOSITES, Account, Composite, chart_of, composites_of
from settlement.definitions import definitions
from settlement.ledger import (
    Entry,
    Layer,
    canonical,
    confirmed,
    entry,
    movements,
    trial_balance,
)
from settlement.limits import Layered, LedgerLimitError, Limited, judge_limits
from settlement.posting_rules import FREE, POSTING_RULES, RULE_VERSIONS, _rule, rules_on
from tests.settlement.world import DAY, NEXT

AMOUNT = st.integers(-(10**14), 10**14)


def make(
    rule: str, variables: dict[str, int], key: str = "1", layer: Layer = "settled"
) -> Entry | None:
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
        layer=layer,
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


def hashed(made: list[Entry]) -> list[Hashed]:
    return [
        Hashed(one.step, one.source, one.key, one.hash)
        for one in sorted(made, key=lambda one: one.order)
    ]


# -- the canonical form -------------------------------------------------------------------------


def test_the_canonical_form_is_what_the_page_says() -> None:
    sale = make("captured", {"effect": 10_000, "discount": 60}, "c1")
    assert sale is not None
    text = "2026-08-03|post|test|c1|captured|1|156|m|bank-a||0|2026-08-03|"
    text += "network_receivable,merchant_payable,merchant_discount|bank-a/2026-08-03,m,|"
    text += "10000,-9940,-60|settled"
    expected = text.replace("|", "\x1f").replace(",", "\x1e").encode()
    assert sale.hash == hashlib.sha256(expected).digest()


@given(st.lists(st.text(st.sampled_from("a\x1e\x1f"), max_size=3), min_size=16, max_size=16))
def test_no_two_entries_have_one_form(texts: list[str]) -> None:
    fields = (*texts[:12], tuple(texts[12:14]), ("", ""), (1, -1), texts[15])
    if any(c in text for text in (*texts[:14], texts[15]) for c in "\x1e\x1f"):
        with pytest.raises(AssertionError, match="separator"):
            canonical(fields)
    else:
        parts = canonical(fields).decode().split("\x1f")
        assert (*parts[:12], tuple(parts[12].split("\x1e")), parts[15]) == (
            *texts[:12],
            tuple(texts[12:14]),
            texts[15],
        )


def test_any_changed_field_changes_the_hash() -> None:
    sale = make("captured", {"effect": 10_000, "discount": 60}, "c1")
    assert sale is not None
    changes: dict[str, object] = {
        "business_date": NEXT, "step": "case", "source": "x", "key": "x", "rule": "x",
        "rule_version": 2, "currency": "344", "merchant": "x", "acquirer": "x", "terminal": "x",
        "batch": 1, "settlement_date": NEXT, "accounts": ("a", "b", "c"), "owners": ("a", "b", "c"),
        "amounts": (10_000, -9_941, -59), "layer": "pending",
    }  # fmt: skip
    assert changes.keys() == set(Entry.__struct_fields__)
    hashes = {msgspec.structs.replace(sale, **{name: to}).hash for name, to in changes.items()}
    assert len(hashes | {sale.hash}) == len(changes) + 1


# -- layers -------------------------------------------------------------------------------------


@given(AMOUNT.filter(bool), AMOUNT)
def test_what_is_confirmed_leaves_pending_and_joins_settled(effect: int, discount: int) -> None:
    sale = make("captured", {"effect": effect, "discount": discount}, "c1", layer="pending")
    assert sale is not None
    leaves, joins = confirmed(sale, NEXT)
    assert (leaves.layer, joins.layer) == ("pending", "settled")
    assert leaves.amounts == tuple(-one for one in sale.amounts)
    assert joins.amounts == sale.amounts
    assert leaves.business_date == joins.business_date == NEXT
    assert len({(one.source, one.key) for one in (sale, leaves, joins)}) == 3
    with pytest.raises(AssertionError):
        confirmed(joins, NEXT)


# -- the chart and the rules as data ------------------------------------------------------------


def test_every_variable_of_every_version_balances() -> None:
    for (name, version), rule in RULE_VERSIONS.items():
        assert (rule.name, rule.version) == (name, version)
        for variable in rule.variables:
            assert sum(leg.weights.get(variable, 0) for leg in rule.legs) == 0, (name, variable)
        assert {leg.account for leg in rule.legs} <= CHART.keys()
    for account in CHART:
        expected = {
            rule.name
            for rule in RULE_VERSIONS.values()
            if account in {leg.account for leg in rule.legs}
            or (rule.name in FREE and account in BY_HAND)
        }
        assert set(rules_on(account)) == expected


def test_an_unbalanced_rule_can_not_be_written() -> None:
    with pytest.raises(AssertionError, match="skewed: effect"):
        _rule("skewed", 1, "", ("bank_reserve", {"effect": 1}), ("vat_payable", {"effect": -2}))
    with pytest.raises(AssertionError, match="idle: a zero"):
        _rule("idle", 1, "", ("bank_reserve", {"effect": 0}))
    with pytest.raises(AssertionError, match="nowhere"):
        _rule("nowhere", 1, "", ("assets", {"a": 1}), ("bank_reserve", {"a": -1}))


ASSET = Account("a", "asset", "own", "A", "甲", "assets")
REPLACED = msgspec.structs.replace


@pytest.mark.parametrize(
    ("accounts", "says"),
    [
        ([ASSET, ASSET], "a stands twice"),
        ([REPLACED(ASSET, code="cash")], "cash is a composite"),
        ([REPLACED(ASSET, parent="nowhere")], "a: no composite nowhere"),
        ([REPLACED(ASSET, parent="income")], "a: parent of another kind"),
        ([REPLACED(ASSET, minimum_minor=1, maximum_minor=0)], "a: no balance is within"),
    ],
)
def test_a_wrong_chart_is_refused(accounts: list[Account], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        chart_of(accounts, COMPOSITES)


def test_composites_come_before_what_is_below_them() -> None:
    top, below = Composite("t", "asset", "", ""), Composite("b", "asset", "", "", "t")
    assert list(composites_of([top, below])) == ["t", "b"]
    with pytest.raises(AssertionError, match="b: t comes later"):
        composites_of([below, top])
    with pytest.raises(AssertionError, match="another kind"):
        composites_of([top, REPLACED(below, kind="income")])


def test_definitions_say_everything_once() -> None:
    found = definitions()
    names = [(one.kind, one.name, one.version) for one in found]
    assert names == sorted(set(names))
    assert len(found) == len(CHART) + len(COMPOSITES) + len(RULE_VERSIONS)
    (captured,) = [one for one in found if (one.kind, one.name) == ("rule", "captured")]
    assert msgspec.json.decode(captured.content)["legs"][0] == {
        "account": "network_receivable",
        "weights": {"effect": 1},
    }


# -- limits -------------------------------------------------------------------------------------

FLOAT = Limited("agent_float", "agent-1", "156")


@pytest.mark.parametrize(
    ("before", "move", "allowed"),
    [
        # a float is a liability: what the agent has is a credit, minus
        (Layered(0, -100), Layered(0, 100), True),
        (Layered(0, -100), Layered(0, 101), False),
        (Layered(-50, -100), Layered(0, 101), False),  # what is pending can not be spent
        (Layered(50, -100), Layered(0, 51), False),  # what is promised is not there any more
        (Layered(50, -100), Layered(1, 49), True),
        (Layered(0, -100), Layered(101, 0), False),
        (Layered(0, 30), Layered(0, -10), True),  # beyond its limit already, and mended
        (Layered(0, 30), Layered(0, 1), False),
        (Layered(), Layered(0, -1), True),
    ],
)
def test_limits(before: Layered, move: Layered, allowed: bool) -> None:
    if allowed:
        judge_limits({FLOAT: before}, {FLOAT: move})
    else:
        with pytest.raises(LedgerLimitError, match="agent_float of agent-1 in 156 would go from"):
            judge_limits({FLOAT: before}, {FLOAT: move})


# -- the chain ----------------------------------------------------------------------------------


def test_links_are_chunks_in_order_and_rest_on_each_other() -> None:
    seals = seal(DAY, hashed(entries(25)), b"before", chunk=10)
    assert [link.count for link in seals] == [10, 10, 5]
    assert [link.first_key for link in seals] == ["c0", "c18", "c5"]
    assert [link.previous for link in seals] == [b"before", seals[0].hash, seals[1].hash]
    assert len(seals[2].fingerprints) == 5 * 8


def test_steps_of_a_date_are_chained_one_after_the_other() -> None:
    made = [
        msgspec.structs.replace(one, step=step, key=f"{step}{one.key}")
        for one in entries(3)
        for step in ("post", "case")
    ]
    seals = seal(DAY, hashed(made), b"")
    assert [(link.step, link.chunk, link.count) for link in seals] == [
        ("case", 0, 3),
        ("post", 0, 3),
    ]
    assert seals[1].previous == seals[0].hash


@given(st.permutations(entries(12)))
def test_the_chain_does_not_depend_on_the_order_of_writing(made: list[Entry]) -> None:
    async def chained(in_order: list[Entry]) -> Anchor:
        ledger = MemoryLedger(DAY)
        for one in in_order:
            await ledger.post([one])
        return await ledger.seal(DAY)

    assert asyncio.run(chained(made)) == asyncio.run(chained(entries(12)))
