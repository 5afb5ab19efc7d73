"""Casework on PostgreSQL: `settlement.casework.ports.Casework` over asyncpg.

A commit that moves money shares the business date's lock of the day's end, so that no close resolves
or posts a case between what was judged and what is written; the lock ends with the transaction.
"""

# ruff: noqa: S608 - what is formatted into queries are column names of our own structs

import re
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Any, Final, TypeVar

import asyncpg
import msgspec

from settlement.adapters.case_lock import lock_cases
from settlement.adapters.four_eyes_postgres import approve, audit
from settlement.adapters.ledger_postgres import (
    ATTEMPTS,
    entry_of,
    hold_open,
    open_date,
    post_entries,
)
from settlement.adapters.payout_postgres import PostgresPayouts
from settlement.adapters.postgres import LOCK, POOL_MAX, PostgresStore, stored_break
from settlement.calendars import Calendar
from settlement.cases import Break, Resolution
from settlement.casework.ports import (
    TARIFF_KINDS,
    BusyError,
    ChangedError,
    DateMovedError,
    Owed,
    Wanted,
    Work,
)
from settlement.casework.states import CaseEvent, CaseFacts, case_of, in_order
from settlement.casework.switch_cases import SwitchCase, facts_of
from settlement.clearing import ClearingRecord, ClearingRow
from settlement.disputes.table import (
    ENDS,
    Dispute,
    DisputeEvent,
    DisputeFacts,
    Evidence,
    Placed,
)
from settlement.fees import Tariffs
from settlement.files.rows import Adjustment
from settlement.ledger import Entry, LedgerClosedError
from settlement.matches import Member
from settlement.overdue import owed_of

SWITCH_ID: Final = re.compile(r"\d{8}-W(?P<commit_id>\d{1,18})-(?P<seq>\d{1,9})")

Struct = TypeVar("Struct", bound=msgspec.Struct)


