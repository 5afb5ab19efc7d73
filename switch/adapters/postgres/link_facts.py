"""What happened on links, in PostgreSQL: `store_ports.LinkFacts` (schema/0016)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from switch.acquirers.unmatched import Difference, Nearest, UnmatchedAnswer
from switch.store_ports import UnmatchedRow, UnmatchedWanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switch.adapters.postgres.sessions import Sessions

# One array of JSON: a group has few rows, and their columns are many.
_KEEP = """
    INSERT INTO switch.unmatched_answer
        (owner_id, seq, received_at, acquirer, slot, reason, detail, mti, stan, transmission_time, rrn,
         response_code, elements, request_id, attempt, nearest, differences, dropped)
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS r
        (owner_id bigint, seq bigint, received_at timestamptz, acquirer text, slot integer, reason text,
         detail text, mti text, stan text, transmission_time text, rrn text, response_code text,
         elements text, request_id bigint, attempt smallint, nearest text, differences text,
         dropped bigint)
    ON CONFLICT (owner_id, seq) DO NOTHING
"""
_READ = """
    SELECT * FROM switch.unmatched_answer
    WHERE ($1 = '' OR acquirer = $1) AND ($2 = '' OR reason = $2)
      AND ($3::bigint IS NULL OR request_id = $3)
      AND ($4::timestamptz IS NULL OR received_at >= $4)
    ORDER BY received_at DESC, answer_id DESC LIMIT $5
"""
_SAME = ("acquirer", "slot", "reason", "detail", "mti", "stan", "transmission_time", "rrn")
_SAME_TOO = ("response_code", "dropped")


class PostgresLinkFacts:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def keep_unmatched(self, rows: Sequence[UnmatchedRow]) -> None:
        text = msgspec.json.encode([_columns(row) for row in rows]).decode()
        await self._sessions.execute(_KEEP, text)

    async def unmatched(self, wanted: UnmatchedWanted, limit: int) -> list[UnmatchedRow]:
        rows = await self._sessions.rows(
            _READ, wanted.acquirer, wanted.reason, wanted.request_id, wanted.since, limit
        )
        return [unmatched_row(row) for row in rows]


def _columns(row: UnmatchedRow) -> dict[str, Any]:
    answer = row.answer
    nearest = answer.nearest
    columns = {name: getattr(answer, name) for name in (*_SAME, *_SAME_TOO)}
    return columns | {
        "owner_id": row.owner_id,
        "seq": row.seq,
        "received_at": row.received_at,
        "elements": msgspec.json.encode(answer.elements).decode(),
        "differences": msgspec.json.encode(answer.differences).decode(),
        "request_id": None if nearest is None else nearest.request_id,
        "attempt": None if nearest is None else nearest.attempt,
        "nearest": None if nearest is None else nearest.state,
    }


def unmatched_row(row: Any) -> UnmatchedRow:
    nearest = None
    if row["request_id"] is not None:
        nearest = Nearest(row["request_id"], row["attempt"], row["nearest"])
    answer = UnmatchedAnswer(
        **{name: row[name] for name in (*_SAME, *_SAME_TOO)},
        elements=msgspec.json.decode(row["elements"], type=dict[str, str]),
        nearest=nearest,
        differences=msgspec.json.decode(row["differences"], type=tuple[Difference, ...]),
    )
    return UnmatchedRow(row["owner_id"], row["seq"], row["received_at"], answer)
