"""Whatever was captured comes out as the bytes that were sent.

Goal: one message is the same message in hex, in every kind of dump, in base64, in a file, in a TCP
capture however its segments came, and as a clearing record. Method: messages of the corpus written in
each way, captures built here byte by byte from their formats' descriptions.
"""

from __future__ import annotations

import base64
import struct
import textwrap
import time
import tracemalloc
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from iso8583.codec import codec_for
from iso8583.inspect import inspect_input, inspect_message
from iso8583.inspector import framings, inputs, pcap
from iso8583.inspector.framings import frames_of
from iso8583.inspector.inputs import captured
from tests.iso8583.corpus import record

SALE = bytes.fromhex(record("cup-lzy-sale-chip")["hex"])
_ECHO = bytes.fromhex(record("cup-echo-0820")["hex"])
ECHO = len(_ECHO).to_bytes(2, "big") + _ECHO  # the record has no length


def only(given: str | bytes, kind: inputs.Kind | None = None) -> bytes:
    (one,) = captured(given, kind)
    assert one.problem is None
    return one.data


def characters(octets: bytes) -> str:
    return "".join(chr(octet) if 32 <= octet < 127 else "." for octet in octets)


def rows(data: bytes) -> list[tuple[int, bytes]]:
    return [(at, data[at : at + 16]) for at in range(0, len(data), 16)]


def xxd(data: bytes) -> str:
    """`00000000: 010d 6000 …  ..`.."""
    lines = []
    for at, row in rows(data):
        words = " ".join(row[n : n + 2].hex() for n in range(0, len(row), 2))
        lines.append(f"{at:08x}: {words:<39}  {characters(row)}")
    return "\n".join(lines)


def hexdump_c(data: bytes) -> str:
    """`00000000  01 0d 60 00 06 00 00 60  32 00 …  |..`....`2.|`, an offset alone at the end."""
    lines = []
    for at, row in rows(data):
        halves = (" ".join(f"{octet:02x}" for octet in half) for half in (row[:8], row[8:]))
        lines.append(f"{at:08x}  {'  '.join(halves):<48}  |{characters(row)}|")
    return "\n".join([*lines, f"{len(data):08x}"])


def wireshark(data: bytes) -> str:
    """`0000   01 0d 60 00 …   ..`.`, as "copy bytes as hex and ASCII" gives it."""
    lines = []
    for at, row in rows(data):
        octets = " ".join(f"{octet:02x}" for octet in row)
        lines.append(f"{at:04x}   {octets:<47}   {characters(row)}")
    return "\n".join(lines)


def wireshark_8(data: bytes) -> str:
    lines = []
    for at, row in rows(data):
        halves = (" ".join(f"{octet:02x}" for octet in half) for half in (row[:8], row[8:]))
        lines.append(f"    {at:04x}  {'  '.join(halves):<48}  {characters(row)}")
    return "\n".join(lines)


@pytest.mark.parametrize("data", [SALE, ECHO, SALE[:40], b"0800" + bytes(range(48, 90))])
@pytest.mark.parametrize(
    "write",
    [
        lambda data: data.hex(),
        lambda data: data.hex(" ").upper(),
        lambda data: data.hex(":"),
        lambda data: "0x" + data.hex(),
        lambda data: ", ".join(f"0x{octet:02X}" for octet in data),
        lambda data: "".join(f"\\x{octet:02x}" for octet in data),
        lambda data: "\n".join(textwrap.wrap(data.hex(), 64)),
        xxd,
        hexdump_c,
        wireshark,
        wireshark_8,
    ],
)
def test_text(data: bytes, write: object) -> None:
    assert callable(write)
    assert only(write(data)) == data
    assert only(write(data).encode()) == data


@settings(max_examples=60, deadline=None)
@given(
    st.binary(min_size=17, max_size=120), st.sampled_from([xxd, hexdump_c, wireshark, wireshark_8])
)
def test_a_dump_of_any_bytes(data: bytes, write: object) -> None:
    """Characters that look like hex digits are no bytes."""
    assert callable(write)
    assert only(write(data), "dump") == data


