"""The sealed LMK's file, the ceremony log beside it, and how the file is opened (rules §13)."""

from __future__ import annotations

import datetime as dt
import fcntl
import getpass
import os
import stat
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hsm import lmk as lmks
from hsm.ceremony_log import LOG_BYTES_MAX, encode, following, mended, verify
from hsm.errors import VaultError
from switch.config import credential
from switch.texts import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hsm.ceremony_log import Facts, Record, Verified
    from hsm.lmk import Lmk

CREDENTIAL = "tongbao-lmk-passphrase"  # systemd: LoadCredential= or LoadCredentialEncrypted=
PASSPHRASE_BYTES_MAX = 4_096


class LmkError(Exception):
    """There is no LMK to work with; the text says what to do."""


def open_lmk(path: Path, *, demo: bool, language: str, passphrase_fd: int | None = None) -> Lmk:
    """The LMK of this node: with `demo` the public test LMK, else what `path` seals."""
    if demo:
        return lmks.TEST_LMK
    try:
        payload = read_file(path, language)
    except FileNotFoundError:
        raise LmkError(say("no_lmk", language, path=path)) from None
    try:
        lmk = open_payload(payload, language, passphrase_fd)
    except VaultError as error:
        raise LmkError(say("lmk_refused", language, path=path, reason=error)) from error
    if lmks.is_test_lmk(lmk):
        raise LmkError(say("test_lmk_without_demo", language, path=path))
    return lmk


def read_file(path: Path, language: str) -> bytes:
    """The sealed bytes, from a file that nobody else can read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise LmkError(say("lmk_mode", language, path=path, mode=f"{mode:04o}"))
        return file.read(1 << 20)


def open_payload(payload: bytes, language: str, passphrase_fd: int | None) -> Lmk:
    """Open it with what is there: a descriptor, a systemd credential, or somebody at the keyboard."""
    sealed = lmks.read_sealed(payload)
    if sealed.passphrase is None:
        given = given_shares(passphrase_fd)
        return lmks.open_with_shares(payload, given or ask_shares(language))
    passphrase = given_passphrase(passphrase_fd)
    if passphrase is None:
        if not sys.stdin.isatty():
            raise VaultError("no passphrase: --passphrase-fd, a systemd credential, or a terminal")
        passphrase = getpass.getpass(say("passphrase", language) + ": ")
    return lmks.open_with_passphrase(payload, passphrase)


def secret_text(descriptor: int, option: str) -> str:
    """What stands in a descriptor; `VaultError` names the option, and nothing that was read."""
    try:
        with os.fdopen(descriptor, "rb") as file:
            return file.read(PASSPHRASE_BYTES_MAX).decode()
    except OSError as error:
        raise VaultError(f"{option} {descriptor}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise VaultError(f"{option} {descriptor}: what stands there is not UTF-8") from None


def given_passphrase(passphrase_fd: int | None) -> str | None:
    """From the descriptor, else from the systemd credential; one line."""
    if passphrase_fd is not None:
        return secret_text(passphrase_fd, "--passphrase-fd").rstrip("\r\n")
    path = credential(CREDENTIAL)
    return None if path is None else path.read_text(encoding="utf-8").rstrip("\r\n")


def given_shares(passphrase_fd: int | None) -> list[str]:
    """Custodians' shares from the descriptor, one a line."""
    if passphrase_fd is None:
        return []
    lines = secret_text(passphrase_fd, "--passphrase-fd").splitlines()
    return [line for line in lines if line.strip()]


def ask_shares(language: str) -> list[str]:
    """Shares typed in one by one, unseen, until an empty line."""
    if not sys.stdin.isatty():
        raise VaultError("this LMK opens with custodians' shares, typed at a terminal")
    shares: list[str] = []
    while share := getpass.getpass(say("share", language) + ": ").strip():
        shares.append(share)
    return shares


def write_sealed(path: Path, payload: bytes) -> None:
    """A new file, 0600, durable; an LMK is never overwritten (`FileExistsError`)."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path)


def replace_sealed(path: Path, payload: bytes) -> None:
    """Another file in the place of this one, whole or not at all: it holds the LMK of this one too, or
    the same LMK without its former one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    write_sealed(fresh, payload)
    fresh.replace(path)
    sync_folder(path)


@contextmanager
def ceremony_alone(path: Path, language: str) -> Iterator[None]:
    """No two ceremonies at one sealed file: the second is refused (`LmkError`)."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = path.with_name(f"{path.name}.lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LmkError(say("ceremony_runs", language, path=path)) from None
        yield


def sync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# -- the ceremony log ---------------------------------------------------------------------------


class CeremonyLog:
    """The file beside the sealed LMK, 0600: `hsm.ceremony_log`. A line stands before its act is done."""

    def __init__(self, lmk_file: Path, now: Callable[[], dt.datetime], language: str) -> None:
        self.path = lmk_file.with_name(f"{lmk_file.name}.log")
        self._now = now
        self._language = language

    def read(self, anchor: str = "") -> Verified:
        """What stands in it; nothing where there is none yet."""
        try:
            return verify(self.path.read_bytes()[:LOG_BYTES_MAX], anchor)
        except FileNotFoundError:
            return verify(b"", anchor)

    def append(self, act: str, who: str, facts: Facts) -> Record:
        """A line more, on the disk when this returns. `LmkError` where the chain before it is broken."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not self.path.exists()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            found = verify(file.read(LOG_BYTES_MAX))
            if found.broken is not None:
                line, reason = found.broken.line, found.broken.reason
                raise LmkError(
                    say("log_broken", self._language, path=self.path, line=line, reason=reason)
                )
            at = self._now().astimezone(dt.UTC).isoformat(timespec="microseconds")
            last, ended = found.last, b""
            if found.torn:
                ending, last = mended(last, at, found.torn)
                ended = ending + encode(last)
            record = following(last, at, act, who, facts)
            lines = ended + encode(record)
            if file.write(lines) != len(
                lines
            ):  # a full disk: what stands is torn, and told as that
                raise LmkError(say("log_not_written", self._language, path=self.path))
            os.fsync(file.fileno())
        if is_new:
            sync_folder(self.path)
        return record
