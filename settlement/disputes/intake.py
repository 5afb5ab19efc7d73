"""Rows of error files (ERRA): each opens or moves a dispute, or becomes a case; each once.

A row's key is (acquirer, file's date, content, how many rows of the same content stand before it in its
file), so the same row again, in whatever file and at whatever line, changes nothing. Every row is a commit of
its own with all that it does. A row that no sale and no dispute of ours explains moves its money to
suspense and opens a case of class `adjustment_unplaced`: nothing is dropped.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime

import msgspec

from settlement.cases import Break
from settlement.casework.approval import TRIES
from settlement.casework.ports import Casework, ChangedError, DateMovedError, Record, Work
from settlement.casework.work import Terms
from settlement.clearing import ClearingRecord
from settlement.disputes.money import Happening, RefusedEventError
from settlement.disputes.reasons import EVENT_OF
from settlement.disputes.table import TABLE, DisputeFacts, Event, Placed
from settlement.disputes.work import WORK, about_sale, happen
from settlement.four_eyes import Actor, require
from settlement.ledger import Entry, entry


class Adjustment(msgspec.Struct, frozen=True):
    """One row of an error file, as any network's parser gives it. The PAN left as mask."""

    acquirer: str
    file: str
    line: int
    settlement_date: date  # on which its money moves
    content: str  # SHA-256 of the row's bytes, hex
    error_type: str  # the network's, such as E23
    reason: str  # four digits
    currency: str
    effect_minor: int  # signed, gross, on what the network owes us; 0 where it moves none
    issuer_fee_minor: int = 0  # charged to us by the row; minus comes back
    network_fee_minor: int = 0
    rrn: str = ""  # of the original, as are the following
    link_stan: str = ""
    transmission_time: str = ""  # MMDDhhmmss
    merchant: str = ""
    terminal: str = ""
    pan_masked: str = ""

    @property
    def net_minor(self) -> int:
        return self.effect_minor - self.issuer_fee_minor - self.network_fee_minor


def keys_of(rows: Sequence[Adjustment]) -> list[str]:
    """The key of each row; equal rows of one file are counted in the order given."""
    seen: Counter[tuple[str, str, date, str]] = Counter()
    keys: list[str] = []
    for row in rows:
        same = (row.acquirer, row.file, row.settlement_date, row.content)
        keys.append(f"{row.acquirer}/{row.settlement_date.isoformat()}/{row.content}/{seen[same]}")
        seen[same] += 1
    return keys


async def take_in(
    casework: Casework,
    rows: Sequence[Adjustment],
    at: datetime,
    terms: Terms,
    actor: Actor,
    event_of: Mapping[str, Event] = EVENT_OF,
) -> list[Placed]:
    """Place every row of a file, in its order; what is placed already stays as it is.

    `event_of` maps the network's error types. Raises BusyError while a close is under way: run it
    again. Returns what became of each row.
    """
    require(actor, WORK)
    keys = keys_of(rows)
    known = await casework.placed(keys)
    originals = await _originals(
        casework, [r for k, r in zip(keys, rows, strict=True) if k not in known]
    )
    found: list[Placed] = []
    for key, row in zip(keys, rows, strict=True):
        if key not in known:
            sales = originals.get((row.acquirer, row.rrn), [])
            known[key] = await _place(casework, key, row, sales, at, terms, actor, event_of)
        found.append(known[key])
    return found


async def _originals(
    casework: Casework, rows: Sequence[Adjustment]
) -> dict[tuple[str, str], list[ClearingRecord]]:
    """Captured sales by (acquirer, RRN): one read an acquirer."""
    found: dict[tuple[str, str], list[ClearingRecord]] = {}
    for acquirer in sorted({row.acquirer for row in rows}):
        rrns = {row.rrn for row in rows if row.acquirer == acquirer and row.rrn}
        for record in await casework.originals(acquirer, rrns):
            found.setdefault((acquirer, record.rrn), []).append(record)
    return found


async def _place(
    casework: Casework,
    key: str,
    row: Adjustment,
    sales: Sequence[ClearingRecord],
    at: datetime,
    terms: Terms,
    actor: Actor,
    event_of: Mapping[str, Event],
) -> Placed:
    for _ in range(TRIES):
        day = await casework.earliest_unposted()
        work = await _work(casework, key, row, sales, day, at, terms, actor, event_of)
        try:
            await casework.commit(work)
        except (ChangedError, DateMovedError):
            if again := (await casework.placed([key])).get(key):
                return again
            continue
        return work.placed[0]
    raise ChangedError(key)


