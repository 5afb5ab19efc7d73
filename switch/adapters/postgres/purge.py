"""Purging: what `switch.upkeep.retention` says, done so that traffic does not notice.

Theory of operation. A session lock lets one purge run in the cluster; it goes with the session. Dates of
requests go as partitions: counted and digested into `switch.upkeep`, detached CONCURRENTLY (no lock that a
commit waits for), and dropped in one transaction with its audit record. Rows of other tables go in ranges of blocks:
each block is read once, each range is a transaction that also counts what it deleted, and after each the
purge rests as long as the range took. Whatever is killed, the next run goes on: what went is written down,
what is written down and not gone yet is found again.

It runs as the owner of the schema: the application may delete nothing.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import msgspec

from switch.adapters.servers import Servers
from switch.upkeep.retention import HOLDS, PARTITIONED, RULES, condition, cutoff

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from switch.config import Retention
    from switch.upkeep.retention import Rule

BLOCKS: Final = 256  # of a table at a time: 2 MiB
LOCK_S: Final = 5  # what waits for a lock longer lets others through, and tries again later
DETACH_S: Final = 120  # for transactions that may still use the partition
LOCK: Final = (8589, 1)


class BusyError(Exception):
    """Another purge runs."""


class NotAllowedError(Exception):
    """The role may not: purging needs the owner of the schema."""


class Went(msgspec.Struct, frozen=True):
    """What went of a table, or in a dry run would go; or a date that stays, and why."""

    table: str
    business_date: dt.date | None
    rows: int
    held: str = ""


@asynccontextmanager
async def purger(dsn_owner: str, settings: Retention, node: str) -> AsyncIterator[Purger]:
    """Hold the lease of purging. Raises BusyError, NotAllowedError."""
    connection = await Servers(dsn_owner).connect()
    try:
        owns = await connection.fetchval(
            "SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class AS c"
            " WHERE c.oid = 'switch.request'::regclass"
        )
        if not owns:
            raise NotAllowedError(await connection.fetchval("SELECT current_user::text"))
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", *LOCK):
            raise BusyError
        await connection.execute(f"SET lock_timeout = '{LOCK_S}s'; SET jit = off")
        yield Purger(connection, settings, node)
    finally:
        await connection.close()


class Purger:
    def __init__(self, connection: Any, settings: Retention, node: str) -> None:
        self._connection = connection
        self._settings = settings
        self._node = node

    async def run(
        self, *, dry: bool = False, told: Callable[[Went], None] = lambda _: None
    ) -> list[Went]:
        """Everything that is due; `told` hears of each table and date as it is done."""
        done: list[Went] = []

        def tell(went: Went) -> None:
            done.append(went)
            told(went)

        today = await self._connection.fetchval("SELECT business_date FROM switch.business_day")
        last = cutoff(self._settings, "journal_days", today)
        held = await self._held(last)
        for date, reason in held.items():
            tell(Went("request", date, 0, reason))
        for parent in PARTITIONED:
            for date in await self._partitions(parent, last):
                if date not in held:
                    tell(await (self._count if dry else self._drop)(parent, date))
        for rule in RULES:
            up_to = cutoff(self._settings, rule.setting, today)
            rows = await (self._count_rows if dry else self._delete)(rule, up_to, list(held))
            tell(Went(rule.table, None, rows))
        if not dry:
            await self._record(done)
        return done

    async def last_run_s(self) -> float | None:
        """Seconds since a purge ended; None: never."""
        age: float | None = await self._connection.fetchval(
            "SELECT extract(epoch FROM clock_timestamp() - max(at))::float8"
            " FROM switch.upkeep WHERE kind = 'purge'"
        )
        return age

    # -- dates

    async def _held(self, last: dt.date) -> dict[dt.date, str]:
        """Dates up to `last` that stay, each with the first reason."""
        held: dict[dt.date, str] = {}
        dates = {*await self._partitions("request", last), *await self._partitions("outcome", last)}
        for date in sorted(dates):
            for reason, question in HOLDS.items():
                if await self._connection.fetchval(question, date):
                    held[date] = reason
                    break
        return held

    async def _partitions(self, parent: str, last: dt.date) -> list[dt.date]:
        """Dates of its partitions up to `last`, those included that a killed run has detached."""
        names = await self._connection.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'switch'::regnamespace"
            " AND relkind = 'r' AND relname ~ $1",
            f"^{parent}_[0-9]{{8}}$",
        )
        dates = [dt.datetime.strptime(row[0][-8:], "%Y%m%d").date() for row in names]  # noqa: DTZ007
        return sorted(date for date in dates if date <= last)

    async def _count(self, parent: str, date: dt.date) -> Went:
        rows = await self._connection.fetchval(f"SELECT count(*) FROM {child(parent, date)}")  # noqa: S608
        return Went(parent, date, rows)

    async def _drop(self, parent: str, date: dt.date) -> Went:
        """Write down what it holds, take it out, drop it."""
        name = child(parent, date)
        fetch = self._connection.fetchrow
        evidence = await fetch(
            f"SELECT count(*) AS rows, min(t.request_id) AS first, max(t.request_id) AS last,"  # noqa: S608
            f" coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text AS digest FROM {name} AS t"
        )
        rows: int = evidence["rows"]
        detail: dict[str, Any] = {"first": evidence["first"], "last": evidence["last"]}
        detail |= {"digest": evidence["digest"]}
        if parent == "request" and await self._exists(child("outcome", date)):
            totals = await self._connection.fetch(
                f"SELECT r.currency, count(*) AS count, sum(o.effect_minor)::bigint AS effect_minor"  # noqa: S608
                f" FROM {name} AS r JOIN {child('outcome', date)} AS o USING (request_id)"
                " WHERE o.effect_minor IS NOT NULL GROUP BY r.currency ORDER BY r.currency"
            )
            detail["captured"] = [dict(row) for row in totals]
        text = json.dumps(detail, sort_keys=True, separators=(",", ":"))
        await self._note(parent, date, rows, text)
        await self._detach(parent, name)
        async with self._connection.transaction():
            await self._connection.execute(f"DROP TABLE {name}")
            await self._connection.execute(
                "SELECT switch.audit_v1($1, 'purge.drop', $2, $3, '')",
                self._node,
                f"switch.{parent} {date}",
                text,
            )
        return Went(parent, date, rows)

    async def _note(self, table: str, date: dt.date, rows: int, detail: str) -> None:
        await self._connection.execute(
            "INSERT INTO switch.upkeep (kind, object, business_date, rows, detail, node)"
            " VALUES ('purged', $1, $2, $3, $4, $5) ON CONFLICT (object, business_date)"
            " WHERE kind = 'purged' DO NOTHING",
            table,
            date,
            rows,
            detail,
            self._node,
        )

    async def _exists(self, name: str) -> bool:
        return await self._connection.fetchval("SELECT to_regclass($1)", name) is not None

    async def _detach(self, parent: str, name: str) -> None:
        """Out of its parent; a detachment that was broken off is finished."""
        pending = await self._connection.fetchval(
            "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass($1)", name
        )
        if pending is None:
            return
        how = "FINALIZE" if pending else "CONCURRENTLY"
        await self._connection.execute(f"SET lock_timeout = '{DETACH_S}s'")
        try:
            await self._connection.execute(
                f"ALTER TABLE switch.{parent} DETACH PARTITION {name} {how}"
            )
        finally:
            await self._connection.execute(f"SET lock_timeout = '{LOCK_S}s'")

    # -- rows

    async def _count_rows(self, rule: Rule, up_to: dt.date, held: list[dt.date]) -> int:
        rows: int = await self._connection.fetchval(
            f"SELECT count(*) FROM switch.{rule.table} AS t WHERE {condition(rule)}",  # noqa: S608
            up_to,
            held,
        )
        return rows

    async def _delete(self, rule: Rule, up_to: dt.date, held: list[dt.date]) -> int:
        """Range after range of blocks, each counted by date in the transaction that deletes it."""
        blocks: int = await self._connection.fetchval(
            "SELECT pg_relation_size($1::regclass) / current_setting('block_size')::bigint",
            f"switch.{rule.table}",
        )
        statement = f"""
