"""Mistakes before the MTI and at the end: lengths, TPDU, headers, what is missing and what is too much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iso8583.inspector.candidates import begins, candidates, share
from iso8583.inspector.case import Case, Mistake, sure
from iso8583.inspector.framings import stated_length

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER_BYTES_MAX: Final = 80


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
