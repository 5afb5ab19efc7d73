"""Life of a batch and of a terminal's keys in PostgreSQL: `store_ports.Batches` (rules §9, §10)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from switch.adapters.batch_sums import (
    CapturedItem,
    compare,
    counted,
    new_items,
    pack,
    result_of,
    totals_of,
    unpack,
)
from switch.adapters.postgres.numbers import wait_for_holders
from switch.adapters.postgres.scenes import BATCH_STATE
from switch.store_ports import SESSIONS_LOOKED_AT, Batch, BatchItem, Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from switch.adapters.batch_sums import Totals
    from switch.adapters.postgres.sessions import Sessions

BATCH_NUMBER_MAX = 999_999

# Writers of one terminal's batches and sessions, one after the other.
_LOCK = "SELECT pg_advisory_xact_lock(8587, hashtext($1 || '/' || $2))"

_KEYS = """
    SELECT s.*, r.confirmed FROM (
        SELECT n.session_id, c.session_id IS NOT NULL AS confirmed,
               row_number() OVER (ORDER BY n.session_id DESC) AS age
        FROM (SELECT session_id FROM switch.session
              WHERE merchant = $1 AND terminal = $2 ORDER BY session_id DESC LIMIT $3) AS n
        LEFT JOIN switch.session_confirmed AS c USING (session_id)
    ) AS r JOIN switch.session AS s USING (session_id)
    ORDER BY r.age = 1 DESC, r.confirmed DESC, r.age LIMIT 2
"""

_BATCHES = f"""
    SELECT r.batch, r.position, {BATCH_STATE} AS state, s.said, s.ours, s.result
    FROM switch.batch AS r LEFT JOIN switch.batch_settled AS s USING (merchant, terminal, batch)
    WHERE r.merchant = $1 AND r.terminal = $2
"""  # noqa: S608 # constants

_NEWEST = f"{_BATCHES} ORDER BY r.position DESC LIMIT 1"

_ONE = f"{_BATCHES} AND r.batch = $3"

# A batch has few dates; each is named as a parameter, a join on it would open every partition.
_DATES = """
    SELECT DISTINCT request_date FROM switch.request_key
    WHERE merchant = $1 AND terminal = $2 AND batch = $3 ORDER BY request_date
"""

_CAPTURED = """
    SELECT r.request_id, r.stan, r.type, o.effect_minor, r.foreign_card, r.amount_minor
    FROM switch.request_key AS k
    JOIN switch.request AS r ON r.request_id = k.request_id AND r.request_date = $4
    JOIN switch.outcome AS o ON o.request_id = k.request_id AND o.request_date = $4
    WHERE k.merchant = $1 AND k.terminal = $2 AND k.batch = $3 AND k.request_date = $4
      AND o.effect_minor IS NOT NULL
      AND NOT EXISTS (SELECT FROM switch.reversal AS v
                      WHERE v.original_request_id = r.request_id AND v.capture <> '')
    ORDER BY r.request_id
"""

_UNDECIDED = """
    SELECT count(*) FROM switch.request_key AS k
    JOIN switch.request AS r ON r.request_id = k.request_id AND r.request_date = $4
    LEFT JOIN switch.outcome AS o ON o.request_id = k.request_id AND o.request_date = $4
    WHERE k.merchant = $1 AND k.terminal = $2 AND k.batch = $3 AND k.request_date = $4
      AND o.request_id IS NULL AND r.type <> 'tombstone'
      AND NOT EXISTS (SELECT FROM switch.queue_item AS q
                      WHERE q.request_id = k.request_id AND q.kind = 'repeat')
"""

_UPLOADED = """
    SELECT stan, amount_minor, pan_token, foreign_card FROM switch.batch_upload
    WHERE merchant = $1 AND terminal = $2 AND batch = $3 AND NOT after_close ORDER BY stan
