"""GET /metrics, /health and /ready over HTTP/1.1, one request a connection. Bounded, and for scrapers
and balancers only."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

REQUEST_BYTES_MAX = 8_192
REQUEST_S = 10.0
CONNECTIONS_MAX = 32

_STATUS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


class MetricsProtocol(asyncio.Protocol):
    """One connection. `pages` makes status, content type and body of a path."""

    open_connections = 0

    def __init__(self, pages: dict[str, Callable[[], tuple[int, str, bytes]]]) -> None:
        self._pages = pages
        self._taken = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        MetricsProtocol.open_connections += 1
        self._timer = asyncio.get_running_loop().call_later(REQUEST_S, self._transport.abort)
        if MetricsProtocol.open_connections > CONNECTIONS_MAX:
            self._answer(503, "text/plain", b"too many connections\n")

    def data_received(self, data: bytes) -> None:
        self._taken += data
        if b"\r\n\r\n" in self._taken:
            self._respond(self._taken.split(b"\r\n", 1)[0])
        elif len(self._taken) > REQUEST_BYTES_MAX:
            self._answer(400, "text/plain", b"request too long\n")

    def _respond(self, line: bytes) -> None:
        words = line.decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            self._answer(400, "text/plain", b"not HTTP/1.1\n")
        elif words[0] != "GET":
            self._answer(405, "text/plain", b"GET only\n")
        elif (page := self._pages.get(words[1].partition("?")[0])) is None:
            self._answer(404, "text/plain", b"no such page\n")
        else:
            self._answer(*page())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        assert self._transport is not None
        if self._transport.is_closing():
            return
        head = (
            f"HTTP/1.1 {status} {_STATUS[status]}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._transport.write(head.encode() + body)
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        MetricsProtocol.open_connections -= 1
        if self._timer is not None:
            self._timer.cancel()
