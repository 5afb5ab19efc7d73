"""What a type can not say about a risk rule: checked before it is stored."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from iso8583 import amount
from iso8583.track import luhn_ok
from switch.listed_cards import sealed
from switch.risk_rules import RESPONSE_CODES, Listed, Rule
from switch.transactions import TYPES
from terminals.downloads import CARDS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switch.risk_rules import Condition

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
HOURS = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]")
TOKEN = re.compile(r"[0-9a-f]{32}")
SEALED = re.compile(r"[0-9a-f]{32}:(?:[0-9a-f]{2}){40,100}")
PAN, MERCHANT_DIGITS = re.compile(r"[0-9]{13,19}"), 15
DIGITS = re.compile(r"[0-9]{1,4}")


def faults(item: Rule | Listed) -> Iterator[tuple[str, str]]:
    """(path, reason) of everything that is wrong with one item."""
    if not NAME.fullmatch(item.name):
        yield "name", "1 to 48 of a-z, 0-9, - and _, as decisions name it"
    if isinstance(item, Listed):
        for number, member in enumerate(item.members):
            if looks_like_pan(member):
                yield f"members[{number}]", "a card number: give its token, from tongbao risk token"
            if ":" in member and not SEALED.fullmatch(member):
                yield f"members[{number}]", "token:sealed, as tongbao risk token --sealed prints it"
        if len(sealed(item.members)) > CARDS_MAX:
            yield "members", f"at most {CARDS_MAX} sealed: terminals count them with three digits"
        return
    yield from _condition("when", item.when)
    if item.part is not None:
        yield from _condition("part", item.part)
    yield from _measured(item)
    if item.scope == "card":
        for number, subject in enumerate(item.only):
            if not TOKEN.fullmatch(subject):
                yield f"only[{number}]", "a card's token in 32 hex digits: tongbao risk token"
    if item.scope == "type":
        for number, subject in enumerate(item.only):
            if subject not in TYPES:
                yield f"only[{number}]", f"no type {subject!r}; there are {', '.join(TYPES)}"
    if item.response_code and item.action != "decline":
        yield "response_code", "only what declines answers with one"
    if item.response_code and item.response_code not in RESPONSE_CODES:
        yield "response_code", f"one of {', '.join(RESPONSE_CODES)}"
    if item.timezone:
        try:
            ZoneInfo(item.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            yield "timezone", f"no time zone {item.timezone!r}"


def looks_like_pan(member: str) -> bool:
    """Digits of a card number's length. Merchants have 15 too: there only what such cards begin with.

    >>> looks_like_pan("6220000000000011"), looks_like_pan("102584054110001")
    (True, False)
    """
    if not PAN.fullmatch(member):
        return False
    return len(member) != MERCHANT_DIGITS or (member.startswith(("34", "37")) and luhn_ok(member))


def _measured(item: Rule) -> Iterator[tuple[str, str]]:
    """What each measure needs, and what only it may have."""
    money = item.measure in ("amount", "sum") or item.by_amount
    if money and len(item.when.currencies) != 1:
        yield "when.currencies", "amounts are of one currency: name it"
    if (item.measure == "ratio") is not (item.part is not None):
        yield "part", "a ratio says what part is set against all, and nothing else does"
    if (item.measure == "listed") is not bool(item.list):
        yield "list", "the measure listed names a list, and no other does"
    if item.measure != "ratio" and (item.minimum_count or item.by_amount):
        yield "minimum_count", "minimum_count and by_amount are of ratios"
    if item.measure not in ("count", "sum", "ratio") and (item.window_s or item.attempts):
        yield "window_s", "window_s and attempts are of counts, sums and ratios"
    if item.measure in ("any", "listed") and item.threshold:
        yield "threshold", f"{item.measure} has none"
    if item.measure == "ratio" and item.threshold > 100:
        yield "threshold", "percent, 0 to 100"
    if item.measure == "dormant" and not 0 < item.threshold <= 730:
        yield "threshold", "1 to 730 days"


def _condition(path: str, of: Condition) -> Iterator[tuple[str, str]]:
    for number, name in enumerate(of.types):
        if name not in TYPES:
            yield f"{path}.types[{number}]", f"no type {name!r}; there are {', '.join(TYPES)}"
    for field in ("mccs", "entry_modes"):
        for number, prefix in enumerate(getattr(of, field)):
            if not DIGITS.fullmatch(prefix):
                yield f"{path}.{field}[{number}]", "1 to 4 digits, the first ones"
    for number, currency in enumerate(of.currencies):
        if not amount.is_currency(currency):
            yield f"{path}.currencies[{number}]", "a currency's three digits, as in DE 49"
    if of.hours and not HOURS.fullmatch(of.hours):
        yield f"{path}.hours", "hh:mm-hh:mm"
    if of.amount_to_minor is not None and of.amount_to_minor < of.amount_from_minor:
        yield f"{path}.amount_to_minor", "at least amount_from_minor"
    for number, kind in enumerate(of.card_types):
        if kind not in ("debit", "credit"):
            yield f"{path}.card_types[{number}]", "debit or credit"
