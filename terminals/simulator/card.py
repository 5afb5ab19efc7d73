"""Test cards: the same ones on both ends of the wire, with nothing exchanged between them.

A card is a pure function of (range, number), so the fleet and the bank agree on PAN, PIN, expiry
and opening balance when both are told the same ranges. The bins are 622000 and its like, used for
test cards; no such card was ever issued.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Literal

import msgspec

from iso8583.message import mask_pan

PAN_LENGTHS = (16, 19)


def luhn_digit(payload: str) -> str:
    """The check digit that ISO/IEC 7812-1 annex B puts behind `payload`.

    >>> luhn_digit("7992739871")
    '3'
    """
    total = 0
    for position, digit in enumerate(reversed(payload)):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


class Card(msgspec.Struct, frozen=True):
    """A mag-stripe card and what its issuer knows about it when the day begins.

    `expiry` is YYMM. `declines` is a response code the issuer answers to everything (41 lost …),
    empty for a sound card.
    """

    pan: str
    expiry: str
    pin: str
    balance_minor: int
    kind: Literal["debit", "credit"]
    issuer: str
    service_code: str = "220"
    declines: str = ""

    def __repr__(self) -> str:
        return f"Card({mask_pan(self.pan)}, {self.kind})"

    @property
    def track2(self) -> str:
        """PAN `=` expiry, service code and discretionary data, up to 37 characters."""
        return _track2(self.pan, self.expiry, self.service_code)

    @property
    def payment_code(self) -> str:
        """What its holder's telephone shows to be scanned; another number of the same range."""
        return self.pan[:6] + self.pan[:5:-1]


@lru_cache(maxsize=16_384)
def _track2(pan: str, expiry: str, service_code: str) -> str:
    digits = hashlib.sha256(b"track2" + pan.encode()).hexdigest()
    head = f"{pan}={expiry}{service_code}"
    return head + "".join(str(int(nibble, 16) % 10) for nibble in digits)[: 37 - len(head)]


class CardRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`count` cards on one bin. Every `expired_every`-th has expired, every `poor_every`-th has
    less than `poor_balance_minor` (0: none do)."""

    bin: str
    issuer: str
    kind: Literal["debit", "credit"] = "debit"
    pan_length: int = 19
    count: int = 200
    expiry: str = "3012"
    balance_minor: int = 5_000_000_00
    expired_every: int = 20
    expired_on: str = "2401"
    poor_every: int = 15
    poor_balance_minor: int = 100

    def __post_init__(self) -> None:
        if not (self.bin.isascii() and self.bin.isdigit() and 6 <= len(self.bin) <= 10):
            raise ValueError(f"bin {self.bin!r} is not 6 to 10 digits")
        if self.pan_length not in PAN_LENGTHS:
            raise ValueError(f"pan_length {self.pan_length} is neither 16 nor 19")

    def card(self, number: int) -> Card:
        """Card `number` of the range, 1 … count."""
        assert 1 <= number <= self.count
        payload = self.bin + str(number).zfill(self.pan_length - 1 - len(self.bin))
        pan = payload + luhn_digit(payload)
        digest = hashlib.sha256(b"pin" + pan.encode()).digest()
        expired = self.expired_every > 0 and number % self.expired_every == 0
        poor = not expired and self.poor_every > 0 and number % self.poor_every == 0
        return Card(
            pan=pan,
            expiry=self.expired_on if expired else self.expiry,
            pin=str(int.from_bytes(digest[:4]) % 1_000_000).zfill(6),
            balance_minor=digest[4] % max(self.poor_balance_minor, 1)
            if poor
            else self.balance_minor,
            kind=self.kind,
            issuer=self.issuer,
        )

    def cards(self) -> list[Card]:
        """All of them, in order."""
        return [self.card(number) for number in range(1, self.count + 1)]


BANK_A = (
    CardRange("622000", "01020000"),
    CardRange("622588", "01020000", kind="credit", pan_length=16),
)
BANK_B = (
    CardRange("621799", "04030000"),
    CardRange("625001", "04030000", kind="credit", pan_length=16),
)


class CardPools(msgspec.Struct, frozen=True):
    """The cards a fleet draws from, by what should become of them."""

    sound: tuple[Card, ...]
    expired: tuple[Card, ...]
    poor: tuple[Card, ...]


def card_pools(ranges: tuple[CardRange, ...]) -> CardPools:
    """Sort the cards of `ranges` by their state, as each range's columns planned it."""
    sound: list[Card] = []
    expired: list[Card] = []
    poor: list[Card] = []
    for card_range in ranges:
        for card in card_range.cards():
            if card.expiry != card_range.expiry:
                expired.append(card)
            elif card.balance_minor != card_range.balance_minor:
                poor.append(card)
            else:
                sound.append(card)
    if not sound:
        raise ValueError("the card ranges hold no sound card")
    return CardPools(tuple(sound), tuple(expired), tuple(poor))
