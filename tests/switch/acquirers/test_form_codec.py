"""A form applied: bytes against bytes written by hand, the binary bank's own reader, and pyiso8583.

Goal: what leaves for a host with a form says there what our page says, and what comes back says here
what the host said. Method: one purchase and one reversal as hex, put together from the host's page;
every type of transaction through the form, read by the bank simulator, which shares no code with it,
and by pyiso8583 under the specification below; answers of that bank through the form.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest

from iso8583.errors import DecodeError, EncodeError
from iso8583.mti import response_mti
from switch.acquirers.form_codec import FormCodec, codec_of
from switch.acquirers.forms import HEADER
from switch.acquirers.link_messages import build_repeat, build_request, build_reversal, read_answer
from switch.acquirers.ports import Answer, AnswerKind
from switch.network_management import ask, reply
from switch.transactions import BY_CODE, TYPES, OnUnknown
from terminals.simulator.bank import BankOptions
from terminals.simulator.binary_bank import HEADER_BYTES, BinaryBank
from tests.oracle import load_pyiso8583
from tests.switch.acquirers.test_link_messages import (
    EXPIRY,
    FROM_TERMINAL,
    MERCHANT,
    PAN,
    item,
    request,
)
from tests.switch.acquirers.wire import make_link
from tests.switch.rows import ATTEMPT, TODAY, original

if TYPE_CHECKING:
    from iso8583.message import Message
    from switch.transactions import TransactionType

LINK = make_link(
    dialect="iso1987_binary.key_16",
    form={"base": "binary_host", "addresses": {"network": "0601"}},
    mac_algorithm="tdes-cbc-binary",
    key_form="hex",
)
ZMK = "0123456789ABCDEFFEDCBA9876543210"
MAC = bytes.fromhex("A1A2A3A4A5A6A7A8")
oracle = load_pyiso8583()


def codec() -> FormCodec:
    made = codec_of(LINK)
    assert isinstance(made, FormCodec)
    return made


def bank() -> BinaryBank:
    options = BankOptions(kind="binary_host", network="0601", zpk=ZMK, zak=ZMK, zmk=ZMK)
    return BinaryBank(options, TODAY, random.Random(1))


def purchase(**changes: Any) -> Message:
    row = request(entry_mode="051", condition_code="00", **changes)
    block = bytes.fromhex("1122334455667788")
    return build_request(row, ATTEMPT, FROM_TERMINAL, PAN, EXPIRY, MERCHANT, LINK, block, None)


def hex_of(text: str) -> bytes:
    return bytes.fromhex(
        "".join("".join(line.partition("#")[0].split()) for line in text.splitlines())
    )


def test_a_purchase_and_its_reversal_by_hand() -> None:
    body = hex_of("""
        0200                      # MTI
        723C 4481 28E0 9A11       # 2 3 4 7 11 12 13 14 18 22 25 32 35 37 41 42 43 49 52 53 55 60 64
        19 62220200000000000040   # 2: odd, so half a byte behind
        000000                    # 3
        000000010000              # 4
        0304120000                # 7
        000001                    # 11
        120000 0304 3012          # 12 13 14
        5812                      # 18
        0051                      # 22: odd, so a zero in front
        00                        # 25
        08 48000000               # 32
        37 6222020000000000004D301220100000123450  # 35
        363036333030303030303031  # 37
        5430303030303031          # 41
        4D3030303030303030303030303031  # 42
    """)
    name = "Tea House  Shanghai CN ".ljust(40).encode()
    body += name + b"156" + bytes.fromhex("11223344556677880100000000000000")
    body += hex_of("0011 9F2608AABBCCDDEEFF0011") + hex_of("0007") + b"0105100" + MAC
    sent = codec().encode({**purchase(), 64: MAC})
    header = hex_of("0601") + (len(body) + 9).to_bytes(2, "big") + hex_of("0002 0001 00")
    assert sent.hex() == (header + body).hex()

    reversal = build_reversal(item(), PAN, EXPIRY, MERCHANT, LINK, repeat=True)
    reversal[128] = MAC
    body = hex_of("""
        0401                      # a repeat; 0401 for our 0421
        F23C 4001 0EE0 8000 0000 0040 0000 0001  # 2 3 4 7 11 12 13 14 18 32 37 38 39 41 42 43 49 90 128
        19 62220200000000000040 000000 000000010000 0304120130 000099 120000 0304 3012 5812
        08 48000000 363036333030303030303031 413030303031 3638  # 37, 38, 39: our 98 is their 68
        5430303030303031 4D3030303030303030303030303031
    """)
    body += name + b"156" + hex_of("0200 000001 0304120000 00048000000 00000000000") + MAC
    assert codec().encode(reversal)[9:].hex() == body.hex()


def made(row: TransactionType) -> list[Message]:
    """What may leave for a type: its first message, its reversal or its repeat."""
    changes: dict[str, Any] = {
        "type": row.name,
        "mti": row.mti,
        "processing_code": (row.code or "00") + "0000",
        "condition_code": row.condition or "00",
        "entry_mode": (row.entry or "05") + "1",
    }
    changed = request(**changes)
    related = original() if row.follows else None
    messages = [
        build_request(changed, ATTEMPT, FROM_TERMINAL, PAN, EXPIRY, MERCHANT, LINK, None, related)
    ]
    if row.on_unknown is OnUnknown.REVERSE:
        waits = item(request=changed)
        messages += [
            build_reversal(waits, PAN, EXPIRY, MERCHANT, LINK, repeat=repeat)
            for repeat in (False, True)
        ]
    if row.on_unknown is OnUnknown.REPEAT:
        waits = item("repeat", request=changed)
        messages.append(build_repeat(waits, PAN, EXPIRY, MERCHANT, LINK, related))
    return messages


@pytest.mark.parametrize("name", sorted(TYPES))
def test_every_type_means_there_what_it_means_here(name: str) -> None:
    row = TYPES[name]
    form, host = codec(), bank()
    for message in made(row):
        read = host.read(form.encode(message))
        for de in (0, 2, 3, 4, 7, 11, 12, 13, 14, 18, 25, 32, 37, 38, 41, 42, 49, 55, 59):
            assert read.get(de) == message.get(de), (name, de)
        assert read.get(90, "")[4:] == message.get(90, "")[4:]
        assert read[22] == ("811" if row.entry == BY_CODE else message[22])


@pytest.mark.parametrize("name", sorted(TYPES))
def test_the_answers_to_every_type_count(name: str) -> None:
    form, host = codec(), bank()
    for message in made(TYPES[name]):
        asked = host.read(form.encode(message))
        for code, ours, kind in (
            ("00", "00", AnswerKind.APPROVED),
            ("14", "14", AnswerKind.DECLINED),  # their 76
            ("A0", "A0", AnswerKind.DECLINED),  # their 63
            ("QQ", "ZZ", AnswerKind.UNMAPPED),  # in no table
        ):
            answer: Message = {
                de: asked[de] for de in (2, 3, 4, 7, 11, 12, 13, 32, 37, 41, 42, 49) if de in asked
            }
            answer |= {0: response_mti(str(asked[0])), 15: "0304", 39: code}
            told = form.decode(host.framed(answer, to=asked)[2:])
            assert HEADER not in told
            judged = read_answer(message, told, LINK, TODAY)
            assert isinstance(judged, Answer), judged
            assert (judged.kind, judged.response_code) == (kind, ours)
            assert judged.settlement_date == TODAY


def specification() -> dict[str, Any]:
    """The host's page once more, as pyiso8583 says it."""
    spec: dict[str, Any] = {
        str(de): {"data_enc": "ascii", "len_enc": "ascii", "len_type": 0, "max_len": 0}
        for de in ("h", *range(1, 129))
    }
    raw = {"data_enc": "b", "len_enc": "bcd", "len_type": 0}
    spec["t"] = raw | {"max_len": 2}
    spec["p"] = spec["1"] = raw | {"max_len": 8}
    for de, digits in {
        3: 6, 4: 12, 7: 10, 11: 6, 12: 6, 13: 4, 14: 4, 15: 4, 18: 4, 22: 3, 23: 3, 25: 2, 53: 16,
        70: 3, 90: 42,
    }.items():  # fmt: skip
        spec[str(de)] = raw | {"max_len": digits, "len_count": "nibbles", "left_pad": "0"}
    for de, most in {2: 19, 32: 11, 33: 11, 35: 37}.items():
        spec[str(de)] = raw | {
            "max_len": most, "len_type": 1, "len_count": "nibbles", "right_pad": "0",
        }  # fmt: skip
    for de, size in {37: 12, 38: 6, 39: 2, 41: 8, 42: 15, 43: 40, 49: 3, 95: 42}.items():
        spec[str(de)]["max_len"] = size
    for de, size in {52: 8, 64: 8, 96: 16, 128: 8}.items():
        spec[str(de)] = raw | {"max_len": size}
    for de in (48, 60, 62, 125):
        spec[str(de)] = {"data_enc": "ascii", "len_enc": "bcd", "len_type": 2, "max_len": 999}
    spec["55"] = raw | {"len_type": 2, "max_len": 999}
    return spec


