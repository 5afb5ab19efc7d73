"""The ports of a process of the switch in virtual time: its clock, its networks, its entropy."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from switch.effects import Reply
    from switch.reception import Received
    from switch.store_ports import Undecided
    from switch.virtual.loop import Process
    from switch.virtual.network import Endpoint, Network
    from switch.watch import Watch
    from terminals.simulator.dice import Dice

EPOCH = dt.datetime(2026, 1, 5, 2, 0, 0, tzinfo=dt.UTC)  # 10:00 in Shanghai


class Machine:
    """What the workers of a node share: a clock that drifts, and whose wall time may be set."""

    def __init__(self, drift: float = 0.0, ahead_s: float = 0.0) -> None:
        self.drift = drift
        self.ahead_s = ahead_s


class SimulatedClock:
    """`switch.ports.Clock` as one process reads its machine's."""

    def __init__(self, machine: Machine, epoch: dt.datetime = EPOCH) -> None:
        self.machine = machine
        self.epoch = epoch  # when the loop began
        self.busy_until_s = 0.0  # a call that blocks has used the time up to here

    def now(self) -> dt.datetime:
        passed_s = self._time() * (1 + self.machine.drift) + self.machine.ahead_s
        return self.epoch + dt.timedelta(microseconds=round(passed_s * 1e6))

    def monotonic_ns(self) -> int:
        return int(self._time() * (1 + self.machine.drift) * 1e9)

    def _time(self) -> float:
        return max(asyncio.get_running_loop().time(), self.busy_until_s)


class NetworkTransport:
    """`switch.ports.Transport` from one address."""

    def __init__(self, network: Network, host: str) -> None:
        self._network = network
        self._host = host

    async def connect(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> Endpoint:
        return await self._network.connect(factory, host, port, self._host)


class LocalTransport:
    """`switch.ports.LocalTransport`: Unix sockets lose nothing, but either end may stop or die."""

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self._process = process

    async def listen(self, factory: Callable[[], asyncio.Protocol], path: str) -> LocalListener:
        self._network.listen(path, 0, factory, self._process)
        return LocalListener(self._network, path)

    async def connect(self, factory: Callable[[], asyncio.Protocol], path: str) -> Endpoint:
        return await self._network.connect(factory, path, 0)


class LocalListener:
    def __init__(self, network: Network, path: str) -> None:
        self._network = network
        self._path = path

    def close(self) -> None:
        self._network.stop_listening(self._path, 0)


def entropy_of(dice: Dice) -> Callable[[int], bytes]:
    """`Entropy.bytes` from dice."""

    def some(count: int) -> bytes:
        words = [dice.bits64().to_bytes(8, "big") for _ in range((count + 7) // 8)]
        return b"".join(words)[:count]

    return some


class NoLog:
    """`switch.engine.Log` that says nothing."""

    def authorized(self, reply: Reply, watch: Watch) -> None: ...

    def managed(self, received: Received, response_code: str, rule: str) -> None: ...

    def refused(self, source: str, response_code: str, rule: str) -> None: ...

    def recovered(self, undecided: Undecided) -> None: ...

    def noted(self, event: str) -> None: ...

    def downloaded(self, topic: str, act: str) -> None: ...

    def failed(self, error: BaseException) -> None: ...
