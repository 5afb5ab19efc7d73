"""What commands about PINs share: formats, PIN blocks, account numbers, PINs under the LMK, tables.

A PIN block has 16H, under an AES key 32H. Its format is one of the two-digit codes of
`hsm.pin_translation`; read here are 01, 03 (to verify, or to keep under the LMK), 05, 47 and 48. Code 04 (PLUS) is
not: it is bound to the front of the PAN, which no field carries.

An account number is the 12 rightmost digits of the PAN without its check digit. Format 48 is bound to the
whole PAN: where it is one of the formats, the field is the PAN, 13 to 19 digits, and `;` if a field follows
[unverified].
"""

import re
from typing import Final

from hsm import ciphers, pin_translation
from hsm.digits import PIN_LENGTH_MAX, PIN_LENGTH_MIN
from hsm.errors import PinFormatError, VaultError
from hsm.host.codes import HostError
from hsm.host.fields import Fields
from hsm.host.vault import HostVault
from hsm.keys import Algorithm, Operation
from hsm.pin_translation import PinFormat
from hsm.pin_verify import check_table
from hsm.variant import VariantLmk
from hsm.vault import OpenKey

FORMAT_CHARACTERS: Final = 2
ACCOUNT_DIGITS: Final = 12

_OPENED: Final = frozenset(PinFormat) - {PinFormat.ISO_2, PinFormat.PLUS}
BOUND: Final = frozenset({PinFormat.ISO_0, PinFormat.ISO_3, PinFormat.ISO_4})
_DES: Final = frozenset({Algorithm.DES, Algorithm.TDES})
_FILLED: Final = re.compile(r"([0-9]*)F*")

# -- formats -------------------------------------------------------------------------------------


def format_of(code: str) -> PinFormat:
    """23 for a code that is unknown, or not read here."""
    try:
        found = pin_translation.format_of(code)
    except PinFormatError:
        raise HostError("23") from None
    if found is PinFormat.PLUS:
        raise HostError("23")
    return found


def read_opened_format(fields: Fields) -> PinFormat:
    """The format of a block whose PIN is verified or kept; 29 for one that never comes over a network."""
    found = format_of(fields.text(FORMAT_CHARACTERS))
    if found not in _OPENED:
        raise HostError("29")
    return found


def read_made_format(fields: Fields) -> PinFormat:
    """The format in which a PIN leaves the LMK, bound to its account as it was; else 29."""
    found = format_of(fields.text(FORMAT_CHARACTERS))
    if found not in BOUND:
        raise HostError("29")
    return found


def require_creation(source: PinFormat) -> None:
    """29 unless a PVV or an offset may be made of a PIN in this format."""
    if source not in pin_translation.CREATION_FORMATS:
        raise HostError("29")


def require_translation(source: PinFormat, destination: PinFormat) -> None:
    """29 unless ANSI X9.8 lets a block change so."""
    if pin_translation.fault(source, destination) is not None:
        raise HostError("29")


# -- PIN blocks ------------------------------------------------------------------------------------


def read_longest(fields: Fields) -> int:
    """The longest PIN that is let through, 2N, mostly 12."""
    found = fields.number(2)
    if found > PIN_LENGTH_MAX:
        raise HostError("24")
    return found


def read_block(fields: Fields, opened: OpenKey) -> bytes:
    """A PIN block under this key."""
    return fields.hex(32 if opened.algorithm is Algorithm.AES else 16, "20")


def read_pan(fields: Fields, *formats: PinFormat) -> str:
    """The PAN, or one that serves for it, made of the account number."""
    if PinFormat.ISO_4 in formats:
        pan = fields.digits_here(13, 19, "22")
        fields.skip_if(";")
        return pan
    return fields.digits(ACCOUNT_DIGITS, "22") + "0"


def account_of(pan: str) -> str:
    """The account number in what `read_pan` gave."""
    return pan[-13:-1]


def require_cipher(opened: OpenKey, pin_format: PinFormat) -> None:
    """02 for a key whose algorithm has no blocks of this format: 48 is AES's, the others DES's."""
    if opened.algorithm is not Algorithm.AES:
        fits = opened.algorithm in _DES and pin_format is not PinFormat.ISO_4
    else:
        fits = pin_format is PinFormat.ISO_4
    if not fits:
        raise HostError("02")


def open_pin(opened: OpenKey, source: PinFormat, block: bytes, pan: str) -> str:
    """The PIN of a block; 20 for one that does not open, 02 as `require_cipher`."""
    require_cipher(opened, source)
    opened.require(Operation.PIN_DECRYPT)
    decrypt = opened.pin_decrypt or ciphers.aes(opened.key).decrypt
    return pin_translation.open_pin(block, source, pan, decrypt)


def close_pin(
    vault: HostVault, opened: OpenKey, destination: PinFormat, pin: str, pan: str
) -> bytes:
    """A PIN block as it stands in an answer; 02 as `require_cipher`."""
    require_cipher(opened, destination)
    opened.require(Operation.PIN_ENCRYPT)
    encrypt = opened.pin_encrypt or ciphers.aes(opened.key).encrypt
    block = pin_translation.close_pin(pin, destination, pan, encrypt, vault.entropy)
    return block.hex().upper().encode()


# -- PINs under the LMK ---------------------------------------------------------------------------


def read_stored(vault: HostVault, fields: Fields) -> str:
    """A PIN under the LMK, as many characters as the device has set for all."""
    return fields.text(vault.pins.stored_digits).upper()


def read_clear(vault: HostVault, fields: Fields) -> str:
    """A clear PIN in as many characters, filled with F; 24 for one that is too short or too long."""
    found = _FILLED.fullmatch(fields.text(vault.pins.stored_digits).upper())
    if found is None:
        raise HostError("15")
    if not PIN_LENGTH_MIN <= len(found[1]) < vault.pins.stored_digits:
        raise HostError("24")
    return found[1]


def from_store(lmk: VariantLmk, text: str, account: str) -> str:
    """The PIN under the LMK; 14 where none of this account comes out."""
    try:
        return lmk.decrypt_pin(text, account)
    except VaultError:
        raise HostError("14") from None


def to_store(vault: HostVault, pin: str, account: str) -> bytes:
    """The PIN under the LMK, as it stands in an answer; 24 for one longer than the device has set."""
    if len(pin) >= vault.pins.stored_digits:
        raise HostError("24")
    return vault.variant.encrypt_pin(pin, account, vault.pins.stored_digits).encode()


# -- decimalisation tables ---------------------------------------------------------------------------


def open_table(vault: HostVault, text: str) -> str:
    """The table of a field of 16 characters, clear or under the LMK as the device has set; else 25."""
    try:
        table = (
            text if vault.pins.clear_tables else vault.variant.decrypt_decimalisation_table(text)
        )
        check_table(table)
    except VaultError:
        raise HostError("25") from None
    return table
