"""Mistakes in how the message is written: as a whole, its MTI and bitmap, one element."""

from __future__ import annotations

from binascii import unhexlify
from itertools import islice
from typing import TYPE_CHECKING, Final

from iso8583.errors import DecodeError
from iso8583.inspector import repairs
from iso8583.inspector.candidates import begins, candidates
from iso8583.inspector.case import Case, Mistake, sure
from iso8583.inspector.framings import framings
from iso8583.inspector.plausible import implausible
from iso8583.reading import build_reader, prefix_counts

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of rules under which many damaged messages decode.
HANDICAPS: Final = {"prefix_width": 15, "bcd_for_ascii": 8}
_HEX: Final = b"0123456789ABCDEFabcdef"


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
    """Other bitmaps: one element less, one more, one for another; with what they must make good for:
    an element of any bytes swallows whatever is left over."""
    rows = {row.de: row for row in case.guess.codec.dialect.elements}
    named = None if case.error is None else case.error.de
    last = named or 192
    for de in said:
        if de <= last:
            less = [other for other in said if other != de]
            yield less, "bitmap_announces", {"de": de}, 2 if de in (64, 128) else 0
    for de, row in rows.items():
        if de not in said and de <= last:
            yield [*said, de], "bitmap_leaves_out", {"de": de}, 8 if row.content == "b" else 3
    for de in said:
        for other, row in rows.items():
            if de <= last and other not in said and abs(other - de) <= 3:
                swapped = [other, *(one for one in said if one != de)]
                handicap = 7 if named and row.content != "b" else 20
                yield swapped, "bitmap_means", {"de": de, "other": other}, handicap


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
