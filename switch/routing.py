"""Where a request goes: the card's own route, or the first rule that names it. Pure.

Theory of operation. A card has a `route`, that of the longest prefix; it says what the card is and
where it goes if nobody says otherwise. `routing_rule`s say otherwise. They are asked in the order of
their `order`, and the first whose condition holds decides alone; where none does, the route decides.
What comes out is a `Choice`: the rule with its version, and every link that may be tried, in order.
Which of them is up is no part of it: whoever tries them goes down that order, before anything was
sent, and says of each that was passed over why (`route_rule`).

A `Table` is made once for a snapshot and never changes. All of a condition but prefix and amount is
looked at once for each combination that comes (`_facets`), so that a request costs one look-up and a
comparison for each rule that is left.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from switch.journal import Key
from switch.routing_rules import PERCENT, RoutingCost, cost_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from switch.reference import Route
    from switch.routing_rules import RoutingRule, When

FACETS_MAX: Final = 4_096  # combinations that are remembered; then they are learnt anew
AMOUNT_MAX: Final = 10**12  # above DE 4
OF_ORIGINAL: Final = "route.of_original@0"  # what follows goes where its original was approved
ROUTE_RULE = re.compile(
    r"(?P<rule>.+@[0-9]+)/(?P<acquirer>[^/@ ]+)@(?P<link>[0-9]+)(?: after (?P<passed>.+))?"
)

Passed = tuple[
    tuple[str, str], ...
]  # (acquirer, why it was passed over), in the order of the choice


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A request as rules see it. The card's type is its route's."""

    key: Key
    type: str
    pan: str  # or the code that was scanned
    mcc: str
    currency: str
    entry_mode: str
    amount_minor: int


class Choice(msgspec.Struct, frozen=True, gc=False):
    """What was decided: who decided, and the links in the order in which they may be tried."""

    rule: str  # with its version: "route.622000@4", "rule.airlines@2"
    candidates: tuple[str, ...]
    told: str = ""  # JSON for the request's decision; "": the route's one link, which `rule` names


class Table:
    """The rules in force, ready to be asked."""

    def __init__(
        self,
        rules: Mapping[str, RoutingRule] = {},
        costs: Mapping[str, RoutingCost] = {},
        versions: Mapping[str, Mapping[str, int]] = {},
    ) -> None:
        """`versions`: kind → key → version of routes, routing rules and costs."""
        self._route_versions = versions.get("route", {})
        self._costs = {
            key: (cost, versions.get("routing_cost", {}).get(key, 0)) for key, cost in costs.items()
        }
        known = versions.get("routing_rule", {})
        enabled = [rule for rule in rules.values() if rule.enabled]
        self.rules = tuple(
            Ready(rule, known.get(rule.name, 0), self._costs)
            for rule in sorted(enabled, key=lambda rule: (rule.order, rule.name))
        )
        self._named = frozenset(
            merchant for ready in self.rules for merchant in ready.rule.when.merchants
        )
        self._facets: dict[tuple[str, ...], tuple[Ready, ...]] = {}
        self._own: dict[str, Choice] = {}

    def choose(self, route: Route, asked: Asked) -> Choice:
        """The first rule whose condition holds; else the card's own route."""
        merchant = asked.key.merchant
        facets = (
            asked.type,
            merchant if merchant in self._named else "",
            asked.mcc,
            asked.currency,
            asked.entry_mode,
            route.prefix,
        )
        rules = self._facets.get(facets)
        if rules is None:
            rules = self._narrowed(facets, route, asked)
        pan, amount = asked.pan, asked.amount_minor
        for ready in rules:
            if ready.low <= amount <= ready.high and (
                not ready.prefixes or pan.startswith(ready.prefixes)
            ):
                return ready.choice(route, asked)
        return self.own(route)

    def own(self, route: Route) -> Choice:
        """What a card's route says by itself."""
        found = self._own.get(route.prefix)
        if found is None:
            rule = f"route.{route.prefix}@{self._route_versions.get(route.prefix, 0)}"
            candidates = (route.acquirer, *route.alternates)
            told = _told(rule, "order", [{"acquirer": name} for name in candidates])
            found = Choice(rule, candidates, told if route.alternates else "")
            self._own[route.prefix] = found
        return found

    def objections(self, route: Route, asked: Asked) -> list[tuple[str, str]]:
        """Of each rule before the one that decides: its name, and the first condition that fails."""
        found = []
        for ready in self.rules:
            failed = objection(ready.rule.when, route, asked)
            if not failed:
                break
            found.append((ready.name, failed))
        return found

    def _narrowed(self, facets: tuple[str, ...], route: Route, asked: Asked) -> tuple[Ready, ...]:
        if len(self._facets) >= FACETS_MAX:
            self._facets.clear()
        left = tuple(
            ready
            for ready in self.rules
            if objection(ready.rule.when, route, asked) in ("", "prefixes", "amount")
            and (not ready.prefixes or meet(ready.prefixes, (route.prefix,)))
        )
        self._facets[facets] = left
        return left


