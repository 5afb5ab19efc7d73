"""Messages between hosts, clearing records and EMV data of the corpus go through dialects and TLV.

Goal: every clean record of every family but the terminals' (those: `test_corpus.py`) is understood as
its source states and comes back byte for byte, or stands here with the reason; every bad one is
refused where and why it is bad. Method: tables by corpus id. A dialect that only one source has is a
TOML file in `dialects/` beside this test.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from iso8583 import composites, tlv
from iso8583.codec import Codec, codec_for
from iso8583.dialects import registry
from iso8583.dialects.from_toml import from_toml
from iso8583.errors import DecodeError
from iso8583.framing import Framer, FramingSpec
from tests.iso8583.corpus import record, records
from tests.iso8583.test_corpus import as_the_file_has_it

FILES = Path(__file__).resolve().parent / "dialects"

# corpus id -> dialect: a name of ours, or a file
DIALECT_OF = {
    "ipm-ascii-raw": "ipm",
    "ipm-ascii-raw-hex": "ipm.hex",
    "ipm-ebcdic-raw-hex": "ipm_ebcdic.hex",
    "ipm-min-hexbitmap": "ipm.hex",
    "isosim-1100-trace": "isosim.toml",
    "jpos-field59-2": "visa",
    "jpos-iso87a-field64": "iso1987_ascii.binary_hex",
    "jpos-iso87apackager": "iso1987_ascii.binary_hex",
    "jpos-iso87bpackager": "jpos_iso87b.toml",
    "jpos-iso93apackager": "jpos_iso93a.toml",
    "jpos-iso93bpackager": "iso1993_binary.filler_right",
    "jpos-iso93ebcdic": "iso1993_ebcdic",
    "jpos-postilion-0620": "postilion.toml",
    "moov-basic-auth": "iso1987_ascii_hex",
    "moov-financial-transaction-message": "iso1987_ascii_hex",
    "moov-full-auth": "moov_full_auth.toml",
    "moov-iso-reversal-message": "iso1987_ascii_hex",
    "moov-iso-reversal-message-advice": "iso1987_ascii_hex",
    "moov-iso-reversal-message-response": "iso1987_ascii_hex",
    "moov-iso-reversal-repeat-message": "iso1987_ascii_hex",
    "moov-message-with-character-ebcdic-encoding": "moov_ebcdic_42.toml",
    "moov-network-management-message-response": "iso1987_ascii_hex",
    "pyiso8583-1": "iso1987_ascii_hex",
    "pyiso8583-2": "iso1987_ascii_hex",
    "pyiso8583-bcd-pan-2": "pyiso8583_nibbles.toml",
    # neither clean nor bad in the corpus: right under another encoding than plain ASCII
    "moov-message-with-indicate-numeric": "moov_signed_8.toml",
    "moov-message-with-number-bcd-encoding": "moov_numbers_bcd.toml",
}
# Bytes before the MTI: a header in EBCDIC that is no header of ours.
BEFORE = {"jpos-iso93ebcdic": 9}
# Not by way of a dialect, with the reason.
NO_DIALECT = {
    "ipm-vbs-2": "two records in a VBS file, taken apart below",
    "pin-payby-format0": "a PIN block: tests/hsm",
    "moov-message-with-hex-bcd": "three BCD digits of length, filled up behind: no prefix of ours",
    "moov-message-with-hex-length": "a length of one hex character, which no prefix of ours is",
}
_SECONDARY = "a secondary bitmap that announces nothing is never written"
_LOWER = "hex digits in lower case are written in upper case"
NOT_BYTE_FOR_BYTE = {
    "ipm-ascii-raw-hex": _LOWER,
    "ipm-ebcdic-raw-hex": _LOWER,
    "ipm-min-hexbitmap": _SECONDARY,
    "moov-message-with-character-ebcdic-encoding": _SECONDARY,
    "moov-message-with-indicate-numeric": _SECONDARY,
    "moov-message-with-number-bcd-encoding": _SECONDARY,
}
# Where the source states what is inside an element that we give whole, or what is not on the wire.
OTHERWISE = {
    ("jpos-iso93ebcdic", "55"): "elements of its own",
    ("jpos-postilion-0620", "127"): "elements of its own",
    ("moov-full-auth", "55"): "tags whose values are characters",
    ("pyiso8583-bcd-pan-2", "2"): "stated as 14 of its 15 nibbles",
    ("jpos-iso93bpackager", "56"): "stated EFGH, packed as the digits 5678",
}

# Broken: id -> dialect, element, offset in the body, reason
REFUSED = [
    ("ipm-bad-short", "ipm", 0, 0, "not four digits"),
    ("ipm-bad-trailing", "ipm", None, 241, "1 bytes after the last element"),
    ("moov-bad-proccode", "iso1987_ascii", 3, 33, "not a digit"),
    ("moov-error-message", "iso1987_ascii_hex", 55, 185, "needs 30 bytes, 21 left"),
    ("moov-full-auth-truncated", "moov_full_auth.toml", 120, 270, "needs 17 bytes, 16 left"),
    ("moov-iso-reversal-message-advice-unexpected-field", "moov_without_14.toml", 14, 66,
     "not in the dialect"),
    ("moov-message-with-error-indicate-numeric", "moov_signed_8.toml", 28, 66,
     "not C or D and digits"),
    ("moov-network-management-message-with-error-track", "iso1987_ascii_hex", 35, 68,
     "not a digit or separator"),
    ("pyiso8583-bad-3", "iso1987_ascii_hex", 1, 4, "needs 16 bytes, 4 left"),
    ("pyiso8583-bad-4", "iso1987_ascii_hex", 0, 0, "needs 4 bytes, 2 left"),
    ("pyiso8583-bad-5", "iso1987_ascii_hex", 1, 20, "not a hex digit"),
]  # fmt: skip
# Refused before a dialect is asked: the length says more than follows, so that no frame ever ends.
LENGTHS_THAT_LIE = {"zk-handbuilt-0080-f3": 22, "zk-handbuilt-0800": 59}
EMV_REFUSED = {
    "emv-bad-1": (0, "tag cut or over 4 bytes"),
    "emv-bad-3": (3, "value of 6 bytes, 2 left"),
    "emv-bad-7": (9, "tag cut or over 4 bytes"),
    "emv-bad-8": (10, "tag without length"),
    "emv-bad-9": (65, "tag cut or over 4 bytes"),
}


@cache
def codec_of(name: str) -> Codec:
    if not name.endswith(".toml"):
        return codec_for(name)
    return Codec(from_toml((FILES / name).read_text(encoding="utf-8"), registry.get))


def data_of(name: str) -> bytes:
    return bytes.fromhex(record(name)["hex"])[BEFORE.get(name, 0) :]


def others() -> list[dict[str, Any]]:
    return [row for row in records() if row["family"] not in {"cup-pos", "emv-tlv"}]


def test_every_record_has_its_place() -> None:
    clean = {row["id"] for row in others() if not row.get("bad")}
    assert clean == {*DIALECT_OF, *NO_DIALECT}
    bad = {row["id"] for row in others() if row.get("bad")}
    assert bad == {name for name, *_ in REFUSED} | LENGTHS_THAT_LIE.keys()
    used = {*DIALECT_OF.values(), *(name for _, name, *_ in REFUSED)}
    assert {file.name for file in FILES.iterdir()} <= used


def stated(row: dict[str, Any]) -> dict[str, str]:
    """The values that the source states, by element."""
    if row["family"] == "ipm":
        found = {k[2:]: v for k, v in row["expected"].items() if k.startswith("DE")}
        return {k: v for k, v in found.items() if k.isdigit()}
    values = (row["expected"] or {}) | ((row["decoded"] or {}).get("fields") or {})
    return {k: v for k, v in values.items() if k.isdigit() and k not in {"0", "error_field"}}


@pytest.mark.parametrize("name", sorted(DIALECT_OF))
def test_a_message_is_understood_and_comes_back(name: str) -> None:
    row, codec = record(name), codec_of(DIALECT_OF[name])
    message = codec.decode(data_of(name))
    if row["mti"] is not None:
        assert message[0] == row["mti"]
    for de, value in stated(row).items():
        if (name, de) not in OTHERWISE:
            assert value in forms(message[int(de)]), f"DE {de}"
    written = codec.encode(message)
    assert codec.decode(written) == message
    assert (written == data_of(name)) is (name not in NOT_BYTE_FOR_BYTE)
    if NOT_BYTE_FOR_BYTE.get(name) == _LOWER:
        assert written.lower() == data_of(name).lower()


def forms(value: str | bytes) -> set[str]:
    """The ways in which a source may state a value."""
    found = as_the_file_has_it(0, value)
    if isinstance(value, str):
        found |= {value, value.lstrip("0"), value.strip()}
        found.add(f"hex:{value.encode('cp500').hex().upper()}")
    elif len(value) == 5:  # a sign that is a digit, then BCD
        found.add(value[:1].decode("latin-1") + value[1:].hex())
    return found


@pytest.mark.parametrize(("name", "dialect", "de", "offset", "reason"), REFUSED)
def test_a_broken_message_is_refused_for_the_right_reason(
    name: str, dialect: str, de: int | None, offset: int, reason: str
) -> None:
    with pytest.raises(DecodeError) as refused:
        codec_of(dialect).decode(data_of(name))
    error = refused.value
    assert (error.de, error.offset, error.reason) == (de, offset, reason)


@pytest.mark.parametrize(("name", "size"), LENGTHS_THAT_LIE.items())
def test_a_length_that_lies_is_never_a_frame(name: str, size: int) -> None:
    framer = Framer(FramingSpec(tpdu=True, header_bytes=2))
    assert framer.receive_bytes(data_of(name)) == []
    assert len(framer.held) == size


def test_plain_ascii_refuses_what_needs_another_encoding() -> None:
    for row in others():
        if row.get("reason", "").startswith("valid only under"):
            for dialect in ("iso1987_ascii", "iso1987_ascii_hex"):
                with pytest.raises(DecodeError):
                    codec_for(dialect).decode(data_of(row["id"]))


def test_the_records_of_the_vbs_file() -> None:
    data, found = data_of("ipm-vbs-2"), []
    while size := int.from_bytes(data[:4], "big"):
        found.append(codec_for("ipm").decode(data[4 : 4 + size]))
        data = data[4 + size :]
    assert found == [codec_for("ipm").decode(data_of("ipm-ascii-raw"))] * 2


def test_ipm_records_match_the_published_parses() -> None:
    for name in ("ipm-ascii-raw", "ipm-ascii-raw-hex", "ipm-ebcdic-raw-hex"):
        codec, expected = codec_of(DIALECT_OF[name]), record(name)["expected"]
        message = codec.decode(data_of(name))
        place = [part.value.strip() for part in composites.parse(43, message[43], codec.dialect)]
        keys = ("NAME", "ADDRESS", "SUBURB", "POSTCODE", "STATE", "COUNTRY")
        assert place == [expected[f"DE43_{key}"] for key in keys]
        ((tag, _, value, *_),) = composites.parse(48, message[48], codec.dialect)
        assert {f"PDS{tag}": value} == {"PDS0001": expected["PDS0001"]}


EMV = [row for row in records() if row["family"] == "emv-tlv"]


@pytest.mark.parametrize("row", [r for r in EMV if r["clean"]], ids=lambda r: r["id"])
def test_emv_data_match_the_published_parses(row: dict[str, Any]) -> None:
    tags = {tag: value.hex().upper() for tag, value in tlv.parse(bytes.fromhex(row["hex"]))}
    wanted = {tag: value for tag, value in row["decoded"]["tags"].items() if tag != "00"}
    assert tags == wanted
    for tag, value in (row["expected"] or {}).items():
        assert tags[tag] == value
    assert tlv.build(tlv.parse(bytes.fromhex(row["hex"]))) in bytes.fromhex(row["hex"]) or (
        row["id"] == "emv-cardutil-zerotag"  # NUL bytes between tags are filler, not written
    )


def test_emv_data_that_are_none() -> None:
    assert {row["id"] for row in EMV if row.get("bad")} == EMV_REFUSED.keys()
    for name, (offset, reason) in EMV_REFUSED.items():
        with pytest.raises(DecodeError) as refused:
            tlv.parse(bytes.fromhex(record(name)["hex"]))
        assert (refused.value.offset, refused.value.reason) == (offset, reason)
