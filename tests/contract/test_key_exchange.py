"""Changes of links' keys in every store: one at a time, facts in order, keys in force and ended with them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from terminals.registry import StoredKey

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from switch.store_ports import KeyExchange
    from tests.contract.worlds import Store, World

    Run = Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]

OWNER = "link:bank_a"


def key(check_value: str, usage: str = "ZAK") -> StoredKey:
    return StoredKey(
        owner=OWNER,
        usage=usage,
        version=0,
        block=f"S{check_value}",
        check_value=check_value,
        lmk_id="L",
    )


async def begun(store: Store, usage: str = "ZAK") -> KeyExchange:
    exchange: KeyExchange | None = await store.key_exchanges.ask("bank_a", usage, "ann")
    assert exchange is not None
    return exchange


async def sent(store: Store) -> KeyExchange:
    made = await store.key_exchanges.made(await begun(store), key("BBBBBB"))
    assert made is not None
    later: KeyExchange | None = await store.key_exchanges.sent(made)
    assert later is not None
    return later


async def open_of(store: Store) -> list[KeyExchange]:
    found: list[KeyExchange] = await store.key_exchanges.exchanges(
        "bank_a", only_open=True, limit=10
    )
    return found


async def versions(store: Store) -> tuple[list[int], list[int]]:
    """In force; waiting."""
    snapshot = await store.reference.snapshot()
    return (
        [one.version for one in snapshot.keys(OWNER, "ZAK")],
        [one.version for one in snapshot.waiting_keys(OWNER, "ZAK")],
    )


def test_from_asked_to_accepted(run: Run) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        await store.reference.add_key(key("AAAAAA"))
        later = await sent(store)
        assert [fact.fact for fact in later.facts] == ["made", "sent"]
        assert (later.state, later.version, later.sends, later.open) == ("sent", 2, 1, True)
        assert await versions(store) == ([1], [2])
        generation = await store.reference.generation()
        assert await store.key_exchanges.end(later, "accepted", "00")
        assert await versions(store) == ([2, 1], [])
        assert await store.reference.generation() > generation
        assert await open_of(store) == []
        (kept,) = await store.key_exchanges.exchanges("", only_open=False, limit=10)
        assert (kept.state, kept.facts[-1].response_code) == ("accepted", "00")

    run(scenario)


def test_refused_ends_the_key_and_given_up_leaves_it_waiting(run: Run) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        await store.reference.add_key(key("AAAAAA"))
        assert await store.key_exchanges.end(await sent(store), "refused", "05")
        assert await versions(store) == ([1], [])
        assert await store.key_exchanges.end(await sent(store), "given_up", "--")
        assert await versions(store) == ([1], [3])
        assert await open_of(store) == []

    run(scenario)


def test_one_of_a_link_and_usage_at_a_time(run: Run) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        ask = store.key_exchanges.ask
        assert await ask("bank_a", "ZAK", "ann") is not None
        assert await ask("bank_a", "ZAK", "ben") is None
        assert await ask("bank_a", "ZPK", "ann") is not None
        assert await ask("bank_b", "ZAK", "ann") is not None
        both = await store.key_exchanges.exchanges("", only_open=True, limit=10)
        assert [(one.acquirer, one.usage) for one in both] == [
            ("bank_a", "ZAK"), ("bank_a", "ZPK"), ("bank_b", "ZAK"),
        ]  # fmt: skip

    run(scenario)


def test_by_schedule_only_so_often(run: Run) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        ask = store.key_exchanges.ask
        await store.key_exchanges.end(await sent(store), "accepted", "00")
        assert await ask("bank_a", "ZAK", "schedule", every_s=3_600.0) is None
        assert await ask("bank_a", "ZAK", "schedule", every_s=0.0) is not None

    run(scenario)


def test_who_has_not_read_all_writes_nothing(run: Run) -> None:
    """Two workers have read the same: one acts."""

    async def scenario(world: World) -> None:
        one, other = await world.process(), await world.process()
        exchange = await begun(one)
        results = await asyncio.gather(
            one.key_exchanges.made(exchange, key("BBBBBB")),
            other.key_exchanges.made(exchange, key("CCCCCC")),
        )
        (made,) = [result for result in results if result is not None]
        results = await asyncio.gather(one.key_exchanges.sent(made), other.key_exchanges.sent(made))
        (sent_once,) = [result for result in results if result is not None]
        assert not await other.key_exchanges.end(made, "refused", "05")
        assert await other.key_exchanges.end(sent_once, "accepted", "00")
        assert not await one.key_exchanges.end(sent_once, "accepted", "00")
        assert await one.key_exchanges.sent(sent_once) is None
        assert await versions(one) == ([1], [])

    run(scenario)


def test_a_key_of_the_host_is_taken_once(run: Run) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        await store.reference.add_key(key("AAAAAA"))
        taken = await store.key_exchanges.take(key("BBBBBB"))
        assert (taken.version, taken.status) == (2, "active")
        again = await store.key_exchanges.take(key("BBBBBB"))
        assert again == taken
        assert await versions(store) == ([2, 1], [])
        assert (await store.key_exchanges.take(key("AAAAAA"))).version == 3  # it goes back

    run(scenario)


def test_only_one_side_changes_a_key_at_a_time(run: Run) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        exchange = await begun(store)
        assert (await store.key_exchanges.take(key("HHHHHH"))).version == 1  # not made yet
        made = await store.key_exchanges.made(exchange, key("BBBBBB"))
        assert await store.key_exchanges.take(key("KKKKKK")) is None
        assert (await store.key_exchanges.take(key("KKKKKK", "ZPK"))).version == 1
        assert await store.key_exchanges.end(made, "refused", "05")
        assert (await store.key_exchanges.take(key("KKKKKK"))).version == 3

    run(scenario)


def test_age_is_that_of_the_last_fact(run: Run) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        await sent(store)
        await world.pass_time(1.5)
        (now,) = await open_of(store)
        assert 1.5 <= now.age_s < 60
        later = await store.key_exchanges.sent(now)
        assert later.age_s < now.age_s
        assert msgspec.structs.replace(later, age_s=0.0).sends == 2

    run(scenario)
