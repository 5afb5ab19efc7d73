"""Frames on a byte stream: length, TPDU, header, body.

`Framer` takes bytes in any split and gives whole frames; it holds at most one incomplete frame.
Source: `reference/pos-messages.md` §1 (terminals), `reference/link.md` (links).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

import msgspec

from iso8583.errors import FramingError

TPDU_BYTES: Final = 5


class FramingSpec(msgspec.Struct, frozen=True):
    """How a peer frames its messages.

    `length`: `binary2`, two bytes big endian, or `ascii4`, four digits; `inclusive` when it counts
    itself. `tpdu`: five bytes `60`, destination, source. `header_bytes`: fixed, after the TPDU.
    `max_frame_bytes` bounds the whole frame, length included.
    """

    length: Literal["binary2", "ascii4"] = "binary2"
    inclusive: bool = False
    tpdu: bool = False
    header_bytes: int = 0
    max_frame_bytes: int = 4096

    def __post_init__(self) -> None:
        if self.length not in ("binary2", "ascii4"):
            raise ValueError("length is binary2 or ascii4")
        if not 0 <= self.header_bytes <= 255:
            raise ValueError("header_bytes is 0 to 255")
        if not self.length_bytes + self.head_bytes < self.max_frame_bytes <= 65537:
            raise ValueError("max_frame_bytes must hold a body, and at most 65537")

    @property
    def length_bytes(self) -> int:
        """Width of the length itself."""
        return 2 if self.length == "binary2" else 4

    @property
    def head_bytes(self) -> int:
        """Width of TPDU and header."""
        return (TPDU_BYTES if self.tpdu else 0) + self.header_bytes


POS: Final = FramingSpec(tpdu=True, header_bytes=6)
LINK: Final = FramingSpec()


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame, its length taken off. `tpdu` and `header` are empty where the spec has none."""

    tpdu: bytes
    header: bytes
    body: bytes

    def __repr__(self) -> str:
        tpdu, header = self.tpdu.hex().upper(), self.header.hex().upper()
        return f"Frame(tpdu={tpdu}, header={header}, body of {len(self.body)} bytes)"


