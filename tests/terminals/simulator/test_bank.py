"""The simulated bank against a scripted switch: its decisions, its memory, its faults, its books.

Method: the sans-I/O core is driven by hand; the shell runs once in virtual time. After every
scenario the sum over the bank's entries equals what its cards have paid.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from hsm import mac, pin_block
from hsm.ciphers import tdes_ecb_encrypt
from iso8583.framing import LINK, Framer
from switch.virtual.loop import run_virtual
from terminals.simulator.accounts import Rules
from terminals.simulator.bank import BankFaults, BankServer, Close, Send
from terminals.simulator.card import BANK_A, CardRange
from tests.terminals.simulator.link import CARD, DATE, ScriptedSwitch, bank, repeated

if TYPE_CHECKING:
    from iso8583.message import Message
    from terminals.simulator.bank import Bank

EXPIRED = BANK_A[0].card(20)
POOR = BANK_A[0].card(15)


def books_agree(of: Bank) -> bool:
    return sum(entry.effect_minor for entry in of.accounts.entries) == of.accounts.taken_minor


# -- the connection ---------------------------------------------------------------


def test_sign_on_comes_first() -> None:
    switch = ScriptedSwitch(bank(), sign_on=False)
    assert switch.code(switch.purchase()) == "91"
    assert switch.ask(switch.management("001"))[39] == "00"
    assert switch.code(switch.purchase()) == "00"
    assert switch.ask(switch.management("301"))[70] == "301"
    assert switch.ask(switch.management("101"))[39] == "40"
    switch.ask(switch.management("002"))
    assert switch.code(switch.purchase()) == "91"


def test_a_wrong_link_mac_is_answered_a0_and_has_no_effect() -> None:
    of = bank()
    switch = ScriptedSwitch(of)
    wrong = "0123456789ABCDEFFEDCBA9876543210"
    assert switch.ask(switch.purchase(), zak=wrong)[39] == "A0"
    assert of.accounts.entries == []


def test_keys_change_in_both_directions_and_the_former_stay_good() -> None:
    zmk = "77777777777777778888888888888888"
    fresh = {"ZPK": bytes.fromhex("99" * 8 + "AA" * 8), "ZAK": bytes.fromhex("BB" * 8 + "CC" * 8)}
    ours, theirs = bank(zmk=zmk), bank(2, zmk=zmk)
    switch = ScriptedSwitch(theirs)
    for usage, key in fresh.items():
        data = ours.new_key(usage, key)  # type: ignore[arg-type]
        (frame,) = Framer(LINK).receive_bytes(data)
        message = theirs.codec.decode(frame.body)
        assert (message[0], message[70], str(message[48])[:3]) == ("0800", "101", usage)
        assert switch.ask(message)[39] == "00"
    assert switch.ask(switch.management("101") | {48: "ZPKnonsense"})[39] == "96"
    old = switch.effects(switch.purchase(pin=CARD.pin))  # both keys of before
    assert isinstance(old[0], Send)
    answer = theirs.codec.decode(Framer(LINK).receive_bytes(old[0].data)[0].body)
    assert answer[39] == "00"
    new = switch.purchase() | {
        52: tdes_ecb_encrypt(fresh["ZPK"], pin_block.encode_format0(CARD.pin, CARD.pan)),
        53: "2600000000000000",
    }
    (send,) = switch.effects(new, zak=fresh["ZAK"].hex())
    assert isinstance(send, Send)
    body = Framer(LINK).receive_bytes(send.data)[0].body
    assert theirs.codec.decode(body)[39] == "00"
    assert mac.verify("x9.19-binary", fresh["ZAK"], body[:-8], body[-8:])


def test_noise_closes_the_connection() -> None:
    session = bank().session()
    assert session.receive_bytes(b"\xff\xff" + bytes(5000)) == [Close()]
    session = bank().session()
    assert [session.receive_bytes(b"\x00\x03abc") for _ in range(3)] == [[], [], [Close()]]


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_in_any_split_are_survived(noise: bytes, cut: int) -> None:
    of = bank()
    session = of.session()
    for part in (noise[:cut], noise[cut:]):
        if session.receive_bytes(part) == [Close()]:
            break
    assert of.accounts.entries == []


# -- decisions -----------------------------------------------------------------------


def test_an_approval_carries_what_the_link_wants() -> None:
    of = bank()
    switch = ScriptedSwitch(of)
    request = switch.purchase(pin=CARD.pin)
    answer = switch.ask(request)
    assert (answer[0], answer[39], answer[15], answer[38]) == ("0210", "00", "0609", "000001")
    for de in (2, 3, 4, 7, 11, 12, 13, 32, 37, 41, 42, 49):
        assert answer[de] == request[de]
    assert not {14, 18, 22, 25, 43, 52, 53} & set(answer)
    assert of.accounts.balance_minor(CARD.pan) == CARD.balance_minor - 1000


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({2: EXPIRED.pan, 14: EXPIRED.expiry}, "54"),
        ({14: "2909"}, "54"),
        ({2: POOR.pan}, "51"),
        ({2: "6220000000000999999"}, "14"),
        ({4: "000000000000"}, "13"),
        ({4: "999999999999"}, "61"),
        ({0: "0100", 3: "900000"}, "40"),
    ],
)
def test_declines(change: Message, code: str) -> None:
    of = bank()
    switch = ScriptedSwitch(of)
    assert switch.code(switch.purchase() | change) == code
    assert books_agree(of)
    assert of.accounts.taken_minor == 0


def test_pin_wrong_three_times_then_locked() -> None:
    switch = ScriptedSwitch(bank())
    wrong = "0000" if CARD.pin != "0000" else "1111"
    assert [switch.code(switch.purchase(pin=wrong)) for _ in range(3)] == ["55", "55", "75"]
    assert switch.code(switch.purchase(pin=CARD.pin)) == "75"


def test_a_right_pin_forgives_wrong_ones() -> None:
    switch = ScriptedSwitch(bank())
    codes = [switch.code(switch.purchase(pin=pin)) for pin in ("9876", CARD.pin, "9876", "9876")]
    assert codes == ["55", "00", "55", "55"]


def test_a_pin_block_under_another_key_is_99() -> None:
    switch = ScriptedSwitch(bank())
    assert switch.code(switch.purchase(pin=CARD.pin) | {52: bytes(8)}) == "99"


def test_balance() -> None:
    switch = ScriptedSwitch(bank())
    switch.ask(switch.purchase())
    answer = switch.ask(switch.request("0200", "310000", CARD, None))
    assert answer[54] == f"0202156C{CARD.balance_minor - 1000:012}"


def test_a_lost_card_and_partial_approvals() -> None:
    one = (CardRange("622000", "1", count=1, balance_minor=700, expired_every=0, poor_every=0),)
    of = bank(cards=one, rules=Rules(partial_approvals=True))
    switch = ScriptedSwitch(of)
    request = switch.purchase(one[0].card(1), 1000)
    answer = switch.ask(request)
    assert (answer[39], answer[4]) == ("10", "000000000700")
    assert of.accounts.balance_minor(CARD.pan) == 0
    assert switch.code(switch.reversal(request)) == "00"
    assert of.accounts.balance_minor(CARD.pan) == 700


# -- follow-ups --------------------------------------------------------------------------


def test_void_once_in_full() -> None:
    of = bank()
    switch = ScriptedSwitch(of)
    sale = switch.purchase()
    switch.ask(sale)
    assert switch.code(switch.void(sale) | {4: "000000000999"}) == "64"
    void = switch.void(sale)
    assert switch.code(void) == "00"
    assert switch.code(switch.void(sale)) == "12"
    assert switch.code(switch.reversal(sale)) == "12"
    assert of.accounts.taken_minor == 0
    assert switch.code(switch.reversal(void)) == "00"
    assert of.accounts.taken_minor == 1000
    assert switch.code(switch.void(sale)) == "00"
    assert books_agree(of)


def test_refunds_up_to_the_sale() -> None:
    of = bank()
    switch = ScriptedSwitch(of)
    sale = switch.purchase()
    switch.ask(sale)
    assert [switch.code(switch.refund(sale, amount)) for amount in (600, 500, 400, 1)] == [
        "00",
        "64",
        "00",
        "64",
    ]
    assert of.accounts.taken_minor == 0
    assert switch.code(switch.void(sale)) == "12"


def test_a_follow_up_without_its_original_is_25() -> None:
    switch = ScriptedSwitch(bank())
    never = switch.purchase()
    assert switch.code(switch.void(never)) == "25"
    assert switch.code(switch.refund(never, 1)) == "25"


def test_pre_authorisation_holds_and_ends() -> None:
    of = bank()
    switch = ScriptedSwitch(of)
    ask = switch.request("0100", "000000", CARD, 1000) | {25: "06"}
    assert switch.code(ask) == "00"
    assert of.accounts.taken_minor == 0
    done = switch.follow_up("0200", "000000", ask, 1151)
    assert switch.code(done) == "64"
    done = switch.follow_up("0200", "000000", ask, 1150)
    assert switch.code(done) == "00"
    assert switch.code(switch.follow_up("0100", "200000", ask, 1000)) == "12"
    assert of.accounts.taken_minor == 1150
    back = switch.follow_up("0200", "200000", done, 1150)
    assert switch.code(back) == "00"
    assert of.accounts.taken_minor == 0
    assert books_agree(of)


# -- memory: repeats and reversals --------------------------------------------------------


def test_the_same_key_gets_the_same_answer_and_no_second_effect() -> None:
    of = bank()
    switch = ScriptedSwitch(of)
    sale = switch.purchase()
    first = switch.ask(sale)
    assert switch.ask(sale) == first
    refund = switch.refund(sale, 300)
    first = switch.ask(refund)
    assert [switch.ask(repeated(refund)) for _ in range(3)] == [first] * 3
    assert first[0] == "0230"
    reversal = switch.reversal(sale)
    assert switch.code(reversal) == "12"
    assert switch.code(repeated(reversal)) == "12"
    assert of.accounts.taken_minor == 700
    assert switch.code(sale | {4: "000000002000"}) == "94"


def test_a_reversal_takes_back_once() -> None:
    of = bank()
    switch = ScriptedSwitch(of)
    sale = switch.purchase()
    switch.ask(sale)
    reversal = switch.reversal(sale)
    answer = switch.ask(reversal)
    assert (answer[0], answer[39]) == ("0430", "00")
    assert switch.code(repeated(reversal)) == "00"
    assert switch.code(switch.reversal(sale)) == "00"  # another one for what is reversed
    assert of.accounts.taken_minor == 0
    assert [entry.state for entry in of.accounts.entries] == ["reversed"]


def test_a_reversal_of_another_amount_is_refused() -> None:
    switch = ScriptedSwitch(bank())
    sale = switch.purchase()
    switch.ask(sale)
    assert switch.code(switch.reversal(sale) | {4: "000000000001"}) == "12"


def test_a_reversal_before_its_original_bars_it() -> None:
    of = bank()
    switch = ScriptedSwitch(of)
    sale = switch.purchase()
    assert switch.code(switch.reversal(sale)) == "25"
    assert switch.code(sale) == "12"
    assert of.accounts.taken_minor == 0


def test_a_reversal_of_a_decline_has_no_effect() -> None:
    switch = ScriptedSwitch(bank())
    sale = switch.purchase(POOR, 1000)
    assert switch.code(sale) == "51"
    assert switch.code(switch.reversal(sale)) == "00"


# -- faults ---------------------------------------------------------------------------------


def test_each_fault_does_what_its_name_says() -> None:
    done: dict[str, tuple[list[str], int]] = {}
    names = "late silent lost twice drop forget elsewhere overtaken crossed withheld"
    for name in names.split():
        of = bank(faults={name: 1.0, "late_s": 35.0})
        switch = ScriptedSwitch(of)
        effects = switch.effects(switch.purchase())
        shown = [
            f"{type(e).__name__} {e.delay_s:g}"
            + (" elsewhere" if getattr(e, "elsewhere", 0) else "")
            for e in effects
        ]
        done[name] = (shown, of.accounts.taken_minor)
        assert books_agree(of)
        assert of.faults[name] == 1
    assert done == {
        "late": (["Send 35"], 1000),
        "silent": ([], 1000),
        "lost": ([], 0),
        "twice": (["Send 0", "Send 0"], 1000),
        "drop": (["Close 0"], 1000),
        "forget": (["Send 0"], 0),
        "elsewhere": (["Send 0 elsewhere"], 1000),
        "overtaken": (["Later 35"], 0),
        "crossed": (["Later 35"], 0),
        "withheld": (["Later 35"], 0),
    }


def test_a_wrong_mac_is_wrong() -> None:
    switch = ScriptedSwitch(bank(faults={"wrong_mac": 1.0}))
    (effect,) = switch.effects(switch.purchase())
    assert isinstance(effect, Send)
    with pytest.raises(AssertionError, match="MAC wrong"):
        switch.read(effect)


def test_an_overtaken_request_is_barred_by_its_reversal() -> None:
    of = bank(faults={"overtaken": 1.0, "on_reversals": False})
    switch = ScriptedSwitch(of)
    sale = switch.purchase()
    later = switch.taken_in(sale)
    assert switch.code(switch.reversal(sale)) == "25"
    assert switch.decided(later) == "12"


def test_a_crossed_request_is_approved_after_its_reversal() -> None:
    of = bank(faults={"crossed": 1.0})
    switch = ScriptedSwitch(of)
    sale = switch.purchase()
    later = switch.taken_in(sale)
    assert switch.code(switch.reversal(sale)) == "25"
    assert switch.decided(later) == "00"
    assert of.accounts.taken_minor == 1000
    assert switch.code(switch.reversal(sale)) == "00"  # under numbers of its own
    assert of.accounts.taken_minor == 0


def test_a_withheld_25_leaves_after_the_approval() -> None:
    of = bank(faults={"withheld": 1.0, "late_s": 35.0})
    switch = ScriptedSwitch(of)
    sale = switch.purchase()
    later = switch.taken_in(sale)
    reversal = switch.reversal(sale)
    (send,) = switch.effects(reversal)
    assert isinstance(send, Send)
    assert (send.delay_s, switch.read(send)[39]) == (35.0, "25")
    assert switch.decided(later) == "00"
    assert switch.code(reversal) == "25"  # a repeat: what it was answered, and at once
    assert of.accounts.taken_minor == 1000


def test_a_forgotten_approval_is_gone() -> None:
    of = bank(faults={"forget": 0.5, "on_reversals": False}, seed=3)
    switch = ScriptedSwitch(of)
    sales = [switch.purchase() for _ in range(20)]
    assert {switch.code(sale) for sale in sales} == {"00"}
    assert 0 < len(of.forgotten) < 20
    assert of.accounts.taken_minor == 1000 * (20 - len(of.forgotten))
    for sale in sales:
        assert switch.code(switch.reversal(sale)) in ("00", "25")
    assert of.forgotten == []


def test_fault_rates_are_bounded() -> None:
    with pytest.raises(ValueError, match="together"):
        BankFaults(late=0.6, silent=0.6)


def test_the_same_seed_draws_the_same_faults() -> None:
    def run(seed: int) -> list[list[tuple[str, float]]]:
        of = bank(seed, faults={"late": 0.2, "twice": 0.2, "silent": 0.2}, latency_s=0.01)
        switch = ScriptedSwitch(of)
        return [
            [(type(e).__name__, e.delay_s) for e in switch.effects(switch.purchase())]
            for _ in range(50)
        ]

    assert run(5) == run(5)
    assert run(5) != run(6)


# -- conservation -------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["purchase", "void", "refund", "reverse", "repeat", "hold", "complete"]
            ),
            st.integers(0, 9),
            st.integers(1, 5_000),
        ),
        max_size=40,
    )
)
def test_entries_and_cards_always_agree(steps: list[tuple[str, int, int]]) -> None:
    of = bank()
    switch = ScriptedSwitch(of)
    sent: list[Message] = [switch.purchase()]
    switch.ask(sent[0])
    for what, index, amount in steps:
        target = sent[index % len(sent)]
        if what == "purchase":
            message = switch.purchase(CARD, amount)
        elif what == "void":
            message = switch.void(target)
        elif what == "refund":
            message = switch.refund(target, amount)
        elif what == "reverse":
            message = switch.reversal(target)
        elif what == "hold":
            message = switch.request("0100", "000000", CARD, amount) | {25: "06"}
        elif what == "complete":
            message = switch.follow_up("0200", "000000", target, amount) | {25: "06"}
        else:
            message = target
        switch.ask(message)
        if not str(message[0]).startswith("04"):
            sent.append(message)
        assert books_agree(of)
        assert of.accounts.taken_minor >= 0


# -- the shell ------------------------------------------------------------------------------------


class Pipe(asyncio.Transport):
    """The bank's end of a connection; what it writes is kept with its time."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.written: list[tuple[float, bytes]] = []
        self.closed = False
        protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append((asyncio.get_running_loop().time(), bytes(data)))

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.protocol.connection_lost(None)


