"""Stored keys as their custodians see them: under which LMK, in force or not (schema/0012)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from settlement.adapters import four_eyes_postgres as transactions
from switch.adapters.postgres.reference import KEY_COLUMNS
from switch.key_rotation import Holder, SessionKeys
from switch.store_ports import SESSIONS_LOOKED_AT
from terminals.registry import StoredKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsm.keys import KeyBlock
    from switch.adapters.postgres.sessions import Sessions

_HOLD = """
    INSERT INTO switch.lmk_holder (node, worker, lmk_ids) VALUES ($1, $2, $3)
    ON CONFLICT (node, worker) DO UPDATE SET lmk_ids = $3, held_at = clock_timestamp()
"""
_HOLDERS = """
    SELECT DISTINCT o.node, o.worker, coalesce(h.lmk_ids, '{}') AS lmk_ids
    FROM switch.owner AS o LEFT JOIN switch.lmk_holder AS h USING (node, worker)
    WHERE o.closed_at IS NULL AND o.taken_by IS NULL AND o.lease_until > clock_timestamp()
    ORDER BY o.node, o.worker
"""
# A key that a network device keeps has a colon (`hsm.host.client.block_of`), a key block of ours none:
# no LMK of ours moves it.
_KEYS = """
    SELECT owner, usage, version, block, check_value, lmk_id FROM switch.stored_key
    WHERE lmk_id <> $1 AND strpos(block, ':') = 0 AND (owner, usage, version) > ($3, $4, $5) AND ($6 = '' OR owner = $6)
    ORDER BY owner, usage, version LIMIT $2
"""
_KEYS_OF = f"""
    SELECT {KEY_COLUMNS} FROM switch.stored_key
    WHERE owner = $1 AND usage = $2 ORDER BY version DESC
"""  # noqa: S608 # a constant
_SESSIONS = """
    SELECT session_id, pik, mak, tdk FROM switch.session
    WHERE session_id > $2 AND lmk_id IS DISTINCT FROM $1 AND lmk_id IS DISTINCT FROM ''
      AND strpos(pik, ':') = 0
    ORDER BY session_id LIMIT $3
"""
_UNDER = """
    SELECT (SELECT count(*) FROM switch.stored_key WHERE lmk_id = $1) AS keys,
           (SELECT count(*) FROM switch.session WHERE lmk_id = $1 OR lmk_id IS NULL) AS sessions
"""
_LEFT = """
    SELECT (SELECT count(*) FROM switch.stored_key
            WHERE lmk_id <> $1 AND strpos(block, ':') = 0) AS keys,
           (SELECT count(*) FROM switch.session
            WHERE lmk_id IS DISTINCT FROM $1 AND lmk_id IS DISTINCT FROM ''
              AND strpos(pik, ':') = 0) AS sessions
"""


class PostgresKeyCustody:
    """`switch.key_rotation.Custody`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def hold(self, node: str, worker: int, lmk_ids: Sequence[str]) -> None:
        await self._sessions.execute(_HOLD, node, worker, list(lmk_ids))

    async def holders(self) -> list[Holder]:
        rows = await self._sessions.rows(_HOLDERS)
        return [Holder(row["node"], row["worker"], tuple(row["lmk_ids"])) for row in rows]

    async def under(self, lmk_id: str) -> tuple[int, int]:
        row = (await self._sessions.rows(_UNDER, lmk_id))[0]
        return row["keys"], row["sessions"]

    async def left(self, lmk_id: str) -> tuple[int, int]:
        row = (await self._sessions.rows(_LEFT, lmk_id))[0]
        return row["keys"], row["sessions"]

    async def keys_not_under(
        self, lmk_id: str, after: StoredKey | None, limit: int, *, owner: str = ""
    ) -> list[StoredKey]:
        place = (after.owner, after.usage, after.version) if after else ("", "", 0)
        rows = await self._sessions.rows(_KEYS, lmk_id, limit, *place, owner)
        return [StoredKey(**dict(row)) for row in rows]

    async def keys_of(self, owner: str, usage: str) -> list[StoredKey]:
        rows = await self._sessions.rows(_KEYS_OF, owner, usage)
        return [StoredKey(**dict(row)) for row in rows]

    async def rewrap_keys(
        self, lmk_id: str, former: Sequence[StoredKey], blocks: Sequence[KeyBlock], maker: str
    ) -> int:
        async def write(connection: Any) -> int:
            changed: int = await connection.fetchval(
                "SELECT switch.rewrap_keys($1, $2, $3, $4, $5, $6)",
                [key.owner for key in former],
                [key.usage for key in former],
                [key.version for key in former],
                [key.block for key in former],
                [block.block for block in blocks],
                lmk_id,
            )
            await transactions.audit(
                connection, maker, "keys.rotate", f"lmk:{lmk_id}", None, {"keys": changed}
            )
            return changed

        return await self._sessions.transaction(write)

    async def sessions_not_under(self, lmk_id: str, after: int, limit: int) -> list[SessionKeys]:
        rows = await self._sessions.rows(_SESSIONS, lmk_id, after, limit)
        return [SessionKeys(**dict(row)) for row in rows]

    async def erase_superseded(self, session_ids: Sequence[int]) -> set[int]:
        rows = await self._sessions.rows(
            "SELECT switch.erase_sessions($1, $2) AS session_id",
            list(session_ids),
            SESSIONS_LOOKED_AT,
        )
        return {row["session_id"] for row in rows}

    async def rewrap_sessions(
        self, lmk_id: str, former: Sequence[SessionKeys], later: Sequence[SessionKeys]
    ) -> int:
        changed: int = await self._sessions.value(
            "SELECT switch.rewrap_sessions($1, $2, $3, $4, $5, $6)",
            [keys.session_id for keys in former],
            [keys.pik for keys in former],
            [keys.pik for keys in later],
            [keys.mak for keys in later],
            [keys.tdk for keys in later],
            lmk_id,
        )
        return changed

    async def activate(self, owner: str, usage: str, version: int, maker: str) -> bool:
        return await self._end("activate", "keys.activate", (owner, usage, version), maker)

    async def retire(self, owner: str, usage: str, version: int, maker: str) -> bool:
        return await self._end("retire", "keys.retire", (owner, usage, version), maker)

    async def _end(self, verb: str, act: str, key: tuple[str, str, int], maker: str) -> bool:
        async def write(connection: Any) -> bool:
            done = await connection.fetchval(f"SELECT switch.{verb}_key($1, $2, $3)", *key)
            if done:
                subject = f"{key[0]} {key[1]}"
                await transactions.audit(connection, maker, act, subject, None, {"version": key[2]})
            return bool(done)

        return await self._sessions.transaction(write)
