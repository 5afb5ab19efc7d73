"""Track 2 and the card number.

Track 2 in a message: PAN up to 19 digits, separator `=` (or `D`), expiry YYMM, service code 3,
discretionary data. Source: ISO/IEC 7813 §7; `reference/pos-messages.md` §2.
"""

from __future__ import annotations

from typing import Final

import msgspec

from iso8583.errors import DecodeError
from iso8583.message import mask_pan

PAN_DIGITS_MIN: Final = 12
PAN_DIGITS_MAX: Final = 19


class Track2(msgspec.Struct, frozen=True):
    """What track 2 says. Never printed in clear: `repr` carries the PAN's mask alone."""

    pan: str
    expiry: str
    service_code: str

    def __repr__(self) -> str:
        return f"Track2({mask_pan(self.pan)})"


def parse_track2(track: str, de: int = 35) -> Track2:
    """PAN, expiry (YYMM) and service code of track 2.

    Missing expiry or service code (a separator in its place) come out empty. Raises DecodeError
    (element `de`, offset in characters of the track) where PAN or separator are not found, as in an
    enciphered track.

    >>> parse_track2("6220000000012402=30122200000000000000").expiry
    '3012'
    """
    at = next((index for index, character in enumerate(track) if character in "=D"), -1)
    if at < 0:
        raise DecodeError(de, len(track), "no separator")
    pan, rest = track[:at], track[at + 1 :]
    if not PAN_DIGITS_MIN <= at <= PAN_DIGITS_MAX:
        raise DecodeError(de, at, f"PAN of {at} digits")
    if not _digits(pan):
        raise DecodeError(de, 0, "PAN is not digits")
    expiry, rest = _part(rest, 4)
    service_code, _ = _part(rest, 3)
    for part in (expiry, service_code):
        if part and not _digits(part):
            raise DecodeError(de, at + 1, "expiry or service code is not digits")
    return Track2(pan, expiry, service_code)


def luhn_ok(pan: str) -> bool:
    """Whether the PAN is 12 to 19 digits with the right check digit (ISO/IEC 7812-1 annex B).

    >>> luhn_ok("4111111111111111"), luhn_ok("4111111111111112")
    (True, False)
    """
    octets = pan.encode("ascii", "replace")
    if not (PAN_DIGITS_MIN <= len(octets) <= PAN_DIGITS_MAX and octets.isdigit()):
        return False
    total = sum(octets[-1::-2].translate(_PLAIN)) + sum(octets[-2::-2].translate(_DOUBLED))
    return total % 10 == 0


# ASCII digits as numbers, and twice their number with its own digits added up
_PLAIN: Final = bytes(octet & 15 for octet in range(256))
_DOUBLED: Final = bytes(sum(divmod(2 * (octet & 15), 10)) for octet in range(256))


def _part(text: str, width: int) -> tuple[str, str]:
    """The next `width` characters, or nothing where a separator stands in their place."""
    if text[:1] in {"=", "D"}:
        return "", text[1:]
    return text[:width], text[width:]


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()
