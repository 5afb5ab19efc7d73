"""`at_once`: done in this turn where nothing suspends, a task from where it does.

Method: coroutines that note when they run, on a real loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from switch.at_once import at_once, tell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine


def run(story: Callable[[list[str], list[asyncio.Task[None]]], Awaitable[None]]) -> list[str]:
    noted: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    async def main() -> None:
        await story(noted, tasks)

    asyncio.run(main())
    return noted


def spawning(tasks: list[asyncio.Task[None]]) -> Callable[[Coroutine[Any, Any, None]], None]:
    return lambda work: tasks.append(asyncio.get_running_loop().create_task(work))


def test_what_does_not_suspend_is_done_at_once() -> None:
    async def work(noted: list[str]) -> None:
        noted.append("worked")

    async def story(noted: list[str], tasks: list[asyncio.Task[None]]) -> None:
        at_once(work(noted), spawning(tasks))
        noted.append("returned")
        assert tasks == []

    assert run(story) == ["worked", "returned"]


def test_what_suspends_goes_on_as_a_task() -> None:
    async def work(noted: list[str], first: asyncio.Future[str]) -> None:
        noted.append("begun")
        noted.append(await first)
        await asyncio.sleep(0)
        async with asyncio.timeout(60):  # there is a current task by now
            await asyncio.sleep(0.001)
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.001)
        except TimeoutError:
            noted.append("timed out")

    async def story(noted: list[str], tasks: list[asyncio.Task[None]]) -> None:
        first: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        at_once(work(noted, first), spawning(tasks))
        noted.append("returned")
        first.set_result("answered")
        await tasks[0]

    assert run(story) == ["begun", "returned", "answered", "timed out"]


def test_what_it_awaited_may_fail_or_have_ended_before_the_task_begins() -> None:
    async def work(noted: list[str], first: asyncio.Future[str]) -> None:
        try:
            await first
        except OSError:
            noted.append("failed")

    async def story(noted: list[str], tasks: list[asyncio.Task[None]]) -> None:
        first: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        at_once(work(noted, first), spawning(tasks))
        first.set_exception(OSError())
        await tasks[0]

    assert run(story) == ["failed"]


def test_cancelling_the_task_reaches_the_work() -> None:
    async def work(noted: list[str]) -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            noted.append("cancelled")
            raise

    async def story(noted: list[str], tasks: list[asyncio.Task[None]]) -> None:
        at_once(work(noted), spawning(tasks))
        await asyncio.sleep(0)
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]

    assert run(story) == ["cancelled"]


def test_what_it_raises_before_it_suspends_is_raised_here() -> None:
    async def work() -> None:
        raise KeyError("at once")

    async def story(noted: list[str], tasks: list[asyncio.Task[None]]) -> None:
        with pytest.raises(KeyError):
            at_once(work(), spawning(tasks))
        noted.append("raised")
        assert tasks == []

    assert run(story) == ["raised"]


def test_who_does_not_wait_is_told_what_it_came_to() -> None:
    async def work(result: str | Exception) -> str:
        await asyncio.sleep(0)
        if isinstance(result, Exception):
            raise result
        return result

    async def story(noted: list[str], tasks: list[asyncio.Task[None]]) -> None:
        def told(came: str | Exception) -> None:
            noted.append(repr(came))

        await tell(work("a MAC"), told)
        await tell(work(KeyError("none")), told)
        cancelled = asyncio.create_task(tell(work("too late"), told))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled

    assert run(story) == ["'a MAC'", "KeyError('none')"]
