"""Code made for a shape gives what the table gives: the same message, the same bytes, the same error.

Goal: nobody can tell which of the two looked at a message, in any dialect, on messages, mutated bytes
and values that can not be written; shapes are admitted late, never beyond the bound, and noise costs
nothing but time. Method: hypothesis draws from the tables; every drawn shape is warmed first.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from iso8583.codec import SHAPES_MAX, SIGHTINGS, Codec
from iso8583.dialects import registry
from iso8583.dialects.table import Dialect, Element
from iso8583.errors import DecodeError, EncodeError
from tests.depth import examples
from tests.iso8583.strategies import messages, values

if TYPE_CHECKING:
    from collections.abc import Callable

    from iso8583.message import Message

# Rows that no dialect of ours has, so that every branch of the generator is drawn.
ODDITIES = Dialect(
    "oddities",
    "what tables can say",
    "ebcdic",
    "hex_ebcdic",
    (
        Element(2, "h", 19, "bcd", "ll_bin", "left_f"),
        Element(3, "h", 5, "bcd", "fixed", "right_f0"),
        Element(4, "n", 7, "bcd", "fixed", "right_0f"),
        Element(5, "n", 4, "bcd", "l_bin", "none", "", "bytes"),
        Element(6, "zx", 5, "bcd", "fixed", "left_0"),
        Element(7, "z", 6, "bcd"),
        Element(8, "n", 9, "bcd", "ll_ascii", "left_0"),
        Element(9, "n", 9, "bcd", "lll_ebcdic", "right_0"),
        Element(10, "an", 12, "cp500"),
        Element(11, "n", 6, "cp500"),
        Element(12, "ans", 30, "cp500", "ll_ebcdic"),
        Element(13, "xn", 9, "ascii"),
        Element(14, "any", 12, "latin-1", "l_bin"),
        Element(15, "any", 6, "ascii"),
        Element(16, "ans", 6, "ascii"),
        Element(17, "h", 6, "ascii", "ll_bcd"),
        Element(18, "b", 20, "hex", "lll_ascii", "none", "", "bytes"),
        Element(19, "b", 4, "hex"),
        Element(20, "b", 300, "raw", "ll_bin"),
        Element(21, "n", 6, "ascii", "llll_ascii"),
        Element(22, "anp", 6, "ascii", "ll_ascii"),
        Element(23, "n", 3, "ascii"),
        Element(24, "ans", 40, "gbk", "lll_bcd"),
        Element(25, "xn", 9, "bcd"),
        Element(26, "xn", 17, "cp500"),
        Element(70, "n", 3, "ascii"),
        Element(130, "an", 3, "ascii"),
    ),
    versions="012",
    bitmaps=3,
)
# Neighbours: digits with a length before digits without, prefixes and text of several encodings.
NEIGHBOURS = Dialect(
    "neighbours",
    "what can stand beside what",
    "ascii",
    "hex",
    (
        Element(2, "n", 19, "bcd", "ll_bcd", "left_0f"),
        Element(3, "n", 6, "bcd"),
        Element(4, "n", 5, "bcd", "fixed", "left_0"),
        Element(5, "n", 18, "bcd", "l_bin", "none", "", "bytes"),
        Element(6, "n", 3, "bcd", "fixed", "right_0"),
        Element(7, "n", 30, "bcd", "llll_ascii", "right_f0"),
        Element(8, "n", 3, "bcd", "fixed", "right_f"),
        Element(9, "zx", 20, "bcd", "lllll_bcd", "right_0"),
        Element(10, "b", 30, "raw", "ll_ebcdic"),
        Element(11, "n", 6, "cp500"),
        Element(12, "an", 20, "cp500", "ll_ascii"),
        Element(13, "ans", 20, "cp037", "ll_ebcdic"),
        Element(14, "anp", 20, "cp500", "lll_ebcdic"),
        Element(15, "ans", 20, "latin-1", "ll_ascii"),
        Element(16, "an", 4, "latin-1"),
        Element(17, "n", 12, "gb18030", "ll_ascii"),
        Element(18, "anp", 8, "gbk"),
        Element(19, "ans", 8, "gbk"),
        Element(20, "any", 9, "latin-1"),
        Element(21, "an", 10, "ascii", "l_bin"),
        Element(22, "an", 10, "ascii", "ll_ascii"),
        Element(23, "ans", 8, "ascii", "lll_bcd"),
        Element(24, "ans", 8, "ascii"),
        Element(25, "z", 37, "ascii", "llll_ascii"),
        Element(26, "h", 37, "ascii", "ll_ascii"),
        Element(27, "any", 6, "ascii"),
        Element(28, "any", 6, "ascii", "ll_ascii"),
        Element(29, "xn", 9, "ascii"),
        Element(30, "xn", 9, "ascii"),
        Element(31, "n", 6, "ascii"),
        Element(90, "n", 42, "ascii"),
    ),
)
DIALECTS = [*(registry.get(name) for name in registry.names()), ODDITIES, NEIGHBOURS]
CODECS = {dialect.name: Codec(dialect) for dialect in DIALECTS}


def outcome(act: Callable[[Any], Any], given_: object) -> tuple[str, Any]:
    """What came of it, with everything that an error says."""
    try:
        return "result", act(given_)
    except DecodeError as error:
        return "refused", (error.args, error.end)
    except EncodeError as error:
        return "refused", error.args


def warmed(codec: Codec, message: Message) -> bytes:
    """The bytes; the shape of the message has code of its own, both ways."""
    if codec.cache_info().decoders > SHAPES_MAX - 2 or codec.cache_info().encoders > SHAPES_MAX - 2:
        codec._decoders.clear()
        codec._encoders.clear()
    codec.warm([message])
    data = codec.generic.encode(message)
    assert codec._shape(data) in codec._decoders or len(codec._shape(data)) > codec._long_head
    assert tuple(message) in codec._encoders
    return data


@settings(max_examples=examples(120), deadline=None)
@given(st.data())
def test_messages(data: st.DataObject) -> None:
    codec = CODECS[data.draw(st.sampled_from(sorted(CODECS)))]
    message = data.draw(messages(codec.dialect))
    octets = warmed(codec, message)
    assert codec.encode(message) == octets
    assert codec.decode(octets) == message == codec.generic.decode(octets)
    assert list(codec.decode(octets)) == sorted(message)
    write, read = codec._encoders[tuple(message)], codec._decoders.get(codec._shape(octets))
    assert write(message) == octets  # not by way of the table
    assert read is None or read(octets) == message


@settings(max_examples=examples(120), deadline=None)
@given(st.data())
def test_mutated_bytes(data: st.DataObject) -> None:
    codec = CODECS[data.draw(st.sampled_from(sorted(CODECS)))]
    octets = warmed(codec, data.draw(messages(codec.dialect)))
    start = codec._head
    for _ in range(8):
        changed = bytearray(octets)
        kind = data.draw(st.sampled_from(["flip", "cut", "add", "drop", "repeat"]))
        at = data.draw(st.integers(start, max(len(octets) - 1, start)))
        if kind == "flip" and at < len(changed):
            changed[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del changed[at:]
        elif kind == "add":
            changed += data.draw(st.binary(min_size=1, max_size=4))
        elif kind == "drop":
            del changed[at : at + 1]
        else:
            changed[at:at] = changed[at : at + 1]
        other = bytes(changed)
        assert outcome(codec.decode, other) == outcome(codec.generic.decode, other)


WRONG: list[Any] = [
    "", "0", "²", "\uff11", "1" * 1000, "A" * 12, " ", "\n", "成功", "=", "D", "-1", "1_0", "00000\n",
    b"", b"0", b"\xff" * 8, bytes(1000), bytearray(b"12345678"), None, 0, 7, 1.5, True, [], ("1",),
    memoryview(b"12345678"),
]  # fmt: skip


@settings(max_examples=examples(120), deadline=None)
@given(st.data())
def test_values_that_can_not_be_written(data: st.DataObject) -> None:
    codec = CODECS[data.draw(st.sampled_from(sorted(CODECS)))]
    message = data.draw(messages(codec.dialect))
    warmed(codec, message)
    changed: dict[int, Any] = dict(message)
    de = data.draw(st.sampled_from(sorted(changed)))
    row = codec.dialect.element(de)
    near: st.SearchStrategy[Any] = st.sampled_from(WRONG)
    if row is not None:
        near |= values(row)
        near |= st.text(max_size=row.size + 1) | st.binary(max_size=row.size + 1)
        if row.size < 1000:  # as long as hypothesis makes them
            near |= st.text("0123456789ABCDEF= ", min_size=row.size, max_size=row.size)
    changed[de] = data.draw(near)
    assert outcome(codec.encode, changed) == outcome(codec.generic.encode, changed)


@pytest.mark.parametrize(
    ("message", "octets"),
    [
        # DE 2 odd before digits of fixed width, DE 35, 60: filled up with F, which is taken, too
        (
            {0: "0200", 2: "6220000", 3: "000000", 35: "62=30", 60: "22000"},
            "0200 6000000020000010 07 6220000F 000000 05 62D30F 0005 22000F",
        ),
        ({0: "0200", 2: "622", 4: "000000000001"}, "0200 5000000000000000 03 622F 000000000001"),
    ],
)
def test_fillers_that_are_only_taken(message: Message, octets: str) -> None:
    """By the code itself: terminals that fill up with F are as fast as others."""
    codec = Codec(registry.get("unionpay_pos"))
    codec.warm([message])
    (read,) = codec._decoders.values()
    assert read(bytes.fromhex(octets)) == message == codec.generic.decode(bytes.fromhex(octets))


@pytest.mark.parametrize("name", ["unionpay_pos", "iso1987_ascii_hex", "iso1993_ebcdic"])
def test_a_second_bitmap_is_foreseen(name: str) -> None:
    """Both have code of their own, found by the first byte of the bitmap."""
    codec = CODECS[name]
    for de in range(2, 129):
        if de != 65:
            bitmap = codec.generic.written_bitmap([de])
            width = codec._heads[bitmap[0]] - codec._at_bitmap
            assert width == len(bitmap) == codec.generic.bitmap_width * (1 + (de > 64))


def test_a_shape_is_admitted_after_several_messages() -> None:
    codec = Codec(registry.get("unionpay_pos"))
    message: Message = {0: "0820", 11: "000001"}
    data = codec.generic.encode(message)
    for _ in range(SIGHTINGS - 1):
        codec.decode(data)
        codec.encode(message)
    assert (codec.cache_info().decoders, codec.cache_info().encoders) == (0, 0)
    codec.decode(data)
    codec.encode(message)
    assert (codec.cache_info().decoders, codec.cache_info().encoders) == (1, 1)
    assert codec.decode(data) == message


def test_what_is_refused_is_not_counted() -> None:
    codec = Codec(registry.get("unionpay_pos"))
    for _ in range(2 * SIGHTINGS):
        with pytest.raises(DecodeError):
            codec.decode(bytes.fromhex("0200 2000000000000000 0000"))
        with pytest.raises(EncodeError):
            codec.encode({0: "0200", 3: "0"})
    assert codec.cache_info()[:2] == (0, 0)
    assert not codec._seen


def test_noise_does_not_grow_and_does_not_push_out() -> None:
    """A thousand shapes that all come often: the first stay, the rest is read by the table."""
    codec = Codec(registry.get("unionpay_pos"))
    kept: Message = {0: "0200", 11: "000001"}
    codec.warm([kept])
    rows = [row for row in codec.dialect.elements if row.prefix != "fixed"][:10]
    for shape in range(2 ** len(rows)):
        message: Message = {0: "0210"}
        for bit, row in enumerate(rows):
            if shape >> bit & 1:
                message[row.de] = b"" if row.content == "b" else ""
        data = codec.encode(message)
        for _ in range(SIGHTINGS + 1):
            assert codec.decode(data) == message == codec.decode(codec.encode(message))
    info = codec.cache_info()
    assert info.decoders == info.encoders == info.shapes_max == SHAPES_MAX
    assert tuple(kept) in codec._encoders
    assert codec.generic.encode(kept)[:10] in codec._decoders
    assert len(codec._seen) <= 1024


def test_a_traceback_shows_the_line() -> None:
    codec = Codec(registry.get("unionpay_pos"))
    message: Message = {0: "0200", 2: "6220000"}
    codec.warm([message])
    (read,) = codec._decoders.values()
    try:
        read(codec.generic.encode(message)[:10])
    except IndexError:
        assert "n2 = " in traceback.format_exc()
    else:
        pytest.fail("nothing was raised")


def test_a_shape_knows_its_table_by_number_only() -> None:
    """A name of a table never becomes source: whoever writes a dialect writes no code."""
    row = Element(2, "n", 19, "bcd", "ll_bcd", "right_0", "x'); import os #")
    codec = Codec(Dialect("'''; boom", "\n", "bcd", "binary", (row,)))
    codec.warm([{0: "0200", 2: "62"}])
    assert codec.decode(codec.encode({0: "0200", 2: "62"})) == {0: "0200", 2: "62"}
