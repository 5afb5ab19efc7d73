"""What was handed in, as messages: the kind of the input is recognised, or said.

| kind     | what                                                                                  |
| -------- | ------------------------------------------------------------------------------------- |
| `hex`    | hex digits; blanks, colons, commas, `0x` and `\\x` between them do not count           |
| `dump`   | lines of a dump: an offset, bytes in hex, perhaps their characters (xxd, hexdump -C,  |
|          | Wireshark); an offset of 0 begins another message                                     |
| `base64` | base64, also of URLs                                                                  |
| `binary` | bytes: one message, or frames behind each other                                       |
| `pcap`   | a capture of TCP connections (pcap, pcapng)                                           |
| `vbs`    | clearing records: length 4 big endian and record, until a length of zero; perhaps in  |
|          | blocks of 1014 bytes, the last two of each `40 40`                                    |
| `lines`  | text, a message a line, each of a kind of its own                                     |

At most `INPUT_BYTES_MAX` bytes are looked at and `MESSAGES_MAX` messages are given.
"""

from __future__ import annotations

import binascii
import re
from typing import Final, Literal, get_args

import msgspec

from iso8583.inspector import framings, pcap
from iso8583.inspector.framings import Problem

Kind = Literal["hex", "dump", "base64", "binary", "pcap", "vbs", "lines"]
KINDS: Final = get_args(Kind)

INPUT_BYTES_MAX: Final = 64 * 1024 * 1024
MESSAGES_MAX: Final = 10_000
RECORD_BYTES_MAX: Final = 6_000  # of a clearing record; ours have at most 4,000
BLOCK_BYTES: Final = 1_014
COLUMNS_MIN: Final = 80  # bytes of a line of a fixed-width file

_SEPARATORS: Final = re.compile(r"0[xX](?=[0-9A-Fa-f]{2})|\\x|[\s:,;-]")
_HEX: Final = re.compile(r"[0-9A-Fa-f]*")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
# An offset (4 digits or more, perhaps with a colon), blanks, then bytes or words in hex.
_DUMP_LINE: Final = re.compile(
    r"\s*(?:0x)?([0-9A-Fa-f]{4,8})(?::\s*|\s\s+|\s(?=[0-9A-Fa-f]{2}\s))(.*)"
)
_BARE_OFFSET: Final = re.compile(r"[0-9A-Fa-f]{7,8}")


class Captured(msgspec.Struct, frozen=True):
    """One message to be explained: where it comes from, its bytes, what was wrong with its text."""

    source: str
    data: bytes
    problem: Problem | None = None


def captured(given: str | bytes, kind: Kind | None = None) -> list[Captured]:
    """The messages of an input. Never raises; text that is none of the kinds is taken for hex."""
    if isinstance(given, bytes):
        given = given[:INPUT_BYTES_MAX]
        kind = kind or _kind_of_bytes(given)
        if kind in ("binary", "pcap", "vbs"):
            return _of_bytes(given, kind)[:MESSAGES_MAX]
        given = given.decode("utf-8-sig", "replace")
    kind = kind or _kind_of_text(given)
    if kind in ("binary", "pcap", "vbs"):
        octets, _ = octets_of_hex(given)
        return _of_bytes(octets, kind)[:MESSAGES_MAX]
    if kind == "dump":
        return _dumps(given)[:MESSAGES_MAX]
    if kind == "lines":
        lines = [line.strip() for line in given.splitlines()]
        found = [(n, line) for n, line in enumerate(lines, 1) if line and not line.startswith("#")]
        return [
            msgspec.structs.replace(of_text(line), source=f"line {number}")
            for number, line in found[:MESSAGES_MAX]
        ]
    return [of_text(given, kind)]


def of_text(text: str, kind: Kind | None = None) -> Captured:
    """One message in hex or base64."""
    kind = kind or _kind_of_text(text)
    if kind == "base64":
        octets = octets_of_base64(text)
        return Captured("", octets if octets is not None else b"", _not(octets, "not base64"))
    octets, problem = octets_of_hex(text)
    return Captured("", octets, problem)


def may_be_columns(data: bytes) -> bool:
    """Whether the bytes look like lines of text in columns, as clearing files are: longer than a dump
    is wide, with blanks. Whether they are is for a layout to say."""
    line = data[:4096].splitlines()[0] if data[:4096].strip() else b""
    text = line.decode("latin-1")
    return (
        len(line) >= COLUMNS_MIN
        and b" " in line.strip()
        and not any(octet < 32 for octet in line)
        and _dump_line(text) is None
    )


def captured_kind(given: bytes) -> Kind:
    """What kind the bytes look like."""
    return _kind_of_bytes(given[:INPUT_BYTES_MAX])


def _not(octets: bytes | None, reason: str) -> Problem | None:
    return Problem(None, 0, reason) if octets is None else None


def _kind_of_bytes(data: bytes) -> Kind:
    if pcap.is_capture(data):
        return "pcap"
    if _records(data) is not None:
        return "vbs"
    text = data[:4096]
    if all(32 <= octet < 127 or octet in b"\t\r\n" for octet in text):
        kind = _kind_of_text(data.decode("latin-1"))
        looks = kind != "hex" or not _packed(data[:4096].decode("latin-1")).strip(
            "0123456789abcdefABCDEF"
        )
        return kind if looks else "binary"
    return "binary"


