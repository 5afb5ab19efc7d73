"""Metrics, the log line, readiness and `deploy/` against their pages.

Method: what the processes define is compared with the tables of docs/interfaces.md, both ways; every
metric, label and label value that a rule or a panel names must be one of them; every alert has its
paragraph in docs/operations.md and the other way round.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hsm.lmk import TEST_LMK
from switch import readiness
from switch.acquirers.link_connection import Counters, SlotCounters
from switch.adapters.system import SystemClock
from switch.certificates import Certificates
from switch.config import Config
from switch.gauges import WHATS, Gauges, metrics_of_workers
from switch.logs import AuthorizationLine
from switch.metrics import Metric, Registry
from switch.ports import EdgeError
from switch.reporter import RESULTS, STAGES
from switch.supervisor import Supervisor
from tests.tables import sections, table

ROOT = Path(__file__).resolve().parents[2]
INTERFACES = sections((ROOT / "docs" / "interfaces.md").read_text(encoding="utf-8"))
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ALERTS = ROOT / "deploy" / "prometheus" / "tongbao-alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "tongbao.json"


def all_metrics() -> list[Metric]:
    store: Any = SimpleNamespace(dsn="postgresql:///nowhere", embedded=None)
    config, numbers = Config(), Registry()
    supervisor = Supervisor(
        config,
        store,
        [],
        TEST_LMK,
        Certificates([], config.tls, SystemClock(), numbers),
        numbers,
        demo=True,
        language="en",
        ready_file=None,
        run_folder=Path(),
    )
    return [*supervisor.registry.metrics, *metrics_of_workers()]


METRICS = {metric.name: metric for metric in all_metrics()}


def test_the_page_tells_every_metric_with_its_kind_and_labels() -> None:
    told = [tuple(row[:3]) for row in table(INTERFACES["Metrics"])]
    assert sorted(told) == sorted(
        (metric.name, metric.kind, ", ".join(metric.labels)) for metric in METRICS.values()
    )


def test_the_page_tells_every_field_of_the_line() -> None:
    told = [row[0] for row in table(INTERFACES["The line of an authorisation"])]
    assert told == list(AuthorizationLine.__struct_fields__)


def test_the_page_tells_label_values() -> None:
    text = " ".join(INTERFACES["Metrics"].split())
    for values in (STAGES, RESULTS, WHATS):
        for value in values:
            assert re.search(rf"\b{value}\b", text), value


# -- deploy ---------------------------------------------------------------------------------------


def alerts() -> dict[str, str]:
    """Alert → its expression, from the rules' file: two spaces deep per level, as it is written."""
    found: dict[str, str] = {}
    for rule in ALERTS.read_text(encoding="utf-8").split("\n      - alert: ")[1:]:
        name, _, rest = rule.partition("\n")
        expression = re.search(r"^        expr: (\|\n(?:          .*\n)+|.*\n)", rest, re.M)
        assert expression, name
        assert re.search(r"^        labels: \{severity: (critical|warning)\}$", rest, re.M), name
        assert f"runbook: docs/operations.md#{name.lower()}" in rest, name
        assert re.search(r'^          summary: ".*[\u4e00-\u9fff].*"$', rest, re.M), name
        found[name] = expression[1].lstrip("|\n")
    return found


def panels() -> dict[str, str]:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    found = {}
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
            for target in panel["targets"]:
                found[f"{panel['title']} {target['refId']}"] = target["expr"]
    variable = next(v for v in dashboard["templating"]["list"] if v["name"] == "node")
    found["the node variable"] = variable["query"]
    return found


EXPRESSIONS = alerts() | panels()
PROMQL = re.compile(r"(tongbao_[a-z0-9_]+)(\{[^}]*\})?")
SUFFIXES = {"_bucket": "histogram", "_sum": "histogram", "_count": "histogram"}
ADDED = {"instance", "job", "le"}  # labels that Prometheus adds
VALUES = {"stage": STAGES, "result": RESULTS, "event": WHATS, "part": ("store", "vault", "switch")}


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_rules_and_panels_name_what_there_is(where: str) -> None:
    expression = EXPRESSIONS[where]
    assert expression.count("(") == expression.count(")")
    assert expression.count("{") == expression.count("}")
    named = list(PROMQL.finditer(expression))
    assert named or "up{" in expression
    labels: set[str] = set()
    for found in named:
        name, selector = found[1], found[2] or ""
        suffix = next((of for of in SUFFIXES if name.endswith(of) and name not in METRICS), "")
        metric = METRICS[name.removesuffix(suffix)]
        assert not suffix or metric.kind == SUFFIXES[suffix]
        assert suffix or metric.kind != "histogram", f"{name}: of a histogram its buckets"
        labels |= {*metric.labels, *ADDED}
        for label, sign, value in re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', selector):
            assert label in metric.labels or label in ADDED, f"{name}: no label {label}"
            if label in VALUES:
                for each in value.split("|"):
                    assert each in VALUES[label], f"{name}: {label} is never {each} ({sign})"
        if metric.kind == "counter" or suffix == "_bucket":
            before = expression[: found.start()]
            assert re.search(r"(rate|increase)\($", before), f"{name} is counted: rate or increase"
    for by in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        assert set(re.split(r",\s*", by)) <= labels | {"instance"}, f"{where}: by ({by})"


def test_every_alert_says_what_to_do() -> None:
    told = re.findall(r"^### (Tongbao\w+)$", OPERATIONS, re.MULTILINE)
    assert told == list(alerts())


# -- readiness ------------------------------------------------------------------------------------


