"""Encoders for one shape: neighbours that are written alike are joined, looked at and turned at once.

A stretch of BCD digits, prefixes and fillers among them, is one join and one `unhexlify`; a stretch of
text one join and one `encode`. Lengths are looked at by element, characters by stretch.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from iso8583.contents import is_over_ascii
from iso8583.specialise import Source, from_ascii, is_cut_from_text
from iso8583.writing import written_prefixes

if TYPE_CHECKING:
    from iso8583.dialects.table import Element
    from iso8583.generic import GenericCodec
    from iso8583.message import Message

Encoder = Callable[["Message"], "bytes | None"]


def encoder(codec: GenericCodec, keys: tuple[int, ...]) -> Encoder:
    """The encoder of messages whose keys are these, in this order."""
    rows = {row.de: row for row in codec.dialect.elements}
    shape = [rows[de] for de in sorted(keys) if de]
    source = Source("message")
    source.constants["len"] = len
    names = ", ".join(f"v{de}" for de in keys)
    source.line(f"{names}{',' if len(keys) == 1 else ''} = [*message.values()]")
    parts = [
        f"{source.bind(codec.mtis)}[v0]",
        source.bind(codec.written_bitmap([r.de for r in shape])),
    ]
    for rows_together in _stretches(shape):
        parts += _WRITE[_kind(rows_together[0])](source, rows_together, codec)
    source.result(f"return {source.bind(b''.join)}(({', '.join(parts)},))")
    return source.compile("encode")


def _kind(row: Element) -> str:
    if row.encoding == "raw":
        return "raw"
    packed = row.prefix == "fixed" or row.length_prefix.packed
    if row.encoding == "bcd" and packed and not row.in_pairs:
        return {"n": "digits", "z": "track"}.get(row.content, "other")
    return "characters" if is_cut_from_text(row) else "other"


def _stretches(shape: list[Element]) -> list[list[Element]]:
    """The shape cut into neighbours that are written at once."""
    found: list[list[Element]] = []
    for row in shape:
        kind = _kind(row)
        before = found[-1][0] if found else None
        joins = kind == "digits" or (kind == "characters" and _is_text(row))
        if joins and before and (kind, row.encoding) == (_kind(before), before.encoding):
            found[-1].append(row)
        else:
            found.append([row])
    return found


def _is_text(row: Element) -> bool:
    """Whether the prefix of an element in characters, if any, is digits in the same encoding."""
    kind = row.length_prefix.kind
    zero = {"ascii": b"0", "ebcdic": b"\xf0"}.get(kind)
    return kind == "fixed" or "0".encode(row.encoding) == zero


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
    name, octets = f"v{row.de}", f"w{row.de}"
    write = f"{source.bind(codec.writers[row.de])}({name})"
    if row.content == "ans" and row.prefix != "fixed" and is_over_ascii(row.encoding):
        plain = f"{source.bind(written_prefixes(row))}[len({name})] + {octets}"
        write = f"{plain} if {source.condition('ans', octets, f'{name}.encode()')} else {write}"
    source.line(f"{octets} = {write}")
    return [octets]


def _write_digits(source: Source, rows: list[Element], _codec: GenericCodec) -> list[str]:
    """BCD digits, prefixes and fillers among them. A value that is no text formats to more than digits."""
    pieces: list[str] = []
    all_digits = True
    for row in rows:
        all_digits = _add_bcd_pieces(source, row, pieces) and all_digits
    run = f"r{rows[0].de}"
    text = "".join(f"{{{piece}}}" for piece in pieces)
    source.line(f'{run} = f"{text}".encode()')
    if all_digits:
        source.check(f"{run}.isdigit()")
    else:
        for row in rows:
            source.check(f"(v{row.de}.encode().isdigit() or not v{row.de})")
    return [f"{source.bind(unhexlify)}({run})"]


def _write_track(source: Source, rows: list[Element], _codec: GenericCodec) -> list[str]:
    """What is no digit and no separator becomes what `unhexlify` refuses."""
    (row,) = rows
    name = f"v{row.de}"
    side, fillers = row.fillers
    nibbles = f"{name}.encode().translate({source.bind(_TRACK_NIBBLES)})"
    prefix, odd = "", str(row.size % 2)
    if row.prefix == "fixed":
        source.check(f"len({name}) == {row.size}")
    else:
        source.line(f"n{row.de} = len({name})")
        prefix, odd = f"{source.bind(written_prefixes(row))}[n{row.de}] + ", f"n{row.de} & 1"
    filler = f"({source.bind(fillers[:1].upper().encode())} if {odd} else b'')"
    padded = f"{filler} + {nibbles}" if side == "left" else f"{nibbles} + {filler}"
    return [f"{prefix}{source.bind(unhexlify)}({padded})"]


def _add_bcd_pieces(source: Source, row: Element, pieces: list[str]) -> bool:
    """Adds prefix, digits and filler; whether what stands around the digits is digits, too."""
    value = f"v{row.de}"
    side, fillers = row.fillers
    filler = fillers[:1].upper()
    if row.prefix == "fixed":
        source.check(f"len({value}) == {row.size}")
        padded = [source.bind(filler)] if row.size % 2 else []
        digits = True
    else:
        source.line(f"n{row.de} = len({value})")
        pieces.append(f"{source.bind(_prefix_texts(row))}[n{row.de}]")
        padded = [f"{source.bind(filler)} if n{row.de} & 1 else ''"]
        digits = row.length_prefix.kind == "bcd"
    pieces += [*padded, value] if side == "left" else [value, *padded]
    return digits and (not padded or filler.isdigit())


def _joined(source: Source, rows: list[Element], pieces: list[str]) -> str:
    """The name of the pieces' joined text as bytes; refuses anything but text."""
    run = f"r{rows[0].de}"
    text = pieces[0]
    if len(pieces) > 1:
        text = f"{source.bind(''.join)}(({', '.join(pieces)}))"
    else:
        source.check(f"type(v{rows[0].de}) is {source.bind(str)}")
    source.line(f"{run} = {text}.encode()")
    return run


