"""The local master key: AES-256, wraps every other key (TR-31 version D), made and sealed here.

`tongbao init` makes one and seals it into a file with a passphrase, with custodians' shares, or with
both, either of which then opens it. This module turns bytes into bytes; files, terminals and pipes
are the caller's. Whoever holds the LMK holds every key.

Python can not promise that memory is wiped: copies of the key live until the interpreter reuses
their memory. Core dumps are therefore off in every process that opens an LMK.

The sealed payload is JSON: `format`, `version`, `lmk_id`, and a slot `passphrase` (salt, cost, nonce,
ciphertext) and/or `shares` (threshold, count, nonce, ciphertext), binary in base64. Each slot holds the
LMK under AES-256-GCM; the slot's own parameters and the LMK id are its additional data.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from hsm import ceremony, check_values, ciphers
from hsm.errors import VaultError

SCRYPT_COST: Final = 1 << 17  # 128 MiB and about half a second
SCRYPT_COST_MAX: Final = 1 << 20  # a sealed file may not ask for more
PASSPHRASE_CHARACTERS_MIN: Final = 12

_FORMAT: Final = "tongbao-lmk"


class Lmk:
    """An opened local master key. It has no public bytes; the modules of this folder share it."""

    __slots__ = ("_key", "lmk_id")

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise VaultError("an LMK has 32 bytes")
        self._key = key
        self.lmk_id: Final = check_values.aes_check_value(key).hex().upper()

    @property
    def check_value(self) -> str:
        """The first 5 bytes of its CMAC over zeros; an LMK is also called by it."""
        return self.lmk_id

    def __repr__(self) -> str:
        return f"Lmk({self.lmk_id})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("an LMK is not pickled; see hand_over")


# The public test LMK. Its bytes are an ASCII sentence that anybody can read here; keys under it are
# public. `serve` refuses it without --demo (rules §13).
TEST_LMK_CHECK_VALUE: Final = "35571B903C"
TEST_LMK: Final = Lmk(b"TONGBAO PUBLIC TEST LMK 00000001")


def is_test_lmk(lmk: Lmk) -> bool:
    """Whether this is the public test LMK, which only a demonstration may use."""
    return lmk.lmk_id == TEST_LMK_CHECK_VALUE


def make(entropy: Callable[[int], bytes]) -> Lmk:
    """A new random LMK."""
    return Lmk(entropy(32))


# -- from the supervisor to its workers -----------------------------------------------


def hand_over(lmk: Lmk) -> bytes:
    """The 32 clear bytes, for one use: the inherited pipe from the supervisor to a worker."""
    return lmk._key  # noqa: SLF001 - same module


def take_over(data: bytes) -> Lmk:
    """The LMK from the inherited pipe."""
    return Lmk(data)


# -- sealing -------------------------------------------------------------------------


class PassphraseSlot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The LMK under a key that scrypt makes of a passphrase."""

    salt: bytes
    cost: int
    nonce: bytes
    ciphertext: bytes


class SharesSlot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The LMK under a random key that `threshold` of `count` custodians can put together."""

    threshold: int
    count: int
    nonce: bytes
    ciphertext: bytes


class SealedPayload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the file."""

    format: str
    version: int
    lmk_id: str
    passphrase: PassphraseSlot | None = None
    shares: SharesSlot | None = None


class SealedLmk(msgspec.Struct, frozen=True):
    """`payload` goes into a file (0600); each of `shares` goes to one custodian, on paper, and nowhere else."""

    payload: bytes
    shares: tuple[str, ...]

    def __repr__(self) -> str:
        return f"SealedLmk({len(self.payload)} bytes, {len(self.shares)} shares)"


