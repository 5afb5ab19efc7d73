"""What the workers of a node say to each other, and the bytes of it: a length of four bytes, msgpack."""

from __future__ import annotations

import struct
from typing import Any

import msgspec

MatchKey = tuple[Any, ...]  # str and bytes


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """First on a stream, from the side that connected."""

    worker: int


class Announced(msgspec.Struct, frozen=True, tag="announced"):
    """One of our connections has come, may be used or not, or is lost (`open` false)."""

    acquirer: str
    settings: str  # digest of the link's `wire`: frames of others do not fit
    link: int
    serial: int
    open: bool
    usable: bool


class Send(msgspec.Struct, frozen=True, tag="send"):
    """A frame for one of your connections; `key` is what its answer will be matched by."""

    acquirer: str
    link: int
    serial: int
    data: bytes
    send_by_ns: int
    key: tuple[Any, ...]
    ticket: int


class NotSent(msgspec.Struct, frozen=True, tag="not_sent"):
    """Certainly nothing of that hand-over left."""

    acquirer: str
    key: tuple[Any, ...]
    ticket: int
    reason: str


class Came(msgspec.Struct, frozen=True, tag="came"):
    """An answer to what you handed over."""

    acquirer: str
    body: bytes


class Offer(msgspec.Struct, frozen=True, tag="offer"):
    """An answer that belongs to nobody here: is it yours?"""

    acquirer: str
    body: bytes
    number: int


class Taken(msgspec.Struct, frozen=True, tag="taken"):
    number: int
    taken: bool


class Draining(msgspec.Struct, frozen=True, tag="draining"):
    """We are told to stop; `done` once we shall hand over nothing more."""

    done: bool


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """We live, and so do our connections."""


Said = Hello | Announced | Send | NotSent | Came | Offer | Taken | Draining | Beat

_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Said] = msgspec.msgpack.Decoder(Said)
_length = struct.Struct(">I")


def pack(message: Said) -> bytes:
    body = _encode(message)
    return _length.pack(len(body)) + body


class Unpacker:
    """Bytes of a stream, however cut, into messages.

    >>> unpacker = Unpacker(100)
    >>> data = pack(Taken(7, True)) + pack(Draining(False))
    >>> unpacker.receive(data[:5]), unpacker.receive(data[5:])
    ([], [Taken(number=7, taken=True), Draining(done=False)])
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._waiting = b""

    def receive(self, data: bytes) -> list[Said]:
        """Raises ValueError for what no sibling of this version says."""
        data = self._waiting + data
        at, messages = 0, []
        while len(data) - at >= _length.size:
            (count,) = _length.unpack_from(data, at)
            if count > self._bytes_max:
                raise ValueError(f"message of {count} bytes")
            end = at + _length.size + count
            if len(data) < end:
                break
            messages.append(_decoder.decode(memoryview(data)[at + _length.size : end]))
            at = end
        self._waiting = data[at:]
        return messages
