"""Limits hold in virtual time under every fault, and the checkers see where they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec
import pytest

from switch import risk
from switch.adapters.memory import commits
from tests.simulation.plans import every_type, fair, rough
from tests.simulation.world import Plan, Report, simulate

if TYPE_CHECKING:
    from collections.abc import Callable

    from switch.journal import Counted


def with_rules(plan: Plan) -> Plan:
    """One terminal a card's limit would hardly meet: few cards, short pauses."""
    return msgspec.structs.replace(plan, risk=True, think_s=1.0)


def until(met: str, plan_of: Callable[[int], Plan]) -> Report:
    """The first world in which it happens; any change elsewhere draws other traffic. None may break."""
    for seed in range(1, 13):
        report = simulate(plan_of(seed), keep_trace=False)
        assert not report.broken, report.broken
        if report.counts.get(met, 0):
            return report
    pytest.fail(f"never {met}")


def test_without_faults_limits_are_met_and_kept() -> None:
    report = until("refused by a risk rule", lambda seed: with_rules(fair(seed, 60)))
    assert report.unbalanced == []


def test_limits_hold_when_everything_goes_wrong() -> None:
    until("refused by a risk rule", lambda seed: with_rules(rough(seed, 60)))


@pytest.mark.parametrize("plan", [fair, rough])
def test_advices_above_a_limit_are_held_and_never_declined(plan: Callable[..., Plan]) -> None:
    until("held by a risk rule", lambda seed: every_type(with_rules(plan(seed, 90))))


def test_a_counter_that_gives_nothing_back_is_found() -> None:
    with mock.patch.object(commits, "_give_back", return_value=None):
        report = simulate(with_rules(rough(1, 60)), keep_trace=False)
    assert report.broken
    assert report.broken.startswith("P8")


def test_a_limit_that_is_read_too_low_is_found() -> None:
    weigh = risk.weigh

    def late(assessment: risk.Assessment, counted: tuple[Counted, ...], request_id: int) -> Any:
        """As one that reads before its lock: what came last is not in it."""
        stale = tuple(
            msgspec.structs.replace(each, count=max(0, each.count - 1)) for each in counted
        )
        return weigh(assessment, stale, request_id)

    with mock.patch.object(risk, "weigh", late):
        report = simulate(with_rules(fair(2, 60)), keep_trace=False)
    assert report.broken
    assert report.broken.startswith("P8")
