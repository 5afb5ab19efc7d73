"""Goal: what a vault can not serve is named before the node serves, in both languages.

Method: snapshots of reference data and keys, the host-command server on a real socket.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from hsm import capabilities, mac_profiles
from hsm.keys import KeyUsage
from hsm.lmk import Lmk
from switch import vaults
from switch.config import ConfigError, Hsm, parse
from switch.reference import Item, Link, Snapshot
from switch.vaults import VaultUnusableError
from terminals.registry import Profile, StoredKey, Terminal
from tests.hsm.device import TestDevice, connected, odd
from tests.hsm.support import make_vault
from tests.switch.rows import NOW

if TYPE_CHECKING:
    import msgspec

LINK = Link(acquirer="bank", host="bank", port=1, de32="48000000")


def item(kind: str, key: str, content: msgspec.Struct) -> Item:
    import msgspec

    return Item(
        kind=kind, key=key, version=1, effective_from=NOW, content=msgspec.to_builtins(content)
    )


def snapshot(*profiles: Profile, link: Link = LINK, keys: tuple[StoredKey, ...] = ()) -> Snapshot:
    items = [item("profile", each.name, each) for each in profiles]
    for at, each in enumerate(profiles):
        for number in range(3):
            terminal = Terminal(merchant="M", terminal=f"T{at}{number}", profile=each.name)
            items.append(item("terminal", terminal.name, terminal))
    return Snapshot(1, [*items, item("link", link.acquirer, link)], keys)


def key(owner: str, block: str, lmk_id: str, version: int = 1, usage: str = "ZPK") -> StoredKey:
    return StoredKey(
        owner=owner, usage=usage, version=version, block=block, check_value="", lmk_id=lmk_id
    )


DEVICE = Hsm(device="tcp://127.0.0.1:1", start_wait_s=0.2)
AES = Profile(name="aes", mac_profile="cmac")
OLD = Profile(name="old", key_layouts=("001",))
USUAL = Profile(name="usual", key_layouts=("001", "003"))


def test_terminals_and_links_that_no_device_serves_are_named_in_both_languages() -> None:
    asked = snapshot(AES, OLD, USUAL, link=Link(
        acquirer="bank", host="bank", port=1, de32="1", mac_algorithm="cmac"
    ))  # fmt: skip
    english = vaults.refusals(DEVICE, asked, "en")
    chinese = vaults.refusals(DEVICE, asked, "zh")
    assert [line[: line.index(":")] for line in english] == [
        "  terminal M/T00 and 2 more (profile aes)",
        "  terminal M/T10 and 2 more (profile old)",
        "  link bank",
    ]
    assert "layout 001" in english[1]
    assert len(chinese) == 3
    assert "M/T00" in chinese[0]
    assert vaults.refusals(Hsm(), asked, "en") == []
    assert vaults.refusals(DEVICE, snapshot(USUAL), "en") == []


def test_a_terminal_of_its_own_mac_profile_is_judged_by_that() -> None:
    terminal = Terminal(merchant="M", terminal="T9", profile="usual", mac_profile="cmac")
    asked = snapshot(USUAL)
    asked.take([item("terminal", terminal.name, terminal)], ())
    assert ["M/T9" in line for line in vaults.refusals(DEVICE, asked, "en")] == [True]


def test_every_mac_profile_is_served_by_a_device_or_refused_by_name() -> None:
    from hsm.errors import VaultError
    from hsm.host import client

    for profile in mac_profiles.PROFILES.values():
        if not capabilities.serves_mac(profile):
            assert profile.name in str(capabilities.fault_of_mac(profile))
            with pytest.raises(VaultError, match=profile.name):
                client.mac_plan(profile)
        elif profile.coding != "none":
            client.mac_plan(profile)


def test_keys_of_another_vault_are_named() -> None:
    ours = key("link:bank", "ZPK:U" + "0" * 32, "A" * 16)
    local = key("link:other", "D0144P0TB00S0100LB…", "35571B903C")
    data = key("data", "D0144D0AB00N0100LB…", "35571B903C", usage="DATA")
    there = key("link:third", "ZPK:U" + "1" * 32, "B" * 16)
    asked = snapshot(keys=(ours, local, data))
    (line,) = vaults.refusals(DEVICE, asked, "en")
    assert "link:other" in line
    (line,) = vaults.refusals(Hsm(), asked, "zh")
    assert "link:bank" in line
    assert vaults.refusals(DEVICE, snapshot(keys=(ours, there)), "en") == []
    assert vaults.lmk_of(snapshot(keys=(ours, there))) == ""
    assert vaults.lmk_of(snapshot(keys=(ours,))) == ours.lmk_id
    # moved: the newest version counts
    moved = key("link:other", "ZPK:U" + "2" * 32, "A" * 16, version=2)
    assert vaults.refusals(DEVICE, snapshot(keys=(ours, local, moved, data)), "en") == []


def test_a_node_does_not_start_on_a_device_that_is_away_or_has_another_lmk() -> None:
    async def main() -> None:
        with pytest.raises(VaultUnusableError, match=r"127\.0\.0\.1:1: "):
            await vaults.check(DEVICE, snapshot(), "en")
        device, other = TestDevice(), TestDevice(Lmk(bytes(range(1, 33))))
        async with connected(device) as hsm, connected(other):
            address = f"tcp://127.0.0.1:{device.port}"
            kept = key("link:bank", device.key(KeyUsage.ZPK, odd(1, 16)), hsm.lmk_id)
            await vaults.check(Hsm(device=address), snapshot(keys=(kept,)), "en")
            await vaults.check(Hsm(), snapshot(), "en")
            left = key("link:left", device.key(KeyUsage.ZPK, odd(2, 16)), "A" * 16)
            with pytest.raises(VaultUnusableError, match="the newest ZPK of link:left and 0 more"):
                await vaults.check(Hsm(device=address), snapshot(keys=(kept, left)), "en")
            elsewhere = Hsm(device=f"tcp://127.0.0.1:{other.port}", start_wait_s=0.3)
            with pytest.raises(VaultUnusableError, match=f"LMK of 127.0.0.1:{other.port} is"):
                await vaults.check(elsewhere, snapshot(keys=(kept,)), "en")

    asyncio.run(main())


def test_a_worker_serves_with_its_device_still_away() -> None:
    async def main() -> None:
        hsm = await vaults.opened(
            Hsm(device="tcp://127.0.0.1:1", connect_timeout_s=0.1), make_vault(), snapshot()
        )
        assert repr(hsm) == "NetworkHsm(127.0.0.1:1)"
        await hsm.stop()  # type: ignore[union-attr]
        assert repr(await vaults.opened(Hsm(), make_vault(), snapshot())).startswith("LocalHsm")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tls": True, "tls_authorities": "/nowhere"}, "hsm.tls"),
        ({"tls": True, "tls_certificate": "/nowhere", "tls_key": "/nowhere"}, "hsm.tls"),
    ],
)
def test_certificates_that_can_not_be_read_are_told(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(VaultUnusableError, match=says):
        vaults.network(Hsm(device="tcp://hsm:1500", **changes))


def test_the_short_form_of_the_setting() -> None:
    short = parse('hsm = "tcp://hsm-a:1500,hsm-b:1500"')
    assert short == parse('[hsm]\ndevice = "tcp://hsm-a:1500,hsm-b:1500"')
    assert short.hsm.device == "tcp://hsm-a:1500,hsm-b:1500"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('hsm = "hsm:1500"', "hsm.device: must begin with tcp://"),
        ("hsm = 3", "hsm: expected `object`"),
        ('[hsm]\ndevice = "tcp://hsm"', "hsm.device: 'hsm' is not host:port"),
        ('[hsm]\ntls_certificate = "a"', "certificate and key come together"),
        ('[hsm]\ntls_name = "hsm"', "hsm.tls: must be true"),
        ("[hsm]\nheader_bytes = 2", "hsm.header_bytes: "),
    ],
)
def test_settings_of_a_device_that_do_not_go(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(text)
    assert says in str(refused.value)
