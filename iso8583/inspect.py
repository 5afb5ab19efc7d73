"""Why did it not parse? One captured message explained: the door to `iso8583.inspector`.

Every framing is tried with every dialect, the guesses are ranked (`inspector.candidates` documents
the score), the best is explained element by element, and where it does not decode the likely mistake
is named (`inspector.mistakes`). Pure, and never raises but for a dialect that there is not.

Bounds: at most `MESSAGE_BYTES_MAX` bytes of a message are looked at; 64 KiB of anything take less
than a second (tests hold it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from iso8583 import elements
from iso8583.codec import Codec, Explanation, codec_for
from iso8583.dialects import registry
from iso8583.errors import DecodeError
from iso8583.inspector import (
    candidates as ranking,
    frames,
    inputs,
    masking,
    meanings as words,
    mistakes as wrong,
    rendering,
)
from iso8583.inspector.case import Mistake
from iso8583.inspector.framings import Framing, Problem
from iso8583.inspector.meanings import Part
from iso8583.message import Message

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table

    from iso8583.inspector.candidates import Candidate
    from iso8583.inspector.frames import FramePart
    from iso8583.inspector.inputs import Kind

MESSAGE_BYTES_MAX: Final = 65_537
# What decodes with a lower score may have been cut in the wrong place by chance.
SURE: Final = 75


class Guess(msgspec.Struct, frozen=True):
    """One of the candidates, in short."""

    dialect: str
    framing: str
    score: int
    elements: int
    error: Problem | None


class Inspection(msgspec.Struct, frozen=True):
    """One message explained. `fields` holds text fit to show (clear only if unmasked was asked).

    `spans` lie in the input: DE -> (offset, length), the length prefix included. `data` is the input
    itself and `message` the values in clear, for the dump and for comparing: in no text and no JSON.
    `doubtful`: elements may be misplaced, so that more is masked.
    """

    dialect: str | None
    framing: Framing
    mti: str | None
    fields: dict[int, str]
    spans: dict[int, tuple[int, int]]
    meanings: dict[int, tuple[str, str]]
    error: Problem | None
    unmasked: bool = False
    doubtful: bool = False
    parts: dict[int, list[Part]] = {}
    mistakes: list[Mistake] = []
    guesses: list[Guess] = []
    shown: frozenset[int] = frozenset()
    tpdu_shown: bool = True
    source: str = ""
    data: bytes = b""
    message: Message = {}

    def __repr__(self) -> str:
        return f"Inspection({self.dialect}, MTI {self.mti}, {self.error})"

    @property
    def ok(self) -> bool:
        """Whether the whole input is one message."""
        return self.error is None

    @property
    def header_shown(self) -> str:
        """In hex; of a doubtful message only its width: what was guessed to be a header may be
        elements, with digits of a PAN."""
        header = self.framing.header
        if not header or not self.doubtful or self.unmasked:
            return header.hex().upper()
        return f"[{len(header)} bytes]"

    @property
    def tpdu_as_shown(self) -> str:
        """In hex, or its width where it may be digits of a PAN."""
        tpdu = self.framing.tpdu
        return tpdu.hex().upper() if self.tpdu_shown or not tpdu else f"[{len(tpdu)} bytes]"

    def frame(self) -> list[FramePart]:
        """What stands before the MTI, as far as it may be shown."""
        named = "" if self.dialect is None else codec_for(self.dialect).dialect.header
        header_shown = self.unmasked or not self.doubtful
        return list(
            frames.parts(self.framing, named, tpdu_shown=self.tpdu_shown, header_shown=header_shown)
        )

    def raw(self, de: int) -> str | None:
        """The element's bytes in hex, where its value is shown in full; else None."""
        at, width = self.spans.get(de, (0, 0))
        if not width or not (self.unmasked or de in self.shown):
            return None
        return self.data[at : at + width].hex().upper()

    def name(self, de: int, lang: str = "en") -> str:
        """What the element is called in the dialect."""
        if self.dialect is None or de < 2:
            return elements.name(de, lang)
        return codec_for(self.dialect).dialect.element_name(de, lang)

    def rows(self, lang: str = "en") -> list[tuple[str, str, str, str]]:
        """DE, name, value, meaning: one row an element, the MTI first."""
        chinese = lang.startswith("zh")
        values = {} if self.mti is None else {0: self.mti}
        return [
            (str(de), self.name(de, lang), value, self.meanings.get(de, ("", ""))[chinese])
            for de, value in {**values, **self.fields}.items()
        ]

    def summary(self, lang: str = "en") -> str:
        """One line: dialect, framing, and the error if there is one."""
        return rendering.summary(self, lang)

    def table(self, lang: str = "en") -> Table:
        """The elements as a rich table, for the command line."""
        return rendering.table(self, lang)

    def to_json_dict(self) -> dict[str, Any]:
        """The object of `tongbao inspect --json`; see `docs/interfaces.md`."""
        return {
            "dialect": self.dialect,
            "framing": {
                "length": self.framing.length.hex().upper() or None,
                "tpdu": self.tpdu_as_shown or None,
                "header": self.header_shown or None,
            },
            "mti": self.mti,
            "fields": {str(de): value for de, value in self.fields.items()},
            "error": None if self.error is None else msgspec.to_builtins(self.error),
            "source": self.source or None,
            "frame": [_frame_part(part) for part in self.frame()],
            "elements": [self._element(de, value) for de, _, value, _ in map(_numbered, self.rows())],
            "mistakes": [
                {"rule": one.rule, "offset": one.offset, "certainty": round(one.certainty), "text": one.text()}
                for one in self.mistakes
            ],
            "candidates": [msgspec.to_builtins(guess) for guess in self.guesses],
        }  # fmt: skip

    def _element(self, de: int, value: str) -> dict[str, Any]:
        at, width = self.spans.get(de, (0, 0))
        return {
            "de": de,
            "name": self.name(de),
            "offset": at,
            "length": width,
            "raw": self.raw(de),
            "value": value,
            "meaning": self.meanings.get(de, ("", ""))[0] or None,
            "parts": [
                {
                    "key": part.key,
                    "name": part.names[0] or None,
                    "value": part.value,
                    "meaning": part.meanings[0] or None,
                }
                for part in self.parts.get(de, ())
            ],
        }


