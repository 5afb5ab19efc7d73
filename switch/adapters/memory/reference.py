"""Reference data and stored keys in memory: `reference.ReferenceStore`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from switch.people.told import told_of, told_of_key
from switch.reference import NODE, Item, Snapshot, check_account

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from settlement.four_eyes import Approval
    from terminals.registry import StoredKey

if TYPE_CHECKING:
    from switch.adapters.memory import MemoryStore


class MemoryReference:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def generation(self) -> int:
        await asyncio.sleep(0)
        return self._read_generation()

    def _read_generation(self) -> int:
        """Items whose time has come since it was last asked raise it."""
        store = self._store
        now = store.clock.now()
        if any(
            item.effective_from > made and store.scheduled_until < item.effective_from <= now
            for item, made in store.items
        ):
            store.generation += 1
            store.scheduled_until = now
        return store.generation

    async def snapshot(self) -> Snapshot:
        await asyncio.sleep(0)
        store = self._store
        generation = self._read_generation()
        return Snapshot(generation, self._in_force(), store.stored_keys)

    def _in_force(self) -> list[Item]:
        """What came into force stays in force, also where the clock is set back behind its time."""
        store = self._store
        passed = max(store.clock.now(), store.scheduled_until)
        return [item for item, made in store.items if item.effective_from <= max(passed, made)]

    async def items(self, kind: str | None = None) -> list[Item]:
        await asyncio.sleep(0)
        found = [item for item, _ in self._store.items if kind in (None, item.kind)]
        return sorted(found, key=lambda item: (item.kind, item.key, item.version))

    async def apply(
        self,
        items: Sequence[tuple[str, str, dict[str, Any]]],
        *,
        maker: str,
        act: str = "data.apply",
        effective_from: dt.datetime | None = None,
        approval: Approval | None = None,
    ) -> list[Item]:
        await asyncio.sleep(0)
        store = self._store
        now = store.clock.now()
        made: list[Item] = []
        told = []
        for kind, key, content in items:
            versions = [item for item, _ in store.items if (item.kind, item.key) == (kind, key)]
            in_force = [item for item in self._in_force() if (item.kind, item.key) == (kind, key)]
            if in_force and max(in_force, key=lambda item: item.version).content == content:
                continue
            item = Item(
                kind=kind,
                key=key,
                version=1 + max((item.version for item in versions), default=0),
                effective_from=now if effective_from is None else effective_from,
                content=content,
                maker=maker,
            )
            former = max(versions, key=lambda item: item.version).content if versions else None
            check_account(kind, key, former, content, approval)
            made.append(item)
            told.append((f"{kind} {key}", former and told_of(former), told_of(item)))
        if made and approval is not None:
            store.people.may_use(approval)
        for subject, before, after in told:
            store.people.append(maker, act, subject, before, after)
        if made and approval is not None:
            store.people.use(approval)
        store.items += [(item, now) for item in made]
        if made:
            store.generation += 1
        return made

    async def add_key(
        self, key: StoredKey, *, maker: str = NODE, act: str = "keys.import"
    ) -> StoredKey:
        await asyncio.sleep(0)
        store = self._store
        version = 1 + max(
            (
                each.version
                for each in store.stored_keys
                if (each.owner, each.usage) == (key.owner, key.usage)
            ),
            default=0,
        )
        stored = msgspec.structs.replace(key, version=version)
        store.people.append(maker, act, *told_of_key(stored))
        store.stored_keys.append(stored)
        store.generation += 1
        return stored
