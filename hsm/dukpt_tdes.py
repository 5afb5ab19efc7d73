"""DUKPT with Triple DES (ANSI X9.24-1:2009, annex A): a key for each transaction from one base key.

A terminal holds an initial key made of the base derivation key (BDK) and its key serial number, and
goes from key to key so that none leads back to an earlier one. It sends the KSN, and the host
makes the same key again from the BDK.

KSN, 10 bytes: key set and device (59 bits), transaction counter (the 21 rightmost bits). Shorter
ones are filled with F on the left. The counter is never 0 in a transaction and has at most ten one
bits, so a host needs at most ten steps; there are 1,048,575 such counters.

Keys carry no parity here, as the standard's own examples.
"""

from enum import Enum
from typing import Final

from hsm import ciphers
from hsm.errors import VaultError

KSN_BYTES: Final = 10
COUNTER_BITS: Final = 21
COUNTER_MASK: Final = (1 << COUNTER_BITS) - 1
COUNTER_ONES_MAX: Final = 10
INTERMEDIATE_KEYS_MAX: Final = 4096  # cached for one BDK; a device in use has at most ten

_REGISTER_MASK: Final = (1 << 64) - 1
_C0: Final = 0xC0C0C0C000000000
_C0_TWICE: Final = _C0 << 64 | _C0


class TdesUsage(Enum):
    """What a working key is for; the value is XORed on each half of the transaction key (A.4.1)."""

    PIN = 0x00000000000000FF
    MAC_REQUEST = 0x000000000000FF00  # or both ways
    MAC_RESPONSE = 0x00000000FF000000
    DATA_REQUEST = 0x0000000000FF0000  # or both ways
    DATA_RESPONSE = 0x000000FF00000000


def parse_ksn(text: str) -> bytes:
    """The 10 bytes of a KSN written as 6 to 20 hex digits; a shorter one is filled with F.

    >>> parse_ksn("9876543210E00001").hex().upper()
    'FFFF9876543210E00001'
    """
    if not 6 <= len(text) <= 20 or not all(c in "0123456789abcdefABCDEF" for c in text):
        raise VaultError("a KSN of Triple DES DUKPT has 6 to 20 hex digits")
    return bytes.fromhex(text.rjust(20, "F"))


def device_of(ksn: bytes) -> bytes:
    """The KSN with its counter cleared: the same for every transaction of an initial key."""
    number = _number(ksn)
    return (number ^ number & COUNTER_MASK).to_bytes(KSN_BYTES, "big")


def counter_of(ksn: bytes) -> int:
    """The transaction counter; `VaultError` if no transaction can have it."""
    counter = _number(ksn) & COUNTER_MASK
    if counter == 0:
        raise VaultError("the KSN's counter is 0: it names an initial key, not a transaction")
    if counter.bit_count() > COUNTER_ONES_MAX:
        raise VaultError(f"the KSN's counter has more than {COUNTER_ONES_MAX} one bits")
    return counter


def next_ksn(ksn: bytes) -> bytes:
    """The KSN a terminal uses next; `VaultError` when its keys are used up."""
    number = _number(ksn)
    counter = (number & COUNTER_MASK) + 1
    while counter.bit_count() > COUNTER_ONES_MAX:
        counter += counter & -counter  # those between have these ones and more
    if counter > COUNTER_MASK:
        raise VaultError("the device has used all its keys; it needs a new initial key")
    return (number & ~COUNTER_MASK | counter).to_bytes(KSN_BYTES, "big")


def initial_key(bdk: bytes, ksn: bytes) -> bytes:
    """The initial key (IPEK), 16 bytes, of the device the KSN names; its counter does not matter.

    >>> initial_key(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"),
    ...             bytes.fromhex("FFFF9876543210E00000")).hex().upper()
    '6AC292FAA1315B4D858AB3A3D7D5933A'
    """
    _check_key(bdk, "base derivation key")
    block = device_of(ksn)[:8]
    other = (int.from_bytes(bdk, "big") ^ _C0_TWICE).to_bytes(16, "big")
    return ciphers.Tdes(bdk).encrypt(block) + ciphers.Tdes(other).encrypt(block)


