"""What is in doubt is masked: no digits of a card in a message whose elements may be misplaced.

Goal: whoever inspects a damaged capture sees of a PAN no more than its mask, whatever its check digit.
Method: PANs put where frames, bitmaps and other elements are expected; all that is shown searched for
the digits that a mask hides; the same messages, whole, still shown.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from iso8583.codec import codec_for
from iso8583.inspect import inspect_message
from iso8583.inspector import rendering
from tests.iso8583.planted import good_terminal_messages

if TYPE_CHECKING:
    from iso8583.inspect import Inspection
    from iso8583.message import Message

RIGHT, WRONG = "6222021234567894", "6222021234567890"  # check digits
DISCOVER, AMEX, LONG = "6011487990139424", "374245871451239", "6228480402564890018"
PANS = [WRONG, DISCOVER, AMEX, LONG]


def everything(found: Inspection) -> str:
    """All that people and programs are shown, and the bytes of the dump in hex."""
    out = io.StringIO()
    Console(file=out, width=400).print(found.table())
    octets = "".join(line[4:] for line in rendering.dump(found).plain.splitlines())
    shown = json.dumps(found.to_json_dict()) + out.getvalue() + found.summary()
    shown += "".join(rendering.mistakes(found)) + "|".join(found.fields.values())
    pieces = "".join(found.fields[de] for de in sorted(found.fields) if de in found.shown)
    return shown + pieces + octets.replace(" ", "").replace(">", "").replace("<", "").lower()


def assert_hidden(found: Inspection, pan: str) -> None:
    shown = everything(found)
    middle = pan[5:12]
    for written in (middle, middle.encode().hex(), middle.encode("cp500").hex()):
        assert written not in shown, shown


@pytest.mark.parametrize("pan", PANS)
@pytest.mark.parametrize("before", ["", "00", "0016", "16", "C01900", "0210", "6000060000", "30"])
@pytest.mark.parametrize("after", ["", "000000000000010000000101120512"])
def test_a_capture_that_begins_at_a_pan(pan: str, before: str, after: str) -> None:
    for digits in (before + pan + after, before + "0" + pan + after):
        data = digits + "0" * (len(digits) % 2)
        found = inspect_message(data)
        assert found.doubtful
        assert_hidden(found, pan)


@pytest.mark.parametrize("pan", PANS)
def test_a_capture_that_begins_at_a_pan_in_characters(pan: str) -> None:
    for text in (pan, "16" + pan + "000000000000010000", "0200" + pan + "0" * 40):
        for octets in (text.encode(), text.encode("cp500")):
            assert_hidden(inspect_message(octets), pan)


@pytest.mark.parametrize("name", ["unionpay_pos", "iso1987_ascii", "iso1987_ebcdic", "visa", "ipm"])
@pytest.mark.parametrize("pan", [WRONG, LONG])
@pytest.mark.parametrize("inserted", [b"", b"\x00", b"\x12\x34", b"000000"])
def test_a_pan_in_pieces_whatever_its_check_digit(name: str, pan: str, inserted: bytes) -> None:
    """The bitmap leaves DE 2 out and something stands before it: pieces in the elements behind."""
    codec = codec_for(name)
    version = codec.dialect.versions[0]
    message: Message = {0: f"{version}200", 2: pan, 3: "000000", 4: "000000000100"}
    data = bytearray(codec.encode({**message, 37: "112622000123", 41: "00000001"}))
    head = codec.generic.mti_width + codec.generic.bitmap_width
    data[codec.generic.mti_width] &= 0xBF
    found = inspect_message(bytes(data[:head]) + inserted + bytes(data[head:]), name)
    assert found.doubtful
    assert_hidden(found, pan)


@pytest.mark.parametrize("cut", [2, 4])
def test_a_capture_that_begins_within_a_pan(cut: int) -> None:
    """What comes first is taken for a length and an MTI."""
    rest = "4111871111111119"[cut:]
    for after in ("000000051234343131", "D301220100000123453131323632323030303132"):
        shown = everything(inspect_message(rest + after))
        assert rest[: 12 - cut] not in shown
        assert rest[4:-2] not in shown


def test_a_frame_that_is_believed_is_shown() -> None:
    good = next(one for one in good_terminal_messages() if 12 in one.message or 22 in one.message)
    cut = inspect_message(good.frame[:-3])
    assert cut.doubtful
    assert cut.tpdu_as_shown == good.tpdu.hex().upper()
    assert cut.mti == good.message[0]
    assert cut.raw(1)
    without = inspect_message(bytes.fromhex(DISCOVER + "0000000000000100"))
    assert without.tpdu_as_shown in ("[5 bytes]", "")
    assert inspect_message(bytes.fromhex(DISCOVER + "00" * 8), unmask=True).tpdu_as_shown != (
        "[5 bytes]"
    )


def test_elements_in_place_are_shown_although_the_message_is_cut() -> None:
    """Time, date and entry mode say that nothing is misplaced: amount and trace are no PAN's."""
    message: Message = {
        0: "0200", 2: RIGHT, 3: "000000", 4: "000000123456", 11: "654321", 12: "101112", 13: "0512",
        22: "051", 25: "00", 41: "12345678", 49: "156",
    }  # fmt: skip
    cut = inspect_message(codec_for("unionpay_pos").encode(message)[:-2])
    assert cut.doubtful
    assert cut.fields[11] == "654321"
    assert cut.fields[4] == "000000123456"
    assert cut.fields[2] == "622202******7894"
    misplaced = inspect_message(codec_for("unionpay_pos").encode({**message, 2: WRONG})[:-2])
    assert misplaced.fields[2] == "622202******7890"  # in place: the mask is the PAN's


