"""The simulated POS against a scripted host: what it sends, what it checks, what it then owes.

Method: `TinyHost` answers in the same process; no I/O. Tables hold one scenario a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from hsm import pin_block, tracks
from hsm.ciphers import tdes_ecb_decrypt
from iso8583.framing import Frame
from terminals.simulator.card import BANK_A, Card
from terminals.simulator.terminal import (
    LocalProtocolError,
    Outcome,
    Request,
    Slip,
    Terminal,
    TerminalOptions,
    open_key_layout,
)
from tests.terminals.simulator.host import PIK, TDK, TMK, TinyHost

if TYPE_CHECKING:
    from collections.abc import Callable

    from iso8583.message import Message

CARD = BANK_A[0].card(1)


def options(**changes: object) -> TerminalOptions:
    known: dict[str, object] = {"merchant": "898100000000001", "terminal": "10000001", "tmk": TMK}
    return TerminalOptions(**(known | changes))  # type: ignore[arg-type]


def signed_on(host: TinyHost, **changes: object) -> Terminal:
    terminal = Terminal(options(**changes), tpdu_source="0007")
    assert ask(terminal, host, terminal.sign_on()).state == "approved"
    return terminal


def ask(terminal: Terminal, host: TinyHost, request: Request) -> Outcome:
    return terminal.answer(host(request.frame))


def buy(terminal: Terminal, host: TinyHost, amount_minor: int = 1000) -> Slip:
    assert ask(terminal, host, terminal.purchase(CARD, amount_minor)).state == "approved"
    return terminal.slips[-1]


# -- sign-on --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "mak_bytes", "profile"),
    [
        ("001", 8, "unionpay-ecb"),
        ("003", 8, "unionpay-ecb"),
        ("003", 16, "unionpay-ecb"),
        ("004", 16, "x9.19"),
        ("003", 8, "x9.9"),
        ("003", 16, "cmac"),
    ],
)
def test_sign_on_takes_keys_and_batch_in_every_layout(
    layout: str, mak_bytes: int, profile: str
) -> None:
    host = TinyHost(mac_profile=profile, mak_bytes=mak_bytes)
    terminal = signed_on(host, key_layout=layout, mak_bytes=mak_bytes, mac_profile=profile)
    assert terminal.signed_on
    assert terminal.batch == "000001"
    assert buy(terminal, host).state == "approved"
    assert host.seen[0][62] == b"Sequence No163150SXX-4C304119"


@pytest.mark.parametrize(
    ("at", "complaint"),
    [(0, "PIK"), (17, "PIK"), (21, "MAK"), (38, "MAK"), (None, "40")],
)
def test_sign_on_refuses_keys_whose_check_value_differs(at: int | None, complaint: str) -> None:
    host = TinyHost()

    def spoil(answer: Message) -> None:
        if 62 not in answer:
            return
        keys = bytearray(bytes(answer[62]))  # type: ignore[arg-type]
        if at is None:
            del keys[-1]
        else:
            keys[at] ^= 1 if at in (17, 38) else 0x10
        answer[62] = bytes(keys)

    host.spoil = spoil
    terminal = Terminal(options())
    outcome = ask(terminal, host, terminal.sign_on())
    assert outcome.state == "bad_answer"
    assert complaint in outcome.reason or "bytes" in outcome.reason
    assert not terminal.signed_on


def test_an_unused_half_of_the_mak_slot_must_be_zero() -> None:
    host = TinyHost(mak_bytes=16)
    terminal = Terminal(options(mak_bytes=8))
    assert "not zero" in ask(terminal, host, terminal.sign_on()).reason


# -- a purchase on the wire --------------------------------------------------------


def test_a_purchase_carries_what_the_host_needs() -> None:
    host = TinyHost()
    terminal = signed_on(host)
    ask(terminal, host, terminal.purchase(CARD, 12345, pin=CARD.pin))
    sent = host.seen[-1]
    assert sent[0] == "0200"
    assert (sent[2], sent[3], sent[4]) == (CARD.pan, "000000", "000000012345")
    assert (sent[22], sent[25], sent[26], sent[49]) == ("021", "00", "12", "156")
    assert sent[35] == CARD.track2
    assert sent[53] == "2600000000000000"
    assert str(sent[60]).startswith("22000001000")
    sealed = sent[52]
    assert isinstance(sealed, bytes)
    assert pin_block.decode_format0(tdes_ecb_decrypt(PIK, sealed), CARD.pan) == CARD.pin
    slip = terminal.slips[-1]
    assert (slip.state, slip.approved_minor, slip.rrn) == ("approved", 12345, "000000000002")
    assert not terminal.reversal_due


def test_track_only_and_enciphered_track() -> None:
    host = TinyHost(dialect="unionpay_pos.de35_enciphered")
    terminal = signed_on(
        host,
        dialect="unionpay_pos.de35_enciphered",
        key_layout="004",
        track_only=True,
        encrypt_track=True,
    )
    ask(terminal, host, terminal.purchase(CARD, 100))
    sent = host.seen[-1]
    assert 2 not in sent
    assert sent[35] != CARD.track2
    assert tracks.decrypt(TDK, str(sent[35])) == CARD.track2
    assert str(sent[53])[1:3] == "61"


def test_nothing_sensitive_in_repr() -> None:
    host = TinyHost()
    terminal = signed_on(host)
    slip = buy(terminal, host)
    shown = repr((CARD, terminal, terminal.options, slip, terminal.repeat()))
    assert CARD.pan not in shown
    assert TMK not in shown


# -- what a bad answer leads to ----------------------------------------------------


def drop(de: int) -> Callable[[Message], None]:
    def change(answer: Message) -> None:
        if answer[0] != "0810":
            answer.pop(de, None)

    return change


def put(de: int, value: str | bytes) -> Callable[[Message], None]:
    def change(answer: Message) -> None:
        if answer[0] != "0810":
            answer[de] = value

    return change


@pytest.mark.parametrize(
    ("spoil", "after_mac", "reason", "words"),
    [
        (put(0, "0230"), None, "06", "MTI"),
        (put(3, "200000"), None, "06", "DE 3 "),
        (put(4, "000000000001"), None, "06", "DE 4 "),
        (put(11, "999999"), None, "06", "DE 11"),
        (put(41, "10000002"), None, "06", "DE 41"),
        (put(42, "898100000000002"), None, "06", "DE 42"),
        (drop(12), None, "06", "DE 12"),
        (drop(13), None, "06", "DE 13"),
        (drop(37), None, "06", "DE 37"),
        (put(39, "10"), None, "06", "DE 4 of a partial"),
        (None, drop(64), "A0", "MAC missing"),
        (None, put(64, b"00000000"), "A0", "MAC wrong"),
    ],
)
def test_a_bad_answer_is_reversed_with_its_reason(
    spoil: Callable[[Message], None] | None,
    after_mac: Callable[[Message], None] | None,
    reason: str,
    words: str,
) -> None:
    host = TinyHost()
    terminal = signed_on(host)
    host.spoil, host.after_mac = spoil, after_mac
    outcome = ask(terminal, host, terminal.purchase(CARD, 500))
    assert outcome.state == "bad_answer"
    assert words in outcome.reason
    assert terminal.reversal_due
    host.spoil = host.after_mac = None
    with pytest.raises(LocalProtocolError):
        terminal.purchase(CARD, 1)
    assert ask(terminal, host, terminal.reversal()).state == "approved"
    sent = host.seen[-1]
    assert (sent[0], sent[39], sent[11]) == ("0400", reason, "000002")
    assert not {35, 36, 26, 52, 53, 37, 62} & set(sent)
    slip = terminal.slips[-1]
    assert (slip.state, slip.reversal_reason, slip.effect_minor) == ("reversed", reason, 0)
    assert terminal.totals.debit_count == 0


@pytest.mark.parametrize(
    ("codes", "states"),
    [
        (["00"], ["reversed"]),
        (["25"], ["reversed"]),
        (["12"], ["not_reversed"]),
        (["96", "00"], ["reversing", "reversed"]),
        (["96", "91", "98"], ["reversing", "reversing", "not_reversed"]),
    ],
)
def test_a_reversal_ends(codes: list[str], states: list[str]) -> None:
    host = TinyHost()
    terminal = signed_on(host)
    terminal.purchase(CARD, 500)
    assert terminal.no_answer().state == "no_answer"
    for number, (code, state) in enumerate(zip(codes, states, strict=True)):
        host.stored.clear()
        host.answers.append(code)
        ask(terminal, host, terminal.reversal())
        assert host.seen[-1][39] == ("98" if number == 0 else "06")
        assert terminal.slips[-1].state == state
    assert not terminal.reversal_due


def test_an_unanswered_reversal_stays_due_and_survives_a_new_sign_on() -> None:
    host = TinyHost()
    terminal = signed_on(host)
    terminal.purchase(CARD, 500)
    terminal.no_answer()
    terminal.reversal()
    terminal.no_answer()
    assert terminal.reversal_due
    host.closed.add("10000001")
    ask(terminal, host, terminal.sign_on())
    assert terminal.batch == "000002"
    assert ask(terminal, host, terminal.reversal()).state == "approved"
    assert str(host.seen[-1][60])[2:8] == "000001"


def test_the_reversal_of_a_void_names_the_original() -> None:
    host = TinyHost()
    terminal = signed_on(host)
    sale = buy(terminal, host)
    terminal.void(sale)
    terminal.no_answer()
    ask(terminal, host, terminal.reversal())
    assert host.seen[-1][61] == sale.batch + sale.trace + "0000"
    assert sale.state == "approved"
    assert terminal.totals.credit_count == 0


def test_undo_reverses_an_approved_purchase_with_reason_96() -> None:
    host = TinyHost()
    terminal = signed_on(host)
    slip = buy(terminal, host)
    terminal.undo(slip)
    ask(terminal, host, terminal.reversal())
    assert (host.seen[-1][39], host.seen[-1][38]) == ("96", slip.auth_code)
    assert slip.state == "reversed"


def test_a_decline_owes_nothing_and_counts_nowhere() -> None:
    host = TinyHost()
    terminal = signed_on(host)
    host.answers.append("51")
    outcome = ask(terminal, host, terminal.purchase(CARD, 500))
    assert (outcome.state, outcome.response_code) == ("declined", "51")
    assert not terminal.reversal_due
    assert terminal.totals.debit_count == 0


@pytest.mark.parametrize("code", ["77", "99", "A0"])
def test_codes_that_ask_for_a_sign_on(code: str) -> None:
    host = TinyHost()
    terminal = signed_on(host)
    host.answers.append(code)
    assert ask(terminal, host, terminal.purchase(CARD, 500)).sign_on
    assert not terminal.signed_on


def test_the_header_asks_for_a_sign_on() -> None:
    host = TinyHost()
    terminal = signed_on(host)
    host.processing_request = 3
    assert ask(terminal, host, terminal.purchase(CARD, 500)).sign_on


def test_partial_approval_counts_what_was_approved() -> None:
    host = TinyHost()
    terminal = signed_on(host, partial_approval=True)
    host.answers.append("10")
    host.spoil = lambda answer: answer.update({4: "000000000300"})
    assert ask(terminal, host, terminal.purchase(CARD, 500)).state == "approved"
    assert terminal.totals.debit_minor == 300
    assert str(host.seen[-1][60])[13] == "1"


# -- repeats -------------------------------------------------------------------------


def test_a_repeat_is_the_same_bytes_and_settles_what_was_open() -> None:
    host = TinyHost()
    terminal = signed_on(host)
    first = terminal.purchase(CARD, 700)
    host(first.frame)  # the host heard it; its answer is lost
    terminal.no_answer()
    again = terminal.repeat()
    assert again.frame == first.frame
    assert terminal.answer(host(again.frame)).state == "approved"
    assert not terminal.reversal_due
    assert terminal.totals.debit_minor == 700


def test_a_repeat_of_a_finished_request_counts_once() -> None:
    host = TinyHost()
    terminal = signed_on(host)
    slip = buy(terminal, host, 700)
    rrn = slip.rrn
    outcome = terminal.answer(host(terminal.repeat().frame))
    assert (outcome.state, outcome.rrn) == ("approved", rrn)
    assert terminal.totals.debit_count == 1


def test_an_unanswered_refund_is_repeated_never_reversed() -> None:
    host = TinyHost()
    terminal = signed_on(host)
    sale = buy(terminal, host, 700)
    terminal.refund(sale, 200)
    terminal.no_answer()
    assert not terminal.reversal_due
    assert terminal.slips[-1].state == "unknown"
    assert terminal.answer(host(terminal.repeat().frame)).state == "approved"
    assert terminal.slips[-1].effect_minor == -200
    assert host.seen[-1][61] == sale.batch + sale.trace + sale.date


@pytest.mark.parametrize(("signed", "state"), [(False, "reversing"), (True, "declined")])
def test_a_repeat_that_is_answered_96_unsigned_settles_nothing(signed: bool, state: str) -> None:
    """The host could not look whether it knows the request, which may well be approved. Signed it is
    the request's own answer."""
    host = TinyHost()
    terminal = signed_on(host)
    terminal.purchase(CARD, 700)
    terminal.no_answer()
    host.answers.append("96")
    if not signed:

        def unsign(answer: Message) -> None:
            del answer[64]

        host.after_mac = unsign
    terminal.answer(host(terminal.repeat().frame))
    assert terminal.slips[-1].state == state
    assert terminal.reversal_due is not signed


