"""Block ciphers with cached contexts: Triple DES, AES, SM4, AES-GCM, CMAC, HMAC, scrypt, Ed25519.

The one module that imports `cryptography` (OpenSSL). Making a context costs 5 to 15 microseconds,
using one costs half of one; so a context is made once a key and kept.

What makes that safe:
* An ECB context has no memory between whole blocks. Every call asserts that the data is whole
  blocks, because OpenSSL would keep the rest and give it back with the next message.
* A CBC context remembers its last ciphertext block. `Tdes.cbc_mac` takes that out again by XOR
  into the first block of the next message, which is cheaper than a fresh context (`cryptography`
  can not reset CBC).
* On any exception the context is dropped: nobody knows what it holds.
* Contexts are never shared between threads. An instance belongs to the thread that made it; the
  module's functions keep one bounded cache a thread.

The functions work on clear key bytes: they are for the far side of the wire (simulated terminals
and banks), for tests, and for the inside of the vault. The vault's port has no clear keys.
"""

import hmac
import threading
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES, SM4
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR, ECB
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from hsm.errors import VaultError

if TYPE_CHECKING:
    from collections.abc import Callable

DES_BLOCK: Final = 8
AES_BLOCK: Final = 16
CONTEXTS_MAX: Final = 1024  # cached keys, per thread and per cipher, of the module's functions

_ZERO_8: Final = bytes(DES_BLOCK)
_ZERO_16: Final = bytes(AES_BLOCK)


class Tdes:
    """One DES or Triple DES key (8, 16 or 24 bytes) with its contexts.

    Eight bytes are single DES, done as K K K; sixteen are two-key Triple DES, K1 K2 K1
    (ANSI X9.52 keying options 3 and 2). Parity bits are ignored, as the cipher does.
    """

    __slots__ = ("_cbc", "_cbc_last", "_cmac", "_decrypt", "_encrypt", "_key_24")

    def __init__(self, key: bytes) -> None:
        if len(key) not in (8, 16, 24):
            raise VaultError("a DES key has 8, 16 or 24 bytes")
        self._key_24 = key * 3 if len(key) == 8 else key + key[:8] if len(key) == 16 else key
        self._encrypt: Callable[[bytes], bytes] | None = None
        self._decrypt: Callable[[bytes], bytes] | None = None
        self._cbc: Callable[[bytes], bytes] | None = None
        self._cbc_last = 0
        self._cmac: CMAC | None = None

    def __repr__(self) -> str:
        return "Tdes(…)"

    def encrypt(self, data: bytes) -> bytes:
        """ECB over whole 8-byte blocks."""
        assert not len(data) & 7
        update = self._encrypt
        if update is None:
            update = Cipher(TripleDES(self._key_24), ECB()).encryptor().update  # noqa: S305
            self._encrypt = update
        try:
            return update(data)
        except BaseException:
            self._encrypt = None
            raise

    def decrypt(self, data: bytes) -> bytes:
        """ECB over whole 8-byte blocks."""
        assert not len(data) & 7
        update = self._decrypt
        if update is None:
            update = Cipher(TripleDES(self._key_24), ECB()).decryptor().update  # noqa: S305
            self._decrypt = update
        try:
            return update(data)
        except BaseException:
            self._decrypt = None
            raise

    def cbc_mac(self, data: bytes, vector: bytes | None = None) -> bytes:
        """The last block of CBC (vector zero for none) over whole, at least one, 8-byte blocks."""
        assert data
        assert not len(data) & 7
        assert vector is None or len(vector) == DES_BLOCK
        update = self._cbc
        if update is None:
            update = Cipher(TripleDES(self._key_24), CBC(_ZERO_8)).encryptor().update
            self._cbc, self._cbc_last = update, 0
        try:
            first = int.from_bytes(data[:8], "big") ^ self._cbc_last
            if vector is not None:
                first ^= int.from_bytes(vector, "big")
            mac = update(first.to_bytes(8, "big") + data[8:])[-8:]
            self._cbc_last = int.from_bytes(mac, "big")
        except BaseException:
            self._cbc = None
            raise
        return mac

    def cmac(self, data: bytes) -> bytes:
        """CMAC over Triple DES, 8 bytes (NIST SP 800-38B)."""
        fresh = self._cmac
        if fresh is None:
            fresh = self._cmac = CMAC(TripleDES(self._key_24))
        mac = fresh.copy()  # the kept one is never fed
        mac.update(data)
        return mac.finalize()


