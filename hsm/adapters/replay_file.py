"""DUKPT counters in a file: they outlive the process, and one process at a time has them.

The file is lines as `MemoryCounters.export` gives them. An accepted counter is appended before it is
answered for; when most lines are overtaken the file is written anew beside itself and renamed. With
`sync` each line is on the disk before the answer (a millisecond or more); without, it is safe from
the death of the process but not of the machine, and counters of the last seconds could be replayed.

A last line without its end is a write that a crash cut: nobody was answered for it, and it is cut
off. Any other line that is none stops the start: somebody changed the file. It is not signed: who
may write it may replay.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from hsm.dukpt_replay import DEVICES_MAX, MemoryCounters, parse_line
from hsm.errors import VaultError

OVERTAKEN_MAX: Final = 10_000  # lines more than twice the devices, before the file is written anew
LINE_MAX: Final = 128  # bytes


class FileCounters:
    """`hsm.dukpt_replay.Counters` over a file; close it to let another process have it."""

    def __init__(self, path: Path, devices_max: int = DEVICES_MAX, *, sync: bool = False) -> None:
        self._path = path
        self._sync = sync
        self._memory = MemoryCounters(devices_max)
        self._lines = 0
        self._size = 0
        self._file = -1
        self._lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take()
            self._read()
        except BaseException:
            self.close()
            raise

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise VaultError(f"another process has the counters in {self._path.name}") from error

    def _read(self) -> None:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with open(os.dup(self._file), "rb") as lines:
            for line in iter(lambda: lines.readline(LINE_MAX), b""):
                if not line.endswith(b"\n") and len(line) < LINE_MAX:
                    os.ftruncate(self._file, self._size)
                    break
                self._lines += 1
                text = line.decode("ascii", "replace")
                self._memory.advance(*parse_line(text, self._lines))
                self._size += len(line)

    def __len__(self) -> int:
        return len(self._memory)

    def highest(self, device: str) -> int:
        return self._memory.highest(device)

    def advance(self, device: str, counter: int) -> bool:
        before = self._memory.highest(device)
        if not self._memory.advance(device, counter):
            return False
        try:
            self._append(f"{device} {counter}\n".encode("ascii"))
        except OSError as error:
            self._memory.set_back(device, before)
            raise VaultError(f"the counter could not be stored: {error.strerror}") from error
        if self._lines > 2 * len(self._memory) + OVERTAKEN_MAX:
            self.compact()
        return True

    def _append(self, line: bytes) -> None:
        if self._file < 0:
            raise OSError(0, "the file is closed")
        try:
            self._write(line)
        except OSError:
            self._cut()
            raise
        self._lines += 1
        self._size += len(line)

    def _write(self, line: bytes) -> None:
        if os.write(self._file, line) != len(line):
            raise OSError(0, "the disk is full")
        if self._sync:
            os.fdatasync(self._file)

    def _cut(self) -> None:
        """Take half a line off again, or the next one would follow it; else nothing more is taken."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            os.close(self._file)
            self._file = -1

    def compact(self) -> None:
        """Write the file anew with one line a device; if that fails the old one stands."""
        content = "".join(f"{line}\n" for line in self._memory.export()).encode("ascii")
        try:
            anew = self._write_anew(content)
        except OSError:
            self._lines = 2 * len(self._memory)  # try again after as many lines
            return
        if self._file >= 0:
            os.close(self._file)
        self._file, self._size, self._lines = anew, len(content), len(self._memory)

    def _write_anew(self, content: bytes) -> int:
        beside = self._path.with_name(self._path.name + ".new")
        anew = os.open(beside, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            if os.write(anew, content) != len(content):
                raise OSError(0, "the disk is full")  # noqa: TRY301
            os.fsync(anew)
            os.replace(beside, self._path)
        except OSError:
            os.close(anew)
            raise
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(
            OSError
        ):  # the new file is in place; only its date of birth is open
            os.fsync(folder)
        os.close(folder)
        return anew

    def close(self) -> None:
        """Let the file go; `advance` is refused from here on."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1
