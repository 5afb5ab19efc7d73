"""A vault that is busy, refuses, or takes its time: what a device on a network does to its callers.

A call to the vault does not suspend. One that takes long holds up its whole process, as a blocking
call does: the clock of the machine goes on, and nothing else of the process runs meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from hsm.errors import VaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

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


class VaultBusyError(VaultError):
    """No free session at the device, or none that answers."""


class FaultyVault:
    """`hsm.ports.Hsm` of one process. While `refusing` the device is away for every call."""

    def __init__(self, vault: LocalHsm, node: Node, faults: VaultFaults, dice: Dice) -> None:
        self._vault = vault
        self._node = node
        self._dice = dice
        self.faults = faults
        self.refusing = False
        self.refusing_calls: frozenset[str] = frozenset()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._vault, name)
        if name not in CALLS:
            return found
        return self._disturbed(name, found)

    def _disturbed(
        self, name: str, call: Callable[..., Coroutine[Any, Any, Any]]
    ) -> Callable[..., Any]:
        async def disturbed(*args: Any, **options: Any) -> Any:
            faults, dice, world = self.faults, self._dice, self._node.world
            slow, busy = dice.chance(faults.slow), dice.chance(faults.busy)
            if slow:
                world.count("vault slow")
                self._node.block(faults.slow_s * dice.random())
            if self.refusing or busy or name in self.refusing_calls:
                world.count("vault refuses" if self.refusing else "vault busy")
                raise VaultBusyError("simulated device")
            return await call(*args, **options)

        return disturbed
