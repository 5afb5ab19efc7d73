"""Proposals, approvals and the audit log on PostgreSQL: `switch.people.ports.People`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from settlement.adapters import four_eyes_postgres as transactions
from settlement.four_eyes import Approval, Proposal, RefusedError, canonical, content_hash, require
from switch.people.audit import Record

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

    from settlement.four_eyes import Actor
    from switch.adapters.postgres.sessions import Sessions

_PROPOSAL = "SELECT p.id, p.act, p.subject, p.payload, p.sha256, p.maker, p.made_at"
_PENDING = f"""
    {_PROPOSAL} FROM switch.proposal AS p
    LEFT JOIN switch.approval AS a ON a.proposal_id = p.id
    LEFT JOIN switch.withdrawal AS w ON w.proposal_id = p.id
    WHERE a.proposal_id IS NULL AND w.proposal_id IS NULL
      AND (cardinality($1::text[]) = 0 OR p.act = ANY ($1))
    ORDER BY p.made_at, p.id
"""
_APPROVED = f"""
    {_PROPOSAL}, a.checker FROM switch.proposal AS p
    JOIN switch.approval AS a ON a.proposal_id = p.id
    WHERE p.act = ANY ($1::text[]) ORDER BY p.made_at, p.id
"""
_RECORDS = f"SELECT {', '.join(Record.__struct_fields__)} FROM switch.audit_record ORDER BY seq"  # noqa: S608 # constants
PREFETCH_ROWS = 500


class PostgresPeople:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def propose(
        self, act: str, subject: str, payload: dict[str, object], maker: Actor
    ) -> Proposal:
        require(maker, f"propose:{act}")
        made: str = await self._sessions.value(
            "SELECT switch.propose_v1($1, $2, $3, $4)",
            act,
            subject,
            canonical(payload),
            maker.operator,
        )
        proposal = await self.proposal(made)
        assert proposal is not None
        assert proposal.sha256 == content_hash(act, subject, payload), made
        return proposal

    async def proposal(self, proposal_id: str) -> Proposal | None:
        query = f"{_PROPOSAL} FROM switch.proposal AS p WHERE p.id = $1"
        rows = await self._sessions.rows(query, proposal_id)
        return _proposal(rows[0]) if rows else None

    async def pending(self, acts: Collection[str] = ()) -> list[Proposal]:
        return [_proposal(row) for row in await self._sessions.rows(_PENDING, sorted(acts))]

    async def used(self, proposal_id: str) -> bool:
        found: bool = await self._sessions.value(
            "SELECT EXISTS (SELECT FROM switch.approval WHERE proposal_id = $1)", proposal_id
        )
        return found

    async def approved(self, acts: Collection[str]) -> list[Approval]:
        rows = await self._sessions.rows(_APPROVED, sorted(acts))
        return [Approval(_proposal(row), row["checker"]) for row in rows]

    async def approve(self, approval: Approval) -> None:
        await self._sessions.transaction(lambda each: transactions.approve(each, approval))

    async def withdraw(self, proposal_id: str, operator: str) -> bool:
        done: bool = await self._sessions.value(
            "SELECT switch.withdraw_v1($1, $2)", proposal_id, operator
        )
        return done

    async def refused(self, operator: str, act: str, subject: str, error: RefusedError) -> None:
        after = {"reason": error.reason, "text": str(error)}
        await self._sessions.transaction(
            lambda each: transactions.audit(each, operator, act, subject, None, after, refused=True)
        )

    async def audit(
        self, actor: str, act: str, subject: str, before: object = None, after: object = None
    ) -> None:
        await self._sessions.transaction(
            lambda each: transactions.audit(each, actor, act, subject, before, after)
        )

    async def records(self) -> AsyncGenerator[Record, None]:
        connection = await self._sessions.pool.take()
        usable = False
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                async for row in connection.cursor(_RECORDS, prefetch=PREFETCH_ROWS):
                    yield Record(**row)
            usable = True
        finally:
            self._sessions.pool.give_back(connection, usable=usable)


def _proposal(row: Any) -> Proposal:
    return Proposal(
        id=row["id"],
        act=row["act"],
        subject=row["subject"],
        payload=msgspec.json.decode(row["payload"]),
        sha256=row["sha256"],
        maker=row["maker"],
        made_at=row["made_at"],
    )
