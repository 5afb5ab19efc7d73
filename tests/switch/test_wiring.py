"""The room that a worker has for its terminals' keys."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hsm.errors import PinBlockError
from hsm.keys import KeyUsage
from hsm.lmk import TEST_LMK
from hsm.local import LocalVault
from switch.config import Config, Server
from switch.wiring import keys_max

if TYPE_CHECKING:
    from hsm.vault import OpenKey


def test_every_terminal_that_is_remembered_has_its_keys_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once all have traded, no key block is unwrapped again, however many of them take turns."""
    monkeypatch.setattr("switch.wiring.OTHER_KEYS", 2)
    config = Config(server=Server(terminals=20))
    vault = LocalVault(TEST_LMK, os.urandom, keys_max=keys_max(config))
    tmk = vault.generate_key(KeyUsage.TMK, 16).block
    zpk = vault.import_components(KeyUsage.ZPK, [b"\x01" * 16], allow_weak=True).block
    terminals = [vault.generate_working_keys(tmk, "003", 16) for _ in range(20)]
    unwrapped: list[str] = []
    unwrap = vault._keys.unwrap

    def counted(block: str) -> OpenKey:
        unwrapped.append(block)
        return unwrap(block)

    monkeypatch.setattr(vault._keys, "unwrap", counted)

    def trade() -> None:
        for each in terminals:
            vault.mac(each.mak, "unionpay-ecb", b"message")
            with pytest.raises(PinBlockError):
                vault.translate_pin(bytes(8), each.pik, zpk, "6222021234567890123")

    trade()
    unwrapped.clear()
    trade()
    assert unwrapped == []
