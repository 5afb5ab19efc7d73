"""Hot counters under many requests at once: exact sums, whatever the order, the process and the way.

A plain second count stands beside the store's: what went forward and was not given back. In PostgreSQL
most of these are judged by the flush (decision 35), some in a transaction of their own on the same
counters; in memory there is one way.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from switch import limits, risk
from switch.admission import forward
from switch.journal import Commit, Counted, FindCounted, OutcomeState
from switch.risk_rules import Asked, Condition, Rule, RuleSet
from tests.contract.worlds import MERCHANT, NOW, attempt, outcome, request, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from switch.journal import CounterMove, Judgement, Verdict
    from tests.contract.worlds import Store, World

    Run = Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]

CARDS = [f"{number:02x}" * 16 for number in range(1, 4)]
BOUGHT = Condition(types=("purchase",))
MONEY = Condition(types=("purchase",), currencies=("156",))
KEYED = Condition(entry_modes=("01",))


def rule(name: str, **more: Any) -> Rule:
    given: dict[str, Any] = {"when": BOUGHT, "threshold": 5, "window_s": 600, "action": "decline"}
    return Rule(name=name, **{**given, **more})


CARD_COUNT = rule("card-count", scope="card", measure="count")
CARD_SUM = rule("card-sum", scope="card", measure="sum", when=MONEY, threshold=1_000)
SHOP_SUM = rule("shop-sum", scope="merchant", measure="sum", when=MONEY, threshold=5_000)
KEYED_RATIO = rule(
    "keyed-ratio", scope="merchant", measure="ratio", part=KEYED, threshold=20, minimum_count=10
)
KEYED_MONEY = rule(
    "keyed-money", scope="merchant", measure="ratio", when=MONEY, part=KEYED, threshold=30,
    by_amount=True,
)  # fmt: skip
WATCHED = rule("watched", scope="terminal", measure="count", threshold=8, action="alert")
DORMANT = rule("dormant", scope="card", measure="dormant", threshold=30, window_s=0)
ALL = (CARD_COUNT, CARD_SUM, SHOP_SUM, KEYED_RATIO, KEYED_MONEY, WATCHED, DORMANT)


def assessed(
    rules: Sequence[Rule], card: str, amount_minor: int, *, keyed: bool
) -> risk.Assessment:
    names = {each.name: each for each in rules}
    prepared = RuleSet(names, {}, dict.fromkeys(names, 1))
    asked = Asked(
        type="purchase",
        mcc="5999",
        entry_mode="012" if keyed else "051",
        currency="156",
        amount_minor=amount_minor,
        minute=0,
        at_s=int(NOW.timestamp()),
        timezone="Asia/Shanghai",
        card_type="debit",
        foreign=False,
        card=card,
        merchant=MERCHANT,
        terminal=f"{MERCHANT}/00000001",
        agent="",
    )
    return risk.assess(prepared.of_type("purchase"), asked)


async def buy(
    store: Store, request_id: int, assessment: risk.Assessment, *, alone: bool = False
) -> tuple[Judgement, Verdict | None]:
    """`alone`: without guards, and so in a transaction of its own where that makes a difference."""
    row = request(request_id, amount_minor=assessment.asked.amount_minor)
    find = FindCounted(assessment.counts) if alone else assessment.find()

    def go(changed: Any, scene: Any) -> Judgement:
        return forward(attempt(request_id), changed, scene)

    found: tuple[Judgement, Verdict | None] = await store.journal.decide(
        find, limits.judge(row, assessment, go)
    )
    return found


class Plain:
    """Every counter as the sum of a list."""

    def __init__(self) -> None:
        self.moves: list[CounterMove] = []

    def counted(self, assessment: risk.Assessment) -> list[Counted]:
        found = []
        for count in assessment.counts:
            of = [
                move
                for move in self.moves
                if (move.of.counter, move.of.subject) == (count.counter, count.subject)
            ]
            found.append(
                Counted(
                    sum(move.count for move in of),
                    sum(move.amount_minor for move in of),
                    max((move.of.bucket for move in of), default=None),
                )
            )
        return found

    def totals(self) -> dict[tuple[str, str], tuple[int, int]]:
        totals: dict[tuple[str, str], tuple[int, int]] = {}
        for move in self.moves:
            count, amount_minor = totals.get((move.of.counter, move.of.subject), (0, 0))
            totals[move.of.counter, move.of.subject] = (
                count + move.count,
                amount_minor + move.amount_minor,
            )
        return totals


async def totals_of(store: Store) -> dict[tuple[str, str], tuple[int, int]]:
    told = await store.risk.counters("", 10_000)
    return {
        (each.counter, each.subject): (each.count, each.amount_minor) for each in told if each.count
    }


@pytest.mark.parametrize("seed", range(4))
def test_every_measure_decides_as_a_plain_list_does(run: Run, seed: int) -> None:
    """One after the other: verdict, rules and counters of each are those of the list."""

    async def scenario(world: World) -> None:
        store, plain, drawn = await world.process(), Plain(), random.Random(seed)
        declined = 0
        for number in range(1, 41):
            assessment = assessed(
                ALL,
                drawn.choice(CARDS),
                drawn.choice([10, 99, 250, 600, 1_001]),
                keyed=drawn.random() < 0.3,
            )
            expected = risk.weigh(assessment, plain.counted(assessment), number)
            judgement, verdict = await buy(store, number, assessment, alone=drawn.random() < 0.2)
            stored(verdict)
            of = expected.declined
            assert judgement.rule == ("risk.passed" if of is None else of.of.told)
            assert judgement.commit is not None
            assert judgement.commit.moves == expected.moves
            assert [(each.rule, each.measured) for each in judgement.commit.alerts] == [
                (each.of.rule.name, each.measured) for each in expected.fired if each.alerts
            ]
            plain.moves += expected.moves
            declined += of is not None
        assert await totals_of(store) == plain.totals()
        assert 0 < declined < 40

    run(scenario)


def test_two_writers_flood_hot_counters(run: Run) -> None:
    """Two processes, all at once, with outcomes that give back: limits hold, sums are exact."""

    async def scenario(world: World) -> None:
        stores = [await world.process(), await world.process()]
        drawn, plain, open_ = random.Random(7), Plain(), []
        rules = (CARD_COUNT, CARD_SUM, SHOP_SUM, WATCHED)

        async def one(number: int) -> None:
            store = stores[number % 2]
            assessment = assessed(rules, CARDS[number % 3], 50 + number % 7, keyed=False)
            judgement, verdict = await buy(store, number, assessment, alone=number % 11 == 0)
            date = stored(verdict)
            if judgement.response_code:
                return
            assert judgement.commit is not None
            if number % 4 == 0:  # its bank declines: given back, while others count
                ended = outcome(number, date, state=OutcomeState.DECLINED)
                stored(await store.journal.commit(Commit(outcome=ended)))
                return
            plain.moves += judgement.commit.moves
            open_.append((number, date))
            # the limits hold at every instant, whatever is given back beside
            for (counter, _), (count, amount_minor) in plain.totals().items():
                if counter.startswith("card-count"):
                    assert count <= CARD_COUNT.threshold
                if counter.startswith("card-sum"):
                    assert amount_minor <= CARD_SUM.threshold
                if counter.startswith("shop-sum"):
                    assert amount_minor <= SHOP_SUM.threshold

        numbers = list(range(1, 241))
        drawn.shuffle(numbers)
        await asyncio.gather(*(one(number) for number in numbers))
        assert await totals_of(stores[0]) == plain.totals()
        assert 0 < len(open_) <= 3 * CARD_COUNT.threshold
        # approvals move nothing; what was given back late is there for the next, and no more
        for number, date in open_:
            stored(await stores[0].journal.commit(Commit(outcome=outcome(number, date))))
        passed = len(open_)
        for number in range(1_000, 1_018):
            assessment = assessed(rules, CARDS[number % 3], 50, keyed=False)
            judgement, verdict = await buy(stores[number % 2], number, assessment)
            stored(verdict)
            passed += judgement.response_code == ""
        assert passed == 3 * CARD_COUNT.threshold

    run(scenario)


def test_a_limit_is_used_to_the_last_unit(run: Run) -> None:
    """Equal amounts that fill a sum exactly, from two processes at once: as many pass as fit."""

    async def scenario(world: World) -> None:
        stores = [await world.process(), await world.process()]
        full = msgspec.structs.replace(SHOP_SUM, threshold=40 * 25)

        async def one(number: int) -> str:
            assessment = assessed((full,), CARDS[0], 25, keyed=False)
            judgement, verdict = await buy(stores[number % 2], number, assessment)
            stored(verdict)
            return judgement.response_code

        told = await asyncio.gather(*(one(number) for number in range(1, 101)))
        assert (told.count(""), told.count("61")) == (40, 60)
        assert list((await totals_of(stores[0])).values()) == [(40, 1_000)]

    run(scenario)
