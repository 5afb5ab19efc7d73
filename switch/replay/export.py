"""What a store tells of a span of business dates, as lines of a journal file. Pure.

The lines of one span are made from several readings, each in order of time, merged (`lines_of`). What
a request named outside the span comes first, in a day of its own before it: originals and what was
made of them, a second apart, so that voids and refunds find what they found.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from iso8583.message import mask_text
from switch.listed_cards import token_of
from switch.replay.cards import EXPIRED, EXPIRY, Ranges
from switch.replay.journal_file import (
    Answered,
    Attempted,
    Decided,
    Delivered,
    Request,
    Reversal,
    Settlement,
)
from switch.transactions import BY_CODE, TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

EARLY_S: Final = 1.0  # between requests of before the span
KINDS: Final = (
    "profile", "merchant", "terminal", "link", "route", "routing_cost", "routing_rule", "risk_list",
    "risk_rule",
)  # fmt: skip
# Of a link, how it is connected: a player's bank is dialled in the clear, signs on when it is asked to
# and gets no new key.
PLAIN: Final[dict[str, object]] = {
    "tls": False, "tls_name": "", "tls_pins": [], "connects": "us", "sign_on": "us",
    "receive_on": "same", "receive_port": 0, "key_renew_h": 0.0,
}  # fmt: skip
# Of a merchant, where its money goes: nothing that the switch decides on.
PRIVATE: Final = ("settlement_account", "settlement_bank", "settlement_name")
ELEMENTS: Final = (44, 54)  # of an answer, beside what stands in columns
TOKEN: Final = re.compile(r"[0-9a-f]{32}")
CARD: Final = "card:"  # before the test number of a card that a list names
WITH_PIN: Final = "1"  # last digit of DE 22


class Times:
    """Instants as seconds of the file."""

    def __init__(self, begins_at: dt.datetime) -> None:
        self.begins_at = begins_at

    def of(self, instant: dt.datetime) -> float:
        return round((instant - self.begins_at).total_seconds(), 6)


def content_of(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    """A reference item as it may leave: without accounts, and a link without its address and the way it
    is connected."""
    if kind == "merchant":
        return {name: value for name, value in content.items() if name not in PRIVATE}
    if kind == "link":
        plain = {name: value for name, value in PLAIN.items() if name in content}
        return content | plain | {"host": content["acquirer"], "port": 1}
    return content


def tokens_of(kind: str, content: dict[str, Any]) -> tuple[str, list[str]]:
    """Where an item names cards, and by which tokens; a number that is sealed beside one stays here."""
    name = {"risk_list": "members", "risk_rule": "only"}.get(kind, "")
    if kind == "risk_rule" and content.get("scope") != "card":
        return "", []
    tokens = [token_of(str(one)) for one in content.get(name, ())]
    return name, [one for one in tokens if TOKEN.fullmatch(one)]


def with_cards(kind: str, content: dict[str, Any], numbers: Mapping[str, str]) -> dict[str, Any]:
    """Test numbers instead of the tokens of cards; one that does not come up is a number of nobody's."""
    name, tokens = tokens_of(kind, content)
    if not tokens:
        return content

    def named(member: str) -> str:
        token = token_of(member)
        if token not in tokens:
            return member
        if token in numbers:
            return CARD + numbers[token]
        return hashlib.sha256(token.encode()).hexdigest()[: len(token)]

    return content | {name: [named(one) for one in content[name]]}


def request_of(
    row: Mapping[str, Any],
    at: float,
    number: int,
    original: int | None,
    times: Times,
    ranges: Ranges,
) -> Request:
    """A request's row with its attempts, answers and deliveries. `at` is when it is asked."""
    shift = at - times.of(row["received_at"])  # of one from before the span

    def when(instant: Any) -> float:
        return round(times.of(instant_of(instant)) + shift, 6)

    outcome = row["outcome"]
    rule = "" if outcome is None else str(outcome["rule"])
    kind = TYPES.get(row["type"])
    return Request(
        at=at,
        id=number,
        merchant=row["merchant"],
        terminal=row["terminal"],
        batch=row["batch"],
        trace=row["stan"],
        session=row["session_id"] or 0,
        type=row["type"],
        mti=row["mti"],
        processing_code=row["processing_code"],
        usage=usage_of(rule) if kind is None else kind.usage,
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        entry_mode=row["entry_mode"],
        condition=row["condition_code"],
        card_sequence=row["card_sequence"],
        card=card_of(row, rule, ranges),
        expiry=EXPIRED if rule == "card.expired" else EXPIRY,
        pin=row["entry_mode"][2:3] == WITH_PIN and rule != "pin.required",
        partial=outcome is not None and "10" in (outcome["response_code"],),
        chip=(row["chip"] or b"").hex().upper(),
        original=original,
        named=bool(row["named"]),
        attempts=tuple(attempts_of(row, when)),
        deliveries=tuple(
            Delivered(
                queue=each["kind"],
                seq=each["seq"],
                acquirer=each["acquirer"],
                sends=tuple(when(sent) for sent in each["sends"]),
                ended_at=each["ended_at"] and when(each["ended_at"]),
                response_code=each["response_code"] or "",
            )
            for each in row["deliveries"]
        ),
        outcome=None if outcome is None else decided_of(outcome, when),
    )