def test_a_first_answer_of_96_is_a_decline() -> None:
    host = TinyHost()
    terminal = signed_on(host)
    host.answers.append("96")
    ask(terminal, host, terminal.purchase(CARD, 700))
    assert terminal.slips[-1].state == "declined"
    assert not terminal.reversal_due


def test_a_refund_answered_98_is_still_open() -> None:
    host = TinyHost()
    terminal = signed_on(host)
    sale = buy(terminal, host, 700)
    host.answers.append("98")
    ask(terminal, host, terminal.refund(sale))
    states = [terminal.slips[-1].state]
    host.stored.clear()
    terminal.answer(host(terminal.repeat().frame))
    states.append(terminal.slips[-1].state)
    assert states == ["unknown", "approved"]


def test_late_and_foreign_answers_are_told_apart() -> None:
    host = TinyHost()
    terminal = signed_on(host)
    lost = host(terminal.purchase(CARD, 500).frame)
    terminal.no_answer()
    request = terminal.reversal()
    assert not terminal.expects(lost)
    right = host(request.frame)
    assert terminal.expects(right)
    assert not terminal.expects(Frame(bytes.fromhex("6000090003"), right.header, right.body))


# -- the batch's end -------------------------------------------------------------------


def test_totals_and_a_balanced_settlement() -> None:
    host = TinyHost()
    terminal = signed_on(host)
    sale = buy(terminal, host, 1000)
    buy(terminal, host, 2500)
    ask(terminal, host, terminal.void(sale))
    ask(terminal, host, terminal.refund(terminal.slips[1], 500))
    outcome = ask(terminal, host, terminal.settle())
    assert outcome.balanced is True
    assert host.seen[-1][48] == (
        "000000003500" + "002" + "000000001500" + "002" + "0" + "0" * 30 + "0"
    )
    assert not terminal.signed_on
    assert not terminal.upload_due
    ask(terminal, host, terminal.sign_on())
    assert terminal.batch == "000002"
    assert terminal.totals.debit_count == 0