def test_base64() -> None:
    assert only(base64.b64encode(SALE).decode()) == SALE
    assert only(base64.urlsafe_b64encode(SALE).decode().rstrip("=")) == SALE
    assert only(base64.encodebytes(SALE).decode(), "base64") == SALE


def test_many_messages_a_line_or_a_dump() -> None:
    text = f"# two\n{SALE.hex()}\n\n{base64.b64encode(ECHO).decode()}\n"
    assert [(one.source, one.data) for one in captured(text)] == [
        ("line 2", SALE),
        ("line 4", ECHO),
    ]
    assert [one.data for one in captured("0800\n0200")] == [b"\x08\x00", b"\x02\x00"]
    assert [one.data for one in captured(f"{xxd(SALE)}\n{xxd(ECHO)}")] == [SALE, ECHO]
    assert [one.data for one in captured(f"{ECHO.hex()}\n{ECHO.hex()}")] == [ECHO, ECHO]


def test_bytes_are_one_message_or_frames() -> None:
    assert only(SALE) == SALE
    assert [one.data for one in captured(SALE + ECHO + SALE)] == [SALE, ECHO, SALE]
    digits = [b"%04d" % len(body) + body for body in (b"0800" + bytes(20), b"0810" + bytes(30))]
    assert [one.data for one in captured(b"".join(digits), "binary")] == digits
    assert frames_of(SALE + ECHO + SALE[:50]) == [SALE, ECHO, SALE[:50]]


def test_records_of_clearing_files() -> None:
    data = bytes.fromhex(record("ipm-vbs-2")["hex"])
    found = captured(data)
    assert [one.source for one in found] == ["record 1", "record 2"]
    assert b"".join(len(one.data).to_bytes(4, "big") + one.data for one in found) + bytes(4) == data
    blocks = b"".join(
        data[at : at + 1012].ljust(1012, b"@") + b"@@" for at in range(0, len(data), 1012)
    )
    assert [one.data for one in captured(blocks)] == [one.data for one in found]


# -- captures ----------------------------------------------------------------------------------


def tcp(
    payload: bytes,
    sequence: int,
    ports: tuple[int, int] = (5000, 9000),
    flags: int = 0x18,
    version: int = 4,
) -> bytes:
    """An Ethernet frame."""
    segment = (
        struct.pack(">HHIIBBHHH", *ports, sequence % 2**32, 0, 5 << 4, flags, 8192, 0, 0) + payload
    )
    ends = (b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02")
    source, destination = ends if ports[0] == 5000 else ends[::-1]
    if version == 6:
        head = (
            struct.pack(">IHBB", 6 << 28, len(segment), 6, 64)
            + bytes(12)
            + source
            + bytes(12)
            + destination
        )
        return bytes(12) + b"\x86\xdd" + head + segment
    head = (
        struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0) + source + destination
    )
    padding = bytes(max(0, 46 - 20 - len(segment)))
    return bytes(12) + b"\x08\x00" + head + segment + padding


def pcap_file(packets: list[bytes], order: str = "<") -> bytes:
    head = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return head + b"".join(
        struct.pack(order + "IIII", 0, number, len(packet), len(packet)) + packet
        for number, packet in enumerate(packets)
    )


def pcapng_file(packets: list[bytes], order: str = "<") -> bytes:
    def block(kind: int, content: bytes) -> bytes:
        content += bytes(-len(content) % 4)
        size = struct.pack(order + "I", len(content) + 12)
        return struct.pack(order + "I", kind) + size + content + size

    section = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = block(1, struct.pack(order + "HHI", 1, 0, 65535))
    return (
        section
        + interface
        + b"".join(
            block(6, struct.pack(order + "IIIII", 0, 0, 0, len(packet), len(packet)) + packet)
            for packet in packets
        )
    )


