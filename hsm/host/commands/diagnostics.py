"""Questions about the device itself, and what needs no key: NC, NO, B2, RA, GM.

Layouts as observed in github.com/nickntg/thalessimulatorlibrary and
github.com/softwaregroup-bg/ut-codec-payshield.
"""

import hashlib
from typing import Final

from hsm.host.codes import HostError
from hsm.host.dispatch import Command
from hsm.host.fields import LMK_KEY_BLOCK, Fields
from hsm.host.vault import HostVault

# What a device calls its buffer, by its bytes.
_BUFFERS: Final = ((2_048, "0"), (8_192, "1"), (16_384, "2"), (32_768, "3"))
_TCP: Final = "1"
_CONNECTIONS_SHOWN_MAX: Final = 99

_HASHES: Final = {
    "01": "sha1", "02": "md5", "05": "sha224", "06": "sha256", "07": "sha384", "08": "sha512",
}  # fmt: skip


def diagnostics(vault: HostVault, fields: Fields) -> bytes:
    """NC: which LMK, which software.

    Nothing, or `%` · LMK id 2 (00 the variant scheme's, 01 the key blocks').
    Answer: LMK check value 16H · firmware 9. Ours has 6 digits (00) or 10 (01); zeros follow.
    """
    fields.end()
    blocks = fields.lmk_id == LMK_KEY_BLOCK
    found = vault.keys.lmk.check_value if blocks else vault.variant.check_value
    return (found.ljust(16, "0") + vault.identity.firmware).encode()


def status(vault: HostVault, fields: Fields) -> bytes:
    """NO: how the port is set.

    Mode 2 (00). Answer: buffer 1 (0 2 KB, 1 8 KB, 2 16 KB, 3 32 KB and more) · transport 1 (1 TCP) · connections
    2 (99 for more) · firmware 9 · reserved 1 (0) · reserved 4 (0000).
    """
    if fields.text(2) != "00":
        raise HostError("15")
    fields.end()
    identity = vault.identity
    buffer = next((size for bytes_, size in _BUFFERS if identity.buffer_bytes <= bytes_), "3")
    connections = min(identity.connections_max, _CONNECTIONS_SHOWN_MAX)
    return f"{buffer}{_TCP}{connections:02}{identity.firmware}00000".encode()


def echo(_vault: HostVault, fields: Fields) -> bytes:
    """B2: the data comes back. Length 4H · data. Answer: data."""
    data = fields.binary(fields.hex_number(4))
    fields.end()
    return data


def cancel_authorised(vault: HostVault, fields: Fields) -> bytes:
    """RA: the authorised state ends, if there is one."""
    fields.end()
    vault.cancel_authorised()
    return b""


def hash_data(_vault: HostVault, fields: Fields) -> bytes:
    """GM: hash of data.

    Hash 2 (01 SHA-1, 02 MD5, 05 SHA-224, 06 SHA-256, 07 SHA-384, 08 SHA-512) · length 5, decimal, in bytes · data.
    Answer: the hash, binary. Errors: 05 an unknown hash.
    """
    name = _HASHES.get(fields.text(2))
    if name is None:
        raise HostError("05")
    data = fields.binary(fields.number(5))
    fields.end()
    return hashlib.new(name, data, usedforsecurity=False).digest()


COMMANDS: Final = (
    Command("NC", diagnostics, "LMK check value and firmware", "主密钥校验值与固件版本"),
    Command("NO", status, "State of the port", "端口状态"),
    Command("B2", echo, "Echo", "回显"),
    Command("RA", cancel_authorised, "End the authorised state", "取消授权状态"),
    Command("GM", hash_data, "Hash of data", "数据摘要"),
)
