"""Message authentication codes: M6, M8 in every algorithm; GW by DUKPT; MS, MQ, MA, MC, ME as older clients ask.

A long message comes in blocks. Every answer but the last carries the chaining value, the last block of CBC
so far, and the next command brings it back. It is as secret as a MAC: who has it for a message of his
choice knows the MAC of that message without the last step of algorithm 3.

Layouts as observed in github.com/softwaregroup-bg/ut-codec-payshield and
github.com/nickntg/thalessimulatorlibrary; algorithms 5 and 6, padding 3 and 4 [unverified].
"""

import hmac
from collections.abc import Callable
from typing import Final

import msgspec

from hsm import ciphers, mac
from hsm.dukpt_aes import AesUsage
from hsm.dukpt_replay import Purpose
from hsm.dukpt_tdes import TdesUsage
from hsm.host import vault as uses
from hsm.host.codes import HostError
from hsm.host.dispatch import Command
from hsm.host.dukpt import read_ksn, working_key
from hsm.host.fields import Fields
from hsm.host.key_forms import BLOCK, same_form
from hsm.host.vault import HostVault, KeyUse
from hsm.keys import Algorithm
from hsm.vault import OpenKey

ONLY, FIRST, MIDDLE, LAST = "0123"
WHOLE_BLOCKS: Final = FIRST + MIDDLE  # modes whose data is not padded

_DES: Final = frozenset({Algorithm.DES, Algorithm.TDES})


class Method(msgspec.Struct, frozen=True):
    """How one key makes a MAC: the MAC of the data, and the chaining value after whole blocks."""

    block_bytes: int
    mac: Callable[[bytes, int, bytes | None], bytes]  # data, padding method, chaining value
    chain: Callable[[bytes, bytes | None], bytes]


def method_for(opened: OpenKey, algorithm: str) -> Method:
    """The method of M6's algorithm digit for a key; A7 where the two do not go together."""
    key, kind = opened.key, opened.algorithm
    if algorithm == "1" and kind in _DES:
        return Method(
            8, bind(mac.x9_9, key), lambda data, vector: mac.x9_9_chain(key, data, vector)
        )
    if algorithm == "3" and kind in _DES and len(key) == 16:
        return Method(
            8, bind(mac.x9_19, key), lambda data, vector: mac.x9_19_chain(key, data, vector)
        )
    cbc = {Algorithm.AES: mac.aes_cbc, Algorithm.SM4: mac.sm4_cbc}.get(kind)
    if algorithm == "5" and cbc is not None:
        whole = bind(cbc, key)
        return Method(16, whole, lambda data, vector: whole(data, 0, vector))
    if algorithm == "6" and kind is Algorithm.AES:
        return Method(
            16,
            lambda data, _padding, vector: aes_cmac_from(key, vector, data),
            lambda data, vector: mac.aes_cbc(key, data, 0, vector),
        )
    if algorithm == "6" and kind is Algorithm.TDES:
        return Method(
            8,
            lambda data, _padding, vector: tdes_cmac_from(key, vector, data),
            lambda data, vector: mac.x9_9_chain(key, data, vector),
        )
    raise HostError("A7")


def bind(
    function: Callable[[bytes, bytes, int, bytes | None], bytes], key: bytes
) -> Callable[[bytes, int, bytes | None], bytes]:
    return lambda data, padding, vector: function(key, data, padding, vector)


# CMAC goes on from a chaining value as if a block stood before the data whose encryption it is.


def aes_cmac_from(key: bytes, vector: bytes | None, data: bytes) -> bytes:
    before = b"" if vector is None else ciphers.aes_ecb_decrypt(key, vector)
    return mac.aes_cmac(key, before + data)


def tdes_cmac_from(key: bytes, vector: bytes | None, data: bytes) -> bytes:
    before = b"" if vector is None else ciphers.tdes_ecb_decrypt(key, vector)
    return mac.tdes_cmac(key, before + data)


# -- M6, M8 --------------------------------------------------------------------------------------


class Request(msgspec.Struct, frozen=True):
    """What M6 and M8 have in common."""

    mode: str
    mac_bytes: int
    padding: int
    method: Method
    vector: bytes | None
    data: bytes

    def __repr__(self) -> str:
        return f"Request({len(self.data)} bytes)"


def generate(vault: HostVault, fields: Fields) -> bytes:
    """M6: a MAC.

    Mode 1 (0 the only block, 1 first, 2 middle, 3 last) · input format 1 (0 binary, 1 hex, 2 text) · MAC size 1
    (0 8H, 1 16H) · algorithm 1 (1 and 3 of ISO 9797-1; 5 CBC of AES or SM4; 6 CMAC) · padding method 1 (0 none,
    1, 2, 3 of ISO 9797-1; CMAC has its own, of which 4 is another name) · key type 3H (003 TAK, 008 ZAK, FFF
    block) · key (16H, or scheme) · in modes 2 and 3: chaining value 16H (32H of AES and SM4) · length 4H, in
    characters · data.
    Answer: in modes 0 and 3 MAC 8H or 16H, in modes 1 and 2 the chaining value.
    Errors: 02 mode, 03 format, 04 algorithm, 05 key type, 06 data that should be whole blocks, 09 padding,
    A7 an algorithm that is not the key's.
    """
    request = read_request(vault, fields, uses.TAK, uses.ZAK)
    fields.end()
    return answer(request, result(request))


