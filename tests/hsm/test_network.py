"""Goal: the port by host commands gives what the vault in the process gives, and no device's fault gives more.

Method: `NetworkHsm` against the real host-command server on a real socket, its keys known in clear, and the
local vault with the same keys beside it; then devices that go away, are silent, lie, or have another LMK,
most of them written out byte by byte here.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given, settings as settings_of, strategies as st

from hsm import check_values, ciphers, mac, pin_block, working_keys
from hsm.adapters.host_client import Answer, ClientConnection, Device
from hsm.adapters.network import NetworkHsm
from hsm.errors import KeyBlockError, KeyUsageError, PinBlockError, VaultError, WeakKeyError
from hsm.host import client
from hsm.host.addresses import addresses_of
from hsm.host.client import DeviceBusyError, DeviceDownError, DeviceTimeoutError
from hsm.host.framing import HostFramer, frame
from hsm.keys import Algorithm, KeyUsage
from hsm.lmk import Lmk
from hsm.mac_profiles import PROFILES
from switch import vaults
from switch.config import Hsm
from tests.hsm.device import (
    PATIENCE_S,
    TestDevice,
    all_usable,
    connected,
    eventually,
    odd,
    settings,
)
from tests.hsm.support import make_vault, stored
from tests.switch.device.test_device import made_certificate

PAN = "6222021234567890123"
TPK, ZPK, MAK, MAK_8, ZAK, TMK, ZMK = (
    odd(seed, length) for seed, length in enumerate((16, 16, 16, 8, 16, 16, 16), 40)
)
DATA = bytes(range(256)) + b"tail"
OTHER_LMK = Lmk(bytes(range(1, 33)))

Story = Callable[[NetworkHsm, TestDevice], Awaitable[None]]


def tell(story: Story, **changes: Any) -> None:
    async def main() -> None:
        device = TestDevice()
        async with connected(device, **changes) as hsm:
            await story(hsm, device)

    asyncio.run(main())


# -- the same answers as the vault in the process ------------------------------------------------


def test_pin_blocks_change_keys_as_in_the_process() -> None:
    async def story(hsm: NetworkHsm, device: TestDevice) -> None:
        vault = make_vault()
        block = ciphers.tdes_ecb_encrypt(TPK, pin_block.encode_format0("123456", PAN))
        theirs = await hsm.translate_pin(
            block, device.key(KeyUsage.TPK, TPK), device.key(KeyUsage.ZPK, ZPK), PAN
        )
        ours = vault.translate_pin(
            block, stored(vault, KeyUsage.TPK, TPK), stored(vault, KeyUsage.ZPK, ZPK), PAN
        )
        assert theirs == ours
        back = await hsm.translate_pin(
            theirs, device.key(KeyUsage.ZPK, ZPK), device.key(KeyUsage.ZPK, TPK), PAN
        )
        assert back == block
        assert (device.calls("CA"), device.calls("CC")) == (1, 1)
        for wrong in (bytes(8), block[::-1]):
            with pytest.raises(PinBlockError) as refused:
                await hsm.translate_pin(
                    wrong, device.key(KeyUsage.TPK, TPK), device.key(KeyUsage.ZPK, ZPK), PAN
                )
            assert str(refused.value).startswith("host command CA: 20")
        with pytest.raises(PinBlockError):
            await hsm.translate_pin(
                block[:7], device.key(KeyUsage.TPK, TPK), device.key(KeyUsage.ZPK, ZPK), PAN
            )

    tell(story)


SERVED = [
    name
    for name, row in PROFILES.items()
    if name != "off" and row.key_algorithms & {Algorithm.DES, Algorithm.TDES}
]


@pytest.mark.parametrize("profile", SERVED)
@pytest.mark.parametrize("data", [DATA, DATA[:8], b"x", b""], ids=["long", "block", "byte", "none"])
def test_macs_of_every_profile_are_those_of_the_process(profile: str, data: bytes) -> None:
    async def story(hsm: NetworkHsm, device: TestDevice) -> None:
        for key in (MAK, MAK_8):
            if len(key) not in PROFILES[profile].mak_bytes:
                continue
            block = device.key(KeyUsage.MAK, key)
            right = mac.compute(profile, key, data)
            assert await hsm.mac(block, profile, data) == right
            assert await hsm.verify_mac(block, profile, data, right)
            wrong = bytes([right[0] ^ 1]) + right[1:]
            for other in (wrong, right[:7], b"", right.lower() + b"", right + b"0"):
                if other != right:
                    assert not await hsm.verify_mac(block, profile, data, other)
        if 16 in PROFILES[profile].mak_bytes:
            zak = device.key(KeyUsage.ZAK, ZAK)
            assert await hsm.mac(zak, profile, data) == mac.compute(profile, ZAK, data)

    tell(story)


def test_no_mac_is_asked_of_nobody_and_an_aes_one_is_refused_by_name() -> None:
    async def story(hsm: NetworkHsm, device: TestDevice) -> None:
        key = device.key(KeyUsage.MAK, MAK)
        assert await hsm.mac(key, "off", DATA) == b""
        assert await hsm.verify_mac(key, "off", DATA, b"")
        assert not await hsm.verify_mac(key, "off", DATA, bytes(8))
        asked = hsm.counters.asked
        with pytest.raises(VaultError, match="MAC profile cmac"):
            await hsm.mac(key, "cmac", DATA)
        with pytest.raises(VaultError, match="no MAC profile"):
            await hsm.mac(key, "rot13", DATA)
        with pytest.raises(VaultError, match="at most"):
            await hsm.mac(key, "x9.19", bytes(mac.MAC_DATA_MAX + 1))
        assert hsm.counters.asked == asked

    tell(story)


@pytest.mark.parametrize(("layout", "mak"), [("003", 8), ("003", 16), ("004", 8), ("004", 16)])
def test_working_keys_open_at_the_terminal(layout: str, mak: int) -> None:
    async def story(hsm: NetworkHsm, device: TestDevice) -> None:
        made = await hsm.generate_working_keys(device.key(KeyUsage.TMK, TMK), layout, mak)
        keys = working_keys.open_de62(TMK, layout, made.de62, mak)
        assert device.opened(made.pik) == keys.pik
        assert device.opened(made.mak) == keys.mak
        assert (made.tdk is None) is (keys.tdk is None)
        assert made.tdk is None or device.opened(made.tdk) == keys.tdk
        assert made.lmk_id == hsm.lmk_id
        assert (
            made.mak_check_value
            == check_values.tdes_check_value(keys.mak, 4, on_wire=True).hex().upper()
        )
        right = mac.compute("unionpay-ecb", keys.mak, DATA)
        assert await hsm.mac(made.mak, "unionpay-ecb", DATA) == right

    tell(story)


def test_working_keys_that_no_device_makes() -> None:
    async def story(hsm: NetworkHsm, device: TestDevice) -> None:
        tmk = device.key(KeyUsage.TMK, TMK)
        with pytest.raises(KeyUsageError, match="Triple DES keys alone"):
            await hsm.generate_working_keys(tmk, "003", 16, mak_algorithm=Algorithm.AES)
        with pytest.raises(KeyUsageError, match="ZMK is no TMK"):
            await hsm.generate_working_keys(device.key(KeyUsage.ZMK, ZMK), "003", 16)
        with pytest.raises(KeyUsageError, match="host command BU: 29"):
            await hsm.generate_working_keys(tmk, "001", 8)
        with pytest.raises(VaultError, match="layout"):
            await hsm.generate_working_keys(tmk, "009", 8)

    tell(story)


def test_keys_come_in_and_leave_under_a_zmk() -> None:
    async def story(hsm: NetworkHsm, device: TestDevice) -> None:
        zmk = device.key(KeyUsage.ZMK, ZMK)
        check = check_values.tdes_check_value(ZPK).hex().upper()
        sent = ciphers.tdes_ecb_encrypt(ZMK, ZPK)
        came = await hsm.import_key(KeyUsage.ZPK, zmk, sent, check_value=check)
        assert device.opened(came.block) == ZPK
        assert (came.check_value, came.lmk_id) == (check, hsm.lmk_id)
        longer = check_values.tdes_check_value(ZPK, 4).hex()
        await hsm.import_key(KeyUsage.ZPK, zmk, sent, check_value=longer)
        for wrong in ("000000", "12", check[:5] + ("0" if check[5] != "0" else "1")):
            with pytest.raises(VaultError, match="check value"):
                await hsm.import_key(KeyUsage.ZPK, zmk, sent, check_value=wrong)
        even = ciphers.tdes_ecb_encrypt(ZMK, bytes(each ^ 1 for each in ZPK))
        with pytest.raises(WeakKeyError, match="parity"):
            await hsm.import_key(KeyUsage.ZPK, zmk, even)
        assert device.opened((await hsm.import_key(KeyUsage.ZPK, zmk, even, allow_weak=True)).block)
        with pytest.raises(VaultError, match="17 not in the authorised state"):
            await hsm.export_key(came.block, zmk)
        device.vault.authorise(60.0)
        left = await hsm.export_key(came.block, zmk)
        assert (left.ecb_hex, left.check_value) == (sent.hex().upper(), check)
        with pytest.raises(KeyUsageError):
            await hsm.export_key(device.key(KeyUsage.MAK, MAK), zmk)
        with pytest.raises(KeyUsageError):
            await hsm.import_key(KeyUsage.ZPK, device.key(KeyUsage.TMK, TMK), sent)

    tell(story)


def test_keys_are_made_and_taken_back_by_the_device() -> None:
    async def story(hsm: NetworkHsm, device: TestDevice) -> None:
        made = await hsm.generate_key(KeyUsage.ZPK, 16)
        clear = device.opened(made.block)
        assert made.check_value == check_values.tdes_check_value(clear).hex().upper()
        assert await hsm.check_value(made.block) == made.check_value
        text = made.block.partition(":")[2]
        taken = await hsm.import_key(KeyUsage.ZPK, None, text, check_value=made.check_value)
        assert taken == made
        with pytest.raises(KeyUsageError, match="is a ZPK"):
            await hsm.import_key(KeyUsage.ZAK, None, made.block)
        with pytest.raises(KeyBlockError, match="host command BU: 10"):
            await hsm.import_key(KeyUsage.ZAK, None, text)
        with pytest.raises(VaultError, match="17"):
            await hsm.generate_key(KeyUsage.ZMK, 16)
        for usage, length in ((KeyUsage.DATA, 32), (KeyUsage.TOKEN, 32), (KeyUsage.ZPK, 32)):
            with pytest.raises(VaultError):
                await hsm.generate_key(usage, length)
        with pytest.raises(KeyUsageError, match="console"):
            await hsm.import_components(KeyUsage.ZPK, [ZPK, ZMK])

    tell(story)


def test_a_key_of_another_vault_or_purpose_is_not_sent_to_the_device() -> None:
    async def story(hsm: NetworkHsm, device: TestDevice) -> None:
        asked = hsm.counters.asked
        vault = make_vault()
        foreign = stored(vault, KeyUsage.MAK, MAK)
        with pytest.raises(KeyBlockError, match=r"docs/hsm\.md"):
            await hsm.mac(foreign, "x9.19", DATA)
        for block in ("", "MAK:", "MAK:UXYZ", "MAK:" + "U" + "0" * 31, "OTHER:U" + "0" * 32):
            with pytest.raises(KeyBlockError):
                await hsm.mac(block, "x9.19", DATA)
        with pytest.raises(KeyUsageError):
            await hsm.mac(device.key(KeyUsage.TMK, TMK), "x9.19", DATA)
        with pytest.raises(KeyUsageError):  # the device knows one type for both
            await hsm.translate_pin(
                bytes(8), device.key(KeyUsage.TMK, TMK), device.key(KeyUsage.ZPK, ZPK), PAN
            )
        with pytest.raises(KeyUsageError):
            await hsm.translate_pin(
                bytes(8), device.key(KeyUsage.TPK, TPK), device.key(KeyUsage.TPK, TPK), PAN
            )
        with pytest.raises(VaultError, match="PAN"):
            await hsm.translate_pin(
                bytes(8), device.key(KeyUsage.TPK, TPK), device.key(KeyUsage.ZPK, ZPK), "1234567"
            )
        assert hsm.counters.asked == asked

    tell(story)


# -- many, two, and away -----------------------------------------------------------------------------


async def macs(hsm: NetworkHsm, device: TestDevice, count: int) -> list[Any]:
    key = device.key(KeyUsage.MAK, MAK)
    asked = (hsm.mac(key, "x9.19", b"%d" % number) for number in range(count))
    return await asyncio.gather(*asked, return_exceptions=True)


def right(count: int) -> list[bytes]:
    return [mac.compute("x9.19", MAK, b"%d" % number) for number in range(count)]


def test_many_commands_under_way_over_few_connections_get_each_its_answer() -> None:
    async def story(hsm: NetworkHsm, device: TestDevice) -> None:
        assert await macs(hsm, device, 500) == right(500)
        assert device.server is not None
        assert len(device.server.connections) == 2

    tell(story, in_flight=300)


def test_what_is_over_the_bound_is_refused_at_once() -> None:
    async def story(hsm: NetworkHsm, device: TestDevice) -> None:
        results = await macs(hsm, device, 25)
        assert [isinstance(each, DeviceBusyError) for each in results].count(True) == 5
        assert hsm.counters.busy == 5
        assert await macs(hsm, device, 20) == right(20)

    tell(story, in_flight=10)


def test_two_devices_share_the_work_and_one_that_goes_away_costs_no_command() -> None:
    async def main() -> None:
        first, second = TestDevice(), TestDevice(seed=8)
        async with connected(first, second) as hsm:
            assert await macs(hsm, first, 200) == right(200)
            assert min(first.calls("M6"), second.calls("M6")) > 50
            asking = asyncio.ensure_future(macs(hsm, first, 200))
            await asyncio.sleep(0)  # they are under way on both
            await first.stop()
            assert await asking == right(200)
            assert hsm.counters.repeated > 0
            assert hsm.serving == {f"127.0.0.1:{first.port}": 0, f"127.0.0.1:{second.port}": 2}
            await first.start()  # at the same address
            await all_usable(hsm)
            before = first.calls("M6")
            assert await macs(hsm, first, 100) == right(100)
            assert first.calls("M6") > before

    asyncio.run(main())


def test_what_makes_keys_is_never_asked_twice() -> None:
    async def main() -> None:
        device, silent = TestDevice(), Scripted(answering=False)
        async with silent:
            await device.start()
            hsm = NetworkHsm(settings(device, silent))  # type: ignore[arg-type]
            hsm.start()
            await all_usable(hsm)
            asked = (hsm.generate_key(KeyUsage.ZPK, 16) for _ in range(8))
            asking = asyncio.gather(*asked, return_exceptions=True)
            await eventually(lambda: len(silent.seen) + hsm.counters.answered == 8)
            time_is_up(hsm)
            results = await asking
            failed = [each for each in results if isinstance(each, BaseException)]
            assert failed
            assert all(isinstance(each, DeviceTimeoutError | DeviceDownError) for each in failed)
            assert device.calls("A0") == 8 - len(failed)
            assert hsm.counters.repeated == 0
            await hsm.stop()
            await device.stop()

    asyncio.run(main())


def time_is_up(hsm: NetworkHsm) -> None:
    """For every command that is under way, as if its timer had run out now."""
    for device in hsm._devices:
        for connection in device.connections:
            for header, pending in list(connection._pending.items()):
                pending.timer.cancel()
                connection._timed_out(header)


def test_a_device_that_is_away_at_the_start_is_named_and_one_is_enough() -> None:
    async def main() -> None:
        gone, there = TestDevice(), TestDevice()
        await gone.start()
        await gone.stop()
        hsm = NetworkHsm(settings(gone))
        hsm.start()
        with pytest.raises(DeviceDownError, match=f"127.0.0.1:{gone.port}: "):
            await hsm.serves_within(0.1)
        await hsm.stop()
        assert hsm.lmk_id == ""
        await there.start()
        hsm = NetworkHsm(settings(gone, there))
        hsm.start()
        await hsm.serves_within(PATIENCE_S)
        assert await macs(hsm, there, 3) == right(3)
        await there.stop()
        (error,) = await macs(hsm, there, 1)
        assert isinstance(error, DeviceDownError)
        await hsm.stop()

    asyncio.run(main())


def test_a_device_with_another_lmk_is_refused_by_name() -> None:
    async def main() -> None:
        ours, other = TestDevice(), TestDevice(OTHER_LMK)
        told: list[dict[str, Any]] = []
        await ours.start()
        await other.start()
        hsm = NetworkHsm(
            settings(other), lambda event, **facts: told.append({"event": event, **facts})
        )
        async with connected(ours) as good:
            lmk_id = good.lmk_id
        hsm.start(lmk_id)
        await eventually(lambda: "the LMK of" in hsm.faults())
        with pytest.raises(DeviceDownError, match=f"the LMK of 127.0.0.1:{other.port} is "):
            await hsm.serves_within(0.0)
        await hsm.stop()
        assert any(
            each["event"] == "hsm_lmk_differs" and each["device"] == f"127.0.0.1:{other.port}"
            for each in told
        )
        await ours.start()
        hsm = NetworkHsm(settings(other, ours))
        hsm.start(lmk_id)
        await hsm.serves_within(PATIENCE_S)
        await eventually(lambda: "the LMK of" in hsm.faults())
        assert await macs(hsm, ours, 50) == right(50)
        assert other.calls("M6") == 0
        await hsm.stop()
        await ours.stop()
        await other.stop()

    asyncio.run(main())


def test_an_lmk_that_changes_under_our_hands_is_noticed() -> None:
    async def main() -> None:
        device, other = TestDevice(), TestDevice(OTHER_LMK)
        async with connected(device, probe_s=0.05) as hsm:
            device.vault.variant = other.vault.variant
            await eventually(lambda: "the LMK of" in hsm.faults())
            assert not any(hsm.serving.values())

    asyncio.run(main())


# -- devices that lie --------------------------------------------------------------------------------


class Scripted:
    """A device that knows NC; what it says to anything else is the test's."""

    def __init__(
        self,
        say: Callable[[bytes], bytes | None] = lambda _message: None,
        *,
        answering: bool = True,
        lmk: bytes = b"",
    ) -> None:
        self.say = say
        self.answering = answering
        self.lmk = lmk or TestDevice().vault.variant.check_value.encode().ljust(16, b"0")
        self.port = 0
        self.connections = 0
        self.seen: list[bytes] = []
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        framer = HostFramer()
        while data := await reader.read(65_536):
            for message in framer.receive(data):
                if message[4:6] == b"NC":
                    writer.write(frame(message[:4] + b"ND00" + self.lmk + b"0001"))
                    continue
                self.seen.append(message)
                said = self.say(message) if self.answering else None
                if said is not None:
                    writer.write(said)


