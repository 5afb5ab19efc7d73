"""Casework in memory, over the books in memory: the measure of what PostgreSQL must answer."""

from collections.abc import Collection
from datetime import date

import msgspec

from settlement.adapters.memory import MemoryStore
from settlement.adapters.payout_memory import MemoryPayouts
from settlement.calendars import Calendar
from settlement.cases import Break, Resolution
from settlement.casework.ports import (
    TARIFF_KINDS,
    BusyError,
    ChangedError,
    DateMovedError,
    Owed,
    Record,
    Wanted,
    Work,
)
from settlement.casework.states import CaseEvent, CaseFacts, case_of, in_order
from settlement.casework.switch_cases import facts_of
from settlement.clearing import ClearingRecord, ClearingRow
from settlement.disputes.table import Dispute, DisputeEvent, DisputeFacts, Placed
from settlement.fees import Tariffs
from settlement.files.rows import Adjustment
from settlement.four_eyes import RefusedError
from settlement.ledger import Entry
from settlement.matches import Member
from settlement.overdue import owed_of
from settlement.ports import Dates


class MemoryCasework:
    """`settlement.casework.ports.Casework`."""

    def __init__(self, books: MemoryStore, dates: Dates, *, within_close: bool = False) -> None:
        self._books = books
        self._dates = dates
        self._within_close = within_close
        self._kept = books.cases
        self.records: list[Record] = []  # what the audit log was told

    async def earliest_unposted(self) -> date:
        found = await self._dates.unposted_before(date.max)
        assert found is not None, "one business date is always open"
        return found

    # -- cases

    async def case(self, case_id: str) -> CaseFacts | None:
        for one in self._books.switch_cases:
            if one.case_id == case_id:
                return facts_of(one, self._events_of(case_id))
        found = self._kept.opened.get(case_id) or self._books.break_of(case_id)
        return None if found is None else await self._facts(found)

    def _events_of(self, case_id: str, as_of: date = date.max) -> list[CaseEvent]:
        return [
            event
            for event in self._kept.events
            if event.case_id == case_id and event.business_date <= as_of
        ]

    async def cases(self, wanted: Wanted) -> list[CaseFacts]:
        every = [*self._books.every_break(), *self._kept.opened.values()]
        found = [await self._facts(one, wanted.as_of) for one in every]
        found += [
            facts_of(one, self._events_of(one.case_id, wanted.as_of))
            for one in self._books.switch_cases
        ]
        return sorted(
            (
                facts
                for facts in found
                if facts.found.business_date <= wanted.as_of
                and wanted.case_class in ("", facts.found.break_class)
                and wanted.acquirer in ("", facts.found.acquirer)
                and (wanted.ended or case_of(facts).state != "ended")
            ),
            key=lambda facts: facts.found.id,
        )

    async def _facts(self, found: Break, as_of: date = date.max) -> CaseFacts:
        state = await self._dates.state(found.business_date)
        resolution = self._resolution_of(found.id)
        if resolution is not None and resolution.business_date > as_of:
            resolution = None
        return CaseFacts(
            found,
            hold_minor=self._hold_of(found.id),
            standing=found.id in self._kept.opened or state == "posted",
            resolution=resolution,
            events=in_order(self._events_of(found.id, as_of)),
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

    async def entry(self, source: str, key: str) -> Entry | None:
        return (await self._books.entries_by_key(source, [key])).get(key)

    async def owed(self, found: Break) -> Owed:
        payouts = MemoryPayouts(self._books)
        return owed_of(found, await payouts.receivables(), await payouts.generation())

    async def sides(self, found: Break) -> tuple[ClearingRecord | None, ClearingRow | None]:
        record = await self.record(found.record) if found.record else None
        rows = await self._books.rows_by_id([found.row] if found.row else [])
        return record, rows.get(found.row)

    async def match_of(self, found: Break) -> list[Member]:
        return await self._books.matched_with({found.record, found.row} - {""})

    async def record(self, key: str) -> ClearingRecord | None:
        return (await self._books.records_by_key([key])).get(key)

    async def originals(self, acquirer: str, rrns: Collection[str]) -> list[ClearingRecord]:
        return self._books.captured_by_rrn(acquirer, rrns)

    async def tariffs(self) -> Tariffs:
        return Tariffs(await self._books.references(TARIFF_KINDS))

    async def calendar(self, name: str) -> Calendar | None:
        found = [one for one in await self._books.references(("calendar",)) if one.key == name]
        return msgspec.convert(found[-1].content, Calendar) if found else None

    # -- disputes

    async def dispute(self, dispute_id: str) -> DisputeFacts | None:
        about = self._kept.disputes.get(dispute_id)
        return None if about is None else self._dispute_facts(about)

    async def disputes(self, *, ended: bool = False) -> list[DisputeFacts]:
        every = [
            self._dispute_facts(self._kept.disputes[key]) for key in sorted(self._kept.disputes)
        ]
        return [facts for facts in every if ended or not facts.ended]

    async def dispute_events(self, business_date: date) -> list[DisputeEvent]:
        return sorted(
            (one for one in self._kept.dispute_events if one.business_date == business_date),
            key=lambda one: (one.dispute_id, one.sequence),
        )

    async def disputes_by_rrn(self, acquirer: str, rrns: Collection[str]) -> list[DisputeFacts]:
        found = [
            one
            for one in self._kept.disputes.values()
            if one.acquirer == acquirer and one.rrn and one.rrn in rrns
        ]
        found.sort(key=lambda one: (one.business_date, one.id))
        return [self._dispute_facts(one) for one in found]

    def _dispute_facts(self, about: Dispute) -> DisputeFacts:
        events = [one for one in self._kept.dispute_events if one.dispute_id == about.id]
        evidence = [one for one in self._kept.evidence if one.dispute_id == about.id]
        return DisputeFacts(
            about,
            tuple(sorted(events, key=lambda one: one.sequence)),
            tuple(sorted(evidence, key=lambda one: (one.at, one.name))),
        )

    async def adjustments(self, first: date, last: date) -> list[Adjustment]:
        rows = await self._books.file_rows(Adjustment.kind, first, last)
        return [row for row in rows if isinstance(row, Adjustment)]

    async def approved(self, proposal_id: str) -> bool:
        return proposal_id in self._kept.approved

    async def placed(self, keys: Collection[str]) -> dict[str, Placed]:
        return {
            key: self._kept.placed[key] for key in sorted(set(keys)) if key in self._kept.placed
        }

    # -- writing

    async def commit(self, work: Work) -> None:
        if (
            work.moves_money
            and self._books.is_running(work.business_date)
            and not self._within_close
        ):
            raise BusyError("close_under_way", date=work.business_date)
        if await self.earliest_unposted() != work.business_date:
            raise DateMovedError("date_posted", date=work.business_date)
        if work.approval and work.approval.proposal.id in self._kept.approved:
            raise RefusedError("replayed", "approved_already", what=work.approval.proposal.id)
        if work.rests_on not in (None, self._kept.numbered_acts):
            raise ChangedError("acts_since", act=work.record.act if work.record else "")
        self._refuse_what_changed(work)
        self._books.ledger.add(work.entries)  # all or nothing, and the last that may fail
        self._kept.opened |= {one.id: one for one in work.opened}
        self._kept.events += work.case_events
        self._kept.disputes |= {one.id: one for one in work.disputes}
        self._kept.dispute_events += work.dispute_events
        self._kept.evidence += work.evidence
        self._kept.placed |= {one.key: one for one in work.placed}
        if work.rests_on is not None:
            self._kept.numbered_acts += 1
        if work.record:
            self.records.append(work.record)
        if work.approval:
            self._kept.approved.add(work.approval.proposal.id)

    def _refuse_what_changed(self, work: Work) -> None:
        taken: list[str] = [one.id for one in work.opened if one.id in self._kept.opened]
        taken += [one.id for one in work.disputes if one.id in self._kept.disputes]
        taken += [one.key for one in work.placed if one.key in self._kept.placed]
        sequences = {(one.case_id, one.sequence) for one in self._kept.events}
        for event in work.case_events:
            resolved = self._resolution_of(event.case_id) is not None
            if (event.case_id, event.sequence) in sequences or event.resolved != resolved:
                taken.append(event.case_id)
        known = {(one.dispute_id, one.sequence) for one in self._kept.dispute_events}
        taken += [
            one.dispute_id for one in work.dispute_events if (one.dispute_id, one.sequence) in known
        ]
        if taken:
            raise ChangedError("stands_otherwise", what=", ".join(sorted(taken)))
