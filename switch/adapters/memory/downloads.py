"""What terminals have downloaded, in memory: `store_ports.Downloads`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from switch.store_ports import KeptDownload

if TYPE_CHECKING:
    from collections.abc import Callable

    from switch.adapters.memory.facts import Facts
    from switch.store_ports import DownloadFact


class MemoryDownloads:
    def __init__(self, store: Facts) -> None:
        self._store = store

    async def of(self, merchant: str, terminal: str) -> list[KeptDownload]:
        await asyncio.sleep(0)
        newest: dict[tuple[str, bool, bool], KeptDownload] = {}
        for kept in self._store.download_facts.get((merchant, terminal), []):
            newest[kept.fact.topic, kept.fact.act == "ended", kept.fact.shown] = kept
        addresses = {each[3] for each in self._store.sources if each[:2] == (merchant, terminal)}
        found = [
            msgspec.structs.replace(
                kept,
                fact=msgspec.structs.replace(
                    kept.fact, shown=kept.fact.shown or kept.fact.address in addresses
                ),
            )
            for kept in newest.values()
        ]
        return sorted(found, key=lambda kept: kept.download_id)

    async def every(self) -> dict[tuple[str, str], list[KeptDownload]]:
        return {who: await self.of(*who) for who in sorted(self._store.download_facts)}

    async def step(
        self,
        merchant: str,
        terminal: str,
        topic: str,
        judge: Callable[[DownloadFact | None], DownloadFact | None],
    ) -> DownloadFact | None:
        await asyncio.sleep(0)
        facts = self._store.download_facts.setdefault((merchant, terminal), [])
        before = next((kept.fact for kept in reversed(facts) if kept.fact.topic == topic), None)
        fact = judge(before)
        if fact is not None:
            self._store.download_count += 1
            facts.append(KeptDownload(self._store.download_count, fact, self._store.clock.now()))
        return fact
