"""What supervisor and worker say to each other, over an inherited socket pair.

A message is four bytes of length and msgpack. The supervisor begins with `Start`, which carries the
LMK: it never stands in an argument, the environment or a file. When either side is gone the other
reads the end of the stream; to a worker that means to drain.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import msgspec

from iso8583.dialects.table import Dialect
from switch.config import Config
from switch.tls import Pem

if TYPE_CHECKING:
    import asyncio
    import socket

MESSAGE_BYTES_MAX = 16_777_216


class Start(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to worker, once, first."""

    config: Config  # database.dsn names the store, embedded or not
    index: int
    demo: bool
    lmk: bytes
    run_folder: str  # 0700, short: for the workers' Unix sockets
    dialects: tuple[Dialect, ...] = ()  # of the node's files, as they were when it started
    certificates: tuple[Pem | None, ...] = ()  # of the listeners, in order

    def __repr__(self) -> str:
        return f"Start(worker {self.index})"


class NewLmk(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to worker: the LMK to work with from now on, and maybe the one it takes over from."""

    lmk: bytes

    def __repr__(self) -> str:
        return "NewLmk()"


class Certificates(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to worker: those of the listeners from now on."""

    certificates: tuple[Pem | None, ...]


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to worker: stop accepting, finish what is in flight, end."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Worker to supervisor: it serves. `links`: acquirer → host:port it keeps connections to."""

    links: dict[str, str] = {}


class Numbers(msgspec.Struct, frozen=True, tag=True):
    """Worker to supervisor, every second: a snapshot of its metrics."""

    snapshot: bytes


class Held(msgspec.Struct, frozen=True, tag=True):
    """Worker to supervisor: LMKs that keys are opened under here, the present one first."""

    lmk_ids: tuple[str, ...]


ToWorker = Start | Drain | NewLmk | Certificates
FromWorker = Ready | Numbers | Held


def pack(message: ToWorker | FromWorker) -> bytes:
    body = msgspec.msgpack.encode(message)
    return struct.pack(">I", len(body)) + body


async def receive_from_worker(reader: asyncio.StreamReader) -> FromWorker:
    """The next message; `IncompleteReadError` or `OSError` when the worker is gone."""
    body = await reader.readexactly(_length(await reader.readexactly(4)))
    message: FromWorker = msgspec.msgpack.decode(body, type=FromWorker)
    return message


async def receive_from_supervisor(reader: asyncio.StreamReader) -> ToWorker:
    body = await reader.readexactly(_length(await reader.readexactly(4)))
    message: ToWorker = msgspec.msgpack.decode(body, type=ToWorker)
    return message


def receive_start(control: socket.socket) -> Start:
    """The first message, before there is a loop. `EOFError` when the supervisor is gone."""
    return msgspec.msgpack.decode(_read(control, _length(_read(control, 4))), type=Start)


def _length(prefix: bytes) -> int:
    length: int = struct.unpack(">I", prefix)[0]
    assert length <= MESSAGE_BYTES_MAX, "supervisor and worker speak the same protocol"
    return length


def _read(control: socket.socket, count: int) -> bytes:
    taken = b""
    while len(taken) < count:
        more = control.recv(count - len(taken))
        if not more:
            raise EOFError
        taken += more
    return taken
