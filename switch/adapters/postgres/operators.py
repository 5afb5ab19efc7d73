"""Operators on PostgreSQL: `switch.people.ports.Operators`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from settlement.adapters import four_eyes_postgres as transactions
from switch.people.credentials import Credential
from switch.people.login import Standing, Verdict
from switch.people.operators import ADMINS, Operator, check_change, check_key

if TYPE_CHECKING:
    from settlement.four_eyes import Approval
    from switch.adapters.postgres.sessions import Sessions
    from switch.people.ports import Judge

LOCK = 8588  # of pg_advisory_xact_lock: with 0 who may be made, with a hash an operator's tries

_OPERATOR = "id, version, name, roles, state"
_CREDENTIAL = "operator, kind, secret, totp, public_key, expires_at"
_FAILURES = """
    SELECT at FROM switch.login WHERE operator = $1 AND result = 'failed' AND seq > coalesce(
        (SELECT max(seq) FROM switch.login WHERE operator = $1 AND result <> 'failed'), 0)
    ORDER BY seq DESC LIMIT 100
"""
_TRIED = """
    INSERT INTO switch.login (operator, seq, result, totp_step)
    SELECT $1, 1 + coalesce(max(seq), 0), $2, $3 FROM switch.login WHERE operator = $1
"""
_CHANGED = f"""
    INSERT INTO switch.operator (id, version, name, roles, state)
    SELECT $1, 1 + coalesce(max(version), 0), $2, $3, $4 FROM switch.operator WHERE id = $1
    RETURNING {_OPERATOR}
"""  # noqa: S608 # constants
_HOLDER = """
    SELECT operator FROM switch.credential WHERE public_key = $1 AND public_key <> ''
    ORDER BY made_at, operator LIMIT 1
"""
_MADE_BEFORE = """
    SELECT count(DISTINCT id) AS operators, coalesce(bool_or(id = $1), false) AS taken,
           count(DISTINCT id) FILTER (WHERE 'admin' = ANY (roles)) AS admins
    FROM switch.operator
"""
_ENROLLED = f"""
    INSERT INTO switch.credential ({_CREDENTIAL}, version)
    SELECT $1, $2, $3, $4, $5, $6, 1 + coalesce(max(version), 0) FROM switch.credential
    WHERE operator = $1
"""  # noqa: S608


class PostgresOperators:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def operators(self) -> list[Operator]:
        rows = await self._sessions.rows(
            f"SELECT DISTINCT ON (id) {_OPERATOR} FROM switch.operator ORDER BY id, version DESC"  # noqa: S608
        )
        return [_operator(row) for row in rows]

    async def credential(self, operator_id: str) -> Credential | None:
        return await self._sessions.transaction(lambda each: _credential(each, operator_id))

    async def login(self, operator_id: str, judge: Judge) -> Verdict:
        return await self._sessions.transaction(lambda each: _tried(each, operator_id, judge))

    async def enrol(self, operator_id: str, judge: Judge, credential: Credential) -> Verdict:
        async def write(connection: Any) -> Verdict:
            verdict = await _tried(connection, operator_id, judge)
            if verdict.passed:
                await connection.execute(_ENROLLED, *msgspec.structs.astuple(credential))
                after = {"credential": credential.kind}
                await transactions.audit(
                    connection, operator_id, "operator.enrol", operator_id, None, after
                )
            return verdict

        return await self._sessions.transaction(write)

    async def bootstrap(
        self, operator: Operator, credential: Credential, actor: str, *, first: bool
    ) -> bool:
        async def write(connection: Any) -> bool:
            await _alone(connection)
            row = await connection.fetchrow(_MADE_BEFORE, operator.id)
            if row["admins"] >= ADMINS or row["taken"] or first != (row["operators"] == 0):
                return False
            act = "operator.bootstrap"
            await _change(connection, act, actor, None, operator, credential)
            return True

        return await self._sessions.transaction(write)

    async def change(
        self,
        act: str,
        actor: str,
        operator: Operator,
        credential: Credential | None = None,
        approval: Approval | None = None,
    ) -> Operator:
        async def write(connection: Any) -> Operator:
            await _alone(connection)
            former = await _newest(connection, operator.id)
            public_key = None if credential is None else credential.public_key
            check_change(act, former, operator, public_key, approval)
            made = await _change(connection, act, actor, former, operator, credential)
            if approval is not None:
                await transactions.approve(connection, approval)
            return made

        return await self._sessions.transaction(write)

    async def unlock(self, operator_id: str, actor: str) -> None:
        async def write(connection: Any) -> None:
            await _alone(connection, operator_id)
            await connection.execute(_TRIED, operator_id, "unlocked", None)
            await transactions.audit(connection, actor, "operator.unlock", operator_id)

        await self._sessions.transaction(write)


async def _alone(connection: Any, operator_id: str = "") -> None:
    """Nobody else changes operators, or tries to be this one, until the transaction ends."""
    key = "SELECT pg_advisory_xact_lock($1, CASE WHEN $2 = '' THEN 0 ELSE hashtext($2) END)"
    await connection.execute(key, LOCK, operator_id)


async def _tried(connection: Any, operator_id: str, judge: Judge) -> Verdict:
    await _alone(connection, operator_id)
    verdict = judge(await _standing(connection, operator_id))
    if verdict.counts:
        result = "passed" if verdict.passed else "failed"
        await connection.execute(_TRIED, operator_id, result, verdict.totp_step)
    if not verdict.passed:
        after = {"reason": verdict.reason}
        await transactions.audit(
            connection, operator_id or "?", "login", operator_id, None, after, refused=True
        )
    return verdict


async def _standing(connection: Any, operator_id: str) -> Standing:
    failures = await connection.fetch(_FAILURES, operator_id)
    return Standing(
        now=await connection.fetchval("SELECT clock_timestamp()"),
        operator=await _newest(connection, operator_id),
        credential=await _credential(connection, operator_id),
        failures=tuple(row["at"] for row in reversed(failures)),
        totp_step=await connection.fetchval(
            "SELECT coalesce(max(totp_step), 0) FROM switch.login WHERE operator = $1", operator_id
        ),
    )


async def _newest(connection: Any, operator_id: str) -> Operator | None:
    row = await connection.fetchrow(
        f"SELECT {_OPERATOR} FROM switch.operator WHERE id = $1 ORDER BY version DESC LIMIT 1",  # noqa: S608
        operator_id,
    )
    return None if row is None else _operator(row)


async def _credential(connection: Any, operator_id: str) -> Credential | None:
    row = await connection.fetchrow(
        f"SELECT {_CREDENTIAL} FROM switch.credential WHERE operator = $1"  # noqa: S608
        " ORDER BY version DESC LIMIT 1",
        operator_id,
    )
    return None if row is None else Credential(**row)


async def _change(
    connection: Any,
    act: str,
    actor: str,
    former: Operator | None,
    operator: Operator,
    credential: Credential | None,
) -> Operator:
    row = await connection.fetchrow(
        _CHANGED, operator.id, operator.name, list(operator.roles), operator.state
    )
    made = _operator(row)
    if credential is not None:
        check_key(operator.id, await connection.fetchval(_HOLDER, credential.public_key))
        await connection.execute(_ENROLLED, *msgspec.structs.astuple(credential))
    await transactions.audit(connection, actor, act, operator.id, former, made)
    return made


def _operator(row: Any) -> Operator:
    return Operator(**{**row, "roles": tuple(row["roles"])})
