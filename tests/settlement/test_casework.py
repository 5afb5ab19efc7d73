"""Casework: what may end a case, who may, and that its money is where it belongs.

Method: a day is closed with one break of each class; cases are worked by a maker and a checker over
the store in memory. Then random casework: whatever is done, what suspense holds is what the cases
that are open have left, and an ended case holds nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from settlement.cases import BREAK_CLASSES, OPENED_CLASSES, Break, Resolution
from settlement.casework import work
from settlement.casework.acts import ACTS, CLASS_ACTS, NotPossibleError, acts_of
from settlement.casework.ports import BusyError, Wanted
from settlement.casework.states import (
    KINDS,
    STATES,
    TABLE,
    Case,
    CaseEvent,
    CaseFacts,
    NotNowError,
    case_of,
)
from settlement.chart import CHART
from settlement.four_eyes import Actor, RefusedError
from settlement.ledger import Entry
from settlement.posting_rules import POSTING_RULES
from tests.depth import examples
from tests.settlement.desk import (
    LI,
    MAY,
    NOW,
    SUSPENSE,
    TERMS,
    WANG,
    ZHAO,
    Desk,
    MemoryPeople,
    a_desk,
    case_of_class,
    moved,
)
from tests.settlement.test_close import PLANTED, a_day
from tests.settlement.world import ACQUIRER, DAY, NEXT, billed, com_file, inbox, run_close


def at_a_desk(check: Callable[[Desk], Awaitable[None]]) -> None:
    async def scenario() -> None:
        await check(await a_desk())

    asyncio.run(scenario())


# -- the tables --------------------------------------------------------------------------------------


def test_every_state_but_the_end_takes_what_people_do() -> None:
    assert {state for state, _ in TABLE} == set(STATES)
    assert {kind for _, kind in TABLE} == set(KINDS)
    for state in STATES:
        kinds = {kind for of, kind in TABLE if of == state}
        assert "resolved" in kinds, state  # a close may find any case
        assert ("adjusted" in kinds) == (state != "ended")


def test_every_class_says_what_may_end_it() -> None:
    assert BREAK_CLASSES.keys() | OPENED_CLASSES.keys() <= CLASS_ACTS.keys()


def test_every_act_has_its_rules_and_a_class() -> None:
    for act in ACTS.values():
        for rule in (act.long, act.short):
            assert not rule or "difference" in POSTING_RULES[rule].variables, act.name
    used = {name for names in CLASS_ACTS.values() for name in names} | {"take_back"}
    assert used == ACTS.keys()


def test_a_stored_state_is_checked_against_the_table() -> None:
    found = Break("b1", DAY, "network_long", ACQUIRER, "156", {}, None, 100, difference_minor=100)
    event = CaseEvent("b1", 1, "assigned", "ended", "li", NOW, NEXT, owner="li")
    with pytest.raises(AssertionError, match="b1/1 is not ended"):
        case_of(CaseFacts(found, 0, standing=True, resolution=None, events=(event,)))


# -- one act of each -----------------------------------------------------------------------------------


def test_every_break_of_a_close_is_a_case() -> None:
    async def check(desk: Desk) -> None:
        found = await work.cases(desk.casework, Wanted(), today=NEXT)
        assert Counter(one.facts.found.break_class for one in found) == Counter(PLANTED)
        for one in found:
            assert (one.state, one.owner, one.age_days(NEXT)) == ("open", "", 1)
            assert one.left_minor == one.facts.found.difference_minor
            assert set(acts_of(one)) <= set(CLASS_ACTS[one.facts.found.break_class])
        held = {one.facts.found.break_class: one.held_minor for one in found if one.held_minor}
        assert held == {"network_short": 5_000 - 25}

    at_a_desk(check)


# What ends a case of a_day, by class and act: the debits (plus) and credits of its entries.
ENDINGS: list[tuple[str, str, dict[str, int]]] = [
    # 700, a debit card: issuer 2, network 0 (of 2.45 and 0.23); discount 4 of 3.5
    (
        "network_long",
        "follow_file",
        {
            "long_suspense": 698,
            "issuer_fee": 2,
            "merchant_payable": -696,
            "merchant_discount": -4,
        },
    ),
    ("network_long", "write_off", {"long_suspense": 698, "write_off_gain": -698}),
    # 5,000 sold, no row: the merchant was promised 4,975, all of it on hold
    (
        "network_short",
        "follow_file",
        {"short_suspense": -5_000, "merchant_held": 4_975, "merchant_discount": 25},
    ),
    (
        "network_short",
        "write_off",
        {
            "short_suspense": -5_000,
            "write_off_loss": 5_000,
            "merchant_held": 4_975,
            "merchant_payable": -4_975,
        },
    ),
    (
        "network_short",
        "settle_with_merchant",
        {"short_suspense": -5_000, "merchant_held": 4_975, "merchant_payable": 25},
    ),
    # 6,000 sold, 6,100 billed; the fee of 0.5 is more by one fen of 30.5, rounded half up
    (
        "amount_mismatch",
        "follow_file",
        {"long_suspense": 100, "merchant_payable": -99, "merchant_discount": -1},
    ),
    ("duplicate", "write_off", {"long_suspense": 6_973, "write_off_gain": -6_973}),
]


@pytest.mark.parametrize(("name", "act", "expected"), ENDINGS)
def test_an_act_ends_its_case(name: str, act: str, expected: dict[str, int]) -> None:
    async def check(desk: Desk) -> None:
        before = await desk.entries()
        found = await case_of_class(desk, name)
        made = await desk.propose(found.id, act)
        assert (await work.case(desk.casework, found.id)).state == "proposed"
        assert made.act == ACTS[act].permission
        ended = await desk.approve(made)
        assert (ended.state, ended.left_minor, ended.held_minor) == ("ended", 0, 0)
        added = [one for one in await desk.entries() if one not in before]
        assert moved(added) == Counter(expected)
        for one in added:
            assert one.key.startswith(f"{found.id}/")
            assert (one.step, one.business_date) == ("case", NEXT)  # never on the posted date
        last = ended.facts.events[-1]
        assert (last.operator, last.checker, last.proposal) == ("li", "wang", made.id)
        assert acts_of(ended) == ()

    at_a_desk(check)


def test_a_part_leaves_the_rest() -> None:
    async def check(desk: Desk) -> None:
        found = await case_of_class(desk, "network_short")
        half = await desk.do(found.id, "write_off", 2_000)
        assert (half.state, half.left_minor, half.held_minor) == ("assigned", -3_000, 4_975)
        with pytest.raises(NotPossibleError, match="holds 3000, not 3001"):
            await desk.propose(found.id, "write_off", 3_001)
        with pytest.raises(NotPossibleError):
            await desk.propose(found.id, "follow_file")  # the file's word is about the whole
        ended = await desk.do(found.id, "settle_with_merchant")
        assert (ended.state, ended.left_minor, ended.held_minor) == ("ended", 0, 0)
        expected = {
            "short_suspense": -5_000,
            "write_off_loss": 2_000,
            "merchant_held": 4_975,
            "merchant_payable": 3_000 - 4_975,
        }
        made = [one for one in await desk.entries() if one.key.startswith(f"{found.id}/")]
        assert moved(made) == Counter(expected)

    at_a_desk(check)


def test_a_hold_is_released_before_the_case_ends() -> None:
    async def check(desk: Desk) -> None:
        found = await case_of_class(desk, "network_short")
        freed = await desk.do(found.id, "release", 1_000)
        assert (freed.state, freed.left_minor, freed.held_minor) == ("assigned", -5_000, 3_975)
        freed = await desk.do(found.id, "release")
        assert freed.held_minor == 0
        assert "release" not in acts_of(freed)
        ended = await desk.do(found.id, "write_off")
        assert ended.state == "ended"
        assert moved(await desk.entries())["merchant_held"] == 0

    at_a_desk(check)


@pytest.mark.parametrize(
    ("name", "act", "reason"),
    [
        ("network_long", "release", "does not take release"),
        ("network_long", "claim", "does not take claim"),
        ("network_short", "credit_adjustment", "does not take credit_adjustment"),
        ("duplicate", "follow_file", "does not take follow_file"),
        ("network_long", "sell", "no act sell"),
    ],
)
def test_a_class_takes_its_own_acts_only(name: str, act: str, reason: str) -> None:
    async def check(desk: Desk) -> None:
        found = await case_of_class(desk, name)
        with pytest.raises(NotPossibleError, match=reason):
            await desk.propose(found.id, act)
        assert await desk.people.pending() == []

    at_a_desk(check)


def test_assigned_noted_and_withdrawn() -> None:
    async def check(desk: Desk) -> None:
        found = await case_of_class(desk, "network_long")
        taken = await work.assign(desk.casework, found.id, "wang", LI, NOW, "yours")
        assert (taken.state, taken.owner) == ("assigned", "wang")
        await work.note(desk.casework, found.id, "asked the bank", WANG, NOW)
        made = await desk.propose(found.id, "write_off")
        back = await work.withdraw(desk.casework, found.id, "not yet", WANG, NOW)
        assert (back.state, back.owner) == ("assigned", "wang")
        with pytest.raises(RefusedError, match="has changed since"):
            await desk.approve(made)
        with pytest.raises(NotNowError):
            await work.withdraw(desk.casework, found.id, "again", WANG, NOW)
        with pytest.raises(RefusedError, match="no permission"):
            await work.note(desk.casework, found.id, "hello", Actor("guest"), NOW)
        kinds = [one.kind for one in (await work.case(desk.casework, found.id)).facts.events]
        assert kinds == ["assigned", "noted", "proposed", "withdrawn"]
        mine = await work.cases(desk.casework, Wanted(), owner="wang", today=NEXT)
        assert [one.id for one in mine] == [found.id]
        assert await work.cases(desk.casework, Wanted(), age_days=2, today=NEXT) == []
        later = NEXT + timedelta(days=9)
        assert len(await work.cases(desk.casework, Wanted(), age_days=10, today=later)) == 5

    at_a_desk(check)


# -- four eyes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("checker", "reason"),
    [
        (LI, "self_approval"),
        (Actor("guest"), "not_allowed"),
        (Actor("wang", MAY - {"approve:case.write_off"}), "not_allowed"),
    ],
)
def test_who_may_not_approve_is_refused(checker: Actor, reason: str) -> None:
    async def check(desk: Desk) -> None:
        found = await case_of_class(desk, "network_long")
        made = await desk.propose(found.id, "write_off")
        before = await desk.entries()
        with pytest.raises(RefusedError) as refused:
            await desk.approve(made, checker)
        assert refused.value.reason == reason
        assert await desk.entries() == before
        assert (await desk.approve(made)).state == "ended"

    at_a_desk(check)


def test_what_was_changed_or_replayed_is_refused() -> None:
    async def check(desk: Desk) -> None:
        found = await case_of_class(desk, "network_short")
        made = await desk.propose(found.id, "write_off", 1_000)

        async def refused(checker: Actor = WANG, **options: Any) -> str:
            with pytest.raises(RefusedError) as error:
                await desk.approve(made, checker, **options)
            return error.value.reason

        assert await refused(seen="0" * 64) == "changed"
        moves: Any = made.payload["moves"]
        forged = {**made.payload, "moves": {**moves, "difference_minor": -4_000}}
        assert isinstance(desk.people, MemoryPeople)
        desk.people.proposals[made.id] = msgspec.structs.replace(made, payload=forged)
        assert await refused() == "changed"
        desk.people.proposals[made.id] = made
        await desk.approve(made)
        assert await refused() == "replayed"
        assert await refused(ZHAO) == "replayed"
        # two who judged at once: the second finds the approval used when it commits
        other = await desk.propose(found.id, "write_off", 500)
        judged = await desk.judged(other)
        await desk.approve(other, ZHAO)
        with pytest.raises(RefusedError) as error:
            await work.do(desk.casework, judged, NOW, TERMS)
        assert error.value.reason == "replayed"
        assert (await work.case(desk.casework, found.id)).left_minor == -3_500

    at_a_desk(check)


def test_an_act_under_another_permission_is_refused() -> None:
    """A write-off proposed as an adjustment, with a rule of its maker's liking."""

    async def check(desk: Desk) -> None:
        found = await case_of_class(desk, "network_short")
        content = (await desk.propose(found.id, "write_off")).payload
        for act, change in (
            ("case.adjust", {}),
            ("case.write_off", {"rule": "case_merchant_short"}),
            ("case.write_off", {"variables": {"difference": -4_000}}),
        ):
            moves: Any = content["moves"]
            forged = {**content, "moves": {**moves, **change}}
            made = await desk.people.propose(act, found.id, forged, LI)
            with pytest.raises((RefusedError, AssertionError)):
                await desk.approve(made)
        assert (await work.case(desk.casework, found.id)).left_minor == -5_000

    at_a_desk(check)


