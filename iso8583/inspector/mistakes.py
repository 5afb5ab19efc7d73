"""What the peer, or who made the capture, probably did wrong: a table of small rules.

A rule looks at one guess (`Case`) and gives the mistakes that it finds, each with the byte, what
speaks for it, and how sure it is (0 to 100). Most rules undo the mistake they stand for and see
whether the message then decodes whole: 55 + 40 times the share of values that look right, less a
handicap where the change is one that many damaged messages allow. The others have figures of their
own, written beside them. Best first; the table's order breaks ties. Texts: `iso8583.texts`.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from iso8583 import elements
from iso8583.errors import DecodeError
from iso8583.inspector import repairs
from iso8583.inspector.candidates import Candidate, begins, candidates, distinct, family, share
from iso8583.inspector.framings import framings, stated_length
from iso8583.inspector.plausible import implausible
from iso8583.reading import build_reader, prefix_counts
from iso8583.texts import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iso8583.codec import Codec, Explanation

SHOWN: Final = 3
REPAIRED_BYTES_MAX: Final = 4_096  # of longer messages only what stands at their ends is looked at
GUESSES: Final = 3  # how many framings and dialects are looked at in any case
GUESSES_MAX: Final = 10  # … while nothing is found that is this sure:
ENOUGH: Final = 75
TRIAL_BYTES_MAX: Final = 400_000  # decoded by one rule on one guess
HEADER_BYTES_MAX: Final = 80
HANDICAPS: Final = {"prefix_width": 15, "bcd_for_ascii": 8}
_HEX: Final = b"0123456789ABCDEFabcdef"


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
        base = family(guess.codec.dialect)
        near = [c for c in codecs if c is not guess.codec and family(c.dialect) == base]
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


def mistakes(data: bytes, ranked: Sequence[Candidate], codecs: Sequence[Codec]) -> list[Mistake]:
    """What is probably wrong, the likeliest first, at most `SHOWN`; empty where nothing speaks for
    any. Of a message that decodes only what stands before it, and fillers on the wrong side."""
    if not ranked:
        return []
    if ranked[0].ok:
        found = _found(Case.of(data, ranked[0], codecs), NOTES)
    else:
        short = len(data) <= REPAIRED_BYTES_MAX
        found = _found(Case.of(data, ranked[0], codecs), BYTES if short else (bytes_replaced,))
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
    best: dict[str, Mistake] = {}
    for mistake in sorted(found, key=lambda mistake: -mistake.certainty):
        best.setdefault(mistake.rule, mistake)
    return list(best.values())[:SHOWN]


def _found(case: Case, rules: Sequence[Rule]) -> list[Mistake]:
    return [mistake for rule in rules for mistake in rule(case)]


# -- before the MTI ------------------------------------------------------------------------------


def tpdu_not_stripped(case: Case) -> Iterator[Mistake]:
    """The input begins with 0x60 and no length: whoever cut the length off left the TPDU."""
    framing = case.guess.framing
    if framing.tpdu and not framing.length and case.guess.whole:
        yield Mistake("tpdu_not_stripped", 0, {"width": framing.width}, 90)


def header_not_stripped(case: Case) -> Iterator[Mistake]:
    """A whole message begins behind some bytes that are no length and no TPDU."""
    framing = case.guess.framing
    if case.guess.whole:
        if framing.header and not framing.length and not framing.tpdu:
            yield Mistake("header_not_stripped", 0, {"width": len(framing.header)}, 90)
        elif framing.header and not framing.usual_header:
            yield Mistake("header_not_stripped", 0, {"width": framing.width}, 85)
        return
    for at in range(1, min(HEADER_BYTES_MAX, len(case.data))):
        body = case.data[at:]
        for codec in case.codecs:
            if begins(codec, body):
                certainty = sure(codec.generic.explain(body))
                if certainty is not None:
                    yield Mistake("header_not_stripped", 0, {"width": at}, certainty)
                    return


def length_inclusive(case: Case) -> Iterator[Mistake]:
    """The length counts itself."""
    framing = case.guess.framing
    if framing.inclusive and case.guess.whole:
        yield Mistake("length_inclusive", 0, {"size": len(case.data)}, 60)


def length_bcd(case: Case) -> Iterator[Mistake]:
    """The length is four BCD digits: read as binary it says something else."""
    framing = case.guess.framing
    if framing.form == "bcd2" and case.guess.whole:
        values: dict[str, int | str] = {
            "digits": framing.length.hex(),
            "binary": int.from_bytes(framing.length, "big"),
            "size": int(framing.length.hex()),
        }
        yield Mistake("length_bcd", 0, values, 90)


def length_wrong(case: Case) -> Iterator[Mistake]:
    """The length does not fit what follows, though a whole message does: what does it count?"""
    framing, size = case.guess.framing, len(case.data)
    if framing.problem is None or not case.guess.whole:
        return
    stated = stated_length(case.data, framing.form)
    assert stated is not None
    rest = size - len(framing.length)
    swapped = int.from_bytes(framing.length[::-1], "big")
    ways = {
        "length_characters": stated in (2 * rest, 2 * size),
        "length_little_endian": framing.form == "binary2" and swapped in (rest, size),
        "length_of_body": stated in (len(case.body), len(case.body) + len(framing.header)),
    }
    values: dict[str, int | str] = {"stated": stated, "rest": rest}
    for rule, holds in ways.items():
        if holds:
            yield Mistake(rule, 0, values, 97)
            return
    yield Mistake("length_wrong", 0, values, 88 if framing.tpdu and framing.usual_header else 75)


# -- the bytes as a whole ------------------------------------------------------------------------


def hex_as_text(case: Case) -> Iterator[Mistake]:
    """Hex digits were sent as characters: all of it, or all behind length, TPDU or header."""
    for at in (0, 2, 4, 5, 7, 11, 13):
        digits = case.data[at:]
        if len(digits) >= 20 and len(digits) % 2 == 0 and not digits.strip(_HEX):
            packed = case.data[:at] + unhexlify(digits)
            values = {"count": len(digits)}
            yield from _undone(case, packed, "hex_as_text", at, values)


def utf8_mangled(case: Case) -> Iterator[Mistake]:
    """Bytes over 7F were written as UTF-8, two for one."""
    try:
        narrow = case.data.decode("utf-8").encode("latin-1")
    except UnicodeError:
        return
    if narrow != case.data:
        wide = next(at for at, octet in enumerate(case.data) if octet > 0x7F)
        values = {"count": len(case.data) - len(narrow)}
        yield from _undone(case, narrow, "utf8_mangled", wide, values)


def bytes_replaced(case: Case) -> Iterator[Mistake]:
    """Bytes over 7F were replaced by U+FFFD or `?` marks when they went through text: lost."""
    count = case.data.count(b"\xef\xbf\xbd")
    if count:
        at = case.data.index(b"\xef\xbf\xbd")
        yield Mistake("bytes_replaced", at, {"count": count}, 97)


def newlines_changed(case: Case) -> Iterator[Mistake]:
    """Every 0A became 0D 0A: a transfer in text mode."""
    if b"\r\n" in case.data:
        undone = case.data.replace(b"\r\n", b"\n")
        at, count = case.data.index(b"\r\n"), case.data.count(b"\r\n")
        yield from _undone(case, undone, "newlines_changed", at, {"count": count})


def ebcdic(case: Case) -> Iterator[Mistake]:
    """The text is EBCDIC where the dialect has ASCII; a binary bitmap stays as it is."""
    for at in (0, 2, 4):
        body = case.data[at:]
        if not (len(body) > 12 and all(0xF0 <= octet <= 0xF9 for octet in body[:4])):
            continue
        text_of = body.decode("cp500")
        for start, end in ((4, 4), (4, 12), (4, 20)):
            parts = text_of[:start], text_of[end:]
            try:
                head, tail = (part.encode("latin-1") for part in parts)
            except UnicodeError:
                continue
            undone = head + body[start:end] + tail
            for codec in case.codecs:
                certainty = sure(codec.generic.explain(undone)) if begins(codec, undone) else None
                if certainty is not None:
                    yield Mistake("ebcdic", at, {}, certainty)
                    return


def _undone(
    case: Case, data: bytes, rule: str, at: int, values: dict[str, int | str] | dict[str, int]
) -> Iterator[Mistake]:
    """The mistake, if the bytes that it is undone in are one message."""
    ranked = candidates(data, case.codecs)
    if ranked and ranked[0].whole:
        certainty = sure(ranked[0].found)
        if certainty is not None:
            yield Mistake(rule, at, dict(values), certainty + 3)


# -- MTI and bitmap ------------------------------------------------------------------------------


def mti_written(case: Case) -> Iterator[Mistake]:
    """The MTI is four characters where two bytes are meant, or the other way."""
    for framing in framings(case.data):
        if not framing.usual_header:
            continue
        body = case.data[framing.width :]
        for codec in case.codecs:
            undone = repairs.other_mti(codec.generic, body)
            if undone is None or not begins(codec, undone):
                continue
            certainty = sure(codec.generic.explain(undone))
            if certainty is not None:
                rule = "mti_ascii" if codec.generic.mti_width == 2 else "mti_bcd"
                yield Mistake(rule, framing.width, {}, certainty)
                return


def bitmap_written(case: Case) -> Iterator[Mistake]:
    """The bitmap is hex characters where bytes are meant, or the other way."""
    generic = case.guess.codec.generic
    undone = repairs.other_bitmap(generic, case.body)
    found = None if undone is None else case.tried(undone)
    certainty = None if found is None else sure(found)
    if certainty is not None:
        rule = "bitmap_hex" if generic.bitmap_width == 8 else "bitmap_binary"
        yield Mistake(rule, case.guess.framing.width + generic.mti_width, {}, certainty + 2)


def bitmap_lies(case: Case) -> Iterator[Mistake]:
    """The bitmap announces an element that is not there, leaves one out that is, or means another."""
    generic = case.guess.codec.generic
    at = case.guess.framing.width + generic.mti_width
    try:
        said = repairs.elements_announced(generic, case.body)
    except DecodeError:
        return
    best: list[Mistake] = []
    for changed, rule, values, handicap in islice(_other_bits(case, said), case.trials):
        if not changed:
            continue
        found = case.tried(repairs.announced(generic, case.body, changed))
        certainty = None if found is None else sure(found, handicap)
        if (
            found is not None
            and certainty is not None
            and not set(values.values()) & set(implausible(found.message))
        ):
            best.append(Mistake(rule, at, values, certainty))
    yield from sorted(best, key=lambda mistake: -mistake.certainty)[:1]


def _other_bits(
    case: Case, said: list[int]
) -> Iterator[tuple[list[int], str, dict[str, int | str], float]]:
    """Other bitmaps: one element less, one more, one for another."""
    rows = [row.de for row in case.guess.codec.dialect.elements]
    error = case.error
    last = 128 if error is None or error.de is None else error.de
    for de in said:
        if de <= last:
            handicap = 2 if de in (64, 128) else 0
            yield [other for other in said if other != de], "bitmap_announces", {"de": de}, handicap
    for de in rows:
        if de not in said and (de <= last or error is None or error.de is None):
            yield [*said, de], "bitmap_leaves_out", {"de": de}, 3 if de not in (52, 64, 128) else 8
    for de in said:
        if de <= last:
            rest = [other for other in said if other != de]
            for other in rows:
                if other not in said and abs(other - de) <= 3:
                    yield (
                        [*rest, other],
                        "bitmap_means",
                        {"de": de, "other": other},
                        7 if error is not None and error.de else 30,
                    )


# -- elements ------------------------------------------------------------------------------------


def element_written(case: Case) -> Iterator[Mistake]:
    """One element is written otherwise: other digits, filler, side, length."""
    generic, body = case.guess.codec.generic, case.body
    best: list[Mistake] = []
    for de, at in islice(_suspects(case), 40):
        row = case.guess.codec.dialect.element(de)
        if row is None:
            continue
        for rule, other in repairs.rows_instead(row):
            found = generic.explain(body, {de: build_reader(other)})
            odd = 10 * (de in implausible(found.message))
            far = 8 * (case.error is not None and de != case.error.de)
            certainty = sure(
                found, HANDICAPS.get(rule, 0) + odd + (far if rule in HANDICAPS else 0)
            )
            if certainty is not None:
                offset = case.guess.framing.width + at
                best.append(Mistake(rule, offset, {"de": de}, certainty))
    by_rule: dict[str, Mistake] = {}
    for mistake in sorted(best, key=lambda mistake: -mistake.certainty):
        by_rule.setdefault(mistake.rule, mistake)
    yield from by_rule.values()


def prefix_wrong(case: Case) -> Iterator[Mistake]:
    """The length of one element is not its length: with another one the rest decodes."""
    generic, body = case.guess.codec.generic, case.body
    trials = 0
    for de, at in _suspects(case):
        row = case.guess.codec.dialect.element(de)
        if row is None or row.prefix == "fixed":
            continue
        packed = row.prefix.endswith(("_bcd", "_bin"))
        for written, units in prefix_counts(row).items():
            trials += 1
            if trials > case.trials or at + row.counted(units) // 2 > len(body):
                break
            octets = unhexlify(written) if packed else written.encode("latin-1")
            if body[at : at + len(octets)] == octets:
                continue
            found = generic.explain(body[:at] + octets + body[at + len(octets) :])
            certainty = sure(found, 14 + 10 * (de in implausible(found.message)))
            if certainty is not None and units:
                values: dict[str, int | str] = {"de": de, "units": units}
                yield Mistake("prefix_wrong", case.guess.framing.width + at, values, certainty)
                return


def _suspects(case: Case) -> Iterator[tuple[int, int]]:
    """The element that the error names and those before it, the nearest first: (DE, offset)."""
    error, spans = case.error, case.guess.found.spans
    read = [(de, at) for de, (at, _) in spans.items() if de > 1]
    if error is not None and error.de is not None and error.de > 1:
        if error.de not in spans:
            yield error.de, max((at + width for at, width in spans.values()), default=0)
        read = [(de, at) for de, at in read if de <= error.de]
    yield from reversed(read)


def filler_side(case: Case) -> Iterator[Mistake]:
    """An odd count of digits with the filler on the other side, in a message that decodes: seen only
    by values that then look right."""
    wrong = implausible(case.guess.found.message)
    for de in wrong:
        row = case.guess.codec.dialect.element(de)
        at = case.guess.found.spans.get(de, (0, 0))[0]
        for rule, other in repairs.rows_instead(row) if row is not None else ():
            if rule == "filler_side":
                found = case.guess.codec.generic.explain(case.body, {de: build_reader(other)})
                if found.error is None and de not in implausible(found.message):
                    offset = case.guess.framing.width + at
                    yield Mistake(rule, offset, {"de": de}, 55)
                    break


def hex_in_binary(case: Case) -> Iterator[Mistake]:
    """Hex characters in an element that holds any bytes: it decodes, and is not what was meant."""
    for de, value in case.guess.found.message.items():
        if not isinstance(value, bytes) or len(value) < 24 or len(value) % 2:
            continue
        if not value.strip(_HEX):
            at = case.guess.framing.width + case.guess.found.spans[de][0]
            yield Mistake("hex_for_binary", at, {"de": de}, 55)


# -- the end -------------------------------------------------------------------------------------


def mac_missing(case: Case) -> Iterator[Mistake]:
    """The last bit announces a MAC, and the message ends where it should begin."""
    error = case.error
    if error is not None and error.de in (64, 128) and error.offset == len(case.body):
        yield Mistake("mac_missing", case.at, {"de": error.de}, 96)


def cut(case: Case) -> Iterator[Mistake]:
    """The message ends within an element, and all before it is in order."""
    error = case.error
    if error is None or error.de is None or not error.reason.startswith("needs "):
        return
    stated = stated_length(case.data, case.guess.framing.form) if case.guess.framing.form else None
    values: dict[str, int | str] = {"de": error.de, "size": len(case.data)}
    rest = len(case.data) - len(case.guess.framing.length)
    if stated is not None and stated > rest:
        yield Mistake("cut_by_length", case.at, values | {"stated": stated, "rest": rest}, 98)
    else:
        certainty = 50 + 40 * share(case.guess.found)
        if case.guess.framing.length:  # which says that nothing is missing
            certainty -= 20
        yield Mistake("cut", case.at, values, certainty)


def glued(case: Case) -> Iterator[Mistake]:
    """Behind a whole message stands another, or bytes that belong to none."""
    end = _end(case)
    if end is None:
        return
    tail = case.data[end:]
    ranked = candidates(tail, case.codecs)
    values: dict[str, int | str] = {"count": len(tail)}
    if ranked and ranked[0].whole and len(ranked[0].found.message) > 1 and ranked[0].score > 80:
        yield Mistake("glued", end, values, 98)
    elif not tail.strip(b"\x00") or not tail.strip(b"\r\n \x03\x04\xff@"):
        yield Mistake("trailing_filler", end, values, 97)
    else:
        yield Mistake("trailing", end, values, 42 + 40 * share(case.guess.found))


def _end(case: Case) -> int | None:
    """Where the whole message ends and something else begins; None where nothing is left over."""
    framing = case.guess.framing
    stated = stated_length(case.data, framing.form) if framing.form else None
    if framing.problem is not None and stated is not None:
        for end in (len(framing.length) + stated, stated):
            if framing.width < end < len(case.data):
                whole = case.guess.codec.explain(case.data[framing.width : end]).error is None
                if whole:
                    return end
    if case.error is not None and case.error.de is None:
        return case.at
    return None


NOTES: Final[tuple[Rule, ...]] = (
    tpdu_not_stripped,
    header_not_stripped,
    length_bcd,
    length_inclusive,
    filler_side,
    hex_in_binary,
)
BYTES: Final[tuple[Rule, ...]] = (
    hex_as_text,
    bytes_replaced,
    utf8_mangled,
    newlines_changed,
    ebcdic,
    mti_written,
    header_not_stripped,
)
FRAME: Final[tuple[Rule, ...]] = (glued, length_wrong, header_not_stripped)
ENDS: Final[tuple[Rule, ...]] = (mac_missing, glued, cut)
RULES: Final[tuple[Rule, ...]] = (
    mac_missing,
    glued,
    bitmap_written,
    element_written,
    bitmap_lies,
    prefix_wrong,
    cut,
)
