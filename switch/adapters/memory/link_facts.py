"""What happened on links, in memory: `store_ports.LinkFacts`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switch.adapters.memory.facts import Facts
    from switch.store_ports import UnmatchedRow, UnmatchedWanted


class MemoryLinkFacts:
    def __init__(self, store: Facts) -> None:
        self._store = store

    async def keep_unmatched(self, rows: Sequence[UnmatchedRow]) -> None:
        await asyncio.sleep(0)
        for row in rows:
            self._store.unmatched.setdefault((row.owner_id, row.seq), row)

    async def unmatched(self, wanted: UnmatchedWanted, limit: int) -> list[UnmatchedRow]:
        await asyncio.sleep(0)
        found = [
            row
            for row in self._store.unmatched.values()
            if wanted.acquirer in ("", row.answer.acquirer)
            and wanted.reason in ("", row.answer.reason)
            and (wanted.since is None or row.received_at >= wanted.since)
            and (
                wanted.request_id is None
                or (
                    (row.answer.nearest is not None)
                    and row.answer.nearest.request_id == wanted.request_id
                )
            )
        ]
        found.reverse()
        return sorted(found, key=lambda row: row.received_at, reverse=True)[:limit]