def test_two_proposals_on_one_case_are_one_act() -> None:
    async def check(desk: Desk) -> None:
        found = await case_of_class(desk, "network_short")
        first = await desk.propose(found.id, "write_off", maker=LI)
        second = await desk.propose(found.id, "settle_with_merchant", maker=ZHAO)
        await desk.approve(second)
        with pytest.raises(RefusedError) as refused:
            await desk.approve(first)
        assert refused.value.reason == "changed"

    at_a_desk(check)


# -- beside the day's end ------------------------------------------------------------------------------


async def close_next_day(desk: Desk, *, with_missing: bool) -> None:
    """The next date; its file has the row that the day before lacked."""
    trades, _ = a_day()
    rows = [billed(trades[4])] if with_missing else []
    await run_close(desk.books, inbox(com_file(rows, NEXT)), day=NEXT, dates=desk.dates, at=NOW)


def test_a_case_that_a_close_ended_meanwhile_takes_no_act() -> None:
    async def check(desk: Desk) -> None:
        found = await case_of_class(desk, "network_short")
        made = await desk.propose(found.id, "write_off")
        await close_next_day(desk, with_missing=True)
        ended = await work.case(desk.casework, found.id)
        assert (ended.state, ended.left_minor, ended.held_minor) == ("ended", 0, 0)
        with pytest.raises(RefusedError) as refused:
            await desk.approve(made)
        assert refused.value.reason == "changed"
        with pytest.raises(NotPossibleError):
            await desk.propose(found.id, "write_off")
        assert moved(await desk.entries())["short_suspense"] == 0

    at_a_desk(check)


