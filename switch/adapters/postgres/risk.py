"""Counters and alerts of risk rules in PostgreSQL: under a decision's locks, and for who works alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from settlement.adapters import four_eyes_postgres as transactions
from switch.journal import AlertRow, Counted, FindCounted
from switch.store_ports import AlertAct, CounterTold, RiskAlert

if TYPE_CHECKING:
    from switch.adapters.postgres.sessions import Sessions
    from switch.journal import Find


async def lock_and_count(connection: Any, find: Find) -> tuple[Counted, ...]:
    """The counters that a decision asks for; nobody else decides on them until it ends."""
    if not isinstance(find, FindCounted) or not find.counts:
        return ()
    rows = await connection.fetch(
        "SELECT count, amount_minor, newest FROM switch.risk_count($1, $2, $3)",
        [count.counter for count in find.counts],
        [count.subject for count in find.counts],
        [count.from_bucket for count in find.counts],
    )
    return tuple(Counted(row["count"], row["amount_minor"], row["newest"]) for row in rows)


_ALERTS = """
    SELECT a.*, t.act, t.operator, t.reason, t.at
    FROM switch.risk_alert AS a LEFT JOIN switch.risk_alert_act AS t USING (alert_id)
    WHERE $1::bigint IS NULL OR a.alert_id = $1
    ORDER BY a.alert_id, t.seq
"""


class PostgresRisk:
    """`store_ports.Risk`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def alerts(self) -> list[RiskAlert]:
        return await self._read(None)

    async def alert(self, alert_id: int) -> RiskAlert | None:
        return next(iter(await self._read(alert_id)), None)

    async def _read(self, alert_id: int | None) -> list[RiskAlert]:
        acts: dict[int, list[AlertAct]] = {}
        rows: dict[int, Any] = {}
        for row in await self._sessions.rows(_ALERTS, alert_id):
            rows[row["alert_id"]] = row
            done = acts.setdefault(row["alert_id"], [])
            if row["act"] is not None:
                done.append(AlertAct(row["act"], row["operator"], row["reason"], row["at"]))
        names = AlertRow.__struct_fields__
        return [
            RiskAlert(
                number,
                AlertRow(**{name: row[name] for name in names}),
                row["business_date"],
                tuple(acts[number]),
            )
            for number, row in rows.items()
        ]

    async def act(self, alert_id: int, after: int, act: str, operator: str, reason: str) -> bool:
        """The act and its line in the audit log stand together."""

        async def write(connection: Any) -> bool:
            made = await connection.fetchval(
                "INSERT INTO switch.risk_alert_act (alert_id, seq, act, operator, reason)"
                " SELECT $1, $2, $3, $4, $5 FROM switch.risk_alert WHERE alert_id = $1"
                " AND (SELECT count(*) FROM switch.risk_alert_act WHERE alert_id = $1) = $2 - 1"
                " ON CONFLICT DO NOTHING RETURNING true",
                alert_id,
                after + 1,
                act,
                operator,
                reason,
            )
            if made:
                await transactions.audit(
                    connection,
                    operator,
                    f"risk.{act}",
                    f"alert {alert_id}",
                    None,
                    {"reason": reason} if reason else {},
                )
            return bool(made)

        return await self._sessions.transaction(write)

    async def counters(self, rule: str, limit: int) -> list[CounterTold]:
        rows = await self._sessions.rows(
            "SELECT counter, subject, bucket, count, amount_minor FROM switch.risk_bucket"
            " WHERE $1 = '' OR starts_with(counter, $1 || '/')"
            " ORDER BY counter, subject, bucket LIMIT $2",
            rule,
            limit,
        )
        return [CounterTold(**dict(row)) for row in rows]
