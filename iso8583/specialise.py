"""Source made for one shape of message: straight-line code instead of a loop over a table.

A decoder finds all offsets first, holds the last against the length of the message (one bounds check
for everything), then cuts: stretches of neighbouring BCD digits or characters are turned to text
once and cut by constant slices. An encoder joins stretches the same way. Neither explains anything:
on whatever the shape does not foresee it returns None or raises, and the generic codec looks again.
So code here must never say yes where the generic codec says no; `tests/iso8583` holds the two
against each other.

What is formatted into source are integers and the fixed words below, never a name or value of a
table: those reach the code as constants bound by number. The only `exec` of the code base is here.
The source is registered with `linecache`, so that tracebacks and profiles show its lines.
"""

from __future__ import annotations

import linecache
from binascii import unhexlify
from collections.abc import Callable
from functools import cache
from itertools import count, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from iso8583.contents import CONTENT, bcd_content, bytes_content, is_one_to_one, is_over_ascii
from iso8583.generic import elements_of
from iso8583.reading import prefix_counts
from iso8583.writing import written_prefixes

if TYPE_CHECKING:
    from iso8583.dialects.table import Element
    from iso8583.generic import GenericCodec
    from iso8583.message import Message

Decoder = Callable[[bytes], "Message | None"]
Encoder = Callable[["Message"], "bytes | None"]

_numbers: Final = count(1)


class Source:
    """Lines of one function, and the constants it is bound to."""

    def __init__(self, argument: str) -> None:
        self.argument: Final = argument
        self.lines: Final[list[str]] = []
        self.checks: Final[list[str]] = []
        self.results: Final[list[str]] = []
        self.constants: Final[dict[str, Any]] = {}

    def bind(self, value: object) -> str:
        """The name under which the code finds a constant; equal objects share one."""
        for name, known in self.constants.items():
            if known is value:
                return name
        name = f"k{len(self.constants)}"
        self.constants[name] = value
        return name

    def line(self, text: str) -> None:
        self.lines.append(text)

    def check(self, condition: str) -> None:
        """What must hold before the result counts."""
        self.checks.append(condition)

    def result(self, text: str) -> None:
        self.results.append(text)

    def compile(self, purpose: str) -> Callable[[Any], Any]:
        names = list(self.constants)
        checks = [f"if not ({' and '.join(self.checks)}): return None"] if self.checks else []
        # constants are defaults of the function: locals are the fastest names there are
        arguments = ", ".join([self.argument, *(f"{name}={name}" for name in names)])
        lines = [
            f"def {purpose}({arguments}):",
            *(f"    {one}" for one in [*self.lines, *checks, *self.results]),
        ]
        source = "\n".join(lines) + "\n"
        place = f"<iso8583 {purpose} {next(_numbers)}>"
        linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)
        namespace: dict[str, Any] = dict(self.constants)
        exec(compile(source, place, "exec"), namespace)  # noqa: S102 - closed words only, see above
        made: Callable[[Any], Any] = namespace[purpose]
        return made


# -- decoding ----------------------------------------------------------------------------------


def decoder(codec: GenericCodec, head: bytes) -> Decoder:
    """The decoder of messages that begin with `head`: MTI and bitmap as on the wire."""
    rows = {row.de: row for row in codec.dialect.elements}
    mti = next(mti for mti, octets in codec.mtis.items() if head.startswith(octets))
    shape = [rows[de] for de in elements_of(codec.bitmap(head)[0])]
    source = Source("data")
    # a copy has room for all keys in their order: faster than a literal, which grows as it is filled
    blank = dict.fromkeys([0, *(row.de for row in shape)], mti)
    places = _offsets(source, shape, len(head))
    source.line(f"message = {source.bind(blank.copy)}()")
    values: dict[int, str] = {}
    for kind, stretch in _stretches(shape, _kind):
        _READ[kind](source, stretch, places, values)
    for row in shape:
        if row.de in values:  # the others are cut straight into the message
            source.result(f"message[{row.de}] = {values[row.de]}")
    source.result("return message")
    return source.compile("decode")


class Place:
    """Where an element lies, as `base + constant` in bytes: prefix, content, end; and its count."""

    def __init__(
        self, prefix: tuple[str, int], content: tuple[str, int], end: tuple[str, int]
    ) -> None:
        self.prefix, self.content, self.end = prefix, content, end

    @staticmethod
    def text(at: tuple[str, int], scale: int = 1) -> str:
        base, constant = at
        if not base:
            return str(constant * scale)
        scaled = base if scale == 1 else f"{base} * {scale}"
        return f"{scaled} + {constant * scale}" if constant else scaled


