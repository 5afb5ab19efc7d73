"""Time-based codes in tests that take their time."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from switch.people import credentials

if TYPE_CHECKING:
    import pytest


def codes_of_now(monkeypatch: pytest.MonkeyPatch) -> int:
    """The step whose code is shown. It stays good, and is the only one, however long commands take."""
    now, judge = dt.datetime.now(dt.UTC), credentials.step_of
    monkeypatch.setattr(credentials, "step_of", lambda secret, code, _now: judge(secret, code, now))
    return int(now.timestamp()) // 30
