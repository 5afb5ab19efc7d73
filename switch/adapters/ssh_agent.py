"""The operator's SSH agent: asks it to sign (draft-miller-ssh-agent: 13 SIGN_REQUEST, 14 SIGN_RESPONSE)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from switch.people.ssh import HASH, NAMESPACE, Fields, Signature, SshError, signed_data, string

if TYPE_CHECKING:
    from pathlib import Path

SIGN_REQUEST, SIGN_RESPONSE = 13, 14
RSA_SHA2_512 = 4  # flag; other keys do not look at it
ANSWER_BYTES_MAX = 65_536
TIMEOUT_S = 60.0  # a key may ask for a touch


def sign(agent: Path, public_key: bytes, challenge: bytes) -> Signature:
    """The agent's signature. SshError where it has no such key or refuses, OSError where it is away."""
    data = signed_data(challenge)
    request = bytes([SIGN_REQUEST]) + string(public_key) + string(data) + RSA_SHA2_512.to_bytes(4)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(str(agent))
        connection.sendall(string(request))
        length = int.from_bytes(_receive(connection, 4))
        if not 0 < length <= ANSWER_BYTES_MAX:
            raise SshError("the agent's answer has an impossible length")
        answer = Fields(_receive(connection, length))
    if answer.take(1)[0] != SIGN_RESPONSE:
        raise SshError("the agent has not this key, or does not sign with it")
    return Signature(public_key, NAMESPACE, HASH, answer.string())


def _receive(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise SshError("the agent has closed the connection")
        data += piece
    return data
