"""The three ways bytes and messages can be wrong.

Errors name the data element, the byte offset and the rule, never the content: a reason must be fit
for a log line whatever the peer sent. Offsets count bytes from 0.
"""

from __future__ import annotations


class DecodeError(Exception):
    """The peer's bytes are not a message of the dialect.

    `de` is the data element (0 the MTI, 1 the bitmap; None when no element is to blame, as with
    bytes left over), `offset` the byte in the message body (0 is the first byte of the MTI) and
    `reason` the rule broken. `end` is the offset just after the element where its extent is known
    although its content is bad, so that decoding can go on behind it; else None.
    """

    __slots__ = ("de", "end", "offset", "reason")

    def __init__(self, de: int | None, offset: int, reason: str, end: int | None = None) -> None:
        super().__init__(de, offset, reason)
        self.de = de
        self.offset = offset
        self.reason = reason
        self.end = end

    def __str__(self) -> str:
        return f"{_element(self.de)} at byte {self.offset}: {self.reason}"


class EncodeError(Exception):
    """Our message can not be written in the dialect, or would not decode to the same message."""

    __slots__ = ("de", "reason")

    def __init__(self, de: int | None, reason: str) -> None:
        super().__init__(de, reason)
        self.de = de
        self.reason = reason

    def __str__(self) -> str:
        return f"{_element(self.de)}: {self.reason}"


class FramingError(Exception):
    """The stream is not a sequence of frames; the connection can only be closed.

    `offset` counts bytes from the first byte the framer received.
    """

    __slots__ = ("offset", "reason")

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(offset, reason)
        self.offset = offset
        self.reason = reason

    def __str__(self) -> str:
        return f"frame at byte {self.offset}: {self.reason}"


def _element(de: int | None) -> str:
    if de is None:
        return "message"
    return {0: "MTI", 1: "bitmap"}.get(de, f"DE {de}")
