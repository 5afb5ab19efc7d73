"""The durable record in PostgreSQL: `journal.Journal` and `store_ports.Queue`.

Commits go through the group-commit writer, decisions through `decisions.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from switch.adapters.postgres.decisions import Decisions
from switch.adapters.postgres.numbers import LEASE_S
from switch.adapters.postgres.scenes import load
from switch.adapters.repeats import stored_outcome
from switch.journal import (
    AttemptRow,
    Commit,
    Duplicate,
    EndRow,
    Lost,
    QueueRow,
    Scene,
    Stale,
    StoredOutcome,
    Verdict,
)
from switch.store_ports import HOLDS_MAX_S, Lease, QueueItem

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from switch.adapters.postgres.sessions import Sessions
    from switch.adapters.postgres.writer import Writer
    from switch.journal import Find, Judgement, Key, Original
    from switch.ports import Clock

_NESTED = ("attempts", "reversals", "original")  # of journal_v1: JSON


# DE 7 and 11 are never given again to an acquirer within a year; the newest is meant.
_FIND_ATTEMPT = """
    SELECT request_id, attempt, acquirer, link_stan, transmission_time, de32, de33, route_rule,
           request_date
    FROM switch.request WHERE (acquirer, link_stan, transmission_time) = ($1, $2, $3)
    UNION ALL
    SELECT request_id, attempt, acquirer, link_stan, transmission_time, de32, de33, route_rule,
           request_date
    FROM switch.attempt WHERE (acquirer, link_stan, transmission_time) = ($1, $2, $3)
    ORDER BY request_date DESC, request_id DESC LIMIT 1
"""
_FIND_QUEUED = """
    SELECT request_id FROM switch.queue_item
    WHERE (acquirer, link_stan, transmission_time) = ($1, $2, $3)
    ORDER BY item_id DESC LIMIT 1
