"""SM3 and SM2 a second time, by the letter of GB/T 32905 and GB/T 32918: affine points, no blinding."""

from typing import Final

P: Final = 2**256 - 2**224 - 2**96 + 2**64 - 1
A: Final = P - 3
B: Final = int("28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93", 16)
N: Final = int("FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123", 16)
G: Final = (
    int("32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7", 16),
    int("BC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0", 16),
)
IV: Final = "7380166F4914B2B9172442D7DA8A0600A96F30BC163138AAE38DEE4DB0FB0E4E"

Point = tuple[int, int] | None  # None is the point at infinity


def add(left: Point, right: Point) -> Point:
    if left is None or right is None:
        return right if left is None else left
    if left[0] == right[0]:
        if (left[1] + right[1]) % P == 0:
            return None
        slope = (3 * left[0] ** 2 + A) * pow(2 * left[1], -1, P)
    else:
        slope = (right[1] - left[1]) * pow(right[0] - left[0], -1, P)
    x = (slope**2 - left[0] - right[0]) % P
    return x, (slope * (left[0] - x) - left[1]) % P


def multiply(k: int, point: Point) -> Point:
    total: Point = None
    for bit in f"{k:b}":
        total = add(total, total)
        if bit == "1":
            total = add(total, point)
    return total


def packed(point: Point) -> bytes:
    assert point is not None
    return b"".join(number.to_bytes(32, "big") for number in point)


def turn(word: int, by: int) -> int:
    by %= 32
    return (word << by | word >> 32 - by) & 0xFFFFFFFF


def sm3(data: bytes) -> bytes:
    padded = data + b"\x80" + bytes(-(len(data) + 9) % 64) + (8 * len(data)).to_bytes(8, "big")
    state = [int(IV[at : at + 8], 16) for at in range(0, 64, 8)]
    for start in range(0, len(padded), 64):
        block = padded[start : start + 64]
        w = [int.from_bytes(block[at : at + 4], "big") for at in range(0, 64, 4)]
        for j in range(16, 68):
            x = w[j - 16] ^ w[j - 9] ^ turn(w[j - 3], 15)
            w.append(x ^ turn(x, 15) ^ turn(x, 23) ^ turn(w[j - 13], 7) ^ w[j - 6])
        a, b, c, d, e, f, g, h = state
        for j in range(64):
            constant = 0x79CC4519 if j < 16 else 0x7A879D8A
            ss1 = turn((turn(a, 12) + e + turn(constant, j)) & 0xFFFFFFFF, 7)
            ss2 = ss1 ^ turn(a, 12)
            ff = a ^ b ^ c if j < 16 else (a & b) | (a & c) | (b & c)
            gg = e ^ f ^ g if j < 16 else (e & f) | (~e & g)
            tt1 = (ff + d + ss2 + (w[j] ^ w[j + 4])) & 0xFFFFFFFF
            tt2 = (gg + h + ss1 + w[j]) & 0xFFFFFFFF
            a, b, c, d = tt1, a, turn(b, 9), c
            e, f, g, h = tt2 ^ turn(tt2, 9) ^ turn(tt2, 17), e, turn(f, 19), g
        state = [old ^ new for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True)]
    return b"".join(word.to_bytes(4, "big") for word in state)


def z(signer: bytes, public: Point) -> bytes:
    curve = b"".join(number.to_bytes(32, "big") for number in (A, B))
    return sm3((8 * len(signer)).to_bytes(2, "big") + signer + curve + packed(G) + packed(public))


def sign(d: int, data: bytes, k: int, signer: bytes) -> tuple[int, int]:
    e = int.from_bytes(sm3(z(signer, multiply(d, G)) + data), "big")
    point = multiply(k, G)
    assert point is not None
    r = (e + point[0]) % N
    return r, pow(1 + d, -1, N) * (k - r * d) % N


def verify(public: Point, data: bytes, r: int, s: int, signer: bytes) -> bool:
    e = int.from_bytes(sm3(z(signer, public) + data), "big")
    point = add(multiply(s, G), multiply((r + s) % N, public))
    return point is not None and (e + point[0]) % N == r


def key_stream(shared: bytes, length: int) -> bytes:
    stream, count = b"", 1
    while len(stream) < length:
        stream += sm3(shared + count.to_bytes(4, "big"))
        count += 1
    return stream[:length]


def encrypt(public: Point, data: bytes, k: int) -> tuple[bytes, bytes, bytes]:
    """C1, C2, C3."""
    shared = packed(multiply(k, public))
    stream = key_stream(shared, len(data))
    c2 = bytes(a ^ b for a, b in zip(data, stream, strict=True))
    return b"\x04" + packed(multiply(k, G)), c2, sm3(shared[:32] + data + shared[32:])
