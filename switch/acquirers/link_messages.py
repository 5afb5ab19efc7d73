"""Our rows as messages of the bank link, and its answers as values (`reference/link.md`). Pure.

What may stand in which message is the table `ELEMENTS` of the link's page; an element that the
link's dialect does not have is left out. Elements stand in the order in which they are put in here; the
codec writes them in theirs.
"""

from __future__ import annotations

import datetime as dt
from functools import cache, lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from iso8583 import mti as mtis
from iso8583.codes import RESPONSE_CODES
from iso8583.dialects import registry
from switch.acquirers.ports import (
    APPROVED,
    DECLINED,
    PARTIAL,
    REMARK,
    UNMAPPED,
    Answer,
    AnswerKind,
)
from switch.answers import ANSWER_MTI
from switch.bounded import Remembered
from switch.transactions import BY_CODE

if TYPE_CHECKING:
    from collections.abc import Callable

    from iso8583.message import Message
    from switch.journal import AttemptRow, Original, RequestRow
    from switch.reference import Link
    from switch.store_ports import QueueItem
    from terminals.registry import Merchant

PIN_CONTROL: Final = "2600000000000000"  # DE 53: a PIN block of format 0, double-length key

# First two digits of DE 3, terminal → link; what is not here keeps its own. Pre-authorisation is
# told apart by 0100 and DE 25 on the link (`reference/link.md`, "DE 3 on the link").
PROCESSING_CODES: Final = {("0100", "03"): "00", ("0620", "03"): "00"}

# How answers find their request: the first row whose elements the dialect all has.
MATCHING: Final = ((7, 11, 32, 33), (11, 41))

# Must come back as they went (rules §5); DE 4 may be smaller with a partial approval.
AGREE: Final = (3, 11, 41, 49)
_agreeing: Final = itemgetter(*AGREE)

# What of an answer is told to the terminal (rules §11) and has no field of `Answer`.
PASSED_ON: Final = (44, 54, 55)

# Of a terminal's message, in any dialect: track and chip.
TAKEN_OVER: Final = (35, 55)

# A dialect without DE 7 is a terminals' one: it has the original in DE 61, not in DE 90.
TERMINAL_DIALECT_KEEPS: Final = (26, 60, 61, 62, 63)

# Every element that a message of ours may have.
WRITTEN: Final = (
    0, 2, 3, 4, 7, 11, 12, 13, 14, 18, 22, 23, 25, 26, 32, 33, 35, 37, 38, 39, 41, 42, 43, 49, 52, 53,
    55, 59, 60, 61, 62, 63, 90, 95,
)  # fmt: skip

ONE_DAY: Final = dt.timedelta(days=1)

# DE 95 of a full reversal: nothing of the amount stands (ISO 8583:1987: the new actual amount).
REPLACED_BY_NOTHING: Final = "0" * 42


@cache  # bounded by the registry's names
def elements_of(dialect: str) -> frozenset[int]:
    """The elements a dialect can carry; 0 (the MTI) is one of them."""
    return frozenset({0, *(row.de for row in registry.get(dialect).elements)})


def _left_out(dialect: str) -> tuple[int, ...]:
    """What a message of ours may have and the dialect can not carry."""
    return tuple(de for de in WRITTEN if de not in elements_of(dialect))


def _taken_over(dialect: str) -> tuple[int, ...]:
    """What of the terminal's message stands in ours as it came."""
    return TAKEN_OVER if 7 in elements_of(dialect) else TAKEN_OVER + TERMINAL_DIALECT_KEEPS


DIALECTS_MAX: Final = 64
_LEFT_OUT = Remembered(_left_out, DIALECTS_MAX)
_TAKEN_OVER = Remembered(_taken_over, DIALECTS_MAX)


@cache
def matching_of(dialect: str) -> tuple[int, ...]:
    """The elements by which answers are matched in a dialect."""
    return next(row for row in MATCHING if elements_of(dialect).issuperset(row))


def key_by(matching: tuple[int, ...]) -> Callable[[Message], tuple[str | bytes, ...]]:
    """What messages are matched by, in a dialect that has these elements."""
    if matching == MATCHING[0]:
        return lambda message: (
            message.get(7, ""), message.get(11, ""), message.get(32, ""), message.get(33, ""),
        )  # fmt: skip
    assert matching == MATCHING[1]
    return lambda message: (message.get(11, ""), message.get(41, ""))


def mac_element(message: Message) -> int:
    """Where a message of ours has its MAC: DE 64, or DE 128 where an element above 64 is present."""
    return 128 if 90 in message or 95 in message else 64


# -- requests -----------------------------------------------------------------------------------


