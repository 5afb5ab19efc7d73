"""The keys of a link: the ZAK in force and, for a while after a change, those before; those under way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

from hsm.errors import VaultError
from hsm.keys import KeyUsage
from terminals.registry import StoredKey

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from hsm.ports import Hsm
    from iso8583.message import Message
    from switch.reference import Link, Snapshot

_log = structlog.get_logger(__name__)

MAC_ELEMENTS: Final = (64, 128)  # the second where an element above 64 is present
MAC_BYTES: Final = 8
ZERO_MAC: Final = bytes(MAC_BYTES)  # stands there while the MAC is made
FORMER_KEY_S: Final = 60.0  # a replaced ZAK still verifies this long (`reference/link.md`)
FORMERS_MAX: Final = 4  # replaced so fast, one after the other
VERIFYING_MAX: Final = 4_096  # messages of one link at the vault; what comes then does not count


class LinkMac:
    """Signs and verifies; takes up newer keys from the reference data by itself.

    `unsigned_bytes`: of a message before its MTI, which no MAC covers.
    """

    def __init__(
        self, link: Link, hsm: Hsm, reference: Callable[[], Snapshot], unsigned_bytes: int = 0
    ) -> None:
        self.on = link.mac_algorithm != "off"
        self._owner = f"link:{link.acquirer}"
        self._profile = link.mac_algorithm
        self._hsm = hsm
        self._reference = reference
        self._seen: Snapshot | None = None
        self._current: StoredKey | None = None
        self._formers: list[tuple[StoredKey, float]] = []  # until when each still verifies
        self._waiting: list[StoredKey] = []  # sent to the host, whose 0810 we do not have
        self.on_waiting: Callable[[StoredKey], None] = lambda _key: None
        self._shown: frozenset[int] = frozenset()  # versions that the reference data last showed
        self._verifying = 0
        self._unsigned_bytes = unsigned_bytes

    def sign(self, covered: bytes) -> bytes | Awaitable[bytes]:
        if self._reference() is not self._seen:
            self._look()
        current = self._current
        if current is None:
            raise VaultError(f"no ZAK for {self._owner}")
        if self._unsigned_bytes:
            covered = covered[self._unsigned_bytes :]
        return self._hsm.mac(current.block, self._profile, covered)

    def verifies(self, message: Message, body: bytes) -> bool | Coroutine[Any, Any, bool]:
        """DE 64 or 128 is the last element and right, under the current key, one before it, or one under way.

        A coroutine where the vault takes its time. A key that comes into force while it looks is tried
        too.
        """
        if not self.on:
            return True
        last = next(reversed(message))
        mac = message[last]
        if last not in MAC_ELEMENTS or not isinstance(mac, bytes) or len(mac) != MAC_BYTES:
            return False
        if self._verifying >= VERIFYING_MAX:
            self._not_checked("too many at the vault")
            return False
        covered = body[self._unsigned_bytes : -MAC_BYTES]
        for key in self._good():
            try:
                right = self._hsm.verify_mac(key.block, self._profile, covered, mac)
            except VaultError as error:
                self._not_checked(type(error).__name__)
                continue
            if not isinstance(right, bool):
                return self._in_time(right, key, covered, mac)
            if right:
                if self._waiting:
                    self._found(key)
                return True
        return False

    async def _in_time(
        self, first: Awaitable[bool], key: StoredKey, covered: bytes, mac: bytes
    ) -> bool:
        """The same where the vault takes its time: `first` is what it gave to await."""
        self._verifying += 1
        asked: bool | Awaitable[bool] | None = first
        tried: list[StoredKey] = []
        try:
            while True:
                tried.append(key)
                try:
                    if asked is None:
                        asked = self._hsm.verify_mac(key.block, self._profile, covered, mac)
                    if asked if isinstance(asked, bool) else await asked:
                        self._found(key)
                        return True
                except VaultError as error:
                    self._not_checked(type(error).__name__)
                untried = [key for key in self._good() if key not in tried]
                if not untried:
                    return False
                key, asked = untried[0], None
        finally:
            self._verifying -= 1

    def _not_checked(self, error: str) -> None:
        _log.error("link_mac_not_checked", owner=self._owner, error=error)

    def _found(self, key: StoredKey) -> None:
        if key in self._waiting:
            self.on_waiting(key)

    def _good(self) -> list[StoredKey]:
        """What verifies now, in the order in which it is tried."""
        if self._reference() is not self._seen:
            self._look()
        good = [] if self._current is None else [self._current]
        if self._formers:
            now_s = asyncio.get_running_loop().time()
            good += [former for former, until_s in self._formers if now_s < until_s]
        return good + self._waiting if self._waiting else good

    def _look(self) -> None:
        self._seen = self._reference()
        self.refresh(self._seen)

    def refresh(self, snapshot: Snapshot) -> None:
        keys = snapshot.keys(self._owner, KeyUsage.ZAK.value)
        shown = {key.version: key for key in keys}
        self._current = self._as_shown(self._current, shown)
        formers = [(self._as_shown(key, shown), until_s) for key, until_s in self._formers]
        self._formers = [(key, until_s) for key, until_s in formers if key is not None]
        self._waiting = snapshot.waiting_keys(self._owner, KeyUsage.ZAK.value)
        self._shown = frozenset(shown)
        if self._current is None and len(keys) > 1:
            self.use(keys[1])
        if keys:
            self.use(keys[0])

    def _as_shown(self, key: StoredKey | None, shown: dict[int, StoredKey]) -> StoredKey | None:
        """In the form it is stored in now; None once it was shown and is no more: it has ended."""
        if key is None or (key.version in self._shown and key.version not in shown):
            return None
        return shown.get(key.version, key)

    def take_up(self, key: StoredKey) -> None:
        """A key that the reference data do not show yet."""
        if self._reference() is not self._seen:
            self._look()
        self.use(key)

    def use(self, key: StoredKey) -> None:
        if self._current is None or key.version > self._current.version:
            now_s = asyncio.get_running_loop().time()
            former, self._current = self._current, key
            good = [(one, until_s) for one, until_s in self._formers if now_s < until_s]
            if former is not None:
                good.insert(0, (former, now_s + FORMER_KEY_S))
            self._formers = good[:FORMERS_MAX]


async def sent_key(
    hsm: Hsm, acquirer: str, zmk_block: str, usage: str, content: str
) -> StoredKey | None:
    """A key the host sent under the ZMK, as the store takes it; None where it is not good.

    `content`: TR-31 as text; or hex under the ZMK in ECB with six hex digits of check value.
    """
    cryptogram: bytes | str = content
    check_value: str | None = None
    if len(content) in (38, 54) and all(c in "0123456789ABCDEFabcdef" for c in content):
        cryptogram, check_value = bytes.fromhex(content[:-6]), content[-6:].upper()
    try:
        key = await hsm.import_key(KeyUsage[usage], zmk_block, cryptogram, check_value=check_value)
    except (VaultError, ValueError) as error:
        _log.warning("link_key_refused", acquirer=acquirer, error=type(error).__name__)
        return None
    return StoredKey(
        owner=f"link:{acquirer}",
        usage=usage,
        version=0,
        block=key.block,
        check_value=key.check_value,
        lmk_id=key.lmk_id,
    )
