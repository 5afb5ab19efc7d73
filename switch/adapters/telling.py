"""`switch.explain.Facts` out of the journal: read on one connection, in one snapshot, never written."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from switch.adapters.reading import transaction
from switch.adapters.servers import Servers
from switch.explain.facts import (
    Attempt,
    Batch,
    Captured,
    Facts,
    LateAnswer,
    Linked,
    LinkKey,
    Queued,
    ReversalRequest,
    Session,
    SwitchCase,
    Unmatched,
)
from switch.transactions import TOMBSTONE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from switch.explain.facts import Wanted

FOUND_MAX = 50  # transactions that a key may name before the rest is left out
CHAIN_MAX = 100  # of one chain of originals, or of follow-ups

Struct = TypeVar("Struct", bound=msgspec.Struct)

# What is NULL does not narrow; the planner sees the values, so that dates prune to their partitions
# on both sides of the join.
_FIND = """
SELECT r.request_id
FROM switch.request AS r
LEFT JOIN switch.outcome AS o
  ON o.request_id = r.request_id AND o.request_date = r.request_date
 AND ($9::date IS NULL OR o.request_date >= $9) AND ($10::date IS NULL OR o.request_date <= $10)
WHERE r.type <> $11
  AND ($1::bigint[] IS NULL OR r.request_id = ANY ($1))
  AND ($2::text IS NULL OR r.rrn = $2 OR o.acquirer_rrn = $2)
  AND ($3::text IS NULL OR r.merchant = $3)
  AND ($4::text IS NULL OR r.terminal = $4)
  AND ($5::integer IS NULL OR r.batch = $5)
  AND ($6::integer IS NULL OR r.stan = $6)
  AND ($7::text IS NULL OR r.acquirer = $7 OR EXISTS (
        SELECT FROM switch.attempt AS a WHERE a.request_id = r.request_id AND a.acquirer = $7))
  AND ($8::text IS NULL OR o.auth_code = $8)
  AND ($9 IS NULL OR r.request_date >= $9) AND ($10 IS NULL OR r.request_date <= $10)
ORDER BY r.request_date, r.received_at, r.request_id
LIMIT $12
"""

# A number on a link is the request's own, a later attempt's, or that of a message in the queue. Asked for
# by itself: within the query above it would be looked for beside every request.
_ON_LINK = """
SELECT request_id FROM switch.request
WHERE ($1::text IS NULL OR link_stan = $1) AND ($2::text IS NULL OR transmission_time = $2)
  AND ($3::text IS NULL OR acquirer = $3)
UNION
SELECT request_id FROM switch.attempt
WHERE ($1 IS NULL OR link_stan = $1) AND ($2 IS NULL OR transmission_time = $2)
  AND ($3 IS NULL OR acquirer = $3)
UNION
SELECT request_id FROM switch.queue_item
WHERE ($1 IS NULL OR link_stan = $1) AND ($2 IS NULL OR transmission_time = $2)
  AND ($3 IS NULL OR acquirer = $3)
"""

_TRANSACTION = "SELECT * FROM switch.journal_v1 WHERE request_id = $1"

_MORE = """
SELECT card_sequence, octet_length(chip) AS chip_bytes, received_at, attempt, acquirer, link_stan,
       transmission_time, de32, de33, route_rule
FROM switch.request WHERE request_id = $1 AND request_date = $2
"""

_ATTEMPTS = """
SELECT attempt, acquirer, link_stan, transmission_time, de32, de33, route_rule, recorded_at
FROM switch.attempt WHERE request_id = $1 ORDER BY attempt
"""

_LINK_KEYS = """
SELECT DISTINCT ON (k.usage) $1::integer AS attempt, k.usage, k.version, k.check_value
FROM switch.stored_key AS k
WHERE k.owner = 'link:' || $2 AND k.active_at <= $3 AND (k.retired_at IS NULL OR k.retired_at > $3)
  AND (k.usage = 'ZPK' OR k.usage = 'ZAK' AND EXISTS (
        SELECT FROM (SELECT content FROM switch.reference_item
                     WHERE (kind, key) = ('link', $2) AND effective_from <= $3
                     ORDER BY version DESC LIMIT 1) AS link
        WHERE coalesce(link.content->>'mac_algorithm', '') <> 'off'))
