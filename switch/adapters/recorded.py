"""Recorded traffic out of PostgreSQL, for `tongbao journal export`: by cursors, in one snapshot.

Cards are numbered by the server, in the order of their tokens, so that neither a token nor a list of
cards is held here; see `switch.replay.cards`.
"""

from __future__ import annotations

import datetime as dt
import heapq
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from switch.adapters.servers import Servers
from switch.replay import export
from switch.replay.cards import Ranges
from switch.replay.journal_file import Day, Reference
from switch.transactions import TOMBSTONE, TYPES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from switch.replay.journal_file import Event

PREFETCH_ROWS: Final = 200

# The span's requests; then what those name, up to the first of a chain, and what was made of these
# before the span. What is NULL does not narrow.
_CHOSEN: Final = f"""
RECURSIVE inside AS (
    SELECT request_id, original_request_id FROM switch.request
    WHERE request_date BETWEEN $1::date AND $2::date AND type <> '{TOMBSTONE}'
      AND ($3::text IS NULL OR merchant = $3) AND ($4::text IS NULL OR terminal = $4)
), up AS (
    SELECT original_request_id AS request_id FROM inside WHERE original_request_id IS NOT NULL
    UNION
    SELECT original_request_id FROM switch.reversal_request
    WHERE business_date BETWEEN $1 AND $2 AND original_request_id IS NOT NULL
      AND ($3 IS NULL OR merchant = $3) AND ($4 IS NULL OR terminal = $4)
    UNION
    SELECT r.original_request_id FROM up JOIN switch.request AS r ON r.request_id = up.request_id
    WHERE r.original_request_id IS NOT NULL
), chain AS (
    SELECT request_id FROM up
    UNION
    SELECT f.request_id FROM up JOIN switch.follow_up AS f ON f.original_request_id = up.request_id
), each AS (
    SELECT r.request_id, r.request_date, r.received_at, true AS early
    FROM chain JOIN switch.request AS r USING (request_id)
    WHERE r.request_date < $1 AND r.type <> '{TOMBSTONE}'
    UNION ALL
    SELECT r.request_id, r.request_date, r.received_at, false
    FROM inside JOIN switch.request AS r USING (request_id)
    WHERE r.request_date BETWEEN $1 AND $2
), chosen AS MATERIALIZED (
    SELECT request_id, request_date, early,
           row_number() OVER (ORDER BY early DESC, received_at, request_id) AS number
    FROM each
)
"""  # noqa: S608 - constants of ours

# Each card with its place among those of its mask's head and length, and the longest route it met.
_CARDS: Final = """
, seen AS (
    SELECT r.pan_token, max(r.pan_masked) AS pan_masked,
           max(substring(nullif(r.decision, '')::json ->> 'route' FROM '^([0-9]{1,18})@')) AS met
    FROM chosen AS c JOIN switch.request AS r USING (request_id, request_date)
    WHERE r.pan_token IS NOT NULL GROUP BY r.pan_token
), card AS MATERIALIZED (
    SELECT pan_token, pan_masked, coalesce(met, '') AS met,
           row_number() OVER (PARTITION BY left(pan_masked, 6), length(pan_masked)
                              ORDER BY pan_token) AS place
    FROM seen
)
"""

_REQUESTS: Final = f"""
WITH {_CHOSEN} {_CARDS}
SELECT c.number, c.early, r.*, card.met, card.place, original.number AS original,
       (EXISTS (SELECT FROM switch.follow_up AS f WHERE f.original_request_id = r.request_id)
        OR EXISTS (SELECT FROM switch.reversal_request AS v
                   WHERE (v.merchant, v.terminal, v.batch, v.stan, v.kind)
                       = (r.merchant, r.terminal, r.batch, r.stan, r.kind))) AS named,
       (SELECT to_jsonb(o) - 'answer' FROM switch.outcome AS o
        WHERE o.request_id = r.request_id AND o.request_date = r.request_date) AS outcome,
       (SELECT o.answer FROM switch.outcome AS o
        WHERE o.request_id = r.request_id AND o.request_date = r.request_date) AS answer,
       (SELECT jsonb_agg(jsonb_build_object('attempt', a.attempt, 'acquirer', a.acquirer,
                                            'at', a.recorded_at) ORDER BY a.attempt)
        FROM switch.attempt AS a WHERE a.request_id = r.request_id) AS later,
       (SELECT jsonb_agg(to_jsonb(l) ORDER BY l.received_at, l.commit_id)
        FROM switch.late_answer AS l WHERE l.request_id = r.request_id) AS late_answers,
       (SELECT jsonb_agg(jsonb_build_object('kind', i.kind, 'seq', i.seq, 'acquirer', i.acquirer,
                   'sends', (SELECT coalesce(jsonb_agg(s.sent_at ORDER BY s.attempt), '[]')
                             FROM switch.queue_sent AS s WHERE s.item_id = i.item_id),
                   'response_code', e.response_code, 'ended_at', e.ended_at)
                   ORDER BY i.kind, i.seq)
        FROM switch.queue_item AS i LEFT JOIN switch.queue_end AS e USING (item_id)
        WHERE i.request_id = r.request_id) AS deliveries
FROM chosen AS c JOIN switch.request AS r USING (request_id, request_date)
LEFT JOIN card USING (pan_token)
LEFT JOIN chosen AS original ON original.request_id = r.original_request_id
ORDER BY c.number
"""  # noqa: S608 - constants of ours

