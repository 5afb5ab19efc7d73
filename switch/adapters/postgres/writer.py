"""The group-commit writer: one task and one connection a process.

It takes whatever waits when the last flush has returned, who waited for it has gone on, and the loop
has read what came meanwhile. A group is first stored plainly: all of it, or
nothing (`switch.flush_plainly`); where that fails, `switch.flush` says what came of each. A group
without a clear answer is unknown: its connection is dropped, the backend awaited, and the same group
sent again with the same ids, until the store says what stands. Only a row that the server refuses for
its own fault is taken out, by halving the group.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
import structlog

from switch.adapters.postgres.connections import (
    Backend,
    Backoff,
    Warned,
    backend_of,
    wait_until_gone,
)
from switch.adapters.postgres.rows import FLUSH, FLUSH_PLAINLY, Group
from switch.adapters.postgres.sessions import RERUN_STATES, is_outage
from switch.journal import (
    Commit,
    Duplicate,
    Lost,
    OwnerTakenError,
    RowRefusedError,
    Stale,
    Stored,
    StoreDownError,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from switch.adapters.postgres.rows import Presumed
    from switch.adapters.servers import Connection
    from switch.journal import Counted

GROUP_MAX = 256  # commits in one flush; journal.group_max
WAITING_MAX = 65_536  # commits that wait for a flush; journal.queue_max
CLOSE_POLL_S = 0.001
WARY_FOR = 64  # flushes after one that was not plain: repeats and late answers come in bursts
DOWN_AFTER_S = 1.0  # without an answer to a flush for so long, new requests are refused
HUNG_AFTER_S = 3.0  # the same while a flush is not answered at all: a standby away, a server paused
AWAY = "the store is away, or has no room"
COMMIT_ID_BITS = 31  # lower half of a commit id: how many commits one writer numbers

# What a row may cause (SQLSTATE classes): data, constraints, our own raise, limits of size.
ROW_FAULTS = ("22", "23", "P0", "54")

log = structlog.get_logger()


class Again(NamedTuple):
    """The counters of a commit are not what it was judged on; nothing of it stands."""

    counted: tuple[Counted, ...]


class Work:
    """A commit on its way: what is stored, who is told what came of it."""

    __slots__ = ("commit", "commit_id", "presumed", "sent", "told")

    def __init__(
        self,
        commit: Commit,
        commit_id: int,
        told: Callable[[Any], None] | None = None,
        sent: tuple[int, int] | None = None,
        presumed: Presumed | None = None,
    ) -> None:
        self.commit = commit
        self.commit_id = commit_id
        self.told = told
        self.sent = sent  # item id, attempt
        self.presumed = presumed

    def settle(self, result: Any) -> None:
        """Say what came of it, once. What the caller then does may fail; the others of the group are
        told all the same."""
        told, self.told = self.told, None
        if told is None:
            return
        try:
            told(result)
        except Exception as error:  # noqa: BLE001 # whatever it is, it is that caller's alone
            log.error("journal_caller_failed", error=type(error).__name__)  # noqa: TRY400 # as below


def resolve(future: asyncio.Future[Any], result: Any) -> None:
    """Tell who waits; a caller that went away does not matter."""
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def group_of(works: Sequence[Work]) -> Group:
    group = Group()
    for n, work in enumerate(works):
        group.add(n, work.commit, work.commit_id)
        if work.sent is not None:
            group.sent(n, *work.sent)
        if work.presumed is not None:
            group.guard(n, work.presumed, work.commit.moves)
    return group


def results_of(works: Sequence[Work], group: Group, said: Any) -> list[Verdict | Again | Exception]:
    """What the row of `switch.flush` says of each commit."""
    stored = Stored(business_date=said["business_date"])
    results: list[Verdict | Again | Exception] = [stored] * len(works)
    for each in said["verdicts"] or ():
        presumed = works[each["n"]].presumed
        if each["verdict"] == "again":
            assert presumed is not None
            results[each["n"]] = Again(group.counted(said["counted"], presumed.find.counts))
        else:
            results[each["n"]] = _verdict(each)
    return results


def _verdict(record: Any) -> Verdict | Exception:
    match record["verdict"]:
        case "mine":
            return Stored(business_date=record["request_date"])
        case "duplicate":
            return Duplicate(
                request_id=record["request_id"],
                request_date=record["request_date"],
                content=record["content"],
                tombstone=record["tombstone"],
            )
        case "lost":
            return Lost(request_id=record["request_id"])
        case "taken":
            return OwnerTakenError("another process has taken over this one's requests")
        case verdict:
            assert verdict in ("stale", "frozen"), verdict
            return Stale(generation=record["generation"], batch_frozen=verdict == "frozen")


def is_row_fault(error: BaseException) -> bool:
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state.startswith(ROW_FAULTS)
    return isinstance(error, TypeError | ValueError | OverflowError)


class Writer:
    """Commits in, verdicts out. `open` before use, `close` when all that was asked is answered."""

    def __init__(
        self,
        connect: Callable[[], Any],
        *,
        group_max: int = GROUP_MAX,
        queue_max: int = WAITING_MAX,
    ) -> None:
        self._connect = connect
        self._group_max = group_max
        self._queue_max = queue_max
        self._connection: Connection | None = None
        self._statement: Any = None  # switch.flush
        self._plainly: Any = None  # switch.flush_plainly
        self._wary = 0  # so many flushes are not tried plainly
        self._backend: Backend | None = None
        self._warned: Warned | None = None
        self._waiting: deque[Work] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._time = asyncio.get_running_loop().time  # it is made in the loop that it serves in
        self._writer_id = 0
        self._count = 0
        self._down_since: float | None = None  # until a group is settled
        self._down_reason = ""
        self._asked_s = 0.0  # since when a group is asked about; 0: none is
        self.flushes = 0
        self.commits = 0
        self.reruns = 0

    async def open(self) -> None:
        await self._reconnect()
        assert self._connection is not None
        self._writer_id = await self._connection.fetchval("SELECT nextval('switch.writer_id')")
        self._task = asyncio.create_task(self._run(), name="journal writer")

    def when_failed(self, call: Callable[[], None]) -> None:
        """A bug of ours has ended the task, and this process stores nothing any more."""
        assert self._task is not None

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is not None:
                call()

        self._task.add_done_callback(ended)

    async def close(self) -> None:
        """Answer what waits, then end."""
        if self._task is not None:
            busy = True
            while busy and self._down_since is None and not self._task.done():
                await asyncio.sleep(CLOSE_POLL_S)
                busy = bool(self._waiting) or self._wake.is_set()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._connection is not None:
            await self._connection.close(timeout=5.0)

    @property
    def waiting(self) -> int:
        """Commits that no flush has taken yet."""
        return len(self._waiting)

    @property
    def down(self) -> bool:
        """The store does not answer, or not for long enough to say so."""
        return self._is_away()

    def next_commit_id(self) -> int:
        self._count += 1
        assert self._count < 1 << COMMIT_ID_BITS
        return (self._writer_id << COMMIT_ID_BITS) | self._count

    def commit(
        self,
        commit: Commit,
        sent: tuple[int, int] | None = None,
        presumed: Presumed | None = None,
    ) -> asyncio.Future[Any]:
        """`submit` for who waits. The future is the caller's to drop."""
        future = asyncio.get_running_loop().create_future()
        self.submit(commit, functools.partial(resolve, future), sent, presumed)
        return future

    def submit(
        self,
        commit: Commit,
        told: Callable[[Any], None],
        sent: tuple[int, int] | None = None,
        presumed: Presumed | None = None,
    ) -> None:
        """Put a commit into the next group. With `presumed` it may come to `Again`."""
        if self._task is None or self._task.done():
            raise StoreDownError("the journal is closed")
        if len(self._waiting) >= self._queue_max:
            raise StoreDownError(f"{self._queue_max} commits wait already")
        assert presumed is not None or not commit.moves, "counters move where they are locked"
        if commit.request is not None and self._is_away():
            raise StoreDownError(AWAY)
        self._waiting.append(Work(commit, self.next_commit_id(), told, sent, presumed))
        self._wake.set()

    def _is_away(self) -> bool:
        """Nothing was answered for a while: a new request, which nobody has sent, need not wait."""
        now_s = self._time()
        if self._down_since is None and self._asked_s and now_s - self._asked_s > HUNG_AFTER_S:
            self._away(self._asked_s, "no answer")
        return self._down_since is not None and now_s - self._down_since > DOWN_AFTER_S

    # -- the task -------------------------------------------------------------------------------

    async def _run(self) -> None:
        group: list[Work] = []
        try:
            while True:
                if self._waiting:
                    await asyncio.sleep(0)  # what has arrived while callers went on comes with it
                else:
                    self._wake.clear()
                    await self._wake.wait()
                if self._connection is None or self._connection.is_closed():
                    await self._reconnect_until_up()  # nothing of the next group was sent yet
                    if not self._waiting:  # all were refused meanwhile
                        self._up()
                        continue
                size = min(len(self._waiting), self._group_max)
                group = [self._waiting.popleft() for _ in range(size)]
                self._asked_s = self._time()
                await self._settle(group)
                group = []
                self._up()
        except asyncio.CancelledError:
            raise
        except BaseException:
            log.exception("journal_writer_failed")
            raise
        finally:
            for work in (*group, *self._waiting):
                work.settle(StoreDownError("the journal writer has ended"))

    async def _settle(self, works: list[Work]) -> None:
        """Find out what comes of each; halve the group around a bad row."""
        groups = [works]
        while groups:
            some = groups.pop()
            results = await self._flush(some)
            if results is None and len(some) > 1:
                middle = len(some) // 2
                groups += [some[middle:], some[:middle]]
                continue
            assert results is not None
            for work, result in zip(some, results, strict=True):
                work.settle(result)

    async def _flush(self, works: list[Work]) -> list[Verdict | Again | Exception] | None:
        """What comes of a group, however long it takes; None: a row in it is bad."""
        group = group_of(works)
        args = group.args()
        self.commits += len(works)
        stored = await self._flush_plainly(args)
        if stored is not None:
            return [stored] * len(works)
        failures = 0
        backoff = Backoff()
        while True:
            try:
                if self._connection is None:
                    await self._reconnect_for(works)
                self.flushes += 1
                said = await self._statement.fetchval(*args)
                if not self._warned:
                    return results_of(works, group, said)
                reason = "a warning during the commit"
            except Exception as error:  # noqa: BLE001 # whatever it is, the group must be settled
                state = getattr(error, "sqlstate", None)
                reason = f"{type(error).__name__} {state}"  # its text may show the row
                failures += 1
                if state in RERUN_STATES:
                    self.reruns += 1
                    continue
                if is_row_fault(error) or (failures > 3 and not is_outage(error)):
                    if len(works) > 1:
                        return None
                    constraint = getattr(error, "constraint_name", None) or ""
                    log.error(  # noqa: TRY400 # the traceback's text would show the row
                        "journal_row_refused", error=reason, constraint=constraint
                    )
                    return [RowRefusedError(f"{reason} {constraint}".strip())]
            self.reruns += 1
            self._drop(reason)
            self._refuse_waiting()
            if failures > 1:  # the server is there and can not: no room, no memory, cancelled
                await backoff.wait()

    async def _flush_plainly(self, args: tuple[Any, ...]) -> Stored | None:
        """Store all of a group, as nearly always; None: it may not have gone well, and `switch.flush`
        is to say what stands."""
        requests, owners, outcomes, besides, *_ = args
        if self._wary or besides or self._connection is None:
            self._wary = max(0, self._wary - 1)
            return None
        self.flushes += 1
        try:
            date = await self._plainly.fetchval(requests, owners, outcomes)
        except Exception:  # noqa: BLE001 # whatever it is, `switch.flush` meets it again and it is told
            self._wary = WARY_FOR
            return None
        return None if self._warned else Stored(business_date=date)

    # -- the connection -------------------------------------------------------------------------

    def _drop(self, reason: str) -> None:
        self._away(self._time(), reason)
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _away(self, since_s: float, reason: str) -> None:
        """Told once an outage, and again where it has another reason."""
        if reason and reason != self._down_reason:
            log.warning("journal_store_away", reason=reason)
            self._down_reason = reason
        if self._down_since is None:
            self._down_since = since_s

    def _up(self) -> None:
        """The store has answered."""
        self._asked_s = 0.0
        if self._down_since is not None:
            away_s = self._time() - self._down_since
            log.info("journal_store_back", away_s=round(away_s, 1), waiting=len(self._waiting))
            self._down_since, self._down_reason = None, ""

    async def _reconnect(self) -> None:
        connection = await self._connect()
        try:
            if self._backend is not None:
                await wait_until_gone(connection, self._backend)
            self._backend = await backend_of(connection)
            self._statement = await connection.prepare(FLUSH)
            self._plainly = await connection.prepare(FLUSH_PLAINLY)
        except BaseException:
            connection.terminate()
            raise
        self._warned = Warned(connection)
        self._connection = connection

    async def _reconnect_for(self, works: Sequence[Work]) -> None:
        """Connect again, however long it takes, and record that this group is asked about.

        The record is a write: where a standby must confirm, its commit confirms the group's too.
        """
        backoff = Backoff()
        while True:
            await self._reconnect_until_up()
            assert self._connection is not None
            try:
                await self._connection.execute(
                    "INSERT INTO switch.rerun (commit_id, commits, reason) VALUES ($1, $2, $3)",
                    works[0].commit_id,
                    len(works),
                    "reconnect",
                )
            except Exception as error:  # noqa: BLE001 # gone again: wait for it
                self._drop(type(error).__name__)
                await backoff.wait()
            else:
                if not self._warned:
                    return
                self._drop("a warning during the commit")

    async def _reconnect_until_up(self) -> None:
        backoff = Backoff()
        self._drop("closed" if self._connection is not None else "")
        while True:
            try:
                await self._reconnect()
            except Exception as error:  # noqa: BLE001 # the store is away: wait for it
                self._drop(type(error).__name__)
                self._refuse_waiting()
                await backoff.wait()
            else:
                return

    def _refuse_waiting(self) -> None:
        """New requests that were never sent need not wait for a store that is away."""
        if not self._is_away():
            return
        waiting, self._waiting = self._waiting, deque()
        for work in waiting:  # who is told may put another in
            if work.commit.request is None:
                self._waiting.append(work)
            else:
                work.settle(StoreDownError(AWAY))
