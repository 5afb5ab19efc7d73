"""Work that a link does with the store in rounds: every so often, and when something has happened."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from switch.journal import StoreDownError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = structlog.get_logger(__name__)


async def rounds(
    work: Callable[[], Awaitable[None]],
    what: str,
    acquirer: str,
    *,
    pause_s: Callable[[], float],
    nudged: asyncio.Event,
) -> None:
    """For ever: after a round that failed the next may succeed. A store that is away is told once.

    `what` begins the names of the events: `<what>_store_down`, `<what>_round_failed`.
    """
    down = False
    while True:
        try:
            await work()
            down = False
        except StoreDownError as error:
            if not down:
                _log.warning(f"{what}_store_down", acquirer=acquirer, error=str(error))
            down = True
        except Exception as error:  # noqa: BLE001 - whatever it is, the next round may succeed
            _log.error(f"{what}_round_failed", acquirer=acquirer, error=repr(error))
        paused = asyncio.get_running_loop().call_later(pause_s(), nudged.set)
        try:
            await nudged.wait()
        finally:
            paused.cancel()
        nudged.clear()
