"""The terminal's side of DUKPT, by the letter of the standards and on PyCryptodome alone.

A terminal never derives from the top: it keeps a register of future keys, takes one, erases it and
fills the registers below (X9.24-1 annex A, X9.24-3 6.5). So it comes to the host's keys another way.
"""

from Crypto.Cipher import AES, DES

C0 = bytes.fromhex("C0C0C0C000000000C0C0C0C000000000")


def xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def non_reversible(key: bytes, register: bytes) -> bytes:
    def half(key: bytes) -> bytes:
        sealed = DES.new(key[:8], DES.MODE_ECB).encrypt(xor(register, key[8:]))
        return xor(bytes(sealed), key[8:])

    right = half(key)
    return half(xor(key, C0)) + right


class TdesTerminal:
    """21 future key registers; `serial` is the KSN with counter 0."""

    ones_max, bits = 10, 21

    def __init__(self, initial_key: bytes, serial: bytes) -> None:
        self.serial = int.from_bytes(serial, "big")
        self.counter = 0
        self.future: dict[int, bytes] = {}
        self.fill(initial_key, 1 << self.bits - 1)
        self.advance(1)

    def make(self, key: bytes, counter: int) -> bytes:
        return non_reversible(key, (self.serial | counter).to_bytes(10, "big")[2:])

    def ksn(self) -> bytes:
        return (self.serial | self.counter).to_bytes(10, "big")

    def fill(self, key: bytes, bit: int) -> None:
        while bit:
            self.future[bit] = self.make(key, self.counter | bit)
            bit >>= 1

    def advance(self, by: int) -> None:
        self.counter += by
        if self.counter >> self.bits:
            raise OverflowError

    def key(self) -> bytes:
        return self.future[self.counter & -self.counter]

    def next_transaction(self) -> None:
        lowest = self.counter & -self.counter
        if self.counter.bit_count() < self.ones_max:
            self.fill(self.future[lowest], lowest >> 1)
            del self.future[lowest]
            self.advance(1)
        else:
            del self.future[lowest]
            self.advance(lowest)


class AesTerminal(TdesTerminal):
    """32 registers; `serial` is the initial key id with four zero bytes."""

    ones_max, bits = 16, 32

    def make(self, key: bytes, counter: int) -> bytes:
        place = (self.serial | counter).to_bytes(12, "big")[4:]
        return derive(
            key, "8000", {16: "00020080", 24: "000300C0", 32: "00040100"}[len(key)], place
        )

    def ksn(self) -> bytes:
        return (self.serial | self.counter).to_bytes(12, "big")


def derive(key: bytes, usage: str, kind: str, place: bytes) -> bytes:
    """`usage` and `kind` (algorithm and length) in hex, as tables 2 and 3 of X9.24-3 print them."""
    length = int(kind[4:], 16) // 8
    made = b""
    while len(made) < length:
        block = bytes((1, len(made) // 16 + 1)) + bytes.fromhex(usage + kind) + place
        made += bytes(AES.new(key, AES.MODE_ECB).encrypt(block))
    return made[:length]
