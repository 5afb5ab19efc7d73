"""How a command hands an LMK to the node that runs on this machine: a Unix socket of its supervisor.

The socket lies in the supervisor's own folder (0700), which `serve.lock` in the data folder names; the
other side must be a process of the same user, or root. One request a connection, one answer: four bytes
of length and msgpack each. The supervisor takes an LMK only from who knows the one it works with: the
new one brings that along as its former one, or is the same without its former one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

NAME = "lmk.sock"
REQUEST_BYTES_MAX = 4_096
REQUEST_S = 10.0
ANSWER_S = 600.0  # requests in flight, each within its longest timer, are waited for


class Handed(msgspec.Struct, frozen=True, tag=True):
    """Work with this LMK: `hsm.lmk.hand_over` of it."""

    lmk: bytes

    def __repr__(self) -> str:
        return "Handed()"


class Dropped(msgspec.Struct, frozen=True, tag=True):
    """Forget the former LMK, which is this one."""

    lmk_id: str


class Answer(msgspec.Struct, frozen=True):
    """`lmk_ids` of the node now; what kept it from being done, or empty; workers that are not there yet."""

    lmk_ids: tuple[str, ...] = ()
    refused: str = ""
    waiting: tuple[int, ...] = ()


Request = Handed | Dropped


def pack(message: Request | Answer) -> bytes:
    body = msgspec.msgpack.encode(message)
    return struct.pack(">I", len(body)) + body


async def _read(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    if length > REQUEST_BYTES_MAX:
        raise ValueError(f"{length} bytes")
    return await reader.readexactly(length)


# -- the supervisor's side ----------------------------------------------------------------------


async def listen(
    folder: Path, answer: Callable[[Request], Awaitable[Answer]]
) -> asyncio.AbstractServer:
    """Serve the socket. One request at a time: the next one waits."""
    alone = asyncio.Lock()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            OSError, ValueError, asyncio.IncompleteReadError, TimeoutError, msgspec.MsgspecError
        ):
            if peer_uid(writer.get_extra_info("socket")) in (0, os.geteuid()):
                async with asyncio.timeout(REQUEST_S):
                    request = msgspec.msgpack.decode(await _read(reader), type=Request)
                async with alone:
                    writer.write(pack(await answer(request)))
                await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, path=folder / NAME, limit=REQUEST_BYTES_MAX + 4)
    (folder / NAME).chmod(0o600)
    return server


def peer_uid(connection: socket.socket) -> int:
    """The user of the process on the other side, as the kernel knows it."""
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


# -- the command's side ---------------------------------------------------------------------------


def running(data_folder: Path) -> Path | None:
    """The folder of the supervisor that serves this data folder; None where none does.

    It holds the lock of `serve.lock`, whose second line is the folder.
    """
    try:
        with (data_folder / "serve.lock").open("r", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                lines = file.read().splitlines()
                return Path(lines[1]) if len(lines) > 1 else None
    except FileNotFoundError:
        pass
    return None


async def ask(folder: Path, request: Request) -> Answer:
    """The supervisor's answer. `OSError` where it is gone, or ends before it has answered."""
    async with asyncio.timeout(ANSWER_S):
        reader, writer = await asyncio.open_unix_connection(path=folder / NAME)
        try:
            writer.write(pack(request))
            await writer.drain()
            return msgspec.msgpack.decode(await _read(reader), type=Answer)
        except (asyncio.IncompleteReadError, ValueError, msgspec.MsgspecError) as error:
            raise ConnectionResetError("the node did not answer") from error
        finally:
            writer.close()
