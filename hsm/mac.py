"""Message authentication codes of POS terminals and bank links, as pure functions on clear keys.

`compute` gives the bytes of DE 64 by the name of a profile. Covered in a message: from the MTI to
the byte before DE 64, with its bit set, without TPDU and header.

The UnionPay "ECB" fold has collisions for the asking: exchanging two 8-byte blocks keeps the MAC.
It is here because terminals speak it; nothing internal may use it.
"""

import hmac
from binascii import hexlify
from collections.abc import Callable
from typing import Final

from hsm import ciphers
from hsm.ciphers import Aes, Tdes
from hsm.errors import VaultError
from hsm.mac_profiles import PROFILES, MacAlgorithm, MacProfile

MAC_DATA_MAX: Final = 16_384  # bytes; frames are bounded at 4,096 (rules §19), files at this

MacFunction = Callable[[bytes], bytes]


def compute(profile: str, key: bytes, data: bytes) -> bytes:
    """The 8 bytes to put into DE 64 under a clear key; `b""` for the profile `off`.

    >>> compute("x9.9", bytes.fromhex("0123456789ABCDEF"), b"Now is the time for all ")
    b'70A30640'
    """
    row = profile_named(profile)
    return function(row, key)(data)


def verify(profile: str, key: bytes, data: bytes, mac: bytes) -> bool:
    """Whether `mac` is DE 64 of `data`; the comparison takes the same time for any answer."""
    return hmac.compare_digest(compute(profile, key, data), mac)


def profile_named(name: str) -> MacProfile:
    """The table's row, or `VaultError`."""
    row = PROFILES.get(name)
    if row is None:
        raise VaultError(f"no MAC profile is called {name[:32]!r}")
    return row


def function(profile: MacProfile, key: bytes) -> MacFunction:
    """DE 64 as a function of the data alone, for a clear key whose length the profile knows."""
    if profile.algorithm is MacAlgorithm.NONE:
        return lambda _data: b""
    if len(key) not in profile.mak_bytes:
        raise VaultError(f"MAC profile {profile.name} has no keys of {len(key)} bytes")
    if profile.algorithm is MacAlgorithm.AES_CMAC:
        return function_cmac(ciphers.Aes(key))
    if profile.algorithm is MacAlgorithm.UNIONPAY_ECB:
        return function_unionpay_ecb(ciphers.Tdes(key), profile.coding)
    if profile.algorithm is MacAlgorithm.X9_9:
        return function_x9_9(ciphers.Tdes(key), profile.coding)
    assert profile.algorithm is MacAlgorithm.X9_19
    return function_x9_19(ciphers.Tdes(key[:8]), ciphers.Tdes(key), profile.coding)


def function_cmac(cipher: Aes) -> MacFunction:
    cmac = cipher.cmac
    return lambda data: cmac(data)[:8]


def function_unionpay_ecb(cipher: Tdes, coding: str) -> MacFunction:
    if coding == "hex8":
        return lambda data: hexlify(unionpay_ecb_with(cipher, data)[:4]).upper()
    return lambda data: unionpay_ecb_with(cipher, data)


def function_x9_9(cipher: Tdes, coding: str) -> MacFunction:
    if coding == "hex8":
        return lambda data: hexlify(cipher.cbc_mac(pad_1(data))[:4]).upper()
    return lambda data: cipher.cbc_mac(pad_1(data))


def function_x9_19(left: Tdes, whole: Tdes, coding: str) -> MacFunction:
    if coding == "hex8":
        return lambda data: hexlify(x9_19_with(left, whole, pad_1(data))[:4]).upper()
    return lambda data: x9_19_with(left, whole, pad_1(data))


# -- padding, ISO 9797-1 clause 6.3 ---------------------------------------------


def pad_1(data: bytes) -> bytes:
    """Zeros up to whole 8-byte blocks; whole blocks get none, no data becomes one block.

    Two messages that differ in trailing zero bytes have the same MAC.
    """
    return data + bytes(-len(data) % 8) if data else bytes(8)