def build_request(
    request: RequestRow,
    attempt: AttemptRow,
    terminal_message: Message,
    pan: str,
    expiry: str,
    merchant: Merchant,
    link: Link,
    pin_block: bytes | None,
    original: Original | None,
) -> Message:
    """0100, 0200 or 0220 of a terminal's request. `pin_block` is under the link's ZPK.

    Tracks and the PIN block are in this message alone: it is sent once and never kept (P6).
    """
    mti = mtis.without_repeat(request.mti)
    message = _of_request(mti, request, attempt.de32, attempt.de33, pan, expiry, merchant)
    message[7] = attempt.transmission_time
    message[11] = attempt.link_stan
    private = terminal_message.get(62)  # instalment, points, reservation: the host's own business
    if isinstance(private, bytes) and private.isascii():
        message[62] = private.decode()
    for de in _TAKEN_OVER[link.dialect]:
        if de in terminal_message:
            message[de] = terminal_message[de]
    if mti == "0220":
        for de in (38, 39):
            if de in terminal_message:
                message[de] = terminal_message[de]
    if pin_block is not None:
        message[52] = pin_block
        message[53] = PIN_CONTROL
    if original is not None:
        message[90] = original_data(original)
    return _carried(message, link)


def build_repeat(
    item: QueueItem,
    pan: str,
    expiry: str,
    merchant: Merchant,
    link: Link,
    related: Original | None,
    *,
    repeat: bool = True,
) -> Message:
    """0221 of a refund or advice: the same DE 7, 11 and 37 as at first (rules §4).

    Without `repeat` the 0220 of an advice, which is answered before it is sent.

    `related` is the transaction that the refund or advice names, for DE 90.
    """
    request = item.original.request
    attempt = attempt_of(item.original, item.row.acquirer)
    mti = mtis.without_repeat(request.mti)
    message = _of_request(
        mtis.as_repeat(mti) if repeat else mti,
        request,
        link.de32 if attempt is None else attempt.de32,
        link.de33 if attempt is None else attempt.de33,
        pan,
        expiry,
        merchant,
    )
    message[7] = item.row.transmission_time
    message[11] = item.row.link_stan
    outcome = item.original.outcome
    if outcome is not None and outcome.auth_code:  # of an advice: what its slip says
        message[38] = outcome.auth_code
    if request.chip:
        message[55] = request.chip
    if related is not None:
        message[90] = original_data(related)
    return _carried(message, link)


def build_reversal(
    item: QueueItem, pan: str, expiry: str, merchant: Merchant, link: Link, *, repeat: bool
) -> Message:
    """0420, or 0421 once it was sent before: its own DE 7 and 11, all else the original's."""
    original = item.original
    attempt = attempt_of(original, item.row.acquirer)
    assert attempt is not None, "only what was tried at an acquirer is reversed there"
    message = _of_request(
        "0421" if repeat else "0420",
        original.request,
        attempt.de32,
        attempt.de33,
        pan,
        expiry,
        merchant,
    )
    message[7] = item.row.transmission_time
    message[11] = item.row.link_stan
    message[39] = item.reason
    outcome = original.outcome
    if outcome is not None and outcome.auth_code:
        message[38] = outcome.auth_code
    if original.request.chip:
        message[55] = original.request.chip
    message[90] = original_data(original, attempt)
    if (
        link.replacement_amounts
        and outcome is not None
        and outcome.approved_amount_minor is not None
        and outcome.approved_amount_minor < original.request.amount_minor
    ):
        message[95] = REPLACED_BY_NOTHING
    return _carried(message, link)


def original_data(original: Original, attempt: AttemptRow | None = None) -> str:
    """DE 90: MTI 4, STAN 6, DE 7 10, DE 32 11, DE 33 11; ids right-aligned, zero-filled."""
    attempt = attempt or attempt_of(original)
    assert attempt is not None, "an original at an acquirer has an attempt"
    mti = mtis.without_repeat(original.request.mti)
    ids = attempt.de32.rjust(11, "0") + attempt.de33.rjust(11, "0")
    return mti + attempt.link_stan + attempt.transmission_time + ids


def attempt_of(original: Original, acquirer: str = "") -> AttemptRow | None:
    """The attempt that a follow-up or reversal names: the one that was answered, else the newest.

    With `acquirer`, only attempts there count.
    """
    attempts = [row for row in original.attempts if not acquirer or row.acquirer == acquirer]
    answered = None if original.outcome is None else original.outcome.attempt
    return next(
        (row for row in attempts if row.attempt == answered), attempts[-1] if attempts else None
    )


def _of_request(
    mti: str,
    request: RequestRow,
    de32: str,
    de33: str,
    pan: str,
    expiry: str,
    merchant: Merchant,
) -> Message:
    """What all messages about one request have in common."""
    message: Message = {
        0: mti,
        3: _PROCESSING_CODE[request.mti, request.processing_code],
        4: str(request.amount_minor).zfill(12),
        12: request.local_time[4:],
        13: request.local_time[:4],
        18: request.mcc or merchant.mcc,
        32: de32,
        37: request.rrn,
        41: request.key.terminal.ljust(8),
        42: request.key.merchant.ljust(15),
        43: _PLACE[merchant.place or merchant.name],
        49: request.currency,
    }
    if pan and request.entry_mode.startswith(BY_CODE):
        message[59] = f"A3{len(pan):03d}{pan}"
    elif pan:
        message[2] = pan
    if expiry:
        message[14] = expiry
    if request.entry_mode:
        message[22] = request.entry_mode
    if request.card_sequence:
        message[23] = request.card_sequence
    if request.condition_code:
        message[25] = request.condition_code
    if de33:
        message[33] = de33
    return message


