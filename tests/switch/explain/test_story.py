"""A story says what the facts say, in their order.

Method: facts written by hand, as the store has them after each kind of life; the steps by name, and the
whole text of two lives in both languages beside this file. Then any facts at all: the page is well-formed
in both languages, needs nothing from elsewhere, and shows no card number.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given, strategies as st

from settlement.cases import Break
from settlement.casework.states import CaseFacts
from settlement.clearing import ClearingRecord, ClearingRow
from settlement.fees import MerchantFee, NetworkCost
from settlement.ledger import Entry
from settlement.matches import Match, Member
from settlement.netting import Net
from settlement.payouts.ports import Decision, Order, OrderEvent
from settlement.story import Books, record_keys, request_of
from settlement.texts import TEXTS as CASE_TEXTS
from switch.explain import page, text
from switch.explain.steps import LANES
from switch.explain.story import NOT_RECORDED, Story, story_of
from switch.explain.texts import LABELS, LANES as LANE_NAMES, NAMES, SENTENCES, WORDS
from tests.schemas import assert_valid, schema
from tests.switch.explain import facts as of
from tests.switch.explain.facts import ALL, DAY, after

GOLDEN = Path(__file__).parent / "golden"


def events(story: Story) -> list[str]:
    return [step.event for step in story.steps]


START = ["received", "mac_verified", "versions"]


def test_an_approved_purchase() -> None:
    story = story_of(of.APPROVED)
    assert events(story) == [
        *START, "checks_passed", "routed", "recorded", "pin_translated", "link_signed", "attempt",
        "answered", "answer_verified", "outcome", "captured", "told",
    ]  # fmt: skip
    keys = {
        step.event: step.values["version"] for step in story.steps if "check_value" in step.values
    }
    assert keys == {"pin_translated": 1, "link_signed": 2, "answer_verified": 2}
    assert story.steps[4].values["route_rule"] == "route.622000@4"
    assert story.steps[2].values == {
        "business_date": DAY, "generation": 3, "merchant": 2, "terminal": 1,
    }  # fmt: skip


def test_silence_then_reversal_then_the_late_approval() -> None:
    story = story_of(of.TIMED_OUT)
    assert events(story)[-10:] == [
        "no_answer", "outcome", "told", "reversal_queued",
        "sent_again", "unmatched_answer", "late_answer", "case_opened", "sent_again", "delivered",
    ]  # fmt: skip
    sends = [step for step in story.steps if step.event == "sent_again"]
    assert [(step.values["mti"], step.values["try"], step.at) for step in sends] == [
        ("0420", 1, after(3.1)),
        ("0421", 2, after(6.2)),
    ]


def test_a_check_that_fails_is_named_and_nothing_is_sent() -> None:
    story = story_of(of.REFUSED)
    failed = next(step for step in story.steps if step.event == "check_failed")
    assert failed.values == {"rule": "merchant.amount_limit", "response_code": "61"}
    assert not {"checks_passed", "attempt", "answered", "no_answer"} & set(events(story))
    assert all(step.target != "bank" for step in story.steps)


def test_a_second_attempt_after_one_that_was_not_sent() -> None:
    story = story_of(of.FAILED_OVER)
    after_first = events(story).index("attempt")
    assert events(story)[after_first : after_first + 5] == [
        "attempt", "not_sent", "passed_over", "rerouted", "attempt",
    ]  # fmt: skip
    assert [step.values["acquirer"] for step in story.steps if step.event == "attempt"] == [
        "bank_a",
        "bank_d",
    ]
    assert story.steps[after_first + 1].values["reason"] == "link_down"
    assert story.steps[after_first + 2].values == {"acquirer": "bank_c", "reason": "circuit_open"}


def test_every_candidate_is_told_with_its_fate() -> None:
    story = story_of(of.FAILED_OVER)
    told = [step.values for step in story.steps if step.event == "candidate"]
    assert [(each["acquirer"], each["state"], each["reason"]) for each in told] == [
        ("bank_b", "passed_over", "in_flight_max"),
        ("bank_a", "taken", ""),
        ("bank_c", "spare", ""),
        ("bank_d", "spare", ""),
    ]
    assert told[1]["cost_minor"] == 35


def test_where_no_link_could_be_tried_each_is_told() -> None:
    story = story_of(of.NO_LINK)
    (candidate,) = [step for step in story.steps if step.event == "candidate"]
    assert (candidate.values["state"], candidate.values["reason"]) == ("passed_over", "link_down")
    assert "check_failed" in events(story)


def test_a_void_and_its_purchase_name_one_another() -> None:
    sale, void = story_of(of.VOIDED), story_of(of.THE_VOID)
    (follow,) = [step for step in sale.steps if step.event == "follow_up"]
    assert (follow.values["rrn"], follow.values["type"]) == ("606300000002", "void")
    (original,) = [step for step in void.steps if step.event == "original"]
    assert original.values["rrn"] == "606300000001"
    assert events(sale)[-3:] == ["batch_frozen", "batch_settled", "batch_closed"]
    assert "606300000002" in text.render(sale, chinese=False)
    assert "606300000001" in text.render(void, chinese=True)


def test_a_refund_without_an_answer_waits() -> None:
    story = story_of(of.REFUND_PENDING)
    assert events(story)[-4:] == ["repeat_queued", "sent_again", "sent_again", "waiting"]
    assert {step.values["mti"] for step in story.steps if step.event == "sent_again"} == {"0221"}
    assert "told" not in events(story)


def test_a_reversal_by_the_terminal() -> None:
    story = story_of(of.TAKEN_BACK)
    outcome = next(step for step in story.steps if step.event == "outcome")
    assert outcome.values["state"] == "approved", "what was decided, not what became of it"
    assert events(story)[-4:] == [
        "reversal_request", "reversal_queued", "capture_cancel", "waiting",
    ]  # fmt: skip


def test_what_a_decision_rests_on_besides_is_told() -> None:
    decision = {**of.APPROVED.transaction["decision"], "risk": "velocity.card@7"}
    facts = msgspec.structs.replace(of.APPROVED, transaction=of.transaction(decision=decision))
    assert "rested on risk = velocity.card@7" in text.render(story_of(facts), chinese=False)


# -- the books ------------------------------------------------------------------------------------

RECORD = ClearingRecord(
    "c112", DAY, DAY, 7, 7, "purchase", "approved", "M00000000000001", "T0000001", 7, 42, "bank_a",
    10_000, 10_000, "156",
)  # fmt: skip
ROW = ClearingRow(
    acquirer="bank_a", file="IND26030401ACOM", version=1, line=3, settlement_date=DAY,
    content=b"", de32="", de33="", stan="000001", transmission_time="0304120000",
    pan_token=b"", pan_masked=of.PAN_MASKED, amount_minor=10_000, currency="156", mti="0200",
    processing_code="000000", mcc="5411", terminal="T0000001", merchant="M00000000000001",
    rrn="606300000001", condition_code="00", auth_code="A00001", original_stan="",
    original_time="", response_code="00", entry_mode="021", fee_receivable_minor=None,
    fee_payable_minor=None, switching_fee_minor=None,
)  # fmt: skip
ORDER = Order(
    "20260305-001", "E1", "M00000000000001", "156", "T+1", 1, 9_940, 0, DAY, "Shop", "1", "2"
)
BOOKS = Books(
    records=(RECORD,),
    matches=(Match(DAY, "matched", "exact", 2, "c112", ROW.id),),
    rows=(ROW,),
    fees=(MerchantFee(DAY, "c112", "standard", 1, "debit", 0, 0, 60),),
    costs=(NetworkCost(DAY, "c112", ROW.id, "reform-96", 1, 35, 3, None, None, 35, 3),),
    entries=(
        Entry(
            DAY, "post", "captured", "c112", "captured", 1, "156", "M00000000000001", "bank_a",
            "T0000001", 7, DAY, ("network_receivable", "merchant_payable", "merchant_discount"),
            ("bank_a", "M00000000000001", ""), (10_000, -9_940, -60),
        ),
    ),
    nets=(Net(DAY, "M00000000000001", "156", 1, 10_000, 0, 60, 0, 9_940),),
    orders=(ORDER,),
    decisions=(Decision("20260305-001", "released", "li", dt.date(2026, 3, 5), "P000001"),),
    events=(OrderEvent("E1", "confirmed", dt.date(2026, 3, 5), "settlement", "S1", 4),),
)  # fmt: skip
SETTLED = msgspec.structs.replace(of.APPROVED, books=BOOKS)


def test_the_books_from_the_capture_to_the_bank() -> None:
    story = story_of(SETTLED)
    assert [step.event for step in story.books] == [
        "capture_stands", "record", "matched", "fee", "cost", "posted", "net", "payout",
        "payout_event",
    ]  # fmt: skip
    told = text.render(story, chinese=False)
    assert f"matched by exact/2, row {ROW.id}, 100.00 156" in told
    assert "merchant discount 0.60 156 by plan standard/1, card debit" in told
    assert "merchant_payable M00000000000001 -99.40" in told


def test_a_capture_without_a_row_and_its_case() -> None:
    case = CaseFacts(
        Break("20260304-R1", DAY, "network_short", "bank_a", "156", {}, 10_000, None, "c112"),
        0, True, None,
    )  # fmt: skip
    books = Books(records=(RECORD,), cases=(case,))
    story = story_of(msgspec.structs.replace(of.APPROVED, books=books))
    assert [step.event for step in story.books][-2:] == ["not_matched", "case"]


def test_a_part_of_a_sum_is_not_called_unmatched() -> None:
    members = (
        Member(DAY, "row", "sum", 1, "ours", "c112"),
        Member(DAY, "row", "sum", 1, "theirs", "row"),
    )
    story = story_of(
        msgspec.structs.replace(of.APPROVED, books=Books(records=(RECORD,), members=members))
    )
    assert [step.event for step in story.books] == ["capture_stands", "record", "match_member"]


def test_keys_of_a_request() -> None:
    assert {request_of(key) for key in record_keys(7)} == {7}
    assert request_of("bank_a/IND26030401ACOM/1:3") is None


# -- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["approved", "timed_out", "refund_pending"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_whole_text(name: str, language: str) -> None:
    """Regenerate by hand where a text was changed on purpose: write `told` to the file."""
    facts = SETTLED if name == "approved" else ALL[name]
    told = text.render(story_of(facts), chinese=language == "zh") + "\n"
    assert told == (GOLDEN / f"{name}.{language}.txt").read_text(encoding="utf-8")


def places(template: str) -> list[str]:
    return sorted(re.findall(r"\{(\w+)\}", template))


def test_both_languages_have_all_of_every_sentence() -> None:
    for table in (SENTENCES, LABELS, WORDS, NAMES, LANE_NAMES):
        for key, (english, chinese) in table.items():
            assert places(english) == places(chinese), key
            assert english.isascii(), key
    for table in (SENTENCES, WORDS, NAMES, LANE_NAMES):
        for key, (_, chinese) in table.items():
            assert re.search("[\u4e00-\u9fff]", chinese) or key in ("matched", "title"), key
    assert set(LANES) == set(LANE_NAMES)
    assert {
        each.removeprefix("case_state_") for each in CASE_TEXTS if "case_state_" in each
    } <= set(NAMES)
    assert LABELS.keys() <= SENTENCES.keys()


def test_the_schema_names_every_event() -> None:
    properties = schema("story")["properties"]
    of_timeline, of_books = (
        properties[name]["items"]["properties"]["event"]["enum"] for name in ("timeline", "books")
    )
    assert of_timeline == list(LABELS)
    assert of_books == [name for name in SENTENCES if name not in LABELS]
    assert properties["not_recorded"]["items"]["enum"] == list(NOT_RECORDED)


@pytest.mark.parametrize("name", ALL)
def test_every_story_is_an_object_of_its_schema(name: str) -> None:
    made = json.loads(msgspec.json.encode(text.to_object(story_of(ALL[name]))))
    assert_valid("story", made)
    assert_valid("transaction", made["transaction"])


# -- any facts ------------------------------------------------------------------------------------

WORD = st.text(max_size=20)
TIME = st.integers(-86_400_000, 86_400_000).map(lambda ms: after(ms / 1000))


@st.composite
def any_facts(draw: st.DrawFn) -> Any:
    """One of the lives with texts that an enemy chose, and times in any order."""
    facts = draw(st.sampled_from([*ALL.values(), SETTLED]))
    hostile = draw(st.sampled_from(["<script>", "&amp;", "]]>", "\"'>", "<!--", "{rrn}", "[{x}]"]))
    told = {**facts.transaction, "rule": draw(WORD) + hostile, "received_at": draw(TIME)}
    told["decision"] = {"generation": draw(st.integers(0)), draw(WORD): hostile}
    attempts = tuple(
        msgspec.structs.replace(each, acquirer=draw(WORD), recorded_at=draw(TIME))
        for each in facts.attempts
    )
    return msgspec.structs.replace(facts, transaction=told, attempts=attempts)


@given(any_facts(), st.booleans())
def test_a_page_is_well_formed_and_needs_nothing(facts: Any, chinese: bool) -> None:
    made = page.render(story_of(facts), chinese=chinese)
    assert made.startswith("<!doctype html>")
    tree = ET.fromstring(made.removeprefix("<!doctype html>"))
    assert len(tree.findall(".//svg")) == 2
    assert not tree.findall(".//script")
    assert not re.search(r"https?:|url\(|@import|\ssrc=|\shref=", made)
    assert text.render(story_of(facts), chinese=chinese)


@given(st.from_regex(r"\A[1-9][0-9]{12,18}\Z"))
def test_a_card_number_in_a_case_is_masked(pan: str) -> None:
    from iso8583.track import luhn_ok
    from settlement.casework.states import CaseEvent

    if not luhn_ok(pan):
        last = next(d for d in "0123456789" if luhn_ok(pan[:-1] + d))
        pan = pan[:-1] + last
    event = CaseEvent(
        "20260304-R1", 1, "noted", "open", "li", of.NOW, DAY, text=f"card {pan} called"
    )
    found = Break("20260304-R1", DAY, "network_short", "bank_a", "156", {}, 10_000, None, "c112")
    books = Books(records=(RECORD,), cases=(CaseFacts(found, 0, True, None, (event,)),))
    story = story_of(msgspec.structs.replace(of.APPROVED, books=books))
    for made in (
        page.render(story, chinese=False),
        text.render(story, chinese=True),
        msgspec.json.encode(text.to_object(story)).decode(),
    ):
        assert pan not in made
        assert f"{pan[:6]}{'*' * (len(pan) - 10)}{pan[-4:]}" in made
