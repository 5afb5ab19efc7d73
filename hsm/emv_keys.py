"""Keys of chip cards: from an issuer's master key to a card's, from a card's to a transaction's.

Pure functions on clear keys. A card's key carries odd parity, as EMV has it; DES ignores it. The
SM4 ones have none.

Sources: EMV 4.3 Book 2, annex A1.3 (session keys) and A1.4 (master keys); EMV 4.1 Book 2 A1.3 for the
tree of EMV2000, which bulletin SU-46 took out; Visa, Mastercard and PBOC ways as named below.
"""

import hashlib
import re
from typing import Final

from hsm import ciphers
from hsm.des_keys import with_odd_parity
from hsm.errors import VaultError

PAN_PSN_MAX: Final = 11  # bytes of 19 and 2 digits
TREE_HEIGHT_MAX: Final = 16
TREE_BRANCH_MAX: Final = 255

_PAN: Final = re.compile(r"[0-9]{8,19}")
_PSN: Final = re.compile(r"[0-9]{2}")
_ONES_8: Final = (1 << 64) - 1
_DECIMAL: Final = str.maketrans("abcdef", "012345")


# -- the card's master key ----------------------------------------------------------


def diversifier(pan: str, psn: str = "00", *, option: str = "A") -> bytes:
    """The 8 bytes Y that tell a card apart: from its PAN and PAN sequence number (A1.4).

    Option A: the 16 rightmost digits of PAN and PSN, zeros on the left. Option B for PANs of more
    than 16 digits: SHA-1 of PAN and PSN, of which the first 16 decimal digits are taken, and where
    they are fewer, then its letters as a = 0 … f = 5.

    >>> diversifier("9901234567890123", "45").hex()
    '0123456789012345'
    """
    if _PAN.fullmatch(pan) is None:
        raise VaultError("a PAN has 8 to 19 digits")
    if _PSN.fullmatch(psn) is None:
        raise VaultError("a PAN sequence number has 2 digits")
    if option not in ("A", "B"):
        raise VaultError("a card's master key is derived by option A or B")
    digits = pan + psn
    if option == "A" or len(pan) <= 16:
        return bytes.fromhex(digits[-16:].rjust(16, "0"))
    return diversifier_b(bytes.fromhex(digits if len(digits) % 2 == 0 else "0" + digits))


def diversifier_b(pan_psn: bytes) -> bytes:
    """Y of option B from PAN and PSN as packed digits, with a 0 on the left of an odd number."""
    if not 0 < len(pan_psn) <= PAN_PSN_MAX:
        raise VaultError(f"PAN and sequence number have at most {PAN_PSN_MAX} bytes")
    hashed = hashlib.sha1(pan_psn, usedforsecurity=False).hexdigest()
    digits = "".join(c for c in hashed if c.isdigit())
    letters = "".join(c for c in hashed if not c.isdigit()).translate(_DECIMAL)
    return bytes.fromhex((digits + letters)[:16])


def master_key(issuer_key: bytes, y: bytes) -> bytes:
    """A card's 16-byte master key: Y and its complement under the issuer's key (A1.4.1).

    >>> master_key(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"),
    ...            diversifier("9901234567890123", "45")).hex().upper()
    'F84315C7B95BD3B0C74694922C3808B0'
    """
    check_key(issuer_key, "issuer's master key")
    return with_odd_parity(ciphers.tdes_ecb_encrypt(issuer_key, _and_complement(y)))


def master_key_sm4(issuer_key: bytes, y: bytes) -> bytes:
    """The same with SM4, one block (PBOC 3.0 part 17 [unverified])."""
    check_key(issuer_key, "issuer's master key")
    return ciphers.sm4_ecb_encrypt(issuer_key, _and_complement(y))


# -- keys of one transaction ----------------------------------------------------------


def common_session_key(master: bytes, r: bytes) -> bytes:
    """EMV common session key (A1.3.1) from 8 bytes R: byte 2 becomes F0 in the left half, 0F right.

    R is `r_of_atc`, `r_of_atc_and_number`, or the ARQC for the keys of issuer scripts.

    >>> common_session_key(bytes.fromhex("F84315C7B95BD3B0C74694922C3808B0"),
    ...                    bytes.fromhex("1234567890123456")).hex().upper()
    '3E736BF8D37664348A04E3ABE00DEFC1'
    """
    check_key(master, "card's master key")
    check_length(r, 8, "the session key's diversifier")
    halves = r[:2] + b"\xf0" + r[3:] + r[:2] + b"\x0f" + r[3:]
    return with_odd_parity(ciphers.Tdes(master).encrypt(halves))


