"""A build by its name, and its player in a process of its own.

A name is a folder (a checkout, an environment that tongbao is installed in, an unpacked wheel), a
wheel, or a git revision of the checkout that this command is run from. The player is that build's own
code; that nothing of ours is mixed in is checked by where it says its code is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec

from iso8583.message import mask_text
from switch.replay.happened import Played
from switch.replay.journal_file import VERSION
from switch.replay.player import End

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROTOCOL: Final = 1
PLAYER: Final = Path("switch", "replay", "__main__.py")
BUNDLE: Final = Path("tongbao", "_app")  # of a wheel
STDERR_MAX: Final = 4_000  # characters of what a player that fails says
WHERE: Final = "import pathlib, tongbao; print(pathlib.Path(tongbao.__file__).resolve().parent)"


class BuildError(Exception):
    """A key of the texts, and its values: the name, and why it can not be played."""

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key)
        self.key, self.values = key, values


class Build(msgspec.Struct, frozen=True):
    name: str
    root: Path  # on top of which its packages are
    python: str


class Hello(msgspec.Struct, frozen=True):
    protocol: int
    version: str
    code: str
    journal: int


class Said(msgspec.Struct, frozen=True):
    """A line of a player."""

    hello: Hello | None = None
    played: Played | None = None
    at: dict[str, Any] | None = None
    end: End | None = None
    failed: str = ""


@contextmanager
def opened(name: str, checkout: Path) -> Iterator[Build]:
    """The build of that name; what was unpacked for it is gone afterwards. BuildError."""
    with ExitStack() as stack:
        path = Path(name)
        if path.is_dir():
            build = of_folder(name, path.resolve())
        elif path.is_file():
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tongbao-build-"))
            build = of_wheel(name, path, Path(folder))
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tongbao-build-"))
            build = of_revision(name, checkout, Path(folder))
        if not (build.root / PLAYER).is_file():
            raise BuildError("replay_no_player", build=name)
        yield build


def of_folder(name: str, folder: Path) -> Build:
    if (folder / "switch" / "wiring.py").is_file():
        own = folder / ".venv" / "bin" / "python"
        return Build(name, folder, str(own) if own.exists() else sys.executable)
    if (folder / BUNDLE).is_dir():
        return Build(name, folder / BUNDLE, sys.executable)
    python = folder / "bin" / "python"
    if python.exists():
        said = subprocess.run(  # noqa: S603 - the operator names the environment
            [python, "-I", "-c", WHERE], capture_output=True, text=True, check=False
        )
        if said.returncode == 0:
            package = Path(said.stdout.strip())
            bundle = package / "_app"
            return Build(name, bundle if bundle.is_dir() else package.parent, str(python))
    raise BuildError("replay_no_build", build=name)


def of_wheel(name: str, path: Path, into: Path) -> Build:
    try:
        with zipfile.ZipFile(path) as wheel:
            wheel.extractall(into)  # noqa: S202 - zipfile keeps to the folder
    except (OSError, zipfile.BadZipFile) as error:
        raise BuildError("replay_no_build", build=name) from error
    return Build(name, into / BUNDLE, sys.executable)


def of_revision(name: str, checkout: Path, into: Path) -> Build:
    """The files of a revision, without touching the work tree."""
    git = ["git", "-C", str(checkout)]
    asked = [*git, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
    try:
        revision = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
        if revision.returncode:
            raise BuildError("replay_no_build", build=name)
        archive = [*git, "archive", "--format=tar", revision.stdout.strip()]
        with subprocess.Popen(archive, stdout=subprocess.PIPE) as process:  # noqa: S603
            assert process.stdout is not None
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                tar.extractall(into, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise BuildError("replay_no_build", build=name) from error
    return Build(name, into, sys.executable)


class Running:
    """A build's player at work; iterate it for what came of the lines."""

    def __init__(self, build: Build, journal: Path) -> None:
        self.build = build
        self.end: End | None = None
        self.lines = 0
        self.on_progress: Callable[[], None] = lambda: None
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
        }
        self._process = subprocess.Popen(  # noqa: S603
            [build.python, "-m", "switch.replay", str(journal.resolve())],
            cwd=build.root,
            env=environment | {"PYTHONHASHSEED": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        try:
            self.hello = self._greeted()
        except BuildError:
            self.close()
            raise

    def _greeted(self) -> Hello:
        hello = self._said().hello
        if hello is None or hello.protocol != PROTOCOL or hello.journal < VERSION:
            raise BuildError("replay_other_protocol", build=self.build.name)
        if Path(hello.code).resolve().parent != self.build.root.resolve():
            raise BuildError("replay_other_code", build=self.build.name, code=hello.code)
        return hello

    def __iter__(self) -> Iterator[Played]:
        while True:
            said = self._said()
            if said.played is not None:
                self.lines += 1
                yield said.played
            elif said.at is not None:
                self.on_progress()
            elif said.end is not None:
                self.end = said.end
                return

    def _said(self) -> Said:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            said = msgspec.json.decode(line, type=Said) if line else None
        except msgspec.DecodeError:
            said = None
        if said is None or said.failed:
            self._process.wait()
            why = "" if said is None else said.failed
            raise BuildError("replay_failed", build=self.build.name, why=why or self._complaint())
        return said

    def _complaint(self) -> str:
        self._stderr.seek(0)
        text = self._stderr.read().decode(errors="replace").strip()
        return mask_text(text[-STDERR_MAX:]) or f"exit {self._process.returncode}"

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._stderr.close()
