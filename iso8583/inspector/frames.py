"""What stands before the MTI, part by part: length, TPDU and header with their fields.

A header is read by the layout that the dialect names, else by one of its width that begins so
(`iso8583.headers`); a TPDU is an id and two addresses (`reference/pos-messages.md` §1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from iso8583 import headers
from iso8583.codes import Text
from iso8583.errors import DecodeError
from iso8583.inspector.framings import stated_length

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iso8583.inspector.framings import Framing

_FORMS: Final[dict[str, Text]] = {
    "binary2": ("binary, big endian", "二进制,大端"),
    "binary4": ("binary, big endian", "二进制,大端"),
    "ascii4": ("digits in ASCII", "ASCII数字"),
    "bcd2": ("BCD", "BCD码"),
}
_INCLUSIVE: Final[Text] = ("counts itself", "包含自身")
TPDU: Final = headers.Header(
    "tpdu",
    ("TPDU", "TPDU"),
    (
        headers.HeaderField("id", ("id", "标识"), 2),
        headers.HeaderField("destination", ("destination address", "目的地址"), 4, "raw"),
        headers.HeaderField("source", ("source address", "源地址"), 4, "raw"),
    ),
)


class FrameField(msgspec.Struct, frozen=True):
    """One field of a TPDU or header: its key, its names, its value as text."""

    key: str
    names: Text
    value: str


class FramePart(msgspec.Struct, frozen=True):
    """One part: where it stands, its bytes in hex (None where they are masked), what it says."""

    part: Literal["length", "tpdu", "header"]
    names: Text
    offset: int
    size: int
    raw: str | None
    value: str
    meaning: Text
    fields: list[FrameField]


def parts(
    framing: Framing, named: str, *, tpdu_shown: bool, header_shown: bool
) -> Iterator[FramePart]:
    """The parts that there are, in order; `named` is the dialect's header, "" where it has none."""
    if framing.length:
        raw = framing.length.hex().upper()
        said = stated_length(framing.length, framing.form)
        value = "" if said is None else str(said)
        meaning = _FORMS[framing.form]
        if framing.inclusive:
            meaning = f"{meaning[0]}, {_INCLUSIVE[0]}", f"{meaning[1]},{_INCLUSIVE[1]}"
        size = len(framing.length)
        yield FramePart("length", ("length", "长度"), 0, size, raw, value, meaning, [])
    at = len(framing.length)
    if framing.tpdu:
        yield _of_layout("tpdu", TPDU, framing.tpdu, at, shown=tpdu_shown)
    at += len(framing.tpdu)
    if framing.header:
        layout = _layout(framing.header, named)
        yield _of_layout("header", layout, framing.header, at, shown=header_shown)


def _layout(octets: bytes, named: str) -> headers.Header | None:
    """The header's layout; None where nothing says what it is."""
    likely = [headers.HEADERS[named]] if named in headers.HEADERS else []
    likely += [one for one in headers.HEADERS.values() if one.magic]
    if octets[0] in (0x60, 0x61):
        likely.append(headers.POS)
    return next((one for one in likely if one.width == len(octets) and one.matches(octets)), None)


def _of_layout(
    part: Literal["tpdu", "header"],
    layout: headers.Header | None,
    octets: bytes,
    at: int,
    *,
    shown: bool,
) -> FramePart:
    names: Text = ("header", "报文头") if layout is None else layout.titles
    if not shown:
        hidden = f"[{len(octets)} bytes]"
        return FramePart(part, names, at, len(octets), None, hidden, ("", ""), [])
    fields: list[FrameField] = []
    if layout is not None:
        try:
            values = layout.parse(octets)
        except DecodeError:
            values = {}  # digits that are none: the bytes are shown
        fields = [
            FrameField(field.key, field.names, values[field.key])
            for field in layout.fields
            if field.key in values
        ]
    raw = octets.hex().upper()
    return FramePart(part, names, at, len(octets), raw, raw, ("", ""), fields)
