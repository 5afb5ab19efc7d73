"""Decoders for one shape: MTI and bitmap are known, so most of a message lies where it always lies.

The code finds all offsets first. Elements of fixed width between two that are not, and the length
prefix at their end, are taken by one `struct` call; its bounds check, and one of the message's length
against the end of the last element, do for everything. BCD digits that are neighbours are turned to
text, looked at and cut at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import itemgetter
from struct import Struct
from typing import TYPE_CHECKING, Final

from iso8583.contents import bcd_content, bytes_content, is_over_ascii
from iso8583.generic import elements_of
from iso8583.reading import prefix_counts
from iso8583.specialise import Source, is_cut_from_text, to_ascii

if TYPE_CHECKING:
    from iso8583.dialects.table import Element
    from iso8583.generic import GenericCodec
    from iso8583.message import Message

Decoder = Callable[[bytes], "Message | None"]

# How `struct` takes a prefix: as a number where it has one of that width.
_NUMBERS: Final = {1: "B", 2: "H"}
_EBCDIC: Final = "cp500"  # has the digits of all EBCDIC


def decoder(codec: GenericCodec, head: bytes) -> Decoder:
    """The decoder of messages that begin with `head`: MTI and bitmap as on the wire."""
    rows = {row.de: row for row in codec.dialect.elements}
    mti = next(mti for mti, octets in codec.mtis.items() if head.startswith(octets))
    shape = [rows[de] for de in elements_of(codec.bitmap(head)[0])]
    source = Source("data")
    layout = Layout(source, len(head))
    stretches = _stretches(shape)
    for rows_together in stretches:
        layout.place(rows_together)
    layout.end()
    # a copy has room for all keys in their order: faster than a literal, which grows as it is filled
    blank = dict.fromkeys([0, *(row.de for row in shape)], mti)
    source.result(f"message = {source.bind(blank.copy)}()")
    for rows_together in stretches:
        _READ[_kind(rows_together[0])](source, rows_together, layout.octets[rows_together[0].de])
    source.result("return message")
    return source.compile("decode")


def _kind(row: Element) -> str:
    if row.encoding == "raw":
        return "raw"
    if row.encoding == "bcd" and row.content != "xn":
        fillers = row.fillers[1] if row.size % 2 and row.prefix == "fixed" else ""
        return "digits" if row.content == "n" and not fillers.strip("0123456789") else "nibbles"
    return "characters" if is_cut_from_text(row) else "other"


def _stretches(shape: list[Element]) -> list[list[Element]]:
    """The shape cut into elements read at once: BCD digits, of which the first may have a length."""
    found: list[list[Element]] = []
    for row in shape:
        if found and row.prefix == "fixed" and _kind(row) == _kind(found[-1][0]) == "digits":
            found[-1].append(row)
        else:
            found.append([row])
    return found


class Layout:
    """Lines that find where everything lies. A place is `base + constant`, base a name or nothing.

    Binds `n<DE>` to the prefix of an element as the wire has it, and `o<DE>` to its end where it has a
    length. `octets` says how the code has the bytes of a stretch, by its first element.
    """

    def __init__(self, source: Source, start: int) -> None:
        self.source: Final = source
        self.octets: Final[dict[int, str]] = {}
        self._base, self._constant = "", start
        # names and `struct` codes that wait to be taken at once, all from one buffer
        self._waiting: list[tuple[str, str, int]] = []
        self._buffer = "data"
        self._buffers: dict[str, str] = {}

    def place(self, rows: list[Element]) -> None:
        """Find a stretch."""
        first, widths = rows[0], [_wire_width(row) for row in rows]
        if first.prefix == "fixed":
            self.octets[first.de] = f"v{first.de}"
            self._take(f"v{first.de}", sum(widths), "", self._buffer_of(first))
            return
        prefix = first.length_prefix
        buffer = self._in_ascii(_EBCDIC) if prefix.kind == "ebcdic" else "data"
        self._take(f"n{first.de}", prefix.width, _NUMBERS.get(prefix.width, ""), buffer)
        self._take_waiting()
        start, end = self._at(), f"o{first.de}"
        self.source.line(f"{end} = {start} + {self.source.bind(_widths(first))}[n{first.de}]")
        self._base, self._constant = end, sum(widths[1:])
        self.octets[first.de] = f"{self._buffer_of(first)}[{start}:{self._at()}]"

    def end(self) -> None:
        """The message must end with its last element."""
        if len(self._waiting) == 1:  # all that is left, so its length says it
            (name, _, width), start = self._waiting[0], self._at()
            self.source.line(f"{name} = {self._buffer}[{start}:]")
            self.source.line(f"if len({name}) != {width}: return None")
            return
        self._take_waiting()
        self.source.line(f"if {self._at()} != len(data): return None")

    def _at(self, more: int = 0) -> str:
        constant = self._constant + more
        if not self._base:
            return str(constant)
        return f"{self._base} + {constant}" if constant else self._base

    def _take(self, name: str, width: int, code: str, buffer: str) -> None:
        if buffer != self._buffer:
            self._take_waiting()
            self._buffer = buffer
        self._waiting.append((name, code or f"{width}s", width))

    def _take_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        width = sum(width for _, _, width in waiting)
        name, code, _ = waiting[0]
        start = self._at()
        if len(waiting) > 1:
            unpack = self.source.bind(Struct(f">{''.join(c for _, c, _ in waiting)}").unpack_from)
            names = ", ".join(name for name, _, _ in waiting)
            self.source.line(f"{names} = {unpack}({self._buffer}, {start})")
        elif code == "H":
            octets = f"{self._buffer}[{start}] << 8 | {self._buffer}[{self._at(1)}]"
            self.source.line(f"{name} = {octets}")
        else:
            cell = start if code == "B" else f"{start}:{self._at(width)}"
            self.source.line(f"{name} = {self._buffer}[{cell}]")
        self._constant += width

    def _buffer_of(self, row: Element) -> str:
        plain = not is_cut_from_text(row) or is_over_ascii(row.encoding)
        return "data" if plain else self._in_ascii(row.encoding)

    def _in_ascii(self, encoding: str) -> str:
        """The message as if all of it were text of an encoding, in ASCII."""
        if encoding not in self._buffers:
            self._buffers[encoding] = name = f"text{len(self._buffers)}"
            self.source.lines.insert(
                0, f"{name} = data.translate({self.source.bind(to_ascii(encoding))})"
            )
        return self._buffers[encoding]


def _read_raw(source: Source, rows: list[Element], octets: str) -> None:
    source.result(f"message[{rows[0].de}] = {octets}")


def _read_characters(source: Source, rows: list[Element], octets: str) -> None:
    (row,) = rows
    name = f"v{row.de}"
    made = "" if octets == name else octets
    source.check(source.condition(row.content, name, made, empty=row.prefix != "fixed"))
    source.result(f"message[{row.de}] = {name}.decode()")


def _read_other(source: Source, rows: list[Element], octets: str) -> None:
    """What the row's own closure reads: text in other encodings, hex characters, signed BCD."""
    (row,) = rows
    name = f"v{row.de}"
    read = source.bind(bytes_content(row))
    if row.content == "ans" and is_over_ascii(row.encoding):  # and mostly is ASCII
        is_plain = source.condition("ans", name, "" if octets == name else octets)
        source.line(f"{name} = {name}.decode() if {is_plain} else {read}({name})")
    else:
        source.line(f"{name} = {read}({octets})")
    source.check(f"{name} is not None")
    source.result(f"message[{row.de}] = {name}")


