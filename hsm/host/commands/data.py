"""Data under a key: M0 enciphers, M2 deciphers, M4 goes from key to key.

Modes are 00 ECB and 01 CBC. The devices have others (02, 03, 04, 10 to 13), on which published descriptions
disagree; they are refused (02). Data is whole blocks: nothing here pads.

Which way a key works is its usage's, as everywhere: a ZEK or DEK both ways, a TEK (of a terminal) deciphers
alone, and so only M2 and the source of M4 take it. With a BDK the key is that of the KSN's transaction, for
requests (or both ways) with Triple DES, for both ways with AES [unverified].

Layouts as observed in github.com/softwaregroup-bg/ut-codec-payshield; the chaining value in the answer and
its place [unverified].
"""

from collections.abc import Callable
from typing import Final

import msgspec

from hsm import ciphers
from hsm.dukpt_aes import AesUsage
from hsm.dukpt_tdes import TdesUsage
from hsm.host import vault as uses
from hsm.host.codes import HostError
from hsm.host.commands.macs import digits, read_data
from hsm.host.dispatch import Command
from hsm.host.dukpt import BDK_TYPES, read_ksn, working_key
from hsm.host.fields import Fields
from hsm.host.key_forms import BLOCK, same_form
from hsm.host.vault import HostVault, KeyUse
from hsm.keys import Algorithm, KeyUsage, Operation
from hsm.vault import OpenKey

ECB, CBC = "00", "01"

_ENCRYPT, _DECRYPT = Operation.DATA_ENCRYPT, Operation.DATA_DECRYPT

# Operation -> key type -> what the field takes; FFF goes by the block's header.
USES: Final[dict[Operation, dict[str, KeyUse]]] = {
    _ENCRYPT: {
        "00A": KeyUse(KeyUsage.ZEK, _ENCRYPT, ("00A",)),
        "00B": KeyUse(KeyUsage.DEK, _ENCRYPT, ("00B",)),
        BLOCK: KeyUse(KeyUsage.ZEK, _ENCRYPT, ()),
    },
    _DECRYPT: {
        "00A": KeyUse(KeyUsage.ZEK, _DECRYPT, ("00A",)),
        "00B": KeyUse(KeyUsage.DEK, _DECRYPT, ("00B",)),
        "30B": KeyUse(KeyUsage.TDK, _DECRYPT, ("30B",)),
        BLOCK: KeyUse(KeyUsage.ZEK, _DECRYPT, ()),
    },
}

Ecb = Callable[[bytes, bytes], bytes]  # key, data
Cbc = Callable[[bytes, bytes, bytes], bytes]  # key, vector, data


class Cipher(msgspec.Struct, frozen=True):
    """One algorithm's four functions."""

    block_bytes: int
    ecb_encrypt: Ecb
    ecb_decrypt: Ecb
    cbc_encrypt: Cbc
    cbc_decrypt: Cbc


_TDES: Final = Cipher(
    ciphers.DES_BLOCK,
    ciphers.tdes_ecb_encrypt,
    ciphers.tdes_ecb_decrypt,
    ciphers.tdes_cbc_encrypt,
    ciphers.tdes_cbc_decrypt,
)
CIPHERS: Final = {
    Algorithm.DES: _TDES,
    Algorithm.TDES: _TDES,
    Algorithm.AES: Cipher(
        ciphers.AES_BLOCK,
        ciphers.aes_ecb_encrypt,
        ciphers.aes_ecb_decrypt,
        ciphers.aes_cbc_encrypt,
        ciphers.aes_cbc_decrypt,
    ),
    Algorithm.SM4: Cipher(
        ciphers.AES_BLOCK,
        ciphers.sm4_ecb_encrypt,
        ciphers.sm4_ecb_decrypt,
        ciphers.sm4_cbc_encrypt,
        ciphers.sm4_cbc_decrypt,
    ),
}


def encrypt(vault: HostVault, fields: Fields) -> bytes:
    """M0: encipher a block of data.

    Mode 2 (00 ECB, 01 CBC) · input format 1 (0 binary, 1 hex, 2 text) · output format 1 (0 binary, 1 hex) · key
    type 3H (00A ZEK, 00B DEK, 009, 609, 809 BDK, FFF block) · key (16H, of a BDK 32H, or scheme) · for a BDK: KSN descriptor
    3H and KSN 20H (24H of AES) · for CBC: chaining value 16H (32H of AES and
    SM4) · length 4H, in characters · data.
    Answer: for CBC the chaining value for the data that follows · length 4H, in characters · data.
    Errors: 02 mode, 03 input format, 04 output format, 05 key type, 06 not whole blocks.
    """
    mode, input_format, output_format = (
        read_mode(fields),
        read_input(fields),
        read_output(fields, "01"),
    )
    opened = read_key(vault, fields, Operation.DATA_ENCRYPT)
    vector = read_vector(fields, mode, opened)
    data = read_data(fields, input_format)
    fields.end()
    cipher = enciphered(opened, vector, data)
    return chained(vector, cipher, opened) + written(cipher, output_format)


