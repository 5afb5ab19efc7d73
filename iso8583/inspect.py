"""Why did it not parse? Tries framings and dialects on one captured message and explains the best.

A framing is a guess at what stands before the MTI: a length (2 bytes binary or 4 digits, counting
itself or not), a TPDU, a header (6 bytes usually; 7, 2, 12 or 46 met; or a dial-up block `FD LLLL …`
before six). Every guess is decoded in every dialect; the first that decodes whole wins, else the
one that gets furthest. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from iso8583 import amount, codes, elements, mti as mti_words
from iso8583.codec import Codec, Explanation, codec_for
from iso8583.dialects import registry
from iso8583.errors import DecodeError
from iso8583.framing import TPDU_BYTES
from iso8583.message import Message, masked
from iso8583.texts import text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

MESSAGE_BYTES_MAX: Final = 65_537
_HEADER_WIDTHS: Final = (6, 0, 7, 2, 12, 46)
_USUAL: Final = ("unionpay_pos", "iso1987_ascii")


class Problem(msgspec.Struct, frozen=True):
    """What is wrong: element (None when none is to blame), byte offset in the input, rule."""

    de: int | None
    offset: int
    reason: str


class Framing(msgspec.Struct, frozen=True):
    """What stands before the body, as bytes of the wire; empty where there is none."""

    length: bytes
    tpdu: bytes
    header: bytes
    problem: Problem | None = None

    @property
    def width(self) -> int:
        """Bytes before the body."""
        return len(self.length) + len(self.tpdu) + len(self.header)


class Inspection(msgspec.Struct, frozen=True):
    """One message explained. `fields` holds text fit to show (clear only if unmasked was asked)."""

    dialect: str | None
    framing: Framing
    mti: str | None
    fields: dict[int, str]
    spans: dict[int, tuple[int, int]]
    meanings: dict[int, tuple[str, str]]
    error: Problem | None
    unmasked: bool = False

    @property
    def ok(self) -> bool:
        """Whether the whole input is one message."""
        return self.error is None

    def to_json_dict(self) -> dict[str, Any]:
        """The object of `tongbao inspect --json`; see `docs/interfaces.md`."""
        return {
            "dialect": self.dialect,
            "framing": {
                "length": _hex_or_none(self.framing.length),
                "tpdu": _hex_or_none(self.framing.tpdu),
                "header": self.header_shown or None,
            },
            "mti": self.mti,
            "fields": {str(de): value for de, value in self.fields.items()},
            "error": None if self.error is None else msgspec.to_builtins(self.error),
        }

    @property
    def header_shown(self) -> str:
        """In hex; of a message that does not decode only its width: what was guessed to be a
        header may be elements, with digits of a PAN."""
        header = self.framing.header
        if not header or self.error is None or self.unmasked:
            return header.hex().upper()
        return f"[{len(header)} bytes]"

    def rows(self, lang: str = "en") -> list[tuple[str, str, str, str]]:
        """DE, name, value, meaning: one row an element, the MTI first."""
        chinese = lang.startswith("zh")
        rows = []
        if self.mti is not None:
            rows.append(("0", elements.name(0, lang), self.mti, mti_words.describe(self.mti)))
        rows += [
            (str(de), elements.name(de, lang), value, self.meanings.get(de, ("", ""))[chinese])
            for de, value in self.fields.items()
        ]
        return rows

    def summary(self, lang: str = "en") -> str:
        """One line: dialect, framing, and the error if there is one."""
        parts = [
            f"{part} {value}"
            for part, value in (
                (text("length", lang), self.framing.length.hex().upper()),
                ("TPDU", self.framing.tpdu.hex().upper()),
                ("header", self.header_shown),
            )
            if value
        ]
        line = f"{text('dialect', lang)} {self.dialect or '-'} · {text('framing', lang)} "
        line += ", ".join(parts) or "-"
        if self.error is None:
            return f"{line} · {text('decoded', lang)}"
        where = "" if self.error.de is None else f"DE {self.error.de} "
        at = f"{where}{text('at_byte', lang)} {self.error.offset}"
        return f"{line} · {text('error', lang)}: {at}: {self.error.reason}"

    def table(self, lang: str = "en") -> Table:
        """The rows as a rich table, for the command line."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self.summary(lang)), title_justify="left")
        for heading in ("element", "name", "value", "meaning"):
            table.add_column(
                text(heading, lang),
                overflow="fold",
                justify="right" if heading == "element" else "left",
            )
        for row in self.rows(lang):
            table.add_row(*(Text(cell) for cell in row))
        return table


def inspect_message(
    message: str | bytes, dialect: str | None = None, *, unmask: bool = False
) -> Inspection:
    """Explain one message given as hex digits (blanks allowed) or as raw bytes.

    `dialect` restricts the guess to that one; raises LookupError when there is no such dialect, and
    nothing else. Values are masked unless `unmask`; of a message that does not decode, every run of
    digits is masked, since elements may stand in the wrong place.
    """
    names = registry.names()
    # terminals and the reference link first: a broken message is explained by one of these
    usual = [name for name in names if name.startswith(_USUAL)] if dialect is None else [dialect]
    codecs = [codec_for(name) for name in usual]
    data, problem = _octets(message) if isinstance(message, str) else (message, None)
    if len(data) > MESSAGE_BYTES_MAX:
        reason = f"{len(data)} bytes, at most {MESSAGE_BYTES_MAX}"
        problem, data = Problem(None, MESSAGE_BYTES_MAX, reason), data[:MESSAGE_BYTES_MAX]
    codec, framing, found = _best(data, codecs)
    if dialect is None and problem is None and (found.error or framing.problem):
        others = [codec_for(name) for name in names if name not in usual]
        better = _best(data, others)
        if better[2].error is None and better[1].problem is None:
            codec, framing, found = better
    error = problem or _problem(framing, found.error)
    mti = found.message.get(0)
    shown = _clear(found.message) if unmask else masked(found.message, strict=error is not None)
    shown.pop(0, None)
    return Inspection(
        dialect=None if codec is None else codec.dialect.name,
        framing=framing,
        mti=mti if isinstance(mti, str) else None,
        fields=shown,
        spans={de: (at + framing.width, size) for de, (at, size) in found.spans.items()},
        meanings=_meanings(found.message),
        error=error,
        unmasked=unmask,
    )


