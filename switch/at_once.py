"""A coroutine that begins now, in the turn of the loop that a callback has, and not in one of its own.

What a link receives comes in a callback, and has to ask the vault. The vault in this process answers
without suspending: then all is done when `at_once` returns, for the price of a call. A device on a
network suspends: then the rest goes on as a task.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator


def at_once(
    work: Coroutine[Any, Any, None], spawn: Callable[[Coroutine[Any, Any, None]], object]
) -> None:
    """Run `work` up to where it first suspends; `spawn` makes a task of what is left.

    There is no current task until then: what `work` awaits first may not ask for one, as
    `asyncio.timeout` does. What it raises before that, this raises.
    """
    try:
        awaited = work.send(None)
    except StopIteration:
        return
    spawn(_rest(work, awaited))


async def _rest(work: Coroutine[Any, Any, None], awaited: Any) -> None:
    await _resumed(work, awaited)


@types.coroutine
def _resumed(work: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
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
