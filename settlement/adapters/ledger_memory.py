"""The ledger in memory: every answer summed from the entries anew. The measure of PostgreSQL's."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import date, timedelta

import msgspec

from settlement.chain import CHUNK, Anchor, Hashed, Seal, anchor, seal
from settlement.chunk_verify import Place as Address, StoredEntry
from settlement.ledger import (
    Entry,
    Layer,
    LedgerClosedError,
    LedgerConflictError,
)
from settlement.ledger_queries import (
    PAGE,
    Balance,
    Place,
    Statement,
    StatementLine,
    Turnover,
)
from settlement.ledger_verify import Closing
from settlement.limits import Layered, Limited, judge_limits, limited_moves
from settlement.posting_port import closed, conflict


class MemoryLedger:
    """`posting_port.Ledger` and `ledger_queries.LedgerQueries`. `first` is open while none is sealed."""

    def __init__(self, first: date = date(2026, 1, 1), chunk: int = CHUNK) -> None:
        self._first = first
        self._chunk = chunk
        self._entries: dict[tuple[str, str], Entry] = {}
        self._seals: list[Seal] = []
        self._anchors: list[Anchor] = []

    # -- posting

    async def open_date(self) -> date:
        if not self._anchors:
            return self._first
        return self._anchors[-1].business_date + timedelta(days=1)

    async def post(self, entries: Sequence[Entry]) -> None:
        self.add(entries)

    def add(self, entries: Iterable[Entry]) -> None:
        """`post` without a wait, for a store that commits more at once."""
        new: dict[tuple[str, str], Entry] = {}
        for made in entries:
            name = (made.source, made.key)
            stands = self._entries.get(name) or new.get(name)
            if stands is None:
                self._refuse_posted(made)
                new[name] = made
            elif not made.same_request(stands):
                raise LedgerConflictError(conflict(stands, made))
        moved = limited_moves(new.values())
        judge_limits(self.limited() if moved else {}, moved)
        self._entries |= new

    def _refuse_posted(self, made: Entry) -> None:
        if self._anchors and made.business_date <= self._anchors[-1].business_date:
            raise LedgerClosedError(closed(made))

    async def seal(self, business_date: date) -> Anchor:
        last = self._anchors[-1] if self._anchors else None
        if last is not None and business_date <= last.business_date:
            found = [one for one in self._anchors if one.business_date == business_date]
            assert found, f"{business_date} was passed over when a later date was sealed"
            return found[0]
        due = sorted(
            (one for one in self._entries.values() if not self._is_sealed(one)),
            key=lambda one: one.order,
        )
        earlier = [one.business_date for one in due if one.business_date < business_date]
        assert not earlier, f"{earlier[0]} has entries and is not posted"
        rows = [
            Hashed(one.step, one.source, one.key, one.hash)
            for one in due
            if one.business_date == business_date
        ]
        before = self._seals[-1].hash if self._seals else b""
        self._seals += seal(business_date, rows, before, self._chunk)
        link = self._seals[-1].hash if self._seals else b""
        made = anchor(business_date, len(rows), link, last.hash if last else b"")
        self._anchors.append(made)
        return made

    def _is_sealed(self, one: Entry) -> bool:
        return bool(self._anchors) and one.business_date <= self._anchors[-1].business_date

    # -- reading

    def entries(self, business_date: date) -> list[Entry]:
        return sorted(
            (one for one in self._entries.values() if one.business_date == business_date),
            key=lambda one: one.order,
        )

    def dates(self) -> list[date]:
        return sorted({one.business_date for one in self._entries.values()})

    def moved(self, business_date: date) -> dict[Address, tuple[int, int, int]]:
        """Count, debit and credit of a date by account, owner, currency and layer."""
        moved: dict[Address, tuple[int, int, int]] = {}
        for one in self.entries(business_date):
            for account, owner, amount in zip(one.accounts, one.owners, one.amounts, strict=True):
                place = (account, owner, one.currency, one.layer)
                count, debit, credit = moved.get(place, (0, 0, 0))
                moved[place] = (count + 1, debit + max(amount, 0), credit + max(-amount, 0))
        return moved

    def sums(self, at: date) -> dict[Address, int]:
        """Balances at the end of a date, zero ones left out."""
        sums: dict[Address, int] = {}
        for day in self.dates():
            if day <= at:
                for place, (_, debit, credit) in self.moved(day).items():
                    sums[place] = sums.get(place, 0) + debit - credit
        return {place: total for place, total in sums.items() if total}

    def limited(self) -> dict[Limited, Layered]:
        return limited_moves(self._entries.values())

    def seals(self, business_date: date) -> list[Seal]:
        return [one for one in self._seals if one.business_date == business_date]

    async def anchors(self) -> list[Anchor]:
        return list(self._anchors)

    async def entry(self, source: str, key: str) -> Entry | None:
        return self._entries.get((source, key))

    async def open_entries(self) -> int:
        return sum(not self._is_sealed(one) for one in self._entries.values())

    async def balances(
        self, account: str, owner: str | None = None, at: date | None = None
    ) -> list[Balance]:
        sums: dict[tuple[str, str, Layer], int] = {}
        for one in self._entries.values():
            for name, of, amount in zip(one.accounts, one.owners, one.amounts, strict=True):
                if (
                    name == account
                    and owner in (None, of)
                    and one.business_date <= (at or date.max)
                ):
                    place = (of, one.currency, one.layer)
                    sums[place] = sums.get(place, 0) + amount
        return sorted(Balance(account, *place, total) for place, total in sums.items() if total)

    async def statement(
        self,
        account: str,
        owner: str,
        currency: str,
        first: date,
        last: date,
        *,
        layer: Layer | None = None,
        after: Place | None = None,
        limit: int = PAGE,
    ) -> Statement:
        opening = balance = 0
        lines: list[StatementLine] = []
        more = None
        for one in sorted(self._entries.values(), key=lambda one: one.order):
            amount = _amount_on(one, account, owner)
            if amount is None or one.currency != currency or layer not in (None, one.layer):
                continue
            if one.business_date > last:
                break
            balance += amount
            if one.business_date < first or (after is not None and Place(*one.order) <= after):
                opening = balance
            elif len(lines) == limit:
                balance -= amount
                more = lines[-1].place
                break
            else:
                lines.append(
                    StatementLine(
                        *one.order,
                        one.rule,
                        one.rule_version,
                        one.settlement_date,
                        one.layer,
                        amount,
                        balance,
                    )
                )
        return Statement(
            account,
            owner,
            currency,
            layer,
            first,
            last,
            opening,
            tuple(lines),
            balance,
            more,
        )

    async def turnover(self, first: date | None, last: date) -> list[Turnover]:
        sums: dict[tuple[str, str, Layer], list[int]] = {}
        for one in self._entries.values():
            if one.business_date > last:
                continue
            before = first is not None and one.business_date < first
            for account, amount in zip(one.accounts, one.amounts, strict=True):
                total = sums.setdefault((account, one.currency, one.layer), [0, 0, 0])
                if before:
                    total[0] += amount
                else:
                    total[1 if amount > 0 else 2] += abs(amount)
        return sorted(Turnover(*place, *total) for place, total in sums.items() if any(total))


def _amount_on(one: Entry, account: str, owner: str) -> int | None:
    """What an entry moves on an account's owner; None where it does not stand there."""
    amounts = [
        amount
        for name, of, amount in zip(one.accounts, one.owners, one.amounts, strict=True)
        if (name, of) == (account, owner)
    ]
    return sum(amounts) if amounts else None