def transaction_key(initial: bytes, ksn: bytes) -> bytes:
    """The key of one transaction from the initial key: what a terminal's register holds.

    >>> transaction_key(bytes.fromhex("6AC292FAA1315B4D858AB3A3D7D5933A"),
    ...                 bytes.fromhex("FFFF9876543210E00001")).hex().upper()
    '042666B49184CFA368DE9628D0397BC9'
    """
    _check_key(initial, "initial key")
    counter = counter_of(ksn)
    register = _number(ksn) - counter
    key = int.from_bytes(initial, "big")
    for bit in range(COUNTER_BITS - 1, -1, -1):
        if counter >> bit & 1:
            register |= 1 << bit
            key = _step(key, register)
    return key.to_bytes(16, "big")


def working_key(transaction: bytes, usage: TdesUsage) -> bytes:
    """The key that encrypts a PIN or data, or makes a MAC (ISO 9797-1 algorithm 3).

    A data key is its variant encrypted under itself, half by half (A.4.1).
    """
    _check_key(transaction, "transaction key")
    variant = usage.value << 64 | usage.value
    key = (int.from_bytes(transaction, "big") ^ variant).to_bytes(16, "big")
    if usage in (TdesUsage.DATA_REQUEST, TdesUsage.DATA_RESPONSE):
        return ciphers.Tdes(key).encrypt(key)
    return key


class TdesDukpt:
    """One base derivation key with its contexts and the keys on the way to recent transactions.

    The next transaction of a device mostly starts from a key that is kept, so it takes one or two
    steps instead of up to ten. A transaction's own key is not kept. The object is the only owner
    of what it keeps: whoever drops the BDK drops all. It belongs to one thread.
    """

    __slots__ = ("_kept", "_left", "_right", "kept_max")

    def __init__(self, bdk: bytes, kept_max: int = INTERMEDIATE_KEYS_MAX) -> None:
        _check_key(bdk, "base derivation key")
        assert kept_max > 0
        self.kept_max = kept_max
        self._left = ciphers.Tdes(bdk)
        self._right = ciphers.Tdes((int.from_bytes(bdk, "big") ^ _C0_TWICE).to_bytes(16, "big"))
        self._kept: dict[int, int] = {}  # KSN with some of its counter's bits -> the key there

    def __repr__(self) -> str:
        return "TdesDukpt(…)"

    def initial_key(self, ksn: bytes) -> bytes:
        """As the module's `initial_key`."""
        block = device_of(ksn)[:8]
        return self._left.encrypt(block) + self._right.encrypt(block)

    def transaction_key(self, ksn: bytes) -> bytes:
        """The key of the transaction that the KSN names."""
        counter_of(ksn)
        number = _number(ksn)
        return _step(self._before(number), number).to_bytes(16, "big")

    def working_key(self, ksn: bytes, usage: TdesUsage) -> bytes:
        """The working key of the transaction that the KSN names."""
        return working_key(self.transaction_key(ksn), usage)

    def _before(self, number: int) -> int:
        """The key one step before: the counter without its lowest one bit. At most ten deep."""
        parent = number & (number - 1)
        key = self._kept.get(parent)
        if key is None:
            if parent & COUNTER_MASK:
                key = _step(self._before(parent), parent)
            else:
                key = int.from_bytes(self.initial_key(parent.to_bytes(KSN_BYTES, "big")), "big")
            if len(self._kept) >= self.kept_max:
                del self._kept[next(iter(self._kept))]
            self._kept[parent] = key
        return key


def _step(key: int, register: int) -> int:
    """Non-reversible key generation (A.2): the key of a KSN from the one with a one bit less."""
    block = register & _REGISTER_MASK
    right = _step_half(key, block)
    left = _step_half(key ^ _C0_TWICE, block)
    return left << 64 | right


def _step_half(key: int, block: int) -> int:
    right = key & _REGISTER_MASK
    sealed = ciphers.Tdes((key >> 64).to_bytes(8, "big")).encrypt(
        (block ^ right).to_bytes(8, "big")
    )
    return int.from_bytes(sealed, "big") ^ right


def _number(ksn: bytes) -> int:
    if len(ksn) != KSN_BYTES:
        raise VaultError(f"a KSN of Triple DES DUKPT has {KSN_BYTES} bytes")
    return int.from_bytes(ksn, "big")


def _check_key(key: bytes, name: str) -> None:
    if len(key) != 16:
        raise VaultError(f"the {name} of Triple DES DUKPT has 16 bytes")
