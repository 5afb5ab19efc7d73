"""From a decoded message to a request: who asks, and is it in order? Pure.

The checks stand in the order of rules §11; each refusal names its response code and its rule. What
needs the store (sessions, the batch, repeats) is asked by the engine between these steps.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec

from iso8583 import track
from iso8583.errors import DecodeError
from switch.bounded import Remembered
from switch.transactions import (
    BY_CODE,
    TOMBSTONE_TYPE,
    UNSUPPORTED,
    TransactionType,
    find,
    kind_of,
    reversed_kind,
)

if TYPE_CHECKING:
    from iso8583.message import Message
    from switch.reference import Route, Snapshot
    from terminals.registry import Merchant, Profile, Terminal

# Mandatory, beside 41 and 42, by which the terminal was found (rules §19): in every money request, which
# has 4 too, but in a balance, and 2 or 35; in a 0620, where the rest is its original's.
OF_MONEY = itemgetter(3, 11, 60, 22, 25, 49)
OF_SCRIPT = itemgetter(3, 11, 60, 55, 61)
SCRIPT = "951"  # DE 60.3 of a script result
SUB_FIELDS = (
    14  # digits of DE 60 that are read, 60.1 to 60.6; what follows may be anything, and long
)
CODE_MIN, CODE_MAX = 12, 32  # characters of a payment code


class Refusal(msgspec.Struct, frozen=True, gc=False):
    response_code: str
    rule: str


class Private(msgspec.Struct, frozen=True, gc=False):
    """DE 60: what it is for, the batch, the network management code, the terminal's abilities."""

    usage: str = ""  # 60.1
    batch: int = 0  # 60.2
    code: str = "000"  # 60.3
    partial: bool = False  # 60.6


NOTHING = Private()  # where a profile's messages name no batch, DE 60 is the make's own business


class Ask(msgspec.Struct, frozen=True, gc=False):
    """A money request whose form is in order, in the field's words: read once, and asked from then on."""

    type: TransactionType  # `UNSUPPORTED` where no row is like it
    kind: str  # of its key
    stan: int
    processing_code: str
    private: Private
    pan: str
    expiry: str  # YYMM, "" where the card gave none
    amount_minor: int
    currency: str
    entry_mode: str
    condition: str
    has_pin: bool
    by_code: bool = False  # `pan` is the code of DE 59


def sender(message: Message) -> tuple[str, str, str] | None:
    """(merchant, terminal, trace) where the message can be answered at all."""
    merchant, terminal, stan = message.get(42), message.get(41), message.get(11)
    if isinstance(merchant, str) and isinstance(terminal, str) and isinstance(stan, str):
        return merchant, terminal, stan
    return None


def private(message: Message, profile: Profile) -> Private:
    """DE 60 of a management message, which says in its usual place what it wants, batch or not."""
    value = message.get(60)
    if not isinstance(value, str) or not value.isdigit():
        return Private()
    return sub_fields(value) if profile.batch_in_message else Private(code=value[8:11] or "000")


def sub_fields(value: str) -> Private:
    """Of DE 60; those that are absent count as 0 (rules §19)."""
    if not value.isdigit():
        return Private()
    return Private(value[:2], int(value[2:8] or 0), value[8:11] or "000", value[13:14] == "1")


def with_batch(value: str) -> Private | None:
    """DE 60 of a money message; None where 60.1 and 60.2 are not eight digits, as they have to be."""
    return _WITH_BATCH[value[:SUB_FIELDS], value.isdigit()]


def _with_batch(asked: tuple[str, bool]) -> Private | None:
    begins, digits = asked
    if len(begins) < 8 or not begins[:8].isdigit():
        return None
    return sub_fields(begins) if digits else NOTHING


_WITH_BATCH = Remembered(_with_batch, 16_384)  # a terminal says the same until its batch is closed


def read(message: Message, profile: Profile) -> Ask | Refusal:
    """What a money request says, in one pass; 30 where a mandatory element is missing, or two disagree."""
    elements: dict[int, Any] = message  # those below are text in every terminals' dialect
    mti: str = elements[0]
    script = mti[1] == "6"
    try:
        if script:
            code, stan, de60, _, _ = OF_SCRIPT(elements)
            entry, condition, currency = (elements.get(de, "") for de in (22, 25, 49))
        else:
            code, stan, de60, entry, condition, currency = OF_MONEY(elements)
    except KeyError as missing:
        return Refusal("30", f"form.de{missing}_missing")
    amount: str | None = elements.get(4)
    if amount is None and not script and code[:2] != "31":
        return Refusal("30", "form.de4_missing")
    asked = with_batch(de60) if profile.batch_in_message else NOTHING
    if asked is None:
        return Refusal("30", "form.de60_short")
    card = read_card(elements)
    if card is None:
        return Refusal("30", "form.de2_de35_differ")
    type_, kind = _TYPE_OF[mti, code, condition, asked.usage, entry]
    if script and asked.code != SCRIPT:
        type_ = UNSUPPORTED
    return Ask(
        type_,
        kind,
        int(stan),
        code,
        asked,
        card[0],
        card[1],
        0 if amount is None else int(amount),
        currency,
        entry,
        condition,
        52 in elements,
        entry[:2] == BY_CODE,
    )


