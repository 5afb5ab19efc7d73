"""The vault that the configuration names: the one in this process, or devices on a network.

What the reference data ask of a device and it can not do is refused before the node serves, by name, and so
are keys that another vault made (rules §13). PANs are protected here in any case (`data_keys`).
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from hsm import capabilities
from hsm.adapters.host_client import NetworkSettings
from hsm.adapters.local import LocalHsm
from hsm.adapters.network import NetworkHsm
from hsm.host.addresses import addresses_of
from hsm.host.client import DeviceDownError, is_device_key
from hsm.mac_profiles import PROFILES
from switch import data_keys
from switch.texts import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsm.local import LocalVault
    from switch.config import Hsm
    from switch.metrics import Registry
    from switch.reference import Snapshot
    from terminals.registry import StoredKey

_log = structlog.get_logger(__name__)

_LEVELS = {
    "hsm_lmk_differs": "error",
    "hsm_device_lost": "warning",
    "hsm_device_not_reached": "warning",
    "hsm_command_timed_out": "warning",
}


class VaultUnusableError(Exception):
    """The node can not be served with its vault; the text is for the operator."""


def network(settings: Hsm) -> NetworkHsm:
    """The devices of the configuration, not connected yet. `VaultUnusableError`: certificates."""
    return NetworkHsm(
        NetworkSettings(
            addresses=addresses_of(settings.device),
            tls=tls_context(settings),
            tls_name=settings.tls_name,
            header_bytes=settings.header_bytes,
            connections=settings.connections,
            in_flight=settings.in_flight,
            timeout_s=settings.timeout_s,
            key_timeout_s=settings.key_timeout_s,
            connect_timeout_s=settings.connect_timeout_s,
            probe_s=settings.probe_s,
            reconnect_max_s=settings.reconnect_max_s,
        ),
        told,
    )


def tls_context(settings: Hsm) -> ssl.SSLContext | None:
    """TLS 1.2 or later; the device's certificate is verified, ours shown where there is one."""
    if not settings.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.tls_authorities or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.tls_certificate:
            context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise VaultUnusableError(f"hsm.tls_…: {error}") from error
    return context


def told(event: str, **facts: Any) -> None:
    getattr(_log, _LEVELS.get(event, "info"))(event, **facts)


async def opened(settings: Hsm, vault: LocalVault, snapshot: Snapshot) -> LocalHsm | NetworkHsm:
    """The vault of a worker. Devices that do not answer yet go on being tried: until then it is 96."""
    if not settings.device:
        return LocalHsm(vault)
    hsm = network(settings)
    hsm.start(lmk_of(snapshot))
    try:
        await hsm.serves_within(settings.connect_timeout_s)
    except DeviceDownError as error:
        _log.error("hsm_no_device_serves", reason=str(error))
    return hsm


async def check(settings: Hsm, snapshot: Snapshot, language: str) -> None:
    """Can this vault serve these terminals and links with these keys? `VaultUnusableError` says what not."""
    faults = refusals(settings, snapshot, language)
    if faults:
        raise VaultUnusableError("\n".join([say("vault_refuses", language), *faults]))
    if not settings.device:
        return
    hsm = network(settings)
    hsm.start(lmk_of(snapshot))
    try:
        await hsm.serves_within(settings.start_wait_s)
    except DeviceDownError as error:
        raise VaultUnusableError(say("device_away", language, reason=error)) from error
    finally:
        await hsm.stop()
    others = [key for key in kept(snapshot) if key.lmk_id != hsm.lmk_id]
    if others:
        said = [say("vault_refuses", language), *told_keys(others, language)]
        raise VaultUnusableError("\n".join(said))


class DeviceMetrics:
    """What became of host commands, among the metrics of a worker. With the vault here: nothing."""

    def __init__(self, registry: Registry) -> None:
        self._commands = registry.counter(
            "tongbao_hsm_commands_total",
            "host commands to network devices, by what became of them",
            "outcome",
        )
        self._connections = registry.gauge(
            "tongbao_hsm_connections", "connections to a network device that serve", "device"
        )
        self._taken: dict[str, int] = {}

    def take(self, hsm: LocalHsm | NetworkHsm) -> None:
        """Add what was counted since the last time."""
        if not isinstance(hsm, NetworkHsm):
            return
        for outcome, count in msgspec.structs.asdict(hsm.counters).items():
            self._commands.add(outcome, amount=count - self._taken.get(outcome, 0))
            self._taken[outcome] = count
        for device, connections in hsm.serving.items():
            self._connections.set(connections, device)


def lmk_of(snapshot: Snapshot) -> str:
    """The LMK that all keys of devices are under; "" where there are none yet, or they do not agree."""
    found = {key.lmk_id for key in kept(snapshot) if is_device_key(key.block)}
    return found.pop() if len(found) == 1 else ""


def kept(snapshot: Snapshot) -> list[StoredKey]:
    """The keys in use that a device would keep."""
    return [key for key in snapshot.newest_keys() if key.owner != data_keys.OWNER]


# -- what a vault can not do ------------------------------------------------------------------------


def refusals(settings: Hsm, snapshot: Snapshot, language: str) -> list[str]:
    """One line for each thing that this vault can not serve, by name."""
    device = bool(settings.device)
    others = [key for key in kept(snapshot) if is_device_key(key.block) is not device]
    if not device:
        return told_keys(others, language)
    return [
        *refused_terminals(snapshot, language),
        *refused_links(snapshot, language),
        *told_keys(others, language),
    ]


def refused_terminals(snapshot: Snapshot, language: str) -> list[str]:
    """Terminals by what is wrong with them: the first is named, the others are counted."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for name, terminal in sorted(snapshot.terminals.items()):
        profile = snapshot.profile(terminal)
        mac = terminal.mac_profile or profile.mac_profile
        if not capabilities.serves_mac(PROFILES[mac]):
            found.setdefault((profile.name, "mac", mac), []).append(name)
        if not capabilities.LAYOUTS.intersection(profile.key_layouts):
            layouts = ", ".join(profile.key_layouts)
            found.setdefault((profile.name, "layout", layouts), []).append(name)
    return [
        say(
            "device_terminals",
            language,
            terminal=names[0],
            others=len(names) - 1,
            profile=profile_name,
            reason=reason(kind, what, language),
        )
        for (profile_name, kind, what), names in found.items()
    ]


def refused_links(snapshot: Snapshot, language: str) -> list[str]:
    return [
        say("device_link", language, link=name, reason=reason("mac", link.mac_algorithm, language))
        for name, link in sorted(snapshot.links.items())
        if not capabilities.serves_mac(PROFILES[link.mac_algorithm])
    ]


def told_keys(keys: Sequence[StoredKey], language: str) -> list[str]:
    """Keys of another vault, by usage and LMK: the first owner is named, the others are counted."""
    found: dict[tuple[str, str], list[str]] = {}
    for key in sorted(keys, key=lambda one: (one.owner, one.usage)):
        found.setdefault((key.usage, key.lmk_id), []).append(key.owner)
    return [
        say(
            "key_of_another_vault",
            language,
            owner=owners[0],
            others=len(owners) - 1,
            usage=usage,
            lmk_id=lmk_id,
        )
        for (usage, lmk_id), owners in found.items()
    ]


def reason(kind: str, name: str, language: str) -> str:
    english, chinese = capabilities.REASONS[kind]
    return (chinese if language == "zh" else english).format(name=name)
