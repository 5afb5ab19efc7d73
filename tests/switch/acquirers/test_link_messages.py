"""Our rows as link messages and answers as values: the table of `reference/link.md`, line by line."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from iso8583.codec import codec_for
from switch.acquirers import link_messages
from switch.acquirers.link_messages import (
    WRITTEN,
    attempt_of,
    build_repeat,
    build_request,
    build_reversal,
    kind_of,
    mac_element,
    month_day,
    original_data,
    read_answer,
    settlement_date,
)
from switch.acquirers.ports import Answer, AnswerKind
from switch.journal import OutcomeState, QueueRow
from switch.store_ports import QueueItem
from terminals.registry import Merchant
from tests.switch.acquirers.wire import make_link
from tests.switch.rows import APPROVED, ATTEMPT, REQUEST, TODAY, original, outcome

if TYPE_CHECKING:
    from iso8583.message import Message

PAN, EXPIRY = "6222020000000000004", "3012"
MERCHANT = Merchant(
    merchant="M00000000000001", name="Tea House", place="Tea House  Shanghai CN 茶", mcc="5812"
)
LINK = make_link()
TRACK = "6222020000000000004=30122010000012345"
FROM_TERMINAL: Message = {
    0: "0200", 2: PAN, 3: "000000", 4: "000000010000", 11: "000042", 22: "051", 25: "00",
    35: TRACK, 41: "T0000001", 42: "M00000000000001", 49: "156", 52: bytes(8), 53: "2600000000000000",
    55: bytes.fromhex("9F2608AABBCCDDEEFF0011"), 60: "22000007", 61: "000007000041", 64: b"\x00" * 8,
}  # fmt: skip


def item(kind: str = "reversal", tries: int = 0, **changes: Any) -> QueueItem:
    row = QueueRow(
        item_id=5,
        acquirer="bank_a",
        kind=kind,
        request_id=1,
        request_date=TODAY,
        root_request_id=1,
        seq=1 if kind == "reversal" else 0,
        link_stan="000099" if kind == "reversal" else ATTEMPT.link_stan,
        transmission_time="0304120130" if kind == "reversal" else ATTEMPT.transmission_time,
    )
    return QueueItem(row=row, original=original(**changes), reason="98", tries=tries, age_s=0.0)


def request(**changes: Any) -> Any:
    return msgspec.structs.replace(REQUEST, **changes)


def built(row: Any = REQUEST, related: Any = None, pin_block: bytes | None = None) -> Message:
    return build_request(
        row, ATTEMPT, FROM_TERMINAL, PAN, EXPIRY, MERCHANT, LINK, pin_block, related
    )


def test_a_purchase() -> None:
    pin_block = bytes.fromhex("1122334455667788")
    assert built(request(entry_mode="051", condition_code="00"), pin_block=pin_block) == {
        0: "0200",
        2: PAN,
        3: "000000",
        4: "000000010000",
        7: "0304120000",
        11: "000001",
        12: "120000",
        13: "0304",
        14: EXPIRY,
        18: "5812",
        22: "051",
        25: "00",
        32: "48000000",
        35: TRACK,
        37: "606300000001",
        41: "T0000001",
        42: "M00000000000001",
        43: "Tea House  Shanghai CN ".ljust(40),
        49: "156",
        52: pin_block,
        53: "2600000000000000",
        55: FROM_TERMINAL[55],
    }


@pytest.mark.parametrize(
    ("mti", "code", "condition", "link_mti", "link_code"),
    [
        ("0200", "000000", "00", "0200", "000000"),  # purchase
        ("0200", "310000", "00", "0200", "310000"),  # balance
        ("0200", "200000", "00", "0200", "200000"),  # void
        ("0200", "200000", "06", "0200", "200000"),  # completion void
        ("0100", "030000", "06", "0100", "000000"),  # pre-authorisation
        ("0100", "200000", "06", "0100", "200000"),  # its void
        ("0200", "000000", "06", "0200", "000000"),  # completion request
        ("0220", "000000", "06", "0220", "000000"),  # completion advice
        ("0220", "200000", "00", "0220", "200000"),  # refund
        ("0100", "030000", "60", "0100", "000000"),  # additional pre-authorisation
        ("0200", "000000", "64", "0200", "000000"),  # instalment
        ("0620", "030000", "06", "0620", "000000"),  # script result of a pre-authorisation
        ("0201", "001000", "00", "0200", "001000"),  # a repeat of the terminal is no repeat here
    ],
)
def test_mti_and_processing_code(
    mti: str, code: str, condition: str, link_mti: str, link_code: str
) -> None:
    message = built(request(mti=mti, processing_code=code, condition_code=condition))
    assert (message[0], message[3], message[25]) == (link_mti, link_code, condition)


def test_what_the_dialect_lacks_is_left_out() -> None:
    link = make_link(dialect="unionpay_pos", de33="00000033")
    message = build_request(
        REQUEST, ATTEMPT, FROM_TERMINAL, PAN, EXPIRY, MERCHANT, link, None, original()
    )
    assert not {7, 18, 33, 43, 90} & set(message)
    assert (message[60], message[61]) == ("22000007", "000007000041")
    codec_for("unionpay_pos").encode(message)


def test_original_data_known_answer() -> None:
    attempt = msgspec.structs.replace(ATTEMPT, de33="33")
    data = original_data(original(attempts=(attempt,)))
    assert data == "0200" + "000001" + "0304120000" + "00048000000" + "00000000033"
    assert len(data) == 42
    assert built(related=original())[90] == "02000000010304120000" + "00048000000" + "0" * 11


def test_the_answered_attempt_is_the_original_else_the_newest() -> None:
    second = msgspec.structs.replace(ATTEMPT, attempt=2, acquirer="bank_b", link_stan="000002")
    both = original(attempts=(ATTEMPT, second))
    unknown = original(attempts=(ATTEMPT, second), outcome=None)
    assert attempt_of(both) is ATTEMPT
    assert attempt_of(unknown) is second
    assert attempt_of(unknown, "bank_a") is ATTEMPT
    assert attempt_of(original(attempts=())) is None


def test_a_reversal_and_its_repeat_differ_in_the_mti_alone() -> None:
    chip = bytes.fromhex("9F360200AA")
    reversed_item = item(request=request(chip=chip, entry_mode="021"))
    first = build_reversal(reversed_item, PAN, EXPIRY, MERCHANT, LINK, repeat=False)
    again = build_reversal(reversed_item, PAN, EXPIRY, MERCHANT, LINK, repeat=True)
    assert (first[0], again[0]) == ("0420", "0421")
    assert first | {0: "0421"} == again
    expected = {
        4: "000000010000", 7: "0304120130", 11: "000099", 12: "120000", 13: "0304",
        32: "48000000", 37: "606300000001", 38: "A00001", 39: "98", 55: chip,
        90: "02000000010304120000" + "00048000000" + "0" * 11,
    }  # fmt: skip
    assert {de: first[de] for de in expected} == expected
    assert not {35, 36, 45, 52, 53, 95} & set(first)


def test_replacement_amounts_only_after_a_partial_approval_and_where_the_link_has_them() -> None:
    partly = item(
        outcome=outcome(OutcomeState.APPROVED, approved_amount_minor=4_000, response_code="10")
    )
    having = make_link(replacement_amounts=True)
    for link, one, present in (
        (having, partly, True),
        (LINK, partly, False),
        (having, item(), False),
    ):
        message = build_reversal(one, PAN, EXPIRY, MERCHANT, link, repeat=False)
        assert (95 in message) is present
        assert message[4] == "000000010000"  # of the original as requested
    message = build_reversal(partly, PAN, EXPIRY, MERCHANT, having, repeat=False)
    assert message[95] == "0" * 42


def test_a_repeat_keeps_its_identity_and_has_no_track() -> None:
    """0220 as first sent, against 0221 from the queue: what the bank compares is the same."""
    refund = request(type="refund", mti="0220", processing_code="200000", original_request_id=9)
    related = original()
    first = built(refund, related)
    waiting = item("repeat", tries=1, request=refund, outcome=None)
    again = build_repeat(waiting, PAN, EXPIRY, MERCHANT, LINK, related)
    assert again[0] == "0221"
    assert {de: first[de] for de in again if de != 0} == {de: v for de, v in again.items() if de}
    assert set(first) - set(again) == {35, 55}
    assert build_repeat(waiting, PAN, EXPIRY, MERCHANT, LINK, None, repeat=False)[0] == "0220"


CODE = "6220201234567890123"


def test_a_scanned_code_goes_where_it_came_from() -> None:
    scanned = request(type="qr_payment", entry_mode="032")
    sale = build_request(
        scanned, ATTEMPT, {0: "0200", 59: "x"}, CODE, "", MERCHANT, LINK, None, None
    )
    reversal = build_reversal(
        item(request=scanned, reversals=()), CODE, "", MERCHANT, LINK, repeat=False
    )
    for message in (sale, reversal):
        assert 2 not in message
        assert message[59] == f"A3019{CODE}"


def test_an_advice_leaves_from_the_queue_alone() -> None:
    """Its 0220 has what the terminal's slip says of the authorisation, and so has the 0221."""
    advice = request(type="offline_sale", mti="0220")
    taken = msgspec.structs.replace(APPROVED, auth_code="V12345")
    waiting = item("repeat", request=advice, outcome=taken)
    first = build_repeat(waiting, PAN, EXPIRY, MERCHANT, LINK, None, repeat=False)
    again = build_repeat(waiting, PAN, EXPIRY, MERCHANT, LINK, None)
    assert (first[0], again[0], first[38]) == ("0220", "0221", "V12345")
    assert {**first, 0: "0221"} == again