WITH gone AS (
    DELETE FROM switch.{rule.table} AS t
    WHERE t.ctid >= $3::text::tid AND t.ctid < $4::text::tid AND {condition(rule)}
    RETURNING {rule.date} AS date
), noted AS (
    INSERT INTO switch.upkeep AS u (kind, object, business_date, rows, detail, node)
    SELECT 'purged', '{rule.table}', date, count(*), '', $5 FROM gone GROUP BY date
    ON CONFLICT (object, business_date) WHERE kind = 'purged'
    DO UPDATE SET rows = u.rows + excluded.rows, at = clock_timestamp()
)
SELECT count(*) FROM gone"""  # noqa: S608 - of our own tables alone
        loop = asyncio.get_running_loop()
        total = 0
        for first in range(0, blocks, BLOCKS):
            began_s = loop.time()
            span = (f"({first},0)", f"({first + BLOCKS},0)")
            gone = await self._connection.fetchval(statement, up_to, held, *span, self._node)
            total += gone
            if gone:
                await asyncio.sleep(loop.time() - began_s)
        return total

    async def _record(self, done: list[Went]) -> None:
        """That it ran, and, where something went, into the audit log."""
        rows = sum(went.rows for went in done)
        tables: dict[str, int] = {}
        for went in done:
            tables[went.table] = tables.get(went.table, 0) + went.rows
        held = {f"{went.business_date}": went.held for went in done if went.held}
        detail = json.dumps(
            {"rows": {name: count for name, count in tables.items() if count}, "held": held},
            sort_keys=True,
            separators=(",", ":"),
        )
        async with self._connection.transaction():
            await self._connection.execute(
                "INSERT INTO switch.upkeep (kind, object, rows, detail, node)"
                " VALUES ('purge', '', $1, $2, $3)",
                rows,
                detail,
                self._node,
            )
            if rows:
                await self._connection.execute(
                    "SELECT switch.audit_v1($1, 'purge.run', $1, $2, '')", self._node, detail
                )


def child(parent: str, date: dt.date) -> str:
    """The partition of a date.

    >>> child("request", dt.date(2026, 3, 4))
    'switch.request_20260304'
    """
    assert parent in PARTITIONED
    return f"switch.{parent}_{date:%Y%m%d}"


async def purge_daily(
    dsn_owner: str, settings: Retention, node: str, *, not_within_s: float
) -> list[Went] | None:
    """The node's own purge; None where another has it, or has had it lately. Raises NotAllowedError, and
    what asyncpg raises of a store that is away."""
    try:
        async with purger(dsn_owner, settings, node) as of:
            age_s = await of.last_run_s()
            if age_s is not None and age_s < not_within_s:
                return None
            return await of.run()
    except BusyError:
        return None


STORE_ERRORS: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
