"""Numbers, owners, queue, batches, dates and reference data: memory and PostgreSQL alike."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

from switch.journal import Commit, LateAnswerRow, Lost, OutcomeState, OwnerTakenError, Stored
from switch.store_ports import HOLDS_MAX_S, UPLOAD_ITEMS_MAX, BatchItem, BatchTotals
from terminals.registry import StoredKey
from tests.contract.worlds import (
    ACQUIRER,
    DAY,
    LEASE_S,
    MERCHANT,
    NOW,
    TERMINAL,
    World,
    approve,
    attempt,
    case,
    key,
    look,
    outcome,
    queued,
    request,
    reversal,
    reverse,
    session,
    stored,
)

# -- numbers --------------------------------------------------------------------------------------


def test_blocks_of_numbers_are_never_given_twice(run: Any) -> None:
    async def scenario(world: World) -> None:
        one, other = await world.process(), await world.process()
        for ask in ("request_ids", "rrns"):
            blocks = await asyncio.gather(
                *(getattr(store.numbers, ask)(7) for store in [one, other] * 5)
            )
            numbers = [number for first, last in blocks for number in range(first, last + 1)]
            assert len(numbers) == len(set(numbers)) == 70
        assert await one.numbers.link_stans("a", 10) == (0, 9)
        assert await other.numbers.link_stans("b", 10) == (0, 9)
        assert await other.numbers.link_stans("a", 5) == (10, 14)
        first, _ = await one.numbers.request_ids(1)
        assert first > 0

    run(scenario)


# -- owners ---------------------------------------------------------------------------------------


def test_a_lease_is_renewed_until_it_expires(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        owner = await store.owners.register("node", 0)
        assert await store.owners.renew(owner, 1)
        await world.expire(owner)
        assert not await store.owners.renew(owner, 1)
        released = await store.owners.register("node", 0)
        await store.owners.release(released)
        assert not await store.owners.renew(released, 1)

    run(scenario)


def test_leases_last_as_long_as_is_set(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process(lease_s=200.0)
        one, other = await store.owners.register("a", 0), await store.owners.register("b", 0)
        assert await store.owners.renew(one, 1)
        before = await store.queue.lease(ACQUIRER, one)
        await world.set_clock_back(-150.0)
        assert await store.owners.renew(one, 1)
        await world.set_clock_back(-201.0)
        assert not await store.owners.renew(one, 1)
        after = await store.queue.lease(ACQUIRER, other)
        assert after.epoch == before.epoch + 1

    run(scenario)


def test_takeover_finds_what_the_dead_left_undecided(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        dead = await store.owners.register("node", 0)
        alive = await store.owners.register("node", 1)
        date = await approve(store, 1, owner_id=dead)
        for each in (2, 3):
            row = request(each, owner_id=dead)
            stored(await store.journal.commit(Commit(request=row, attempt=attempt(each))))
        stored(await store.journal.commit(Commit(attempt=attempt(3, 2, request_date=date))))
        pending = Commit(
            request=request(4, owner_id=dead, type="refund"),
            attempt=attempt(4),
            queue=queued(9, 4, None, kind="repeat", seq=0),
        )
        stored(await store.journal.commit(pending))
        stored(await store.journal.commit(Commit(request=request(5, owner_id=alive))))
        await reverse(store, key(6), 6)  # a tombstone is nobody's work

        taker = await store.owners.register("node", 2)
        assert await store.owners.take_over(taker, "node", 2) == []
        await world.expire(dead)
        left = await store.owners.take_over(taker, "node", 2)
        assert [(each.request.request_id, len(each.attempts)) for each in left] == [(2, 1), (3, 2)]
        assert left[0].request_date == date
        # nobody else gets them while the taker lives; the taker does, until they are decided
        other = await store.owners.register("node", 3)
        assert await store.owners.take_over(other, "node", 3) == []
        stored(await store.journal.commit(Commit(outcome=outcome(2, date))))
        (rest,) = await store.owners.take_over(taker, "node", 2)
        assert rest.request.request_id == 3
        await store.owners.recovered(taker, [3])  # a lie changes nothing
        assert len(await store.owners.take_over(taker, "node", 2)) == 1
        await world.expire(taker)
        assert len(await store.owners.take_over(other, "node", 3)) == 1
        stored(await store.journal.commit(Commit(outcome=outcome(3, date))))
        await store.owners.recovered(other, [3])
        assert await store.owners.take_over(other, "node", 3) == []

    run(scenario)


def test_a_worker_takes_its_own_earlier_boot_at_once(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        earlier = await store.owners.register("node", 0)
        stored(await store.journal.commit(Commit(request=request(1, owner_id=earlier))))
        stored(await store.journal.commit(Commit(request=request(2, owner_id=earlier))))
        assert await store.owners.renew(earlier, 2)
        now = await store.owners.register("node", 0)
        left = await store.owners.take_over(now, "node", 0, at_start=True)
        # below what it had renewed with nothing is looked for
        assert [each.request.request_id for each in left] == [2]
        assert not await store.owners.renew(earlier, 3)
        # what it has begun to take over it goes on with, though the lease would not be over yet
        (again,) = await store.owners.take_over(now, "node", 0)
        assert again.request.request_id == 2

    run(scenario)


def test_a_worker_that_was_replaced_does_not_take_its_successor(run: Any) -> None:
    """Its supervisor was killed; it still drains when the next one's worker has its place."""

    async def scenario(world: World) -> None:
        store = await world.process()
        replaced = await store.owners.register("node", 0)
        successor = await store.owners.register("node", 0)
        assert await store.owners.take_over(successor, "node", 0, at_start=True) == []
        assert not await store.owners.renew(replaced, 1)
        stored(await store.journal.commit(Commit(request=request(1, owner_id=successor))))
        anew = await store.owners.register("node", 0)
        assert await store.owners.take_over(anew, "node", 0) == []
        assert await store.owners.renew(successor, 1)

    run(scenario)


