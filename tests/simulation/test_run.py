"""What a failing seed comes to: a smaller world that breaks the same promise, a short trace, a command.

Method: a planted bug, so that there is something to find.
"""

from __future__ import annotations

import json
import shlex

import msgspec

from terminals.simulator.bank import BankFaults
from tests.simulation.mutations import reversal_dropped_on_restart
from tests.simulation.plans import rough
from tests.simulation.run import Ran, explain, small
from tests.simulation.shrink import changed, merged, relevant
from tests.simulation.world import Report, simulate

BOX_S = 4.0


def test_a_broken_promise_is_made_small() -> None:
    with reversal_dropped_on_restart():
        plan = next(
            plan for plan in (rough(seed, 25) for seed in range(1, 40)) if simulate(plan).broken
        )
        report = simulate(plan)
        ran = small(plan, Ran(report, 0.0), BOX_S)
        again = simulate(changed(plan, ran.changes))
    assert ran.small is not None
    assert ran.small.broken == again.broken
    assert again.broken.partition(":")[0] == report.broken.partition(":")[0]
    assert ran.changes
    assert len(relevant(ran.small)) < len(ran.small.tail)
    *_, promise, command = explain(ran).splitlines()
    assert promise.startswith(f"promise {report.broken.partition(':')[0]}: ")
    assert json.loads(shlex.split(command)[-1]) == ran.changes


def test_the_trace_shown_is_what_concerns_the_promise() -> None:
    tail = [
        "1.0 chaos crash n1-0",
        "2.0 chaos pause n1-0",
        "16.5 n1-0.1 to bank_a 0200 3=000000 11=000007 37=600500000001 41=10000001",
        "16.6 n1-0.1 to bank_a 0200 3=000000 11=000008 37=600500000002 41=10000001",
        "16.7 BROKEN P3 purchase (request 1, DE 37 600500000001) is sent again",
    ]
    report = Report(
        1, "", 5, 1.0, {}, {}, 0, 0, [], broken=tail[-1].partition("BROKEN ")[2], tail=tail
    )
    assert relevant(report) == [tail[1], tail[2], tail[4]]


def test_a_plan_changes_only_where_it_is_told_to() -> None:
    plan = rough(3)
    assert changed(plan, {}) == plan
    less = changed(plan, {"nodes": 1, "bank": {"late": 0.0}})
    assert (less.nodes, less.bank.late, less.bank.silent) == (1, 0.0, plan.bank.silent)
    assert msgspec.structs.replace(less, nodes=plan.nodes, bank=plan.bank) == plan


def test_a_group_that_is_null_has_no_faults_and_gets_none_back() -> None:
    plan = rough(3)
    calm = changed(plan, {"bank": None})
    assert calm.bank == BankFaults()
    assert msgspec.structs.replace(calm, bank=plan.bank) == plan
    assert merged({"bank": None}, {"bank": {"late": 0.0}, "nodes": 1}) == {"bank": None, "nodes": 1}


def test_a_pause_is_shown_with_what_comes_after_it() -> None:
    tail = [
        "1.0 pause n1-0.1 30.000",
        "2.0 resume n2-0.1",
        "2.5 stands n1-0.1 item 7 ended(00) of purchase 10000001/1/000009 (request 9, DE 37 600500000009)",
        "31.0 n1-0.1 to bank_a 0200 11=000007 37=600500000001 41=10000001",
        "31.0 BROKEN P3 purchase 10000001/1/000001 (request 1, DE 37 600500000001) is sent late",
    ]
    broken = tail[-1].partition("BROKEN ")[2]
    report = Report(1, "", 5, 1.0, {}, {}, 0, 0, [], broken=broken, tail=tail)
    assert relevant(report) == [tail[0], tail[3], tail[4]]