def decrypt(vault: HostVault, fields: Fields) -> bytes:
    """M2: decipher a block of data.

    Fields as M0; input format 0 or 1, output format 0, 1 or 2; key types 30B TEK too. Answer as M0.
    """
    mode, input_format, output_format = (
        read_mode(fields),
        read_input(fields, "01"),
        read_output(fields),
    )
    opened = read_key(vault, fields, Operation.DATA_DECRYPT)
    vector = read_vector(fields, mode, opened)
    data = read_data(fields, input_format)
    fields.end()
    clear = deciphered(opened, vector, data)
    return chained(vector, data, opened) + written(clear, output_format)


def translate(vault: HostVault, fields: Fields) -> bytes:
    """M4: data from one key to another.

    Source mode 2 · destination mode 2 · input format 1 (0, 1) · output format 1 (0, 1) · source key type 3H and
    key · destination key type 3H and key · [source chaining value] · [destination chaining value] · length 4H,
    in characters · data.
    Answer: [source chaining value] · [destination chaining value] · length 4H · data.
    """
    modes = read_mode(fields), read_mode(fields)
    input_format, output_format = read_input(fields, "01"), read_output(fields, "01")
    source = read_key(vault, fields, Operation.DATA_DECRYPT)
    destination = read_key(vault, fields, Operation.DATA_ENCRYPT, "11")
    source_vector = read_vector(fields, modes[0], source)
    destination_vector = read_vector(fields, modes[1], destination)
    data = read_data(fields, input_format)
    fields.end()
    cipher = enciphered(destination, destination_vector, deciphered(source, source_vector, data))
    return (
        chained(source_vector, data, source)
        + chained(destination_vector, cipher, destination)
        + written(cipher, output_format)
    )


# -- fields ------------------------------------------------------------------------------------


def read_mode(fields: Fields) -> str:
    mode = fields.text(2)
    if mode not in (ECB, CBC):
        raise HostError("02")
    return mode


def read_input(fields: Fields, allowed: str = "012") -> str:
    return fields.choice(allowed, "03")


def read_output(fields: Fields, allowed: str = "012") -> str:
    return fields.choice(allowed, "04")


def read_key(vault: HostVault, fields: Fields, operation: Operation, parity: str = "10") -> OpenKey:
    """A key of a type that the operation takes (05), opened; with a BDK the key of the transaction."""
    code = fields.text(3)
    use = uses.BDK if code in BDK_TYPES else USES[operation].get(code)
    if use is None:
        raise HostError("05")
    text = fields.key(32 if code in BDK_TYPES else 16)
    same_form(code, text)
    if code in BDK_TYPES:
        use = msgspec.structs.replace(use, types=(code,))
    elif code == BLOCK and vault.keys.open(text[1:]).usage is KeyUsage.BDK:
        use = uses.BDK
    opened = vault.key(text, msgspec.structs.replace(use, parity=parity))
    if use.usage is not KeyUsage.BDK:
        return opened
    ksn = read_ksn(fields, opened)
    return working_key(vault, opened, ksn, TdesUsage.DATA_REQUEST, AesUsage.DATA_BOTH)


def read_vector(fields: Fields, mode: str, opened: OpenKey) -> bytes | None:
    return None if mode == ECB else fields.hex(2 * CIPHERS[opened.algorithm].block_bytes)


# -- the work ----------------------------------------------------------------------------------


def enciphered(opened: OpenKey, vector: bytes | None, data: bytes) -> bytes:
    cipher = cipher_for(opened, data)
    if vector is None:
        return cipher.ecb_encrypt(opened.key, data)
    return cipher.cbc_encrypt(opened.key, vector, data)


def deciphered(opened: OpenKey, vector: bytes | None, data: bytes) -> bytes:
    cipher = cipher_for(opened, data)
    if vector is None:
        return cipher.ecb_decrypt(opened.key, data)
    return cipher.cbc_decrypt(opened.key, vector, data)


def cipher_for(opened: OpenKey, data: bytes) -> Cipher:
    cipher = CIPHERS[opened.algorithm]
    if not data or len(data) % cipher.block_bytes:
        raise HostError("06")
    return cipher


def chained(vector: bytes | None, cryptogram: bytes, opened: OpenKey) -> bytes:
    """What the next block of data starts from: the last block that was enciphered; nothing for ECB."""
    return b"" if vector is None else digits(cryptogram[-CIPHERS[opened.algorithm].block_bytes :])


def written(data: bytes, output_format: str) -> bytes:
    shown = digits(data) if output_format == "1" else data
    return b"%04X" % len(shown) + shown


COMMANDS: Final = (
    Command("M0", encrypt, "Encipher data", "加密数据"),
    Command("M2", decrypt, "Decipher data", "解密数据"),
    Command("M4", translate, "Data from key to key", "数据由密钥转密钥"),
)