def type_of(asked: tuple[str, str, str, str, str]) -> tuple[TransactionType, str]:
    """The type of a request, and the kind in its key."""
    mti, code, condition, usage, entry = asked
    return find(mti, code, condition, usage, entry) or UNSUPPORTED, kind_of(mti, code)


_TYPE_OF = Remembered(type_of, 1_024)  # one terminal asks as the other


def read_reversal(message: Message, profile: Profile) -> Ask | Refusal:
    """What a 0400 says of its original, as far as it does; 30 where it does not say which it means."""
    for de in (3, 4, 60):
        if de not in message and not (de == 60 and not profile.batch_in_message):
            return Refusal("30", f"form.de{de}_missing")
    elements: dict[int, Any] = message
    private_ = with_batch(elements.get(60, "")) if profile.batch_in_message else NOTHING
    if private_ is None:
        return Refusal("30", "form.de60_short")
    card = read_card(elements) or ("", "")
    return Ask(
        type=TOMBSTONE_TYPE,
        kind=reversed_kind(elements[3], private_.usage),
        stan=int(elements[11]),
        processing_code=elements[3],
        private=private_,
        pan=card[0],
        expiry=card[1],
        amount_minor=int(elements[4]),
        currency=elements.get(49, ""),
        entry_mode=elements.get(22, ""),
        condition=elements.get(25, ""),
        has_pin=False,
    )


def read_card(elements: dict[int, Any]) -> tuple[str, str] | None:
    """(PAN, expiry) of DE 2, 14 and 35, "" where absent; None where DE 2 and 35 disagree.

    Where a code was scanned it stands for them, and what may be there is not looked at (rules §19).
    """
    if elements.get(22, "")[:2] == BY_CODE:
        return read_code(elements.get(59, "")), ""
    pan, expiry = elements.get(2, ""), elements.get(14, "")
    magnetic = elements.get(35)
    if isinstance(magnetic, str):
        if pan and expiry and magnetic.startswith(f"{pan}="):
            return pan, expiry  # whatever follows, DE 2 and 14 would stand
        try:
            found = track.parse_track2(magnetic)
        except DecodeError:
            return pan, expiry  # encrypted or foreign track: DE 2 must do
        if pan and pan != found.pan:
            return None
        return found.pan, expiry or found.expiry
    return pan, expiry


def read_code(value: str) -> str:
    """The code in DE 59: groups of tag 2, length 3 (ASCII digits), value; the code's tag is A3.

    "" where there is none that could be one.

    >>> read_code("A2002xxA30196222021234567890123")
    '6222021234567890123'
    """
    while len(value) > 5 and value[2:5].isdigit():
        tag, length = value[:2], int(value[2:5])
        if tag == "A3":
            code = value[5 : 5 + length]
            whole = len(code) == length and CODE_MIN <= length <= CODE_MAX
            return code if whole and code.isascii() and code.isalnum() else ""
        value = value[5 + length :]
    return ""


def validate(
    ask: Ask, message: Message, route: Route | None, merchant: Merchant, month: str
) -> Refusal | None:
    """The checks after "repeat" of rules §11, up to the risk rules. `route`: the card's, if it has one.
    `month`: the present one at the merchant's, YYMM."""
    if ask.type.name not in merchant.allowed_types:
        return Refusal("57", "merchant.type_not_allowed")
    if not ask.pan or not (ask.by_code or track.luhn_ok(ask.pan)):
        return Refusal("14", "card.number")
    if ask.expiry and ask.expiry < month:
        return Refusal("54", "card.expired")
    if ask.type.amount and ask.amount_minor <= 0:
        return Refusal("13", "amount.zero")
    if ask.currency and ask.currency != merchant.currency:
        return Refusal("12", "currency.not_of_merchant")
    if ask.has_pin:  # DE 52 brings 26 and 53
        block = message[52]
        whole = isinstance(block, bytes) and len(block) == 8
        if not whole or 53 not in message or 26 not in message:
            return Refusal("99", "pin.form")
    elif route is not None and route.pin_required and ask.type.pin:
        return Refusal("99", "pin.required")
    if ask.amount_minor > merchant.amount_limit_minor:
        return Refusal("61", "merchant.amount_limit")
    return None


def allowed_to_send(
    snapshot: Snapshot, terminal: Terminal | None, merchant_id: str
) -> Refusal | None:
    """97, 58, 03: is this terminal of ours and working?"""
    if terminal is None:
        return Refusal("97", "terminal.unknown")
    if terminal.status != "active":
        return Refusal("58", "terminal.not_active")
    merchant = snapshot.merchants.get(merchant_id)
    if merchant is None or merchant.status != "active":
        return Refusal("03", "merchant.not_active")
    return None
