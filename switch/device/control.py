"""The device's control socket: status, and the authorised state by two officers.

One line of JSON asks, one answers. The socket is a file of mode 0600 in the device's folder: it stands for
the console of a device in a locked room. Officers' passwords are checked here all the same, each time, and
a wrong one is told without saying which of the two it was.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final

import msgspec

from switch.people.credentials import Credential, matches

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from switch.device.config import Device

LINE_BYTES_MAX: Final = 65_536
ANSWER_S: Final = 30.0  # two passwords cost a second of scrypt
WRONG_WAIT_S: Final = 1.0  # after wrong passwords


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """An officer at the console."""

    name: str
    password: str

    def __repr__(self) -> str:
        return f"Named({self.name})"


class Ask(msgspec.Struct, forbid_unknown_fields=True):
    """What the console asks: `status`, `authorise` with two officers, or `cancel`."""

    what: str
    officers: list[Named] = []
    duration_s: float = 0.0


def fault_of(ask: Ask, device: Device) -> str | None:
    """Why two officers do not put this device into the authorised state; a key of the texts."""
    if not device.officers:
        return "hsm_no_officers"
    if len({officer.name for officer in ask.officers}) != 2 or len(ask.officers) != 2:
        return "hsm_two_officers"
    if not 0 < ask.duration_s <= device.authorised_max_s:
        return "hsm_duration"
    known = {officer.name: officer.password for officer in device.officers}
    right = [
        matches(Credential(one.name, "password", secret=known.get(one.name, "")), one.password)
        for one in ask.officers
    ]
    return None if all(right) else "hsm_wrong_officer"


class Control:
    """Listens on the socket; `answer` turns what is asked into what is said."""

    def __init__(self, path: Path, answer: Callable[[Ask], dict[str, Any]]) -> None:
        self._path = path
        self._answer = answer
        self._turn = asyncio.Lock()  # one at a time: passwords are not guessed side by side
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(
                self._serve, self._path, limit=LINE_BYTES_MAX
            )
        finally:
            os.umask(mask)

    async def close(self) -> None:
        if self._server is None:
            return  # what stands there is another's
        self._server.close()
        await self._server.wait_closed()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                line = await reader.readline()  # before its turn: who says nothing holds up nobody
                async with self._turn:
                    said = await asyncio.to_thread(self._said, line)
                    if said.get("fault") == "hsm_wrong_officer":
                        await asyncio.sleep(WRONG_WAIT_S)
                writer.write(msgspec.json.encode(said) + b"\n")
                await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            pass
        finally:
            writer.close()

    def _said(self, line: bytes) -> dict[str, Any]:
        try:
            ask = msgspec.json.decode(line, type=Ask)
        except msgspec.MsgspecError:
            return {"fault": "hsm_not_understood"}
        return self._answer(ask)


async def ask(path: Path, question: Ask) -> dict[str, Any]:
    """What the device answers. `OSError` where none listens there."""
    reader, writer = await asyncio.open_unix_connection(path, limit=LINE_BYTES_MAX * 16)
    try:
        writer.write(msgspec.json.encode(question) + b"\n")
        async with asyncio.timeout(ANSWER_S):
            line = await reader.readline()
    finally:
        writer.close()
    found: dict[str, Any] = msgspec.json.decode(line or b"{}")
    return found