class _Blocks16:
    """A key of a cipher with blocks of 16 bytes, and its contexts."""

    __slots__ = ("_cbc", "_cbc_last", "_decrypt", "_encrypt", "_key")
    _algorithm: ClassVar[type[AES | SM4]]

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._encrypt: Callable[[bytes], bytes] | None = None
        self._decrypt: Callable[[bytes], bytes] | None = None
        self._cbc: Callable[[bytes], bytes] | None = None
        self._cbc_last = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    def encrypt(self, data: bytes) -> bytes:
        """ECB over whole 16-byte blocks."""
        assert not len(data) & 15
        update = self._encrypt
        if update is None:
            update = Cipher(self._algorithm(self._key), ECB()).encryptor().update  # noqa: S305
            self._encrypt = update
        try:
            return update(data)
        except BaseException:
            self._encrypt = None
            raise

    def decrypt(self, data: bytes) -> bytes:
        """ECB over whole 16-byte blocks."""
        assert not len(data) & 15
        update = self._decrypt
        if update is None:
            update = Cipher(self._algorithm(self._key), ECB()).decryptor().update  # noqa: S305
            self._decrypt = update
        try:
            return update(data)
        except BaseException:
            self._decrypt = None
            raise

    def cbc_mac(self, data: bytes, vector: bytes | None = None) -> bytes:
        """The last block of CBC (vector zero for none) over whole, at least one, 16-byte blocks."""
        assert data
        assert not len(data) & 15
        assert vector is None or len(vector) == AES_BLOCK
        update = self._cbc
        if update is None:
            update = Cipher(self._algorithm(self._key), CBC(_ZERO_16)).encryptor().update
            self._cbc, self._cbc_last = update, 0
        try:
            first = int.from_bytes(data[:16], "big") ^ self._cbc_last
            if vector is not None:
                first ^= int.from_bytes(vector, "big")
            mac = update(first.to_bytes(16, "big") + data[16:])[-16:]
            self._cbc_last = int.from_bytes(mac, "big")
        except BaseException:
            self._cbc = None
            raise
        return mac


class Aes(_Blocks16):
    """One AES key (16, 24 or 32 bytes) with its contexts."""

    __slots__ = ("_cmac",)
    _algorithm: ClassVar[type[AES | SM4]] = AES

    def __init__(self, key: bytes) -> None:
        if len(key) not in (16, 24, 32):
            raise VaultError("an AES key has 16, 24 or 32 bytes")
        super().__init__(key)
        self._cmac: CMAC | None = None

    def cmac(self, data: bytes) -> bytes:
        """AES-CMAC, 16 bytes (NIST SP 800-38B, RFC 4493)."""
        fresh = self._cmac
        if fresh is None:
            fresh = self._cmac = CMAC(AES(self._key))
        mac = fresh.copy()  # the kept one is never fed
        mac.update(data)
        return mac.finalize()


class Sm4(_Blocks16):
    """One SM4 key (16 bytes) with its contexts (GB/T 32907-2016)."""

    __slots__ = ()
    _algorithm: ClassVar[type[AES | SM4]] = SM4

    def __init__(self, key: bytes) -> None:
        if len(key) != 16:
            raise VaultError("an SM4 key has 16 bytes")
        super().__init__(key)


class Gcm:
    """One AES-GCM key. The caller answers for never using a nonce twice (NIST SP 800-38D)."""

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        if len(key) not in (16, 24, 32):
            raise VaultError("an AES key has 16, 24 or 32 bytes")
        self._aead = AESGCM(key)

    def __repr__(self) -> str:
        return "Gcm(…)"

    def encrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        """Ciphertext, as long as the data, followed by the 16-byte tag."""
        assert len(nonce) == 12
        return self._aead.encrypt(nonce, data, associated)

    def decrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        """The clear data; `VaultError` if anything, the associated data included, was changed."""
        try:
            return self._aead.decrypt(nonce, data, associated)
        except (InvalidTag, ValueError) as error:
            raise VaultError(
                "the ciphertext was changed, or belongs to another key or place"
            ) from error


HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
    "sm3": hashes.SM3,
}


class Hmac:
    """One HMAC key (RFC 2104). `hash_name` is one of `HASHES`."""

    __slots__ = ("_fresh", "_name")

    def __init__(self, key: bytes, hash_name: str = "sha256") -> None:
        if hash_name not in HASHES:
            raise VaultError(f"no HMAC is made with the hash {hash_name[:16]!r}")
        self._name = hash_name
        self._fresh = HMAC(key, HASHES[hash_name]())

    def __repr__(self) -> str:
        return f"Hmac({self._name}, …)"

    def digest(self, data: bytes) -> bytes:
        """32 bytes of SHA-256 and SM3, 48 of SHA-384, 64 of SHA-512."""
        mac = self._fresh.copy()  # the kept one is never fed
        mac.update(data)
        return mac.finalize()


# -- functions on clear keys, one bounded cache a thread ----------------------


class _Contexts(threading.local):
    def __init__(self) -> None:
        self.tdes: dict[bytes, Tdes] = {}
        self.aes: dict[bytes, Aes] = {}
        self.sm4: dict[bytes, Sm4] = {}


_contexts = _Contexts()


_Cipher = TypeVar("_Cipher", Tdes, Aes, Sm4)


def _kept(cache: dict[bytes, _Cipher], make: type[_Cipher], key: bytes) -> _Cipher:
    found = make(key)
    if len(cache) >= CONTEXTS_MAX:
        del cache[next(iter(cache))]
    cache[bytes(key)] = found
    return found


def tdes(key: bytes) -> Tdes:
    """This thread's contexts for a DES or Triple DES key."""
    return _contexts.tdes.get(key) or _kept(_contexts.tdes, Tdes, key)


def aes(key: bytes) -> Aes:
    """This thread's contexts for an AES key."""
    return _contexts.aes.get(key) or _kept(_contexts.aes, Aes, key)


def sm4(key: bytes) -> Sm4:
    """This thread's contexts for an SM4 key."""
    return _contexts.sm4.get(key) or _kept(_contexts.sm4, Sm4, key)


def forget() -> None:
    """Drop the contexts that this thread's functions keep: after keys were rotated or retired.

    What holds a `Tdes`, `Aes` or `Sm4` of its own keeps it.
    """
    for cache in (_contexts.tdes, _contexts.aes, _contexts.sm4):
        cache.clear()


def tdes_ecb_encrypt(key: bytes, data: bytes) -> bytes:
    """ECB over whole 8-byte blocks; an 8-byte key is single DES.

    >>> tdes_ecb_encrypt(bytes.fromhex("0123456789ABCDEF"), b"Now is t").hex()  # FIPS 81
    '3fa40e8a984d4815'
    """
    return tdes(key).encrypt(data)


def tdes_ecb_decrypt(key: bytes, data: bytes) -> bytes:
    """ECB over whole 8-byte blocks; an 8-byte key is single DES."""
    return tdes(key).decrypt(data)


def tdes_cbc_encrypt(key: bytes, vector: bytes, data: bytes) -> bytes:
    """CBC over whole 8-byte blocks, with a context of its own."""
    assert not len(data) & 7
    cipher = Cipher(TripleDES(Tdes(key)._key_24), CBC(vector))  # noqa: SLF001 - same module
    return cipher.encryptor().update(data)


def tdes_cbc_decrypt(key: bytes, vector: bytes, data: bytes) -> bytes:
    """CBC over whole 8-byte blocks, with a context of its own."""
    assert not len(data) & 7
    cipher = Cipher(TripleDES(Tdes(key)._key_24), CBC(vector))  # noqa: SLF001 - same module
    return cipher.decryptor().update(data)


def tdes_cmac(key: bytes, data: bytes) -> bytes:
    """CMAC with DES or Triple DES, 8 bytes."""
    return tdes(key).cmac(data)


