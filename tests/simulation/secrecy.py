"""What must never be kept or logged, in every form in which a careless line would write it (P6).

Card numbers and tracks, PIN blocks as they were seen on the wires, and every clear key of the world.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

HEAD: Final = 8  # bytes; a PIN block has no more


class Secrets:
    """`found_in` names the first that stands in some bytes or text."""

    def __init__(self) -> None:
        self._forms: dict[bytes, str] = {}  # as it would be found → what it is
        self._heads: set[bytes] = set()  # how these begin: looked for first, all at once

    def add(self, what: str, secret: bytes | str) -> None:
        """Text as it is; bytes as they are, in hex, and as Python prints them."""
        if isinstance(secret, str):
            forms = [secret.encode()]
        else:
            hexed = secret.hex().encode()
            forms = [secret, hexed, hexed.upper(), repr(secret)[2:-1].encode()]
        for form in forms:
            assert len(form) >= HEAD, what
            self._forms[form] = what
            self._heads.add(form[:HEAD])

    def found_in(self, *said: Any) -> str:
        """What a person would find in it; "" for nothing. Structs and containers are looked through."""
        data = b"\n".join(_bytes_of(each) for each in said)
        if self._heads.isdisjoint(data[at : at + HEAD] for at in range(len(data) - HEAD + 1)):
            return ""
        return next((what for form, what in self._forms.items() if form in data), "")


def _bytes_of(said: Any) -> bytes:
    if isinstance(said, str):
        return said.encode()
    return msgspec.msgpack.encode(said, enc_hook=_unknown)


def _unknown(said: Any) -> str:
    return repr(said)
