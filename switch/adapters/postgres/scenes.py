"""What a judge sees: originals with everything that later facts say of them, read under lock."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from switch.adapters.postgres.numbers import attempts_later
from switch.adapters.postgres.rows import attempts_of, outcome_of, request_of, reversal_of
from switch.journal import FindById, FindByKey, FindCounted, FollowUp, Original, OutcomeState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switch.journal import Find, FindByReference

ORIGINALS_MAX = 32  # more than so many are ambiguous anyway
DATE_SLACK = dt.timedelta(days=3)  # between a request's local date and its business date

# State of a batch r.(merchant, terminal, batch), from its facts.
BATCH_STATE = """CASE
    WHEN EXISTS (SELECT FROM switch.batch_closed AS b WHERE (b.merchant, b.terminal, b.batch)
                 = (r.merchant, r.terminal, r.batch)) THEN 'closed'
    WHEN EXISTS (SELECT FROM switch.batch_settled AS b WHERE (b.merchant, b.terminal, b.batch)
                 = (r.merchant, r.terminal, r.batch)) THEN 'uploading'
    WHEN EXISTS (SELECT FROM switch.batch_frozen AS b WHERE (b.merchant, b.terminal, b.batch)
                 = (r.merchant, r.terminal, r.batch)) THEN 'frozen'
    ELSE 'open' END"""

# Everything below names the date as a parameter of its own: a join on it would open every partition.
_REQUESTS = f"""
    SELECT r.*, {BATCH_STATE} AS batch_state,
           EXISTS (SELECT FROM switch.owner AS w WHERE w.owner_id = r.owner_id
                   AND w.closed_at IS NULL AND w.taken_by IS NULL
                   AND w.lease_until > clock_timestamp()) AS owned,
           EXISTS (SELECT FROM switch.queue_item AS q
                   WHERE q.request_id = r.request_id AND q.kind = 'repeat') AS waiting,
           EXISTS (SELECT FROM switch.queue_open AS q
                   WHERE q.request_id = r.request_id AND q.kind = 'repeat') AS undelivered,
           (SELECT v.response_code FROM switch.reversal_request AS v
            WHERE (v.merchant, v.terminal, v.batch, v.stan, v.kind)
                = (r.merchant, r.terminal, r.batch, r.stan, r.kind)
            ORDER BY v.received_at DESC, v.commit_id DESC LIMIT 1) AS told
    FROM switch.request AS r WHERE r.request_id = ANY ($1) AND r.request_date = $2
"""  # noqa: S608 # constants

_OUTCOMES = """
    SELECT o.* FROM switch.outcome AS o WHERE o.request_id = ANY ($1) AND o.request_date = $2
"""

_REVERSALS = """
    SELECT v.*, i.item_id, e.response_code,
           ARRAY(SELECT l.response_code FROM switch.late_answer AS l
                 WHERE l.request_id = v.original_request_id AND l.reason = 'late'
                 ORDER BY l.commit_id) AS late_codes
    FROM switch.reversal AS v
    LEFT JOIN switch.queue_item AS i
      ON (i.request_id, i.kind, i.seq) = (v.original_request_id, 'reversal', v.seq)
    LEFT JOIN switch.queue_end AS e USING (item_id)
    WHERE v.original_request_id = ANY ($1)
    ORDER BY v.original_request_id, v.seq
"""

_FOLLOWED = """
    SELECT request_id, request_date FROM switch.follow_up WHERE original_request_id = ANY ($1)
"""

_FOLLOW_UPS = """
    SELECT r.original_request_id, r.request_id, r.type, r.amount_minor, o.state,
           EXISTS (SELECT FROM switch.reversal AS v
                   WHERE v.original_request_id = r.request_id) AS reversed,
           CASE WHEN EXISTS (SELECT FROM switch.reversal AS v
                             WHERE v.original_request_id = r.request_id AND v.capture <> '')
                THEN 0 ELSE coalesce(o.effect_minor, 0) END AS captured_minor,
           NOT EXISTS (SELECT FROM switch.queue_open AS q
                       WHERE q.request_id = r.request_id AND q.kind = 'reversal') AS final
    FROM switch.request AS r
    LEFT JOIN switch.outcome AS o ON o.request_id = r.request_id AND o.request_date = $2
    WHERE r.request_id = ANY ($1) AND r.request_date = $2
