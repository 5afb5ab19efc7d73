"""A bank's decisions and its books, without I/O: requests in, entries out, one effect each.

Every request becomes one `Entry`, approved or declined; follow-ups name their original by the key
of the link. Balances change only in `_post`, so an entry's effect can be taken back exactly. The
entries are the bank's view of the money.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from iso8583.message import mask_pan

if TYPE_CHECKING:
    from collections.abc import Iterable

    from terminals.simulator.card import Card

PIN_TRIES: Final = 3
COMPLETION_PERCENT: Final = 115

Kind = Literal[
    "balance",
    "purchase",
    "void",
    "refund",
    "pre_authorisation",
    "pre_authorisation_void",
    "completion",
    "completion_advice",
    "completion_void",
    "offline_sale",
    "adjustment",
    "script_result",
    "unknown",
]

TAKES: Final = frozenset({"purchase", "completion", "completion_advice", "offline_sale"})
GIVES_BACK: Final = frozenset({"void", "completion_void", "refund"})
BILLED: Final = TAKES | GIVES_BACK | {"adjustment"}  # what a clearing file lists
VOIDS: Final = {
    "void": ("purchase",),
    "completion_void": ("completion", "completion_advice"),
    "pre_authorisation_void": ("pre_authorisation",),
}


class LinkKey(msgspec.Struct, frozen=True, order=True):
    """(DE 7, 11, 32, 33): what names a request on the link. Ids without their leading zeros."""

    transmission_time: str
    stan: str
    acquirer_id: str
    forwarder_id: str = ""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A money request as the bank understood it. `pin` is None where none was sent."""

    key: LinkKey
    mti: str
    kind: Kind
    processing_code: str
    pan: str
    amount_minor: int
    currency: str = "156"
    expiry: str = ""
    pin: str | None = None
    rrn: str = ""
    terminal: str = ""
    merchant: str = ""
    mcc: str = ""
    entry_mode: str = ""
    condition: str = ""
    card_sequence: str = ""
    original: LinkKey | None = None

    def __repr__(self) -> str:
        return f"Asked({self.kind} {mask_pan(self.pan)} {self.amount_minor})"


