"""Test cards of a pack, by role: of a file, or those of the bank that is simulated.

    [[card]]
    role = "sound"
    pan = "6220000000000000016"
    expiry = "3012"
    pin = "135790"
    track2 = ""              # where the issuer's is not made from the others
    amount_minor = 0         # where the bank's answer depends on the amount: instead of the case's

Roles are those that the cases name: `sound`, `pin` (its PIN is entered wrong), `part` (approved in
part), `declines_05` and so on. A case whose role is not in the file is not run.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Final

import msgspec

from iso8583.message import mask_pan
from iso8583.track import luhn_ok
from terminals.simulator.card import Card, luhn_digit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ISSUER: Final = "01020000"
BIN: Final = "622000"
PART_MINOR: Final = 300_00  # what the card that is approved in part has left


class RoleCard(Card, frozen=True, kw_only=True):
    role: str
    track: str = ""
    asks_minor: int = 0

    @property
    def track2(self) -> str:
        return self.track or super().track2

    def __repr__(self) -> str:
        return f"RoleCard({self.role} {mask_pan(self.pan)})"


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: str
    pan: str
    expiry: str
    pin: str = ""
    track2: str = ""
    amount_minor: int = 0


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    card: tuple[_Row, ...]


class CardFileError(Exception):
    """What is wrong, by place and role; never a number."""


def read(path: Path) -> dict[str, RoleCard]:
    """The cards of a file by role. CardFileError."""
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except OSError as error:
        raise CardFileError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CardFileError(f"{path}: {error}") from error
    except msgspec.ValidationError as error:
        raise CardFileError(f"{path}: {error}") from error
    cards: dict[str, RoleCard] = {}
    for row in found.card:
        wrong = _wrong(row)
        if wrong or row.role in cards:
            raise CardFileError(f"{path}: {row.role}: {wrong or 'stands twice'}")
        cards[row.role] = RoleCard(
            pan=row.pan,
            expiry=row.expiry,
            pin=row.pin,
            balance_minor=0,
            kind="debit",
            issuer="",
            role=row.role,
            track=row.track2,
            asks_minor=row.amount_minor,
        )
    return cards


def _wrong(row: _Row) -> str:
    if not luhn_ok(row.pan):
        return "pan: 12 to 19 digits with the right check digit"
    if not re.fullmatch(r"[0-9]{4}", row.expiry):
        return "expiry: YYMM"
    if not re.fullmatch(r"([0-9]{4,12})?", row.pin):
        return "pin: 4 to 12 digits"
    return ""


def simulated(roles: Iterable[str]) -> dict[str, RoleCard]:
    """Cards of nobody for the simulated bank; one that declines has its code in its role."""
    cards = {}
    for number, role in enumerate(sorted(set(roles)), 1):
        payload = BIN + str(number).zfill(12)
        cards[role] = RoleCard(
            pan=payload + luhn_digit(payload),
            expiry="3012",
            pin=f"{135_790 + 7 * number:06d}",
            balance_minor=PART_MINOR if role.startswith("part") else 5_000_000_00,
            kind="debit",
            issuer=ISSUER,
            declines=role.removeprefix("declines_") if role.startswith("declines_") else "",
            role=role,
        )
    return cards


def prefixes(cards: Iterable[Card]) -> list[str]:
    """Of routes for these cards."""
    return sorted({card.pan[:6] for card in cards})
