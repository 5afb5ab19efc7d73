"""A vault that is busy, refuses, or takes its time: what one does to its callers.

The vault in a process does not suspend. A call that takes long holds up its whole process: the clock
of the machine goes on, and nothing else of the process runs meanwhile. A device on a network suspends
its caller alone: everything else goes on, and answers come in another order than they were asked for.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import msgspec

from hsm.errors import VaultError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsm.adapters.local import LocalHsm
    from terminals.simulator.dice import Dice
    from tests.simulation.node import Node

CALLS = frozenset(
    {
        "export_key",
        "generate_key",
        "generate_working_keys",
        "import_components",
        "import_key",
        "mac",
        "translate_pin",
        "verify_mac",
    }
)


class VaultFaults(msgspec.Struct, frozen=True, kw_only=True):
    """Rates are per call.

    `busy`: refused this once · `slow`: the call holds its process up for up to `slow_s`.
    """

    busy: float = 0.0
    slow: float = 0.0
    slow_s: float = 1.5


class DeviceFaults(msgspec.Struct, frozen=True, kw_only=True):
    """Of a vault on a network. Rates are per call, and every call takes up to `latency_s`.

    `late`: answers after up to `late_s` · `lost`: does its work, and its answer never comes: refused
    after `lost_s`.
    """

    late: float = 0.0
    lost: float = 0.0
    late_s: float = 8.0  # longer than any request may wait to be sent
    lost_s: float = 3.0
    latency_s: float = 0.0  # 0: the vault is in the process


class VaultBusyError(VaultError):
    """No free session at the device, or no answer of one."""


class FaultyVault:
    """`hsm.ports.Hsm` of one process. While `refusing` the device is away for every call."""

    def __init__(self, vault: LocalHsm, node: Node, faults: VaultFaults, dice: Dice) -> None:
        self._vault = vault
        self._node = node
        self._dice = dice
        self.faults = faults
        self.device = DeviceFaults()
        self.refusing = False
        self.refusing_calls: frozenset[str] = frozenset()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._vault, name)
        if name not in CALLS:
            return found
        return self._disturbed(name, found)

    def _disturbed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def disturbed(*args: Any, **options: Any) -> Any:
            faults, dice, world = self.faults, self._dice, self._node.world
            slow, busy = dice.chance(faults.slow), dice.chance(faults.busy)
            if slow:
                world.count("vault slow")
                self._node.block(faults.slow_s * dice.random())
            if self.refusing or busy or name in self.refusing_calls:
                world.count("vault refuses" if self.refusing else "vault busy")
                raise VaultBusyError("simulated device")
            if self.device.latency_s:
                return self._over_the_network(call, *args, **options)
            return call(*args, **options)

        return disturbed

    async def _over_the_network(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        await self._on_its_way(self.device)
        made = call(*args, **options)
        return await made if inspect.isawaitable(made) else made

    async def _on_its_way(self, faults: DeviceFaults) -> None:
        """There and back. What a device does has no effect outside it: a lost answer is a lost call."""
        dice, world = self._dice, self._node.world
        late, lost, share = dice.chance(faults.late), dice.chance(faults.lost), dice.random()
        world.count("vault asked over a network")
        if lost:
            world.count("vault lost")
            await asyncio.sleep(faults.lost_s)
            raise VaultBusyError("simulated device")
        if late:
            world.count("vault late")
        await asyncio.sleep(share * (faults.late_s if late else faults.latency_s))
        if self.refusing:  # it went away meanwhile
            raise VaultBusyError("simulated device")