def verify(vault: HostVault, fields: Fields) -> bytes:
    """M8: whether a MAC is right; 01 where it is not.

    Fields as M6, then in modes 0 and 3 the MAC, 8H or 16H. Answer: in modes 1 and 2 the chaining value.
    """
    request = read_request(vault, fields, uses.TAK_CHECK, uses.ZAK_CHECK)
    given = b"" if request.mode in WHOLE_BLOCKS else fields.hex(2 * request.mac_bytes)
    fields.end()
    found = result(request)
    if request.mode in WHOLE_BLOCKS:
        return answer(request, found)
    if not hmac.compare_digest(found[: request.mac_bytes], given):
        raise HostError("01")
    return b""


def read_request(vault: HostVault, fields: Fields, tak: KeyUse, zak: KeyUse) -> Request:
    mode = fields.choice("0123", "02")
    format_ = fields.choice("012", "03")
    mac_bytes = 4 if fields.choice("01") == "0" else 8
    algorithm = fields.choice("1356", "04")
    padding = fields.choice("01234" if algorithm == "6" else "0123", "09")
    code = fields.text(3)
    if code not in ("003", "008", BLOCK):
        raise HostError("05")
    text = fields.key(16)
    same_form(code, text)
    method = method_for(vault.key(text, zak if code == "008" else tak), algorithm)
    vector = fields.hex(2 * method.block_bytes) if mode in MIDDLE + LAST else None
    data = read_data(fields, format_)
    if mode in WHOLE_BLOCKS or (padding == "0" and algorithm != "6"):
        require_blocks(data, method.block_bytes)
    if vector is not None and not data:
        raise HostError("80")
    if padding == "3" and algorithm != "6" and mode != ONLY:
        raise HostError("09")  # it begins with the length of all the data
    return Request(mode, mac_bytes, int(padding), method, vector, data)


def result(request: Request) -> bytes:
    if request.mode in WHOLE_BLOCKS:
        return request.method.chain(request.data, request.vector)
    return request.method.mac(request.data, request.padding, request.vector)


def answer(request: Request, found: bytes) -> bytes:
    return digits(found if request.mode in WHOLE_BLOCKS else found[: request.mac_bytes])


def read_data(fields: Fields, format_: str) -> bytes:
    """A length 4H, then so many characters: 0 bytes, 1 hex digits, 2 printable text."""
    length = fields.hex_number(4)
    if format_ == "1":
        return fields.hex(length)
    return fields.text(length).encode() if format_ == "2" else fields.binary(length)


def require_blocks(data: bytes, block_bytes: int) -> None:
    if not data or len(data) % block_bytes:
        raise HostError("06")


def digits(data: bytes) -> bytes:
    return data.hex().upper().encode()


# -- GW --------------------------------------------------------------------------------------------


def dukpt_mac(vault: HostVault, fields: Fields) -> bytes:
    """GW: make or verify a MAC with the key of a DUKPT transaction.

    MAC mode 1 (1 verify, 4 make) · MAC method 1 (1) · BDK (32H, or scheme) · KSN descriptor 3H · KSN 12 to 20H (24H
    of AES) · in mode 1: MAC 16H · length 4H, in bytes · data. Answer: in mode 4 MAC 16H. Errors: 01 the MAC is wrong, 02 mode,
    06 method, 39 in mode 1: the KSN's counter was used.
    The MAC is ISO 9797-1 algorithm 3, zeros as padding, by the key for requests or both ways; with an AES BDK the
    first half of CMAC by the key for both ways [unverified: method and key; other modes and methods are not known].
    """
    verifies = fields.choice("14", "02") == "1"
    fields.choice("1", "06")
    bdk = vault.key(fields.key(32), uses.BDK)
    ksn = read_ksn(fields, bdk)
    given = fields.hex(16) if verifies else b""
    data = fields.binary(fields.hex_number(4))
    fields.end()
    if not data:
        raise HostError("80")
    if verifies:
        vault.check_counter(bdk, Purpose.MAC, ksn)
    opened = working_key(vault, bdk, ksn, TdesUsage.MAC_REQUEST, AesUsage.MAC_BOTH)
    method = method_for(opened, "6" if opened.algorithm is Algorithm.AES else "3")
    found = method.mac(data, 1, None)[:8]
    if not verifies:
        return digits(found)
    if not hmac.compare_digest(found, given):
        raise HostError("01")
    vault.accept_counter(bdk, Purpose.MAC, ksn)
    return b""


