"""Routing rules of a world, and whether what is stored of a decision is what they say.

Several links for a card, rules that change in the middle of the trade, links that go down: every
choice is made again here from the reference data of its generation, and every further attempt is held
against the one before it, which nothing may ever have left for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from switch.journal import OutcomeState
from switch.reference import Route, Snapshot
from switch.routing import Asked, Choice, read_route_rule
from switch.routing_rules import RoutingCost, RoutingRule, When
from switch.transactions import TYPES

if TYPE_CHECKING:
    from switch.journal import AttemptRow, Commit, OutcomeRow, RequestRow
    from terminals.simulator.dice import Dice
    from tests.simulation.world import World

FROM_MINOR: Final = 1_01  # above what a world asks each bank with, whether it is alive
LINKS: Final = ("bank_a", "bank_b")
CHANGE_EVERY_S: Final = 25.0
UNCHANGED: Final = 0.3  # of the changes: the next version says the same in another order of links


def _when(**said: Any) -> When:
    return When(currencies=("156",), amount_from_minor=FROM_MINOR, **said)


RULES: Final = (
    RoutingRule(
        name="split",
        order=10,
        when=_when(prefixes=("622000",), types=("purchase", "pre_authorisation")),
        choose="weight",
        to=LINKS,
        weights=(60, 40),
    ),
    RoutingRule(
        name="cheap",
        order=20,
        when=_when(prefixes=("621799",), types=("purchase", "moto_sale", "instalment")),
        choose="cost",
        to=LINKS,
    ),
    RoutingRule(
        name="others",
        order=30,
        when=_when(types=("offline_sale", "qr_payment", "reservation", "points_sale")),
        to=("bank_b",),
        fallbacks=("bank_a",),
    ),
)
COSTS: Final = (
    RoutingCost(acquirer="bank_a", currency="156", fixed_minor=40),
    RoutingCost(acquirer="bank_b", currency="156", basis_points=50),
)


def items() -> list[tuple[str, str, dict[str, Any]]]:
    found: list[tuple[str, Any]] = [(rule.name, rule) for rule in RULES]
    costs: list[tuple[str, Any]] = [(cost.key, cost) for cost in COSTS]
    return [
        *(("routing_cost", key, msgspec.to_builtins(cost)) for key, cost in costs),
        *(("routing_rule", key, msgspec.to_builtins(rule)) for key, rule in found),
    ]


async def change(world: World, dice: Dice) -> None:
    """Operators change a rule, or the card's own route, now and then."""
    while True:
        await asyncio.sleep(dice.exponential_s(CHANGE_EVERY_S))
        at, amount = dice.below(len(RULES) + 1), dice.random()
        if at == len(RULES):
            alternates = ("bank_b",) if amount < 0.6 else ()
            route = Route(prefix="622000", acquirer="bank_a", alternates=alternates)
            item = ("route", route.prefix, msgspec.to_builtins(route))
        else:
            rule = changed(RULES[at], amount)
            item = ("routing_rule", rule.name, msgspec.to_builtins(rule))
        world.count("routing changed")
        await world.store.reference.apply([item], maker="simulation")


def changed(rule: RoutingRule, amount: float) -> RoutingRule:
    replace = msgspec.structs.replace
    if amount < UNCHANGED:
        return replace(rule, enabled=False)
    if rule.choose == "weight":
        share = 1 + int(98 * amount)
        return replace(rule, weights=(share, 100 - share))
    if rule.fallbacks:
        return replace(rule, to=rule.fallbacks, fallbacks=rule.to)
    return replace(rule, to=rule.to[::-1])