@pytest.mark.parametrize("sales", [0, 1, 8, 9, 17])
def test_an_unbalanced_batch_is_uploaded_item_by_item(sales: int) -> None:
    host = TinyHost()
    terminal = signed_on(host)
    for number in range(sales):
        buy(terminal, host, 100 + number)
    refunds = 0
    if sales:
        ask(terminal, host, terminal.refund(terminal.slips[0], 50))
        refunds = 1
    host.balanced = False
    assert ask(terminal, host, terminal.settle()).balanced is False
    before = len(host.seen)
    terminal.upload()
    terminal.no_answer()  # a lost one is sent again
    while terminal.upload_due:
        assert ask(terminal, host, terminal.upload()).state == "approved"
    sent = host.seen[before:]
    details = [m for m in sent if str(m[60])[8:11] == "201" and 48 in m]
    items = [
        str(m[48])[2:][at : at + 40]
        for m in details
        for at in range(0, int(str(m[48])[:2]) * 40, 40)
    ]
    assert all(int(str(m[48])[:2]) <= 8 for m in details)
    assert [int(item[28:]) for item in items] == [100 + number for number in range(sales)]
    assert {item[8:28] for item in items} <= {CARD.pan.zfill(20)}
    single = [m for m in sent if m[0] == "0320" and 48 not in m]
    assert len(single) == refunds
    assert sent[-1][48] == f"{sales + refunds:04}"
    assert str(sent[-1][60])[8:11] == "202"
    assert not terminal.signed_on


