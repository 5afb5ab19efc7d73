"""PIN blocks of ISO 9564-1, formats 0 to 4, and two of old that are only opened: encode, decode.

Pure functions on clear PINs. They belong to the inside of the vault, and to the far side of the
wire: simulated PIN pads and issuers. Which format may become which: `hsm.pin_translation`.

Clear formats 0 to 3 have 8 bytes, written here as 16 hex digits: control digit, length of the PIN
(4 to 12), PIN, fill. Formats 0 and 3 are XORed with `0000` and the 12 rightmost digits of the PAN
without its check digit. Format 4 has 16 bytes, is bound to the whole PAN and to AES.

Every fault of a block is a `PinBlockError` without its contents: it means a wrong key or PAN.
"""

import re
from collections.abc import Callable
from typing import Final

from hsm import ciphers
from hsm.digits import PIN_LENGTH_MAX, PIN_LENGTH_MIN, check_pin
from hsm.errors import PanError, PinBlockError, PinLengthError, VaultError


def pan_part(pan: str) -> int:
    """The number formats 0 and 3 are XORed with: 12 rightmost digits without the check digit.

    A shorter PAN is zero-filled on the left.

    >>> f"{pan_part('6222021234567890123'):016x}"
    '0000123456789012'
    """
    if not (pan.isdigit() and pan.isascii() and 8 <= len(pan) <= 19):
        raise PanError("a PAN has 8 to 19 digits")
    return int(pan[-13:-1], 16)


def encode_format0(pin: str, pan: str) -> bytes:
    """Control 0, fill F, bound to the PAN.

    >>> encode_format0("1234", "5555555551234567").hex().upper()
    '041261AAAAEDCBA9'
    """
    check_pin(pin)
    field = f"0{len(pin):x}{pin}".ljust(16, "f")
    return (int(field, 16) ^ pan_part(pan)).to_bytes(8, "big")


def decode_format0(block: bytes, pan: str) -> str:
    """The PIN of a clear block; `PinBlockError` for length, control, digits or fill."""
    _check_length(block, 8)
    field = "%016x" % (int.from_bytes(block, "big") ^ pan_part(pan))
    return _open(field, "0", "f")


def _format0_row(length: int) -> tuple[int, int, int]:
    fill = 14 - length
    add = int("6" * (length - 1) + "5" + "0" * (fill - 1) + "1", 16)
    fill_bits = (1 << 4 * fill) - 1
    return add, fill_bits | int("1" * (length + 1) + "0" * fill, 16), fill_bits


# First byte (control 0 and the length) -> what is added, the bits looked at, what they must be.
# One addition finds every fault. 1 on a fill of F alone runs through it into the last digit of the
# PIN; that one gets 5 more and the others 6, so that a digit over 9, and no other, runs over into the
# next place. Where something ran over, the lowest bit of the next place changes.
_FORMAT0_ROWS: Final = {
    length: _format0_row(length) for length in range(PIN_LENGTH_MIN, PIN_LENGTH_MAX + 1)
}


_number: Final = int.from_bytes  # big-endian unless told; by this name a quarter of a call less


def format0_is_valid(clear: bytes, pan_number: int) -> bool:
    """`decode_format0`'s verdict without making a PIN: all that a translation needs."""
    try:
        add, mask, right = _FORMAT0_ROWS[clear[0]]  # the first byte is outside the PAN
    except KeyError:
        return False
    field = _number(clear) ^ pan_number
    return (field + add ^ field) & mask == right


def format0_is_valid_for(clear: bytes, pan: str) -> bool:
    """`format0_is_valid(clear, pan_part(pan))` in fewer calls: for every translation of a switch."""
    if not (pan.isdigit() and pan.isascii() and 8 <= len(pan) <= 19):
        raise PanError("a PAN has 8 to 19 digits")
    try:
        add, mask, right = _FORMAT0_ROWS[clear[0]]
    except KeyError:
        return False
    field = _number(clear) ^ int(pan[-13:-1], 16)
    return (field + add ^ field) & mask == right


def encode_format1(pin: str, fill: bytes) -> bytes:
    """Control 1, not bound to a PAN; `fill` is 7 bytes, unique or random, of which the end is used.

    >>> encode_format1("1234", bytes.fromhex("00005A5A5A5A5A")).hex().upper()
    '1412345A5A5A5A5A'
    """
    check_pin(pin)
    assert len(fill) == 7
    field = f"1{len(pin):x}{pin}"
    return bytes.fromhex(field + fill.hex()[len(field) - 2 :])


def decode_format1(block: bytes) -> str:
    """The PIN of a clear block; its fill may be anything."""
    _check_length(block, 8)
    return _open(block.hex(), "1", "0123456789abcdef")


def encode_format2(pin: str) -> bytes:
    """Control 2, fill F: between a PIN pad and a chip, never on a network."""
    check_pin(pin)
    return bytes.fromhex(f"2{len(pin):x}{pin}".ljust(16, "f"))


