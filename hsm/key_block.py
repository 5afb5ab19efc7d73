"""Key blocks of TR-31:2018 / ANSI X9.143: a key bound to its purpose, under a protection key.

Layout, all printable ASCII:

    offset  width
    0       1     version: A, C variants of a DES key; B derived from it; D derived from an AES key
    1       4     length of the whole block, decimal
    5       2     usage          7   1   algorithm      8   1   mode of use
    9       2     key version    11  1   exportability  12  2   number of optional blocks, decimal
    14      2     reserved, 00
    16      …     optional blocks: id 2, length 2 (hex, of the whole optional block), data;
                  length 00 is followed by a length of the length (2 hex) and the length itself
    …             payload, hex: bit length of the key (2 bytes), key, random padding; enciphered CBC
    end           MAC, hex: 4 bytes in A and C, 8 in B, 16 in D

B and D: encryption and MAC keys are derived by CMAC with the protection key; the MAC goes over the
header and the clear payload and is the CBC vector. A and C: the keys are the protection key XOR 45
and XOR 4D; encryption first, with the first 8 header bytes as the vector, then a CBC MAC over header
and ciphertext. New blocks are made in B and D alone.

Every fault is one `KeyBlockError`; whether the MAC or the padding failed is not told.
"""

import binascii
import hmac
from collections.abc import Callable
from typing import Final

import msgspec

from hsm import ciphers
from hsm.errors import KeyBlockError

KEY_BLOCK_CHARACTERS_MAX: Final = 4096
OPTIONAL_BLOCKS_MAX: Final = 16
KEY_BYTES_MAX: Final = 64

_BLOCK_BYTES: Final = {"A": 8, "B": 8, "C": 8, "D": 16}
_MAC_BYTES: Final = {"A": 4, "B": 8, "C": 4, "D": 16}


class Header(msgspec.Struct, frozen=True):
    """Bytes 0 to 15 and the optional blocks but `PB`, whose random text is made by `wrap`."""

    version: str
    usage: str
    algorithm: str
    mode: str
    key_version: str = "00"
    exportability: str = "N"
    optional: tuple[tuple[str, str], ...] = ()

    def option(self, identifier: str) -> str | None:
        """The data of the optional block with this id."""
        for found, data in self.optional:
            if found == identifier:
                return data
        return None


def wrap(
    protection_key: bytes,
    header: Header,
    key: bytes,
    entropy: Callable[[int], bytes],
    *,
    pad_to: int,
) -> str:
    """A block of version B or D. Keys shorter than `pad_to` bytes are padded, to hide their length."""
    if header.version not in ("B", "D"):
        raise KeyBlockError("key blocks are made in versions B and D alone")
    if not 0 < len(key) <= KEY_BYTES_MAX:
        raise KeyBlockError(f"a key has 1 to {KEY_BYTES_MAX} bytes")
    block_bytes = _BLOCK_BYTES[header.version]
    payload = (len(key) * 8).to_bytes(2, "big") + key
    length = max(len(payload), pad_to + 2)
    length += -length % block_bytes
    payload += entropy(length - len(payload))

    optional = wrap_optional(header.optional, block_bytes, entropy)
    count = len(header.optional) + (1 if "PB" in optional[1] else 0)
    total = 16 + len(optional[0]) + 2 * (length + _MAC_BYTES[header.version])
    if total > KEY_BLOCK_CHARACTERS_MAX or count > OPTIONAL_BLOCKS_MAX:
        raise KeyBlockError("the key block would be too long")
    text = (
        f"{header.version}{total:04}{header.usage}{header.algorithm}{header.mode}"
        f"{header.key_version}{header.exportability}{count:02}00{optional[0]}"
    )
    if len(text) != 16 + len(optional[0]):
        raise KeyBlockError("a header element has the wrong width")

    encryption_key, mac_key = derive(protection_key, header.version)
    clear = text.encode("ascii") + payload
    if header.version == "D":
        mac = ciphers.aes_cmac(mac_key, clear)
        sealed = ciphers.aes_cbc_encrypt(encryption_key, mac, payload)
    else:
        mac = ciphers.tdes_cmac(mac_key, clear)
        sealed = ciphers.tdes_cbc_encrypt(encryption_key, mac, payload)
    return text + (sealed + mac).hex().upper()


def wrap_optional(
    optional: tuple[tuple[str, str], ...], block_bytes: int, entropy: Callable[[int], bytes]
) -> tuple[str, tuple[str, ...]]:
    """The optional blocks as text, with a padding block PB where the cipher needs whole blocks."""
    parts = []
    for identifier, data in optional:
        if len(identifier) != 2 or len(data) > 251 or not (identifier + data).isascii():
            raise KeyBlockError("a malformed optional block")
        parts.append(f"{identifier}{len(data) + 4:02X}{data}")
    identifiers = tuple(identifier for identifier, _ in optional)
    text = "".join(parts)
    missing = -len(text) % block_bytes
    if text and missing:
        if missing < 4:
            missing += block_bytes
        letters = "".join(chr(65 + byte % 26) for byte in entropy(missing - 4))
        text += f"PB{missing:02X}{letters}"
        identifiers += ("PB",)
    return text, identifiers


