"""Cryptograms between a chip card and its issuer: ARQC, TC and AAC from the card, ARPC back.

Pure functions on clear keys; which key, padding and data a scheme has is `hsm.emv_profiles`.
Sources: EMV 4.3 Book 2, clauses 8.1 and 8.2. Those with SM4 follow PBOC 3.0 part 17 [unverified]:
blocks of 16 bytes, and the first 8 bytes of a result.
"""

import hmac
from typing import Final

from hsm import ciphers, mac
from hsm.emv_keys import check_key, check_length
from hsm.errors import VaultError

AC_DATA_MAX: Final = 1024  # bytes of card and terminal data under a cryptogram
PROPRIETARY_MAX: Final = 8


def application_cryptogram(key: bytes, data: bytes, padding: int = 2) -> bytes:
    """ARQC, TC or AAC, 8 bytes: ISO 9797-1 algorithm 3 over the data (8.1.2).

    `padding`: 2 as EMV has it; 1, zeros only, as Visa CVN 10.

    >>> application_cryptogram(bytes.fromhex("3E736BF8D37664348A04E3ABE00DEFC1"),
    ...                        bytes.fromhex("0123456789ABCDEF0123456789ABCDEF")).hex().upper()
    '4B46013359B7A58B'
    """
    check_key(key, "cryptogram key")
    _check_data(data)
    return mac.x9_19(key, data, _padding(padding))


def application_cryptogram_sm4(key: bytes, data: bytes) -> bytes:
    """The first 8 bytes of the SM4 CBC-MAC of the data with 80 and zeros after it."""
    check_key(key, "cryptogram key")
    _check_data(data)
    return ciphers.sm4(key).cbc_mac(data + b"\x80" + bytes(-(len(data) + 1) % 16))[:8]


def verify(expected: bytes, cryptogram: bytes) -> bool:
    """Whether a card's cryptogram is the one computed; takes the same time for any answer."""
    check_length(cryptogram, 8, "an application cryptogram")
    return hmac.compare_digest(expected, cryptogram)


def arpc_method_1(key: bytes, cryptogram: bytes, response_code: bytes) -> bytes:
    """ARPC, 8 bytes, from ARQC and authorisation response code (2 bytes) (8.2.1).

    >>> arpc_method_1(bytes.fromhex("3E736BF8D37664348A04E3ABE00DEFC1"),
    ...               bytes.fromhex("4B46013359B7A58B"), b"00").hex().upper()
    'F6E72DDCEB080F21'
    """
    check_key(key, "cryptogram key")
    return ciphers.tdes_ecb_encrypt(key, _arpc_block(cryptogram, response_code))


def arpc_method_1_sm4(key: bytes, cryptogram: bytes, response_code: bytes) -> bytes:
    """The first 8 bytes of SM4 over the same block with eight zero bytes after it."""
    check_key(key, "cryptogram key")
    block = _arpc_block(cryptogram, response_code) + bytes(8)
    return ciphers.sm4_ecb_encrypt(key, block)[:8]


def arpc_method_2(
    key: bytes, cryptogram: bytes, card_status_update: bytes, proprietary: bytes = b""
) -> bytes:
    """ARPC, 4 bytes, from ARQC, card status update (4 bytes) and up to 8 proprietary ones (8.2.2).

    >>> arpc_method_2(bytes.fromhex("3E736BF8D37664348A04E3ABE00DEFC1"),
    ...               bytes.fromhex("4B46013359B7A58B"), bytes.fromhex("12345678"),
    ...               bytes.fromhex("1234567890123456")).hex().upper()
    'F8D558BE'
    """
    check_key(key, "cryptogram key")
    check_length(cryptogram, 8, "an application cryptogram")
    check_length(card_status_update, 4, "a card status update")
    if len(proprietary) > PROPRIETARY_MAX:
        raise VaultError(f"proprietary authentication data has at most {PROPRIETARY_MAX} bytes")
    return mac.x9_19(key, cryptogram + card_status_update + proprietary, 2)[:4]


def _arpc_block(cryptogram: bytes, response_code: bytes) -> bytes:
    check_length(cryptogram, 8, "an application cryptogram")
    check_length(response_code, 2, "an authorisation response code")
    mixed = int.from_bytes(cryptogram, "big") ^ int.from_bytes(response_code + bytes(6), "big")
    return mixed.to_bytes(8, "big")


def _check_data(data: bytes) -> None:
    if not 0 < len(data) <= AC_DATA_MAX:
        raise VaultError(f"a cryptogram covers 1 to {AC_DATA_MAX} bytes")


def _padding(padding: int) -> int:
    if padding not in (1, 2):
        raise VaultError("a cryptogram is padded by method 1 or 2 of ISO 9797-1")
    return padding
