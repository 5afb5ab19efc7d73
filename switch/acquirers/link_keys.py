"""The MAC keys of a link: the ZAK in force and, for a while after a change, the one before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from hsm.errors import VaultError
from hsm.keys import KeyUsage

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsm.ports import Hsm
    from iso8583.message import Message
    from switch.reference import Link, Snapshot
    from terminals.registry import StoredKey

_log = structlog.get_logger(__name__)

ZERO_MAC: Final = bytes(8)  # stands in DE 64 or 128 while the MAC is made
FORMER_KEY_S: Final = 60.0  # a replaced ZAK still verifies this long (`reference/link.md`)


class LinkMac:
    """Signs and verifies; takes up newer keys from the reference data by itself."""

    def __init__(self, link: Link, hsm: Hsm, reference: Callable[[], Snapshot]) -> None:
        self.on = link.mac_algorithm != "off"
        self._owner = f"link:{link.acquirer}"
        self._profile = link.mac_algorithm
        self._hsm = hsm
        self._reference = reference
        self._seen: Snapshot | None = None
        self._current: StoredKey | None = None
        self._former: StoredKey | None = None
        self._former_until_s = 0.0

    def sign(self, covered: bytes) -> bytes:
        self._look()
        if self._current is None:
            raise VaultError(f"no ZAK for {self._owner}")
        return self._hsm.mac(self._current.block, self._profile, covered)

    def verifies(self, message: Message, body: bytes) -> bool:
        """DE 64 or 128 is the last element and right, under the current key or the one before."""
        if not self.on:
            return True
        self._look()
        mac = message.get(128 if max(message) > 64 else 64)
        if self._current is None or not isinstance(mac, bytes) or len(mac) != len(ZERO_MAC):
            return False
        covered = body[: -len(mac)]
        if self._right(self._current, covered, mac):
            return True
        former = self._former
        if former is None or asyncio.get_running_loop().time() >= self._former_until_s:
            return False
        return self._right(former, covered, mac)

    def _right(self, key: StoredKey, covered: bytes, mac: bytes) -> bool:
        try:
            return self._hsm.verify_mac(key.block, self._profile, covered, mac)
        except VaultError as error:
            _log.error("link_mac_not_checked", owner=self._owner, error=type(error).__name__)
            return False

    def _look(self) -> None:
        snapshot = self._reference()
        if snapshot is not self._seen:
            self._seen = snapshot
            self.refresh(snapshot)

    def refresh(self, snapshot: Snapshot) -> None:
        keys = snapshot.keys(self._owner, KeyUsage.ZAK.value)
        if self._current is None and len(keys) > 1:
            self.use(keys[1])
        if keys:
            self.use(keys[0])

    def take_up(self, key: StoredKey) -> None:
        """A key that the reference data do not show yet."""
        self._look()
        self.use(key)

    def use(self, key: StoredKey) -> None:
        if self._current is None or key.version > self._current.version:
            self._former, self._current = self._current, key
            self._former_until_s = asyncio.get_running_loop().time() + FORMER_KEY_S