def objection(when: When, route: Route, asked: Asked) -> str:
    """The first key of a condition that does not hold, "" where all do; prefixes and amount last."""
    if when.merchants and asked.key.merchant not in when.merchants:
        return "merchants"
    if when.mccs and not asked.mcc.startswith(when.mccs):
        return "mccs"
    if when.types and asked.type not in when.types:
        return "types"
    if when.currencies and asked.currency not in when.currencies:
        return "currencies"
    if when.entry_modes and not asked.entry_mode.startswith(when.entry_modes):
        return "entry_modes"
    if when.card_types and route.card_type not in when.card_types:
        return "card_types"
    if when.foreign is not None and route.foreign is not when.foreign:
        return "foreign"
    if when.prefixes and not asked.pan.startswith(when.prefixes):
        return "prefixes"
    most = AMOUNT_MAX if when.amount_to_minor is None else when.amount_to_minor
    return "" if when.amount_from_minor <= asked.amount_minor <= most else "amount"


def meet(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """May something begin with one of both?"""
    return any(one.startswith(other) or other.startswith(one) for one in ours for other in theirs)


class Tariff(msgspec.Struct, frozen=True):
    """What the links of a rule take for cards of one type in one currency."""

    priced: tuple[tuple[int, RoutingCost], ...]  # by the place of the link among the rule's
    by: dict[int, str]  # which cost, with its version
    others: tuple[str, ...]  # links without a cost, then the fallbacks

    @property
    def rest(self) -> list[str]:
        return [f'{{"acquirer":"{name}"}}' for name in self.others]


class Ready:
    """A rule in force with everything that can be made beforehand."""

    __slots__ = (
        "_begin", "_choices", "_costs", "_steps", "_tariffs", "high", "low", "name", "prefixes",
        "rule",
    )  # fmt: skip

    def __init__(
        self, rule: RoutingRule, version: int, costs: Mapping[str, tuple[RoutingCost, int]]
    ) -> None:
        self.rule = rule
        self.name = f"rule.{rule.name}@{version}"
        self.prefixes = rule.when.prefixes
        self.low = rule.when.amount_from_minor
        most = rule.when.amount_to_minor
        self.high = AMOUNT_MAX if most is None else most
        self._costs = costs
        self._tariffs: dict[tuple[str, str], Tariff] = {}  # by currency and card type
        self._begin = f'{{"rule":"{self.name}","choose":"cost","candidates":['
        self._steps: tuple[int, ...] = ()  # where each share of the hundred ends
        self._choices: tuple[Choice, ...] = (
            self._made(rule.to, [{"acquirer": name} for name in rule.to]),
        )
        if rule.choose == "weight":
            self._steps = tuple(sum(rule.weights[: at + 1]) for at in range(len(rule.weights)))
            self._choices = tuple(self._drawn_first(at) for at in range(len(rule.to)))

    def choice(self, route: Route, asked: Asked) -> Choice:
        if self.rule.choose == "weight":
            at = drawn(self.name, asked.key)
            return next(
                choice for step, choice in zip(self._steps, self._choices, strict=True) if at < step
            )
        if self.rule.choose == "cost":
            return self._cheapest(route, asked)
        return self._choices[0]

    def _drawn_first(self, first: int) -> Choice:
        """The others follow by weight, the heaviest first."""
        weights = self.rule.weights
        order = sorted(range(len(weights)), key=lambda at: (at != first, -weights[at], at))
        rows = [{"acquirer": self.rule.to[at], "weight": weights[at]} for at in order]
        return self._made([self.rule.to[at] for at in order], rows)

    def _cheapest(self, route: Route, asked: Asked) -> Choice:
        """By cost; of two that cost the same the preferred; what has no cost comes last."""
        tariff = self._tariffs.get((asked.currency, route.card_type))
        if tariff is None:
            tariff = self._tariff(asked.currency, route.card_type)
        amount = asked.amount_minor
        priced = sorted([(cost.cost_minor(amount), at) for at, cost in tariff.priced])
        names, rows = [], []
        for minor, at in priced:
            name = self.rule.to[at]
            names.append(name)
            rows.append(f'{{"acquirer":"{name}","cost_minor":{minor},"by":"{tariff.by[at]}"}}')
        told = f"{self._begin}{','.join([*rows, *tariff.rest])}]}}"
        return Choice(self.name, (*names, *tariff.others), told)

    def _tariff(self, currency: str, card_type: str) -> Tariff:
        """What each link takes; the few combinations that there are stay made."""
        priced, by, others = [], {}, []
        for at, name in enumerate(self.rule.to):
            found = self._costs.get(cost_key(name, currency, card_type)) or self._costs.get(
                cost_key(name, currency, "")
            )
            if found is None:
                others.append(name)
            else:
                by[at] = f"{found[0].key}@{found[1]}"
                priced.append((at, found[0]))
        made = Tariff(tuple(priced), by, (*others, *self.rule.fallbacks))
        self._tariffs[currency, card_type] = made
        return made

    def _made(self, names: Sequence[str], rows: list[dict[str, Any]]) -> Choice:
        rows = [*rows, *({"acquirer": name} for name in self.rule.fallbacks)]
        told = _told(self.name, self.rule.choose, rows)
        return Choice(self.name, (*names, *self.rule.fallbacks), told)


def drawn(rule: str, key: Key) -> int:
    """0 to 99 out of the request's key and the rule's name and version: the same request goes the same
    way, on every node and in every replay, and another version of the rule deals anew.
    """
    text = f"{rule} {key.merchant} {key.terminal} {key.batch} {key.stan} {key.kind}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) % PERCENT


def _told(rule: str, choose: str, candidates: list[dict[str, Any]]) -> str:
    told = {"rule": rule, "choose": choose, "candidates": candidates}
    return msgspec.json.encode(told).decode()


# -- what is stored ---------------------------------------------------------------------------------


def with_choice(decision: str, choice: Choice, passed: Passed = ()) -> str:
    """A request's decision with its choice; `passed` where no link of it could be tried."""
    told = choice.told
    if passed:
        told = told or _told(
            choice.rule, "order", [{"acquirer": name} for name in choice.candidates]
        )
        told = f'{told[:-1]},"passed":{msgspec.json.encode(dict(passed)).decode()}}}'
    return f'{decision[:-1]},"routing":{told}}}' if told else decision


def route_rule(rule: str, acquirer: str, link_version: int, passed: Passed = ()) -> str:
    """What an attempt's row says: the rule, the link, each with its version, and who was passed over.

    >>> route_rule("rule.airlines@2", "bank-b", 7, (("bank-a", "link_down"),))
    'rule.airlines@2/bank-b@7 after bank-a link_down'
    """
    text = f"{rule}/{acquirer}@{link_version}"
    if passed:
        text += " after " + ", ".join(f"{name} {why}" for name, why in passed)
    return text


class Routed(msgspec.Struct, frozen=True):
    """An attempt's `route_rule`, read."""

    rule: str
    acquirer: str = ""
    link_version: int = 0
    passed: Passed = ()


def read_route_rule(text: str) -> Routed:
    """Rows of an earlier release have the rule alone.

    >>> read_route_rule("rule.airlines@2/bank-b@7 after bank-a link_down").passed
    (('bank-a', 'link_down'),)
    >>> read_route_rule("route.622000@4").rule
    'route.622000@4'
    """
    found = ROUTE_RULE.fullmatch(text)
    if found is None:
        return Routed(text)
    passed = []
    for each in found["passed"].split(", ") if found["passed"] else ():
        name, _, why = each.partition(" ")
        passed.append((name, why))
    return Routed(found["rule"], found["acquirer"], int(found["link"]), tuple(passed))
