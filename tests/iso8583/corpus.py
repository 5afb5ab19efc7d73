"""The corpus of messages written by other people (tests/data/corpus/README.md), for these tests."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parent.parent / "data" / "corpus" / "messages.jsonl"


@cache
def records() -> tuple[dict[str, Any], ...]:
    """Every record, in the file's order."""
    return tuple(json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines())


def record(name: str) -> dict[str, Any]:
    """The record of that id."""
    return next(row for row in records() if row["id"] == name)


def terminal_records() -> list[dict[str, Any]]:
    """The UnionPay-style ones."""
    return [row for row in records() if row["family"] == "cup-pos"]


def frame_parts(row: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    """Length, TPDU and header as the record states them; empty where there is none."""
    frame = row["decoded"]["frame"]
    length, tpdu, header = (bytes.fromhex(frame[k] or "") for k in ("length", "tpdu", "header"))
    return length, tpdu, header


def body(row: dict[str, Any]) -> bytes:
    """The message without length, TPDU and header."""
    return bytes.fromhex(row["hex"])[sum(map(len, frame_parts(row))) :]
