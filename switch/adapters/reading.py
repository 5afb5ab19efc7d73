"""The journal and the keys for people and scripts: lists that nothing decides on.

One connection, one read-only snapshot; rows come in a total order and by a cursor, so a list of any
length takes little memory. The shape of a transaction is `docs/interfaces.md`, "Journal".
"""

from __future__ import annotations

import datetime as dt
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import asyncpg
import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONNECT_TIMEOUT_S = 10.0
PREFETCH_ROWS = 500

# One row a transaction. A request's state is a reading of facts: its outcome, else whether it waits in
# the queue (a repeat), else it is in flight.
_TRANSACTIONS = """
SELECT r.request_id, r.request_date, coalesce(o.business_date, r.request_date) AS business_date,
       o.settlement_date, r.merchant, r.terminal, r.batch, r.stan, r.rrn, r.type, r.mti,
       r.processing_code, r.amount_minor, o.approved_amount_minor, o.effect_minor, r.currency,
       coalesce(answering.acquirer, r.acquirer) AS acquirer,
       r.attempt, r.link_stan, r.transmission_time, r.de32, r.de33, r.route_rule,
       r.acquirer AS first_acquirer,
       o.attempt AS answered_attempt, o.acquirer_rrn, o.acquirer_response_code, o.auth_code,
       o.state, o.response_code, o.rule, o.decided_at, r.received_at, r.local_time,
       r.entry_mode, r.pan_masked, r.decision, r.original_request_id,
       original.merchant AS original_merchant, original.terminal AS original_terminal,
       original.batch AS original_batch, original.stan AS original_stan,
       original.kind AS original_kind,
       EXISTS (SELECT FROM switch.queue_open q
               WHERE q.request_id = r.request_id AND q.kind = 'repeat') AS pending,
       later.attempts AS later_attempts,
       undo.seq AS reversal_seq, undo.origin AS reversal_origin, undo.reason AS reversal_reason,
       undo.queued_at AS reversal_queued_at, undo.item_id AS reversal_item_id,
       undo.tries AS reversal_tries, undo.final_code AS reversal_final_code,
       undo.ended_at AS reversal_ended_at
FROM switch.request r
LEFT JOIN switch.outcome o USING (request_id, request_date)
LEFT JOIN switch.request_key original ON original.request_id = r.original_request_id
LEFT JOIN switch.attempt answering
       ON answering.request_id = r.request_id AND answering.attempt = o.attempt
LEFT JOIN LATERAL (
    SELECT json_agg(json_build_object(
               'attempt', a.attempt, 'acquirer', a.acquirer, 'link_stan', a.link_stan,
               'transmission_time', a.transmission_time, 'de32', a.de32, 'de33', a.de33,
               'route_rule', a.route_rule) ORDER BY a.attempt) AS attempts
    FROM switch.attempt a WHERE a.request_id = r.request_id
) later ON true
LEFT JOIN LATERAL (
    SELECT v.seq, v.origin, v.reason, v.queued_at, i.item_id, e.response_code AS final_code,
           e.ended_at, (SELECT count(*) FROM switch.queue_sent s WHERE s.item_id = i.item_id) AS tries
    FROM switch.reversal v
    LEFT JOIN switch.queue_item i
           ON i.request_id = v.original_request_id AND i.kind = 'reversal' AND i.seq = v.seq
    LEFT JOIN switch.queue_end e ON e.item_id = i.item_id
    WHERE v.original_request_id = r.request_id
    ORDER BY v.seq DESC LIMIT 1
) undo ON true
WHERE r.type <> 'tombstone'
"""

_LATE_ANSWERS = """
SELECT attempt, response_code, auth_code, amount_minor, reason, received_at
FROM switch.late_answer WHERE request_id = $1 ORDER BY received_at, commit_id
"""

_REVERSAL_REQUESTS = """
SELECT reason, response_code, rule, received_at
FROM switch.reversal_request WHERE original_request_id = $1 ORDER BY received_at, commit_id
"""

_STORED_KEYS = """
SELECT owner, usage, version, check_value, lmk_id, created_at
FROM switch.stored_key ORDER BY owner, usage, version
"""


class Filter(msgspec.Struct, frozen=True):
    """Which transactions; what is None does not narrow."""

    business_date: dt.date | None = None
    merchant: str | None = None
    terminal: str | None = None
    rrn: str | None = None
    request_id: int | None = None
    limit: int | None = None


