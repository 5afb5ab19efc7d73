"""What may stand before the MTI: guesses, the likeliest first.

A length of the frame, a TPDU, a header; each may be missing.

| length    | bytes | how it is written                       |
| --------- | ----- | --------------------------------------- |
| `binary2` | 2     | big endian                              |
| `ascii4`  | 4     | four digits                             |
| `bcd2`    | 2     | four digits, two a byte                 |
| `binary4` | 4     | big endian (two zero bytes before it or behind it are met at Visa-like hosts) |

Each may count itself or not. Header widths met: 6 behind a TPDU; none; 7, 2; those of
`iso8583.headers` that begin with a mark of their own (12, 22, 26, 46); and a dial-up block `FD LLLL …`
before six bytes. Source: `reference/pos-messages.md` §1,
`reference/iso8583-base.md` "Framing", `corpus/README.md` "Frame".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from iso8583.framing import TPDU_BYTES
from iso8583.headers import HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterator

# width of a header -> the bytes it begins with
_MARKED: Final = {header.width: header.magic for header in HEADERS.values() if header.magic}
_WIDTHS: Final = (6, 0, 7, 2, 12, 46)
_LENGTHS: Final = (("binary2", 2), ("ascii4", 4), ("bcd2", 2), ("binary4", 4))


class Problem(msgspec.Struct, frozen=True):
    """What is wrong: element (None when none is to blame), byte offset in the input, rule."""

    de: int | None
    offset: int
    reason: str


class Framing(msgspec.Struct, frozen=True):
    """What stands before the body, as bytes of the wire; empty where there is none.

    `form` names the length as in the table above; `inclusive` when it counts itself.
    """

    length: bytes
    tpdu: bytes
    header: bytes
    problem: Problem | None = None
    form: str = ""
    inclusive: bool = False

    @property
    def width(self) -> int:
        """Bytes before the body."""
        return len(self.length) + len(self.tpdu) + len(self.header)

    @property
    def usual_header(self) -> bool:
        """Whether the header is one that explains itself: none, six bytes 60 or 61, or a mark."""
        header = self.header
        if not header:
            return True
        if len(header) == 6:
            return header[0] in (0x60, 0x61)
        mark = _MARKED.get(len(header))
        return mark is not None and header.startswith(mark)


def framings(data: bytes) -> Iterator[Framing]:
    """Guesses at what stands before the body, the likeliest first; at most 72."""
    for length, form, inclusive, problem in _lengths(data):
        rest = data[len(length) :]
        tpdus = [rest[:TPDU_BYTES], b""] if rest[:1] == b"\x60" else [b""]
        for tpdu in tpdus:
            after = rest[len(tpdu) :]
            for width in _widths(after):
                if width < len(after):
                    yield Framing(length, tpdu, after[:width], problem, form, inclusive)


def _widths(after: bytes) -> tuple[int, ...]:
    marked = tuple(
        width for width, mark in _MARKED.items() if width not in _WIDTHS and after.startswith(mark)
    )
    if after[:1] == b"\xfd" and len(after) > 3:
        block = 3 + int.from_bytes(after[1:3], "big")
        return (block + 6, block, *_WIDTHS, *marked)
    return _WIDTHS + marked


def _lengths(data: bytes) -> list[tuple[bytes, str, bool, Problem | None]]:
    """Lengths that fit, then none, then those that do not fit."""
    size = len(data)
    fit: list[tuple[bytes, str, bool, Problem | None]] = []
    misfit: list[tuple[bytes, str, bool, Problem | None]] = []
    for form, width in _LENGTHS:
        stated = stated_length(data, form)
        if stated is None or size <= width:
            continue
        if stated in (size - width, size):
            fit.append((data[:width], form, stated == size, None))
        elif form in ("binary2", "ascii4"):
            reason = f"length says {stated} bytes, {size - width} follow"
            misfit.append((data[:width], form, False, Problem(None, 0, reason)))
    return [*fit, (b"", "", False, None), *misfit]


def stated_length(data: bytes, form: str, at: int = 0) -> int | None:
    """What the length at `at` says; None where no length of that form stands there."""
    width = dict(_LENGTHS)[form]
    octets = data[at : at + width]
    if len(octets) < width:
        return None
    if form.startswith("binary"):
        return int.from_bytes(octets, "big")
    digits = octets.hex() if form == "bcd2" else octets.decode("latin-1")
    return int(digits) if digits.isascii() and digits.isdigit() else None


def frames_of(stream: bytes, most: int = 10_000) -> list[bytes] | None:
    """The frames that a stream is cut into by its own lengths, each with its length.

    A form of length is believed when it leads from the first byte to the last, or to a frame that is
    only cut at the end (given as it is); None where none does.
    """
    for whole in (True, False):
        for form, width in _LENGTHS:
            for inclusive in (False, True):
                cut = _cut(stream, form, 0 if inclusive else width, width + 4, most)
                if cut and (cut[1] or (not whole and len(cut[0]) > 2)):
                    return cut[0]
    return None


def _cut(
    stream: bytes, form: str, beside: int, least: int, most: int
) -> tuple[list[bytes], bool] | None:
    """Frames and whether the last one is whole; None where a length can not be one."""
    frames: list[bytes] = []
    at = 0
    while at < len(stream) and len(frames) < most:
        stated = stated_length(stream, form, at)
        size = 0 if stated is None else stated + beside
        if size < least:
            return None
        frames.append(stream[at : at + size])
        at += size
    return frames, at <= len(stream)