def _write_characters(source: Source, rows: list[Element], _codec: GenericCodec) -> list[str]:
    """Text in one encoding, prefixes that are text among it; ASCII alone."""
    pieces: list[str] = []
    spans: list[Span] = []
    before: list[str] = []  # what stands before a row in the run: these lengths and `width` more
    width = 0
    for row in rows:
        name, start = f"v{row.de}", _sum(before, width)
        if row.prefix == "fixed":
            source.check(f"len({name}) == {row.size}")
            width += row.size
        else:
            source.line(f"n{row.de} = len({name})")
            if _is_text(row):
                pieces.append(f"{source.bind(_prefix_texts(row))}[n{row.de}]")
                width += row.length_prefix.width
            before.append(f"n{row.de}")
        pieces.append(name)
        if spans and spans[-1].content == row.content != "xn":  # a prefix between is digits
            start = spans.pop().start
            name = ""
        spans.append(Span(row.content, name, start, _sum(before, width), row.prefix != "fixed"))
    run = _joined(source, rows, pieces)
    conditions: list[str] = []
    for number, span in enumerate(spans):
        name, octets = f"{run}_{number}", f"{run}[{span.start}:{span.end}]"
        if len(pieces) == 1 or (span.start, span.end) == ("0", spans[-1].end):
            name, octets = run, ""
        elif span.name:
            octets = f"{span.name}.encode()"
        empty = bool(span.name) and span.varies
        conditions.append(source.condition(span.content, name, octets, empty=empty))
    if len(spans) > 1 and {span.content for span in spans} <= {"an", "anp", "ans"}:
        source.check(f"({run}.isalnum() or {' and '.join(conditions)})")
    else:
        source.checks.extend(conditions)
    written = run
    if not is_over_ascii(rows[0].encoding):
        written = f"{run}.translate({source.bind(from_ascii(rows[0].encoding))})"
    if _is_text(rows[0]):
        return [written]
    return [f"{source.bind(written_prefixes(rows[0]))}[n{rows[0].de}]", written]


class Span(NamedTuple):
    """Neighbours of one content in a joined text; `name` is the value where it is only one."""

    content: str
    name: str
    start: str
    end: str
    varies: bool


def _sum(names: list[str], constant: int) -> str:
    return " + ".join([*names, str(constant)]) if constant or not names else " + ".join(names)


@cache  # made once a row, however many shapes have it; bounded by the rows of dialects
def _prefix_texts(row: Element) -> list[str]:
    """The written prefixes by units as text that joins the value: hex digits of BCD, else characters."""
    return [
        octets.hex() if row.encoding == "bcd" else octets.decode(row.encoding)
        for octets in written_prefixes(row)
    ]


_TRACK_NIBBLES: Final = bytes(
    ord({"=": "D"}.get(chr(o), chr(o) if chr(o) in "0123456789" else "!")) for o in range(256)
)
_WRITE: Final = {
    "raw": _write_raw,
    "other": _write_other,
    "digits": _write_digits,
    "track": _write_track,
    "characters": _write_characters,
}