def session(start: int, answer_start: int, version: int = 4) -> list[bytes]:
    """SYN both ways, a sale in three segments, an echo, and an answer in between."""
    there = (5000, 9000)
    back = (9000, 5000)
    sale = start + 1
    return [
        tcp(b"", start, there, 0x02, version),
        tcp(b"", answer_start, back, 0x12, version),
        tcp(SALE[:100], sale, there, version=version),
        tcp(SALE[100:101], sale + 100, there, version=version),
        tcp(SALE[101:] + ECHO[:7], sale + 101, there, version=version),
        tcp(ECHO, answer_start + 1, back, version=version),
        tcp(ECHO[7:], sale + len(SALE) + 7, there, version=version),
        tcp(b"", sale + len(SALE) + len(ECHO), there, 0x11, version),
    ]


@pytest.mark.parametrize("write", [pcap_file, pcapng_file])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("start", [1, 2**32 - 120])
def test_a_capture(write: object, order: str, version: int, start: int) -> None:
    assert callable(write)
    found = captured(write(session(start, 77, version), order))
    by_source = {one.source: one.data for one in found}
    there, back = {
        4: ("10.0.0.1:5000 > 10.0.0.2:9000", "10.0.0.2:9000 > 10.0.0.1:5000"),
        6: ("[::a00:1]:5000 > [::a00:2]:9000", "[::a00:2]:9000 > [::a00:1]:5000"),
    }[version]
    assert by_source == {f"{there} #1": SALE, f"{there} #2": ECHO, f"{back} #1": ECHO}


def test_segments_out_of_order_and_again() -> None:
    for seed in range(20):
        packets = session(9, 77)
        chance = Random(seed)
        shuffled = [packets[0], packets[1], *chance.sample(packets[2:], len(packets) - 2)]
        shuffled += chance.sample(packets, 3)
        found = pcap.streams(pcap_file(shuffled))
        assert {stream.data for stream in found} == {SALE + ECHO, ECHO}


def test_a_hole_ends_a_stream_and_is_told() -> None:
    packets = session(9, 77)
    del packets[3]
    found = captured(pcap_file(packets))
    assert any("missing" in one.source for one in found)
    assert any(one.data == SALE[:100] for one in found)


def test_a_port_that_is_used_again_is_another_connection() -> None:
    packets = [*session(9, 77), *session(5_000_000, 99)]
    found = [one.data for one in captured(pcap_file(packets))]
    assert sorted(found) == sorted([SALE, ECHO, ECHO] * 2)


def test_messages_without_a_length_are_segments() -> None:
    packets = [tcp(SALE[2:], 1), tcp(ECHO[2:], 1 + len(SALE) - 2)]
    assert [one.data for one in captured(pcap_file(packets))] == [SALE[2:], ECHO[2:]]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_capture_raises_nothing(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from([pcap_file, pcapng_file]))(session(9, 77)))
    for _ in range(data.draw(st.integers(1, 12))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    assert all(isinstance(one.data, bytes) for one in captured(bytes(whole[:cut])))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200), st.sampled_from([None, *inputs.KINDS]))
def test_anything_is_some_input(given: str | bytes, kind: inputs.Kind | None) -> None:
    for one in captured(given, kind):
        assert len(one.data) <= 200


def test_a_dump_line_of_blanks_is_read_in_a_second() -> None:
    line = "0000  0200" + " " * 100_000 + "x|.."
    before = time.process_time()
    assert only(line, "dump") == b"\x02\x00"
    assert time.process_time() - before < 1


# -- bounds --------------------------------------------------------------------------------------

