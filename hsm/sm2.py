"""SM2 on the curve sm2p256v1 (GB/T 32918.2, .4, .5): key pairs, signatures, encryption.

In plain Python, because `cryptography` has no SM2. Python's integers do not take constant time:
how long a multiplication takes depends on the numbers. So whoever can time many operations with
one private key may learn of it. Against that every secret scalar is blinded (a random multiple of
the group's order is added, the point begins with a random Z, the inverse is of a random multiple),
which hides it from averages; it does not make the code constant-time. Long-lived SM2 keys of value
belong into a device.

Forms, all big-endian:
    private key   32 bytes, 1 to n - 2
    public key    65 bytes: 04, x (32), y (32); or 64 without the 04
    signature     64 bytes: r, s
    ciphertext    C1 (65, a point), C3 (32, the check), C2 (as long as the data). Before 2012 C3
                  stood last, and some peers still send that

`random` gives as many random bytes as it is asked for.
"""

import hmac
from collections.abc import Callable
from typing import Final

from hsm import ciphers
from hsm.errors import VaultError

P: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A: Final = P - 3
B: Final = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G: Final = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)

SIGNER: Final = b"1234567812345678"  # the id of a signer who has no other (GM/T 0009)
SIGNER_MAX: Final = 8191  # bytes: its length in bits has two bytes
DATA_MAX: Final = 65_536  # bytes that are signed or encrypted at once
CIPHERTEXT_OVERHEAD: Final = 65 + 32

_TRIES: Final = 16  # of a random number below n; one fails in 4,000,000,000
_BLIND_BYTES: Final = 8
_DIGITS: Final = (256 + 8 * _BLIND_BYTES + 4) // 4  # of a blinded scalar, to base 16

Random = Callable[[int], bytes]
Point = tuple[int, int]  # affine; never the point at infinity
_Jacobian = tuple[int, int, int]  # x / z², y / z³; z = 0 is the point at infinity

_INFINITY: Final[_Jacobian] = (1, 1, 0)


# -- keys -------------------------------------------------------------------------------------


def generate(random: Random) -> bytes:
    """A private key."""
    for _ in range(_TRIES):
        private = _scalar(random)
        if private <= N - 2:
            return private.to_bytes(32, "big")
    raise VaultError("the source of random bytes is broken")


def public_key(private: bytes, random: Random) -> bytes:
    """The 65 bytes of the public key."""
    return _point_bytes(_multiply(_private(private), G, random))


def check_public(public: bytes) -> Point:
    """The point of a public key; `VaultError` unless it is one and lies on the curve."""
    if len(public) == 64:
        public = b"\x04" + public
    if len(public) != 65 or public[0] != 4:
        raise VaultError("an SM2 public key is 04, x and y of 32 bytes each, or x and y alone")
    x, y = int.from_bytes(public[1:33], "big"), int.from_bytes(public[33:], "big")
    if x >= P or y >= P or (y * y - (x * x + A) * x - B) % P:
        raise VaultError("the SM2 public key is no point of the curve")
    return x, y


# -- signatures, GB/T 32918.2 ------------------------------------------------------------------


def digest(public: bytes, data: bytes, signer: bytes = SIGNER) -> bytes:
    """What is signed: SM3 over Z and the data, where Z is SM3 over signer, curve and public key."""
    if len(signer) > SIGNER_MAX:
        raise VaultError(f"the id of an SM2 signer has at most {SIGNER_MAX} bytes")
    if len(data) > DATA_MAX:
        raise VaultError(f"SM2 signs at most {DATA_MAX} bytes at once")
    point = check_public(public)
    numbers = b"".join(number.to_bytes(32, "big") for number in (A, B, *G, *point))
    z = ciphers.sm3((8 * len(signer)).to_bytes(2, "big") + signer + numbers)
    return ciphers.sm3(z + data)


def sign(private: bytes, data: bytes, random: Random, signer: bytes = SIGNER) -> bytes:
    """r and s, 64 bytes; another signature each time."""
    e = digest(public_key(private, random), data, signer)
    return sign_digest(private, e, random)


def sign_digest(private: bytes, hashed: bytes, random: Random) -> bytes:
    """The signature of a `digest`."""
    d = _private(private)
    e = _digest_number(hashed)
    for _ in range(_TRIES):
        k = _scalar(random)
        r = (e + _multiply(k, G, random)[0]) % N
        if r == 0 or r + k == N:
            continue
        blind = _scalar(random)
        inverse = pow(blind * (1 + d) % N, -1, N) * blind % N
        s = (inverse * (k + r) - r) % N  # = (k - r d) / (1 + d)
        if s:
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    raise VaultError("the source of random bytes is broken")


def verify(public: bytes, data: bytes, signature: bytes, signer: bytes = SIGNER) -> bool:
    """Whether the signature holds; `VaultError` for a public key that is none."""
    return verify_digest(public, digest(public, data, signer), signature)


def verify_digest(public: bytes, hashed: bytes, signature: bytes) -> bool:
    """Whether the signature of a `digest` holds."""
    point = check_public(public)
    e = _digest_number(hashed)
    if len(signature) != 64:
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    t = (r + s) % N
    if not (0 < r < N and 0 < s < N and t):
        return False
    total = _add(_ladder(s, (*G, 1)), _ladder(t, (*point, 1)))
    return total[2] != 0 and (e + _affine(total)[0]) % N == r


# -- encryption, GB/T 32918.4 --------------------------------------------------------------------