def test_a_written_off_short_that_is_paid_after_all_is_open_again() -> None:
    """The close gives suspense back what the write-off had taken out; the case says so, and taking
    the write-off back ends it. The hold, released by the write-off, is not released twice."""

    async def check(desk: Desk) -> None:
        found = await case_of_class(desk, "network_short")
        await desk.do(found.id, "write_off")
        await close_next_day(desk, with_missing=True)
        again = await work.case(desk.casework, found.id)
        assert (again.state, again.left_minor, again.held_minor) == ("open", 5_000, 0)
        books = moved(await desk.entries())
        assert (books["short_suspense"], books["merchant_held"]) == (-5_000, 0)
        assert acts_of(again)[0] == "take_back"
        ended = await desk.do(found.id, "take_back")
        assert ended.state == "ended"
        books = moved(await desk.entries())
        assert (books["short_suspense"], books["write_off_loss"]) == (0, 0)

    at_a_desk(check)


def test_a_case_takes_no_money_while_a_close_is_under_way() -> None:
    async def check(desk: Desk) -> None:
        found = await case_of_class(desk, "network_long")
        made = await desk.propose(found.id, "write_off")
        async with desk.books.alone(NEXT):
            with pytest.raises(BusyError):
                await desk.approve(made)
            await work.note(desk.casework, found.id, "notes are not money", LI, NOW)
        assert (await desk.approve(made)).state == "ended"

    at_a_desk(check)


