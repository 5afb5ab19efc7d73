"""Both stores say the same: any sequence of operations, step by step, and the state it ends in.

Hypothesis draws operations; they run in order against the memory store and a fresh database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings, strategies as st

from switch.adapters.memory import MemoryStore
from switch.journal import (
    Commit,
    FindById,
    Judgement,
    LateAnswerRow,
    OutcomeState,
    Scene,
    StoreDownError,
)
from switch.store_ports import BatchTotals
from tests.contract.worlds import (
    ACQUIRER,
    DAY,
    DRAWN,
    MERCHANT,
    NOW,
    TERMINAL,
    MemoryWorld,
    PostgresWorld,
    World,
    attempt,
    case,
    in_both,
    key,
    look,
    outcome,
    queued,
    request,
    reversal,
    reverse,
    session,
)
from tests.depth import examples

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from tests.database import FreshDatabase

stans = st.integers(1, 4)
places = st.integers(0, 5)  # which of the requests made so far
states = st.sampled_from(["approved", "declined", "unknown", "reversed"])
flags = st.booleans()

operations = st.lists(
    st.one_of(
        st.tuples(st.just("request"), stans, st.integers(1, 2), flags, flags),
        st.tuples(st.just("refused"), stans),
        st.tuples(st.just("attempt"), places),
        st.tuples(st.just("outcome"), places, states, flags, flags),
        st.tuples(st.just("outcome"), places, states, flags, flags),
        st.tuples(st.just("pend"), places),
        st.tuples(st.just("reverse"), stans, st.integers(1, 2)),
        st.tuples(st.just("reverse"), stans, st.integers(1, 2)),
        st.tuples(st.just("refund"), places, st.integers(1, 60)),
        st.tuples(st.just("late"), places, flags),
        st.tuples(st.just("deliver"), flags),
        st.tuples(st.just("cut")),
        st.tuples(st.just("freeze"), st.integers(0, 2)),
        st.tuples(st.just("post"), st.integers(0, 2)),
        st.tuples(st.just("sign_on")),
        st.tuples(st.just("freeze_batch"), st.integers(1, 2)),
        st.tuples(st.just("settle"), st.integers(1, 2), flags),
        st.tuples(st.just("finish_upload"), st.integers(1, 2)),
        st.tuples(st.just("generation")),
        st.tuples(st.just("expire")),
        st.tuples(st.just("take_over")),
    ),
    min_size=5,
    max_size=30,
)


class Player:
    """Plays operations against one world. Its own numbers are the same in every world."""

    def __init__(self, world: World, store: Any, date: dt.date) -> None:
        self.world = world
        self.store = store
        self.first_date = date
        self.dates: dict[int, dt.date] = {}
        self.made: list[int] = []
        self.number = 0
        self.generation = 1
        self.owner = 0
        self.taker = 0

    async def play(self, operation: tuple[Any, ...]) -> Any:
        try:
            return await getattr(self, "play_" + operation[0])(*operation[1:])
        except (ValueError, StoreDownError, AssertionError) as error:
            return type(error).__name__

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def pick(self, place: int) -> tuple[int, dt.date] | None:
        if not self.made:
            return None
        request_id = self.made[place % len(self.made)]
        return request_id, self.dates[request_id]

    async def keep(self, request_id: int, verdict: Any) -> Any:
        date = getattr(verdict, "business_date", None)
        if date is not None:
            self.dates[request_id] = date
            self.made.append(request_id)
        return verdict

    async def play_request(self, stan: int, batch: int, any_batch: bool, foreign: bool) -> Any:
        number = self.next_number()
        row = request(
            number,
            of=key(stan, batch=batch),
            owner_id=self.owner,
            generation=self.generation,
            any_batch=any_batch,
            foreign=foreign,
        )
        commit = Commit(request=row, attempt=attempt(number))
        return await self.keep(number, await self.store.journal.commit(commit))

    async def play_refused(self, stan: int) -> Any:
        number = self.next_number()
        row = request(number, stan, generation=self.generation)
        refused = outcome(number, state=OutcomeState.REFUSED)
        verdict = await self.store.journal.commit(Commit(request=row, outcome=refused))
        return await self.keep(number, verdict)

    async def play_attempt(self, place: int) -> Any:
        picked = self.pick(place)
        if picked is not None:
            row = attempt(picked[0], 2, request_date=picked[1])
            return await self.store.journal.commit(Commit(attempt=row))
        return None

    async def play_outcome(self, place: int, state: str, late: bool, reverses: bool) -> Any:
        picked = self.pick(place)
        if picked is None:
            return None
        request_id, date = picked
        row = outcome(request_id, date, state=OutcomeState(state), on_current_date=late)
        commit = Commit(outcome=row)
        if state == "unknown" and reverses:
            item = queued(self.next_number(), request_id, date)
            commit = Commit(outcome=row, reversal=reversal(request_id, date), queue=item)
        return await self.store.journal.commit(commit)

    async def play_pend(self, place: int) -> Any:
        picked = self.pick(place)
        if picked is None or (await look(self.store, picked[0])).outcome is not None:
            return None
        item = queued(self.next_number(), *picked, kind="repeat", seq=0)
        return await self.store.journal.commit(Commit(queue=item))

    async def play_reverse(self, stan: int, batch: int) -> Any:
        number = self.next_number()
        judgement, verdict = await reverse(self.store, key(stan, batch=batch), number)
        return judgement.response_code, judgement.rule, verdict

    async def play_refund(self, place: int, amount_minor: int) -> Any:
        picked = self.pick(place)
        if picked is None:
            return None
        number = self.next_number()

        def judge(scene: Scene) -> Judgement:
            original = scene.originals[0]
            row = request(
                number,
                of=key(100 + number, kind="022.20"),
                type="refund",
                amount_minor=amount_minor,
                generation=scene.generation,
                original_request_id=original.request.request_id,
            )
            taken = sum(each.amount_minor for each in original.follow_ups)
            if taken + amount_minor > original.captured_minor:
                return Judgement(commit=None, response_code="64", rule="too_much")
            done = outcome(number, effect_minor=-amount_minor)
            return Judgement(Commit(request=row, outcome=done), "00", "refunded", original)

        judgement, verdict = await self.store.journal.decide(FindById(picked[0]), judge)
        return judgement.rule, await self.keep(number, verdict)

    async def play_late(self, place: int, releases: bool) -> Any:
        picked = self.pick(place)
        if picked is None:
            return None
        row = LateAnswerRow(*picked, 1, "00", "", 100, "late", NOW, release_queue=releases)
        return await self.store.journal.commit(
            Commit(late_answer=row, case=case("late", picked[0]))
        )

    async def play_deliver(self, decides: bool) -> Any:
        due = await self.store.queue.due(ACQUIRER, 1, [])
        if not due:
            return None
        (item,) = due
        await self.store.queue.sent(item.row.item_id, item.tries + 1)
        commit = None
        if item.row.kind == "repeat" and decides:
            row = outcome(
                item.row.request_id, item.row.request_date, effect_minor=-1, on_current_date=True
            )
            commit = Commit(outcome=row)
        return item.row, item.reason, await self.store.queue.finish(item, "00", commit)

    async def play_cut(self) -> Any:
        await self.store.days.cut_over(await self.store.days.business_date() + DAY)
        return await self.store.days.business_date()

    async def play_freeze(self, day: int) -> Any:
        return await self.store.days.freeze(self.first_date + day * DAY)

    async def play_post(self, day: int) -> Any:
        return await self.store.days.mark_posted(self.first_date + day * DAY)

    async def play_sign_on(self) -> Any:
        return await self.store.batches.sign_on(session())

    async def play_freeze_batch(self, batch: int) -> Any:
        if await self.store.batches.get(MERCHANT, TERMINAL, batch) is None:
            return None
        return await self.store.batches.freeze(MERCHANT, TERMINAL, batch)

    async def play_settle(self, batch: int, balanced: bool) -> Any:
        if await self.store.batches.get(MERCHANT, TERMINAL, batch) is None:
            return None
        totals = (BatchTotals(), BatchTotals(0, 0, 0, 0 if balanced else 1))
        return await self.store.batches.settle(MERCHANT, TERMINAL, batch, totals)

    async def play_finish_upload(self, batch: int) -> Any:
        return await self.store.batches.finish_upload(MERCHANT, TERMINAL, batch)

    async def play_generation(self) -> Any:
        route = {"prefix": "62", "acquirer": str(self.next_number())}
        await self.store.reference.apply([("route", "62", route)], maker="test")
        if self.number % 2:
            self.generation = await self.store.reference.generation()
        return await self.store.reference.generation()

    async def play_expire(self) -> Any:
        await self.world.expire(self.owner)
        return await self.store.owners.renew(self.owner, 1)

    async def play_take_over(self) -> Any:
        left = await self.store.owners.take_over(self.taker, "node", 9)
        return [(each.request, each.request_date, each.attempts) for each in left]

    async def end(self) -> list[Any]:
        """Everything that can be read back."""
        seen: list[Any] = [await look(self.store, each) for each in range(1, self.number + 1)]
        seen += [await self.store.journal.stored_outcome(*each) for each in self.dates.items()]
        seen.append([each.row for each in await self.store.queue.due(ACQUIRER, 100, [])])
        seen.append(await self.store.queue.open_items(ACQUIRER))
        seen += [await self.store.batches.get(MERCHANT, TERMINAL, each) for each in (1, 2, 3)]
        seen += [await self.store.days.state(self.first_date + day * DAY) for day in range(3)]
        seen += [await self.world.captures(), await self.world.cases()]
        return seen


@settings(DRAWN, max_examples=examples(12))
@given(played=operations)
def test_any_sequence_has_the_same_answers(
    played: list[tuple[Any, ...]], fresh_database: Callable[[], FreshDatabase]
) -> None:
    async def scenario(real: PostgresWorld, simulated: MemoryWorld) -> None:
        store = await real.process()
        date = await store.days.business_date()
        simulated.store = MemoryStore(simulated.clock, business_date=date)
        players = [Player(real, store, date), Player(simulated, simulated.store, date)]
        for player in players:
            player.owner = await player.store.owners.register("node", 0)
            player.taker = await player.store.owners.register("node", 9)
        for operation in played:
            theirs, ours = [await player.play(operation) for player in players]
            assert theirs == ours, operation
        theirs, ours = [await player.end() for player in players]
        assert theirs == ours

    in_both(fresh_database(), scenario)