ORDER BY k.usage, k.version DESC
"""

_LATE_ANSWERS = """
SELECT attempt, response_code, auth_code, amount_minor, reason, received_at
FROM switch.late_answer WHERE request_id = $1 ORDER BY received_at, commit_id
"""

_UNMATCHED = """
SELECT acquirer, reason, detail, mti, response_code, received_at,
       coalesce((SELECT string_agg(format('DE %s: %s -> %s', d->>'de', d->>'asked', d->>'answered'),
                                   '; ' ORDER BY (d->>'de')::integer)
                 FROM json_array_elements(differences::json) AS d), '') AS differences
FROM switch.unmatched_answer WHERE request_id = $1 ORDER BY received_at, answer_id LIMIT 100
"""

_REVERSAL_REQUESTS = """
SELECT reason, response_code, rule, received_at
FROM switch.reversal_request
WHERE original_request_id = $1 AND (merchant, terminal) = ($2, $3)
ORDER BY received_at, commit_id
"""

_QUEUE = """
SELECT i.kind, i.seq, i.acquirer, i.link_stan, i.transmission_time, i.created_at,
       (SELECT coalesce(array_agg(s.sent_at ORDER BY s.attempt), '{}')
        FROM switch.queue_sent AS s WHERE s.item_id = i.item_id) AS sends,
       e.response_code, e.ended_at
FROM switch.queue_item AS i LEFT JOIN switch.queue_end AS e USING (item_id)
WHERE i.request_id = $1 ORDER BY i.created_at, i.item_id
"""

_SESSION = "SELECT session_id, created_at FROM switch.session WHERE session_id = $1"

_LINKED = """
SELECT request_id, business_date, type, state, merchant, terminal, batch, stan, rrn, amount_minor,
       currency, response_code, received_at
FROM switch.transaction_v1 WHERE request_id = ANY ($1::bigint[]) ORDER BY received_at, request_id
"""

_CAPTURES = """
SELECT capture_id, business_date, settlement_date, effect_minor, currency
FROM switch.capture_v1 WHERE request_id = $1 ORDER BY capture_id
"""

_BATCH = """
SELECT (SELECT frozen_at FROM switch.batch_frozen
        WHERE (merchant, terminal, batch) = ($1, $2, $3)) AS frozen_at,
       s.settled_at, s.result,
       (SELECT max(uploaded_at) FROM switch.batch_upload
        WHERE (merchant, terminal, batch, stan) = ($1, $2, $3, $4)) AS uploaded_at,
       c.closed_at, c.rule
