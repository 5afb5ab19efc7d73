"""What this node has of its own for its links: TLS contexts, and sockets that banks connect to.

Contexts are made of what the supervisor read from the files (`switch/certificates.py`); handshakes
that begin after a renewal see the new ones. A listening socket is inherited by every worker of the
node: a worker takes a connection from it only when it has a slot for one (`acquirers/incoming.py`).
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from switch.adapters.system import keep_alive
from switch.ports import EdgeError
from switch.tls import TlsError, link_context

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from switch.config import LinkEdge
    from switch.ports import Transport
    from switch.reference import Link
    from switch.tls import LinkContext, Pem

SHUTDOWN_S: Final = 2.0  # for the other side to confirm that we close


class TlsFailedError(OSError):
    """No handshake, in one sentence: with whom, why, and by which files."""


class SystemLinkEdge:
    """`ports.LinkEdge` of real files and sockets. `sockets`: of the links that listen, in order."""

    def __init__(
        self, edges: Sequence[LinkEdge], sockets: Sequence[socket.socket], plain: Transport
    ) -> None:
        self._edges = {edge.acquirer: edge for edge in edges}
        listening = [edge.acquirer for edge in edges if edge.listen_host]
        self._sockets = dict(zip(listening, sockets, strict=True))
        self._plain = plain
        self._pems: dict[str, Pem] = {}

    def renew(self, pems: Sequence[Pem | None]) -> None:
        """Of the node's links, in order; None where one has no files."""
        for acquirer, pem in zip(self._edges, pems, strict=True):
            if pem is not None:
                self._pems[acquirer] = pem

    def way_out(self, link: Link) -> Transport:
        if not link.tls:
            return self._plain
        self.context(link, serves=False)
        return TlsTransport(self, link)

    def way_in(self, link: Link) -> SocketAccepts:
        edge, listening = self._edges.get(link.acquirer), self._sockets.get(link.acquirer)
        if edge is None or listening is None:
            raise EdgeError(
                "links.listen_host", "the bank connects to us, and this node has no address for it"
            )
        if link.tls:
            self.context(link, serves=True)
        return SocketAccepts(self, link, listening)

    def sources(self, link: Link) -> tuple[str, ...]:
        edge = self._edges.get(link.acquirer)
        return () if edge is None else edge.sources

    def context(self, link: Link, *, serves: bool) -> LinkContext:
        """Of the files as they are in force now. Raises EdgeError."""
        pem = self._pems.get(link.acquirer)
        if pem is None:
            raise EdgeError(
                "links.tls_authorities", "the link has TLS, and this node names no files for it"
            )
        try:
            return link_context(pem, serves=serves, pins=link.tls_pins)
        except TlsError as error:
            raise EdgeError("links.tls_certificate", str(error)) from error

    def files(self, link: Link) -> str:
        edge = self._edges[link.acquirer]
        files = (edge.tls_authorities, edge.tls_certificate)
        return ", ".join(file for file in files if file)


class TlsTransport:
    """`ports.Transport` by TLS."""

    def __init__(self, edge: SystemLinkEdge, link: Link) -> None:
        self._edge = edge
        self._link = link

    async def connect(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> asyncio.Transport:
        name = self._link.tls_name or host
        context = self._edge.context(self._link, serves=False)
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_connection(
                factory,
                host,
                port,
                ssl=context,
                server_hostname=name,
                ssl_handshake_timeout=self._link.connect_timeout_s,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        except ssl.SSLError as error:
            raise failed(name, error, self._edge.files(self._link)) from error
        keep_alive(transport)
        return transport


class SocketAccepts:
    """`ports.Accepts` of an inherited listening socket, from which other workers take, too."""

    def __init__(self, edge: SystemLinkEdge, link: Link, listening: socket.socket) -> None:
        self._edge = edge
        self._link = link
        self._listening = listening.dup()
        self._listening.settimeout(0)

    async def waits(self) -> None:
        loop = asyncio.get_running_loop()
        there: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not there.done():
                there.set_result(None)

        loop.add_reader(self._listening.fileno(), tell)
        try:
            await there
        finally:
            loop.remove_reader(self._listening.fileno())

    def take(self) -> SocketArrived | None:
        try:
            taken, address = self._listening.accept()
        except OSError:  # another worker was faster, or there are too many open files
            return None
        taken.settimeout(0)
        return SocketArrived(self._edge, self._link, taken, str(address[0]))

    def close(self) -> None:
        with suppress(OSError):
            self._listening.close()


class SocketArrived:
    """`ports.Arrived`."""

    def __init__(self, edge: SystemLinkEdge, link: Link, taken: socket.socket, source: str) -> None:
        self.source = source
        self._edge = edge
        self._link = link
        self._taken = taken

    async def adopt(self, factory: Callable[[], asyncio.Protocol]) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        if not self._link.tls:
            transport, _ = await loop.connect_accepted_socket(factory, self._taken)
            keep_alive(transport)
            return transport
        context = self._edge.context(self._link, serves=True)
        try:
            transport, _ = await loop.connect_accepted_socket(
                factory,
                self._taken,
                ssl=context,
                ssl_handshake_timeout=self._link.connect_timeout_s,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        except ssl.SSLError as error:
            self._taken.close()
            raise failed(self.source, error, self._edge.files(self._link)) from error
        except BaseException:
            self._taken.close()
            raise
        keep_alive(transport)
        return transport

    def refuse(self) -> None:
        self._taken.close()


def failed(name: str, error: ssl.SSLError, files: str) -> TlsFailedError:
    # what Python raises itself has neither
    reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or error.args[-1]
    return TlsFailedError(f"TLS with {name}: {reason} ({files})")
