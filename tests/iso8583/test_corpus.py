"""Messages of real terminals go through the dialects; those of hosts are in `test_corpus_hosts.py`.

Goal: every clean terminal message is understood and written back byte for byte; every broken one is
refused at a known element and offset. Method: tables by corpus id. A clean message that is not in
VARIANT_OF must do with the base dialect; adding one to the corpus needs no change here until it
does not.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from iso8583.codec import codec_for
from iso8583.dialects import registry
from iso8583.errors import DecodeError, FramingError
from iso8583.framing import POS, Framer
from tests.iso8583.corpus import body, frame_parts, record, records, terminal_records

# corpus id -> the variant it needs; all others use the base dialect.
VARIANT_OF = {
    "cup-denovo-signin-js-variant": "unionpay_pos.private_blocks",
    "cup-easy8583-refund": "unionpay_pos.de22_right",
    "cup-lo-lri-sale": "unionpay_pos.de35_enciphered",
    "cup-lyx-balance-req": "unionpay_pos.de35_filler_f",
    "cup-payby-purchase-req": "unionpay_pos.de60_text",
    "cup-payby-purchase-resp": "unionpay_pos.de60_text",
    "cup-payby-refund-resp": "unionpay_pos.de60_text",
    "cup-payby-reversal-req": "unionpay_pos.de60_text",
    "cup-payby-reversal-resp": "unionpay_pos.de55_long_de60_text",
    "cup-vfwz-download-response": "unionpay_pos.private_blocks",
    "cup-vfwz-sign-img-response": "unionpay_pos.private_blocks",
    "cup-vfwz-signin-request": "unionpay_pos.private_blocks",
    "cup-xfer-sale-dcc60": "unionpay_pos.de48_text",
}
# Clean messages that can not come back byte for byte, with the reason. None so far.
NOT_BYTE_FOR_BYTE: dict[str, str] = {}

# Broken: corpus id -> (bytes before the MTI, dialect, element, offset in the body). The length that
# lies (cup-jiso8583-sale-resp) is a matter of the frame, below.
REFUSED = [
    # the file blames DE 60; DE 41 before it already holds a NUL
    ("cup-bcdutil-balance", 11, "unionpay_pos", 41, 50),
    ("cup-mocredit-mti0000", 13, "unionpay_pos", 0, 0),
    ("cup-vendor-c-preauth-qr", 14, "unionpay_pos.private_blocks", None, 199),
    ("cup-vendor-c-preauth-qr", 14, "unionpay_pos", 47, 48),
    ("cup-yago-keydl-odd", 13, "unionpay_pos", 60, 35),
]
# Input blocks of a MAC: bit 64 is set and DE 64 is absent. DE 35 of the third counts bytes.
REFUSED_MAC_INPUT = {
    "cup-hms-purchase-macin": (64, 104),
    "cup-mac-agiledata": (64, 96),
    "cup-mac-cryptoutils-reversal": (64, 61),
    "cup-mac-halalah": (35, 21),
    "cup-mac-secretutil": (64, 105),
    "cup-mac-steel-ccb": (64, 320),
}
# Where the file writes a value otherwise than a message of ours does.
FOUR_NIBBLES = {22, 23}


def as_the_file_has_it(de: int, value: str | bytes) -> set[str]:
    """The ways in which the corpus may state a value."""
    if isinstance(value, bytes):
        forms = {value.hex().upper(), f"hex:{value.hex().upper()}"}
        if de != 64:
            forms.add(value.decode("latin-1"))
        return forms
    if de in FOUR_NIBBLES:
        return {value + "0", "0" + value}
    return {value.replace("=", "D")} if de in {35, 36} else {value}


@pytest.mark.parametrize(
    "row", [r for r in terminal_records() if r["clean"]], ids=lambda r: r["id"]
)
def test_a_clean_message_is_understood_and_comes_back(row: dict[str, Any]) -> None:
    codec = codec_for(VARIANT_OF.get(row["id"], "unionpay_pos"))
    message = codec.decode(body(row))
    assert message[0] == row["mti"]
    stated = row["decoded"]["fields"]
    assert {str(de) for de in message if de} >= set(stated)
    for de, value in stated.items():
        assert value in as_the_file_has_it(int(de), message[int(de)]), f"DE {de}"
    if row["id"] not in NOT_BYTE_FOR_BYTE:
        assert codec.encode(message) == body(row)
    assert codec.decode(codec.encode(message)) == message


@pytest.mark.parametrize("name", sorted(VARIANT_OF))
def test_a_variant_is_only_used_where_the_base_does_not_do(name: str) -> None:
    base = codec_for("unionpay_pos")
    data = body(record(name))
    with contextlib.suppress(DecodeError):
        assert base.encode(base.decode(data)) != data


@pytest.mark.parametrize(("name", "at", "dialect", "de", "offset"), REFUSED)
def test_a_broken_message_is_refused_at_element_and_offset(
    name: str, at: int, dialect: str, de: int | None, offset: int
) -> None:
    data = bytes.fromhex(record(name)["hex"])[at:]
    with pytest.raises(DecodeError) as refused:
        codec_for(dialect).decode(data)
    assert (refused.value.de, refused.value.offset) == (de, offset)


@pytest.mark.parametrize("name", sorted({name for name, *_ in REFUSED}))
def test_no_dialect_takes_a_broken_message(name: str) -> None:
    at = next(row[1] for row in REFUSED if row[0] == name)
    for dialect in registry.names():
        with pytest.raises(DecodeError):
            codec_for(dialect).decode(bytes.fromhex(record(name)["hex"])[at:])


def test_a_length_that_lies_is_never_a_frame() -> None:
    """The 142 bytes that follow never make the 170 promised; the next frame makes it worse."""
    row = record("cup-jiso8583-sale-resp")
    framer = Framer(POS)
    assert framer.receive_bytes(bytes.fromhex(row["hex"])) == []
    assert len(framer.held) == 144


def test_every_broken_terminal_message_is_in_a_table() -> None:
    broken = {row["id"] for row in terminal_records() if row.get("bad")}
    assert broken == {name for name, *_ in REFUSED} | {"cup-jiso8583-sale-resp"}
    macs = {row["id"] for row in terminal_records() if row.get("mac_input")}
    assert macs == set(REFUSED_MAC_INPUT)


@pytest.mark.parametrize("name", sorted(REFUSED_MAC_INPUT))
def test_the_input_of_a_mac_is_no_message(name: str) -> None:
    data = body(record(name))
    with pytest.raises(DecodeError) as refused:
        codec_for("unionpay_pos").decode(data)
    assert (refused.value.de, refused.value.offset) == REFUSED_MAC_INPUT[name]


@pytest.mark.parametrize("name", sorted(set(REFUSED_MAC_INPUT) - {"cup-mac-halalah"}))
def test_the_input_of_a_mac_is_what_stands_before_de_64(name: str) -> None:
    """encode(message with DE 64 of zeros)[:-8] is what the MAC covers."""
    codec = codec_for("unionpay_pos")
    data = body(record(name))
    message, error = codec.decode_partial(data)
    assert error is not None
    assert error.de == 64
    assert codec.encode(message | {64: bytes(8)})[:-8] == data


@pytest.mark.parametrize(
    "row",
    [
        r
        for r in terminal_records()
        if r["clean"]
        and r["framing"].startswith("2-byte length prefix (binary) + TPDU 5 bytes + header 6 bytes")
    ],
    ids=lambda r: r["id"],
)
def test_a_framed_message_comes_through_the_framer(row: dict[str, Any]) -> None:
    _, tpdu, header = frame_parts(row)
    (frame,) = Framer(POS).receive_bytes(bytes.fromhex(row["hex"]))
    assert (frame.tpdu, frame.header, frame.body) == (tpdu, header, body(row))


def test_noise_of_the_whole_corpus_raises_nothing_but_our_errors() -> None:
    """Every record, of any family, cut at every length: a message or DecodeError, in any dialect."""
    for row in records():
        data = bytes.fromhex(row["hex"])
        for number, dialect in enumerate(registry.names()):
            codec = codec_for(dialect)
            for cut in range(number % 5, len(data), 7 if number < 3 else 41):
                with contextlib.suppress(DecodeError):
                    codec.decode(data[cut:])
                error = codec.explain(data[cut:]).error
                assert error is None or 0 <= error.offset <= len(data) - cut
        with contextlib.suppress(FramingError):
            Framer(POS).receive_bytes(data)


def test_the_copy_is_whole() -> None:
    assert len(records()) == 125
    assert all(json.dumps(row) for row in records())
