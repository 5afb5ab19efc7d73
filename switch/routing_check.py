"""What is wrong with routing rules: with one by itself, and with all that would be in force together.

Checked before anything is stored: a set that is ambiguous, or of which a part can never be asked, is
refused whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from iso8583 import amount
from switch.reference import Route
from switch.routing import meet
from switch.routing_rules import (
    CANDIDATES_MAX,
    PERCENT,
    RULES_MAX,
    RoutingCost,
    RoutingRule,
    cost_key,
)
from switch.transactions import TYPES
from terminals.registry import Merchant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from switch.routing_rules import When

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
PREFIX, DIGITS = re.compile(r"[0-9]{1,12}"), re.compile(r"[0-9]{1,4}")
CARD_TYPES = ("debit", "credit")
# What follows an original goes where that was approved; a refund may be allowed to name none.
ROUTED = tuple(name for name, row in TYPES.items() if not row.follows or row.judge == "refund")
HELD_AGAINST_RULES = ("route", "routing_cost", "routing_rule", "merchant")
Contents = Mapping[tuple[str, str], dict[str, Any]]  # of items, by kind and key
Shape = TypeVar("Shape", bound=msgspec.Struct)
EXACT = ("merchants", "types", "currencies", "card_types")
BY_PREFIX = ("prefixes", "mccs", "entry_modes")


# -- one by itself ----------------------------------------------------------------------------------


def faults(item: RoutingRule | RoutingCost) -> Iterator[tuple[str, str]]:
    """(path, reason) of everything that is wrong with one item."""
    if isinstance(item, RoutingCost):
        yield from _cost_faults(item)
        return
    if not NAME.fullmatch(item.name):
        yield "name", "1 to 48 of a-z, 0-9, - and _, as decisions name it"
    yield from _condition(item.when)
    yield from _candidates(item)


def _cost_faults(item: RoutingCost) -> Iterator[tuple[str, str]]:
    if not amount.is_currency(item.currency):
        yield "currency", "a currency's three digits, as in DE 49"
    if item.card_type not in ("", *CARD_TYPES):
        yield "card_type", "debit, credit, or nothing for both"
    if item.most_minor is not None and item.most_minor < item.least_minor:
        yield "most_minor", "at least least_minor"


def _candidates(item: RoutingRule) -> Iterator[tuple[str, str]]:
    if not item.to:
        yield "to", "name at least one link"
    names = (*item.to, *item.fallbacks)
    if len(names) > CANDIDATES_MAX:
        yield "fallbacks", f"at most {CANDIDATES_MAX} links with those of to"
    for at, name in enumerate(names):
        if name in names[:at]:
            path = f"to[{at}]" if at < len(item.to) else f"fallbacks[{at - len(item.to)}]"
            yield path, f"{name} is named before: each link once"
    if item.choose == "weight":
        if len(item.weights) != len(item.to):
            yield "weights", f"one for each of to: {len(item.to)}, not {len(item.weights)}"
        for at, weight in enumerate(item.weights):
            if weight <= 0:
                yield f"weights[{at}]", "from 1 on; a link that gets nothing is one of fallbacks"
        if sum(item.weights) != PERCENT:
            yield "weights", f"percent, {PERCENT} together; these are {sum(item.weights)}"
    elif item.weights:
        yield "weights", 'only choose = "weight" has them'
    if item.choose == "cost" and not item.when.currencies:
        yield "when.currencies", "costs are of a currency: name those that the rule is for"


def _condition(of: When) -> Iterator[tuple[str, str]]:
    for number, name in enumerate(of.types):
        if name not in TYPES:
            yield f"when.types[{number}]", f"no type {name!r}; there are {', '.join(ROUTED)}"
        elif name not in ROUTED:
            reason = (
                f"a {name} goes where its original was approved, whatever rules say: leave it out"
            )
            yield f"when.types[{number}]", reason
    for field, form, says in (
        ("prefixes", PREFIX, "1 to 12 digits, the first ones of card numbers"),
        ("mccs", DIGITS, "1 to 4 digits, the first ones"),
        ("entry_modes", DIGITS, "1 to 4 digits, the first ones"),
    ):
        for number, prefix in enumerate(getattr(of, field)):
            if not form.fullmatch(prefix):
                yield f"when.{field}[{number}]", says
    for number, currency in enumerate(of.currencies):
        if not amount.is_currency(currency):
            yield f"when.currencies[{number}]", "a currency's three digits, as in DE 49"
    for number, kind in enumerate(of.card_types):
        if kind not in CARD_TYPES:
            yield f"when.card_types[{number}]", "debit or credit"
    for field in (*EXACT, *BY_PREFIX):
        yield from _once(f"when.{field}", getattr(of, field))
    bounded = of.amount_from_minor > 0 or of.amount_to_minor is not None
    if bounded and len(of.currencies) != 1:
        yield "when.currencies", "amounts are of one currency: name it, and no other"
    if of.amount_to_minor is not None and of.amount_to_minor < of.amount_from_minor:
        yield "when.amount_to_minor", f"at least amount_from_minor, {of.amount_from_minor}"


def _once(path: str, values: Sequence[str]) -> Iterator[tuple[str, str]]:
    for number, value in enumerate(values):
        if value in values[:number]:
            yield f"{path}[{number}]", f"{value} stands twice"


# -- all together -----------------------------------------------------------------------------------


def whole(
    rules: Mapping[str, RoutingRule],
    costs: Mapping[str, RoutingCost],
    routes: Mapping[str, Route],
    merchants: Mapping[str, Merchant],
) -> Iterator[tuple[str, str, str]]:
    """(rule, path, reason) of everything that is wrong with what would be in force together."""
    enabled = sorted(
        (rule for rule in rules.values() if rule.enabled), key=lambda rule: (rule.order, rule.name)
    )
    if len(enabled) > RULES_MAX:
        yield enabled[-1].name, "", f"more than {RULES_MAX} rules are in force: disable some"
        return
    for at, rule in enumerate(enabled):
        yield from _never(rule, routes, merchants)
        yield from _prices(rule, costs, routes)
        for before in enabled[:at]:
            if before.order == rule.order:
                if not disjoint(before.when, rule.when):
                    reason = (
                        f"rule {before.name} has order {rule.order} too, and a request may be of both:"
                        " give one of them another order, or narrow one"
                    )
                    yield rule.name, "order", reason
            elif covers(before.when, rule.when):
                reason = (
                    f"never asked: rule {before.name} of order {before.order} comes first and takes all"
                    f" of it. Give {rule.name} a lower order, or narrow {before.name}"
                )
                yield rule.name, "order", reason
                break


def whole_of(known: Contents, entries: Contents) -> Iterator[tuple[str, str, str]]:
    """The same of items as the store has them: `known` would be in force together, `entries` are of the
    file. One that has nothing to do with routing is not held against the rules."""
    if not any(kind in HELD_AGAINST_RULES for kind, _ in entries):
        return
    rules = _of_kind("routing_rule", RoutingRule, known)
    named = {name for rule in rules.values() for name in rule.when.merchants}
    merchants = {
        name: msgspec.convert(known["merchant", name], Merchant)
        for name in sorted(named)
        if ("merchant", name) in known
    }
    costs = _of_kind("routing_cost", RoutingCost, known)
    yield from whole(rules, costs, _of_kind("route", Route, known), merchants)


def _of_kind(kind: str, shape: type[Shape], known: Contents) -> dict[str, Shape]:
    return {key: msgspec.convert(known[of, key], shape) for of, key in known if of == kind}


def _never(
    rule: RoutingRule, routes: Mapping[str, Route], merchants: Mapping[str, Merchant]
) -> Iterator[tuple[str, str, str]]:
    """Conditions that nothing known can meet."""
    when = rule.when
    for number, prefix in enumerate(when.prefixes):
        cards = list(_routes_of(prefix, routes))
        if not cards:
            reason = (
                f"no [[route]] has cards that begin with {prefix}: they are refused before any rule"
            )
            yield rule.name, f"when.prefixes[{number}]", f"{reason}; add one"
        elif not any(_is_of(route, when) for route in cards):
            reason = f"cards that begin with {prefix} are of another card type or origin by their [[route]]"
            yield rule.name, f"when.prefixes[{number}]", f"{reason}: change one of the two"
    if not when.prefixes and not any(_is_of(route, when) for route in routes.values()):
        yield rule.name, "when", "no [[route]] has cards of that type and origin: add one"
    for number, name in enumerate(when.merchants):
        merchant = merchants.get(name)
        if merchant is None:
            continue  # that it is missing, `named_by` says
        at = f"when.merchants[{number}]"
        if when.currencies and merchant.currency not in when.currencies:
            reason = (
                f"its currency is {merchant.currency}, and the rule is for"
                f" {', '.join(when.currencies)}: take it out, or name its currency"
            )
            yield rule.name, at, reason
        if when.mccs and not merchant.mcc.startswith(when.mccs):
            reason = f"its MCC is {merchant.mcc}, which when.mccs leaves out: take it out of one"
            yield rule.name, at, reason


def _routes_of(prefix: str, routes: Mapping[str, Route]) -> Iterator[Route]:
    """Every route that a card with these first digits may have."""
    longest = max((key for key in routes if prefix.startswith(key)), key=len, default=None)
    if longest is not None:
        yield routes[longest]
    for key, route in routes.items():
        if key != longest and key.startswith(prefix):
            yield route


def _is_of(route: Route, when: When) -> bool:
    right_type = not when.card_types or route.card_type in when.card_types
    return right_type and (when.foreign is None or route.foreign is when.foreign)


def _prices(
    rule: RoutingRule, costs: Mapping[str, RoutingCost], routes: Mapping[str, Route]
) -> Iterator[tuple[str, str, str]]:
    """Who is to be the cheapest has a price, in every currency and for every type of card."""
    if rule.choose != "cost":
        return
    asked = sorted({route.card_type for route in routes.values() if _is_of(route, rule.when)})
    for number, name in enumerate(rule.to):
        for currency in rule.when.currencies:
            if cost_key(name, currency, "") in costs:
                continue
            for card_type in asked:
                if cost_key(name, currency, card_type) not in costs:
                    reason = (
                        f"no [[routing_cost]] of {name} in {currency} for {card_type} cards: add it"
                    )
                    yield rule.name, f"to[{number}]", reason


# -- conditions as sets -----------------------------------------------------------------------------


def covers(wide: When, narrow: When) -> bool:
    """Is every request that `narrow` names also one that `wide` names?"""
    for field in EXACT:
        all_of, some = getattr(wide, field), getattr(narrow, field)
        if all_of and not (some and set(some) <= set(all_of)):
            return False
    for field in BY_PREFIX:
        all_of, some = getattr(wide, field), getattr(narrow, field)
        if all_of and not (some and all(covered(prefix, all_of) for prefix in some)):
            return False
    if wide.foreign is not None and narrow.foreign is not wide.foreign:
        return False
    if wide.amount_from_minor > narrow.amount_from_minor:
        return False
    most, theirs = wide.amount_to_minor, narrow.amount_to_minor
    return most is None or (theirs is not None and theirs <= most)


def covered(prefix: str, prefixes: Sequence[str]) -> bool:
    """Does everything that begins with `prefix` begin with one of `prefixes`?

    >>> covered("62", ["6"]), covered("6", ["62"]), covered("6", [f"6{digit}" for digit in range(10)])
    (True, False, True)
    """
    if prefix.startswith(tuple(prefixes)):
        return True
    longer = [each for each in prefixes if each.startswith(prefix)]
    return bool(longer) and all(covered(f"{prefix}{digit}", longer) for digit in range(10))


def disjoint(one: When, other: When) -> bool:
    """Is there surely no request that both name?"""
    for field in EXACT:
        ours, theirs = getattr(one, field), getattr(other, field)
        if ours and theirs and not set(ours) & set(theirs):
            return True
    for field in BY_PREFIX:
        ours, theirs = getattr(one, field), getattr(other, field)
        if ours and theirs and not meet(ours, theirs):
            return True
    if None not in (one.foreign, other.foreign) and one.foreign is not other.foreign:
        return True
    tops = [of.amount_to_minor for of in (one, other) if of.amount_to_minor is not None]
    return bool(tops) and max(one.amount_from_minor, other.amount_from_minor) > min(tops)
