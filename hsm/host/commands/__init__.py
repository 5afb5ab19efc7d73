"""The table of host commands: one module a subject, one row a command."""

from typing import Final

from hsm.host.commands import key_exchange, keys, pins
from hsm.host.dispatch import Command

COMMANDS: Final[dict[str, Command]] = {
    command.code: command for module in (keys, key_exchange, pins) for command in module.COMMANDS
}