FROM (SELECT 1) AS one
LEFT JOIN switch.batch_settled AS s ON (s.merchant, s.terminal, s.batch) = ($1, $2, $3)
LEFT JOIN switch.batch_closed AS c ON (c.merchant, c.terminal, c.batch) = ($1, $2, $3)
"""

_CASES = """
SELECT case_id, kind, opened_at FROM switch.case_v1 WHERE request_id = $1 ORDER BY opened_at, case_id
"""


class Teller:
    """`connection` is for who reads other schemas in the same snapshot."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def find(self, wanted: Wanted) -> list[int]:
        """The requests, in order of receipt; one more than FOUND_MAX where there are more."""
        ids = wanted.request_ids
        if wanted.link_stan is not None or wanted.transmission_time is not None:
            number = (wanted.link_stan, wanted.transmission_time, wanted.acquirer)
            rows = await self.connection.fetch(_ON_LINK, *number)
            on_link = {row["request_id"] for row in rows}
            ids = tuple(sorted(on_link if ids is None else on_link.intersection(ids)))
        rows = await self.connection.fetch(
            _FIND,
            ids,
            wanted.rrn,
            wanted.merchant,
            wanted.terminal,
            wanted.batch,
            wanted.stan,
            wanted.acquirer,
            wanted.auth_code,
            wanted.first,
            wanted.last,
            TOMBSTONE,
            FOUND_MAX + 1,
        )
        return [row["request_id"] for row in rows]

    async def case(self, case_id: str) -> list[int]:
        """The request of a case that the switch found."""
        rows = await self.connection.fetch(
            "SELECT request_id FROM switch.case_v1 WHERE case_id = $1 AND request_id IS NOT NULL",
            case_id,
        )
        return [row["request_id"] for row in rows]

    async def linked(self, request_ids: list[int]) -> list[Linked]:
        return await self._read(Linked, _LINKED, request_ids)

    async def facts(self, request_id: int) -> Facts | None:
        """All but the books and the log."""
        row = await self.connection.fetchrow(_TRANSACTION, request_id)
        if row is None:
            return None
        told = transaction(row)
        more = await self.connection.fetchrow(_MORE, request_id, row["business_date"])
        place = (row["merchant"], row["terminal"], row["batch"], row["stan"])
        attempts = await self._attempts(request_id, more)
        return Facts(
            transaction=told,
            card_sequence=more["card_sequence"],
            chip_bytes=more["chip_bytes"],
            attempts=attempts,
            link_keys=tuple(
                [
                    key
                    for each in attempts
                    for key in await self._read(
                        LinkKey, _LINK_KEYS, each.attempt, each.acquirer, each.recorded_at
                    )
                ]
            ),
            late_answers=tuple(await self._read(LateAnswer, _LATE_ANSWERS, request_id)),
            unmatched=tuple(await self._read(Unmatched, _UNMATCHED, request_id)),
            reversal_requests=tuple(
                await self._read(ReversalRequest, _REVERSAL_REQUESTS, request_id, *place[:2])
            ),
            queue=tuple(
                msgspec.structs.replace(one, sends=tuple(one.sends))
                for one in await self._read(Queued, _QUEUE, request_id)
            ),
            session=next(iter(await self._read(Session, _SESSION, row["session_id"])), None),
            originals=await self._originals(request_id),
            follow_ups=await self._follow_ups(request_id),
            captures=tuple(await self._read(Captured, _CAPTURES, request_id)),
            batch=(await self._read(Batch, _BATCH, *place))[0],
            cases=tuple(await self._read(SwitchCase, _CASES, request_id)),
        )

    async def _read(self, shape: type[Struct], query: str, *values: object) -> list[Struct]:
        return [shape(**row) for row in await self.connection.fetch(query, *values)]

    async def _attempts(self, request_id: int, more: Any) -> tuple[Attempt, ...]:
        later = await self._read(Attempt, _ATTEMPTS, request_id)
        if more["attempt"] is None:
            return tuple(later)
        names = [name for name in Attempt.__struct_fields__ if name != "recorded_at"]
        first = Attempt(**{name: more[name] for name in names}, recorded_at=more["received_at"])
        return (first, *later)

    async def _originals(self, request_id: int) -> tuple[Linked, ...]:
        rows = await self.connection.fetch(
            "WITH RECURSIVE up AS (SELECT $1::bigint AS request_id, 0 AS depth UNION ALL "
            "SELECT r.original_request_id, up.depth + 1 FROM up JOIN switch.request AS r "
            "ON r.request_id = up.request_id "
            "WHERE r.original_request_id IS NOT NULL AND up.depth < $2) "
            "SELECT request_id FROM up WHERE depth > 0",
            request_id,
            CHAIN_MAX,
        )
        return tuple(await self.linked([row["request_id"] for row in rows]))

    async def _follow_ups(self, request_id: int) -> tuple[Linked, ...]:
        rows = await self.connection.fetch(
            "WITH RECURSIVE down AS (SELECT $1::bigint AS request_id, 0 AS depth UNION "
            "SELECT f.request_id, down.depth + 1 FROM down JOIN switch.follow_up AS f "
            "ON f.original_request_id = down.request_id WHERE down.depth < $2) "
            "SELECT DISTINCT request_id FROM down WHERE depth > 0 ORDER BY 1 LIMIT $2",
            request_id,
            CHAIN_MAX,
        )
        return tuple(await self.linked([row["request_id"] for row in rows]))


@asynccontextmanager
async def telling(dsn: str) -> AsyncIterator[Teller]:
    connection = await Servers(dsn).connect()
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
            yield Teller(connection)
    finally:
        await connection.close()
