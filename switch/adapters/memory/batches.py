"""Life of a batch and of a terminal's keys in memory: `store_ports.Batches` (rules §9, §10)."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from typing import TYPE_CHECKING

import msgspec

from switch.adapters.batch_sums import (
    compare,
    counted,
    new_items,
    result_of,
    totals_of,
)
from switch.adapters.memory.facts import KeptBatch
from switch.journal import CaseRow
from switch.store_ports import SESSIONS_LOOKED_AT, Batch, BatchItem, Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switch.adapters.batch_sums import Totals

if TYPE_CHECKING:
    from switch.adapters.memory import MemoryStore


BATCH_NUMBER_MAX = 999_999


class MemoryBatches:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def sign_on(self, session: Session) -> int:
        await asyncio.sleep(0)
        store = self._store
        if session.session_id == 0:
            session = msgspec.structs.replace(session, session_id=len(store.session_rows) + 1)
        stored = msgspec.structs.replace(session, confirmed=False)
        store.session_rows.setdefault(session.session_id, stored)
        rows = store.batch_rows.setdefault((session.merchant, session.terminal), [])
        if not rows or rows[-1].closed:
            rows.append(KeptBatch(rows[-1].number % BATCH_NUMBER_MAX + 1 if rows else 1))
        return rows[-1].number

    async def sessions(self, merchant: str, terminal: str) -> list[Session]:
        await asyncio.sleep(0)
        store = self._store
        found = [
            msgspec.structs.replace(row, confirmed=row.session_id in store.confirmed)
            for row in store.session_rows.values()
            if (row.merchant, row.terminal) == (merchant, terminal)
        ]
        found.sort(key=lambda row: -row.session_id)
        former = sorted(found[1:SESSIONS_LOOKED_AT], key=lambda row: not row.confirmed)
        return found[:1] + former[:1]

    async def standing(self, merchant: str, terminal: str) -> tuple[list[Session], Batch | None]:
        sessions = await self.sessions(merchant, terminal)
        return sessions, await self.current(merchant, terminal)

    async def confirm_session(self, session_id: int) -> None:
        await asyncio.sleep(0)
        self._store.confirmed[session_id] = None

    async def note_source(self, merchant: str, terminal: str, batch: int, address: str) -> None:
        await asyncio.sleep(0)
        self._store.sources[merchant, terminal, batch, address] = None

    async def source_known(self, merchant: str, terminal: str, batch: int, address: str) -> bool:
        await asyncio.sleep(0)
        return (merchant, terminal, batch, address) in self._store.sources

    async def current(self, merchant: str, terminal: str) -> Batch | None:
        await asyncio.sleep(0)
        rows = self._store.batch_rows.get((merchant, terminal))
        newest = self._read(merchant, terminal, rows[-1].number) if rows else None
        return None if newest is None else msgspec.structs.replace(newest, uploaded=())

    async def get(self, merchant: str, terminal: str, batch: int) -> Batch | None:
        await asyncio.sleep(0)
        return self._read(merchant, terminal, batch)

    async def freeze(self, merchant: str, terminal: str, batch: int) -> int:
        await asyncio.sleep(0)
        row = self._store.find_batch(merchant, terminal, batch)
        if row is not None:
            row.frozen = True
        return self._left(merchant, terminal, batch)

    def _left(self, merchant: str, terminal: str, batch: int) -> int:
        ids = self._store.by_batch.get((merchant, terminal, batch), [])
        return sum(self._store.is_left(each) for each in ids)

    async def settle(
        self, merchant: str, terminal: str, batch: int, terminal_totals: Totals
    ) -> Batch:
        await asyncio.sleep(0)
        if self._left(merchant, terminal, batch):
            raise ValueError(f"batch {batch} has requests in flight")
        row = self._store.find_batch(merchant, terminal, batch)
        assert row is not None
        if row.settled_at is None:
            row.frozen = True
            row.settled_at = self._store.clock.now()
            row.said = terminal_totals
            row.ours = totals_of(self._store.captured(merchant, terminal, batch))
            row.result = result_of(row.said, row.ours)
            row.closed = row.said == row.ours
        settled = self._read(merchant, terminal, batch)
        assert settled is not None
        return settled

    async def upload(
        self, merchant: str, terminal: str, batch: int, items: Sequence[BatchItem]
    ) -> Batch | None:
        await asyncio.sleep(0)
        row = self._store.find_batch(merchant, terminal, batch)
        if row is None:
            return None
        for item in new_items(items, row.uploaded.keys() | row.evidence.keys()):
            (row.evidence if row.closed else row.uploaded)[item.stan] = item
        return self._read(merchant, terminal, batch)

    async def finish_upload(self, merchant: str, terminal: str, batch: int) -> Batch | None:
        await asyncio.sleep(0)
        store = self._store
        row = store.find_batch(merchant, terminal, batch)
        if row is not None and row.state == "uploading":
            uploaded = [row.uploaded[stan] for stan in sorted(row.uploaded)]
            commit_id = store.next_commit_id()
            differences = compare(store.captured(merchant, terminal, batch), uploaded)
            for seq, each in enumerate(differences):
                store.cases[commit_id, seq] = CaseRow(
                    kind=each.kind,
                    request_id=each.request_id,
                    merchant=merchant,
                    terminal=terminal,
                    detail=json.dumps({"batch": batch} | json.loads(each.detail)),
                    opened_at=store.clock.now(),
                )
            row.closed = True
        return self._read(merchant, terminal, batch)

    async def overdue_uploads(self, older_than_s: float) -> list[Batch]:
        await asyncio.sleep(0)
        before = self._store.clock.now() - dt.timedelta(seconds=older_than_s)
        found = []
        for (merchant, terminal), rows in sorted(self._store.batch_rows.items()):
            for row in rows:
                settled_at = row.settled_at
                if not row.closed and settled_at is not None and settled_at < before:
                    found.append((settled_at, merchant, terminal, row.number))
        batches = [self._read(*each[1:]) for each in sorted(found)[:100]]
        return [each for each in batches if each is not None]

    def _read(self, merchant: str, terminal: str, batch: int) -> Batch | None:
        row = self._store.find_batch(merchant, terminal, batch)
        if row is None:
            return None
        return Batch(
            merchant=merchant,
            terminal=terminal,
            batch=batch,
            state=row.state,
            items=counted(self._store.captured(merchant, terminal, batch)),
            terminal_totals=row.said,
            totals=row.ours,
            result=row.result,
            uploaded=tuple(row.uploaded[stan] for stan in sorted(row.uploaded)),
        )
