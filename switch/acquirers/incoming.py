"""Connections that a bank makes to us, and the keepers that wait for one.

Theory of operation. All workers of a node share one listening socket. A worker takes a connection from
it only while one of its keepers has a slot and waits, so a bank finds whichever worker has room. One
that nobody takes within `Link.extra_s` is one too many: whoever sees it then takes it and closes it.
So is one that would join others here while another node waits for one (`switch/spread.py`).
One from elsewhere than the node's configuration says is closed at once, and keeps nobody's place.

A handshake that dawdles or fails gives the place back to the keeper that waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import structlog

from switch.proxy_protocol import is_listed, networks

if TYPE_CHECKING:
    from collections.abc import Callable

    from switch.acquirers.link_connection import Connection, Owner
    from switch.ports import Accepts, Arrived
    from switch.slots import SlotSource

_log = structlog.get_logger(__name__)

AGAIN_S: Final = 0.02


class Place:
    """Of one keeper: whose protocol takes the connection, and what came of it."""

    def __init__(self, connection: Connection, factory: Callable[[], asyncio.Protocol]) -> None:
        self.connection = connection
        self.factory = factory
        self.taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def end(self, *, taken: bool) -> None:
        if not self.taken.done():
            self.taken.set_result(taken)


class Incoming:
    """Of one link in one process; `owner` is the link."""

    def __init__(
        self, owner: Owner, accepts: Accepts, sources: tuple[str, ...], slots: SlotSource
    ) -> None:
        self._owner = owner
        self._slots = slots
        self._accepts = accepts
        self._sources = networks(sources)
        self._places: deque[Place] = deque()
        self._asked = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        name = f"link {self._owner.name} incoming"
        self._serving = loop.create_task(self._serve(), name=name)

    def stop(self) -> list[asyncio.Task[None]]:
        """Take no more; the task that ends."""
        if self._serving is None or self._serving.cancelling():
            return []
        self._serving.cancel()
        self._accepts.close()
        for place in self._places:
            place.end(taken=False)
        return [self._serving]

    async def take(self, connection: Connection, factory: Callable[[], asyncio.Protocol]) -> bool:
        """Wait until a connection has become the factory's; False: `connection` was given up before."""
        place = Place(connection, factory)
        connection.place = place
        self._places.append(place)
        self._asked.set()
        try:
            return await place.taken
        finally:
            connection.place = None
            place.end(taken=False)

    async def _serve(self) -> None:
        while True:
            await self._accepts.waits()
            if not self._waiting():
                self._asked.clear()
                try:
                    async with asyncio.timeout(self._owner.link.extra_s):
                        await self._asked.wait()
                    continue
                except TimeoutError:
                    pass
            arrived = self._accepts.take()
            if arrived is None:  # another worker was faster, or no file is left to open
                await asyncio.sleep(AGAIN_S)
            elif not is_listed(arrived.source, self._sources):
                self._refused(arrived, "source")
            elif (place := self._next()) is None:
                self._refused(arrived, "extra")
            else:
                self._owner.spawn(self._adopted(arrived, place))

    def _waiting(self) -> bool:
        """Is there a place for one that comes?"""
        if self._slots.holds_back:
            return False
        while self._places and self._places[0].taken.done():
            self._places.popleft()
        return bool(self._places)

    def _next(self) -> Place | None:
        return self._places.popleft() if self._waiting() else None

    async def _adopted(self, arrived: Arrived, place: Place) -> None:
        try:
            async with asyncio.timeout(self._owner.link.connect_timeout_s):
                await arrived.adopt(place.factory)
        except Exception as error:  # noqa: BLE001 - whatever it is, the keeper goes on waiting
            self._owner.counters.connections_refused += 1
            _log.warning(
                "link_accept_failed",
                acquirer=self._owner.name,
                source=arrived.source,
                error=str(error) or repr(error),
            )
            if not place.connection.opened:  # else the timer ran out as it was made
                arrived.refuse()
                self._places.appendleft(place)
                self._asked.set()
                return
        except asyncio.CancelledError:
            arrived.refuse()
            raise
        place.end(taken=True)

    def _refused(self, arrived: Arrived, reason: str) -> None:
        arrived.refuse()
        self._owner.counters.connections_refused += 1
        _log.warning(
            "link_connection_refused",
            acquirer=self._owner.name,
            source=arrived.source,
            reason=reason,
        )
