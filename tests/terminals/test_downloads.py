"""What downloads look like on the wire, and which data are refused.

Goal: the bytes that terminals of others take. Method: messages of the corpus, built again from the data
they carry; pages by properties; a status upload as a working terminal writes it (S1).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from iso8583 import tlv
from iso8583.errors import DecodeError
from terminals import downloads
from terminals.download_data import Aid, CaKey, DownloadSet, Parameters, check_sum, faults
from terminals.downloads import Wire

CORPUS = Path(__file__).parent.parent / "data" / "corpus" / "messages.jsonl"
LISTED = (  # RID, index, expiry: of the corpus' answer to 372
    ("A000000003", "09", "20161231"),
    ("A000000004", "06", "20211231"),
    ("A000000065", "14", "20161231"),
    ("A000000333", "0B", "20211231"),
    ("A000000333", "08", "20201231"),
)
MODULUS = (  # UnionPay's key 08 of 1,152 bits, as the corpus has it
    "B61645EDFD5498FB246444037A0FA18C0F101EBD8EFA54573CE6E6A7FBF63ED21D66340852B0211CF5EEF6A1CD989F66"
    "AF21A8EB19DBD8DBC3706D135363A0D683D046304F5A836BC1BC632821AFE7A2F75DA3C50AC74C545A75456220413716"
    "9663CFCC0B06E67E2109EBA41BC67FF20CC8AC80D7B6EE1A95465B3B2657533EA56D92D539E5064360EA4850FED2D1BF"
)
KEY = CaKey(
    rid="A000000333",
    index="08",
    expiry="20201231",
    modulus=MODULUS,
    sha1="EE23B616C95C02652AD18860E48787C079E8E85A",
)
AID = Aid(
    aid="A000000333010101",
    tac_default="D84000A800",
    tac_online="D84004F800",
    tac_denial="0010000000",
    floor_limit_minor=5_000,
    target_percent=25,
    target_percent_max=99,
    e_cash_limit_minor=100_000,
)


def de62(name: str) -> bytes:
    for line in CORPUS.read_text(encoding="utf-8").splitlines():
        message = json.loads(line)
        if message["id"] == name:
            return bytes.fromhex(message["decoded"]["fields"]["62"].removeprefix("hex:"))
    raise AssertionError(name)


# -- known answers --------------------------------------------------------------------------------


def test_the_list_of_keys_of_the_corpus() -> None:
    groups = [
        downloads.ca_group(
            msgspec.structs.replace(KEY, rid=rid, index=index, expiry=expiry), Wire()
        )
        for rid, index, expiry in LISTED
    ]
    assert downloads.page(groups, 0, 512) == de62("cup-mpos-capk-query-resp")


def test_the_key_of_the_corpus() -> None:
    assert downloads.ALL + downloads.ca_tags(KEY, Wire()) == de62("cup-mpos-capk-down-resp")


def test_the_check_sum_of_a_key_that_is_in_use() -> None:
    """UnionPay's own: SHA-1 over RID, index, modulus and exponent."""
    assert check_sum(KEY) == KEY.sha1
    assert list(faults(KEY)) == []


def test_an_expiry_in_four_bytes() -> None:
    tags = dict(tlv.parse(downloads.ca_group(KEY, Wire(ca_expiry="bcd")), 62))
    assert tags["DF05"] == bytes.fromhex("20201231")


def test_what_an_aid_is_told() -> None:
    """Limits of 9F1B and DF15 binary, of the contactless ones n12, percents BCD (S1 reads them so)."""
    tags = dict(tlv.parse(downloads.aid_tags(AID), 62))
    assert {tag: value.hex().upper() for tag, value in tags.items()} == {
        "9F06": "A000000333010101",
        "DF01": "00",
        "9F08": "0020",
        "DF11": "D84000A800",
        "DF12": "D84004F800",
        "DF13": "0010000000",
        "9F1B": "00001388",
        "DF15": "00000000",
        "DF16": "99",
        "DF17": "25",
        "DF14": "9F3704",
        "DF18": "01",
        "9F7B": "000000100000",
    }


def test_parameters_are_tags_with_values_of_fixed_width() -> None:
    """The widths of `reference/pos-messages.md` §5.4."""
    of = Parameters(
        name="p",
        timeout_s=60,
        dial_retries=3,
        phone_1="01095516",
        tip=True,
        tip_percent=15,
        keyed_entry=False,
        resends=3,
        tmk_index=1,
        transaction_switches="FFFF0080",
        offline_max=20,
    )
    coded = downloads.parameters(of, "街角小店")
    name = "街角小店".encode("gbk").ljust(40)
    assert coded == (
        b"1260" b"133" b"1401095516      " b"181" b"1915" b"200" b"22" + name + b"233" b"251"
        b"26\xff\xff\x00\x80" b"2720"
    )  # fmt: skip
    assert b"22" + b" " * 40 not in downloads.parameters(
        msgspec.structs.replace(of, merchant_name=False), ""
    )


def test_a_status_as_a_working_terminal_writes_it() -> None:
    """S1 `MakeTermStatusData`: 127 bytes, devices, parameters, then hours, dials and their success."""
    sent = (
        b"011021031041051" b"1160" b"1260" b"133" b"14" + b"01095516".ljust(14) + b"15" + b" " * 14
        + b"16" + b" " * 14 + b"17" + b" " * 14 + b"180" b"1910" b"201" b"210" b"233" b"251" b"2720"
        b"51007200999980"
    )  # fmt: skip
    assert len(sent) == 127
    told = downloads.status(sent)
    assert told["device_3"] == "1"
    assert told["phone_1"] == "01095516"
    assert told["phone_2"] == ""
    assert told["offline_max"] == "20"
    assert told["statistics"] == "007200999980"


