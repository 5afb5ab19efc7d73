"""Alerts and counters of risk rules in memory: `store_ports.Risk`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from switch.store_ports import AlertAct, CounterTold, RiskAlert

if TYPE_CHECKING:
    from switch.adapters.memory.facts import Facts


class MemoryRisk:
    def __init__(self, store: Facts) -> None:
        self._store = store

    async def alerts(self) -> list[RiskAlert]:
        await asyncio.sleep(0)
        return sorted(self._store.risk_alerts.values(), key=lambda each: each.alert_id)

    async def alert(self, alert_id: int) -> RiskAlert | None:
        return next((each for each in await self.alerts() if each.alert_id == alert_id), None)

    async def act(self, alert_id: int, after: int, act: str, operator: str, reason: str) -> bool:
        await asyncio.sleep(0)
        for key, alert in self._store.risk_alerts.items():
            if alert.alert_id == alert_id and len(alert.acts) == after:
                done = AlertAct(act, operator, reason, self._store.clock.now())
                self._store.risk_alerts[key] = msgspec.structs.replace(
                    alert, acts=(*alert.acts, done)
                )
                return True
        return False

    async def counters(self, rule: str, limit: int) -> list[CounterTold]:
        await asyncio.sleep(0)
        found = [
            CounterTold(counter, subject, bucket, held[0], held[1])
            for (counter, subject), buckets in self._store.risk_buckets.items()
            for bucket, held in buckets.items()
            if counter.startswith(f"{rule}/") or not rule
        ]
        return sorted(found, key=lambda each: (each.counter, each.subject, each.bucket))[:limit]
