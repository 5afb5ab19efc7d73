"""Cards of a `risk_list`: a token to match, and where terminals are to know it too, its number sealed.

A member is `token` or `token:sealed`, both hex. Rules see the token alone; a terminal's blacklist has the
cards whose number is sealed, opened for the message that carries it and nowhere else (P6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hsm.pans import Pans

COLUMN: Final = "switch.reference_item.risk_list"


def token_of(member: str) -> str:
    """
    >>> token_of("00ff:01"), token_of("00ff")
    ('00ff', '00ff')
    """
    return member.partition(":")[0]


def sealed(members: Iterable[str]) -> tuple[str, ...]:
    """Those that terminals may be given."""
    return tuple(member for member in members if ":" in member)


def seal(pans: Pans, pan: str) -> str:
    """A member of both parts; of the same card under the same data key always the same."""
    token = pans.token(pan)
    return f"{token.hex()}:{pans.protect(pan, None, _row(token), COLUMN).hex()}"


def open_(pans: Pans, member: str) -> str:
    """The card number. Raises `VaultError` where it is not sealed under a key that is open here."""
    token, _, cipher = member.partition(":")
    return pans.reveal(bytes.fromhex(cipher), _row(bytes.fromhex(token)), COLUMN)[0]


def _row(token: bytes) -> int:
    """Stands for a row's id: another card has another, but for one pair in 2^63."""
    return int.from_bytes(token[:8], "big") >> 1