def lied_to(say: Callable[[bytes], bytes | None], **changes: Any) -> tuple[BaseException, Scripted]:
    """What one MAC ends in."""

    async def main() -> tuple[BaseException, Scripted]:
        async with Scripted(say) as device:
            hsm = NetworkHsm(settings(device, **{"timeout_s": 0.1, **changes}))  # type: ignore[arg-type]
            hsm.start()
            await hsm.serves_within(PATIENCE_S)
            (error,) = await macs(hsm, TestDevice(), 1)
            await hsm.stop()
            return error, device

    return asyncio.run(main())


LIES: dict[str, Callable[[bytes], bytes]] = {
    "half a frame": lambda message: frame(message[:4] + b"M700" + b"0" * 8)[:7],
    "an endless frame": lambda _message: b"\xff\xff" + bytes(70_000),
    "no header": lambda _message: frame(b"M7"),
    "another header": lambda _message: frame(b"9999M70000000000"),
    "another command": lambda message: frame(message[:4] + b"CB00" + b"0" * 20),
    "no error code": lambda message: frame(message[:4] + b"M7"),
    "a short answer": lambda message: frame(message[:4] + b"M7001234"),
    "no hex": lambda message: frame(message[:4] + b"M700GGGGGGGG"),
    "an unknown code": lambda message: frame(message[:4] + b"M7?\xff"),
    "the request": frame,
    "zeros": lambda _message: bytes(4_096),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_is_a_vault_error_that_shows_nothing(lie: Callable[[bytes], bytes]) -> None:
    error, _ = lied_to(lie)
    assert isinstance(error, VaultError)
    key = TestDevice().key(KeyUsage.MAK, MAK).partition(":")[2]
    assert key not in str(error)
    assert "GGGG" not in str(error)
    assert "1234" not in str(error)


def test_an_answer_that_comes_too_late_answers_nothing_and_its_number_is_not_used_again() -> None:
    async def main() -> None:
        held: list[bytes] = []

        def say(message: bytes) -> bytes | None:
            if b"late" in message:
                held.append(message[:4])
                return None
            numbers = b"".join(frame(header + b"M70011111111") for header in held)
            held.clear()
            return numbers + frame(message[:4] + b"M70022222222")

        async with Scripted(say) as device:
            hsm = NetworkHsm(
                settings(device, connections=1, header_bytes=4)  # type: ignore[arg-type]
            )
            hsm.start()
            await hsm.serves_within(PATIENCE_S)
            key = TestDevice().key(KeyUsage.MAK, MAK)
            late = asyncio.ensure_future(hsm.mac(key, "x9.19", b"late"))
            await eventually(lambda: held)
            held_now = list(held)
            held.clear()
            # something else comes while it is waited for
            assert await hsm.mac(key, "x9.19", b"now") == b"22222222"
            held.extend(held_now)
            time_is_up(hsm)
            with pytest.raises(DeviceTimeoutError):
                await late
            assert await hsm.mac(key, "x9.19", b"now") == b"22222222"
            assert device.connections == 1
            await hsm.stop()

    asyncio.run(main())


def test_a_device_that_hangs_is_left_and_reached_again() -> None:
    async def main() -> None:
        async with Scripted(lambda message: frame(message[:4] + b"M70012345678")) as device:
            device.answering = False
            hsm = NetworkHsm(settings(device, connections=1))  # type: ignore[arg-type]
            hsm.start()
            await hsm.serves_within(PATIENCE_S)
            asking = asyncio.ensure_future(macs(hsm, TestDevice(), 1))
            await eventually(lambda: device.seen)
            time_is_up(hsm)
            (error,) = await asking
            assert isinstance(error, DeviceTimeoutError)
            device.answering = True
            await eventually(lambda: any(hsm.serving.values()))
            assert device.connections == 2
            assert await macs(hsm, TestDevice(), 1) == [b"12345678"]
            await hsm.stop()

    asyncio.run(main())


def test_whoever_gives_up_asking_disturbs_nobody() -> None:
    async def story(hsm: NetworkHsm, device: TestDevice) -> None:
        asking = asyncio.ensure_future(hsm.mac(device.key(KeyUsage.MAK, MAK), "x9.19", b"0"))
        await asyncio.sleep(0)
        asking.cancel()
        assert await macs(hsm, device, 20) == right(20)

    tell(story)


def test_answers_come_back_in_any_order() -> None:
    async def main() -> None:
        waiting: list[bytes] = []

        def say(message: bytes) -> bytes | None:
            waiting.append(frame(message[:4] + b"M700" + message[-8:]))
            if len(waiting) < 10:
                return None
            answers = b"".join(reversed(waiting))
            waiting.clear()
            return answers

        async with Scripted(say) as device:
            hsm = NetworkHsm(settings(device, connections=1))  # type: ignore[arg-type]
            hsm.start()
            await hsm.serves_within(PATIENCE_S)
            key = TestDevice().key(KeyUsage.MAK, MAK)
            asked = [hsm.mac(key, "x9.19", b"%08d" % number) for number in range(10)]
            assert await asyncio.gather(*asked) == [b"%08d" % number for number in range(10)]
            await hsm.stop()

    asyncio.run(main())


# -- TLS ------------------------------------------------------------------------------------------


def test_devices_and_switch_show_each_other_certificates(tmp_path: Path) -> None:
    authority = made_certificate(tmp_path, "authority", None)
    for name in ("device", "switch"):
        made_certificate(tmp_path, name, authority)
    made_certificate(tmp_path, "stranger", made_certificate(tmp_path, "other-authority", None))
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(tmp_path / "device.pem", tmp_path / "device.key")
    theirs.load_verify_locations(tmp_path / "authority.pem")
    theirs.verify_mode = ssl.CERT_REQUIRED

    def configured(port: int, name: str, **changes: Any) -> NetworkHsm:
        given: dict[str, Any] = {
            "tls": True,
            "tls_authorities": str(tmp_path / "authority.pem"),
            "tls_certificate": str(tmp_path / f"{name}.pem"),
            "tls_key": str(tmp_path / f"{name}.key"),
            "tls_name": "localhost",
            "timeout_s": 30.0,
            "connect_timeout_s": 30.0,
        }
        return vaults.network(Hsm(device=f"tcp://127.0.0.1:{port}", **(given | changes)))

    async def served(hsm: NetworkHsm, device: TestDevice) -> Any:
        hsm.start()
        try:
            await eventually(lambda: "not connected yet" not in hsm.faults())
            await hsm.serves_within(0.0)
            return (await macs(hsm, device, 1))[0]
        except DeviceDownError as error:
            return str(error)
        finally:
            await hsm.stop()

    async def main() -> None:
        device = TestDevice()
        await device.start(tls=theirs)
        assert await served(configured(device.port, "switch"), device) == right(1)[0]
        assert "CERTIFICATE_VERIFY_FAILED" in await served(
            configured(
                device.port, "switch", tls_authorities=str(tmp_path / "other-authority.pem")
            ),
            device,
        )
        assert "match" in await served(configured(device.port, "switch", tls_name="hsm"), device)
        for refused, why in (
            (configured(device.port, "stranger"), "hsm.tls_certificate"),
            (
                configured(device.port, "switch", tls_certificate="", tls_key=""),
                "hsm.tls_certificate",
            ),
            (vaults.network(Hsm(device=f"tcp://127.0.0.1:{device.port}", timeout_s=0.2)), ""),
        ):
            said = await served(refused, device)
            assert f"127.0.0.1:{device.port}: " in said
            assert why in said
        await device.stop()

    asyncio.run(main())


# -- pure -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10.0.0.7:1500", "tcp://"),
        ("tcp://", "host:port"),
        ("tcp://hsm", "host:port"),
        ("tcp://hsm:0", "host:port"),
        ("tcp://hsm:66000", "host:port"),
        ("tcp://hsm:²", "host:port"),
        ("tcp://a:1,b:2,c:3", "at most 2"),
        ("tcp://a:1,a:1", "each once"),
    ],
)
def test_addresses_that_are_none(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        addresses_of(text)


def test_no_text_of_the_client_shows_a_key() -> None:
    key = client.key_of(TestDevice().key(KeyUsage.ZPK, ZPK))
    ask = client.check_value(key)
    for shown in (
        repr(key),
        repr(ask),
        str(client.refused("BU", "10")),
        repr(NetworkHsm(settings())),
    ):
        assert key.text not in shown
        assert key.text[1:9] not in shown


TMK_ASK = client.generate_under_tmk(KeyUsage.TDK, TestDevice().key(KeyUsage.TMK, TMK), 16)
MAK_ASK = client.generate_under_tmk(KeyUsage.MAK, TestDevice().key(KeyUsage.TMK, TMK), 8)
READERS: dict[str, Callable[[bytes], object]] = {
    "translation": client.read_translated,
    "mac": lambda data: client.read_mac(client.MacPlan("1", 1, folded=False, hex8=True), data),
    "long mac": lambda data: client.read_mac(
        client.MacPlan("3", 1, folded=False, hex8=False), data
    ),
    "key": lambda data: client.read_key(data, "U"),
    "single key": lambda data: client.read_key(data, "Z"),
    "key block": lambda data: client.read_key(data, "R"),
    "TDK": lambda data: client.read_under_tmk(TMK_ASK, 16, data),
    "MAK": lambda data: client.read_under_tmk(MAK_ASK, 8, data),
    "check value": lambda data: client.read_check_value(data, 8),
    "diagnostics": client.read_lmk,
}
HEX = st.text("0123456789ABCDEFUXSRabc;\x19", max_size=70).map(str.encode)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@given(data=st.binary(max_size=70) | HEX)
def test_whatever_is_answered_is_read_or_is_a_vault_error(
    read: Callable[[bytes], object], data: bytes
) -> None:
    said = ""
    try:
        read(data)
    except VaultError as error:
        said = str(error)
    assert len(data) < 4 or data.decode("latin-1") not in said


@settings_of(max_examples=40, deadline=None)
@given(block=st.text(max_size=20) | st.from_regex(r"(ZPK|MAK|TMK|X):[UXTS0-9A-F]{0,49}"))
def test_whatever_stands_in_the_store_is_a_key_or_a_vault_error(block: str) -> None:
    try:
        key = client.key_of(block)
    except KeyBlockError:
        return
    assert client.block_of(key.usage, key.text) == block


@given(stream=st.binary(max_size=300), cuts=st.lists(st.integers(1, 40), max_size=10))
def test_whatever_a_device_says_closes_the_connection_or_waits(
    stream: bytes, cuts: list[int]
) -> None:
    """Nothing that comes raises out of the connection, and nobody waits longer than the timer."""

    async def main() -> None:
        connection = ClientConnection(
            Device(("127.0.0.1", 1), settings(), lambda _d, lmk: lmk, told)
        )
        connection.connection_made(Nowhere())
        connection.usable = True
        asked = [connection.ask(client.DIAGNOSTICS, 0.01) for _ in range(3)]
        rest = stream
        for cut in [*cuts, 300]:
            connection.data_received(rest[:cut])
            rest = rest[cut:]
        for each in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(each, VaultError | Answer)
        connection.connection_lost(None)
        assert connection.under_way == 0

    asyncio.run(main())


def told(_event: str, **_facts: Any) -> None: ...


class Nowhere(asyncio.Transport):
    """A transport that takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def write(self, data: Any) -> None: ...

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True
