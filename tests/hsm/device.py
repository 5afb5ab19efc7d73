"""A device to point the port at: the host-command server on a real socket, and its keys in clear for tests."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from hsm.adapters.host_client import NetworkSettings
from hsm.adapters.network import NetworkHsm
from hsm.adapters.server import HostPort, HostServer
from hsm.host.client import block_of
from hsm.host.commands import COMMANDS
from hsm.host.dispatch import Dispatcher
from hsm.host.vault import HostVault
from hsm.keys import KeyUsage
from hsm.lmk import TEST_LMK, Lmk
from hsm.variant import VariantLmk
from tests.hsm.support import odd, seeded

PATIENCE_S: Final = 60.0  # for what takes milliseconds on a machine that has nothing else to do

TYPES: Final = {
    KeyUsage.ZMK: "000", KeyUsage.ZPK: "001", KeyUsage.TMK: "002", KeyUsage.TPK: "002",
    KeyUsage.MAK: "003", KeyUsage.ZAK: "008", KeyUsage.TDK: "30B",
}  # fmt: skip


class TestDevice:
    """One device: a vault, a server, what it was asked."""

    __test__ = False

    def __init__(self, lmk: Lmk = TEST_LMK, seed: int = 7) -> None:
        self.now_s = 1.0
        self.vault = HostVault(
            lmk, VariantLmk.of(lmk), seeded(seed), lambda: self.now_s, allow_weak=True
        )
        self.faults: list[BaseException] = []
        self.dispatcher = Dispatcher(
            self.vault,
            COMMANDS,
            failed=lambda _code, error: self.faults.append(error),
        )
        self.server: HostServer | None = None
        self.port = 0

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    async def start(self, **port: Any) -> None:
        self.server = HostServer(self.dispatcher, HostPort("127.0.0.1", self.port, **port))
        _, self.port = await self.server.start()

    async def stop(self) -> None:
        """As if its plug were pulled: connections end, nothing listens."""
        if self.server is not None:
            server, self.server = self.server, None
            for connection in list(server.connections):
                transport = connection._transport
                assert transport is not None
                transport.abort()
            await server.close()
            await asyncio.sleep(0)

    def calls(self, code: str) -> int:
        return self.dispatcher.counters()[code].calls

    def key(self, usage: KeyUsage, clear_key: bytes) -> str:
        """A clear key as the port would hand it out."""
        scheme = {8: "Z", 16: "U", 24: "T"}[len(clear_key)]
        return block_of(usage, self.vault.variant.encrypt_key(clear_key, TYPES[usage], scheme))

    def opened(self, block: str) -> bytes:
        """The clear key of what the port handed out."""
        name, _, text = block.partition(":")
        return self.vault.variant.decrypt_key(text, TYPES[KeyUsage(name)])


class Threaded:
    """A device in a thread of its own, for those who do not run a loop or stand still in theirs."""

    def __init__(self, device: TestDevice) -> None:
        self.device = device
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        assert not self.device.faults, self.device.faults

    def start(self, **port: Any) -> None:
        """At the same port as before."""
        asyncio.run_coroutine_threadsafe(self.device.start(**port), self._loop).result(PATIENCE_S)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.device.stop(), self._loop).result(PATIENCE_S)


def settings(*devices: TestDevice, **changes: Any) -> NetworkSettings:
    given: dict[str, Any] = {
        "addresses": tuple(device.address for device in devices),
        "timeout_s": PATIENCE_S,
        "key_timeout_s": PATIENCE_S,
        "connect_timeout_s": PATIENCE_S,
        "reconnect_s": 0.01,
        "reconnect_max_s": 0.1,
    }
    return NetworkSettings(**(given | changes))


async def eventually(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not happened():  # noqa: ASYNC110 - looked at from outside
            await asyncio.sleep(0.005)


async def all_usable(hsm: NetworkHsm) -> None:
    """Every connection to every device serves."""
    wanted = hsm._settings.connections * len(hsm._devices)
    await eventually(lambda: sum(hsm.serving.values()) == wanted)


@asynccontextmanager
async def connected(
    *devices: TestDevice, lmk_id: str = "", **changes: Any
) -> AsyncIterator[NetworkHsm]:
    """The devices started where they are not, and a port onto them, all its connections up."""
    for device in devices:
        if device.server is None:
            await device.start()
    hsm = NetworkHsm(settings(*devices, **changes))
    hsm.start(lmk_id)
    try:
        await all_usable(hsm)
        yield hsm
    finally:
        await hsm.stop()
        for device in devices:
            await device.stop()
            assert not device.faults, device.faults


__all__ = [
    "PATIENCE_S",
    "TestDevice",
    "Threaded",
    "all_usable",
    "connected",
    "eventually",
    "odd",
    "settings",
]