_NAMED: Final = f"""
WITH {_CHOSEN} {_CARDS}
SELECT encode(pan_token, 'hex') AS token, pan_masked, met, place FROM card
WHERE encode(pan_token, 'hex') = ANY ($5::text[]) ORDER BY 1
"""  # noqa: S608 - constants of ours

_REVERSALS: Final = f"""
WITH {_CHOSEN}
SELECT v.*, c.number AS original, r.processing_code, r.type
FROM switch.reversal_request AS v
LEFT JOIN chosen AS c ON c.request_id = v.original_request_id
LEFT JOIN switch.request AS r ON r.request_id = c.request_id AND r.request_date = c.request_date
WHERE v.business_date BETWEEN $1 AND $2
  AND ($3::text IS NULL OR v.merchant = $3) AND ($4::text IS NULL OR v.terminal = $4)
ORDER BY v.received_at, v.commit_id
"""  # noqa: S608 - constants of ours

_SETTLEMENTS: Final = """
SELECT merchant, terminal, batch, said, result, settled_at FROM switch.batch_settled
WHERE settled_at >= $1 AND settled_at < $2
  AND ($3::text IS NULL OR merchant = $3) AND ($4::text IS NULL OR terminal = $4)
ORDER BY settled_at, merchant, terminal, batch
"""

_DATES: Final = """
SELECT business_date, opened_at, cut_at FROM switch.business_date
WHERE business_date BETWEEN $1 AND $2 ORDER BY business_date
"""

_REFERENCE: Final = """
SELECT kind, key, version, content, greatest(effective_from, created_at) AS at
FROM switch.reference_item WHERE kind = ANY ($1::text[]) AND effective_from < $2
ORDER BY greatest(effective_from, created_at), array_position($1, kind), key, version
"""

_ROUTES: Final = "SELECT DISTINCT key FROM switch.reference_item WHERE kind = 'route' ORDER BY key"

_SPAN: Final = f"""
WITH {_CHOSEN}
SELECT count(*) AS requests, count(*) FILTER (WHERE early) AS early FROM chosen
"""  # noqa: S608 - constants of ours

_FIRST: Final = """
SELECT coalesce((SELECT min(received_at) FROM switch.request WHERE request_date = $1),
                (SELECT opened_at FROM switch.business_date WHERE business_date = $1)) AS at
"""


class Span(msgspec.Struct, frozen=True):
    """What is exported: business dates, both counted; None does not narrow."""

    first: dt.date
    last: dt.date
    merchant: str | None = None
    terminal: str | None = None


