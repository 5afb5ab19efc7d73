"""The port onto a vault: what the switch and the terminal estate may ask of one.

Awaited: a device on a network suspends its caller, the vault in this process never does
(`hsm/adapters/`). So who awaits one looks again at what may have moved meanwhile. An operation may be
begun outside a task (`switch/at_once.py`): an adapter awaits futures and asks for no current task.

What every message asks (`translate_pin`, `mac`, `verify_mac`) is a plain call: the vault in this process
gives the result itself, a device something to await. A refusal comes from the call, or from awaiting.

Keys go in and out as key blocks, opaque text under the vault's LMK; no operation gives or takes a clear
key but the entry of components. Every refusal is a `hsm.errors.VaultError`, of which `PinBlockError` is
answered 99 and the others 96. `docs/hsm.md` sets each operation against the host commands of a network
device.
"""

from collections.abc import Awaitable, Sequence
from typing import Protocol

from hsm.keys import Algorithm, ExportedKey, KeyBlock, KeyUsage, WorkingKeys


class Hsm(Protocol):
    """A vault with one LMK. One instance belongs to one process."""

    @property
    def lmk_id(self) -> str:
        """The check value of the LMK, stored beside every key block."""
        ...

    @property
    def lmk_ids(self) -> tuple[str, ...]:
        """LMKs whose blocks open here: the LMK, then the one it takes over from, if there is one."""
        ...

    async def generate_working_keys(
        self,
        tmk: str,
        layout: str,
        mak_bytes: int,
        *,
        mak_algorithm: Algorithm | None = None,
    ) -> WorkingKeys:
        """New PIK, MAK and, in layout 004, TDK for a terminal, with DE 62 of its sign-on answer.

        `layout` is DE 60.3: 001 (24 bytes), 003 (40) or 004 (60). `mak_bytes` is 8 (single DES) or 16
        (Triple DES; `Algorithm.AES` for the profile `cmac`).
        """
        ...

    def translate_pin(
        self, pin_block: bytes, source_key: str, destination_key: str, pan: str
    ) -> bytes | Awaitable[bytes]:
        """A PIN block of format 0 from a TPK or ZPK to a ZPK, the PAN unchanged (ISO 9564-1).

        `PinBlockError`: not 8 bytes, or control, length, digits or fill are wrong.
        """
        ...

    def mac(self, key: str, profile: str, data: bytes) -> bytes | Awaitable[bytes]:
        """DE 64 over `data` with a MAK or ZAK: the 8 bytes to send; `b""` for the profile `off`."""
        ...

    def verify_mac(self, key: str, profile: str, data: bytes, mac: bytes) -> bool | Awaitable[bool]:
        """Whether `mac` is DE 64 of `data`, compared in constant time.

        For the profile `off` only `b""`, no DE 64, is right.
        """
        ...

    async def generate_key(
        self, usage: KeyUsage, length: int, *, algorithm: Algorithm | None = None
    ) -> KeyBlock:
        """A new random key of `length` bytes."""
        ...

    async def import_key(
        self,
        usage: KeyUsage,
        under: str | None,
        cryptogram: bytes | str,
        *,
        algorithm: Algorithm | None = None,
        check_value: str | None = None,
        allow_weak: bool = False,
    ) -> KeyBlock:
        """A key from outside: bytes are ECB under the key `under`, text is TR-31 (B or D) under it.

        `under` None takes a block of this vault's own LMK back and checks it. `check_value`, in hex,
        must agree where given. `allow_weak` (demonstrations only) accepts published test keys.
        """
        ...

    async def import_components(
        self,
        usage: KeyUsage,
        components: Sequence[bytes],
        *,
        algorithm: Algorithm | None = None,
        check_value: str | None = None,
        allow_weak: bool = False,
    ) -> KeyBlock:
        """A key from 2 to 9 full-length components by XOR; each custodian enters one.

        DES components have odd parity, and so has the key that is kept. `allow_weak` (demonstrations
        only) also takes a single component.
        """
        ...

    async def export_key(self, key: str, under: str) -> ExportedKey:
        """A ZPK or ZAK under a ZMK at least as strong, for a link's key change."""
        ...

    async def check_value(self, key: str) -> str:
        """Upper-case hex: 6 digits for DES and Triple DES, 10 for AES and HMAC."""
        ...
