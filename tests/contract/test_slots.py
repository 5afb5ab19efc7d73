"""The slots of a link: memory and PostgreSQL alike.

Goal: never more holders than a bank grants, everyone who lives gets a fair share, and what the dead
held is free. Method: scenarios on both stores, then drawn sequences whose answers must be the same.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings, strategies as st

from switch.slots import shares
from switch.store_ports import Held, SlotHeld
from tests.contract.worlds import ACQUIRER, DRAWN, World, in_both
from tests.depth import examples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.database import FreshDatabase

LEASE_S = 600.0


def test_the_first_gets_all_and_gives_back_what_others_want(run: Any) -> None:
    async def scenario(world: World) -> None:
        owners = (await world.process()).owners
        one = await owners.register("a", 0)
        assert await owners.hold_slots(one, ACQUIRER, 3, ()) == Held(3, (1, 2, 3))
        other = await owners.register("b", 0)
        assert await owners.hold_slots(other, ACQUIRER, 3, ()) == Held(1, ())
        assert await owners.hold_slots(one, ACQUIRER, 3, (1, 2, 3)) == Held(2, (1, 2, 3))
        assert await owners.hold_slots(one, ACQUIRER, 3, (1, 3)) == Held(2, (1, 3))
        assert await owners.hold_slots(other, ACQUIRER, 3, ()) == Held(1, (2,))
        assert await owners.hold_slots(other, "another", 1, ()) == Held(0, ())

    run(scenario)


def test_what_the_dead_and_the_released_held_is_free(run: Any) -> None:
    async def scenario(world: World) -> None:
        owners = (await world.process()).owners
        dead, released = await owners.register("a", 0), await owners.register("b", 0)
        assert await owners.hold_slots(dead, ACQUIRER, 2, ()) == Held(1, (1,))
        assert await owners.hold_slots(released, ACQUIRER, 2, ()) == Held(1, (2,))
        taker = await owners.register("c", 0)
        assert await owners.hold_slots(taker, ACQUIRER, 2, ()) == Held(0, ())
        await world.expire(dead)
        assert await owners.hold_slots(taker, ACQUIRER, 2, ()) == Held(1, (1,))
        await owners.release(released)
        assert await owners.hold_slots(taker, ACQUIRER, 2, (1,)) == Held(2, (1, 2))
        assert await owners.hold_slots(dead, ACQUIRER, 2, (1,)) == Held(0, ())
        assert await owners.hold_slots(released, ACQUIRER, 2, ()) == Held(0, ())

    run(scenario)


def test_a_worker_that_boots_again_has_its_slots_once_it_has_taken_itself_over(run: Any) -> None:
    async def scenario(world: World) -> None:
        owners = (await world.process()).owners
        killed = await owners.register("a", 0)
        assert await owners.hold_slots(killed, ACQUIRER, 2, ()) == Held(2, (1, 2))
        again = await owners.register("a", 0)
        assert await owners.hold_slots(again, ACQUIRER, 2, ()) == Held(2, ())
        await owners.take_over(again, "a", 0, at_start=True)
        assert await owners.hold_slots(again, ACQUIRER, 2, ()) == Held(2, (1, 2))

    run(scenario)


def test_a_bank_that_grants_fewer_is_never_over_its_new_number(run: Any) -> None:
    async def scenario(world: World) -> None:
        owners = (await world.process()).owners
        one, other = await owners.register("a", 0), await owners.register("b", 0)
        assert await owners.hold_slots(one, ACQUIRER, 8, ()) == Held(4, (1, 2, 3, 4))
        assert await owners.hold_slots(one, ACQUIRER, 4, (2, 3, 4)) == Held(2, (2, 3, 4))
        assert await owners.hold_slots(other, ACQUIRER, 4, ()) == Held(2, (1,))
        assert await owners.hold_slots(one, ACQUIRER, 4, (3, 4)) == Held(2, (3, 4))
        assert await owners.hold_slots(other, ACQUIRER, 4, (1,)) == Held(2, (1, 2))
        assert await owners.hold_slots(one, ACQUIRER, 1, (3, 4)) == Held(1, (3, 4))
        assert await owners.hold_slots(other, ACQUIRER, 1, ()) == Held(0, ())

    run(scenario)


def test_claims_at_the_same_time_share_out_what_there_is(run: Any) -> None:
    async def scenario(world: World) -> None:
        stores = [await world.process() for _ in range(4)]
        ids = [await store.owners.register("ab"[n % 2], n) for n, store in enumerate(stores)]
        await asyncio.gather(
            *(
                store.owners.hold_slots(owner, ACQUIRER, 3, ())
                for store, owner in zip(stores, ids, strict=True)
                for _ in range(5)
            )
        )
        # those of one process have gone by several connections: which of them came last, none can say
        last = [
            await store.owners.hold_slots(owner, ACQUIRER, 3, ())
            for store, owner in zip(stores, ids, strict=True)
        ]
        slots = [slot for one in last for slot in one.slots]
        assert sorted(set(slots)) == sorted(slots) == [1, 2, 3]

    run(scenario)


def test_who_has_connections_is_seen_by_all(run: Any) -> None:
    async def scenario(world: World) -> None:
        owners = (await world.process()).owners
        one = await owners.register("a", 0)
        await owners.hold_slots(one, ACQUIRER, 3, ())
        other = await owners.register("b", 0)
        await owners.hold_slots(one, ACQUIRER, 3, (1, 3))
        await owners.hold_slots(other, ACQUIRER, 3, ())
        assert await owners.tell_connected(other, ACQUIRER, ()) == (
            SlotHeld(1, "a", None),
            SlotHeld(2, "b", False),
            SlotHeld(3, "a", None),
        )
        both = SlotHeld(1, "a", True), SlotHeld(2, "b", False), SlotHeld(3, "a", False)
        assert await owners.tell_connected(one, ACQUIRER, (1, 2)) == both, "2 is another's"
        assert await owners.tell_connected(other, ACQUIRER, ()) == both
        assert await owners.tell_connected(one, "another", (1,)) == ()
        await owners.hold_slots(one, ACQUIRER, 3, (3,))
        await owners.hold_slots(one, ACQUIRER, 3, (3,))
        first = await owners.tell_connected(other, ACQUIRER, (2,))
        assert first[0].connected is None, "what was given back says nothing of what follows"
        await world.expire(one)
        assert await owners.tell_connected(other, ACQUIRER, (2,)) == (SlotHeld(2, "b", True),)

    run(scenario)


# -- the same answers ---------------------------------------------------------------------------

GRANTED, NODES, WORKERS = st.integers(0, 6), st.sampled_from("abc"), st.integers(0, 2)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("register"), NODES, WORKERS),
        st.tuples(st.just("hold"), st.integers(0, 9), GRANTED, st.sets(st.integers(1, 6))),
        st.tuples(st.just("expire"), st.integers(0, 9)),
        st.tuples(st.just("release"), st.integers(0, 9)),
    ),
    min_size=10,
    max_size=60,
)


async def play(world: World, played: Sequence[tuple[Any, ...]]) -> list[Held]:
    owners = (await world.process(LEASE_S)).owners
    ids = [await owners.register("a", 0)]
    answers = []
    for what, *given_ in played:
        if what == "register":
            ids.append(await owners.register(*given_))
            continue
        owner = ids[given_[0] % len(ids)]
        if what == "hold":
            answers.append(
                await owners.hold_slots(owner, ACQUIRER, given_[1], tuple(sorted(given_[2])))
            )
        elif what == "expire":
            await world.expire(owner)
        else:
            await owners.release(owner)
    return answers


@settings(DRAWN, max_examples=examples(8))
@given(played=steps)
def test_any_sequence_has_the_same_answers(
    played: list[tuple[Any, ...]], fresh_database: Callable[[], FreshDatabase]
) -> None:
    async def scenario(real: World, simulated: World) -> None:
        assert await play(real, played) == await play(simulated, played)

    in_both(fresh_database(), scenario)


@given(
    st.integers(0, 20),
    st.dictionaries(st.tuples(NODES, WORKERS), st.integers(0, 5), min_size=1),
)
def test_shares_are_even_and_all_of_what_is_granted(
    granted: int, living: dict[tuple[str, int], int]
) -> None:
    found = shares(granted, living)
    assert sum(found.values()) == granted
    of_nodes = {node: sum(n for (of, _), n in found.items() if of == node) for node, _ in living}
    assert max(of_nodes.values()) - min(of_nodes.values()) <= 1
    for node in of_nodes:
        of_workers = [n for (of, _), n in found.items() if of == node]
        assert max(of_workers) - min(of_workers) <= 1
    assert shares(granted, found) == found, "once shared out, nothing moves"
