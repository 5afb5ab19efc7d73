"""Whether what crossed the link is what a step expects. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from iso8583.message import Message
from iso8583.mti import is_request
from switch.acquirers.link_messages import elements_of
from terminals.simulator.card import Card

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switch.certify.case import Expected
    from switch.certify.tap import Crossing


class Reason(msgspec.Struct, frozen=True):
    """Why a step failed, or a case was not run: a key of the texts, and values without secrets."""

    key: str
    values: dict[str, str]


def reason(key: str, **values: object) -> Reason:
    return Reason(key, {name: str(value) for name, value in values.items()})


class Context(msgspec.Struct, frozen=True):
    """What the words of an expectation mean: the step's card, the link message of what it follows."""

    dialect: str
    card: Card | None
    original: Message | None


def judged(
    expected: Sequence[Expected], crossings: Sequence[Crossing], context: Context
) -> tuple[list[Reason], int]:
    """(What is wrong, how many of the expected came). Money comes in the order of the steps; a
    management message wherever it likes, and one that nothing expects is no matter."""
    wrong: list[Reason] = []
    left = list(expected)
    asked: list[Crossing] = []
    for crossing in crossings:
        mti = str(crossing.message.get(0))
        if is_request(mti):
            asked.append(crossing)
        request = None if is_request(mti) else _request_of(crossing, asked)
        following = next((one for one in left if _is(one, crossing, request, context)), None)
        if following is not None:
            left.remove(following)
            wrong += _elements(following, crossing, request, context)
        elif mti[1:2] != "8":
            wrong.append(reason("certify_unexpected", mti=mti, to=crossing.to))
    for missing in left:
        wrong.append(reason("certify_missing", mti=missing.mti, to=missing.to))
    return wrong, len(expected) - len(left)


def _is(expected: Expected, crossing: Crossing, request: Message | None, context: Context) -> bool:
    """The one that is expected, right or wrong: of a management message DE 70 tells which it is."""
    if (expected.to, expected.mti) != (crossing.to, crossing.message.get(0)):
        return False
    function = expected.elements.get("70", "")
    return not function or _fault(70, function, crossing, request, context) is None


def _request_of(answer: Crossing, asked: Sequence[Crossing]) -> Message | None:
    """The newest with the same trace, from the other side."""
    for one in reversed(asked):
        if one.to != answer.to and one.message.get(11) == answer.message.get(11):
            return one.message
    return None


def _elements(
    expected: Expected, crossing: Crossing, request: Message | None, context: Context
) -> list[Reason]:
    wrong = []
    known = elements_of(context.dialect)
    for name, pattern in expected.elements.items():
        de = int(name)
        if pattern != "mac" and de not in known:
            continue  # the dialect has no such element
        fault = _fault(de, pattern, crossing, request, context)
        if fault is not None:
            values = fault.values | {"mti": expected.mti, "de": name}
            wrong.append(Reason(fault.key, values))
    return wrong


def _fault(
    de: int, pattern: str, crossing: Crossing, request: Message | None, context: Context
) -> Reason | None:
    """What is wrong with an element; its value is told only where it can hold no secret."""
    value = crossing.message.get(de)
    if pattern == "mac":
        right = crossing.mac == "right"
        return None if right else reason("certify_mac", mac=crossing.mac)
    if pattern == "absent":
        return None if value is None else reason("certify_there")
    if value is None:
        return reason("certify_absent")
    text = value.hex().upper() if isinstance(value, bytes) else value
    card = context.card
    if pattern == "present":
        return None
    if pattern in ("card", "expiry"):
        wanted = None if card is None else (card.pan if pattern == "card" else card.expiry)
        return None if text == wanted else reason("certify_not_cards")
    if pattern == "echo":
        same = request is not None and request.get(de) == value
        return None if same else reason("certify_not_echoed")
    if pattern == "original":
        wanted = None if context.original is None else original_data(context.original)
        return None if text == wanted else reason("certify_not_original")
    if re.fullmatch(pattern, text):
        return None
    return reason("certify_other", pattern=pattern)


def original_data(message: Message) -> str:
    """DE 90 that names a message: MTI 4, STAN 6, DE 7 10, DE 32 11, DE 33 11."""
    ids = "".join(str(message.get(de, "")).rjust(11, "0") for de in (32, 33))
    return "".join(str(message.get(de, "")) for de in (0, 11, 7)) + ids
