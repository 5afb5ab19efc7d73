"""Routing rules as reference data: one row a rule, and what each link costs.

A card's own `[[route]]` says where its requests go; a rule says otherwise for some of them. The rules
are asked in the order of their `order`, and the first whose `when` holds decides. `routing` decides by
them, `routing_check` refuses a set that is not sound; `docs/routing.md` has the table and examples.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

Choose = Literal["order", "weight", "cost"]

CANDIDATES_MAX: Final = 8  # links of one rule, fallbacks included
RULES_MAX: Final = 1_000
PERCENT: Final = 100  # what weights add up to
BASIS: Final = 10_000  # basis points of the whole amount

Minor = Annotated[int, msgspec.Meta(ge=0)]


class When(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """Which requests; what is not said does not narrow."""

    prefixes: tuple[str, ...] = ()  # of the card number, or of the code that was scanned
    merchants: tuple[str, ...] = ()
    mccs: tuple[str, ...] = ()  # by their first digits
    types: tuple[str, ...] = ()
    currencies: tuple[str, ...] = ()
    entry_modes: tuple[str, ...] = ()  # of DE 22, by their first digits
    card_types: tuple[str, ...] = ()  # of the card's route: debit, credit
    foreign: bool | None = None  # of the card's route
    amount_from_minor: Minor = 0
    amount_to_minor: int | None = None  # inclusive


class RoutingRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Kind `routing_rule`, key = name."""

    name: str
    order: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]  # lower ones are asked first
    enabled: bool = True
    when: When = When()
    choose: Choose = "order"  # how the first of `to` is found; the others follow it
    to: tuple[str, ...]  # links, the preferred first
    weights: tuple[int, ...] = ()  # of choose = "weight": percent, one for each of `to`
    fallbacks: tuple[str, ...] = ()  # links after all of `to`


class RoutingCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a transaction costs us on a link. Kind `routing_cost`, key = acquirer/currency/card type.

    A fixed part and basis points of the amount, rounded half up to a minor unit; then the bounds.
    """

    acquirer: str
    currency: str  # DE 49; everything in its minor units
    card_type: str = ""  # debit or credit; "": of both, where no row of its own says otherwise
    fixed_minor: Minor = 0
    basis_points: Annotated[int, msgspec.Meta(ge=0, le=BASIS)] = 0
    least_minor: Minor = 0
    most_minor: Minor | None = None

    @property
    def key(self) -> str:
        return cost_key(self.acquirer, self.currency, self.card_type)

    def cost_minor(self, amount_minor: int) -> int:
        """Of one transaction.

        >>> RoutingCost(acquirer="a", currency="156", fixed_minor=3, basis_points=35).cost_minor(1_000)
        7
        >>> RoutingCost(acquirer="a", currency="156", basis_points=50, most_minor=2_000).cost_minor(10**6)
        2000
        """
        cost = self.fixed_minor + (amount_minor * self.basis_points + BASIS // 2) // BASIS
        cost = max(cost, self.least_minor)
        return cost if self.most_minor is None else min(cost, self.most_minor)


def cost_key(acquirer: str, currency: str, card_type: str) -> str:
    return f"{acquirer}/{currency}/{card_type or 'any'}"
