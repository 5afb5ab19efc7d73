"""Two doors on one listening socket, as two workers have them."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from switch.accepting import SILENT_S, Door, Shares

if TYPE_CHECKING:
    from pathlib import Path

Scenario = Callable[[], Coroutine[Any, Any, None]]


class Worker:
    """One of two, with so many connections from before."""

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
        self.shares.say(self.count, asyncio.get_running_loop().time())

    def take(self, taken: socket.socket, address: str) -> None:
        assert address == "127.0.0.1"
        assert taken.gettimeout() == 0
        self.taken.append(taken)
        self.count += 1
        self.say()

    def stay_out(self) -> bool:
        return self.shares.more_than_another(self.count, asyncio.get_running_loop().time())

    def none_left(self) -> None:
        self.no_room += 1

    def close(self) -> None:
        self.door.close()
        for each in self.taken:
            each.close()


@pytest.fixture(params=[uvloop.new_event_loop, None], ids=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    def runs(scenario: Scenario) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(scenario())

    return runs


@pytest.fixture
def listening() -> Any:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as one:
        one.setblocking(False)
        yield one


def call(listening: socket.socket, count: int) -> list[socket.socket]:
    """The kernel connects them; nobody has accepted yet."""
    return [socket.create_connection(listening.getsockname()) for _ in range(count)]


def hang_up(clients: list[socket.socket]) -> None:
    for client in clients:
        client.close()


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not what():  # noqa: ASYNC110 - looked at from outside
            await asyncio.sleep(0.001)


def test_who_comes_together_is_shared_out(
    run: Any, listening: socket.socket, tmp_path: Path
) -> None:
    async def scenario() -> None:
        workers = [Worker(listening, tmp_path / "page", n) for n in range(2)]
        clients = call(listening, 64)
        await until(lambda: sum(worker.count for worker in workers) == 64)
        assert min(worker.count for worker in workers) >= 64 * 3 // 8
        for one in workers:
            one.close()
        hang_up(clients)

    run(scenario)


def test_who_has_fewer_gets_the_next(run: Any, listening: socket.socket, tmp_path: Path) -> None:
    """As after a worker has died and been spawned again."""

    async def scenario() -> None:
        old = Worker(listening, tmp_path / "page", 0, before=40)
        young = Worker(listening, tmp_path / "page", 1)
        clients = call(listening, 20)
        await until(lambda: old.count + young.count == 60)
        assert young.count == 20
        old.close()
        young.close()
        hang_up(clients)

    run(scenario)


def test_nobody_waits_for_a_worker_that_does_not_take(
    run: Any, listening: socket.socket, tmp_path: Path
) -> None:
    async def scenario() -> None:
        one = Worker(listening, tmp_path / "page", 0, before=100)
        hung = Shares(tmp_path / "page", 1, 2)
        hung.say(0, asyncio.get_running_loop().time())
        clients = call(listening, 50)
        await until(lambda: one.count == 150)
        one.close()
        hang_up(clients)

    run(scenario)


def test_who_is_silent_counts_for_nothing(tmp_path: Path) -> None:
    one, other = (Shares(tmp_path / "page", n, 2) for n in range(2))
    assert not one.more_than_another(9, 1_000.0), "it has never said anything"
    other.say(8, 1_000.0)
    assert not one.more_than_another(9, 1_000.0), "an eighth does not matter"
    assert one.more_than_another(10, 1_000.0)
    assert one.more_than_another(10, 1_000.0 + SILENT_S - 0.01)
    assert not one.more_than_another(10, 1_000.0 + SILENT_S)


def test_who_comes_when_no_descriptor_is_left_is_closed(
    run: Any, listening: socket.socket, tmp_path: Path
) -> None:
    """And is not left to wait; who comes when there is room again is taken."""

    async def scenario() -> None:
        one = Worker(listening, tmp_path / "page", 0, workers=1)
        turned_away = call(listening, 3)
        after = socket.socket()
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
            client.settimeout(5.0)
            assert client.recv(1) == b""
        after.connect(listening.getsockname())
        await until(lambda: one.count == 1)
        assert one.no_room == 3
        one.close()
        hang_up([*turned_away, after])

    run(scenario)


def test_the_system_has_no_room(
    run: Any, listening: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
            return listening.fileno()

        def accept(self) -> Any:
            self.calls += 1
            if self.calls <= 3:
                raise OSError(errno.ENOBUFS, "No buffer space available")
            return listening.accept()

    async def scenario() -> None:
        one = Worker(Full(), tmp_path / "page", 0, workers=1)  # type: ignore[arg-type]
        (client,) = call(listening, 1)
        await until(lambda: one.count == 1)
        assert one.no_room == 3
        one.close()
        client.close()

    run(scenario)


def test_who_has_gone_meanwhile_keeps_nobody_waiting(
    run: Any, listening: socket.socket, tmp_path: Path
) -> None:
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
            return listening.fileno()

        def accept(self) -> Any:
            if self.errors:
                raise OSError(self.errors.pop(), "gone")
            return listening.accept()

    async def scenario() -> None:
        one = Worker(Broken(), tmp_path / "page", 0, workers=1)  # type: ignore[arg-type]
        (client,) = call(listening, 1)
        one.door.take_all(10)
        assert (one.count, one.no_room) == (1, 0)
        one.close()
        client.close()

    run(scenario)


def test_all_who_wait_are_taken_at_the_end(
    run: Any, listening: socket.socket, tmp_path: Path
) -> None:
    async def scenario() -> None:
        one = Worker(listening, tmp_path / "page", 0)
        clients = call(listening, 5)
        one.door.take_all(100)
        assert one.count == 5
        one.close()
        hang_up(clients)

    run(scenario)
