"""Every framing in every dialect, ranked by how much of the input it explains.

The score of a candidate is a sum of points, 100 at most:

| points | for                                                                                   |
| ------ | ------------------------------------------------------------------------------------- |
| 0 to 40 | the share of the input's bytes that are explained: frame and elements read            |
| 20     | the body is one whole message                                                         |
| 0 to 15 | values that look like what their elements hold (`plausible`); 8 where none is judged  |
| 15     | a length that fits; 10 where there is no length; 0 where it says something else       |
| 10     | the dialect's own header, or none where it has none; 5 another usual one; 2 where the |
|        | dialect's is missing; 4 less for a width that nothing speaks for                      |

Bytes behind the first error count half. A header that nothing speaks for is not explained. Equal
scores keep the order of framings, then that of the registry. A variant costs two points: it has to
be needed; an MTI of class 0 costs six, anything else that is none twenty.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import msgspec

from iso8583 import headers
from iso8583.codec import Codec, Explanation
from iso8583.inspector.framings import Framing, framings
from iso8583.inspector.plausible import judged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iso8583.dialects.table import Dialect
    from iso8583.generic import GenericCodec

TERMINALS: Final = "unionpay_pos"  # six bytes of header are theirs, though they may lack them
READ_BYTES_MAX: Final = 6 * 1024 * 1024  # of all guesses at one message together


class Candidate(msgspec.Struct, frozen=True):
    """One guess: what stands before the body, the dialect, what was read, the points."""

    framing: Framing
    codec: Codec
    found: Explanation
    score: float

    @property
    def whole(self) -> bool:
        """Whether the body is one message of the dialect."""
        return self.found.error is None

    @property
    def ok(self) -> bool:
        """Whether the whole input is one message."""
        return self.whole and self.framing.problem is None


def candidates(data: bytes, codecs: Sequence[Codec]) -> list[Candidate]:
    """All guesses, best first; those whose MTI is none only if no other decodes whole."""
    tried = [
        (framing, data[framing.width :], codec) for framing in framings(data) for codec in codecs
    ]
    likely = [begins(codec, body) for _, body, codec in tried]
    ranked = _ranked([guess for guess, good in zip(tried, likely, strict=True) if good], len(data))
    if ranked and ranked[0].whole:
        return ranked
    rest = _ranked(
        [guess for guess, good in zip(tried, likely, strict=True) if not good], len(data)
    )
    return sorted([*ranked, *rest], key=lambda candidate: -candidate.score)


def _ranked(tried: list[tuple[Framing, bytes, Codec]], size: int) -> list[Candidate]:
    most = max(READ_BYTES_MAX // max(size, 1), 1)
    found = [
        rated(framing, codec, codec.explain(body), size) for framing, body, codec in tried[:most]
    ]
    return sorted(found, key=lambda candidate: -candidate.score)


def rated(framing: Framing, codec: Codec, found: Explanation, size: int) -> Candidate:
    """The candidate with its points."""
    return Candidate(framing, codec, found, _score(framing, codec, found, size))


def begins(codec: Codec, body: bytes) -> bool:
    """Whether an MTI of the dialect stands at the beginning."""
    return body[: codec.generic.mti_width] in _mtis(codec.generic)


@cache  # bounded by the dialects
def _mtis(codec: GenericCodec) -> frozenset[bytes]:
    return frozenset(codec.mtis.values())


def share(message: Explanation) -> float:
    """The share of judged values that look right; a half where none is judged."""
    right, wrong = judged(message.message)
    return right / (right + wrong) if right + wrong else 0.5


def _score(framing: Framing, codec: Codec, found: Explanation, size: int) -> float:
    explained = float(len(framing.length) + len(framing.tpdu))
    if framing.usual_header:
        explained += len(framing.header)
    worth = 1.0
    for de, (_, width) in found.spans.items():
        if de == 1 or de in found.message:
            explained += width * worth
        else:
            worth = 0.5
    score = 40 * explained / max(size, 1) - 2 * bool(codec.dialect.base)
    score += 20 * (found.error is None) - _mti_costs(found)
    score += 15 * share(found)
    score += _header_points(framing, codec.dialect)
    if framing.problem is None:
        score += 15 if framing.length else 10
    return score


def _mti_costs(found: Explanation) -> int:
    """A version that the dialect has in a class that nobody has is an MTI gone wrong; anything else
    is none at all."""
    if 0 in found.message:
        return 0
    error = found.error
    return 6 if error is not None and error.reason.startswith("message class 0") else 20


def _header_points(framing: Framing, dialect: Dialect) -> int:
    named = headers.HEADERS.get(dialect.header)
    if named is not None:
        if len(framing.header) == named.width and named.matches(framing.header):
            return 10
        return 2 if framing.usual_header else -4
    if not framing.header:
        return 10
    if len(framing.header) == headers.POS.width and dialect.family == TERMINALS:
        return 10 if framing.usual_header else -4
    return 5 if framing.usual_header else -4


def distinct(ranked: Sequence[Candidate], most: int) -> list[Candidate]:
    """The best of each way of cutting and dialect, at most `most`; what two dialects read alike is
    given once."""
    seen: set[tuple[int, str, int | None, int]] = set()
    kept = []
    for candidate in ranked:
        error = candidate.found.error
        base = candidate.codec.dialect.family
        where = (-1, -1) if error is None else (error.de, error.offset)
        key = (candidate.framing.width, base, *where)
        if key not in seen:
            seen.add(key)
            kept.append(candidate)
        if len(kept) == most:
            break
    return kept
