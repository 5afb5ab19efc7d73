"""The stream to one other worker, and its connections as they may be used from here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import msgspec
import structlog

from switch.acquirers.link_connection import SlotCounters
from switch.acquirers.sibling_messages import Hello, Send, Unpacker, pack

if TYPE_CHECKING:
    from switch.acquirers.sibling_messages import MatchKey, Said
    from switch.acquirers.siblings import Siblings

_log = structlog.get_logger(__name__)


class Mirrored:
    """A sibling's connection, for one link of this process, under a serial of that link's own."""

    def __init__(self, sibling: Sibling, link: int, theirs: int, link_serial: int) -> None:
        self.serial = link_serial
        self.said_usable = False
        self.counters = SlotCounters()  # its owner shows its own
        self.waiting = 0  # messages of ours that left there and wait for their answer
        self.doubted = False
        self._sibling = sibling
        self._link = link
        self._theirs = theirs

    @property
    def usable(self) -> bool:
        return self.said_usable and not self._sibling.silent

    @property
    def writable(self) -> bool:
        return self.usable and self._sibling.writable

    def hand_over(
        self, acquirer: str, data: bytes, send_by_ns: int, key: MatchKey, ticket: int
    ) -> None:
        self._sibling.say(Send(acquirer, self._link, self._theirs, data, send_by_ns, key, ticket))


class Sibling(asyncio.Protocol):
    """The stream to one other worker."""

    def __init__(self, owner: Siblings, worker: int | None) -> None:
        self.worker = worker  # None until it has said so
        self.closed = asyncio.Event()
        self.draining = False
        self._owner = owner
        self._unpacker = Unpacker(owner.bounds.message_bytes)
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._outgoing: list[bytes] = []  # of this turn of the loop: one system call
        self._heard_s = 0.0

    @property
    def writable(self) -> bool:
        transport = self._transport
        return transport is not None and not self._paused and not transport.is_closing()

    @property
    def silent(self) -> bool:
        """It has not even beaten for long: it hangs, or is stopped."""
        bounds = self._owner.bounds
        return asyncio.get_running_loop().time() - self._heard_s > bounds.silent_s

    def protocol(self) -> Sibling:
        return self

    def say(self, message: Said) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(pack(message))

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(b"".join(outgoing))
        if transport.get_write_buffer_size() > self._owner.bounds.backlog_bytes:
            _log.error("sibling_does_not_read", worker=self.worker)
            transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self._owner.bounds.buffer_bytes)
        self._heard_s = asyncio.get_running_loop().time()
        if self.worker is not None:
            self.say(Hello(self._owner.worker))
            self._owner.joined(self)

    def data_received(self, data: bytes) -> None:
        self._heard_s = asyncio.get_running_loop().time()
        try:
            messages = self._unpacker.receive(data)
        except (ValueError, msgspec.DecodeError) as error:
            _log.error("sibling_not_understood", worker=self.worker, reason=str(error))
            self.abort()
            return
        for message in messages:
            try:
                self._owner.heard(self, message)
            except Exception:  # noqa: BLE001 - one message must not cost the others their stream
                _log.exception("sibling_message_failed", worker=self.worker)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._outgoing.clear()
        self.closed.set()
        self._owner.left(self)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
