"""Fee plans judged before they are stored, and prices explained.

What a type can not say about a plan is here as (path, reason), so that `data apply` and
`fees check` refuse the same with the same words. An explanation is what `Plan` itself computed,
with the line that applied and why those before it did not (promise P10).
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import msgspec

from settlement.fees import COMPONENTS, DISCOUNT, ENTRY_CLASSES, Basis, Plan, Rate

CARD_TYPES: Final = ("debit", "credit")
LINES_MAX: Final = 1_000  # of a component
RATE_PLACES_MAX: Final = 8  # decimals of a rate


def faults(plan: Plan) -> Iterator[tuple[str, str]]:
    """What is wrong with a plan: (path, reason), in the order of the plan."""
    if not plan.name:
        yield "name", "a fee plan has a name"
    names = [part.name for part in plan.components]
    for number, component in enumerate(plan.components):
        at = f"components[{number}]"
        if component.name not in COMPONENTS:
            yield f"{at}.name", f"no {component.name!r}; there are {', '.join(COMPONENTS)}"
        if component.name in names[:number]:
            yield f"{at}.name", f"{component.name} stands twice"
        if component.name == "acquirer" and DISCOUNT in names:
            yield f"{at}.name", f"the parts sum to the {DISCOUNT}: a plan has one or the other"
        if len(component.rates) > LINES_MAX:
            yield f"{at}.rates", f"more than {LINES_MAX} lines"
            continue
        for line, rate in enumerate(component.rates):
            for key, reason in _faults_of(rate):
                yield f"{at}.rates[{line}]{key}", reason
            for earlier in range(line):
                if _covers(component.rates[earlier], rate):
                    yield f"{at}.rates[{line}]", f"never applies: rates[{earlier}] comes first"
                    break


def _faults_of(rate: Rate) -> Iterator[tuple[str, str]]:
    if not (rate.rate.is_finite() and 0 <= rate.rate <= 1):
        yield ".rate", "0 to 1, a part of the amount"
    elif rate.rate != round(rate.rate, RATE_PLACES_MAX):
        yield ".rate", f"at most {RATE_PLACES_MAX} decimals, written as text"
    if rate.card_type not in (None, *CARD_TYPES):
        yield ".card_type", f"no {rate.card_type!r}; there are {', '.join(CARD_TYPES)}"
    for number, codes in enumerate(rate.mcc or ()):
        ends = codes.split("-")
        if len(ends) > 2 or not all(len(end) == 4 and end.isdecimal() for end in ends):
            yield f".mcc[{number}]", 'four digits, or a range as "5811-5814"'
        elif ends[0] > ends[-1]:
            yield f".mcc[{number}]", "the range ends before it begins"
    for number, name in enumerate(rate.entry or ()):
        if name not in ENTRY_CLASSES:
            yield f".entry[{number}]", f"no {name!r}; there are {', '.join(ENTRY_CLASSES)}"
    for key in ("mcc", "entry"):
        if getattr(rate, key) == ():
            yield f".{key}", "empty: no transaction would do; leave it out for any"
    if min(rate.fixed_minor, rate.minimum_minor) < 0:
        yield "", "fixed_minor and minimum_minor from 0 on"
    if min(rate.amount_from_minor, rate.volume_from_minor) < 0:
        yield "", "amount_from_minor and volume_from_minor from 0 on"
    if rate.cap_minor is not None and rate.cap_minor < rate.minimum_minor:
        yield ".cap_minor", "not below minimum_minor"
    if rate.amount_up_to_minor is not None and rate.amount_up_to_minor < rate.amount_from_minor:
        yield ".amount_up_to_minor", "not below amount_from_minor"


def _covers(earlier: Rate, later: Rate) -> bool:
    """Whether wherever the later line holds, the earlier does: then the later never applies."""
    up_to = earlier.amount_up_to_minor
    later_up_to = later.amount_up_to_minor
    return (
        earlier.card_type in (None, later.card_type)
        and _all_within(later.mcc, earlier.mcc)
        and (
            earlier.entry is None
            or (later.entry is not None and set(later.entry) <= set(earlier.entry))
        )
        and earlier.amount_from_minor <= later.amount_from_minor
        and (up_to is None or (later_up_to is not None and later_up_to <= up_to))
        and earlier.volume_from_minor <= later.volume_from_minor
    )


def _all_within(codes: tuple[str, ...] | None, ranges: tuple[str, ...] | None) -> bool:
    if ranges is None:
        return True
    if codes is None:
        return False
    ends = [(first, last or first) for first, _, last in (one.partition("-") for one in ranges)]
    return all(
        any(low <= first and (last or first) <= high for low, high in ends)
        for first, _, last in (one.partition("-") for one in codes)
    )


# -- explanations -----------------------------------------------------------------------------


class PassedOver(msgspec.Struct, frozen=True):
    """A line that did not apply: the first of its conditions that does not hold."""

    line: int
    condition: str  # its key
    asks: object
    has: object


class Explanation(msgspec.Struct, frozen=True):
    """How one component of a plan came to its fee of one amount."""

    component: str
    amount_minor: int
    line: int | None  # None: no line applies, and the fee is 0
    passed_over: tuple[PassedOver, ...]
    rate: Decimal | None
    exact: Decimal | None  # minor units, before rounding, minimum and cap
    rounding: str
    bound: str  # minimum_minor or cap_minor where that decided; else empty
    fee_minor: int


def explain(plan: Plan, amount_minor: int, basis: Basis) -> list[Explanation]:
    """Every component's fee of one amount >= 0, in the order of the plan."""
    made = []
    for component in plan.components:
        number = component.line(amount_minor, basis)
        passed = tuple(
            _passed_over(index, rate, amount_minor, basis)
            for index, rate in enumerate(component.rates[:number])
        )
        rate = None if number is None else component.rates[number]
        made.append(
            Explanation(
                component=component.name,
                amount_minor=amount_minor,
                line=number,
                passed_over=passed,
                rate=rate.rate if rate else None,
                exact=rate.exact(amount_minor) if rate else None,
                rounding=component.rounding,
                bound=_bound(rate, amount_minor, component.fee(amount_minor, basis)),
                fee_minor=component.fee(amount_minor, basis),
            )
        )
    return made


def _passed_over(number: int, rate: Rate, amount_minor: int, basis: Basis) -> PassedOver:
    condition = rate.unmet(amount_minor, basis)
    has = {
        "card_type": basis.card_type,
        "mcc": basis.mcc,
        "entry": basis.entry,
        "amount_from_minor": amount_minor,
        "amount_up_to_minor": amount_minor,
        "volume_from_minor": basis.volume_minor,
    }
    return PassedOver(number, condition, getattr(rate, condition), has[condition])


def _bound(rate: Rate | None, amount_minor: int, fee_minor: int) -> str:
    if rate is None or amount_minor == 0:
        return ""
    exact = rate.exact(amount_minor)
    if fee_minor == rate.cap_minor and exact > fee_minor:
        return "cap_minor"
    if fee_minor == rate.minimum_minor and exact < fee_minor:
        return "minimum_minor"
    return ""
