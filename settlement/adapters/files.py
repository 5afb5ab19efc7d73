"""Folders: the inbox of clearing files and the folder of reports."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Final

TAKEN: Final = ".taken"
REFUSED: Final = ".refused"
HASH_SHOWN: Final = 16  # hex digits of the content's hash in the name of what is kept
SYNCS_AT_ONCE: Final = 16  # the file system makes one commit of those that wait for it


class DirectoryInbox:
    """DIR/<acquirer>/<file>."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self, acquirer: str) -> list[str]:
        folder = self._path(acquirer)
        if not folder.is_dir():
            return []
        entries = (entry for entry in folder.iterdir() if entry.is_file())
        files = (entry.name for entry in entries if not entry.name.endswith(REFUSED))
        return sorted(
            {name[1:].removesuffix(TAKEN) if name.endswith(TAKEN) else name for name in files}
        )

    def take(self, acquirer: str, name: str) -> bytes:
        aside = self._aside(acquirer, name)
        if not aside.exists():  # else a killed run had taken it
            self._path(acquirer, name).replace(aside)
        return aside.read_bytes()

    def remove(self, acquirer: str, name: str) -> None:
        self._aside(acquirer, name).unlink(missing_ok=True)

    def put_back(self, acquirer: str, name: str) -> str | None:
        aside, path = self._aside(acquirer, name), self._path(acquirer, name)
        try:
            os.link(aside, path)
        except FileExistsError:
            sha256 = hashlib.sha256(aside.read_bytes()).hexdigest()
            if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                kept = f"{name}.{sha256[:HASH_SHOWN]}{REFUSED}"
                aside.replace(self._path(acquirer, kept))
                return kept
        aside.unlink()
        return None

    def _aside(self, acquirer: str, name: str) -> Path:
        return self._path(acquirer, f".{name}{TAKEN}")

    def _path(self, *parts: str) -> Path:
        assert all(part not in ("", ".", "..") and "/" not in part for part in parts), parts
        return self._folder.joinpath(*parts)


class DirectorySink:
    """Each file is written beside its place; `sync` makes all of them durable and only then gives them
    their names: whole or not at all. Together, because a sync each waits for everybody's writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folders: set[Path] = set()  # that have got files since the last sync
        self._parts: dict[str, str] = {}  # path as written -> path as it will be

    def write(self, name: str, data: bytes) -> None:
        folder, short_name = self._place(name)
        part = f"{folder}/.{short_name}.{os.getpid()}.part"
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(file, left) :]
        finally:
            os.close(file)
        self._parts[part] = f"{folder}/{short_name}"

    def sync(self) -> None:
        with ThreadPoolExecutor(SYNCS_AT_ONCE) as pool:
            list(pool.map(_sync, self._parts))
        for part, path in self._parts.items():
            os.replace(part, path)
        for folder in sorted(self._folders):
            _sync(str(folder))
        self._parts.clear()
        self._folders.clear()

    def _place(self, name: str) -> tuple[Path, str]:
        path = PurePosixPath(name)
        assert not path.is_absolute(), name
        assert ".." not in path.parts, name
        folder = self._folder / path.parent
        if folder not in self._folders:
            folder.mkdir(parents=True, exist_ok=True)
            for part in folder.glob(".*.part"):
                if not _is_written(part):  # by a run that was killed
                    part.unlink(missing_ok=True)
            self._folders.add(folder)
        return folder, path.name

    def sha256(self, name: str) -> str | None:
        try:
            with (self._folder / name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None


def _is_written(part: Path) -> bool:
    """Whether the process that its name tells still runs: commands may write into one folder at once."""
    process = part.name.split(".")[-2]
    if not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True


def _sync(path: str) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
