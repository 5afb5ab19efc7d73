"""docs/disputes.md is what the tables of the code say."""

import re

import pytest

from tests.settlement import casework_page as page
from tests.simulation.diagrams import OUTSIDE, Edges


def test_the_page_is_current() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.rendered(text) == text, "python -m tests.settlement.casework_page"


def test_every_part_stands_in_the_page_once() -> None:
    named = re.findall(r"<!-- generated: ([\w-]+) -->", page.PAGE.read_text(encoding="utf-8"))
    assert sorted(named) == sorted(page.PARTS)


@pytest.mark.parametrize(
    "edges", [page.case_edges(), page.dispute_edges(ours=False), page.dispute_edges(ours=True)]
)
def test_every_state_of_a_diagram_is_reached(edges: Edges) -> None:
    reached = {OUTSIDE}
    while more := {after for before, after in edges if before in reached} - reached:
        reached |= more
    assert reached == {state for pair in edges for state in pair}
