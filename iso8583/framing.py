"""Frames on a byte stream: length, TPDU, header, body.

`Framer` takes bytes in any split and gives whole frames; it holds at most one incomplete frame.
Source: `reference/pos-messages.md` §1 (terminals), `reference/link.md` (links).
"""

from __future__ import annotations

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


class Frame(msgspec.Struct, frozen=True):
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

    __slots__ = ("_at", "_buffer", "_head", "_spec", "_tpdu", "_width", "error")

    def __init__(self, spec: FramingSpec) -> None:
        self._spec: Final = spec
        self._width: Final = spec.length_bytes
        self._tpdu: Final = TPDU_BYTES if spec.tpdu else 0
        self._head: Final = spec.head_bytes
        self._buffer = b""
        self._at = 0  # offset in the stream of the buffer's first byte
        self.error: FramingError | None = None

    @property
    def buffered_bytes(self) -> int:
        """Bytes of an incomplete frame held: the peer owes its rest."""
        return len(self._buffer)

    def receive_bytes(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order; none while one is incomplete.

        Raises FramingError (offset in the stream, rule) on a bad length.
        """
        if self.error is not None:
            raise self.error
        if self._buffer:
            data = self._buffer + data
        frames: list[Frame] = []
        width, tpdu, head = self._width, self._tpdu, self._head
        start, have = 0, len(data)
        while have - start >= width:
            try:
                size = self._size(data, start)
            except FramingError as error:
                self.error = error
                self._buffer = b""
                if not frames:
                    raise
                return frames
            body_at = start + width
            end = body_at + size
            if end > have:
                break
            frames.append(
                Frame(
                    data[body_at : body_at + tpdu],
                    data[body_at + tpdu : body_at + head],
                    data[body_at + head : end],
                )
            )
            start = end
        self._buffer = data[start:]
        self._at += start
        return frames

    def _size(self, data: bytes, start: int) -> int:
        """Bytes that follow the length at `start`; raises FramingError when no frame has that many."""
        spec = self._spec
        if spec.length == "binary2":
            size = data[start] << 8 | data[start + 1]
        else:
            digits = data[start : start + 4]
            if not digits.isdigit():
                raise FramingError(self._at + start, "length is not four digits")
            size = int(digits)
        if spec.inclusive:
            size -= self._width
        whole = size + self._width
        if whole > spec.max_frame_bytes:
            reason = f"frame of {whole} bytes, at most {spec.max_frame_bytes}"
            raise FramingError(self._at + start, reason)
        if size <= self._head:
            raise FramingError(self._at + start, "length leaves no room for a message")
        return size


def build(frame: Frame, spec: FramingSpec) -> bytes:
    """The bytes of a frame. Raises FramingError when its parts do not fit the spec."""
    if len(frame.tpdu) != (TPDU_BYTES if spec.tpdu else 0):
        raise FramingError(spec.length_bytes, f"TPDU of {len(frame.tpdu)} bytes")
    if len(frame.header) != spec.header_bytes:
        raise FramingError(spec.length_bytes, f"header of {len(frame.header)} bytes")
    if not frame.body:
        raise FramingError(spec.length_bytes, "no message")
    size = spec.head_bytes + len(frame.body) + (spec.length_bytes if spec.inclusive else 0)
    whole = spec.length_bytes + spec.head_bytes + len(frame.body)
    if whole > spec.max_frame_bytes or size > (65535 if spec.length == "binary2" else 9999):
        raise FramingError(0, f"frame of {whole} bytes, at most {spec.max_frame_bytes}")
    length = size.to_bytes(2, "big") if spec.length == "binary2" else b"%04d" % size
    return b"".join((length, frame.tpdu, frame.header, frame.body))


def answer_tpdu(tpdu: bytes) -> bytes:
    """The TPDU of the answer: destination and source swapped.

    >>> answer_tpdu(bytes.fromhex("6000060000")).hex()
    '6000000006'
    """
    return tpdu[:1] + tpdu[3:5] + tpdu[1:3]


def header_is_test(header: bytes) -> bool:
    """Whether a six-byte POS header says that the terminal is in test state (fifth digit 1)."""
    return len(header) == 6 and header[2] >> 4 == 1


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