def test_an_owner_that_was_released_stores_no_request(run: Any) -> None:
    """It may be closed, and of a closed owner nobody looks for requests."""

    async def scenario(world: World) -> None:
        store = await world.process()
        owner = await store.owners.register("node", 0)
        date = stored(await store.journal.commit(Commit(request=request(1, owner_id=owner))))
        stored(await store.journal.commit(Commit(outcome=outcome(1, date))))
        await store.owners.release(owner)
        with pytest.raises(OwnerTakenError):
            await store.journal.commit(Commit(request=request(2, owner_id=owner)))
        await store.owners.release(owner)

    run(scenario)


def test_an_owner_that_releases_with_work_left_is_taken_over(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        one = await store.owners.register("a", 0)
        stored(await store.journal.commit(Commit(request=request(1, owner_id=one))))
        await store.owners.release(one)
        other = await store.owners.register("b", 0)
        assert len(await store.owners.take_over(other, "b", 0)) == 1

    run(scenario)


def test_two_takers_never_take_the_same_owner(run: Any) -> None:
    async def scenario(world: World) -> None:
        stores = [await world.process(), await world.process()]
        for number in range(1, 6):
            dead = await stores[0].owners.register("dead", number)
            row = request(number, owner_id=dead)
            stored(await stores[0].journal.commit(Commit(request=row)))
            await world.expire(dead)
        takers = [await store.owners.register("node", n) for n, store in enumerate(stores)]
        taken = await asyncio.gather(
            *(
                store.owners.take_over(taker, "node", n)
                for n, (store, taker) in enumerate(zip(stores, takers, strict=True))
            )
        )
        ids = [each.request.request_id for left in taken for each in left]
        assert sorted(ids) == [1, 2, 3, 4, 5]

    run(scenario)


def test_a_store_whose_clock_is_set_back_holds_nothing_for_longer(run: Any) -> None:
    """By an hour: leases of the dead and the delays of queued items do not last an hour more."""

    async def scenario(world: World) -> None:
        store = await world.process()
        dead = await store.owners.register("node", 0)
        alive = await store.owners.register("node", 1)
        date = stored(
            await store.journal.commit(
                Commit(request=request(1, owner_id=dead), attempt=attempt(1))
            )
        )
        await store.journal.commit(
            Commit(
                outcome=outcome(1, date, state=OutcomeState.UNKNOWN),
                reversal=reversal(1, date),
                queue=queued(10_001, 1, date, delay_s=30.0),
            )
        )
        await store.journal.commit(Commit(request=request(2, owner_id=dead), attempt=attempt(2)))
        assert await store.queue.lease(ACQUIRER, dead)
        assert await store.queue.lease(ACQUIRER, alive) is None
        assert await store.queue.due(ACQUIRER, 10, ()) == []
        assert await store.owners.take_over(alive, "node", 1) == []
        await world.set_clock_back(3_600.0)
        assert await world.lease_left_s(dead) > 3_000.0
        assert (await store.queue.lease(ACQUIRER, alive)).epoch == 2
        assert [item.row.item_id for item in await store.queue.due(ACQUIRER, 10, ())] == [10_001]
        assert await store.owners.renew(alive, 1)
        assert await world.lease_left_s(alive) <= LEASE_S
        assert await store.owners.take_over(alive, "node", 1) == []  # it may live, and has to renew
        assert 0.0 < await world.lease_left_s(dead) <= HOLDS_MAX_S
        assert await world.lease_left_s(alive) <= LEASE_S

    run(scenario)


def test_what_is_in_force_stays_so_where_the_stores_clock_is_set_back(run: Any) -> None:
    async def scenario(world: World) -> None:
        reference = (await world.process()).reference

        async def names() -> dict[str, str]:
            found = (await reference.snapshot()).merchants
            return {key: merchant.name for key, merchant in found.items()}

        def shop(key: str, name: str) -> tuple[str, str, dict[str, Any]]:
            return "merchant", key, {"merchant": key, "name": name}

        await reference.apply([shop("a", "first"), shop("b", "first")], maker="test")
        await world.set_clock_back(3_600.0)
        assert await names() == {"a": "first", "b": "first"}
        assert len(await reference.apply([shop("a", "second")], maker="test")) == 1
        assert await reference.apply([shop("b", "first")], maker="test") == []
        far = NOW + 3_650 * DAY
        await reference.apply([shop("b", "later")], maker="test", effective_from=far)
        assert await names() == {"a": "second", "b": "first"}

    run(scenario)


# -- queue ----------------------------------------------------------------------------------------


def test_one_process_holds_an_acquirers_lease(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        one = await store.owners.register("node", 0)
        other = await store.owners.register("node", 1)
        lease = await store.queue.lease(ACQUIRER, one)
        assert lease.epoch == 1
        assert (await store.queue.lease(ACQUIRER, one)).epoch == 1
        assert await store.queue.lease(ACQUIRER, other) is None
        assert (await store.queue.lease("another", other)).epoch == 1
        await world.expire(one)
        assert (await store.queue.lease(ACQUIRER, other)).epoch == 2
        assert await store.queue.lease(ACQUIRER, one) is None
        await world.expire(other)
        assert (await store.queue.lease(ACQUIRER, other)).epoch == 3

    run(scenario)


def test_items_leave_in_order_per_original_and_together_across(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        date = await approve(store, 1)
        await approve(store, 2)
        await reverse(store, key(1), 101)
        second = Commit(reversal=reversal(1, date, seq=2), queue=queued(100, 1, date, seq=2))
        stored(await store.journal.commit(second))
        await reverse(store, key(2), 102)
        ids = [each.row.item_id for each in await store.queue.due(ACQUIRER, 10, [])]
        assert ids == [101, 102]
        assert [each.row.item_id for each in await store.queue.due(ACQUIRER, 1, [])] == [101]
        # what is being sent is left out, and holds back its successor
        assert [each.row.item_id for each in await store.queue.due(ACQUIRER, 9, [101])] == [102]
        assert await store.queue.due("another", 10, []) == []
        first = (await store.queue.due(ACQUIRER, 1, []))[0]
        await store.queue.sent(101, 1)
        await store.queue.sent(101, 1)
        await store.queue.sent(101, 2)
        assert (await store.queue.due(ACQUIRER, 1, []))[0].tries == 2
        await store.queue.finish(first, "00", None)
        ids = [each.row.item_id for each in await store.queue.due(ACQUIRER, 10, [])]
        assert sorted(ids) == [100, 102]
        assert await store.queue.open_items(ACQUIRER) == 2

    run(scenario)


def test_an_item_waits_for_its_delay_or_its_answer(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        date = await store.days.business_date()
        for each in (1, 2):
            row = Commit(request=request(each), attempt=attempt(each))
            assert stored(await store.journal.commit(row)) == date
            won = Commit(
                outcome=outcome(each, date, state=OutcomeState.REVERSED),
                reversal=reversal(each, date),
                queue=queued(10 + each, each, date, delay_s=100.0 if each == 1 else 250.0),
            )
            stored(await store.journal.commit(won))
        assert await store.queue.due(ACQUIRER, 10, []) == []
        late = LateAnswerRow(2, date, 1, "00", "", 100, "late", NOW, release_queue=True)
        stored(await store.journal.commit(Commit(late_answer=late)))
        assert [each.row.item_id for each in await store.queue.due(ACQUIRER, 10, [])] == [12]
        await world.set_clock_back(-101.0)
        await world.pass_time(0.35)
        items = await store.queue.due(ACQUIRER, 10, [])
        assert [each.row.item_id for each in items] == [11, 12]
        assert all(0.35 <= each.age_s < 600.0 for each in items)

    run(scenario)


def test_an_item_ends_once_with_what_follows_from_it(run: Any) -> None:
    async def scenario(world: World) -> None:
        one, other = await world.process(), await world.process()
        pending = Commit(
            request=request(1, type="refund"),
            attempt=attempt(1),
            queue=queued(9, 1, None, kind="repeat", seq=0),
        )
        date = stored(await one.journal.commit(pending))
        (item,) = await one.queue.due(ACQUIRER, 10, [])
        answer = Commit(outcome=outcome(1, date, effect_minor=-100, on_current_date=True))
        verdicts = await asyncio.gather(
            one.queue.finish(item, "00", answer), other.queue.finish(item, "00", answer)
        )
        assert sorted(type(each).__name__ for each in verdicts) == ["Lost", "Stored"]
        assert await world.captures() == [(1, 0, date, -100)]
        assert await one.queue.open_items(ACQUIRER) == 0

    run(scenario)


def test_an_item_whose_outcome_is_known_ends_all_the_same(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        pending = Commit(
            request=request(1, type="refund"), queue=queued(9, 1, None, kind="repeat", seq=0)
        )
        date = stored(await store.journal.commit(pending))
        (item,) = await store.queue.due(ACQUIRER, 10, [])
        stored(await store.journal.commit(Commit(outcome=outcome(1, date, effect_minor=-100))))
        late = Commit(outcome=outcome(1, date, effect_minor=-100), case=case("late", 1))
        assert await store.queue.finish(item, "00", late) == Lost(1)
        assert await store.queue.open_items(ACQUIRER) == 0
        assert await world.cases() == []
        assert await world.captures() == [(1, 0, date, -100)]

    run(scenario)


# -- batches --------------------------------------------------------------------------------------

ZERO = BatchTotals()


async def trade(store: Any) -> dt.date:
    """Four purchases (one foreign, one voided, one reversed), one refund; a declined one."""
    date = await approve(store, 1, amount_minor=100)
    await approve(store, 2, amount_minor=200, effect_minor=200)
    await approve(store, 3, amount_minor=300, effect_minor=300, foreign=True)
    await approve(store, 4, amount_minor=400, effect_minor=400)
    await approve(store, 5, of=key(5, kind="020.20"), type="void", effect_minor=-200,
                  original_request_id=2)  # fmt: skip
    await approve(store, 6, of=key(6, kind="022.20"), type="refund", effect_minor=-70)
    declined = outcome(7, state=OutcomeState.DECLINED)
    stored(await store.journal.commit(Commit(request=request(7), outcome=declined)))
    await reverse(store, key(4), 400)
    return date


OURS = (BatchTotals(300, 2, 270, 2), BatchTotals(300, 1, 0, 0))


def test_sign_on_opens_a_batch_and_returns_it_while_it_lives(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        assert await store.batches.current(MERCHANT, TERMINAL) is None
        assert await store.batches.get(MERCHANT, TERMINAL, 1) is None
        assert await store.batches.sessions(MERCHANT, TERMINAL) == []
        for _ in range(3):
            assert await store.batches.sign_on(session()) == 1
        assert await store.batches.sign_on(session(terminal="00000002")) == 1
        assert (await store.batches.current(MERCHANT, TERMINAL)).state == "open"
        assert await store.batches.freeze(MERCHANT, TERMINAL, 1) == 0
        assert (await store.batches.current(MERCHANT, TERMINAL)).state == "frozen"
        assert await store.batches.sign_on(session()) == 1
        closed = await store.batches.settle(MERCHANT, TERMINAL, 1, (ZERO, ZERO))
        assert (closed.state, closed.result) == ("closed", "11")
        assert await store.batches.sign_on(session()) == 2
        assert (await store.batches.current(MERCHANT, TERMINAL)).batch == 2
        assert (await store.batches.get(MERCHANT, TERMINAL, 1)).state == "closed"

    run(scenario)


def test_many_sign_ons_at_once_open_one_batch(run: Any) -> None:
    async def scenario(world: World) -> None:
        one, other = await world.process(), await world.process()
        numbers = await asyncio.gather(
            *(store.batches.sign_on(session()) for store in [one, other] * 4)
        )
        assert set(numbers) == {1}

    run(scenario)


def test_sign_ons_of_others_do_not_push_out_the_keys_in_use(run: Any) -> None:
    """A 0800 carries no MAC: whoever knows a terminal's number can ask for new keys for it."""

    async def scenario(world: World) -> None:
        store = await world.process()
        await store.batches.sign_on(session(mak="in use"))
        (in_use,) = await store.batches.sessions(MERCHANT, TERMINAL)
        await store.batches.confirm_session(in_use.session_id)
        for at in range(5):
            await store.batches.sign_on(session(mak=f"never used {at}"))
        newest, former = await store.batches.sessions(MERCHANT, TERMINAL)
        assert (newest.mak, newest.confirmed) == ("never used 4", False)
        assert (former.mak, former.confirmed) == ("in use", True)

    run(scenario)


def test_the_newest_two_key_sets_are_kept_in_order(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        for mak in ("first", "second", "third"):
            await store.batches.sign_on(session(mak=mak))
        newest, former = await store.batches.sessions(MERCHANT, TERMINAL)
        assert (newest.mak, former.mak) == ("third", "second")
        assert not newest.confirmed
        await store.batches.confirm_session(newest.session_id)
        await store.batches.confirm_session(newest.session_id)
        newest, former = await store.batches.sessions(MERCHANT, TERMINAL)
        assert (newest.confirmed, former.confirmed) == (True, False)
        assert newest.session_id > former.session_id > 0
        current = await store.batches.current(MERCHANT, TERMINAL)
        assert await store.batches.standing(MERCHANT, TERMINAL) == ([newest, former], current)

    run(scenario)


def test_a_balanced_batch_closes(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        await store.batches.sign_on(session())
        await trade(store)
        assert (await store.batches.current(MERCHANT, TERMINAL)).items == 3
        assert await store.batches.freeze(MERCHANT, TERMINAL, 1) == 0
        settled = await store.batches.settle(MERCHANT, TERMINAL, 1, OURS)
        assert (settled.state, settled.result, settled.totals) == ("closed", "11", OURS)
        assert settled.terminal_totals == OURS
        # a repeat, even with other totals, is told the same
        assert await store.batches.settle(MERCHANT, TERMINAL, 1, (ZERO, ZERO)) == settled
        assert await store.batches.finish_upload(MERCHANT, TERMINAL, 1) == settled
        assert await world.cases() == []

    run(scenario)


def test_a_batch_with_requests_in_flight_does_not_settle(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        await store.batches.sign_on(session())
        date = stored(await store.journal.commit(Commit(request=request(1))))
        assert await store.batches.freeze(MERCHANT, TERMINAL, 1) == 1
        with pytest.raises(ValueError, match="in flight"):
            await store.batches.settle(MERCHANT, TERMINAL, 1, (ZERO, ZERO))
        stored(await store.journal.commit(Commit(outcome=outcome(1, date))))
        assert await store.batches.freeze(MERCHANT, TERMINAL, 1) == 0

    run(scenario)


def test_an_unbalanced_batch_is_compared_item_by_item(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        await store.batches.sign_on(session())
        await trade(store)
        said = (BatchTotals(999, 3, 270, 2), OURS[1])
        await store.batches.freeze(MERCHANT, TERMINAL, 1)
        settled = await store.batches.settle(MERCHANT, TERMINAL, 1, said)
        assert (settled.state, settled.result) == ("uploading", "21")
        assert await store.batches.sign_on(session()) == 1
        items = [BatchItem(2, 200), BatchItem(3, 333, foreign=True), BatchItem(5, 200)]
        await store.batches.upload(MERCHANT, TERMINAL, 1, items)
        more = [BatchItem(5, 999), BatchItem(6, 70, b"\x01" * 32), BatchItem(8, 50)]
        uploading = await store.batches.upload(MERCHANT, TERMINAL, 1, more)
        assert uploading.uploaded == (*items, *more[1:])
        assert await store.batches.overdue_uploads(3600.0) == []
        await world.pass_time(0.01)
        assert [each.batch for each in await store.batches.overdue_uploads(0.0)] == [1]
        finished = await store.batches.finish_upload(MERCHANT, TERMINAL, 1)
        assert finished.state == "closed"
        # 1 is ours alone, 3 differs, 8 is the terminal's alone
        expected = [("batch_long", None), ("batch_long", 3), ("batch_short", 1), ("batch_short", 3)]
        assert await world.cases() == expected
        assert await store.batches.finish_upload(MERCHANT, TERMINAL, 1) == finished
        after = await store.batches.upload(MERCHANT, TERMINAL, 1, [BatchItem(9, 1)])
        assert after == finished
        assert await world.cases() == expected
        assert await store.batches.overdue_uploads(0.0) == []
        assert await store.batches.sign_on(session()) == 2

    run(scenario)


def test_an_upload_has_a_bound(run: Any) -> None:
    """A 0320 is unsigned, and there are a million traces."""

    async def scenario(world: World) -> None:
        store = await world.process()
        await store.batches.sign_on(session())
        await store.batches.freeze(MERCHANT, TERMINAL, 1)
        await store.batches.settle(MERCHANT, TERMINAL, 1, (BatchTotals(1, 1, 0, 0), ZERO))
        where = (MERCHANT, TERMINAL, 1)
        await store.batches.upload(*where, [BatchItem(n, 1) for n in range(UPLOAD_ITEMS_MAX - 1)])
        more = [BatchItem(n, 1) for n in (0, 999_998, 999_999)]
        kept = await store.batches.upload(*where, more)
        stans = [item.stan for item in kept.uploaded]
        assert len(stans) == UPLOAD_ITEMS_MAX
        assert stans[-1] == 999_998
        assert await store.batches.get(*where) == kept
        # what every request reads does not bring them along
        assert (await store.batches.current(MERCHANT, TERMINAL)).uploaded == ()
        assert (await store.batches.upload(*where, more)) == kept

    run(scenario)


def test_an_unknown_batch_takes_no_upload(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        assert await store.batches.upload(MERCHANT, TERMINAL, 9, [BatchItem(1, 1)]) is None
        assert await store.batches.finish_upload(MERCHANT, TERMINAL, 9) is None

    run(scenario)


# -- dates ----------------------------------------------------------------------------------------


def test_a_date_is_cut_then_frozen_then_posted(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        date = await approve(store, 1)
        left = stored(await store.journal.commit(Commit(request=request(2), attempt=attempt(2))))
        assert left == date
        with pytest.raises(ValueError, match="not cut"):
            await store.days.freeze(date)
        await store.days.cut_over(date + DAY)
        await store.days.cut_over(date + DAY)
        with pytest.raises(ValueError, match="already"):
            await store.days.cut_over(date)
        assert await store.days.business_date() == date + DAY
        assert stored(await store.journal.commit(Commit(request=request(3)))) == date + DAY
        assert await store.days.freeze(date) == 1
        assert await store.days.state(date) == "cut"
        with pytest.raises(ValueError, match="not frozen"):
            await store.days.mark_posted(date)
        stored(await store.journal.commit(Commit(outcome=outcome(2, date))))
        assert await store.days.freeze(date) == 0
        assert await store.days.freeze(date) == 0
        assert await store.days.state(date) == "frozen"
        await store.days.mark_posted(date)
        await store.days.mark_posted(date)
        assert (await look(store, 1)).date_state == "posted"
        assert await store.days.freeze(date) == 0
        assert await store.days.state(date - DAY) is None
        with pytest.raises(ValueError, match="unknown"):
            await store.days.freeze(date - DAY)
        # the capture inherits the date of its request
        assert await world.captures() == [(1, 0, date, 100), (2, 0, date, 100)]

    run(scenario)


def test_a_refund_that_was_given_up_holds_up_nobody(run: Any) -> None:
    """Undelivered: no outcome, nothing in the queue any more. Reconciliation settles it (rules §8)."""

    async def scenario(world: World) -> None:
        store = await world.process()
        assert await store.batches.sign_on(session()) == 1
        dead = await store.owners.register("node", 0)
        pending = Commit(
            request=request(1, owner_id=dead, type="refund"),
            attempt=attempt(1),
            queue=queued(9, 1, None, kind="repeat", seq=0),
        )
        date = stored(await store.journal.commit(pending))
        (item,) = await store.queue.due(ACQUIRER, 10, [])
        await store.queue.finish(item, "--", Commit(case=case("undelivered", 1)))
        assert await store.queue.open_items(ACQUIRER) == 0
        found = await look(store, 1)
        assert (found.pending, found.in_flight, found.outcome) == (True, False, None)
        assert (await store.journal.stored_outcome(1, date)).pending
        assert await store.batches.freeze(MERCHANT, TERMINAL, 1) == 0
        assert (await store.batches.settle(MERCHANT, TERMINAL, 1, (ZERO, ZERO))).state == "closed"
        await world.expire(dead)
        taker = await store.owners.register("node", 1)
        assert await store.owners.take_over(taker, "node", 1) == []
        await store.days.cut_over(date + DAY)
        assert await store.days.freeze(date) == 0
        # what a person or a late answer says counts all the same, today
        late = outcome(1, date, effect_minor=-100, on_current_date=True)
        assert stored(await store.journal.commit(Commit(outcome=late))) == date + DAY
        assert await world.captures() == [(1, 0, date + DAY, -100)]

    run(scenario)


def test_a_pending_refund_does_not_hold_up_its_date(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        pending = Commit(
            request=request(1, type="refund"), queue=queued(9, 1, None, kind="repeat", seq=0)
        )
        date = stored(await store.journal.commit(pending))
        await reverse(store, key(5), 2)
        await store.days.cut_over(date + DAY)
        assert await store.days.freeze(date) == 0

    run(scenario)


# -- reference data -------------------------------------------------------------------------------


def test_changes_are_versions_and_raise_the_generation(run: Any) -> None:
    async def scenario(world: World) -> None:
        one, other = await world.process(), await world.process()
        content = {"prefix": "62", "acquirer": ACQUIRER}
        (made,) = await one.reference.apply([("route", "62", content)], maker="alice")
        assert (made.version, made.maker, made.content) == (1, "alice", content)
        assert await other.reference.generation() == 2
        reordered = dict(reversed(content.items()))
        assert await one.reference.apply([("route", "62", reordered)], maker="bob") == []
        assert await other.reference.generation() == 2
        changed = {**content, "foreign": True}
        await other.reference.apply(
            [("route", "62", changed), ("route", "4", content)], maker="bob"
        )
        snapshot = await one.reference.snapshot()
        assert snapshot.generation == 3
        assert snapshot.routes["62"].foreign
        assert snapshot.version("route", "62") == 2
        items = await one.reference.items("route")
        assert [(each.key, each.version) for each in items] == [("4", 1), ("62", 1), ("62", 2)]
        assert await one.reference.items("link") == []
        assert len(await one.reference.items()) == 3

    run(scenario)


def test_an_item_comes_into_force_at_its_time(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        clock = getattr(world, "clock", None)
        now = dt.datetime.now(dt.UTC) if clock is None else clock.now()
        soon = now + dt.timedelta(seconds=3.0)
        route = {"prefix": "62", "acquirer": ACQUIRER}
        await store.reference.apply([("route", "62", route)], maker="a", effective_from=soon)
        snapshot = await store.reference.snapshot()
        assert (snapshot.generation, snapshot.routes) == (2, {})
        await world.pass_time(3.1)
        assert await store.reference.generation() == 3
        assert await store.reference.generation() == 3
        assert list((await store.reference.snapshot()).routes) == ["62"]

    run(scenario)


def test_keys_are_versioned_by_owner_and_usage(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        made = []
        for owner, usage, block in (
            ("link:a", "ZPK", "x"),
            ("link:a", "ZPK", "y"),
            ("data", "ZPK", "z"),
        ):
            stored_key = StoredKey(owner=owner, usage=usage, version=0, block=block,
                                   check_value="ABCD", lmk_id="1")  # fmt: skip
            made.append(await store.reference.add_key(stored_key))
        assert [each.version for each in made] == [1, 2, 1]
        snapshot = await store.reference.snapshot()
        assert snapshot.generation == 4
        assert snapshot.key("link:a", "ZPK").block == "y"
        assert [each.block for each in snapshot.keys("link:a", "ZPK")] == ["y", "x"]

    run(scenario)


def test_a_snapshot_that_follows_changes_is_that_of_a_process_that_reads_everything(
    run: Any,
) -> None:
    async def scenario(world: World) -> None:
        one, other = await world.process(), await world.process()
        clock = getattr(world, "clock", None)
        now = dt.datetime.now(dt.UTC) if clock is None else clock.now()

        def routes(acquirer: str, *prefixes: str) -> list[tuple[str, str, dict[str, Any]]]:
            return [("route", each, {"prefix": each, "acquirer": acquirer}) for each in prefixes]

        async def read(store: Any) -> tuple[Any, ...]:
            snapshot = await store.reference.snapshot()
            versions = {each: snapshot.version("route", each) for each in snapshot.routes}
            keys = snapshot.keys("link:a", "ZPK"), snapshot.key("link:a", "ZAK")
            return snapshot.generation, snapshot.routes, versions, keys, snapshot.route("6222001")

        async def agree() -> None:
            """Again where an item came into force between two readings."""
            found: list[Any] = []
            for _ in range(3):
                found = [await read(store) for store in (one, other, await world.process())]
                if found[0] == found[1] == found[2]:
                    break
            assert found[0] == found[1] == found[2]

        await agree()
        await one.reference.apply(routes("a", "62", "4"), maker="a")
        await agree()
        soon = now + dt.timedelta(seconds=0.5)
        await other.reference.apply(routes("b", "62", "35", "5"), maker="b", effective_from=soon)
        await agree()
        await one.reference.apply(routes("c", "62", "6222"), maker="a")  # a higher version, at once
        for usage in ("ZPK", "ZAK", "ZPK"):
            stored_key = StoredKey(owner="link:a", usage=usage, version=0, block="x",
                                   check_value="ABCD", lmk_id="1")  # fmt: skip
            await other.reference.add_key(stored_key)
            await agree()
        await world.pass_time(0.6)
        await agree()
        snapshot = await one.reference.snapshot()
        assert [each.version for each in snapshot.keys("link:a", "ZPK")] == [2, 1]
        assert snapshot.route("6222001") == snapshot.routes["6222"]
        assert {each: snapshot.routes[each].acquirer for each in sorted(snapshot.routes)} == {
            "35": "b", "4": "a", "5": "b", "62": "c", "6222": "c",
        }  # fmt: skip

    run(scenario)


def test_verdicts_are_values(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        assert await store.journal.commit(Commit()) == Stored(await store.days.business_date())

    run(scenario)
