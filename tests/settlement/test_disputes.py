"""Disputes: the table, what it moves, and what rows of error files come to.

Method: whole lives of disputes over the store in memory, with the accounts they end on; then random
walks over the table with random amounts: wherever a walk ends, nothing stays on the chargeback
receivable or on hold, and the merchant or we bear exactly what the network took.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings, strategies as st

from settlement.casework import work as casework
from settlement.casework.ports import Wanted
from settlement.disputes import work
from settlement.disputes.deadlines import DEADLINES_DAYS
from settlement.disputes.intake import Adjustment, keys_of, take_in
from settlement.disputes.money import Happening, RefusedEventError, Suspense, step
from settlement.disputes.reasons import EVENT_OF, REASONS
from settlement.disputes.table import (
    ENDS,
    EVENTS,
    STATES,
    TABLE,
    TAKES,
    Dispute,
    DisputeFacts,
    Event,
)
from settlement.four_eyes import Actor, Proposal, RefusedError
from settlement.ledger import Entry
from tests.settlement.desk import (
    LI,
    NOW,
    TERMS,
    WANG,
    Desk,
    EveryDay,
    a_desk,
    case_of_class,
    moved,
)
from tests.settlement.world import ACQUIRER, DAY, NEXT, trade

SALE = trade(3)  # of `a_day`: 3,000, matched


def at_a_desk(check: Callable[[Desk], Awaitable[None]]) -> None:
    async def scenario() -> None:
        await check(await a_desk())

    asyncio.run(scenario())


def row(error_type: str, effect: int, **changes: Any) -> Adjustment:
    """A row of an error file about SALE, unless `changes` say otherwise."""
    values: dict[str, Any] = {
        "acquirer": ACQUIRER,
        "file": "IND26080532AERRA",
        "line": 1,
        "settlement_date": date(2026, 8, 5),
        "error_type": error_type,
        "reason": "4515",
        "currency": "156",
        "effect_minor": effect,
        "rrn": SALE.rrn,
        "merchant": SALE.merchant,
        "terminal": SALE.terminal,
    }
    values |= changes
    content = hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()
    return Adjustment(**{"content": content, **values})


async def taken(desk: Desk, *rows: Adjustment) -> list[DisputeFacts]:
    """Take the rows in; the disputes that they went to."""
    placed = await take_in(desk.casework, rows, NOW, TERMS, LI)
    found = [await desk.casework.dispute(one.dispute_id) for one in placed]
    return [one for one in found if one is not None]


async def of_disputes(desk: Desk) -> Counter[str]:
    return moved([one for one in await desk.entries() if one.step == "dispute"])


async def approve(desk: Desk, made: Proposal, checker: Actor = WANG) -> DisputeFacts:
    return await work.do(desk.casework, await desk.judged(made, checker), NOW, TERMS)


# -- the table -----------------------------------------------------------------------------------------


def test_every_state_is_reached_and_every_dispute_can_end() -> None:
    leads: dict[str, set[str]] = {}
    for (state, _), move in TABLE.items():
        leads.setdefault(state, set()).add(move.state)
    reached = {"new"}
    while more := {after for before in reached for after in leads.get(before, ())} - reached:
        reached |= more
    assert reached == set(STATES)
    ends = set(ENDS)
    while more := {state for state, after in leads.items() if after & ends} - ends:
        ends |= more
    assert ends == set(STATES)
    assert {event for _, event in TABLE} == set(EVENTS)


def test_money_comes_from_the_network_and_every_wait_has_an_end() -> None:
    waits = {move.state for move in TABLE.values() if move.deadline}
    assert waits == {state for state, event in TABLE if event == "expired"}
    for (_, event), move in TABLE.items():
        assert bool(move.money) == bool(move.sign)
        assert not move.money or move.by == "network"
        assert (move.by == "clock") == (event == "expired")
        if move.state in ("won", "lost", "absorbed"):
            assert move.hold == "free"


def test_codes_are_four_digits_and_events_those_of_the_network() -> None:
    assert all(len(code) == 4 and code.isdigit() for code in REASONS)
    network = {event for (_, event), move in TABLE.items() if move.by == "network"}
    assert set(EVENT_OF.values()) <= network


# -- lives ---------------------------------------------------------------------------------------------


def test_a_chargeback_that_nobody_answers_is_the_merchants() -> None:
    async def check(desk: Desk) -> None:
        (facts,) = await taken(desk, row("E23", -3_000))
        assert (facts.state, facts.charged_minor, facts.held_minor) == (
            "charged_back",
            3_000,
            3_000,
        )
        assert await of_disputes(desk) == Counter(
            {
                "network_receivable": -3_000,
                "chargeback_receivable": 3_000,
                "merchant_payable": 3_000,
                "merchant_held": -3_000,
            }
        )
        last = facts.last
        assert last is not None
        assert last.deadline == date(2026, 8, 5) + timedelta(days=20)
        assert await work.expire(desk.casework, last.deadline, NOW, TERMS, LI) == []
        late = last.deadline + timedelta(days=1)
        ((_, after),) = await work.expire(desk.casework, late, NOW, TERMS, LI)
        assert after.state == "lost"
        assert await of_disputes(desk) == Counter(
            {"network_receivable": -3_000, "merchant_payable": 3_000}
        )
        assert await work.expire(desk.casework, late, NOW, TERMS, LI) == []

    at_a_desk(check)


def test_a_dispute_through_all_its_stages_to_arbitration() -> None:
    async def check(desk: Desk) -> None:
        (facts,) = await taken(desk, row("E23", -3_000, issuer_fee_minor=-11))
        key = facts.dispute.id
        facts = await work.answer(desk.casework, key, "slip attached", LI, NOW, TERMS)
        assert facts.state == "representing"
        await work.add_evidence(desk.casework, key, "slip.pdf", "a" * 64, 1_234, LI, NOW)
        facts = await work.add_evidence(desk.casework, key, "slip.pdf", "a" * 64, 1_234, LI, NOW)
        assert [one.name for one in facts.evidence] == ["slip.pdf"]
        (facts,) = await taken(desk, row("E24", 3_000, issuer_fee_minor=11))
        assert (facts.state, facts.charged_minor, facts.held_minor) == ("represented", 0, 3_000)
        (facts,) = await taken(desk, row("E25", -2_000, line=2))
        assert (facts.state, facts.charged_minor) == ("charged_back_again", 2_000)
        facts = await work.answer(desk.casework, key, "filed", LI, NOW, TERMS)
        assert facts.state == "arbitrating"
        (facts,) = await taken(desk, row("E73", 500, line=3))
        assert (facts.state, facts.held_minor, facts.charged_minor) == ("won", 0, 0)
        # what was not awarded is the merchant's
        assert await of_disputes(desk) == Counter(
            {"network_receivable": -1_500, "merchant_payable": 1_500}
        )
        assert facts.taken_minor == 1_500
        # each row of the network moved its own settlement date's receivable
        days = {one.settlement_date for one in facts.events if one.by == "network"}
        assert days == {date(2026, 8, 5)}

    at_a_desk(check)


def test_queries_are_answered_or_not_and_move_nothing() -> None:
    async def queries(desk: Desk) -> None:
        types: dict[str, Event] = {"Q": "query", "R": "retrieval", "E05": "fulfilled"}
        before = await desk.entries()

        async def take(one: Adjustment) -> DisputeFacts:
            (placed,) = await take_in(desk.casework, [one], NOW, TERMS, LI, types)
            found = await desk.casework.dispute(placed.dispute_id)
            assert found is not None
            return found

        facts = await take(row("Q", 0))
        assert facts.state == "queried"
        facts = await work.answer(desk.casework, facts.dispute.id, "a tea house", LI, NOW, TERMS)
        assert facts.state == "answered"
        facts = await take(row("R", 0))
        assert facts.state == "retrieving"
        facts = await take(row("E05", 0))
        assert facts.state == "answered"
        last = facts.last
        assert last is not None
        assert last.deadline is not None
        ((_, facts),) = await work.expire(
            desk.casework, last.deadline + timedelta(days=1), NOW, TERMS, LI
        )
        assert facts.state == "closed"
        assert await desk.entries() == before

    at_a_desk(queries)


@pytest.mark.parametrize(
    ("event", "state", "bears"),
    [("accept", "lost", "merchant_payable"), ("absorb", "absorbed", "write_off_loss")],
)
def test_giving_up_needs_a_checker(event: Event, state: str, bears: str) -> None:
    async def check(desk: Desk) -> None:
        (facts,) = await taken(desk, row("E23", -3_000))
        key = facts.dispute.id
        made = await work.propose(desk.casework, desk.people, key, event, LI, reason="no slip")
        with pytest.raises(RefusedError) as refused:
            await approve(desk, made, LI)
        assert refused.value.reason == "self_approval"
        facts = await approve(desk, made)
        assert facts.state == state
        assert await of_disputes(desk) == Counter({"network_receivable": -3_000, bears: 3_000})
        with pytest.raises(RefusedError) as refused:
            await approve(desk, made)
        assert refused.value.reason == "replayed"
        with pytest.raises(RefusedEventError):
            await work.propose(desk.casework, desk.people, key, event, LI, reason="again")

    at_a_desk(check)


def test_who_may_not_work_disputes_changes_nothing() -> None:
    async def check(desk: Desk) -> None:
        (facts,) = await taken(desk, row("E23", -3_000))
        key, guest = facts.dispute.id, Actor("guest")
        for doing in (
            work.answer(desk.casework, key, "hello", guest, NOW, TERMS),
            work.refused(desk.casework, key, "hello", guest, NOW, TERMS),
            work.add_evidence(desk.casework, key, "a.pdf", "a" * 64, 1, guest, NOW),
            work.expire(desk.casework, date(2027, 1, 1), NOW, TERMS, guest),
            take_in(desk.casework, [row("E24", 3_000)], NOW, TERMS, guest),
        ):
            with pytest.raises(RefusedError, match="no permission"):
                await doing
        assert await work.dispute(desk.casework, key) == facts
        with pytest.raises(RefusedEventError, match="needs a checker"):
            await work._do(desk.casework, key, "accept", LI, NOW, TERMS, "quietly")

    at_a_desk(check)


def test_a_proposal_is_void_when_the_dispute_went_on() -> None:
    async def check(desk: Desk) -> None:
        (facts,) = await taken(desk, row("E23", -3_000))
        key = facts.dispute.id
        made = await work.propose(desk.casework, desk.people, key, "accept", LI, reason="no slip")
        await work.answer(desk.casework, key, "found the slip", LI, NOW, TERMS)
        with pytest.raises(RefusedError) as refused:
            await approve(desk, made)
        assert refused.value.reason == "changed"

    at_a_desk(check)


def test_a_manual_refund_is_opened_by_two_and_settled_by_the_network() -> None:
    async def check(desk: Desk) -> None:
        made = await work.propose_opening(
            desk.casework,
            desk.people,
            *("c3", "manual_refund", 1_000, LI),
            code="9707",
            reason="returned goods",
        )
        facts = await approve(desk, made)
        assert (facts.state, facts.held_minor) == ("refunding", 1_000)
        (placed,) = await take_in(desk.casework, [row("E74", -1_001)], NOW, TERMS, LI)
        assert placed.case_id  # more than was sent
        (facts,) = await taken(desk, row("E74", -1_000, network_fee_minor=-1))
        assert (facts.state, facts.held_minor) == ("settled", 0)
        assert await of_disputes(desk) == Counter(
            {"network_receivable": -999, "merchant_payable": 1_000, "network_fee": -1}
        )
        # of the sale, 2,000 are left to take
        (placed,) = await take_in(desk.casework, [row("E23", -2_001)], NOW, TERMS, LI)
        assert placed.case_id
        (facts,) = await taken(desk, row("E23", -2_000))
        assert facts.state == "charged_back"

    at_a_desk(check)


# -- cases through the network ---------------------------------------------------------------------------


def test_a_long_is_credited_to_the_card_through_the_network() -> None:
    async def check(desk: Desk) -> None:
        found = await case_of_class(desk, "network_long")
        sent = await desk.do(found.id, "credit_adjustment")
        assert (sent.state, sent.left_minor) == ("disputed", 698)
        (facts,) = await desk.casework.disputes()
        assert (facts.state, facts.dispute.original_minor) == ("crediting", 700)
        assert await of_disputes(desk) == Counter()  # nothing moves before the network's row
        about = facts.dispute
        credit = row("E32", -700, rrn=about.rrn, issuer_fee_minor=-2)
        (facts,) = await taken(desk, credit)
        assert facts.state == "settled"
        ended = await casework.case(desk.casework, found.id)
        assert (ended.state, ended.left_minor) == ("ended", 0)
        assert ended.facts.events[-1].dispute == about.id
        # 700 to the card; the row's fee became cost, and came back
        assert await of_disputes(desk) == Counter(
            {"network_receivable": -698, "long_suspense": 698}
        )

    at_a_desk(check)


def test_a_short_is_claimed_and_its_hold_ends_with_it() -> None:
    async def check(desk: Desk) -> None:
        found = await case_of_class(desk, "network_short")
        await desk.do(found.id, "claim", 3_000)
        (facts,) = await desk.casework.disputes()
        rrn = facts.dispute.rrn
        (facts,) = await taken(desk, row("E22", 3_000, rrn=rrn))
        half = await casework.case(desk.casework, found.id)
        assert (half.state, half.left_minor, half.held_minor) == ("assigned", -2_000, 4_975)
        await desk.do(found.id, "collection")
        (facts,) = await desk.casework.disputes()
        facts = await work.refused(desk.casework, facts.dispute.id, "no", LI, NOW, TERMS)
        assert facts.state == "closed"
        back = await casework.case(desk.casework, found.id)
        assert (back.state, back.left_minor) == ("assigned", -2_000)
        ended = await desk.do(found.id, "settle_with_merchant")
        assert (ended.state, ended.held_minor) == ("ended", 0)
        assert moved(await desk.entries())["short_suspense"] == 0

    at_a_desk(check)


def test_a_claim_that_is_paid_twice_becomes_a_case() -> None:
    """Answered after a close has found the missing row: nothing is in suspense any more."""

    async def check(desk: Desk) -> None:
        from tests.settlement.test_casework import close_next_day

        found = await case_of_class(desk, "network_short")
        await desk.do(found.id, "claim")
        (facts,) = await desk.casework.disputes()
        await close_next_day(desk, with_missing=True)
        paid = row("E22", 5_000, rrn=facts.dispute.rrn)
        (placed,) = await take_in(desk.casework, [paid], NOW, TERMS, LI)
        case = await casework.case(desk.casework, placed.case_id)
        assert (case.left_minor, case.state) == (5_000, "open")
        await work.expire(desk.casework, date(2027, 1, 1), NOW, TERMS, LI)
        assert (await casework.case(desk.casework, found.id)).state == "ended"

    at_a_desk(check)


# -- error files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rrn": "999999999999"}, "no sale of ours"),
        ({"rrn": ""}, "no sale of ours"),
        ({"merchant": "another"}, "no sale of ours"),
        ({"error_type": "E99"}, "error type E99 is not known"),
        ({"error_type": "E25"}, "has no second_chargeback by network"),
        ({"error_type": "E32"}, "has no credit_adjustment by network"),
        ({"effect_minor": 3_000}, "has the effect 3000"),
        ({"effect_minor": -3_001}, "3001 taken, 3000 is left of the sale"),
    ],
)
def test_a_row_that_nothing_explains_is_a_case(changes: dict[str, Any], why: str) -> None:
    async def check(desk: Desk) -> None:
        one = msgspec.structs.replace(row("E23", -3_000, issuer_fee_minor=5), **changes)
        (placed,) = await take_in(desk.casework, [one], NOW, TERMS, LI)
        assert (placed.dispute_id, placed.key) == ("", keys_of([one])[0])
        case = await casework.case(desk.casework, placed.case_id)
        assert case.facts.found.break_class == "adjustment_unplaced"
        assert why in case.facts.found.evidence["why"]
        assert case.left_minor == one.effect_minor - 5
        side = "long_suspense" if case.long else "short_suspense"
        made = [each for each in await desk.entries() if each.source == "case_opened"]
        assert moved(made) == Counter(
            {"network_receivable": case.left_minor, side: -case.left_minor}
        )
        ended = await desk.do(case.id, "write_off")
        assert ended.state == "ended"

    at_a_desk(check)


def test_the_same_rows_again_change_nothing() -> None:
    async def check(desk: Desk) -> None:
        twice = row("E23", -1_000)
        rows = [row("E23", -9_999), twice, twice, row("E24", 1_000)]
        first = await take_in(desk.casework, rows, NOW, TERMS, LI)
        assert len({one.key for one in first}) == 4
        before = await desk.entries()
        elsewhere = [
            msgspec.structs.replace(one, line=number + 7, file="IND26080533AERRA")
            for number, one in enumerate(rows)
        ]
        assert await take_in(desk.casework, elsewhere, NOW, TERMS, LI) == first
        assert await desk.entries() == before
        # a second chargeback while the first is under way is a dispute of its own
        assert first[1].dispute_id != first[2].dispute_id
        assert first[0].case_id

    at_a_desk(check)


def test_rows_move_money_on_the_earliest_date_that_is_not_posted() -> None:
    async def check(desk: Desk) -> None:
        await taken(desk, row("E23", -1_000))
        assert {one.business_date for one in await desk.entries() if one.step == "dispute"} == {
            NEXT
        }
        unplaced = row("E99", -1)
        await take_in(desk.casework, [unplaced], NOW, TERMS, LI)
        (found,) = await casework.cases(desk.casework, Wanted("adjustment_unplaced"), today=NEXT)
        assert found.facts.found.business_date == NEXT
        owners = [
            owner
            for one in await desk.entries()
            if one.source in ("dispute", "case_opened")
            for account, owner in zip(one.accounts, one.owners, strict=True)
            if account == "network_receivable"
        ]
        assert set(owners) == {f"{ACQUIRER}/2026-08-05"}

    at_a_desk(check)


# -- random walks ----------------------------------------------------------------------------------------

SALE_MINOR = 1_000
WALK = st.lists(st.tuples(st.integers(0, 20), st.integers(1, SALE_MINOR)), max_size=30)
FEES = ("issuer_fee", "network_fee")


def dispute_of(case_id: str = "") -> DisputeFacts:
    return DisputeFacts(
        Dispute(
            id="d1",
            business_date=DAY,
            acquirer=ACQUIRER,
            currency="156",
            merchant="m1",
            terminal="t1",
            record="" if case_id else "c1",
            case_id=case_id,
            rrn="r1",
            link_stan="",
            transmission_time="",
            pan_masked="",
            original_minor=SALE_MINOR,
            settlement_date=DAY,
        )
    )


def walk(
    facts: DisputeFacts, draws: list[tuple[int, int]], suspense: Suspense | None
) -> tuple[DisputeFacts, list[Entry], int]:
    """Events drawn from those that the state takes; what does not fit is refused and skipped."""
    made: list[Entry] = []
    left = 0
    for which, amount in draws:
        takes = sorted(event for state, event in TABLE if state == facts.state)
        if not takes:
            break
        event = takes[which % len(takes)]
        move = TABLE[facts.state, event]
        sign = move.sign or -TAKES.get(event, 0)
        one = Happening(
            event,
            move.by,
            NOW,
            NEXT,
            effect_minor=sign * amount,
            issuer_fee_minor=which % 3 if move.money else 0,
            settlement_date=NEXT,
        )
        try:
            stepped = step(
                facts,
                one,
                calendar=EveryDay(),
                deadlines_days=DEADLINES_DAYS,
                room_minor=SALE_MINOR,
                suspense=suspense,
            )
        except RefusedEventError:
            continue
        made += stepped.entries
        left += stepped.difference_minor
        facts = msgspec.structs.replace(facts, events=(*facts.events, stepped.event))
    return facts, made, left


@settings(max_examples=400, deadline=None)
@given(WALK)
def test_wherever_a_dispute_ends_the_merchant_bears_what_was_taken_and_no_more(
    draws: list[tuple[int, int]],
) -> None:
    facts, made, _ = walk(dispute_of(), draws, None)
    books = moved(made)
    fees = sum(books[account] for account in FEES)
    assert -facts.taken_minor == books["network_receivable"] + fees
    assert books["chargeback_receivable"] == facts.charged_minor
    assert books["merchant_held"] == -facts.held_minor
    bears = books["merchant_payable"] + books["write_off_loss"] + books["merchant_held"]
    if facts.ended:
        assert books["chargeback_receivable"] == books["merchant_held"] == 0
        assert bears == facts.taken_minor <= SALE_MINOR
        assert not (books["merchant_payable"] and books["write_off_loss"])
        assert bool(books["write_off_loss"]) <= (facts.state == "absorbed")
    else:
        assert facts.charged_minor <= SALE_MINOR
        assert bears == 0  # nothing is charged before the end
    assert set(books) <= {
        *("network_receivable", "merchant_payable", "merchant_held", "write_off_loss"),
        *("chargeback_receivable", *FEES),
    }


@settings(max_examples=200, deadline=None)
@given(WALK, st.sampled_from([900, -1_000]), st.integers(0, 100))
def test_a_dispute_of_a_case_takes_no_more_than_suspense_holds(
    draws: list[tuple[int, int]], left: int, fee: int
) -> None:
    assume(left > 0 or not fee)
    suspense = Suspense(left > 0, left, issuer_borne_minor=fee)
    facts, made, difference = walk(dispute_of("case"), draws, suspense)
    books = moved(made)
    assert books["long_suspense" if left > 0 else "short_suspense"] == difference
    settled = facts.state == "settled"
    assert (difference != 0) == settled
    assert abs(difference) <= abs(left)
    assert difference * left >= 0
    assert books["merchant_payable"] == books["merchant_held"] == 0 or not settled