def processing_code(asked: tuple[str, str]) -> str:
    """DE 3 on the link of a request that the terminal called so: its MTI and DE 3.

    >>> processing_code(("0100", "031000")), processing_code(("0200", "001000"))
    ('001000', '001000')
    """
    mti, code = asked
    own = PROCESSING_CODES.get((mtis.without_repeat(mti), code[:2]))
    return code if own is None else own + code[2:]


_PROCESSING_CODE = Remembered(processing_code, 1_024)  # kinds of requests are few


def place(text: str) -> str:
    """DE 43: name and place, 40 printable ASCII characters."""
    plain = "".join(character for character in text if " " <= character <= "~")
    return plain[:40].ljust(40)


_PLACE = Remembered(place, 4_096)  # merchants


def _carried(message: Message, link: Link) -> Message:
    """Less what the dialect lacks."""
    for de in _LEFT_OUT[link.dialect]:
        if de in message:
            del message[de]
    return message


# -- answers ------------------------------------------------------------------------------------


def read_answer(request: Message, answer: Message, link: Link, today: dt.date) -> Answer | str:
    """The answer as a value, or why it does not count (rules §5): "DE 4 differs" …

    Its MAC is the caller's to check. `today` is in the link's zone.
    """
    if answer[0] != ANSWER_MTI[request[0]]:
        return "MTI is not the answer's"
    try:
        agrees = _agreeing(answer) == _agreeing(request)
    except KeyError:
        agrees = False
    if not agrees and (de := _contradicted(request, answer)):
        return f"DE {de} differs" if de in answer else f"DE {de} is missing"
    response_code = answer.get(39)
    if not isinstance(response_code, str) or len(response_code) != 2:
        return "DE 39 is missing"
    kind = kind_of(response_code, link)
    amount, asked = answer.get(4), request.get(4)
    if amount is None and asked is not None:
        return "DE 4 is missing"
    if kind is PARTIAL:
        if not 0 < int(str(amount or 0)) < int(str(asked or 0)):
            return "DE 4 is not a part of what was asked"
    elif asked is not None and amount != asked:
        return "DE 4 differs"
    told: Message = {}
    for de in PASSED_ON:
        if de in answer:
            told[de] = answer[de]
    fields: dict[int, Any] = answer
    return Answer(
        kind,
        response_code,
        None if amount is None else int(fields[4]),
        fields.get(38, "").strip(),
        _MONTH_DAY[fields.get(15, ""), today],
        fields.get(37, ""),
        told,
    )


def _contradicted(request: Message, answer: Message) -> int:
    """The first element that did not come back as it went; 0: none, as far as the request had them."""
    return next((de for de in AGREE if de in request and answer.get(de) != request[de]), 0)


def kind_of(response_code: str, link: Link) -> AnswerKind:
    """The link's table of DE 39."""
    if response_code in link.approved:
        return APPROVED
    if response_code in link.approved_with_remark:
        return REMARK
    if response_code in link.partial:
        return PARTIAL
    declined = link.declined or RESPONSE_CODES
    return DECLINED if response_code in declined else UNMAPPED


def month_day(text: str, today: dt.date) -> dt.date | None:
    """MMDD as the date nearest to `today`; None where it is none.

    >>> month_day("0101", dt.date(2026, 12, 31)), month_day("1231", dt.date(2027, 1, 1))
    (datetime.date(2027, 1, 1), datetime.date(2026, 12, 31))
    """
    if len(text) != 4 or not (text.isascii() and text.isdigit()):
        return None
    near: list[dt.date] = []
    for year in (today.year - 1, today.year, today.year + 1):
        try:
            near.append(dt.date(year, int(text[:2]), int(text[2:])))
        except ValueError:  # 29 February of another year, or no date at all
            continue
    return min(near, key=lambda date: abs((date - today).days), default=None)


# a bank says one or two dates a day
_MONTH_DAY: Remembered[tuple[str, dt.date], dt.date | None]
_MONTH_DAY = Remembered(lambda asked: month_day(*asked), 64)


def settlement_date(answered: dt.date | None, link: Link, local: dt.datetime) -> dt.date:
    """DE 15 where the host gave it, else by the link's cut-over time; `local` in the link's zone."""
    if answered is not None:
        return answered
    today = local.date()
    return today + ONE_DAY if local.time() >= _time_of_day(link.settlement_cutoff) else today


@lru_cache(64)  # of links
def _time_of_day(text: str) -> dt.time:
    return dt.time.fromisoformat(text)
