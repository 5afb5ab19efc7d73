"""Where a request goes.

Goal: precedence, splits, prices and what is stored of a decision; sets of rules that are not sound are
refused. Method: a second implementation that asks every rule anew (no table, no facets), properties
over random sets, known answers for the words that are stored.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from switch.journal import Key
from switch.reference import Item, Route, Snapshot
from switch.routing import (
    Asked,
    Choice,
    Table,
    drawn,
    read_route_rule,
    route_rule,
    with_choice,
)
from switch.routing_check import covers, disjoint, faults, whole
from switch.routing_rules import RoutingCost, RoutingRule, When, cost_key
from terminals.registry import Merchant
from tests.switch.rows import NOW

LINKS = ("bank-a", "bank-b", "bank-c")
KEY = Key("104110058120001", "10000001", 5, 42, "020.00")
ASKED = Asked(KEY, "purchase", "6220001234567890", "5812", "156", "051", 10_000)
ROUTE = Route(prefix="622000", acquirer="bank-a")


def rule(name: str = "one", order: int = 1, **said: Any) -> RoutingRule:
    when = When(**said.pop("when", {}))
    said.setdefault("to", ("bank-b",))
    return RoutingRule(name=name, order=order, when=when, **said)


def table(*rules: RoutingRule, costs: tuple[RoutingCost, ...] = (), version: int = 1) -> Table:
    versions = {
        "routing_rule": {each.name: version for each in rules},
        "routing_cost": {each.key: 9 for each in costs},
        "route": {"622000": 4},
    }
    return Table({each.name: each for each in rules}, {each.key: each for each in costs}, versions)


def asked(**changes: Any) -> Asked:
    return msgspec.structs.replace(ASKED, **changes)


# -- who decides ------------------------------------------------------------------------------------


def test_without_a_rule_the_card_s_route_decides() -> None:
    assert table().choose(ROUTE, ASKED) == Choice("route.622000@4", ("bank-a",), "")


def test_a_route_with_a_second_link_tells_both() -> None:
    route = msgspec.structs.replace(ROUTE, alternates=("bank-b",))
    choice = table().choose(route, ASKED)
    assert choice.candidates == ("bank-a", "bank-b")
    assert msgspec.json.decode(choice.told) == {
        "rule": "route.622000@4",
        "choose": "order",
        "candidates": [{"acquirer": "bank-a"}, {"acquirer": "bank-b"}],
    }


def test_the_lowest_order_decides_alone() -> None:
    rules = table(rule("late", 20, to=("bank-c",)), rule("early", 10, to=("bank-b",)))
    assert rules.choose(ROUTE, ASKED).rule == "rule.early@1"
    assert rules.choose(ROUTE, ASKED).candidates == ("bank-b",)


def test_what_is_disabled_is_not_asked() -> None:
    assert table(rule(enabled=False)).choose(ROUTE, ASKED).rule == "route.622000@4"


# condition, a request that it is not for → the key that `route try` names
NARROW: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"merchants": ("104110058120001",)}, {"key": Key("2" * 15, "10000001", 5, 42, "020.00")}, "merchants"),
    ({"mccs": ("58",)}, {"mcc": "5411"}, "mccs"),
    ({"types": ("purchase",)}, {"type": "balance"}, "types"),
    ({"currencies": ("156",)}, {"currency": "840"}, "currencies"),
    ({"entry_modes": ("05",)}, {"entry_mode": "012"}, "entry_modes"),
    ({"prefixes": ("622000", "621799")}, {"pan": "6217880000000000"}, "prefixes"),
    ({"amount_from_minor": 10_000}, {"amount_minor": 9_999}, "amount"),
    ({"amount_to_minor": 10_000}, {"amount_minor": 10_001}, "amount"),
]  # fmt: skip


@pytest.mark.parametrize(("when", "other", "key"), NARROW)
def test_a_condition_narrows(when: dict[str, Any], other: dict[str, Any], key: str) -> None:
    rules = table(rule(when=when))
    assert rules.choose(ROUTE, ASKED).rule == "rule.one@1"
    assert rules.objections(ROUTE, ASKED) == []
    assert rules.choose(ROUTE, asked(**other)).rule == "route.622000@4"
    assert rules.objections(ROUTE, asked(**other)) == [("rule.one@1", key)]


@pytest.mark.parametrize(
    ("when", "key"), [({"card_types": ("credit",)}, "card_types"), ({"foreign": True}, "foreign")]
)
def test_what_the_card_is_says_its_route(when: dict[str, Any], key: str) -> None:
    rules = table(rule(when=when))
    other = Route(prefix="4", acquirer="bank-a", card_type="credit", foreign=True)
    assert rules.choose(other, ASKED).rule == "rule.one@1"
    assert rules.objections(ROUTE, ASKED) == [("rule.one@1", key)]


# -- in which order ---------------------------------------------------------------------------------


def test_fallbacks_come_after_all_others() -> None:
    rules = table(rule(to=("bank-b", "bank-a"), fallbacks=("bank-c",)))
    assert rules.choose(ROUTE, ASKED).candidates == ("bank-b", "bank-a", "bank-c")


PRICES = (
    RoutingCost(acquirer="bank-a", currency="156", card_type="debit", basis_points=35, most_minor=1_300),
    RoutingCost(acquirer="bank-a", currency="156", basis_points=45),
    RoutingCost(acquirer="bank-b", currency="156", fixed_minor=20, basis_points=30),
)  # fmt: skip

# amount → the cheaper of 0.35 % up to 13.00, and 0.20 + 0.30 %
CHEAPER = [(100, "bank-a"), (30_000, "bank-a"), (50_000, "bank-b"), (370_000, "bank-b"), (10_000_000, "bank-a")]  # fmt: skip


@pytest.mark.parametrize(("amount_minor", "first"), CHEAPER)
def test_the_cheapest_is_first(amount_minor: int, first: str) -> None:
    rules = table(rule(choose="cost", to=("bank-b", "bank-a"), fallbacks=("bank-c",)), costs=PRICES)
    choice = rules.choose(ROUTE, asked(amount_minor=amount_minor))
    assert choice.candidates[0] == first
    assert choice.candidates[2] == "bank-c"


def test_of_two_that_cost_the_same_the_preferred_is_first() -> None:
    costs = tuple(RoutingCost(acquirer=name, currency="156", basis_points=30) for name in LINKS)
    rules = table(rule(choose="cost", to=("bank-b", "bank-c", "bank-a")), costs=costs)
    assert rules.choose(ROUTE, ASKED).candidates == ("bank-b", "bank-c", "bank-a")


def test_prices_are_told_with_their_version() -> None:
    rules = table(rule(choose="cost", to=("bank-b", "bank-a")), costs=PRICES)
    told = msgspec.json.decode(rules.choose(ROUTE, ASKED).told)
    assert told["candidates"] == [
        {"acquirer": "bank-a", "cost_minor": 35, "by": "bank-a/156/debit@9"},
        {"acquirer": "bank-b", "cost_minor": 50, "by": "bank-b/156/any@9"},
    ]


def test_a_price_is_rounded_half_up() -> None:
    """0.5 % of 1.00 is half a minor unit; of 0.99 it is less."""
    cost = RoutingCost(acquirer="a", currency="156", basis_points=50)
    assert [cost.cost_minor(amount) for amount in (99, 100, 299, 300)] == [0, 1, 1, 2]
    assert RoutingCost(acquirer="a", currency="156", least_minor=5).cost_minor(1) == 5


@given(st.integers(0, 10**12), st.integers(0, 10_000), st.integers(0, 1_000))
def test_a_price_is_that_of_exact_arithmetic(amount: int, points: int, fixed: int) -> None:
    from decimal import ROUND_HALF_UP, Decimal

    cost = RoutingCost(acquirer="a", currency="156", fixed_minor=fixed, basis_points=points)
    exact = Decimal(amount) * points / 10_000
    assert cost.cost_minor(amount) == fixed + int(exact.quantize(Decimal(1), ROUND_HALF_UP))


# -- weights ----------------------------------------------------------------------------------------

SPLIT = rule("split", choose="weight", to=LINKS, weights=(70, 20, 10))


def keys(count: int) -> list[Key]:
    return [msgspec.structs.replace(KEY, stan=stan, batch=stan // 500) for stan in range(count)]


def test_a_split_comes_out_by_its_weights() -> None:
    rules = table(SPLIT)
    first = Counter(rules.choose(ROUTE, asked(key=key)).candidates[0] for key in keys(20_000))
    for name, weight in zip(LINKS, SPLIT.weights, strict=True):
        assert abs(first[name] / 20_000 - weight / 100) < 0.01, first  # 3 standard deviations


def test_the_others_follow_by_weight() -> None:
    rules = table(SPLIT)
    orders = {rules.choose(ROUTE, asked(key=key)).candidates for key in keys(200)}
    assert orders == {
        ("bank-a", "bank-b", "bank-c"),
        ("bank-b", "bank-a", "bank-c"),
        ("bank-c", "bank-a", "bank-b"),
    }


def test_the_same_request_goes_the_same_way_and_a_new_version_deals_anew() -> None:
    same = [table(SPLIT).choose(ROUTE, asked(key=key)) for key in keys(100)]
    assert [table(SPLIT).choose(ROUTE, asked(key=key)) for key in keys(100)] == same
    other = [table(SPLIT, version=2).choose(ROUTE, asked(key=key)).candidates for key in keys(100)]
    assert other != [choice.candidates for choice in same]


def test_the_draw_is_a_known_one() -> None:
    """BLAKE2b-64 by the coreutils: `printf %s "rule.split@1 104110058120001 10000001 5 42 020.00" | b2sum -l 64`."""
    assert drawn("rule.split@1", KEY) == 0xB3D28480F2452C2A % 100


# -- what is stored ---------------------------------------------------------------------------------


def test_a_decision_tells_its_choice_beside_what_it_told_before() -> None:
    choice = table(rule()).choose(ROUTE, ASKED)
    told = msgspec.json.decode(with_choice('{"generation":3}', choice))
    assert told == {
        "generation": 3,
        "routing": {
            "rule": "rule.one@1",
            "choose": "order",
            "candidates": [{"acquirer": "bank-b"}],
        },
    }


def test_where_no_link_could_be_tried_it_says_why() -> None:
    choice = table().choose(ROUTE, ASKED)
    told = msgspec.json.decode(with_choice('{"generation":3}', choice, (("bank-a", "link_down"),)))
    assert told["routing"]["passed"] == {"bank-a": "link_down"}
    assert told["routing"]["rule"] == "route.622000@4"


names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,47}", fullmatch=True)
acquirers = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
reasons = st.sampled_from(["link_down", "in_flight_max", "queue_full", "circuit_open"])


@given(
    names,
    st.integers(0, 10**6),
    acquirers,
    st.integers(0, 10**6),
    st.lists(st.tuples(acquirers, reasons), max_size=7),
)
def test_what_an_attempt_says_is_read_again(
    name: str, version: int, acquirer: str, link: int, passed: list[tuple[str, str]]
) -> None:
    read = read_route_rule(route_rule(f"rule.{name}@{version}", acquirer, link, tuple(passed)))
    assert (read.rule, read.acquirer, read.link_version) == (
        f"rule.{name}@{version}",
        acquirer,
        link,
    )
    assert read.passed == tuple(passed)


# -- against a second implementation ----------------------------------------------------------------

PREFIXES = ("6", "62", "622000", "6220001", "621799", "4")
whens = st.builds(
    When,
    prefixes=st.lists(st.sampled_from(PREFIXES), max_size=2, unique=True).map(tuple),
    merchants=st.lists(st.sampled_from(["1" * 15, "2" * 15]), max_size=1).map(tuple),
    mccs=st.lists(st.sampled_from(["5", "58", "5411"]), max_size=2, unique=True).map(tuple),
    types=st.lists(st.sampled_from(["purchase", "balance"]), max_size=1).map(tuple),
    currencies=st.lists(st.sampled_from(["156", "840"]), max_size=1).map(tuple),
    entry_modes=st.lists(st.sampled_from(["0", "01", "05"]), max_size=1).map(tuple),
    card_types=st.lists(st.sampled_from(["debit", "credit"]), max_size=1).map(tuple),
    foreign=st.sampled_from([None, None, True, False]),
    amount_from_minor=st.sampled_from([0, 0, 100, 5_000]),
    amount_to_minor=st.sampled_from([None, None, 5_000, 9_999]),
)
requests = st.builds(
    Asked,
    st.builds(
        Key,
        st.sampled_from(["1" * 15, "2" * 15, "3" * 15]),
        st.just("10000001"),
        st.integers(0, 3),
        st.integers(1, 99),
        st.just("020.00"),
    ),
    st.sampled_from(["purchase", "balance", "offline_sale"]),
    st.sampled_from(
        ["6220001234567890", "6220009234567890", "6217991234567890", "4111111111111111"]
    ),
    st.sampled_from(["5411", "5812", "6011"]),
    st.sampled_from(["156", "840"]),
    st.sampled_from(["011", "051", "022"]),
    st.sampled_from([0, 99, 100, 5_000, 5_001, 10_000]),
)
routes = st.builds(
    Route,
    prefix=st.sampled_from(["622000", "621799", "4"]),
    acquirer=st.sampled_from(LINKS),
    card_type=st.sampled_from(["debit", "credit"]),
    foreign=st.booleans(),
)


def holds(when: When, route: Route, of: Asked) -> bool:
    """The condition as docs/routing.md says it, without short cuts."""
    return all(
        (
            not when.prefixes or any(of.pan[: len(each)] == each for each in when.prefixes),
            not when.merchants or of.key.merchant in when.merchants,
            not when.mccs or any(of.mcc[: len(each)] == each for each in when.mccs),
            not when.types or of.type in when.types,
            not when.currencies or of.currency in when.currencies,
            not when.entry_modes
            or any(of.entry_mode[: len(each)] == each for each in when.entry_modes),
            not when.card_types or route.card_type in when.card_types,
            when.foreign in (None, route.foreign),
            of.amount_minor >= when.amount_from_minor,
            when.amount_to_minor is None or of.amount_minor <= when.amount_to_minor,
        )
    )


@given(st.lists(whens, max_size=6), st.lists(st.tuples(routes, requests), min_size=1, max_size=12))
def test_the_table_decides_as_asking_one_by_one(
    conditions: list[When], traffic: list[tuple[Route, Asked]]
) -> None:
    """Several requests of one table: what was learnt of one must not mislead another."""
    rules = [
        RoutingRule(name=f"r{at}", order=at, when=when, to=(LINKS[at % 3],))
        for at, when in enumerate(conditions)
    ]
    ready = table(*reversed(rules))
    by_prefix: dict[str, Route] = {}
    for drawn_route, request in traffic:
        route = by_prefix.setdefault(drawn_route.prefix, drawn_route)
        of = msgspec.structs.replace(request, pan=route.prefix + request.pan[len(route.prefix) :])
        first = next((each for each in rules if holds(each.when, route, of)), None)
        choice = ready.choose(route, of)
        expected = route.acquirer if first is None else first.to[0]
        assert choice.candidates[0] == expected
        told = "" if first is None else f"rule.{first.name}@1"
        assert choice.rule.startswith(told or "route.")
        refused = [name for name, _ in ready.objections(route, of)]
        before = rules if first is None else rules[: rules.index(first)]
        assert refused == [f"rule.{each.name}@1" for each in before]


@given(whens, whens, st.lists(st.tuples(routes, requests), min_size=1, max_size=20))
def test_what_is_said_of_two_conditions_holds_for_every_request(
    one: When, other: When, traffic: list[tuple[Route, Asked]]
) -> None:
    for route, of in traffic:
        both = holds(one, route, of), holds(other, route, of)
        if covers(one, other):
            assert both != (False, True)
        if disjoint(one, other):
            assert both != (True, True)


def test_a_snapshot_has_the_table_of_its_items() -> None:
    def item(kind: str, key: str, version: int, content: Any) -> Item:
        return Item(
            kind=kind, key=key, version=version, effective_from=NOW,
            content=msgspec.to_builtins(content),
        )  # fmt: skip

    first = Snapshot(1, [item("route", "622000", 1, ROUTE), item("routing_rule", "one", 1, rule())])
    assert first.routing.choose(ROUTE, ASKED).rule == "rule.one@1"
    second = first.copy(2)
    second.take([item("routing_rule", "one", 2, rule(enabled=False))], ())
    assert second.routing.choose(ROUTE, ASKED).rule == "route.622000@1"
    assert first.routing.choose(ROUTE, ASKED).rule == "rule.one@1", "once served it never changes"


# -- what is refused --------------------------------------------------------------------------------

# what is said, where it is wrong, why
BAD: list[tuple[RoutingRule, str, str]] = [
    (rule("Bad Name"), "name", "1 to 48"),
    (rule(to=()), "to", "at least one"),
    (rule(to=("bank-a", "bank-a")), "to[1]", "named before"),
    (rule(to=("bank-a",), fallbacks=("bank-a",)), "fallbacks[0]", "named before"),
    (rule(to=tuple(f"b{at}" for at in range(9))), "fallbacks", "at most 8"),
    (rule(choose="weight", to=LINKS, weights=(50, 50)), "weights", "one for each"),
    (rule(choose="weight", to=LINKS, weights=(50, 40, 5)), "weights", "these are 95"),
    (rule(choose="weight", to=LINKS[:2], weights=(100, 0)), "weights[1]", "from 1 on"),
    (rule(choose="weight", to=LINKS[:2], weights=(110, -10)), "weights[1]", "from 1 on"),
    (rule(weights=(100,)), "weights", "only choose"),
    (rule(choose="cost"), "when.currencies", "of a currency"),
    (rule(when={"amount_to_minor": 5}), "when.currencies", "of one currency"),
    (rule(when={"amount_from_minor": 5, "currencies": ("156", "840")}), "when.currencies", "no other"),
    (
        rule(when={"amount_from_minor": 6, "amount_to_minor": 5, "currencies": ("156",)}),
        "when.amount_to_minor",
        "at least amount_from_minor",
    ),
    (rule(when={"types": ("sale",)}), "when.types[0]", "no type"),
    (rule(when={"types": ("purchase", "void")}), "when.types[1]", "where its original was approved"),
    (rule(when={"prefixes": ("62x",)}), "when.prefixes[0]", "digits"),
    (rule(when={"prefixes": ("6220001234567890",)}), "when.prefixes[0]", "1 to 12"),
    (rule(when={"mccs": ("58125",)}), "when.mccs[0]", "digits"),
    (rule(when={"currencies": ("CNY",)}), "when.currencies[0]", "three digits"),
    (rule(when={"card_types": ("prepaid",)}), "when.card_types[0]", "debit or credit"),
    (rule(when={"mccs": ("58", "58")}), "when.mccs[1]", "twice"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "path", "reason"), BAD, ids=lambda each: str(each)[:30])
def test_one_that_is_wrong_by_itself(bad: RoutingRule, path: str, reason: str) -> None:
    found = [(at, why) for at, why in faults(bad) if at == path]
    assert found, list(faults(bad))
    assert any(reason in why for _, why in found), found


@pytest.mark.parametrize("each", [rule(), SPLIT, *PRICES], ids=str)
def test_one_that_is_right(each: Any) -> None:
    assert list(faults(each)) == []


@pytest.mark.parametrize(
    ("cost", "path"),
    [
        (RoutingCost(acquirer="a", currency="RMB"), "currency"),
        (RoutingCost(acquirer="a", currency="156", card_type="x"), "card_type"),
        (RoutingCost(acquirer="a", currency="156", least_minor=5, most_minor=4), "most_minor"),
    ],
)
def test_a_cost_that_is_wrong(cost: RoutingCost, path: str) -> None:
    assert [at for at, _ in faults(cost)] == [path]


MERCHANTS = {
    "1" * 15: Merchant(merchant="1" * 15, name="Diner", mcc="5812", currency="156"),
    "2" * 15: Merchant(merchant="2" * 15, name="Grocer", mcc="5411", currency="840"),
}
CARDS = {
    "622000": ROUTE,
    "622588": Route(prefix="622588", acquirer="bank-a", card_type="credit"),
}

# rules, costs → (the rule that is told, where, why)
TOGETHER: list[tuple[str, list[RoutingRule], tuple[RoutingCost, ...], tuple[str, str, str]]] = [
    (
        "the same order, and both may be meant",
        [rule("a", when={"mccs": ("58",)}), rule("b", when={"types": ("purchase",)})],
        (),
        ("b", "order", "rule a has order 1 too"),
    ),
    (
        "one before takes all of it",
        [rule("a", 1, when={"mccs": ("5",)}), rule("b", 2, when={"mccs": ("5812", "5411")})],
        (),
        ("b", "order", "never asked: rule a of order 1"),
    ),
    (
        "one before takes everything",
        [rule("a", 1), rule("b", 2, when={"types": ("purchase",)})],
        (),
        ("b", "order", "never asked"),
    ),
    (
        "a wider range of amounts before",
        [
            rule("a", 1, when={"currencies": ("156",), "amount_from_minor": 100}),
            rule("b", 2, when={"currencies": ("156",), "amount_from_minor": 200, "amount_to_minor": 300}),
        ],
        (),
        ("b", "order", "never asked"),
    ),
    ("no such cards", [rule("a", when={"prefixes": ("622000", "9")})], (), ("a", "when.prefixes[1]", "no [[route]]")),
    (
        "cards of another type",
        [rule("a", when={"prefixes": ("622000",), "card_types": ("credit",)})],
        (),
        ("a", "when.prefixes[0]", "another card type"),
    ),
    ("nobody's cards", [rule("a", when={"foreign": True})], (), ("a", "when", "add one")),
    (
        "a merchant of another currency",
        [rule("a", when={"merchants": ("2" * 15,), "currencies": ("156",)})],
        (),
        ("a", "when.merchants[0]", "its currency is 840"),
    ),
    (
        "a merchant of another category",
        [rule("a", when={"merchants": ("1" * 15,), "mccs": ("54",)})],
        (),
        ("a", "when.merchants[0]", "its MCC is 5812"),
    ),
    (
        "one without a price",
        [rule("a", choose="cost", to=("bank-a", "bank-b"), when={"currencies": ("156",)})],
        (PRICES[0], PRICES[2]),
        ("a", "to[0]", "no [[routing_cost]] of bank-a in 156 for credit cards"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "rules", "costs", "told"),
    TOGETHER,
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_set_that_is_not_sound(
    what: str, rules: list[RoutingRule], costs: tuple[RoutingCost, ...], told: tuple[str, str, str]
) -> None:
    by_name = {each.name: each for each in rules}
    found = list(whole(by_name, {each.key: each for each in costs}, CARDS, MERCHANTS))
    assert [(name, path) for name, path, _ in found] == [told[:2]], what
    assert told[2] in found[0][2]


def test_a_set_that_is_sound() -> None:
    rules = [
        rule("a", 1, when={"mccs": ("5812",)}),
        rule("b", 1, when={"mccs": ("5411",)}),
        rule("c", 2, when={"mccs": ("58",), "types": ("purchase",)}),
        rule("d", 3, enabled=False),
        rule("e", 4, choose="cost", to=("bank-a", "bank-b"), when={"currencies": ("156",)}),
        rule("f", 5, when={"prefixes": ("62258", "6220001")}),
        rule("g", 6),
    ]
    by_name = {each.name: each for each in rules}
    assert list(whole(by_name, {each.key: each for each in PRICES}, CARDS, MERCHANTS)) == []


def test_the_key_of_a_cost_says_all_that_makes_it_one() -> None:
    assert PRICES[0].key == cost_key("bank-a", "156", "debit") == "bank-a/156/debit"
    assert PRICES[1].key == "bank-a/156/any"
