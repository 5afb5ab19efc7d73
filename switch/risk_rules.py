"""Limits and risk rules as reference data: one row a rule, and which rules a request has to pass.

A rule says for whom (`scope`, `only`), when (`when`), what is measured, what is too much (`threshold`)
and what follows (`action`). `risk` decides by them; `docs/risk.md` has the table and examples.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from switch.listed_cards import token_of

Scope = Literal["card", "terminal", "merchant", "agent", "type"]
Measure = Literal["any", "amount", "count", "sum", "ratio", "listed", "dormant"]
Action = Literal["decline", "review", "alert"]

COUNTED = frozenset(("count", "sum", "ratio", "dormant"))  # measures that ask the store's counters
BUCKETS = 12  # of a sliding window: what is counted reaches back at most a twelfth too far
DAY_S = 86_400
WINDOW_S_MAX = 366 * DAY_S
RESPONSE_CODES = ("04", "34", "41", "43", "57", "59", "61", "62", "65")
BY_MEASURE = {"amount": "61", "sum": "61", "count": "65"}  # DE 39 of what declines; else 57

Prefixes = tuple[str, ...]


class Condition(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """Which requests; what is not said does not narrow."""

    types: tuple[str, ...] = ()
    mccs: Prefixes = ()
    entry_modes: Prefixes = ()  # of DE 22: "01" keyed, "80" magnetic stripe after the chip failed
    currencies: tuple[str, ...] = ()
    amount_from_minor: int = 0
    amount_to_minor: int | None = None  # inclusive
    hours: str = ""  # hh:mm-hh:mm in the merchant's zone, the end exclusive; may pass midnight
    card_types: tuple[str, ...] = ()  # of the route: debit, credit
    foreign: bool | None = None  # of the route


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Kind `risk_rule`, key = name."""

    name: str
    enabled: bool = True
    scope: Scope  # whose requests are taken together: each of these has counters of its own
    only: tuple[
        str, ...
    ] = ()  # (): all of the scope; terminals as merchant/terminal, cards by token
    when: Condition = Condition()
    measure: Measure
    threshold: Annotated[int, msgspec.Meta(ge=0)] = 0  # minor units, requests, percent or days
    window_s: Annotated[int, msgspec.Meta(ge=0, le=WINDOW_S_MAX)] = 0  # 0: the day in the zone
    timezone: str = ""  # of that day; "": the merchant's
    attempts: bool = False  # what is declined or reversed stays counted
    part: Condition | None = None  # of a ratio: what is set against all that `when` names
    by_amount: bool = False  # a ratio of amounts, not of counts
    minimum_count: Annotated[int, msgspec.Meta(ge=0)] = 0  # a ratio of fewer says nothing
    list: str = ""  # of `listed`: name of a risk_list
    action: Action
    response_code: str = ""  # of decline; "": 61 for amounts, 65 for counts, else 57
    alert: bool = False  # what it declines or has reviewed raises an alert too


class Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Kind `risk_list`, key = name: cards by token (32 hex), terminals, merchants or agents.

    A card's member may have its sealed number behind a colon, for terminals' blacklists.
    """

    name: str
    members: tuple[str, ...] = ()


def minutes(hhmm: str) -> int:
    return int(hhmm[:2]) * 60 + int(hhmm[3:])


class Test:
    """A condition made ready to be asked of many requests."""

    __slots__ = ("_condition", "_from", "_to")

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        low, _, high = condition.hours.partition("-")
        self._from, self._to = (minutes(low), minutes(high)) if high else (0, 0)

    def holds(self, asked: Asked) -> bool:
        of = self._condition
        if of.types and asked.type not in of.types:
            return False
        if of.mccs and not asked.mcc.startswith(of.mccs):
            return False
        if of.entry_modes and not asked.entry_mode.startswith(of.entry_modes):
            return False
        if of.currencies and asked.currency not in of.currencies:
            return False
        if asked.amount_minor < of.amount_from_minor:
            return False
        if of.amount_to_minor is not None and asked.amount_minor > of.amount_to_minor:
            return False
        if of.card_types and asked.card_type not in of.card_types:
            return False
        if of.foreign is not None and asked.foreign is not of.foreign:
            return False
        return self._from == self._to or self._within(asked.minute)

    def _within(self, minute: int) -> bool:
        if self._from < self._to:
            return self._from <= minute < self._to
        return minute >= self._from or minute < self._to


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A request as rules see it."""

    type: str
    mcc: str
    entry_mode: str
    currency: str
    amount_minor: int
    minute: int  # of the merchant's day
    at_s: int  # since 1970
    timezone: str
    card_type: str
    foreign: bool
    card: str  # token, hex; "" where the request has no card number
    merchant: str
    terminal: str  # merchant/terminal
    agent: str

    def subject(self, scope: Scope) -> str:
        """Whose request it is within the scope; "" where it has none."""
        match scope:
            case "card":
                return self.card
            case "terminal":
                return self.terminal
            case "merchant":
                return self.merchant
            case "agent":
                return self.agent
        return self.type


class Prepared(msgspec.Struct, frozen=True):
    """A rule in force, ready to be asked."""

    rule: Rule
    version: int
    when: Test
    part: Test | None
    members: frozenset[str]

    @property
    def told(self) -> str:
        """As decisions name it."""
        return f"risk.{self.rule.name}@{self.version}"

    @property
    def response_code(self) -> str:
        return self.rule.response_code or BY_MEASURE.get(self.rule.measure, "57")


class RuleSet:
    """The rules in force, by type of transaction, in the order of their names."""

    def __init__(
        self,
        rules: dict[str, Rule],
        lists: dict[str, Listed],
        version: dict[str, int],
    ) -> None:
        self.rules = [
            Prepared(
                rule,
                version.get(name, 0),
                Test(rule.when),
                None if rule.part is None else Test(rule.part),
                frozenset(map(token_of, lists[rule.list].members) if rule.list in lists else ()),
            )
            for name, rule in sorted(rules.items())
            if rule.enabled
        ]
        self._by_type: dict[str, tuple[Prepared, ...]] = {}

    def of_type(self, name: str) -> tuple[Prepared, ...]:
        found = self._by_type.get(name)
        if found is None:
            found = self._by_type[name] = tuple(
                each
                for each in self.rules
                if not each.rule.when.types or name in each.rule.when.types
            )
        return found


NO_RULES = RuleSet({}, {}, {})