def test_private_data_of_a_sale_is_passed_on_once() -> None:
    instalment = b"12" + b"ITEM".ljust(30)
    message = {**FROM_TERMINAL, 62: instalment}
    sale = build_request(REQUEST, ATTEMPT, message, PAN, EXPIRY, MERCHANT, LINK, None, None)
    assert sale[62] == instalment.decode()
    assert 62 not in build_reversal(item(), PAN, EXPIRY, MERCHANT, LINK, repeat=False)


def test_everything_built_can_be_written_and_is_listed() -> None:
    codec = codec_for(LINK.dialect)
    for message in (
        built(pin_block=bytes(8), related=original()),
        build_reversal(item(), PAN, EXPIRY, MERCHANT, LINK, repeat=False),
        build_reversal(item(), "", "", MERCHANT, LINK, repeat=True),
        build_repeat(item("repeat"), PAN, EXPIRY, MERCHANT, LINK, original()),
    ):
        assert set(message) <= set(WRITTEN)
        assert mac_element(message) == (128 if max(message) > 64 else 64)
        assert codec.decode(codec.encode(message)) == message


# -- answers --------------------------------------------------------------------------------------

ASKED = built(request(entry_mode="051", condition_code="00"))
GOOD: Message = {
    0: "0210", 2: PAN, 3: "000000", 4: "000000010000", 7: "0304120000", 11: "000001", 15: "0304",
    32: "48000000", 37: "606300000001", 38: "123456", 39: "00", 41: "T0000001",
    42: "M00000000000001", 44: "BANK", 49: "156", 55: b"\x91\x00",
}  # fmt: skip