def encrypt(public: bytes, data: bytes, random: Random) -> bytes:
    """C1, C3, C2 of 1 to `DATA_MAX` bytes; another ciphertext each time."""
    point = check_public(public)
    if not 0 < len(data) <= DATA_MAX:
        raise VaultError(f"SM2 encrypts 1 to {DATA_MAX} bytes")
    for _ in range(_TRIES):
        k = _scalar(random)
        c1 = _point_bytes(_multiply(k, G, random))
        shared = _point_bytes(_multiply(k, point, random))[1:]
        mask = _mask(shared, len(data))
        if any(mask):
            check = ciphers.sm3(shared[:32] + data + shared[32:])
            return c1 + check + _xor(data, mask)
    raise VaultError("the source of random bytes is broken")


def decrypt(private: bytes, data: bytes, random: Random, *, check_last: bool = False) -> bytes:
    """The clear data; `VaultError` if it was changed or is for another key.

    `check_last`: the ciphertext has the old order C1, C2, C3.
    """
    d = _private(private)
    if not CIPHERTEXT_OVERHEAD < len(data) <= CIPHERTEXT_OVERHEAD + DATA_MAX:
        raise VaultError(f"an SM2 ciphertext has {CIPHERTEXT_OVERHEAD} bytes more than its data")
    point = check_public(data[:65])
    check, sealed = (data[-32:], data[65:-32]) if check_last else (data[65:97], data[97:])
    shared = _point_bytes(_multiply(d, point, random))[1:]
    mask = _mask(shared, len(sealed))
    clear = _xor(sealed, mask)
    right = hmac.compare_digest(ciphers.sm3(shared[:32] + clear + shared[32:]), check)
    if not (right and any(mask)):
        raise VaultError("the SM2 ciphertext was changed, or belongs to another key")
    return clear


def _mask(shared: bytes, length: int) -> bytes:
    """The key derivation function: SM3 over the shared point and a counter from 1."""
    blocks = (length + 31) // 32
    made = [ciphers.sm3(shared + count.to_bytes(4, "big")) for count in range(1, blocks + 1)]
    return b"".join(made)[:length]


def _xor(left: bytes, right: bytes) -> bytes:
    mixed = int.from_bytes(left, "big") ^ int.from_bytes(right, "big")
    return mixed.to_bytes(len(left), "big")


# -- the curve: y² = x³ - 3x + b, Jacobian coordinates ----------------------------------------------


def _multiply(k: int, point: Point, random: Random) -> Point:
    """k times a point, for 0 < k < n, with k and the point's coordinates blinded."""
    z = _scalar(random)
    square = z * z % P
    start = (point[0] * square % P, point[1] * square * z % P, z)
    blind = int.from_bytes(random(_BLIND_BYTES), "big")
    return _affine(_ladder(k + blind * N, start))


def _ladder(k: int, point: _Jacobian) -> _Jacobian:
    """Four bits of k a step, always as many steps."""
    table = [_INFINITY, point]
    for number in range(2, 16):
        half = table[number >> 1]
        table.append(_add(table[number - 1], point) if number & 1 else _double(half))
    total = _INFINITY
    for place in range(_DIGITS - 1, -1, -1):
        total = _double(_double(_double(_double(total))))
        total = _add(total, table[k >> 4 * place & 15])
    return total


def _double(point: _Jacobian) -> _Jacobian:
    x, y, z = point
    delta, gamma = z * z % P, y * y % P
    beta = x * gamma % P
    alpha = 3 * (x - delta) * (x + delta) % P
    x3 = (alpha * alpha - 8 * beta) % P
    return x3, (alpha * (4 * beta - x3) - 8 * gamma * gamma) % P, 2 * y * z % P


def _add(left: _Jacobian, right: _Jacobian) -> _Jacobian:
    x1, y1, z1 = left
    x2, y2, z2 = right
    if z1 == 0:
        return right
    if z2 == 0:
        return left
    square1, square2 = z1 * z1 % P, z2 * z2 % P
    u1, s1 = x1 * square2 % P, y1 * square2 * z2 % P
    h = (x2 * square1 - u1) % P
    r = (y2 * square1 * z1 - s1) % P
    if h == 0:
        return _double(left) if r == 0 else _INFINITY
    hh = h * h % P
    hhh, v = h * hh % P, u1 * hh % P
    x3 = (r * r - hhh - 2 * v) % P
    return x3, (r * (v - x3) - s1 * hhh) % P, z1 * z2 * h % P


def _affine(point: _Jacobian) -> Point:
    x, y, z = point
    assert z, "a multiple below the order is never the point at infinity"
    inverse = pow(z, -1, P)
    square = inverse * inverse % P
    return x * square % P, y * square * inverse % P


# -- numbers and bytes ---------------------------------------------------------------------------------


def _scalar(random: Random) -> int:
    """A random number from 1 to n - 1."""
    for _ in range(_TRIES):
        number = int.from_bytes(random(32), "big")
        if 0 < number < N:
            return number
    raise VaultError("the source of random bytes is broken")


def _private(private: bytes) -> int:
    d = int.from_bytes(private, "big")
    if len(private) != 32 or not 0 < d <= N - 2:
        raise VaultError("an SM2 private key has 32 bytes, and is neither 0 nor above n - 2")
    return d


def _digest_number(hashed: bytes) -> int:
    if len(hashed) != 32:
        raise VaultError("what SM2 signs is a digest of 32 bytes")
    return int.from_bytes(hashed, "big")


def _point_bytes(point: Point) -> bytes:
    return b"\x04" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")
