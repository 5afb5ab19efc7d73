"""What elements mean: MTI, amounts, currencies, tracks, codes.

Goal: the small functions that others decide with. Method: tables; the docstrings' own examples.
"""

from __future__ import annotations

import doctest
import importlib
import re

import pytest

from iso8583 import codes, elements, texts
from iso8583.amount import CURRENCIES, Amount, format_de4, numeric_code, parse_de4
from iso8583.codec import codec_for
from iso8583.dialects import registry
from iso8583.errors import DecodeError
from iso8583.inspect import inspect_message
from iso8583.mti import as_repeat, is_advice, is_repeat, response_mti, without_repeat
from iso8583.track import luhn_ok, parse_track2
from tests.iso8583.corpus import body, terminal_records


@pytest.mark.parametrize(
    "name",
    [
        "amount",
        "codes",
        "composites",
        "contents",
        "dialects.formats",
        "dialects.table",
        "dialects.usual",
        "elements",
        "emv_scripts",
        "framing",
        "generic",
        "message",
        "mti",
        "reading",
        "subfields.layout",
        "tlv",
        "track",
    ],
)
def test_examples_in_docstrings(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"iso8583.{name}"))
    assert tried > 0
    assert failed == 0


ANSWERS = [
    ("0100", "0110"), ("0200", "0210"), ("0220", "0230"), ("0221", "0230"), ("0320", "0330"),
    ("0400", "0410"), ("0401", "0410"), ("0420", "0430"), ("0421", "0430"), ("0500", "0510"),
    ("0620", "0630"), ("0800", "0810"), ("0820", "0830"), ("0920", "0930"),
]  # fmt: skip


@pytest.mark.parametrize(("request_mti", "answer"), ANSWERS)
def test_response_mti(request_mti: str, answer: str) -> None:
    assert response_mti(request_mti) == answer
    with pytest.raises(ValueError, match="answer already"):
        response_mti(answer)


def test_repeats() -> None:
    assert is_repeat("0421")
    assert not is_repeat("0420")
    assert without_repeat("0421") == "0420" == without_repeat("0420")
    assert as_repeat("0220") == "0221"
    assert is_advice("0220")
    assert not is_advice("0200")
    for wrong in ("", "020", "02²0", "02000"):
        with pytest.raises(ValueError, match="four digits"):
            response_mti(wrong)


def test_amounts() -> None:
    assert Amount(100, "156") + -Amount(30, "156") == Amount(70, "156")
    with pytest.raises(ValueError, match="two currencies"):
        Amount(1, "156") + Amount(1, "840")
    with pytest.raises(ValueError, match="no currency"):
        Amount(1, "999")
    for wrong in (1.5, True):
        with pytest.raises(ValueError, match="integers"):
            Amount(wrong, "156")  # type: ignore[arg-type]
    for text in ("12345", "00000000001²", "+00000000001", " 00000000001"):
        with pytest.raises(ValueError, match="twelve digits"):
            parse_de4(text)
    for minor in (-1, 10**12):
        with pytest.raises(ValueError, match="DE 4 holds"):
            format_de4(minor)
    assert parse_de4(format_de4(999_999_999_999)) == 999_999_999_999


def test_currencies() -> None:
    assert all(re.fullmatch("[0-9]{3}", code) for code in CURRENCIES)
    assert len({letters for letters, _ in CURRENCIES.values()}) == len(CURRENCIES)
    known = {"CNY": 2, "HKD": 2, "JPY": 0, "KRW": 0, "KWD": 3, "USD": 2, "BHD": 3, "EUR": 2}
    assert {name: CURRENCIES[numeric_code(name)][1] for name in known} == known


@pytest.mark.parametrize(
    ("track", "pan", "expiry", "service_code"),
    [
        ("6220000000012402=30122200000000000000", "6220000000012402", "3012", "220"),
        ("6220000000012402D3012220", "6220000000012402", "3012", "220"),
        ("6220000000012402==220", "6220000000012402", "", "220"),
        ("6220000000012402=3012=1", "6220000000012402", "3012", ""),
        ("6220000000012402=", "6220000000012402", "", ""),
    ],
)
def test_track_2(track: str, pan: str, expiry: str, service_code: str) -> None:
    parsed = parse_track2(track)
    assert (parsed.pan, parsed.expiry, parsed.service_code) == (pan, expiry, service_code)
    assert pan not in repr(parsed)


