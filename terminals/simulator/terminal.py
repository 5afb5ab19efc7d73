"""A POS terminal without I/O: methods make the bytes of a request, `answer` takes those of its answer.

Theory of operation (`reference/pos-messages.md` §5 to §10). A terminal asks one thing at a time.
Each money request follows the same path:

    idle ── purchase(…) ──▶ in flight ── answer() ──▶ approved: the slip counts in the batch
      ▲                         │                    declined: the slip counts nowhere
      │                         │                    bad answer ┐ MAC, echo or missing element
      │                         └── no_answer() ────────────────┤
      │                                                         ▼
      └──── 00, 25, 12, or tries used up ◀── reversal() ◀── reversal due

The reversal slot is filled before the request's bytes are handed out and emptied by a good answer,
so a terminal that dies in between still owes its reversal. While one is due only `reversal`, `repeat`
and management messages are possible: anything else raises `LocalProtocolError`, for it is the
driver's mistake. What the peer does wrong is an `Outcome`.

Refunds and completion advices are not reversed; unanswered (or answered 98) their slip is `unknown`
and the same bytes are to be sent again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from hsm import mac, pin_block, tracks
from hsm.check_values import aes_ecb_check_value, tdes_check_value
from hsm.ciphers import tdes_ecb_decrypt, tdes_ecb_encrypt
from hsm.mac_profiles import MacAlgorithm
from iso8583.codec import codec_for
from iso8583.errors import DecodeError
from iso8583.framing import POS, Frame, build
from iso8583.message import Message, mask_pan, response_mti
from terminals.simulator.downloads import Downloads

if TYPE_CHECKING:
    from terminals.simulator.card import Card

APPROVED: Final = frozenset({"00", "11", "A2", "A4", "A5", "A6"})
PARTIAL: Final = "10"
MALFUNCTION: Final = "96"
SIGN_ON_AGAIN: Final = frozenset({"77", "99", "A0"})
REVERSED: Final = frozenset({"00", "25"})
ITEMS_PER_UPLOAD: Final = 8
TRACE_MAX: Final = 999_999
CURRENCY: Final = "156"

Side = Literal["debit", "credit", ""]


class LocalProtocolError(RuntimeError):
    """The driver asked the terminal for something that its state does not allow."""


class Type(msgspec.Struct, frozen=True):
    """One row of the table of `reference/pos-messages.md` §5."""

    name: str
    mti: str
    processing_code: str
    condition: str  # DE 25
    code: str  # DE 60.1
    side: Side  # where the batch totals count it
    on_unknown: Literal["reverse", "repeat", "forget"]  # rules §2
    original: int  # digits of DE 61: batch 6, trace 6, date 4


TYPES: Final[dict[str, Type]] = {
    row.name: row
    for row in (
        Type("balance", "0200", "310000", "00", "01", "", "forget", 0),
        Type("purchase", "0200", "000000", "00", "22", "debit", "reverse", 0),
        Type("void", "0200", "200000", "00", "23", "credit", "reverse", 12),
        Type("refund", "0220", "200000", "00", "25", "credit", "repeat", 16),
        Type("pre_authorisation", "0100", "030000", "06", "10", "", "reverse", 0),
        Type("pre_authorisation_void", "0100", "200000", "06", "11", "", "reverse", 16),
        Type("completion", "0200", "000000", "06", "20", "debit", "reverse", 16),
        Type("completion_void", "0200", "200000", "06", "21", "credit", "reverse", 16),
        Type("completion_advice", "0220", "000000", "06", "24", "debit", "repeat", 16),
        Type("offline_sale", "0220", "000000", "00", "30", "debit", "repeat", 0),
        Type("adjustment", "0220", "000000", "00", "32", "debit", "repeat", 16),
        Type("tip", "0220", "000000", "00", "34", "debit", "repeat", 16),
        Type("additional_pre_authorisation", "0100", "030000", "60", "10", "", "reverse", 0),
        Type("qr_payment", "0200", "000000", "00", "22", "debit", "reverse", 0),
        Type("moto_sale", "0200", "000000", "08", "22", "debit", "reverse", 0),
        Type("moto_void", "0200", "200000", "08", "23", "credit", "reverse", 12),
        Type("moto_refund", "0220", "200000", "08", "25", "credit", "repeat", 16),
        Type("instalment", "0200", "000000", "64", "22", "debit", "reverse", 0),
        Type("instalment_void", "0200", "200000", "64", "23", "credit", "reverse", 12),
        Type("points_sale", "0200", "000000", "65", "22", "debit", "reverse", 0),
        Type("points_void", "0200", "200000", "65", "23", "credit", "reverse", 12),
        Type("points_query", "0200", "310000", "65", "03", "", "forget", 0),
        Type("reservation", "0200", "000000", "67", "54", "debit", "reverse", 0),
        Type("reservation_void", "0200", "200000", "67", "53", "credit", "reverse", 12),
        Type("script_result", "0620", "000000", "00", "00", "", "repeat", 16),
        Type("e_cash_sale", "0220", "000000", "00", "36", "debit", "repeat", 0),
    )
}


SALES: Final = (
    "purchase", "qr_payment", "completion", "completion_advice", "offline_sale", "e_cash_sale",
)  # fmt: skip
VOIDED_ONLY: Final = ("instalment", "points_sale", "reservation")
KEYED: Final = frozenset({"moto_sale", "reservation"})  # the card is not there
# DE 62 by type (§4): periods 2, item 30, pay mode, blanks · item code · order and reservation codes
PRIVATE: Final = {
    "instalment": (b"12" + b"ITEM".ljust(30) + b"10").ljust(62),
    "points_sale": b"ITEM".ljust(62),
    "moto_sale": b"91" + b"ORDER".ljust(20),
    "reservation": b"90" + b"BOOKING".ljust(20),
}
ADJUSTMENTS: Final = frozenset({"adjustment", "tip"})


class TerminalOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who a terminal is and how its make speaks. `tmk` is hex, double length."""

    merchant: str
    terminal: str
    tmk: str
    dialect: str = "unionpay_pos"
    mac_profile: str = "unionpay-ecb"
    mak_bytes: Literal[8, 16] = 16
    key_layout: Literal["001", "003", "004"] = "003"
    header: str = "603100310000"
    nii: str = "0003"  # TPDU destination
    serial: str = "3150SXX-4C304119"
    operator: str = "01 "
    first_trace: int = 1
    reversal_tries: int = 3
    track_only: bool = False  # DE 35 without DE 2
    encrypt_track: bool = False  # under the TDK of layout 004
    partial_approval: bool = False  # DE 60.6
    end_when_balanced: bool = False  # the 0320 end also after a balanced 0500
    parameters_end: bool = True  # 361 follows a parameter download
    blacklist_digits: int = 14

    def __repr__(self) -> str:
        return f"TerminalOptions({self.merchant}/{self.terminal})"

    def __post_init__(self) -> None:
        if len(self.terminal) != 8 or len(self.merchant) != 15:
            raise ValueError("a terminal id has 8 characters, a merchant id 15")
        if len(bytes.fromhex(self.tmk)) not in (16, 24):
            raise ValueError("a TMK has 16 or 24 bytes")
        if not 1 <= self.first_trace <= TRACE_MAX:
            raise ValueError("first_trace is 1 to 999999")