"""


class PostgresJournal:
    def __init__(self, sessions: Sessions, writer: Writer) -> None:
        self._sessions = sessions
        self._writer = writer
        self._decisions = Decisions(sessions, writer)

    async def commit(self, commit: Commit) -> Verdict:
        verdict: Verdict = await self._writer.commit(commit)
        return verdict

    def submit(self, commit: Commit, told: Callable[[Verdict | Exception], None]) -> None:
        self._writer.submit(commit, told)

    async def find_request(self, key: Key) -> Duplicate | None:
        rows = await self._sessions.rows(
            "SELECT request_id, request_date, content, tombstone FROM switch.request_key"
            " WHERE merchant = $1 AND terminal = $2 AND batch = $3 AND stan = $4 AND kind = $5",
            key.merchant,
            key.terminal,
            key.batch,
            key.stan,
            key.kind,
        )
        return Duplicate(**dict(rows[0])) if rows else None

    async def stored_outcome(self, request_id: int, request_date: dt.date) -> StoredOutcome | None:
        async def read(connection: Any) -> list[Original]:
            return await load(connection, [(request_id, request_date)])

        found = await self._sessions.transaction(read)
        return stored_outcome(found[0]) if found else None

    async def find_attempt(
        self, acquirer: str, link_stan: str, transmission_time: str
    ) -> tuple[AttemptRow, dt.date] | None:
        rows = await self._sessions.rows(_FIND_ATTEMPT, acquirer, link_stan, transmission_time)
        if not rows:
            return None
        return AttemptRow(**dict(rows[0])), rows[0]["request_date"]

    async def find_queued(
        self, acquirer: str, link_stan: str, transmission_time: str
    ) -> int | None:
        rows = await self._sessions.rows(_FIND_QUEUED, acquirer, link_stan, transmission_time)
        return rows[0]["request_id"] if rows else None

    async def list_transactions(self, business_date: dt.date) -> list[dict[str, Any]]:
        """The transactions of a date as `switch.journal_v1` shows them, in order of receipt."""
        rows = await self._sessions.rows(
            "SELECT * FROM switch.journal_v1 WHERE business_date = $1"
            " ORDER BY received_at, request_id",
            business_date,
        )
        return [
            {
                name: msgspec.json.decode(value) if name in _NESTED and value else value
                for name, value in row.items()
            }
            for row in rows
        ]

    async def decide(
        self, find: Find, judge: Callable[[Scene], Judgement]
    ) -> tuple[Judgement, Verdict | None]:
        return await self._decisions.decide(find, judge)


class PostgresQueue:
    def __init__(
        self,
        leases: Sessions,
        sessions: Sessions,
        writer: Writer,
        clock: Clock,
        lease_s: float = LEASE_S,
    ) -> None:
        self._leases = leases
        self._sessions = sessions
        self._writer = writer
        self._clock = clock
        self._lease_s = lease_s

    async def lease(self, acquirer: str, owner_id: int) -> Lease | None:
        asked_s = self._clock.monotonic_ns() / 1e9
        epoch = await self._leases.value(
            """
            INSERT INTO switch.acquirer_lease AS l (acquirer, owner_id, epoch, lease_until)
            VALUES ($1, $2, 1, clock_timestamp() + $3::float8 * interval '1 second')
            ON CONFLICT (acquirer) DO UPDATE
            SET owner_id = $2, lease_until = excluded.lease_until,
                epoch = l.epoch + (l.owner_id <> $2 OR l.lease_until <= clock_timestamp())::int
            WHERE l.owner_id = $2 OR l.lease_until <= clock_timestamp()
               OR l.lease_until > clock_timestamp() + $4::float8 * interval '1 second'
            RETURNING epoch
            """,
            acquirer,
            owner_id,
            self._lease_s,
            HOLDS_MAX_S,
        )
        return None if epoch is None else Lease(epoch=epoch, until_s=asked_s + self._lease_s)

    async def due(self, acquirer: str, limit: int, exclude: Sequence[int]) -> list[QueueItem]:
        # asked a few times a second; mostly nothing waits, and one statement says so
        waits = "SELECT EXISTS (SELECT FROM switch.queue_open WHERE acquirer = $1)"
        if not await self._sessions.value(waits, acquirer):
            return []

        async def read(connection: Any) -> list[QueueItem]:
            rows = await connection.fetch(
                """
                SELECT i.*, v.reason,
                       extract(epoch FROM clock_timestamp() - i.created_at)::float8 AS age_s,
                       (SELECT count(*) FROM switch.queue_sent AS s WHERE s.item_id = i.item_id)
                           AS tries
                FROM (
                    SELECT q.item_id, q.position FROM switch.queue_open AS q
                    WHERE q.acquirer = $1
                      AND (q.not_before <= clock_timestamp()
                           OR q.not_before > clock_timestamp() + $4::float8 * interval '1 second')
                      AND q.item_id <> ALL ($3::bigint[])
                      AND NOT EXISTS (SELECT FROM switch.queue_open AS earlier
                                      WHERE earlier.root_request_id = q.root_request_id
                                        AND earlier.position < q.position)
                    ORDER BY q.position LIMIT $2) AS due
                JOIN switch.queue_item AS i USING (item_id)
                LEFT JOIN switch.reversal AS v
                  ON i.kind = 'reversal' AND (v.original_request_id, v.seq) = (i.request_id, i.seq)
                ORDER BY due.position
                """,
                acquirer,
                limit,
                list(exclude),
                HOLDS_MAX_S,
            )
            originals = {
                each.request.request_id: each
                for each in await load(
                    connection,
                    sorted({(row["request_id"], row["request_date"]) for row in rows}),
                )
            }
            return [_queue_item(row, originals[row["request_id"]]) for row in rows]

        return await self._sessions.transaction(read)

    async def sent(self, item_id: int, attempt: int) -> None:
        await self._writer.commit(Commit(), sent=(item_id, attempt))

    async def finish(
        self, item: QueueItem, response_code: str, commit: Commit | None
    ) -> Verdict | None:
        end = EndRow(item.row.item_id, response_code)
        verdict: Verdict = await self._writer.commit(
            msgspec.structs.replace(commit or Commit(), end=end)
        )
        return verdict if commit is not None or isinstance(verdict, Lost | Stale) else None

    async def open_items(self, acquirer: str) -> int:
        count: int = await self._sessions.value(
            "SELECT count(*) FROM switch.queue_open WHERE acquirer = $1", acquirer
        )
        return count


def _queue_item(row: Any, original: Original) -> QueueItem:
    return QueueItem(
        row=QueueRow(
            item_id=row["item_id"],
            acquirer=row["acquirer"],
            kind=row["kind"],
            request_id=row["request_id"],
            request_date=row["request_date"],
            root_request_id=row["root_request_id"],
            seq=row["seq"],
            link_stan=row["link_stan"],
            transmission_time=row["transmission_time"],
            delay_s=row["delay_s"],
        ),
        original=original,
        reason=row["reason"] or "",
        tries=row["tries"],
        age_s=row["age_s"],
    )
