"""Rows of the store as lines of a journal: what is kept of a request, and what is not.

On rows as the adapter reads them; that real rows are such is shown on a node (tests/end_to_end).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from switch.reference import Link
from switch.replay.cards import EXPIRED, EXPIRY, Ranges
from switch.replay.export import (
    Times,
    content_of,
    elements_of,
    request_of,
    tokens_of,
    usage_of,
    with_cards,
    without_amounts,
)

BEGIN = dt.datetime(2026, 3, 4, 2, tzinfo=dt.UTC)
RANGES = Ranges(["622000"])


def after(seconds: float) -> dt.datetime:
    return BEGIN + dt.timedelta(seconds=seconds)


def row(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "received_at": after(10),
        "merchant": "M",
        "terminal": "T",
        "batch": 7,
        "stan": 42,
        "named": False,
        "session_id": 3,
        "type": "purchase",
        "mti": "0200",
        "processing_code": "000000",
        "amount_minor": 1_000,
        "currency": "156",
        "entry_mode": "021",
        "condition_code": "00",
        "card_sequence": "",
        "chip": None,
        "pan_masked": "622000*********0073",
        "place": 9,
        "met": "622000",
        "attempts": [{"attempt": 1, "acquirer": "bank_a", "at": after(10)}],
        "late_answers": [],
        "deliveries": [],
        "deliveries_repeat": False,
        "outcome": None,
    }
    return plain | changes


def outcome(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "decided_at": after(10.5).isoformat(),
        "state": "approved",
        "response_code": "00",
        "rule": "acquirer",
        "attempt": 1,
        "acquirer_response_code": "00",
        "approved_amount_minor": 1_000,
        "effect_minor": 1_000,
        "auth_code": "123456",
        "settlement_date": "2026-03-04",
        "acquirer_rrn": "",
        "answer": msgspec.msgpack.encode({44: "4802000001", 54: "0202156C000000012345"}),
    }
    return plain | changes


def line(of: dict[str, Any], at: float = 10.0) -> Any:
    return request_of(of, at, 1, None, Times(BEGIN), RANGES)


def test_an_approval() -> None:
    made = line(row(outcome=outcome()))
    assert made.pin
    assert made.usage == "22"
    assert made.card == RANGES.number("622000", "622000", 19, 9)
    assert made.expiry == EXPIRY
    ((answer,),) = [attempt.answers for attempt in made.attempts]
    assert (answer.at, answer.response_code, answer.auth_code) == (10.5, "00", "123456")
    assert answer.amount_minor is None
    assert answer.elements == {"44": "4802000001", "54": "0202156C000000000000"}


def test_silence_and_what_came_late() -> None:
    late = {
        "attempt": 1,
        "received_at": after(20).isoformat(),
        "response_code": "00",
        "auth_code": "1",
        "amount_minor": 1_000,
        "reason": "late",
    }
    silent = outcome(state="unknown", acquirer_response_code="", attempt=1, rule="time_out")
    made = line(row(outcome=silent, late_answers=[late]))
    assert [(one.at, one.fault) for one in made.attempts[0].answers] == [(20.0, "")]
    spoilt = line(row(outcome=silent, late_answers=[late | {"reason": "mac"}]))
    assert [one.fault for one in spoilt.attempts[0].answers] == ["mac"]


def test_a_refund_that_the_queue_delivered_was_not_answered_at_first() -> None:
    deliveries = [
        {
            "kind": "repeat",
            "seq": 0,
            "acquirer": "bank_a",
            "sends": [after(20).isoformat(), after(30).isoformat()],
            "response_code": "00",
            "ended_at": after(30.5).isoformat(),
        }
    ]
    made = line(row(outcome=outcome(), deliveries=deliveries, deliveries_repeat=True))
    assert made.attempts[0].answers == ()
    (delivered,) = made.deliveries
    assert (delivered.sends, delivered.ended_at) == ((20.0, 30.0), 30.5)


def test_one_of_before_the_span_is_shifted_as_a_whole() -> None:
    made = line(row(outcome=outcome()), at=1.0)
    assert (made.at, made.attempts[0].at, made.attempts[0].answers[0].at) == (1.0, 1.0, 1.5)
    assert made.outcome.at == 1.5


def test_cards_that_were_refused_are_refused_again() -> None:
    expired = line(row(outcome=outcome(rule="card.expired", acquirer_response_code="")))
    assert expired.expiry == EXPIRED
    wrong = line(row(outcome=outcome(rule="card.number", acquirer_response_code="")))
    assert wrong.card == RANGES.number("622000", "622000", 19, 9, sound=False)
    without = line(row(outcome=outcome(rule="pin.required", acquirer_response_code="")))
    assert not without.pin
    assert line(row(pan_masked="", place=None)).card == ""


def test_a_part_is_told_by_its_amount() -> None:
    part = outcome(response_code="10", acquirer_response_code="10", approved_amount_minor=600)
    made = line(row(outcome=part))
    assert made.partial
    assert made.attempts[0].answers[0].amount_minor == 600


@pytest.mark.parametrize(
    ("rule", "usage"), [("type.020.99.77", "77"), ("type.020.99.", ""), ("acquirer", "")]
)
def test_usage_of_what_no_table_knew(rule: str, usage: str) -> None:
    assert usage_of(rule) == usage


def test_what_reference_data_leaves_behind() -> None:
    merchant = {"merchant": "M", "settlement_account": "DE001", "settlement_name": "X", "mcc": "1"}
    assert content_of("merchant", merchant) == {"merchant": "M", "mcc": "1"}
    link = content_of("link", {"acquirer": "a", "host": "10.1.2.3", "port": 7000})
    assert link == {"acquirer": "a", "host": "a", "port": 1}
    content = msgspec.to_builtins(
        Link(acquirer="a", de32="1", tls=True, connects="bank", sign_on="bank", key_renew_h=24.0)
    )
    plain = msgspec.convert(
        content_of("link", content), Link
    )  # one that any player's bank can serve
    assert plain == Link(acquirer="a", de32="1", host="a", port=1)


def test_a_balance_stays_with_its_holder() -> None:
    assert without_amounts("0202156C0000000123450201156D000000000099") == (
        "0202156C0000000000000201156D000000000000"
    )
    assert elements_of(b"") == {}
    track = msgspec.msgpack.encode({44: "6212345678901265", 55: b"secret"})
    assert elements_of(track) == {"44": "621234******1265"}


def test_cards_of_lists_are_named_by_their_test_numbers() -> None:
    known, unknown = "ab" * 16, "cd" * 16
    listed = {"name": "l", "members": [f"{known}:0123456789abcdef", unknown, "M/T"]}
    assert tokens_of("risk_list", listed) == ("members", [known, unknown])
    (card, nobody, terminal) = with_cards("risk_list", listed, {known: "622"})["members"]
    assert (card, terminal) == ("card:622", "M/T")
    assert nobody != unknown
    assert len(nobody) == 32
    of_merchants = {"scope": "merchant", "only": [known]}
    assert with_cards("risk_rule", of_merchants, {known: "622"}) == of_merchants
    assert with_cards("link", {"members": [known]}, {}) == {"members": [known]}