SlipState = Literal[
    "in_flight", "approved", "declined", "unknown", "reversing", "reversed", "not_reversed"
]


class Slip(msgspec.Struct):
    """The terminal's record of one money request: the merchant's and the cardholder's view of it.

    `unknown` is a refund or advice without a final answer. `not_reversed` is a reversal that the
    host refused (12) or never took within the tries. `approved_minor` is what the answer approved.
    """

    kind: str
    merchant: str
    terminal: str
    batch: str
    trace: str
    amount_minor: int
    pan: str
    expiry: str
    currency: str = CURRENCY
    approved_minor: int = 0
    by_code: bool = False  # `pan` is the code that was scanned
    before_minor: int = 0  # of an adjustment: what its sale had come to
    state: SlipState = "in_flight"
    response_code: str = ""
    rrn: str = ""
    auth_code: str = ""
    date: str = ""  # DE 13 of the answer
    settlement_date: str = ""  # DE 15 of the answer
    original: tuple[str, str] | None = None  # batch, trace
    reversal_reason: str = ""
    reversal_answer: str = ""

    def __repr__(self) -> str:
        return f"Slip({self.kind} {self.batch}/{self.trace} {mask_pan(self.pan)} {self.amount_minor} {self.state})"

    @property
    def effect_minor(self) -> int:
        """What it moved from the card to the merchant."""
        side = TYPES[self.kind].side
        if self.state != "approved" or not side:
            return 0
        if side == "credit":
            return -self.approved_minor
        return self.approved_minor - self.before_minor


class Request(msgspec.Struct, frozen=True):
    """Bytes to send, and what they ask."""

    kind: str
    trace: str
    frame: bytes


State = Literal["approved", "declined", "bad_answer", "no_answer"]


class Outcome(msgspec.Struct, frozen=True):
    """What came of a request, in the terminal's eyes.

    `reason` says which check a bad answer failed. `sign_on` is set when the answer asks for a new
    sign-on, by its code or by the processing digit of the header.
    """

    kind: str
    trace: str
    state: State
    response_code: str = ""
    reason: str = ""
    rrn: str = ""
    sign_on: bool = False
    balanced: bool | None = None  # of a 0510
    message: Message = {}

    def __repr__(self) -> str:
        return f"Outcome({self.kind} {self.trace} {self.state} {self.response_code} {self.reason})"


class Totals(msgspec.Struct, frozen=True):
    """One half of DE 48 (§5.2)."""

    debit_minor: int = 0
    debit_count: int = 0
    credit_minor: int = 0
    credit_count: int = 0

    def digits(self) -> str:
        """12 + 3 + 12 + 3 digits, without the result."""
        assert max(self.debit_count, self.credit_count) <= 999
        return (
            f"{self.debit_minor:012}{self.debit_count:03}"
            f"{self.credit_minor:012}{self.credit_count:03}"
        )