class Recorded:
    def __init__(self, connection: Any, span: Span) -> None:
        self._connection = connection
        self._span = span
        self.requests = self.early = self.lines_written = 0
        self.times: export.Times

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str, span: Span) -> AsyncIterator[Self]:
        connection = await Servers(dsn).connect()
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                recorded = cls(connection, span)
                await recorded._measure()
                yield recorded
        finally:
            await connection.close()

    async def _measure(self) -> None:
        """How many requests, and when the file begins: so much before the span as what goes before
        it takes."""
        fetchrow = self._connection.fetchrow
        await self._connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        counted = await fetchrow(_SPAN, *msgspec.structs.astuple(self._span))
        self.requests, self.early = counted["requests"], counted["early"]
        first = (await fetchrow(_FIRST, self._span.first))["at"]
        if first is None:
            first = dt.datetime.combine(self._span.first, dt.time(), dt.UTC)
        before = dt.timedelta(seconds=(self.early + 2) * export.EARLY_S)
        self.times = export.Times((first - before).replace(microsecond=0))
        self._begins = self.times.of(first)  # what is in force by then is so from the beginning

    @property
    def business_date(self) -> dt.date:
        """When the file begins: the day before the span, where something goes before it."""
        return self._span.first - dt.timedelta(days=1 if self.early else 0)

    async def lines(self) -> AsyncIterator[Event]:
        """All lines between head and end, in order of time."""
        routes = await self._connection.fetch(_ROUTES)
        ranges = Ranges(row["key"] for row in routes)
        async for line in _merged(
            self._reference(ranges),
            self._days(),
            self._settlements(),
            self._reversals(),
            self._requests(ranges),
        ):
            yield line

    async def _rows(self, query: str, *values: object) -> AsyncIterator[Mapping[str, Any]]:
        async for row in self._connection.cursor(query, *values, prefetch=PREFETCH_ROWS):
            yield row

    async def _reference(self, ranges: Ranges) -> AsyncIterator[Event]:
        until = dt.datetime.combine(self._span.last, dt.time(), dt.UTC) + dt.timedelta(days=2)
        async for row in self._rows(_REFERENCE, list(export.KINDS), until):
            content = export.content_of(row["kind"], msgspec.json.decode(row["content"]))
            _, tokens = export.tokens_of(row["kind"], content)
            if tokens:
                numbers = await self._numbers(tokens, ranges)
                content = export.with_cards(row["kind"], content, numbers)
            yield Reference(
                at=at if (at := self.times.of(row["at"])) > self._begins else 0.0,
                of=row["kind"],
                key=row["key"],
                version=row["version"],
                content=content,
            )

    async def _numbers(self, tokens: list[str], ranges: Ranges) -> dict[str, str]:
        """The test numbers of those cards that come up."""
        span = msgspec.structs.astuple(self._span)
        rows = await self._connection.fetch(_NAMED, *span, tokens)
        return {
            row["token"]: ranges.number(
                row["pan_masked"][:6], row["met"], len(row["pan_masked"]), row["place"]
            )
            for row in rows
        }

    async def _days(self) -> AsyncIterator[Event]:
        async for row in self._rows(_DATES, self._span.first, self._span.last):
            if row["business_date"] != self.business_date:
                at = self.times.of(row["opened_at"])
                if row["business_date"] == self._span.first:
                    at = (self.early + 1) * export.EARLY_S
                yield Day(at=at, business_date=str(row["business_date"]))

    async def _settlements(self) -> AsyncIterator[Event]:
        dates = [row async for row in self._rows(_DATES, self._span.first, self._span.last)]
        if not dates:
            return
        until = dates[-1]["cut_at"] or dt.datetime.max.replace(tzinfo=dt.UTC)
        span = (dates[0]["opened_at"], until, self._span.merchant, self._span.terminal)
        async for row in self._rows(_SETTLEMENTS, *span):
            yield export.settlement_of(row, self.times)

    async def _reversals(self) -> AsyncIterator[Event]:
        async for row in self._rows(_REVERSALS, *msgspec.structs.astuple(self._span)):
            yield export.reversal_of(
                {**row, "usage": usage_of(row["type"], row["kind"])}, row["original"], self.times
            )

    async def _requests(self, ranges: Ranges) -> AsyncIterator[Event]:
        async for row in self._rows(_REQUESTS, *msgspec.structs.astuple(self._span)):
            at = (
                row["number"] * export.EARLY_S
                if row["early"]
                else self.times.of(row["received_at"])
            )
            yield export.request_of(
                _plain(row), at, row["number"], row["original"], self.times, ranges
            )


def usage_of(type_: str | None, kind: str) -> str:
    """DE 60.1 of a 0400: its original's, or of the first type of that kind that has one."""
    if type_ in TYPES:
        return TYPES[type_].usage
    return next(
        (row.usage for row in TYPES.values() if row.kind == kind and row.terminal_may_reverse), ""
    )


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its JSON read and its first attempt among the others."""
    plain = dict(row)
    for name in ("outcome", "later", "late_answers", "deliveries"):
        plain[name] = msgspec.json.decode(row[name]) if row[name] else None
    if plain["outcome"] is not None:
        plain["outcome"]["answer"] = row["answer"]
    first = []
    if row["attempt"] is not None:
        first = [{"attempt": row["attempt"], "acquirer": row["acquirer"], "at": row["received_at"]}]
    plain["attempts"] = [*first, *(plain["later"] or ())]
    plain["late_answers"] = plain["late_answers"] or []
    plain["deliveries"] = plain["deliveries"] or []
    plain["deliveries_repeat"] = any(each["kind"] == "repeat" for each in plain["deliveries"])
    return plain


async def _merged(*readings: AsyncIterator[Event]) -> AsyncIterator[Event]:
    """By time; of one instant, in the order of the readings."""
    heap: list[tuple[float, int, Event]] = []
    for place, reading in enumerate(readings):
        line = await anext(reading, None)
        if line is not None:
            heap.append((line.at, place, line))
    heapq.heapify(heap)
    while heap:
        _, place, line = heap[0]
        yield line
        following = await anext(readings[place], None)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following.at, place, following))