def pad_2(data: bytes) -> bytes:
    """One byte 80, then zeros up to whole 8-byte blocks: always at least one byte."""
    return data + b"\x80" + bytes(-(len(data) + 1) % 8)


# -- the algorithms, whole results -----------------------------------------------


def unionpay_ecb(key: bytes, data: bytes) -> bytes:
    """All 8 bytes of the UnionPay POS MAC; the wire carries the first 4 as hex (Q/CUP 009).

    1. Pad with zeros to whole blocks and XOR all blocks together.
    2. Write the 8 bytes as 16 upper-case hex characters.
    3. Encrypt the first 8 characters, XOR with the last 8, encrypt again.

    DES with an 8-byte key, Triple DES with a 16-byte one.
    """
    return unionpay_ecb_with(ciphers.tdes(key), data)


# Blocks in a message -> the (shift, mask) of each halving; at most MAC_DATA_MAX / 8 entries.
_fold_steps: Final[dict[int, tuple[tuple[int, int], ...]]] = {}


def unionpay_ecb_with(cipher: Tdes, data: bytes) -> bytes:
    # The message is one integer that is folded in halves: 1 µs for 267 bytes, half of what a loop
    # over its blocks takes.
    blocks = (len(data) + 7) >> 3
    steps = _fold_steps.get(blocks)
    if steps is None:
        steps = unionpay_ecb_steps(blocks)
    fold = int.from_bytes(data, "big") << ((-len(data) & 7) << 3)
    for shift, mask in steps:
        fold = (fold >> shift) ^ (fold & mask)
    text = b"%016X" % fold
    encrypt = cipher.encrypt
    middle = int.from_bytes(encrypt(text[:8]), "big") ^ int.from_bytes(text[8:], "big")
    return encrypt(middle.to_bytes(8, "big"))


def unionpay_ecb_steps(blocks: int) -> tuple[tuple[int, int], ...]:
    if blocks * 8 > MAC_DATA_MAX:
        raise VaultError(f"a MAC covers at most {MAC_DATA_MAX} bytes")
    steps = []
    left = blocks
    while left > 1:
        left = (left + 1) >> 1
        steps.append((left << 6, (1 << (left << 6)) - 1))
    return _fold_steps.setdefault(blocks, tuple(steps))


def x9_9(key: bytes, data: bytes) -> bytes:
    """ISO 9797-1 algorithm 1, padding 1, 8 bytes; a 16-byte key makes every block Triple DES."""
    return ciphers.tdes(key).cbc_mac(pad_1(data))


def tdes_cbc(key: bytes, data: bytes, padding: int = 1) -> bytes:
    """The last block of Triple DES CBC: not the same as algorithm 3, which is `x9_19`."""
    return ciphers.tdes(key).cbc_mac(pad_2(data) if padding == 2 else pad_1(data))


def x9_19(key: bytes, data: bytes, padding: int = 1) -> bytes:
    """ISO 9797-1 algorithm 3, the retail MAC, 8 bytes, under a 16-byte key.

    >>> x9_19(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"),
    ...       b"Now is the time for all ").hex().upper()
    'A1C72E74EA3FA9B6'
    """
    if len(key) != 16:
        raise VaultError("X9.19 needs a 16-byte key")
    padded = pad_2(data) if padding == 2 else pad_1(data)
    return x9_19_with(ciphers.tdes(key[:8]), ciphers.tdes(key), padded)


def x9_19_with(left: Tdes, whole: Tdes, padded: bytes) -> bytes:
    # E(KL) D(KR) E(KL) over the last block is one Triple DES encryption of it.
    if len(padded) == 8:
        return whole.encrypt(padded)
    last = int.from_bytes(left.cbc_mac(padded[:-8]), "big") ^ int.from_bytes(padded[-8:], "big")
    return whole.encrypt(last.to_bytes(8, "big"))


def aes_cmac(key: bytes, data: bytes) -> bytes:
    """All 16 bytes of AES-CMAC (RFC 4493)."""
    return ciphers.aes_cmac(key, data)