class Framer:
    """Bytes in, frames out. Sans I/O; one per connection and direction.

    `receive_bytes` raises FramingError at a length that no frame can have; frames complete before
    the bad length in the same bytes are returned first, `error` is set at once, and the next call
    raises. After an error there is no way on but to close.
    """

    __slots__ = (
        "_at", "_binary", "_body", "_counted", "_header", "_headless", "_least", "_most", "_spec", "_width",
        "error", "held",
    )  # fmt: skip

    def __init__(self, spec: FramingSpec) -> None:
        self._spec: Final = spec
        self._binary: Final = spec.length == "binary2"
        self._width: Final = spec.length_bytes
        # where header and body begin, from a frame's first byte
        self._header: Final = spec.length_bytes + (TPDU_BYTES if spec.tpdu else 0)
        self._body: Final = spec.length_bytes + spec.head_bytes
        self._headless: Final = not spec.head_bytes
        # what the length may say; of that it counts itself
        self._counted: Final = spec.length_bytes if spec.inclusive else 0
        self._least: Final = self._counted + spec.head_bytes + 1
        self._most: Final = self._counted + spec.max_frame_bytes - spec.length_bytes
        self.held = b""  # of an incomplete frame: the peer owes its rest
        self._at = 0  # offset in the stream of the first byte that is held
        self.error: FramingError | None = None

    def receive_bytes(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order; none while one is incomplete.

        Raises FramingError (offset in the stream, rule) on a bad length.
        """
        if self.error is not None:
            raise self.error
        if self.held:
            data = self.held + data
        frames: list[Frame] = []
        start, have, width, headless = 0, len(data), self._width, self._headless
        while (begin := start + width) <= have:
            size = data[start] << 8 | data[start + 1] if self._binary else _digits4(data, start)
            if not self._least <= size <= self._most:
                self.error = self._refused(size, start)
                self.held = b""
                if not frames:
                    raise self.error
                return frames
            end = begin + size - self._counted
            if end > have:
                break
            if headless:
                frames.append(Frame(b"", b"", data[begin:end]))
            else:
                header, body = start + self._header, start + self._body
                frames.append(Frame(data[begin:header], data[header:body], data[body:end]))
            start = end
        self.held = data[start:] if start < have else b""
        self._at += start
        return frames

    def _refused(self, size: int, start: int) -> FramingError:
        """Why no frame has the length that stands at `start`."""
        if size < 0:
            return FramingError(self._at + start, "length is not four digits")
        if size > self._most:
            whole = size - self._counted + self._width
            reason = f"frame of {whole} bytes, at most {self._spec.max_frame_bytes}"
            return FramingError(self._at + start, reason)
        return FramingError(self._at + start, "length leaves no room for a message")


def _digits4(data: bytes, start: int) -> int:
    """The number that four ASCII digits say; -1 where they are none."""
    digits = data[start : start + 4]
    return int(digits) if digits.isdigit() else -1


class Builder:
    """Bodies in, frames out, all with the same framing."""

    __slots__ = ("_binary", "_counted", "_head", "_most", "_spec")

    def __init__(self, spec: FramingSpec) -> None:
        self._spec: Final = spec
        self._binary: Final = spec.length == "binary2"
        self._head: Final = spec.head_bytes
        self._counted: Final = spec.length_bytes if spec.inclusive else 0
        # of head and body together
        length_max = 65535 if self._binary else 9999
        self._most: Final = min(
            spec.max_frame_bytes - spec.length_bytes, length_max - self._counted
        )

    def build(self, head: bytes, body: bytes) -> bytes:
        """The bytes of a frame; `head` is TPDU and header. Raises FramingError."""
        size = len(head) + len(body)
        if len(head) != self._head or not body or size > self._most:
            raise self._refused(head, body)
        size += self._counted
        length = size.to_bytes(2, "big") if self._binary else b"%04d" % size
        return length + head + body

    def _refused(self, head: bytes, body: bytes) -> FramingError:
        width = self._spec.length_bytes
        if len(head) != self._head:
            return FramingError(width, f"TPDU and header of {len(head)} bytes")
        if not body:
            return FramingError(width, "no message")
        whole = width + len(head) + len(body)
        return FramingError(0, f"frame of {whole} bytes, at most {self._spec.max_frame_bytes}")


def build(frame: Frame, spec: FramingSpec) -> bytes:
    """The bytes of a frame. Raises FramingError when its parts do not fit the spec."""
    if len(frame.tpdu) != (TPDU_BYTES if spec.tpdu else 0):
        raise FramingError(spec.length_bytes, f"TPDU of {len(frame.tpdu)} bytes")
    return Builder(spec).build(frame.tpdu + frame.header, frame.body)


def answer_tpdu(tpdu: bytes) -> bytes:
    """The TPDU of the answer: destination and source swapped.

    >>> answer_tpdu(bytes.fromhex("6000060000")).hex()
    '6000000006'
    """
    return tpdu[:1] + tpdu[3:5] + tpdu[1:3]


def header_is_test(header: bytes) -> bool:
    """Whether a six-byte POS header says that the terminal is in test state (fifth digit 1)."""
    return len(header) == 6 and header[2] >> 4 == 1


@lru_cache(4_096)  # a terminal's are the same from message to message
def answer_head(tpdu: bytes, header: bytes, processing_request: int = 0) -> bytes:
    """What stands before an answer: `answer_tpdu` and `answer_header`."""
    return answer_tpdu(tpdu) + answer_header(header, processing_request)


def answer_header(header: bytes, processing_request: int = 0) -> bytes:
    """The request's six-byte header with the processing request digit (the sixth) set.

    0 nothing · 1 download parameters · 2 upload status · 3 sign on again · 4 download CA keys ·
    5 download AID parameters · 6 application download · 7 card blacklist. Other widths unchanged.

    >>> answer_header(bytes.fromhex("603100310100"), 3).hex()
    '603103310100'
    """
    if len(header) != 6:
        return header
    assert 0 <= processing_request <= 9
    return header[:2] + bytes([header[2] & 0xF0 | processing_request]) + header[3:]
