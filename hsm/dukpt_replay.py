"""No DUKPT counter twice, and none going back: a host remembers the highest one of each device.

A terminal never uses a key again (X9.24-1 and -3), so a KSN that comes again is somebody's recording.
One transaction may have a PIN block, a MAC and data under the same KSN: each purpose counts for itself.

Two steps, because a KSN is not authentic by itself: `check` before the work, `accept` once the PIN
block opened or the MAC was right. Whoever accepted earlier would let anybody push a device's counter
to its end with made-up KSNs. Of two requests with the same KSN at the same time `accept` lets one pass.

A terminal that repeats a message must encrypt it again under its next KSN, or be answered from what
was stored for the first.

Where the counters stand is the caller's choice, the port `Counters`: `MemoryCounters` here, for one
process; `hsm.adapters.replay_file` for one that restarts.
"""

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final, Protocol

from hsm import dukpt_aes, dukpt_tdes
from hsm.errors import ReplayError, VaultError

DEVICES_MAX: Final = 100_000  # 200 bytes each

_BASE_KEY: Final = re.compile(r"[0-9A-Za-z._-]{1,64}")
_DEVICE: Final = re.compile(r"[0-9A-Za-z._-]{1,64}/(?:pin|mac|data)/(?:[0-9A-F]{16}|[0-9A-F]{20})")


class Purpose(Enum):
    """What is done with the transaction's key."""

    PIN = "pin"
    MAC = "mac"
    DATA = "data"


class Counters(Protocol):
    """The highest counter of each device. A call is one step: nothing of another comes between."""

    def highest(self, device: str) -> int:
        """The highest counter the device used; 0 if none."""
        ...

    def advance(self, device: str, counter: int) -> bool:
        """Remember the counter, or False if it is not above the highest.

        `VaultError` if it can not be remembered; then nothing changed.
        """
        ...


class ReplayGuard:
    """The rule, over one store of counters. `base_key` names the BDK: its id or check value."""

    __slots__ = ("_counters",)

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def check(self, base_key: str, purpose: Purpose, ksn: bytes) -> None:
        """`ReplayError` if the counter was used or passed; nothing is remembered."""
        device, counter = device_and_counter(base_key, purpose, ksn)
        if counter <= self._counters.highest(device):
            raise ReplayError("the KSN's counter was used already, or its device has passed it")

    def accept(self, base_key: str, purpose: Purpose, ksn: bytes) -> None:
        """Remember the counter; `ReplayError` if it was used or passed in the meantime."""
        device, counter = device_and_counter(base_key, purpose, ksn)
        if not self._counters.advance(device, counter):
            raise ReplayError("the KSN's counter was used already, or its device has passed it")


def device_and_counter(base_key: str, purpose: Purpose, ksn: bytes) -> tuple[str, int]:
    """The name of a device for one purpose, and its counter; a KSN of 12 bytes is AES, of 10 DES.

    >>> device_and_counter("08D7B4", Purpose.PIN, bytes.fromhex("FFFF9876543210E00001"))
    ('08D7B4/pin/FFFF9876543210E00000', 1)
    """
    if _BASE_KEY.fullmatch(base_key) is None:
        raise VaultError(
            "a base key is named by 1 to 64 letters, digits, dots, dashes, underscores"
        )
    if len(ksn) == dukpt_aes.KSN_BYTES:
        device, counter = dukpt_aes.device_of(ksn), dukpt_aes.counter_of(ksn)
    else:
        device, counter = dukpt_tdes.device_of(ksn), dukpt_tdes.counter_of(ksn)
    return f"{base_key}/{purpose.value}/{device.hex().upper()}", counter


class MemoryCounters:
    """Counters of one process. At `devices_max` a device not seen before is refused.

    Refused and not traded for another one: a device that is forgotten can be replayed. Only genuine
    devices take room, since `accept` follows a right PIN block or MAC.
    """

    __slots__ = ("_highest", "devices_max")

    def __init__(self, devices_max: int = DEVICES_MAX) -> None:
        self.devices_max = devices_max
        self._highest: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._highest)

    def highest(self, device: str) -> int:
        return self._highest.get(device, 0)

    def advance(self, device: str, counter: int) -> bool:
        before = self._highest.get(device)
        if before is None and len(self._highest) >= self.devices_max:
            raise VaultError(
                f"counters of {self.devices_max} devices are remembered, which is the most; "
                "raise the bound, or remove devices that are retired"
            )
        if before is not None and counter <= before:
            return False
        self._highest[device] = counter
        return True

    def set_back(self, device: str, before: int) -> None:
        """Undo the last `advance` of a device, which was at `before` then (0: not known)."""
        if before:
            self._highest[device] = before
        else:
            self._highest.pop(device, None)

    def forget(self, device: str) -> None:
        """Of a device that is retired, or got a new initial key under another KSN."""
        self._highest.pop(device, None)

    def export(self) -> Iterator[str]:
        """One line a device, sorted: its name, a blank, its highest counter."""
        for device in sorted(self._highest):
            yield f"{device} {self._highest[device]}"

    def restore(self, lines: Iterable[str]) -> None:
        """Take in exported lines; the higher counter of a device holds."""
        for number, line in enumerate(lines, 1):
            self.advance(*parse_line(line, number))


def parse_line(line: str, number: int) -> tuple[str, int]:
    """Device and counter of an exported line; `VaultError` names the line that is none."""
    device, _, counter = line.rstrip("\n").partition(" ")
    right = _DEVICE.fullmatch(device) and counter.isascii() and counter.isdigit()
    if not right or not 0 < len(counter) <= 10 or not 0 < int(counter) < 1 << 32:
        raise VaultError(f"line {number} of the counters is no device with its counter")
    return device, int(counter)
