"""What the switch asks of the outside world. Real ones live in `adapters/`, simulated ones in tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    import datetime as dt
    from collections.abc import Callable

    from switch.reference import Link


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


class EdgeError(Exception):
    """This node lacks what a link needs of it: the setting, the reason."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(f"{setting}: {reason}")
        self.setting = setting
        self.reason = reason


class Arrived(Protocol):
    """A connection that was made to us and is nobody's yet."""

    @property
    def source(self) -> str:
        """The address that it comes from."""
        ...

    async def adopt(self, factory: Callable[[], asyncio.Protocol]) -> asyncio.Transport:
        """Make it the protocol's, after a handshake where the link has TLS. OSError: it came to nothing."""
        ...

    def refuse(self) -> None:
        """Close it."""
        ...


class Accepts(Protocol):
    """Where a bank connects to us. Other workers of the node take from the same place."""

    async def waits(self) -> None:
        """Return when a connection waits to be taken; another worker may be faster."""
        ...

    def take(self) -> Arrived | None:
        """The one that waits longest; None: there is none any more."""
        ...

    def close(self) -> None: ...


class LinkEdge(Protocol):
    """What a node has of its own for its links. Raises EdgeError where it lacks something."""

    def way_out(self, link: Link) -> Transport: ...

    def way_in(self, link: Link) -> Accepts: ...

    def sources(self, link: Link) -> tuple[str, ...]:
        """Addresses and networks from which the bank may connect."""
        ...


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