def test_the_end_message_of_a_balanced_batch_is_a_setting() -> None:
    host = TinyHost()
    terminal = signed_on(host, end_when_balanced=True)
    buy(terminal, host)
    ask(terminal, host, terminal.settle())
    ask(terminal, host, terminal.upload())
    assert str(host.seen[-1][60])[8:11] == "207"
    assert not terminal.upload_due


# -- the rest of the types -----------------------------------------------------------


def test_pre_authorisation_family() -> None:
    host = TinyHost()
    terminal = signed_on(host)
    ask(terminal, host, terminal.pre_authorise(CARD, 5000, pin=CARD.pin))
    hold = terminal.slips[-1]
    assert (hold.state, hold.effect_minor) == ("approved", 0)
    ask(terminal, host, terminal.complete(hold, 4000))
    done = terminal.slips[-1]
    assert host.seen[-1][38] == hold.auth_code
    assert host.seen[-1][61] == hold.batch + hold.trace + hold.date
    ask(terminal, host, terminal.completion_void(done))
    ask(terminal, host, terminal.pre_authorise(CARD, 5000))
    ask(terminal, host, terminal.pre_authorisation_void(terminal.slips[-1]))
    assert [m[0] for m in host.seen[1:]] == ["0100", "0200", "0200", "0100", "0100"]
    assert (terminal.totals.debit_minor, terminal.totals.credit_minor) == (4000, 4000)


