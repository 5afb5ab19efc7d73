"""The ledger on PostgreSQL: posting. `ledger_sealing.py` ends dates, `ledger_reading.py` answers questions.

Posters hold `LOCK_OPEN` shared until they commit, so that no date ends before them. Locks are taken in one order: that lock, keys of entries by (source, key),
balances by (account, owner, currency). All of it expects READ COMMITTED: each statement must see what
others have committed since the one before.
"""

# ruff: noqa: S608 - what is formatted into queries are column names of our own structs

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final

import asyncpg
import msgspec

from settlement.adapters.bulk_postgres import copy_in
from settlement.adapters.ledger_sealing import LOCK, LOCK_OPEN, seal_date
from settlement.chain import CHUNK, Anchor
from settlement.chart import LIMITED
from settlement.columns import Relation, structs_of
from settlement.ledger import DAY_END_STEP, Entry, LedgerClosedError, LedgerConflictError
from settlement.limits import Layered, Limited, judge_limits, limited_moves
from settlement.posting_port import closed, conflict
from settlement.posting_rules import rules_on

COPY_FROM: Final = 1_000  # entries from which a COPY pays
ROWS_A_STATEMENT: Final = 5_000
ATTEMPTS: Final = 5  # of a commit that met a deadlock with a poster of several calls
# in the order of the table's columns, which is that of its composite type
COLUMNS: Final = (
    "source", "key", "business_date", "step", "rule", "rule_version", "currency", "merchant",
    "acquirer", "terminal", "batch", "settlement_date", "accounts", "owners", "amounts", "hash",
    "layer",
)  # fmt: skip
LIMITED_RULES: Final = sorted({rule for account in LIMITED for rule in rules_on(account)})


class PostgresLedger:
    """`posting_port.Ledger` over asyncpg. What commits more than entries calls `post_entries` on its own
    connection instead."""

    def __init__(self, pool: asyncpg.Pool, chunk: int = CHUNK) -> None:
        self._pool = pool
        self._chunk = chunk

    async def open_date(self) -> date:
        async with self._pool.acquire() as connection:
            return await open_date(connection)

    async def post(self, entries: Sequence[Entry]) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._pool.acquire() as connection, connection.transaction():
                    await post_entries(connection, entries)
            except asyncpg.DeadlockDetectedError:
                if attempt == ATTEMPTS:
                    raise
            else:
                return

    async def seal(self, business_date: date) -> Anchor:
        return await seal_date(self._pool, business_date, self._chunk)


# -- posting ------------------------------------------------------------------------------------


async def open_date(connection: Any) -> date:
    """The earliest business date of the switch that takes entries."""
    found: date | None = await connection.fetchval(
        "SELECT min(d.business_date) FROM switch.business_date AS d WHERE d.business_date > "
        "coalesce((SELECT max(e.business_date) FROM settlement.posting_end AS e), '-infinity')"
    )
    assert found is not None, "no business date is open"
    return found


async def post_entries(connection: Any, entries: Iterable[Entry]) -> None:
    """`Ledger.post` within the caller's transaction, which must end soon: it holds up who ends a date.

    Two calls in one transaction, or other locks before it, can meet another poster's in a deadlock;
    then PostgreSQL ends one of the two, and its caller runs it again.
    """
    asked = _once(entries)
    ended = await hold_open(connection)
    fresh = [one for one in asked.values() if ended is None or one.business_date > ended]
    made = await _insert(connection, fresh)
    await _assert_same(connection, [one for name, one in asked.items() if name not in made])
    await _move_limited(connection, limited_moves(asked[name] for name in made))


def _once(entries: Iterable[Entry]) -> dict[tuple[str, str], Entry]:
    """By (source, key), in its order; an entry that comes twice must be the same."""
    found: dict[tuple[str, str], Entry] = {}
    for made in entries:
        stands = found.setdefault((made.source, made.key), made)
        if stands is not made and not made.same_request(stands):
            raise LedgerConflictError(conflict(stands, made))
    return dict(sorted(found.items()))


async def hold_open(connection: Any) -> date | None:
    """Keep dates from ending until the caller's transaction ends; the last date that has ended."""
    await connection.execute("SELECT pg_advisory_xact_lock_shared($1, $2)", LOCK, LOCK_OPEN)
    ended: date | None = await connection.fetchval(
        "SELECT max(business_date) FROM settlement.posting_end"
    )
    return ended


async def _insert(connection: Any, entries: Sequence[Entry]) -> set[tuple[str, str]]:
    """Insert what does not stand yet; its names. Waits for others that insert the same."""
    if len(entries) >= COPY_FROM:
        try:
            async with connection.transaction():  # a savepoint: a loser undoes only the COPY
                await connection.copy_records_to_table(
                    "entry",
                    schema_name="settlement",
                    columns=COLUMNS,
                    records=map(_row, entries),
                )
        except asyncpg.UniqueViolationError:
            pass
        else:
            return {(one.source, one.key) for one in entries}
    made: set[tuple[str, str]] = set()
    for part in _parts(entries):
        rows = await connection.fetch(
            "INSERT INTO settlement.entry SELECT e.* FROM unnest($1::settlement.entry[]) AS e "
            "ON CONFLICT (source, key) DO NOTHING RETURNING source, key",
            [_row(one) for one in part],
        )
        made.update((row["source"], row["key"]) for row in rows)
    return made


