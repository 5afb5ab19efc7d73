"""Decimal digits: how cipher text becomes some, and what is refused where some are expected.

A text of a refusal names the thing and its lengths and never shows what was given.
"""

import string
from typing import Final

from hsm.errors import PanError, PinError, VaultError

PIN_LENGTH_MIN: Final = 4
PIN_LENGTH_MAX: Final = 12
ACCOUNT_DIGITS: Final = 12  # of the PAN, on the right, without its check digit

_LETTERS: Final = bytes.maketrans(b"abcdef", b"012345")
_DIGITS: Final = string.digits.encode()


def decimalise(block: bytes, count: int) -> str:
    """The first `count` digits by the two passes of Visa's values.

    First the decimal digits of the block in hex, from the left; if they are too few, then its letters
    from the left with 10 taken off. `count` is at most twice the block's length.

    >>> decimalise(bytes.fromhex("0A1BC2DEF3000000"), 4)
    '0123'
    >>> decimalise(bytes.fromhex("ABCDEFABCDEFABC9"), 4)
    '9012'
    """
    assert 0 < count <= 2 * len(block)
    text = block.hex().encode()
    decimal = text.translate(None, b"abcdef")
    if len(decimal) < count:
        decimal += text.translate(_LETTERS, _DIGITS)
    return decimal[:count].decode()


def are_digits(text: str, least: int, most: int) -> bool:
    """Whether a text is ASCII digits, so many."""
    return least <= len(text) <= most and text.isascii() and text.isdigit()


def check_digits(what: str, text: str, length: int) -> None:
    """`VaultError` unless the text is exactly so many digits."""
    if not are_digits(text, length, length):
        raise VaultError(f"{what} has {length} digit{'s' * (length > 1)}")


def check_pin(pin: str) -> None:
    """`PinError` unless it is 4 to 12 digits (ISO 9564-1)."""
    if not are_digits(pin, PIN_LENGTH_MIN, PIN_LENGTH_MAX):
        raise PinError(f"a PIN has {PIN_LENGTH_MIN} to {PIN_LENGTH_MAX} digits")


def check_pin_length(length: int) -> None:
    """`PinError` unless a PIN can be that long."""
    if not PIN_LENGTH_MIN <= length <= PIN_LENGTH_MAX:
        raise PinError(f"a PIN has {PIN_LENGTH_MIN} to {PIN_LENGTH_MAX} digits")


def check_account(account: str) -> None:
    """`PanError` unless it is the 12 digits that host commands take."""
    if not are_digits(account, ACCOUNT_DIGITS, ACCOUNT_DIGITS):
        raise PanError(f"an account number has {ACCOUNT_DIGITS} digits, without the check digit")


def account_of(pan: str) -> str:
    """The 12 rightmost digits of a PAN of 13 to 19 without its check digit.

    >>> account_of("6222021234567890123")
    '123456789012'
    """
    if not are_digits(pan, ACCOUNT_DIGITS + 1, 19):
        raise PanError("a PAN has 13 to 19 digits")
    return pan[-13:-1]
