"""Reference data and stored keys in PostgreSQL: `reference.ReferenceStore`."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from settlement.adapters import four_eyes_postgres as transactions
from switch.people.told import told_of, told_of_key
from switch.reference import NODE, Item, Snapshot, check_account
from terminals.registry import StoredKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement.four_eyes import Approval
    from switch.adapters.postgres.sessions import Sessions

# What came into force stays in force, also where the store's clock is set back behind its time.
_IN_FORCE = """effective_from <= greatest(
    statement_timestamp(), created_at, (SELECT scheduled_until FROM switch.business_day))"""

# What is in force and was not when it was last read: new rows, and rows whose time has come since.
# A higher version may be in force already; the snapshot keeps that.
_IN_FORCE_SINCE = f"""
    SELECT kind, key, version, effective_from, content::text, maker FROM switch.reference_item
    WHERE {_IN_FORCE}
      AND (change > $1 OR (effective_from > created_at AND effective_from > $2))
"""  # noqa: S608 # a constant
KEY_COLUMNS = """owner, usage, version, block, check_value, lmk_id,
    CASE WHEN retired_at IS NOT NULL THEN 'retired' WHEN active_at IS NULL THEN 'pending'
         ELSE 'active' END AS status"""
_KEYS_SINCE = f"SELECT {KEY_COLUMNS} FROM switch.stored_key WHERE change > $1"  # noqa: S608
# Read before the rows: what is read after it can only be newer.
_MARK = """
    SELECT switch.read_generation() AS generation, statement_timestamp() AS read_at,
           coalesce((SELECT max(change) FROM switch.reference_item), 0) AS item,
           coalesce((SELECT max(change) FROM switch.stored_key), 0) AS key