def _offsets(source: Source, shape: list[Element], start: int) -> dict[int, Place]:
    """Lines that find where everything lies and that the message ends with its last element."""
    places: dict[int, Place] = {}
    at = ("", start)
    for row in shape:
        prefix = row.length_prefix
        content = (at[0], at[1] + prefix.width)
        if prefix.width == 0:
            end = (content[0], content[1] + _wire_width(row))
        else:
            first = Place.text(at)
            cell = first if prefix.width == 1 else f"{first}:{Place.text(content)}"
            source.line(f"n{row.de} = {source.bind(_counts(row))}[data[{cell}]]")
            wide = {"bcd": f"(n{row.de} + 1 >> 1)", "hex": f"n{row.de} * 2"}
            source.line(
                f"o{row.de} = {Place.text(content)} + {wide.get(row.encoding, f'n{row.de}')}"
            )
            end = (f"o{row.de}", 0)
        places[row.de] = Place(at, content, end)
        at = end
    source.line(f"if {Place.text(at)} != len(data): return None")
    return places


def _stretches(
    shape: list[Element], kind_of: Callable[[Element], str]
) -> list[tuple[str, list[Element]]]:
    """The shape cut into neighbours that are read or written at once."""
    found: list[tuple[str, list[Element]]] = []
    for row in shape:
        kind = kind_of(row)
        before = found[-1][1][-1] if found and found[-1][0] == kind else None
        joins = before is not None and before.encoding == row.encoding
        if joins and kind in {"digits", "characters"}:
            found[-1][1].append(row)
        else:
            found.append((kind, [row]))
    return found


def _kind(row: Element) -> str:
    if row.encoding == "raw":
        return "raw"
    if row.encoding == "bcd" and row.content != "xn":
        fixed = row.prefix == "fixed" and row.content == "n"
        return "digits" if fixed else "nibbles"
    return "characters" if _is_cut_from_text(row) else "other"


def _is_cut_from_text(row: Element) -> bool:
    """Whether element and prefix are text of one encoding that can be turned and cut as a whole."""
    if row.encoding in {"bcd", "raw", "hex"} or not is_one_to_one(row.encoding):
        return False
    if row.encoding != "ascii" and row.content == "any":
        return False  # what is not ASCII is left to the row's own closure
    kind = row.length_prefix.kind
    written = {"ascii": is_over_ascii(row.encoding), "ebcdic": "0".encode(row.encoding) == b"\xf0"}
    return kind == "fixed" or written.get(kind, False)


def _read_raw(
    source: Source, rows: list[Element], places: dict[int, Place], values: dict[int, str]
) -> None:
    (row,) = rows
    place = places[row.de]
    values[row.de] = f"data[{Place.text(place.content)}:{Place.text(place.end)}]"


def _read_other(
    source: Source, rows: list[Element], places: dict[int, Place], values: dict[int, str]
) -> None:
    """What the row's own closure reads: text in other encodings, hex characters."""
    (row,) = rows
    place = places[row.de]
    name = f"v{row.de}"
    values[row.de] = name
    source.line(f"{name} = data[{Place.text(place.content)}:{Place.text(place.end)}]")
    read = f"{source.bind(bytes_content(row))}({name})"
    if row.content == "ans" and is_over_ascii(row.encoding):  # and mostly is ASCII
        source.line(f"{name} = {name}.decode('ascii') if {name}.isascii() else {read}")
        source.check(f"{name} is not None and ({name}.isprintable() or not {name}.isascii())")
        return
    source.line(f"{name} = {read}")
    source.check(f"{name} is not None")


def _read_nibbles(
    source: Source, rows: list[Element], places: dict[int, Place], values: dict[int, str]
) -> None:
    """One element of BCD digits with a length, or of another content than digits."""
    (row,) = rows
    place = places[row.de]
    name = f"v{row.de}"
    source.line(f"{name} = data[{Place.text(place.content)}:{Place.text(place.end)}].hex()")
    fixed = row.prefix == "fixed"
    if row.size % 2 if fixed else not row.in_pairs:
        side, accepted = row.fillers
        filler, digits = ("0", "1:") if side == "left" else ("-1", ":-1")
        taken = source.bind(accepted)
        source.line(f"if {'True' if fixed else f'n{row.de} & 1'}:")
        source.line(f"    if {name}[{filler}] not in {taken}: return None")
        source.line(f"    {name} = {name}[{digits}]")
    if row.content == "n":
        source.check(f"({name}.isdigit() or not {name})")
    elif row.content == "z":
        # digits alone are the usual case after the separator is gone
        source.line(f"{name} = {name}.replace('d', '=')")
        source.check(_is_track(name))
    else:
        source.line(f"{name} = {source.bind(bcd_content(row))}({name})")
        source.check(f"{name} is not None")
    values[row.de] = name


