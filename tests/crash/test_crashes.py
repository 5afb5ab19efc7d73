"""A few rounds of the crash run, and that its parts do what the run believes of them.

Goal: nothing acknowledged is lost, nothing has a second effect (P1 to P5), seen from the outside.
Method: a node on its own PostgreSQL loses everything at once; two nodes on one server go through three
deeds that hit every part; a node is away for longer than its lease; nodes are drained and started again.
`python -m tests.crash.run` does fifty rounds.
"""

from __future__ import annotations

import asyncio

import pytest

from switch.config import Config
from tests.crash.load import PATIENCE_S
from tests.crash.plan import PLENTY, Fault, Plan, plan_of
from tests.crash.run import Round, live

LEASE_S = Config().engine.lease_s

pytestmark = pytest.mark.xdist_group("end_to_end_2")


def test_everything_at_once_on_one_node() -> None:
    faults = (
        Fault(1.0, "kill", "supervisor:node1", 0.0, 0),
        Fault(1.0, "kill", "worker:node1", 0.0, 0),
        Fault(1.0, "kill", "worker:node1", 0.0, 1),
        Fault(1.0, "kill", "postgres", 0.0, 0),
    )
    (done,) = run([Plan(0, 0, True, faults)])
    assert done.approved > 0


def test_two_nodes_on_one_server() -> None:
    first = (
        Fault(0.8, "kill", "worker:node1", 0.0, 0),
        Fault(2.0, "kill", "postgres", 0.2, 0),
        Fault(3.5, "kill", "bank:a", 0.3, 0),
    )
    second = (
        Fault(0.8, "kill", "supervisor:node2", 0.3, 0),
        Fault(2.0, "pause", "worker:node1", 6.0, 1),
        Fault(3.0, "cut", "database:node1", 0.0, 0),
    )
    done = run([Plan(0, 0, False, first), Plan(0, 1, False, second)])
    assert done[1].approved > done[0].approved > 0


def test_a_lost_node_is_taken_over() -> None:
    """What ends its requests is seen at the bank before a patient terminal asks back."""
    still = [Fault(3.0, "pause", f"bank:{bank}", 1.6, 0) for bank in "ab"]  # so that all wait
    (done,) = run([Plan(0, 0, False, (*still, Fault(3.7, "kill", "node:node2", 11.0, 0)), 2)])
    assert LEASE_S <= max(done.decided_s, default=0.0) < PATIENCE_S, done.decided_s


def test_a_drain_drops_nothing() -> None:
    faults = (
        Fault(0.8, "drain", "worker:node1", 0.0, 0),
        Fault(2.0, "drain", "supervisor:node2", 0.0, 0),
        Fault(3.0, "drain", "worker:node1", 0.0, 1),
    )
    (done,) = run([Plan(0, 0, False, faults, 2)])
    assert done.approved > 0


def run(plans: list[Plan]) -> list[Round]:
    rounds = asyncio.run(live(plans, keep_going=False, as_json=True))
    assert not [one.anomalies for one in rounds if one.anomalies], rounds
    return rounds


def test_a_schedule_follows_from_its_seed() -> None:
    assert plan_of(3, 5, 10) == plan_of(3, 5, 10) != plan_of(4, 5, 10)
    assert {plan_of(3, number, 10).link_connections for number in (0, 9, 20, 29)} == {PLENTY}
    assert [plan_of(3, number, 10).link_connections for number in (10, 30, 50)] == [2, 2, 1]
    assert [plan_of(3, number, 10).embedded for number in (0, 9, 10, 20, 30)] == [
        *(False, False, False),
        *(True, False),
    ]
