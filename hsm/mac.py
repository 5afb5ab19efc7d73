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
from hsm.ciphers import Tdes
from hsm.errors import VaultError
from hsm.mac_profiles import PROFILES, MacAlgorithm, MacProfile

MAC_DATA_MAX: Final = 16_384  # bytes; frames are bounded at 4,096 (rules §19), files at this

MacFunction = Callable[[bytes], bytes]

_HMAC_HASHES: Final = {
    MacAlgorithm.HMAC_SHA256: "sha256",
    MacAlgorithm.HMAC_SHA384: "sha384",
    MacAlgorithm.HMAC_SHA512: "sha512",
    MacAlgorithm.HMAC_SM3: "sm3",
}


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
    whole = function_whole(profile, key)
    if profile.coding == "hex8":
        return lambda data: hexlify(whole(data)[:4]).upper()
    assert profile.coding == "raw8"
    return lambda data: whole(data)[:8]


def function_whole(profile: MacProfile, key: bytes) -> MacFunction:
    """All bytes of the result."""
    algorithm = profile.algorithm
    if algorithm in _HMAC_HASHES:
        return ciphers.Hmac(key, _HMAC_HASHES[algorithm]).digest
    if algorithm is MacAlgorithm.AES_CMAC:
        return ciphers.Aes(key).cmac
    if algorithm is MacAlgorithm.TDES_CMAC:
        return ciphers.Tdes(key).cmac
    if algorithm is MacAlgorithm.UNIONPAY_ECB:
        return unionpay_ecb_function(ciphers.Tdes(key).encrypt, 8)
    if algorithm is MacAlgorithm.UNIONPAY_ECB_SM4:
        return unionpay_ecb_function(ciphers.Sm4(key).encrypt, 16)
    assert profile.padding in (1, 2)
    pad_by = pad_2 if profile.padding == 2 else pad_1
    if algorithm is MacAlgorithm.SM4_CBC:
        sm4 = ciphers.Sm4(key)
        return lambda data: sm4.cbc_mac(pad_by(data, 16))
    if algorithm is MacAlgorithm.X9_9:
        tdes = ciphers.Tdes(key)
        return lambda data: tdes.cbc_mac(pad_by(data))
    assert algorithm is MacAlgorithm.X9_19
    left, both = ciphers.Tdes(key[:8]), ciphers.Tdes(key)
    return lambda data: x9_19_with(left, both, pad_by(data))


# -- padding, ISO 9797-1 clause 6.3 ---------------------------------------------


def pad_1(data: bytes, block: int = 8) -> bytes:
    """Zeros up to whole blocks; whole blocks get none, no data becomes one block.

    Two messages that differ in trailing zero bytes have the same MAC.
    """
    return data + bytes(-len(data) % block) if data else bytes(block)


def pad_2(data: bytes, block: int = 8) -> bytes:
    """One byte 80, then zeros up to whole blocks: always at least one byte."""
    return data + b"\x80" + bytes(-(len(data) + 1) % block)


def pad_3(data: bytes, block: int = 8) -> bytes:
    """A block with the length of the data in bits, then the data as by method 1.

    No data is the length block alone.
    """
    return (len(data) * 8).to_bytes(block, "big") + data + bytes(-len(data) % block)


def pad(data: bytes, padding: int, block: int, vector: bytes | None = None) -> bytes:
    """By the method's number; 0: the data is whole blocks already.

    `vector` is None at the start of a message. Later parts of one can not have method 3, whose length
    stands before all data, and can not be empty where the method adds nothing.
    """
    if padding == 2:
        return pad_2(data, block)
    if padding == 3:
        if vector is not None:
            raise VaultError("padding method 3 needs the whole message at once")
        return pad_3(data, block)
    if vector is not None and not data:
        raise VaultError("the part of a message that ends it has at least one byte")
    if padding == 1:
        return pad_1(data, block)
    if padding != 0:
        raise VaultError("a padding method is 0, 1, 2 or 3")
    if not data or len(data) % block:
        raise VaultError(f"without padding the data is whole blocks of {block} bytes")
    return data


# -- the algorithms, whole results -----------------------------------------------
#
# A long message comes in parts. What stands between them is the last block of CBC: the chaining
# value, which `x9_9_chain` and its like give for a part of whole blocks, and which goes into the
# next part as `vector`.


def unionpay_ecb(key: bytes, data: bytes) -> bytes:
    """All 8 bytes of the UnionPay POS MAC; the wire carries the first 4 as hex (Q/CUP 009).

    1. Pad with zeros to whole blocks and XOR all blocks together.
    2. Write the 8 bytes as 16 upper-case hex characters.
    3. Encrypt the first 8 characters, XOR with the last 8, encrypt again.

    DES with an 8-byte key, Triple DES with a 16-byte one.
    """
    return unionpay_ecb_function(ciphers.tdes(key).encrypt, 8)(data)


def unionpay_ecb_sm4(key: bytes, data: bytes) -> bytes:
    """All 16 bytes of the same shape over SM4: blocks of 16 bytes, 32 hex characters.

    By analogy; no terminal's was seen [unverified]. The wire carries the first 4 bytes as hex.
    """
    return unionpay_ecb_function(ciphers.sm4(key).encrypt, 16)(data)