# -- random casework -----------------------------------------------------------------------------------

STEPS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(1, 100)), max_size=25)


def suspense_by_case(entries: list[Entry], found: list[Case]) -> dict[str, int]:
    """What suspense holds of each case, from the ledger's entries alone: minus is a credit."""
    fees = {one.facts.found.record: one.id for one in found if one.facts.found.step == "fees"}
    sums = {one.id: 0 for one in found}
    for made in entries:
        case_id = made.key.split("/", 1)[0]
        if made.source == "fee":
            case_id = fees[made.key]
        for account, amount in zip(made.accounts, made.amounts, strict=True):
            if account in SUSPENSE:
                sums[case_id] += amount
    return sums


@settings(max_examples=examples(8), deadline=None)
@given(STEPS, st.booleans())
def test_suspense_is_what_open_cases_have_left(
    steps: list[tuple[int, int, int]], with_missing: bool
) -> None:
    """Acts drawn from what each case takes, in parts or whole; the next date closes in between."""

    async def check(desk: Desk) -> None:
        for number, (which, act, percent) in enumerate(steps):
            if number == len(steps) // 2 > 0:
                await close_next_day(desk, with_missing=with_missing)
            found = await work.cases(desk.casework, Wanted(ended=True), today=NEXT)
            one = found[which]
            names = [name for name in acts_of(one) if not ACTS[name].dispute]
            if not names:
                continue
            name = names[act % len(names)]
            of = one.held_minor if name == "release" else abs(one.left_minor)
            part = of * percent // 100 if ACTS[name].part and percent < 80 else None
            await desk.do(one.id, name, part or None)
        found = await work.cases(desk.casework, Wanted(ended=True), today=NEXT)
        sums = suspense_by_case(await desk.entries(), found)
        assert sums == {one.id: -one.left_minor for one in found}
        assert sum(one.held_minor for one in found) == -moved(await desk.entries())["merchant_held"]
        for one in found:
            if one.state == "ended":
                assert (one.left_minor, one.held_minor) == (0, 0)
        for made in await desk.entries():
            assert all(account in CHART for account in made.accounts)

    at_a_desk(check)


def test_resolution_before_and_after_events_is_told_apart() -> None:
    """An event that knew of the close's resolution comes after it, one that did not before."""
    found = Break("b1", DAY, "network_short", ACQUIRER, "156", {}, 100, None, difference_minor=-100)
    resolution = Resolution("b1", NEXT, "found by a later close", DAY)

    def event(sequence: int, amount: int, state: Any, resolved: bool) -> CaseEvent:
        return CaseEvent(
            *("b1", sequence, "adjusted", state, "li", NOW, NEXT),
            difference_minor=amount,
            resolved=resolved,
        )

    facts = CaseFacts(found, 0, standing=True, resolution=resolution)
    before = msgspec.structs.replace(facts, events=(event(1, -100, "ended", False),))
    assert (case_of(before).state, case_of(before).left_minor) == ("open", 100)
    both = msgspec.structs.replace(facts, events=(*before.events, event(2, 100, "ended", True)))
    assert (case_of(both).state, case_of(both).left_minor) == ("ended", 0)