async def _work(
    casework: Casework,
    key: str,
    row: Adjustment,
    sales: Sequence[ClearingRecord],
    day: date,
    at: datetime,
    terms: Terms,
    actor: Actor,
    event_of: Mapping[str, Event],
) -> Work:
    event = event_of.get(row.error_type)
    if event is None:
        return _unplaced(key, row, day, actor, f"error type {row.error_type} is not known")
    one = Happening(
        event,
        "network",
        at,
        day,
        effect_minor=row.effect_minor,
        issuer_fee_minor=row.issuer_fee_minor,
        network_fee_minor=row.network_fee_minor,
        settlement_date=row.settlement_date,
        reason=row.reason,
        row=key,
    )
    why = "no sale of ours has its RRN"
    for facts in await _candidates(casework, row, sales, event, day):
        try:
            work = await happen(casework, facts, one, terms, actor=actor.operator)
        except RefusedEventError as refusal:
            why = str(refusal)
            continue
        return msgspec.structs.replace(
            work, placed=[_placed(key, row, dispute_id=facts.dispute.id)]
        )
    return _unplaced(key, row, day, actor, why)


async def _candidates(
    casework: Casework, row: Adjustment, sales: Sequence[ClearingRecord], event: Event, day: date
) -> list[DisputeFacts]:
    """Disputes that the row may move, those under way before a new one about the one sale meant."""
    if not row.rrn:
        return []
    known = await casework.disputes_by_rrn(row.acquirer, [row.rrn])
    found = [
        facts
        for facts in known
        if not facts.ended and (facts.state, event) in TABLE and _about(row, facts.dispute)
    ]
    meant = [record for record in sales if record.effect_minor > 0 and _about(row, record)]
    if len(meant) == 1:
        number = 1 + sum(1 for one in known if one.dispute.record == meant[0].key)
        fresh = about_sale(meant[0], f"{meant[0].key}-D{number:03d}", day)
        found.append(DisputeFacts(fresh))
    return found


def _about(row: Adjustment, original: object) -> bool:
    """Whether what the row says of its original agrees, as far as it says anything."""
    return all(
        not getattr(row, name) or getattr(row, name) == getattr(original, name)
        for name in ("link_stan", "transmission_time", "merchant", "terminal", "currency")
    )


# -- what nothing explains --------------------------------------------------------------------------


def _unplaced(key: str, row: Adjustment, day: date, actor: Actor, why: str) -> Work:
    """The row as a case, its money in suspense."""
    digest, _, number = key.rpartition("/")
    found = Break(
        id=f"{row.settlement_date:%Y%m%d}-E{digest[-64:][:16]}-{number}",
        business_date=day,
        break_class="adjustment_unplaced",
        acquirer=row.acquirer,
        currency=row.currency,
        keys={
            name: getattr(row, name)
            for name in (
                *("link_stan", "merchant", "pan_masked", "rrn", "terminal"),
                "transmission_time",
            )
            if getattr(row, name)
        },
        ours_minor=None,
        theirs_minor=row.effect_minor,
        evidence={
            "error_type": row.error_type,
            "file": row.file,
            "line": str(row.line),
            "reason": row.reason,
            "why": why,
        },
        step="disputes",
        settlement_date=row.settlement_date,
        merchant=row.merchant,
        difference_minor=row.net_minor,
    )
    made = _opening_entry(found, day)
    return Work(
        day,
        opened=[found],
        placed=[_placed(key, row, case_id=found.id)],
        entries=[made] if made is not None else [],
        record=Record(
            actor.operator,
            "dispute.work",
            found.id,
            {},
            {"class": found.break_class, "difference_minor": found.difference_minor, "why": why},
        ),
    )


def _opening_entry(found: Break, day: date) -> Entry | None:
    assert found.settlement_date is not None
    return entry(
        "difference_long" if found.difference_minor > 0 else "difference_short",
        "case_opened",
        found.id,
        {"difference": found.difference_minor},
        business_date=day,
        step="case",
        currency=found.currency,
        acquirer=found.acquirer,
        settlement_date=found.settlement_date,
        merchant=found.merchant,
    )


def _placed(key: str, row: Adjustment, *, dispute_id: str = "", case_id: str = "") -> Placed:
    return Placed(
        key=key,
        acquirer=row.acquirer,
        settlement_date=row.settlement_date,
        file=row.file,
        line=row.line,
        error_type=row.error_type,
        reason=row.reason,
        currency=row.currency,
        effect_minor=row.effect_minor,
        dispute_id=dispute_id,
        case_id=case_id,
    )