def _read_digits(
    source: Source, rows: list[Element], places: dict[int, Place], _values: dict[int, str]
) -> None:
    """A stretch of fixed BCD digits: one `hex`, one check, one cut."""
    run = f"r{rows[0].de}"
    start, end = places[rows[0].de].content, places[rows[-1].de].end
    source.line(f"{run} = data[{Place.text(start)}:{Place.text(end)}].hex()")
    cuts: list[slice] = []
    letters = False  # among the fillers that are taken
    at = 0
    for row in rows:
        first = at
        if row.size % 2:
            side, accepted = row.fillers
            first += side == "left"
            filler = at if side == "left" else at + row.size
            equal = (
                f"== '{int(accepted)}'" if accepted in {"0", "1"} else f"in {source.bind(accepted)}"
            )
            source.check(f"{run}[{filler}] {equal}")
            letters = letters or not accepted.isdigit()
        cuts.append(slice(first, first + row.size))
        at += row.size + row.size % 2
    if letters:
        for cut in cuts:
            source.check(f"{run}[{cut.start}:{cut.stop}].isdigit()")
    else:
        source.check(f"{run}.isdigit()")
    _cut(source, run, rows, cuts)


def _read_characters(
    source: Source, rows: list[Element], places: dict[int, Place], values: dict[int, str]
) -> None:
    """A stretch of text in one encoding: one `decode`, refused where it is not ASCII, then cuts."""
    run = f"r{rows[0].de}"
    start, end = places[rows[0].de].prefix, places[rows[-1].de].end
    encoding = source.bind(rows[0].encoding) if rows[0].encoding != "ascii" else "'ascii'"
    source.line(f"{run} = data[{Place.text(start)}:{Place.text(end)}].decode({encoding})")
    if rows[0].encoding != "ascii":
        source.check(f"{run}.isascii()")
    shift = str(start[1])
    if start[0] and any(row.prefix != "fixed" for row in rows):
        shift = f"b{rows[0].de}"
        source.line(f"{shift} = {Place.text(start)}")

    def within(at: tuple[str, int]) -> str:
        if at[0] == start[0]:
            return str(at[1] - start[1])
        return f"{Place.text(at)} - {shift}"

    for fixed, group in groupby(rows, key=lambda row: row.prefix == "fixed"):
        some = list(group)
        if fixed:
            first, last = places[some[0].de].content, places[some[-1].de].end
            part = run
            if some != rows:
                part = f"p{some[0].de}"
                source.line(f"{part} = {run}[{within(first)}:{within(last)}]")
            _read_fixed_characters(source, part, some)
            continue
        for row in some:
            place = places[row.de]
            source.line(f"v{row.de} = {run}[{within(place.content)}:{within(place.end)}]")
            values[row.de] = f"v{row.de}"
            _check_characters(source, row.content, values[row.de], empty=True)


def _read_fixed_characters(source: Source, run: str, rows: list[Element]) -> None:
    at = 0
    cuts: list[slice] = []
    pieces: list[tuple[str, slice]] = []  # neighbours that one check does for
    for row in rows:
        cut = slice(at, at + row.size)
        cuts.append(cut)
        if pieces and pieces[-1][0] == row.content and row.content in {"n", "an", "ans"}:
            cut = slice(pieces.pop()[1].start, cut.stop)
        pieces.append((row.content, cut))
        at += row.size
    _cut(source, run, rows, cuts)
    for content, cut in pieces:
        whole = (cut.start, cut.stop) == (0, at)
        piece = run if whole else f"{run}[{cut.start}:{cut.stop}]"
        _check_characters(source, content, piece)


