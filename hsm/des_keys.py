"""What a DES or Triple DES key must look like: length, parity, and no shorter key in disguise.

Pure functions on clear keys. The kinds of `WeakKeyError` are what a network device tells apart by
codes of its own: `KeyLengthError` 02, `KeyParityError` 10 or 11, `MasqueradingKeyError` 75.
"""

from typing import Final

from hsm.errors import (
    KeyLengthError,
    KeyParityError,
    MasqueradingKeyError,
    WeakKeyError,
)

# FIPS 74: four weak and twelve semi-weak keys, with odd parity.
_WEAK_HEX: Final = (
    "0101010101010101FEFEFEFEFEFEFEFEE0E0E0E0F1F1F1F11F1F1F1F0E0E0E0E"
    "011F011F010E010E1F011F010E010E0101E001E001F101F1E001E001F101F101"
    "01FE01FE01FE01FEFE01FE01FE01FE011FE01FE00EF10EF1E01FE01FF10EF10E"
    "1FFE1FFE0EFE0EFEFE1FFE1FFE0EFE0EE0FEE0FEF1FEF1FEFEE0FEE0FEF1FEF1"
)
WEAK_KEYS: Final = frozenset(
    bytes.fromhex(_WEAK_HEX[start : start + 16]) for start in range(0, 256, 16)
)
_ODD: Final = bytes(byte if byte.bit_count() % 2 else byte ^ 1 for byte in range(256))

# Key length in bytes -> the pairs of parts (8 bytes each) that may not be equal, and what the key
# would be if they were. EDE with K1 = K2 or K2 = K3 is single DES, with K1 = K3 two-key Triple DES.
_DISGUISES: Final = {
    8: (),
    16: ((0, 1, "single"),),
    24: ((0, 1, "single"), (1, 2, "single"), (0, 2, "double")),
}


def with_odd_parity(key: bytes) -> bytes:
    """The key with the lowest bit of every byte set so that the byte's bits are odd in number."""
    return key.translate(_ODD)


def has_odd_parity(key: bytes) -> bool:
    """Whether every byte has an odd number of bits set."""
    return key.translate(_ODD) == key


def des_key_fault(key: bytes) -> WeakKeyError | None:
    """Why this DES or Triple DES key is refused, as the error to raise, or None.

    Refused, in this order: a wrong length, all zero, a weak or semi-weak part, equal parts (a shorter
    key in disguise; PCI PIN), even parity. Parts are compared without their parity bits.

    >>> des_key_fault(bytes(16))
    WeakKeyError('all zero')
    >>> des_key_fault(bytes.fromhex("0123456789ABCDEF0123456789ABCDEF"))
    MasqueradingKeyError('parts 1 and 2 are equal, a single-length key in disguise')
    """
    disguises = _DISGUISES.get(len(key))
    if disguises is None:
        return KeyLengthError("a DES key has 8, 16 or 24 bytes")
    if not any(key):
        return WeakKeyError("all zero")
    odd = with_odd_parity(key)
    parts = [odd[start : start + 8] for start in range(0, len(odd), 8)]
    for number, part in enumerate(parts, 1):
        if part in WEAK_KEYS:
            return WeakKeyError("a weak key" if len(parts) == 1 else f"part {number} is weak")
    for left, right, shorter in disguises:
        if parts[left] == parts[right]:
            return MasqueradingKeyError(
                f"parts {left + 1} and {right + 1} are equal, a {shorter}-length key in disguise"
            )
    return None if odd == key else KeyParityError("wrong parity")
