"""The vault in this process behind the port: it never suspends.

What every message asks is the vault's own call. The rest are coroutines; who awaits one goes on in the
same turn of the loop, so nothing else moves meanwhile.
"""

from collections.abc import Sequence

from hsm.keys import Algorithm, ExportedKey, KeyBlock, KeyUsage, WorkingKeys
from hsm.local import LocalVault


class LocalHsm:
    """`hsm.ports.Hsm` by a `LocalVault`."""

    def __init__(self, vault: LocalVault) -> None:
        self._vault = vault
        self.translate_pin = vault.translate_pin
        self.mac = vault.mac
        self.verify_mac = vault.verify_mac

    def __repr__(self) -> str:
        return f"LocalHsm({self.lmk_id})"

    @property
    def lmk_id(self) -> str:
        """The check value of the LMK."""
        return self._vault.lmk_id

    @property
    def lmk_ids(self) -> tuple[str, ...]:
        """LMKs whose blocks open here."""
        return self._vault.lmk_ids

    async def generate_working_keys(
        self,
        tmk: str,
        layout: str,
        mak_bytes: int,
        *,
        mak_algorithm: Algorithm | None = None,
    ) -> WorkingKeys:
        """See `hsm.ports.Hsm.generate_working_keys`."""
        return self._vault.generate_working_keys(
            tmk, layout, mak_bytes, mak_algorithm=mak_algorithm
        )

    async def generate_key(
        self, usage: KeyUsage, length: int, *, algorithm: Algorithm | None = None
    ) -> KeyBlock:
        """See `hsm.ports.Hsm.generate_key`."""
        return self._vault.generate_key(usage, length, algorithm=algorithm)

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
        """See `hsm.ports.Hsm.import_key`."""
        return self._vault.import_key(
            usage,
            under,
            cryptogram,
            algorithm=algorithm,
            check_value=check_value,
            allow_weak=allow_weak,
        )

    async def import_components(
        self,
        usage: KeyUsage,
        components: Sequence[bytes],
        *,
        algorithm: Algorithm | None = None,
        check_value: str | None = None,
        allow_weak: bool = False,
    ) -> KeyBlock:
        """See `hsm.ports.Hsm.import_components`."""
        return self._vault.import_components(
            usage, components, algorithm=algorithm, check_value=check_value, allow_weak=allow_weak
        )

    async def export_key(self, key: str, under: str) -> ExportedKey:
        """See `hsm.ports.Hsm.export_key`."""
        return self._vault.export_key(key, under)

    async def check_value(self, key: str) -> str:
        """See `hsm.ports.Hsm.check_value`."""
        return self._vault.check_value(key)
