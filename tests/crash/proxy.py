"""A TCP proxy of ours that can be told to misbehave: the network between two parts.

Bytes pass until a `Trouble` is set: `stall` reads nothing more from either side, `black_hole` reads
and drops, `delay` holds every chunk back, `cut` resets all connections, `half_close` ends each towards
the side that made it, which may go on sending. `heal` lets bytes pass again; what a black hole swallowed is not made up for, so its
connections are reset.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import Literal, cast

Trouble = Literal["cut", "stall", "black_hole", "delay", "half_close"]
TROUBLES: tuple[Trouble, ...] = ("cut", "stall", "black_hole", "delay", "half_close")
DELAY_S = 0.15
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


class Side(asyncio.Protocol):
    """One of the two connections of a pair."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.transport: asyncio.Transport | None = None
        self.other: Side | None = None
        self.near = False  # accepted by us, not made by us
        self.ended = False  # our direction to it is closed
        self.held: deque[bytes] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.proxy.sides[self] = None
        if self.other is None:
            self.near = True
            self.transport.pause_reading()
            self.proxy.connect(self)

    def data_received(self, data: bytes) -> None:
        if self.proxy.trouble == "black_hole":
            return
        if self.proxy.trouble == "delay" or self.held:
            self.held.append(data)
            asyncio.get_running_loop().call_later(DELAY_S, self.release)
        else:
            self._pass(data)

    def release(self) -> None:
        """Let the oldest chunk go; a timer that finds none has been overtaken by `heal`."""
        if self.held:
            self._pass(self.held.popleft())

    def _pass(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.ended:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        if self.other is not None and self.other.transport is not None:
            self.other.half_close()
        return True

    def half_close(self) -> None:
        """End this direction; the other side may still send."""
        to = self.transport
        if to is not None and not to.is_closing() and to.can_write_eof():
            self.ended = True
            to.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.proxy.sides.pop(self, None)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def reset(self) -> None:
        """RST to this side."""
        if self.transport is not None:
            end = self.transport.get_extra_info("socket")
            if end.family != socket.AF_UNIX:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()

    def stall(self, *, stalled: bool) -> None:
        """Stop reading, or go on."""
        if self.transport is None or self.transport.is_closing() or self.other is None:
            return
        if stalled:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()


class Proxy:
    """Listens on a free port of the loopback; `to` is (host, port), or the path of a Unix socket."""

    def __init__(self, to: tuple[str, int] | str) -> None:
        self.to = to
        self.port = 0
        self.trouble: Trouble | None = None
        self.sides: dict[Side, None] = {}
        self._server: asyncio.Server | None = None
        self._connecting: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Side(self), "127.0.0.1", 0
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def connect(self, side: Side) -> None:
        """Make the other half of the pair."""
        task = asyncio.get_running_loop().create_task(self._connect(side))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, side: Side) -> None:
        loop = asyncio.get_running_loop()
        far = Side(self)
        far.other = side
        try:
            if isinstance(self.to, str):
                await loop.create_unix_connection(lambda: far, self.to)
            else:
                await loop.create_connection(lambda: far, *self.to)
        except OSError:
            side.reset()
            return
        side.other = far
        if side.transport is None:
            far.reset()
        elif self.trouble == "stall":
            far.stall(stalled=True)
        else:
            side.stall(stalled=False)

    def begin(self, trouble: Trouble) -> None:
        """From now on the network is like this."""
        if trouble == "cut":
            self.reset()
            return
        self.trouble = trouble
        for side in list(self.sides):
            if trouble == "stall":
                side.stall(stalled=True)
            elif trouble == "half_close" and side.near:
                side.half_close()

    def heal(self) -> None:
        """Pass bytes again."""
        trouble, self.trouble = self.trouble, None
        if trouble in ("black_hole", "half_close"):
            self.reset()
        for side in list(self.sides):
            if trouble == "stall":
                side.stall(stalled=False)
            while side.held:
                side.release()

    def reset(self) -> None:
        """RST to both ends of every connection."""
        for side in list(self.sides):
            side.reset()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.reset()
