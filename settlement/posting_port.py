"""Where entries go, as a Protocol: PostgreSQL in `adapters/ledger_postgres.py`, and in memory.

Entries that do not come from the day's end (cases, disputes, payouts, statements) stand on the earliest
business date that is not posted yet, and are sealed with it.
"""

from collections.abc import Sequence
from datetime import date
from typing import Protocol

from settlement.chain import Anchor
from settlement.ledger import Entry
from settlement.said import Said, said


class Ledger(Protocol):
    """Entries in, all or none; nothing that stands is ever changed."""

    async def open_date(self) -> date:
        """The earliest business date that is not posted yet. Another process may post it right
        after; then `post` raises LedgerClosedError, and the caller asks again."""

    async def post(self, entries: Sequence[Entry]) -> None:
        """Post the entries in one commit; those that stand already (`Entry.same_request`) are left.

        Raises LedgerConflictError where a (source, key) stands with other content, LedgerClosedError
        where a business date is posted, LedgerLimitError where a balance would leave its limits;
        then none of the entries stands. A connection that is lost while it commits leaves open whether
        they do: the same call again is safe.
        """

    async def seal(self, business_date: date) -> Anchor:
        """End posting on the date, and chain all its entries; the anchor that stands where it was
        sealed before. Dates are sealed in order: AssertionError where an earlier one has open entries."""


def conflict(stands: Entry, asked: Entry) -> Said:
    """What LedgerConflictError says: both, as far as they differ."""
    fields = [
        f"{name} {getattr(stands, name)!s} there, {getattr(asked, name)!s} asked"
        for name in Entry.__struct_fields__
        if getattr(stands, name) != getattr(asked, name)
    ]
    return said("entry_conflict", source=asked.source, key=asked.key, differences="; ".join(fields))


def closed(asked: Entry) -> Said:
    """What LedgerClosedError says."""
    return said("entry_closed", source=asked.source, key=asked.key, date=asked.business_date)
