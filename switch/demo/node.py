"""The switch of the demonstration: `tongbao serve --demo` as a child, with a data folder of its own.

Plain processes and files; nothing here knows what is traded. The child has its own session, so that
Ctrl-C reaches this process alone, which then drains the child.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from hsm import lmk as lmks
from hsm.local import LocalVault
from switch.adapters.system import SystemEntropy
from switch.commands.common import reference
from switch.commands.key_acts import stored
from switch.demo.texts import say
from switch.people.operators import DEMO_MAKER
from switch.reference_file import parse, render

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hsm.keys import KeyUsage

ROOT = Path(__file__).resolve().parent.parent.parent
MARK = "demo"  # a file that says: this folder is ours to remove
POLL_S = 0.05
READY_S = 120.0
STOP_S = 60.0

CONFIG = """\
# The node of the demonstration (`tongbao demo`).
node = "demo"
workers = 2
[engine]
repeat_wait_s = 12
drain_s = 15
[rules]
sign_ons = 60
"""


class DemoError(Exception):
    """The demonstration can not go on; the text is for the operator."""


def clear_folders(data: Path, banks: Path, language: str) -> None:
    """Remove what a former demonstration left; refuse a folder that is anything else."""
    for folder in (data, banks):
        if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).exists():
            raise DemoError(say("not_a_demo", language, path=folder))
    for folder in (data, banks):
        remove_folder(folder)
        folder.mkdir(mode=0o700, parents=True)
        (folder / MARK).write_text("tongbao demo\n", encoding="ascii")


def remove_folder(folder: Path) -> None:
    """The folder, and the PostgreSQL data that was put elsewhere for it."""
    pointer = folder / "postgres" / "moved-to"
    if pointer.exists():
        shutil.rmtree(pointer.read_text(encoding="utf-8").strip(), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


class Node:
    """The child process and what its ready file says."""

    def __init__(self, data: Path, language: str) -> None:
        self.data = data
        self.ready_file = data / "ready.json"
        self.log = data / "log" / "serve.log"
        self.facts: dict[str, Any] = {}
        self._language = language
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Returns when every worker serves."""
        config = self.data / "tongbao.toml"
        config.write_text(CONFIG, encoding="utf-8")
        self.log.parent.mkdir(mode=0o700, exist_ok=True)
        words = ["serve", "--demo", "--config", str(config), "--data", str(self.data)]
        words += ["--ready-file", str(self.ready_file), "--lang", self._language]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - ourselves, before anything runs
                [sys.executable, "-P", "-m", "switch", *words],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        await self.wait(self.ready_file.exists, "serve", READY_S)
        self.read_facts()

    async def wait(self, done: Callable[[], bool], what: str, limit_s: float) -> None:
        """Until `done`, as long as the child lives."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + limit_s
        while not done():
            code = None if self._process is None else self._process.poll()
            if code is not None:
                raise DemoError(say("serve_ended", self._language, code=code, log=self.log))
            if loop.time() > until_s:
                raise DemoError(say("too_slow", self._language, what=what, seconds=limit_s))
            await asyncio.sleep(POLL_S)

    def read_facts(self) -> None:
        self.facts = msgspec.json.decode(self.ready_file.read_bytes())

    @property
    def dsn(self) -> str:
        return str(self.facts["database"]["dsn"])

    @property
    def address(self) -> tuple[str, int]:
        """Where terminals connect."""
        at = self.facts["terminals"][0]
        return at["host"], at["port"]

    @property
    def workers(self) -> list[int]:
        return list(self.facts["pids"]["workers"])

    def kill_worker(self) -> int:
        """kill -9 for one worker; its process id."""
        self.read_facts()
        pid = self.workers[0]
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return pid

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds of the switch's processes and its PostgreSQL, once they have ended."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {"switch": round(used.ru_utime + used.ru_stime, 1)}

    def stop(self) -> None:
        """Drain and wait; the child's PostgreSQL stops with it. Blocking, for after the loop."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


async def furnish(
    node: Node,
    items: Sequence[tuple[str, str, dict[str, Any]]],
    keys: Sequence[tuple[str, KeyUsage, str]],
) -> None:
    """Reference data through the file of `data apply`; keys into the vault as `keys import` would.

    `keys` are (owner, usage, clear hex): the demonstration's vault has the public test LMK. They go
    in before the items, so that a link finds its keys when it starts.
    """
    file = node.data / "reference.toml"
    file.write_text(render(list(items)), encoding="utf-8")
    entries = parse(file.read_text(encoding="utf-8"), str(file), {})
    vault = LocalVault(lmks.TEST_LMK, SystemEntropy().bytes)
    async with reference(node.dsn) as store:
        for owner, usage, clear in keys:
            block = vault.import_components(usage, [bytes.fromhex(clear)], allow_weak=True)
            await store.add_key(stored(owner, usage, block), maker=DEMO_MAKER)
        await store.apply(entries, maker=DEMO_MAKER)
