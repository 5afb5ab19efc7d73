"""What the reporter counts: labels are ours, whatever a peer that nobody has verified sends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import structlog

from switch.config import Config
from switch.journal import StoreDownError
from switch.logs import AuthorizationLog, LogFile
from switch.metrics import Registry
from switch.reporter import Reporter, rule_label

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
    lines = AuthorizationLog(file, lines_max=0)
    reporter = Reporter(Config(), registry, lines, (file,))
    file.lost, lines.dropped = 3, 4
    for _ in range(2):
        reporter.flush()
    assert "tongbao_log_lines_lost_total 7" in registry.render().decode()
    file.close()