class Entry(msgspec.Struct):
    """One line of the bank's books. `approved_minor` is 0 unless approved; `reversed_by` names the
    0420 that took its effect back; `billed_on` the settlement date of the file that listed it."""

    sequence: int
    asked: Asked
    response_code: str
    settlement_date: dt.date
    card_kind: Literal["debit", "credit"] = "debit"
    issuer: str = ""
    approved_minor: int = 0
    auth_code: str = ""
    balance_minor: int | None = None
    reversed_by: LinkKey | None = None
    reversed_on: dt.date | None = None
    billed_on: dt.date | None = None
    taken_minor: int = 0  # what it took from the account; below zero: gave
    held_minor: int = 0  # what it holds; below zero: released

    @property
    def approved(self) -> bool:
        """Whether the answer said yes."""
        return self.response_code in ("00", "10")

    @property
    def standing(self) -> bool:
        """Approved and not reversed."""
        return self.approved and self.reversed_by is None

    @property
    def effect_minor(self) -> int:
        """What it took from the card to the acquirer, as it stands now."""
        return self.taken_minor if self.standing else 0

    @property
    def state(self) -> str:
        """approved, declined or reversed."""
        return "declined" if not self.approved else "approved" if self.standing else "reversed"


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How strict the issuer is."""

    amount_limit_minor: int = 50_000_000_00  # one request; 61 above
    pin_tries: int = PIN_TRIES
    partial_approvals: bool = False  # 10 with what is left, instead of 51


class Accounts:
    """The cards of one bank with their balances, holds and PIN tries."""

    def __init__(self, cards: Iterable[Card], rules: Rules) -> None:
        self.rules = rules
        self.entries: list[Entry] = []
        self._cards = {card.pan: card for card in cards}
        self._by_code = {card.payment_code: card.pan for card in self._cards.values()}
        self._balance = {pan: card.balance_minor for pan, card in self._cards.items()}
        self._held = dict.fromkeys(self._cards, 0)
        self._wrong_pins = dict.fromkeys(self._cards, 0)
        self._by_key: dict[LinkKey, Entry] = {}
        self._follow_ups: dict[LinkKey, list[Entry]] = {}

    def find(self, key: LinkKey) -> Entry | None:
        """The entry of a request, or None."""
        return self._by_key.get(key)

    def pan_of(self, code: str) -> str:
        """The card that a payment code stands for, or ""."""
        return self._by_code.get(code, "")

    def balance_minor(self, pan: str) -> int:
        """The ledger balance of a card."""
        return self._balance[pan]

    def opening_minor(self, pan: str) -> int:
        """Its balance when the simulation began."""
        return self._cards[pan].balance_minor

    @property
    def taken_minor(self) -> int:
        """What all cards together paid since the beginning: the cardholders' view."""
        return sum(card.balance_minor - self._balance[pan] for pan, card in self._cards.items())

    def standing_follow_ups(self, entry: Entry) -> list[Entry]:
        """Voids, refunds and completions of an entry that stand."""
        return [one for one in self._follow_ups.get(entry.asked.key, ()) if one.standing]

    def decide(self, asked: Asked, settlement_date: dt.date) -> Entry:
        """Approve or decline a new request, post its effect, and remember it."""
        code, amount_minor = self._judge(asked, settlement_date)
        card = self._cards.get(asked.pan)
        sequence = len(self.entries) + 1
        entry = Entry(
            sequence=sequence,
            asked=asked,
            response_code=code,
            settlement_date=settlement_date,
            card_kind=card.kind if card else "debit",
            issuer=card.issuer if card else "",
        )
        if entry.approved:
            entry.approved_minor = amount_minor
            entry.auth_code = f"{sequence % 1_000_000:06}"
            self._apply(entry)
            if asked.original is not None and asked.kind != "script_result":
                self._follow_ups.setdefault(asked.original, []).append(entry)
        if asked.kind == "balance" and entry.approved:
            entry.balance_minor = self._available(asked.pan)
        self.entries.append(entry)
        self._by_key[asked.key] = entry
        return entry

    def forget(self, entry: Entry) -> None:
        """Lose an approval: its effect, its line and its key go; the answer may have left."""
        assert entry is self.entries[-1]
        self.entries.pop()
        del self._by_key[entry.asked.key]
        if entry in self._follow_ups.get(entry.asked.original or entry.asked.key, ()):
            assert entry.asked.original is not None
            self._follow_ups[entry.asked.original].remove(entry)
        self._post(entry, -1)

    def reverse(self, original: LinkKey, by: LinkKey, amount_minor: int, date: dt.date) -> str:
        """Take an approved request back; the response code for the 0420."""
        entry = self._by_key.get(original)
        if entry is None:
            return "25"
        if not entry.approved or entry.reversed_by is not None:
            return "00"  # nothing stands: already so, or never was
        if amount_minor != entry.asked.amount_minor:
            return "12"
        if self.standing_follow_ups(entry):
            return "12"
        entry.reversed_by = by
        entry.reversed_on = date
        self._post(entry, -1)
        return "00"

    # -- the decision ----------------------------------------------------------

    def _judge(self, asked: Asked, date: dt.date) -> tuple[str, int]:
        """(response code, approved amount)."""
        card = self._cards.get(asked.pan)
        if card is None:
            return "14", 0
        if card.declines:
            return card.declines, 0
        if asked.kind in VOIDS or asked.kind in ("refund", "completion", "completion_advice"):
            return self._judge_follow_up(asked), asked.amount_minor
        if asked.kind == "adjustment":
            return self._judge_adjustment(asked), asked.amount_minor
        if asked.kind == "script_result":
            known = asked.original is not None and asked.original in self._by_key
            return ("00" if known else "25"), 0
        if asked.kind == "unknown":
            return "40", 0
        if card.expiry < f"{date:%y%m}" or asked.expiry not in ("", card.expiry):
            return "54", 0
        code = self._judge_pin(card, asked.pin)
        if code or asked.kind == "balance":
            return code or "00", 0
        if asked.amount_minor <= 0:
            return "13", 0
        if asked.amount_minor > self.rules.amount_limit_minor:
            return "61", 0
        available = self._available(card.pan)
        if asked.amount_minor > available and asked.kind != "offline_sale":
            if self.rules.partial_approvals and available > 0 and asked.kind == "purchase":
                return "10", available
            return "51", 0
        return "00", asked.amount_minor

    def _judge_pin(self, card: Card, pin: str | None) -> str:
        if self._wrong_pins[card.pan] >= self.rules.pin_tries:
            return "75"
        if pin is None:
            return ""
        if pin == card.pin:
            self._wrong_pins[card.pan] = 0
            return ""
        self._wrong_pins[card.pan] += 1
        return "75" if self._wrong_pins[card.pan] >= self.rules.pin_tries else "55"

    def _judge_follow_up(self, asked: Asked) -> str:
        if asked.original is None:
            return "00" if asked.kind == "refund" else "25"
        entry = self._by_key.get(asked.original)
        if entry is None:
            return "25"
        follow_ups = self.standing_follow_ups(entry)
        if not entry.standing or entry.asked.pan != asked.pan:
            return "12"
        if asked.kind == "refund":
            if entry.asked.kind not in TAKES or any(
                one.asked.kind != "refund" for one in follow_ups
            ):
                return "12"
            refunded = sum(one.approved_minor for one in follow_ups)
            return "00" if 0 < asked.amount_minor <= entry.approved_minor - refunded else "64"
        if follow_ups:
            return "12"
        if asked.kind in VOIDS:
            if entry.asked.kind not in VOIDS[asked.kind]:
                return "12"
            return "00" if asked.amount_minor == entry.approved_minor else "64"
        if entry.asked.kind != "pre_authorisation":
            return "12"
        most = entry.approved_minor * COMPLETION_PERCENT // 100
        return "00" if 0 < asked.amount_minor <= most else "64"

    def _judge_adjustment(self, asked: Asked) -> str:
        entry = self._by_key.get(asked.original) if asked.original else None
        if entry is None:
            return "25"
        if not entry.standing or entry.asked.kind not in TAKES or entry.asked.pan != asked.pan:
            return "12"
        return "00"

    def _available(self, pan: str) -> int:
        return self._balance[pan] - self._held[pan]

    # -- its effect --------------------------------------------------------------

    def _apply(self, entry: Entry) -> None:
        asked = entry.asked
        original = self._by_key.get(asked.original) if asked.original else None
        if asked.kind in TAKES:
            entry.taken_minor = entry.approved_minor
        elif asked.kind in ("void", "completion_void", "refund"):
            entry.taken_minor = -entry.approved_minor
        elif asked.kind == "adjustment":
            assert original is not None
            standing = original.taken_minor + sum(
                one.taken_minor for one in self.standing_follow_ups(original)
            )
            entry.taken_minor = asked.amount_minor - standing
        elif asked.kind == "pre_authorisation":
            entry.held_minor = entry.approved_minor
        elif asked.kind == "pre_authorisation_void":
            entry.held_minor = -entry.approved_minor
        if asked.kind in ("completion", "completion_advice"):
            assert original is not None
            entry.held_minor = -original.approved_minor
        elif asked.kind == "completion_void":
            # voiding a completion gives the money back; the hold has ended for good
            entry.held_minor = 0
        self._post(entry, +1)

    def _post(self, entry: Entry, sign: int) -> None:
        pan = entry.asked.pan
        if pan in self._balance:
            self._balance[pan] -= sign * entry.taken_minor
            self._held[pan] += sign * entry.held_minor
