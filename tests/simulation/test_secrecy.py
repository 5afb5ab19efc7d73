"""A secret is found in every form in which a careless line would write it, and nothing else is."""

from __future__ import annotations

import pytest

from switch.journal import CaseRow
from switch.virtual.ports import EPOCH
from tests.simulation.secrecy import Secrets

PAN = "6220000000000000115"
BLOCK = bytes.fromhex("04126deadbeef0c3")


@pytest.fixture
def secrets() -> Secrets:
    secrets = Secrets()
    secrets.add("a card number", PAN)
    secrets.add("a PIN block", BLOCK)
    return secrets


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (f"sending pan={PAN} to bank_a", "a card number"),
        (f"pan={PAN}", "a card number"),
        (f"pin={BLOCK!r}", "a PIN block"),
        (f"pin={BLOCK.hex()}", "a PIN block"),
        (f"pin={BLOCK.hex().upper()}", "a PIN block"),
        ({"pin": BLOCK}, "a PIN block"),
        ([{"of": (1, BLOCK)}], "a PIN block"),
        (CaseRow("late_approval", 1, "m", "t", f'{{"pan":"{PAN}"}}', EPOCH), "a card number"),
        (ValueError(f"card {PAN}"), "a card number"),
        (lambda: None, ""),
        ("pan=622000******0115", ""),
        (f"pan={PAN[:-1]}", ""),
        (BLOCK[:-1], ""),
        ("", ""),
    ],
)
def test_found_in(secrets: Secrets, said: object, found: str) -> None:
    assert secrets.found_in(said) == found
    assert secrets.found_in("before", said, "behind") == found
