"""What of a message may be shown: everything of one that is sure, little of one that is in doubt.

A message that does not decode, or hardly, may have its elements, its MTI and even its frame in the wrong
place, so that any of them may hold digits of a PAN. What is then masked:

| what                      | when                                                                    |
| ------------------------- | ----------------------------------------------------------------------- |
| long digits in an element | always                                                                  |
| an element, the bitmap    | on a PAN behind its length whose check digit fits, or on a track        |
| an element, bitmap, MTI   | on digits that may be a PAN, unless the elements are in place           |
| TPDU                      | unless the frame is believed                                            |
| header                    | always                                                                  |

Elements are in place where at least two say what only theirs say (a time, a date, a currency …), and
none says something else. A frame is believed where its length fits, where TPDU, terminal header and MTI
stand behind each other, or where the elements are in place.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, Final, NamedTuple

from iso8583.inspector import cards, plausible
from iso8583.message import masked
from iso8583.track import luhn_ok

if TYPE_CHECKING:
    from iso8583.codec import Explanation
    from iso8583.inspector.framings import Framing
    from iso8583.message import Message

_LONG: Final = re.compile(r"[0-9]{9,12}")
_BITMAP_LIKE_A_PAN: Final = re.compile(r"[3-6][0-9]{10}")


class Shown(NamedTuple):
    """Every value as it may be shown, what is shown in full (0 the MTI, 1 the bitmap), and whether the
    TPDU is."""

    values: dict[int, str]
    in_full: frozenset[int]
    tpdu: bool


def shown(
    data: bytes,
    framing: Framing,
    found: Explanation,
    family: str,
    *,
    doubtful: bool,
    unmask: bool,
) -> Shown:
    """What may be shown of a message that was read so; the MTI is among the values."""
    clear = _clear(found.message)
    if unmask:
        return Shown(clear, frozenset({0, 1, *clear}), tpdu=True)
    values = masked(found.message, strict=doubtful, family=family)
    if not doubtful:
        full = {de for de, value in values.items() if value == clear[de]}
        return Shown(values, frozenset({0, 1} | full), tpdu=True)
    values = {de: _LONG.sub(_without_middle, value) for de, value in values.items()}
    in_place = plausible.in_place(found.message)
    believed = in_place or _is_frame(framing, found)
    hidden = _on_cards(data, framing, found)
    if not in_place:
        hidden |= _on_digits(data, framing, found, believed=believed)
        values |= {de: "*" * len(clear[de]) for de in (2, 35) if _is_no_card(found.message.get(de))}
    for de in hidden & values.keys() - {0, 2, 35}:
        value = found.message[de]
        values[de] = f"[{len(value)} {'bytes' if isinstance(value, bytes) else 'characters'}]"
    if 0 in hidden:
        values.pop(0, None)
    full = {0, 1} | {de for de, value in values.items() if value == clear[de]}
    return Shown(values, frozenset(full - hidden), tpdu=believed)


def _is_frame(framing: Framing, found: Explanation) -> bool:
    """Whether what stands before the body can hardly be digits of something else."""
    fits = bool(framing.length) and framing.problem is None
    of_a_terminal = bool(framing.tpdu) and len(framing.header) == 6 and framing.usual_header
    return fits or (of_a_terminal and 0 in found.message)


def _on_cards(data: bytes, framing: Framing, found: Explanation) -> set[int]:
    """What has a piece of a PAN that its length and check digit tell, or of a track: bitmap and
    elements but DE 2 and 35 (shown as masks)."""
    at, size = found.spans.get(1, (0, 0))
    on = _on(cards.places(data, framing.width + at + size), framing, found)
    bitmap = data[framing.width + at : framing.width + at + size]
    return on | {1} if _has_digits_of_a_pan(bitmap) else on


def _on_digits(data: bytes, framing: Framing, found: Explanation, *, believed: bool) -> set[int]:
    """What has a piece of anything that may be a PAN, whatever its check digit; the MTI only where
    the digits begin before it, MTI and bitmap only where the frame is not believed."""
    spans = cards.digits(data)
    on = _on(spans, framing, found)
    if believed:
        return on - {0, 1}
    return on if any(start < framing.width < end for start, end in spans) else on - {0}


def _on(places: list[tuple[int, int]], framing: Framing, found: Explanation) -> set[int]:
    covered = bytearray(max((end for _, end in places), default=0))
    for start, end in places:
        covered[start:end] = b"\x01" * (end - start)
    body = covered[framing.width :]
    return {
        de
        for de, (at, size) in found.spans.items()
        if de not in (2, 35) and (de in found.message or de == 1) and 1 in body[at : at + size]
    }


def _is_no_card(value: str | bytes | None) -> bool:
    """Whether this is no PAN and no track that begins with one: to be shown not even as a mask."""
    return isinstance(value, str) and not luhn_ok(re.split("[=D]", value, maxsplit=1)[0])


def _has_digits_of_a_pan(bitmap: bytes) -> bool:
    """Whether what was taken for a bitmap may be a PAN: more digits in a row than a mask shows, from
    one that PANs begin with. Bitmaps with DE 41 or 42 have a letter before."""
    written = [bitmap.decode("latin-1"), bitmap.decode("cp500")] if len(bitmap) % 16 == 0 else []
    digits = next((text for text in written if not text.strip(string.hexdigits)), bitmap.hex())
    return _BITMAP_LIKE_A_PAN.search(digits) is not None


def _without_middle(run: re.Match[str]) -> str:
    """The run's first and last two digits; the whole where only six digits are not leading zeros, as
    in an amount."""
    digits = run.group()
    if len(digits.lstrip("0")) <= 6:
        return digits
    return f"{digits[:2]}{'*' * (len(digits) - 4)}{digits[-2:]}"


def _clear(message: Message) -> dict[int, str]:
    return {
        de: value.hex().upper() if isinstance(value, bytes) else value
        for de, value in sorted(message.items())
    }
