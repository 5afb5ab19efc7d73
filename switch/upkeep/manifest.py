"""What a backup holds: its manifest, and the files of the data folder that go into it.

A backup is a folder: `database.dump` (pg_dump's custom format), `files/` with what the data folder has beside
PostgreSQL and logs, and `manifest.json`, written last. A folder without a manifest is no backup.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANIFEST: Final = "manifest.json"
DUMP: Final = "database.dump"
FILES: Final = "files"
PARTIAL: Final = ".partial"  # behind the name of a backup that is being written
RESTORING: Final = "restore.unfinished"  # in a data folder whose restore has not ended
CHUNK_BYTES: Final = 1 << 20
# Of the data folder: what PostgreSQL dumps itself, logs, locks, and what is made anew.
LEFT_OUT: Final = ("postgres", "log", "serve.lock", "books/.spill", RESTORING)


class ManifestError(Exception):
    """The backup is not what was written; says where."""


class File(msgspec.Struct, frozen=True):
    name: str  # below the backup's folder, with /
    size: int
    sha256: str


class Table(msgspec.Struct, frozen=True):
    """A table as it was in the backup's snapshot. `digest`: sum of the 64-bit hashes of its rows."""

    name: str
    rows: int
    digest: str


class Manifest(msgspec.Struct, frozen=True):
    """Everything that a restore can be held against."""

    version: str  # of the release that wrote it
    node: str
    at: str  # RFC 3339, when the snapshot was taken
    schema: list[str]  # folder/NNNN_name
    business_date: str
    lmk_ids: list[str]  # that the stored keys are under: their LMK files are not in here
    audit_anchor: str  # NUMBER:HASH of the last record, for `audit verify --anchor`
    ledger_anchor: str  # DATE=HASH of the last anchor, for `ledger verify --anchor`
    tables: list[Table]
    files: list[File]


def read(folder: Path) -> Manifest:
    """Raises FileNotFoundError where there is none, ManifestError where it can not be read."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except msgspec.DecodeError as error:
        raise ManifestError(f"{MANIFEST}: {error}") from error


def check(folder: Path, manifest: Manifest, told: Callable[[int], None] = lambda _: None) -> None:
    """Every file is there, and is what was written; nothing else is. Raises ManifestError."""
    known = {file.name for file in manifest.files}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or (path.is_file() and name not in known and name != MANIFEST):
            raise ManifestError(f"{name} is not of it")
    for number, file in enumerate(manifest.files, 1):
        path = folder / file.name
        if not path.is_file():
            raise ManifestError(f"{file.name} is missing")
        if path.stat().st_size != file.size or hash_of(path) != file.sha256:
            raise ManifestError(f"{file.name} was changed")
        told(number)


def hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_keep(data: Path) -> Iterator[Path]:
    """Files of the data folder that a backup takes along, in order. Neither links nor what is just being
    written: a file of ours appears whole under its name, from a hidden one."""
    for folder, folders, names in os.walk(data):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not _left_out(data, here / name))
        for name in sorted(names):
            path = here / name
            if path.is_file() and not path.is_symlink() and not _left_out(data, path):
                yield path


def _left_out(data: Path, path: Path) -> bool:
    name = path.relative_to(data).as_posix()
    return name in LEFT_OUT or (path.name.startswith(".") and name not in LEFT_OUT)


def copy(source: Path, target: Path, name: str) -> File:
    """Copy a file, flushed to the disk; its size and hash are of what was copied."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with source.open("rb") as reading, os.fdopen(descriptor, "wb") as writing:
        while chunk := reading.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            writing.write(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    shutil.copystat(source, target)
    return File(name, size, digest.hexdigest())


def write(folder: Path, manifest: Manifest) -> str:
    """The manifest, last; its hash."""
    content = msgspec.json.format(msgspec.json.encode(manifest))
    path = folder / MANIFEST
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()


def sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
