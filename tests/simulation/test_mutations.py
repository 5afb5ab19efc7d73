"""The checkers can fail: every planted bug is found by its recorded seed, and breaks what it is said to.

Seeds are recorded by `make sim-mutants ARGS=--record`; without a planted bug they keep all promises.
"""

from __future__ import annotations

import pytest

from tests.simulation.mutants import plan_for, recorded
from tests.simulation.mutations import MUTATIONS, OF_ROUTING
from tests.simulation.plans import hunting, hunting_routes
from tests.simulation.world import simulate

SEEDS = recorded()


@pytest.mark.parametrize("name", MUTATIONS)
def test_planted_bug_is_found(name: str) -> None:
    assert name in SEEDS, "no seed is recorded: make sim-mutants ARGS=--record"
    mutation, promises = MUTATIONS[name]
    with mutation():
        broken = simulate(plan_for(name, SEEDS[name]), keep_trace=False).broken
    assert broken, f"seed {SEEDS[name]} did not find it: make sim-mutants ARGS=--record"
    assert broken.partition(":")[0] in promises.split(), broken


@pytest.mark.parametrize(
    "seed", sorted({seed for name, seed in SEEDS.items() if name not in OF_ROUTING})
)
def test_recorded_seed_keeps_all_promises_without_a_bug(seed: int) -> None:
    assert not simulate(hunting(seed), keep_trace=False).broken


@pytest.mark.parametrize("seed", sorted({SEEDS[name] for name in OF_ROUTING}))
def test_recorded_seed_with_routing_rules_keeps_all_promises_without_a_bug(seed: int) -> None:
    assert not simulate(hunting_routes(seed), keep_trace=False).broken
