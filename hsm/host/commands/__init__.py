"""The table of host commands: one module a subject, one row a command."""

from typing import Final

from hsm.host.commands import pins
from hsm.host.dispatch import Command

COMMANDS: Final[dict[str, Command]] = {
    command.code: command for module in (pins,) for command in module.COMMANDS
}
