"""The table of host commands: one module a subject, one row a command."""

from typing import Final

from hsm.host.commands import (
    cards,
    data,
    diagnostics,
    dukpt,
    emv,
    key_exchange,
    keys,
    macs,
    pin_values,
    pin_verify,
    pins,
)
from hsm.host.dispatch import Command

_MODULES: Final = (
    keys, key_exchange, pins, pin_verify, pin_values, dukpt, cards, emv, macs, data, diagnostics,
)  # fmt: skip

COMMANDS: Final[dict[str, Command]] = {
    command.code: command for module in _MODULES for command in module.COMMANDS
}
