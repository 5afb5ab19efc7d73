"""What a rule looks at and what it says: `Case` and `Mistake`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from iso8583 import elements
from iso8583.inspector.candidates import Candidate, share
from iso8583.texts import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iso8583.codec import Codec, Explanation
    from iso8583.errors import DecodeError

TRIAL_BYTES_MAX: Final = 400_000  # decoded by one rule on one guess


class Mistake(msgspec.Struct, frozen=True):
    """One mistake: the rule's name, the byte of the input, what fills in the text, how sure."""

    rule: str
    offset: int
    values: dict[str, int | str]
    certainty: float

    def text(self, lang: str = "en") -> str:
        """A sentence with the evidence; names elements, counts and bytes of structure, no content."""
        said = text(f"mistake_{self.rule}", lang).format(**self.values)
        for de in (0, 1):  # an element in the table of mistakes, but not in words
            for form in (f"DE {de}", f"域{de}"):
                said = re.sub(rf"{form}(?![0-9])", elements.name(de, lang), said)
        return said


class Case(NamedTuple):
    """The input, one guess at it, the dialects there are, and those of them that differ little."""

    data: bytes
    guess: Candidate
    codecs: Sequence[Codec]
    siblings: Sequence[Codec]

    @classmethod
    def of(cls, data: bytes, guess: Candidate, codecs: Sequence[Codec]) -> Case:
        """The case of a guess."""
        base = guess.codec.dialect.family
        near = [c for c in codecs if c is not guess.codec and c.dialect.family == base]
        same = [c for c in near if c.generic.bitmap_width == guess.codec.generic.bitmap_width]
        return cls(data, guess, codecs, same)

    @property
    def body(self) -> bytes:
        return self.data[self.guess.framing.width :]

    @property
    def error(self) -> DecodeError | None:
        return self.guess.found.error

    @property
    def at(self) -> int:
        """The byte of the input that the error names."""
        return self.guess.framing.width + (0 if self.error is None else self.error.offset)

    @property
    def trials(self) -> int:
        """How many changes a rule may try."""
        return TRIAL_BYTES_MAX // max(len(self.body), 1)

    def tried(self, body: bytes) -> Explanation | None:
        """The changed body in the dialect or its variants; None where it does not decode."""
        for codec in (self.guess.codec, *self.siblings):
            found = codec.generic.explain(body)
            if found.error is None and len(found.message) > 1:
                return found
        return None


Rule = Callable[[Case], Iterator[Mistake]]


def sure(found: Explanation, handicap: float = 0) -> float | None:
    """How sure a repair is under which this was found; None where it is none."""
    if found.error is not None or len(found.message) < 2:
        return None
    return 55 + 40 * share(found) - handicap
