"""What host commands work with: the two key forms of one LMK, and what a command wants of a key.

A key arrives as text. `S` and a block is a TR-31 block under the AES LMK (id 01), whose header says what
it is for. Hex with a scheme letter (or none) is the variant scheme (id 00), where nothing but the LMK pair
and variant of its type binds a key to its purpose: the command says which types it takes.
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from hsm.des_keys import des_key_fault
from hsm.dukpt_aes import AesDukpt
from hsm.dukpt_replay import Purpose, ReplayGuard
from hsm.dukpt_tdes import TdesDukpt
from hsm.errors import (
    KeyBlockError,
    KeyLengthError,
    KeyParityError,
    KeyUsageError,
    MasqueradingKeyError,
    ReplayError,
    VaultError,
)
from hsm.host.codes import HostError
from hsm.host.failures import PinFailures
from hsm.keys import USAGES, Algorithm, KeyUsage, Operation
from hsm.lmk import Lmk
from hsm.variant import VariantLmk
from hsm.vault import KEYS_MAX, KeyTable, OpenKey

DERIVERS_MAX: Final = 64  # BDKs with their derived keys kept, some 500 kB each at most


class KeyUse(msgspec.Struct, frozen=True):
    """What a field of a command wants of the key in it."""

    usage: KeyUsage  # what a variant key of these types is taken for
    operation: Operation
    types: tuple[str, ...]  # key type codes of the variant scheme, tried in this order
    parity: str = "10"  # code for a key that does not open: 10 source, 11 destination


TPK: Final = KeyUse(KeyUsage.TPK, Operation.PIN_DECRYPT, ("002", "70D"))
ZPK: Final = KeyUse(KeyUsage.ZPK, Operation.PIN_DECRYPT, ("001",))
ZPK_TO: Final = KeyUse(KeyUsage.ZPK, Operation.PIN_ENCRYPT, ("001",), "11")
BDK: Final = KeyUse(KeyUsage.BDK, Operation.DERIVE_DUKPT, ("009", "609", "809"))
PVK_IBM: Final = KeyUse(KeyUsage.PVK_IBM, Operation.PIN_VERIFY_IBM, ("002",), "11")
PVK_VISA: Final = KeyUse(KeyUsage.PVK_VISA, Operation.PIN_VERIFY_VISA, ("002",), "11")
CVK: Final = KeyUse(KeyUsage.CVK, Operation.CARD_VALUE, ("402",))
TAK: Final = KeyUse(KeyUsage.MAK, Operation.MAC_GENERATE, ("003",))
ZAK: Final = KeyUse(KeyUsage.ZAK, Operation.MAC_GENERATE, ("008",))
TAK_TO: Final = KeyUse(KeyUsage.MAK, Operation.MAC_GENERATE, ("003",), "11")
TAK_CHECK: Final = KeyUse(KeyUsage.MAK, Operation.MAC_VERIFY, ("003",))
ZAK_CHECK: Final = KeyUse(KeyUsage.ZAK, Operation.MAC_VERIFY, ("008",))
TMK_OUT: Final = KeyUse(KeyUsage.TMK, Operation.KEY_WRAP, ("002", "80D"))
TMK_IN: Final = KeyUse(KeyUsage.TMK, Operation.KEY_UNWRAP, ("002", "80D"))
ZMK_IN: Final = KeyUse(KeyUsage.ZMK, Operation.KEY_UNWRAP, ("000",))
ZMK_OUT: Final = KeyUse(KeyUsage.ZMK, Operation.KEY_WRAP, ("000",))
MK_AC: Final = KeyUse(KeyUsage.MK_AC, Operation.DERIVE_AC, ("109",))
MK_SMI: Final = KeyUse(KeyUsage.MK_SMI, Operation.DERIVE_SMI, ("209",))
MK_SMC: Final = KeyUse(KeyUsage.MK_SMC, Operation.DERIVE_SMC, ("309",), "11")


class Identity(msgspec.Struct, frozen=True):
    """What diagnostics say of the device: that it is this software, and how its port is set."""

    firmware: str = "TB00-0000"  # 9 characters, as devices number theirs: see `firmware_of`
    buffer_bytes: int = 32_768
    connections_max: int = 64


def firmware_of(version: str) -> str:
    """A version of this software as devices number theirs, in 9 characters.

    >>> firmware_of("1.2.3"), firmware_of("unknown")
    ('TB01-0203', 'TB00-0000')
    """
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version, re.ASCII)
    major, minor, patch = (min(int(part), 99) for part in found.groups()) if found else (0, 0, 0)
    return f"TB{major:02}-{minor:02}{patch:02}"


class PinSettings(msgspec.Struct, frozen=True):
    """How a device keeps and checks PINs; clients must know the first two."""

    stored_digits: int = 13  # of a PIN under the LMK: the longest PIN and one, 5 to 13
    clear_tables: bool = False  # decimalisation tables come in clear, not under the LMK
    failures_max: int = 0  # wrong PINs of one account in a row, then 39; 0: not counted


class HostVault:
    """Keys, entropy and authorised state behind one host port. It belongs to one thread.

    `monotonic_s` is a clock that does not go back; authorised state ends by it. `replay` remembers the counters
    of DUKPT devices; None: a counter may come any number of times.
    """

    def __init__(
        self,
        lmk: Lmk,
        variant: VariantLmk,
        entropy: Callable[[int], bytes],
        monotonic_s: Callable[[], float],
        *,
        keys_max: int = KEYS_MAX,
        allow_weak: bool = False,
        identity: Identity | None = None,
        replay: ReplayGuard | None = None,
        pins: PinSettings | None = None,
    ) -> None:
        self.keys = KeyTable(lmk, entropy, keys_max)
        self.variant = variant
        self.entropy = entropy
        self.allow_weak = allow_weak
        self.identity = identity or Identity()
        self.former: HostVault | None = None
        self.replay = replay
        self.pins = pins or PinSettings()
        self.failures = PinFailures(self.pins.failures_max, monotonic_s)
        self._monotonic_s = monotonic_s
        self._authorised_until_s = 0.0
        self._keys_max = keys_max
        self._opened: dict[tuple[KeyUse, str], OpenKey] = {}
        self._derivers: dict[OpenKey, TdesDukpt | AesDukpt] = {}

    def take_over_from(self, former: Lmk | None) -> None:
        """Let keys come in that are under the LMK before this one (command BW), or, with None, no more."""
        self.former = (
            None
            if former is None
            else HostVault(
                former,
                VariantLmk.of(former),
                self.entropy,
                self._monotonic_s,
                allow_weak=self.allow_weak,
            )
        )

    def key(self, text: str, use: KeyUse) -> OpenKey:
        """The opened key, or `HostError`; opened once and kept, the oldest forgotten at the bound."""
        opened = self._opened
        found = opened.get((use, text))
        if found is None:
            found = (
                self.open_block(text[1:], use) if text[0] == "S" else self.open_variant(text, use)
            )
            if len(opened) >= self._keys_max:
                del opened[next(iter(opened))]
            opened[use, text] = found
        return found

    def open_block(self, block: str, use: KeyUse) -> OpenKey:
        try:
            found = self.keys.unwrap(block)
        except KeyBlockError:
            raise HostError("A4") from None
        try:
            found.require(use.operation)
        except KeyUsageError:
            raise HostError("A6") from None
        return found

    def open_variant(self, text: str, use: KeyUse) -> OpenKey:
        """A key of the first of the types under which it has odd parity."""
        for key_type in use.types:
            try:
                clear = self.variant.decrypt_key(text.upper(), key_type)
            except KeyParityError:
                continue
            except KeyLengthError:
                raise HostError("27") from None
            except VaultError:
                raise HostError("26") from None
            algorithm = Algorithm.DES if len(clear) == 8 else Algorithm.TDES
            if len(clear) not in USAGES[use.usage].lengths.get(algorithm, ()):
                raise HostError("27")
            if not self.allow_weak:
                self.refuse_weak(clear, use)
            return OpenKey(use.usage, algorithm, clear)
        raise HostError(use.parity)

    @staticmethod
    def refuse_weak(clear: bytes, use: KeyUse) -> None:
        fault = des_key_fault(clear)
        if fault is not None:
            raise HostError("75" if isinstance(fault, MasqueradingKeyError) else use.parity)

    # -- DUKPT -------------------------------------------------------------------------

    def deriver(self, base: OpenKey) -> TdesDukpt | AesDukpt:
        """What derives a BDK's keys, with those on the way to recent transactions."""
        found = self._derivers.get(base)
        if found is None:
            if len(self._derivers) >= DERIVERS_MAX:
                del self._derivers[next(iter(self._derivers))]
            kind = AesDukpt if base.algorithm is Algorithm.AES else TdesDukpt
            found = self._derivers[base] = kind(base.key)
        return found

    def check_counter(self, base: OpenKey, purpose: Purpose, ksn: bytes) -> None:
        """`ReplayError` (code 39) for a counter that was used or passed; before any work with the BDK."""
        if self.replay is not None:
            self.replay.check(base.check_value(), purpose, ksn)

    def accept_counter(self, base: OpenKey, purpose: Purpose, ksn: bytes) -> None:
        """Remember a counter, once its PIN block opened or its MAC was right; `ReplayError` as above.

        A counter that can not be stored is a fault of the device's own (code 41).
        """
        if self.replay is None:
            return
        try:
            self.replay.accept(base.check_value(), purpose, ksn)
        except ReplayError:
            raise
        except VaultError as error:
            raise OSError(str(error)) from error

    # -- authorised state ------------------------------------------------------------

    @property
    def authorised(self) -> bool:
        """Whether two officers have let sensitive commands through, and their time is not over."""
        return self._monotonic_s() < self._authorised_until_s

    def authorise(self, duration_s: float) -> None:
        """Let commands through that need the authorised state, for a while."""
        self._authorised_until_s = self._monotonic_s() + duration_s

    def cancel_authorised(self) -> None:
        """Command RA."""
        self._authorised_until_s = 0.0