"""
PIECE = 250  # rows between two turns of the loop: requests do not wait for an estate to be read


def encode(content: dict[str, Any]) -> bytes:
    """Content as canonical JSON: what is hashed and compared."""
    return msgspec.json.encode(content, order="deterministic")


def _item(row: Any) -> Item:
    return Item(
        kind=row["kind"],
        key=row["key"],
        version=row["version"],
        effective_from=row["effective_from"],
        content=msgspec.json.decode(row["content"]),
        maker=row["maker"],
    )


class Mark(NamedTuple):
    """How far the reference data has been read."""

    item: int  # highest change
    key: int
    read_at: dt.datetime  # by the store's clock


NOTHING = Mark(0, 0, dt.datetime.min.replace(tzinfo=dt.UTC))


class PostgresReference:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._last: tuple[Snapshot, Mark] | None = None

    async def generation(self) -> int:
        generation: int = await self._sessions.value("SELECT switch.read_generation()")
        return generation

    async def snapshot(self) -> Snapshot:
        """What is in force now. After the first time only what has changed is read."""

        async def read(connection: Any) -> tuple[Snapshot, Mark]:
            row = await connection.fetchrow(_MARK)
            mark = Mark(row["item"], row["key"], row["read_at"])
            last = self._last
            if last is not None and last[0].generation <= row["generation"]:
                former, since = last
            else:  # the first time; or this is a store that was set back
                former, since = Snapshot(0), NOTHING
            items = [
                _item(each)
                async for each in connection.cursor(
                    _IN_FORCE_SINCE, since.item, since.read_at, prefetch=PIECE
                )
            ]
            keys = [
                _key(each)
                async for each in connection.cursor(_KEYS_SINCE, since.key, prefetch=PIECE)
            ]
            later = former.copy(row["generation"])
            for start in range(0, max(len(items), len(keys)), PIECE):
                piece = slice(start, start + PIECE)
                later.take(items[piece], keys[piece])
                await asyncio.sleep(0)
            return later, mark

        self._last = await self._sessions.transaction(read)
        return self._last[0]

    async def items(self, kind: str | None = None) -> list[Item]:
        rows = await self._sessions.rows(
            "SELECT kind, key, version, effective_from, content::text, maker"
            " FROM switch.reference_item WHERE $1::text IS NULL OR kind = $1"
            " ORDER BY kind, key, version",
            kind,
        )
        return [_item(row) for row in rows]

    async def apply(
        self,
        items: Sequence[tuple[str, str, dict[str, Any]]],
        *,
        maker: str,
        act: str = "data.apply",
        effective_from: dt.datetime | None = None,
        approval: Approval | None = None,
    ) -> list[Item]:
        async def write(connection: Any) -> list[Item]:
            await connection.execute("SELECT pg_advisory_xact_lock(8586, 1)")
            made: list[Item] = []
            told = []
            for kind, key, content in items:
                encoded = encode(content)
                row = await connection.fetchrow(
                    f"""
                    INSERT INTO switch.reference_item
                        (kind, key, version, effective_from, content, sha256, maker)
                    SELECT $1, $2,
                           1 + coalesce((SELECT max(version) FROM switch.reference_item
                                         WHERE kind = $1 AND key = $2), 0),
                           coalesce($6, statement_timestamp()), $3::text::jsonb, $4, $5
                    WHERE NOT EXISTS (
                        SELECT FROM (
                            SELECT sha256 FROM switch.reference_item
                            WHERE kind = $1 AND key = $2
                              AND {_IN_FORCE}
                            ORDER BY version DESC LIMIT 1) AS now
                        WHERE now.sha256 = $4)
                    RETURNING kind, key, version, effective_from, content::text, maker,
                        (SELECT former.content::text FROM switch.reference_item AS former
                         WHERE former.kind = $1 AND former.key = $2
                         ORDER BY former.version DESC LIMIT 1) AS former
                    """,  # noqa: S608 # a constant
                    kind,
                    key,
                    encoded.decode(),
                    hashlib.sha256(encoded).digest(),
                    maker,
                    effective_from,
                )
                if row is None:
                    continue
                former = row["former"] and msgspec.json.decode(row["former"])
                check_account(kind, key, former, content, approval)
                made.append(_item(row))
                told.append((f"{kind} {key}", former and told_of(former), told_of(made[-1])))
            if made:
                await connection.execute("SELECT switch.bump_generation()")
            await transactions.audit_each(connection, maker, act, told)
            if made and approval is not None:
                await transactions.approve(connection, approval)
            return made

        return await self._sessions.transaction(write)

    async def add_key(
        self, key: StoredKey, *, maker: str = NODE, act: str = "keys.import"
    ) -> StoredKey:
        async def write(connection: Any) -> StoredKey:
            await connection.execute("SELECT pg_advisory_xact_lock(8586, 2)")
            made = await insert_key(connection, key, key.status)
            await transactions.audit(connection, maker, act, *told_of_key(made))
            return made

        return await self._sessions.transaction(write)


async def insert_key(connection: Any, key: StoredKey, status: str) -> StoredKey:
    """Under the lock of stored keys: as the next version."""
    row = await connection.fetchrow(
        "INSERT INTO switch.stored_key"  # noqa: S608 # a constant
        " (owner, usage, version, block, check_value, lmk_id, active_at)"
        " SELECT $1, $2, 1 + coalesce(max(version), 0), $3, $4, $5,"
        " CASE WHEN $6::text = 'active' THEN clock_timestamp() END FROM switch.stored_key"
        f" WHERE owner = $1 AND usage = $2 RETURNING {KEY_COLUMNS}",
        key.owner,
        key.usage,
        key.block,
        key.check_value,
        key.lmk_id,
        status,
    )
    await connection.execute("SELECT switch.bump_generation()")
    return _key(row)


def _key(row: Any) -> StoredKey:
    return StoredKey(
        owner=row["owner"],
        usage=sys.intern(row["usage"]),
        version=row["version"],
        block=row["block"],
        check_value=row["check_value"],
        lmk_id=sys.intern(row["lmk_id"]),
        status=row["status"],
    )
