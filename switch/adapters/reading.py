"""The journal and the keys for people and scripts: lists that nothing decides on.

One connection, one read-only snapshot; rows come in a total order and by a cursor, so a list of any
length takes little memory. A transaction is a row of the view `switch.journal_v1`; its shape is in
`docs/interfaces.md`.
"""

from __future__ import annotations

import datetime as dt
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import msgspec

from switch.adapters.servers import Servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

PREFETCH_ROWS = 500

_NESTED = frozenset(("attempts", "reversals", "original", "decision"))  # JSON in the store
_SIX_DIGITS = frozenset(("batch", "stan"))  # DE 60.2 and DE 11 as on the wire

# What is NULL does not narrow; the planner sees the values, so a date prunes to its partition.
_TRANSACTIONS = """
SELECT * FROM switch.journal_v1
WHERE ($1::date IS NULL OR business_date = $1)
  AND ($2::text IS NULL OR merchant = $2)
  AND ($3::text IS NULL OR terminal = $3)
  AND ($4::text IS NULL OR rrn = $4)
  AND ($5::bigint IS NULL OR request_id = $5)
ORDER BY business_date, received_at, request_id
LIMIT $6
"""

_LATE_ANSWERS = """
SELECT attempt, response_code, auth_code, amount_minor, reason, received_at
FROM switch.late_answer WHERE request_id = $1 ORDER BY received_at, commit_id
"""

_REVERSAL_REQUESTS = """
SELECT reason, response_code, rule, received_at
FROM switch.reversal_request WHERE original_request_id = $1 ORDER BY received_at, commit_id
"""

# What had an attempt, or would have had one; what follows an original goes where that went.
_ROUTED = """
SELECT request_id, rrn, merchant, terminal, batch, stan, mti, processing_code, type, amount_minor,
       currency, mcc, entry_mode, pan_masked, acquirer, route, route_rule
FROM switch.transaction_v1
WHERE original_request_id IS NULL AND type = ANY ($2) AND pan_masked <> ''
  AND (acquirer IS NOT NULL OR response_code = '91')
ORDER BY request_id DESC
LIMIT $1
"""

_STORED_KEYS = """
SELECT owner, usage, version, check_value, lmk_id, created_at, active_at, retired_at,
       CASE WHEN retired_at IS NOT NULL THEN 'retired' WHEN active_at IS NULL THEN 'pending'
            ELSE 'active' END AS status
FROM switch.stored_key ORDER BY owner, usage, version
"""


class Filter(msgspec.Struct, frozen=True):
    """Which transactions: what is None does not narrow. In the order of `_TRANSACTIONS`."""

    business_date: dt.date | None = None
    merchant: str | None = None
    terminal: str | None = None
    rrn: str | None = None
    request_id: int | None = None


class Reader:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str) -> AsyncIterator[Self]:
        connection = await Servers(dsn).connect()
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield cls(connection)
        finally:
            await connection.close()

    async def transactions(
        self, wanted: Filter, limit: int | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Each transaction as the object of `journal list --json`, in order of receipt."""
        values = (*msgspec.structs.astuple(wanted), limit)
        async for row in self._connection.cursor(_TRANSACTIONS, *values, prefetch=PREFETCH_ROWS):
            yield transaction(row)

    async def routed(self, types: Sequence[str], limit: int) -> list[dict[str, Any]]:
        """The last requests that were routed, the newest first."""
        return [dict(row) for row in await self._connection.fetch(_ROUTED, limit, list(types))]

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
    """A row of the view as its object."""
    shown = {name: readable(name, value) for name, value in row.items()}
    shown["reversals"] = shown["reversals"] or []
    if shown["original"]:
        shown["original"] = {n: readable(n, value) for n, value in shown["original"].items()}
    return shown


def readable(name: str, value: Any) -> Any:
    if name in _SIX_DIGITS and value is not None:
        return f"{value:06d}"
    return msgspec.json.decode(value) if name in _NESTED and value else value