"""


class PostgresBatches:
    def __init__(self, sessions: Sessions, next_commit_id: Callable[[], int]) -> None:
        self._sessions = sessions
        self._next_commit_id = next_commit_id

    # -- keys -----------------------------------------------------------------------------------

    async def sign_on(self, session: Session) -> int:
        who = (session.merchant, session.terminal)

        async def write(connection: Any) -> int:
            await connection.execute(_LOCK, *who)
            await connection.execute(
                "INSERT INTO switch.session"
                " (session_id, merchant, terminal, layout, pik, mak, tdk, created_at, lmk_id) VALUES"
                " (coalesce(nullif($8::bigint, 0), nextval('switch.session_id')),"
                " $1, $2, $3, $4, $5, $6, $7, $9) ON CONFLICT DO NOTHING",
                *who,
                session.layout,
                session.pik,
                session.mak,
                session.tdk,
                session.created_at,
                session.session_id,
                session.lmk_id,
            )
            newest = await connection.fetchrow(_NEWEST, *who)
            if newest is not None and newest["state"] != "closed":
                return int(newest["batch"])
            number = 1 if newest is None else newest["batch"] % BATCH_NUMBER_MAX + 1
            await connection.execute(
                "INSERT INTO switch.batch (merchant, terminal, batch, position)"
                " VALUES ($1, $2, $3, $4)",
                *who,
                number,
                1 if newest is None else newest["position"] + 1,
            )
            return int(number)

        return await self._sessions.transaction(write)

    async def sessions(self, merchant: str, terminal: str) -> list[Session]:
        return await _keys(self._sessions.rows, merchant, terminal)

    async def standing(self, merchant: str, terminal: str) -> tuple[list[Session], Batch | None]:
        async def read(connection: Any) -> tuple[list[Session], Batch | None]:
            sessions = await _keys(connection.fetch, merchant, terminal)
            return sessions, await _current(connection.fetch, merchant, terminal)

        return await self._sessions.reading(read)

    async def confirm_session(self, session_id: int) -> None:
        await self._sessions.execute(
            "INSERT INTO switch.session_confirmed (session_id) VALUES ($1) ON CONFLICT DO NOTHING",
            session_id,
        )

    async def note_source(self, merchant: str, terminal: str, batch: int, address: str) -> None:
        await self._sessions.execute(
            "INSERT INTO switch.source (merchant, terminal, batch, address)"
            " VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            merchant,
            terminal,
            batch,
            address,
        )

    async def source_known(self, merchant: str, terminal: str, batch: int, address: str) -> bool:
        rows = await self._sessions.rows(
            "SELECT FROM switch.source"
            " WHERE (merchant, terminal, batch, address) = ($1, $2, $3, $4)",
            merchant,
            terminal,
            batch,
            address,
        )
        return bool(rows)

    # -- batches --------------------------------------------------------------------------------

    async def current(self, merchant: str, terminal: str) -> Batch | None:
        return await self._sessions.reading(
            lambda connection: _current(connection.fetch, merchant, terminal)
        )

    async def get(self, merchant: str, terminal: str, batch: int) -> Batch | None:
        return await self._sessions.transaction(
            lambda connection: _read(connection, merchant, terminal, batch)
        )

    async def freeze(self, merchant: str, terminal: str, batch: int) -> int:
        """First the mark, then the wait for commits that have not seen it, then the count."""
        await self._sessions.execute(
            "INSERT INTO switch.batch_frozen (merchant, terminal, batch) VALUES ($1, $2, $3)"
            " ON CONFLICT DO NOTHING",
            merchant,
            terminal,
            batch,
        )
        await wait_for_holders(self._sessions)
        return await self._sessions.transaction(
            lambda connection: _undecided(connection, merchant, terminal, batch)
        )

    async def settle(
        self, merchant: str, terminal: str, batch: int, terminal_totals: Totals
    ) -> Batch:
        where = (merchant, terminal, batch)

        async def write(connection: Any) -> Batch:
            await connection.execute(_LOCK, merchant, terminal)
            if await _undecided(connection, *where):
                raise ValueError(f"batch {batch} has requests in flight")
            ours = totals_of(await _captured(connection.fetch, *where))
            result = result_of(terminal_totals, ours)
            await connection.execute(
                "INSERT INTO switch.batch_frozen (merchant, terminal, batch) VALUES ($1, $2, $3)"
                " ON CONFLICT DO NOTHING",
                *where,
            )
            first = await connection.fetchval(
                "INSERT INTO switch.batch_settled (merchant, terminal, batch, said, ours, result)"
                " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING true",
                *where,
                pack(terminal_totals),
                pack(ours),
                result,
            )
            if first and terminal_totals == ours:
                await _close(connection, where, "balanced")
            settled = await _read(connection, *where)
            assert settled is not None, where
            return settled

        return await self._sessions.transaction(write)

    async def upload(
        self, merchant: str, terminal: str, batch: int, items: Sequence[BatchItem]
    ) -> Batch | None:
        async def write(connection: Any) -> Batch | None:
            await connection.execute(_LOCK, merchant, terminal)
            found = await _read(connection, merchant, terminal, batch)
            if found is None:
                return None
            known = await connection.fetch(
                "SELECT stan FROM switch.batch_upload"
                " WHERE merchant = $1 AND terminal = $2 AND batch = $3",
                merchant,
                terminal,
                batch,
            )
            await connection.executemany(
                "INSERT INTO switch.batch_upload (merchant, terminal, batch, stan, amount_minor,"
                " pan_token, foreign_card, after_close) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
                " ON CONFLICT DO NOTHING",
                [
                    (
                        merchant,
                        terminal,
                        batch,
                        item.stan,
                        item.amount_minor,
                        item.pan_token,
                        item.foreign,
                        found.state == "closed",
                    )
                    for item in new_items(items, {row["stan"] for row in known})
                ],
            )
            return await _read(connection, merchant, terminal, batch)

        return await self._sessions.transaction(write)

    async def finish_upload(self, merchant: str, terminal: str, batch: int) -> Batch | None:
        where = (merchant, terminal, batch)

        async def write(connection: Any) -> Batch | None:
            await connection.execute(_LOCK, merchant, terminal)
            found = await _read(connection, *where)
            if found is None or found.state != "uploading":
                return found
            differences = compare(await _captured(connection.fetch, *where), found.uploaded)
            commit_id = self._next_commit_id()
            await connection.execute("SELECT switch.enter()")
            await connection.executemany(
                "INSERT INTO switch.case_fact (commit_id, seq, kind, request_id, merchant,"
                " terminal, detail, opened_at, business_date) SELECT $1, $2, $3, $4, $5, $6, $7,"
                " statement_timestamp(), business_date FROM switch.business_day",
                [
                    (
                        commit_id,
                        seq,
                        each.kind,
                        each.request_id,
                        merchant,
                        terminal,
                        json.dumps({"batch": batch} | json.loads(each.detail)),
                    )
                    for seq, each in enumerate(differences)
                ],
            )
            await _close(connection, where, "uploaded")
            return await _read(connection, *where)

        return await self._sessions.transaction(write)

    async def overdue_uploads(self, older_than_s: float) -> list[Batch]:
        async def read(connection: Any) -> list[Batch]:
            rows = await connection.fetch(
                "SELECT merchant, terminal, batch FROM switch.upload_open"
                " WHERE settled_at < clock_timestamp() - $1::float8 * interval '1 second'"
                " ORDER BY settled_at, merchant, terminal LIMIT 100",
                older_than_s,
            )
            found = [await _read(connection, *row) for row in rows]
            return [each for each in found if each is not None]

        return await self._sessions.transaction(read)


async def _keys(
    fetch: Callable[..., Awaitable[list[Any]]], merchant: str, terminal: str
) -> list[Session]:
    """The newest, then the former: one that its terminal has used goes before one never heard of."""
    rows = await fetch(_KEYS, merchant, terminal, SESSIONS_LOOKED_AT)
    return [Session(**dict(row)) for row in rows]


async def _current(
    fetch: Callable[..., Awaitable[list[Any]]], merchant: str, terminal: str
) -> Batch | None:
    """Asked when a terminal comes that is not remembered: three statements, no transaction, which
    would not make them see the same instant either."""
    rows = await fetch(_NEWEST, merchant, terminal)
    if not rows:
        return None
    captured = await _captured(fetch, merchant, terminal, rows[0]["batch"])
    return _batch(merchant, terminal, rows[0], captured)


async def _close(connection: Any, where: tuple[str, str, int], rule: str) -> None:
    await connection.execute(
        "INSERT INTO switch.batch_closed (merchant, terminal, batch, rule)"
        " VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        *where,
        rule,
    )


async def _captured(
    fetch: Callable[..., Awaitable[list[Any]]], merchant: str, terminal: str, batch: int
) -> list[CapturedItem]:
    return [
        CapturedItem(*row)
        for (date,) in await fetch(_DATES, merchant, terminal, batch)
        for row in await fetch(_CAPTURED, merchant, terminal, batch, date)
    ]


async def _undecided(connection: Any, merchant: str, terminal: str, batch: int) -> int:
    where = (merchant, terminal, batch)
    return sum(
        [
            await connection.fetchval(_UNDECIDED, *where, date)
            for (date,) in await connection.fetch(_DATES, *where)
        ]
    )


async def _read(connection: Any, merchant: str, terminal: str, batch: int) -> Batch | None:
    row = await connection.fetchrow(_ONE, merchant, terminal, batch)
    if row is None:
        return None
    uploaded = await connection.fetch(_UPLOADED, merchant, terminal, batch)
    captured = await _captured(connection.fetch, merchant, terminal, batch)
    return _batch(merchant, terminal, row, captured, uploaded)


def _batch(
    merchant: str,
    terminal: str,
    row: Any,
    captured: Sequence[CapturedItem],
    uploaded: Sequence[Any] = (),
) -> Batch:
    return Batch(
        merchant=merchant,
        terminal=terminal,
        batch=row["batch"],
        state=row["state"],
        items=counted(captured),
        terminal_totals=None if row["said"] is None else unpack(row["said"]),
        totals=None if row["ours"] is None else unpack(row["ours"]),
        result=row["result"] or "",
        uploaded=tuple(BatchItem(*each) for each in uploaded),
    )
