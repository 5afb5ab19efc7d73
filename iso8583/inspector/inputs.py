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

At most `INPUT_BYTES_MAX` bytes are looked at and `MESSAGES_MAX` messages are given; what is left out is
said. What kind a text is, its first `SAMPLE_CHARACTERS` characters tell.
"""

from __future__ import annotations

import binascii
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import msgspec

from iso8583.inspector import framings, pcap
from iso8583.inspector.framings import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["hex", "dump", "base64", "binary", "pcap", "vbs", "lines"]
KINDS: Final = get_args(Kind)

INPUT_BYTES_MAX: Final = 64 * 1024 * 1024
MESSAGES_MAX: Final = 10_000
LINES_MAX: Final = 1_000_000  # blank ones and comments, too
TEXT_CHARACTERS_MAX: Final = 1024 * 1024  # of one message as text: a byte may be written `0x30, `
SAMPLE_CHARACTERS: Final = 64 * 1024  # by which the kind is recognised
TEXT_BYTES: Final = 65_537  # what is as long is too long for a message in any case
RECORDS_LOOKED_AT: Final = 100_000  # of a file that may be clearing records
RECORD_BYTES_MAX: Final = 6_000  # of a clearing record; ours have at most 4,000
BLOCK_BYTES: Final = 1_014
COLUMNS_MIN: Final = 80  # bytes of a line of a fixed-width file

_SEPARATORS: Final = str.maketrans("", "", " \t\r\n\f\v:,;-\u00a0\u3000\u2028\u2029")
_BLANKS: Final = str.maketrans("", "", " \t\r\n\f\v")
_WORDS: Final = re.compile(r"(?:^|\s)\S{1,15}\s+\S")  # no program folds base64 as short
_LINE: Final = re.compile(r"[^\r\n]+")
_LINE_OF_BYTES: Final = re.compile(rb"[^\r\n]+")
_HEX: Final = re.compile(r"[0-9A-Fa-f]*")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
# An offset (4 digits or more, perhaps with a colon), blanks, then bytes or words in hex.
_DUMP_LINE: Final = re.compile(
    r"\s*(?:0x)?([0-9A-Fa-f]{4,8})(?::\s*|\s\s+|\s(?=[0-9A-Fa-f]{2}\s))(.*)"
)
_BARE_OFFSET: Final = re.compile(r"[0-9A-Fa-f]{7,8}")


class Captured(msgspec.Struct, frozen=True):
    """One message to be explained: where it comes from, its bytes, what was wrong with its text.

    `text` are the characters where they were taken for hex digits, and may be the message themselves.
    `clearing`: a record of a clearing file.
    """

    source: str
    data: bytes
    problem: Problem | None = None
    text: bytes = b""
    clearing: bool = False


def captured(given: str | bytes, kind: Kind | None = None) -> list[Captured]:
    """The messages of an input; where not all of it was looked at, a last one without bytes says so.
    Never raises; text that is none of the kinds is taken for hex."""
    found = list(islice(_captured(given[:INPUT_BYTES_MAX], kind), MESSAGES_MAX + 1))
    if len(found) > MESSAGES_MAX:
        found[MESSAGES_MAX:] = [_left_out(f"only the first {MESSAGES_MAX} messages are shown")]
    elif len(given) > INPUT_BYTES_MAX:
        found.append(_left_out(f"only the first {INPUT_BYTES_MAX} bytes were looked at"))
    return found


def _left_out(reason: str) -> Captured:
    return Captured("", b"", Problem(None, 0, reason))


def _captured(given: str | bytes, kind: Kind | None) -> Iterator[Captured]:
    if isinstance(given, bytes):
        kind = kind or _kind_of_bytes(given)
    else:
        kind = kind or _kind_of_text(given)
    if kind in ("binary", "pcap", "vbs"):
        octets = given if isinstance(given, bytes) else octets_of_hex(given)[0]
        yield from _of_bytes(octets, kind)
    elif kind == "dump":
        yield from _dumps(given)
    elif kind == "lines":
        for number, line in numbered_lines(given):
            if not line.startswith("#"):
                yield msgspec.structs.replace(of_text(line), source=f"line {number}")
            if number >= LINES_MAX:
                yield _left_out(f"only the first {LINES_MAX} lines were looked at")
                return
    else:
        begin = given[:TEXT_CHARACTERS_MAX]
        one = of_text(
            begin.decode("utf-8-sig", "replace") if isinstance(begin, bytes) else begin, kind
        )
        yield one
        if len(given) > TEXT_CHARACTERS_MAX and one.problem is None and len(one.data) < TEXT_BYTES:
            yield _left_out(f"only the first {TEXT_CHARACTERS_MAX} characters were looked at")


def numbered_lines(given: str | bytes) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, stripped, with their numbers from 1; found one after another, as a
    list of all would take many times what the input does."""
    end: Any = b"\n" if isinstance(given, bytes) else "\n"
    if end not in given:
        end = b"\r" if isinstance(given, bytes) else "\r"
    pattern: Any = _LINE_OF_BYTES if isinstance(given, bytes) else _LINE
    number, at = 1, 0
    for found in pattern.finditer(given):
        number += given.count(end, at, found.start())
        at = found.start()
        line = given[found.start() : min(found.end(), found.start() + TEXT_CHARACTERS_MAX)]
        text = (line.decode("utf-8-sig", "replace") if isinstance(line, bytes) else line).strip()
        if text:
            yield number, text


