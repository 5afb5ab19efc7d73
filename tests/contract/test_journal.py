"""Commits and decisions: who wins, what stands, what a judge sees. Memory and PostgreSQL alike.

Each test is one scenario on a fresh world; `run` gives it the world.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import msgspec
import pytest

from switch.journal import (
    Commit,
    Duplicate,
    EndRow,
    FindById,
    FindByKey,
    FindByReference,
    Judgement,
    LateAnswerRow,
    Lost,
    OutcomeState,
    OwnerTakenError,
    RowRefusedError,
    Scene,
    Stale,
    Stored,
)
from tests.contract.worlds import (
    ACQUIRER,
    DAY,
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
    reversal_request,
    reverse,
    session,
    stored,
)

# -- keys -----------------------------------------------------------------------------------------


def test_a_request_is_stored_once_whoever_sends_it(run: Any) -> None:
    async def scenario(world: World) -> None:
        one, other = await world.process(), await world.process()
        date = stored(await one.journal.commit(Commit(request=request(1), attempt=attempt(1))))
        assert date == await one.days.business_date()
        again = await other.journal.commit(Commit(request=request(2, stan=1), attempt=attempt(2)))
        assert again == Duplicate(1, date, b"content of 1", tombstone=False)
        assert await other.journal.find_request(key(1)) == again
        assert await other.journal.find_request(key(2)) is None
        assert await look(one, 2) is None

    run(scenario)


def test_every_part_of_the_key_tells_requests_apart(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        keys = [key(1), key(2), key(1, batch=2), key(1, terminal="00000002"), key(1, kind="020.20")]
        for number, each in enumerate(keys, 1):
            stored(await store.journal.commit(Commit(request=request(number, of=each))))

    run(scenario)


def test_one_duplicate_costs_its_group_nothing(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        date = stored(await store.journal.commit(Commit(request=request(1))))
        rows = [request(each, stan=each % 7 + 1) for each in range(2, 30)]
        verdicts = await asyncio.gather(
            *(store.journal.commit(Commit(request=row)) for row in rows)
        )
        winners = {1: 1}  # stan → request id
        for row, verdict in zip(rows, verdicts, strict=True):
            if isinstance(verdict, Stored):
                assert row.key.stan not in winners
                winners[row.key.stan] = row.request_id
        assert sorted(winners) == [1, 2, 3, 4, 5, 6, 7]
        for row, verdict in zip(rows, verdicts, strict=True):
            if isinstance(verdict, Duplicate):
                assert verdict.request_id == winners[row.key.stan]
                assert verdict.request_date == date

    run(scenario)


def test_a_bad_row_costs_its_group_nothing(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        amounts = [100, 100, -1, 100, -1, 100, 100, 100]
        results = await asyncio.gather(
            *(
                store.journal.commit(Commit(request=request(number, amount_minor=amount)))
                for number, amount in enumerate(amounts, 1)
            ),
            return_exceptions=True,
        )
        for amount, result in zip(amounts, results, strict=True):
            assert type(result) is (Stored if amount > 0 else RowRefusedError)
        assert await store.journal.find_request(key(3)) is None

    run(scenario)


def test_a_decision_on_older_reference_data_is_stale(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        await store.reference.apply([("route", "62", {"prefix": "62"})], maker="test")
        assert await store.reference.generation() == 2
        assert await store.journal.commit(Commit(request=request(1))) == Stale(2, False)
        stored(await store.journal.commit(Commit(request=request(1, generation=2))))
        # a repeat is a repeat, whatever it was decided on
        repeat = await store.journal.commit(Commit(request=request(2, stan=1)))
        assert isinstance(repeat, Duplicate)

    run(scenario)


def test_a_frozen_batch_takes_nothing_new_but_advices_and_tombstones(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        assert await store.batches.sign_on(session()) == 1
        stored(await store.journal.commit(Commit(request=request(1))))
        assert await store.batches.freeze(MERCHANT, TERMINAL, 1) == 1
        assert await store.journal.commit(Commit(request=request(2))) == Stale(1, True)
        assert isinstance(await store.journal.commit(Commit(request=request(3, stan=1))), Duplicate)
        stored(await store.journal.commit(Commit(request=request(4, any_batch=True))))
        stored(await store.journal.commit(Commit(request=request(5, type="tombstone"))))
        stored(await store.journal.commit(Commit(request=request(6, of=key(6, batch=2)))))

    run(scenario)


# -- outcomes -------------------------------------------------------------------------------------


def test_the_first_outcome_stands_and_the_loser_leaves_nothing(run: Any) -> None:
    async def scenario(world: World) -> None:
        one, other = await world.process(), await world.process()
        date = stored(await one.journal.commit(Commit(request=request(1), attempt=attempt(1))))
        unknown = Commit(
            outcome=outcome(1, date, state=OutcomeState.UNKNOWN),
            reversal=reversal(1, date),
            queue=queued(10, 1, date),
            case=case("undelivered", 1),
        )
        stored(await one.journal.commit(Commit(outcome=outcome(1, date))))
        assert await other.journal.commit(unknown) == Lost(1)
        found = await look(other, 1)
        assert found.outcome.state is OutcomeState.APPROVED
        assert found.reversals == ()
        assert await other.queue.open_items("unionpay") == 0
        assert await world.cases() == []
        assert await world.captures() == [(1, 0, date, 100)]

    run(scenario)


def test_a_refusal_comes_with_its_request(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        refused = outcome(1, state=OutcomeState.REFUSED)
        date = stored(await store.journal.commit(Commit(request=request(1), outcome=refused)))
        found = await look(store, 1)
        assert found.outcome.state is OutcomeState.REFUSED
        assert (found.request_date, found.outcome_date, found.attempts) == (date, date, ())

    run(scenario)


def test_unknown_queues_its_reversal_in_the_same_commit(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        date = stored(await store.journal.commit(Commit(request=request(1), attempt=attempt(1))))
        unknown = Commit(
            outcome=outcome(1, date, state=OutcomeState.UNKNOWN),
            reversal=reversal(1, date, reason="68"),
            queue=queued(10, 1, date),
        )
        stored(await store.journal.commit(unknown))
        (item,) = await store.queue.due("unionpay", 10, [])
        assert (item.row, item.reason, item.tries) == (queued(10, 1, date), "68", 0)
        numbers = item.row.link_stan, item.row.transmission_time
        assert await store.journal.find_queued("unionpay", *numbers) == 1
        assert await store.journal.find_queued("bank-b", *numbers) is None
        assert await store.journal.find_attempt("unionpay", *numbers) is None
        assert item.original.outcome.state is OutcomeState.UNKNOWN
        assert await world.captures() == []

    run(scenario)


def test_what_is_read_back_is_what_was_written(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        row = request(
            1, entry_mode="051", condition_code="00", card_sequence="001", mcc="5999",
            pan_token=b"\x01" * 32, pan_masked="622848******1234", pan_cipher=b"\x02" * 40,
            chip=b"\x9f\x26\x08", session_id=3, foreign=True,
        )  # fmt: skip
        date = stored(await store.journal.commit(Commit(request=row, attempt=attempt(1))))
        second = attempt(1, 2, request_date=date)
        stored(await store.journal.commit(Commit(attempt=second)))
        stored(await store.journal.commit(Commit(attempt=second)))
        answer = outcome(1, date, settlement_date=date + DAY, acquirer_rrn="000000000042",
                         acquirer_response_code="A2", answer=b"\x81\x36\xa0")  # fmt: skip
        stored(await store.journal.commit(Commit(outcome=answer)))
        found = await look(store, 1)
        assert found.request == row
        assert [each.attempt for each in found.attempts] == [1, 2]
        assert found.attempts[1] == second
        assert found.outcome == answer
        assert found.captured_minor == 100

    run(scenario)


def test_late_outcomes_of_repeated_types_are_of_their_own_date(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        refund = request(1, type="refund", of=key(1, kind="022.20"))
        waits = Commit(
            request=refund, attempt=attempt(1), queue=queued(9, 1, None, kind="repeat", seq=0)
        )
        date = stored(await store.journal.commit(waits))
        purchase = stored(await store.journal.commit(Commit(request=request(2))))
        assert (await look(store, 1)).pending
        await store.days.cut_over(date + DAY)
        late = outcome(1, date, effect_minor=-100, on_current_date=True)
        assert stored(await store.journal.commit(Commit(outcome=late))) == date + DAY
        stored(await store.journal.commit(Commit(outcome=outcome(2, purchase))))
        assert await world.captures() == [(1, 0, date + DAY, -100), (2, 0, date, 100)]
        found = await look(store, 1)
        assert (found.request_date, found.outcome_date) == (date, date + DAY)

    run(scenario)


def test_two_processes_leave_one_pending_message(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        date = stored(await store.journal.commit(Commit(request=request(1, type="refund"))))
        stored(await store.journal.commit(Commit(queue=queued(8, 1, date, kind="repeat", seq=0))))
        other = Commit(queue=queued(9, 1, date, kind="repeat", seq=0))
        assert await store.journal.commit(other) == Lost(1)
        assert await store.queue.open_items("unionpay") == 1

    run(scenario)


# -- reversals and their captures -----------------------------------------------------------------


def test_a_reversal_cancels_the_capture_once(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        date = await approve(store, 1)
        judgement, verdict = await reverse(store, key(1), 100)
        assert (judgement.response_code, stored(verdict)) == ("00", date)
        judgement, _ = await reverse(store, key(1), 101)
        assert judgement.rule == "repeated"
        assert await world.captures() == []
        found = await look(store, 1)
        assert (found.captured_minor, len(found.reversals)) == (0, 1)
        assert found.reversals[0].capture == "cancel"
        assert not (await store.journal.stored_outcome(1, date)).standing

    run(scenario)


def test_after_the_freeze_a_reversal_posts_the_opposite_today(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        date = await approve(store, 1)
        await store.days.cut_over(date + DAY)
        assert await store.days.freeze(date) == 0
        assert (await look(store, 1)).date_state == "frozen"
        # even where the judge's word is older than the freeze
        await reverse(store, key(1), 100)
        found = await look(store, 1)
        assert (found.reversals[0].capture, found.captured_minor) == ("opposite", 0)
        assert await world.captures() == [(1, 0, date, 100), (1, 1, date + DAY, -100)]
        # a new reversal after a late approval has no second effect
        again = Commit(reversal=reversal(1, date, seq=2, capture="opposite"))
        stored(await store.journal.commit(again))
        assert len(await world.captures()) == 2

    run(scenario)


def test_a_reversal_number_is_taken_once(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        date = await approve(store, 1)
        late = LateAnswerRow(1, date, 1, "00", "", 100, "late", NOW)
        await reverse(store, key(1), 100)
        for item_id, expected in ((101, Stored(date)), (102, Lost(1))):
            commit = Commit(
                late_answer=late,
                reversal=reversal(1, date, seq=2),
                queue=queued(item_id, 1, date, seq=2),
                case=case("late_approval", 1),
            )
            assert await store.journal.commit(commit) == expected
        assert await world.cases() == [("late_approval", 1)]
        assert await store.queue.open_items("unionpay") == 2

    run(scenario)


def test_what_a_reversal_was_told_is_seen_by_the_next(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        await approve(store, 1)
        await approve(store, 2)
        assert (await look(store, 1)).told is None
        refused = Commit(
            reversal_request=reversal_request(key(1), 1, "12"), case=case("reversal_refused", 1)
        )
        stored(await store.journal.commit(refused))
        assert (await look(store, 1)).told == "12"
        # the one received last, in whatever order they came to stand
        earlier = msgspec.structs.replace(
            reversal_request(key(1), 1, "00"), received_at=NOW - dt.timedelta(seconds=1)
        )
        stored(await store.journal.commit(Commit(reversal_request=earlier)))
        assert (await look(store, 1)).told == "12"
        stored(
            await store.journal.commit(Commit(reversal_request=reversal_request(key(1), 1, "00")))
        )
        assert (await look(store, 1)).told == "00"
        assert (await look(store, 2)).told is None
        await reverse(store, key(3), 3)
        assert (await look(store, 3)).told == "25"

    run(scenario)


def test_a_tombstone_stops_the_original(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        judgement, verdict = await reverse(store, key(1), 100)
        assert judgement.response_code == "25"
        date = stored(verdict)
        original = await store.journal.commit(Commit(request=request(1), attempt=attempt(1)))
        assert original == Duplicate(100, date, b"content of 100", tombstone=True)
        judgement, _ = await reverse(store, key(1), 101)
        assert judgement.rule == "tombstone"

    run(scenario)


# -- decisions ------------------------------------------------------------------------------------


def judge_nothing(scenes: list[Scene]) -> Any:
    def judge(scene: Scene) -> Judgement:
        scenes.append(scene)
        return Judgement(commit=None, response_code="25", rule="nothing")

    return judge


def test_originals_are_found_by_what_is_named(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        token, other_token = b"\x01" * 32, b"\x02" * 32
        date = await approve(store, 1, stan=7, pan_token=token)
        await approve(store, 2, of=key(7, terminal="00000002"), pan_token=other_token)
        await approve(store, 3, stan=8, pan_token=token, type="balance")
        await approve(store, 4, of=key(7, batch=2), pan_token=token)
        finds: list[tuple[Any, list[int]]] = [
            (FindByKey(key(7)), [1]),
            (FindByKey(key(9)), []),
            (FindById(3), [3]),
            (FindById(3, date), [3]),
            (FindById(3, date - DAY), []),
            (FindByReference(MERCHANT, stan=7), [4, 2, 1]),
            (FindByReference(MERCHANT, stan=7, batch=1), [2, 1]),
            (FindByReference(MERCHANT, TERMINAL, stan=7), [4, 1]),
            (FindByReference(MERCHANT, pan_token=other_token), [2]),
            (FindByReference(MERCHANT, rrn="606300000003"), [3]),
            (FindByReference(MERCHANT, stan=7, auth_code="654321", batch=2), [4]),
            (FindByReference(MERCHANT, auth_code="111111"), []),
            (FindByReference(MERCHANT, types=("balance",)), [3]),
            (FindByReference("000000000000000", stan=7), []),
        ]
        for find, expected in finds:
            scenes: list[Scene] = []
            judgement, verdict = await store.journal.decide(find, judge_nothing(scenes))
            assert (judgement.response_code, verdict) == ("25", None)
            found = [each.request.request_id for each in scenes[-1].originals]
            assert found == expected, find
            assert scenes[-1].business_date == date

    run(scenario)


def test_the_local_date_narrows_and_may_be_the_former_year(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        date = await store.days.business_date()
        today = f"{date:%m%d}"
        row = msgspec.structs.replace(request(1), local_time=today + "130607")
        stored(await store.journal.commit(Commit(request=row)))
        for month_day, expected in ((today, 1), (f"{date - 40 * DAY:%m%d}", 0)):
            scenes: list[Scene] = []
            find = FindByReference(MERCHANT, stan=1, month_day=month_day)
            await store.journal.decide(find, judge_nothing(scenes))
            assert len(scenes[-1].originals) == expected

    run(scenario)


def follow_up_judge(new_id: int, amount_minor: int) -> Any:
    """A refund of at most what is left."""

    def judge(scene: Scene) -> Judgement:
        original = scene.originals[0]
        refunded = sum(each.amount_minor for each in original.follow_ups if each.state in
                       (None, OutcomeState.APPROVED))  # fmt: skip
        if refunded + amount_minor > original.captured_minor:
            return Judgement(commit=None, response_code="64", rule="too_much", original=original)
        row = request(
            new_id, of=key(new_id, kind="022.20"), type="refund", amount_minor=amount_minor,
            original_request_id=original.request.request_id,
        )  # fmt: skip
        return Judgement(Commit(request=row, attempt=attempt(new_id)), "", "allowed", original)

    return judge


def test_refunds_of_one_original_are_decided_one_after_the_other(run: Any) -> None:
    async def scenario(world: World) -> None:
        one, other = await world.process(), await world.process()
        await approve(one, 1)
        results = await asyncio.gather(
            *(
                store.journal.decide(FindById(1), follow_up_judge(10 + number, 40))
                for number, store in enumerate([one, other] * 3)
            )
        )
        assert sorted(judgement.response_code for judgement, _ in results) == [
            "", "", "64", "64", "64", "64",
        ]  # fmt: skip
        found = await look(one, 1)
        assert sum(each.amount_minor for each in found.follow_ups) == 80

    run(scenario)


def test_a_judge_sees_follow_ups_and_their_reversals(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        date = await approve(store, 1)
        void = request(2, of=key(2, kind="020.20"), type="void", original_request_id=1)
        stored(await store.journal.commit(Commit(request=void, attempt=attempt(2))))
        (seen,) = (await look(store, 1)).follow_ups
        assert (seen.type, seen.state, seen.reversed) == ("void", None, False)
        assert not (await store.journal.stored_outcome(1, date)).standing
        unknown = Commit(
            outcome=outcome(2, date, state=OutcomeState.UNKNOWN),
            reversal=reversal(2, date),
            queue=queued(10, 2, date, root=1),
        )
        stored(await store.journal.commit(unknown))
        (seen,) = (await look(store, 1)).follow_ups
        assert (seen.state, seen.reversed, seen.reversal_final) == ("unknown", True, False)
        (item,) = await store.queue.due("unionpay", 1, [])
        assert await store.queue.finish(item, "00", None) is None
        (seen,) = (await look(store, 1)).follow_ups
        assert seen.reversal_final
        assert (await look(store, 2)).reversal_response == "00"
        assert (await store.journal.stored_outcome(1, date)).standing

    run(scenario)


def test_a_judge_sees_what_stands_captured_of_adjustments_and_what_waits(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        date = await approve(store, 1)
        tip = request(2, of=key(2, kind="022.00"), type="tip", original_request_id=1)
        item = msgspec.structs.replace(queued(10, 2, date, root=1), kind="repeat", seq=0)
        advice = Commit(
            request=tip,
            attempt=attempt(2),
            outcome=outcome(2, effect_minor=-30, on_current_date=True),
            queue=item,
        )
        stored(await store.journal.commit(advice))
        (seen,) = (await look(store, 1)).follow_ups
        assert (seen.type, seen.state, seen.captured_minor) == ("tip", "approved", -30)
        assert not (await look(store, 1)).undelivered
        found = await look(store, 2)
        assert (found.undelivered, found.pending, found.in_flight) == (True, False, False)
        (due,) = await store.queue.due(ACQUIRER, 1, [])
        refused = Commit(
            reversal=msgspec.structs.replace(reversal(2, date), origin="rule", capture="opposite")
        )
        stored(await store.queue.finish(due, "25", refused))
        (seen,) = (await look(store, 1)).follow_ups
        assert (seen.reversed, seen.reversal_final, seen.captured_minor) == (True, True, 0)
        assert not (await look(store, 2)).undelivered

    run(scenario)


def test_a_judge_may_end_an_item_and_only_once(run: Any) -> None:
    """What it writes stands with the end of the item; where that has ended, nothing does."""

    async def scenario(world: World) -> None:
        store = await world.process()
        date = stored(await store.journal.commit(Commit(request=request(1))))
        unknown = Commit(
            outcome=outcome(1, date, state=OutcomeState.UNKNOWN),
            reversal=reversal(1, date),
            queue=queued(10, 1, date),
        )
        stored(await store.journal.commit(unknown))

        def judge(_scene: Scene) -> Judgement:
            commit = Commit(case=case("late_approval", 1), end=EndRow(10, "25"))
            return Judgement(commit=commit, response_code="", rule="")

        _, verdict = await store.journal.decide(FindById(1), judge)
        assert isinstance(verdict, Stored)
        assert (await look(store, 1)).reversal_response == "25"
        assert not await store.queue.due("unionpay", 1, [])
        _, verdict = await store.journal.decide(FindById(1), judge)
        assert verdict == Lost(10)
        assert await world.cases() == [("late_approval", 1)]

    run(scenario)


def test_a_judge_knows_who_still_works_on_it(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        owner = await store.owners.register("node", 0)
        stored(await store.journal.commit(Commit(request=request(1, owner_id=owner))))
        assert (await look(store, 1)).in_flight
        await world.expire(owner)
        found = await look(store, 1)
        assert (found.in_flight, found.pending, found.outcome) == (False, False, None)

    run(scenario)


def test_a_refused_commit_of_a_judge_leaves_nothing(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        await approve(store, 1)

        def judge(scene: Scene) -> Judgement:
            assert scene.originals
            row = request(2, amount_minor=-1, original_request_id=1)
            return Judgement(Commit(request=row), "", "bad")

        with pytest.raises(RowRefusedError):
            await store.journal.decide(FindById(1), judge)

        def broken(scene: Scene) -> Judgement:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await store.journal.decide(FindById(1), broken)
        assert (await look(store, 1)).follow_ups == ()
        # and the original is free
        assert (await reverse(store, key(1), 100))[0].response_code == "00"

    run(scenario)


def test_a_judged_request_may_be_a_duplicate(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        await approve(store, 1)
        await store.journal.decide(FindById(1), follow_up_judge(2, 10))

        def judge(scene: Scene) -> Judgement:
            row = request(3, of=key(2, kind="022.20"), original_request_id=1)
            return Judgement(Commit(request=row), "", "again", scene.originals[0])

        _, verdict = await store.journal.decide(FindById(1), judge)
        assert isinstance(verdict, Duplicate)
        assert verdict.request_id == 2
        assert len((await look(store, 1)).follow_ups) == 1

    run(scenario)


def test_a_process_that_was_taken_over_stores_no_request(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        one = await store.owners.register("node", 0)
        other = await store.owners.register("node", 1)
        row = request(1, owner_id=one)
        date = stored(await store.journal.commit(Commit(request=row)))
        await world.expire(one)
        assert len(await store.owners.take_over(other, "node", 1)) == 1
        results = await asyncio.gather(
            *(
                store.journal.commit(Commit(request=request(number, owner_id=owner)))
                for number, owner in ((2, one), (3, other), (4, one))
            ),
            return_exceptions=True,
        )
        assert [type(each) for each in results] == [OwnerTakenError, Stored, OwnerTakenError]
        # its outcomes still race
        stored(await store.journal.commit(Commit(outcome=outcome(1, date))))

    run(scenario)


def test_an_unknown_outcome_is_not_a_stored_one(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        assert await store.journal.stored_outcome(1, dt.date(2026, 1, 5)) is None
        date = stored(await store.journal.commit(Commit(request=request(1), attempt=attempt(1))))
        found = await store.journal.stored_outcome(1, date)
        assert (found.outcome, found.standing, found.attempt.attempt) == (None, False, 1)
        stored(await store.journal.commit(Commit(outcome=outcome(1, date))))
        found = await store.journal.stored_outcome(1, date)
        assert (found.outcome.auth_code, found.standing) == ("654321", True)

    run(scenario)
