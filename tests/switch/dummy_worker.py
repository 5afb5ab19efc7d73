"""A worker without a switch, for the supervisor's tests: answers each line with its process id.

`python -m tests.switch.dummy_worker FD…`, in the place of `switch.worker`. What it does besides comes
from the node's name: `slow` takes a second to drain, `stuck` never ends by itself, `broken` dies at
its start.
"""

from __future__ import annotations

import asyncio
import os
import sys
import types
from typing import TYPE_CHECKING, cast

from switch import worker

if TYPE_CHECKING:
    import socket

    from switch.config import Config
    from switch.worker import Control


class Echo(asyncio.Protocol):
    def __init__(self, answered: object) -> None:
        self._answered = answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        self._answered.add()  # type: ignore[attr-defined]
        self._transport.write(f"{os.getpid()}\n".encode())


async def run_worker(
    config: Config, index: int, listening: list[socket.socket], lmk: bytes, control: Control
) -> None:
    assert len(lmk) == 32
    assert config.database.dsn
    if config.node == "broken":
        raise ValueError("broken on purpose, card 4111111111111111")
    answered = control.registry.counter("tongbao_answers_total", "Answers")
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(lambda: Echo(answered), sock=each) for each in listening]
    control.ready({"BANKA": f"127.0.0.1:{9000 + index}"})
    await control.drain_requested()
    (config.data_folder / f"draining-{index}").touch()
    for server in servers:
        server.close()
    if config.node == "slow":
        await asyncio.sleep(1.0)
    if config.node == "stuck":
        await asyncio.sleep(1000.0)
    (config.data_folder / f"drained-{index}").touch()


if __name__ == "__main__":
    wiring = types.ModuleType("switch.wiring")
    wiring.run_worker = run_worker  # type: ignore[attr-defined]
    sys.modules["switch.wiring"] = wiring
    sys.exit(worker.main(sys.argv[1:]))
