"""An SSH agent of a test: one key, and the two messages that we use."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from switch.people.ssh import Fields, key_blob, string

if TYPE_CHECKING:
    from pathlib import Path


class Agent:
    """`with Agent(path) as agent`: listens at `path`; `agent.line` is its public key."""

    def __init__(self, path: Path) -> None:
        self._key = Ed25519PrivateKey.generate()
        form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        self.line = self._key.public_key().public_bytes(*form).decode() + " test"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                length = int.from_bytes(connection.recv(4))
                answer = self._answer(Fields(connection.recv(length, socket.MSG_WAITALL)))
                connection.sendall(string(answer))

    def _answer(self, request: Fields) -> bytes:
        if request.take(1) != b"\x0d" or request.string() != key_blob(self.line):
            return b"\x05"  # failure
        signature = string(b"ssh-ed25519") + string(self._key.sign(request.string()))
        return b"\x0e" + string(signature)