def _check_characters(source: Source, content: str, value: str, *, empty: bool = False) -> None:
    """What must hold of ASCII text; `empty` where there may be none."""
    plain = {"n": "isdigit", "an": "isalnum", "anp": "isalnum", "ans": "isprintable"}
    if content == "any":
        return
    if content == "z":
        source.check(_is_track(value))
        return
    if content not in plain:
        source.check(f"{source.bind(CONTENT[content][0])}({value})")
        return
    test = f"{value}.{plain[content]}()"
    if content == "anp":
        source.check(f"({test} or {source.bind(CONTENT['anp'][0])}({value}))")
    elif empty and content != "ans":
        source.check(f"({test} or not {value})")
    else:
        source.check(test)


def _is_track(value: str) -> str:
    """`contents.is_track` without calls of Python."""
    return f"({value}.replace('=', '').isdigit() or not {value}.strip('='))"


def _cut(source: Source, run: str, rows: list[Element], cuts: list[slice]) -> None:
    """Constant slices of a run into the message, by one call where there are several."""
    if len(cuts) == 1:
        (cut,) = cuts
        source.line(f"message[{rows[0].de}] = {run}[{cut.start}:{cut.stop}]")
        return
    targets = ", ".join(f"message[{row.de}]" for row in rows)
    source.line(f"{targets} = {source.bind(itemgetter(*cuts))}({run})")


_READ: Final = {
    "raw": _read_raw,
    "other": _read_other,
    "nibbles": _read_nibbles,
    "digits": _read_digits,
    "characters": _read_characters,
}


