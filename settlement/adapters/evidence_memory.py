"""`settlement.evidence_facts.EvidenceStore` over the store in memory."""

from collections.abc import Collection
from datetime import date

from settlement.adapters.memory import MemoryStore
from settlement.clearing import ClearingRecord, ClearingRow, IncomingFile
from settlement.kept_sums import BatchKey, BatchTotal
from settlement.ports import Facts, Step


class MemoryEvidence(MemoryStore):
    """The facts of `store`, seen as of the close of `business_date`."""

    def __init__(self, store: MemoryStore, business_date: date) -> None:
        self.__dict__.update(store.__dict__)
        self._date = business_date

    async def finish(self, step: Step, facts: Facts) -> bool:
        raise AssertionError("evidence writes nothing")

    async def files(self, acquirer: str) -> list[IncomingFile]:
        return [one for one in await super().files(acquirer) if one.business_date <= self._date]

    def _last_versions(self) -> dict[tuple[str, str], int]:
        last: dict[tuple[str, str], int] = {}
        for file in self._files:
            if file.business_date <= self._date:
                key = (file.acquirer, file.name)
                last[key] = max(file.version, last.get(key, 0))
        return last

    async def batches_said(self, business_date: date) -> list[BatchTotal]:
        checked = self._batches_checked
        return sorted(
            one
            for day, one in self.batches
            if day <= business_date and checked.get(one.key, self._date) == self._date
        )

    async def batches_captured(self, batches: Collection[BatchKey]) -> list[BatchTotal]:
        return sorted(
            one for day, one in self._batch_sums if day < self._date and one.key in set(batches)
        )

    async def open_records(self, before: date, settles_from: date) -> list[ClearingRecord]:
        used = {one.record for one in self._matches if one.business_date < self._date}
        return self._sorted(
            one
            for one in self._records.values()
            if one.business_date < before
            and one.settlement_date >= settles_from
            and one.key not in used
        )

    async def rows(self, first: date, last: date) -> list[ClearingRow]:
        used = {one.row for one in self._matches if one.business_date < self._date}
        return sorted(
            (
                row
                for row in self._standing_rows()
                if first <= row.settlement_date <= last and row.id not in used
            ),
            key=lambda row: (row.settlement_date, row.acquirer, row.file, row.line),
        )
