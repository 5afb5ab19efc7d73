"""Changes of links' keys in memory: `store_ports.KeyExchanges`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from switch.people.told import told_of_key
from switch.reference import NODE
from switch.store_ports import KeyExchange, KeyFact

if TYPE_CHECKING:
    import datetime as dt

    from switch.adapters.memory import MemoryStore
    from terminals.registry import StoredKey

STATUS: Final = {"accepted": "active", "refused": "retired"}


class MemoryKeyExchanges:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def ask(
        self, acquirer: str, usage: str, asked_by: str, *, every_s: float = 0.0
    ) -> KeyExchange | None:
        await asyncio.sleep(0)
        now = self._store.clock.now()
        for one in self._store.exchange_rows.values():
            if (one.acquirer, one.usage) == (acquirer, usage) and (
                one.open or (now - one.asked_at).total_seconds() < every_s
            ):
                return None
        number = len(self._store.exchange_rows) + 1
        exchange = KeyExchange(number, acquirer, usage, asked_by, now)
        self._store.exchange_rows[number] = exchange
        self._store.generation += 1  # by which workers know that there is something to do
        self._store.people.append(asked_by, "keys.send", f"link:{acquirer} {usage}", None, {})
        return exchange

    async def exchanges(self, acquirer: str, *, only_open: bool, limit: int) -> list[KeyExchange]:
        await asyncio.sleep(0)
        now = self._store.clock.now()
        found = [
            msgspec.structs.replace(one, age_s=(now - _last(one)).total_seconds())
            for one in self._store.exchange_rows.values()
            if acquirer in ("", one.acquirer) and (one.open or not only_open)
        ]
        return (found if only_open else found[::-1])[:limit]

    async def made(self, exchange: KeyExchange, key: StoredKey) -> KeyExchange | None:
        await asyncio.sleep(0)
        if not self._may(exchange):
            return None
        store = self._store
        versions = [
            one.version
            for one in store.stored_keys
            if (one.owner, one.usage) == (key.owner, key.usage)
        ]
        stored = msgspec.structs.replace(
            key, version=1 + max(versions, default=0), status="pending"
        )
        store.stored_keys.append(stored)
        store.people.append(NODE, "keys.generate", *told_of_key(stored))
        store.generation += 1
        return self._add(exchange, "made", stored.version, "")

    async def sent(self, exchange: KeyExchange) -> KeyExchange | None:
        await asyncio.sleep(0)
        if not self._may(exchange):
            return None
        return self._add(exchange, "sent", exchange.version, "")

    async def end(self, exchange: KeyExchange, fact: str, response_code: str) -> bool:
        await asyncio.sleep(0)
        if not self._may(exchange):
            return False
        self._add(exchange, fact, exchange.version, response_code)
        store, status = self._store, STATUS.get(fact)
        if status is not None:
            owner = f"link:{exchange.acquirer}"
            place = (owner, exchange.usage, exchange.version)
            store.stored_keys = [
                msgspec.structs.replace(one, status=status)
                if (one.owner, one.usage, one.version) == place
                else one
                for one in store.stored_keys
            ]
            store.generation += 1
            act = "keys.activate" if fact == "accepted" else "keys.retire"
            store.people.append(
                NODE, act, f"{owner} {exchange.usage}", None, {"version": exchange.version}
            )
        return True

    async def take(self, key: StoredKey) -> StoredKey | None:
        store = self._store
        acquirer = key.owner.removeprefix("link:")
        for one in store.exchange_rows.values():
            under_way = one.state in ("made", "sent")
            if (one.acquirer, one.usage) == (acquirer, key.usage) and under_way:
                return None
        of_usage = [
            one for one in store.stored_keys if (one.owner, one.usage) == (key.owner, key.usage)
        ]
        in_force = [one for one in of_usage if one.status == "active"]
        newest = max(in_force, key=lambda one: one.version, default=None)
        if newest is not None and newest.check_value == key.check_value:
            return newest
        return await store.reference.add_key(key)

    def _may(self, exchange: KeyExchange) -> bool:
        known = self._store.exchange_rows[exchange.exchange_id]
        return known.open and len(known.facts) == len(exchange.facts)

    def _add(
        self, exchange: KeyExchange, fact: str, version: int, response_code: str
    ) -> KeyExchange:
        facts = (
            *self._store.exchange_rows[exchange.exchange_id].facts,
            KeyFact(fact, version, response_code, self._store.clock.now()),
        )
        later = msgspec.structs.replace(exchange, facts=facts, age_s=0.0)
        self._store.exchange_rows[exchange.exchange_id] = later
        return later


def _last(exchange: KeyExchange) -> dt.datetime:
    return exchange.facts[-1].at if exchange.facts else exchange.asked_at
