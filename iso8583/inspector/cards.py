"""Where card numbers stand in bytes, whatever the bytes are taken for.

A PAN behind its length (a byte, BCD or binary, before digits of BCD; two digits before characters, also
EBCDIC), and a track 2 by its separator. So a message whose elements are misplaced, as where the
bitmap leaves DE 2 out, does not show a PAN in the pieces that other elements have of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from iso8583.track import PAN_DIGITS_MAX, luhn_ok

if TYPE_CHECKING:
    from collections.abc import Iterator

PAN_DIGITS_MIN: Final = 13  # of shorter ones a mask shows most, and noise has too many
_TRACK: Final = re.compile(r"[0-9]{13,19}[=Dd][0-9]{7,24}")
_LENGTH: Final = re.compile(r"(?=1[3-9][0-9]{13})")
_DIGITS: Final = re.compile(r"[1-9][0-9]{12,18}")
_ANY: Final = re.compile(r"(?=[0-9]{13})[1-9][0-9]*")
_CUT: Final = re.compile(r"[1-9][0-9]{9,}")
_CHARACTERS: Final = re.compile(rb"[0-9]{4,}")


def places(data: bytes, first: int) -> list[tuple[int, int]]:
    """Start and end of what may be a PAN or a track; its check digit must fit, but for a PAN whose
    length stands at `first`, where the first element does."""
    return [*_packed(data, first), *_written(data.decode("latin-1"), first),
            *_written(data.decode("cp500"), first)]  # fmt: skip


def digits(data: bytes) -> list[tuple[int, int]]:
    """Start and end of all digits in a row, packed or characters, that may hold a PAN, whatever its
    length and check digit say; at the very beginning also what may be the rest of one (an MTI of 1987
    begins with 0)."""
    # digits in characters would count twice as many when taken for packed ones
    packed = _CHARACTERS.sub(lambda run: b"\xff" * len(run[0]), data).hex()
    found = [(start // 2, (end + 1) // 2) for start, end in _runs(packed)]
    for encoding in ("latin-1", "cp500"):
        found += _runs(data.decode(encoding))
    return found


def _runs(text: str) -> list[tuple[int, int]]:
    cut = _CUT.match(text)
    return [*([cut.span()] if cut else []), *(one.span() for one in _ANY.finditer(text))]


def _packed(data: bytes, first: int) -> Iterator[tuple[int, int]]:
    digits = data.hex()
    for found in _TRACK.finditer(digits):
        yield found.start() // 2, (found.end() + 1) // 2
    for at, octet in enumerate(data):
        if not 0x0D <= octet <= 0x19:
            continue
        for size in {octet, octet - 6}:  # binary, BCD
            if PAN_DIGITS_MIN <= size <= PAN_DIGITS_MAX:
                start = at + 1
                for left in (0, size % 2):  # an odd count may be filled up in front
                    pan = digits[2 * start + left : 2 * start + left + size]
                    if _is_pan(pan, size, known=at == first):
                        yield start, start + (size + 1) // 2


def _written(text: str, first: int) -> Iterator[tuple[int, int]]:
    for found in _TRACK.finditer(text):
        yield found.span()
    for found in _LENGTH.finditer(text):
        start, size = found.start() + 2, int(text[found.start() : found.start() + 2])
        if _is_pan(text[start : start + size], size, known=found.start() == first):
            yield start, start + size


def _is_pan(pan: str, size: int, *, known: bool) -> bool:
    return len(pan) == size and _DIGITS.fullmatch(pan) is not None and (known or luhn_ok(pan))
