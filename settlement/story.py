"""What the books have of one request, from its clearing record to its payout: for `tongbao explain`."""

from collections.abc import Iterable

import msgspec

from settlement.casework.states import CaseFacts
from settlement.clearing import ClearingRecord, ClearingRow
from settlement.disputes.table import DisputeFacts
from settlement.fees import MerchantFee, NetworkCost
from settlement.ledger import Entry
from settlement.matches import Match, Member
from settlement.netting import Net
from settlement.payouts.ports import Decision, Order, OrderEvent
from settlement.shares import RecordShare

SEQUENCES = 16  # captures a request may have: the last four bits of a capture's number


class Books(msgspec.Struct, frozen=True):
    """All of one request, in the order in which the day's end came to it."""

    records: tuple[ClearingRecord, ...] = ()
    matches: tuple[Match, ...] = ()
    members: tuple[Member, ...] = ()  # of matches of one with several
    rows: tuple[ClearingRow, ...] = ()
    fees: tuple[MerchantFee, ...] = ()
    costs: tuple[NetworkCost, ...] = ()
    shares: tuple[RecordShare, ...] = ()
    entries: tuple[Entry, ...] = ()
    nets: tuple[Net, ...] = ()  # of the merchant on the records' dates, this request among others
    orders: tuple[Order, ...] = ()  # the payout whose money it is part of, and what replaced it
    decisions: tuple[Decision, ...] = ()
    events: tuple[OrderEvent, ...] = ()
    cases: tuple[CaseFacts, ...] = ()
    disputes: tuple[DisputeFacts, ...] = ()


def record_keys(request_id: int) -> list[str]:
    """The keys that clearing records of a request can have.

    >>> record_keys(3)[:2], record_keys(3)[-1]
    (['r3', 'c48'], 'c63')
    """
    first = request_id * SEQUENCES
    return [f"r{request_id}", *(f"c{first + seq}" for seq in range(SEQUENCES))]


def request_of(key: str) -> int | None:
    """The request of a clearing record's key, or of an entry's that is about one record.

    >>> request_of("c49"), request_of("captured/c48"), request_of("r3"), request_of("20260304-001")
    (3, 3, 3, None)
    """
    name = key.rpartition("/")[2]
    kind, number = name[:1], name[1:]
    if kind not in ("c", "r") or not (number.isascii() and number.isdecimal()):
        return None
    return int(number) // SEQUENCES if kind == "c" else int(number)


def references(records: Iterable[ClearingRecord]) -> list[tuple[str, str, object]]:
    """Merchant, currency and business date of what was captured: whose nets and payouts to look for."""
    return sorted(
        {(one.merchant, one.currency, one.business_date) for one in records if one.captured}
    )
