"""Blocks of numbers, owners of requests and dates: `store_ports.Numbers`, `Owners` and `Days`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg

from switch.adapters.postgres.rows import attempt_of, attempts_of, request_of
from switch.store_ports import HOLDS_MAX_S, Held, SlotHeld, Undecided

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from switch.adapters.postgres.sessions import Sessions
    from switch.journal import AttemptRow

LEASE_S = 5.0
HOLDERS_POLL_S = 0.001


class PostgresNumbers:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def request_ids(self, count: int) -> tuple[int, int]:
        return await self._block("request", 1, count)

    async def link_stans(self, acquirer: str, count: int) -> tuple[int, int]:
        return await self._block(f"stan:{acquirer}", 0, count)

    async def rrns(self, count: int) -> tuple[int, int]:
        return await self._block("rrn", 0, count)

    async def _block(self, name: str, first: int, count: int) -> tuple[int, int]:
        assert count > 0
        given = await self._sessions.value(
            "INSERT INTO switch.number_block AS b (name, given) VALUES ($1, $2::bigint + $3::bigint)"
            " ON CONFLICT (name) DO UPDATE SET given = b.given + $3::bigint RETURNING given",
            name,
            first,
            count,
        )
        return given - count, given - 1


class PostgresOwners:
    """`leases` is kept free for what a process lives by; the rest waits its turn on `sessions`."""

    def __init__(self, leases: Sessions, sessions: Sessions, lease_s: float = LEASE_S) -> None:
        self._leases = leases
        self._sessions = sessions
        self._lease_s = lease_s

    async def register(self, node: str, worker: int) -> int:
        owner_id: int = await self._leases.value(
            "INSERT INTO switch.owner (node, worker, lease_until, undecided_from_id)"
            " VALUES ($1, $2, clock_timestamp() + $3::float8 * interval '1 second',"
            " coalesce((SELECT given FROM switch.number_block WHERE name = 'request'), 1))"
            " RETURNING owner_id",
            node,
            worker,
            self._lease_s,
        )
        return owner_id

    async def renew(self, owner_id: int, undecided_from_id: int) -> bool:
        renewed = await self._leases.value(
            "UPDATE switch.owner SET lease_until = clock_timestamp()"
            " + $3::float8 * interval '1 second', undecided_from_id = $2"
            " WHERE owner_id = $1 AND closed_at IS NULL AND taken_by IS NULL"
            " AND lease_until > clock_timestamp() RETURNING true",
            owner_id,
            undecided_from_id,
            self._lease_s,
        )
        return renewed is True

    async def release(self, owner_id: int) -> None:
        """Closed where nothing is undecided; else its lease ends now and others take over.

        It takes itself over first: like every other taken owner it can store no request any more, so
        what is counted after the wait is all there will be.
        """
        await self._leases.execute(
            "UPDATE switch.owner SET lease_until = clock_timestamp(),"
            " taken_by = coalesce(taken_by, owner_id) WHERE owner_id = $1",
            owner_id,
        )
        await wait_for_holders(self._sessions)
        await self._close("o.owner_id = $1", owner_id)

    async def take_over(
        self, owner_id: int, node: str, worker: int, *, at_start: bool = False
    ) -> list[Undecided]:
        """First the mark, then the wait for commits that have not seen it, then the reading."""

        async def take(connection: Any) -> int | None:
            # who lives renews it in time; who is dead is not waited for longer than this
            await connection.execute(
                "UPDATE switch.owner"
                " SET lease_until = clock_timestamp() + $1::float8 * interval '1 second'"
                " WHERE closed_at IS NULL"
                " AND lease_until > clock_timestamp() + $1::float8 * interval '1 second'",
                HOLDS_MAX_S,
            )
            # of the owners found nobody else can take one: their rows are locked or skipped
            lowest: int | None = await connection.fetchval(
                """
                WITH candidate AS (
                    SELECT o.owner_id FROM switch.owner AS o
                    LEFT JOIN switch.owner AS t ON t.owner_id = o.taken_by
                    WHERE o.closed_at IS NULL AND o.owner_id <> $1
                      AND (o.taken_by = $1 OR o.lease_until < clock_timestamp()
                           OR ($4 AND o.node = $2 AND o.worker = $3 AND o.owner_id < $1))
                      AND (t.owner_id IS NULL OR t.owner_id = $1 OR t.closed_at IS NOT NULL
                           OR t.lease_until < clock_timestamp()
                           OR ($4 AND t.node = $2 AND t.worker = $3 AND t.owner_id < $1))
                    ORDER BY o.owner_id
                    FOR UPDATE OF o SKIP LOCKED
                ), taken AS (
                    UPDATE switch.owner AS o SET taken_by = $1 FROM candidate AS c
                    WHERE o.owner_id = c.owner_id
                    RETURNING o.undecided_from_id
                )
                SELECT min(undecided_from_id) FROM taken
                """,
                owner_id,
                node,
                worker,
                at_start,
            )
            return lowest

        lowest = await self._sessions.transaction(take)
        if lowest is None:
            return []
        await wait_for_holders(self._sessions)

        async def read(connection: Any) -> list[Undecided]:
            found = await connection.fetch(
                f"""
                SELECT r.* FROM switch.request AS r
                JOIN switch.owner AS w USING (owner_id)
                WHERE r.request_id >= $2 AND w.taken_by = $1 AND w.closed_at IS NULL
                  AND r.request_id >= w.undecided_from_id AND {UNDECIDED}
                ORDER BY r.request_id
                """,  # noqa: S608 # a constant
                owner_id,
                lowest,
            )
            later = await attempts_later(connection, [row["request_id"] for row in found])
            return [
                Undecided(
                    request=request_of(row),
                    request_date=row["request_date"],
                    attempts=attempts_of(row, later.get(row["request_id"], [])),
                )
                for row in found
            ]

        undecided: list[Undecided] = await self._sessions.transaction(read)
        if not undecided:
            await self.recovered(owner_id, [])
        return undecided

    async def recovered(self, owner_id: int, request_ids: Sequence[int]) -> None:
        """Which requests they were does not matter here: the journal says what is left."""
        del request_ids
        await self._close("o.taken_by = $1", owner_id)

    async def hold_slots(
        self, owner_id: int, acquirer: str, granted: int, keep: Sequence[int]
    ) -> Held:
        (row,) = await self._leases.rows(
            "SELECT share, held FROM switch.hold_slots($1, $2, $3, $4)",
            acquirer,
            owner_id,
            granted,
            keep,
        )
        return Held(row["share"], tuple(row["held"]))

    async def tell_connected(
        self, owner_id: int, acquirer: str, connected: Sequence[int]
    ) -> tuple[SlotHeld, ...]:
        rows = await self._leases.rows(
            """
            WITH told AS (
                UPDATE switch.link_slot AS s SET connected = s.slot = ANY ($3)
                WHERE s.acquirer = $2 AND s.owner_id = $1
                  AND s.connected IS DISTINCT FROM (s.slot = ANY ($3))
                RETURNING s.slot, s.connected)
            SELECT s.slot, o.node, coalesce(t.connected, s.connected) AS connected
            FROM switch.link_slot AS s JOIN switch.owner AS o USING (owner_id)
            LEFT JOIN told AS t ON t.slot = s.slot
            WHERE s.acquirer = $2 AND switch.lives(o) ORDER BY s.slot
            """,
            owner_id,
            acquirer,
            connected,
        )
        return tuple(SlotHeld(row["slot"], row["node"], row["connected"]) for row in rows)

    async def _close(self, which: str, owner_id: int) -> None:
        await self._sessions.execute(
            f"""
            UPDATE switch.owner AS o SET closed_at = clock_timestamp()
            WHERE {which} AND o.closed_at IS NULL
              AND NOT EXISTS (
                SELECT FROM switch.request AS r
                WHERE r.request_id >= o.undecided_from_id AND r.owner_id = o.owner_id
                  AND {UNDECIDED})
            """,  # noqa: S608 # constants
            owner_id,
        )


# r: a request that nothing has decided, nor left to the queue. An item that was given up there has
# no outcome and is nobody's work either: reconciliation settles it (rules §8).
UNDECIDED = """r.type <> 'tombstone'
    AND NOT EXISTS (SELECT FROM switch.outcome AS o
                    WHERE (o.request_id, o.request_date) = (r.request_id, r.request_date))
    AND NOT EXISTS (SELECT FROM switch.queue_item AS q
                    WHERE q.request_id = r.request_id AND q.kind = 'repeat')"""


async def attempts_later(
    connection: Any, request_ids: Sequence[int]
) -> dict[int, list[AttemptRow]]:
    """The attempts that were committed after their requests, in order."""
    found: dict[int, list[AttemptRow]] = {}
    for row in await connection.fetch(
        "SELECT * FROM switch.attempt WHERE request_id = ANY ($1) ORDER BY request_id, attempt",
        request_ids,
    ):
        found.setdefault(row["request_id"], []).append(attempt_of(row))
    return found


async def wait_for_holders(sessions: Sessions) -> None:
    """Return when every transaction that is inside the gate now has ended."""
    before = set(await sessions.column("SELECT switch.holders()"))
    while before:
        await asyncio.sleep(HOLDERS_POLL_S)
        before &= set(await sessions.column("SELECT switch.holders()"))


class PostgresDays:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def business_date(self) -> dt.date:
        today: dt.date = await self._sessions.value("SELECT business_date FROM switch.business_day")
        return today

    async def state(self, business_date: dt.date) -> str | None:
        state: str | None = await self._sessions.value(
            "SELECT state FROM switch.business_date WHERE business_date = $1", business_date
        )
        return state

    async def cut_over(self, new_date: dt.date) -> None:
        await self._call("SELECT switch.cut_over($1)", new_date)

    async def freeze(self, business_date: dt.date) -> int:
        left: int = await self._call("SELECT switch.freeze($1)", business_date)
        return left

    async def mark_posted(self, business_date: dt.date) -> None:
        await self._call("SELECT switch.mark_posted($1)", business_date)

    async def _call(self, query: str, business_date: dt.date) -> Any:
        try:
            return await self._sessions.value(query, business_date)
        except (
            asyncpg.ObjectNotInPrerequisiteStateError,
            asyncpg.InvalidParameterValueError,
        ) as error:
            raise ValueError(str(error)) from error