def _read_nibbles(source: Source, rows: list[Element], octets: str) -> None:
    """One element of BCD with another content than digits, or with letters for fillers."""
    (row,) = rows
    name = value = f"v{row.de}"
    source.line(f"{name} = {octets}.hex()")
    _cut_filler(source, row, 0)
    if row.content == "n":
        source.digits[name] = row.prefix != "fixed"
    elif row.content == "z":
        source.digits[f"{name}.replace('d', '0')"] = row.prefix != "fixed"
        value = f"{name}.replace('d', '=')"
    else:
        source.line(f"{name} = {source.bind(bcd_content(row))}({name})")
        source.check(f"{name} is not None")
    source.result(f"message[{row.de}] = {value}")


def _read_digits(source: Source, rows: list[Element], octets: str) -> None:
    """A stretch of BCD digits: one `hex` and one cut, from its end where its begin varies."""
    first = rows[0]
    name = f"v{first.de}"
    cuts: list[slice] = []
    at = 0
    source.line(f"{name} = {octets}.hex()")
    source.digits[name] = first.prefix != "fixed" and len(rows) == 1
    if first.prefix != "fixed":
        at = -2 * sum(_wire_width(row) for row in rows[1:])
        cuts.append(slice(None, at or None))
        _cut_filler(source, first, -at)
    for row in rows[len(cuts) :]:
        start = at
        if row.size % 2:
            side, accepted = row.fillers
            start += side == "left"
            filler = at if side == "left" else at + row.size
            equal = "==" if len(accepted) == 1 else "in"
            source.check(f"{name}[{filler}] {equal} {source.bind(accepted)}")
        at += 2 * _wire_width(row)
        cuts.append(slice(start, start + row.size or None))
    if len(rows) == 1 and (first.prefix != "fixed" or first.size % 2 == 0):
        source.result(f"message[{first.de}] = {name}")
    else:
        targets = ", ".join(f"message[{row.de}]" for row in rows)
        source.result(f"{targets} = {source.bind(itemgetter(*cuts))}({name})")


