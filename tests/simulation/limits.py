"""Risk rules of a world, and whether their limits hold: counted from the commits, not asked of a counter."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from switch.journal import OutcomeState
from switch.risk_rules import Condition, Rule

if TYPE_CHECKING:
    from switch.journal import Commit, CounterMove, RequestRow
    from tests.simulation.world import World

CARD_MOST: Final = 2
WINDOW_S: Final = 600
FROM_MINOR: Final = 1_01  # above what a world asks with whether everybody is alive
RULES: Final = (
    Rule(
        name="card-velocity",
        scope="card",
        when=Condition(types=("purchase",), amount_from_minor=FROM_MINOR),
        measure="count",
        threshold=CARD_MOST,
        window_s=WINDOW_S,
        action="decline",
        alert=True,
    ),
    Rule(
        name="refunds",
        scope="merchant",
        when=Condition(types=("purchase", "refund"), currencies=("156",)),
        part=Condition(types=("refund",)),
        measure="ratio",
        by_amount=True,
        threshold=20,
        minimum_count=5,
        action="review",
    ),
    Rule(
        name="terminal-tries",
        scope="terminal",
        measure="count",
        threshold=30,
        attempts=True,
        action="alert",
    ),
    Rule(
        name="offline-count",
        scope="terminal",
        when=Condition(types=("offline_sale", "completion_advice")),
        measure="count",
        threshold=2,
        window_s=WINDOW_S,
        action="decline",
    ),
)


def items() -> list[tuple[str, str, dict[str, Any]]]:
    return [("risk_rule", rule.name, msgspec.to_builtins(rule)) for rule in RULES]


class Limits:
    """What went forward, what of it was approved and stands."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._moves: dict[int, tuple[CounterMove, ...]] = {}
        self._rows: dict[int, RequestRow] = {}
        self._gone: set[int] = set()  # not approved, or reversed
        self._approved: dict[bytes, dict[int, float]] = {}  # card → request id → received at

    def committed(self, commit: Commit) -> None:
        if not self._world.plan.risk:
            return
        if commit.request is not None:
            self._rows[commit.request.request_id] = commit.request
            if commit.moves:
                self._moves[commit.request.request_id] = commit.moves
        if commit.reversal is not None:
            self._take_back(commit.reversal.original_request_id)
        outcome = commit.outcome
        if outcome is None:
            return
        row = self._rows[outcome.request_id]
        if outcome.state is OutcomeState.APPROVED:
            if row.type == "purchase" and row.pan_token and row.amount_minor >= FROM_MINOR:
                times = self._approved.setdefault(row.pan_token, {})
                times[row.request_id] = row.received_at.timestamp()
                self._within(list(times.values()), row)
        elif outcome.state is OutcomeState.REFUSED:
            if outcome.rule.startswith("risk."):
                self._world.count("refused by a risk rule")
            elif outcome.rule.startswith("held.risk."):
                self._world.count("held by a risk rule")
        else:
            self._take_back(outcome.request_id)

    def _take_back(self, request_id: int) -> None:
        self._gone.add(request_id)
        for times in self._approved.values():
            times.pop(request_id, None)

    def _within(self, times: list[float], row: RequestRow) -> None:
        """No more purchases of a card are approved in any window than its rule lets through."""
        times.sort()
        most = max(sum(first <= each <= first + WINDOW_S for each in times) for first in times)
        name = self._world.checkers.name_of(row.request_id)
        self._world.checkers.check(
            "P8", most <= CARD_MOST, f"{name} is approval {most} of its card in {WINDOW_S} s"
        )

    def rest(self) -> None:
        """Every counter is what went forward, less what did not end approved or was reversed."""
        if not self._world.plan.risk:
            return
        stand: Counter[tuple[str, str, int]] = Counter()
        for request_id, moves in self._moves.items():
            for move in moves:
                if not (move.returns and request_id in self._gone):
                    stand[move.of.counter, move.of.subject, move.of.bucket] += 1
        for (counter, subject), buckets in self._world.store.risk_buckets.items():
            for bucket, (count, _) in buckets.items():
                expected = stand[counter, subject, bucket]
                self._world.checkers.check(
                    "P8", count == expected, f"{counter} counts {count}, and {expected} stand"
                )