def answer_to(changes: dict[int, Any]) -> Answer | str:
    message = {de: value for de, value in (GOOD | changes).items() if value is not None}
    return read_answer(ASKED, message, LINK, TODAY)


def test_an_answer_that_counts() -> None:
    assert answer_to({}) == Answer(
        kind=AnswerKind.APPROVED,
        response_code="00",
        amount_minor=10_000,
        auth_code="123456",
        settlement_date=TODAY,
        rrn="606300000001",
        elements={44: "BANK", 55: b"\x91\x00"},
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({0: "0230"}, "MTI is not the answer's"),
        ({0: "0200"}, "MTI is not the answer's"),
        ({3: "310000"}, "DE 3 differs"),
        ({3: None}, "DE 3 is missing"),
        ({11: "000002"}, "DE 11 differs"),
        ({41: "T0000002"}, "DE 41 differs"),
        ({41: None}, "DE 41 is missing"),
        ({49: "840"}, "DE 49 differs"),
        ({49: None}, "DE 49 is missing"),
        ({4: "000000010001"}, "DE 4 differs"),
        ({4: "000000009999"}, "DE 4 differs"),
        ({4: None}, "DE 4 is missing"),
        ({39: None}, "DE 39 is missing"),
        ({39: "10"}, "DE 4 is not a part of what was asked"),
        ({39: "10", 4: "000000000000"}, "DE 4 is not a part of what was asked"),
        ({39: "10", 4: "000000010001"}, "DE 4 is not a part of what was asked"),
        ({39: "05", 4: "000000000001"}, "DE 4 differs"),
    ],
)
def test_an_answer_that_does_not_count(changes: dict[int, Any], reason: str) -> None:
    assert answer_to(changes) == reason


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("00", AnswerKind.APPROVED),
        *[(code, AnswerKind.REMARK) for code in ("11", "A2", "A4", "A5", "A6")],
        *[(code, AnswerKind.DECLINED) for code in ("05", "51", "55", "91", "96", "94", "A7")],
        *[(code, AnswerKind.UNMAPPED) for code in ("ZZ", "88", "A9")],
    ],
)
def test_kinds(code: str, kind: AnswerKind) -> None:
    answer = answer_to({39: code})
    assert isinstance(answer, Answer)
    assert answer.kind is kind
    assert kind.approves is (code in ("00", "11", "A2", "A4", "A5", "A6"))


