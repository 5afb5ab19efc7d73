"""Track data under a data key, as UnionPay terminals send it in DE 35 and DE 36 (DE 53.3 = 1).

Pure functions on clear keys: for the inside of the vault and for simulated terminals.

A track is 1 to 104 characters of ISO 7813, digits and separators; in BCD two characters are a byte and an
odd one has a filler after it. The block that is enciphered (TDB) is the 8 bytes before the last byte:
16 characters, of which an odd track has one more behind it and an even track two. They are replaced by
the cipher text in hex, so a separator among them is no longer seen, and the length stays.

    6222021234567890123=30122201234567800    37 characters
                        ----------------     TDB, Triple DES in ECB with the TDK

Over SM4 the block is the 16 bytes before the last byte, 32 characters [unverified]. Observed: tracks
shorter than the block are filled on the left with F by one terminal; such a track can hold no card number
and is refused here. Separators are written `D` on the way in and `=` in a clear track.

Errors are `VaultError`; none shows track data.
"""

import re
from typing import Final

from hsm import ciphers
from hsm.errors import VaultError

TRACK_2_MAX: Final = 37  # characters, ISO 7813
TRACK_3_MAX: Final = 104  # ISO 4909

DES_BLOCK_CHARACTERS: Final = 16
SM4_BLOCK_CHARACTERS: Final = 32

_CLEAR: Final = re.compile(r"[0-9=D]+")
_SEALED: Final = re.compile(r"[0-9A-F=]+")
# PAN, separator, expiry, service code: where it does not fit, the key was wrong.
_TRACK_2: Final = re.compile(r"[0-9]{12,19}=[0-9]{7,}")


def encrypt(key: bytes, track: str, *, sm4: bool = False) -> str:
    """The track as it travels: `=` becomes `D`, and the block is upper-case hex.

    >>> encrypt(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"),
    ...         "6222021234567890123=30122201234567800")
    '6222021234567890123DEC7BB86CEB485A1C0'
    """
    if not _CLEAR.fullmatch(track):
        raise VaultError("a track has digits and separators")
    start, end = _block(track, sm4=sm4)
    text = track.replace("=", "D")
    block = bytes.fromhex(text[start:end])
    cipher = _sm4(key).encrypt(block) if sm4 else _tdes(key).encrypt(block)
    return text[:start] + cipher.hex().upper() + text[end:]


def decrypt(key: bytes, track: str, *, sm4: bool = False) -> str:
    """The clear track, with `=`.

    `VaultError` where the block does not open to digits and separators: a wrong key, or a track that was
    never enciphered. Of 16 characters a wrong key leaves that by chance once in some 400 times, so see
    also `check_track_2`.
    """
    if not _SEALED.fullmatch(track):
        raise VaultError("an enciphered track has hex digits")
    start, end = _block(track, sm4=sm4)
    text = track.replace("=", "D")
    block = bytes.fromhex(text[start:end])
    clear = _sm4(key).decrypt(block) if sm4 else _tdes(key).decrypt(block)
    opened = text[:start] + clear.hex().upper() + text[end:]
    if not _CLEAR.fullmatch(opened):
        raise VaultError("the track does not open: wrong key, or it was not enciphered")
    return opened.replace("D", "=")


def check_track_2(track: str) -> None:
    """`VaultError` unless a clear track 2 starts with PAN, `=`, expiry date and service code."""
    if len(track) > TRACK_2_MAX or not _TRACK_2.fullmatch(track):
        raise VaultError("track 2 does not start with PAN, separator, expiry date, service code")


def masked(track: str) -> str:
    """What may be shown: first 6 and last 4 digits of the PAN, and how long the rest is.

    A track without a separator shows its length alone.

    >>> masked("6222021234567890123=30122201234567800")
    '622202*********0123=*****************'
    """
    pan, separator, rest = track.replace("D", "=").partition("=")
    if not separator or not (12 <= len(pan) <= 19 and pan.isascii() and pan.isdigit()):
        return "*" * len(track)
    return f"{pan[:6]}{'*' * (len(pan) - 10)}{pan[-4:]}={'*' * len(rest)}"


def _block(track: str, *, sm4: bool) -> tuple[int, int]:
    if len(track) > TRACK_3_MAX:
        raise VaultError(f"a track has at most {TRACK_3_MAX} characters")
    width = SM4_BLOCK_CHARACTERS if sm4 else DES_BLOCK_CHARACTERS
    end = len(track) - (1 if len(track) % 2 else 2)
    if end < width:
        raise VaultError(f"a track of {len(track)} characters has no whole block to encipher")
    return end - width, end


def _tdes(key: bytes) -> ciphers.Tdes:
    if len(key) not in (16, 24):
        raise VaultError("a track key has 16 or 24 bytes")
    return ciphers.tdes(key)


def _sm4(key: bytes) -> ciphers.Sm4:
    return ciphers.sm4(key)
