"""Rows of error files as they were taken in (`files/rows.py`), as what places them reads them."""

import hashlib
from collections.abc import Mapping
from datetime import date, datetime

import msgspec

from settlement.casework.ports import Casework
from settlement.casework.work import Terms
from settlement.disputes.intake import Adjustment, take_in
from settlement.disputes.reasons import EVENT_OF
from settlement.disputes.table import TAKES, Event, Placed
from settlement.files import rows
from settlement.four_eyes import Actor


async def take(
    casework: Casework,
    first: date,
    last: date,
    at: datetime,
    terms: Terms,
    actor: Actor,
    event_of: Mapping[str, Event] = EVENT_OF,
) -> list[Placed]:
    """Place what was taken in for these settlement dates; what is placed already stays as it is."""
    found = [adjustment_of(one, event_of) for one in await casework.adjustments(first, last)]
    return await take_in(casework, found, at, terms, actor, event_of)


def adjustment_of(row: rows.Adjustment, event_of: Mapping[str, Event] = EVENT_OF) -> Adjustment:
    """The row in the words of disputes. Where the file says no direction, the event does."""
    effect = row.receivable_minor - row.payable_minor
    event = event_of.get(row.error_type)
    if not (row.receivable_minor or row.payable_minor) and event is not None:
        effect = -TAKES.get(event, 0) * abs(row.amount_minor)
    return Adjustment(
        acquirer=row.acquirer,
        file=row.file,
        line=row.line,
        settlement_date=row.settlement_date,
        content=content_of(row),
        error_type=row.error_type,
        reason=row.reason,
        currency=row.currency,
        effect_minor=effect,
        issuer_fee_minor=row.fee_payable_minor - row.fee_receivable_minor,
        rrn=row.rrn,
        link_stan=row.original_stan,
        transmission_time=row.original_time,
        merchant=row.merchant,
        terminal=row.terminal,
        pan_masked=row.pan_masked,
    )


def content_of(row: rows.Adjustment) -> str:
    """SHA-256 over what the row says, hex: not over where it stands."""
    said = {
        name: getattr(row, name)
        for name in row.__struct_fields__
        if name not in ("file", "version", "line")
    }
    return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()
