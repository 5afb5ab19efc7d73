"""Which PIN block format may become which (ANSI X9.8-1, PCI PIN requirement 3), and the way from one to another.

Pure functions: a block goes in and comes out enciphered, the keys are functions. `open_pin` and `close_pin`
also serve the verification and the making of PINs.

    from \\ to   0    1    2    3    4
    0           yes  -    -    yes  yes     - from 0, 3, 4 to 1: the PIN would be parted from its PAN
    1           yes  yes  -    yes  yes     - from or to 2: it stays between a PIN pad and a chip, and
    2           -    -    -    -    -         goes to a chip in a script, never over a network
    3           yes  -    -    yes  yes
    4           yes  -    -    yes  yes

Formats of old (Diebold, PLUS) are opened, for verification alone; no block is made in them. The PAN is one
parameter, so that it can not change on the way. A new PVV or offset is made of formats 0 and 3 alone.

Sources: IBM CCA, "ANSI X9.8 PIN - Enforce PIN block restrictions" and "Allow only ANSI PIN blocks"; the codes
as named in github.com/nickntg/thalessimulatorlibrary; PLUS as in a payShield manual's worked example.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final

import msgspec

from hsm import pin_block
from hsm.errors import PinBlockError, PinFormatError

BlockFunction = Callable[[bytes], bytes]


class PinFormat(Enum):
    """A PIN block format, by its name in errors."""

    ISO_0 = "ISO format 0"
    ISO_1 = "ISO format 1"
    ISO_2 = "ISO format 2"
    ISO_3 = "ISO format 3"
    ISO_4 = "ISO format 4"
    DIEBOLD = "Diebold"
    PLUS = "PLUS"


_0, _1, _2, _3, _4 = list(PinFormat)[:5]

TRANSLATIONS: Final = frozenset(
    {(_0, _0), (_0, _3), (_0, _4), (_1, _0), (_1, _1), (_1, _3), (_1, _4)}
    | {(_3, _0), (_3, _3), (_3, _4), (_4, _0), (_4, _3), (_4, _4)}
)
CREATION_FORMATS: Final = frozenset({_0, _3})  # of which a PVV or an offset is made

_OLD: Final = frozenset({PinFormat.DIEBOLD, PinFormat.PLUS})


class FormatCode(msgspec.Struct, frozen=True):
    """A format as host commands name it, in two digits."""

    code: str
    name: str
    format: PinFormat | None  # None: known by name, refused here
    verified: bool = True


FORMAT_CODES: Final = {
    row.code: row
    for row in (
        FormatCode("01", "ISO 9564-1 format 0, ANSI X9.8", _0),
        FormatCode("02", "Docutel", None),  # public descriptions of its fill disagree
        FormatCode("03", "Diebold, IBM ATM", PinFormat.DIEBOLD),
        FormatCode("04", "PLUS", PinFormat.PLUS),
        FormatCode("05", "ISO 9564-1 format 1", _1),
        FormatCode("34", "ISO 9564-1 format 2, EMV", _2),
        FormatCode("35", "Mastercard Pay Now & Pay Later", None),
        FormatCode("46", "AS 2805", None, verified=False),
        FormatCode("47", "ISO 9564-1 format 3", _3, verified=False),
        FormatCode("48", "ISO 9564-1 format 4", _4, verified=False),
    )
}


def format_of(code: str) -> PinFormat:
    """The format of a two-digit code; `PinFormatError` (host code 23) if unknown or not read here."""
    row = FORMAT_CODES.get(code)
    if row is None or row.format is None:
        raise PinFormatError(
            "an unknown PIN block format" if row is None else f"{row.name} is not read here"
        )
    return row.format


def fault(source: PinFormat, destination: PinFormat) -> str | None:
    """Why a block of one format may not become one of the other, or None."""
    if (source, destination) in TRANSLATIONS:
        return None
    if destination in _OLD:
        return f"no PIN block is made in format {destination.value}"
    if source in _OLD:
        return f"a PIN block of format {source.value} is opened for verification alone"
    if _2 in (source, destination):
        return "ISO format 2 stays between a PIN pad and a chip"
    return f"the PIN in {source.value} would be parted from its PAN in {destination.value}"


def check_translation(source: PinFormat, destination: PinFormat) -> None:
    """`PinFormatError` unless the table lets a block change so."""
    reason = fault(source, destination)
    if reason is not None:
        raise PinFormatError(reason)


def check_creation(source: PinFormat) -> None:
    """`PinFormatError` unless a PVV or an offset may be made of a PIN in this format."""
    if source not in CREATION_FORMATS:
        raise PinFormatError("a PVV or an offset is made of a PIN in ISO format 0 or 3 alone")


def translate(
    block: bytes,
    source: PinFormat,
    destination: PinFormat,
    pan: str,
    *,
    decrypt: BlockFunction,
    encrypt: BlockFunction,
    entropy: Callable[[int], bytes],
) -> bytes:
    """The block in the other format under the other key. The table is asked before the block is opened."""
    check_translation(source, destination)
    pin = open_pin(block, source, pan, decrypt)
    return close_pin(pin, destination, pan, encrypt, entropy)


def open_pin(block: bytes, source: PinFormat, pan: str, decrypt: BlockFunction) -> str:
    """The PIN of an enciphered block; `PinBlockError` for its length, control, digits or fill."""
    length = 16 if source is _4 else 8
    if len(block) != length:
        raise PinBlockError(f"a PIN block of this format has {length} bytes")
    if source is _4:
        return pin_block.open_format4(decrypt, block, pan)
    clear = decrypt(block)
    if source is _0:
        return pin_block.decode_format0(clear, pan)
    if source is _1:
        return pin_block.decode_format1(clear)
    if source is _2:
        return pin_block.decode_format2(clear)
    if source is _3:
        return pin_block.decode_format3(clear, pan)
    if source is PinFormat.PLUS:
        return pin_block.decode_plus(clear, pan)
    return pin_block.decode_diebold(clear)


def close_pin(
    pin: str,
    destination: PinFormat,
    pan: str,
    encrypt: BlockFunction,
    entropy: Callable[[int], bytes],
) -> bytes:
    """The PIN in an enciphered block of an ISO format."""
    if destination is _4:
        return pin_block.seal_format4(encrypt, pin, pan, entropy(8))
    if destination is _0:
        return encrypt(pin_block.encode_format0(pin, pan))
    if destination is _1:
        return encrypt(pin_block.encode_format1(pin, entropy(7)))
    if destination is _2:
        return encrypt(pin_block.encode_format2(pin))
    if destination is _3:
        return encrypt(pin_block.encode_format3(pin, pan, entropy(10)))
    raise PinFormatError(f"no PIN block is made in format {destination.value}")


def pan_of_account(account: str) -> str:
    """A stand-in for the PAN where a command has only its 12 digits: good for formats 0, 1, 2, 3, Diebold.

    The check digit at its end is no check digit. Format 4 is bound to the whole PAN and PLUS to its front.

    >>> pan_of_account("123456789012")
    '1234567890120'
    """
    if not (len(account) == 12 and account.isascii() and account.isdigit()):
        raise PinFormatError("an account number has 12 digits")
    return account + "0"
