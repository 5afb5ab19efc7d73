"""`deploy/systemd`: the units fit the program that they start.

Method: every unit is read as systemd reads it (sections, repeated keys); every `tongbao` command in it must
parse by the program's own tree; bounds are held against the code that has them.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from switch import cli
from switch.commands import hsm
from switch.config import Config
from switch.lmk_file import CREDENTIAL
from switch.supervisor import KILL_GRACE_S, OTHER_FILES

UNITS = sorted((Path(__file__).resolve().parents[2] / "deploy" / "systemd").iterdir())
SECTIONS = {"Unit", "Service", "Timer", "Install"}
HARDENED = ("NoNewPrivileges", "ProtectSystem", "ProtectHome", "RestrictAddressFamilies")


def read(unit: Path) -> dict[str, dict[str, list[str]]]:
    """Section → key → values, in order."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in unit.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = line.strip("[]")
            assert section in SECTIONS
            assert section not in found
            found[section] = {}
        else:
            key, equals, value = line.partition("=")
            assert equals
            assert re.fullmatch(r"[A-Z][A-Za-z]+", key), f"{unit.name}: {line}"
            found[section].setdefault(key, []).append(value)
    return found


def commands(text: str) -> list[list[str]]:
    """The words behind each `tongbao` in an ExecStart, as the shell in it would cut them."""
    text = re.sub(r"\$\$\((.*?)\)", "2026-01-01", text).replace("$$to", "/to").replace("$$", "$")
    if " -ec '" in text:
        text = text.split(" -ec '", 1)[1].rstrip("'")
    found = []
    for part in text.split(";"):
        words = shlex.split(part)
        at = next((n for n, word in enumerate(words) if word.endswith("/bin/tongbao")), None)
        if at is not None:
            found.append(words[at + 1 :])
    return found


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_fits_the_program(unit: Path) -> None:
    of = read(unit)
    if unit.suffix == ".timer":
        assert unit.with_suffix(".service") in UNITS
        assert of["Install"] == {"WantedBy": ["timers.target"]}
        return
    service = of["Service"]
    run = commands(service["ExecStart"][0])
    assert run
    for words in run:
        options = words[2:] if words[0] == "--operator" else words
        tree = typer.main.get_command(hsm.app if options[0] == "hsm" else cli.app)
        parse = options[1:] if options[0] == "hsm" else options
        assert isinstance(tree, typer.core.TyperGroup)
        command = tree.commands[parse[0]]
        command.make_context(parse[0], list(parse[1:]))  # raises where an option is not known
    for key in HARDENED:
        assert key in service, f"{unit.name} lacks {key}"
    assert service["User"][0] != "root"
    names = [value.partition(":")[0] for value in service.get("LoadCredentialEncrypted", [])]
    assert (CREDENTIAL in names) == (unit.name != "tongbao-backup.service")


def test_a_node_has_the_time_and_the_files_that_it_needs() -> None:
    service = read(next(unit for unit in UNITS if unit.name == "tongbao.service"))["Service"]
    config = Config()
    assert float(service["TimeoutStopSec"][0]) > config.engine.drain_s + 2 * KILL_GRACE_S + 30
    assert int(service["LimitNOFILE"][0]) >= OTHER_FILES + config.server.connections
    assert service["KillSignal"] == ["SIGTERM"]
    assert service["RestartPreventExitStatus"] == ["2"]