@pytest.mark.parametrize("sent", [b"0", b"99x", b"126", b"14" + b"1" * 13])
def test_a_status_that_is_cut_is_no_status(sent: bytes) -> None:
    with pytest.raises(DecodeError):
        downloads.status(sent)


# -- pages ----------------------------------------------------------------------------------------


@given(
    groups=st.lists(st.binary(min_size=1, max_size=30), max_size=60),
    bytes_max=st.integers(31, 120),
)
def test_a_list_is_had_whole_by_asking_on(groups: list[bytes], bytes_max: int) -> None:
    """By the control character alone: 2 asks again, all else ends; no page is too long."""
    taken, received, controls = b"", 0, b""
    while True:
        answer = downloads.page(groups, received, bytes_max)
        assert len(answer) <= bytes_max
        controls += answer[:1]
        part = answer[1:]
        while part:
            assert part.startswith(groups[received])
            part = part[len(groups[received]) :]
            taken += groups[received]
            received += 1
        if answer[:1] != downloads.MORE:
            break
    assert taken == b"".join(groups)
    if not groups:
        assert controls == b"0"
    elif len(controls) == 1:
        assert controls == b"1"
    else:
        assert controls == b"2" * (len(controls) - 1) + b"3"


def test_cards_are_counted_and_cut_to_what_a_terminal_compares() -> None:
    wire = Wire()
    assert downloads.card_page(["6220000000000011", "622000"], 0, wire, more=True) == (
        b"2002146220000000000006622000        "
    )
    whole = msgspec.structs.replace(wire, blacklist_digits=19)
    assert downloads.card_page(["6220000000000011"], 4, whole, more=False) == (
        b"3005166220000000000011   "
    )
    assert downloads.card_page([], 0, wire, more=False) == b"0000"
    most = downloads.cards_a_page(wire)
    assert len(downloads.card_page(["6" * 14] * most, 0, wire, more=False)) <= wire.bytes_max


# -- requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"1", b"205", b"1x5", b"1005", "1٢3".encode()])
def test_counts_that_are_none(sent: bytes) -> None:
    with pytest.raises(DecodeError):
        downloads.received_of(sent)


def test_what_a_get_names() -> None:
    assert downloads.key_named(bytes.fromhex("9F0605A0000003339F220108")) == "A000000333/08"
    assert downloads.aid_named(bytes.fromhex("9F0608A000000333010101")) == "A000000333010101"
    for sent in (b"", b"\x9f\x06\x05\xa0", bytes.fromhex("9F0605A000000333")):
        with pytest.raises(DecodeError):
            downloads.key_named(sent)


# -- what is refused --------------------------------------------------------------------------------

REFUSED: list[tuple[Any, dict[str, Any], str, str]] = [
    (KEY, {"rid": "A00000033"}, "rid", "10 hex"),
    (KEY, {"rid": "a000000333"}, "rid", "upper case"),
    (KEY, {"index": "8"}, "index", "2 hex"),
    (KEY, {"expiry": "20201331"}, "expiry", "YYYYMMDD"),
    (KEY, {"expiry": "201231"}, "expiry", "YYYYMMDD"),
    (KEY, {"modulus": MODULUS[:-2] + "BE"}, "sha1", "is not that of"),
    (KEY, {"modulus": "00" * 249}, "modulus", "128 to 496"),
    (KEY, {"exponent": "05"}, "exponent", "03, 010001"),
    (KEY, {"sha1": "00" * 20}, "sha1", "EE23B616"),
    (AID, {"aid": "A0000003"}, "aid", "10 to 32"),
    (AID, {"tac_denial": "00"}, "tac_denial", "10 hex"),
    (AID, {"floor_limit_minor": -1}, "floor_limit_minor", "0 to"),
    (AID, {"target_percent": 100}, "target_percent", "0 to 99"),
    (AID, {"target_percent_max": 1}, "target_percent_max", "at least"),
    (AID, {"e_cash_limit_minor": 10**12}, "e_cash_limit_minor", "0 to"),
    (Parameters(name="p"), {"timeout_s": 100}, "timeout_s", "0 to 99"),
    (Parameters(name="p"), {"resends": 10}, "resends", "0 to 9"),
    (Parameters(name="p"), {"phone_2": "+8610"}, "phone_2", "14 digits"),
    (Parameters(name="p"), {"transaction_switches": "FF"}, "transaction_switches", "8 hex"),
    (Parameters(name="p"), {"name": "p/q"}, "name", "letters"),
    (DownloadSet(name="s"), {"ca_keys": ("A/1",) * 2}, "ca_keys[1]", "twice"),
    (DownloadSet(name="s"), {"aids": tuple(map(str, range(100)))}, "aids", "at most 99"),
    (DownloadSet(name="s"), {"tms_hex": "0"}, "tms_hex", "hex"),
    (DownloadSet(name="s"), {"status_hours": -1}, "status_hours", "0 to"),
]


@pytest.mark.parametrize(("item", "change", "path", "reason"), REFUSED)
def test_what_is_refused(item: Any, change: dict[str, Any], path: str, reason: str) -> None:
    assert list(faults(item)) == []
    found = dict(faults(msgspec.structs.replace(item, **change)))
    assert reason in found[path]
