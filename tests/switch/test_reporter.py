"""What the reporter counts: labels are ours, whatever a peer that nobody has verified sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from switch.config import Config
from switch.metrics import Registry
from switch.reporter import Reporter, rule_label

if TYPE_CHECKING:
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
