"""A coroutine that begins now, in the turn of the loop that a callback has, and not in one of its own.

What a link receives comes in a callback, and has to ask the vault. The vault in this process answers
without suspending: then all is done when `at_once` returns, for the price of a call. A device on a
network suspends: then the rest goes on as a task.
"""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

Result = TypeVar("Result")


def at_once(
    work: Coroutine[Any, Any, Any], spawn: Callable[[Coroutine[Any, Any, None]], object]
) -> None:
    """Run `work` up to where it first suspends; `spawn` makes a task of what is left.

    There is no current task until then. What `work` raises before that, this raises.
    """
    try:
        awaited = work.send(None)
    except StopIteration:
        return
    spawn(_rest(work, awaited))


def told_of(work: Coroutine[Any, Any, Any], told: Callable[[Any], None]) -> None:
    """Run `work` as a task; `told` is called with its result or error, unless it is cancelled."""

    def ended(task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            told(task.exception() or task.result())

    asyncio.get_running_loop().create_task(work).add_done_callback(ended)


async def tell(work: Awaitable[Result], told: Callable[[Result | Exception], None]) -> None:
    """What of the vault's does suspend, for who would have had it at once: `told` hears its result or error."""
    try:
        result = await work
    except Exception as error:  # noqa: BLE001 - it is told's
        told(error)
    else:
        told(result)


async def _rest(work: Coroutine[Any, Any, Any], awaited: Any) -> None:
    await _resumed(work, awaited)


@types.coroutine
def _resumed(work: Coroutine[Any, Any, Any], awaited: Any) -> Generator[Any, Any, None]:
    """What a task's step does with a coroutine, from its first suspension on."""
    try:
        while True:
            try:
                sent = yield awaited
            except BaseException as error:  # noqa: BLE001 - cancellation and closing are the work's too
                awaited = work.throw(error)
            else:
                awaited = work.send(sent)
    except StopIteration:
        return
