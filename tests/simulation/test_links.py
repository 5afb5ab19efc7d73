"""Links in virtual time: circuits, keys that change in both directions under traffic, answers kept."""

from __future__ import annotations

import msgspec
import pytest

from tests.simulation.plans import changing_keys, links_at_their_worst, standing_still
from tests.simulation.world import simulate


@pytest.mark.parametrize("seed", range(1, 5))
def test_keys_change_in_both_directions_and_no_request_fails(seed: int) -> None:
    report = simulate(changing_keys(seed))
    assert not report.broken, report.broken
    assert report.unbalanced == []
    assert report.counts["key exchange accepted"] >= 2
    assert report.counts["key changes taken"] >= 2
    assert report.counts["approved purchase"] > 50


def test_every_way_in_which_a_change_of_key_goes_wrong_has_happened() -> None:
    counts = [simulate(changing_keys(seed)).counts for seed in range(5, 9)]
    for what in (
        "bank key lost",
        "bank key unanswered",
        "bank key refused",
        "bank key answer lost",
        "keys of banks offered again",
        "key exchange refused",
    ):
        assert any(one.get(what) for one in counts), what


@pytest.mark.parametrize("seed", range(1, 4))
def test_a_bank_that_stands_still_opens_its_circuit_and_closes_it_again(seed: int) -> None:
    report = simulate(standing_still(seed))
    assert not report.broken, report.broken
    for state in ("open", "half_open", "closed"):
        assert report.counts[f"circuit {state}"] > 0


def test_a_circuit_spares_requests_that_would_end_unknown() -> None:
    """The same seeds without it: more of what was asked ends 98."""

    def unknown(*, circuit: bool) -> int:
        total = 0
        for seed in range(1, 4):
            plan = standing_still(seed)
            assert plan.links is not None
            links = msgspec.structs.replace(plan.links, circuit=circuit)
            counts = simulate(msgspec.structs.replace(plan, links=links)).counts
            total += sum(
                n for what, n in counts.items() if what.startswith("answered") and " 98" in what
            )
        return total

    assert unknown(circuit=True) < unknown(circuit=False)


@pytest.mark.parametrize("seed", range(1, 4))
def test_everything_at_once(seed: int) -> None:
    report = simulate(links_at_their_worst(seed))
    assert not report.broken, report.broken
    assert report.counts["kept: twice"] > 0


def test_the_same_seed_is_the_same_run() -> None:
    plan = links_at_their_worst(9)
    assert simulate(plan).trace_hash == simulate(plan).trace_hash