def test_the_shell_keeps_delays_and_connections() -> None:
    of = bank(faults={"late": 1.0, "late_s": 35.0})
    server = BankServer(of)
    switch = ScriptedSwitch(of, sign_on=False)

    async def world() -> list[tuple[float, bytes]]:
        pipe = Pipe(server.protocol())
        pipe.protocol.data_received(switch.framed(switch.management("001")))
        pipe.protocol.data_received(switch.framed(switch.purchase()))
        await asyncio.sleep(60)
        server.close()
        assert pipe.closed
        assert server.connections == []
        return pipe.written

    written, _ = run_virtual(world())
    assert [at for at, _ in written] == pytest.approx([0.0, 35.0], abs=1e-6)


def test_the_shell_answers_elsewhere_and_drops() -> None:
    async def world(fault: str) -> tuple[int, int, bool]:
        server = BankServer(bank(faults={fault: 1.0}))
        switch = ScriptedSwitch(server.bank, sign_on=False)
        first, second = Pipe(server.protocol()), Pipe(server.protocol())
        for pipe in (first, second):
            pipe.protocol.data_received(switch.framed(switch.management("001")))
        first.protocol.data_received(switch.framed(switch.purchase()))
        return len(first.written), len(second.written), first.closed

    assert run_virtual(world("elsewhere"))[0] == (1, 2, False)
    assert run_virtual(world("drop"))[0] == (1, 1, True)