def certificate(left_days: int, refused: str | None = None) -> readiness.Certificate:
    left_s = left_days * 86_400
    return readiness.Certificate("0", "2026-01-01", left_s, valid=left_s > 0, refused=refused)


FINE = readiness.Known(
    workers=2,
    workers_wanted=2,
    draining=False,
    was_ready=True,
    lmk_id="L",
    listeners=1,
    store_away_s=0.0,
    links={"A": True},
    certificates=(certificate(90),),
)
# what differs from a node that is fine → ready, degraded, beginning of the first reason
CASES: list[tuple[dict[str, Any], bool, bool, str]] = [
    ({}, True, False, ""),
    ({"draining": True}, False, False, "draining: told to stop"),
    ({"workers": 1}, True, True, "workers: 1 of 2 serve"),
    ({"workers": 0}, False, False, "workers: 0 of 2 serve"),
    ({"was_ready": False}, False, False, "workers: 2 of 2 serve"),
    ({"listeners": 0}, False, False, "listeners: 0 bound"),
    ({"lmk_id": ""}, False, False, "lmk: not opened"),
    ({"store_away_s": 3.0, "store_reason": "cut"}, True, True, "store: away for 3 s: cut"),
    ({"store_away_s": 10.0, "store_reason": "cut"}, False, False, "store: away for 10 s: cut"),
    ({"links": {"A": True, "B": False}}, True, True, "link.B: not signed on"),
    (
        {"links": {"A": True, "B": False}, "lacking": {"B": "dialects"}},
        True,
        True,
        "link.B: not on this node: see dialects",
    ),
    ({"certificates": (certificate(1),)}, True, True, "certificate.0: 1 days left"),
    ({"certificates": (certificate(90, "no"),)}, True, True, "certificate.0: its files: no"),
    ({"certificates": (certificate(0),)}, True, True, "certificate.0: ended 2026-01-01"),
]


@pytest.mark.parametrize(("differs", "ready", "degraded", "reason"), CASES)
def test_what_makes_a_node_ready(
    differs: dict[str, Any], *, ready: bool, degraded: bool, reason: str
) -> None:
    known = readiness.Known(
        **{name: getattr(FINE, name) for name in FINE.__struct_fields__} | differs
    )
    status, body = readiness.ready(known)
    assert status == (200 if ready else 503)
    assert (body["ready"], body["degraded"]) == (ready, degraded)
    assert (body["reasons"] or [""])[0] == reason
    assert body["certificates"] == known.certificates


def test_the_page_tells_every_check() -> None:
    told = [re.sub(r"[A-Z]+$", "", row[0]) for row in table(INTERFACES["Health and readiness"])]
    known = [re.sub(r"\..*", ".", check.check) for check in readiness.checks(FINE)]
    assert told == known


def test_a_node_is_dead_only_when_nothing_serves_that_did() -> None:
    def health(**differs: Any) -> int:
        fields = {name: getattr(FINE, name) for name in FINE.__struct_fields__}
        return readiness.health(readiness.Known(**fields | differs), 1.0, "1", "n")[0]

    assert health() == health(workers=1) == health(workers=0, was_ready=False) == 200
    assert health(workers=0, draining=True) == 200
    assert health(workers=0) == 503


# -- gauges ---------------------------------------------------------------------------------------


def link(counters: Counters, *, ready: bool = True) -> tuple[Any, Any]:
    host = SimpleNamespace(
        name="A",
        ready=ready,
        in_flight=3,
        counters=counters,
        circuit_state="closed",
        slots=lambda: [(2, SlotCounters(sent=counters.sent), 3)],
        connections=lambda: [(1, True), (2, False)],
    )
    return host, SimpleNamespace(delivered=counters.sent, undelivered=1)


def test_a_links_counters_go_on_when_the_link_is_made_anew() -> None:
    registry = Registry()
    gauges = Gauges(registry)
    first = Counters(sent=5)
    first.answered_in(0.02)
    gauges.sample_links([link(first)], {})
    first.sent = 7
    gauges.sample_links([link(first)], {})
    gauges.sample_links([link(first)], {})
    second = Counters(sent=2)
    second.answered_in(0.02)
    second.answered_in(100.0)
    gauges.sample_links([link(second, ready=False)], {})
    by_name = {metric.name: metric for metric in registry.metrics}
    assert by_name["tongbao_link_events_total"].value("A", "sent") == 9
    assert by_name["tongbao_link_answer_seconds"].value("A") == 3
    assert by_name["tongbao_link_answer_seconds"].of("A").buckets[-1] == 1
    assert by_name["tongbao_link_answer_seconds"].of("A").value == pytest.approx(100.04)
    assert by_name["tongbao_link_ready"].value("A") == 0
    assert by_name["tongbao_link_connections"].value("A", "usable") == 1
    assert by_name["tongbao_link_slot_events_total"].value("A", "2", "sent") == 5 + 7 + 7 + 2
    assert by_name["tongbao_link_slot_in_flight"].value("A", "2") == 3
    assert by_name["tongbao_link_circuit"].value("A", "closed") == 1
    gauges.sample_links([], {"B": EdgeError("links.listen", "this node has no address for it")})
    assert [of.labels for of in by_name["tongbao_link_ready"].series.values()] == [("B",)]
    assert by_name["tongbao_link_ready"].value("B") == 0
    assert by_name["tongbao_link_lacking"].value("B", "links.listen") == 1
    gauges.sample_links([], {})
    assert not by_name["tongbao_link_ready"].series
    assert not by_name["tongbao_link_lacking"].series
