"""Payouts and statements in memory, beside the books in memory: the tests' and the simulation's."""

from collections.abc import Collection, Iterable
from datetime import date, datetime

import msgspec

from settlement.adapters.memory import MemoryStore
from settlement.cases import Break
from settlement.clearing import Reference
from settlement.contracts import AGENT
from settlement.four_eyes import RefusedError
from settlement.ledger import Entry, LedgerClosedError
from settlement.netting import Net
from settlement.payouts.ports import (
    Balance,
    Batch,
    DateState,
    Decision,
    Facts,
    LineMatch,
    Order,
    OrderEvent,
    OrderStatus,
    Payable,
    PayoutFile,
    PayoutReport,
    Receivable,
    ReserveCheck,
    RollingReserve,
    StaleError,
    Statement,
    StatementFile,
    StatementLine,
)

SINCE = frozenset({"payout", "statement"})  # steps that count at once, whatever their date


def counts(made: Entry, through: date, owed_minor: int) -> bool:
    """Whether an entry on a payable is of business dates up to `through`. What was paid since is; a
    rolling reserve is of the date whose sales it keeps back, its release of all dates."""
    if made.step == "reserve":
        return owed_minor > 0 or made.settlement_date <= through
    return made.step in SINCE or made.business_date <= through


class MemoryPayouts:
    """`books` holds entries, cases, nets and reference data. `approved` and `audit` stand for the
    stores of approvals and of the audit log."""

    def __init__(self, books: MemoryStore) -> None:
        self.books = books
        self.approved: set[str] = set()
        self.audit: list[tuple[str, str, str]] = []  # actor, act, subject
        self._batches: dict[str, Batch] = {}
        self._orders: dict[str, Order] = {}
        self._decisions: dict[str, Decision] = {}
        self._events: dict[tuple[str, str], OrderEvent] = {}
        self._reserves: dict[tuple[date, str, str, str], RollingReserve] = {}
        self._files: dict[str, PayoutFile] = {}
        self._reports: dict[tuple[str, str], PayoutReport] = {}
        self._statuses: dict[tuple[str, str, str], OrderStatus] = {}
        self._statements: dict[tuple[str, str], Statement] = {}
        self._lines: dict[tuple[str, str, int], StatementLine] = {}
        self._matches: dict[tuple[str, str, int], LineMatch] = {}
        self._statement_files: dict[str, StatementFile] = {}
        self._states: dict[tuple[date, str], DateState] = {}
        self._checks: dict[tuple[date, str], ReserveCheck] = {}

    async def generation(self) -> int:
        return self.books.cases.numbered_acts

    async def commit(self, facts: Facts) -> None:
        kept = self.books.cases
        if facts.generation != kept.numbered_acts:
            raise StaleError(f"{facts.act} read {facts.generation}, now {kept.numbered_acts}")
        if facts.approval is not None and facts.approval.proposal.id in self.approved:
            raise RefusedError("replayed", "was_approved", what=facts.approval.proposal.id)
        if self.adjusted([one.break_id for one in facts.resolutions]):
            raise StaleError(f"{facts.act}: people have worked on a case meanwhile")
        on = {one.business_date for one in facts.breaks}
        on |= {one.business_date for one in facts.statements}
        if on and min(on) < await self.open_date():
            raise StaleError(f"{facts.act}: the date that it stands on is closed")
        try:
            self.books.add(facts.entries, facts.breaks, facts.resolutions)
        except LedgerClosedError as error:
            raise StaleError(str(error)) from error
        self.audit.append((facts.actor, facts.act, facts.subject))
        if facts.approval is not None:
            self.approved.add(facts.approval.proposal.id)
        kept.numbered_acts += 1
        number = kept.numbered_acts
        _add(self._batches, ((one.id, one) for one in facts.batches))
        _add(self._orders, ((one.end_to_end_id, one) for one in facts.orders))
        _add(
            self._decisions,
            (
                (one.batch, msgspec.structs.replace(one, generation=number))
                for one in facts.decisions
            ),
        )
        _add(self._events, (((one.end_to_end_id, one.kind), one) for one in facts.events))
        _add(
            self._reserves,
            (((o.business_date, o.merchant, o.currency, o.kind), o) for o in facts.reserves),
        )
        _add(self._files, ((one.batch, one) for one in facts.files))
        _add(self._reports, (((one.account, one.id), one) for one in facts.reports))
        _add(
            self._statuses,
            (((one.account, one.report, one.end_to_end_id), one) for one in facts.statuses),
        )
        _add(self._statements, (((one.account, one.id), one) for one in facts.statements))
        _add(self._lines, (((one.account, one.statement, one.line), one) for one in facts.lines))
        _add(
            self._matches, (((one.account, one.statement, one.line), one) for one in facts.matches)
        )
        self._statement_files |= {one.sha256: one for one in facts.statement_files}
        _add(
            self._states,
            (
                ((one.business_date, one.state), msgspec.structs.replace(one, generation=number))
                for one in facts.states
            ),
        )
        _add(self._checks, (((one.business_date, one.currency), one) for one in facts.checks))

    # -- the books

    async def open_date(self) -> date:
        return await self.books.ledger.open_date()

    async def references(self, kinds: Collection[str]) -> list[Reference]:
        return await self.books.references(kinds)

    async def posted(self) -> list[date]:
        return self.books.done("net")

    async def nets(self, business_date: date) -> list[Net]:
        return await self.books.nets(business_date)

    async def payables(self, through: date) -> list[Payable]:
        sums: dict[tuple[str, str], list[int]] = {}
        columns = {
            "merchant_payable": 1,
            "agent_share_payable": 1,
            "merchant_held": 2,
            "merchant_reserve": 3,
        }
        for made, account, owner, amount in self._postings():
            if account in columns:
                payee = AGENT + owner if account == "agent_share_payable" else owner
                line = sums.setdefault((payee, made.currency), [0, 0, 0, 0])
                line[columns[account]] -= amount
                if columns[account] == 1 and counts(made, through, -amount):
                    line[0] -= amount
        return sorted(Payable(*key, *line) for key, line in sums.items() if any(line))

    async def receivables(self) -> list[Receivable]:
        sums: dict[tuple[str, str], int] = {}
        for made, account, owner, amount in self._postings():
            if account == "network_receivable":
                sums[owner, made.currency] = sums.get((owner, made.currency), 0) + amount
        found: list[Receivable] = []
        for (owner, currency), amount in sums.items():
            acquirer, _, day = owner.rpartition("/")
            if amount:
                found.append(Receivable(acquirer, date.fromisoformat(day), currency, amount))
        return sorted(found)

    async def receivables_moved(self, business_date: date) -> list[str]:
        return sorted(
            {
                owner
                for made, account, owner, _ in self._postings()
                if (account, made.business_date) == ("network_receivable", business_date)
            }
        )

    async def balances(self, through: date) -> list[Balance]:
        sums: dict[tuple[str, str], int] = {}
        for made, account, _, amount in self._postings():
            if made.business_date <= through:
                sums[account, made.currency] = sums.get((account, made.currency), 0) + amount
        return sorted(Balance(*key, amount) for key, amount in sums.items() if amount)

    def _postings(self) -> Iterable[tuple[Entry, str, str, int]]:
        for day in self.books.ledger.dates():
            for made in self.books.ledger.entries(day):
                for line in zip(made.accounts, made.owners, made.amounts, strict=True):
                    yield made, *line

    # -- payouts

    async def batches(self, payout_date: date | None = None) -> list[Batch]:
        found = (one for one in self._batches.values() if payout_date in (None, one.payout_date))
        return sorted(found, key=lambda one: one.id)

    async def orders(self, batches: Collection[str] | None = None) -> list[Order]:
        return _sorted_orders(
            one for one in self._orders.values() if batches is None or one.batch in batches
        )

    async def open_orders(self) -> list[Order]:
        ended = {name for name, kind in self._events if kind != "received"}
        return _sorted_orders(
            one
            for one in self._orders.values()
            if one.end_to_end_id not in ended and self._stands(one)
        )

    async def returned_orders(self) -> list[Order]:
        back = {name for name, kind in self._events if kind in ("returned", "rejected")}
        replaced = {one.replaces for one in self._orders.values() if self._stands(one)}
        return _sorted_orders(
            one
            for one in self._orders.values()
            if one.cycle and one.end_to_end_id in back - replaced
        )

    def _stands(self, order: Order) -> bool:
        decided = self._decisions.get(order.batch)
        return decided is None or decided.decision == "released"

    async def orders_by_id(self, end_to_end_ids: Collection[str]) -> dict[str, Order]:
        return {name: self._orders[name] for name in sorted(end_to_end_ids) if name in self._orders}

    async def decisions(self, batches: Collection[str] | None = None) -> list[Decision]:
        found = self._decisions.values()
        return sorted(
            (one for one in found if batches is None or one.batch in batches),
            key=lambda one: one.batch,
        )

    async def events(self, end_to_end_ids: Collection[str]) -> list[OrderEvent]:
        return sorted(
            (one for one in self._events.values() if one.end_to_end_id in end_to_end_ids),
            key=lambda one: (one.end_to_end_id, one.kind),
        )

    async def reserves(self, release_by: date) -> list[RollingReserve]:
        return sorted(
            one
            for (day, merchant, currency, kind), one in self._reserves.items()
            if kind == "withheld"
            and one.release_on <= release_by
            and (day, merchant, currency, "released") not in self._reserves
        )

    async def files(self, batches: Collection[str] | None = None) -> list[PayoutFile]:
        found = (one for one in self._files.values() if batches is None or one.batch in batches)
        return sorted(found, key=lambda one: one.batch)

    async def reports(self, batches: Collection[str] | None = None) -> list[PayoutReport]:
        return sorted(
            (one for one in self._reports.values() if batches is None or one.batch in batches),
            key=lambda one: (one.batch, one.made_at, one.account, one.id),
        )

    async def statuses(self, end_to_end_ids: Collection[str]) -> list[OrderStatus]:
        def order(one: OrderStatus) -> tuple[str, datetime, str]:
            made_at = self._reports[one.account, one.report].made_at
            return one.end_to_end_id, made_at, one.report

        found = self._statuses.values()
        return sorted((one for one in found if one.end_to_end_id in end_to_end_ids), key=order)

    # -- statements, dates

    async def statements(self, account: str = "") -> list[Statement]:
        return sorted(
            (one for one in self._statements.values() if account in ("", one.account)),
            key=lambda one: (one.account, one.first, one.last, one.sequence or 0, one.id),
        )

    async def lines(self, account: str, statement: str) -> list[StatementLine]:
        found = self._lines.items()
        return [one for key, one in sorted(found) if key[:2] == (account, statement)]

    async def open_lines(self) -> list[StatementLine]:
        return [one for key, one in sorted(self._lines.items()) if key not in self._matches]

    async def matches(self, account: str, statement: str) -> list[LineMatch]:
        found = self._matches.items()
        return [one for key, one in sorted(found) if key[:2] == (account, statement)]

    async def states(self, business_date: date | None = None) -> list[DateState]:
        return sorted(
            one for one in self._states.values() if business_date in (None, one.business_date)
        )

    async def checks(self, business_date: date) -> list[ReserveCheck]:
        found = self._checks.items()
        return [one for (day, _), one in sorted(found) if day == business_date]

    async def standing_breaks(self, break_class: str) -> list[Break]:
        ended = await self.books.resolved([one.id for one in self.books.every_break()])
        return sorted(
            (
                one
                for one in self.books.every_break()
                if one.break_class == break_class and one.id not in ended
            ),
            key=lambda one: one.id,
        )

    async def resolved(self, break_ids: Collection[str]) -> set[str]:
        return self.adjusted(break_ids) | await self.books.resolved(break_ids)

    def adjusted(self, case_ids: Collection[str]) -> set[str]:
        """Those whose money people have moved."""
        moved = {one.case_id for one in self.books.cases.events if one.difference_minor}
        return moved & set(case_ids)


def _add(table: dict, rows: Iterable) -> None:  # type: ignore[type-arg]
    """Append-only: a key stands once."""
    for key, row in rows:
        assert key not in table, f"{key} stands already"
        table[key] = row


def _sorted_orders(orders: Iterable[Order]) -> list[Order]:
    return sorted(orders, key=lambda one: (one.batch, one.end_to_end_id))
