"""docs/simulation.md is what the code says.

Method: the generated parts are made again and compared; what is read out of source or explored is held
against what happens: requests of a simulated world go only where the diagram has an edge.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from switch.authorization import Authorization
from tests.simulation import diagrams, page
from tests.simulation.draws import RATES
from tests.simulation.mutants import recorded
from tests.simulation.mutations import MUTATIONS
from tests.simulation.plans import rough
from tests.simulation.promises import ELSEWHERE, IN_THE_STORE, PROMISES, checkers
from tests.simulation.world import simulate

if TYPE_CHECKING:
    from switch.effects import Effect
    from switch.events import Event
    from tests.simulation.diagrams import Edges

STATES_MAX = 15
DIAGRAMS = {
    "authorization": diagrams.authorization_edges,
    "connection": diagrams.connection_edges,
    "reversal": diagrams.reversal_edges,
    "batch": diagrams.batch_edges,
    "date": diagrams.date_edges,
    "close": diagrams.close_edges,
}


def test_the_page_is_current() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.rendered(text) == text, "python -m tests.simulation.page"


def test_every_part_stands_in_the_page_once() -> None:
    named = re.findall(r"<!-- generated: ([\w-]+) -->", page.PAGE.read_text(encoding="utf-8"))
    assert sorted(named) == sorted(page.PARTS)


@pytest.mark.parametrize("name", DIAGRAMS)
def test_a_diagram_can_be_read_and_every_state_be_reached(name: str) -> None:
    edges: Edges = DIAGRAMS[name]()
    states = {state for pair in edges for state in pair}
    assert 3 < len(states) <= STATES_MAX
    reached = {diagrams.OUTSIDE}
    while more := {after for before, after in edges if before in reached} - reached:
        reached |= more
    assert reached == states


def test_requests_go_only_where_the_diagram_has_an_edge() -> None:
    edges = diagrams.authorization_edges()
    gone: set[tuple[str, str, str]] = set()
    step = Authorization.step

    def watched(auth: Authorization, event: Event) -> Effect:
        before = auth.stage.name
        effect = step(auth, event)
        after = diagrams.ENDS.get(type(effect).__name__, auth.stage.name)
        gone.add((before, type(event).__name__, after))
        return effect

    with mock.patch.object(Authorization, "step", watched):
        for seed in (1, 2):
            simulate(rough(seed, 60), keep_trace=False)
    assert len(gone) > 10
    assert [one for one in sorted(gone) if one[1] not in edges.get((one[0], one[2]), [])] == []


def test_every_promise_is_held_by_somebody() -> None:
    held = {promise for each in checkers() for promise in each.promises}
    assert held <= set(PROMISES)
    assert set(ELSEWHERE) <= set(PROMISES)
    assert set(PROMISES) - held - set(ELSEWHERE) == set()
    assert [each.function for each in checkers() if not each.says] == [], "no docstring"


def test_every_planted_bug_says_what_it_breaks() -> None:
    assert sorted(recorded()) == sorted(MUTATIONS)
    for name, (mutation, promises) in MUTATIONS.items():
        said = re.fullmatch(r"(.+) \((P[\d, P]+)\)\.", (mutation.__doc__ or "").partition("\n")[0])
        assert said is not None, name
        assert set(promises.split()) & set(said[2].split(", ")), name
        assert set(promises.split()) <= set(PROMISES), name


def test_bugs_in_the_store_are_those_that_change_it_and_sql_has_tests() -> None:
    changed = {
        name
        for name, (mutation, _) in MUTATIONS.items()
        if re.search(r"patch\.object\((?:Memory|commits)", inspect.getsource(mutation))
    }
    assert changed == set(IN_THE_STORE)
    for file, test in IN_THE_STORE.values():
        source = (page.PAGE.parents[1] / "tests" / "contract" / file).read_text(encoding="utf-8")
        assert f"def {test}(" in source


@pytest.mark.parametrize("part", page.STRUCTS)
def test_every_rate_of_a_struct_is_drawn_and_told(part: str) -> None:
    struct: Any = page.STRUCTS[part]
    extent = {"slow_s", "stall_s", "reconnect_s", "late_s", "lost_s", "latency_s", "delay_s"}
    extent.add("on_reversals")
    rates = [name for name in struct.__struct_fields__ if name not in extent]
    assert sorted(RATES[part]) == sorted(rates)
    assert set(page.meanings(struct)) == set(rates)
    assert all(page.meanings(struct).values())
