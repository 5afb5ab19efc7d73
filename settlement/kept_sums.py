"""What closes keep of their records, so that later ones can hold others' sums against them: by batch
for the terminals' totals, by merchant for the networks'. How they are made and compared stands in
`terminal_totals` and `file_totals`, which bring ibis along."""

from collections.abc import Collection, Iterable
from datetime import date
from typing import Protocol

import msgspec

BatchKey = tuple[str, str, int]  # merchant, terminal, batch


class BatchTotal(msgspec.Struct, frozen=True, order=True):
    """Debits (sales, completions) and credits (refunds, voids) of a batch, both sides of DE 48."""

    merchant: str
    terminal: str
    batch: int
    debit_minor: int
    debit_count: int
    credit_minor: int
    credit_count: int

    @property
    def key(self) -> BatchKey:
        return (self.merchant, self.terminal, self.batch)


class BatchTotals(Protocol):
    """Where totals and sums are kept; a step's facts bring the new ones."""

    async def batches_said(self, business_date: date) -> list[BatchTotal]:
        """Of the batches that were settled up to the date and that no close has checked, sorted."""

    async def batches_captured(self, batches: Collection[BatchKey]) -> list[BatchTotal]:
        """What earlier closes added for these batches: a line for each business date, sorted."""

    async def batch_sums(self, business_date: date) -> list[BatchTotal]:
        """What the date's close added, sorted."""

    async def batches_checked(self, business_date: date) -> list[BatchKey]:
        """The batches that the date's close has checked, sorted."""


class SettledSum(msgspec.Struct, frozen=True, order=True):
    """Records of one merchant that settle on one date; several closes may add to it."""

    acquirer: str
    settlement_date: date
    currency: str
    merchant: str
    count: int
    amount_minor: int  # refunds and voids are minus


class SettledSums(Protocol):
    """Where the sums are kept; a step's facts bring the new ones."""

    async def settled_sums(self, business_date: date) -> list[SettledSum]:
        """What the date's close added, sorted."""

    async def settled_before(
        self, business_date: date, settlement_dates: Iterable[date]
    ) -> list[SettledSum]:
        """What closes of earlier dates added for these settlement dates, sorted."""
