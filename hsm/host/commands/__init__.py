"""The table of host commands: one module a subject, one row a command."""

from typing import Final

from hsm.host.commands import data, diagnostics, key_exchange, keys, macs, pins
from hsm.host.dispatch import Command

COMMANDS: Final[dict[str, Command]] = {
    command.code: command
    for module in (keys, key_exchange, pins, macs, data, diagnostics)
    for command in module.COMMANDS
}