def unwrap(protection_key: bytes, block: str) -> tuple[Header, bytes]:
    """The header and the clear key of a block of version A, B, C or D."""
    header, payload_start = parse_header(block)
    version = header.version
    mac_characters = 2 * _MAC_BYTES[version]
    text, rest = block[:payload_start], block[payload_start:]
    if len(rest) <= mac_characters:
        raise KeyBlockError("no room for a key")
    try:
        sealed = binascii.unhexlify(rest[:-mac_characters])
        mac = binascii.unhexlify(rest[-mac_characters:])
    except (binascii.Error, ValueError) as error:
        raise KeyBlockError("payload or MAC is not hex") from error
    block_bytes = _BLOCK_BYTES[version]
    if len(sealed) % block_bytes or payload_start % block_bytes:
        raise KeyBlockError("not whole cipher blocks")

    encryption_key, mac_key = derive(protection_key, version)
    raw = text.encode("ascii")
    if version == "D":
        payload = ciphers.aes_cbc_decrypt(encryption_key, mac, sealed)
        expected = ciphers.aes_cmac(mac_key, raw + payload)
    elif version == "B":
        payload = ciphers.tdes_cbc_decrypt(encryption_key, mac, sealed)
        expected = ciphers.tdes_cmac(mac_key, raw + payload)
    else:
        payload = ciphers.tdes_cbc_decrypt(encryption_key, raw[:8], sealed)
        expected = ciphers.tdes(mac_key).cbc_mac(raw + sealed)[:4]
    bits = int.from_bytes(payload[:2], "big")
    size = bits // 8
    fits = bits % 8 == 0 and 0 < size <= min(len(payload) - 2, KEY_BYTES_MAX)
    if not hmac.compare_digest(mac, expected) or not fits:
        raise KeyBlockError("the block was changed, or was made under another key")
    return header, payload[2 : 2 + size]


def parse_header(block: str) -> tuple[Header, int]:
    """The header without any key, and the offset at which the payload starts."""
    if not 16 <= len(block) <= KEY_BLOCK_CHARACTERS_MAX:
        raise KeyBlockError(f"a key block has 16 to {KEY_BLOCK_CHARACTERS_MAX} characters")
    if not (block.isascii() and block.isprintable()):
        raise KeyBlockError("a key block is printable ASCII")
    if block[0] not in _BLOCK_BYTES:
        raise KeyBlockError(f"key block version {block[0]!r} is not one of A, B, C, D")
    if not block[1:5].isdecimal() or int(block[1:5]) != len(block):
        raise KeyBlockError("the length in the header is not that of the block")
    if not block[12:14].isdecimal() or int(block[12:14]) > OPTIONAL_BLOCKS_MAX:
        raise KeyBlockError(f"a key block has at most {OPTIONAL_BLOCKS_MAX} optional blocks")
    if block[14:16] != "00":
        raise KeyBlockError("the reserved bytes of the header are not 00")
    optional = []
    position = 16
    for _ in range(int(block[12:14])):
        identifier, data, position = parse_optional(block, position)
        if identifier != "PB":
            optional.append((identifier, data))
    header = Header(
        version=block[0],
        usage=block[5:7],
        algorithm=block[7],
        mode=block[8],
        key_version=block[9:11],
        exportability=block[11],
        optional=tuple(optional),
    )
    return header, position


def parse_optional(block: str, position: int) -> tuple[str, str, int]:
    """Id and data of the optional block at `position`, and where the next one starts."""
    identifier = block[position : position + 2]
    length = _hex(block[position + 2 : position + 4], 2)
    data_start = position + 4
    if length == 0:
        width = 2 * _hex(block[position + 4 : position + 6], 2)
        if not 2 <= width <= 8:
            raise KeyBlockError("a malformed optional block")
        data_start = position + 6 + width
        length = _hex(block[position + 6 : data_start], width)
    end = position + length
    if end < data_start or end > len(block):
        raise KeyBlockError("a malformed optional block")
    return identifier, block[data_start:end], end


def _hex(text: str, width: int) -> int:
    try:
        return int.from_bytes(binascii.unhexlify(text.rjust(width, "?")), "big")
    except (binascii.Error, ValueError) as error:
        raise KeyBlockError("a malformed optional block") from error


_DERIVED_TDES: Final = {16: (0x0000, 0x0080, 2), 24: (0x0001, 0x00C0, 3)}
_DERIVED_AES: Final = {16: (0x0002, 0x0080, 1), 24: (0x0003, 0x00C0, 2), 32: (0x0004, 0x0100, 2)}


def derive(protection_key: bytes, version: str) -> tuple[bytes, bytes]:
    """The encryption and the MAC key of one protection key (TR-31:2018 clause 5.3.2).

    B and D: CMAC over counter (1), purpose (2: 0000 encryption, 0001 MAC), 00, algorithm (2),
    length in bits (2), as often as the key needs. A and C: XOR 45 and XOR 4D.
    """
    if version == "D":
        if len(protection_key) not in _DERIVED_AES:
            raise KeyBlockError("version D needs an AES key of 16, 24 or 32 bytes")
        algorithm, bits, blocks = _DERIVED_AES[len(protection_key)]
        aes_cmac = ciphers.Aes(protection_key).cmac
        return (
            derive_by(aes_cmac, 0, algorithm, bits, blocks),
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
