"""The checkers can fail: every planted bug is found by its recorded seed, and breaks what it is said to.

Seeds are recorded by `make sim-mutants ARGS=--record`; without a planted bug they keep all promises.
"""

from __future__ import annotations

import pytest

from tests.simulation.mutants import plan_for, recorded, world_of
from tests.simulation.mutations import MUTATIONS
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


# (world, seed) → one of the bugs that are found there
HUNTED = {(world_of(name).__name__, seed): name for name, seed in SEEDS.items()}


@pytest.mark.parametrize(("at", "name"), sorted(HUNTED.items()))
def test_recorded_seed_keeps_all_promises_without_a_bug(at: tuple[str, int], name: str) -> None:
    assert not simulate(plan_for(name, at[1]), keep_trace=False).broken
