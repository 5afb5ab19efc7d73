"""What people may see of a message (P6).

Goal: nothing sensitive in the masked form, everything else readable. Method: one message with a
secret in every element that can hold one.
"""

from __future__ import annotations

from iso8583.message import Message, mask_pan, masked

PAN = "6220000000012402"


def test_masked() -> None:
    message: Message = {
        0: "0200",
        2: PAN,
        3: "000000",
        14: "3012",
        35: PAN + "=30122200000000000000",
        36: "99" + PAN + "=156",
        41: "10000001",
        42: "898100000000001",
        45: "B" + PAN + "^X",
        48: "00100" + PAN,
        52: bytes(range(8)),
        55: b"\x5a\x08\x62\x20",
        59: "A3018" + PAN,
        60: "22000001000600",
        62: b"keys",
        63: "CUP " + PAN,
        64: b"AE46C73E",
        102: PAN,
    }
    shown = masked(message)
    assert list(shown) == sorted(message)
    assert shown[2] == "622000******2402"
    assert shown[35] == "622000******2402=****"
    assert shown[42] == "898100000000001"
    assert shown[52] == "[8 bytes]"
    assert shown[59] == "[21 characters]"
    assert shown[62] == "[4 bytes]"
    assert shown[63] == "CUP 622000******2402"
    assert shown[64] == "41453436433733" + "45"
    assert PAN not in str(shown)
    assert "3012" not in str(shown)


def test_later_versions_hide_what_they_have_elsewhere() -> None:
    """DE 72 is a data record in 1993; in 2003 DE 49 holds the CVV, DE 34 and 44 compound data."""
    shown = masked({0: "1240", 24: "200", 53: b"key", 71: "00000001", 72: "card " + PAN})
    assert shown == {
        0: "1240",
        24: "200",
        53: "[3 bytes]",
        71: "00000001",
        72: "card 622000******2402",
    }
    shown = masked({0: "2200", 22: bytes(2), 34: b"x", 44: b"x", 49: b"\x01123", 64: bytes(4)})
    assert shown == {
        0: "2200",
        22: "0000",
        34: "[1 bytes]",
        44: "[1 bytes]",
        49: "[4 bytes]",
        64: "00000000",
    }


def test_free_text_of_later_versions_is_masked() -> None:
    """DE 44, 60 and 61 are free text there, and totals stand in DE 48 in 1987 alone."""
    for mti in ("1210", "2210"):
        for de in (44, 60, 61):
            assert masked({0: mti, de: "card " + PAN})[de] == "card 622000******2402"
    assert masked({0: "1520", 48: PAN})[48] == "[16 characters]"


def test_private_elements_longer_than_terminals_have_are_a_hosts_own() -> None:
    """What fits batch, trace and date is shown; a host may put anything into 999 characters."""
    assert masked({0: "0200", 61: "0" * 29})[61] == "0" * 29
    assert masked({0: "0200", 60: "reference of card " + PAN})[60].endswith(" 622000******2402")


def test_totals_of_a_settlement_are_shown() -> None:
    totals = "0" * 62
    assert masked({0: "0500", 48: totals})[48] == totals
    assert masked({0: "0320", 48: totals})[48] == "[62 characters]"


def test_a_message_that_did_not_decode_hides_every_run_of_digits() -> None:
    shown = masked({0: "0200", 42: PAN[:15], 53: PAN, 64: bytes(8)}, strict=True)
    assert shown == {0: "0200", 42: "622000*****1240", 53: "622000******2402", 64: "[8 bytes]"}


def test_mask_pan() -> None:
    assert mask_pan("") == ""
    assert mask_pan("622000001240") == "************"
    assert mask_pan("6220000012402") == "622000***2402"
