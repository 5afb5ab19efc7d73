"""An answer after the outcome: it is stored, and a late approval is reversed anew (rules §5)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from switch.journal import FindById, StoreDownError
from switch.store_and_forward import judge_late_answer

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from iso8583.message import Message
    from switch.acquirers.ports import OnLate
    from switch.engine import Log
    from switch.journal import AttemptRow, Journal
    from switch.ports import Clock
    from switch.reference import Link
    from switch.rows import Rows

_log = structlog.get_logger(__name__)

LATE_MAX = 4_096  # under way at one time; more are dropped and left to reconciliation
RETRY_FIRST_S, RETRY_MAX_S = 0.1, 5.0  # between tries while the store is away


class LateAnswers:
    """`ports.OnLate` of every link of a process."""

    def __init__(
        self,
        journal: Journal,
        rows: Rows,
        clock: Clock,
        log: Log,
        link: Callable[[str], Link | None],
    ) -> None:
        self._journal = journal
        self._rows = rows
        self._clock = clock
        self._log = log
        self._link = link
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, acquirer: str) -> OnLate:
        """The callback for one link."""

        def on_late(attempt: AttemptRow | None, message: Message, reason: str) -> None:
            if len(self._tasks) >= LATE_MAX:
                return
            task = asyncio.get_running_loop().create_task(
                self._store(acquirer, attempt, message, reason)
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return on_late

    async def _store(
        self, acquirer: str, attempt: AttemptRow | None, answer: Message, reason: str
    ) -> None:
        """A bank says it once: where the store is away the answer waits for it."""
        now, pause_s = self._clock.now(), RETRY_FIRST_S
        stan = attempt.link_stan if attempt is not None else str(answer.get(11, ""))
        time = attempt.transmission_time if attempt is not None else str(answer.get(7, ""))
        while True:
            try:
                return await self._decide(acquirer, stan, time, answer, reason, now)
            except StoreDownError:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_MAX_S)
            except Exception as error:  # noqa: BLE001 - reconciliation finds what is lost here
                return self._log.failed(error)

    async def _decide(
        self,
        acquirer: str,
        stan: str,
        time: str,
        answer: Message,
        reason: str,
        received_at: dt.datetime,
    ) -> None:
        found = await self._journal.find_attempt(acquirer, stan, time)
        if found is None:
            return  # not ours, or older than the journal: the link has counted it
        known, request_date = found
        judge = judge_late_answer(
            known,
            request_date,
            answer,
            reason,
            self._rows.identity,
            received_at,
            self._link(acquirer),
        )
        await self._journal.decide(FindById(known.request_id, request_date), judge)

    async def drain(self, timeout_s: float) -> None:
        """What is not stored by then is left to reconciliation."""
        if self._tasks:
            _, waiting = await asyncio.wait(self._tasks, timeout=max(timeout_s, 0.0))
            if waiting:
                _log.warning("late_answers_not_stored", count=len(waiting))