class MemoryStored:
    """`ledger_verify.Stored` of a ledger in memory."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    async def anchors(self) -> list[Anchor]:
        return await self._ledger.anchors()

    async def ended(self) -> list[date]:
        return [one.business_date for one in await self._ledger.anchors()]

    async def links(self, business_date: date) -> list[Seal]:
        return self._ledger.seals(business_date)

    async def fingerprints(self, business_date: date, step: str, chunk: int) -> bytes:
        return next(
            one.fingerprints
            for one in self._ledger.seals(business_date)
            if (one.step, one.chunk) == (step, chunk)
        )

    async def entries(self, business_date: date) -> AsyncIterator[Sequence[StoredEntry]]:
        if found := self._ledger.entries(business_date):
            yield [StoredEntry(msgspec.structs.astuple(one), one.hash) for one in found]

    async def dates(self) -> list[date]:
        return self._ledger.dates()

    async def checkpoints(self, business_date: date) -> dict[Address, Closing]:
        before = self._ledger.sums(business_date - timedelta(days=1))
        return {
            place: Closing(count, debit, credit, before.get(place, 0) + debit - credit)
            for place, (count, debit, credit) in self._ledger.moved(business_date).items()
        }

    async def closings(self, at: date) -> dict[Address, int]:
        return self._ledger.sums(at)

    async def limited(self) -> dict[Limited, Layered]:
        return self._ledger.limited()
