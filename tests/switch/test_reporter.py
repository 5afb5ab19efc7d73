"""What the reporter counts: labels are ours, whatever a peer that nobody has verified sends."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import structlog

from switch.config import Config
from switch.effects import Reply
from switch.journal import AttemptRow, Key, OutcomeRow, OutcomeState, RequestRow, StoreDownError
from switch.logs import AuthorizationLine, LogFile
from switch.metrics import Registry
from switch.reporter import STAGED_A_FLUSH, Reporter, rule_label
from switch.watch import Watch, authorization_line

if TYPE_CHECKING:
    from pathlib import Path

    from switch.reception import Received


class Message(msgspec.Struct):
    mti: str
    merchant_id: str = "M00000000000001"
    terminal_id: str = "T0000001"


@pytest.mark.parametrize(
    ("rule", "label"),
    [
        ("sign_on", "sign_on"),
        ("sign_on.rate", "sign_on.rate"),
        ("settle.21", "settle.21"),
        ("settle.de48", "settle.de48"),
        ("upload.207", "upload"),
        ("upload.form: DE 48 at byte 7: 12 items do not fit", "upload.form"),
        ("type.080.361", "type"),
    ],
)
def test_a_rule_counts_by_its_name(rule: str, label: str) -> None:
    assert rule_label(rule) == label


def test_what_a_terminal_chooses_makes_no_series() -> None:
    registry = Registry()
    reporter = Reporter(Config(), registry, None)
    for number in range(1_000):
        message: Any = Message(mti=f"08{number % 100:02d}")
        received: Received = message
        reporter.managed(received, "40", f"type.{number:03d}.{999 - number:03d}")
        reporter.managed(received, "30", f"upload.form: DE 48 at byte {number}: no")
    text = registry.render().decode()
    series = [line for line in text.splitlines() if line.startswith("tongbao_managements_total{")]
    assert len(series) <= 6
    assert 'mti="other"' in text


def test_a_store_that_is_away_is_counted_each_time_and_told_once() -> None:
    registry = Registry()

    async def fail() -> None:
        reporter = Reporter(Config(), registry, None)
        for _ in range(50):
            reporter.failed(StoreDownError("away"))
        reporter.failed(ValueError("ours"))

    with structlog.testing.capture_logs() as said:
        asyncio.run(fail())
    assert [event["event"] for event in said] == ["store_refused", "request_failed"]
    text = registry.render().decode()
    assert 'tongbao_failures_total{error="StoreDownError",part="store"} 50' in text
    assert 'tongbao_failures_total{error="ValueError",part="switch"} 1' in text


def test_lost_lines_are_counted_once(tmp_path: Path) -> None:
    registry = Registry()
    file = LogFile(tmp_path / "a.jsonl", 1_000, 1)
    other = LogFile(tmp_path / "b.jsonl", 1_000, 1)
    reporter = Reporter(Config(), registry, file, (other,))
    file.lost, other.lost = 3, 4
    for _ in range(2):
        reporter.flush()
    assert "tongbao_log_lines_lost_total 7" in registry.render().decode()
    file.close()


def told(
    number: int = 0,
    *,
    rule: str = "acquirer",
    response_code: str = "00",
    acquirer: str = "a",
    state: str = "approved",
    route: str = "622000@3",
    route_rule: str = "route.622000@3/a@1",
    attempts: int = 1,
) -> tuple[Reply, Watch]:
    """What became of a purchase: decoded in 100 µs, answered after 4,000. `acquirer` "": no attempt."""
    at = dt.datetime(2026, 3, 4, tzinfo=dt.UTC)
    request = RequestRow(
        request_id=number,
        owner_id=1,
        generation=1,
        key=Key("M", "T", 1, number, "0200.00"),
        content=b"",
        type="purchase",
        mti="0200",
        processing_code="000000",
        amount_minor=1,
        currency="156",
        rrn="1",
        received_at=at,
        local_time="0304080000",
        decision=msgspec.json.encode({"route": route}).decode(),
    )
    attempt = outcome = None
    if acquirer:
        attempt = AttemptRow(number, attempts, acquirer, "000001", "0304080000", "", "", route_rule)
    if state:
        outcome = OutcomeRow(number, OutcomeState(state), response_code, at, rule)
    reply = Reply(response_code, rule, request, attempt, outcome)
    return reply, Watch(0, 4_000_000, decoded_ns=100_000, ended_ns=4_000_000)


def test_lines_are_counted_and_written_together_a_bounded_number_of_them(tmp_path: Path) -> None:
    registry, config = Registry(), Config()
    config = msgspec.structs.replace(config, log=msgspec.structs.replace(config.log, lines_max=3))
    path = tmp_path / "a.jsonl"
    file = LogFile(path, 1_000_000, 1)
    reporter = Reporter(config, registry, file)
    answers = next(each for each in registry.metrics if each.name == "tongbao_authorizations_total")

    def seen() -> tuple[int, int]:
        written = path.read_bytes().splitlines() if path.exists() else []
        assert [msgspec.json.decode(each, type=AuthorizationLine) for each in written] == [
            authorization_line(*told(number)) for number in range(len(written))
        ]
        return int(answers.value("purchase", "00")), len(written)

    for number, there in enumerate(((0, 0), (0, 0), (3, 3), (3, 3))):
        reporter.authorized(*told(number))
        assert seen() == there
    for _ in range(2):
        reporter.flush()
        assert seen() == (4, 4)
    file.close()


def test_an_answer_that_makes_no_line_costs_no_other_its_own(tmp_path: Path) -> None:
    registry, path = Registry(), tmp_path / "a.jsonl"
    file = LogFile(path, 1_000_000, 1)
    reporter = Reporter(Config(), registry, file)
    reply, watch = told(1)
    assert reply.request is not None
    broken = msgspec.structs.replace(reply.request, decision="no JSON")
    reporter.authorized(*told(0))
    reporter.authorized(msgspec.structs.replace(reply, request=broken), watch)
    reporter.authorized(*told(2))
    with structlog.testing.capture_logs() as said:
        reporter.flush()
    file.close()
    assert [event["event"] for event in said] == ["request_failed"]
    assert len(path.read_bytes().splitlines()) == 2


def test_approvals_are_counted_by_range_of_cards() -> None:
    registry = Registry()
    reporter = Reporter(Config(), registry, None)
    for each in (
        told(),
        told(route="622000@4"),  # another version is the same range
        told(state="declined", response_code="51"),
        told(state="unknown", response_code="98"),
        told(state="", response_code="98", rule="refund.pending"),
        told(rule="repeat.stored"),  # was counted when it happened
        told(acquirer="", state="refused", response_code="61"),  # no bank was asked
        told(route="4@1", state="reversed"),
    ):
        reporter.authorized(*each)
    reporter.flush()
    metric = next(each for each in registry.metrics if each.name == "tongbao_approvals_total")
    assert {of.labels: of.value for of in metric.series.values()} == {
        ("622000", "approved"): 2,
        ("622000", "declined"): 1,
        ("622000", "unknown"): 2,
        ("4", "reversed"): 1,
    }


def test_requests_are_counted_by_the_rule_that_chose_and_links_that_were_passed_over() -> None:
    registry = Registry()
    reporter = Reporter(Config(), registry, None)
    over = "rule.diners@2/b@1 after a link_down"
    for each in (
        told(route_rule="route.622000@3/a@1", attempts=1),
        told(route_rule="route.622000@4/a@7", attempts=1, state="declined"),
        told(route_rule=over, acquirer="b", attempts=1),
        told(route_rule=f"{over}, c circuit_open", acquirer="b", attempts=2),
        told(route_rule=over, rule="repeat.stored", attempts=1),
        told(acquirer="", state="refused"),
    ):
        reporter.authorized(*each)
    reporter.flush()
    found = {metric.name: metric for metric in registry.metrics}
    assert {of.labels: of.value for of in found["tongbao_routed_total"].series.values()} == {
        ("route.622000", "a", "approved"): 1,
        ("route.622000", "a", "declined"): 1,
        ("rule.diners", "b", "approved"): 2,
    }
    assert {of.labels: of.value for of in found["tongbao_route_passed_total"].series.values()} == {
        ("a", "link_down", "before"): 1,
        ("a", "link_down", "failover"): 1,
        ("c", "circuit_open", "before"): 1,
    }


def test_stages_are_observed_of_a_part_and_those_that_were_passed() -> None:
    registry = Registry()
    reporter = Reporter(Config(), registry, None)
    stages = next(each for each in registry.metrics if each.name == "tongbao_stage_seconds")
    for flush in (1, 2):
        for number in range(STAGED_A_FLUSH + 10):
            reporter.authorized(*told(number))
        reporter.flush()
        assert stages.value("decode") == flush * STAGED_A_FLUSH
    assert stages.value("acquirer") == 0, "0 µs: the stage was not passed"
    assert stages.of("decode").value == pytest.approx(2 * STAGED_A_FLUSH * 100e-6)
