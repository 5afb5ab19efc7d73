"""The whole switch on network devices: `hsm.device = "tcp://…"`.

Goal: what holds with the vault in the process holds with two devices behind sockets, also while one of them,
or both, are away; and a node does not start with a vault that can not serve it. Method: a real node,
simulated terminals and banks, the host-command server in threads of the test.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from hsm.des_keys import with_odd_parity
from hsm.keys import KeyUsage
from terminals.registry import StoredKey
from tests.end_to_end.day import check_views, quiet, seen, trade, trading
from tests.end_to_end.node import ROOT, Hosts, Node, RefItem, bring_in, furnish, running
from tests.end_to_end.wire import metrics, total
from tests.hsm.device import TestDevice, Threaded
from tests.switch.device.test_device import running as device_process

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("end_to_end")


# None of these devices is ever silent: it answers, or it is away.
PATIENT = "timeout_s = 20\nkey_timeout_s = 20\n"


def settings(*devices: Threaded, more: str = "") -> str:
    addresses = ",".join(f"127.0.0.1:{each.device.port}" for each in devices)
    return f'[hsm]\ndevice = "tcp://{addresses}"\nreconnect_max_s = 0.5\n{PATIENT}{more}'


def kept(device: TestDevice, owner: str, usage: KeyUsage, clear: str) -> StoredKey:
    """A clear key as custodians enter it at the device's console, and its text into the store."""
    return StoredKey(
        owner=owner,
        usage=usage.value,
        version=0,
        block=device.key(usage, with_odd_parity(bytes.fromhex(clear))),
        check_value="000000",
        lmk_id=device.vault.variant.check_value.ljust(16, "0"),
    )


def test_a_day_with_two_devices_of_which_one_goes_away_and_then_both(tmp_path: Path) -> None:
    async def day(node: Node, first: Threaded, second: Threaded) -> None:
        async with Hosts() as hosts:
            await furnish(node, hosts, terminals=6, kept=lambda *key: kept(first.device, *key))
            async with trading(node, 6) as fleet:
                await asked(first, "CA", 8)
                await asyncio.to_thread(first.stop)
                await asked(second, "CA", second.device.calls("CA") + 8)
                before = first.device.calls("M8")
                await asyncio.to_thread(first.start)
                await asked(first, "M8", before + 8)
            result = fleet.result
            assert not result.undecided
            assert set(result.settlements) == {"balanced"}, result.settlements
            await quiet(node)
            await check_views(node, hosts, result)
            assert "vault.failed" not in rules(node)
            # metrics are sent every second
            approved = sum(slip.state == "approved" for slip in result.slips)
            await seen(lambda: told(node, 2 * approved, first, second), "metrics of both devices")

            for each in (first, second):
                await asyncio.to_thread(each.stop)
            async with trading(node, 3, tries=300) as fleet:
                # sign-ons are told 96, and tried again
                await seen(lambda: fleet.result.counts.get("sign_on", {}).get("96", 0) >= 3)
                assert not fleet.result.transactions
                for each in (first, second):
                    await asyncio.to_thread(each.start)
                await seen(lambda: fleet.result.transactions >= 6)
            assert not fleet.result.gave_up

    with ExitStack() as stack:
        first, second = (stack.enter_context(Threaded(TestDevice(seed=7 + n))) for n in range(2))
        node = stack.enter_context(running(tmp_path, more=settings(first, second)))
        asyncio.run(day(node, first, second))
        assert node.stop() == 0, node.log()
        for each in (first, second):
            for command in ("CA", "M6", "M8", "HC", "HA"):
                assert each.device.calls(command) > 0, command


async def asked(device: Threaded, command: str, times: int) -> None:
    await seen(lambda: device.device.calls(command) >= times, f"{command} asked {times} times")


def told(node: Node, commands: int, *devices: Threaded) -> bool:
    numbers = metrics(node)
    return total(numbers, "tongbao_hsm_commands_total", outcome="answered") >= commands > 0 and all(
        total(numbers, "tongbao_hsm_connections", device=f"127.0.0.1:{each.device.port}") == 4
        for each in devices
    )


def rules(node: Node) -> set[str]:
    files = (node.folder / "data" / "log").glob("authorizations-*.jsonl")
    return {json.loads(line)["rule"] for file in files for line in file.read_text().splitlines()}


def test_on_a_device_of_its_own_and_what_it_can_not_serve_is_refused_by_name(
    tmp_path: Path,
) -> None:
    """`tongbao hsm serve` as the device; its LMK is the demonstration's, and so are the test's keys."""
    (tmp_path / "device").mkdir()
    keys = TestDevice()

    async def day(node: Node) -> None:
        async with Hosts() as hosts:
            await furnish(node, hosts, terminals=1, kept=lambda *key: kept(keys, *key))
            result = await trade(node, 1, 4)
            assert (result.transactions, result.undecided) == (4, [])
            await quiet(node)
            await check_views(node, hosts, result)
        await ask_for_too_much(node, keys)

    with device_process(tmp_path / "device") as (port, _):
        more = f'[hsm]\ndevice = "tcp://127.0.0.1:{port}"\n{PATIENT}'
        with running(tmp_path, more=more) as node:
            asyncio.run(day(node))
            assert node.stop() == 0, node.log()
            said = refused(node, more)
        assert (
            "terminal M00000000000001/T0000001 and 1 more (profile aes): MAC profile cmac" in said
        )
        assert "link bank_x: MAC profile cmac" in said


def refused(node: Node, more: str) -> str:
    """What `serve` says before it ends."""
    node.config.write_text(f'language = "en"\n{more}')
    command = [sys.executable, "-m", "tongbao", "serve", "--demo", "--config", str(node.config)]
    command += ["--data", str(node.folder / "data")]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode != 0, done.stderr
    return done.stderr


async def ask_for_too_much(node: Node, device: TestDevice) -> None:
    merchant = "M00000000000001"
    keys = [
        kept(device, f"terminal:{merchant}/T{n:07d}", KeyUsage.TMK, "11" * 8 + "3b" * 8)
        for n in (1, 2)
    ]
    keys.append(kept(device, "link:bank_x", KeyUsage.ZPK, "13" * 8 + "32" * 8))
    items: list[RefItem] = [
        ("merchant", merchant, {"merchant": merchant, "name": "Shop"}),
        ("profile", "aes", {"name": "aes", "mac_profile": "cmac"}),
        *(
            (
                "terminal",
                f"{merchant}/T{n:07d}",
                {"merchant": merchant, "terminal": f"T{n:07d}", "profile": profile},
            )
            for n, profile in ((1, "aes"), (2, "aes"))
        ),
        ("link", "bank_x", link("cmac")),
    ]
    await bring_in(node, items, keys)


def link(mac: str) -> dict[str, object]:
    return {
        "acquirer": "bank_x", "host": "127.0.0.1", "port": 9, "de32": "01020003",
        "mac_algorithm": mac,
    }  # fmt: skip
