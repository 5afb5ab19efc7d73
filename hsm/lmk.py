"""The local master key: AES-256, wraps every other key (TR-31 version D), made and sealed here.

`tongbao init` makes one and seals it into a file with a passphrase, with custodians' shares, or with
both, either of which then opens it. This module turns bytes into bytes; files, terminals and pipes
are the caller's. Whoever holds the LMK holds every key.

Python can not promise that memory is wiped: copies of the key live until the interpreter reuses
their memory. Core dumps are therefore off in every process that opens an LMK.

While keys move from one LMK to the next, the new one carries the one before (`Lmk.former`): whoever
opens the new one can open keys under both. Then the former one is dropped, from memory and file.

The sealed payload is JSON: `format`, `version`, `lmk_id`, and a slot `passphrase` (salt, cost, nonce,
ciphertext) and/or `shares` (threshold, count, nonce, ciphertext), binary in base64. Each slot holds the
LMK under AES-256-GCM; the slot's own parameters and the LMK id are its additional data. Version 2 adds
`former` (lmk_id, nonce, ciphertext): the LMK before, under a key derived from the LMK. A file without
one is of version 1.
"""

import hmac
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from hsm import ceremony, check_values, ciphers
from hsm.errors import VaultError

SCRYPT_COST: Final = 1 << 17  # 128 MiB and about half a second
SCRYPT_COST_MAX: Final = 1 << 20  # a sealed file may not ask for more
PASSPHRASE_CHARACTERS_MIN: Final = 12

LMK_BYTES: Final = 32
_FORMAT: Final = "tongbao-lmk"
_FORMER_LABEL: Final = b"tongbao/former-lmk/1"


class Lmk:
    """An opened local master key. It has no public bytes; the modules of this folder share it.

    `former`: the LMK that it takes over from, while stored keys may still be under that; one, not a row.
    """

    __slots__ = ("_key", "former", "lmk_id")

    def __init__(self, key: bytes, former: "Lmk | None" = None) -> None:
        if len(key) != LMK_BYTES:
            raise VaultError(f"an LMK has {LMK_BYTES} bytes")
        self._key = key
        self.lmk_id: Final = check_values.aes_check_value(key).hex().upper()
        if former is not None and (former.former is not None or former.lmk_id == self.lmk_id):
            raise VaultError("the former LMK is another one, and has no former one itself")
        self.former: Final[Lmk | None] = former

    @property
    def lmk_ids(self) -> tuple[str, ...]:
        """The LMKs that keys opened with this may be under: this one, then the former one."""
        return (self.lmk_id,) if self.former is None else (self.lmk_id, self.former.lmk_id)

    @property
    def check_value(self) -> str:
        """The first 5 bytes of its CMAC over zeros; an LMK is also called by it."""
        return self.lmk_id

    def __repr__(self) -> str:
        return f"Lmk({', former '.join(self.lmk_ids)})"

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
    return Lmk(entropy(LMK_BYTES))


def from_components(components: Sequence[bytes]) -> Lmk:
    """The LMK of 2 to 9 custodians' components of 32 bytes, by XOR.

    A component of zeros, or two that are the same, would leave the key to fewer people than were asked.
    """
    if any(len(component) != LMK_BYTES for component in components):
        raise VaultError(f"a component of an LMK has {LMK_BYTES} bytes")
    if not all(any(component) for component in components):
        raise VaultError("a component of zeros is none")
    if len(set(components)) != len(components):
        raise VaultError("two custodians entered the same component")
    key = ceremony.combine_components(components)
    if not any(key):
        raise VaultError("the components cancel out")
    return Lmk(key)


def following(lmk: Lmk, former: Lmk) -> Lmk:
    """The same LMK as the one that takes over from `former`; what that took over from must be gone."""
    if former.former is not None:
        raise VaultError(
            f"LMK {former.former.lmk_id} is not retired yet; LMK {former.lmk_id} took over from it"
        )
    return Lmk(lmk._key, Lmk(former._key))  # noqa: SLF001 - same module


def without_former(lmk: Lmk) -> Lmk:
    """The same LMK alone."""
    return Lmk(lmk._key)  # noqa: SLF001 - same module


def may_follow(asked: Lmk, present: Lmk) -> bool:
    """Whether a process that works with `present` may go on with `asked`: the same, the one that takes
    over from it, or the same without its former one. By the keys themselves: who asks knows them."""
    wanted, ours = hand_over(asked), hand_over(present)
    return any(
        hmac.compare_digest(wanted, each)
        for each in (ours, wanted[:LMK_BYTES] + ours, ours[:LMK_BYTES])
    )


