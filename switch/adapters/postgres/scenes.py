"""What a judge sees: originals with everything that later facts say of them, read under lock."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from switch.adapters.postgres.rows import (
    attempt_of,
    attempts_of,
    outcome_of,
    request_of,
    reversal_of,
)
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

_ORIGINALS = "SELECT * FROM switch.originals($1, $2, $3)"

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
        if find.request_date is not None:
            return [(find.request_id, find.request_date)]  # if it is there at all
        rows = await connection.fetch(
            "SELECT request_id, request_date FROM switch.request WHERE request_id = $1",
            find.request_id,
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


async def load(connection: Any, places: Sequence[Place], *, lock: bool = False) -> list[Original]:
    """The originals at these places, in this order; what is not there is left out.

    With `lock` nobody else decides on them until the transaction ends, and the states of their dates
    stay as they are.
    """
    if not places:
        return []
    ids = [request_id for request_id, _ in places]
    dates = [date for _, date in places]
    return [_original(row) for row in await connection.fetch(_ORIGINALS, ids, dates, lock)]


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


def _original(row: Any) -> Original:
    request, outcome = row["request"], row["outcome"]
    reversals = [each["row"] for each in row["reversals"]]
    last = row["reversals"][-1] if reversals else None
    captured = 0
    if outcome is not None and not any(each["capture"] for each in reversals):
        captured = outcome["effect_minor"] or 0
    return Original(
        request=request_of(request),
        request_date=request["request_date"],
        attempts=attempts_of(request, [attempt_of(each) for each in row["attempts"]]),
        outcome=None if outcome is None else outcome_of(outcome),
        outcome_date=None if outcome is None else outcome["business_date"],
        captured_minor=captured,
        reversals=tuple(reversal_of(each) for each in reversals),
        reversal_response=None if last is None else last["response_code"],
        late_codes=() if last is None else tuple(last["late_codes"]),
        follow_ups=tuple(_follow_up(each) for each in row["follow_ups"] or ()),
        date_state=row["date_state"],
        batch_state=row["batch_state"],
        in_flight=outcome is None and not row["waiting"] and row["owned"],
        pending=outcome is None and row["waiting"],
        undelivered=outcome is not None and row["undelivered"],
        told=row["told"],
    )