@pytest.mark.parametrize(
    ("track", "offset"),
    [("", 0), ("6220000000012402", 16), ("622=3012", 3), ("1" * 20 + "=", 20), ("62200A00012402=", 0),
     ("6220000000012402=30A2", 17), ("62200000²0012402=3012", 0)],
)  # fmt: skip
def test_track_2_refused(track: str, offset: int) -> None:
    with pytest.raises(DecodeError) as refused:
        parse_track2(track)
    assert (refused.value.de, refused.value.offset) == (35, offset)


def test_luhn() -> None:
    for good in ("4111111111111111", "6220000000012402", "5413330002001015"):
        assert luhn_ok(good)
        for place in range(len(good)):
            other = good[:place] + str((int(good[place]) + 1) % 10) + good[place + 1 :]
            assert not luhn_ok(other)
    for wrong in (
        "", "0", "00000000000", "4111 111111111111", "411111111111111²", "411111111111111\udcb2", "0" * 20,
    ):  # fmt: skip
        assert not luhn_ok(wrong)


def test_synthetic_cards_of_the_corpus_pass_luhn() -> None:
    cards = [
        row["decoded"]["fields"].get("2")
        for row in terminal_records()
        if row.get("synthetic_pan") and row["clean"] and body(row)
    ]
    assert any(cards)
    assert all(luhn_ok(card) for card in cards if card)


def test_every_text_has_both_languages() -> None:
    tables = [codes.RESPONSE_CODES, codes.PROCESSING_CODES, codes.ENTRY_MODES, codes.CONDITIONS]
    tables += [codes.TERMINAL_MANAGEMENT, codes.NETWORK_MANAGEMENT, texts.TEXTS]
    for table in tables:
        for key, (english, chinese) in table.items():
            assert english, key
            assert chinese, key
            assert english.isascii(), key
    assert elements.name(2, "zh") == "主账号"
    assert texts.text("name", "zh_CN") == "名称"


def test_codes() -> None:
    assert codes.meaning(codes.RESPONSE_CODES, "A0", "zh") == "MAC校验错"
    assert codes.meaning(codes.RESPONSE_CODES, "ZZ") == ""
    assert codes.entry_mode("022", "zh") == "磁条; 无密码"
    assert codes.entry_mode("999") == ""


PRIVATE: dict[int, str | bytes] = {
    0: "0200",
    3: "400000",
    11: "000001",
    25: "66",
    39: "A0",
    44: "0102",
    60: "22000001000",
}


def test_private_elements_mean_what_their_dialect_says() -> None:
    """UnionPay's batch and codes are no other host's."""
    message = {**PRIVATE, 61: "000001000002"}
    terminal, host = (
        inspect_message(codec_for(name).encode(message), name)
        for name in ("unionpay_pos", "iso1987_ascii")
    )
    assert terminal.meanings[60][0].startswith("batch 000001")
    assert terminal.meanings[25][0] == "account top-up"
    assert terminal.meanings[39][0] == "MAC error, sign on"
    assert terminal.meanings[3][0] == "top-up from account"
    assert {*terminal.parts} >= {60, 61}
    assert terminal.name(61) == "original transaction"
    assert {25, 39, 60, 61} & {*host.meanings} == set()
    assert host.meanings[3] == ("transfer between accounts", "账户间转账")
    assert {*host.parts} & {44, 60, 61} == set()
    assert (host.name(60), host.name(61, "zh")) == ("reserved, private (60)", "保留 私有 61")


def test_what_a_host_has_in_a_private_element_is_masked_as_text() -> None:
    message: dict[int, str | bytes] = {0: "0200", 11: "000001", 60: "6222021234567890123"}
    for name in ("iso1987_ascii", "base24"):
        found = inspect_message(codec_for(name).encode(message), name)
        assert found.fields[60] == "622202*********0123"


def test_variants_have_the_names_of_their_base() -> None:
    for name in registry.names():
        dialect = registry.get(name)
        if dialect.family == "unionpay_pos":
            assert dialect.element_name(61, "zh") == "原始信息域"
        elif dialect.versions == "0" and name != "visa":
            assert dialect.element_name(61) == "reserved, private (61)"
