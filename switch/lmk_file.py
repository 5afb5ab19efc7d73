"""The sealed LMK's file and how it is opened: passphrase or custodians' shares (rules §13)."""

from __future__ import annotations

import getpass
import os
import stat
import sys
from typing import TYPE_CHECKING

from hsm import lmk as lmks
from hsm.errors import VaultError
from switch.config import credential
from switch.texts import say

if TYPE_CHECKING:
    from pathlib import Path

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
    passphrase = given_passphrase(passphrase_fd)
    sealed = lmks.read_sealed(payload)
    if passphrase is None and sealed.passphrase is None:
        return lmks.open_with_shares(payload, ask_shares(language))
    if passphrase is None:
        if not sys.stdin.isatty():
            raise VaultError("no passphrase: --passphrase-fd, a systemd credential, or a terminal")
        passphrase = getpass.getpass(say("passphrase", language) + ": ")
    return lmks.open_with_passphrase(payload, passphrase)


def given_passphrase(passphrase_fd: int | None) -> str | None:
    """From the descriptor, else from the systemd credential; one line."""
    if passphrase_fd is not None:
        with os.fdopen(passphrase_fd, "rb") as file:
            return file.read(PASSPHRASE_BYTES_MAX).decode().rstrip("\r\n")
    path = credential(CREDENTIAL)
    return None if path is None else path.read_text(encoding="utf-8").rstrip("\r\n")


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
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