class Routes:
    """Told of every commit at the moment it stands."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._cards: dict[str, str] = {}  # mask → number, or code that is scanned
        self._snapshots: dict[int, Snapshot] = {}
        self._choices: dict[int, Choice] = {}  # request id → what its generation says
        self._attempts: dict[int, list[AttemptRow]] = {}

    def know(self, number: str, mask: str) -> None:
        """A card, or a code, that shops use; two with one mask are told apart by nobody."""
        self._cards[mask] = "" if mask in self._cards else number

    def committed(self, commit: Commit) -> None:
        if commit.request is not None:
            self._requested(commit.request, commit)
        if commit.attempt is not None:
            row = commit.attempt
            before = self._attempts.setdefault(row.request_id, [])
            if before:
                self._failed_over(row, before[-1])
            before.append(row)
        if commit.outcome is not None:
            self._won(commit.outcome)

    def _requested(self, row: RequestRow, commit: Commit) -> None:
        """The stored decision is what the rules of its generation say, and the first link that could
        be tried was."""
        kind = TYPES.get(row.type)
        card = self._cards.get(row.pan_masked, "")
        if kind is None or kind.follows or not card:
            return
        down = commit.outcome is not None and commit.outcome.rule == "link.down"
        if commit.attempt is None and not down:
            return  # refused or held before it was routed
        snapshot = self._snapshot(row.generation)
        route = None if snapshot is None else snapshot.route(card)
        if snapshot is None or route is None:
            return  # the ground moved in this very instant
        choice = snapshot.routing.choose(
            route,
            Asked(row.key, row.type, card, row.mcc, row.currency, row.entry_mode, row.amount_minor),
        )
        self._choices[row.request_id] = choice
        checkers, name = self._world.checkers, self._world.checkers.name_of(row.request_id)
        told = msgspec.json.decode(row.decision).get("routing", {})
        passed = told.pop("passed", {})
        expected = msgspec.json.decode(choice.told) if choice.told else {}
        if down and not choice.told:
            expected = {**told, "rule": choice.rule}
        checkers.check("P10", told == expected, f"{name} was decided by {told}, not {expected}")
        self._world.count(f"routed by {choice.rule.partition('@')[0]}")
        if commit.attempt is None:
            every = tuple(passed) == choice.candidates
            checkers.check("P10", every, f"{name} is told 91, and {passed} were passed over")
            return
        of = read_route_rule(commit.attempt.route_rule)
        at = len(of.passed)
        right = (of.rule, of.acquirer) == (choice.rule, choice.candidates[at])
        right = right and tuple(one for one, _ in of.passed) == choice.candidates[:at]
        checkers.check("P10", right, f"{name} goes by {commit.attempt.route_rule!r}, not {choice}")
        if at:
            self._world.count("link passed over")

    def _failed_over(self, row: AttemptRow, former: AttemptRow) -> None:
        """A further attempt stands only where nothing of the former has left, at the next candidate
        of the same choice."""
        checkers, name = self._world.checkers, self._world.checkers.name_of(row.request_id)
        self._world.count("failed over")
        identity = (former.acquirer, former.transmission_time, former.link_stan)
        left = any(identity == of for (of, _), count in checkers.wires.left.items() if count)
        checkers.check("P3", not left, f"{name} is tried again, and {identity} has left")
        follows = row.attempt == former.attempt + 1
        checkers.check("P3", follows, f"{name}: attempt {row.attempt} follows {former.attempt}")
        choice = self._choices.get(row.request_id)
        if choice is None:
            return
        of = read_route_rule(row.route_rule)
        first = choice.candidates.index(former.acquirer)
        between = choice.candidates[first : first + len(of.passed)]
        rest = choice.candidates[first + len(of.passed) :]
        right = of.rule == choice.rule and tuple(one for one, _ in of.passed) == between
        right = right and bool(rest) and of.acquirer == row.acquirer == rest[0]
        checkers.check("P10", right, f"{name} goes by {row.route_rule!r}, not {choice}")

    def _won(self, row: OutcomeRow) -> None:
        """What is captured is captured of the attempt that its bank has approved."""
        request = self._world.checkers.requests.get(row.request_id)
        kind = None if request is None else TYPES.get(request.type)
        if row.state is not OutcomeState.APPROVED or kind is None or kind.advice:
            return
        name = self._world.checkers.name_of(row.request_id)
        of = [each for each in self._attempts[row.request_id] if each.attempt == row.attempt]
        said = self._world.checkers.wires.bank_said
        approved = [
            each for each in of if (each.acquirer, each.transmission_time, each.link_stan) in said
        ]
        self._world.checkers.check(
            "P5", approved, f"{name} is approved by attempt {row.attempt}, which no bank answered"
        )

    def _snapshot(self, generation: int) -> Snapshot | None:
        """The reference data of a commit that stands now: nothing is stored under older ones."""
        found = self._snapshots.get(generation)
        if found is None and generation == self._world.store.generation:
            in_force = self._world.store.reference._in_force()
            found = self._snapshots[generation] = Snapshot(generation, in_force)
        return found