def of_text(text: str, kind: Kind | None = None) -> Captured:
    """One message in hex or base64, at most `TEXT_CHARACTERS_MAX` of it."""
    text = text[:TEXT_CHARACTERS_MAX]
    kind = kind or _kind_of_text(text)
    if kind == "base64":
        octets = octets_of_base64(text)
        return Captured("", octets if octets is not None else b"", _not(octets, "not base64"))
    octets, problem = octets_of_hex(text)
    written = text.strip()
    plain = written.encode() if len(written) <= TEXT_BYTES and _HEX.fullmatch(written) else b""
    return Captured("", octets, problem, text=plain)


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
        kind = _kind_of_text(data[: SAMPLE_CHARACTERS + 1].decode("latin-1"))
        looks = kind != "hex" or not _packed(text.decode("latin-1")).strip("0123456789abcdefABCDEF")
        return kind if looks else "binary"
    return "binary"


def _kind_of_text(text: str) -> Kind:
    begin = text[:SAMPLE_CHARACTERS]
    lines = [line for line in begin.splitlines() if line.strip()]
    if len(begin) < len(text) and len(lines) > 1:  # the last one may be cut
        lines.pop()
    if len(lines) > 1 and _BARE_OFFSET.fullmatch(lines[-1].strip()):  # hexdump's last line
        lines.pop()
    if lines and all(_dump_line(line) is not None for line in lines[:64]):
        return "dump"
    if len(lines) > 1 and not _wrapped(lines):
        return "lines"
    packed = _packed(begin)
    if len(begin) < len(text):
        begin = begin.translate(_BLANKS)
        begin = begin[: len(begin) & ~3]
    if packed.strip("0123456789abcdefABCDEF") and octets_of_base64(begin) is not None:
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
    """Without what may stand between hex digits; `x` is no digit, so that `0x` can only be a mark."""
    for mark in ("\\x", "0x", "0X"):
        text = text.replace(mark, "")
    return text.translate(_SEPARATORS)


def octets_of_hex(text: str) -> tuple[bytes, Problem | None]:
    """The bytes of hex digits, up to the first character that is none."""
    packed = _packed(text)
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
    packed = text.translate(_BLANKS)
    if _WORDS.search(text.strip()) is not None:
        return None
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


def _dumps(given: str | bytes) -> Iterator[Captured]:
    """The messages of dump lines: each offset of 0 begins another."""
    octets, number = bytearray(), 0
    for line_number, line in numbered_lines(given):
        read = _dump_line(line)
        if read is not None:
            offset, taken = read
            if offset == 0 and octets:
                number += 1
                yield Captured(f"dump {number}", bytes(octets))
                octets = bytearray()
            # where the characters were taken for bytes the next offset says so
            del octets[offset:]
            octets += taken
        if line_number >= LINES_MAX:
            yield _left_out(f"only the first {LINES_MAX} lines were looked at")
            return
    if octets:
        yield Captured(f"dump {number + 1}" if number else "", bytes(octets))


# -- bytes -------------------------------------------------------------------------------------


def _of_bytes(data: bytes, kind: Kind) -> Iterator[Captured]:
    if kind == "pcap":
        for stream in pcap.streams(data):
            yield from _of_stream(stream)
        return
    if kind == "vbs":
        taken = _records(data)
        records = iter([data]) if taken is None else _cut_records(taken)
        for number, record in enumerate(records, 1):
            yield Captured(f"record {number}", record, clearing=True)
        return
    frames = framings.frames_of(data, MESSAGES_MAX + 1)
    if frames is None or len(frames) < 2:
        yield Captured("", data)
        return
    for number, frame in enumerate(frames, 1):
        yield Captured(f"frame {number}", frame)


def _of_stream(stream: pcap.Stream) -> Iterator[Captured]:
    """The frames of a stream, or its segments where no length cuts it."""
    frames = framings.frames_of(stream.data, MESSAGES_MAX + 1)
    if frames is None:
        ends = (*stream.starts[1:], len(stream.data))
        pairs = zip(stream.starts, ends, strict=True)
        frames = [stream.data[start:end] for start, end in islice(pairs, MESSAGES_MAX + 1)]
    lost = " (bytes before it missing)" if stream.lost else ""
    for number, frame in enumerate(frames, 1):
        yield Captured(f"{stream.name} #{number}{lost}", frame)


def _records(data: bytes) -> bytes | None:
    """The bytes of a clearing file without what its blocks add; None where it is none."""
    whole = len(data) >= BLOCK_BYTES and len(data) % BLOCK_BYTES == 0
    if whole and data[BLOCK_BYTES - 2 : BLOCK_BYTES] == b"@@":
        blocks = range(0, len(data), BLOCK_BYTES)
        data = b"".join(data[at : at + BLOCK_BYTES - 2] for at in blocks)
    at = 0
    for _ in range(RECORDS_LOOKED_AT):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 0:
            ends = len(data) >= at + 4 and not data[at + 4 :].strip(b"\x00@")
            return data if at and ends else None
        if size > RECORD_BYTES_MAX or at + 4 + size > len(data):
            return None
        at += 4 + size
    return data


def _cut_records(data: bytes) -> Iterator[bytes]:
    """The records of such bytes."""
    at = 0
    while size := int.from_bytes(data[at : at + 4], "big"):
        yield data[at + 4 : at + 4 + size]
        at += 4 + size