def aes_ecb_encrypt(key: bytes, data: bytes) -> bytes:
    """ECB over whole 16-byte blocks."""
    return aes(key).encrypt(data)


def aes_ecb_decrypt(key: bytes, data: bytes) -> bytes:
    """ECB over whole 16-byte blocks."""
    return aes(key).decrypt(data)


def aes_cbc_encrypt(key: bytes, vector: bytes, data: bytes) -> bytes:
    """CBC over whole 16-byte blocks, with a context of its own."""
    assert not len(data) & 15
    return Cipher(AES(key), CBC(vector)).encryptor().update(data)


def aes_cbc_decrypt(key: bytes, vector: bytes, data: bytes) -> bytes:
    """CBC over whole 16-byte blocks, with a context of its own."""
    assert not len(data) & 15
    return Cipher(AES(key), CBC(vector)).decryptor().update(data)


def aes_ctr(key: bytes, counter: bytes, data: bytes) -> bytes:
    """CTR over any number of bytes, there and back; `counter` (16 bytes) is that of the first block."""
    return Cipher(AES(key), CTR(counter)).encryptor().update(data)


def aes_cmac(key: bytes, data: bytes) -> bytes:
    """AES-CMAC, 16 bytes."""
    return aes(key).cmac(data)


def sm4_ecb_encrypt(key: bytes, data: bytes) -> bytes:
    """ECB over whole 16-byte blocks."""
    return sm4(key).encrypt(data)


def sm4_ecb_decrypt(key: bytes, data: bytes) -> bytes:
    """ECB over whole 16-byte blocks."""
    return sm4(key).decrypt(data)


def sm4_cbc_encrypt(key: bytes, vector: bytes, data: bytes) -> bytes:
    """CBC over whole 16-byte blocks, with a context of its own."""
    assert not len(data) & 15
    return Cipher(SM4(Sm4(key)._key), CBC(vector)).encryptor().update(data)  # noqa: SLF001


def sm4_cbc_decrypt(key: bytes, vector: bytes, data: bytes) -> bytes:
    """CBC over whole 16-byte blocks, with a context of its own."""
    assert not len(data) & 15
    return Cipher(SM4(Sm4(key)._key), CBC(vector)).decryptor().update(data)  # noqa: SLF001


def aes_gcm_encrypt(key: bytes, nonce: bytes, data: bytes, associated: bytes) -> bytes:
    """Ciphertext followed by the 16-byte tag; the nonce has 12 bytes and is used once a key."""
    return Gcm(key).encrypt(nonce, data, associated)


def aes_gcm_decrypt(key: bytes, nonce: bytes, data: bytes, associated: bytes) -> bytes:
    """The clear data, or `VaultError`."""
    return Gcm(key).decrypt(nonce, data, associated)


def sm3(data: bytes) -> bytes:
    """32 bytes (GB/T 32905-2016).

    >>> sm3(b"abc").hex()[:16]
    '66c7f0f462eeedd9'
    """
    digest = hashes.Hash(hashes.SM3())
    digest.update(data)
    return digest.finalize()


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """32 bytes (RFC 2104)."""
    return hmac.digest(key, data, "sha256")


def scrypt(passphrase: bytes, salt: bytes, *, cost: int, length: int) -> bytes:
    """A key from a passphrase (RFC 7914): N = `cost`, a power of two, r = 8, p = 1.

    It takes 1 KiB of memory for each unit of cost.
    """
    return Scrypt(salt=salt, length=length, n=cost, r=8, p=1).derive(passphrase)


# -- signatures ---------------------------------------------------------------


def ed25519_public(private: bytes) -> bytes:
    """The public key (32 bytes) of an Ed25519 private key, which is any 32 random bytes (RFC 8032)."""
    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def ed25519_sign(private: bytes, data: bytes) -> bytes:
    """64 bytes; the same for the same data."""
    return Ed25519PrivateKey.from_private_bytes(private).sign(data)


def ed25519_verify(public: bytes, data: bytes, signature: bytes) -> bool:
    """Whether the signature holds; a key or signature that is none does not."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
