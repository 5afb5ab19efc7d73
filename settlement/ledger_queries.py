"""What can be asked of the ledger: balances, statements, trial balances, as values and a Protocol.

Amounts are minor units, debit plus and credit minus. A date is always the whole date: what stands at its
end. Answers for posted dates never change.
"""

from collections.abc import Iterable
from datetime import date
from typing import Final, Protocol

import msgspec

from settlement.chain import Anchor
from settlement.chart import CHART, COMPOSITES, ancestors
from settlement.ledger import Entry, Layer

PAGE: Final = 100  # lines of a statement, unless asked otherwise
PAGE_MAX: Final = 10_000


class Balance(msgspec.Struct, frozen=True, order=True):
    """One account's balance by owner, currency and layer. Zero balances are left out of lists."""

    account: str
    owner: str
    currency: str
    layer: Layer
    balance_minor: int


class Place(msgspec.Struct, frozen=True, order=True):
    """Where a page of a statement goes on: behind this entry, in canonical order."""

    business_date: date
    step: str
    source: str
    key: str

    def __str__(self) -> str:
        """As the command line takes it; keys may hold a slash, the parts before them do not."""
        return f"{self.business_date.isoformat()}/{self.step}/{self.source}/{self.key}"


def place_of(text: str) -> Place:
    """
    >>> place_of("2026-08-03/post/captured/c12").source
    'captured'
    """
    day, step, source, key = text.split("/", 3)
    return Place(date.fromisoformat(day), step, source, key)


class StatementLine(msgspec.Struct, frozen=True):
    """What one entry moved on the account, and the balance after it."""

    business_date: date
    step: str
    source: str
    key: str
    rule: str
    rule_version: int
    settlement_date: date
    layer: Layer
    amount_minor: int
    balance_minor: int

    @property
    def place(self) -> Place:
        return Place(self.business_date, self.step, self.source, self.key)


class Statement(msgspec.Struct, frozen=True):
    """A page of an account's movements in one currency. `opening_minor` stands before its first
    line, `closing_minor` after its last; `more` is where the next page begins, None at the end."""

    account: str
    owner: str
    currency: str
    layer: Layer | None  # None: both
    first: date
    last: date
    opening_minor: int
    lines: tuple[StatementLine, ...]
    closing_minor: int
    more: Place | None


class Turnover(msgspec.Struct, frozen=True, order=True):
    """What dates moved on an account, over all its owners. `closing = opening + debit - credit`."""

    account: str
    currency: str
    layer: Layer
    opening_minor: int
    debit_minor: int
    credit_minor: int  # positive

    @property
    def closing_minor(self) -> int:
        return self.opening_minor + self.debit_minor - self.credit_minor


class TrialRow(msgspec.Struct, frozen=True):
    """A line of a trial balance: an account, or a composite with what is below it."""

    account: str
    depth: int  # 0 at the top
    composite: bool
    currency: str
    opening_minor: int
    debit_minor: int
    credit_minor: int
    closing_minor: int


class LedgerQueries(Protocol):
    """Reads of the ledger; each sees whole commits only."""

    async def balances(
        self, account: str, owner: str | None = None, at: date | None = None
    ) -> list[Balance]:
        """Of one owner or of all, at the end of a date or with all that stands; sorted."""

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
        """A page of the account's lines of these dates in canonical order, one a entry."""

    async def turnover(self, first: date | None, last: date) -> list[Turnover]:
        """Every account that stands or moved, sorted; from the beginning where `first` is None."""

    async def entry(self, source: str, key: str) -> Entry | None: ...

    async def anchors(self) -> list[Anchor]:
        """Of every sealed date, oldest first."""

    async def open_entries(self) -> int:
        """Entries of dates that are not sealed yet."""


def trial_rows(turnover: Iterable[Turnover], layer: Layer | None = None) -> list[TrialRow]:
    """The trial balance as a tree, currency by currency: a composite before what is below it.

    Asserts that each currency and layer sums to zero: opening, what moved, and closing.
    """
    lines = [line for line in turnover if layer in (None, line.layer)]
    assert_zero(lines)
    sums: dict[tuple[str, str], list[int]] = {}
    for line in lines:
        for code in (line.account, *ancestors(line.account)):
            total = sums.setdefault((line.currency, code), [0, 0, 0])
            total[0] += line.opening_minor
            total[1] += line.debit_minor
            total[2] += line.credit_minor
    rows: list[TrialRow] = []
    for currency in sorted({line.currency for line in lines}):
        for code in CHART_ORDER:
            if (currency, code) not in sums:
                continue
            opening, debit, credit = sums[currency, code]
            rows.append(
                TrialRow(
                    account=code,
                    depth=len(ancestors(code)),
                    composite=code in COMPOSITES,
                    currency=currency,
                    opening_minor=opening,
                    debit_minor=debit,
                    credit_minor=credit,
                    closing_minor=opening + debit - credit,
                )
            )
    return rows


def assert_zero(lines: Iterable[Turnover]) -> None:
    zero: dict[tuple[str, str], list[int]] = {}
    for line in lines:
        total = zero.setdefault((line.currency, line.layer), [0, 0])
        total[0] += line.opening_minor
        total[1] += line.debit_minor - line.credit_minor
    off = {key: total for key, total in sorted(zero.items()) if any(total)}
    assert not off, f"the ledger does not sum to zero: {off}"


def _tree(parent: str) -> list[str]:
    found: list[str] = []
    for composite in COMPOSITES.values():
        if composite.parent == parent:
            found += [composite.code, *_tree(composite.code)]
    found += [account.code for account in CHART.values() if account.parent == parent]
    return found


CHART_ORDER: Final = _tree("")  # every account and composite, each below its parent
assert sorted(CHART_ORDER) == sorted([*CHART, *COMPOSITES])
