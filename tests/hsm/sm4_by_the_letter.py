"""SM4 a second time, by the letter of GB/T 32907-2016: slow, and with no table copied from anywhere.

The S-box is computed: affine map, inverse in GF(2^8) modulo x^8+x^7+x^6+x^5+x^4+x^2+1, affine map.
"""

from collections.abc import Iterable
from typing import Final


def _times(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a & 0x100:
            a ^= 0x1F5
        b >>= 1
    return product


def _inverse(a: int) -> int:
    power = 1
    for _ in range(254):
        power = _times(power, a)
    return power


def _affine(a: int) -> int:
    # Row i of the matrix is A7 turned left by i; the constant is D3.
    rows = [((0xA7 << turn) | (0xA7 >> (8 - turn))) & 0xFF for turn in range(8)]
    return sum(((row & a).bit_count() & 1) << place for place, row in enumerate(rows)) ^ 0xD3


SBOX: Final = tuple(_affine(_inverse(_affine(byte))) for byte in range(256))
FK: Final = (0xA3B1BAC6, 0x56AA3350, 0x677D9197, 0xB27022DC)
CK: Final = tuple(
    int.from_bytes(bytes((4 * i + j) * 7 % 256 for j in range(4)), "big") for i in range(32)
)


def _turn(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (32 - bits))) & 0xFFFFFFFF


def _tau(word: int) -> int:
    return int.from_bytes(bytes(SBOX[byte] for byte in word.to_bytes(4, "big")), "big")


def _round_keys(key: bytes) -> list[int]:
    words = [int.from_bytes(key[4 * i : 4 * i + 4], "big") ^ FK[i] for i in range(4)]
    for i in range(32):
        mixed = _tau(words[-3] ^ words[-2] ^ words[-1] ^ CK[i])
        words.append(words[-4] ^ mixed ^ _turn(mixed, 13) ^ _turn(mixed, 23))
    return words[4:]


def _block(round_keys: Iterable[int], block: bytes) -> bytes:
    words = [int.from_bytes(block[4 * i : 4 * i + 4], "big") for i in range(4)]
    for round_key in round_keys:
        mixed = _tau(words[-3] ^ words[-2] ^ words[-1] ^ round_key)
        linear = mixed ^ _turn(mixed, 2) ^ _turn(mixed, 10) ^ _turn(mixed, 18) ^ _turn(mixed, 24)
        words.append(words[-4] ^ linear)
    return b"".join(word.to_bytes(4, "big") for word in reversed(words[-4:]))


def encrypt(key: bytes, data: bytes) -> bytes:
    """ECB."""
    keys = _round_keys(key)
    return b"".join(_block(keys, data[at : at + 16]) for at in range(0, len(data), 16))


def decrypt(key: bytes, data: bytes) -> bytes:
    """ECB."""
    keys = _round_keys(key)[::-1]
    return b"".join(_block(keys, data[at : at + 16]) for at in range(0, len(data), 16))
