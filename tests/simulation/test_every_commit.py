"""A process dies before, and after, every single write of a small day; every promise is kept.

Goal: no place between two writes at which a crash loses or doubles anything. Method: a scripted day
in which each kind of end is met once is counted without a further crash; then for each n a run of its
own in which the process that asks for write n is killed before it stands, or after it stands and
before it is told. Each part of the script goes on however the one before ended. Many crashes leave the
journal and the banks alike but for numbers and times: the books of such are closed once. Every run
plays half of it, a crash before one write and after the next; `make test-deep` plays the other half.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from switch.journal import OutcomeState
from terminals.simulator.bank import BankFaults
from tests.depth import sampled
from tests.simulation.books import close_books
from tests.simulation.world import Plan, World, simulate

if TYPE_CHECKING:
    from collections.abc import Callable

    from terminals.simulator.terminal import Request
    from tests.simulation.till import Till

pytestmark = pytest.mark.xdist_group("every_commit")  # one worker remembers what it has closed

Situation = tuple[Any, ...]

DAY = Plan(seed=5, nodes=2, terminals=1, transactions=0, think_s=0.3, link_timeout_s=2.0)
STRIPES = 4


async def day(till: Till) -> None:
    """Timed out, the 0420 there first and answered 25 · approved too late · approved and voided · asked
    back while in flight · a refund that gets no answer, repeated · in flight when all processes die."""
    world, terminal = till.world, till.terminal
    world.banks_do(BankFaults(overtaken=1.0, late_s=5.0, on_reversals=False))
    await do(till, purchase(till))
    world.banks_do(BankFaults(late=1.0, late_s=4.0, on_reversals=False))
    await do(till, purchase(till))
    world.banks_do(BankFaults())
    await do(till, purchase(till))
    if slips := terminal.voidable():
        await do(till, lambda: terminal.void(slips[0]))
    world.banks_do(BankFaults(late=1.0, late_s=1.0, on_reversals=False))
    await do(till, purchase(till), "hang_up")
    world.banks_do(BankFaults())
    await do(till, purchase(till))
    if slips := terminal.refundable():
        world.banks_do(BankFaults(silent=1.0, on_reversals=False))
        refund = asyncio.create_task(do(till, lambda: terminal.refund(slips[0], 1_00)))
        await asyncio.sleep(DAY.link_timeout_s + 0.5)
        world.banks_do(BankFaults())
        await refund
    world.banks_do(BankFaults(late=1.0, late_s=1.5, on_reversals=False))
    for node in world.nodes:
        world.call_later(1.0, node.crash, "killed")
    await do(till, purchase(till), rest_s=12.0)  # nobody asks back before they are taken over


async def do(
    till: Till, make: Callable[[], Request], fault: str = "none", rest_s: float = 0.0
) -> None:
    """Ask, and bring it to its end, after a rest."""
    if not till.terminal.signed_on:
        await till.sign_on()
    await till.ask(make, fault)
    await asyncio.sleep(rest_s)
    await till.know(till.terminal.slips[-1])
    await till.clear()


def purchase(till: Till) -> Callable[[], Request]:
    card = till.cards[0]
    return lambda: till.terminal.purchase(card, 10_00, pin=card.pin)


closed: set[Situation] = set()  # by this process


def situation(world: World) -> Situation:
    """What reaches the books, without its numbers and times."""
    store = world.store
    requests = [
        (
            request.row.type,
            request.row.amount_minor,
            request.date,
            outcome and (outcome.row.state, outcome.row.effect_minor, outcome.business_date),
            tuple(each.row.capture for each in store.reversals.get(request_id, ())),
        )
        for request_id, request in sorted(store.requests.items())
        for outcome in [store.outcomes.get(request_id)]
    ]
    entries = [
        (bank.options.name, entry.asked.kind, entry.effect_minor, entry.standing)
        for bank in world.banks
        for entry in bank.accounts.entries
    ]
    return (*requests, *entries)


async def close_once(world: World) -> list[str]:
    found = situation(world)
    if found in closed:
        return []
    closed.add(found)
    return await close_books(world)


def scripted(world: World) -> None:
    world.closing = close_once
    for till in world.tills:
        till.story = day


@cache
def without_a_crash() -> World:
    """The day as the script has it, played once."""
    counted: list[World] = []

    def prepare(world: World) -> None:
        scripted(world)
        counted.append(world)

    report = simulate(DAY, prepare)
    assert not report.broken, report.broken
    return counted[0]


def test_the_day_has_every_kind_of_end() -> None:
    world = without_a_crash()
    states = Counter(outcome.state for outcome in world.checkers.outcomes.values())
    assert states[OutcomeState.APPROVED] >= 3, states
    assert states[OutcomeState.UNKNOWN] >= 3, states
    origins = {origin for one in world.checkers.reversed_by.values() for origin in one}
    assert origins == {"time_out", "late_approval", "terminal", "recovery"}
    assert {row.reason for row in world.store.late_answers.values()} == {"late"}
    assert "25" in world.checkers.ended.values()
    writes = Counter(world.disturbed.writes)
    assert writes["sent"] >= 6, writes
    assert writes["finish"] >= 4, writes
    assert writes["recovered"] >= 1, writes
    assert writes["take_over"] <= 10, writes


@pytest.mark.parametrize(
    ("stripe", "late"),
    sampled(
        [(stripe, late) for stripe in range(STRIPES) for late in (False, True)],
        lambda row: row[1] == bool(row[0] % 2),
    ),
)
def test_a_crash_at_every_write(stripe: int, late: bool) -> None:
    writes = len(without_a_crash().disturbed.writes)
    for number in range(1 + stripe, writes + 1, STRIPES):

        def die(world: World, number: int = number) -> None:
            scripted(world)
            world.disturbed.crash_at, world.disturbed.crash_late = number, late

        report = simulate(DAY, die)
        assert not report.broken, f"write {number}: {report.broken}"
        when = "after" if late else "before"
        assert any(f"node {when} write {number} " in name for name in report.counts), (
            f"nobody died at write {number}: {report.counts}"
        )