class _InFlight(msgspec.Struct):
    request: Request
    message: Message
    type: Type | None
    slip: Slip | None
    seen: bool = False  # its answer was taken before: this is a repeat of a finished request


class _Reversal(msgspec.Struct):
    message: Message
    slip: Slip
    reason: str
    tries: int = 0


class Terminal:
    """One POS. `tpdu_source` is its address behind the line, four hex digits, its own on a shared one."""

    def __init__(self, options: TerminalOptions, tpdu_source: str = "0000") -> None:
        self.options = options
        self.batch = "000001"
        self.slips: list[Slip] = []
        self.signed_on = False
        self.balance_minor: int | None = None  # of the last balance answer
        self.local_date = ""
        self.local_time = ""
        self.downloads = Downloads(options.blacklist_digits, parameters_end=options.parameters_end)
        self._codec = codec_for(options.dialect)
        self._mac_profile = mac.profile_named(options.mac_profile)
        self._tmk = bytes.fromhex(options.tmk)
        self._tpdu = bytes.fromhex("60" + options.nii + tpdu_source)
        self._header = bytes.fromhex(options.header)
        self._trace = options.first_trace - 1
        self._pik = b""
        self._mak = b""
        self._tdk = b""
        self._reversal: _Reversal | None = None
        self._in_flight: _InFlight | None = None
        self._last: _InFlight | None = None
        self._upload: list[Message] = []
        self._frame: Frame | None = None  # the last one decoded, to `_message`
        self._message: Message = {}

    def __repr__(self) -> str:
        return f"Terminal({self.options.merchant}/{self.options.terminal} batch {self.batch})"

    # -- what the driver asks before it decides ------------------------------

    @property
    def tpdu_address(self) -> bytes:
        """The two bytes by which a shared line knows this terminal."""
        return self._tpdu[3:5]

    @property
    def reversal_due(self) -> bool:
        """Whether the slot is filled and nothing is in flight: the reversal goes next."""
        return self._reversal is not None and self._in_flight is None

    @property
    def upload_due(self) -> bool:
        """Whether a batch waits to be uploaded."""
        return bool(self._upload)

    @property
    def totals(self) -> Totals:
        """Of the open batch. Reversed slips count nowhere (rules §9)."""
        debit = credit = debit_count = credit_count = 0
        for slip in self._counted():
            if TYPES[slip.kind].side == "debit":
                debit += slip.effect_minor
                debit_count += 1
            else:
                credit += slip.approved_minor
                credit_count += 1
        return Totals(debit, debit_count, credit, credit_count)

    def _counted(self) -> list[Slip]:
        return [
            slip
            for slip in self.slips
            if slip.batch == self.batch and slip.state == "approved" and TYPES[slip.kind].side
        ]

    def voidable(self) -> list[Slip]:
        """Standing sales of the open batch that no void or refund has touched."""
        slips = self._untouched("purchase", "qr_payment", "moto_sale", *VOIDED_ONLY)
        return [slip for slip in slips if slip.batch == self.batch]

    def refundable(self) -> list[Slip]:
        """Standing sales of any batch that no void or refund has touched."""
        return self._untouched(*SALES, "moto_sale")

    def holding(self) -> list[Slip]:
        """Standing pre-authorisations of any batch that are neither completed nor voided."""
        return self._untouched("pre_authorisation", "additional_pre_authorisation")

    def completed(self) -> list[Slip]:
        """Standing completions of the open batch that no void or refund has touched."""
        slips = self._untouched("completion", "completion_advice")
        return [slip for slip in slips if slip.batch == self.batch]

    def adjustable(self) -> list[Slip]:
        """Standing sales of the open batch that nothing but adjustments has touched."""
        slips = self._untouched(*SALES, beside=ADJUSTMENTS)
        return [slip for slip in slips if slip.batch == self.batch]

    def standing_minor(self, sale: Slip) -> int:
        """What a sale comes to, adjusted."""
        return sale.approved_minor + sum(
            slip.effect_minor
            for slip in self.slips
            if slip.kind in ADJUSTMENTS and slip.original == (sale.batch, sale.trace)
        )

    def _untouched(self, *kinds: str, beside: frozenset[str] = frozenset()) -> list[Slip]:
        touched = {
            slip.original
            for slip in self.slips
            if slip.original
            and slip.state != "declined"
            and (slip.kind not in beside or slip.state != "approved")
        }
        return [
            slip
            for slip in self.slips
            if slip.kind in kinds
            and slip.state == "approved"
            and (slip.batch, slip.trace) not in touched
        ]

    # -- management ----------------------------------------------------------

    def sign_on(self) -> Request:
        """0800: asks for working keys in the layout of DE 60.3, and for the batch number."""
        serial = self.options.serial
        message = self._head("0800", self.options.key_layout)
        message[62] = f"Sequence No{len(serial):02}{serial}".encode("ascii")
        message[63] = self.options.operator
        return self._send("sign_on", message)

    def sign_off(self) -> Request:
        """0820, DE 60.3 002."""
        return self._send("sign_off", self._head("0820", "002"))

    def echo(self) -> Request:
        """0820, DE 60.3 301."""
        return self._send("echo", self._head("0820", "301"))

    def download(self) -> Request:
        """The next message of a download that `downloads.due` announces."""
        if not self.downloads.due:
            raise LocalProtocolError("nothing is to be downloaded")
        step = self.downloads.step(self._status())
        message = self._head(step.mti, step.code)
        if step.de62:
            message[62] = step.de62
        return self._send("download_end" if step.ends else "download", message)

    def _status(self) -> bytes:
        """Devices, parameters and dials (§5.4): this one has never dialled."""
        retries = self.options.reversal_tries % 10
        return f"0110210310410511160126013323{retries}251272051000000000000".encode()

    def settle(self) -> Request:
        """0500 with the batch's totals in DE 48; the foreign half is always zero here."""
        self._require(trading=True)
        message = self._head("0500", "201")
        message[48] = self.totals.digits() + "0" + Totals().digits() + "0"
        message[49] = CURRENCY
        message[63] = self.options.operator
        return self._send("settle", message)

    def upload(self) -> Request:
        """The next 0320 of an upload that `upload_due` announces."""
        if not self._upload:
            raise LocalProtocolError("nothing to upload")
        message = dict(self._upload[0])
        message.setdefault(11, self._next_trace())
        end = str(message[60])[8:11] in ("202", "207")
        return self._send("upload_end" if end else "upload", message)

    # -- money ---------------------------------------------------------------

    def purchase(self, card: Card, amount_minor: int, *, pin: str | None = None) -> Request:
        """消费. `pin` None: without PIN."""
        return self._money("purchase", card, amount_minor, pin=pin)

    def balance(self, card: Card, *, pin: str | None = None) -> Request:
        """余额查询; the answer's amount is in `balance_minor`."""
        return self._money("balance", card, None, pin=pin)

    def void(self, original: Slip) -> Request:
        """消费撤销 of the whole slip, and its like for other kinds of sale."""
        kind = {"purchase": "void", "qr_payment": "void", "moto_sale": "moto_void"}.get(
            original.kind, f"{original.kind.removesuffix('_sale')}_void"
        )
        return self._follow_up(kind, original, original.approved_minor)

    def refund(self, original: Slip, amount_minor: int | None = None) -> Request:
        """退货, of a part when `amount_minor` is given."""
        kind = "moto_refund" if original.kind == "moto_sale" else "refund"
        return self._follow_up(kind, original, amount_minor or original.approved_minor)

    def sell(self, kind: str, card: Card, amount_minor: int, *, pin: str | None = None) -> Request:
        """A sale of another kind: moto_sale 订购, instalment 分期, points_sale 积分, reservation 预约."""
        return self._money(kind, card, amount_minor, pin=None if kind in KEYED else pin)

    def pay_by_code(self, card: Card, amount_minor: int) -> Request:
        """扫码付: the code that the card's holder shows stands for the card (DE 59)."""
        self._require(trading=True)
        row = TYPES["qr_payment"]
        slip = self._slip(row, amount_minor, card.payment_code, "")
        slip.by_code = True
        return self._send(row.name, self._body(row, slip, amount_minor), row, slip)

    def points(self, card: Card, *, pin: str | None = None) -> Request:
        """积分查询."""
        return self._money("points_query", card, None, pin=pin)

    def pre_authorise(
        self, card: Card, amount_minor: int, *, pin: str | None = None, additional: bool = False
    ) -> Request:
        """预授权, or 追加预授权."""
        kind = "additional_pre_authorisation" if additional else "pre_authorisation"
        return self._money(kind, card, amount_minor, pin=pin)

    def pre_authorisation_void(self, original: Slip) -> Request:
        """预授权撤销."""
        return self._follow_up("pre_authorisation_void", original, original.approved_minor)

    def complete(self, original: Slip, amount_minor: int, *, advice: bool = False) -> Request:
        """预授权完成, as a request or as an advice."""
        kind = "completion_advice" if advice else "completion"
        return self._follow_up(kind, original, amount_minor)

    def completion_void(self, original: Slip) -> Request:
        """预授权完成撤销."""
        return self._follow_up("completion_void", original, original.approved_minor)

    def offline_sale(self, card: Card, amount_minor: int, auth_code: str = "") -> Request:
        """离线结算: a sale that was authorised by voice (`auth_code`), or below the floor."""
        return self._money("offline_sale", card, amount_minor, pin=None, auth_code=auth_code)

    def e_cash_sale(self, card: Card, amount_minor: int) -> Request:
        """电子现金脱机消费, uploaded."""
        return self._money("e_cash_sale", card, amount_minor, pin=None)

    def adjust(self, sale: Slip, total_minor: int) -> Request:
        """结算调整: a sale of the batch comes to another total."""
        return self._follow_up("adjustment", sale, total_minor, self.standing_minor(sale))

    def tip(self, sale: Slip, tip_minor: int) -> Request:
        """追加小费: DE 48 has the tip, DE 4 the new total."""
        before_minor = self.standing_minor(sale)
        return self._follow_up("tip", sale, before_minor + tip_minor, before_minor)

    def script_result(self, original: Slip, chip: bytes) -> Request:
        """脚本结果通知 of a purchase: what the chip made of the issuer's script (DE 55)."""
        return self._follow_up("script_result", original, original.approved_minor, chip=chip)

    def reversal(self) -> Request:
        """The 0400 that the slot holds; sent again it carries reason 06."""
        slot = self._reversal
        if slot is None or self._in_flight is not None:
            raise LocalProtocolError("no reversal is due")
        slot.tries += 1
        slot.slip.state = "reversing"
        slot.slip.reversal_reason = slot.slip.reversal_reason or slot.reason
        message = dict(slot.message)
        message[39] = slot.reason if slot.tries == 1 else "06"
        return self._send("reversal", message, slip=slot.slip)

    def repeat(self) -> Request:
        """The last request's very bytes again, whether its answer came or not."""
        last = self._last
        if last is None:
            raise LocalProtocolError("nothing was sent yet")
        self._in_flight = last
        return last.request

    # -- what comes back -----------------------------------------------------

    def expects(self, frame: Frame) -> bool:
        """Whether `frame` answers the request in flight; else it is a late or a second answer."""
        last = self._in_flight
        if last is None or frame.tpdu[1:3] != self._tpdu[3:5]:
            return False
        try:
            message = self._decoded(frame)
        except DecodeError:
            return True
        same = message[0] == response_mti(_text(last.message, 0))
        return same and message.get(11) == last.message[11]

    def answer(self, frame: Frame) -> Outcome:
        """Take the answer to the request in flight; check it as §10 says, then act on it."""
        last = self._in_flight
        if last is None:
            raise LocalProtocolError("no answer is waited for")
        try:
            message = self._decoded(frame)
        except DecodeError as error:
            return self._bad(last, f"undecodable: {error}", "06")
        fault = self._fault(last, message, frame)
        if fault is not None:
            return self._bad(last, *fault)
        code = _text(message, 39)
        sign_on = code in SIGN_ON_AGAIN or frame.header.hex()[5:6] == "3"
        approved = code in APPROVED or (code == PARTIAL and self.options.partial_approval)
        if code == PARTIAL and not approved and last.type is not None:
            return self._bad(last, "partial approval, which was not asked for", "06")
        self._in_flight = None
        balanced: bool | None = None
        if last.request.kind == "sign_on" and approved:
            wrong = self._take_keys(message)
            if wrong:
                return self._outcome(last, "bad_answer", code, wrong)
        elif last.request.kind == "settle" and code in ("", "00"):
            approved = True
            balanced = self._take_settlement(last, message)
        elif last.request.kind in ("upload", "upload_end") and approved and not last.seen:
            del self._upload[0]
            if last.request.kind == "upload_end":
                self._close_batch()
        elif last.request.kind in ("download", "download_end") and not last.seen:
            de62 = message.get(62, b"")
            assert isinstance(de62, bytes)
            wrong = self.downloads.answered(code, de62)
            if wrong:
                return self._outcome(last, "bad_answer", code, wrong)
        elif last.request.kind == "sign_off" and approved:
            self.signed_on = False
        elif last.request.kind == "reversal":
            self._take_reversal(last, code)
        elif last.slip is not None:
            self._take_money(last, message, approved=approved)
        last.seen = True
        if _text(message, 12):
            self.local_time, self.local_date = _text(message, 12), _text(message, 13)
        self.downloads.ask(frame.header.hex()[5:6])
        if sign_on:
            self.signed_on = False
        state: State = "approved" if approved else "declined"
        if last.request.kind == "reversal":
            state = "approved" if code in REVERSED else "declined"
        return msgspec.structs.replace(
            self._outcome(last, state, code, ""),
            rrn=_text(message, 37),
            sign_on=sign_on,
            balanced=balanced,
            message=message,
        )

    def no_answer(self) -> Outcome:
        """The time is up, or the connection is gone: the outcome is unknown."""
        last = self._in_flight
        if last is None:
            raise LocalProtocolError("no answer is waited for")
        return self._lost(last, "no_answer", "", "98")

    def undo(self, slip: Slip) -> None:
        """The terminal could not finish an approved transaction (no paper): reversal, reason 96."""
        last = self._last
        if self._in_flight is not None or last is None or last.slip is not slip:
            raise LocalProtocolError("only the last transaction can be undone")
        if slip.state != "approved" or last.type is None or last.type.on_unknown != "reverse":
            raise LocalProtocolError(f"a {slip.kind} that is {slip.state} can not be undone")
        self._fill_slot(last, "96")
        slip.state = "reversing"

    # -- inside: requests ----------------------------------------------------

    def _require(self, *, trading: bool) -> None:
        if self._in_flight is not None:
            raise LocalProtocolError("a request is in flight")
        if trading and self._reversal is not None:
            raise LocalProtocolError("the reversal goes first")
        if trading and self._upload:
            raise LocalProtocolError("the batch is being uploaded")

    def _next_trace(self) -> str:
        self._trace = self._trace % TRACE_MAX + 1
        return f"{self._trace:06}"

    def _head(self, mti: str, network_code: str) -> Message:
        self._require(trading=False)
        return {
            0: mti,
            11: self._next_trace(),
            41: self.options.terminal,
            42: self.options.merchant,
            60: "00" + self.batch + network_code,
        }

    def _money(
        self,
        kind: str,
        card: Card,
        amount_minor: int | None,
        *,
        pin: str | None,
        auth_code: str = "",
    ) -> Request:
        self._require(trading=True)
        row = TYPES[kind]
        slip = self._slip(row, amount_minor or 0, card.pan, card.expiry)
        message = self._body(row, slip, amount_minor)
        if auth_code:
            message[38] = auth_code
        message[22] = "021" if pin is not None else "022"
        if kind in KEYED:
            message[22] = "012"
            return self._send(kind, message, row, slip)
        if kind == "additional_pre_authorisation":
            message[61] = "0" * 16
        track2 = card.track2
        if self.options.encrypt_track:
            assert self._tdk, "encrypt_track needs key layout 004"
            track2 = tracks.encrypt(self._tdk, track2).replace("D", "=")  # as messages have it
        message[35] = track2
        if self.options.track_only:
            del message[2], message[14]
        security = ["0"] * 16
        if pin is not None:
            clear = pin_block.encode_format0(pin, card.pan)
            message[26] = "12"
            message[52] = tdes_ecb_encrypt(self._pik, clear)
            security[0] = "2"
            security[1] = "6" if len(self._pik) == 16 else "0"
        if self.options.encrypt_track:
            security[1:3] = "61"
        if "1" in security or "2" in security:
            message[53] = "".join(security)
        return self._send(kind, message, row, slip)

    def _follow_up(
        self,
        kind: str,
        original: Slip,
        amount_minor: int,
        before_minor: int = 0,
        chip: bytes = b"",
    ) -> Request:
        self._require(trading=True)
        row = TYPES[kind]
        slip = self._slip(row, amount_minor, original.pan, original.expiry)
        slip.before_minor, slip.by_code = before_minor, original.by_code
        slip.original = (original.batch, original.trace)
        message = self._body(row, slip, amount_minor)
        message.setdefault(22, "012")
        message[37] = original.rrn
        if original.auth_code:
            message[38] = original.auth_code
        message[61] = (original.batch + original.trace + original.date)[: row.original]
        if kind == "refund":
            message[63] = "CUP"
        if chip:
            message[55] = chip
            message[60] = row.code + slip.batch + "951"
        if kind == "tip":
            message[48] = f"{amount_minor - before_minor:012}"
        return self._send(kind, message, row, slip)

    def _slip(self, row: Type, amount_minor: int, pan: str, expiry: str) -> Slip:
        return Slip(
            kind=row.name,
            merchant=self.options.merchant,
            terminal=self.options.terminal,
            batch=self.batch,
            trace=self._next_trace(),
            amount_minor=amount_minor,
            pan=pan,
            expiry=expiry,
        )

    def _body(self, row: Type, slip: Slip, amount_minor: int | None) -> Message:
        capability = "501" if self.options.partial_approval else "500"
        message: Message = {
            0: row.mti,
            2: slip.pan,
            3: row.processing_code,
            11: slip.trace,
            14: slip.expiry,
            25: row.condition,
            41: self.options.terminal,
            42: self.options.merchant,
            49: CURRENCY,
            60: row.code + slip.batch + "000" + capability,
        }
        if amount_minor is not None:
            message[4] = f"{amount_minor:012}"
        if slip.by_code:
            del message[2], message[14]
            message[22], message[59] = "032", f"A3{len(slip.pan):03}{slip.pan}"
        if row.name in PRIVATE:
            message[62] = PRIVATE[row.name]
        if row.condition == "65":
            message[60] = _text(message, 60) + "048"  # 60.7: points of the issuer
        return message

    def _send(
        self, kind: str, message: Message, row: Type | None = None, slip: Slip | None = None
    ) -> Request:
        """Sign, frame, and remember; the reversal slot is filled before the bytes leave."""
        body = self._encoded(message)
        frame = build(Frame(self._tpdu, self._header, body), POS)
        request = Request(kind, str(message[11]), frame)
        last = _InFlight(request, message, row, slip)
        if row is not None and slip is not None:
            self.slips.append(slip)
            if row.on_unknown == "reverse":
                self._fill_slot(last, "98")
        self._in_flight = self._last = last
        return request

    def _encoded(self, message: Message) -> bytes:
        """The message's bytes; money messages get DE 64, which the message then holds too."""
        signed = message[0] in ("0100", "0200", "0220", "0400", "0620")
        if not signed or self._mac_profile.algorithm is MacAlgorithm.NONE:
            return self._codec.encode(message)
        message[64] = bytes(8)
        covered = self._codec.encode(message)[:-8]
        code = mac.compute(self.options.mac_profile, self._mak, covered)
        message[64] = code
        return covered + code

    def _fill_slot(self, last: _InFlight, reason: str) -> None:
        assert last.slip is not None
        kept = (3, 4, 11, 14, 22, 23, 25, 38, 41, 42, 49, 55, 59, 60)
        message: Message = {de: last.message[de] for de in kept if de in last.message}
        message[0] = "0400"
        if not last.slip.by_code:
            message[2] = last.slip.pan
        if last.slip.auth_code:
            message[38] = last.slip.auth_code
        if last.slip.original:
            message[61] = "".join(last.slip.original) + (last.slip.date or "0000")
        self._reversal = _Reversal(message, last.slip, reason)

    # -- inside: answers -----------------------------------------------------

    def _decoded(self, frame: Frame) -> Message:
        """Decode once what `expects` and `answer` both look at."""
        if self._frame is not frame:
            self._message = self._codec.decode(frame.body)
            self._frame = frame
        return self._message

    def _fault(self, last: _InFlight, answer: Message, frame: Frame) -> tuple[str, str] | None:
        """(What is wrong with the answer, the reason its reversal gives), or None (§10)."""
        sent = last.message
        code = _text(answer, 39)
        if answer[0] != response_mti(_text(sent, 0)):
            return f"MTI {_text(answer, 0)} does not answer {_text(sent, 0)}", "06"
        if frame.tpdu[1:3] != self._tpdu[3:5]:
            return "the TPDU names another terminal", "06"
        for de in (3, 11, 41):
            if de in sent and answer.get(de) != sent[de]:
                return f"DE {de} differs", "06"
        approved = code in APPROVED or code == PARTIAL
        if approved and answer.get(42) != sent[42]:
            return "DE 42 differs", "06"
        if 4 in sent and code != PARTIAL and answer.get(4) != sent[4] and (approved or 4 in answer):
            return "DE 4 differs", "06"
        if code == PARTIAL and not 0 < int(_text(answer, 4) or "0") < int(_text(sent, 4) or "0"):
            return "DE 4 of a partial approval is not below the request", "06"
        if approved:
            for de in (12, 13, 37):
                if not _text(answer, de).strip():
                    return f"DE {de} is missing", "06"
        if 64 in sent and (approved or 64 in answer) and not self._mac_right(answer, frame):
            return "MAC wrong" if 64 in answer else "MAC missing", "A0"
        if not code and last.request.kind != "settle":
            return "DE 39 is missing", "06"
        return None

    def _mac_right(self, answer: Message, frame: Frame) -> bool:
        if 64 not in answer:
            return False
        sent = answer[64]
        assert isinstance(sent, bytes)
        return mac.verify(self.options.mac_profile, self._mak, frame.body[:-8], sent)

    def _bad(self, last: _InFlight, why: str, reason: str) -> Outcome:
        return self._lost(last, "bad_answer", why, reason)

    def _lost(self, last: _InFlight, state: State, why: str, reason: str) -> Outcome:
        """No usable answer. What it leads to depends on the type."""
        self._in_flight = None
        slip = last.slip
        if last.request.kind == "reversal":
            self._reversal_tried()
        elif slip is not None and last.type is not None and slip.state in ("in_flight", "unknown"):
            if last.type.on_unknown == "reverse" and self._reversal is not None:
                self._reversal.reason = reason
                slip.state = "reversing"
            else:
                slip.state = "unknown"
        return self._outcome(last, state, "", why)

    def _outcome(self, last: _InFlight, state: State, code: str, why: str) -> Outcome:
        return Outcome(last.request.kind, last.request.trace, state, code, why)

    def _take_keys(self, answer: Message) -> str:
        """Open DE 62 under the TMK (§5.1); what is wrong with it, or nothing."""
        batch = _text(answer, 60)[2:8]
        if len(batch) != 6:
            return "DE 60.2 is missing"
        try:
            keys = open_key_layout(
                answer.get(62, b""),
                self._tmk,
                self.options.key_layout,
                self.options.mak_bytes,
                aes=self._mac_profile.algorithm is MacAlgorithm.AES_CMAC,
            )
        except ValueError as error:
            return str(error)
        self._pik, self._mak, self._tdk = keys
        self.batch = batch
        self.signed_on = True
        return ""

    def _take_money(self, last: _InFlight, answer: Message, *, approved: bool) -> None:
        slip, row = last.slip, last.type
        assert slip is not None
        assert row is not None
        if last.seen and slip.state not in ("unknown", "reversing"):
            return  # the answer to a repeat of what is finished changes nothing
        if slip.state == "reversing" and self._reversal is not None and self._reversal.tries:
            return  # its reversal has left already
        code = _text(answer, 39)
        unsigned = 64 not in answer and self._mac_profile.algorithm is not MacAlgorithm.NONE
        if code == MALFUNCTION and unsigned and slip.state in ("unknown", "reversing"):
            return  # it could not look whether it knows the request: as unknown as before
        slip.response_code = code
        slip.rrn = _text(answer, 37)
        slip.date = _text(answer, 13)
        slip.settlement_date = _text(answer, 15)
        slip.auth_code = _text(answer, 38)
        slip.approved_minor = int(_text(answer, 4) or "0") if approved else 0
        pending = code == "98" and row.on_unknown == "repeat"
        slip.state = "approved" if approved else "unknown" if pending else "declined"
        if row.on_unknown == "reverse":
            self._reversal = None
        if row.name == "balance" and approved and 54 in answer:
            text = _text(answer, 54)
            self.balance_minor = int(text[8:20]) * (-1 if text[7] == "D" else 1)

    def _take_reversal(self, last: _InFlight, code: str) -> None:
        slip = last.slip
        assert slip is not None
        if self._reversal is None or self._reversal.slip is not slip:
            return  # a repeat of a finished reversal
        slip.reversal_answer = code
        if code in REVERSED:
            slip.state = "reversed"
            self._reversal = None
        elif code in ("12", "94"):
            slip.state = "not_reversed"
            self._reversal = None
        else:
            self._reversal_tried()

    def _reversal_tried(self) -> None:
        slot = self._reversal
        if slot is not None and slot.tries >= self.options.reversal_tries:
            slot.slip.state = "not_reversed"
            self._reversal = None

    # -- inside: the batch's end ---------------------------------------------

    def _take_settlement(self, last: _InFlight, answer: Message) -> bool | None:
        digits = _text(answer, 48)
        if last.seen or len(digits) != 62:
            return None
        balanced = digits[30] == "1" and digits[61] in "01"
        if not balanced:
            self._upload = self._upload_messages("202")
        elif self.options.end_when_balanced:
            self._upload = self._upload_messages("207")[-1:]
        else:
            self._close_batch()
        return balanced

    def _upload_messages(self, end: str) -> list[Message]:
        """Details eight at a time, refunds and advices singly, then the end (§5.3)."""
        head: Message = {
            0: "0320",
            41: self.options.terminal,
            42: self.options.merchant,
            60: "00" + self.batch + "201",
        }
        counted = self._counted()
        listed = [slip for slip in counted if TYPES[slip.kind].on_unknown == "reverse"]
        single = [slip for slip in counted if TYPES[slip.kind].on_unknown == "repeat"]
        messages: list[Message] = []
        for start in range(0, len(listed), ITEMS_PER_UPLOAD):
            items = listed[start : start + ITEMS_PER_UPLOAD]
            details = "".join(
                "00" + slip.trace + slip.pan.zfill(20) + f"{slip.approved_minor:012}"
                for slip in items
            )
            messages.append({**head, 48: f"{len(items):02}" + details})
        for slip in single:
            row = TYPES[slip.kind]
            original: Message = {61: "".join(slip.original)} if slip.original else {}
            if slip.expiry:
                original[14] = slip.expiry
            messages.append(
                {
                    **head,
                    **original,
                    2: slip.pan,
                    3: row.processing_code,
                    4: f"{slip.approved_minor:012}",
                    11: slip.trace,
                    22: "012",
                    25: row.condition,
                    37: slip.rrn,
                    49: CURRENCY,
                    60: row.code + self.batch + "201",
                }
            )
        messages.append({**head, 48: f"{len(counted):04}", 60: "00" + self.batch + end})
        return messages

    def _close_batch(self) -> None:
        """The batch is done; the next sign-on brings the next number (rules §9)."""
        self._upload = []
        self.signed_on = False


