"""What the switch asks of the outside world. Real ones live in `adapters/`, simulated ones in tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    import datetime as dt
    from collections.abc import Callable


class Clock(Protocol):
    """Wall-clock time, and durations. Timers are the running loop's own."""

    def now(self) -> dt.datetime:
        """The present instant, in UTC, aware."""
        ...

    def monotonic_ns(self) -> int: ...


class Entropy(Protocol):
    """Randomness for keys, nonces and PINs only; numbers come from the store."""

    def bytes(self, count: int) -> bytes: ...


class Transport(Protocol):
    """TCP as asyncio's Protocol classes see it."""

    async def connect(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> asyncio.Transport: ...


class Closable(Protocol):
    def close(self) -> None: ...


class LocalTransport(Protocol):
    """Streams between processes of one machine, by a path in the file system."""

    async def listen(self, factory: Callable[[], asyncio.Protocol], path: str) -> Closable:
        """Accept there; what a former process left in that place is removed."""
        ...

    async def connect(
        self, factory: Callable[[], asyncio.Protocol], path: str
    ) -> asyncio.Transport: ...
