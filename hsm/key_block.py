"""Key blocks of TR-31:2018 / ANSI X9.143: a key bound to its purpose, under a protection key.

Layout, all printable ASCII:

    header        16 characters and the optional blocks: `hsm.key_block_header`
    payload, hex  bit length of the key (2 bytes), key, random padding; enciphered, CBC but in E
    MAC, hex      4 bytes in A and C, 8 in B, 16 in D and E

B, D and E: encryption and MAC keys are derived by CMAC with the protection key; the MAC goes over the
header and the clear payload and is the vector (in E, ISO 20038, the first counter of CTR mode). A and C:
the keys are the protection key XOR 45 and XOR 4D; encryption first, with the first 8 header bytes as the
vector, then a CBC MAC over header and ciphertext.

Every fault is one `KeyBlockError`; whether the MAC or the padding failed is not told. What a check value
in a block (KC, KP) does not agree with is told: the MAC was good by then.
"""

import hmac
import re
from collections.abc import Callable
from typing import Final

import msgspec

from hsm import check_values, ciphers
from hsm.errors import KeyBlockError
from hsm.key_block_header import (
    KEY_BLOCK_CHARACTERS_MAX as KEY_BLOCK_CHARACTERS_MAX,
    Header as Header,
    check_form,
    encode_header,
    parse_header as parse_header,
)

KEY_BYTES_MAX: Final = 1536  # an RSA-2048 private key has about 1,200

_BLOCK_BYTES: Final = {"A": 8, "B": 8, "C": 8, "D": 16, "E": 16}
_MAC_BYTES: Final = {"A": 4, "B": 8, "C": 4, "D": 16, "E": 16}
_KEY_BYTES: Final = {"D": (8,), "T": (16, 24), "A": (16, 24, 32)}
_HEX: Final = re.compile(r"[0-9A-F]+")


def wrap(
    protection_key: bytes,
    header: Header,
    key: bytes,
    entropy: Callable[[int], bytes],
    *,
    pad_to: int,
    legacy: bool = False,
) -> str:
    """A key block. Keys shorter than `pad_to` bytes are padded, to hide their length.

    Versions A and C are refused without `legacy`, which is for a partner who reads no other: their MAC has
    32 bits and their two keys differ from the protection key by a constant. An optional block KC or KP
    without data gets the check value of the key or of the protection key.
    """
    version = header.version
    if version in ("A", "C") and not legacy:
        raise KeyBlockError("key blocks of versions A and C are made for old partners alone")
    if not 0 < len(key) <= KEY_BYTES_MAX:
        raise KeyBlockError(f"a key has 1 to {KEY_BYTES_MAX} bytes")
    header = with_check_values(protection_key, header, key)
    check_form(header)
    check_key(protection_key, header, key)
    encryption_key, mac_key = derive(protection_key, version)

    payload = (len(key) * 8).to_bytes(2, "big") + key
    length = max(len(payload), pad_to + 2)
    if version != "E":
        length += -length % _BLOCK_BYTES[version]
    payload += entropy(length - len(payload))
    text = encode_header(header, 2 * (length + _MAC_BYTES[version]), _BLOCK_BYTES[version], entropy)
    raw = text.encode("ascii")
    if version in "AC":
        sealed = ciphers.tdes_cbc_encrypt(encryption_key, raw[:8], payload)
        mac = ciphers.tdes(mac_key).cbc_mac(raw + sealed)[:4]
    elif version == "B":
        mac = ciphers.tdes_cmac(mac_key, raw + payload)
        sealed = ciphers.tdes_cbc_encrypt(encryption_key, mac, payload)
    else:
        mac = ciphers.aes_cmac(mac_key, raw + payload)
        seal = ciphers.aes_cbc_encrypt if version == "D" else ciphers.aes_ctr
        sealed = seal(encryption_key, mac, payload)
    return text + (sealed + mac).hex().upper()


def unwrap(protection_key: bytes, block: str) -> tuple[Header, bytes]:
    """The header and the clear key of a block of any version."""
    header, payload_start = parse_header(block)
    version = header.version
    rest = block[payload_start:]
    mac_bytes = _MAC_BYTES[version]
    if len(rest) % 2 or _HEX.fullmatch(rest) is None:
        raise KeyBlockError("payload or MAC is not upper-case hex")
    sealed, mac = bytes.fromhex(rest[: -2 * mac_bytes]), bytes.fromhex(rest[-2 * mac_bytes :])
    block_bytes = _BLOCK_BYTES[version]
    if len(sealed) < 3 or len(mac) < mac_bytes:
        raise KeyBlockError("no room for a key")
    if payload_start % block_bytes or (version != "E" and len(sealed) % block_bytes):
        raise KeyBlockError("not whole cipher blocks")

    encryption_key, mac_key = derive(protection_key, version)
    raw = block[:payload_start].encode("ascii")
    if version == "D":
        payload = ciphers.aes_cbc_decrypt(encryption_key, mac, sealed)
        expected = ciphers.aes_cmac(mac_key, raw + payload)
    elif version == "B":
        payload = ciphers.tdes_cbc_decrypt(encryption_key, mac, sealed)
        expected = ciphers.tdes_cmac(mac_key, raw + payload)
    elif version == "E":
        payload = ciphers.aes_ctr(encryption_key, mac, sealed)
        expected = ciphers.aes_cmac(mac_key, raw + payload)
    else:
        payload = ciphers.tdes_cbc_decrypt(encryption_key, raw[:8], sealed)
        expected = ciphers.tdes(mac_key).cbc_mac(raw + sealed)[:4]
    bits = int.from_bytes(payload[:2], "big")
    size = bits // 8
    fits = bits % 8 == 0 and 0 < size <= min(len(payload) - 2, KEY_BYTES_MAX)
    if not hmac.compare_digest(mac, expected) or not fits:
        raise KeyBlockError("the block was changed, or was made under another key")
    key = payload[2 : 2 + size]
    check_key(protection_key, header, key)
    return header, key


