"""The generic codec: known answers, the traps, and properties over every dialect.

Goal: decode and encode are inverse, refuse everything else with element and offset, and never raise
anything but their own errors. Method: hand-made bytes for single rules; hypothesis for the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from iso8583.codec import Codec, codec_for, elements_of
from iso8583.dialects import registry
from iso8583.dialects.table import Dialect, Element
from iso8583.errors import DecodeError, EncodeError
from iso8583.generic import PLANS_MAX, GenericCodec
from tests.iso8583.strategies import messages

if TYPE_CHECKING:
    from iso8583.message import Message

POS = codec_for("unionpay_pos")
LINK = codec_for("iso1987_ascii")
LINK_HEX = codec_for("iso1987_ascii_hex")

# -- known answers, worked out by hand from reference/pos-messages.md §2 and reference/link.md -------

KNOWN = [
    # MTI, bitmap bit 11
    ("unionpay_pos", {0: "0820", 11: "000001"}, "0820 0020000000000000 000001"),
    # DE 22 left-aligned, DE 23 right-aligned
    (
        "unionpay_pos",
        {0: "0200", 22: "021", 23: "001"},
        "0200 0000060000000000 0210 0001",
    ),
    # DE 2: the length counts digits; odd, filled up right with 0
    ("unionpay_pos", {0: "0200", 2: "6220000"}, "0200 4000000000000000 07 62200000"),
    # DE 35: = is nibble D
    ("unionpay_pos", {0: "0200", 35: "62=301"}, "0200 0000000020000000 06 62D301"),
    # DE 60: 00 000001 372, eleven digits (S6's capture)
    ("unionpay_pos", {0: "0820", 60: "00000001372"}, "0820 0000000000000010 0011 000000013720"),
    # DE 55: length in bytes; DE 64 raw
    (
        "unionpay_pos",
        {0: "0400", 55: b"\x9f\x36\x02\x00\x11", 64: b"AE46C73E"},
        "0400 0000000000000201 0005 9F36020011 4145343643373345",
    ),
    # GBK text, length in bytes
    ("unionpay_pos", {0: "0210", 63: "CUP成功"}, "0210 0000000000000002 0007 435550 B3C9B9A6"),
    ("iso1987_ascii", {0: "0800", 11: "000001", 70: "301"}, "30383030 8020000000000000"
     "0400000000000000 303030303031 333031"),
    ("iso1987_ascii", {0: "0200", 2: "62200"}, "30323030 4000000000000000 3035 3632323030"),
    ("iso1987_ascii", {0: "0200", 52: b"12345678"}, "30323030 0000000000001000 3132333435363738"),
    ("iso1987_ascii_hex", {0: "0210", 39: "05"}, b"0210000000000200000005".hex()),
    ("iso1987_ascii", {0: "0200", 28: "D00000001"}, b"0200\0\0\0\x10\0\0\0\0D00000001".hex()),
    # DE 28: `D` in ASCII, then 8 digits; DE 22 filled up in front, DE 32 behind
    ("iso1987_binary", {0: "0200", 28: "D00000001"}, "0200 0000001000000000 44 00000001"),
    ("iso1987_binary", {0: "0200", 22: "021", 32: "123"}, "0200 0000040100000000 0021 03 1230"),
    ("iso1987_binary.filler_left", {0: "0200", 32: "123"}, "0200 0000000100000000 03 0123"),
    # EBCDIC: digits F0 to F9, letters C1 and on; the bitmap stays binary, or is hex digits
    ("iso1987_ebcdic", {0: "0200", 2: "62", 39: "A0"}, "F0F2F0F0 4000000002000000 F0F2 F6F2 C1F0"),
    ("iso1987_ebcdic.prefix_bcd", {0: "0200", 2: "62"}, "F0F2F0F0 4000000000000000 02 F6F2"),
    ("iso1993_ebcdic", {0: "1200", 39: "000"},
     "F1F2F0F0 F0F0F0F0F0F0F0F0F0F2F0F0F0F0F0F0 F0F0F0"),
    ("iso1993_binary", {0: "1200", 39: "000"}, "1200 0000000002000000 0000"),
    # 156 with two decimals, 123.45; a third bitmap
    ("iso2003_binary", {0: "2200", 4: "1562000000012345"}, "2200 1000000000000000 1562000000012345"),
    ("iso2003_binary", {0: "2200", 130: b"A"},
     "2200 8000000000000000 8000000000000000 4000000000000000 0001 41"),
    # lengths of one binary byte; 19 digits behind a filler
    ("visa", {0: "0100", 2: "1234567890123456789", 37: "000000000001"},
     "0100 4000000008000000 13 01234567890123456789 F0F0F0F0F0F0F0F0F0F0F0F1"),
    ("base24", {0: "0200", 52: bytes(7) + b"\xab"},
     (b"0200" b"0000000000001000" b"00000000000000AB").hex()),
    ("ipm_ebcdic.hex", {0: "1240", 24: "200"},
     "F1F2F4F0" + b"0000010000000000".hex() + "F2F0F0"),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "message", "octets"), KNOWN)
def test_known_answers(dialect: str, message: Message, octets: str) -> None:
    codec = codec_for(dialect)
    assert codec.encode(message).hex() == bytes.fromhex(octets).hex()
    assert codec.decode(bytes.fromhex(octets)) == message


# -- what is refused, and where ----------------------------------------------------------------

REFUSED = [
    ("unionpay_pos", "", 0, 0, "needs 2 bytes, 0 left"),
    ("unionpay_pos", "0A00 0000000000000000", 0, 0, "not four digits"),
    ("unionpay_pos", "1200 0000000000000000", 0, 0, "a version that the dialect does not have"),
    ("unionpay_pos", "0000 0000000000000000", 0, 0, "message class 0 is reserved"),
    ("iso1987_binary", "0200 0000001000000000 43 000000", 28, 10, "needs 5 bytes, 4 left"),
    ("iso1987_binary", "0200 0000001000000000 45 00000001", 28, 10, "not C or D and digits"),
    ("iso1987_binary", "0200 0000001000000000 43 0000000A", 28, 14, "not C or D and digits"),
    ("iso1987_ebcdic", "F0F2F0F0 0020000000000000 F0F0F0F0F0C1", 11, 17, "not a digit in cp500"),
    ("iso1987_ebcdic", "F0F2F0F0 4000000000000000 F0C1", 2, 12, "length prefix is not digits"),
    ("iso1993_ebcdic", "F1F2F0F0 F0F0F0F0F0F0F0F0F0F2F0F0F0F0F0D1", 1, 19, "not a hex digit"),
    ("iso1993_ebcdic", "F0F2F0F0", 0, 0, "a version that the dialect does not have"),
    ("iso2003_binary", "2200 8000000000000000 8000000000000000", 1, 18, "needs 8 bytes, 0 left"),
    ("visa", "0100 4000000000000000 14", 2, 10, "length 20 over 19"),
    ("unionpay_pos", "0200 00000000000000", 1, 2, "needs 8 bytes, 7 left"),
    ("unionpay_pos", "0200 8000000000000000 00", 1, 10, "needs 8 bytes, 1 left"),
    ("unionpay_pos", "0200 0000000000000000 00", None, 10, "1 bytes after the last element"),
    ("unionpay_pos", "0200 0800000000000000", 5, 10, "not in the dialect"),
    ("unionpay_pos", "0200 8000000000000000 8000000000000000", 65, 18, "not in the dialect"),
    # a digit that is a hex letter; a value that is cut
    ("unionpay_pos", "0200 2000000000000000 00A000", 3, 11, "not a digit"),
    ("unionpay_pos", "0200 2000000000000000 0000", 3, 10, "needs 3 bytes, 2 left"),
    # a right-aligned DE 22 is not silently read as another mode
    ("unionpay_pos", "0200 0000040000000000 0012", 22, 11, "wrong filler nibble"),
    ("unionpay_pos", "0200 0000020000000000 1000", 23, 10, "wrong filler nibble"),
    # lengths: not digits, too long, more than there is
    ("unionpay_pos", "0200 4000000000000000 1A 62", 2, 10, "length prefix is not digits"),
    ("unionpay_pos", "0200 4000000000000000 20 62", 2, 10, "length 20 over 19"),
    ("unionpay_pos", "0200 4000000000000000 19 62", 2, 11, "needs 10 bytes, 1 left"),
    ("unionpay_pos", "0200 4000000000000000", 2, 10, "needs 1 bytes, 0 left"),
    ("unionpay_pos", "0200 0000000000000200 1000", 55, 10, "length 1000 over 255"),
    # DE 2 and 35: the filler is 0 or F, nothing else
    ("unionpay_pos", "0200 4000000000000000 03 6221", 2, 12, "wrong filler nibble"),
    ("unionpay_pos", "0200 0000000020000000 03 62E0", 35, 12, "not a digit or separator"),
    # text: control characters, bytes over 7F, broken GBK
    ("unionpay_pos", "0200 0000000000800000 4142434445464700", 41, 17, "not printable"),
    ("unionpay_pos", "0200 0000000000800000 41424344454647B2", 41, 17, "not printable"),
    ("unionpay_pos", "0200 0000000002000000 B230", 39, 10, "not a letter or digit"),
    ("unionpay_pos", "0200 0000000000000002 0001 B3", 63, 12, "not printable GBK text"),
    # superscript digits are digits to str.isdigit, and latin-1 has three of them
    ("iso1987_ascii", b"0200\x20\0\0\0\0\0\0\x0000000\xb2".hex(), 3, 17, "not a digit"),
    ("iso1987_ascii", b"0200\x40\0\0\0\0\0\0\x00\xb2\xb31".hex(), 2, 12, "length prefix is not digits"),
    ("iso1987_ascii", b"02\xb20\x20\0\0\0\0\0\0\x00000000".hex(), 0, 0, "not four digits"),
    ("iso1987_ascii", b"0200\0\0\0\x10\0\0\0\0X00000001".hex(), 28, 12, "not C or D and digits"),
    ("iso1987_ascii", b"0200\x40\0\0\0\0\0\0\x00+1".hex(), 2, 12, "length prefix is not digits"),
    ("iso1987_ascii", b"0200\x40\0\0\0\0\0\0\x00 1".hex(), 2, 12, "length prefix is not digits"),
    # bytes.fromhex skips blanks: a bitmap of 14 digits and two blanks is not one of 16
    ("iso1987_ascii_hex", b"0210 00000000 2000000".hex(), 1, 4, "not a hex digit"),
    ("iso1987_ascii_hex", b"02108000000000000000wrong".hex(), 1, 20, "needs 16 bytes, 5 left"),
    ("iso1987_ascii_hex", b"02100000".hex(), 1, 4, "needs 16 bytes, 4 left"),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "octets", "de", "offset", "reason"), REFUSED)
def test_refused(dialect: str, octets: str, de: int | None, offset: int, reason: str) -> None:
    with pytest.raises(DecodeError) as refused:
        codec_for(dialect).decode(bytes.fromhex(octets))
    error = refused.value
    assert (error.de, error.offset, error.reason) == (de, offset, reason)


@pytest.mark.parametrize(("dialect", "octets", "de", "offset", "reason"), REFUSED)
def test_partial_names_the_same_error(
    dialect: str, octets: str, de: int | None, offset: int, reason: str
) -> None:
    _, error = codec_for(dialect).decode_partial(bytes.fromhex(octets))
    assert error is not None
    assert (error.de, error.offset, error.reason) == (de, offset, reason)


NOT_WRITTEN: list[tuple[str, Message, int]] = [
    ("unionpay_pos", {11: "000001"}, 0),
    ("unionpay_pos", {0: "200"}, 0),
    ("unionpay_pos", {0: "1200"}, 0),
    ("unionpay_pos", {0: "02²0"}, 0),
    ("unionpay_pos", {0: b"0200"}, 0),
    ("unionpay_pos", {0: "0200", 1: "00"}, 1),
    ("unionpay_pos", {0: "0200", 5: "000000000001"}, 5),
    ("unionpay_pos", {0: "0200", 129: "1"}, 129),
    ("unionpay_pos", {0: "0200", -1: "1"}, -1),
    ("unionpay_pos", {0: "0200", 3: "00000"}, 3),
    ("unionpay_pos", {0: "0200", 3: "00000²"}, 3),
    ("unionpay_pos", {0: "0200", 3: "00 000"}, 3),
    ("unionpay_pos", {0: "0200", 3: "00000\uff11"}, 3),
    ("unionpay_pos", {0: "0200", 3: b"000000"}, 3),
    ("unionpay_pos", {0: "0200", 2: "1" * 20}, 2),
    ("unionpay_pos", {0: "0200", 2: "622 000"}, 2),
    ("unionpay_pos", {0: "0200", 22: "0210"}, 22),
    ("unionpay_pos", {0: "0200", 35: "62D301"}, 35),
    ("unionpay_pos", {0: "0200", 41: "1234567"}, 41),
    ("unionpay_pos", {0: "0200", 41: "1234567\n"}, 41),
    ("unionpay_pos", {0: "0200", 41: "1234567²"}, 41),
    ("unionpay_pos", {0: "0200", 52: "12345678"}, 52),
    ("unionpay_pos", {0: "0200", 52: b"1234567"}, 52),
    ("unionpay_pos", {0: "0200", 55: bytes(256)}, 55),
    ("unionpay_pos", {0: "0200", 63: "ø"}, 63),
    ("unionpay_pos", {0: "0200", 63: "成" * 82}, 63),
    ("unionpay_pos", {0: "0200", 63: "a\x7f成"}, 63),
    ("iso1987_ascii", {0: "0200", 28: "E00000001"}, 28),
    ("iso1987_ascii", {0: "0200", 28: "D0000000²"}, 28),
    ("iso1987_ascii", {0: "0200", 43: "成" * 40}, 43),
    ("iso1987_ascii", {0: "0200", 65: "1"}, 65),
]


@pytest.mark.parametrize(("dialect", "message", "de"), NOT_WRITTEN)
def test_a_message_that_would_not_come_back_is_not_written(
    dialect: str, message: Message, de: int
) -> None:
    with pytest.raises(EncodeError) as refused:
        codec_for(dialect).encode(message)
    assert refused.value.de == de


def test_errors_show_no_content() -> None:
    secret = "6220000000012402"
    with pytest.raises(EncodeError) as refused:
        POS.encode({0: "0200", 2: secret + "12345"})
    assert secret not in str(refused.value) + repr(refused.value)
    with pytest.raises(DecodeError) as wrong:
        POS.decode(bytes.fromhex("0200 4000000000000000 17 62200000000124021E"))
    assert "62200000" not in str(wrong.value) + repr(wrong.value)
    assert str(wrong.value) == "DE 2 at byte 19: wrong filler nibble"


# -- reading as far as possible ----------------------------------------------------------------


def test_partial_reads_on_behind_a_bad_element() -> None:
    """MTI, 11, 41, 42 readable but body not: the switch can answer 30 (rules §11)."""
    whole: Message = {0: "0200", 3: "000000", 11: "000007", 41: "10000001", 42: "898100000000001"}
    data = bytearray(POS.encode(whole))
    data[10] = 0xAA  # DE 3
    message, error = POS.decode_partial(bytes(data))
    assert message == {de: value for de, value in whole.items() if de != 3}
    assert error is not None
    assert (error.de, error.offset) == (3, 10)
    spans = POS.spans(bytes(data))
    assert spans[0] == (0, 2)
    assert spans[1] == (2, 8)
    assert spans[3] == (10, 3)
    assert spans[42] == (24, 15)


def test_partial_stops_where_the_extent_is_unknown() -> None:
    message, error = POS.decode_partial(bytes.fromhex("0200 4020000000000000 2A 000001"))
    assert message == {0: "0200"}
    assert error is not None
    assert error.de == 2


def test_partial_reads_elements_under_a_bad_mti() -> None:
    message, error = POS.decode_partial(bytes.fromhex("0000 0020000000000000 000001"))
    assert message == {11: "000001"}
    assert error is not None
    assert error.de == 0


def test_both_fillers_are_read_and_the_tables_own_is_written() -> None:
    for octets in ("03 6220", "03 622F"):
        assert POS.decode(bytes.fromhex("0200 4000000000000000" + octets))[2] == "622"
    f = codec_for("unionpay_pos.de35_filler_f")
    assert f.encode({0: "0200", 35: "62="})[10:].hex() == "0362df"
    assert f.decode(bytes.fromhex("0200 0000000020000000 03 62D0"))[35] == "62="


def test_a_secondary_bitmap_that_announces_nothing_is_read() -> None:
    data = b"0810" + bytes.fromhex("8000000002000000") + bytes(8) + b"00"
    assert LINK.decode(data) == {0: "0810", 39: "00"}


def test_either_case_of_a_hex_bitmap_is_one_shape() -> None:
    codec = Codec(registry.get("iso1987_ascii_hex"))
    upper = b"0200" + b"000000000000000A" + b"001A001B"
    assert codec.decode(upper) == codec.decode(upper.replace(b"0A0", b"0a0")) == {
        0: "0200", 61: "A", 63: "B"}  # fmt: skip
    assert len(codec.generic._plans) == 1


def test_hex_encoding_of_bytes() -> None:
    dialect = registry.get("iso1987_ascii").variant(
        "hex_mac",
        "DE 64 as hex",
        Element(64, "b", 8, "hex"),
        Element(55, "b", 255, "hex", "lll_ascii"),
    )
    codec = Codec(dialect)
    message: Message = {0: "0200", 55: b"\xab", 64: bytes(range(0xA8, 0xB0))}
    data = codec.encode(message)
    assert data[12:] == b"001ABA8A9AAABACADAEAF"
    assert codec.decode(data) == message
    with pytest.raises(DecodeError, match="DE 64 at byte 17: not upper-case hex digits"):
        codec.decode(data.replace(b"AF", b"af"))


def test_elements_of_a_bitmap() -> None:
    assert elements_of(bytes.fromhex("C000000000000001 0000000000000001")) == [2, 64, 128]


# -- properties --------------------------------------------------------------------------------

every_dialect = st.sampled_from([registry.get(name) for name in registry.names()])


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_round_trip(data: st.DataObject) -> None:
    dialect: Dialect = data.draw(every_dialect)
    message = data.draw(messages(dialect))
    codec = codec_for(dialect.name)
    octets = codec.encode(message)
    assert codec.decode(octets) == message
    found, error, spans = codec.explain(octets)
    assert (found, error) == (message, None)
    assert sum(length for _, length in spans.values()) == len(octets)
    assert codec.encode(dict(reversed(message.items()))) == octets
    for cut in {len(octets) // 2, len(octets) - 1}:
        with pytest.raises(DecodeError):
            codec.decode(octets[:cut])


@settings(max_examples=300, deadline=None)
@given(every_dialect, st.binary(max_size=200), st.integers(0, 2**64 - 1))
def test_any_bytes_are_a_message_or_a_decode_error(
    dialect: Dialect, tail: bytes, bits: int
) -> None:
    """And what is a message is written back so that it reads the same."""
    codec = codec_for(dialect.name)
    head = codec.encode({0: dialect.versions[0] + "200"})
    for octets in (tail, head[:-8] + bits.to_bytes(8, "big") + tail):
        found, error, _ = codec.explain(octets)
        if error is None:
            assert codec.decode(octets) == found
            assert codec.decode(codec.encode(found)) == found
            continue
        with pytest.raises(DecodeError) as refused:
            codec.decode(octets)
        assert refused.value.args == error.args


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_flipped_byte_is_a_message_or_a_decode_error(data: st.DataObject) -> None:
    dialect: Dialect = data.draw(every_dialect)
    codec = codec_for(dialect.name)
    octets = bytearray(codec.encode(data.draw(messages(dialect))))
    at = data.draw(st.integers(0, len(octets) - 1))
    octets[at] ^= data.draw(st.integers(1, 255))
    try:
        message = codec.decode(bytes(octets))
    except DecodeError:
        return
    assert codec.decode(codec.encode(message)) == message


def test_caches_of_the_table_are_bounded_and_noise_does_not_enter_them() -> None:
    codec = GenericCodec(registry.get("unionpay_pos"))
    rows = [row.de for row in codec.dialect.elements if row.prefix != "fixed"][:10]
    assert len(rows) == 10
    for shape in range(2**10):
        message: Message = {0: "0200"}
        for bit, de in enumerate(rows):
            if shape >> bit & 1:
                row = codec.dialect.element(de)
                message[de] = b"" if row is not None and row.content == "b" else ""
        codec.decode(codec.encode(message))
    assert 0 < len(codec._plans) <= PLANS_MAX
    assert 0 < len(codec._shapes) <= PLANS_MAX
    before = dict(codec._plans)
    for low in range(256):
        with pytest.raises(DecodeError):
            codec.decode(b"\x02\x00" + bytes([0x70, low]) + bytes(6) + b"\xff")
    assert codec._plans == before