def seal(
    lmk: Lmk,
    entropy: Callable[[int], bytes],
    *,
    passphrase: str | None = None,
    shares: tuple[int, int] | None = None,
    cost: int = SCRYPT_COST,
) -> SealedLmk:
    """The payload of the LMK's file, with a passphrase, with (threshold, count) shares, or both."""
    if passphrase is None and shares is None:
        raise VaultError("an LMK is sealed with a passphrase, with shares, or with both")
    passphrase_slot = shares_slot = None
    texts: tuple[str, ...] = ()
    if passphrase is not None:
        if len(passphrase) < PASSPHRASE_CHARACTERS_MIN:
            raise VaultError(f"a passphrase has at least {PASSPHRASE_CHARACTERS_MIN} characters")
        salt, nonce = entropy(16), entropy(12)
        key = ciphers.scrypt(passphrase.encode(), salt, cost=cost, length=32)
        bound = f"{_FORMAT}/1/{lmk.lmk_id}/passphrase/{cost}".encode()
        sealed = ciphers.aes_gcm_encrypt(key, nonce, lmk._key, bound)  # noqa: SLF001 - same module
        passphrase_slot = PassphraseSlot(salt, cost, nonce, sealed)
    if shares is not None:
        threshold, count = shares
        key, nonce = entropy(32), entropy(12)
        texts = ceremony.split(key, threshold, count, label=lmk.lmk_id)
        bound = f"{_FORMAT}/1/{lmk.lmk_id}/shares/{threshold}/{count}".encode()
        sealed = ciphers.aes_gcm_encrypt(key, nonce, lmk._key, bound)  # noqa: SLF001 - same module
        shares_slot = SharesSlot(threshold, count, nonce, sealed)
    payload = SealedPayload(_FORMAT, 1, lmk.lmk_id, passphrase_slot, shares_slot)
    return SealedLmk(msgspec.json.format(msgspec.json.encode(payload), indent=1) + b"\n", texts)


def read_sealed(payload: bytes) -> SealedPayload:
    """The file's contents without opening anything: which LMK, which ways to open it."""
    try:
        sealed = msgspec.json.decode(payload, type=SealedPayload)
    except msgspec.MsgspecError as error:
        raise VaultError(f"not a sealed LMK: {error}") from error
    if sealed.format != _FORMAT or sealed.version != 1:
        raise VaultError("not a sealed LMK of version 1")
    return sealed


def open_with_passphrase(payload: bytes, passphrase: str) -> Lmk:
    """The LMK; `VaultError` if the passphrase is wrong or the file was changed."""
    sealed = read_sealed(payload)
    slot = sealed.passphrase
    if slot is None:
        raise VaultError("this LMK was not sealed with a passphrase")
    cost = slot.cost
    if not 2 <= cost <= SCRYPT_COST_MAX or cost & (cost - 1):
        raise VaultError("the sealed LMK names an impossible scrypt cost")
    key = ciphers.scrypt(passphrase.encode(), slot.salt, cost=cost, length=32)
    bound = f"{_FORMAT}/1/{sealed.lmk_id}/passphrase/{cost}".encode()
    return open_slot(sealed, key, slot.nonce, slot.ciphertext, bound)


def open_with_shares(payload: bytes, shares: Sequence[str]) -> Lmk:
    """The LMK from at least `threshold` custodians' shares, in any order."""
    sealed = read_sealed(payload)
    slot = sealed.shares
    if slot is None:
        raise VaultError("this LMK was not sealed with shares")
    key = ceremony.combine(shares, slot.threshold, label=sealed.lmk_id)
    bound = f"{_FORMAT}/1/{sealed.lmk_id}/shares/{slot.threshold}/{slot.count}".encode()
    return open_slot(sealed, key, slot.nonce, slot.ciphertext, bound)


def open_slot(
    sealed: SealedPayload, key: bytes, nonce: bytes, ciphertext: bytes, bound: bytes
) -> Lmk:
    if len(nonce) != 12:
        raise VaultError("not a sealed LMK: a nonce has 12 bytes")
    try:
        lmk = Lmk(ciphers.aes_gcm_decrypt(key, nonce, ciphertext, bound))
    except VaultError as error:
        raise VaultError(
            "the LMK does not open: wrong passphrase or shares, or a changed file"
        ) from error
    if lmk.lmk_id != sealed.lmk_id:
        raise VaultError("the LMK in the file is not the one it names")
    return lmk
