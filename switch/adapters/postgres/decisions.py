"""Decisions: commits that a pure judge makes of what stands, under its lock.

Decisions over counters alone go with the group commit, which checks them under its own locks (decision
35). One over an original has a transaction of its own on the pool: gate, lock the originals by id
(advisory: a decision is the only one that needs them, and it works when their keys have been pruned),
read, judge, store.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import asyncpg

from switch.adapters.postgres.connections import Backoff, Warned, wait_until_gone
from switch.adapters.postgres.risk import lock_and_count
from switch.adapters.postgres.rows import FLUSH, Presumed
from switch.adapters.postgres.scenes import load, locate
from switch.adapters.postgres.sessions import RERUN_STATES, is_outage
from switch.adapters.postgres.writer import Again, Work, group_of, is_row_fault, results_of
from switch.journal import (
    Commit,
    Counted,
    Duplicate,
    FindCounted,
    Lost,
    RowRefusedError,
    Scene,
    StoreDownError,
    Verdict,
)
from switch.transactions import TOMBSTONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from switch.adapters.postgres.sessions import Sessions
    from switch.adapters.postgres.writer import Writer
    from switch.journal import Find, Judgement

DECIDE_TRIES = 5  # outages
GROUP_TRIES = 16  # of a group that finds counters on the other side of a threshold
NOTHING, MUCH = Counted(0, 0, None), Counted(10**12, 10**12, None)
JUDGE_TRIES = 5  # losses against commits that did not take the lock


class Decisions:
    def __init__(self, sessions: Sessions, writer: Writer) -> None:
        self._sessions = sessions
        self._writer = writer

    async def decide(
        self, find: Find, judge: Callable[[Scene], Judgement]
    ) -> tuple[Judgement, Verdict | None]:
        """Over counters alone in the group commit, else in a transaction of its own."""
        if isinstance(find, FindCounted) and find.of is None and find.guards:
            found = await self._decide_in_group(find, judge)
            if found is not None:
                return found
        return await self._decide_alone(find, judge)

    async def _decide_in_group(
        self, find: FindCounted, judge: Callable[[Scene], Judgement]
    ) -> tuple[Judgement, Verdict] | None:
        """Judge on what is likely, that no rule fires; the flush keeps it or says what is counted.

        None: this is not the way for it.
        """
        counted = quiet(find)
        presumed = Presumed(find, tuple(guard.fires(counted) for guard in find.guards))
        if any(presumed.fires):  # whatever is counted; it has to be read, for people are told of it
            return None
        for _ in range(GROUP_TRIES):
            judgement = judge(
                Scene(business_date=dt.date.min, generation=0, originals=(), counted=counted)
            )
            if judgement.commit is None:
                return None
            result = await self._writer.commit(judgement.commit, presumed=presumed)
            if not isinstance(result, Again):
                return judgement, result
            counted = result.counted
            presumed = Presumed(find, tuple(guard.fires(counted) for guard in find.guards))
        return None

    async def _decide_alone(
        self, find: Find, judge: Callable[[Scene], Judgement]
    ) -> tuple[Judgement, Verdict | None]:
        """Again from the start when an outage leaves it certain that nothing stands."""
        backoff = Backoff()
        for left in reversed(range(DECIDE_TRIES)):
            connection = None
            decision = _Decision(self._writer.next_commit_id())
            usable = False
            try:
                connection = await self._sessions.pool.take()
                decision.backend = self._sessions.pool.backend_of(connection)
                result = await decision.run(connection, find, judge)
                usable = True
            except Exception as error:
                state = getattr(error, "sqlstate", None)
                usable = isinstance(error, asyncpg.PostgresError) and not is_outage(error)
                if state not in RERUN_STATES and not is_outage(error):
                    if is_row_fault(error):
                        raise RowRefusedError(f"{type(error).__name__} {state}") from None
                    raise
                if not left and not decision.sent:
                    raise StoreDownError(f"{type(error).__name__} {state}") from error
            else:
                return result
            finally:
                if connection is not None:
                    self._sessions.pool.give_back(connection, usable=usable)
            if decision.sent and not usable:
                stood = await self._find_out(decision)
                if stood is not None:
                    return stood
            await backoff.wait()
        raise StoreDownError("the decision was interrupted too often")

    async def _find_out(self, decision: _Decision) -> tuple[Judgement, Verdict | None] | None:
        """Its COMMIT had no clear answer: wait until it has none coming, then look for its rows."""
        assert decision.backend is not None
        assert decision.judgement is not None
        commit = decision.judgement.commit
        assert commit is not None
        backoff = Backoff()
        while True:
            connection = None
            usable = False
            try:
                connection = await self._sessions.pool.take()
                await wait_until_gone(connection, decision.backend)
                stands = await _stands(connection, commit, decision.commit_id)
                if stands:  # a write: where a standby must confirm, this confirms the rows too
                    await connection.execute(
                        "INSERT INTO switch.rerun (commit_id, commits, reason)"
                        " VALUES ($1, 1, 'decision')",
                        decision.commit_id,
                    )
                usable = True
            except Exception as error:
                if not is_outage(error):
                    raise
            else:
                assert decision.verdict is not None
                return (decision.judgement, decision.verdict) if stands else None
            finally:
                if connection is not None:
                    self._sessions.pool.give_back(connection, usable=usable)
            await backoff.wait()


def quiet(find: FindCounted) -> tuple[Counted, ...]:
    """Nothing was counted; of a ratio much was, and nothing of its part."""
    counted = [NOTHING] * len(find.counts)
    for guard in find.guards:
        if guard.part >= 0:
            counted[guard.count] = MUCH
    return tuple(counted)


class _Decision:
    """One try: a transaction, and what has to be known of it when its COMMIT is not answered."""

    def __init__(self, commit_id: int) -> None:
        self.commit_id = commit_id
        self.sent = False  # COMMIT, with rows in it
        self.backend: Any = None
        self.judgement: Judgement | None = None
        self.verdict: Verdict | None = None

    async def run(
        self, connection: Any, find: Find, judge: Callable[[Scene], Judgement]
    ) -> tuple[Judgement, Verdict | None]:
        with Warned(connection) as warned:
            await connection.execute("BEGIN; SELECT switch.enter()")
            try:
                await self._decide(connection, find, judge)
                self.sent = self.verdict is not None
            finally:
                if not connection.is_closed() and not self.sent:
                    await connection.execute("ROLLBACK")
            if self.sent:
                await connection.execute("COMMIT")
                warned.check()
        assert self.judgement is not None
        return self.judgement, self.verdict

    async def _decide(
        self, connection: Any, find: Find, judge: Callable[[Scene], Judgement]
    ) -> None:
        day = await connection.fetchrow("SELECT business_date, generation FROM switch.business_day")
        for _ in range(JUDGE_TRIES):
            places = await locate(connection, find, day["business_date"])
            originals = await load(connection, places, lock=True)
            counted = await lock_and_count(connection, find)
            self.judgement = judge(
                Scene(
                    business_date=day["business_date"],
                    generation=day["generation"],
                    originals=tuple(originals),
                    counted=counted,
                )
            )
            self.verdict = None
            if self.judgement.commit is None:
                return
            work = Work(self.judgement.commit, self.commit_id)
            group = group_of([work])
            said = await connection.fetchval(FLUSH, *group.args())
            (result,) = results_of([work], group, said)
            if isinstance(result, Exception):
                raise result
            assert not isinstance(result, Again), "its counters are locked"
            self.verdict = result
            if not self._judge_again(result):
                return
        raise StoreDownError(f"{JUDGE_TRIES} judgements in a row came too late")

    def _judge_again(self, verdict: Any) -> bool:
        """It lost against a commit that the scene did not show; the scene shows it now."""
        assert self.judgement is not None
        commit = self.judgement.commit
        if isinstance(verdict, Lost):  # its outcome, not its item's end: that no scene shows
            return commit is not None and commit.outcome is not None
        # a tombstone, and its original or another 0400 came meanwhile
        return (
            isinstance(verdict, Duplicate)
            and commit is not None
            and commit.request is not None
            and commit.request.type == TOMBSTONE
        )


async def _stands(connection: Any, commit: Commit, commit_id: int) -> bool:
    """Are the rows of this commit there? Only asked when its backend is gone."""
    request, outcome = commit.request, commit.outcome
    if commit.end is not None:
        found = await connection.fetchval(
            "SELECT commit_id FROM switch.queue_end WHERE item_id = $1", commit.end.item_id
        )
        return bool(found == commit_id)
    if request is not None:
        key = request.key
        found = await connection.fetchval(
            "SELECT request_id FROM switch.request_key WHERE merchant = $1 AND terminal = $2"
            " AND batch = $3 AND stan = $4 AND kind = $5",
            key.merchant,
            key.terminal,
            key.batch,
            key.stan,
            key.kind,
        )
        return bool(found == request.request_id)
    if outcome is not None:
        found = await connection.fetchval(
            "SELECT commit_id FROM switch.outcome WHERE request_id = $1 AND request_date = $2",
            outcome.request_id,
            outcome.request_date,
        )
        return bool(found == commit_id)
    for table in ("reversal_request", "late_answer", "case_fact"):
        if getattr(commit, "case" if table == "case_fact" else table) is not None:
            found = await connection.fetchval(
                f"SELECT true FROM switch.{table} WHERE commit_id = $1",  # noqa: S608 # constants
                commit_id,
            )
            return bool(found)
    if commit.reversal is not None:
        found = await connection.fetchval(
            "SELECT commit_id FROM switch.reversal WHERE original_request_id = $1 AND seq = $2",
            commit.reversal.original_request_id,
            commit.reversal.seq,
        )
        return bool(found == commit_id)
    if commit.queue is not None:
        found = await connection.fetchval(
            "SELECT true FROM switch.queue_item WHERE item_id = $1", commit.queue.item_id
        )
        return bool(found)
    if commit.attempt is not None:
        found = await connection.fetchval(
            "SELECT true FROM switch.attempt WHERE request_id = $1 AND attempt = $2",
            commit.attempt.request_id,
            commit.attempt.attempt,
        )
        return bool(found)
    return True  # nothing was to be written