def _wire_width(row: Element) -> int:
    return {"bcd": (row.size + 1) // 2, "hex": row.size * 2}.get(row.encoding, row.size)


# Tables of prefixes: made once a row, however many shapes have it; bounded by the rows of dialects.


@cache
def _counts(row: Element) -> dict[Any, int]:
    """Every legal prefix as code finds it -> units: a number where it is one byte, else its bytes."""
    prefix = row.length_prefix
    counts = {
        bytes.fromhex(text) if prefix.packed else text.encode("latin-1"): units
        for text, units in prefix_counts(row).items()
    }
    if prefix.width > 1:
        return counts
    return {int.from_bytes(octets, "big"): units for octets, units in counts.items()}


@cache
def _prefix_texts(row: Element) -> list[str]:
    """The written prefixes by units as text that joins the value: hex digits of BCD, else characters."""
    return [
        octets.hex() if row.encoding == "bcd" else octets.decode(row.encoding)
        for octets in written_prefixes(row)
    ]


# -- encoding ----------------------------------------------------------------------------------


def encoder(codec: GenericCodec, keys: tuple[int, ...]) -> Encoder:
    """The encoder of messages whose keys are these, in this order."""
    rows = {row.de: row for row in codec.dialect.elements}
    shape = [rows[de] for de in sorted(keys) if de]
    source = Source("message")
    names = ", ".join(f"v{de}" for de in keys)
    source.line(f"{names}{',' if len(keys) == 1 else ''} = message.values()")
    parts = [
        f"{source.bind(codec.mtis)}[v0]",
        source.bind(codec.written_bitmap([r.de for r in shape])),
    ]
    for kind, stretch in _stretches(shape, _written_kind):
        parts += _WRITE[kind](source, stretch, codec)
    source.result(f"return {source.bind(b''.join)}(({', '.join(parts)},))")
    return source.compile("encode")


def _written_kind(row: Element) -> str:
    packed = row.prefix == "fixed" or row.length_prefix.packed
    if row.encoding == "raw":
        return "raw"
    if row.encoding == "bcd" and packed and not row.in_pairs:
        return {"n": "digits", "z": "track"}.get(row.content, "other")
    return "characters" if _is_cut_from_text(row) else "other"


def _write_raw(source: Source, rows: list[Element], _codec: GenericCodec) -> list[str]:
    (row,) = rows
    name = f"v{row.de}"
    source.check(f"type({name}) is {source.bind(bytes)}")
    if row.prefix == "fixed":
        source.check(f"len({name}) == {row.size}")
        return [name]
    # a value that is too long has no prefix in the list
    return [f"{source.bind(written_prefixes(row))}[len({name})]", name]


def _write_other(source: Source, rows: list[Element], codec: GenericCodec) -> list[str]:
    """What the row's own closure writes; it raises EncodeError, so it runs before the result."""
    (row,) = rows
    name = f"v{row.de}"
    write = f"{source.bind(codec.writers[row.de])}({name})"
    if row.content == "ans" and row.prefix != "fixed" and is_over_ascii(row.encoding):
        plain = f"{source.bind(written_prefixes(row))}[len({name})] + {name}.encode('ascii')"
        write = f"{plain} if {name}.isascii() and {name}.isprintable() else {write}"
    source.line(f"w{row.de} = {write}")
    return [f"w{row.de}"]


def _write_digits(source: Source, rows: list[Element], _codec: GenericCodec) -> list[str]:
    """A stretch of BCD digits, prefixes and fillers among them: one join, one check, one `unhexlify`."""
    pieces: list[str] = []
    all_digits = True
    for row in rows:
        all_digits = _write_bcd_pieces(source, row, f"v{row.de}", pieces) and all_digits
    run = _joined(source, rows, pieces)
    if all_digits:
        source.check(f"{run}.isdigit()")
    else:
        for row in rows:
            source.check(f"(v{row.de}.isdigit() or not v{row.de})")
    return [f"{source.bind(unhexlify)}({run})"]


def _write_track(source: Source, rows: list[Element], _codec: GenericCodec) -> list[str]:
    (row,) = rows
    name = f"v{row.de}"
    pieces: list[str] = []
    _write_bcd_pieces(source, row, f"t{row.de}", pieces)
    source.line(f"t{row.de} = {name}.replace('=', 'D')")
    source.check(_is_track(name))
    joined = f"{source.bind(''.join)}(({', '.join(pieces)},))"
    return [f"{source.bind(unhexlify)}({joined})"]


def _joined(source: Source, rows: list[Element], pieces: list[str]) -> str:
    """The name of the pieces' joined text; a join refuses anything but text."""
    if len(pieces) == 1:
        source.check(f"type({pieces[0]}) is {source.bind(str)}")
        return pieces[0]
    run = f"r{rows[0].de}"
    source.line(f"{run} = {source.bind(''.join)}(({', '.join(pieces)},))")
    return run


def _write_bcd_pieces(source: Source, row: Element, name: str, pieces: list[str]) -> bool:
    """Adds prefix, digits and filler; whether what stands around the digits is digits, too."""
    side, fillers = row.fillers
    filler = fillers[:1].upper()
    if row.prefix == "fixed":
        source.check(f"len({name}) == {row.size}")
        padded = [source.bind(filler)] if row.size % 2 else []
        digits = True
    else:
        pieces.append(f"{source.bind(_prefix_texts(row))}[len({name})]")
        padded = [f"{source.bind(('', filler))}[len({name}) & 1]"]
        digits = row.length_prefix.kind == "bcd"
    pieces += [*padded, name] if side == "left" else [name, *padded]
    return digits and (not padded or filler.isdigit())


def _write_characters(source: Source, rows: list[Element], _codec: GenericCodec) -> list[str]:
    """A stretch of text in one encoding, prefixes among it: one join, one `encode`; ASCII alone."""
    pieces: list[str] = []
    before: list[str] = []  # what stands before a row in the run, as terms of its length
    width = 0
    # stretches of fixed rows that one check does for: content, terms, start, end
    stretches: list[tuple[str, str, int, int]] = []
    for row in rows:
        name = f"v{row.de}"
        if row.prefix == "fixed":
            source.check(f"len({name}) == {row.size}")
            if row.content in {"n", "ans"}:
                terms, first = " + ".join(before), width
                if stretches and (*stretches[-1][:2], stretches[-1][3]) == (
                    row.content,
                    terms,
                    width,
                ):
                    first = stretches.pop()[2]
                stretches.append((row.content, terms, first, width + row.size))
            else:
                _check_characters(source, row.content, name)
            width += row.size
        else:
            pieces.append(f"{source.bind(_prefix_texts(row))}[len({name})]")
            before.append(f"len({name})")
            width += row.length_prefix.width
            _check_characters(source, row.content, name, empty=True)
        pieces.append(name)
    run = _joined(source, rows, pieces)
    for content, terms, first, last in stretches:
        lead = f"{terms} + " if terms else ""
        whole = not terms and (first, last) == (0, width)
        _check_characters(source, content, run if whole else f"{run}[{lead}{first}:{lead}{last}]")
    if rows[0].encoding == "ascii":
        return [f"{run}.encode('ascii')"]
    source.check(f"{run}.isascii()")
    return [f"{run}.encode({source.bind(rows[0].encoding)})"]


_WRITE: Final = {
    "raw": _write_raw,
    "other": _write_other,
    "digits": _write_digits,
    "track": _write_track,
    "characters": _write_characters,
}
