"""Vault, card numbers, log and metrics as a worker has them, with keys that both ends are told.

For `benchmarks.path --everything`: what is left null in it is the store.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from benchmarks.null_ports import Parts
from hsm.adapters.local import LocalHsm
from hsm.des_keys import with_odd_parity
from hsm.keys import Algorithm, KeyUsage
from hsm.lmk import TEST_LMK
from hsm.local import LocalVault
from hsm.pans import LocalPans
from switch.config import Config
from switch.logs import LogFile
from switch.metrics import Registry
from switch.reporter import Reporter
from terminals.registry import StoredKey

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from benchmarks.load import Plan
    from switch.reference import Link


class Keys:
    """In the clear, for terminals and bank. An AES key has 16 bytes too, and no parity."""

    def __init__(self, names: Iterable[str]) -> None:
        self.zak, self.zpk = new_key(), new_key()
        self.of_terminal = {name: (new_key(), new_key()) for name in names}  # PIK and MAK


def new_key() -> bytes:
    return with_odd_parity(os.urandom(16))


class RealLog(Reporter):
    """The reporter of a worker; but whatever is refused or fails here makes the run worth nothing."""

    def refused(self, source: str, response_code: str, rule: str) -> None:
        raise AssertionError(f"{source} was answered {response_code}: {rule}")

    def failed(self, error: BaseException) -> None:
        raise error


def real_parts(plan: Plan, link: Link, keys: Keys, folder: Path) -> Parts:
    """`folder`: where the lines of the log are written."""
    vault = LocalVault(TEST_LMK, os.urandom)
    config = Config()

    def block(usage: KeyUsage, key: bytes, algorithm: Algorithm | None = None) -> str:
        return vault.import_components(usage, [key], algorithm=algorithm, allow_weak=True).block

    def of_link(usage: KeyUsage, key: bytes, algorithm: Algorithm | None = None) -> StoredKey:
        return StoredKey(
            owner=f"link:{link.acquirer}",
            usage=usage.value,
            version=1,
            block=block(usage, key, algorithm),
            check_value="",
            lmk_id=vault.lmk_id,
        )

    def made(usage: KeyUsage) -> str:
        return vault.generate_key(usage, 32).block

    aes = Algorithm.AES if link.mac_algorithm == "cmac" else None
    file = LogFile(folder / "authorizations.jsonl", config.log.file_bytes, config.log.files)
    log = RealLog(config, Registry(), file)
    return Parts(
        hsm=LocalHsm(vault),
        pans=LocalPans(TEST_LMK, {1: made(KeyUsage.DATA)}, 1, made(KeyUsage.TOKEN)),
        log=log,
        link_keys=[of_link(KeyUsage.ZAK, keys.zak, aes), of_link(KeyUsage.ZPK, keys.zpk)],
        session_keys={
            name: (block(KeyUsage.TPK, pik), block(KeyUsage.MAK, mak))
            for name, (pik, mak) in keys.of_terminal.items()
        },
    )