"""

Place = tuple[int, dt.date]  # request id and its date


async def locate(connection: Any, find: Find, today: dt.date) -> list[Place]:
    """The requests that `find` names, newest first. Reads without lock: load again after it."""
    if isinstance(find, FindCounted):
        if find.of is None:
            return []
        rows = await _locate_by_reference(connection, find.of, today)
    elif isinstance(find, FindByKey):
        key = find.key
        rows = await connection.fetch(
            "SELECT request_id, request_date FROM switch.request_key WHERE merchant = $1"
            " AND terminal = $2 AND batch = $3 AND stan = $4 AND kind = $5",
            key.merchant,
            key.terminal,
            key.batch,
            key.stan,
            key.kind,
        )
    elif isinstance(find, FindById):
        rows = await connection.fetch(
            "SELECT request_id, request_date FROM switch.request"
            " WHERE request_id = $1 AND ($2::date IS NULL OR request_date = $2)",
            find.request_id,
            find.request_date,
        )
    else:
        rows = await _locate_by_reference(connection, find, today)
    return [(row["request_id"], row["request_date"]) for row in rows]


async def _locate_by_reference(
    connection: Any, find: FindByReference, today: dt.date
) -> Sequence[Any]:
    """Elements that are None do not narrow; a date or an RRN also says which partitions to ask."""
    first, last = _dates(find, today)
    args: list[Any] = [find.merchant]
    where = ["r.merchant = $1", "r.type <> 'tombstone'"]

    def narrow(condition: str, value: Any) -> None:
        if value is not None:
            args.append(value)
            where.append(condition.format(f"${len(args)}"))

    narrow("r.stan = {}", find.stan)
    narrow("r.batch = {}", find.batch)
    narrow("r.terminal = {}", find.terminal)
    narrow("r.pan_token = {}", find.pan_token)
    narrow("r.rrn = {}", find.rrn)
    narrow("left(r.local_time, 4) = {}", find.month_day)
    narrow("r.type = ANY ({}::text[])", list(find.types) or None)
    narrow("r.request_date >= {}::date", first)
    narrow("r.request_date <= {}::date", last)
    narrow(
        "EXISTS (SELECT FROM switch.outcome AS o WHERE (o.request_id, o.request_date)"
        " = (r.request_id, r.request_date) AND o.auth_code = {})",
        find.auth_code,
    )
    found: Sequence[Any] = await connection.fetch(
        "SELECT r.request_id, r.request_date FROM switch.request AS r WHERE "  # noqa: S608
        + " AND ".join(where)
        + f" ORDER BY r.request_date DESC, r.request_id DESC LIMIT {ORIGINALS_MAX}",
        *args,
    )
    return found


def _dates(find: FindByReference, today: dt.date) -> tuple[dt.date | None, dt.date | None]:
    """The business dates where it can be, from the RRN's day or the newest year of the MMDD."""
    local = None
    if find.month_day is not None:
        for year in range(today.year + 1, today.year - 8, -1):  # 0229 may be years ago
            try:
                local = dt.date(year, int(find.month_day[:2]), int(find.month_day[2:]))
            except ValueError:
                continue
            if local <= today + DATE_SLACK:
                break
    if local is None:
        return None, None
    return local - DATE_SLACK, local + DATE_SLACK


async def load(connection: Any, places: Sequence[Place]) -> list[Original]:
    """The originals at these places, in this order; what is not there is left out."""
    if not places:
        return []
    ids = [request_id for request_id, _ in places]
    requests: dict[int, Any] = {}
    outcomes: dict[int, Any] = {}
    for date, on_date in _by_date(places):
        for row in await connection.fetch(_REQUESTS, on_date, date):
            requests[row["request_id"]] = row
        for row in await connection.fetch(_OUTCOMES, on_date, date):
            outcomes[row["request_id"]] = row
    reversals: dict[int, list[Any]] = {}
    for row in await connection.fetch(_REVERSALS, ids):
        reversals.setdefault(row["original_request_id"], []).append(row)
    follow_ups: dict[int, list[FollowUp]] = {}
    followed = [tuple(row) for row in await connection.fetch(_FOLLOWED, ids)]
    for date, on_date in _by_date(followed):
        for row in await connection.fetch(_FOLLOW_UPS, on_date, date):
            follow_ups.setdefault(row["original_request_id"], []).append(_follow_up(row))
    later = await attempts_later(connection, ids)
    states = {
        row["business_date"]: row["state"]
        for row in await connection.fetch("SELECT business_date, state FROM switch.business_date")
    }
    return [
        _original(
            requests[request_id],
            outcomes.get(request_id),
            reversals.get(request_id, []),
            tuple(sorted(follow_ups.get(request_id, []), key=lambda each: each.request_id)),
            later.get(request_id, []),
            states,
        )
        for request_id in ids
        if request_id in requests
    ]


def _by_date(places: Sequence[Place]) -> list[tuple[dt.date, list[int]]]:
    found: dict[dt.date, list[int]] = {}
    for request_id, date in places:
        found.setdefault(date, []).append(request_id)
    return sorted(found.items())


def _follow_up(row: Any) -> FollowUp:
    return FollowUp(
        request_id=row["request_id"],
        type=row["type"],
        amount_minor=row["amount_minor"],
        state=None if row["state"] is None else OutcomeState(row["state"]),
        reversed=row["reversed"],
        reversal_final=row["reversed"] and row["final"],
        captured_minor=row["captured_minor"],
    )


def _original(
    request: Any,
    outcome: Any,
    reversals: Sequence[Any],
    follow_ups: tuple[FollowUp, ...],
    later: Sequence[Any],
    states: dict[dt.date, str],
) -> Original:
    captured = 0
    if outcome is not None and not any(row["capture"] for row in reversals):
        captured = outcome["effect_minor"] or 0
    outcome_date = None if outcome is None else outcome["business_date"]
    return Original(
        request=request_of(request),
        request_date=request["request_date"],
        attempts=attempts_of(request, later),
        outcome=None if outcome is None else outcome_of(outcome),
        outcome_date=outcome_date,
        captured_minor=captured,
        reversals=tuple(reversal_of(row) for row in reversals),
        reversal_response=reversals[-1]["response_code"] if reversals else None,
        late_codes=tuple(reversals[-1]["late_codes"]) if reversals else (),
        follow_ups=follow_ups,
        date_state=states[outcome_date or request["request_date"]],
        batch_state=request["batch_state"],
        in_flight=outcome is None and not request["waiting"] and request["owned"],
        pending=outcome is None and request["waiting"],
        undelivered=outcome is not None and request["undelivered"],
        told=request["told"],
    )
