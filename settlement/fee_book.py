"""What fees, shares and their reports ask of the store, beyond the day's end itself."""

from collections.abc import Callable, Collection
from datetime import date
from typing import Final, Protocol

import msgspec

from settlement.shares import RecordShare, ShareLine

# a line of a merchant's settlement report
DETAIL: Final = (
    "business_date",
    "settlement_date",
    "merchant",
    "terminal",
    "batch",
    "stan",
    "rrn",
    "type",
    "pan_masked",
    "card_type",
    "acquirer",
    "currency",
    "effect_minor",
    "discount_minor",
    "net_minor",
    "fee_plan",
    "match",
    "match_rule",
)


class DiscountLine(msgspec.Struct, frozen=True, order=True):
    """What merchants paid by one version of a plan on one type of card."""

    plan: str
    plan_version: int
    card_type: str
    currency: str
    count: int
    effect_minor: int
    discount_minor: int


class CostLine(msgspec.Struct, frozen=True, order=True):
    """What issuers and the network took in one file: ours by plan, the file's, what was booked.
    A fee that the file does not state counts as ours."""

    acquirer: str
    file: str
    plan: str
    plan_version: int
    currency: str
    count: int
    differing: int  # rows whose fees are not ours
    issuer_ours_minor: int
    issuer_file_minor: int
    issuer_minor: int
    network_ours_minor: int
    network_file_minor: int
    network_minor: int

    @property
    def difference_minor(self) -> int:
        """The file's less ours."""
        file = self.issuer_file_minor + self.network_file_minor
        return file - self.issuer_ours_minor - self.network_ours_minor

    @property
    def excess_minor(self) -> int:
        """What of the file's fees was not booked as cost: it stands in suspense."""
        file = self.issuer_file_minor + self.network_file_minor
        return file - self.issuer_minor - self.network_minor


class AgentLine(msgspec.Struct, frozen=True, order=True):
    """One agent's shares of a date."""

    agent: str
    currency: str
    count: int
    share_minor: int


class FeeBook(Protocol):
    """Reads of stored facts, each totally ordered."""

    async def month_volumes(self, business_date: date) -> dict[tuple[str, str], int]:
        """(merchant, currency) -> net turnover of the month's business dates before this one."""

    async def shares(self, business_date: date) -> list[RecordShare]:
        """By key."""

    async def shares_by_key(self, keys: Collection[str]) -> dict[str, RecordShare]: ...

    async def share_lines(self, agent: str, first: date, last: date) -> list[ShareLine]:
        """An agent's shares of these business dates, by date, merchant and currency."""

    async def agent_lines(self, business_date: date) -> list[AgentLine]: ...

    async def discount_lines(self, business_date: date) -> list[DiscountLine]: ...

    async def cost_lines(self, business_date: date) -> list[CostLine]: ...

    async def detail(
        self, business_date: date, write: Callable[[bytes], None], merchant: str = ""
    ) -> None:
        """The date's captured effects as CSV lines of `DETAIL` without a heading, of one merchant
        or of all, by merchant, terminal, batch, STAN and key; written piece by piece, a piece
        may end anywhere."""
