"""What an issuer keeps of a PIN, and how a PIN is checked, made and changed: IBM 3624 and Visa PVV.

Pure functions on clear keys and PINs: for the inside of the vault and for simulated issuers. What is
kept (an offset, a PVV) is no secret; the key and the decimalisation table are. Whoever may choose the
table finds a PIN in some 15 tries (the decimalisation table attack), so a table that tells too much is
refused and a caller outside the vault must not choose it.

Lengths, counts: PIN 4 to 12 digits; `account` is the 12 rightmost digits of the PAN without its check
digit, as host commands have it (`hsm.digits.account_of`). Errors are `VaultError` and its kinds
`PinError`, `PanError`, `DecimalisationTableError`; a wrong PIN is an answer, False or None.
Comparisons take the same time for any answer.
"""

import hmac
import re
from collections.abc import Callable, Container
from typing import Final

from hsm import ciphers
from hsm.digits import (
    are_digits,
    check_account,
    check_digits,
    check_pin,
    check_pin_length,
    decimalise,
)
from hsm.errors import DecimalisationTableError, PanError, VaultError

# A table with few values, or one value in many places, lets a PIN be guessed. The limits are those
# of payShields, as their host command descriptions (DA, DE) state them.
TABLE_VALUES_MIN: Final = 8  # different digits in it
TABLE_REPEATS_MAX: Final = 4  # places that one digit may have

PVV_DIGITS: Final = 4
PVV_ACCOUNT_DIGITS: Final = 11  # of an account number of 12, on the right
PVV_PIN_DIGITS: Final = 4  # of the PIN, on the left; the others are not covered
RANDOM_PIN_TRIES_MAX: Final = 100

_HEX: Final = frozenset("0123456789ABCDEF")
_VALIDATION: Final = re.compile(r"[0-9A-Fa-f]{16}")

# -- IBM 3624 --------------------------------------------------------------------------------


def check_table(table: str) -> None:
    """`DecimalisationTableError` unless it is 16 digits within the limits above.

    >>> check_table("0123456789012345")
    >>> check_table("0000000000000001")
    Traceback (most recent call last):
    ...
    hsm.errors.DecimalisationTableError: a decimalisation table has at least 8 different digits
    """
    if not are_digits(table, 16, 16):
        raise DecimalisationTableError("a decimalisation table has 16 digits")
    different = set(table)
    if len(different) < TABLE_VALUES_MIN:
        raise DecimalisationTableError(
            f"a decimalisation table has at least {TABLE_VALUES_MIN} different digits"
        )
    if max(map(table.count, different)) > TABLE_REPEATS_MAX:
        raise DecimalisationTableError(
            f"a decimalisation table has no digit more than {TABLE_REPEATS_MAX} times"
        )


def insert_account(template: str, account: str) -> str:
    """Validation data as host commands give it: 12 characters, hex digits and one `N`.

    The `N` stands for the 5 rightmost digits of the account number.

    >>> insert_account("1122334455N6", "998877665544")
    '1122334455655446'
    """
    check_account(account)
    template = template.upper()
    if len(template) != 12 or template.count("N") != 1 or not set(template) - {"N"} <= _HEX:
        raise VaultError("validation data has 12 characters: 11 hex digits and one N")
    return template.replace("N", account[-5:])


def validation_data(pan: str, start: int = 0, length: int = 16, pad: str = "F") -> str:
    """Validation data from digits of the PAN, filled on the right to 16 with the pad character.

    Which digits and which pad character is the issuer's choice. `PanError` where they are not there.

    >>> validation_data("41234567890123", 1, 11, "D")
    '12345678901DDDDD'
    """
    if not are_digits(pan, 12, 19):
        raise PanError("a PAN has 12 to 19 digits")
    if not (start >= 0 and 0 < length <= 16 and start + length <= len(pan)):
        raise PanError("the PAN does not have the digits that validation data is made of")
    if len(pad) != 1 or pad.upper() not in _HEX:
        raise VaultError("a pad character is one hex digit")
    return pan[start : start + length].ljust(16, pad.upper())


def natural_pin(pvk: bytes, validation: str, table: str, length: int) -> str:
    """The PIN that the key itself gives: 16 hex digits enciphered, each replaced by the table's.

    >>> natural_pin(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"),
    ...             "1122334455667788", "1234567890123456", 4)
    '4524'
    """
    check_pin_length(length)
    check_table(table)
    if len(pvk) not in (16, 24):
        raise VaultError("a PIN verification key has 16 or 24 bytes")
    if not _VALIDATION.fullmatch(validation):
        raise VaultError("validation data has 16 hex digits")
    text = ciphers.tdes_ecb_encrypt(pvk, bytes.fromhex(validation)).hex().encode()
    return text.translate(bytes.maketrans(b"0123456789abcdef", table.encode()))[:length].decode()