def test_a_link_may_name_its_declines() -> None:
    link = make_link(declined=("51",), approved=("00", "08"))
    assert [kind_of(code, link).value for code in ("51", "05", "08")] == [
        "declined", "unmapped", "approved",
    ]  # fmt: skip


def test_a_partial_answer() -> None:
    answer = answer_to({39: "10", 4: "000000004000"})
    assert isinstance(answer, Answer)
    assert (answer.kind, answer.amount_minor) == (AnswerKind.PARTIAL, 4_000)


def test_the_hosts_own_rrn_is_kept_and_no_reason_to_refuse() -> None:
    answer = answer_to({37: "999999999999"})
    assert isinstance(answer, Answer)
    assert answer.rrn == "999999999999"


@pytest.mark.parametrize(
    ("text", "today", "date"),
    [
        ("0304", "2026-03-04", "2026-03-04"),
        ("0101", "2026-12-31", "2027-01-01"),
        ("1231", "2027-01-01", "2026-12-31"),
        ("0229", "2028-02-28", "2028-02-29"),
        ("0229", "2026-02-28", None),
        ("1301", "2026-02-28", None),
        ("0000", "2026-02-28", None),
        ("", "2026-02-28", None),
        ("²³¹²", "2026-02-28", None),
    ],
)
def test_settlement_date_year(text: str, today: str, date: str | None) -> None:
    expected = None if date is None else dt.date.fromisoformat(date)
    assert month_day(text, dt.date.fromisoformat(today)) == expected


@given(
    st.dates(dt.date(2001, 1, 1), dt.date(2090, 12, 31)), st.integers(min_value=-180, max_value=180)
)
def test_settlement_date_is_found_again(today: dt.date, days: int) -> None:
    date = today + dt.timedelta(days=days)
    if (date.month, date.day) != (2, 29):
        assert month_day(f"{date:%m%d}", today) == date


def test_settlement_date_without_de_15() -> None:
    at = dt.datetime(2026, 3, 4, 22, 59, tzinfo=dt.UTC)
    assert settlement_date(None, LINK, at) == TODAY
    assert settlement_date(None, LINK, at + dt.timedelta(minutes=1)) == dt.date(2026, 3, 5)
    assert settlement_date(dt.date(2026, 1, 1), LINK, at) == dt.date(2026, 1, 1)


def test_matching_by_dialect() -> None:
    assert link_messages.matching_of("iso1987_ascii") == (7, 11, 32, 33)
    assert link_messages.matching_of("unionpay_pos") == (11, 41)