# -- from the supervisor to its workers -----------------------------------------------


def hand_over(lmk: Lmk) -> bytes:
    """The 32 clear bytes, and those of the former LMK behind them: for the socket pair between a
    supervisor and its worker, and the socket on which a command hands a new LMK to a supervisor."""
    return lmk._key + (lmk.former._key if lmk.former else b"")  # noqa: SLF001 - same module


def take_over(data: bytes) -> Lmk:
    """The LMK from there."""
    former = Lmk(data[LMK_BYTES:]) if len(data) > LMK_BYTES else None
    return Lmk(data[:LMK_BYTES], former)


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


class FormerSlot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The LMK before, under a key derived from the LMK."""

    lmk_id: str
    nonce: bytes
    ciphertext: bytes


class SealedPayload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What stands in the file."""

    format: str
    version: int
    lmk_id: str
    passphrase: PassphraseSlot | None = None
    shares: SharesSlot | None = None
    former: FormerSlot | None = None

    @property
    def lmk_ids(self) -> tuple[str, ...]:
        """As `Lmk.lmk_ids`."""
        return (self.lmk_id,) if self.former is None else (self.lmk_id, self.former.lmk_id)


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
    former = seal_former(lmk, entropy)
    version = 1 if former is None else 2
    payload = SealedPayload(_FORMAT, version, lmk.lmk_id, passphrase_slot, shares_slot, former)
    return SealedLmk(encode_payload(payload), texts)


def seal_former(lmk: Lmk, entropy: Callable[[int], bytes]) -> FormerSlot | None:
    former = lmk.former
    if former is None:
        return None
    key, nonce = ciphers.hmac_sha256(lmk._key, _FORMER_LABEL), entropy(12)  # noqa: SLF001
    bound = f"{_FORMAT}/2/{lmk.lmk_id}/former/{former.lmk_id}".encode()
    sealed = ciphers.aes_gcm_encrypt(key, nonce, former._key, bound)  # noqa: SLF001 - same module
    return FormerSlot(former.lmk_id, nonce, sealed)


def encode_payload(payload: SealedPayload) -> bytes:
    return msgspec.json.format(msgspec.json.encode(payload), indent=1) + b"\n"


def drop_former(payload: bytes) -> bytes:
    """The same file without the LMK before; who could open it still can. Nothing is opened for it."""
    sealed = read_sealed(payload)
    return encode_payload(msgspec.structs.replace(sealed, version=1, former=None))


def reissue_shares(
    payload: bytes, lmk: Lmk, entropy: Callable[[int], bytes], shares: tuple[int, int]
) -> SealedLmk:
    """The file with other shares in the place of those it had; a passphrase's slot stays.

    The old shares open the old file only: every copy of that must go.
    """
    sealed = read_sealed(payload)
    if sealed.lmk_ids != lmk.lmk_ids:
        raise VaultError("the LMK that was opened is not that of the file")
    fresh = seal(lmk, entropy, shares=shares)
    slot = read_sealed(fresh.payload).shares
    return SealedLmk(encode_payload(msgspec.structs.replace(sealed, shares=slot)), fresh.shares)


def read_sealed(payload: bytes) -> SealedPayload:
    """The file's contents without opening anything: which LMK, which ways to open it."""
    try:
        sealed = msgspec.json.decode(payload, type=SealedPayload)
    except msgspec.MsgspecError as error:
        raise VaultError(f"not a sealed LMK: {error}") from error
    if sealed.format != _FORMAT or sealed.version != (1 if sealed.former is None else 2):
        raise VaultError("not a sealed LMK of version 1 or 2")
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
    slot = sealed.former
    if slot is None:
        return lmk
    key = ciphers.hmac_sha256(lmk._key, _FORMER_LABEL)  # noqa: SLF001 - same module
    bound = f"{_FORMAT}/2/{lmk.lmk_id}/former/{slot.lmk_id}".encode()
    try:
        former = ciphers.aes_gcm_decrypt(key, slot.nonce, slot.ciphertext, bound)
    except (VaultError, ValueError) as error:
        raise VaultError("the former LMK does not open: the file was changed") from error
    return Lmk(lmk._key, Lmk(former))  # noqa: SLF001 - same module
