"""Usual shapes of hosts whose days nobody simulates here: the standard's usual elements, ascending.

From messages of the corpus where it has them (1100 by jPOS, 0100 by moov, 1144 by cardutil), else the
elements that the standard has mandatory or usual in a message, with DE 35, 52, 55 and 64 as cards and
links have them [unverified]. What a host sends otherwise gets its code after some sightings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Shape = tuple[str, tuple[int, ...]]


def _with(mti: str, elements: Sequence[int], *others: Sequence[int]) -> Iterator[Shape]:
    """The shape, and one with each of the others' elements added."""
    for more in ((), *others):
        yield mti, (0, *sorted({*elements, *more}))


_CARD: Final = ((35,), (35, 52), (23, 35, 55), (23, 35, 52, 55))
_CARD_MAC: Final = tuple((*elements, 64) for elements in _CARD)

# -- 1987 behind the headers of BASE24-like and Visa-like hosts ----------------------------------

_BASE24_REQUEST: Final = (3, 4, 7, 11, 12, 13, 17, 22, 25, 32, 37, 41, 43, 48, 49, 60, 63)
_BASE24_ANSWER: Final = (3, 4, 7, 11, 12, 13, 17, 32, 37, 39, 41, 48, 49, 60)
BASE24: Final[tuple[Shape, ...]] = (
    *_with("0200", _BASE24_REQUEST, *_CARD, *_CARD_MAC),
    *_with("0210", _BASE24_ANSWER, (38,), (38, 63), (38, 64), (64,)),
    *_with("0220", (*_BASE24_REQUEST, 38, 39)),
    *_with("0230", _BASE24_ANSWER, (64,)),
    *_with("0420", (*_BASE24_ANSWER, 22, 25, 90), (35,), (38,), (35, 38), (95,), (128,)),
    *_with("0421", (*_BASE24_ANSWER, 22, 25, 90), (35,), (38,)),
    *_with("0430", _BASE24_ANSWER, (90,), (64,)),
    *_with("0800", (7, 11, 70), (53, 70, 96, 120), (123,)),
    *_with("0810", (7, 11, 39, 70)),
)
_VISA_REQUEST: Final = (2, 3, 4, 7, 11, 12, 13, 14, 18, 19, 22, 25, 32, 37, 41, 42, 43, 49, 60, 63)
_VISA_ANSWER: Final = (2, 3, 4, 7, 11, 19, 25, 32, 37, 39, 41, 42, 49, 62, 63)
VISA: Final[tuple[Shape, ...]] = (
    *_with("0100", _VISA_REQUEST, (35,), (35, 52, 53), (23, 35, 55), (23, 35, 52, 53, 55), (62,)),
    *_with("0110", _VISA_ANSWER, (38,), (38, 44), (44,), (38, 44, 55), (38, 54)),
    *_with("0120", (*_VISA_REQUEST, 39), (38,)),
    *_with("0130", _VISA_ANSWER),
    *_with("0400", (*_VISA_REQUEST, 38, 62, 90), (95,), (55,)),
    *_with("0410", _VISA_ANSWER, (90,)),
    *_with("0420", (*_VISA_REQUEST, 38, 62, 90), (95,)),
    *_with("0430", _VISA_ANSWER),
    *_with("0800", (7, 11, 37, 63, 70), (53,)),
    *_with("0810", (7, 11, 37, 39, 63, 70)),
)

# -- 1993 and 2003 -------------------------------------------------------------------------------

_AUTHORISATION: Final = (2, 3, 4, 7, 11, 12, 14, 22, 24, 26, 32, 37, 41, 42, 49)
_ANSWER: Final = (2, 3, 4, 7, 11, 12, 32, 37, 39, 41, 42, 49)
_REVERSAL: Final = (2, 3, 4, 7, 11, 12, 22, 24, 25, 26, 32, 37, 41, 42, 49, 56)
ISO1993: Final[tuple[Shape, ...]] = (
    *_with("1100", (*_AUTHORISATION, 20, 55)),
    *(
        shape
        for mti in ("1100", "1200")
        for shape in _with(mti, _AUTHORISATION, *_CARD, *_CARD_MAC, (43,))
    ),
    *(
        shape
        for mti in ("1110", "1210")
        for shape in _with(mti, _ANSWER, (38,), (38, 54), (38, 55), (64,), (38, 64), (38, 55, 64))
    ),
    *(
        shape
        for mti in ("1120", "1220")
        for shape in _with(mti, (*_AUTHORISATION, 25, 38, 39), (64,))
    ),
    *(shape for mti in ("1130", "1230") for shape in _with(mti, _ANSWER, (64,))),
    *(
        shape
        for mti in ("1420", "1421")
        for shape in _with(mti, _REVERSAL, (38,), (39,), (30,), (64,), (38, 64))
    ),
    *_with("1430", _ANSWER, (56,), (64,)),
    *_with("1520", (7, 11, 12, 24, 28, 32, 50, 74, 75, 76, 77, 86, 87, 88, 89, 97), (128,)),
    *_with("1530", (7, 11, 12, 24, 28, 32, 39, 50), (64,)),
    *_with("1804", (7, 11, 12, 24), (25,), (32,), (96,), (64,)),
    *_with("1814", (7, 11, 12, 24, 39), (25,), (32,), (64,)),
)

# -- clearing records ----------------------------------------------------------------------------

_PRESENTMENT: Final = (2, 3, 4, 12, 22, 24, 26, 31, 33, 38, 42, 43, 48, 49, 63, 71, 94)
IPM: Final[tuple[Shape, ...]] = (
    *_with("1144", _PRESENTMENT),
    *_with("1240", _PRESENTMENT, (37, 40, 41), (5, 6, 9, 10, 50, 51), (23, 37, 40, 41, 55), (93,)),
    *_with("1240", (2, 3, 4, 24, 48, 49, 71), (55,), (25,)),
    *_with("1442", (2, 3, 4, 12, 24, 25, 26, 30, 31, 33, 42, 43, 48, 49, 71, 93, 94), (72,), (95,)),
    *_with("1740", (3, 4, 24, 25, 33, 48, 49, 71, 93, 94), (72,), (2,)),
    *_with("1644", (24, 48, 71), (25,)),
    *_with("1644", (24, 48)),
)