def _octets(digits: str) -> tuple[bytes, Problem | None]:
    """The bytes of hex digits, up to the first character that is none."""
    packed = re.sub(r"\s+", "", digits)
    bad = re.search(r"[^0-9A-Fa-f]", packed)
    if bad is not None:
        whole = bytes.fromhex(packed[: bad.start() & ~1])
        return whole, Problem(None, len(whole), "not a hex digit")
    whole = bytes.fromhex(packed[: len(packed) & ~1])
    if len(packed) % 2:
        return whole, Problem(None, len(whole), "odd number of hex digits")
    return whole, None


def _best(data: bytes, codecs: list[Codec]) -> tuple[Codec | None, Framing, Explanation]:
    """The guess that decodes whole with a right length; else whole; else with most elements."""
    best: tuple[Codec | None, Framing, Explanation] | None = None
    best_rank = (
        0,
        1,
    )  # an MTI alone, with nothing read behind it, says little: the first guess stays
    for framing in _framings(data):
        body = data[framing.width :]
        for codec in codecs:
            found = codec.explain(body)
            if 0 not in found.message:
                if best is None:
                    best = (codec if len(codecs) == 1 else None, framing, found)
                continue
            whole = found.error is None
            rank = (whole * (2 if framing.problem is None else 1), len(found.message))
            if rank[0] == 2:
                return codec, framing, found
            if rank > best_rank:
                best, best_rank = (codec, framing, found), rank
    if best is None:
        empty = Explanation({}, DecodeError(0, 0, "no message"), {})
        return None, Framing(b"", b"", b""), empty
    return best


def _framings(data: bytes) -> Iterator[Framing]:
    """Guesses at what stands before the body, the likeliest first."""
    for length, problem in _lengths(data):
        rest = data[len(length) :]
        tpdus = [rest[:TPDU_BYTES], b""] if rest[:1] == b"\x60" else [b""]
        for tpdu in tpdus:
            after = rest[len(tpdu) :]
            widths: tuple[int, ...] = _HEADER_WIDTHS
            if after[:1] == b"\xfd" and len(after) > 3:
                block = 3 + int.from_bytes(after[1:3], "big")
                widths = (block + 6, block, *widths)
            for width in widths:
                if width < len(after):
                    yield Framing(length, tpdu, after[:width], problem)


def _lengths(data: bytes) -> list[tuple[bytes, Problem | None]]:
    """Lengths that fit, then none, then a binary one that does not fit."""
    size = len(data)
    stated = int.from_bytes(data[:2], "big")
    lengths: list[tuple[bytes, Problem | None]] = []
    if size > 2 and stated in (size - 2, size):
        lengths.append((data[:2], None))
    if size > 4 and data[:4].isdigit() and int(data[:4]) in (size - 4, size):
        lengths.append((data[:4], None))
    lengths.append((b"", None))
    if size > 2 and stated not in (size - 2, size):
        reason = f"length says {stated} bytes, {size - 2} follow"
        lengths.append((data[:2], Problem(None, 0, reason)))
    return lengths


def _problem(framing: Framing, error: DecodeError | None) -> Problem | None:
    if error is None or (error.de is None and framing.problem is not None):
        return framing.problem
    return Problem(error.de, framing.width + error.offset, error.reason)


def _clear(message: Message) -> dict[int, str]:
    return {
        de: value.hex().upper() if isinstance(value, bytes) else value
        for de, value in sorted(message.items())
    }


def _meanings(message: Message) -> dict[int, tuple[str, str]]:
    """What the coded elements mean, (English, Chinese)."""
    coded = {de: value for de, value in message.items() if isinstance(value, str)}
    found: dict[int, tuple[str, str]] = {}
    for de, table, width in (
        (3, codes.PROCESSING_CODES, 2),
        (25, codes.CONDITIONS, 2),
        (39, codes.RESPONSE_CODES, 2),
        (70, codes.NETWORK_MANAGEMENT, 3),
    ):
        if de in coded and coded[de][:width] in table:
            found[de] = table[coded[de][:width]]
    if 22 in coded:
        found[22] = (codes.entry_mode(coded[22]), codes.entry_mode(coded[22], "zh"))
    if 49 in coded and amount.is_currency(coded[49]):
        letters = amount.CURRENCIES[coded[49]][0]
        found[49] = (letters, letters)
        if coded.get(4, "").isdigit():
            major = f"{amount.format_minor(int(coded[4]), coded[49])} {letters}"
            found[4] = (major, major)
    if len(coded.get(60, "")) >= 8:
        batch = coded[60][2:8]
        management = codes.TERMINAL_MANAGEMENT.get(coded[60][8:11], ("", ""))
        found[60] = (
            f"batch {batch} {management[0]}".strip(),
            f"批次 {batch} {management[1]}".strip(),
        )
    return found


def _hex_or_none(octets: bytes) -> str | None:
    return octets.hex().upper() or None
