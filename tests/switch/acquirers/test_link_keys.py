"""Goal: a link signs with the key in force, in the form it is stored in now, and drops one that has ended.

Method: a vault that changes its LMK, snapshots as a node would read them, and MACs of a second vault.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from hsm import lmk as lmks
from hsm.adapters.local import LocalHsm
from hsm.errors import VaultError
from hsm.keys import KeyUsage
from hsm.local import LocalVault
from switch.acquirers.link_keys import LinkMac
from switch.reference import Link, Snapshot
from terminals.registry import StoredKey
from tests.hsm.support import seeded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsm.keys import KeyBlock

OLD, NEW = lmks.make(seeded(1)), lmks.make(seeded(2))
LINK = Link(acquirer="A", host="h", port=1, de32="1")
DATA = b"covered"


def stored(block: KeyBlock, version: int, status: str = "active") -> StoredKey:
    return StoredKey(
        owner="link:A",
        usage="ZAK",
        version=version,
        block=block.block,
        check_value=block.check_value,
        lmk_id=block.lmk_id,
        status=status,  # type: ignore[arg-type]
    )


class Line:
    def __init__(self) -> None:
        self.vault = LocalVault(OLD, seeded(3))
        self.made = [self.vault.generate_key(KeyUsage.ZAK, 16) for _ in range(2)]
        self.macs = [self.vault.mac(key.block, LINK.mac_algorithm, DATA) for key in self.made]
        self.now = Snapshot(1, [], [stored(self.made[0], 1)])
        self.mac = LinkMac(LINK, LocalHsm(self.vault), lambda: self.now)

    def changed(self, *keys: StoredKey) -> None:
        later = self.now.copy(self.now.generation + 1)
        later.take([], keys)
        self.now = later

    async def verifies(self, mac: bytes) -> bool:
        """A message that ends in DE 64, its MAC."""
        verified = self.mac.verifies({0: "0210", 64: mac}, DATA + mac)
        assert isinstance(verified, bool)  # the vault in this process answers at once
        return verified


def on_a_loop(scenario: Callable[[Line], Awaitable[None]]) -> None:
    async def whole() -> None:
        await scenario(Line())

    asyncio.run(whole())


def test_the_same_key_under_the_next_lmk() -> None:
    async def scenario(line: Line) -> None:
        assert line.mac.sign(DATA) == line.macs[0]
        line.vault.take(lmks.following(NEW, OLD))
        line.changed(stored(line.vault.rewrap(line.made[0].block), 1))
        assert line.mac.sign(DATA) == line.macs[0]
        line.vault.take(NEW)  # and the form of before is not needed any more
        assert line.mac.sign(DATA) == line.macs[0]
        assert await line.verifies(line.macs[0])

    on_a_loop(scenario)


def test_the_former_key_verifies_until_it_ends() -> None:
    async def scenario(line: Line) -> None:
        used: list[StoredKey] = []
        line.mac.on_waiting = used.append
        assert line.mac.sign(DATA) == line.macs[0]
        line.changed(stored(line.made[1], 2, "pending"))
        assert line.mac.sign(DATA) == line.macs[0]  # it waits
        assert not used
        assert await line.verifies(line.macs[1])  # the host may have it: its 0810 was lost
        assert [key.version for key in used] == [2]
        line.changed(stored(line.made[1], 2))
        assert line.mac.sign(DATA) == line.macs[1]
        assert await line.verifies(line.macs[0])
        line.changed(stored(line.made[0], 1, "retired"))
        assert line.mac.sign(DATA) == line.macs[1]
        assert not await line.verifies(line.macs[0])
        line.changed(stored(line.made[1], 2, "retired"))
        with pytest.raises(VaultError, match="no ZAK"):
            line.mac.sign(DATA)
        assert not await line.verifies(line.macs[1])

    on_a_loop(scenario)


def test_a_key_that_was_just_sent_is_used_before_it_is_shown() -> None:
    async def scenario(line: Line) -> None:
        line.mac.take_up(stored(line.made[1], 2))
        assert line.mac.sign(DATA) == line.macs[1]
        line.changed(stored(line.made[0], 1))  # something else changed; it is still not shown
        assert line.mac.sign(DATA) == line.macs[1]
        line.changed(stored(line.made[1], 2))
        assert line.mac.sign(DATA) == line.macs[1]

    on_a_loop(scenario)


def test_keys_that_follow_one_another_each_verify_for_their_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(line: Line) -> None:
        made = [*line.made, *(line.vault.generate_key(KeyUsage.ZAK, 16) for _ in range(5))]
        macs = [line.vault.mac(key.block, LINK.mac_algorithm, DATA) for key in made]
        assert await line.verifies(macs[0])
        for version in range(2, 6):
            line.mac.take_up(stored(made[version - 1], version))
        assert line.mac.sign(DATA) == macs[4]
        assert [await line.verifies(mac) for mac in macs[:5]] == [True] * 5
        line.mac.take_up(stored(made[5], 6))  # so many and no more
        assert [await line.verifies(mac) for mac in macs[:6]] == [False, *[True] * 5]

    on_a_loop(scenario)

    async def later(line: Line) -> None:
        assert line.mac.sign(DATA) == line.macs[0]
        line.mac.take_up(stored(line.made[1], 2))
        assert not await line.verifies(line.macs[0])

    monkeypatch.setattr("switch.acquirers.link_keys.FORMER_KEY_S", 0.0)
    on_a_loop(later)