def _cut_filler(source: Source, row: Element, behind: int) -> None:
    """The filler of an odd count looked at and taken out; `behind` nibbles follow the element."""
    if row.in_pairs or (row.prefix == "fixed" and row.size % 2 == 0):
        return
    name = f"v{row.de}"
    side, accepted = row.fillers
    at, rest = "0", f"{name}[1:]"
    if side == "right":
        at = f"-{behind + 1}"
        rest = f"{name}[:{at}]" + (f" + {name}[-{behind}:]" if behind else "")
    wrong = f"{name}[{at}] != {source.bind(accepted[:1])}"
    if len(accepted) > 1:  # after the one that we would write, which it mostly is
        wrong += f" and {name}[{at}] not in {source.bind(accepted)}"
    lines = [f"if {wrong}: return None", f"{name} = {rest}"]
    if row.prefix != "fixed":
        # the last bit of a prefix is that of the count, however it is written
        number = f"n{row.de}" if row.length_prefix.width in _NUMBERS else f"n{row.de}[-1]"
        lines = [f"if {number} & 1:", *(f"    {one}" for one in lines)]
    source.lines.extend(lines)


_READ: Final = {
    "raw": _read_raw,
    "characters": _read_characters,
    "other": _read_other,
    "nibbles": _read_nibbles,
    "digits": _read_digits,
}


def _wire_width(row: Element) -> int:
    """Bytes of an element without a length."""
    if row.prefix != "fixed":
        return 0
    return {"bcd": (row.size + 1) // 2, "hex": row.size * 2}.get(row.encoding, row.size)


@cache  # made once a row, however many shapes have it; bounded by the rows of dialects
def _widths(row: Element) -> dict[int | bytes, int]:
    """Every legal prefix as the code finds it -> bytes of the value."""
    prefix = row.length_prefix
    widths: dict[int | bytes, int] = {}
    for text, units in prefix_counts(row).items():
        octets = bytes.fromhex(text) if prefix.packed else text.encode("latin-1")
        if prefix.kind == "ebcdic":
            octets = octets.translate(to_ascii(_EBCDIC))
        width = {"bcd": (units + 1) // 2, "hex": units * 2}.get(row.encoding, units)
        widths[int.from_bytes(octets, "big") if prefix.width in _NUMBERS else octets] = width
    return widths
