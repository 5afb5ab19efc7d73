"""Reference data and stored keys in PostgreSQL: `reference.ReferenceStore`."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from switch.reference import Item, Snapshot
from terminals.registry import StoredKey

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from switch.adapters.postgres.sessions import Sessions

_NEWEST_IN_FORCE = """
    SELECT DISTINCT ON (kind, key) kind, key, version, effective_from, content::text, maker
    FROM switch.reference_item WHERE effective_from <= statement_timestamp()
    ORDER BY kind, key, version DESC
"""


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


class PostgresReference:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def generation(self) -> int:
        generation: int = await self._sessions.value("SELECT switch.read_generation()")
        return generation

    async def snapshot(self) -> Snapshot:
        async def read(connection: Any) -> Snapshot:
            # the generation first: what is read after it can only be newer
            generation = await connection.fetchval("SELECT switch.read_generation()")
            items = [_item(row) for row in await connection.fetch(_NEWEST_IN_FORCE)]
            keys = await connection.fetch(
                "SELECT * FROM switch.stored_key ORDER BY owner, usage, version"
            )
            return Snapshot(generation, items, [_key(row) for row in keys])

        return await self._sessions.transaction(read)

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
        effective_from: dt.datetime | None = None,
    ) -> list[Item]:
        async def write(connection: Any) -> list[Item]:
            await connection.execute("SELECT pg_advisory_xact_lock(8586, 1)")
            made = []
            for kind, key, content in items:
                encoded = encode(content)
                row = await connection.fetchrow(
                    """
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
                              AND effective_from <= statement_timestamp()
                            ORDER BY version DESC LIMIT 1) AS now
                        WHERE now.sha256 = $4)
                    RETURNING kind, key, version, effective_from, content::text, maker
                    """,
                    kind,
                    key,
                    encoded.decode(),
                    hashlib.sha256(encoded).digest(),
                    maker,
                    effective_from,
                )
                if row is not None:
                    made.append(_item(row))
            if made:
                await connection.execute("SELECT switch.bump_generation()")
            return made

        return await self._sessions.transaction(write)

    async def add_key(self, key: StoredKey) -> StoredKey:
        async def write(connection: Any) -> StoredKey:
            await connection.execute("SELECT pg_advisory_xact_lock(8586, 2)")
            row = await connection.fetchrow(
                "INSERT INTO switch.stored_key (owner, usage, version, block, check_value, lmk_id)"
                " SELECT $1, $2, 1 + coalesce(max(version), 0), $3, $4, $5 FROM switch.stored_key"
                " WHERE owner = $1 AND usage = $2 RETURNING *",
                key.owner,
                key.usage,
                key.block,
                key.check_value,
                key.lmk_id,
            )
            await connection.execute("SELECT switch.bump_generation()")
            return _key(row)

        return await self._sessions.transaction(write)


def _key(row: Any) -> StoredKey:
    return StoredKey(
        owner=row["owner"],
        usage=row["usage"],
        version=row["version"],
        block=row["block"],
        check_value=row["check_value"],
        lmk_id=row["lmk_id"],
    )