def _parts(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    for first in range(0, len(entries), ROWS_A_STATEMENT):
        yield entries[first : first + ROWS_A_STATEMENT]


def _row(made: Entry) -> tuple[object, ...]:
    """In the order of COLUMNS."""
    fields = msgspec.structs.astuple(made)
    return (*fields[2:4], *fields[:2], *fields[4:-1], made.hash, fields[-1])


async def _assert_same(connection: Any, asked: Sequence[Entry]) -> None:
    """What was not inserted stands already, or came too late."""
    for part in _parts(asked):
        standing = await read_entries(connection, [(one.source, one.key) for one in part])
        for one in part:
            stands = standing.get((one.source, one.key))
            if stands is None:
                raise LedgerClosedError(closed(one))
            if not one.same_request(stands):
                raise LedgerConflictError(conflict(stands, one))


async def read_entries(
    connection: Any, names: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Entry]:
    """The entries of these (source, key) that stand."""
    rows = await connection.fetch(
        f"SELECT {', '.join('e.' + name for name in COLUMNS)} FROM settlement.entry AS e "
        "JOIN unnest($1::text[], $2::text[]) AS q (source, key) USING (source, key)",
        [source for source, _ in names],
        [key for _, key in names],
    )
    return {(row["source"], row["key"]): entry_of(row) for row in rows}


def entry_of(row: Mapping[str, Any]) -> Entry:
    """An entry read back: balanced, and what its hash says it was."""
    values = {name: row[name] for name in Entry.__struct_fields__}
    values |= {name: tuple(values[name]) for name in ("accounts", "owners", "amounts")}
    made = Entry(**values)
    assert made.hash == row["hash"], f"{made.source} {made.key} is not what was written"
    return made


async def post_relation(connection: Any, business_date: date, entries: Relation) -> None:
    """`post_entries` for the day's end: all the entries of its step, in columns, by one COPY.

    Beside an entry that stands already none is lost: then they are posted one by one.
    """
    if not len(entries):
        return
    ended = await hold_open(connection)
    if ended is not None and business_date <= ended:
        await post_entries(connection, structs_of(Entry, entries.table()))
        return
    try:
        async with connection.transaction():  # a savepoint: a loser undoes only the COPY
            await copy_in(connection, "entry", entries)
    except asyncpg.UniqueViolationError:
        await post_entries(connection, structs_of(Entry, entries.table()))
    else:
        await _move_limited_of(connection, business_date)


async def _move_limited_of(connection: Any, business_date: date) -> None:
    """What the day's end, which posts once a date, moves on balances with limits."""
    rows = await connection.fetch(
        "SELECT account, owner, currency, "
        "coalesce(sum(amount_minor) FILTER (WHERE layer = 'pending'), 0)::bigint AS pending, "
        "coalesce(sum(amount_minor) FILTER (WHERE layer = 'settled'), 0)::bigint AS settled "
        "FROM settlement.posting WHERE business_date = $1 AND rule = ANY ($2::text[]) "
        "AND step = $3 AND account = ANY ($4::text[]) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        business_date,
        LIMITED_RULES,
        DAY_END_STEP,
        sorted(LIMITED),
    )
    await _move_limited(
        connection,
        {
            Limited(row["account"], row["owner"], row["currency"]): Layered(
                row["pending"], row["settled"]
            )
            for row in rows
        },
    )


async def _move_limited(connection: Any, moved: Mapping[Limited, Layered]) -> None:
    if not moved:
        return
    names = (
        [one.account for one in moved],
        [one.owner for one in moved],
        [one.currency for one in moved],
    )
    rows = await connection.fetch(
        "SELECT * FROM settlement.hold_balances($1, $2, $3, $4)", *names, LIMITED_RULES
    )
    before: dict[Limited, Layered] = {}
    known: dict[Limited, Layered] = {}
    for row in rows:
        key = Limited(row["account"], row["owner"], row["currency"])
        stands = Layered(row["pending_minor"], row["settled_minor"])
        if row["made"]:  # out of the entries, ours among them
            stands += Layered(-moved[key].pending_minor, -moved[key].settled_minor)
        else:
            known[key] = moved[key]
        before[key] = stands
    judge_limits(before, moved)
    await connection.execute(
        "SELECT settlement.move_balances($1, $2, $3, $4, $5)",
        [one.account for one in known],
        [one.owner for one in known],
        [one.currency for one in known],
        [move.pending_minor for move in known.values()],
        [move.settled_minor for move in known.values()],
    )
