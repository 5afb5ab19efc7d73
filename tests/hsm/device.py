"""A device to point the port at: the real server on a real socket, and its keys in clear for the test.

`STANDING_IN`: commands that the server has not got yet, as short as can be, for the client's sake.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from hsm import check_values, ciphers, mac
from hsm.adapters.host_client import NetworkSettings
from hsm.adapters.network import NetworkHsm
from hsm.adapters.server import HostPort, HostServer
from hsm.des_keys import has_odd_parity, with_odd_parity
from hsm.host import vault as uses
from hsm.host.client import block_of
from hsm.host.codes import HostError
from hsm.host.commands import COMMANDS
from hsm.host.dispatch import Command, Dispatcher
from hsm.host.fields import Fields
from hsm.host.vault import HostVault
from hsm.keys import KeyUsage
from hsm.lmk import TEST_LMK, Lmk
from hsm.variant import VariantLmk, decrypt_under, encrypt_under
from tests.hsm.support import odd, seeded

TYPES: Final = {
    KeyUsage.ZMK: "000", KeyUsage.ZPK: "001", KeyUsage.TMK: "002", KeyUsage.TPK: "002",
    KeyUsage.MAK: "003", KeyUsage.ZAK: "008", KeyUsage.TDK: "30B",
}  # fmt: skip
BYTES: Final = {"Z": 8, "U": 16, "X": 16, "T": 24, "Y": 24}


def diagnostics(vault: HostVault, fields: Fields) -> bytes:
    fields.end()
    return vault.variant.check_value.encode().ljust(16, b"0") + b"0001-0000"


def clear(vault: HostVault, text: str, key_type: str) -> bytes:
    found = vault.variant.decrypt_key(text, key_type)
    if not has_odd_parity(found):
        raise HostError("10")
    return found


def made(vault: HostVault, length: int) -> bytes:
    return with_odd_parity(vault.entropy(length))


def new_under_tmk(key_type: str) -> Any:
    def function(vault: HostVault, fields: Fields) -> bytes:
        tmk = clear(vault, fields.key(32), "002")
        assert fields.skip_if(";")
        sent, kept, _ = fields.text(1), fields.text(1), fields.text(1)
        fields.end()
        key = made(vault, BYTES[kept])
        under_lmk = vault.variant.encrypt_key(key, key_type, kept)
        return (encrypt_under(tmk, key, sent) + under_lmk).encode()

    return function


def generate(vault: HostVault, fields: Fields) -> bytes:
    mode, key_type, kept = fields.text(1), fields.text(3), fields.text(1)
    if key_type == "000" and not vault.authorised:
        raise HostError("17")
    key = made(vault, BYTES[kept])
    text = vault.variant.encrypt_key(key, key_type, kept)
    if mode == "1":
        assert fields.text(2) == ";1"
        tmk = clear(vault, fields.key(32), "002")
        text += encrypt_under(tmk, key, fields.text(1))
    fields.end()
    return (text + check_values.tdes_check_value(key).hex().upper()).encode()


def import_key(vault: HostVault, fields: Fields) -> bytes:
    key_type, zmk, text, kept = fields.text(3), fields.key(32), fields.key(16), fields.text(1)
    fields.end()
    if text[0] == "R":
        raise HostError("26")
    key = decrypt_under(clear(vault, zmk, "000"), text)
    right = with_odd_parity(key)
    answer = vault.variant.encrypt_key(right, key_type, kept).encode()
    answer += check_values.tdes_check_value(right).hex().upper().encode()
    if right != key:
        raise HostError("01", answer)
    return answer


def export_key(vault: HostVault, fields: Fields) -> bytes:
    key_type, zmk, text, sent = fields.text(3), fields.key(32), fields.key(16), fields.text(1)
    fields.end()
    if not vault.authorised:
        raise HostError("17")
    if sent == "R":
        raise HostError("26")
    key = clear(vault, text, key_type)
    under = encrypt_under(clear(vault, zmk, "000"), key, sent)
    return (under + check_values.tdes_check_value(key).hex().upper()).encode()


def check_value(vault: HostVault, fields: Fields) -> bytes:
    assert fields.text(2) == "FF"
    text = fields.key({"0": 16, "1": 32, "2": 48}[fields.text(1)])
    assert fields.skip_if(";")
    key_type = fields.text(3)
    assert fields.text(3) == ";00"
    whole = fields.text(1) == "0"
    key = clear(vault, text, key_type)
    if whole and len(key) == 8:
        raise HostError("29")
    return ciphers.tdes_ecb_encrypt(key, bytes(8))[: 8 if whole else 3].hex().upper().encode()


def mac_of(vault: HostVault, fields: Fields) -> tuple[bytes, int]:
    assert fields.text(2) == "00"
    size = 4 if fields.text(1) == "0" else 8
    algorithm, padding = fields.text(1), fields.text(1)
    key_type = fields.text(3)
    key = vault.key(fields.key(16), {"003": uses.TAK, "008": uses.ZAK}[key_type]).key
    data = fields.binary(fields.hex_number(4))
    padded = data if padding == "0" else mac.pad(data, int(padding), 8)
    if algorithm == "6":
        return ciphers.Tdes(key).cmac(data)[:size], size
    if algorithm == "3":
        return mac.x9_19(key, padded)[:size], size
    return ciphers.tdes(key).cbc_mac(padded)[:size], size


def make_mac(vault: HostVault, fields: Fields) -> bytes:
    found, _ = mac_of(vault, fields)
    fields.end()
    return found.hex().upper().encode()


def verify_mac(vault: HostVault, fields: Fields) -> bytes:
    found, size = mac_of(vault, fields)
    if fields.hex(2 * size) != found:
        raise HostError("01")
    fields.end()
    return b""


STANDING_IN: Final = {
    code: Command(code, function, code, code)
    for code, function in {
        "NC": diagnostics, "A0": generate, "A6": import_key, "A8": export_key, "BU": check_value,
        "HA": new_under_tmk("003"), "HC": new_under_tmk("002"), "M6": make_mac, "M8": verify_mac,
    }.items()
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
            {**STANDING_IN, **COMMANDS},
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
        asyncio.run_coroutine_threadsafe(self.device.start(**port), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.device.stop(), self._loop).result(10)


def settings(*devices: TestDevice, **changes: Any) -> NetworkSettings:
    given: dict[str, Any] = {
        "addresses": tuple(device.address for device in devices),
        "timeout_s": 0.5,
        "key_timeout_s": 1.0,
        "reconnect_s": 0.01,
        "reconnect_max_s": 0.1,
    }
    return NetworkSettings(**(given | changes))


@asynccontextmanager
async def connected(
    *devices: TestDevice, lmk_id: str = "", wait_s: float = 5.0, **changes: Any
) -> AsyncIterator[NetworkHsm]:
    """The devices started where they are not, and a port onto them."""
    for device in devices:
        if device.server is None:
            await device.start()
    hsm = NetworkHsm(settings(*devices, **changes))
    hsm.start(lmk_id)
    try:
        await hsm.serves_within(wait_s)
        yield hsm
    finally:
        await hsm.stop()
        for device in devices:
            await device.stop()
            assert not device.faults, device.faults


__all__ = ["TestDevice", "Threaded", "connected", "odd", "settings"]