@pytest.mark.parametrize("name", sorted(TYPES))
def test_pyiso8583_reads_it_too(name: str) -> None:
    spec = specification()
    for message in made(TYPES[name]):
        sent = codec().encode({**message, 128 if max(message) > 64 else 64: MAC})
        read, _ = oracle.decode(sent[HEADER_BYTES:], spec)
        assert read["2" if 2 in message else "125"] == message.get(2, message.get(59))
        assert read["4"] == message[4]
        assert read["7"] + read["11"] == str(message[7]) + str(message[11])
        assert read["43"] == message[43]
        assert read.get("35", "").replace("D", "=") in (message.get(35, ""), "")
        assert read["60"] == "01" + str(message[22]) + str(message[25])
        assert read["128" if "128" in read else "64"] == MAC.hex().upper()
        assert int.from_bytes(sent[2:4], "big") == len(sent)


def test_management_is_asked_and_answered() -> None:
    form, host = codec(), bank()
    for code, theirs in (("001", "071"), ("002", "072"), ("301", "270")):
        sent = form.encode(ask(code, "000007", "0304120000", "48000000", ""))
        assert oracle.decode(sent[HEADER_BYTES:], specification())[0]["70"] == theirs
        assert host.read(sent)[70] == code
    asked = form.decode(host.announce("301", {})[2:])
    assert asked[70] == "301"
    answer = form.encode(reply(asked, "00"))
    # the two addresses are swapped; what they call the session comes back
    assert answer[4:9].hex() == "0002000101"
    host.answered(host.read(answer))
    assert not host.faults
    answer = form.encode({de: value for de, value in reply(asked, "00").items() if de != HEADER})
    host._asked[str(asked[7]), str(asked[11])] = 1
    host.answered(host.read(answer))
    assert host.faults["session not echoed"] == 1


