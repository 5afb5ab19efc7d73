"""What casework and disputes need of the outside; `settlement/adapters/` implements it."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Final, Protocol

import msgspec

from settlement.calendars import Calendar
from settlement.cases import Break
from settlement.casework.states import CaseEvent, CaseFacts
from settlement.clearing import ClearingRecord, ClearingRow
from settlement.disputes.table import Dispute, DisputeEvent, DisputeFacts, Evidence, Placed
from settlement.fees import Tariffs
from settlement.files.rows import Adjustment
from settlement.four_eyes import Approval
from settlement.ledger import Entry
from settlement.matches import Member
from settlement.said import SaidError


class ChangedError(SaidError):
    """Somebody else was first: what the work rests on stands otherwise now."""


class BusyError(SaidError):
    """The day's end of the business date is under way; it may change what the work rests on."""


class DateMovedError(SaidError):
    """The business date is no longer the earliest that is not posted."""


class Record(msgspec.Struct, frozen=True):
    """What the audit log is told of an act, by the act's own commit."""

    actor: str
    act: str  # of `switch.people.operators`, such as case.adjust
    subject: str
    before: dict[str, object]
    after: dict[str, object]


class Work(msgspec.Struct, frozen=True):
    """Everything that one act adds: stored together, with its approval, or not at all."""

    business_date: date
    opened: Sequence[Break] = ()
    case_events: Sequence[CaseEvent] = ()
    disputes: Sequence[Dispute] = ()
    dispute_events: Sequence[DisputeEvent] = ()
    evidence: Sequence[Evidence] = ()
    placed: Sequence[Placed] = ()
    entries: Sequence[Entry] = ()
    record: Record | None = None
    rests_on: int | None = None  # number of the last act of payouts and statements that it has seen
    approval: Approval | None = None

    @property
    def moves_money(self) -> bool:
        return bool(self.entries or self.approval or self.opened)


class Owed(msgspec.Struct, frozen=True):
    """What a network owes of a settlement date, and the last numbered act (decision 21) by then."""

    amount_minor: int
    generation: int


class Wanted(msgspec.Struct, frozen=True):
    """Which cases a list shows; "" is any."""

    case_class: str = ""
    acquirer: str = ""
    ended: bool = False  # those, too
    as_of: date = date.max  # as they stood when this business date ended


TARIFF_KINDS: Final = ("fee_plan", "merchant")  # reference data that an act's discount rests on


class Casework(Protocol):
    """Cases and disputes, wherever they are kept. Every read is totally ordered."""

    async def earliest_unposted(self) -> date:
        """The business date on which entries outside the day's end stand."""

    async def case(self, case_id: str) -> CaseFacts | None: ...

    async def cases(self, wanted: Wanted) -> list[CaseFacts]:
        """The books' and the switch's, by id. Ended ones only where wanted."""

    async def linked_entries(self, case_id: str) -> list[Entry]:
        """The entries that adjusted the case by hand (source `case`), by key."""

    async def entry(self, source: str, key: str) -> Entry | None:
        """One that stands in the ledger."""

    async def owed(self, found: Break) -> Owed:
        """Of the break's acquirer, settlement date and currency."""

    async def sides(self, found: Break) -> tuple[ClearingRecord | None, ClearingRow | None]:
        """Our record and their row that the break names."""

    async def match_of(self, found: Break) -> list[Member]:
        """The lines of the match of one with several that either side is in, in their order."""

    async def tariffs(self) -> Tariffs: ...

    async def calendar(self, name: str) -> Calendar | None:
        """The newest version of a calendar; None where there is none of that name."""

    async def dispute(self, dispute_id: str) -> DisputeFacts | None: ...

    async def disputes(self, *, ended: bool = False) -> list[DisputeFacts]:
        """By id. Ended ones only where wanted."""

    async def dispute_events(self, business_date: date) -> list[DisputeEvent]:
        """What happened in disputes on a business date, by (dispute, sequence)."""

    async def disputes_by_rrn(self, acquirer: str, rrns: Collection[str]) -> list[DisputeFacts]:
        """Those about sales with these RRNs, ended or not, by (business date, id)."""

    async def originals(self, acquirer: str, rrns: Collection[str]) -> list[ClearingRecord]:
        """Captured records of the acquirer with these RRNs, by (business date, key)."""

    async def record(self, key: str) -> ClearingRecord | None: ...

    async def adjustments(self, first: date, last: date) -> list[Adjustment]:
        """Rows of error files with these settlement dates, as they were taken in, in their order."""

    async def approved(self, proposal_id: str) -> bool:
        """Whether an approval of it has been committed here."""

    async def placed(self, keys: Collection[str]) -> dict[str, Placed]:
        """What became of rows of error files already."""

    async def commit(self, work: Work) -> None:
        """Store all of it in one commit.

        Raises ChangedError where a sequence is taken, a close has resolved a case meanwhile, or another
        numbered act has been committed after the one that the work rests on;
        BusyError, DateMovedError; `four_eyes.RefusedError` where the approval is used already;
        `LedgerConflictError`. Nothing stands then.
        """