def decode_format2(block: bytes) -> str:
    """The PIN of a clear block."""
    _check_length(block, 8)
    return _open(block.hex(), "2", "f")


def encode_format3(pin: str, pan: str, fill: bytes) -> bytes:
    """Control 3, fill of random digits A to F taken from `fill` (10 bytes), bound to the PAN."""
    check_pin(pin)
    assert len(fill) == 10
    letters = "".join("abcdef"[byte % 6] for byte in fill)
    field = f"3{len(pin):x}{pin}"
    return (int(field + letters[: 16 - len(field)], 16) ^ pan_part(pan)).to_bytes(8, "big")


def decode_format3(block: bytes, pan: str) -> str:
    """The PIN of a clear block; its fill must be digits A to F."""
    _check_length(block, 8)
    field = "%016x" % (int.from_bytes(block, "big") ^ pan_part(pan))
    return _open(field, "3", "abcdef")


def format4_pan_field(pan: str) -> bytes:
    """16 bytes: PAN length less 12 (0 below), the PAN, zeros; shorter than 12 is filled left.

    >>> format4_pan_field("4111111111111111").hex()
    '44111111111111111000000000000000'
    """
    pan_part(pan)  # refuses what is no PAN
    padded = pan.rjust(12, "0")
    return bytes.fromhex(f"{len(padded) - 12:x}{padded}".ljust(32, "0"))


def encode_format4(key: bytes, pin: str, pan: str, fill: bytes) -> bytes:
    """16 bytes, enciphered: E(K, E(K, PIN field) XOR PAN field) with an AES key.

    The PIN field is control 4, length, PIN, A to 16 digits, then 8 random bytes (`fill`).
    """
    return seal_format4(ciphers.aes(key).encrypt, pin, pan, fill)


def seal_format4(encrypt: Callable[[bytes], bytes], pin: str, pan: str, fill: bytes) -> bytes:
    """`encode_format4` by a function that enciphers one block."""
    check_pin(pin)
    assert len(fill) == 8
    field = bytes.fromhex(f"4{len(pin):x}{pin}".ljust(16, "a")) + fill
    bound = int.from_bytes(encrypt(field), "big") ^ int.from_bytes(format4_pan_field(pan), "big")
    return encrypt(bound.to_bytes(16, "big"))


def decode_format4(key: bytes, block: bytes, pan: str) -> str:
    """The PIN of an enciphered block; `PinBlockError` for length, control, digits or fill."""
    return open_format4(ciphers.aes(key).decrypt, block, pan)


def open_format4(decrypt: Callable[[bytes], bytes], block: bytes, pan: str) -> str:
    """`decode_format4` by a function that deciphers one block."""
    _check_length(block, 16)
    inner = int.from_bytes(decrypt(block), "big") ^ int.from_bytes(format4_pan_field(pan), "big")
    field = decrypt(inner.to_bytes(16, "big"))
    return _open(field[:8].hex(), "4", "a")


def decode_diebold(block: bytes) -> str:
    """The PIN of a clear block of Diebold and IBM ATMs: its digits, then F to the end; not bound to a PAN.

    >>> decode_diebold(bytes.fromhex("1234FFFFFFFFFFFF"))
    '1234'
    """
    _check_length(block, 8)
    found = _DIEBOLD.fullmatch(block.hex())
    if found is None:
        raise PinBlockError("not 4 to 12 digits and F")
    return found[1]


def decode_plus(block: bytes, pan: str) -> str:
    """The PIN of a clear block of the PLUS network: format 0 with the other end of the PAN.

    It is XORed with `0000` and the 12 leftmost digits of the PAN, which has 13 or more.

    >>> decode_plus(bytes.fromhex("05921A1CBFFFFFED"), "2283400000123456")
    '92389'
    """
    _check_length(block, 8)
    pan_part(pan)  # refuses what is no PAN
    if len(pan) < 13:
        raise VaultError("a PIN block of the PLUS network needs a PAN of 13 digits or more")
    return _open("%016x" % (int.from_bytes(block, "big") ^ int(pan[:12], 16)), "0", "f")


_DIEBOLD: Final = re.compile(r"([0-9]{4,12})f+")


def _check_length(block: bytes, length: int) -> None:
    if len(block) != length:
        raise PinBlockError(f"a PIN block of this format has {length} bytes")


def _open(field: str, control: str, fill: str) -> str:
    if field[0] != control:
        raise PinBlockError("wrong control digit")
    length = int(field[1], 16)
    if not PIN_LENGTH_MIN <= length <= PIN_LENGTH_MAX:
        raise PinLengthError("PIN length outside 4 to 12")
    pin = field[2 : 2 + length]
    # Both are looked at in any case: the time does not tell which of them was wrong.
    decimal, filled = pin.isdecimal(), set(field[2 + length :]) <= set(fill)
    if not decimal:
        raise PinBlockError("a digit of the PIN is not decimal")
    if not filled:
        raise PinBlockError("wrong fill")
    return pin