def r_of_atc(atc: bytes) -> bytes:
    """R of an application cryptogram: ATC and six zero bytes."""
    check_length(atc, 2, "the ATC")
    return atc + bytes(6)


def r_of_atc_and_number(atc: bytes, unpredictable_number: bytes) -> bytes:
    """R of Mastercard's own session key: ATC, two zero bytes, the unpredictable number (M/Chip)."""
    check_length(atc, 2, "the ATC")
    check_length(unpredictable_number, 4, "the unpredictable number")
    return atc + bytes(2) + unpredictable_number


def visa_script_key(master: bytes, atc: bytes) -> bytes:
    """Session key of Visa's issuer scripts: the ATC on the left half, its complement on the right.

    Both are XORed on the two last bytes (Visa VIS, CVN 10 and 18; as pyemv has it).
    """
    check_key(master, "card's master key")
    left, right = _atc_and_complement(atc)
    mixed = int.from_bytes(master, "big") ^ (left << 64 | right)
    return with_odd_parity(mixed.to_bytes(16, "big"))


def emv2000_session_key(
    master: bytes, atc: bytes, *, branch: int = 4, height: int = 8, vector: bytes = bytes(16)
) -> bytes:
    """Session key from EMV2000's tree: the ATC's digits to base `branch` lead from root to leaf.

    The tree must have a leaf for each of the 65,536 ATCs: 2 to 255 branches, 16 levels at most.
    Usual are 2 branches with 16 levels and 4 with 8, and a zero vector.
    """
    check_key(master, "card's master key")
    check_length(atc, 2, "the ATC")
    check_length(vector, 16, "the tree's vector")
    if not (2 <= branch <= TREE_BRANCH_MAX and 1 <= height <= TREE_HEIGHT_MAX):
        raise VaultError(
            f"a session key tree has 2 to {TREE_BRANCH_MAX} branches and 1 to {TREE_HEIGHT_MAX} levels"
        )
    if branch**height <= 0xFFFF:
        raise VaultError(f"a tree of {branch} branches and {height} levels has too few leaves")
    counter = int.from_bytes(atc, "big")
    grandparent, parent = vector, master
    for level in range(height - 1, 0, -1):
        child = _tree_child(parent, grandparent, counter // branch**level % branch)
        grandparent, parent = parent, child
    leaf = _tree_child(parent, grandparent, counter % branch)
    mixed = int.from_bytes(leaf, "big") ^ int.from_bytes(grandparent, "big")
    return with_odd_parity(mixed.to_bytes(16, "big"))


def _tree_child(parent: bytes, grandparent: bytes, branch: int) -> bytes:
    left = int.from_bytes(grandparent[:8], "big") ^ branch
    right = int.from_bytes(grandparent[8:], "big") ^ branch ^ 0xF0
    return ciphers.Tdes(parent).encrypt((left << 64 | right).to_bytes(16, "big"))


def pboc_session_key(master: bytes, atc: bytes) -> bytes:
    """Session key of PBOC cards: six zero bytes and the ATC, then six and its complement.

    Observed at a tool that makes scripts loading PBOC electronic cash.
    """
    check_key(master, "card's master key")
    left, right = _atc_and_complement(atc)
    return with_odd_parity(ciphers.Tdes(master).encrypt((left << 64 | right).to_bytes(16, "big")))


def pboc_session_key_sm4(master: bytes, atc: bytes) -> bytes:
    """The same with SM4, one block (PBOC 3.0 part 17 [unverified])."""
    check_key(master, "card's master key")
    left, right = _atc_and_complement(atc)
    return ciphers.Sm4(master).encrypt((left << 64 | right).to_bytes(16, "big"))


def _and_complement(y: bytes) -> bytes:
    check_length(y, 8, "a card's diversifier")
    return y + (int.from_bytes(y, "big") ^ _ONES_8).to_bytes(8, "big")


def _atc_and_complement(atc: bytes) -> tuple[int, int]:
    check_length(atc, 2, "the ATC")
    number = int.from_bytes(atc, "big")
    return number, number ^ 0xFFFF


def check_key(key: bytes, name: str) -> None:
    """`VaultError` unless it is a double-length DES, or an SM4, key."""
    if len(key) != 16:
        raise VaultError(f"the {name} has 16 bytes")


def check_length(data: bytes, length: int, name: str) -> None:
    """`VaultError` that says what has which length."""
    if len(data) != length:
        raise VaultError(f"{name} has {length} bytes")
