"""Goal: the page of host commands is that of the program.

Method: the rendered part stands in the page; every row has what the page needs.
"""

import re
from pathlib import Path

import pytest

from hsm.host.codes import CODES
from hsm.host.commands import COMMANDS
from hsm.host.dispatch import Command
from hsm.host.documentation import render

PAGE = Path(__file__).parents[3] / "docs" / "hsm-commands.md"


def test_the_page_is_in_step() -> None:
    assert PAGE.read_text(encoding="utf-8").endswith(render() + "\n"), (
        "the page is not what hsm/host/documentation.py renders: print it anew, as it says"
    )


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.code)
def test_every_command_is_documented(command: Command) -> None:
    text = command.function.__doc__
    assert text is not None
    assert text.startswith(command.code + ": ")
    named = re.findall(r"\b(?:Errors: |; )?([0-9A-B][0-9A-F]) [a-z]", text.partition("Errors:")[2])
    assert set(named) <= set(CODES)
    assert command.title[:1].isupper()
    assert any(
        "\u4e00" <= character <= "\u9fff" or character.isupper() for character in command.title_zh
    )
