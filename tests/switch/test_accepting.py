"""Two doors on one listening socket, as two workers have them."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from switch.accepting import SILENT_S, Door, Shares

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Scenario = Callable[[], Coroutine[Any, Any, None]]

NOW_S = 1_000.0


class Worker:
    """One of two, with so many connections from before. Its clock stands: it is never silent."""

    def __init__(
        self, listening: socket.socket, page: Path, index: int, before: int = 0, workers: int = 2
    ) -> None:
        self.count = before
        self.no_room = 0
        self.taken: list[socket.socket] = []
        self.shares = Shares(page, index, workers)
        self.say()
        self.door = Door(listening.dup(), self.take, self.stay_out, self.none_left)

    def say(self) -> None:
        self.shares.say(self.count, NOW_S)

    def take(self, taken: socket.socket, address: str) -> None:
        assert address == "127.0.0.1"
        assert taken.gettimeout() == 0
        self.taken.append(taken)
        self.count += 1
        self.say()

    def stay_out(self) -> bool:
        return self.shares.more_than_another(self.count, NOW_S)

    def none_left(self) -> None:
        self.no_room += 1

    def close(self) -> None:
        self.door.close()
        for each in self.taken:
            each.close()


class Street:
    """A listening socket, its workers' page and who calls; a test that fails leaves nothing open either."""

    def __init__(self, stack: ExitStack, page: Path, loop_factory: Any) -> None:
        self._stack = stack
        self._loop_factory = loop_factory
        self._workers: list[Worker] = []
        self.page = page
        self.listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256))
        self.listening.setblocking(False)

    def run(self, scenario: Scenario) -> None:
        async def closing() -> None:
            try:
                await scenario()
            finally:
                for worker in self._workers:
                    worker.close()

        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            runner.run(closing())

    def worker(
        self, index: int, before: int = 0, workers: int = 2, listening: Any = None
    ) -> Worker:
        one = Worker(listening or self.listening, self.page, index, before, workers)
        self._workers.append(one)
        return one

    def call(self, count: int) -> list[socket.socket]:
        """The kernel connects them; nobody has accepted yet."""
        return [
            self._stack.enter_context(socket.create_connection(self.listening.getsockname()))
            for _ in range(count)
        ]


@pytest.fixture(params=[uvloop.new_event_loop, None], ids=["uvloop", "asyncio"])
def street(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Street]:
    with ExitStack() as stack:
        yield Street(stack, tmp_path / "page", request.param)


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not what():  # noqa: ASYNC110 - looked at from outside
            await asyncio.sleep(0.001)


def test_who_comes_together_is_shared_out(street: Street) -> None:
    async def scenario() -> None:
        workers = [street.worker(n) for n in range(2)]
        street.call(64)
        await until(lambda: sum(worker.count for worker in workers) == 64)
        assert min(worker.count for worker in workers) >= 64 * 3 // 8

    street.run(scenario)


def test_who_has_fewer_gets_the_next(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a worker has died and been spawned again."""
    monkeypatch.setattr("switch.accepting.POLITE_S", 60.0)  # for a slow machine too

    async def scenario() -> None:
        old = street.worker(0, before=40)
        young = street.worker(1)
        street.call(20)
        await until(lambda: old.count + young.count == 60)
        assert young.count == 20

    street.run(scenario)


def test_nobody_waits_for_a_worker_that_does_not_take(street: Street) -> None:
    async def scenario() -> None:
        one = street.worker(0, before=100)
        hung = Shares(street.page, 1, 2)
        hung.say(0, NOW_S)
        street.call(50)
        await until(lambda: one.count == 150)

    street.run(scenario)


def test_who_is_silent_counts_for_nothing(tmp_path: Path) -> None:
    one, other = (Shares(tmp_path / "page", n, 2) for n in range(2))
    assert not one.more_than_another(9, NOW_S), "it has never said anything"
    other.say(8, NOW_S)
    assert not one.more_than_another(9, NOW_S), "an eighth does not matter"
    assert one.more_than_another(10, NOW_S)
    assert one.more_than_another(10, NOW_S + SILENT_S - 0.01)
    assert not one.more_than_another(10, NOW_S + SILENT_S)


def test_who_comes_when_no_descriptor_is_left_is_closed(street: Street) -> None:
    """And is not left to wait; who comes when there is room again is taken."""

    async def scenario() -> None:
        one = street.worker(0, workers=1)
        turned_away = street.call(3)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        held: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 8, hard))
        try:
            with suppress(OSError):
                while True:
                    held.append(os.dup(0))
            await until(lambda: one.no_room == 3)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for each in held:
                os.close(each)
        for client in turned_away:
            client.settimeout(60.0)
            assert client.recv(1) == b""
        street.call(1)
        await until(lambda: one.count == 1)
        assert one.no_room == 3

    street.run(scenario)


def test_the_system_has_no_room(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told once a pause, and who waits is taken when there is room."""
    monkeypatch.setattr("switch.accepting.NO_ROOM_S", 0.01)

    class Full:
        """A listening socket that has no buffers, for three calls."""

        def __init__(self) -> None:
            self.calls = 0

        def dup(self) -> Full:
            return self

        def settimeout(self, _timeout_s: float) -> None:
            """It is."""

        def close(self) -> None:
            """Its owner does."""

        def fileno(self) -> int:
            return street.listening.fileno()

        def accept(self) -> Any:
            self.calls += 1
            if self.calls <= 3:
                raise OSError(errno.ENOBUFS, "No buffer space available")
            return street.listening.accept()

    async def scenario() -> None:
        one = street.worker(0, workers=1, listening=Full())
        street.call(1)
        await until(lambda: one.count == 1)
        assert one.no_room == 3

    street.run(scenario)


def test_who_has_gone_meanwhile_keeps_nobody_waiting(street: Street) -> None:
    class Broken:
        """A listening socket whose first in the queue is gone, as accept(2) tells it."""

        def __init__(self) -> None:
            self.errors = [errno.ECONNABORTED, errno.EHOSTUNREACH, errno.EPROTO]

        def dup(self) -> Broken:
            return self

        def settimeout(self, _timeout_s: float) -> None:
            """It is."""

        def close(self) -> None:
            """Its owner does."""

        def fileno(self) -> int:
            return street.listening.fileno()

        def accept(self) -> Any:
            if self.errors:
                raise OSError(self.errors.pop(), "gone")
            return street.listening.accept()

    async def scenario() -> None:
        one = street.worker(0, workers=1, listening=Broken())
        street.call(1)
        one.door.take_all(10)
        assert (one.count, one.no_room) == (1, 0)

    street.run(scenario)


def test_all_who_wait_are_taken_at_the_end(street: Street) -> None:
    async def scenario() -> None:
        one = street.worker(0)
        street.call(5)
        one.door.take_all(100)
        assert one.count == 5

    street.run(scenario)
