"""The checkers can fail: every planted bug is found, and the promise named is one that it breaks.

Seeds are tried from 1; a world in which everything goes wrong finds most bugs in the first or second.
"""

from __future__ import annotations

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.plans import rough
from tests.simulation.world import simulate

SEEDS_MAX = 12


@pytest.mark.parametrize("name", MUTATIONS)
def test_planted_bug_is_found(name: str) -> None:
    mutation, promises = MUTATIONS[name]
    broken = ""
    with mutation():
        for seed in range(1, SEEDS_MAX + 1):
            broken = simulate(rough(seed)).broken
            if broken:
                break
    assert broken, f"{SEEDS_MAX} seeds did not find it"
    assert broken.split(":")[0] in promises.split(), broken
