"""Approvals and the audit log within a transaction of any schema (`switch/adapters/schema/0008_people.sql`).

An adapter that commits a privileged act writes its rows, then calls `audit`, with what was before and
after; where the act takes two people, then `approve`. So act, record and approval stand together or
not at all. Nothing may come after these calls: the chain's lock, held from here to the end of the
transaction, is then never held by somebody who waits for another.
"""

from collections.abc import Iterable
from typing import Any, cast, get_args

import asyncpg

from settlement.four_eyes import Approval, Reason, RefusedError, canonical

_AUDIT = "SELECT switch.audit_v1($1, $2, $3, $4, $5, $6)"
FOUR_EYES = "4EYES"  # SQLSTATE of a refused approval; its detail is the reason


async def approve(connection: Any, approval: Approval) -> None:
    """Use the approval, once. Raises RefusedError; the transaction can then only be rolled back."""
    try:
        await connection.execute(
            "SELECT switch.approve_v1($1, $2, $3)",
            approval.proposal.id,
            approval.proposal.sha256,
            approval.checker,
        )
    except asyncpg.PostgresError as error:
        if error.sqlstate != FOUR_EYES:
            raise
        reason = error.detail
        assert reason in get_args(Reason), reason
        raise RefusedError(
            cast("Reason", reason),
            "not_approvable",
            proposal=approval.proposal.id,
            checker=approval.checker,
        ) from error


async def audit(
    connection: Any,
    actor: str,
    act: str,
    subject: str,
    before: object = None,
    after: object = None,
    *,
    refused: bool = False,
) -> None:
    """Append to the audit log: JSON values without secrets, PANs masked."""
    result = "refused" if refused else "done"
    values = subject, canonical(before), canonical(after), result
    await connection.execute(_AUDIT, actor, act, *values)


async def audit_each(
    connection: Any, actor: str, act: str, told: Iterable[tuple[str, object, object]]
) -> None:
    """The same for many objects of one act: (subject, before, after) of each, in order."""
    await connection.executemany(
        _AUDIT,
        [
            (actor, act, subject, canonical(before), canonical(after), "done")
            for subject, before, after in told
        ],
    )
