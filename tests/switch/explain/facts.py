"""Facts as the store has them, for stories: a purchase, and what later facts say of it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from switch.explain.facts import (
    Attempt,
    Batch,
    Captured,
    Facts,
    LateAnswer,
    Linked,
    LinkKey,
    Queued,
    ReversalRequest,
    Session,
    Stages,
    SwitchCase,
    Unmatched,
)

DAY = dt.date(2026, 3, 4)
NOW = dt.datetime(2026, 3, 4, 4, 0, tzinfo=dt.UTC)
PAN_MASKED = "622000******0001"


def after(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


def transaction(**changes: Any) -> dict[str, Any]:
    """The object of `journal list`: an approved purchase."""
    return {
        "request_id": 7,
        "business_date": DAY,
        "settlement_date": DAY,
        "type": "purchase",
        "state": "approved",
        "merchant": "M00000000000001",
        "terminal": "T0000001",
        "batch": "000007",
        "stan": "000042",
        "rrn": "606300000001",
        "mti": "0200",
        "processing_code": "000000",
        "amount_minor": 10_000,
        "approved_amount_minor": 10_000,
        "currency": "156",
        "acquirer": "bank_a",
        "acquirer_rrn": "",
        "auth_code": "A00001",
        "response_code": "00",
        "pan_masked": PAN_MASKED,
        "mcc": "5411",
        "entry_mode": "021",
        "condition_code": "00",
        "received_at": NOW,
        "decided_at": after(0.05),
        "rule": "acquirer",
        "acquirer_response_code": "00",
        "effect_minor": 10_000,
        "local_time": "0304120000",
        "decision": {
            "generation": 3,
            "merchant": 2,
            "terminal": 1,
            "route": "622000@4",
            "pin": True,
        },
        "session_id": 12,
        "attempts": [],
        "reversals": [],
        "original": None,
        **changes,
    }


FIRST = Attempt(
    1, "bank_a", "000001", "0304120000", "48000000", "", "route.622000@4", recorded_at=NOW
)
APPROVED = Facts(
    transaction(),
    attempts=(FIRST,),
    link_keys=(
        LinkKey(FIRST.attempt, "ZAK", 2, "08D7B4"),
        LinkKey(FIRST.attempt, "ZPK", 1, "85F63D"),
    ),
    session=Session(12, after(-3600)),
    captures=(Captured(112, DAY, DAY, 10_000, "156"),),
    stages=Stages(20, 40, 900, 50, 48_000, 1_000, 60, 50_100),
)


def reversal(**changes: Any) -> dict[str, Any]:
    return {
        "seq": 1,
        "origin": "time_out",
        "reason": "68",
        "queued_at": after(3).isoformat(),
        "capture": "",
        "state": "queued",
        "response_code": None,
        "link_stan": "000002",
        "transmission_time": "0304120003",
        "tries": 1,
        **changes,
    }


UNDECIDED = {
    "state": "unknown",
    "approved_amount_minor": None,
    "auth_code": "",
    "response_code": "98",
    "decided_at": after(3),
    "rule": "acquirer.no_answer",
    "acquirer_response_code": "",
    "effect_minor": None,
    "settlement_date": None,
}

# No answer in time, the reversal sent twice and answered; then the bank's approval comes.
TIMED_OUT = Facts(
    transaction(**UNDECIDED, reversals=[reversal()]),
    attempts=(FIRST,),
    queue=(
        Queued(
            "reversal", 1, "bank_a", "000002", "0304120003", after(3),
            (after(3.1), after(6.2)), "00", after(6.4),
        ),
    ),
    late_answers=(LateAnswer(1, "00", "A00001", 10_000, "late", after(5)),),
    unmatched=(
        Unmatched(
            "bank_a", "mismatch", "DE 41 differs", "0210", "00", "DE 41: 10000001 -> 10000002", after(4)
        ),
    ),
    cases=(SwitchCase("20260304-W9-0", "late_approval", after(5)),),
)  # fmt: skip

REFUSED = Facts(
    transaction(
        state="refused", rule="merchant.amount_limit", response_code="61", decided_at=NOW,
        auth_code="", acquirer=None, acquirer_response_code="", effect_minor=None,
        approved_amount_minor=None, settlement_date=None,
    ),
)  # fmt: skip

SECOND = Attempt(
    2, "bank_d", "000031", "0304120001", "48000001", "",
    "rule.diners@2/bank_d@1 after bank_a link_down, bank_c circuit_open", recorded_at=after(0.4),
)  # fmt: skip
ROUTING = {
    "rule": "rule.diners@2",
    "choose": "cost",
    "candidates": [
        {"acquirer": "bank_b", "cost_minor": 30, "by": "bank_b/156/any@1"},
        {"acquirer": "bank_a", "cost_minor": 35, "by": "bank_a/156/debit@3"},
        {"acquirer": "bank_c"},
        {"acquirer": "bank_d"},
    ],
}
FAILED_OVER = msgspec.structs.replace(
    APPROVED,
    transaction=transaction(
        acquirer="bank_d",
        decided_at=after(0.6),
        decision={
            "generation": 3,
            "merchant": 2,
            "terminal": 1,
            "route": "622000@4",
            "routing": ROUTING,
        },
    ),
    attempts=(
        msgspec.structs.replace(
            FIRST, route_rule="rule.diners@2/bank_a@4 after bank_b in_flight_max"
        ),
        SECOND,
    ),
)
# No link could be tried.
NO_LINK = Facts(
    transaction(
        **REFUSED.transaction | {
            "rule": "link.down", "response_code": "91",
            "decision": {
                "generation": 3, "merchant": 2, "terminal": 1, "route": "622000@4",
                "routing": {
                    "rule": "route.622000@4", "choose": "order", "candidates": [{"acquirer": "bank_a"}],
                    "passed": {"bank_a": "link_down"},
                },
            },
        },
    ),
)  # fmt: skip


def linked(**changes: Any) -> Linked:
    found = Linked(
        7, DAY, "purchase", "approved", "M00000000000001", "T0000001", 7, 42, "606300000001",
        10_000, "156", "00", NOW,
    )  # fmt: skip
    return msgspec.structs.replace(found, **changes)


VOID = linked(request_id=8, type="void", stan=43, rrn="606300000002", received_at=after(60))
VOIDED = Facts(
    transaction(),
    attempts=(FIRST,),
    follow_ups=(VOID,),
    batch=Batch(after(90), after(91), "11", None, after(91), "balanced"),
)
THE_VOID = Facts(
    transaction(
        request_id=8, type="void", stan="000043", rrn="606300000002", effect_minor=-10_000,
        processing_code="200000", received_at=after(60), decided_at=after(60.1),
    ),
    attempts=(msgspec.structs.replace(FIRST, recorded_at=after(60)),),
    originals=(linked(),),
)  # fmt: skip

# Told 98 and left to the queue; two tries, no answer yet.
REFUND_PENDING = Facts(
    transaction(
        request_id=9, type="refund", mti="0220", processing_code="200000", stan="000044",
        rrn="606300000003", state="pending", response_code=None, decided_at=None, rule=None,
        auth_code=None, acquirer_response_code=None, effect_minor=None,
        approved_amount_minor=None, settlement_date=None,
    ),
    attempts=(FIRST,),
    originals=(linked(),),
    queue=(
        Queued(
            "repeat", 0, "bank_a", "000001", "0304120000", after(3), (after(6), after(12)),
        ),
    ),
)  # fmt: skip

# Approved; the terminal did not hear it and reverses, before the freeze.
TAKEN_BACK = msgspec.structs.replace(
    APPROVED,
    transaction=transaction(
        state="reversed",
        reversals=[
            reversal(
                origin="terminal", reason="98", capture="cancel", queued_at=after(8).isoformat()
            )
        ],
    ),
    captures=(),
    reversal_requests=(ReversalRequest("98", "00", "reversal.approved", after(8)),),
    queue=(Queued("reversal", 1, "bank_a", "000005", "0304120008", after(8)),),
)

ALL = {
    "approved": APPROVED,
    "timed_out": TIMED_OUT,
    "refused": REFUSED,
    "failed_over": FAILED_OVER,
    "no_link": NO_LINK,
    "voided": VOIDED,
    "the_void": THE_VOID,
    "refund_pending": REFUND_PENDING,
    "taken_back": TAKEN_BACK,
}
