"""Folders: the inbox of clearing files and the folder of reports."""

import os
from pathlib import Path


class DirectoryInbox:
    """DIR/<acquirer>/<file>."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self, acquirer: str) -> list[str]:
        folder = self._path(acquirer)
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file())

    def read(self, acquirer: str, name: str) -> bytes:
        return self._path(acquirer, name).read_bytes()

    def remove(self, acquirer: str, name: str) -> None:
        self._path(acquirer, name).unlink(missing_ok=True)

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
        part = path.with_name(f".{path.name}.part")
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
