"""Routing in every store: the same rules in force, a further attempt kept with why, one who decides.

A request's second attempt and a 0400 that comes between the two are judged by what requests meet
(`authorization.judge_second_attempt`, `reversal.judge_reversal`), at the same time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from switch.authorization import judge_second_attempt
from switch.journal import (
    AttemptRow,
    Commit,
    FindById,
    FindByKey,
    Judgement,
    OutcomeState,
    Scene,
)
from switch.reference import Route
from switch.reversal import ReversalAsk, WireIdentity, judge_reversal
from switch.routing import Asked, Choice, Table, read_route_rule, route_rule, with_choice
from switch.routing_rules import RoutingCost, RoutingRule, When
from tests.contract.worlds import NOW, PostgresWorld, attempt, key, outcome, request, stored

if TYPE_CHECKING:
    import datetime as dt

    from switch.journal import Original
    from tests.contract.worlds import Store, World

ROUTE = Route(prefix="6220", acquirer="bank-a", alternates=("bank-b",))
COST = RoutingCost(acquirer="bank-a", currency="156", basis_points=30)
RULE = RoutingRule(
    name="split",
    order=1,
    when=When(types=("purchase",)),
    choose="weight",
    to=("bank-a", "bank-b"),
    weights=(50, 50),
)
CHEAP = msgspec.structs.replace(RULE, choose="cost", weights=(), when=When(currencies=("156",)))
OVER = (("bank-a", "link_down"), ("bank-c", "in_flight_max"))


def further(request_id: int, date: dt.date, number: int = 2) -> AttemptRow:
    row = attempt(request_id, number, request_date=date)
    rule = route_rule("rule.split@1", "bank-b", 3, OVER)
    stan = f"{900 + number:06d}"
    return msgspec.structs.replace(row, acquirer="bank-b", link_stan=stan, route_rule=rule)


async def original(store: Store, request_id: int) -> Original:
    seen: list[Scene] = []

    def look(scene: Scene) -> Judgement:
        seen.append(scene)
        return Judgement(None, "", "seen")

    await store.journal.decide(FindById(request_id), look)
    return seen[-1].originals[0]


def test_the_same_rules_are_in_force_in_every_process(run: Any) -> None:
    async def scenario(world: World) -> None:
        one, other = await world.process(), await world.process()
        for rule, version in ((RULE, 1), (CHEAP, 2)):
            items: list[tuple[str, Any]] = [
                ("6220", ROUTE),
                (COST.key, COST),
                (rule.name, rule),
            ]
            kinds = ("route", "routing_cost", "routing_rule")
            await one.reference.apply(
                [
                    (kind, name, msgspec.to_builtins(item))
                    for kind, (name, item) in zip(kinds, items, strict=True)
                ],
                maker="test",
            )
            told = []
            for store in (one, other):
                snapshot = await store.reference.snapshot()
                route = snapshot.route("6220001234567890")
                assert route == ROUTE
                for stan in range(20):
                    asked = Asked(key(stan), "purchase", "6220001234567890", "", "156", "", 900)
                    choice = snapshot.routing.choose(route, asked)
                    assert choice.rule == f"rule.split@{version}"
                    told.append((stan, choice))
            assert told[:20] == told[20:]

    run(scenario)


def test_a_further_attempt_is_kept_with_its_rule_and_who_was_passed_over(run: Any) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        choice_told = with_choice('{"generation":1}', _choice())
        owner = await store.owners.register("node1", 0)
        row = msgspec.structs.replace(request(1, owner_id=owner), decision=choice_told)
        date = stored(await store.journal.commit(Commit(request=row, attempt=attempt(1))))
        second = further(1, date)
        judged, verdict = await store.journal.decide(
            FindById(1, date), judge_second_attempt(second)
        )
        assert judged.commit == Commit(attempt=second)
        stored(verdict)
        of = await original(store, 1)
        assert of.request.decision == choice_told
        assert of.attempts[1] == second
        assert read_route_rule(of.attempts[1].route_rule).passed == OVER
        found = await store.journal.find_attempt("bank-b", "000902", second.transmission_time)
        assert found == (second, date), "the way back from a late answer"
        won = msgspec.structs.replace(outcome(1, date), attempt=2)
        stored(await store.journal.commit(Commit(outcome=won)))
        told = await store.journal.stored_outcome(1, date)
        assert told is not None
        assert (told.attempt, told.outcome) == (second, won), "a repeat is told of the winner"
        assert await world.captures() == [(1, 0, date, 100)]
        if isinstance(world, PostgresWorld):
            rows = await world.query(
                "SELECT c.acquirer, t.acquirer, t.route_rule, t.de32 FROM switch.capture_v1 AS c"
                " JOIN switch.transaction_v1 AS t USING (request_id)"
            )
            assert [tuple(each) for each in rows] == [
                ("bank-b", "bank-b", second.route_rule, second.de32)
            ]

    run(scenario)


def test_of_a_second_attempt_and_a_reversal_between_the_two_one_prevails(run: Any) -> None:
    """Whichever comes first; the reversal is of the attempts that stood then."""

    async def scenario(world: World) -> None:
        one, other = await world.process(), await world.process()
        owner = await one.owners.register("node1", 0)
        for request_id in range(1, 9):
            row = request(request_id, owner_id=owner)
            first = msgspec.structs.replace(attempt(request_id), acquirer="bank-a")
            date = stored(await one.journal.commit(Commit(request=row, attempt=first)))
            number = 10 + request_id
            second = msgspec.structs.replace(
                further(request_id, date), link_stan=f"{700 + request_id:06d}"
            )
            ask = reversal_of(row, number)
            (tried, _), (undone, _) = await asyncio.gather(
                one.journal.decide(FindById(request_id, date), judge_second_attempt(second)),
                other.journal.decide(
                    FindByKey(row.key), lambda scene, ask=ask: judge_reversal(ask, scene)
                ),
            )
            assert undone.rule == "reversal.in_flight"
            of = await original(one, request_id)
            assert of.outcome is not None
            assert of.outcome.state is OutcomeState.REVERSED
            assert len(of.attempts) == (1 if tried.commit is None else 2)
            assert undone.commit is not None
            assert undone.commit.queue is not None
            reversed_at = undone.commit.queue.acquirer
            assert reversed_at == ("bank-a" if tried.commit is None else "bank-b")

    run(scenario)


def reversal_of(row: Any, number: int) -> ReversalAsk:
    return ReversalAsk(
        key=row.key,
        pan_token=None,
        amount_minor=row.amount_minor,
        reason="98",
        tombstone=msgspec.structs.replace(row, request_id=100 + number, type="tombstone"),
        numbers=lambda _acquirer: WireIdentity(100 + number, f"{800 + number:06d}", "0304130700"),
        received_at=NOW,
        answer_wait_s=1.0,
    )


def _choice() -> Choice:
    table = Table({"split": RULE}, {}, {"routing_rule": {"split": 1}})
    asked = Asked(key(1), "purchase", "6220001234567890", "", "156", "", 900)
    return table.choose(ROUTE, asked)