def pin_of_offset(pvk: bytes, validation: str, table: str, offset: str, length: int) -> str:
    """The customer's PIN: natural PIN plus offset, digit by digit modulo 10, from the right.

    An offset shorter than the PIN leaves the digits on the left as they are; so zeros give the PIN
    that is derived from the card alone.
    """
    natural = natural_pin(pvk, validation, table, length)
    _check_offset(offset, length)
    return _combine(natural, offset.rjust(length, "0"), 1)


def offset_of_pin(
    pvk: bytes, validation: str, table: str, pin: str, check_length: int | None = None
) -> str:
    """What is kept of a PIN: its digits less the natural PIN's, modulo 10.

    `check_length` (all by default) is how many of them, on the right, are kept and checked.
    """
    check_pin(pin)
    length = _checked_digits(check_length, len(pin))
    natural = natural_pin(pvk, validation, table, len(pin))
    return _combine(pin, natural, -1)[-length:]


def verify_offset(
    pvk: bytes, validation: str, table: str, pin: str, offset: str, check_length: int | None = None
) -> bool:
    """Whether the PIN agrees with natural PIN and offset in its rightmost `check_length` digits.

    By default those that the offset has. A PIN shorter than that is wrong, not refused.
    """
    check_pin(pin)
    _check_offset(offset, 12)
    length = _checked_digits(check_length, len(offset))
    natural = natural_pin(pvk, validation, table, len(pin))
    expected = _combine(natural, offset[-len(pin) :].rjust(len(pin), "0"), 1)
    agrees = hmac.compare_digest(pin[-length:], expected[-length:])
    return agrees and len(pin) >= length


def change_offset(
    pvk: bytes,
    validation: str,
    table: str,
    old_pin: str,
    old_offset: str,
    new_pin: str,
    check_length: int | None = None,
) -> str | None:
    """The offset of the new PIN, or None where the old PIN is wrong."""
    check_pin(new_pin)
    agrees = verify_offset(pvk, validation, table, old_pin, old_offset, check_length)
    new_offset = offset_of_pin(pvk, validation, table, new_pin, check_length)
    return new_offset if agrees else None


def _combine(left: str, right: str, sign: int) -> str:
    pairs = zip(left.encode(), right.encode(), strict=True)
    if sign > 0:
        return bytes([48 + (a + b - 96) % 10 for a, b in pairs]).decode()
    return bytes([48 + (a - b) % 10 for a, b in pairs]).decode()


def _check_offset(offset: str, most: int) -> None:
    if not are_digits(offset, 4, 12):
        raise VaultError("an offset has 4 to 12 digits")
    if len(offset) > most:
        raise VaultError("an offset is no longer than the PIN")


def _checked_digits(check_length: int | None, most: int) -> int:
    if check_length is None:
        return most
    if not 4 <= check_length <= most:
        raise VaultError("a check length is 4 digits or more, and no more than offset or PIN have")
    return check_length


# -- Visa PVV --------------------------------------------------------------------------------


def pvv(pvk: bytes, account: str, key_index: str, pin: str) -> str:
    """The 4 digits of a PIN verification value.

    The block is the 11 rightmost digits of the account number, the key index (PVKI, one digit) and the
    4 first digits of the PIN, enciphered with Triple DES and decimalised in two passes.

    >>> pvv(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"), "233445566778", "1", "4524")
    '8523'
    """
    check_account(account)
    check_digits("a PIN verification key index", key_index, 1)
    check_pin(pin)
    if len(pvk) != 16:
        raise VaultError("a PIN verification key of PVVs has 16 bytes")
    block = bytes.fromhex(account[-PVV_ACCOUNT_DIGITS:] + key_index + pin[:PVV_PIN_DIGITS])
    return decimalise(ciphers.tdes_ecb_encrypt(pvk, block), PVV_DIGITS)


def verify_pvv(pvk: bytes, account: str, key_index: str, pin: str, value: str) -> bool:
    """Whether the value is the PIN's; one in 10,000 wrong PINs agrees."""
    check_digits("a PVV", value, PVV_DIGITS)
    return hmac.compare_digest(pvv(pvk, account, key_index, pin), value)


def change_pvv(
    pvk: bytes, account: str, key_index: str, old_pin: str, old_value: str, new_pin: str
) -> str | None:
    """The value of the new PIN, or None where the old PIN is wrong."""
    agrees = verify_pvv(pvk, account, key_index, old_pin, old_value)
    new_value = pvv(pvk, account, key_index, new_pin)
    return new_value if agrees else None


# -- new PINs --------------------------------------------------------------------------------


def random_pin(
    length: int, entropy: Callable[[int], bytes], excluded: Container[str] = frozenset()
) -> str:
    """A PIN in which every digit is equally likely; never one that the issuer excludes.

    A byte of 250 or more is thrown away, since 256 values do not share out among 10 digits.
    """
    check_pin_length(length)
    digits = ""
    for _ in range(RANDOM_PIN_TRIES_MAX):
        digits += "".join(str(byte % 10) for byte in entropy(length) if byte < 250)
        while len(digits) >= length:
            pin, digits = digits[:length], digits[length:]
            if pin not in excluded:
                return pin
    raise VaultError("the source of entropy gives no PIN that is not excluded")
