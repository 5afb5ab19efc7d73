"""Folders: the inbox of clearing files and the folder of reports."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

TAKEN: Final = ".taken"


class DirectoryInbox:
    """DIR/<acquirer>/<file>."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self, acquirer: str) -> list[str]:
        folder = self._path(acquirer)
        if not folder.is_dir():
            return []
        files = (entry.name for entry in folder.iterdir() if entry.is_file())
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

    def put_back(self, acquirer: str, name: str) -> None:
        aside = self._aside(acquirer, name)
        with suppress(FileExistsError):
            os.link(aside, self._path(acquirer, name))
        aside.unlink()

    def _aside(self, acquirer: str, name: str) -> Path:
        return self._path(acquirer, f".{name}{TAKEN}")

    def _path(self, *parts: str) -> Path:
        assert all(part not in ("", ".", "..") and "/" not in part for part in parts), parts
        return self._folder.joinpath(*parts)


class DirectorySink:
    """Each file written beside its place, synced and renamed: whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, name: str, data: bytes) -> None:
        path = self._folder / name
        assert path.resolve().is_relative_to(self._folder.resolve()), name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def sha256(self, name: str) -> str | None:
        try:
            with (self._folder / name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None
