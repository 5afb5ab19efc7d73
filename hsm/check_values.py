"""Key check values: the first bytes of something that only the key can make.

Two parties compare them after a key has travelled; an inventory tells keys apart by them.

    key                 how                                       bytes         source
    DES, Triple DES     E(K, 8 zero bytes)                        3             ANSI X9.24-1
                        the same                                  4             UnionPay POS, DE 62
                        the same                                  8             payShield, 16 digits
    AES                 CMAC(K, 16 zero bytes)                    5             ANSI X9.24-1:2017
                        E(K, 16 zero bytes)                       3 (4 in DE 62) older devices
    SM4                 E(K, 16 zero bytes)                       4             by analogy [unverified]
    HMAC                HMAC-SHA-256 over nothing                 5             X9.143

A check value made of a cipher's block is known text under the key. Of a single-length DES key 3 bytes
are given and never more, since more help whoever searches all keys; 4 only where the wire has them.
"""

from itertools import pairwise
from typing import Final

from hsm import ciphers
from hsm.errors import VaultError

_ZERO_8: Final = bytes(ciphers.DES_BLOCK)
_ZERO_16: Final = bytes(ciphers.AES_BLOCK)
_NO_PARITY: Final = 0xFEFEFEFEFEFEFEFE


def tdes_check_value(key: bytes, length: int = 3, *, on_wire: bool = False) -> bytes:
    """The first 1 to 8 bytes of E(K, eight zero bytes).

    `VaultError` for more than 3 bytes of a single-length key, or of a longer one whose equal parts
    make it one, unless a wire format has them (`on_wire`).

    >>> tdes_check_value(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")).hex().upper()
    '08D7B4'
    """
    assert 0 < length <= ciphers.DES_BLOCK
    if length > 3 and not on_wire and _is_single(key):
        raise VaultError("a single-length key shows 3 bytes of its check value")
    return ciphers.tdes(key).encrypt(_ZERO_8)[:length]


def aes_check_value(key: bytes) -> bytes:
    """The first 5 bytes of CMAC(K, sixteen zero bytes)."""
    return ciphers.aes(key).cmac(_ZERO_16)[:5]


def aes_ecb_check_value(key: bytes, length: int = 3) -> bytes:
    """The older one: the first 1 to 4 bytes of E(K, sixteen zero bytes)."""
    assert 0 < length <= 4
    return ciphers.aes(key).encrypt(_ZERO_16)[:length]


def sm4_check_value(key: bytes, length: int = 4) -> bytes:
    """The first 1 to 4 bytes of E(K, sixteen zero bytes).

    >>> sm4_check_value(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")).hex().upper()
    '2677F46B'
    """
    assert 0 < length <= 4
    return ciphers.sm4(key).encrypt(_ZERO_16)[:length]


def hmac_check_value(key: bytes) -> bytes:
    """The first 5 bytes of HMAC-SHA-256 over nothing (X9.143, check value of an HMAC key)."""
    return ciphers.hmac_sha256(key, b"")[:5]


def _is_single(key: bytes) -> bool:
    # With two neighbouring parts equal, Triple DES is single DES under the part that remains.
    parts = [int.from_bytes(key[at : at + 8], "big") & _NO_PARITY for at in range(0, len(key), 8)]
    return len(parts) == 1 or any(left == right for left, right in pairwise(parts))
