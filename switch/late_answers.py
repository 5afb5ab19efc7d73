"""An answer after the outcome: it is stored, and a late approval is reversed anew (rules §5)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from switch.journal import FindById
from switch.store_and_forward import judge_late_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from iso8583.message import Message
    from switch.acquirers.ports import OnLate
    from switch.engine import Log
    from switch.journal import AttemptRow, Journal
    from switch.ports import Clock
    from switch.reference import Link
    from switch.rows import Rows

LATE_MAX = 4_096  # under way at one time; more are dropped and left to reconciliation


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
        try:
            stan = attempt.link_stan if attempt is not None else str(answer.get(11, ""))
            time = attempt.transmission_time if attempt is not None else str(answer.get(7, ""))
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
                self._clock.now(),
                self._link(acquirer),
            )
            await self._journal.decide(FindById(known.request_id, request_date), judge)
        except Exception as error:  # noqa: BLE001 - reconciliation finds what is lost here
            self._log.failed(error)

    async def drain(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks)
