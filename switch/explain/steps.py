"""One step of a story: what happened, between whom, when."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import msgspec

Lane = Literal["terminal", "switch", "vault", "store", "bank"]
LANES: tuple[Lane, ...] = ("terminal", "switch", "vault", "store", "bank")
Tone = Literal["", "good", "bad", "open"]


class Step(msgspec.Struct, frozen=True):
    """`event` names the sentence (switch/explain/texts.py) that `values` go into."""

    event: str
    source: Lane
    target: Lane
    at: dt.datetime | None = None
    on: dt.date | None = None  # business date of what the books did
    tone: Tone = ""
    values: dict[str, Any] = {}