@pytest.mark.parametrize("usage", ["ZPK", "ZAK"])
def test_a_key_that_the_host_sends_and_what_it_is_answered(usage: Literal["ZPK", "ZAK"]) -> None:
    """DE 53 of a PIN key says 01, which with a PIN block is a format and another word of ours."""
    form, host = codec(), bank()
    told = form.decode(host.offer_key(usage, bytes(range(16)))[2:])
    assert (told[70], str(told[48])[:3]) == ("101", usage)
    assert host.key_in(usage, str(told[48])[3:]) == bytes(range(16))
    host.answered(host.read(form.encode(reply(told, "00"))))
    assert host._keys[usage][0] == bytes(range(16))


def test_a_key_change_of_ours() -> None:
    form, host = codec(), bank()
    told = form.decode(host.offer_key("ZAK", bytes(range(16)))[2:])
    ours = ask("101", "000008", "0304120000", "48000000", "") | {48: told[48]}
    assert host.take_key(str(host.read(form.encode(ours))[48])) == "00"
    assert host._keys["ZAK"][0] == bytes(range(16))
    with pytest.raises(EncodeError, match="DE 96: only a key in hex under the ZMK fits"):
        form.encode(ours | {48: "ZPKB0096P0TB00S0000" + "00" * 30})


@pytest.mark.parametrize(
    ("at", "byte", "reason"),
    [
        (0, 0x07, "header, network: 0701, not 0601"),
        (3, 0x01, "header, length: counts other bytes"),
        (5, 0x03, "header, destination: 0003, not 0001"),  # ours, as we say it ourselves
        (7, 0x09, "header, source: 0009, not 0002"),
    ],
)
def test_another_header_is_not_for_us(at: int, byte: int, reason: str) -> None:
    data = bytearray(bank().announce("301", {})[2:])
    data[at] = byte
    with pytest.raises(DecodeError, match=reason):
        codec().decode(bytes(data))


@pytest.mark.parametrize("size", range(20))
def test_what_is_too_short_is_told(size: int) -> None:
    with pytest.raises(DecodeError):
        codec().decode(bank().announce("301", {})[2 : 2 + size])


def test_a_message_that_the_form_does_not_have_is_not_sent() -> None:
    assert isinstance(LINK.form, dict)
    link = msgspec.structs.replace(LINK, form={**LINK.form, "elements": {"080": [7, 11, 70]}})
    with pytest.raises(EncodeError, match="the link's form has no 0200"):
        codec_of(link).encode(purchase())
