"""Keys that sign evidence: Ed25519, clear only in here, at rest under a data key of the vault."""

from collections.abc import Callable
from typing import Final

from hsm import ciphers
from hsm.errors import VaultError
from hsm.pans import LocalPans

PRIVATE_BYTES: Final = 32


class SigningKey:
    """A private key that signs and is never shown."""

    def __init__(self, private: bytes) -> None:
        if len(private) != PRIVATE_BYTES:
            raise VaultError(f"an Ed25519 private key has {PRIVATE_BYTES} bytes")
        self._private = private
        self._public = ciphers.ed25519_public(private)

    def __repr__(self) -> str:
        return f"SigningKey({self._public.hex()})"

    @classmethod
    def made(cls, entropy: Callable[[int], bytes]) -> "SigningKey":
        return cls(entropy(PRIVATE_BYTES))

    @classmethod
    def opened(cls, pans: LocalPans, sealed: bytes, name: str) -> "SigningKey":
        """What `sealed` gave; `VaultError` under another name or data key."""
        return cls(pans.open(sealed, name))

    def sealed(self, pans: LocalPans, name: str) -> bytes:
        """The key under the vault's data key, bound to `name`."""
        return pans.seal(self._private, name)

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        return self._public

    def sign(self, data: bytes) -> bytes:
        """64 bytes; the same for the same data."""
        return ciphers.ed25519_sign(self._private, data)
