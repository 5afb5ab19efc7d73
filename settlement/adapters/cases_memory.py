"""Casework in memory, over the books in memory: the measure of what PostgreSQL must answer."""

from collections.abc import Collection
from datetime import date

from settlement.adapters.memory import MemoryStore
from settlement.cases import Break, Resolution
from settlement.casework.ports import (
    TARIFF_KINDS,
    BusyError,
    ChangedError,
    DateMovedError,
    Record,
    Wanted,
    Work,
)
from settlement.casework.states import CaseEvent, CaseFacts, case_of, in_order
from settlement.clearing import ClearingRecord, ClearingRow
from settlement.disputes.table import Dispute, DisputeEvent, DisputeFacts, Evidence, Placed
from settlement.fees import Tariffs
from settlement.files.rows import Adjustment
from settlement.four_eyes import RefusedError
from settlement.ledger import Entry
from settlement.ports import Dates


class MemoryCasework:
    """`settlement.casework.ports.Casework`."""

    def __init__(self, books: MemoryStore, dates: Dates) -> None:
        self._books = books
        self._dates = dates
        self._opened: dict[str, Break] = {}
        self._events: list[CaseEvent] = []
        self._disputes: dict[str, Dispute] = {}
        self._dispute_events: list[DisputeEvent] = []
        self._evidence: list[Evidence] = []
        self._placed: dict[str, Placed] = {}
        self._approved: set[str] = set()
        self.records: list[Record] = []  # what the audit log was told

    async def earliest_unposted(self) -> date:
        found = await self._dates.unposted_before(date.max)
        assert found is not None, "one business date is always open"
        return found

    # -- cases

    async def case(self, case_id: str) -> CaseFacts | None:
        found = self._opened.get(case_id) or self._books.break_of(case_id)
        return None if found is None else await self._facts(found)

    async def cases(self, wanted: Wanted) -> list[CaseFacts]:
        every = [*self._books.every_break(), *self._opened.values()]
        found = [
            await self._facts(one)
            for one in sorted(every, key=lambda one: one.id)
            if wanted.case_class in ("", one.break_class) and wanted.acquirer in ("", one.acquirer)
        ]
        return [facts for facts in found if wanted.ended or case_of(facts).state != "ended"]

    async def _facts(self, found: Break) -> CaseFacts:
        state = await self._dates.state(found.business_date)
        return CaseFacts(
            found,
            hold_minor=self._hold_of(found.id),
            standing=found.id in self._opened or state == "posted",
            resolution=self._resolution_of(found.id),
            events=in_order([event for event in self._events if event.case_id == found.id]),
        )

    def _resolution_of(self, case_id: str) -> Resolution | None:
        return self._books.resolution_of(case_id)

    def _hold_of(self, case_id: str) -> int:
        for made in self._books.every_entry():
            if (made.source, made.key) == ("hold", case_id):
                return -made.amounts[made.accounts.index("merchant_held")]
        return 0

    async def linked_entries(self, case_id: str) -> list[Entry]:
        return sorted(
            (
                made
                for made in self._books.every_entry()
                if made.source == "case" and made.key.startswith(f"{case_id}/")
            ),
            key=lambda made: made.key,
        )

    async def sides(self, found: Break) -> tuple[ClearingRecord | None, ClearingRow | None]:
        record = await self.record(found.record) if found.record else None
        rows = await self._books.rows_by_id([found.row] if found.row else [])
        return record, rows.get(found.row)

    async def record(self, key: str) -> ClearingRecord | None:
        return (await self._books.records_by_key([key])).get(key)

    async def originals(self, acquirer: str, rrns: Collection[str]) -> list[ClearingRecord]:
        return self._books.captured_by_rrn(acquirer, rrns)

    async def tariffs(self) -> Tariffs:
        return Tariffs(await self._books.references(TARIFF_KINDS))

    # -- disputes

    async def dispute(self, dispute_id: str) -> DisputeFacts | None:
        about = self._disputes.get(dispute_id)
        return None if about is None else self._dispute_facts(about)

    async def disputes(self, *, ended: bool = False) -> list[DisputeFacts]:
        every = [self._dispute_facts(self._disputes[key]) for key in sorted(self._disputes)]
        return [facts for facts in every if ended or not facts.ended]

    async def disputes_by_rrn(self, acquirer: str, rrns: Collection[str]) -> list[DisputeFacts]:
        found = [
            one
            for one in self._disputes.values()
            if one.acquirer == acquirer and one.rrn and one.rrn in rrns
        ]
        found.sort(key=lambda one: (one.business_date, one.id))
        return [self._dispute_facts(one) for one in found]

    def _dispute_facts(self, about: Dispute) -> DisputeFacts:
        events = [one for one in self._dispute_events if one.dispute_id == about.id]
        evidence = [one for one in self._evidence if one.dispute_id == about.id]
        return DisputeFacts(
            about,
            tuple(sorted(events, key=lambda one: one.sequence)),
            tuple(sorted(evidence, key=lambda one: (one.at, one.name))),
        )

    async def adjustments(self, first: date, last: date) -> list[Adjustment]:
        rows = await self._books.file_rows(Adjustment.kind, first, last)
        return [row for row in rows if isinstance(row, Adjustment)]

    async def approved(self, proposal_id: str) -> bool:
        return proposal_id in self._approved

    async def placed(self, keys: Collection[str]) -> dict[str, Placed]:
        return {key: self._placed[key] for key in sorted(set(keys)) if key in self._placed}

    # -- writing

    async def commit(self, work: Work) -> None:
        if work.moves_money:
            if self._books.is_running(work.business_date):
                raise BusyError(f"a close of {work.business_date} is under way")
            if await self.earliest_unposted() != work.business_date:
                raise DateMovedError(f"{work.business_date} is posted")
        if work.approval and work.approval.proposal.id in self._approved:
            raise RefusedError("replayed", f"{work.approval.proposal.id} has been approved already")
        self._refuse_what_changed(work)
        self._books.ledger.add(work.entries)  # all or nothing, and the last that may fail
        self._opened |= {one.id: one for one in work.opened}
        self._events += work.case_events
        self._disputes |= {one.id: one for one in work.disputes}
        self._dispute_events += work.dispute_events
        self._evidence += work.evidence
        self._placed |= {one.key: one for one in work.placed}
        if work.record:
            self.records.append(work.record)
        if work.approval:
            self._approved.add(work.approval.proposal.id)

    def _refuse_what_changed(self, work: Work) -> None:
        taken: list[str] = [one.id for one in work.opened if one.id in self._opened]
        taken += [one.id for one in work.disputes if one.id in self._disputes]
        taken += [one.key for one in work.placed if one.key in self._placed]
        sequences = {(one.case_id, one.sequence) for one in self._events}
        for event in work.case_events:
            resolved = self._resolution_of(event.case_id) is not None
            if (event.case_id, event.sequence) in sequences or event.resolved != resolved:
                taken.append(event.case_id)
        known = {(one.dispute_id, one.sequence) for one in self._dispute_events}
        taken += [
            one.dispute_id for one in work.dispute_events if (one.dispute_id, one.sequence) in known
        ]
        if taken:
            raise ChangedError(f"{', '.join(sorted(taken))} stands otherwise now")
