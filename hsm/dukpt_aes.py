"""DUKPT with AES (ANSI X9.24-3:2017): a key for each transaction and purpose from one base key.

KSN, 12 bytes: initial key id (8 bytes: BDK id 4, derivation id 4), transaction counter (4). The
counter is never 0 in a transaction and has at most sixteen one bits.

Every key is made by one function: AES-ECB, under the key above it, of the derivation data (6.3.2,
tables 2 and 3), one block for each 16 bytes, the last one cut:

    offset  bytes
    0       1      version, 01
    1       1      block, from 01
    2       2      usage of the key that is made
    4       2      its algorithm
    6       2      its length in bits
    8       8      initial key id; or derivation id (4) and counter (4)

The keys on the way are of the BDK's own length. A working key is never stronger than the BDK (6.2).
"""

from enum import Enum
from typing import Final

from hsm import ciphers
from hsm.errors import VaultError

KSN_BYTES: Final = 12
INITIAL_KEY_ID_BYTES: Final = 8
COUNTER_MASK: Final = 0xFFFFFFFF
COUNTER_ONES_MAX: Final = 16
INTERMEDIATE_KEYS_MAX: Final = 4096  # cached for one BDK; a device in use has at most sixteen

_DERIVATION: Final = 0x8000
_DERIVATION_INITIAL: Final = 0x8001


class AesUsage(Enum):
    """What a working key is for: the usage indicator of the derivation data."""

    KEY_ENCRYPTION = 0x0002
    PIN = 0x1000
    MAC_GENERATE = 0x2000  # as the terminal sees it
    MAC_VERIFY = 0x2001
    MAC_BOTH = 0x2002
    DATA_ENCRYPT = 0x3000
    DATA_DECRYPT = 0x3001
    DATA_BOTH = 0x3002


class AesKeyType(Enum):
    """Algorithm indicator, length in bits, strength in bits (NIST SP 800-57 part 1) of a key.

    One indicator stands for HMAC, and the length tells its keys apart; no published example has one
    [unverified].
    """

    TDES2 = (0, 128, 80)
    TDES3 = (1, 192, 112)
    AES128 = (2, 128, 128)
    AES192 = (3, 192, 192)
    AES256 = (4, 256, 256)
    HMAC128 = (5, 128, 128)
    HMAC192 = (5, 192, 192)
    HMAC256 = (5, 256, 256)

    @property
    def algorithm(self) -> int:
        return self.value[0]

    @property
    def bits(self) -> int:
        return self.value[1]

    @property
    def strength(self) -> int:
        return self.value[2]


_OF_LENGTH: Final = {16: AesKeyType.AES128, 24: AesKeyType.AES192, 32: AesKeyType.AES256}
_HMAC: Final = frozenset({AesKeyType.HMAC128, AesKeyType.HMAC192, AesKeyType.HMAC256})
_MAC: Final = frozenset({AesUsage.MAC_GENERATE, AesUsage.MAC_VERIFY, AesUsage.MAC_BOTH})


def parse_ksn(text: str) -> bytes:
    """The 12 bytes of a KSN written as 24 hex digits.

    >>> parse_ksn("123456789012345600000001").hex()
    '123456789012345600000001'
    """
    if len(text) != 24 or not all(c in "0123456789abcdefABCDEF" for c in text):
        raise VaultError("a KSN of AES DUKPT has 24 hex digits")
    return bytes.fromhex(text)


def device_of(ksn: bytes) -> bytes:
    """The initial key id: the same for every transaction of an initial key."""
    _check_ksn(ksn)
    return ksn[:INITIAL_KEY_ID_BYTES]


def counter_of(ksn: bytes) -> int:
    """The transaction counter; `VaultError` if no transaction can have it."""
    _check_ksn(ksn)
    counter = int.from_bytes(ksn[INITIAL_KEY_ID_BYTES:], "big")
    if counter == 0:
        raise VaultError("the KSN's counter is 0: it names an initial key, not a transaction")
    if counter.bit_count() > COUNTER_ONES_MAX:
        raise VaultError(f"the KSN's counter has more than {COUNTER_ONES_MAX} one bits")
    return counter


def next_ksn(ksn: bytes) -> bytes:
    """The KSN a terminal uses next; `VaultError` when its keys are used up."""
    _check_ksn(ksn)
    counter = int.from_bytes(ksn[INITIAL_KEY_ID_BYTES:], "big") + 1
    while counter.bit_count() > COUNTER_ONES_MAX:
        counter += counter & -counter  # those between have these ones and more
    if counter > COUNTER_MASK:
        raise VaultError("the device has used all its keys; it needs a new initial key")
    return ksn[:INITIAL_KEY_ID_BYTES] + counter.to_bytes(4, "big")