def _kind_of_text(text: str) -> Kind:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and _BARE_OFFSET.fullmatch(lines[-1].strip()):  # hexdump's last line
        lines.pop()
    if lines and all(_dump_line(line) is not None for line in lines[:64]):
        return "dump"
    if len(lines) > 1 and not _wrapped(lines):
        return "lines"
    packed = _packed(text)
    if packed.strip("0123456789abcdefABCDEF") and octets_of_base64(text) is not None:
        return "base64"
    return "hex"


def _wrapped(lines: list[str]) -> bool:
    """Whether the lines are one message whose text was folded: all but the last of one short width."""
    widths = {len(line.strip()) for line in lines[:-1]}
    if len({line.strip()[:4] for line in lines}) == 1:  # lengths, MTIs or TPDUs: messages
        return False
    return len(widths) == 1 and 32 <= max(widths) <= 80 and len(lines[-1].strip()) <= max(widths)


# -- text --------------------------------------------------------------------------------------


def _packed(text: str) -> str:
    return _SEPARATORS.sub("", text)


def octets_of_hex(text: str) -> tuple[bytes, Problem | None]:
    """The bytes of hex digits, up to the first character that is none."""
    packed = _packed(text[: 2 * INPUT_BYTES_MAX])
    match = _HEX.match(packed)
    end = match.end() if match else 0
    whole = bytes.fromhex(packed[: end & ~1])
    if end < len(packed):
        return whole, Problem(None, len(whole), "not a hex digit")
    if end % 2:
        return whole, Problem(None, len(whole), "odd number of hex digits")
    return whole, None


def octets_of_base64(text: str) -> bytes | None:
    """The bytes of base64, of either alphabet; None where it is none."""
    packed = re.sub(r"\s", "", text)
    if not _BASE64.fullmatch(packed) or len(packed.rstrip("=")) % 4 == 1:
        return None
    plain = packed.translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return binascii.a2b_base64(plain + "=" * (-len(plain) % 4), strict_mode=True)
    except (ValueError, binascii.Error):
        return None


def _dump_line(line: str) -> tuple[int, bytes] | None:
    """Offset and bytes of one line of a dump; None where it is none."""
    match = _DUMP_LINE.fullmatch(line.rstrip())
    if match is None:
        return None
    offset, rest = match.groups()
    # the characters stand behind two blanks or a bar: what looks like hex in them does not count
    rest = rest.partition("|")[0].strip()
    taken = bytearray()
    for word in re.split(r"(\s+)", rest):
        if word.isspace():
            if len(word) > 1 and len(taken) not in (8, 0):
                break
        elif (
            len(word) % 2 == 0
            and (len(word) in (2, 4, 8, 16, 32) or (len(word) > 32 and not taken))
            and _HEX.fullmatch(word)
        ):
            taken += bytes.fromhex(word)
            if len(taken) >= 16:
                break
        else:
            break
    return (int(offset, 16), bytes(taken)) if taken else None


def _dumps(text: str) -> list[Captured]:
    """The messages of dump lines: each offset of 0 begins another."""
    found: list[bytearray] = []
    for line in text.splitlines():
        read = _dump_line(line)
        if read is None:
            continue
        offset, octets = read
        if offset == 0 or not found:
            found.append(bytearray())
        # where the characters were taken for bytes the next offset says so
        del found[-1][offset:]
        found[-1] += octets
    several = len(found) > 1
    return [
        Captured(f"dump {number}" if several else "", bytes(octets))
        for number, octets in enumerate(found, 1)
    ]


# -- bytes -------------------------------------------------------------------------------------


def _of_bytes(data: bytes, kind: Kind) -> list[Captured]:
    if kind == "pcap":
        return [message for stream in pcap.streams(data) for message in _of_stream(stream)]
    if kind == "vbs":
        records = _records(data)
        found = [data] if records is None else records
        return [Captured(f"record {number}", record) for number, record in enumerate(found, 1)]
    frames = framings.frames_of(data, MESSAGES_MAX)
    if frames is None or len(frames) < 2:
        return [Captured("", data)]
    return [Captured(f"frame {number}", frame) for number, frame in enumerate(frames, 1)]


def _of_stream(stream: pcap.Stream) -> list[Captured]:
    """The frames of a stream, or its segments where no length cuts it."""
    frames = framings.frames_of(stream.data, MESSAGES_MAX)
    if frames is None:
        ends = (*stream.starts[1:], len(stream.data))
        pairs = zip(stream.starts, ends, strict=True)
        frames = [stream.data[start:end] for start, end in pairs]
    lost = " (bytes before it missing)" if stream.lost else ""
    return [
        Captured(f"{stream.name} #{number}{lost}", frame) for number, frame in enumerate(frames, 1)
    ]


def _records(data: bytes) -> list[bytes] | None:
    """The records of a clearing file; None where it is none."""
    whole = len(data) >= BLOCK_BYTES and len(data) % BLOCK_BYTES == 0
    if whole and data[BLOCK_BYTES - 2 : BLOCK_BYTES] == b"@@":
        blocks = range(0, len(data), BLOCK_BYTES)
        data = b"".join(data[at : at + BLOCK_BYTES - 2] for at in blocks)
    found: list[bytes] = []
    at = 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 0:
            filler = not data[at + 4 :].strip(b"\x00@")
            return found if found and filler else None
        if size > RECORD_BYTES_MAX or at + 4 + size > len(data):
            return None
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return None
