"""Custodians: secrets as k-of-n shares (Shamir), and keys as components under dual control.

A share on paper: `LMK id - number - 64 hex digits in groups of four - 4 hex digits of check`. The check
finds mistyped digits; it says nothing about the secret. Fewer than `threshold` shares say nothing
about it either. The 32-byte secret is split as two halves of 16, each by Shamir's scheme over
GF(2^128) (pycryptodome, whose own randomness makes the polynomials: shares are the one thing here
that a given entropy does not determine).
"""

import binascii
import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from Crypto.Protocol.SecretSharing import Shamir

from hsm import check_values, des_keys
from hsm.errors import VaultError
from hsm.keys import Algorithm

SHARES_MAX: Final = 16
LENGTHS: Final = {Algorithm.AES: (16, 24, 32), Algorithm.TDES: (16, 24)}
COMPONENTS_MIN: Final = 2
COMPONENTS_MAX: Final = 9


def split(secret: bytes, threshold: int, count: int, *, label: str) -> tuple[str, ...]:
    """`count` printable shares of a 32-byte secret, any `threshold` of which give it back."""
    if len(secret) != 32:
        raise VaultError("a shared secret has 32 bytes")
    if not 2 <= threshold <= count <= SHARES_MAX:
        raise VaultError(f"shares: 2 <= threshold <= count <= {SHARES_MAX}")
    left = Shamir.split(threshold, count, secret[:16], ssss=False)
    right = Shamir.split(threshold, count, secret[16:], ssss=False)
    texts = []
    for (number, first), (_, second) in zip(left, right, strict=True):
        digits = (first + second).hex().upper()
        groups = " ".join(digits[start : start + 4] for start in range(0, 64, 4))
        texts.append(f"{label}-{number:02}-{groups}-{share_check(label, number, digits)}")
    return tuple(texts)


def combine(shares: Sequence[str], threshold: int, *, label: str) -> bytes:
    """The 32-byte secret from at least `threshold` different shares of the same `label`.

    A wrong but well-formed share gives a wrong secret: the caller's authenticated decryption tells.
    """
    parsed: dict[int, bytes] = {}
    for text in shares:
        number, value = parse_share(text, label)
        if parsed.setdefault(number, value) != value:
            raise VaultError(f"share {number} was given twice and differs")
    if len(parsed) < threshold:
        raise VaultError(f"{threshold} different shares are needed, {len(parsed)} were given")
    chosen = sorted(parsed.items())[:threshold]
    left: bytes = Shamir.combine([(number, value[:16]) for number, value in chosen], ssss=False)
    right: bytes = Shamir.combine([(number, value[16:]) for number, value in chosen], ssss=False)
    return left + right


def parse_share(text: str, label: str) -> tuple[int, bytes]:
    parts = text.strip().split("-")
    if len(parts) != 4:
        raise VaultError("a share has four parts: LMK id, number, digits, check")
    share_label, number, groups, check = parts
    digits = "".join(groups.split()).upper()
    if share_label.strip().upper() != label:
        raise VaultError("the share belongs to another LMK")
    if not (number.strip().isdecimal() and number.isascii()):
        raise VaultError("a share's number is decimal")
    value = int(number)
    if not 1 <= value <= SHARES_MAX:
        raise VaultError(f"a share's number is 1 to {SHARES_MAX}")
    if check.strip().upper() != share_check(label, value, digits):
        raise VaultError(f"share {value} was mistyped")
    try:
        secret = binascii.unhexlify(digits)
    except (binascii.Error, ValueError) as error:
        raise VaultError(f"share {value} is not hex") from error
    if len(secret) != 32:
        raise VaultError(f"share {value} has the wrong length")
    return value, secret


def share_check(label: str, number: int, digits: str) -> str:
    return hashlib.sha256(f"{label}/{number}/{digits}".encode()).hexdigest()[:4].upper()


def make_components(
    count: int, length: int, algorithm: Algorithm, entropy: Callable[[int], bytes]
) -> tuple[bytes, ...]:
    """Random components of a new key; those of a DES key have odd parity, as their key has when kept.

    Neither a component nor the key of them is one that the vault would refuse.
    """
    if not COMPONENTS_MIN <= count <= COMPONENTS_MAX:
        raise VaultError(
            f"a key is put together from {COMPONENTS_MIN} to {COMPONENTS_MAX} components"
        )
    for _ in range(100):
        parts = tuple(make_component(length, algorithm, entropy) for _ in range(count))
        key = combine_components(parts)
        if algorithm is Algorithm.TDES:
            key = des_keys.with_odd_parity(key)
        if is_good(key, algorithm) and len(set(parts)) == count:
            return parts
    raise VaultError("the source of entropy gives only weak keys")


def make_component(length: int, algorithm: Algorithm, entropy: Callable[[int], bytes]) -> bytes:
    """One random component."""
    if algorithm not in LENGTHS or length not in LENGTHS[algorithm]:
        known = "; ".join(f"{of.name} {', '.join(map(str, n))}" for of, n in LENGTHS.items())
        raise VaultError(f"no component of {length} bytes: {known}")
    for _ in range(100):
        part = entropy(length)
        if algorithm is Algorithm.TDES:
            part = des_keys.with_odd_parity(part)
        if is_good(part, algorithm):
            return part
    raise VaultError("the source of entropy gives only weak keys")


def is_good(key: bytes, algorithm: Algorithm) -> bool:
    return any(key) and (algorithm is not Algorithm.TDES or des_keys.des_key_fault(key) is None)


def component_check_value(component: bytes, algorithm: Algorithm) -> str:
    """As if the component were a key: 10 hex digits of CMAC for AES, 6 of ECB for Triple DES."""
    if algorithm is Algorithm.AES:
        return check_values.aes_check_value(component).hex().upper()
    return check_values.tdes_check_value(component).hex().upper()


def share_digits(share: str) -> str:
    """The last four characters of a share: what its custodian reads back."""
    return share.strip()[-4:].upper()


def combine_components(components: Sequence[bytes]) -> bytes:
    """A key from 2 to 9 full-length components, by XOR (PCI PIN: never halves of a key).

    >>> combine_components([bytes.fromhex("0F0F"), bytes.fromhex("F0F0")]).hex()
    'ffff'
    """
    if not COMPONENTS_MIN <= len(components) <= COMPONENTS_MAX:
        raise VaultError(
            f"a key is put together from {COMPONENTS_MIN} to {COMPONENTS_MAX} components"
        )
    if len({len(component) for component in components}) != 1:
        raise VaultError("all components have the length of the key")
    value = 0
    for component in components:
        value ^= int.from_bytes(component, "big")
    return value.to_bytes(len(components[0]), "big")
