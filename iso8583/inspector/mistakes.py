"""What the peer, or who made the capture, probably did wrong: a table of small rules.

A rule looks at one guess (`Case`) and gives the mistakes that it finds, each with the byte, what
speaks for it, and how sure it is (0 to 100). Most rules undo the mistake they stand for and see
whether the message then decodes whole: 55 + 40 times the share of values that look right, less a
handicap where the change is one that many damaged messages allow. The others have figures of their
own, written beside them. Best first; the table's order breaks ties. Texts: `iso8583.texts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from iso8583.inspector import rules_of_contents as contents, rules_of_frames as frames
from iso8583.inspector.candidates import Candidate, distinct
from iso8583.inspector.case import Case, Mistake, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iso8583.codec import Codec

SHOWN: Final = 3
REPAIRED_BYTES_MAX: Final = 4_096  # of longer messages only what stands at their ends is looked at
GUESSES: Final = 3  # how many framings and dialects are looked at in any case
GUESSES_MAX: Final = 10  # ... while nothing is found that is this sure:
ENOUGH: Final = 75

# Of a message that decodes.
NOTES: Final[tuple[Rule, ...]] = (
    frames.tpdu_not_stripped,
    frames.header_not_stripped,
    frames.length_bcd,
    frames.length_inclusive,
    contents.filler_side,
    contents.hex_in_binary,
)
# Whatever the guess.
BYTES: Final[tuple[Rule, ...]] = (
    contents.hex_as_text,
    contents.bytes_replaced,
    contents.utf8_mangled,
    contents.newlines_changed,
    contents.ebcdic,
    contents.mti_written,
    frames.header_not_stripped,
)
NO_MESSAGE_BELOW: Final = 45  # the score
# Of a guess whose body is whole.
FRAME: Final[tuple[Rule, ...]] = (frames.glued, frames.length_wrong, frames.header_not_stripped)
# Of one that is not: long messages, and others.
ENDS: Final[tuple[Rule, ...]] = (frames.mac_missing, frames.glued, frames.cut)
RULES: Final[tuple[Rule, ...]] = (
    frames.mac_missing,
    frames.glued,
    contents.bitmap_written,
    contents.element_written,
    contents.bitmap_lies,
    contents.prefix_wrong,
    frames.cut,
)


def mistakes(data: bytes, ranked: Sequence[Candidate], codecs: Sequence[Codec]) -> list[Mistake]:
    """What is probably wrong, the likeliest first, at most `SHOWN`; empty where nothing speaks for
    any. Of a message that decodes only what stands before it, and fillers on the wrong side."""
    if not ranked:
        return []
    if ranked[0].ok:
        found = _found(Case.of(data, ranked[0], codecs), NOTES)
    else:
        short = len(data) <= REPAIRED_BYTES_MAX
        found = _found(
            Case.of(data, ranked[0], codecs), BYTES if short else (contents.bytes_replaced,)
        )
        for number, guess in enumerate(distinct(ranked, GUESSES_MAX)):
            enough = any(mistake.certainty >= ENOUGH for mistake in found)
            if guess.score < ranked[0].score - 25 or (enough and number >= GUESSES):
                break
            less = (ranked[0].score - guess.score) / 2
            rules = FRAME if guess.whole else RULES if short else ENDS
            found += [
                msgspec.structs.replace(mistake, certainty=mistake.certainty - less)
                for mistake in _found(Case.of(data, guess, codecs), rules)
            ]
    if not found and is_no_message(ranked):
        return [Mistake("no_message", 0, {}, 50)]
    best: dict[str, Mistake] = {}
    for mistake in sorted(found, key=lambda mistake: -mistake.certainty):
        best.setdefault(mistake.rule, mistake)
    return list(best.values())[:SHOWN]


def is_no_message(ranked: Sequence[Candidate]) -> bool:
    """Whether little speaks for the best guesses, and none has an MTI: one of 2003 with nothing behind it
    is none, as text may begin so (`# ` is 2320)."""
    best = ranked[0].score
    return best < NO_MESSAGE_BELOW and not any(
        0 in one.found.message and (len(one.found.message) > 1 or str(one.found.message[0]) < "2")
        for one in ranked
        if one.score > best - 1
    )


def _found(case: Case, rules: Sequence[Rule]) -> list[Mistake]:
    return [mistake for rule in rules for mistake in rule(case)]