def test_balance() -> None:
    host = TinyHost()
    terminal = signed_on(host)
    ask(terminal, host, terminal.balance(CARD, pin=CARD.pin))
    assert terminal.balance_minor == 12345
    assert 4 not in host.seen[-1]


# -- properties ------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["ok", "decline", "lost", "unheard", "undo", "void", "refund"])))
def test_totals_are_the_sum_of_what_stands(events: list[str]) -> None:
    """Whatever happens to the requests, DE 48 counts what the host still holds as approved."""
    host = TinyHost()
    terminal = signed_on(host)
    standing: dict[str, int] = {}  # trace → effect, kept by the other side
    for event in events:
        amount = 100 + len(terminal.slips)
        if event in ("void", "refund"):
            if not terminal.voidable():
                continue
            target = terminal.voidable()[0]
            made = terminal.void(target) if event == "void" else terminal.refund(target)
            ask(terminal, host, made)
            standing[made.trace] = -target.approved_minor
            continue
        if event == "decline":
            host.answers.append("51")
        request = terminal.purchase(CARD, amount)
        if event == "unheard":
            terminal.no_answer()
        elif event == "lost":
            host(request.frame)
            terminal.no_answer()
        else:
            terminal.answer(host(request.frame))
        if event == "undo":
            terminal.undo(terminal.slips[-1])
        if event == "ok":
            standing[request.trace] = amount
        if terminal.reversal_due:
            ask(terminal, host, terminal.reversal())
    totals = terminal.totals
    assert totals.debit_minor - totals.credit_minor == sum(standing.values())
    assert totals.debit_count + totals.credit_count == len(standing)
    assert sum(slip.effect_minor for slip in terminal.slips) == sum(standing.values())


def test_known_sign_on_answer_of_another_host() -> None:
    # corpus cup-go8583-signin-resp: a public demo TMK, DE 62, working keys, all published
    sealed = "46F161A743497B32EAC760DF5EA57DF5900ECCE3977731A7EA402DDF0000000000000000CFF1592A"
    tmk = bytes.fromhex("258FB0AB70D025CDB99DF2C4D302D646")
    pik, mak, tdk = open_key_layout(bytes.fromhex(sealed), tmk, "003", 8)
    assert pik.hex().upper() == "D931648F3DE313A4A22C15DCA4F4299E"
    assert mak.hex().upper() == "AB7C577CC7A18045"
    assert tdk == b""


def test_cards_are_the_same_everywhere() -> None:
    assert BANK_A[0].cards()[0] == CARD
    assert isinstance(CARD, Card)
    assert len(CARD.track2) == 37
