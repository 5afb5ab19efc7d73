"""The port onto one network device, or two with the same LMK: `hsm.ports.Hsm` by host commands.

Both devices serve at the same time. What only computes (a translation, a MAC, its verification, a check
value) is asked once more of the other device when one goes away or does not answer in time; where there
is one device, once more of it over another connection, only when a connection is lost. What makes or moves
keys is asked once. Everything else ends as a `VaultError` (96), or a
`PinBlockError` (99) where the device says so. Which command does what stands in `hsm/host/client.py`.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from hsm import working_keys
from hsm.adapters.host_client import Answer, ClientConnection, Device, NetworkSettings, Told
from hsm.errors import KeyUsageError, VaultError, WeakKeyError
from hsm.host import client
from hsm.host.client import (
    Ask,
    DeviceBusyError,
    DeviceDownError,
    DeviceTimeoutError,
    MacPlan,
    block_of,
    key_of,
)
from hsm.keys import Algorithm, ExportedKey, KeyBlock, KeyUsage, WorkingKeys
from hsm.mac import profile_named
from hsm.vault import algorithm_for

_KEY_COMMANDS: Final = frozenset({"A0", "A6", "A8", "HA", "HC"})


class Counters(msgspec.Struct):
    """Since this process started."""

    asked: int = 0
    answered: int = 0
    refused: int = 0  # answers with another code than 00
    timed_out: int = 0
    lost: int = 0  # under way when a connection was lost
    repeated: int = 0  # asked once more
    busy: int = 0  # not asked: no device, or too many under way


class NetworkHsm:
    """`hsm.ports.Hsm` by devices on a network. `told` gets events for the log; none has data in it."""

    def __init__(
        self, settings: NetworkSettings, told: Told = lambda _event, **_facts: None
    ) -> None:
        self.counters = Counters()
        self._settings = settings
        self._lmk_id = ""
        self._devices = [
            Device(address, settings, self._expected, told) for address in settings.addresses
        ]
        self._turn = 0
        self._plans: dict[str, MacPlan | None] = {}

    def __repr__(self) -> str:
        return f"NetworkHsm({', '.join(device.name for device in self._devices)})"

    # -- life ----------------------------------------------------------------------------------

    def start(self, lmk_id: str = "") -> None:
        """Begin to connect. `lmk_id`: that of the keys that are kept; "": none are yet."""
        self._lmk_id = lmk_id
        for device in self._devices:
            device.start()

    async def serves_within(self, wait_s: float) -> None:
        """Until one device serves; `DeviceDownError` names each and why it does not. All go on being tried."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + wait_s
        while not any(device.serves for device in self._devices):
            left_s = until_s - loop.time()
            if left_s <= 0:
                raise DeviceDownError(self.faults())
            waits = [loop.create_task(device.changed.wait()) for device in self._devices]
            await asyncio.wait(waits, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            for wait, device in zip(waits, self._devices, strict=True):
                wait.cancel()
                device.changed.clear()

    async def stop(self) -> None:
        """Close every connection; what is under way fails."""
        await asyncio.gather(*(device.stop() for device in self._devices))

    def faults(self) -> str:
        """Why devices do not serve, by name."""
        return "; ".join(
            f"{device.name}: {device.fault or 'the connection was lost'}"
            for device in self._devices
            if not device.serves
        )

    @property
    def serving(self) -> dict[str, int]:
        """By device, how many connections to it serve."""
        return {
            device.name: sum(each.usable for each in device.connections) for device in self._devices
        }

    @property
    def lmk_id(self) -> str:
        """The check value of the LMK, 16 hex digits, as the devices tell it; "" before `start`."""
        return self._lmk_id

    @property
    def lmk_ids(self) -> tuple[str, ...]:
        """One: a device's LMK changes at its console."""
        return (self._lmk_id,)

    def _expected(self, _device: Device, found: str) -> str:
        self._lmk_id = self._lmk_id or found
        return self._lmk_id

    # -- asking --------------------------------------------------------------------------------

    async def _ask(self, ask: Ask) -> bytes:
        """The data of an answer with code 00; else what `client.refused` says."""
        answer = await self._answer(ask)
        if answer.code != "00":
            self.counters.refused += 1
            raise client.refused(ask.command, answer.code)
        return answer.data

    async def _answer(self, ask: Ask) -> Answer:
        settings = self._settings
        timeout_s = settings.key_timeout_s if ask.command in _KEY_COMMANDS else settings.timeout_s
        connection = self._chosen(self._devices)
        if connection is None:
            raise self._none()
        try:
            return await self._asked(connection, ask, timeout_s)
        except (DeviceDownError, DeviceTimeoutError) as error:
            others = [device for device in self._devices if device is not connection.device]
            other = self._chosen(others)
            if other is None and isinstance(error, DeviceDownError):
                other = self._chosen([connection.device])
            if other is None or not ask.repeatable:
                raise
        self.counters.repeated += 1
        return await self._asked(other, ask, timeout_s)

    async def _asked(self, connection: ClientConnection, ask: Ask, timeout_s: float) -> Answer:
        self.counters.asked += 1
        try:
            answer = await connection.ask(ask, timeout_s)
        except DeviceTimeoutError:
            self.counters.timed_out += 1
            raise
        except DeviceDownError:
            self.counters.lost += 1
            raise
        self.counters.answered += 1
        return answer

    def _chosen(self, devices: Sequence[Device]) -> ClientConnection | None:
        """The connection with the least under way; of equals the devices' in turn."""
        count = len(devices)
        self._turn += 1
        best: ClientConnection | None = None
        for step in range(count):
            for connection in devices[(self._turn + step) % count].connections:
                if connection.takes and (best is None or connection.under_way < best.under_way):
                    best = connection
        return best

    def _none(self) -> VaultError:
        self.counters.busy += 1
        if any(device.serves for device in self._devices):
            return DeviceBusyError("as many commands are under way as the devices are asked for")
        return DeviceDownError(f"no device serves: {self.faults()}")

    # -- every message ---------------------------------------------------------------------------

    async def translate_pin(
        self, pin_block: bytes, source_key: str, destination_key: str, pan: str
    ) -> bytes:
        """See `hsm.ports.Hsm.translate_pin`."""
        ask = client.translate_pin(pin_block, source_key, destination_key, pan)
        return client.read_translated(await self._ask(ask))

    async def mac(self, key: str, profile: str, data: bytes) -> bytes:
        """See `hsm.ports.Hsm.mac`."""
        plan = self._plan(profile)
        if plan is None:
            return b""
        return client.read_mac(plan, await self._ask(client.generate_mac(key, plan, data)))

    async def verify_mac(self, key: str, profile: str, data: bytes, mac: bytes) -> bool:
        """See `hsm.ports.Hsm.verify_mac`; the device compares."""
        plan = self._plan(profile)
        if plan is None:
            return mac == b""
        ask = client.verify_mac(key, plan, data, mac)
        if ask is None:
            return False
        answer = await self._answer(ask)
        if answer.code == "00":
            return True
        if answer.code == "01":
            return False
        self.counters.refused += 1
        raise client.refused(ask.command, answer.code)

    def _plan(self, profile: str) -> MacPlan | None:
        """None for the profile `off`."""
        try:
            return self._plans[profile]
        except KeyError:
            row = profile_named(profile)
            plan = None if row.coding == "none" else client.mac_plan(row)
            self._plans[profile] = plan
            return plan

    # -- keys --------------------------------------------------------------------------------------

    async def generate_working_keys(
        self,
        tmk: str,
        layout: str,
        mak_bytes: int,
        *,
        mak_algorithm: Algorithm | None = None,
    ) -> WorkingKeys:
        """See `hsm.ports.Hsm.generate_working_keys`: HC, HA and A0, then the check values."""
        slots = working_keys.layout_named(layout)
        algorithm = algorithm_for(KeyUsage.MAK, mak_bytes, mak_algorithm)
        client.check_usage(KeyUsage.MAK, algorithm)
        working_keys.check_mak(slots, mak_bytes, algorithm)
        pik, pik_sent, pik_check = await self._under_tmk(KeyUsage.TPK, tmk, slots.pik_bytes)
        mak, mak_sent, mak_check = await self._under_tmk(KeyUsage.MAK, tmk, mak_bytes)
        parts = [pik_sent, pik_check, mak_sent.ljust(slots.mak_slot_bytes, b"\0"), mak_check]
        tdk = tdk_check = None
        if slots.tdk_bytes:
            tdk, tdk_sent, tdk_check = await self._under_tmk(KeyUsage.TDK, tmk, slots.tdk_bytes)
            parts += [tdk_sent, tdk_check]
        de62 = b"".join(parts)
        assert len(de62) == slots.total_bytes
        return WorkingKeys(
            layout=layout,
            de62=de62,
            pik=pik,
            pik_check_value=pik_check.hex().upper(),
            mak=mak,
            mak_check_value=mak_check.hex().upper(),
            tdk=tdk,
            tdk_check_value=None if tdk_check is None else tdk_check.hex().upper(),
            lmk_id=self._lmk_id,
        )

    async def _under_tmk(self, usage: KeyUsage, tmk: str, length: int) -> tuple[str, bytes, bytes]:
        """A new key: as kept, under the TMK, and the 4 bytes of its check value."""
        ask = client.generate_under_tmk(usage, tmk, length)
        text, sent = client.read_under_tmk(ask, length, await self._ask(ask))
        block = block_of(usage, text)
        if usage is KeyUsage.MAK and length == 8:
            digits = (await self._ask(client.encrypted_zeros(block))).decode("latin-1")
        else:
            answered = await self._ask(client.check_value(key_of(block), whole=True))
            digits = client.read_check_value(answered, 8)
        return block, sent, client.unhex(digits[:8].encode("latin-1"))

    async def generate_key(
        self, usage: KeyUsage, length: int, *, algorithm: Algorithm | None = None
    ) -> KeyBlock:
        """See `hsm.ports.Hsm.generate_key`: A0; a ZMK in the authorised state alone."""
        client.check_usage(usage, algorithm_for(usage, length, algorithm))
        answered = await self._ask(client.generate_key(usage, length))
        text, rest = client.read_key(answered, client.LMK_SCHEMES[length])
        return self._kept(usage, text, rest)

    async def import_key(
        self,
        usage: KeyUsage,
        under: str | None,
        cryptogram: bytes | str,
        *,
        algorithm: Algorithm | None = None,
        check_value: str | None = None,
        allow_weak: bool = False,
    ) -> KeyBlock:
        """See `hsm.ports.Hsm.import_key`: A6; a key of the device's own, `under` None, by BU."""
        client.check_usage(usage, algorithm)
        if under is None:
            made = await self._own(usage, cryptogram)
        else:
            ask = client.import_key(usage, under, cryptogram)
            answer = await self._answer(ask)
            if answer.code == "01" and not allow_weak:
                raise WeakKeyError(f"host command {ask.command}: 01 the key has wrong parity")
            if answer.code not in ("00", "01"):
                self.counters.refused += 1
                raise client.refused(ask.command, answer.code)
            kept = ask.data[-1:].decode()  # the scheme under the LMK stands last
            made = self._kept(usage, *client.read_key(answer.data, kept))
        if check_value is not None:
            await self._compare(key_of(made.block), check_value)
        return made

    async def _own(self, usage: KeyUsage, text: bytes | str) -> KeyBlock:
        """A key under the device's LMK, entered as the device wrote it, or as this port did."""
        if not isinstance(text, str):
            raise VaultError("only a key block comes without a key it is under")
        block = text if ":" in text else block_of(usage, text)
        key = key_of(block)
        if key.usage is not usage:
            raise KeyUsageError(f"the key is a {key.usage.value}")
        return KeyBlock(block, usage, await self.check_value(block), self._lmk_id)

    async def _compare(self, key: client.DeviceKey, given: str) -> None:
        """`VaultError` unless `given`, 4 to 8 hex digits, starts the key's check value."""
        text = given.strip().upper()
        whole = len(text) > client.CHECK_DIGITS
        answered = await self._ask(client.check_value(key, whole=whole))
        known = client.read_check_value(answered, 8 if whole else client.CHECK_DIGITS)
        if len(text) < 4 or not known.startswith(text):
            raise VaultError("the check value does not agree")

    def _kept(self, usage: KeyUsage, text: str, rest: bytes) -> KeyBlock:
        digits = client.read_check_value(rest, client.CHECK_DIGITS)
        return KeyBlock(block_of(usage, text), usage, digits, self._lmk_id)

    async def import_components(
        self,
        usage: KeyUsage,
        components: Sequence[bytes],
        *,
        algorithm: Algorithm | None = None,
        check_value: str | None = None,
        allow_weak: bool = False,
    ) -> KeyBlock:
        """Refused: components are entered at the device's console and never pass through the switch."""
        del usage, components, algorithm, check_value, allow_weak
        raise KeyUsageError("components are entered at the device's console: see docs/hsm.md")

    async def export_key(self, key: str, under: str) -> ExportedKey:
        """See `hsm.ports.Hsm.export_key`: A8, in the authorised state alone.

        `key_block` is empty where the device makes no TR-31 block of a key of its variant LMK.
        """
        ask = client.export_key(key, under, block=False)
        text, rest = client.read_key(await self._ask(ask), ask.data[-1:].decode())
        block = ""
        try:
            answered = await self._ask(client.export_key(key, under, block=True))
            block = client.read_key(answered, "R")[0][1:]
        except KeyUsageError:
            pass
        return ExportedKey(
            block, text.lstrip("XY"), client.read_check_value(rest, client.CHECK_DIGITS)
        )

    async def check_value(self, key: str) -> str:
        """See `hsm.ports.Hsm.check_value`: BU."""
        answered = await self._ask(client.check_value(key_of(key)))
        return client.read_check_value(answered, client.CHECK_DIGITS)
