"""What the switch found while it ran, as cases: beside the breaks of files, and worked like them.

They hold no money in suspense: what a late approval or a lost reversal moves at the bank comes with its
file, and is a break then. So they end by the entry that moved the money (`link`), or by two people
who say that none was to move (`acknowledge`).
"""

from datetime import date, datetime
from typing import Any

import msgspec

from settlement.cases import Break
from settlement.casework.states import CaseEvent, CaseFacts, in_order

STEP = "switch"  # in place of the step of the day's end that found it


class SwitchCase(msgspec.Struct, frozen=True):
    """One row of `switch.case_v1`; what is of the transaction is empty where there is none."""

    case_id: str
    kind: str
    business_date: date
    opened_at: datetime
    merchant: str
    terminal: str
    request_id: int | None
    detail: str  # a JSON object
    acquirer: str
    currency: str
    amount_minor: int | None
    settlement_date: date | None
    type: str
    state: str
    batch: int | None
    stan: int | None
    rrn: str
    link_stan: str
    transmission_time: str
    pan_masked: str


def break_of(one: SwitchCase) -> Break:
    """The case as the books tell it. `ours` is what it is about; of an uploaded batch, what the journal
    has beside what the terminal says."""
    detail: dict[str, Any] = msgspec.json.decode(one.detail)
    uploaded = "terminal_minor" in detail
    keys = {
        name: _text(value)
        for name in (
            *("request_id", "terminal", "batch", "stan", "rrn"),
            *("link_stan", "transmission_time", "pan_masked"),
        )
        if (value := getattr(one, name) or detail.get(name))
    }
    evidence = {"opened_at": one.opened_at.isoformat(), "transaction": one.state, "type": one.type}
    evidence |= {name: _text(value) for name, value in detail.items() if name not in keys}
    return Break(
        id=one.case_id,
        business_date=one.business_date,
        break_class=one.kind,
        acquirer=one.acquirer,
        currency=one.currency,
        keys=keys,
        ours_minor=detail.get("ours_minor" if uploaded else "amount_minor", one.amount_minor),
        theirs_minor=detail.get("terminal_minor"),
        evidence={name: text for name, text in sorted(evidence.items()) if text},
        step=STEP,
        settlement_date=one.settlement_date,
        merchant=one.merchant,
    )


def facts_of(one: SwitchCase, events: list[CaseEvent]) -> CaseFacts:
    return CaseFacts(
        break_of(one), hold_minor=0, standing=True, resolution=None, events=in_order(events)
    )


def _text(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return msgspec.json.encode(value).decode()