# -- what the header says of the key ---------------------------------------------------------------


def check_key(protection_key: bytes, header: Header, key: bytes) -> None:
    """`KeyBlockError` unless the key's length and check values are those the header says."""
    lengths = _KEY_BYTES.get(header.algorithm)
    if lengths is not None and len(key) not in lengths:
        raise KeyBlockError(f"a key of algorithm {header.algorithm} does not have {len(key)} bytes")
    for identifier, data in header.optional:
        if identifier == "KC" and not agrees(data, header.algorithm, key):
            raise KeyBlockError("the check value in KC is not that of the key")
        if identifier == "KP" and not agrees(data, _protection(header), protection_key):
            raise KeyBlockError("the check value in KP is not that of the protection key")


def with_check_values(protection_key: bytes, header: Header, key: bytes) -> Header:
    """The header with the data of KC and KP where they stand empty."""
    if ("KC", "") not in header.optional and ("KP", "") not in header.optional:
        return header
    filled = {
        ("KC", ""): (header.algorithm, key),
        ("KP", ""): (_protection(header), protection_key),
    }
    return msgspec.structs.replace(
        header,
        optional=tuple(
            (option[0], check_value(*filled[option])) if option in filled else option
            for option in header.optional
        ),
    )


def check_value(algorithm: str, key: bytes) -> str:
    """The data of a KC or KP (X9.143:2021 clause 6.3.6.7): 01 and 5 bytes for AES, 00 and 3 for DES."""
    if algorithm == "A":
        return "01" + check_values.aes_check_value(key).hex().upper()
    if algorithm in ("D", "T"):
        return "00" + check_values.tdes_check_value(key).hex().upper()
    raise KeyBlockError(f"there is no check value block for keys of algorithm {algorithm}")


def agrees(data: str, algorithm: str, key: bytes) -> bool:
    """Whether the data of a KC or KP, perhaps shorter, or of the older kind for AES, is this key's."""
    if algorithm == "A" and data[:2] == "00":
        return ("00" + check_values.aes_ecb_check_value(key).hex().upper()).startswith(data)
    return check_value(algorithm, key).startswith(data)


def _protection(header: Header) -> str:
    return "A" if header.version in ("D", "E") else "T"


# -- the two keys of a protection key ----------------------------------------------------------------

_DERIVED_TDES: Final = {16: (0x0000, 0x0080, 2), 24: (0x0001, 0x00C0, 3)}
_DERIVED_AES: Final = {16: (0x0002, 0x0080, 1), 24: (0x0003, 0x00C0, 2), 32: (0x0004, 0x0100, 2)}


def derive(protection_key: bytes, version: str) -> tuple[bytes, bytes]:
    """The encryption and the MAC key of one protection key (TR-31:2018 clause 5.3.2, ISO 20038 6.3).

    B, D and E: CMAC over counter (1), purpose (2: 0000 CBC, 0001 MAC, 0002 CTR), 00, algorithm (2),
    length in bits (2), as often as the key needs. A and C: XOR 45 and XOR 4D.
    """
    if version in ("D", "E"):
        if len(protection_key) not in _DERIVED_AES:
            raise KeyBlockError(f"version {version} needs an AES key of 16, 24 or 32 bytes")
        algorithm, bits, blocks = _DERIVED_AES[len(protection_key)]
        aes_cmac = ciphers.Aes(protection_key).cmac
        return (
            derive_by(aes_cmac, 0 if version == "D" else 2, algorithm, bits, blocks),
            derive_by(aes_cmac, 1, algorithm, bits, blocks),
        )
    if len(protection_key) not in _DERIVED_TDES:
        raise KeyBlockError(f"version {version} needs a Triple DES key of 16 or 24 bytes")
    if version == "B":
        algorithm, bits, blocks = _DERIVED_TDES[len(protection_key)]

        def tdes_cmac(data: bytes) -> bytes:
            return ciphers.tdes_cmac(protection_key, data)

        return (
            derive_by(tdes_cmac, 0, algorithm, bits, blocks),
            derive_by(tdes_cmac, 1, algorithm, bits, blocks),
        )
    return (
        bytes(byte ^ 0x45 for byte in protection_key),
        bytes(byte ^ 0x4D for byte in protection_key),
    )


def derive_by(
    cmac: Callable[[bytes], bytes], purpose: int, algorithm: int, bits: int, blocks: int
) -> bytes:
    tail = (
        purpose.to_bytes(2, "big") + b"\0" + algorithm.to_bytes(2, "big") + bits.to_bytes(2, "big")
    )
    derived = b"".join(cmac(bytes([counter]) + tail) for counter in range(1, blocks + 1))
    return derived[: bits // 8]
