"""Issuer scripts: MACs and encryption of commands to a chip card, and the change of its PIN.

Pure functions on clear keys: session keys of the issuer's keys for integrity (SMI) and for
confidentiality (SMC). Sources: EMV 4.3 Book 2, clauses 9.2.3 (MAC) and 9.3 (encryption), format 2;
Visa VIS and Mastercard M/Chip for what is named after them.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Final

from hsm import ciphers, mac, pin_block
from hsm.emv_keys import check_key, check_length
from hsm.errors import VaultError

COMMAND_MAX: Final = 255  # bytes of a short APDU's data
COMMANDS_MAX: Final = 16  # in one script

_ONES_8: Final = (1 << 64) - 1


class DataStyle(Enum):
    """How the data of a command is padded and encrypted."""

    EMV = "emv"  # 80 and zeros always, CBC
    VISA = "visa"  # one byte of length before, then 80 and zeros, ECB
    MASTERCARD = "mastercard"  # 80 and zeros unless whole blocks, CBC


def script_mac(
    key: bytes,
    header: bytes,
    *,
    atc: bytes = b"",
    cryptogram: bytes = b"",
    data: bytes = b"",
    length: int = 8,
) -> bytes:
    """MAC of a command, 4 to 8 bytes: algorithm 3, padding 2, over header, ATC, ARQC and data.

    `header` is CLA INS P1 P2 Lc, with the Lc that counts the MAC. Visa and Mastercard have ATC and
    ARQC in the MAC; a scheme without them leaves both empty.

    >>> script_mac(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"), bytes.fromhex("8424000008"),
    ...            atc=b"\\xff\\xff", cryptogram=bytes.fromhex("1234567890123456")).hex().upper()
    'E07B8DF1B4184282'
    """
    check_key(key, "key of a script's integrity")
    check_length(header, 5, "a command's header")
    if atc:
        check_length(atc, 2, "the ATC")
    if cryptogram:
        check_length(cryptogram, 8, "an application cryptogram")
    _check_data(data)
    _check_mac_length(length)
    return mac.x9_19(key, header + atc + cryptogram + data, 2)[:length]


def chained_macs(
    key: bytes, commands: Sequence[bytes], cryptogram: bytes, length: int = 8
) -> list[bytes]:
    """MACs of a script's commands, each over the one before (9.2.3.1).

    The first command's MAC covers the application cryptogram and the command, the next one all 8
    bytes of the MAC before and the command; each is then cut to `length`.
    """
    check_key(key, "key of a script's integrity")
    check_length(cryptogram, 8, "an application cryptogram")
    _check_mac_length(length)
    if len(commands) > COMMANDS_MAX:
        raise VaultError(f"a script has at most {COMMANDS_MAX} commands")
    macs = []
    before = cryptogram
    for command in commands:
        if not 4 <= len(command) <= COMMAND_MAX + 5:
            raise VaultError(f"a command of a script has 4 to {COMMAND_MAX + 5} bytes")
        before = mac.x9_19(key, before + command, 2)
        macs.append(before[:length])
    return macs


def cryptogram_of_command(cryptogram: bytes, nth: int) -> bytes:
    """Mastercard: the ARQC, increased by one for each command of the script after the first (0)."""
    check_length(cryptogram, 8, "an application cryptogram")
    if not 0 <= nth < COMMANDS_MAX:
        raise VaultError(f"a script has at most {COMMANDS_MAX} commands")
    return ((int.from_bytes(cryptogram, "big") + nth) & _ONES_8).to_bytes(8, "big")


def encrypt_data(key: bytes, data: bytes, style: DataStyle) -> bytes:
    """The data of a command under a session key for confidentiality, whole blocks.

    >>> encrypt_data(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"),
    ...              bytes.fromhex("241234FFFFFFFFFF"), DataStyle.MASTERCARD).hex().upper()
    '9859240AE52820C3'
    """
    check_key(key, "key of a script's confidentiality")
    if not data:
        raise VaultError("a command without data has nothing to encrypt")
    _check_data(data)
    if style is DataStyle.VISA:
        return ciphers.tdes_ecb_encrypt(key, mac.pad_2(bytes((len(data),)) + data))
    whole = style is DataStyle.MASTERCARD and len(data) % 8 == 0
    return ciphers.tdes_cbc_encrypt(key, bytes(8), data if whole else mac.pad_2(data))


def visa_pin_block(master: bytes, pin: str, current_pin: str | None = None) -> bytes:
    """Visa's PIN block of a PIN change: bound to the card, and to the PIN it has where that is known.

    `0`, length, PIN, F to 8 bytes; XOR four zero bytes and bytes 4 to 7 of the card's master key
    for cryptograms; XOR the current PIN followed by zeros (VIS).

    >>> visa_pin_block(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"), "1234").hex().upper()
    '041234FF76543210'
    """
    check_key(master, "card's master key")
    block = int.from_bytes(pin_block.encode_format2(pin), "big") ^ 2 << 60  # control nibble 0
    block ^= int.from_bytes(master[4:8], "big")
    if current_pin is not None:
        pin_block.encode_format2(current_pin)  # refuses what is no PIN
        block ^= int(current_pin.ljust(16, "0"), 16)
    return block.to_bytes(8, "big")


def pin_change(
    integrity_key: bytes,
    confidentiality_key: bytes,
    block: bytes,
    style: DataStyle,
    *,
    atc: bytes = b"",
    cryptogram: bytes = b"",
    with_current_pin: bool = False,
) -> bytes:
    """The whole PIN CHANGE command: 84 24 00 P2 Lc, encrypted PIN block, 8 bytes of MAC.

    `block` is `visa_pin_block`, or a format 2 PIN block as Mastercard and others have. P2 is 01
    where the block is bound to the current PIN, else 02.
    """
    check_length(block, 8, "the PIN block of a script")
    sealed = encrypt_data(confidentiality_key, block, style)
    header = bytes((0x84, 0x24, 0, 1 if with_current_pin else 2, len(sealed) + 8))
    code = script_mac(integrity_key, header, atc=atc, cryptogram=cryptogram, data=sealed)
    return header + sealed + code


def _check_data(data: bytes) -> None:
    if len(data) > COMMAND_MAX:
        raise VaultError(f"a command has at most {COMMAND_MAX} bytes of data")


def _check_mac_length(length: int) -> None:
    if not 4 <= length <= 8:
        raise VaultError("the MAC of a command has 4 to 8 bytes")
