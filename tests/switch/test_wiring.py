"""What a worker has of what the reference data name: room for its terminals' keys, and its links."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from hsm.errors import PinBlockError
from hsm.keys import KeyUsage
from hsm.lmk import TEST_LMK
from hsm.local import LocalVault
from switch.config import Config, Server
from switch.reference import Link, Snapshot
from switch.wiring import Links, keys_max

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


def test_a_link_whose_dialect_this_node_lacks_costs_the_others_nothing() -> None:
    """Its file may lie on other nodes only: it is told once, and looked for at every change."""
    links: dict[str, Link] = {
        name: Link(acquirer=name, host="bank", port=1, de32="1", dialect=dialect)
        for name, dialect in (("a", "of-others"), ("b", "iso1987_ascii"))
    }
    reached: list[str] = []

    class Started(Exception):  # noqa: N818 - as far as this test goes
        pass

    def slots(link: Link) -> Any:
        reached.append(link.acquirer)
        raise Started

    ports: Any = SimpleNamespace(stores=None, edge=None, transport=None)
    nothing: Any = None
    running = Links(Config(), ports, {}, nothing, nothing, nothing, None)
    running._slots_of = slots  # type: ignore[method-assign]
    with capture_logs() as logs:
        for generation in range(2):
            snapshot = Snapshot(generation)
            snapshot.links = links
            with pytest.raises(Started):
                asyncio.run(running.follow(snapshot))
    assert reached == ["b", "b"]
    assert [(log["event"], log["setting"]) for log in logs] == [
        ("link_not_on_this_node", "dialects")
    ]
    assert {name: error.setting for name, error in running.lacking.items()} == {"a": "dialects"}
    asyncio.run(running.follow(Snapshot(2)))
    assert not running.lacking
