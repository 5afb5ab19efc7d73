"""The inspector finds frame and dialect of real messages and names what is wrong with broken ones.

Goal: `tongbao inspect` is right on the whole corpus and shows nothing sensitive. Method: the corpus;
secrets of a message searched for in everything shown.
"""

from __future__ import annotations

import io
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from rich.console import Console

from iso8583.codec import codec_for
from iso8583.inspect import inspect_message
from iso8583.message import mask_pan
from tests.depth import examples
from tests.iso8583.corpus import body, frame_parts, record, terminal_records
from tests.iso8583.test_corpus import VARIANT_OF

CLEAN = [row for row in terminal_records() if row["clean"]]


@pytest.mark.parametrize("row", CLEAN, ids=lambda row: row["id"])
def test_frame_and_dialect_of_clean_messages(row: dict[str, Any]) -> None:
    found = inspect_message(row["hex"], unmask=True)
    assert found.ok
    shown = found.to_json_dict()
    parts = [part.hex().upper() or None for part in frame_parts(row)]
    assert shown["framing"] == dict(zip(("length", "tpdu", "header"), parts, strict=True))
    assert shown["mti"] == row["mti"]
    assert set(shown["fields"]) >= set(row["decoded"]["fields"])
    # a track filled up with F reads in the base dialect too
    wanted = VARIANT_OF.get(row["id"], "unionpay_pos")
    assert shown["dialect"] in {wanted, "unionpay_pos"}
    assert json.loads(json.dumps(shown)) == shown


BROKEN = [
    ("cup-bcdutil-balance", 41, 61),
    ("cup-jiso8583-sale-resp", None, 0),
    ("cup-mocredit-mti0000", 0, 13),
    ("cup-vendor-c-preauth-qr", None, 213),
    ("cup-yago-keydl-odd", 60, 48),
    ("cup-hms-purchase-macin", 64, 104),
]


@pytest.mark.parametrize(("name", "de", "offset"), BROKEN)
def test_broken_messages(name: str, de: int | None, offset: int) -> None:
    found = inspect_message(record(name)["hex"])
    assert not found.ok
    error = found.to_json_dict()["error"]
    assert (error["de"], error["offset"]) == (de, offset)
    assert set(error) == {"de", "offset", "reason"}


def test_the_shape_others_script_against() -> None:
    shown = inspect_message(record("cup-lzy-sale-chip")["hex"]).to_json_dict()
    assert list(shown)[:5] == ["dialect", "framing", "mti", "fields", "error"]
    assert shown["framing"] == {"length": "010D", "tpdu": "6000060000", "header": "603200320002"}
    assert shown["fields"]["2"] == "622000******2402"
    assert shown["fields"]["22"] == "051"
    assert shown["fields"]["52"] == "[8 bytes]"
    assert shown["error"] is None
    clear = inspect_message(record("cup-lzy-sale-chip")["hex"], unmask=True).to_json_dict()
    assert clear["fields"]["2"] == "6220000000012402"
    assert len(clear["fields"]["52"]) == 16


@pytest.mark.parametrize("row", terminal_records(), ids=lambda row: row["id"])
def test_nothing_sensitive_is_shown(row: dict[str, Any]) -> None:
    """PAN, track, PIN block, IC data and keys of the message are in no text shown."""
    found = inspect_message(row["hex"])
    out = io.StringIO()
    Console(file=out, width=400).print(found.table())
    shown = json.dumps(found.to_json_dict(), ensure_ascii=False) + out.getvalue()
    if not row["decoded"]:
        return
    stated = row["decoded"]["fields"]
    for de in ("2", "35", "36", "52", "55", "62"):
        value = stated.get(de, "").removeprefix("hex:")
        if len(value) >= 12:
            assert value not in shown, f"DE {de}"
            assert value.replace("D", "=") not in shown, f"DE {de}"
    if "35" in stated and "2" in stated:
        assert mask_pan(stated["2"]) in shown


def test_a_given_dialect_is_the_only_one_tried() -> None:
    hexed = record("cup-easy8583-refund")["hex"]
    assert inspect_message(hexed).dialect == "unionpay_pos.de22_right"
    found = inspect_message(hexed, "unionpay_pos")
    assert found.error is not None
    assert (found.dialect, found.error.de) == ("unionpay_pos", 22)
    with pytest.raises(LookupError):
        inspect_message(hexed, "no_such")


def test_link_frames() -> None:
    message: dict[int, str | bytes] = {0: "0200", 3: "000000", 4: "000000000100", 49: "156"}
    octets = codec_for("iso1987_ascii").encode(message)
    for length in (
        len(octets).to_bytes(2, "big"),
        b"%04d" % len(octets),
        b"%04d" % (len(octets) + 4),
    ):
        found = inspect_message(length + octets)
        assert found.ok
        assert found.dialect == "iso1987_ascii"
        assert found.framing.length == length
        assert ("4", "amount, transaction", "000000000100", "1.00 CNY") in found.rows()
        assert ("3", "交易处理码", "000000", "消费") in found.rows("zh")


def test_input_that_is_not_hex() -> None:
    row = record("cup-echo-0820")
    spaced = " ".join(row["hex"][at : at + 2] for at in range(0, len(row["hex"]), 2)) + "\n"
    assert inspect_message(spaced).ok
    odd = inspect_message(row["hex"] + "0")
    assert odd.error is not None
    assert odd.error.reason == "odd number of hex digits"
    assert odd.mti == "0820"
    bad = inspect_message("60zz")
    assert bad.error is not None
    assert (bad.error.offset, bad.error.reason) == (1, "not a hex digit")
    for empty in ("", b""):
        nothing = inspect_message(empty)
        assert not nothing.ok
        assert nothing.to_json_dict()["mti"] is None
    assert not inspect_message(bytes(100_000)).ok
    assert not inspect_message("²³" * 20).ok


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=120) | st.text(max_size=60))
def test_anything_is_explained(message: bytes | str) -> None:
    shown = inspect_message(message).to_json_dict()
    assert json.dumps(shown)


def test_raw_bytes_and_hex_are_the_same() -> None:
    row = record("cup-topwise-sale-chip-resp")
    assert inspect_message(bytes.fromhex(row["hex"])) == inspect_message(row["hex"])
    assert inspect_message(body(row)).mti == "0210"


def test_a_damaged_message_shows_no_digits_of_its_pan_as_a_header() -> None:
    """A wide header guess swallows the body; without `unmask` only its width is shown."""
    pan = "6222021234567890123"
    body = codec_for("unionpay_pos").encode(
        {
            0: "0200",
            2: pan,
            3: "000000",
            4: "000000010000",
            11: "000001",
            22: "021",
            25: "00",
            41: "12345678",
            42: "104110058120001",
            49: "156",
            60: "22000001",
        }
    )
    whole = bytes.fromhex("6000030000603100000000") + body
    whole = len(whole).to_bytes(2, "big") + whole
    chance = random.Random(1)
    wide = 0
    for _ in range(examples(60)):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 2, 3))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        if chance.random() < 0.3:
            damaged = damaged[chance.randrange(1, 30) :]
        found = inspect_message(bytes(damaged))
        shown = json.dumps(found.to_json_dict()) + found.summary()
        wide += found.error is not None and len(found.framing.header) > 7
        assert pan[:12] not in shown, bytes(damaged).hex()
        assert pan[4:16] not in shown, bytes(damaged).hex()
    assert wide, "no guess was wide: the test shows nothing"
    assert inspect_message(whole).to_json_dict()["framing"]["header"] == "603100000000"