def inspect_message(
    message: str | bytes,
    dialect: str | None = None,
    *,
    unmask: bool = False,
    source: str = "",
    candidates: int = 0,
    problem: Problem | None = None,
    clearing: bool = False,
) -> Inspection:
    """Explain one message given as hex digits (blanks allowed) or as raw bytes.

    `dialect` restricts the guess to that one; raises LookupError when there is no such dialect, and
    nothing else. Values are masked unless `unmask`; of a message that does not decode, or hardly, every
    long run of digits is masked, since elements may stand in the wrong place. `candidates` is how many of the
    other guesses are told; `problem` is what was wrong with the text that the bytes were read from,
    which comes before what is wrong with them. Of a record of a `clearing` file its dialects come first.
    """
    names = [dialect] if dialect else list(registry.names())
    if clearing:
        names.sort(key=lambda name: not name.startswith("ipm"))
    codecs = [codec_for(name) for name in names]
    if isinstance(message, str):
        data, problem = inputs.octets_of_hex(message)
    else:
        data = message
    if len(data) > MESSAGE_BYTES_MAX:
        reason = f"more than {MESSAGE_BYTES_MAX} bytes in one message"
        problem, data = Problem(None, MESSAGE_BYTES_MAX, reason), data[:MESSAGE_BYTES_MAX]
    ranked = ranking.candidates(data, codecs)
    codec, framing, found = _best(ranked, codecs)
    error = problem or _problem(framing, found.error)
    doubtful = error is not None or ranked[0].score < SURE or not framing.usual_header
    spoken = None if codec is None else codec.dialect
    family = "" if spoken is None else spoken.family
    shown = masking.shown(data, framing, found, family, doubtful=doubtful, unmask=unmask)
    return Inspection(
        dialect=None if spoken is None else spoken.name,
        framing=framing,
        mti=shown.values.get(0),
        fields={de: value for de, value in shown.values.items() if de},
        spans={de: (at + framing.width, size) for de, (at, size) in found.spans.items()},
        # what a value means can tell its digits
        meanings={
            de: said
            for de, said in words.meanings(found.message, spoken).items()
            if de in shown.in_full
        },
        error=error,
        unmasked=unmask,
        doubtful=doubtful,
        parts=words.parts(
            found.message,
            spoken,
            shown.in_full,
            unmask=unmask,
            strict=doubtful,
        ),
        mistakes=wrong.mistakes(data, ranked, codecs),
        guesses=[_guess(candidate) for candidate in ranked[:candidates]],
        shown=shown.in_full,
        tpdu_shown=shown.tpdu,
        source=source,
        data=data,
        message=found.message,
    )


