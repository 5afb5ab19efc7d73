"""The real outside: the machine's clock, its entropy, TCP of the running loop, core dumps off."""

from __future__ import annotations

import asyncio
import ctypes
import datetime as dt
import functools
import os
import resource
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_DUMPABLE = 4  # linux/prctl.h


class SystemClock:
    """`ports.Clock`: wall-clock time, and durations that no change of it disturbs.

    Both are the library's own calls, without one of ours around them: they are read at every step.
    """

    now = staticmethod(functools.partial(dt.datetime.now, dt.UTC))
    monotonic_ns = staticmethod(time.monotonic_ns)


class SystemEntropy:
    """`ports.Entropy`: the kernel's generator."""

    def bytes(self, count: int) -> bytes:
        return os.urandom(count)


class SystemTransport:
    """`ports.Transport`: connections of the running loop, without delay and with keepalive."""

    async def connect(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(factory, host, port)
        keep_alive(transport)
        return transport


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """What is written leaves at once; a peer that is gone is noticed."""
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


class UnixTransport:
    """`ports.LocalTransport`: Unix sockets."""

    async def listen(
        self, factory: Callable[[], asyncio.Protocol], path: str
    ) -> asyncio.AbstractServer:
        Path(path).unlink(missing_ok=True)  # noqa: ASYNC240 - at start, in a folder in memory or on a local disk
        return await asyncio.get_running_loop().create_unix_server(factory, path)

    async def connect(
        self, factory: Callable[[], asyncio.Protocol], path: str
    ) -> asyncio.Transport:
        transport, _ = await asyncio.get_running_loop().create_unix_connection(factory, path)
        return transport


def core_dumps_off() -> None:
    """No core of this process reaches a disk or a crash reporter: it would hold the LMK.

    The limit alone does not bind a handler that `core_pattern` pipes to; not being dumpable does,
    and it keeps other processes of the same user from reading this one's memory.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def raise_open_files() -> int:
    """As many open files as the system lets us have (one a connection); how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def pause(seconds: float) -> None:
    """Wait, in a process that has no loop yet."""
    time.sleep(seconds)