@asynccontextmanager
async def open_casework(dsn: str) -> AsyncIterator["PostgresCasework"]:
    """Casework on a pool of its own."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=POOL_MAX) as pool:
        yield PostgresCasework(pool)


class PostgresCasework:
    """`settlement.casework.ports.Casework`."""

    def __init__(self, pool: asyncpg.Pool, *, within_close: bool = False) -> None:
        self._pool = pool
        self._within_close = within_close  # which holds the date's lock itself
        self._books = PostgresStore(pool)

    async def earliest_unposted(self) -> date:
        return await open_date(self._pool)

    # -- cases

    async def case(self, case_id: str) -> CaseFacts | None:
        found = await self._cases(date.max, "f.id = $2", case_id)
        if not found and (named := SWITCH_ID.fullmatch(case_id)):
            found = await self._switch_cases(
                date.max,
                "(commit_id, seq, case_id) = ($2, $3, $4)",
                int(named["commit_id"]),
                int(named["seq"]),
                case_id,
            )
        return found[0] if found else None

    async def cases(self, wanted: Wanted) -> list[CaseFacts]:
        asked = (wanted.case_class, wanted.acquirer, wanted.ended)
        found = await self._cases(
            wanted.as_of,
            "($2 = '' OR f.break_class = $2) AND ($3 = '' OR f.acquirer = $3) "
            # what has certainly ended is not read; the rest is judged below. A close that resolved
            # a case ended it, unless it was adjusted before.
            "AND ($4 OR ((r.break_id IS NULL OR EXISTS (SELECT FROM settlement.case_event AS e "
            "WHERE e.case_id = f.id AND e.difference_minor <> 0 AND e.business_date <= $1)) "
            "AND (SELECT e.state = 'ended' AND (r.break_id IS NULL OR e.resolved) "
            "FROM settlement.case_event AS e WHERE e.case_id = f.id AND e.business_date <= $1 "
            "ORDER BY e.sequence DESC LIMIT 1) IS NOT TRUE))",
            *asked,
        )
        found += await self._switch_cases(
            wanted.as_of,
            "($2 = '' OR kind = $2) AND ($3 = '' OR acquirer = $3) "
            "AND ($4 OR NOT EXISTS (SELECT FROM settlement.case_event AS e "
            "WHERE e.case_id = c.case_id AND e.state = 'ended' AND e.business_date <= $1))",
            *asked,
        )
        found.sort(key=lambda facts: facts.found.id)
        return [facts for facts in found if wanted.ended or case_of(facts).state != "ended"]

    async def _switch_cases(self, as_of: date, where: str, *values: object) -> list[CaseFacts]:
        found = await self._read(
            SwitchCase,
            "switch.case_v1 AS c",
            f"business_date <= $1 AND {where} ORDER BY case_id",
            as_of,
            *values,
        )
        events = await self._events([one.case_id for one in found], as_of)
        return [facts_of(one, events.get(one.case_id, [])) for one in found]

    async def _events(self, case_ids: Sequence[str], as_of: date) -> dict[str, list[CaseEvent]]:
        events = await self._read(
            CaseEvent,
            "settlement.case_event",
            "case_id = ANY ($1::text[]) AND business_date <= $2 ORDER BY case_id, sequence",
            case_ids,
            as_of,
        )
        return _by(events, "case_id")

    async def _cases(self, as_of: date, where: str, *values: object) -> list[CaseFacts]:
        """As they stood when the business date `as_of` ($1) had ended."""
        rows = await self._pool.fetch(
            "WITH chosen AS MATERIALIZED (SELECT f.*, r.break_id, r.business_date AS resolved_on, "
            "r.reason, r.settlement_date AS resolved_settlement_date "
            "FROM settlement.case_found AS f "
            "LEFT JOIN settlement.resolution AS r ON r.break_id = f.id AND r.business_date <= $1 "
            f"WHERE f.business_date <= $1 AND {where}) "
            f"SELECT {_columns(Break, 'c')}, c.break_id, c.resolved_on, c.reason, "
            "c.resolved_settlement_date, c.opened OR d.state = 'posted' AS standing, "
            "coalesce((SELECT -p.amount FROM unnest(h.accounts, h.amounts) AS p (account, amount) "
            "WHERE p.account = 'merchant_held'), 0) AS hold_minor FROM chosen AS c "
            "LEFT JOIN settlement.entry AS h ON (h.source, h.key) = ('hold', c.id) "
            "LEFT JOIN switch.business_date AS d ON d.business_date = c.business_date ORDER BY c.id",
            as_of,
            *values,
        )
        events = await self._events([row["id"] for row in rows], as_of)
        return [
            CaseFacts(
                stored_break(row),
                hold_minor=row["hold_minor"],
                standing=bool(row["standing"]),
                resolution=_resolution(row),
                events=in_order(events.get(row["id"], ())),
            )
            for row in rows
        ]

    async def linked_entries(self, case_id: str) -> list[Entry]:
        rows = await self._pool.fetch(
            f"SELECT {_columns(Entry)}, hash FROM settlement.entry "
            "WHERE source = 'case' AND key >= $1 AND key < $2 ORDER BY key",
            f"{case_id}/",
            f"{case_id}0",  # 0 comes after /
        )
        return [entry_of(row) for row in rows]

    async def entry(self, source: str, key: str) -> Entry | None:
        return (await self._books.entries_by_key(source, [key])).get(key)

    async def owed(self, found: Break) -> Owed:
        payouts = PostgresPayouts(self._pool)
        generation = await payouts.generation()  # first: what is read after it may only be newer
        return owed_of(found, await payouts.receivables(), generation)

    async def sides(self, found: Break) -> tuple[ClearingRecord | None, ClearingRow | None]:
        record = await self.record(found.record) if found.record else None
        rows = await self._books.rows_by_id([found.row]) if found.row else {}
        return record, rows.get(found.row)

    async def match_of(self, found: Break) -> list[Member]:
        return await self._books.matched_with({found.record, found.row} - {""})

    async def record(self, key: str) -> ClearingRecord | None:
        return (await self._books.records_by_key([key])).get(key)

    async def originals(self, acquirer: str, rrns: Collection[str]) -> list[ClearingRecord]:
        return await self._read(
            ClearingRecord,
            "settlement.clearing_record",
            "effect_minor <> 0 AND acquirer = $1 AND rrn <> '' AND rrn = ANY ($2::text[]) "
            "ORDER BY business_date, substr(key, 2)::bigint",
            acquirer,
            sorted(set(rrns)),
        )

    async def tariffs(self) -> Tariffs:
        return Tariffs(await self._books.references(TARIFF_KINDS))

    async def calendar(self, name: str) -> Calendar | None:
        found = [one for one in await self._books.references(("calendar",)) if one.key == name]
        return msgspec.convert(found[-1].content, Calendar) if found else None

    # -- disputes

    async def dispute(self, dispute_id: str) -> DisputeFacts | None:
        found = await self._disputes("id = $1 ORDER BY id", dispute_id)
        return found[0] if found else None

    async def disputes(self, *, ended: bool = False) -> list[DisputeFacts]:
        return await self._disputes(
            "$1 OR NOT EXISTS (SELECT FROM settlement.dispute_event AS e "
            "WHERE e.dispute_id = d.id AND e.state = ANY ($2::text[])) ORDER BY id",
            ended,
            sorted(ENDS),
        )

    async def dispute_events(self, business_date: date) -> list[DisputeEvent]:
        return await self._read(
            DisputeEvent,
            "settlement.dispute_event",
            "business_date = $1 ORDER BY dispute_id, sequence",
            business_date,
        )

    async def disputes_by_rrn(self, acquirer: str, rrns: Collection[str]) -> list[DisputeFacts]:
        return await self._disputes(
            "acquirer = $1 AND rrn <> '' AND rrn = ANY ($2::text[]) ORDER BY business_date, id",
            acquirer,
            sorted(set(rrns)),
        )

    async def _disputes(self, where: str, *values: object) -> list[DisputeFacts]:
        found = await self._read(Dispute, "settlement.dispute AS d", where, *values)
        ids = [one.id for one in found]
        of_these = "dispute_id = ANY ($1::text[]) ORDER BY dispute_id, "
        events = _by(
            await self._read(DisputeEvent, "settlement.dispute_event", of_these + "sequence", ids),
            "dispute_id",
        )
        evidence = _by(
            await self._read(
                Evidence, "settlement.dispute_evidence", of_these + "at, name, sha256", ids
            ),
            "dispute_id",
        )
        return [
            DisputeFacts(one, tuple(events.get(one.id, ())), tuple(evidence.get(one.id, ())))
            for one in found
        ]

    async def adjustments(self, first: date, last: date) -> list[Adjustment]:
        rows = await self._books.file_rows(Adjustment.kind, first, last)
        return [row for row in rows if isinstance(row, Adjustment)]

    async def approved(self, proposal_id: str) -> bool:
        found: bool = await self._pool.fetchval(
            "SELECT EXISTS (SELECT FROM settlement.case_event WHERE proposal = $1 AND checker <> '') "
            "OR EXISTS (SELECT FROM settlement.dispute_event WHERE proposal = $1 AND checker <> '')",
            proposal_id,
        )
        return found

    async def placed(self, keys: Collection[str]) -> dict[str, Placed]:
        found = await self._read(
            Placed,
            "settlement.placed_row",
            "key = ANY ($1::text[]) ORDER BY key",
            sorted(set(keys)),
        )
        return {one.key: one for one in found}

    async def _read(
        self, shape: type[Struct], table: str, where: str, *values: object
    ) -> list[Struct]:
        rows = await self._pool.fetch(
            f"SELECT {_columns(shape)} FROM {table} WHERE {where}", *values
        )
        return [shape(**row) for row in rows]

    # -- writing

    async def commit(self, work: Work) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._pool.acquire() as connection, connection.transaction():
                    await _commit(connection, work, within_close=self._within_close)
            except asyncpg.DeadlockDetectedError:
                if attempt == ATTEMPTS:
                    raise
            except asyncpg.UniqueViolationError as error:
                raise ChangedError("somebody_first", what=error.constraint_name) from error
            except LedgerClosedError as error:
                raise DateMovedError(error.said) from error
            else:
                return


async def _commit(connection: Any, work: Work, *, within_close: bool) -> None:
    if work.rests_on is not None and work.record is not None:
        await take_number(connection, work.rests_on, work.record.act)
    await hold_open(connection)
    if work.moves_money and not within_close:
        await hold_date(connection, work.business_date)
    # a date that is posted takes no events either: its reports say how its cases stood
    if await open_date(connection) != work.business_date:
        raise DateMovedError("date_posted", date=work.business_date)
    if work.moves_money:
        await lock_cases(connection, [event.case_id for event in work.case_events])
    await _refuse_resolved(connection, work.case_events)
    await _insert(connection, "case_opened", Break, work.opened)
    await _insert(connection, "case_event", CaseEvent, work.case_events)
    await _insert(connection, "dispute", Dispute, work.disputes)
    await _insert(connection, "dispute_event", DisputeEvent, work.dispute_events)
    await _insert(connection, "dispute_evidence", Evidence, work.evidence)
    await _insert(connection, "placed_row", Placed, work.placed)
    if work.entries:
        await post_entries(connection, work.entries)
    # last: these hold the audit log's lock to the end
    if work.record:
        told = work.record
        await audit(connection, told.actor, told.act, told.subject, told.before, told.after)
    if work.approval:
        await approve(connection, work.approval)


async def take_number(connection: Any, rests_on: int, act: str) -> None:
    """The next number among the acts of payouts and statements, or ChangedError: no statement settles
    the receivable beside this. Taken first, as those acts do."""
    taken = await connection.execute(
        "INSERT INTO settlement.payout_act VALUES ($1, $2, now()) ON CONFLICT DO NOTHING",
        rests_on + 1,
        act,
    )
    if taken.endswith(" 0"):
        raise ChangedError("acts_since", act=act)


async def hold_date(connection: Any, business_date: date) -> None:
    """Keep the date's close out until this transaction ends, or `BusyError`. Who works cases shares the
    lock: two acts on one case meet at its sequence."""
    if not await connection.fetchval(
        "SELECT pg_try_advisory_xact_lock_shared($1, $2)", LOCK, business_date.toordinal()
    ):
        raise BusyError("close_under_way", date=business_date)


async def _refuse_resolved(connection: Any, events: Sequence[CaseEvent]) -> None:
    """A close or a statement may have resolved a case since its event was judged."""
    for event in events:
        resolved = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM settlement.resolution WHERE break_id = $1)", event.case_id
        )
        if resolved != event.resolved:
            raise ChangedError("other_side_found", case=event.case_id)


async def _insert(
    connection: Any, table: str, shape: type[msgspec.Struct], facts: Iterable[msgspec.Struct]
) -> None:
    places = ", ".join(f"${number}" for number, _ in enumerate(shape.__struct_fields__, 1))
    for one in facts:
        await connection.execute(
            f"INSERT INTO settlement.{table} ({_columns(shape)}) VALUES ({places})",
            *(
                msgspec.json.encode(value).decode() if isinstance(value, dict) else value
                for value in msgspec.structs.astuple(one)
            ),
        )


# -- rows to structs --------------------------------------------------------------------------------


def _columns(shape: type[msgspec.Struct], of: str = "") -> str:
    prefix = f"{of}." if of else ""
    return ", ".join(prefix + name for name in shape.__struct_fields__)


def _by(facts: Iterable[Struct], name: str) -> dict[str, list[Struct]]:
    found: dict[str, list[Struct]] = {}
    for one in facts:
        found.setdefault(getattr(one, name), []).append(one)
    return found


def _resolution(row: Any) -> Resolution | None:
    if row["break_id"] is None:
        return None
    return Resolution(
        row["break_id"], row["resolved_on"], row["reason"], row["resolved_settlement_date"]
    )