# -- as older clients ask ----------------------------------------------------------------------------


def large_x9_19(vault: HostVault, fields: Fields) -> bytes:
    """MS: all of a MAC by ANSI X9.19, or X9.9 with a single-length key, zeros as padding.

    Block 1 (0 the only, 1 first, 2 middle, 3 last) · key type 1 (0 TAK, 1 ZAK) · key length 1 (0 single, 1
    double) · message type 1 (0 binary, 1 hex) · key (16H or 32H, or scheme) · for blocks 2 and 3: chaining value
    16H · length 4H, in bytes · data.
    Answer: chaining value or MAC 16H. Errors: 05 block, 04 key type or a key that has not the length, 06 key
    length or data that should be whole blocks, 03 message type.
    """
    block = fields.choice("0123", "05")
    use = uses.TAK if fields.choice("01", "04") == "0" else uses.ZAK
    double = fields.choice("01", "06") == "1"
    message_type = fields.choice("01", "03")
    text = fields.key(32 if double else 16)
    vector = fields.hex(16) if block in MIDDLE + LAST else None
    length = fields.hex_number(4)
    data = fields.hex(2 * length) if message_type == "1" else fields.binary(length)
    fields.end()
    opened = vault.key(text, use)
    if len(opened.key) != (16 if double else 8):
        raise HostError("04")
    return large(method_for(opened, "3" if double else "1"), block, vector, data)


def large(method: Method, block: str, vector: bytes | None, data: bytes) -> bytes:
    if block in WHOLE_BLOCKS:
        require_blocks(data, method.block_bytes)
        return digits(method.chain(data, vector))
    if vector is not None and not data:
        raise HostError("80")
    return digits(method.mac(data, 1, vector))


def large_x9_9(vault: HostVault, fields: Fields) -> bytes:
    """MQ: all of a MAC by ISO 9797-1 algorithm 1, zeros as padding, with a ZAK.

    Block 1 (0 the only, 1 first, 2 middle, 3 last) · ZAK (16H, or scheme) · for blocks 2 and 3: chaining value
    16H · length 3H, in bytes · binary data. Answer: chaining value or MAC 16H.
    """
    block = fields.choice("0123", "05")
    text = fields.key(16)
    vector = fields.hex(16) if block in MIDDLE + LAST else None
    data = fields.binary(fields.hex_number(3))
    fields.end()
    return large(method_for(vault.key(text, uses.ZAK), "1"), block, vector, data)


def old_generate(vault: HostVault, fields: Fields) -> bytes:
    """MA: the left half of a MAC by ISO 9797-1 algorithm 1, zeros as padding.

    TAK (16H, or scheme) · binary data to the end of the message; no LMK id and no trailer can follow.
    Answer: MAC 8H.
    """
    return digits(old_mac(vault, fields.key(16), uses.TAK, fields.rest()))


def old_verify(vault: HostVault, fields: Fields) -> bytes:
    """MC: whether a MAC as of MA is right; 01 where it is not. TAK · MAC 8H · data."""
    text, given = fields.key(16), fields.hex(8)
    found = old_mac(vault, text, uses.TAK_CHECK, fields.rest())
    if not hmac.compare_digest(found, given):
        raise HostError("01")
    return b""


def old_translate(vault: HostVault, fields: Fields) -> bytes:
    """ME: a MAC as of MA under another TAK, if it is right (01).

    TAK it is under · TAK it goes under · MAC 8H · data. Answer: MAC 8H.
    """
    text, other, given = fields.key(16), fields.key(16), fields.hex(8)
    data = fields.rest()
    found = old_mac(vault, text, uses.TAK_CHECK, data)
    translated = old_mac(vault, other, uses.TAK_TO, data)
    if not hmac.compare_digest(found, given):
        raise HostError("01")
    return digits(translated)


def old_mac(vault: HostVault, text: str, use: KeyUse, data: bytes) -> bytes:
    if not data:
        raise HostError("80")
    return method_for(vault.key(text, use), "1").mac(data, 1, None)[:4]


COMMANDS: Final = (
    Command("M6", generate, "Make a MAC", "生成MAC"),
    Command("M8", verify, "Verify a MAC", "校验MAC"),
    Command("GW", dukpt_mac, "MAC by DUKPT", "DUKPT MAC"),
    Command("MS", large_x9_19, "MAC of a large message, X9.19", "长报文MAC, X9.19"),
    Command("MQ", large_x9_9, "MAC of a large message, ZAK", "长报文MAC, ZAK"),
    Command("MA", old_generate, "Make a MAC with a TAK", "用TAK生成MAC"),
    Command("MC", old_verify, "Verify a MAC with a TAK", "用TAK校验MAC"),
    Command("ME", old_translate, "Verify a MAC, make it with another TAK", "校验并转换MAC"),
)
