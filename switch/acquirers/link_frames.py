"""Messages of a link as frames, signed; and its keys, where the host sends one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from hsm.errors import VaultError
from hsm.keys import KeyUsage
from iso8583.errors import EncodeError, FramingError
from iso8583.framing import Builder, FramingSpec
from switch.acquirers import link_messages
from switch.acquirers.form_codec import FormCodec, codec_of
from switch.acquirers.link_keys import MAC_BYTES, ZERO_MAC, LinkMac, sent_key
from switch.acquirers.ports import NotSentError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from hsm.ports import Hsm
    from iso8583.message import Message
    from switch.acquirers.link_connection import Counters
    from switch.reference import Link, Snapshot
    from terminals.registry import StoredKey

_log = structlog.get_logger(__name__)


class Frames:
    """Codec, MAC and framing of one link. `store_key` keeps a key that the host sent."""

    def __init__(
        self,
        link: Link,
        hsm: Hsm,
        reference: Callable[[], Snapshot],
        store_key: Callable[[StoredKey], Awaitable[StoredKey | None]] | None,
        counters: Counters,
    ) -> None:
        self.codec = codec = codec_of(link)
        unsigned_bytes = codec.unsigned_bytes if isinstance(codec, FormCodec) else 0
        self.mac = LinkMac(link, hsm, reference, unsigned_bytes)
        self._header = bytes.fromhex(link.header_hex)
        self.framing = FramingSpec(
            length="ascii4" if link.length == "ascii4" else "binary2",
            inclusive=link.length_inclusive,
            header_bytes=len(self._header),
        )
        self._build = Builder(self.framing).build
        self._name = link.acquirer
        self._mac_on_management = link.mac_on_management
        self._hsm = hsm
        self._reference = reference
        self._store_key = store_key
        self._counters = counters

    def request(self, message: Message) -> bytes | Coroutine[Any, Any, bytes]:
        """Its frame; a coroutine where the vault takes its time. Raises NotSentError where it can not be
        written or signed. What the MAC takes in the message stays zero."""
        try:
            if not self.mac.on:
                return self._build(self._header, self.codec.encode(message))
            frame = self._signed(message, link_messages.mac_element(message))
        except (EncodeError, FramingError, VaultError) as error:
            raise self._not_made(error) from error
        return frame if isinstance(frame, bytes) else self._made(frame)

    async def _made(self, frame: Awaitable[bytes]) -> bytes:
        try:
            return await frame
        except (FramingError, VaultError) as error:
            raise self._not_made(error) from error

    def _not_made(self, error: EncodeError | FramingError | VaultError) -> NotSentError:
        if isinstance(error, VaultError):
            _log.error("link_message_not_signed", acquirer=self._name, error=type(error).__name__)
            return NotSentError("vault")
        _log.error("link_message_not_encodable", acquirer=self._name, reason=str(error))
        return NotSentError("encode")

    def _signed(self, message: Message, de: int) -> bytes | Coroutine[Any, Any, bytes]:
        message[de] = ZERO_MAC
        covered = self.codec.encode(message)[:-MAC_BYTES]
        mac = self.mac.sign(covered)
        if isinstance(mac, bytes):
            return self._build(self._header, covered + mac)
        return self._signed_in_time(covered, mac)

    async def _signed_in_time(self, covered: bytes, mac: Awaitable[bytes]) -> bytes:
        return self._build(self._header, covered + await mac)

    async def management(self, message: Message) -> bytes:
        """An 08xx: signed only where the link says so."""
        if not (self._mac_on_management and self.mac.on):
            return self._build(self._header, self.codec.encode(message))
        frame = self._signed(dict(message), 128 if max(message) > 64 else 64)
        return frame if isinstance(frame, bytes) else await frame

    async def management_verifies(self, message: Message, body: bytes) -> bool:
        if not self._mac_on_management:
            return True
        verified = self.mac.verifies(message, body)
        return verified if isinstance(verified, bool) else await verified

    async def import_key(self, usage: str, content: str) -> str:
        """A key the host sent under the ZMK, into the store: DE 39 of the answer to it. 96: it may try
        again; 94 while one of that usage is under way from us: only one side changes a key at a time."""
        zmk = self._reference().key(f"link:{self._name}", KeyUsage.ZMK.value)
        if zmk is None or self._store_key is None:
            return "96"
        key = await sent_key(self._hsm, self._name, zmk.block, usage, content)
        if key is None:
            return "30"
        stored = await self._store_key(key)
        if stored is None:
            _log.warning("link_key_refused", acquirer=self._name, error="one of ours is under way")
            return "94"
        if usage == KeyUsage.ZAK.value:
            self.mac.take_up(stored)
        self._counters.key_changes += 1
        _log.info("link_key_changed", acquirer=self._name, usage=usage, check_value=key.check_value)
        return "00"
