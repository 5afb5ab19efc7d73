"""Counters of risk rules: read and moved under lock, given back, and alerts kept once; every store.

The judge is the one that requests meet (`switch.limits`), over one rule: at most three purchases of a
card in ten minutes.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from switch import limits, risk
from switch.adapters.postgres.purge import purger
from switch.admission import forward
from switch.config import Retention
from switch.journal import Commit, Duplicate, OutcomeState, Stored
from switch.risk_rules import Asked, Condition, Rule, RuleSet
from tests.contract.worlds import (
    NOW,
    PostgresWorld,
    attempt,
    outcome,
    queued,
    request,
    reversal,
    reverse,
    stored,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from switch.journal import Judgement, Verdict
    from tests.contract.worlds import Store, World
    from tests.database import FreshDatabase

    Run = Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]

CARD = "ab" * 16
THREE = Rule(
    name="three",
    scope="card",
    when=Condition(types=("purchase",)),
    measure="count",
    threshold=3,
    window_s=600,
    action="decline",
    alert=True,
)


def assessed(amount_minor: int = 100, at: dt.datetime = NOW, **changes: Any) -> risk.Assessment:
    rule = msgspec.structs.replace(THREE, **changes)
    rules = RuleSet({rule.name: rule}, {}, {rule.name: 4})
    asked = Asked(
        type="purchase",
        mcc="5999",
        entry_mode="051",
        currency="156",
        amount_minor=amount_minor,
        minute=0,
        at_s=int(at.timestamp()),
        timezone="Asia/Shanghai",
        card_type="debit",
        foreign=False,
        card=CARD,
        merchant="898123456789012",
        terminal="898123456789012/00000001",
        agent="",
    )
    return risk.assess(rules.of_type("purchase"), asked)


async def buy(
    store: Store, request_id: int, assessment: risk.Assessment | None = None, **more: Any
) -> tuple[Judgement, Verdict | None]:
    assessment = assessed() if assessment is None else assessment
    row = request(request_id, amount_minor=assessment.asked.amount_minor, **more)

    def go(changed: Any, scene: Any) -> Judgement:
        return forward(attempt(request_id), changed, scene)

    judge = limits.judge(row, assessment, go)
    found: tuple[Judgement, Verdict | None] = await store.journal.decide(assessment.find(), judge)
    return found


async def code(store: Store, request_id: int, assessment: risk.Assessment | None = None) -> str:
    judgement, verdict = await buy(store, request_id, assessment)
    stored(verdict)
    return judgement.response_code


def test_the_fourth_is_refused_with_rule_and_version(run: Run) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        assert [await code(store, number) for number in (1, 2, 3)] == ["", "", ""]
        judgement, verdict = await buy(store, 4)
        assert isinstance(verdict, Stored)
        assert (judgement.response_code, judgement.rule) == ("65", "risk.three@4")
        assert judgement.commit is not None
        assert judgement.commit.request is not None
        assert '"risk":["risk.three@4"]' in judgement.commit.request.decision
        assert (
            await code(store, 5) == "65"
        )  # what is refused moves nothing, and opens no second alert
        assert [alert.row.request_id for alert in await store.risk.alerts()] == [4]

    run(scenario)


def test_windows_slide(run: Run) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        for number in (1, 2, 3):
            assert await code(store, number) == ""
        for minutes, number, told in ((9, 4, "65"), (10, 5, "65"), (11, 6, "")):
            later = NOW + dt.timedelta(minutes=minutes)
            assert await code(store, number, assessed(at=later)) == told
        # a process whose clock is behind sees what another one counted ahead of it
        assert await code(store, 7, assessed(at=NOW)) == "65"

    run(scenario)


@pytest.mark.parametrize(
    "state", [OutcomeState.DECLINED, OutcomeState.UNKNOWN, OutcomeState.REVERSED]
)
@pytest.mark.parametrize("attempts", [False, True])
def test_what_ends_without_approval_is_given_back(
    run: Run, state: OutcomeState, attempts: bool
) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        many = assessed(attempts=attempts)
        dates = []
        for number in (1, 2, 3):
            judgement, verdict = await buy(store, number, many)
            assert judgement.response_code == ""
            dates.append(stored(verdict))
        date = dates[-1]
        commit = Commit(outcome=outcome(2, date, state=state))
        if state is OutcomeState.UNKNOWN:  # with its reversal, which gives nothing back again
            commit = msgspec.structs.replace(
                commit, reversal=reversal(2, date), queue=queued(90, 2, date)
            )
        stored(await store.journal.commit(commit))
        stored(await store.journal.commit(Commit(outcome=outcome(3, date))))
        assert await code(store, 4, many) == ("65" if attempts else "")
        assert await code(store, 5, many) == "65"

    run(scenario)


def test_a_reversal_of_an_approval_gives_back_once(run: Run) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        for number in (1, 2, 3):
            date = stored((await buy(store, number))[1])
            stored(await store.journal.commit(Commit(outcome=outcome(number, date))))
        of = request(3).key
        stored((await reverse(store, of, 91))[1])
        stored((await reverse(store, of, 92))[1])  # the same 0400 again
        assert await code(store, 4) == ""
        assert await code(store, 5) == "65"

    run(scenario)


def test_what_is_declined_on_a_later_date_is_given_back_too(run: Run) -> None:
    """Its partition was made after the counters."""

    async def scenario(world: World) -> None:
        store = await world.process()
        await store.days.cut_over(await store.days.business_date() + dt.timedelta(days=9))
        dates = [stored((await buy(store, number))[1]) for number in (1, 2, 3)]
        commit = Commit(outcome=outcome(3, dates[-1], state=OutcomeState.DECLINED))
        stored(await store.journal.commit(commit))
        assert [await code(store, number) for number in (4, 5)] == ["", "65"]

    run(scenario)


def test_what_no_window_reads_is_forgotten(database_dsn: FreshDatabase) -> None:
    async def scenario() -> None:
        world = PostgresWorld(database_dsn)
        try:
            store = await world.process()
            assert await code(store, 1, assessed(at=NOW - dt.timedelta(days=900))) == ""
            now = dt.datetime.now(dt.UTC)
            assert await code(store, 2, assessed(at=now)) == ""
            assert len(await store.risk.counters("", 9)) == 2
            async with purger(database_dsn.owner, Retention(), "node1") as purge:
                went = {each.table: each.rows for each in await purge.run() if not each.held}
            # a bucket, and what could have been taken back of it
            assert (went["risk_bucket"], went["risk_move"]) == (1, 1)
            (left,) = await store.risk.counters("", 9)
            assert left.bucket == int(now.timestamp()) // 50
        finally:
            await world.close()

    asyncio.run(scenario())


def test_a_repeat_moves_nothing_and_is_not_judged(run: Run) -> None:
    """Its key is taken, whatever the judge said of it."""

    async def scenario(world: World) -> None:
        store = await world.process()
        for number in (1, 2, 3):
            assert await code(store, number) == ""
        _, verdict = await buy(store, 11, stan=3)
        assert isinstance(verdict, Duplicate)
        assert verdict.request_id == 3

    run(scenario)


def test_sums_and_reviews(run: Run) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        rule: dict[str, Any] = {
            "measure": "sum",
            "threshold": 1_000,
            "when": Condition(currencies=("156",)),
            "action": "review",
            "alert": False,
            "window_s": 0,
        }
        for number, amount_minor in ((1, 600), (2, 400), (3, 1)):
            assert await code(store, number, assessed(amount_minor, **rule)) == ""
        assert await world.cases() == [("risk_review", 3)]
        assert await store.risk.alerts() == []

    run(scenario)


def test_racing_processes_do_not_pass_a_limit(run: Run) -> None:
    async def scenario(world: World) -> None:
        stores = [await world.process() for _ in range(3)]
        told = await asyncio.gather(*(code(stores[number % 3], number) for number in range(1, 25)))
        assert sorted(told) == [""] * 3 + ["65"] * 21

    run(scenario)


def test_alerts_are_taken_and_closed_once(run: Run) -> None:
    async def scenario(world: World) -> None:
        store = await world.process()
        for number in (1, 2, 3, 4):
            await code(store, number)
        (alert,) = await store.risk.alerts()
        assert (alert.state, alert.owner) == ("open", "")
        assert await store.risk.act(alert.alert_id, 0, "taken", "li", "")
        assert not await store.risk.act(alert.alert_id, 0, "taken", "wang", "")  # he saw it open
        assert await store.risk.act(alert.alert_id, 1, "closed", "li", "a known customer")
        (alert,) = await store.risk.alerts()
        assert (alert.state, alert.owner, len(alert.acts)) == ("closed", "li", 2)
        assert alert.acts[-1].reason == "a known customer"
        assert await store.risk.alert(alert.alert_id) == alert
        assert await store.risk.alert(alert.alert_id + 1) is None

    run(scenario)
