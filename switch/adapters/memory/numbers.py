"""Blocks of numbers, owners of requests and dates in memory: `store_ports.Numbers`, `Owners`, `Days`."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING

from switch.adapters.memory.facts import KeptOwner, KeptSlot
from switch.slots import shares
from switch.store_ports import HOLDS_MAX_S, Held, SlotHeld, Undecided

if TYPE_CHECKING:
    from collections.abc import Sequence


if TYPE_CHECKING:
    from switch.adapters.memory import MemoryStore


HOLDS_MAX = dt.timedelta(seconds=HOLDS_MAX_S)


class MemoryNumbers:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def request_ids(self, count: int) -> tuple[int, int]:
        return await self._block("request", 1, count)

    async def link_stans(self, acquirer: str, count: int) -> tuple[int, int]:
        return await self._block(f"stan:{acquirer}", 0, count)

    async def rrns(self, count: int) -> tuple[int, int]:
        return await self._block("rrn", 0, count)

    async def _block(self, name: str, first: int, count: int) -> tuple[int, int]:
        assert count > 0
        await asyncio.sleep(0)
        start = self._store.blocks.get(name, first)
        self._store.blocks[name] = start + count
        return start, start + count - 1


class MemoryOwners:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def register(self, node: str, worker: int) -> int:
        await asyncio.sleep(0)
        store = self._store
        owner_id = len(store.owner_rows) + 1
        store.owner_rows[owner_id] = KeptOwner(
            owner_id=owner_id,
            node=node,
            worker=worker,
            lease_until=store.clock.now() + store.lease,
            undecided_from_id=store.blocks.get("request", 1),
        )
        return owner_id

    async def renew(self, owner_id: int, undecided_from_id: int) -> bool:
        await asyncio.sleep(0)
        owner = self._store.owner_rows.get(owner_id)
        now = self._store.clock.now()
        if owner is None or owner.closed or owner.taken_by is not None or owner.lease_until <= now:
            return False
        owner.lease_until = now + self._store.lease
        owner.undecided_from_id = undecided_from_id
        return True

    async def release(self, owner_id: int) -> None:
        await asyncio.sleep(0)
        owner = self._store.owner_rows[owner_id]
        owner.lease_until = self._store.clock.now()
        if owner.taken_by is None:
            owner.taken_by = owner_id  # it stores no request any more
        if not self._left(owner):
            owner.closed = True

    async def take_over(
        self, owner_id: int, node: str, worker: int, *, at_start: bool = False
    ) -> list[Undecided]:
        await asyncio.sleep(0)
        store = self._store
        now = store.clock.now()

        def over(owner: KeptOwner) -> bool:
            own_earlier = (owner.node, owner.worker) == (node, worker) and owner.owner_id < owner_id
            return (at_start and own_earlier) or owner.lease_until <= now

        for owner in store.owner_rows.values():
            owner.lease_until = min(owner.lease_until, now + HOLDS_MAX)
        left: list[int] = []
        for owner in store.owner_rows.values():
            if owner.closed or owner.owner_id == owner_id:
                continue
            if owner.taken_by != owner_id and not over(owner):
                continue
            if owner.taken_by not in (None, owner_id):
                taker = store.owner_rows[owner.taken_by]
                if not taker.closed and not over(taker):
                    continue
            owner.taken_by = owner_id
            left += self._left(owner)
        if not left:
            await self.recovered(owner_id, [])
        return [
            Undecided(
                request=store.requests[each].row,
                request_date=store.requests[each].date,
                attempts=tuple(store.requests[each].attempts),
            )
            for each in sorted(left)
        ]

    async def recovered(self, owner_id: int, request_ids: Sequence[int]) -> None:
        del request_ids
        await asyncio.sleep(0)
        for owner in self._store.owner_rows.values():
            if owner.taken_by == owner_id and not self._left(owner):
                owner.closed = True

    async def hold_slots(
        self, owner_id: int, acquirer: str, granted: int, keep: Sequence[int]
    ) -> Held:
        await asyncio.sleep(0)
        slots, rows = self._store.link_slots, self._store.owner_rows
        for at, kept in list(slots.items()):
            given_back = kept.owner_id == owner_id and at[1] not in keep
            if at[0] == acquirer and (given_back or not self._lives(rows[kept.owner_id])):
                del slots[at]
        holders = [kept.owner_id for (name, _), kept in slots.items() if name == acquirer]
        living: Counter[tuple[str, int]] = Counter()
        for owner in rows.values():
            if self._lives(owner):
                living[owner.node, owner.worker] += holders.count(owner.owner_id)
        asker = rows[owner_id]
        share = shares(granted, living)[asker.node, asker.worker] if self._lives(asker) else 0
        left = min(share - holders.count(owner_id), granted - len(holders))
        free = [slot for slot in range(1, granted + 1) if (acquirer, slot) not in slots]
        for slot in free[: max(left, 0)]:
            slots[acquirer, slot] = KeptSlot(owner_id)
        held = sorted(
            slot
            for (name, slot), kept in slots.items()
            if (name, kept.owner_id) == (acquirer, owner_id)
        )
        return Held(share, tuple(held))

    async def tell_connected(
        self, owner_id: int, acquirer: str, connected: Sequence[int]
    ) -> tuple[SlotHeld, ...]:
        await asyncio.sleep(0)
        held = []
        for (name, slot), kept in sorted(self._store.link_slots.items()):
            owner = self._store.owner_rows[kept.owner_id]
            if name != acquirer or not self._lives(owner):
                continue
            if kept.owner_id == owner_id:
                kept.connected = slot in connected
            held.append(SlotHeld(slot, owner.node, kept.connected))
        return tuple(held)

    def _lives(self, owner: KeptOwner) -> bool:
        taken = owner.closed or owner.taken_by is not None
        return not taken and owner.lease_until > self._store.clock.now()

    def _left(self, owner: KeptOwner) -> list[int]:
        store = self._store
        return [
            each
            for each in store.undecided
            if store.requests[each].row.owner_id == owner.owner_id
            and each >= owner.undecided_from_id
            and store.is_left(each)
        ]


class MemoryDays:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def business_date(self) -> dt.date:
        await asyncio.sleep(0)
        return self._store.today

    async def state(self, business_date: dt.date) -> str | None:
        await asyncio.sleep(0)
        return self._store.dates.get(business_date)

    async def cut_over(self, new_date: dt.date) -> None:
        await asyncio.sleep(0)
        store = self._store
        if new_date < store.today:
            raise ValueError(f"the business date is {store.today} already")
        if new_date > store.today:
            store.dates[store.today] = "cut"
            store.dates[new_date] = "open"
            store.today = new_date

    async def freeze(self, business_date: dt.date) -> int:
        await asyncio.sleep(0)
        store = self._store
        state = store.dates.get(business_date)
        if state in ("frozen", "posted"):
            return 0
        if state != "cut":
            raise ValueError(f"business date {business_date} is {state or 'unknown'}, not cut")
        left = sum(
            store.requests[each].date == business_date and store.is_left(each)
            for each in store.undecided
        )
        if not left:
            store.dates[business_date] = "frozen"
        return left

    async def mark_posted(self, business_date: dt.date) -> None:
        await asyncio.sleep(0)
        state = self._store.dates.get(business_date)
        if state == "posted":
            return
        if state != "frozen":
            raise ValueError(f"business date {business_date} is {state or 'unknown'}, not frozen")
        self._store.dates[business_date] = "posted"