class Reader:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str) -> AsyncIterator[Self]:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield cls(connection)
        finally:
            await connection.close()

    async def transactions(self, wanted: Filter) -> AsyncIterator[dict[str, Any]]:
        """Each transaction as the object of `journal list --json`, oldest first."""
        conditions, values = [], []
        for name, column in (
            ("business_date", "coalesce(o.business_date, r.request_date)"),
            ("merchant", "r.merchant"),
            ("terminal", "r.terminal"),
            ("rrn", "r.rrn"),
            ("request_id", "r.request_id"),
        ):
            value = getattr(wanted, name)
            if value is not None:
                values.append(value)
                conditions.append(f" AND {column} = ${len(values)}")
        query = f"{_TRANSACTIONS}{''.join(conditions)} ORDER BY r.request_date, r.request_id"
        if wanted.limit is not None:
            values.append(wanted.limit)
            query += f" LIMIT ${len(values)}"
        async for row in self._connection.cursor(query, *values, prefetch=PREFETCH_ROWS):
            yield transaction(row)

    async def explain(self, request_id: int) -> dict[str, Any]:
        """What else is known of one transaction."""
        fetch = self._connection.fetch
        return {
            "late_answers": [dict(row) for row in await fetch(_LATE_ANSWERS, request_id)],
            "reversal_requests": [dict(row) for row in await fetch(_REVERSAL_REQUESTS, request_id)],
        }

    async def stored_keys(self) -> list[dict[str, Any]]:
        return [dict(row) for row in await self._connection.fetch(_STORED_KEYS)]


def transaction(row: Any) -> dict[str, Any]:
    """A record of `_TRANSACTIONS` as its object."""
    state = row["state"] or ("pending" if row["pending"] else "in_flight")
    return {
        "request_id": row["request_id"],
        "business_date": row["business_date"],
        "settlement_date": row["settlement_date"],
        "merchant": row["merchant"],
        "terminal": row["terminal"],
        "batch": f"{row['batch']:06d}",
        "stan": f"{row['stan']:06d}",
        "rrn": row["rrn"],
        "type": row["type"],
        "mti": row["mti"],
        "processing_code": row["processing_code"],
        "amount_minor": row["amount_minor"],
        "approved_amount_minor": row["approved_amount_minor"],
        "effect_minor": row["effect_minor"],
        "currency": row["currency"],
        "acquirer": row["acquirer"],
        "attempts": attempts(row),
        "state": state,
        "response_code": row["response_code"],
        "rule": row["rule"],
        "auth_code": row["auth_code"],
        "reversal": reversal(row),
        "original": original(row),
        "pan_masked": row["pan_masked"],
        "entry_mode": row["entry_mode"],
        "times": {
            "received": row["received_at"],
            "decided": row["decided_at"],
            "local": row["local_time"],
        },
        "decision": _json(row["decision"]),
    }


def attempts(row: Any) -> list[dict[str, Any]]:
    found = []
    if row["attempt"] is not None:
        first = {"attempt": row["attempt"], "acquirer": row["first_acquirer"]}
        names = ("link_stan", "transmission_time", "de32", "de33", "route_rule")
        found.append({**first, **{name: row[name] for name in names}})
    found += _json(row["later_attempts"]) or []
    for each in found:
        answered = each["attempt"] == row["answered_attempt"]
        each["acquirer_rrn"] = (row["acquirer_rrn"] or row["rrn"]) if answered else None
        each["response_code"] = row["acquirer_response_code"] if answered else None
    return found


def reversal(row: Any) -> dict[str, Any] | None:
    """The newest reversal: `decided` (nothing to send), `queued`, `sent`, or `answered`."""
    if row["reversal_seq"] is None:
        return None
    if row["reversal_final_code"] is not None:
        state = "answered"
    elif row["reversal_item_id"] is None:
        state = "decided"
    else:
        state = "sent" if row["reversal_tries"] else "queued"
    return {
        "state": state,
        "seq": row["reversal_seq"],
        "origin": row["reversal_origin"],
        "reason": row["reversal_reason"],
        "tries": row["reversal_tries"],
        "response_code": row["reversal_final_code"],
        "queued": row["reversal_queued_at"],
        "ended": row["reversal_ended_at"],
    }


def original(row: Any) -> dict[str, Any] | None:
    if row["original_request_id"] is None:
        return None
    known = row["original_stan"] is not None
    return {
        "request_id": row["original_request_id"],
        "merchant": row["original_merchant"],
        "terminal": row["original_terminal"],
        "batch": f"{row['original_batch']:06d}" if known else None,
        "stan": f"{row['original_stan']:06d}" if known else None,
        "kind": row["original_kind"],
    }


def _json(text: str | None) -> Any:
    return msgspec.json.decode(text) if text else None
