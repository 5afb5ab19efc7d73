"""Changes of links' keys in PostgreSQL: `store_ports.KeyExchanges` (schema/0016).

Every write takes the lock of stored keys first: what it then reads stays so until it has written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from settlement.adapters import four_eyes_postgres as transactions
from switch.adapters.postgres.reference import KEY_COLUMNS, insert_key
from switch.people.told import told_of_key
from switch.reference import NODE
from switch.store_ports import KeyExchange, KeyFact
from terminals.registry import StoredKey

if TYPE_CHECKING:
    from switch.adapters.postgres.sessions import Sessions

_LOCK = "SELECT pg_advisory_xact_lock(8586, 2)"
_READ = """
    SELECT x.*, f.seq, f.fact, f.version, f.response_code, f.at,
           extract(epoch FROM clock_timestamp() - coalesce(
               (SELECT max(m.at) FROM switch.key_exchange_fact AS m
                WHERE m.exchange_id = x.exchange_id), x.asked_at))::float8 AS age_s
    FROM switch.key_exchange AS x LEFT JOIN switch.key_exchange_fact AS f USING (exchange_id)
    WHERE x.exchange_id = ANY ($1) ORDER BY x.exchange_id, f.seq
"""
_IDS = """
    SELECT exchange_id FROM switch.key_exchange_v1
    WHERE ($1 = '' OR acquirer = $1) AND (NOT $2 OR state IN ('asked', 'made', 'sent'))
    ORDER BY exchange_id DESC LIMIT $3
"""
_ASKED = """
    SELECT EXISTS (SELECT FROM switch.key_exchange_v1
        WHERE acquirer = $1 AND usage = $2 AND (
            state IN ('asked', 'made', 'sent')
            OR asked_at > clock_timestamp() - $3::float8 * interval '1 second'))
"""
_ENDS: Final = {"accepted": ("activate", "keys.activate"), "refused": ("retire", "keys.retire")}


class PostgresKeyExchanges:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def ask(
        self, acquirer: str, usage: str, asked_by: str, *, every_s: float = 0.0
    ) -> KeyExchange | None:
        async def write(connection: Any) -> KeyExchange | None:
            await connection.execute(_LOCK)
            if await connection.fetchval(_ASKED, acquirer, usage, every_s):
                return None
            number = await connection.fetchval(
                "INSERT INTO switch.key_exchange (acquirer, usage, asked_by) VALUES ($1, $2, $3)"
                " RETURNING exchange_id",
                acquirer,
                usage,
                asked_by,
            )
            # by which workers know that there is something to do
            await connection.execute("SELECT switch.bump_generation()")
            subject = f"link:{acquirer} {usage}"
            await transactions.audit(connection, asked_by, "keys.send", subject, None, {})
            return (await _read(connection, [number]))[0]

        return await self._sessions.transaction(write)

    async def exchanges(self, acquirer: str, *, only_open: bool, limit: int) -> list[KeyExchange]:
        async def read(connection: Any) -> list[KeyExchange]:
            rows = await connection.fetch(_IDS, acquirer, only_open, limit)
            found = await _read(connection, [row["exchange_id"] for row in rows])
            return found if only_open else found[::-1]

        return await self._sessions.transaction(read)

    async def made(self, exchange: KeyExchange, key: StoredKey) -> KeyExchange | None:
        async def write(connection: Any) -> KeyExchange | None:
            if not await _may(connection, exchange):
                return None
            stored = await insert_key(connection, key, "pending")
            await transactions.audit(connection, NODE, "keys.generate", *told_of_key(stored))
            return await _add(connection, exchange, "made", stored.version, "")

        return await self._sessions.transaction(write)

    async def sent(self, exchange: KeyExchange) -> KeyExchange | None:
        async def write(connection: Any) -> KeyExchange | None:
            if not await _may(connection, exchange):
                return None
            return await _add(connection, exchange, "sent", exchange.version, "")

        return await self._sessions.transaction(write)

    async def end(self, exchange: KeyExchange, fact: str, response_code: str) -> bool:
        async def write(connection: Any) -> bool:
            if not await _may(connection, exchange):
                return False
            version = exchange.version
            await _add(connection, exchange, fact, version, response_code)
            if fact in _ENDS:
                verb, act = _ENDS[fact]
                owner = f"link:{exchange.acquirer}"
                call = f"SELECT switch.{verb}_key($1, $2, $3)"
                await connection.fetchval(call, owner, exchange.usage, version)
                subject = f"{owner} {exchange.usage}"
                await transactions.audit(connection, NODE, act, subject, None, {"version": version})
            return True

        return await self._sessions.transaction(write)

    async def take(self, key: StoredKey) -> StoredKey | None:
        async def write(connection: Any) -> StoredKey | None:
            await connection.execute(_LOCK)
            acquirer = key.owner.removeprefix("link:")
            if await connection.fetchval(
                "SELECT EXISTS (SELECT FROM switch.key_exchange_v1"
                " WHERE acquirer = $1 AND usage = $2 AND state IN ('made', 'sent'))",
                acquirer,
                key.usage,
            ):
                return None
            newest = await connection.fetchrow(
                f"SELECT {KEY_COLUMNS} FROM switch.stored_key WHERE owner = $1 AND usage = $2"  # noqa: S608 # a constant
                " AND active_at IS NOT NULL AND retired_at IS NULL ORDER BY version DESC LIMIT 1",
                key.owner,
                key.usage,
            )
            if newest is not None and newest["check_value"] == key.check_value:
                return StoredKey(**dict(newest))
            stored = await insert_key(connection, key, "active")
            await transactions.audit(connection, NODE, "keys.import", *told_of_key(stored))
            return stored

        return await self._sessions.transaction(write)


async def _may(connection: Any, exchange: KeyExchange) -> bool:
    """Under the lock: nothing has happened since it was read."""
    await connection.execute(_LOCK)
    (now,) = await _read(connection, [exchange.exchange_id])
    return now.open and len(now.facts) == len(exchange.facts)


async def _add(
    connection: Any, exchange: KeyExchange, fact: str, version: int, response_code: str
) -> KeyExchange:
    await connection.execute(
        "INSERT INTO switch.key_exchange_fact (exchange_id, seq, fact, version, response_code)"
        " VALUES ($1, $2, $3, $4, $5)",
        exchange.exchange_id,
        len(exchange.facts) + 1,
        fact,
        version,
        response_code,
    )
    return (await _read(connection, [exchange.exchange_id]))[0]


async def _read(connection: Any, ids: list[int]) -> list[KeyExchange]:
    """In the order of their numbers."""
    facts: dict[int, list[KeyFact]] = {}
    rows: dict[int, Any] = {}
    for row in await connection.fetch(_READ, ids):
        rows[row["exchange_id"]] = row
        known = facts.setdefault(row["exchange_id"], [])
        if row["fact"] is not None:
            known.append(KeyFact(row["fact"], row["version"], row["response_code"], row["at"]))
    return [
        KeyExchange(
            number, row["acquirer"], row["usage"], row["asked_by"], row["asked_at"],
            tuple(facts[number]), row["age_s"],
        )
        for number, row in rows.items()
    ]  # fmt: skip