# -- leaves that only compute ---------------------------------------------------


def _text(message: Message, de: int) -> str:
    value = message.get(de, "")
    assert isinstance(value, str)
    return value


def open_key_layout(
    sealed: str | bytes, tmk: bytes, layout: str, mak_bytes: int, *, aes: bool = False
) -> tuple[bytes, bytes, bytes]:
    """PIK, MAK and TDK (or nothing) out of DE 62 of a sign-on answer; ValueError on a bad one.

    Layouts (§5.1): 001 = PIK 8, MAK 8 · 003 = PIK 16, MAK slot 16 · 004 = 003 and TDK 16, each with
    a check value of 4 bytes behind it. In a slot of 16 a single-length MAK leaves 8 zero bytes.
    """
    assert isinstance(sealed, bytes)
    sizes = {"001": (8, 8), "003": (16, 16), "004": (16, 16, 16)}[layout]
    if len(sealed) != sum(sizes) + 4 * len(sizes):
        raise ValueError(f"DE 62 has {len(sealed)} bytes, layout {layout} another number")
    keys: list[bytes] = []
    offset = 0
    for name, size in zip(("PIK", "MAK", "TDK"), sizes, strict=False):
        used = mak_bytes if name == "MAK" and size == 16 else size
        slot = sealed[offset : offset + size]
        if any(slot[used:]):
            raise ValueError(f"the unused half of the {name} slot is not zero")
        key = tdes_ecb_decrypt(tmk, slot[:used])
        check = (
            aes_ecb_check_value(key, 4)
            if aes and name == "MAK"
            else tdes_check_value(key, 4, on_wire=True)
        )
        if check != sealed[offset + size : offset + size + 4]:
            raise ValueError(f"the check value of the {name} differs")
        keys.append(key)
        offset += size + 4
    return keys[0], keys[1], keys[2] if len(keys) == 3 else b""
