"""From message to request: the checks of rules §11 and §19, in their order.

Goal: each refusal by its own cause, first cause first. Method: a message that is in order, changed in
one element a line.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from settlement.clearing import EITHER_TYPES, NEGATIVE_TYPES, REFUND_TYPES
from switch import intake
from switch.intake import Ask, Refusal
from switch.management import parse_totals, render_totals
from switch.reference import Item, Snapshot
from switch.transactions import TYPES, UNSUPPORTED, TransactionType, find, reversed_kind
from terminals.registry import Merchant, Profile

PAN = "6220000000000001"
MONTH = "2603"  # at the merchant's
PROFILE = Profile(name="default")
MERCHANT = Merchant(merchant="M00000000000001", name="Shop", amount_limit_minor=100_000)
MESSAGE: dict[int, str | bytes] = {
    0: "0200", 2: PAN, 3: "000000", 4: "000000010000", 11: "000042", 14: "3012", 22: "021",
    25: "00", 41: "T0000001", 42: "M00000000000001", 49: "156", 60: "22000007000",
}  # fmt: skip
EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def snapshot(**route: Any) -> Snapshot:
    content = {"prefix": "622000", "acquirer": "bank_a", **route}
    item = Item(kind="route", key="622000", version=3, effective_from=EPOCH, content=content)
    return Snapshot(1, [item], [])


def changed(**elements: Any) -> dict[int, str | bytes]:
    message = dict(MESSAGE)
    for name, value in elements.items():
        de = int(name[2:])
        if value is None:
            del message[de]
        else:
            message[de] = value
    return message


def judged(message: dict[int, str | bytes], **route: Any) -> str:
    """The response code of the first refusal, "" where there is none."""
    ask = intake.read(message, PROFILE)
    if isinstance(ask, Refusal):
        return ask.response_code
    if ask.type is UNSUPPORTED:
        return "40"
    known = snapshot(**route).route(ask.pan)
    refusal = intake.validate(ask, message, known, MERCHANT, MONTH)
    return "" if refusal is None else refusal.response_code


PIN = {"de52": bytes(8), "de53": "2600000000000000", "de26": "12"}
TABLE: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"de3": None}, "30"),
    ({"de4": None}, "30"),
    ({"de22": None}, "30"),
    ({"de49": None}, "30"),
    ({"de60": None}, "30"),
    ({"de60": "2200000"}, "30"),
    ({"de35": "6220000000000011=30122200000000000000"}, "30"),  # another card than DE 2
    ({"de2": None, "de35": f"{PAN}=30122200000000000000"}, ""),  # track alone
    ({"de2": None, "de14": None, "de35": f"{PAN}=20012200000000000000"}, "54"),
    ({"de3": "990000"}, "40"),
    ({"de60": "45000007000"}, "40"),
    ({"de25": "91"}, "40"),
    ({"de2": None}, "14"),
    ({"de2": "6220000000000004"}, "14"),
    ({"de14": "2602"}, "54"),
    ({"de14": "2603"}, ""),
    ({"de4": "000000000000"}, "13"),
    ({"de49": "840"}, "12"),
    ({"de4": "000000100000"}, ""),
    ({"de4": "000000100001"}, "61"),
    ({"de2": "4000000000000002"}, ""),  # no route is told after the limits
    (PIN, ""),
    ({"de52": bytes(8), "de26": "12"}, "99"),
    ({"de52": bytes(8), "de53": "2600000000000000"}, "99"),
    ({"de2": "6220000000000004", "de4": "000000000000"}, "14"),  # the first cause counts
]


@pytest.mark.parametrize(("elements", "code"), TABLE)
def test_first_refusal(elements: dict[str, Any], code: str) -> None:
    assert judged(changed(**elements)) == code


def test_a_pin_is_asked_for_where_the_card_range_wants_one() -> None:
    assert judged(changed(), pin_required=True) == "99"
    assert judged(changed(**PIN), pin_required=True) == ""


def test_a_balance_needs_no_amount() -> None:
    message = changed(de3="310000", de4=None, de60="01000007000")
    assert judged(message) == ""


def test_types_not_allowed_to_the_merchant() -> None:
    ask = intake.read(MESSAGE, PROFILE)
    assert isinstance(ask, Ask)
    merchant = Merchant(merchant="M00000000000001", name="Shop", allowed_types=("balance",))
    verdict = intake.validate(ask, MESSAGE, snapshot().route(ask.pan), merchant, MONTH)
    assert verdict == Refusal("57", "merchant.type_not_allowed")


def test_subfields_of_de60() -> None:
    private = intake.private({60: "220000070005010"}, PROFILE)
    assert (private.usage, private.batch, private.code, private.partial) == ("22", 7, "000", True)
    assert intake.private({60: "22000007"}, PROFILE).code == "000"
    assert intake.private({}, PROFILE).batch == 0


@pytest.mark.parametrize(
    ("value", "batch"),
    [
        ("22000007", 7),
        ("220000070005010" + "9" * 900, 7),
        ("220000070005010" + "make's own", 0),  # no digits: none of it is taken for sub-fields
        ("2200000", None),
        ("22A00007000", None),
    ],
)
def test_of_a_long_de60_no_more_is_remembered_than_is_read(value: str, batch: int | None) -> None:
    for _ in range(2):
        private = intake.with_batch(value)
        assert (None if private is None else private.batch) == batch


@pytest.mark.parametrize("row", TYPES.values(), ids=lambda row: row.name)
def test_every_type_is_found_by_its_own_elements(row: TransactionType) -> None:
    code = f"{row.code}0000"
    assert find(row.mti, code, row.condition, row.usage, f"{row.entry or '02'}1") is row
    if row.terminal_may_reverse:
        assert reversed_kind(f"{row.code}0000", row.usage) == row.kind


SCANNED = {22: "032", 59: "A2002xxA30196222021234567890123", 2: None, 14: None, 35: None}


def test_a_scanned_code_stands_for_the_card() -> None:
    message = {de: value for de, value in {**MESSAGE, **SCANNED}.items() if value is not None}
    ask = intake.read(message, PROFILE)
    assert isinstance(ask, Ask)
    assert (ask.type.name, ask.pan, ask.by_code) == ("qr_payment", "6222021234567890123", True)
    merchant = Merchant(merchant="M00000000000001", name="Shop", allowed_types=("qr_payment",))
    verdict = intake.validate(ask, message, snapshot().route(ask.pan), merchant, MONTH)
    assert verdict != Refusal("14", "card.number"), "its last digit need not be Luhn's"


@pytest.mark.parametrize(
    "value",
    ["", "A3", "A3019", "A3019123", "A3011" + "1" * 11, "A3033" + "1" * 33, "A3012" + "=" * 12],
)
def test_what_is_no_code(value: str) -> None:
    assert intake.read_code(value) == ""


def test_the_names_of_the_books_are_those_of_the_table() -> None:
    """`settlement` may not ask the switch: its sets of names are compared here."""
    refunds = {row.name for row in TYPES.values() if row.judge == "refund"}
    adjusting = {row.name for row in TYPES.values() if row.judge == "adjustment"}
    assert set(REFUND_TYPES) == refunds
    assert set(EITHER_TYPES) == adjusting
    assert {row.name for row in TYPES.values() if row.sign < 0} == NEGATIVE_TYPES


def test_totals_of_a_settlement_round_trip() -> None:
    text = "0000000123000020000000001000010" + "0" * 31
    totals = parse_totals(text)
    assert totals is not None
    assert totals[0].credit_count == 1
    assert render_totals(totals, "12") == text[:30] + "1" + text[31:61] + "2"
    assert parse_totals(text[:-1]) is None
    assert parse_totals("x" * 62) is None
