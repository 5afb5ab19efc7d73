"""The bank's clearing file: columns against the reference's offsets, fees, and planted mistakes.

The offsets below are copied from `reference/clearing.md` §1; nothing of the books' parser is used.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from terminals.simulator.card import BANK_A
from terminals.simulator.com_file import (
    BREAK_CLASS,
    BreakPlan,
    ClearingFile,
    file_name,
    issuer_fee_minor,
    network_fee_minor,
)
from tests.terminals.simulator.link import CARD, DATE, ScriptedSwitch, bank

if TYPE_CHECKING:
    from iso8583.message import Message

# name: (offset, length), reference/clearing.md §1
OFFSETS = {
    "acquirer": (0, 11),
    "forwarder": (12, 11),
    "stan": (24, 6),
    "time": (31, 10),
    "pan": (42, 19),
    "amount": (62, 12),
    "partial": (75, 12),
    "cardholder_fee": (88, 12),
    "mti": (101, 4),
    "code": (106, 6),
    "mcc": (113, 4),
    "terminal": (118, 8),
    "merchant": (127, 15),
    "rrn": (143, 12),
    "condition": (156, 2),
    "auth": (159, 6),
    "receiver": (166, 11),
    "original_stan": (178, 6),
    "response": (185, 2),
    "entry_mode": (188, 3),
    "receivable": (192, 12),
    "payable": (205, 12),
    "switching": (218, 12),
    "conversion": (231, 1),
    "card_sequence": (233, 3),
    "reader": (237, 1),
    "ic": (239, 1),
    "original_time": (241, 10),
    "issuer": (252, 11),
    "region": (264, 1),
    "terminal_type": (266, 2),
    "eci": (269, 2),
    "instalment": (272, 12),
    "other": (285, 14),
}


def rows(file: ClearingFile) -> list[dict[str, str]]:
    lines = file.data.decode("gbk").splitlines()
    for line in lines:
        assert len(line) == 300
        for offset, length in OFFSETS.values():
            assert line[offset + length] == " "
    return [{k: line[o : o + n] for k, (o, n) in OFFSETS.items()} for line in lines]


def test_the_offsets_leave_no_gap() -> None:
    at = 0
    for offset, length in OFFSETS.values():
        assert offset == at
        at += length + 1


def test_a_sale_column_by_column() -> None:
    of = bank()
    switch = ScriptedSwitch(of)
    switch.ask(switch.purchase(CARD, 1_000_000, pin=CARD.pin))
    file = of.clearing_file(DATE)
    assert file.name == "IND26060901ACOM"
    (row,) = rows(file)
    assert row == {
        "acquirer": "48021000   ",
        "forwarder": " " * 11,
        "stan": "000002",
        "time": "0609000002",
        "pan": CARD.pan,
        "amount": "000001000000",
        "partial": "0" * 12,
        "cardholder_fee": " " + "0" * 11,
        "mti": "0200",
        "code": "000000",
        "mcc": "5411",
        "terminal": "10000001",
        "merchant": "898100000000001",
        "rrn": "616010000002",
        "condition": "00",
        "auth": "000001",
        "receiver": "01020000   ",
        "original_stan": "000000",
        "response": "00",
        "entry_mode": "021",
        "receivable": "0" * 12,
        "payable": "000000001300",
        "switching": "D00000000325",
        "conversion": "1",
        "card_sequence": "000",
        "reader": "5",
        "ic": "0",
        "original_time": "0" * 10,
        "issuer": "01020000   ",
        "region": "0",
        "terminal_type": "03",
        "eci": "  ",
        "instalment": " " + "0" * 11,
        "other": " " * 14,
    }


@pytest.mark.parametrize(
    ("amount", "kind", "mcc", "issuer", "network"),
    [
        (1_000_000, "debit", "5411", 1300, 325),  # clearing.md: 10,000 yuan = 13 + 3.25
        (1_000_000, "credit", "5411", 4500, 325),  # 45 + 3.25
        (10_000, "debit", "5411", 35, 3),  # 0.35 and 0.0325 rounded
        (143, "debit", "5411", 1, 0),  # 0.5005
        (142, "debit", "5411", 0, 0),  # 0.497
        (100, "credit", "5411", 0, 0),  # 0.45
        (1_000_000, "credit", "8062", 0, 0),  # a hospital
    ],
)
def test_fees(amount: int, kind: str, mcc: str, issuer: int, network: int) -> None:
    assert issuer_fee_minor(amount, kind, mcc) == issuer
    assert network_fee_minor(amount, mcc) == network


def test_voids_and_refunds_give_fees_back_along_the_chain() -> None:
    of = bank()
    switch = ScriptedSwitch(of)
    sale, other = switch.purchase(CARD, 1_000_000), switch.purchase(CARD, 10_000)
    for message in (sale, other, switch.refund(sale, 500_000), switch.refund(sale, 400_000)):
        assert switch.code(message) == "00"
    assert switch.code(switch.void(other)) == "00"
    fees = [
        (row["code"], row["receivable"], row["payable"], row["switching"])
        for row in rows(of.clearing_file(DATE))
    ]
    assert fees == [
        ("000000", "000000000000", "000000001300", "D00000000325"),
        ("000000", "000000000000", "000000000035", "D00000000003"),
        ("200000", "000000000000", "000000000000", "C00000000162"),  # 1750 capped: still 1300
        ("200000", "000000000950", "000000000000", "C00000000130"),
        ("200000", "000000000035", "000000000000", "C00000000003"),
    ]


def test_what_a_file_lists() -> None:
    of = bank()
    switch = ScriptedSwitch(of)
    sale, reversed_one = switch.purchase(), switch.purchase()
    hold = switch.request("0100", "000000", CARD, 500) | {25: "06"}
    for message in (sale, reversed_one, hold):
        switch.ask(message)
    switch.ask(switch.request("0200", "310000", CARD, None))
    switch.ask(switch.purchase(BANK_A[0].card(15)))
    switch.ask(switch.reversal(reversed_one))
    done = switch.follow_up("0200", "000000", hold, 450)
    switch.ask(done)
    listed = [(row["stan"], row["mti"], int(row["amount"])) for row in rows(of.clearing_file(DATE))]
    assert listed == [(sale[11], "0200", 1000), (done[11], "0200", 450)]


def test_a_file_of_each_date_and_a_late_reversal() -> None:
    of = bank()
    switch = ScriptedSwitch(of)
    sale = switch.purchase()
    switch.ask(sale)
    tomorrow = DATE + dt.timedelta(1)
    of.cut_over(tomorrow)
    after = switch.purchase()
    assert switch.ask(after)[15] == "0610"
    assert [row["stan"] for row in rows(of.clearing_file(DATE))] == [sale[11]]
    switch.ask(switch.reversal(sale))
    second = rows(of.clearing_file(tomorrow))
    assert [(row["mti"], row["original_stan"]) for row in second] == [
        ("0420", sale[11]),
        ("0200", "000000"),
    ]
    assert of.settlement_dates() == [DATE, tomorrow]
    assert file_name(tomorrow) == "IND26061001ACOM"


def test_an_empty_day_is_an_empty_file() -> None:
    assert bank().clearing_file(DATE).data == b""


# -- planted mistakes -----------------------------------------------------------------------


def traded(plan: BreakPlan, seed: int = 1, sales: int = 40) -> ClearingFile:
    of = bank(seed, breaks=plan)
    switch = ScriptedSwitch(of)
    sent: list[Message] = []
    for number in range(sales):
        sale = switch.purchase(CARD, 1000 + number)
        switch.ask(sale)
        sent.append(sale)
        if number % 4 == 0:
            switch.ask(switch.reversal(sale))
        if number % 4 == 1:
            switch.ask(switch.refund(sale, 10))
    file = of.clearing_file(DATE)
    assert file == of.clearing_file(DATE)
    return file


@settings(max_examples=40, deadline=None)
@given(
    st.builds(
        BreakPlan,
        missing=st.integers(0, 3),
        extra=st.integers(0, 3),
        amount=st.integers(0, 3),
        duplicate=st.integers(0, 3),
        reversed_but_billed=st.integers(0, 3),
    ),
    st.integers(0, 99),
)
def test_exactly_the_planned_mistakes_are_in_the_file(plan: BreakPlan, seed: int) -> None:
    clean = {row["stan"]: row for row in rows(traded(BreakPlan()))}
    file = traded(plan, seed)
    dirty = rows(file)
    kinds = [one.kind for one in file.planted]
    for kind in BREAK_CLASS:
        assert kinds.count(kind) == getattr(plan, kind)
    assert len({one.stan for one in file.planted}) == len(file.planted)
    stans = [row["stan"] for row in dirty]
    by_kind = {kind: {one.stan for one in file.planted if one.kind == kind} for kind in BREAK_CLASS}
    assert set(clean) - set(stans) == by_kind["missing"]
    assert set(stans) - set(clean) == by_kind["extra"] | by_kind["reversed_but_billed"]
    assert {stan for stan in stans if stans.count(stan) > 1} == by_kind["duplicate"]
    changed = {row["stan"] for row in dirty if row["stan"] in clean and row != clean[row["stan"]]}
    assert changed == by_kind["amount"]
    assert file.rows == len(dirty)


def test_more_mistakes_than_rows_are_told_as_they_are() -> None:
    file = traded(BreakPlan(missing=500, reversed_but_billed=500), sales=8)
    assert [one.kind for one in file.planted].count("missing") == 4
    assert [one.kind for one in file.planted].count("reversed_but_billed") == 2


def test_a_forgotten_approval_is_reported_missing() -> None:
    of = bank(faults={"forget": 1.0, "on_reversals": False})
    switch = ScriptedSwitch(of)
    kept, undone = switch.purchase(), switch.purchase()
    switch.ask(kept)
    switch.ask(undone)
    switch.ask(switch.reversal(undone))
    file = of.clearing_file(DATE)
    assert file.data == b""
    (one,) = file.planted
    assert (one.kind, one.break_class, one.cause) == ("missing", "network_short", "forgotten")
    assert (one.stan, one.ours_minor, one.file_minor) == (kept[11], 1000, None)
    assert CARD.pan not in repr(file.planted)