def inspect_input(
    given: str | bytes,
    kind: Kind | None = None,
    dialect: str | None = None,
    *,
    unmask: bool = False,
    candidates: int = 0,
) -> Iterator[Inspection]:
    """Explain every message of an input, one after another: `inspector.inputs` says what kinds there
    are. Raises LookupError when there is no such dialect, and nothing else."""
    for captured in inputs.captured(given, kind):
        found = inspect_message(
            captured.data,
            dialect,
            unmask=unmask,
            source=captured.source,
            candidates=candidates,
            problem=captured.problem,
            clearing=captured.clearing,
        )
        if captured.text and not found.ok:  # a message whose characters are all hex digits
            plain = inspect_message(
                captured.text,
                dialect,
                unmask=unmask,
                source=captured.source,
                candidates=candidates,
            )
            found = plain if plain.ok else found
        yield found


def _best(
    ranked: Sequence[Candidate], codecs: Sequence[Codec]
) -> tuple[Codec | None, Framing, Explanation]:
    """The first candidate; no dialect and no elements where it is no message."""
    if not ranked:
        empty = Explanation({}, DecodeError(0, 0, "no message"), {})
        return None, Framing(b"", b"", b""), empty
    first = ranked[0]
    if len(codecs) > 1 and wrong.is_no_message(ranked):
        none = DecodeError(0, 0, "no MTI of any dialect")
        return None, Framing(b"", b"", b""), Explanation({}, none, {})
    if len(codecs) > 1 and not first.found.message:
        return None, first.framing, first.found
    return first.codec, first.framing, first.found


def _problem(framing: Framing, error: DecodeError | None) -> Problem | None:
    if error is None or (error.de is None and framing.problem is not None):
        return framing.problem
    return Problem(error.de, framing.width + error.offset, error.reason)


def _guess(candidate: Candidate) -> Guess:
    framing = candidate.framing
    said = [
        f"{name} {len(octets)}"
        for name, octets in (
            (framing.form, framing.length),
            ("TPDU", framing.tpdu),
            ("header", framing.header),
        )
        if octets
    ]
    return Guess(
        dialect=candidate.codec.dialect.name,
        framing=", ".join(said) or "-",
        score=round(candidate.score),
        elements=len(candidate.found.message),
        error=_problem(framing, candidate.found.error),
    )


def _frame_part(part: FramePart) -> dict[str, Any]:
    return {
        "part": part.part,
        "name": part.names[0],
        "offset": part.offset,
        "length": part.size,
        "raw": part.raw,
        "value": part.value,
        "meaning": part.meaning[0] or None,
        "fields": [
            {"key": field.key, "name": field.names[0], "value": field.value}
            for field in part.fields
        ],
    }


def _numbered(row: tuple[str, str, str, str]) -> tuple[int, str, str, str]:
    return int(row[0]), *row[1:]
