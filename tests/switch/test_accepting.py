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
    from pathlib import Path

Scenario = Callable[[ExitStack], Coroutine[Any, Any, None]]
PATIENCE_S = 60.0


class Worker:
    """One of two, with so many connections from before."""

    def __init__(
        self,
        opened: ExitStack,
        listening: socket.socket,
        page: Path,
        index: int,
        before: int = 0,
        workers: int = 2,
    ) -> None:
        self.count = before
        self.no_room = 0
        self.taken: list[socket.socket] = []
        self.shares = Shares(page, index, workers)
        self.say()
        self.door = Door(listening.dup(), self.take, self.stay_out, self.none_left)
        opened.callback(self.close)

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
    """Runs a scenario on either loop; what it opened is closed while the loop is there, come what may."""

    def runs(scenario: Scenario) -> None:
        async def closed_in_the_end() -> None:
            with ExitStack() as opened:
                await scenario(opened)

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(closed_in_the_end())

    return runs


@pytest.fixture
def listening() -> Any:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as one:
        one.setblocking(False)
        yield one


def call(opened: ExitStack, listening: socket.socket, count: int) -> list[socket.socket]:
    """The kernel connects them; nobody has accepted yet."""
    address = listening.getsockname()
    return [opened.enter_context(socket.create_connection(address)) for _ in range(count)]


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not what():  # noqa: ASYNC110 - looked at from outside
            await asyncio.sleep(0.001)


def test_who_comes_together_is_shared_out(
    run: Any, listening: socket.socket, tmp_path: Path
) -> None:
    async def scenario(opened: ExitStack) -> None:
        workers = [Worker(opened, listening, tmp_path / "page", n) for n in range(2)]
        call(opened, listening, 64)
        await until(lambda: sum(worker.count for worker in workers) == 64)
        assert min(worker.count for worker in workers) >= 64 * 3 // 8

    run(scenario)


def test_who_has_fewer_gets_the_next(
    run: Any, listening: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a worker has died and been spawned again.

    However long it takes, here it is never silent, and the other does not come back to take one.
    """
    monkeypatch.setattr("switch.accepting.SILENT_S", 3_600.0)
    monkeypatch.setattr("switch.accepting.POLITE_S", 3_600.0)

    async def scenario(opened: ExitStack) -> None:
        old = Worker(opened, listening, tmp_path / "page", 0, before=40)
        young = Worker(opened, listening, tmp_path / "page", 1)
        call(opened, listening, 20)
        await until(lambda: young.count == 20)
        assert old.count == 40

    run(scenario)


def test_nobody_waits_for_a_worker_that_does_not_take(
    run: Any, listening: socket.socket, tmp_path: Path
) -> None:
    async def scenario(opened: ExitStack) -> None:
        one = Worker(opened, listening, tmp_path / "page", 0, before=100)
        hung = Shares(tmp_path / "page", 1, 2)
        hung.say(0, asyncio.get_running_loop().time())
        call(opened, listening, 50)
        await until(lambda: one.count == 150)

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

    async def scenario(opened: ExitStack) -> None:
        one = Worker(opened, listening, tmp_path / "page", 0, workers=1)
        turned_away = call(opened, listening, 3)
        after = opened.enter_context(socket.socket())
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
            client.settimeout(PATIENCE_S)
            assert client.recv(1) == b""
        after.connect(listening.getsockname())
        await until(lambda: one.count == 1)
        assert one.no_room == 3

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

    async def scenario(opened: ExitStack) -> None:
        one = Worker(opened, Full(), tmp_path / "page", 0, workers=1)  # type: ignore[arg-type]
        call(opened, listening, 1)
        await until(lambda: one.count == 1)
        assert one.no_room == 3

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

    async def scenario(opened: ExitStack) -> None:
        one = Worker(opened, Broken(), tmp_path / "page", 0, workers=1)  # type: ignore[arg-type]
        call(opened, listening, 1)
        one.door.take_all(10)
        assert (one.count, one.no_room) == (1, 0)

    run(scenario)


def test_all_who_wait_are_taken_at_the_end(
    run: Any, listening: socket.socket, tmp_path: Path
) -> None:
    async def scenario(opened: ExitStack) -> None:
        one = Worker(opened, listening, tmp_path / "page", 0)
        call(opened, listening, 5)
        one.door.take_all(100)
        assert one.count == 5

    run(scenario)
