"""Mistakes planted into good messages: one function a mistake, each exactly that and nothing else.

A plant takes a good message and gives the bytes that somebody who makes the mistake would send, or
None where the message has no place for it. Elements are written with rows spelled out here, so that
what plants and what finds have nothing in common.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from iso8583.codec import Codec, codec_for
from iso8583.dialects.table import Element
from iso8583.writing import build_writer
from tests.iso8583.corpus import body, frame_parts, record, terminal_records
from tests.iso8583.test_corpus import VARIANT_OF

if TYPE_CHECKING:
    from iso8583.message import Message


class Good(NamedTuple):
    """A good message: what stands before the body, the body, and what it says."""

    name: str
    codec: Codec
    tpdu: bytes
    header: bytes
    body: bytes
    message: Message

    @property
    def frame(self) -> bytes:
        """With a right length before it."""
        rest = self.tpdu + self.header + self.body
        return len(rest).to_bytes(2, "big") + rest


ASCII_HEX_CLEAN: Final = (
    "moov-basic-auth",
    "moov-financial-transaction-message",
    "moov-iso-reversal-message",
    "moov-iso-reversal-message-advice",
    "moov-iso-reversal-message-response",
    "moov-iso-reversal-repeat-message",
    "moov-network-management-message-response",
    "pyiso8583-1",
    "pyiso8583-2",
)
Plant = Callable[[Good, Random], bytes | None]


def good_terminal_messages() -> list[Good]:
    """Those of the corpus that are clean; all get TPDU and header of the first that has them."""
    found = []
    for row in terminal_records():
        if row["clean"]:
            codec = codec_for(VARIANT_OF.get(row["id"], "unionpay_pos"))
            _, tpdu, header = frame_parts(row)
            data = body(row)
            if len(header) != 6 or not tpdu:
                tpdu, header = bytes.fromhex("6000060000"), bytes.fromhex("603200320002")
            found.append(Good(row["id"], codec, tpdu, header, data, codec.decode(data)))
    return found


def good_ascii_messages() -> list[Good]:
    """Classic messages with a hex bitmap, without a frame."""
    codec = codec_for("iso1987_ascii_hex")
    found = []
    for name in ASCII_HEX_CLEAN:
        data = bytes.fromhex(record(name)["hex"])
        found.append(Good(name, codec, b"", b"", data, codec.decode(data)))
    return found


def framed(good: Good, changed: bytes) -> bytes:
    """The changed body in a frame whose length is right."""
    return good._replace(body=changed).frame


# -- the frame -----------------------------------------------------------------------------------


def tpdu_not_stripped(good: Good, _: Random) -> bytes | None:
    return good.frame[2:]


def header_not_stripped(good: Good, chance: Random) -> bytes | None:
    return bytes(chance.randrange(0x90, 0x100) for _ in range(chance.randrange(3, 40))) + good.body


def length_inclusive(good: Good, _: Random) -> bytes | None:
    return len(good.frame).to_bytes(2, "big") + good.frame[2:]


def length_bcd(good: Good, _: Random) -> bytes | None:
    return bytes.fromhex(f"{len(good.frame) - 2:04d}") + good.frame[2:]


def length_characters(good: Good, _: Random) -> bytes | None:
    return (2 * (len(good.frame) - 2)).to_bytes(2, "big") + good.frame[2:]


def length_little_endian(good: Good, _: Random) -> bytes | None:
    return (len(good.frame) - 2).to_bytes(2, "little") + good.frame[2:]


def length_of_body(good: Good, _: Random) -> bytes | None:
    return len(good.body).to_bytes(2, "big") + good.frame[2:]


def length_wrong(good: Good, chance: Random) -> bytes | None:
    return (len(good.frame) - 2 + chance.randrange(20, 90)).to_bytes(2, "big") + good.frame[2:]


# -- the bytes as a whole ------------------------------------------------------------------------


def hex_as_text(good: Good, chance: Random) -> bytes | None:
    text = good.body.hex().upper().encode()
    if chance.random() < 0.5:
        return good.frame.hex().encode()
    return framed(good, text)


def utf8_mangled(good: Good, _: Random) -> bytes | None:
    return None if good.body.isascii() else good.frame.decode("latin-1").encode()


def bytes_replaced(good: Good, _: Random) -> bytes | None:
    changed = good.frame.decode("utf-8", "replace").encode()
    return changed if b"\xef\xbf\xbd" in changed else None


def newlines_changed(good: Good, _: Random) -> bytes | None:
    return good.frame.replace(b"\n", b"\r\n") if b"\n" in good.frame else None


def ebcdic(good: Good, _: Random) -> bytes | None:
    return good.body.decode("latin-1").encode("cp500")


# -- MTI and bitmap ------------------------------------------------------------------------------


def mti_ascii(good: Good, _: Random) -> bytes | None:
    return framed(good, good.body[:2].hex().encode() + good.body[2:])


def bitmap_hex(good: Good, _: Random) -> bytes | None:
    return framed(good, good.body[:2] + good.body[2:10].hex().upper().encode() + good.body[10:])


def bitmap_binary(good: Good, _: Random) -> bytes | None:
    width = 32 if good.body[4:5] in b"89ABCDEF" else 16
    packed = bytes.fromhex(good.body[4 : 4 + width].decode())
    return good.body[:4] + packed + good.body[4 + width :]


def _bits(good: Good, change: int) -> bytes:
    """The body with bits of its bitmap flipped."""
    bitmap = int.from_bytes(good.body[2:10], "big") ^ change
    return framed(good, good.body[:2] + bitmap.to_bytes(8, "big") + good.body[10:])


def bitmap_announces(good: Good, chance: Random) -> bytes | None:
    absent = [row.de for row in good.codec.dialect.elements if row.de not in good.message]
    absent.remove(64) if 64 in absent else None  # that is a missing MAC
    return _bits(good, 1 << (64 - chance.choice(absent)))


def bitmap_leaves_out(good: Good, chance: Random) -> bytes | None:
    return _bits(good, 1 << (64 - chance.choice(sorted(good.message)[1:])))


def alike(good: Good, de: int, other: int) -> bool:
    """Whether two elements have one form: nobody can see which is meant."""
    rows = (good.codec.dialect.element(de), good.codec.dialect.element(other))
    forms = {
        (row.encoding, row.prefix, row.size if row.prefix == "fixed" else 0) for row in rows if row
    }
    return len(forms) == 1


def bitmap_means(good: Good, chance: Random) -> bytes | None:
    known = {row.de for row in good.codec.dialect.elements}
    pairs = [
        (de, other)
        for de in sorted(good.message)[1:]
        for other in (de - 1, de + 1)
        if other in known and other not in good.message and not alike(good, de, other)
    ]
    if not pairs:
        return None
    de, other = chance.choice(pairs)
    return _bits(good, 1 << (64 - de) | 1 << (64 - other))


# -- elements ------------------------------------------------------------------------------------


def written(good: Good, row: Element) -> bytes:
    """The message with one element written as another row says."""
    writers = {**good.codec.generic.writers, row.de: build_writer(row)}
    body_of = b"".join(writers[de](good.message[de]) for de in sorted(good.message) if de)
    head = good.codec.generic.mti_width + good.codec.generic.bitmap_width
    return framed(good, good.body[:head] + body_of)


def _one_of(good: Good, chance: Random, rows: list[Element], odd: bool = False) -> bytes | None:
    fitting = []
    for row in rows:
        now = good.codec.dialect.element(row.de)
        size = len(good.message.get(row.de, ""))
        if 0 < size <= row.size and now == BASE[row.de] and (not odd or size % 2):
            fitting.append(row)
    return written(good, chance.choice(fitting)) if fitting else None


BASE: Final = {row.de: row for row in codec_for("unionpay_pos").dialect.elements}


def filler_side(good: Good, chance: Random) -> bytes | None:
    rows = [
        Element(2, "n", 19, "bcd", "ll_bcd", "left_0"),
        Element(22, "n", 3, "bcd", "fixed", "left_0"),
        Element(23, "n", 3, "bcd", "fixed", "right_0"),
        Element(32, "n", 11, "bcd", "ll_bcd", "left_0"),
        Element(35, "z", 37, "bcd", "ll_bcd", "left_0"),
    ]
    return _one_of(good, chance, rows, odd=True)


def ascii_for_bcd(good: Good, chance: Random) -> bytes | None:
    rows = [
        Element(2, "n", 19, "ascii", "ll_bcd"),
        *(Element(de, "n", BASE[de].size, "ascii") for de in (3, 4, 11, 12, 13, 14, 22, 25, 53)),
        Element(35, "z", 37, "ascii", "ll_bcd"),
        Element(60, "n", 17, "ascii", "lll_bcd"),
    ]
    return _one_of(good, chance, rows)


def bcd_for_ascii(good: Good, chance: Random) -> bytes | None:
    rows = [
        Element(37, "n", 12, "bcd"),
        Element(38, "n", 6, "bcd"),
        Element(39, "n", 2, "bcd"),
        Element(41, "n", 8, "bcd"),
        Element(49, "n", 3, "bcd", "fixed", "left_0"),
    ]
    digits = [row for row in rows if str(good.message.get(row.de, "x")).isdigit()]
    return _one_of(good, chance, digits)


def ebcdic_for_ascii(good: Good, chance: Random) -> bytes | None:
    rows = [Element(de, "ans", BASE[de].size, "cp500") for de in (37, 38, 41, 42, 49)]
    return _one_of(good, chance, rows)


def hex_for_binary(good: Good, chance: Random) -> bytes | None:
    rows = [
        Element(52, "b", 8, "hex"),
        Element(55, "b", 255, "hex", "lll_bcd", "none", "", "bytes"),
        Element(62, "b", 499, "hex", "lll_bcd", "none", "", "bytes"),
        Element(64, "b", 8, "hex"),
    ]
    return _one_of(good, chance, rows)


def prefix_counts_bytes(good: Good, chance: Random) -> bytes | None:
    rows = [
        Element(2, "n", 20, "bcd", "ll_bcd", "none", "", "bytes"),
        Element(35, "z", 38, "bcd", "ll_bcd", "none", "", "bytes"),
        Element(48, "n", 322, "bcd", "lll_bcd", "none", "", "bytes"),
        Element(60, "n", 18, "bcd", "lll_bcd", "none", "", "bytes"),
        Element(61, "n", 30, "bcd", "lll_bcd", "none", "", "bytes"),
    ]
    row = chance.choice(rows)
    value = good.message.get(row.de, b"")
    if isinstance(value, str) and len(value) % 2 and len(value) < row.size:
        good = good._replace(message=good.message | {row.de: value + "0"})
    return _one_of(good, chance, [row])


def prefix_counts_digits(good: Good, chance: Random) -> bytes | None:
    rows = [
        Element(55, "b", 255, "raw", "lll_bcd", "none", "", "nibbles"),
        Element(62, "b", 499, "raw", "lll_bcd", "none", "", "nibbles"),
    ]
    return _one_of(good, chance, rows)


def _prefixed(good: Good, chance: Random, kind: str) -> bytes | None:
    letters = {"bin": {"ll": "l", "lll": "ll"}}.get(kind, {"ll": "ll", "lll": "lll"})
    rows = [
        msgspec.structs.replace(row, prefix=f"{letters[row.prefix.partition('_')[0]]}_{kind}")
        for row in good.codec.dialect.elements
        if row.prefix != "fixed"
        and row.de in good.message
        # a count below ten is the same in BCD and binary
        and (kind != "bin" or len(good.message[row.de]) > 9)
    ]
    return written(good, chance.choice(rows)) if rows else None


def prefix_ascii(good: Good, chance: Random) -> bytes | None:
    return _prefixed(good, chance, "ascii")


def prefix_bin(good: Good, chance: Random) -> bytes | None:
    return _prefixed(good, chance, "bin")


def prefix_wrong(good: Good, chance: Random) -> bytes | None:
    spans = good.codec.spans(good.body)
    rows = [
        row
        for row in good.codec.dialect.elements
        if row.de in good.message and row.prefix != "fixed"
    ]
    if not rows:
        return None
    row = chance.choice(rows)
    count = len(good.message[row.de]) + chance.choice((2, 3, 4))
    if count > row.size:
        return None
    at = spans[row.de][0]
    prefix = bytes.fromhex(f"{count:02d}" if row.prefix == "ll_bcd" else f"{count:04d}")
    return framed(good, good.body[:at] + prefix + good.body[at + len(prefix) :])


# -- the end -------------------------------------------------------------------------------------


def mac_missing(good: Good, _: Random) -> bytes | None:
    return framed(good, good.body[:-8]) if 64 in good.message else None


def cut(good: Good, chance: Random) -> bytes | None:
    """Within the last elements, without a length to tell."""
    return good.body[: chance.randrange(len(good.body) * 2 // 3, len(good.body))]


def cut_by_length(good: Good, chance: Random) -> bytes | None:
    return good.frame[: chance.randrange(len(good.frame) // 2, len(good.frame))]


def glued(good: Good, chance: Random) -> bytes | None:
    return good.frame * 2 if chance.random() < 0.5 else good.body * 2


def trailing_filler(good: Good, chance: Random) -> bytes | None:
    return good.frame + chance.choice((bytes(3), b"\r\n", b"\x03", b"    "))


def trailing(good: Good, chance: Random) -> bytes | None:
    return good.frame + bytes(chance.randrange(0x80, 0x100) for _ in range(5))


ON_TERMINALS: Final[tuple[Plant, ...]] = (
    tpdu_not_stripped, header_not_stripped, length_inclusive, length_bcd, length_characters,
    length_little_endian, length_of_body, length_wrong, hex_as_text, utf8_mangled, bytes_replaced,
    newlines_changed, mti_ascii, bitmap_hex, bitmap_announces, bitmap_leaves_out, bitmap_means,
    filler_side, ascii_for_bcd, bcd_for_ascii, ebcdic_for_ascii, hex_for_binary,
    prefix_counts_bytes, prefix_counts_digits, prefix_ascii, prefix_bin, prefix_wrong, mac_missing,
    cut, cut_by_length, glued, trailing_filler, trailing,
)  # fmt: skip
ON_ASCII: Final[tuple[Plant, ...]] = (ebcdic, bitmap_binary)