def instant_of(value: Any) -> dt.datetime:
    """Out of a column, or out of JSON."""
    return value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(str(value))


def usage_of(rule: str) -> str:
    """DE 60.1 of a request that no table knew, as its refusal says it: `type.020.99.22`."""
    return rule.rpartition(".")[2] if rule.startswith("type.") else ""


def card_of(row: Mapping[str, Any], rule: str, ranges: Ranges) -> str:
    """The test number; "" where the message had none."""
    masked = str(row["pan_masked"])
    if not masked or row["place"] is None:
        return ""
    head = masked[:6] if masked[:6].isdecimal() else ""
    sound = rule != "card.number" or row["entry_mode"].startswith(BY_CODE)
    return ranges.number(head, row["met"] or "", len(masked), row["place"], sound=sound)


def decided_of(outcome: Mapping[str, Any], when: Any) -> Decided:
    return Decided(
        at=when(outcome["decided_at"]),
        state=outcome["state"],
        response_code=outcome["response_code"],
        rule=outcome["rule"],
        approved_amount_minor=outcome["approved_amount_minor"],
        effect_minor=outcome["effect_minor"],
    )


def attempts_of(row: Mapping[str, Any], when: Any) -> list[Attempted]:
    """Each message to a bank with the answers to it, that count or not."""
    outcome = row["outcome"]
    found = []
    for each in row["attempts"]:
        answers = []
        if (
            outcome is not None
            and outcome["acquirer_response_code"]
            and outcome["attempt"] == each["attempt"]
            and not row["deliveries_repeat"]
        ):
            answers.append(counted(row, outcome, when))
        answers += [
            Answered(
                at=when(late["received_at"]),
                response_code=late["response_code"],
                auth_code=late["auth_code"],
                amount_minor=other_amount(row, late["amount_minor"]),
                fault="" if late["reason"] == "late" else late["reason"],
            )
            for late in row["late_answers"]
            if late["attempt"] == each["attempt"]
        ]
        found.append(
            Attempted(
                at=when(each["at"]),
                acquirer=each["acquirer"],
                answers=tuple(sorted(answers, key=lambda one: one.at)),
            )
        )
    return found


def counted(row: Mapping[str, Any], outcome: Mapping[str, Any], when: Any) -> Answered:
    """The answer that became the outcome."""
    code = str(outcome["acquirer_response_code"])
    return Answered(
        at=when(outcome["decided_at"]),
        response_code=code,
        amount_minor=other_amount(row, outcome["approved_amount_minor"]),
        auth_code=outcome["auth_code"],
        settlement_date=str(outcome["settlement_date"] or ""),
        rrn=outcome["acquirer_rrn"],
        elements=elements_of(outcome["answer"]),
    )


def other_amount(row: Mapping[str, Any], amount_minor: int | None) -> int | None:
    return None if amount_minor in (None, row["amount_minor"]) else amount_minor


def elements_of(packed: bytes) -> dict[str, str]:
    """DE 44 as it is, of DE 54 the form alone: a balance is its holder's own business."""
    if not packed:
        return {}
    told: dict[int, object] = msgspec.msgpack.decode(packed)
    shown: dict[str, str] = {}
    for de in ELEMENTS:
        value = told.get(de)
        if isinstance(value, str):
            shown[str(de)] = mask_text(value) if de == 44 else without_amounts(value)
    return shown


def without_amounts(value: str) -> str:
    """DE 54: account type 2, amount type 2, currency 3, sign 1, amount 12; the amounts as nought.

    >>> without_amounts("0202156C000000012345")
    '0202156C000000000000'
    """
    sets = (value[at : at + 20] for at in range(0, len(value), 20))
    return "".join(one[:8] + "0" * len(one[8:]) for one in sets)


def reversal_of(row: Mapping[str, Any], original: int | None, times: Times) -> Reversal:
    """A 0400 as it came; its own DE 3 is the kind's, what followed that is not kept."""
    return Reversal(
        at=times.of(row["received_at"]),
        merchant=row["merchant"],
        terminal=row["terminal"],
        batch=row["batch"],
        trace=row["stan"],
        processing_code=row["processing_code"] or f"{row['kind'].partition('.')[2]}0000",
        usage=row["usage"],
        original=original,
        reason=row["reason"],
        response_code=row["response_code"],
        rule=row["rule"],
    )


def settlement_of(row: Mapping[str, Any], times: Times) -> Settlement:
    return Settlement(
        at=times.of(row["settled_at"]),
        merchant=row["merchant"],
        terminal=row["terminal"],
        batch=row["batch"],
        said=tuple(row["said"]),
        result=row["result"],
    )