# Block width -> blocks in a message -> the (shift, mask) of each halving; bounded by MAC_DATA_MAX.
_fold_steps: Final[dict[int, dict[int, tuple[tuple[int, int], ...]]]] = {8: {}, 16: {}}


def unionpay_ecb_function(encrypt: MacFunction, width: int) -> MacFunction:
    known, number = _fold_steps[width], int.from_bytes

    def whole(data: bytes) -> bytes:
        # The message is one integer that is folded in halves: 0.7 µs for 251 bytes, a third of what
        # a loop over its blocks takes. Little endian, so that the padding is what is not there.
        blocks = (len(data) + width - 1) // width
        steps = known.get(blocks)
        if steps is None:
            steps = unionpay_ecb_steps(width, blocks)
        fold = number(data, "little")
        for shift, mask in steps:
            fold = (fold >> shift) ^ (fold & mask)
        text = hexlify(fold.to_bytes(width, "little")).upper()
        middle = number(encrypt(text[:width])) ^ number(text[width:])
        return encrypt(middle.to_bytes(width, "big"))

    return whole


def unionpay_ecb_steps(width: int, blocks: int) -> tuple[tuple[int, int], ...]:
    if blocks * width > MAC_DATA_MAX:
        raise VaultError(f"a MAC covers at most {MAC_DATA_MAX} bytes")
    steps = []
    left = blocks
    while left > 1:
        left = (left + 1) >> 1
        bits = left * width * 8
        steps.append((bits, (1 << bits) - 1))
    return _fold_steps[width].setdefault(blocks, tuple(steps))


def x9_9(key: bytes, data: bytes, padding: int = 1, vector: bytes | None = None) -> bytes:
    """ISO 9797-1 algorithm 1, 8 bytes; a key of 16 or 24 bytes makes every block Triple DES."""
    return ciphers.tdes(key).cbc_mac(pad(data, padding, 8, vector), checked(vector, 8))


def tdes_cbc(key: bytes, data: bytes, padding: int = 1, vector: bytes | None = None) -> bytes:
    """Algorithm 1 over Triple DES alone: not the same as algorithm 3, which is `x9_19`."""
    if len(key) not in (16, 24):
        raise VaultError("a Triple DES MAC needs a key of 16 or 24 bytes")
    return x9_9(key, data, padding, vector)


def x9_9_chain(key: bytes, data: bytes, vector: bytes | None = None) -> bytes:
    """The chaining value after a part of whole blocks, for algorithm 1."""
    return x9_9(key, data, 0, vector)


def x9_19(key: bytes, data: bytes, padding: int = 1, vector: bytes | None = None) -> bytes:
    """ISO 9797-1 algorithm 3, the retail MAC, 8 bytes, under a 16-byte key.

    >>> x9_19(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"),
    ...       b"Now is the time for all ").hex().upper()
    'A1C72E74EA3FA9B6'
    """
    if len(key) != 16:
        raise VaultError("X9.19 needs a 16-byte key")
    left, both = ciphers.tdes(key[:8]), ciphers.tdes(key)
    return x9_19_with(left, both, pad(data, padding, 8, vector), checked(vector, 8))


def x9_19_chain(key: bytes, data: bytes, vector: bytes | None = None) -> bytes:
    """The chaining value after a part of whole blocks, for algorithm 3."""
    if len(key) != 16:
        raise VaultError("X9.19 needs a 16-byte key")
    return x9_9(key[:8], data, 0, vector)


def x9_19_with(left: Tdes, both: Tdes, padded: bytes, vector: bytes | None = None) -> bytes:
    # E(KL) D(KR) E(KL) over the last block is one Triple DES encryption of it.
    before = left.cbc_mac(padded[:-8], vector) if len(padded) > 8 else vector
    if before is None:
        return both.encrypt(padded)
    last = int.from_bytes(before, "big") ^ int.from_bytes(padded[-8:], "big")
    return both.encrypt(last.to_bytes(8, "big"))


def aes_cbc(key: bytes, data: bytes, padding: int = 1, vector: bytes | None = None) -> bytes:
    """ISO 9797-1 algorithm 1 over AES, 16 bytes. With padding 0 it is the chaining value.

    Safe only where every message has the same length (ISO 9797-1 annex C): prefer `aes_cmac`.
    """
    return ciphers.aes(key).cbc_mac(pad(data, padding, 16, vector), checked(vector, 16))


def sm4_cbc(key: bytes, data: bytes, padding: int = 1, vector: bytes | None = None) -> bytes:
    """ISO 9797-1 algorithm 1 over SM4, 16 bytes. With padding 0 it is the chaining value."""
    return ciphers.sm4(key).cbc_mac(pad(data, padding, 16, vector), checked(vector, 16))


def aes_cmac(key: bytes, data: bytes) -> bytes:
    """All 16 bytes of AES-CMAC (RFC 4493)."""
    return ciphers.aes_cmac(key, data)


def tdes_cmac(key: bytes, data: bytes) -> bytes:
    """All 8 bytes of CMAC over Triple DES (NIST SP 800-38B)."""
    return ciphers.tdes_cmac(key, data)


def checked(vector: bytes | None, width: int) -> bytes | None:
    if vector is not None and len(vector) != width:
        raise VaultError(f"a chaining value of this cipher has {width} bytes")
    return vector
