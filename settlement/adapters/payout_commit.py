"""The commit of an act of payouts and statements on PostgreSQL.

One act is one transaction. It begins by inserting its number, so a second act with the same number
waits for the first and then is stale as a whole. A commit without a clear answer is found out by
reading: the act runs again, and what it would do has been done, or has not.
"""

from typing import Any, Final

import asyncpg
import msgspec

from settlement.adapters.case_lock import lock_cases
from settlement.adapters.four_eyes_postgres import approve, audit
from settlement.adapters.ledger_postgres import hold_open, post_entries
from settlement.cases import Break, Resolution
from settlement.ledger import LedgerClosedError
from settlement.payouts.ports import (
    Batch,
    DateState,
    Decision,
    Facts,
    LineMatch,
    Order,
    OrderEvent,
    OrderStatus,
    PayoutFile,
    PayoutReport,
    ReserveCheck,
    RollingReserve,
    StaleError,
    Statement,
    StatementLine,
)

_TABLES: Final[tuple[tuple[str, str, type[msgspec.Struct]], ...]] = (
    ("payout_batch", "batches", Batch),
    ("payout_order", "orders", Order),
    ("payout_decision", "decisions", Decision),
    ("payout_event", "events", OrderEvent),
    ("rolling_reserve", "reserves", RollingReserve),
    ("payout_file", "files", PayoutFile),
    ("payout_report", "reports", PayoutReport),
    ("payout_status", "statuses", OrderStatus),
    ("statement", "statements", Statement),
    ("statement_line", "lines", StatementLine),
    ("line_match", "matches", LineMatch),
    ("date_state", "states", DateState),
    ("reserve_check", "checks", ReserveCheck),
    ("break_case", "breaks", Break),
    ("resolution", "resolutions", Resolution),
)


async def commit(pool: asyncpg.Pool, facts: Facts) -> None:
    """See `settlement.payouts.ports.Payouts.commit`."""
    try:
        async with pool.acquire() as connection, connection.transaction():
            await _number(connection, facts)
            await _refuse_adjusted(connection, facts)
            await _assert_open(connection, facts)
            await _add(connection, facts)
            await post_entries(connection, facts.entries)
            # nothing may come after these two: see `four_eyes_postgres`
            await audit(connection, facts.actor, facts.act, facts.subject, after=_told(facts))
            if facts.approval is not None:
                await approve(connection, facts.approval)
    except (LedgerClosedError, asyncpg.DeadlockDetectedError) as error:
        raise StaleError(f"{facts.act}: {error}") from error


async def _number(connection: Any, facts: Facts) -> None:
    """Take the act's number, or `StaleError`. Waits for another that is taking it."""
    taken = await connection.execute(
        "INSERT INTO settlement.payout_act VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        facts.generation + 1,
        facts.act,
        facts.at,
    )
    if taken.endswith(" 0"):
        raise StaleError(f"{facts.act} rests on {facts.generation}")


async def _refuse_adjusted(connection: Any, facts: Facts) -> None:
    """`StaleError` where people have moved the money of a case since the act judged its line."""
    if not facts.resolutions:
        return
    cases = sorted(one.break_id for one in facts.resolutions)
    await hold_open(connection)
    await lock_cases(connection, cases)
    if await connection.fetchval(
        "SELECT EXISTS (SELECT FROM settlement.case_event "
        "WHERE case_id = ANY ($1::text[]) AND difference_minor <> 0)",
        cases,
    ):
        raise StaleError(f"{facts.act}: people have worked on a case meanwhile")


async def _assert_open(connection: Any, facts: Facts) -> None:
    """Breaks and statements stand on a date whose books are open; when it is closed, its evidence lists
    the breaks, and its reserve check rests on the statements."""
    on = {one.business_date for one in facts.breaks}
    on |= {one.business_date for one in facts.statements}
    if not on:
        return
    ended = await hold_open(connection)
    if ended is not None and min(on) <= ended:
        raise StaleError(f"{facts.act}: the date that it stands on is closed")


def _told(facts: Facts) -> dict[str, object]:
    """What the audit log is told: how much of what; the facts themselves stand beside it."""
    told: dict[str, object] = {"generation": facts.generation + 1}
    for _, name, _ in _TABLES:
        if rows := getattr(facts, name):
            told[name] = len(rows)
    return told


async def _add(connection: Any, facts: Facts) -> None:
    if facts.statement_files:
        await connection.executemany(
            "INSERT INTO settlement.statement_file VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            [msgspec.structs.astuple(one) for one in facts.statement_files],
        )
    for table, name, shape in _TABLES:
        rows: list[msgspec.Struct] = list(getattr(facts, name))
        if rows:
            await connection.copy_records_to_table(
                table,
                schema_name="settlement",
                columns=list(shape.__struct_fields__),
                records=[_values(one, facts.generation + 1) for one in rows],
            )


def _values(one: msgspec.Struct, generation: int) -> tuple[Any, ...]:
    if isinstance(one, Decision | DateState):
        one = msgspec.structs.replace(one, generation=generation)
    values = msgspec.structs.astuple(one)
    if isinstance(one, Break):
        return tuple(_json(value) if isinstance(value, dict) else value for value in values)
    if isinstance(one, ReserveCheck):
        return tuple(_json(value) if isinstance(value, tuple) else value for value in values)
    return values


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
