"""What characters a value may have, by the content column, and how text is read and written.

Each predicate is asked about ASCII text only where its encoding is ASCII, so the Unicode answers of
`str` never count there; in other encodings `n`, `an`, `anp`, `z`, `xn` and `h` are held to ASCII, too.
"""

from __future__ import annotations

import re
from binascii import Error as HexError, unhexlify
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from iso8583.dialects.table import Element


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def is_digits(value: str) -> bool:
    return not value or value.isdigit()


def is_alphanumeric(value: str) -> bool:
    return not value or value.isalnum()


def is_alphanumeric_or_blank(value: str) -> bool:
    return value.isalnum() or is_alphanumeric(value.replace(" ", ""))


def is_track(value: str) -> bool:
    return is_digits(value.replace("=", ""))


def is_enciphered_track(value: str) -> bool:
    return not value.strip("0123456789ABCEF=")


def is_signed(value: str) -> bool:
    return value[:1] in {"C", "D"} and value[1:].isdigit()


def is_hex(value: str) -> bool:
    return not value.strip("0123456789ABCDEF")


def is_anything(_value: str) -> bool:
    return True


def has_no_control(value: str) -> bool:
    return _CONTROL.search(value) is None


# content -> (what it is in ASCII, what is wrong where it is not)
CONTENT: Final[dict[str, tuple[Callable[[str], bool], str]]] = {
    "n": (is_digits, "not a digit"),
    "an": (is_alphanumeric, "not a letter or digit"),
    "anp": (is_alphanumeric_or_blank, "not a letter, digit or blank"),
    "ans": (str.isprintable, "not printable"),
    "z": (is_track, "not a digit or separator"),
    "zx": (is_enciphered_track, "not a hex digit or separator"),
    "xn": (is_signed, "not C or D and digits"),
    "h": (is_hex, "not an upper-case hex digit"),
    "any": (is_anything, "not a character of the encoding"),
}
# Nibbles of BCD contents as `bytes.hex` writes them, and the message's characters for them.
_BCD_TO_TEXT: Final = str.maketrans("dabcef", "=ABCEF")


def bcd_content(row: Element) -> Callable[[str], str | None]:
    """Hex digits (lower case) of an element -> its value, None when they are not its content."""

    def digits(nibbles: str) -> str | None:
        return nibbles if not nibbles or nibbles.isdigit() else None

    def track(nibbles: str) -> str | None:
        value = nibbles.replace("d", "=")
        return value if is_track(value) else None

    def enciphered_track(nibbles: str) -> str | None:
        return nibbles.translate(_BCD_TO_TEXT)

    return {"n": digits, "z": track, "h": str.upper}.get(row.content, enciphered_track)


def ascii_content(row: Element) -> Callable[[str], bool]:
    """The row's predicate for ASCII text that is not empty; str's own where one says the same."""
    plain = {"n": str.isdigit, "an": str.isalnum, "b": str.isprintable}
    return plain.get(row.content) or CONTENT[row.content][0]


def bytes_content(row: Element) -> Callable[[bytes], str | bytes | None]:
    """Bytes of an element -> its value, None when they are not its content; not for `bcd`."""
    if row.encoding == "raw":
        return lambda octets: octets
    if row.encoding == "hex":
        return unhex_upper
    if row.encoding == "bcd":
        return signed_bcd
    return text_reader(row)


def text_reader(row: Element) -> Callable[[bytes], str | None]:
    """Bytes of a text encoding -> the value, None when it is not the row's or has another writing."""
    encoding = row.encoding
    is_content = CONTENT[row.content][0]
    if row.content == "ans":
        is_content = has_no_control
    held_to_ascii = row.content not in {"ans", "any"}
    plain = is_content if row.content != "ans" else str.isprintable
    over_ascii = is_over_ascii(encoding)  # most text is ASCII where that is written as it is

    def read(octets: bytes) -> str | None:
        if over_ascii and octets.isascii():
            value = octets.decode("ascii")
            return value if plain(value) else None
        try:
            value = octets.decode(encoding)
            if value.encode(encoding) != octets:
                return None
        except UnicodeError:
            return None
        if not is_content(value) or (held_to_ascii and not value.isascii()):
            return None
        return value

    return read


def is_over_ascii(encoding: str) -> bool:
    """Whether a text encoding writes ASCII as it is.

    >>> is_over_ascii("gbk"), is_over_ascii("cp500")
    (True, False)
    """
    try:
        return "".join(map(chr, range(128))).encode(encoding) == bytes(range(128))
    except (LookupError, UnicodeError):
        return False


def signed_bcd(octets: bytes) -> str | None:
    """The sign in ASCII, then digits, two a byte; None where they are none.

    >>> signed_bcd(bytes.fromhex("4400000100"))
    'D00000100'
    """
    digits = octets[1:].hex()
    return octets[:1].decode() + digits if octets[:1] in {b"C", b"D"} and digits.isdigit() else None


@cache
def is_one_to_one(encoding: str) -> bool:
    """Whether every byte is one character, and every ASCII character one byte: text can be cut.

    >>> is_one_to_one("ascii"), is_one_to_one("cp500"), is_one_to_one("gbk")
    (True, True, False)
    """
    if encoding == "ascii":
        return True
    try:
        text = bytes(range(256)).decode(encoding)
        return len(set(text)) == 256 and text.encode(encoding) == bytes(range(256))
    except (LookupError, UnicodeError):
        return False


def unhex_upper(octets: bytes) -> bytes | None:
    """Upper-case hex only: with two cases one value would have two writings."""
    try:
        value = unhexlify(octets)
    except HexError:
        return None
    return value if value.hex().upper().encode() == octets else None
