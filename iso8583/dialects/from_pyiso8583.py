"""A dialect out of a specification dictionary as pyiso8583 has it.

Source: the documentation of `iso8583.specs` of pyiso8583 2.x and 4.x. What its fields become:

| data_enc | len_count | row                                                                      |
| -------- | --------- | ------------------------------------------------------------------------ |
| `b`      | bytes     | content `h` (hex digits, as pyiso8583 gives them), the prefix counts bytes |
| `b`      | nibbles   | content `h`, the prefix counts digits; `left_pad`, else `right_pad`      |
| other    | bytes     | content `any` in that encoding                                           |
| other    | nibbles   | content `any`, the prefix counts two a byte                              |

So values are the same text on both sides, `{"t": "0200", "2": …}` here being `{0: "0200", 2: …}`.

Where pyiso8583 takes bytes that it would not write itself, this dialect refuses them: an MTI that is
not digits, a length such as ` 5`, `+5` or `1_0`, a filler on the right where one on the left is
declared, too, bits of elements with `max_len` 0 (no such element here), text that the encoding has a
second writing for. The header (`h`) stands before the MTI: `header_row` reads and writes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from iso8583.contents import is_over_ascii
from iso8583.dialects.table import Bitmap, Counts, Dialect, Element, Mti, is_text_encoding

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOT_ELEMENTS: Final = {"h", "t", "p", "1", "65"}  # 65 is the third bitmap's bit, no element


def from_pyiso8583(spec: Mapping[str, Mapping[str, Any]], name: str, title: str = "") -> Dialect:
    """The dialect of a specification. Raises ValueError naming the field that can not become a row."""
    rows = [
        _row(int(key), field)
        for key, field in spec.items()
        if key not in _NOT_ELEMENTS and field["max_len"] > 0
    ]
    mti: Mti = "bcd" if spec["t"]["data_enc"] == "b" else _digits("t", spec["t"]["data_enc"])
    return Dialect(
        name=name,
        title=title or f"{name} (pyiso8583 specification)",
        mti=mti,
        bitmap=_bitmap(spec),
        elements=tuple(sorted(rows, key=lambda row: row.de)),
        versions="0123456789",
        classes="0123456789",
        bitmaps=3,
    )


def header_row(spec: Mapping[str, Mapping[str, Any]]) -> Element | None:
    """How the specification's header is written, as a row (its number says nothing); None if none is."""
    return _row(2, spec["h"]) if spec["h"]["max_len"] > 0 else None


def _row(de: int, field: Mapping[str, Any]) -> Element:
    encoding, nibbles = field["data_enc"], field.get("len_count", "bytes") == "nibbles"
    prefix = _prefix(de, field)
    name = str(field.get("desc", ""))
    if encoding == "b":
        size = field["max_len"] if nibbles else 2 * field["max_len"]
        counts: Counts = "bytes" if prefix != "fixed" and not nibbles else "units"
        padding = "none"
        if nibbles and (prefix != "fixed" or size % 2):
            padding = _padding(de, field)
            if padding == "even" and prefix == "fixed":
                raise ValueError(f"field {de}: {size} nibbles need a left_pad or right_pad")
        return Element(de, "h", size, "bcd", prefix, padding, name, counts)
    if not is_text_encoding(encoding):
        raise ValueError(
            f"field {de}: data_enc {encoding!r} is no text encoding of one byte a digit"
        )
    size = (field["max_len"] + 1) // 2 if nibbles else field["max_len"]
    counts = "nibbles" if nibbles and prefix != "fixed" else "units"
    return Element(de, "any", size, encoding, prefix, "none", name, counts)


def _padding(de: int, field: Mapping[str, Any]) -> str:
    for side in ("left", "right"):
        pad = str(field.get(f"{side}_pad", ""))[:1].lower()
        if pad and pad not in "0123456789abcdef":
            raise ValueError(f"field {de}: {side}_pad {pad!r} is no hex digit")
        if pad:
            return f"{side}_{pad}"
    return "even"  # nothing fills up: an odd count can not be written


def _prefix(de: int, field: Mapping[str, Any]) -> str:
    width, encoding = field["len_type"], field["len_enc"]
    if width == 0:
        return "fixed"
    if encoding == "b":
        return f"{'l' * width}_bin"
    if encoding == "bcd":
        return f"{'l' * 2 * width}_bcd"
    return f"{'l' * width}_{_digits(de, encoding)}"


def _bitmap(spec: Mapping[str, Mapping[str, Any]]) -> Bitmap:
    found: set[Bitmap] = set()
    for key in ("p", "1"):
        encoding = spec[key]["data_enc"]
        if encoding == "b":
            found.add("binary")
        else:
            found.add("hex_ebcdic" if _digits(key, encoding) == "ebcdic" else "hex")
    if len(found) > 1:
        raise ValueError("fields p and 1: both bitmaps are written alike, or there is no dialect")
    return found.pop()


def _digits(key: int | str, encoding: str) -> Mti:
    """Whether an encoding writes digits and letters of hex as ASCII or as EBCDIC does."""
    if is_text_encoding(encoding):
        if is_over_ascii(encoding):
            return "ascii"
        if "0123456789ABCDEF".encode(encoding) == "0123456789ABCDEF".encode("cp500"):
            return "ebcdic"
    raise ValueError(f"field {key}: {encoding!r} writes digits neither in ASCII nor in EBCDIC")
