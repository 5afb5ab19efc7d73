"""Answers that count for no request, kept for people: gathered for a second, then stored together.

Links tell so many a second and no more (`Link.unmatched_per_s`), so a flood costs a write a second. What
finds no room while the store is away is counted and gone: nothing rests on it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from switch.acquirers.unmatched import Nearest
from switch.journal import StoreDownError
from switch.store_ports import UnmatchedRow

if TYPE_CHECKING:
    from switch.acquirers.unmatched import UnmatchedAnswer
    from switch.journal import Journal
    from switch.ports import Clock
    from switch.rows import Standing
    from switch.store_ports import LinkFacts

_log = structlog.get_logger(__name__)

WAITING_MAX: Final = 1_000  # rows; at some 2 KB each
TOGETHER_S: Final = 1.0  # from the first of a group to its write
RETRY_MAX_S: Final = 30.0
ASKED_ABOUT: Final = frozenset({"unmatched", "twice", "mac"})  # the others have their request


class UnmatchedAnswers:
    """`unmatched.OnUnmatched` of every link of a process."""

    def __init__(
        self, store: LinkFacts, journal: Journal, clock: Clock, standing: Standing
    ) -> None:
        self._store = store
        self._journal = journal
        self._clock = clock
        self._standing = standing
        self._waiting: list[UnmatchedRow] = []
        self._seq = 0
        self._lost = 0
        self._writing: asyncio.Task[None] | None = None
        self._at_once = asyncio.Event()

    def take(self, answer: UnmatchedAnswer) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self._lost += 1
            return
        self._seq += 1
        if self._lost:
            answer = msgspec.structs.replace(answer, dropped=answer.dropped + self._lost)
            self._lost = 0
        row = UnmatchedRow(self._standing.owner_id, self._seq, self._clock.now(), answer)
        self._waiting.append(row)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        pause_s = TOGETHER_S
        while self._waiting:
            await self._pause(pause_s)
            rows = list(self._waiting)
            try:
                named = [await self._named(row) for row in rows]
                await self._store.keep_unmatched(named)
            except StoreDownError:
                pause_s = min(2 * pause_s, RETRY_MAX_S)
                if self._at_once.is_set():
                    raise
            except Exception as error:  # noqa: BLE001 - nothing rests on them: never again and again
                del self._waiting[: len(rows)]
                _log.error("unmatched_answers_not_stored", count=len(rows), error=repr(error))
            else:
                del self._waiting[: len(rows)]
                pause_s = TOGETHER_S

    async def _pause(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._at_once.wait()
        except TimeoutError:
            pass

    async def _named(self, row: UnmatchedRow) -> UnmatchedRow:
        """Its request where only the journal knows it: it has had its answer, is another process's, or
        of before a restart. What it looks like says less than its own numbers."""
        answer = row.answer
        if answer.reason not in ASKED_ABOUT or not (answer.stan and answer.transmission_time):
            return row
        numbers = answer.acquirer, answer.stan, answer.transmission_time
        attempted = await self._journal.find_attempt(*numbers)
        if attempted is not None:
            nearest = Nearest(attempted[0].request_id, attempted[0].attempt, "stored")
        elif (queued := await self._journal.find_queued(*numbers)) is not None:
            nearest = Nearest(queued, None, "stored")
        else:
            return row
        if answer.nearest is not None and answer.nearest.request_id == nearest.request_id:
            return row
        named = msgspec.structs.replace(answer, nearest=nearest, differences=())
        return msgspec.structs.replace(row, answer=named)

    async def drain(self, timeout_s: float) -> None:
        """Write what waits now."""
        self._at_once.set()
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=max(timeout_s, 0.0))
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        if self._waiting:
            _log.warning("unmatched_answers_not_stored", count=len(self._waiting))