def test_the_shell_announces_a_cut_over() -> None:
    async def world() -> list[Message]:
        server = BankServer(bank())
        switch = ScriptedSwitch(server.bank, sign_on=False)
        pipe = Pipe(server.protocol())
        server.cut_over(DATE.replace(day=10))  # nobody is signed on: nobody hears it
        pipe.protocol.data_received(switch.framed(switch.management("001")))
        server.cut_over(DATE.replace(day=11))
        pipe.protocol.data_received(switch.framed(switch.purchase()))
        data = b"".join(data for _, data in pipe.written)
        return [switch.codec.decode(frame.body) for frame in Framer(LINK).receive_bytes(data)]

    _, begun, ended, sale = run_virtual(world())[0]
    assert [(m[0], m[70], m[15]) for m in (begun, ended)] == [
        ("0800", "201", "0611"),
        ("0800", "202", "0611"),
    ]
    assert sale[15] == "0611"


def test_report_and_view_show_no_pan() -> None:
    of = bank()
    switch = ScriptedSwitch(of)
    switch.ask(switch.purchase())
    report = of.report()
    assert report.counts == {"0200 purchase 00": 1, "0800 001 00": 1}
    assert report.standing_minor == report.taken_minor == 1000
    shown = repr((of.view(), report, of, of.accounts.entries, of.options))
    assert CARD.pan not in shown
    assert of.view()[0].settlement_date == DATE
