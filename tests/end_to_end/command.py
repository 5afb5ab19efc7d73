"""Commands of `tongbao` beside a node: in the test's process, or each as a process of its own.

Half of what a command takes as a process is its start, so that is for what a process alone can show: what
reaches its standard output, signals, a time-out; and for commands beside a running loop of the test's.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from switch import cli
from tests.end_to_end.node import ROOT

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 600.0


def place(config: Path, data: Path) -> list[str]:
    """Where a node is, as an operator would tell a command."""
    return ["--config", str(config), "--data", str(data)]


def tongbao(*words: str, code: int = 0) -> str:
    """The stdout of a command."""
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == code, (words, done.exit_code, done.stdout[-2_000:], done.stderr)
    return done.stdout


def process(*words: str, code: int = 0, script: str = "") -> str:
    """The stdout of a command as a process; `script`: of a Python program that is one."""
    program = ["-c", script] if script else ["-m", "tongbao"]
    done = subprocess.run(
        [sys.executable, *program, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == code, (words, done.returncode, done.stdout[-2_000:], done.stderr)
    return done.stdout
