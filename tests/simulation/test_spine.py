"""The main job in virtual time: sign-on, purchase, time-out, reversal, crash, recovery, 0500.

One merchant, one terminal, one bank that the test makes slow; the production code above the ports on
the in-memory store. The checkers watch every message and commit; the tests say what must have come of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from switch.journal import OutcomeState
from switch.virtual.loop import run_virtual
from terminals.simulator.bank import BankFaults
from tests.simulation.plans import fair
from tests.simulation.upheaval import change_link
from tests.simulation.world import Plan, World, logging_into, simulate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.simulation.till import Till

ONE = Plan(seed=1, nodes=1, terminals=1, transactions=0)


def play(story: Callable[[World, Till], Awaitable[None]], plan: Plan = ONE) -> World:
    """A world whose terminal does what the story says; then calm, and the checkers' last word."""

    async def main() -> World:
        world = World(plan)
        with logging_into(world):
            try:
                await world.open()
                (till,) = world.tills
                await till.sign_on()
                await story(world, till)
                await world.calm_down()
                await world.come_to_rest()
                world.checkers.final()
                world.raise_broken()
            finally:
                await world.close()
        return world

    return run_virtual(main())[0]


def outcomes(world: World) -> list[OutcomeState]:
    return [outcome.state for outcome in world.checkers.outcomes.values()]


async def buy(till: Till, amount_minor: int) -> str:
    card = till.cards[0]
    outcome = await till.ask(lambda: till.terminal.purchase(card, amount_minor, pin=card.pin))
    return outcome.response_code or outcome.state


def test_sign_on_purchase_settle() -> None:
    async def story(_world: World, till: Till) -> None:
        assert await buy(till, 12_34) == "00"
        assert await buy(till, 56_78) == "00"

    world = play(story)
    assert outcomes(world) == [OutcomeState.APPROVED, OutcomeState.APPROVED]
    assert sum(effect for *_, effect in world.store.captures()) == 69_12
    assert world.counts["settled balanced"] == 1


def test_time_out_is_unknown_and_reversed_once() -> None:
    async def story(world: World, till: Till) -> None:
        world.banks_do(BankFaults(silent=1.0))
        assert await buy(till, 10_00) == "98"
        world.banks_do(BankFaults())

    world = play(story)
    assert outcomes(world) == [OutcomeState.UNKNOWN]
    assert world.checkers.reversed_by == {1: ["time_out"]}
    assert list(world.checkers.ended.values()) == ["00"]
    assert [entry.state for entry in world.banks[0].accounts.entries] == ["reversed"]
    assert world.store.captures() == []


def test_a_late_approval_is_never_one() -> None:
    async def story(world: World, till: Till) -> None:
        world.banks_do(BankFaults(late=1.0, late_s=12.0, on_reversals=False))
        assert await buy(till, 10_00) == "98"
        await asyncio.sleep(20)

    world = play(story)
    assert outcomes(world) == [OutcomeState.UNKNOWN]
    assert [row.reason for row in world.store.late_answers.values()] == ["late"]
    assert world.store.captures() == []


def test_crash_with_a_request_in_flight_is_recovered_and_reversed() -> None:
    async def story(world: World, till: Till) -> None:
        world.banks_do(BankFaults(late=1.0, late_s=5.0, on_reversals=False))
        (node,) = world.nodes
        asyncio.get_running_loop().call_later(1.0, node.crash, "killed", context=world.context)
        assert await buy(till, 10_00) == "no_answer"
        world.banks_do(BankFaults())
        await till.clear()
        assert await buy(till, 20_00) == "00"

    world = play(story)
    assert outcomes(world) == [OutcomeState.UNKNOWN, OutcomeState.APPROVED]
    assert world.checkers.reversed_by == {1: ["recovery"]}
    assert [effect for *_, effect in world.store.captures()] == [20_00]
    assert world.nodes[0].boots == 2
    assert world.counts["settled balanced"] == 1


def test_a_day_without_faults() -> None:
    report = simulate(fair(seed=3, transactions=60))
    assert not report.broken, report.broken
    assert report.unbalanced == []
    assert set(report.checked) == {"P1", "P2", "P3", "P4", "P5", "P6", "P8", "P10"}


def test_a_link_that_changes_while_the_store_is_full_is_started_when_it_is_not() -> None:
    async def story(world: World, till: Till) -> None:
        world.disturbed.freed.clear()
        for bank in world.banks:
            await change_link(world, bank, world.second_dice)
        await asyncio.sleep(3.0)
        world.disturbed.freed.set()
        await asyncio.sleep(10.0)
        assert await buy(till, 10_00) == "00"

    world = play(story)
    assert outcomes(world) == [OutcomeState.APPROVED]


def test_a_process_that_drains_starts_no_link_any_more() -> None:
    """The reference data changes while the banks have yet to answer the sign-off."""

    async def story(world: World, till: Till) -> None:
        assert await buy(till, 10_00) == "00"
        await till.clear()
        (node,) = world.nodes
        assert node.boot is not None
        assert node.boot.switch is not None
        links = node.boot.switch._links
        for bank in world.banks:
            world._cut_off(bank.options.name, 30.0)
        node.drain(None)
        await asyncio.sleep(0.5)
        for bank in world.banks:
            await change_link(world, bank, world.second_dice)
        for _ in range(50):
            await asyncio.sleep(0.1)
            assert not links._running
        await asyncio.sleep(30.0)
        node.start()
        await asyncio.sleep(5.0)

    play(story)


@pytest.mark.parametrize("call", ["translate_pin", "mac"])
def test_a_vault_that_fails_after_the_commit_is_a_decline_without_reversal(call: str) -> None:
    """Of the PIN, and of the link's MAC: nothing was sent, whatever routes there are (rules §4)."""

    async def story(world: World, till: Till) -> None:
        (node,) = world.nodes
        node.vault.refusing_calls = frozenset({call})
        card = till.cards[0]
        asked = await till.ask(lambda: till.terminal.purchase(card, 10_00, pin=card.pin))
        node.vault.refusing_calls = frozenset()
        # the answer could not be signed either, where MACs are refused
        assert asked.response_code == ("96" if call == "translate_pin" else "")
        await till.clear()
        assert await buy(till, 20_00) == "00"

    world = play(story, msgspec.structs.replace(ONE, alternates=True))
    declined, approved = world.checkers.outcomes.values()
    assert (declined.response_code, declined.rule) == ("96", "vault.failed")
    assert approved.state is OutcomeState.APPROVED
    assert world.checkers.reversed_by == {}
