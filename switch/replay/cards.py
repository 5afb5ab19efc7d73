"""Test numbers that stand for card numbers: as long, of the same range, equal where those were equal.

A journal knows of a card its mask and a token. The number that stands for it has the mask's first six
digits (more, where the route that was taken names more), then the card's place among those of its
range and length, then the check digit. Nothing of the token and nothing of the last four digits is in
it; so it can be told of as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from terminals.simulator.card import luhn_digit

if TYPE_CHECKING:
    from collections.abc import Iterable

SHOWN: Final = 6  # digits of a mask's head
EXPIRY: Final = "4912"  # YYMM
EXPIRED: Final = "2001"


class Ranges:
    """The prefixes that routes have: a test number must meet the one that its card met."""

    def __init__(self, prefixes: Iterable[str] = ()) -> None:
        self._prefixes = set(prefixes)
        self._lengths = sorted({len(each) for each in self._prefixes}, reverse=True)

    def met(self, pan: str) -> str:
        """The longest prefix of a number."""
        for length in self._lengths:
            if pan[:length] in self._prefixes:
                return pan[:length]
        return ""

    def number(self, head: str, route: str, length: int, place: int, *, sound: bool = True) -> str:
        """The test number of the card at `place` (from 1) of its range; `sound`: its check digit is right.

        >>> Ranges(["622000"]).number("622000", "622000", 19, 7)
        '6220000000000000075'
        >>> Ranges(["622000", "62200000"]).number("622000", "622000", 16, 1)
        '6220001000000012'
        """
        prefix = route if route.startswith(head) else head
        found = ""
        for first in ("", *"123456789"):  # tells apart what would meet a longer prefix
            room = length - len(prefix) - len(first) - 1
            if room < 0 or place >= 10**room:
                break
            body = prefix + first + str(place).zfill(room)
            number = body + luhn_digit(body)
            found = found or number
            if self.met(number) == route:
                found = number
                break
        found = found or (prefix + str(place)).rjust(length, "0")[-length:]
        return found if sound else found[:-1] + str((int(found[-1]) + 1) % 10)