def test_a_number_in_doubt_is_not_even_masked_as_a_pan() -> None:
    message: Message = {0: "0200", 2: WRONG, 3: "990000", 11: "654321"}
    found = inspect_message(codec_for("unionpay_pos").encode(message) + b"z", "unionpay_pos")
    assert found.doubtful
    assert found.fields[2] == "*" * 16


SCRIPT = bytes.fromhex("9F18040000000186158424000210" + "A1" * 16 + "860D04DA9F7908" + "B2" * 8)


def test_an_issuers_script_shows_its_commands_and_nothing_that_they_carry() -> None:
    chip = bytes.fromhex(f"9108{'C3' * 8}8A02303071{len(SCRIPT):02X}") + SCRIPT
    chip += bytes.fromhex("72039F1800860500C0000001860584180000009F4604DEADBEEF")
    message: Message = {0: "0210", 11: "000001", 25: "00", 39: "00", 49: "156", 55: chip}
    data = codec_for("unionpay_pos").encode(message)
    found = inspect_message(data, "unionpay_pos")
    parts = [(part.key, part.value, part.meanings) for part in found.parts[55][2:]]
    assert parts == [
        ("71", "9F18 00000001, 86 8424000210 [16 bytes], 86 04DA9F7908 [8 bytes]",
         ("PIN change or unblock; put data", "PIN修改或解锁; 设置数据")),
        ("72", "[3 bytes]", ("", "")),  # an identifier of no bytes
        ("86", "[5 bytes]", ("", "")),  # no such length
        ("86", "8418000000", ("application unblock", "应用解锁")),
        ("9F46", "[4 bytes]", ("", "")),
    ]  # fmt: skip
    assert "a1a1" not in everything(found)
    doubtful = inspect_message(data + b"z", "unionpay_pos")
    assert [part.value for part in doubtful.parts[55][2:3]] == [f"[{len(SCRIPT)} bytes]"]
    clear = inspect_message(data, "unionpay_pos", unmask=True)
    assert clear.parts[55][2].value == SCRIPT.hex().upper()
    assert clear.parts[55][2].meanings[0] == "PIN change or unblock; put data"
