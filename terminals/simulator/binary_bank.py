"""A bank of the binary kind on the other end of a link: header, BCD, its own codes and key fields.

The decisions, the books and the faults are `bank.Bank`'s; what is on the wire is here, byte by byte,
and shares nothing with the link's codec, its dialects or its forms: two sides that were written from
one page, so that neither can be wrong alone. The page, all numbers big-endian:

**Header**, 9 bytes behind the frame's length: network 2, length 2 (header and message), destination 2,
source 2, session 1. An answer swaps destination and source and echoes the session.

**Message.** MTI 2 bytes BCD. Bitmap 8 bytes, 16 with its first bit. Fixed digits BCD, a zero in front of
an odd count; counts of variable elements BCD, one byte (two digits) or two (three), counting digits,
characters or bytes; behind an odd count of variable digits half a byte that means nothing. `D` separates
a track. Characters are ASCII.

**MAC**, DE 64, or 128 with any element above 64: Triple DES CBC under the ZAK, from zero, over the
message without header up to the MAC, filled up with zeros. **PIN**, DE 52: format 0 under the ZPK, DE 53
begins with 01. **Reversals** are 0400 and 0401. **Network**: 071 sign-on, 072 sign-off, 270 echo, 161 key
change: DE 53 01… a ZPK, 02… a ZAK, DE 96 the key under the ZMK in ECB, DE 48 its check value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from hsm.ciphers import tdes_ecb_decrypt, tdes_ecb_encrypt
from hsm.errors import PinBlockError
from iso8583.errors import DecodeError
from terminals.simulator.bank import Bank, BankOptions

if TYPE_CHECKING:
    import datetime as dt

    from iso8583.message import Message
    from terminals.simulator.dice import Bits

HEADER_BYTES: Final = 9
BEFORE_MTI: Final = -1  # key of a message that was read: its header

Kind = Literal["digits", "track", "text", "bytes"]

# Element → kind, size, digits of its count (0: fixed).
PAGE: Final[dict[int, tuple[Kind, int, int]]] = {
    2: ("digits", 19, 2), 3: ("digits", 6, 0), 4: ("digits", 12, 0), 7: ("digits", 10, 0),
    11: ("digits", 6, 0), 12: ("digits", 6, 0), 13: ("digits", 4, 0), 14: ("digits", 4, 0),
    15: ("digits", 4, 0), 18: ("digits", 4, 0), 22: ("digits", 3, 0), 23: ("digits", 3, 0),
    25: ("digits", 2, 0), 32: ("digits", 11, 2), 33: ("digits", 11, 2), 35: ("track", 37, 2),
    37: ("text", 12, 0), 38: ("text", 6, 0), 39: ("text", 2, 0), 41: ("text", 8, 0),
    42: ("text", 15, 0), 43: ("text", 40, 0), 44: ("text", 25, 2), 48: ("text", 999, 3),
    49: ("text", 3, 0), 52: ("bytes", 8, 0), 53: ("digits", 16, 0), 54: ("text", 120, 3),
    55: ("bytes", 999, 3), 60: ("text", 999, 3), 62: ("text", 999, 3), 64: ("bytes", 8, 0),
    70: ("digits", 3, 0), 90: ("digits", 42, 0), 95: ("text", 42, 0), 96: ("bytes", 16, 0),
    125: ("text", 999, 3), 128: ("bytes", 8, 0),
}  # fmt: skip

# What the wire says → what the bank's desk says, which knows one word for each thing.
NETWORK: Final = {"071": "001", "072": "002", "270": "301", "161": "101"}
NETWORK_BACK: Final = {desk: wire for wire, desk in NETWORK.items()}
CONDITIONS: Final = {"70": "64", "71": "65", "72": "67", "16": "60"}
KINDS: Final = {("02", "30"): "31", ("02", "22"): "20", ("01", "22"): "20"}
KINDS_BACK: Final = {("02", "31"): "30", ("02", "20"): "22", ("01", "20"): "22"}
ANSWERS: Final = {"14": "76", "A0": "63", "99": "81"}  # DE 39, desk → wire
ANSWERS_BACK: Final = {wire: desk for desk, wire in ANSWERS.items()}
KEYS: Final = {"ZPK": "0100000000000000", "ZAK": "0200000000000000"}


def bank_of(options: BankOptions, settlement_date: dt.date, bits: Bits) -> Bank:
    """A bank of the kind that its options say."""
    kinds = {"reference": Bank, "binary_host": BinaryBank}
    return kinds[options.kind](options, settlement_date, bits)


class BinaryBank(Bank):
    """`Bank` behind the wire of the page above."""

    def __init__(self, options: BankOptions, settlement_date: dt.date, bits: Bits) -> None:
        super().__init__(options, settlement_date, bits)
        self._network = bytes.fromhex(options.network)
        self._station = bytes.fromhex(options.station)
        self._peer = bytes.fromhex(options.peer)
        self._sessions = 0  # of messages that we begin
        self._asked: dict[tuple[str, str], int] = {}  # (DE 7, DE 11) of ours → session

    # -- in ---------------------------------------------------------------------------------------

    def read(self, body: bytes) -> Message:
        """What came, as the desk says it. DecodeError: not of the page."""
        header = body[:HEADER_BYTES]
        if len(body) < HEADER_BYTES + 10:
            raise DecodeError(None, len(body), "too short")
        if header[:2] != self._network or header[4:8] != self._station + self._peer:
            raise DecodeError(None, 0, "header: not from our peer to us")
        if int.from_bytes(header[2:4], "big") != len(body):
            raise DecodeError(None, 2, "header: another length")
        wire = read_message(body[HEADER_BYTES:])
        desk = from_wire(wire)
        desk[BEFORE_MTI] = header
        return desk

    def overheard(self, body: bytes) -> Message:
        return from_wire(read_message(body[HEADER_BYTES:]))

    def answered(self, answer: Message) -> None:
        """Our session must have come back."""
        header, asked = answer[BEFORE_MTI], (str(answer.get(7)), str(answer.get(11)))
        assert isinstance(header, bytes)
        if asked in self._asked and self._asked.pop(asked) != header[8]:
            self.faults["session not echoed"] += 1
            return
        super().answered(answer)

    def mac_right(self, request: Message, body: bytes) -> bool:
        sent = request.get(128, request.get(64))
        if not isinstance(sent, bytes):
            return False
        for key in self._good("ZAK"):
            if cbc_mac(key, body[HEADER_BYTES:-8]) == sent:
                self._in_use("ZAK", key)
                return True
        return False

    def open_pin(self, sealed: bytes, pan: str) -> str:
        """Format 0: 0, length, PIN, F…; under 0000 and twelve digits of the card number."""
        twelve = bytes.fromhex(pan[-13:-1].rjust(16, "0"))
        for key in self._good("ZPK"):
            opened = tdes_ecb_decrypt(key, sealed)
            digits = bytes(a ^ b for a, b in zip(opened, twelve, strict=True)).hex()
            size = int(digits[1], 16)
            pin, fill = digits[2 : 2 + size], digits[2 + size :]
            if digits[0] == "0" and 4 <= size <= 12 and pin.isdecimal() and not fill.strip("f"):
                self._in_use("ZPK", key)
                return pin
        raise PinBlockError("no key of the link opens it")

    # -- out --------------------------------------------------------------------------------------

    def framed(
        self,
        message: Message,
        *,
        signed: bool = True,
        spoilt: bool = False,
        to: Message | None = None,
    ) -> bytes:
        wire = to_wire(message)
        if signed:
            wire[128 if max(wire) > 64 else 64] = bytes(8)
        body = write_message(wire)
        if signed:
            right = cbc_mac(self._keys["ZAK"][0], body[:-8])
            body = body[:-8] + (bytes([right[0] ^ 0xFF]) + right[1:] if spoilt else right)
        header = self._header(message, len(body) + HEADER_BYTES, to)
        return (len(header) + len(body)).to_bytes(2, "big") + header + body

    def _header(self, message: Message, size: int, to: Message | None) -> bytes:
        counted = self._network + size.to_bytes(2, "big")
        if to is not None:
            asked = to[BEFORE_MTI]
            assert isinstance(asked, bytes)
            return counted + asked[6:8] + asked[4:6] + asked[8:9]
        self._sessions = self._sessions % 255 + 1
        self._asked[str(message.get(7)), str(message.get(11))] = self._sessions
        return counted + self._peer + self._station + bytes([self._sessions])

    # -- keys under the ZMK -------------------------------------------------------------------------

    def key_out(self, usage: Literal["ZPK", "ZAK"], key: bytes) -> str:
        sealed = tdes_ecb_encrypt(bytes.fromhex(self.options.zmk), key)
        return sealed.hex().upper() + check_value(key)

    def key_in(self, usage: str, content: str) -> bytes | None:
        key = tdes_ecb_decrypt(bytes.fromhex(self.options.zmk), bytes.fromhex(content[:32]))
        return key if check_value(key) == content[32:] else None


# -- desk and wire --------------------------------------------------------------------------------


def from_wire(wire: Message) -> Message:
    desk = dict(wire)
    mti = str(wire[0])
    if mti[:3] in ("040", "041"):
        desk[0] = "04" + str(int(mti[2]) + 2) + mti[3]
    if 3 in wire:
        began = str(wire[90])[:2] if mti[1] == "4" and 90 in wire else mti[:2]
        code = str(wire[3])
        desk[3] = KINDS.get((began, code[:2]), code[:2]) + code[2:] if mti[2] in "0" else code
    if 25 in wire:
        desk[25] = CONDITIONS.get(str(wire[25]), wire[25])
    if 39 in wire:
        desk[39] = ANSWERS_BACK.get(str(wire[39]), wire[39])
    if 70 in wire:
        desk[70] = NETWORK.get(str(wire[70]), wire[70])
    if 125 in wire:
        desk[59] = desk.pop(125)
    usage = {value: name for name, value in KEYS.items()}.get(str(wire.get(53)))
    key = wire.get(96)
    if isinstance(key, bytes) and usage is not None:
        desk[48] = usage + key.hex().upper() + str(wire.get(48, ""))
    return desk


def to_wire(desk: Message) -> Message:
    wire = {de: value for de, value in desk.items() if de >= 0}
    mti = str(desk[0])
    if mti[:3] in ("042", "043"):
        wire[0] = "04" + str(int(mti[2]) - 2) + mti[3]
    if 3 in desk and mti[2] in "13":
        code = str(desk[3])
        wire[3] = _code_of_answer(mti, code)
    if 39 in desk:
        wire[39] = ANSWERS.get(str(desk[39]), desk[39])
    if 70 in desk:
        wire[70] = NETWORK_BACK.get(str(desk[70]), desk[70])
    if 59 in desk:
        wire[125] = wire.pop(59)
    if 70 in desk and 48 in desk and desk[70] == "101" and mti[2] in "02":
        content = str(desk[48])
        wire[53], wire[96] = KEYS[content[:3]], bytes.fromhex(content[3:35])
        wire[48] = content[35:]
    return wire


def _code_of_answer(mti: str, code: str) -> str:
    """As it was asked: of a reversal, which does not say any more what it reverses, whatever has it."""
    if mti[1] == "4":
        back = {desk: wire for (_, desk), wire in KINDS_BACK.items()}
        return back.get(code[:2], code[:2]) + code[2:]
    if mti[2] == "3":
        return code
    return KINDS_BACK.get((mti[:2], code[:2]), code[:2]) + code[2:]


# -- bytes ----------------------------------------------------------------------------------------


def read_message(data: bytes) -> Message:
    """MTI, bitmap, elements. DecodeError."""
    message: Message = {0: data[:2].hex()}
    at = 10
    present = int.from_bytes(data[2:10], "big")
    if present >> 63:
        present = present << 64 | int.from_bytes(data[10:18], "big")
        at, top = 18, 128
    else:
        top = 64
    for de in range(2, top + 1):
        if present >> (top - de) & 1:
            message[de], at = _read(de, data, at)
    if at != len(data):
        raise DecodeError(None, at, "bytes left over")
    return message


def _read(de: int, data: bytes, at: int) -> tuple[str | bytes, int]:
    if de not in PAGE:
        raise DecodeError(de, at, "not on the page")
    kind, size, counted = PAGE[de]
    if counted:
        width = (counted + 1) // 2
        digits = data[at : at + width].hex()
        if not digits.isdecimal() or int(digits) > size:
            raise DecodeError(de, at, "count")
        size, at = int(digits), at + width
    width = (size + 1) // 2 if kind in ("digits", "track") else size
    taken = data[at : at + width]
    if len(taken) < width:
        raise DecodeError(de, at, "ends too soon")
    if kind == "bytes":
        return taken, at + width
    if kind == "text":
        if not taken.isascii():
            raise DecodeError(de, at, "text")
        return taken.decode("ascii"), at + width
    digits = taken.hex()
    digits = digits[:size] if counted else digits[-size:]
    if kind == "track":
        return digits.replace("d", "="), at + width
    if not digits.isdecimal():
        raise DecodeError(de, at, "digits")
    return digits, at + width


def write_message(message: Message) -> bytes:
    elements = sorted(de for de in message if de > 0)
    top = 128 if elements[-1] > 64 else 64
    present = sum(1 << (top - de) for de in elements) | (1 << 127 if top == 128 else 0)
    parts = [bytes.fromhex(str(message[0])), present.to_bytes(top // 8, "big")]
    return b"".join([*parts, *(_written(de, message[de]) for de in elements)])


def _written(de: int, value: str | bytes) -> bytes:
    kind, size, counted = PAGE[de]
    count = b""
    if counted:
        count = bytes.fromhex(str(len(value)).rjust((counted + 1) // 2 * 2, "0"))
    else:
        assert len(value) == size, f"DE {de}"
    if isinstance(value, bytes):
        return count + value
    if kind == "text":
        return count + value.encode("ascii")
    digits = value.replace("=", "D")
    if len(digits) % 2:
        digits = digits + "0" if counted else "0" + digits
    return count + bytes.fromhex(digits)


def cbc_mac(key: bytes, data: bytes) -> bytes:
    """The last block of Triple DES CBC from zero, `data` filled up with zeros."""
    data += bytes(-len(data) % 8)
    block = bytes(8)
    for at in range(0, len(data), 8):
        mixed = bytes(a ^ b for a, b in zip(block, data[at : at + 8], strict=True))
        block = tdes_ecb_encrypt(key, mixed)
    return block


def check_value(key: bytes) -> str:
    return tdes_ecb_encrypt(key, bytes(8))[:3].hex().upper()