def initial_key(bdk: bytes, initial_key_id: bytes) -> bytes:
    """The initial key, as long as the BDK, of the device with this 8-byte id.

    >>> initial_key(bytes.fromhex("FEDCBA9876543210F1F1F1F1F1F1F1F1"),
    ...             bytes.fromhex("1234567890123456")).hex().upper()
    '1273671EA26AC29AFA4D1084127652A1'
    """
    key_type = _type_of(bdk, "base derivation key")
    if len(initial_key_id) != INITIAL_KEY_ID_BYTES:
        raise VaultError(f"an initial key id of AES DUKPT has {INITIAL_KEY_ID_BYTES} bytes")
    return _derive(ciphers.Aes(bdk), _DERIVATION_INITIAL, key_type, initial_key_id)


def derivation_key(initial: bytes, ksn: bytes) -> bytes:
    """The derivation key of one transaction from the initial key: what a terminal's register holds.

    >>> derivation_key(bytes.fromhex("1273671EA26AC29AFA4D1084127652A1"),
    ...                bytes.fromhex("123456789012345600000001")).hex().upper()
    '4F21B565BAD9835E112B6465635EAE44'
    """
    _type_of(initial, "initial key")
    left = counter_of(ksn)
    key, counter = initial, 0
    while left:
        bit = 1 << left.bit_length() - 1
        left ^= bit
        counter |= bit
        key = _step(key, ksn, counter)
    return key


def working_key(derivation: bytes, ksn: bytes, usage: AesUsage, key_type: AesKeyType) -> bytes:
    """The key of one purpose in the transaction that the KSN names, from its derivation key.

    `VaultError` if it would be stronger than the BDK, or an HMAC key for anything but MACs.
    """
    own_type = _type_of(derivation, "derivation key")
    counter_of(ksn)
    if key_type.strength > own_type.strength:
        raise VaultError(f"a key {key_type.name} would be stronger than its {own_type.name} BDK")
    if key_type in _HMAC and usage not in _MAC:
        raise VaultError(f"a key {key_type.name} makes MACs; it can not serve {usage.name}")
    return _derive(ciphers.Aes(derivation), usage.value, key_type, ksn[4:])


class AesDukpt:
    """One base derivation key with its context and the keys on the way to recent transactions.

    The next transaction of a device mostly starts from a key that is kept, so it takes one or two
    steps instead of up to sixteen. A transaction's own keys are not kept. The object is the only
    owner of what it keeps: whoever drops the BDK drops all. It belongs to one thread.
    """

    __slots__ = ("_bdk", "_kept", "_type", "kept_max")

    def __init__(self, bdk: bytes, kept_max: int = INTERMEDIATE_KEYS_MAX) -> None:
        assert kept_max > 0
        self._type = _type_of(bdk, "base derivation key")
        self._bdk = ciphers.Aes(bdk)
        self.kept_max = kept_max
        self._kept: dict[bytes, bytes] = {}  # KSN with some of its counter's bits -> the key there

    def __repr__(self) -> str:
        return "AesDukpt(…)"

    def initial_key(self, ksn: bytes) -> bytes:
        """The initial key of the device the KSN names."""
        return _derive(self._bdk, _DERIVATION_INITIAL, self._type, device_of(ksn))

    def derivation_key(self, ksn: bytes) -> bytes:
        """The derivation key of the transaction that the KSN names."""
        counter = counter_of(ksn)
        return _step(self._before(ksn, counter), ksn, counter)

    def working_key(self, ksn: bytes, usage: AesUsage, key_type: AesKeyType) -> bytes:
        """As the module's `working_key`."""
        return working_key(self.derivation_key(ksn), ksn, usage, key_type)

    def _before(self, ksn: bytes, counter: int) -> bytes:
        """The key one step before: the counter without its lowest one bit. At most sixteen deep."""
        counter &= counter - 1
        place = ksn[:INITIAL_KEY_ID_BYTES] + counter.to_bytes(4, "big")
        key = self._kept.get(place)
        if key is None:
            if counter:
                key = _step(self._before(ksn, counter), ksn, counter)
            else:
                key = self.initial_key(ksn)
            if len(self._kept) >= self.kept_max:
                del self._kept[next(iter(self._kept))]
            self._kept[place] = key
        return key


def _step(key: bytes, ksn: bytes, counter: int) -> bytes:
    """The key of a counter from the one with a one bit less."""
    place = ksn[4:8] + counter.to_bytes(4, "big")
    return _derive(ciphers.Aes(key), _DERIVATION, _OF_LENGTH[len(key)], place)


def _derive(cipher: ciphers.Aes, usage: int, key_type: AesKeyType, place: bytes) -> bytes:
    tail = (
        usage.to_bytes(2, "big")
        + key_type.algorithm.to_bytes(2, "big")
        + key_type.bits.to_bytes(2, "big")
        + place
    )
    blocks = (key_type.bits + 127) // 128
    data = b"".join(bytes((1, block)) + tail for block in range(1, blocks + 1))
    return cipher.encrypt(data)[: key_type.bits // 8]


def _check_ksn(ksn: bytes) -> None:
    if len(ksn) != KSN_BYTES:
        raise VaultError(f"a KSN of AES DUKPT has {KSN_BYTES} bytes")


def _type_of(key: bytes, name: str) -> AesKeyType:
    found = _OF_LENGTH.get(len(key))
    if found is None:
        raise VaultError(f"the {name} of AES DUKPT has 16, 24 or 32 bytes")
    return found
