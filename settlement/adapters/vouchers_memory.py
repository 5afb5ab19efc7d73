"""Vouchers in memory, beside the books in memory: the tests'."""

from collections.abc import Collection
from datetime import date

from settlement.adapters.ledger_memory import MemoryLedger
from settlement.four_eyes import Approval, RefusedError
from settlement.ledger import Entry
from settlement.vouchers import Note


class MemoryVouchers:
    """`registered` are (kind, key). `approved` stands for the store of approvals."""

    def __init__(self, ledger: MemoryLedger, registered: Collection[tuple[str, str]] = ()) -> None:
        self.ledger = ledger
        self.approved: set[str] = set()
        self._registered = set(registered)
        self._notes: dict[tuple[str, str], Note] = {}

    async def open_date(self) -> date:
        return await self.ledger.open_date()

    async def registered(self, kind: str, key: str) -> bool:
        return (kind, key) in self._registered

    async def entry(self, source: str, key: str) -> Entry | None:
        return await self.ledger.entry(source, key)

    async def notes(self) -> list[Note]:
        return [one for _, one in sorted(self._notes.items())]

    async def commit(self, note: Note, entry: Entry, act: str, approval: Approval) -> None:
        assert act == approval.proposal.act, act
        if approval.proposal.id in self.approved:
            raise RefusedError("replayed", "was_approved", what=approval.proposal.id)
        if (note.source, note.key) in self._notes:
            raise RefusedError("replayed", "voucher_stands", voucher=note.key)
        self.ledger.add([entry])
        self._notes[note.source, note.key] = note
        self.approved.add(approval.proposal.id)
