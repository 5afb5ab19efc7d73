"""Commands out of our own pages."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = ".venv/bin/tongbao"


def commands(page: Path) -> list[list[str]]:
    """The words after `tongbao` of every command in a page's shell blocks, in order."""
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        for line in block.splitlines():
            command = line.replace("$(TZ=Asia/Shanghai date +%F)", "TODAY")
            if command.startswith(PROGRAM):
                found.append(shlex.split(command, comments=True)[1:])
    return found
