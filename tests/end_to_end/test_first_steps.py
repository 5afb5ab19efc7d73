"""`docs/first-steps.md`, command by command, as a newcomer types it.

Goal: every line of the page (and of the README, which shows the same ones) runs as shown. Method: the
commands are read out of the page and run in an empty folder beside copies of the example files; nothing
is changed but ports, so that two runs do not meet.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.node import READY_S, ROOT, STOP_S
from tests.pages import commands

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("end_to_end")

PAGE = ROOT / "docs" / "first-steps.md"
PORTS = ("8583", "9583", "9001")  # terminals, metrics, bank: as the example files have them


def free_ports(count: int) -> list[str]:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [str(each.getsockname()[1]) for each in held]


def today() -> str:
    """What the page's `date` prints."""
    environment = {**os.environ, "TZ": "Asia/Shanghai"}
    return subprocess.check_output(["date", "+%F"], env=environment, text=True).strip()


class Newcomer:
    """An empty folder with the example files, and what was started in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = free_ports(len(PORTS))
        self.date = today()
        self.running: list[subprocess.Popen[bytes]] = []
        docs = folder / "docs"
        docs.mkdir()
        shutil.copytree(ROOT / "docs" / "example-keys", docs / "example-keys")
        for path in (ROOT / "docs").glob("example-*.toml"):
            text = path.read_text(encoding="utf-8")
            for shown, free in zip(PORTS, self.ports, strict=True):
                text = text.replace(f"port = {shown}", f"port = {free}")
            (docs / path.name).write_text(text, encoding="utf-8")

    def command(self, words: Sequence[str]) -> list[str]:
        given = [self.date if word == "TODAY" else word for word in words]
        if words[:2] == ["simulate", "bank"]:
            given += ["--port", self.ports[2], "--ready-file", "bank.json"]
        if words[:2] == ["simulate", "terminals"]:
            given += ["--port", self.ports[0]]
        return [sys.executable, "-m", "tongbao", *given]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "COLUMNS": "120"}

    def start(self, words: Sequence[str], ready: str) -> None:
        with (self.folder / f"{words[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                self.command(words), cwd=self.folder, stdout=log, stderr=log, env=self.environment()
            )
        self.running.append(process)
        until_s = time.monotonic() + READY_S
        while not (self.folder / ready).exists():
            assert process.poll() is None, (self.folder / f"{words[0]}.log").read_text()
            assert time.monotonic() < until_s, words
            time.sleep(0.05)

    def stop_last(self) -> None:
        process = self.running.pop()
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_S) == 0

    def run(self, words: Sequence[str]) -> str:
        done = subprocess.run(
            self.command(words),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=600,
            env=self.environment(),
            check=False,
        )
        waits = 3 if words[:2] == ["data", "apply"] else 0  # for the second of two people
        assert done.returncode == waits, (words, done.stdout, done.stderr)
        return done.stdout

    def approve(self, words: Sequence[str]) -> str:
        """With the hash of what is shown, as whoever is not asked on a terminal."""
        proposal = words[words.index("approve") + 1]
        shown = json.loads(self.run(["approval", "show", proposal, "--json"]))
        return self.run([*words, "--sha256", shown["sha256"]])

    def close(self) -> None:
        while self.running:
            process = self.running.pop()
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_S)


def test_every_line_runs_as_shown(tmp_path: Path) -> None:
    shown = commands(PAGE)
    with_demo = shown[: shown.index(["init"])]  # what follows asks for a passphrase
    assert [words[0] for words in with_demo[:2]] == ["serve", "simulate"]
    newcomer = Newcomer(tmp_path)
    said: dict[str, str] = {}
    try:
        for words in with_demo:
            if words[0] == "serve":
                newcomer.start(words, "var/ready.json")
            elif words[:2] == ["simulate", "bank"]:
                newcomer.start(words, "bank.json")
            else:
                if words[0] == "close":
                    newcomer.stop_last()  # the bank writes its file
                act = newcomer.approve if "approve" in words else newcomer.run
                said[" ".join(words[:2])] = act(words)
        newcomer.stop_last()
    finally:
        newcomer.close()
    assert said["data apply"].splitlines()[0] in PAGE.read_text(encoding="utf-8")
    assert said["terminal add"].splitlines()[0] in PAGE.read_text(encoding="utf-8")
    assert "reversal" in said["simulate terminals"]
    assert '"state":"approved"' in said["journal list"]
    assert len(list((tmp_path / "var" / "reports").rglob("report.html"))) == 1
