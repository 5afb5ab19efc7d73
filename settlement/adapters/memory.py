"""The store in memory: the simulation's, and the measure of what PostgreSQL must answer."""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from settlement.adapters.cases_kept import KeptCases
from settlement.adapters.fees_memory import MemoryFeeBook
from settlement.adapters.ledger_memory import MemoryLedger
from settlement.cases import Break, Resolution
from settlement.chain import Anchor, Seal
from settlement.clearing import (
    Capture,
    ClearingRecord,
    ClearingRow,
    HeldFile,
    IncomingFile,
    Reference,
    Transaction,
)
from settlement.columns import Relation, structs_of, table_of
from settlement.fees import MerchantFee, NetworkCost
from settlement.files.rows import FileRow
from settlement.kept_sums import BatchKey, BatchTotal, SettledSum
from settlement.ledger import DAY_END_STEP, Entry, Movement, movements
from settlement.matches import Match, Member
from settlement.netting import Net
from settlement.ports import SHAPES, Extracted, Facts, Output, Step, Total
from settlement.posting import posted_totals_of
from settlement.shares import RecordShare

if TYPE_CHECKING:
    from settlement.casework.switch_cases import SwitchCase


class MemoryStore:
    """`captured`, `requests` and `reference` stand for the switch's views; a test fills them."""

    def __init__(
        self,
        captures: Iterable[Capture] = (),
        transactions: Iterable[Transaction] = (),
        references: Iterable[Reference] = (),
    ) -> None:
        self.captured = list(captures)
        self.requests = list(transactions)
        self.reference = list(references)
        self.switch_cases: list[SwitchCase] = []
        self.batches: list[tuple[date, BatchTotal]] = []
        self._running: set[date] = set()
        self._begun: dict[date, datetime] = {}
        self._steps: dict[tuple[date, str], Step] = {}
        self._extracts: dict[date, dict[str, str]] = {}
        self._files: list[IncomingFile] = []
        self._rows: dict[tuple[str, str, int], list[ClearingRow]] = {}
        self._file_rows: list[FileRow] = []
        self._held: list[HeldFile] = []
        self._records: dict[str, ClearingRecord] = {}
        self._matches: list[Match] = []
        self._members: list[Member] = []
        self._batch_sums: list[tuple[date, BatchTotal]] = []
        self._batches_checked: dict[BatchKey, date] = {}
        self._settled_sums: list[tuple[date, SettledSum]] = []
        self._breaks: list[Break] = []
        self._resolutions: list[Resolution] = []
        self._merchant_fees: list[MerchantFee] = []
        self._network_costs: list[NetworkCost] = []
        self._fee_book = MemoryFeeBook(self)
        self.cases = KeptCases()
        self.ledger = MemoryLedger()
        self._nets: list[Net] = []
        self._outputs: list[tuple[date, Output]] = []

    def fee_book(self) -> MemoryFeeBook:
        return self._fee_book

    # -- what the switch publishes

    async def captures(self, business_date: date) -> list[Capture]:
        return sorted(
            (one for one in self.captured if one.business_date == business_date),
            key=lambda one: one.capture_id,
        )

    async def captured_totals(self, business_date: date) -> list[Total]:
        sums: dict[tuple[date, str, str, str, str, int], int] = {}
        for one in await self.captures(business_date):
            key = (
                one.business_date,
                one.currency,
                one.merchant,
                one.acquirer,
                one.terminal,
                one.batch,
            )
            sums[key] = sums.get(key, 0) + one.effect_minor
        return sorted(Total(*key, amount) for key, amount in sums.items() if amount)

    async def transactions(self, business_date: date) -> list[Transaction]:
        captured = {one.request_id for one in await self.captures(business_date)}
        return sorted(
            (
                one
                for one in self.requests
                if one.business_date == business_date or one.request_id in captured
            ),
            key=lambda one: one.request_id,
        )

    async def transactions_ahead(self, business_date: date, last: date) -> list[Transaction]:
        return sorted(
            (
                one
                for one in self.requests
                if one.business_date > business_date
                and one.settlement_date is not None
                and one.settlement_date <= last
                and one.state == "approved"
            ),
            key=lambda one: one.request_id,
        )

    async def references(self, kinds: Collection[str]) -> list[Reference]:
        return sorted(
            (one for one in self.reference if one.kind in kinds),
            key=lambda one: (one.kind, one.key, one.version),
        )

    # -- a date's run

    @asynccontextmanager
    async def alone(self, business_date: date) -> AsyncIterator[bool]:
        if business_date in self._running:
            yield False
            return
        self._running.add(business_date)
        try:
            yield True
        finally:
            self._running.discard(business_date)

    async def begin(self, business_date: date, at: datetime) -> datetime:
        return self._begun.setdefault(business_date, at)

    async def steps(self, business_date: date) -> dict[str, Step]:
        return {name: step for (day, name), step in self._steps.items() if day == business_date}

    async def extract(
        self, name: Extracted, *dates: date, ordered: bool = False
    ) -> AsyncIterator[pa.RecordBatch]:
        items = await getattr(self, name)(*dates)
        for batch in table_of(SHAPES[name], items).to_batches():
            yield batch

    async def agent_shares(self, business_date: date) -> list[RecordShare]:
        return await self._fee_book.shares(business_date)

    async def extracts(self, business_date: date) -> dict[str, str]:
        return dict(self._extracts.get(business_date, {}))

    async def finish(self, step: Step, facts: Facts) -> bool:
        if (step.business_date, step.name) in self._steps:
            return False
        entries = structs_of(Entry, facts.entries.table())
        used = {one.record for one in self._matches}, {one.row for one in self._matches}
        matches = structs_of(Match, facts.matches.table())
        for match in matches:
            assert not match.record or match.record not in used[0], f"{match.record} matched twice"
            assert not match.row or match.row not in used[1], f"{match.row} matched twice"
        alone = {("ours", match.record) for match in matches}
        alone |= {("theirs", match.row) for match in matches}
        members = structs_of(Member, facts.members.table())
        for member in members:
            assert (member.side, member.member) in alone, f"{member.member} is in no match"
        self.ledger.add(entries)
        self._steps[step.business_date, step.name] = step
        self._extracts.setdefault(step.business_date, {}).update(facts.extracts)
        for record in structs_of(ClearingRecord, facts.records.table()):
            assert record.key not in self._records
            self._records[record.key] = record
        self._matches += matches
        self._members += members
        self._batch_sums += [(step.business_date, one) for one in facts.batch_sums]
        for batch in facts.batches_checked:
            assert batch not in self._batches_checked, f"{batch} was checked before"
            self._batches_checked[batch] = step.business_date
        self._settled_sums += [(step.business_date, one) for one in facts.settled_sums]
        self._breaks += facts.breaks
        self._held += facts.held
        self._resolutions += facts.resolutions
        self._merchant_fees += structs_of(MerchantFee, facts.merchant_fees.table())
        self._network_costs += structs_of(NetworkCost, facts.network_costs.table())
        self._fee_book.add(structs_of(RecordShare, facts.agent_shares.table()))
        self._nets += facts.nets
        self._outputs += [(step.business_date, output) for output in facts.outputs]
        return True

    # -- for the other parts of the books, which keep their facts beside these

    def done(self, name: str) -> list[date]:
        """Business dates on which that step is done."""
        return sorted(day for day, step in self._steps if step == name)

    def add(
        self,
        entries: Sequence[Entry] = (),
        breaks: Sequence[Break] = (),
        resolutions: Sequence[Resolution] = (),
    ) -> None:
        """All of it, or nothing where the ledger refuses an entry."""
        self.ledger.add(entries)
        self._breaks += breaks
        self._resolutions += resolutions

    # -- incoming files

    async def files(self, acquirer: str) -> list[IncomingFile]:
        return sorted(
            (one for one in self._files if one.acquirer == acquirer),
            key=lambda one: (one.settlement_date, one.name, one.version),
        )

    async def take_in(
        self, file: IncomingFile, rows: Relation, others: Sequence[FileRow] = ()
    ) -> None:
        key = (file.acquirer, file.name, file.version)
        if key in self._rows:
            return
        self._files.append(file)
        self._rows[key] = structs_of(ClearingRow, rows.table())
        self._file_rows += others

    async def file_rows(self, kind: str, first: date, last: date) -> list[FileRow]:
        versions = self._last_versions()
        return sorted(
            (
                row
                for row in self._file_rows
                if row.kind == kind
                and first <= row.settlement_date <= last
                and row.version == versions.get((row.acquirer, row.file))
            ),
            key=lambda row: (row.settlement_date, row.acquirer, row.file, row.line),
        )

    async def files_between(self, first: date, last: date) -> list[IncomingFile]:
        return sorted(
            (
                msgspec.structs.replace(one, sealed=b"")
                for one in self._files
                if first <= one.settlement_date <= last
            ),
            key=lambda one: (one.settlement_date, one.acquirer, one.name, one.version),
        )

    async def held(self, acquirer: str) -> list[HeldFile]:
        return sorted(
            (one for one in self._held if one.acquirer == acquirer),
            key=lambda one: (one.name, one.sha256),
        )

    async def in_use(self, acquirer: str, name: str) -> bool:
        prefix = f"{acquirer}/{name}/"
        used = [one.row for one in self._matches] + [one.row for one in self._breaks]
        placed = self.cases.placed.values()
        return any(row.startswith(prefix) for row in used) or any(
            (one.acquirer, one.file) == (acquirer, name) for one in placed
        )

    async def sealed(self, acquirer: str, name: str, version: int) -> bytes:
        return next(
            one.sealed
            for one in self._files
            if (one.acquirer, one.name, one.version) == (acquirer, name, version)
        )

    def _last_versions(self) -> dict[tuple[str, str], int]:
        last: dict[tuple[str, str], int] = {}
        for acquirer, name, version in self._rows:
            last[acquirer, name] = max(version, last.get((acquirer, name), 0))
        return last

    def _standing_rows(self) -> list[ClearingRow]:
        last = self._last_versions()
        return [row for (a, n), version in last.items() for row in self._rows[a, n, version]]

    async def rows(self, first: date, last: date) -> list[ClearingRow]:
        used = {one.row for one in self._matches}
        return sorted(
            (
                row
                for row in self._standing_rows()
                if first <= row.settlement_date <= last and row.id not in used
            ),
            key=lambda row: (row.settlement_date, row.acquirer, row.file, row.line),
        )

    async def matched_rows(self, business_date: date) -> list[ClearingRow]:
        used = {one.row for one in await self.matches(business_date)}
        return sorted(
            (row for row in self._standing_rows() if row.id in used),
            key=lambda row: (row.settlement_date, row.acquirer, row.file, row.line),
        )

    async def rows_by_id(self, ids: Collection[str]) -> dict[str, ClearingRow]:
        wanted = set(ids)
        return {row.id: row for row in self._standing_rows() if row.id in wanted}

    # -- reads

    async def records(self, business_date: date) -> list[ClearingRecord]:
        return self._sorted(
            one for one in self._records.values() if one.business_date == business_date
        )

    async def open_records(self, before: date, settles_from: date) -> list[ClearingRecord]:
        used = {one.record for one in self._matches}
        return self._sorted(
            one
            for one in self._records.values()
            if one.business_date < before
            and one.settlement_date >= settles_from
            and one.key not in used
        )

    async def records_by_key(self, keys: Collection[str]) -> dict[str, ClearingRecord]:
        return {key: self._records[key] for key in sorted(set(keys)) if key in self._records}

    async def records_by_root(self, roots: Collection[int]) -> list[ClearingRecord]:
        wanted = set(roots)
        return self._sorted(
            one for one in self._records.values() if one.captured and one.root_request_id in wanted
        )

    @staticmethod
    def _sorted(records: Iterable[ClearingRecord]) -> list[ClearingRecord]:
        return sorted(records, key=lambda one: (one.business_date, one.key[0], int(one.key[1:])))

    async def roots(self, request_ids: Collection[int]) -> dict[int, int]:
        wanted = set(request_ids)
        return {
            one.request_id: one.root_request_id
            for one in self._records.values()
            if one.captured and one.request_id in wanted and one.request_id != one.root_request_id
        }

    async def matches(self, business_date: date) -> list[Match]:
        return sorted(
            (one for one in self._matches if one.business_date == business_date),
            key=lambda one: (one.record, one.row),
        )

    async def members(self, business_date: date) -> list[Member]:
        return sorted(
            (one for one in self._members if one.business_date == business_date),
            key=lambda one: (one.match_id, one.side, one.member),
        )

    async def matched_with(self, lines: Collection[str]) -> list[Member]:
        named = {one.match_id for one in self._members if one.member in lines}
        return sorted(
            (one for one in self._members if one.match_id in named),
            key=lambda one: (one.match_id, one.side, one.member),
        )

    async def batches_said(self, business_date: date) -> list[BatchTotal]:
        return sorted(
            one
            for day, one in self.batches
            if day <= business_date and one.key not in self._batches_checked
        )

    async def batches_captured(self, batches: Collection[BatchKey]) -> list[BatchTotal]:
        return sorted(one for _, one in self._batch_sums if one.key in set(batches))

    async def batch_sums(self, business_date: date) -> list[BatchTotal]:
        return sorted(one for day, one in self._batch_sums if day == business_date)

    async def batches_checked(self, business_date: date) -> list[BatchKey]:
        return sorted(key for key, day in self._batches_checked.items() if day == business_date)

    async def settled_sums(self, business_date: date) -> list[SettledSum]:
        return sorted(one for day, one in self._settled_sums if day == business_date)

    async def settled_before(
        self, business_date: date, settlement_dates: Iterable[date]
    ) -> list[SettledSum]:
        wanted = set(settlement_dates)
        return sorted(
            one
            for day, one in self._settled_sums
            if day < business_date and one.settlement_date in wanted
        )

    async def breaks(self, business_date: date) -> list[Break]:
        return sorted(
            (one for one in self._breaks if one.business_date == business_date),
            key=lambda one: one.id,
        )

    async def open_breaks(self, before: date) -> list[Break]:
        ended = {one.break_id for one in self._resolutions if one.business_date < before}
        return sorted(
            (one for one in self._breaks if one.business_date < before and one.id not in ended),
            key=lambda one: one.id,
        )

    async def resolutions(self, business_date: date) -> list[Resolution]:
        return sorted(
            (one for one in self._resolutions if one.business_date == business_date),
            key=lambda one: one.break_id,
        )

    async def resolved(self, break_ids: Collection[str]) -> set[str]:
        return {one.break_id for one in self._resolutions} & set(break_ids)

    async def discounts(self, keys: Collection[str]) -> dict[str, int]:
        wanted = set(keys)
        return {one.key: one.discount_minor for one in self._merchant_fees if one.key in wanted}

    async def freed(self, break_ids: Collection[str]) -> dict[str, int]:
        sums: dict[str, int] = {}
        for made in self.every_entry():
            break_id = made.key.split("/", 1)[0]
            if made.source == "case_unhold" and break_id in break_ids:
                amount = made.amounts[made.accounts.index("merchant_held")]
                sums[break_id] = sums.get(break_id, 0) + amount
        return sums

    async def merchant_fees(self, business_date: date) -> list[MerchantFee]:
        return sorted(
            (one for one in self._merchant_fees if one.business_date == business_date),
            key=lambda one: int(one.key[1:]),
        )

    async def network_costs(self, business_date: date) -> list[NetworkCost]:
        return sorted(
            (one for one in self._network_costs if one.business_date == business_date),
            key=lambda one: int(one.key[1:]),
        )

    async def entries(self, business_date: date) -> list[Entry]:
        return self.ledger.entries(business_date)

    async def entries_by_key(self, source: str, keys: Collection[str]) -> dict[str, Entry]:
        found = {key: await self.ledger.entry(source, key) for key in sorted(set(keys))}
        return {key: made for key, made in found.items() if made is not None}

    async def posted_totals(self, business_date: date) -> list[Total]:
        return posted_totals_of(await self.entries(business_date))

    async def movements(self, business_date: date) -> list[Movement]:
        entries = self.ledger.entries(business_date)
        return movements(one for one in entries if one.step == DAY_END_STEP)

    async def seal(self, business_date: date) -> Anchor:
        return await self.ledger.seal(business_date)

    async def seals(self, business_date: date) -> list[Seal]:
        return self.ledger.seals(business_date)

    async def nets(self, business_date: date) -> list[Net]:
        return sorted(one for one in self._nets if one.business_date == business_date)

    async def outputs(self, business_date: date) -> list[Output]:
        return sorted(
            (output for day, output in self._outputs if day == business_date),
            key=lambda output: output.name,
        )

    # -- what casework in memory reads and writes (`settlement/adapters/cases_memory.py`)

    def is_running(self, business_date: date) -> bool:
        return business_date in self._running

    def every_break(self) -> list[Break]:
        return list(self._breaks)

    def break_of(self, break_id: str) -> Break | None:
        return next((one for one in self._breaks if one.id == break_id), None)

    def resolution_of(self, break_id: str) -> Resolution | None:
        return next((one for one in self._resolutions if one.break_id == break_id), None)

    def captured_by_rrn(self, acquirer: str, rrns: Collection[str]) -> list[ClearingRecord]:
        return self._sorted(
            one
            for one in self._records.values()
            if one.captured and one.acquirer == acquirer and one.rrn and one.rrn in rrns
        )

    def every_entry(self) -> list[Entry]:
        """By business date, then in canonical order."""
        return [made for day in self.ledger.dates() for made in self.ledger.entries(day)]
