"""Rows as the tests need them: one purchase, and what later facts say of it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from switch.journal import (
    AttemptRow,
    FollowUp,
    Key,
    Original,
    OutcomeRow,
    OutcomeState,
    RequestRow,
    ReversalRow,
)

NOW = dt.datetime(2026, 3, 4, 4, 0, tzinfo=dt.UTC)
TODAY = dt.date(2026, 3, 4)
PAN_TOKEN = b"token of the card"
KEY = Key("M00000000000001", "T0000001", 7, 42, "020.00")

REQUEST = RequestRow(
    request_id=1,
    owner_id=1,
    generation=1,
    key=KEY,
    content=b"content",
    type="purchase",
    mti="0200",
    processing_code="000000",
    amount_minor=10_000,
    currency="156",
    rrn="606300000001",
    received_at=NOW,
    local_time="0304120000",
    pan_token=PAN_TOKEN,
    pan_masked="622000******0001",
)
ATTEMPT = AttemptRow(1, 1, "bank_a", "000001", "0304120000", "48000000", "", "route.622000@1")
APPROVED = OutcomeRow(
    request_id=1,
    state=OutcomeState.APPROVED,
    response_code="00",
    decided_at=NOW,
    rule="acquirer",
    request_date=TODAY,
    attempt=1,
    approved_amount_minor=10_000,
    effect_minor=10_000,
    auth_code="A00001",
)
REVERSAL = ReversalRow(1, TODAY, 1, "terminal", "98", NOW, "cancel")


def original(**changes: Any) -> Original:
    """An approved purchase of today in the open batch, changed as told."""
    stands = Original(
        request=REQUEST,
        request_date=TODAY,
        attempts=(ATTEMPT,),
        outcome=APPROVED,
        outcome_date=TODAY,
        captured_minor=10_000,
        reversals=(),
        reversal_response=None,
        follow_ups=(),
        date_state="open",
        batch_state="open",
        in_flight=False,
        pending=False,
    )
    return msgspec.structs.replace(stands, **changes)


def follow_up(
    type_: str,
    amount_minor: int = 10_000,
    state: OutcomeState | None = OutcomeState.APPROVED,
    *,
    reversed_: bool = False,
    final: bool = False,
) -> FollowUp:
    return FollowUp(9, type_, amount_minor, state, reversed_, final)


def outcome(state: OutcomeState, **changes: Any) -> OutcomeRow:
    plain = OutcomeRow(1, state, "00", NOW, "test", request_date=TODAY, attempt=1)
    return msgspec.structs.replace(plain, **changes)
