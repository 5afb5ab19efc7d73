"""What a link does beside its requests: begun in the turn that asked for it, ended with the link."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from switch.at_once import at_once

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

_log = structlog.get_logger(__name__)


class LinkTasks:
    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: dict[asyncio.Task[None], None] = {}  # in order: a set has none

    def __iter__(self) -> Iterator[asyncio.Task[None]]:
        return iter(self._tasks)

    def at_once(self, work: Coroutine[Any, Any, Any]) -> None:
        """In the turn of the loop that brought it, as far as the vault does not suspend.

        An error of ours in it is logged, and reaches nobody, whether the vault suspends or not.
        """
        try:
            at_once(work, self._go_on)
        except Exception:  # noqa: BLE001 - one message must not cost the others their connection
            _log.exception("link_message_failed", acquirer=self._name)

    def _go_on(self, work: Coroutine[Any, Any, Any]) -> None:
        self.spawn(self._guarded(work))

    async def _guarded(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001 - as above
            _log.exception("link_message_failed", acquirer=self._name)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda task: self._tasks.pop(task, None))