MIB = 1024 * 1024
MANY = {
    "lines of two characters": b"30\n" * (MIB // 3),
    "blank lines": b"30\n" + b"\n" * MIB + b"30\n",
    "lines of a dump": b"0000  30 31\n" * (MIB // 12),
    "frames": (b"\x00\x14" + bytes(20)) * (MIB // 22),
    "records": (b"\x00\x00\x00\x01A") * (MIB // 5) + bytes(4),
    "digits between blanks": b"3 0 " * (MIB // 4) + b"zz",
    "base64 in short lines": b"MD\nAw" * (MIB // 5),
}


@pytest.mark.parametrize("name", MANY)
def test_much_input_takes_no_more_memory_than_a_few_times_itself(name: str) -> None:
    given = MANY[name]
    tracemalloc.start()
    found = captured(given)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MIB, peak / MIB
    assert len(found) <= inputs.MESSAGES_MAX + 1


@pytest.mark.parametrize(
    "name", ["lines of two characters", "lines of a dump", "frames", "records"]
)
def test_what_is_left_out_is_said(name: str) -> None:
    found = captured(MANY[name])
    assert len(found) == inputs.MESSAGES_MAX + 1
    assert found[-1].data == b""
    assert found[-1].problem is not None
    assert found[-1].problem.reason == f"only the first {inputs.MESSAGES_MAX} messages are shown"
    assert all(one.problem is None for one in found[:-1])


def test_an_input_that_is_cut_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "INPUT_BYTES_MAX", 600)
    found = captured(SALE * 3)
    assert [one.data[:2] for one in found] == [SALE[:2], SALE[:2], SALE[:2], b""]
    assert found[-1].problem == framings.Problem(None, 0, "only the first 600 bytes were looked at")
    monkeypatch.setattr(inputs, "LINES_MAX", 3)
    lines = captured(f"{SALE.hex()}\n# two\n\n\n{ECHO.hex()}\n{ECHO.hex()}"[:600])
    assert [one.source for one in lines] == ["line 1", "line 5", ""]
    assert lines[-1].problem is not None
    assert lines[-1].problem.reason == "only the first 3 lines were looked at"


def test_lines_keep_their_numbers() -> None:
    for end in ("\n", "\r\n", "\r"):
        text = end.join(["", "a", "", " ", "b", "c", ""])
        numbered = [(2, "a"), (5, "b"), (6, "c")]
        assert list(inputs.numbered_lines(text)) == numbered
        assert list(inputs.numbered_lines(text.encode())) == numbered


# -- what people hand in --------------------------------------------------------------------------


def test_a_message_of_digits_alone_is_read_as_the_characters_it_is() -> None:
    """In ASCII with a hex bitmap all may be hex digits: that is no hex of another message."""
    message: dict[int, str | bytes] = {0: "0200", 3: "000000", 4: "000000000100", 11: "000001"}
    data = b""
    for more in ({32: "12345"}, {2: "6222021234567894", 32: "1"}):  # odd counts of characters
        data = codec_for("iso1987_ascii_hex").encode({**message, **more})
        for one in (data, data.decode(), data + b"\n"):
            (found,) = inspect_input(one)
            assert found.ok
            assert (found.dialect, found.mti) == ("iso1987_ascii_hex", "0200")
    (hexed,) = inspect_input(data.hex())
    assert hexed.ok


def test_records_of_a_clearing_file_are_of_its_dialect() -> None:
    data = bytes.fromhex(record("ipm-vbs-2")["hex"])
    assert {found.dialect for found in inspect_input(data)} == {"ipm"}


@pytest.mark.parametrize(
    "given",
    [
        Random(3).randbytes(300),
        b"# a page\nof text and more text\n",
        b"<html></html>" * 9,
        bytes(90),
    ],
)
def test_what_is_no_message_is_said_to_be_none(given: bytes) -> None:
    found = inspect_message(given)
    assert [one.rule for one in found.mistakes] == ["no_message"]
    assert (found.dialect, found.fields) == (None, {})
    assert "probably no ISO 8583 message" in found.mistakes[0].text()
    assert "可能不是" in found.mistakes[0].text("zh")


def test_words_are_no_base64() -> None:
    assert inputs.octets_of_base64("hello world and more") is None
    wrapped = "\n".join(textwrap.wrap(base64.b64encode(SALE).decode(), 64))
    assert inputs.octets_of_base64(wrapped) == SALE
