"""Facts of payouts and bank statements, and the store that keeps them.

Every act reads, decides, and adds its facts in one commit numbered `generation + 1`. A commit that
finds its number taken adds nothing and raises `StaleError`: what it rested on has changed, so the
act reads and decides again. That is the one order of all payouts and statements, and why no two
acts, in whatever processes, can both pay the same money.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime
from typing import Final, Literal, Protocol

import msgspec

from settlement.cases import Break, Resolution
from settlement.clearing import Reference
from settlement.four_eyes import Approval
from settlement.ledger import Entry
from settlement.netting import Net

# -- payouts --------------------------------------------------------------------------------------


class Batch(msgspec.Struct, frozen=True):
    """Orders that are released together and are one file to one bank."""

    id: str  # payout date and number within it: 20260804-001
    payout_date: date
    account: str  # name of the bank account that pays
    currency: str
    kind: Literal["payout", "advance", "sweep"]
    # from customers' money, from own funds (T+0), or own money out of the reserve
    count: int
    sum_minor: int
    sha256: str  # over the orders, hex
    debtor_name: str
    debtor_account: str
    debtor_bank: str
    made_at: datetime  # the instant of the file
    maker: str


class Order(msgspec.Struct, frozen=True):
    """One payment to one payee. What the bank is told derives from this alone."""

    batch: str
    end_to_end_id: str
    payee: str  # a merchant, agent/ID; of a sweep own/income, own/advances
    currency: str
    cycle: str  # T+n, M+n; empty: a sweep
    sequence: int  # of (payout date, cycle, payee, currency), from 1
    amount_minor: int  # what the payee receives
    fee_minor: int  # of an advance; the payable falls by both
    through: date  # the last business date that it pays
    creditor_name: str
    creditor_account: str
    creditor_bank: str
    replaces: str = ""  # the returned order whose money it sends again


class Decision(msgspec.Struct, frozen=True):
    """What became of a batch; the first decision stands."""

    batch: str
    decision: Literal["released", "withdrawn"]
    operator: str
    business_date: date  # of the entries
    proposal: str = ""
    generation: int = -1  # the commit that it stands in; given by the store


class OrderEvent(msgspec.Struct, frozen=True):
    """What the bank did with an order. At most one of each kind; rejected and confirmed exclude
    each other, returned comes after confirmed. Received: the statement of our account that a sweep
    goes to shows it; that ends nothing, the paying account's statement does."""

    end_to_end_id: str
    kind: Literal["confirmed", "received", "returned", "rejected"]
    business_date: date  # of the entry
    account: str  # where it was told: statement line, or proposal
    statement: str
    line: int
    reason: str = ""


class RollingReserve(msgspec.Struct, frozen=True, order=True):
    """A date's part that a merchant's contract keeps back, and its release. Never both of zero."""

    business_date: date  # whose sales it is of
    merchant: str
    currency: str
    kind: Literal["withheld", "released"]
    amount_minor: int
    release_on: date


class PayoutFile(msgspec.Struct, frozen=True):
    batch: str
    name: str
    sha256: str
    size: int


class PayoutReport(msgspec.Struct, frozen=True):
    """A bank's report of one file of ours (pain.002), taken in once."""

    account: str  # that pays the batch: banks number their messages themselves
    id: str
    batch: str
    made_at: datetime  # the bank's
    orders: int  # it says something of so many
    sha256: str  # of the document, hex


class OrderStatus(msgspec.Struct, frozen=True):
    """What a report says of an order. It is the bank's word; money is what statements show."""

    account: str
    report: str
    line: int  # of the document
    end_to_end_id: str
    status: str  # a code of `pain002.STATUSES`
    reason: str = ""
    text: str = ""
    disagrees: str = ""  # what of ours it contradicts; then it moved nothing


# -- bank statements ------------------------------------------------------------------------------


class Statement(msgspec.Struct, frozen=True):
    """A statement of one of our accounts, as the bank closed it."""

    account: str  # name of the bank account
    id: str
    sequence: int | None  # of the bank's, where it numbers them
    first: date
    last: date
    currency: str
    opening_minor: int
    closing_minor: int
    lines: int
    sha256: str  # over what it says, hex
    business_date: date = date.min  # on which its entries stand; given at intake


class StatementLine(msgspec.Struct, frozen=True):
    """A booked movement. Credits of the account are plus, debits minus."""

    account: str
    statement: str
    line: int  # from 1
    booked_on: date
    value_on: date
    currency: str
    amount_minor: int
    end_to_end_id: str = ""
    batch: str = ""  # message or payment information id of a batch that was booked as one
    reference: str = ""  # the bank's
    counterparty: str = ""  # account number
    counterparty_name: str = ""
    text: str = ""
    return_reason: str = ""  # a code of ISO 20022 or the bank's: the line gives a payment back

    @property
    def key(self) -> str:
        return f"{self.account}/{self.statement}/{self.line}"


class LineMatch(msgspec.Struct, frozen=True):
    """What a line is, by which rule. A line is matched once; until then it is open."""

    account: str
    statement: str
    line: int
    rule: str
    rule_version: int
    kind: Literal["payout", "return", "receivable", "own"]
    objects: tuple[str, ...]  # end-to-end ids, or acquirer/settlement date
    business_date: date


class StatementFile(msgspec.Struct, frozen=True):
    """A statement, or report of payouts, as it came, sealed; it may hold several statements."""

    sha256: str
    name: str
    sealed: bytes


# -- dates ----------------------------------------------------------------------------------------


class DateState(msgspec.Struct, frozen=True, order=True):
    """A state that a posted date has reached; each once.

    withheld   rolling reserves of its sales are taken
    funded     no receivable that it moved is open: the networks' money is in the bank
    paid       nothing that its merchants can be paid is left without a released order
    confirmed  every order that pays it has come to its end at the bank
    """

    business_date: date
    state: Literal["withheld", "funded", "paid", "confirmed"]
    generation: int = -1  # the commit that found it; given by the store


class ReserveTerm(msgspec.Struct, frozen=True):
    """One term of the reserve check, in one currency."""

    side: Literal["bank", "assets", "liabilities"]
    term: str
    amount_minor: int  # as it counts on its side


class ReserveCheck(msgspec.Struct, frozen=True):
    business_date: date
    currency: str
    terms: tuple[ReserveTerm, ...]
    bank_difference_minor: int  # statements less the reserve account
    cover_difference_minor: int  # assets less liabilities


NEVER: Final = datetime.min.replace(tzinfo=UTC)


class Facts(msgspec.Struct, frozen=True):
    """All that one act adds, or nothing of it."""

    generation: int  # that the act has read
    act: str
    subject: str = ""
    actor: str = ""  # operator; given by the desk
    at: datetime = NEVER  # given by the desk
    batches: Sequence[Batch] = ()
    orders: Sequence[Order] = ()
    decisions: Sequence[Decision] = ()
    events: Sequence[OrderEvent] = ()
    reserves: Sequence[RollingReserve] = ()
    files: Sequence[PayoutFile] = ()
    reports: Sequence[PayoutReport] = ()
    statuses: Sequence[OrderStatus] = ()
    statements: Sequence[Statement] = ()
    lines: Sequence[StatementLine] = ()
    matches: Sequence[LineMatch] = ()
    statement_files: Sequence[StatementFile] = ()
    states: Sequence[DateState] = ()
    checks: Sequence[ReserveCheck] = ()
    breaks: Sequence[Break] = ()
    resolutions: Sequence[Resolution] = ()
    entries: Sequence[Entry] = ()
    approval: Approval | None = None


class StaleError(Exception):
    """Another act was committed since this one read."""


# -- what is read ---------------------------------------------------------------------------------


class Payable(msgspec.Struct, frozen=True, order=True):
    """What the ledger owes one payee in one currency; plus is owed to him."""

    payee: str
    currency: str
    through_minor: int  # of business dates up to one, less all that was paid since
    total_minor: int
    held_minor: int
    reserve_minor: int


class Receivable(msgspec.Struct, frozen=True, order=True):
    """What a network owes for one settlement date; minus is owed to it."""

    acquirer: str
    settlement_date: date
    currency: str
    amount_minor: int

    @property
    def owner(self) -> str:
        return f"{self.acquirer}/{self.settlement_date.isoformat()}"


class Balance(msgspec.Struct, frozen=True, order=True):
    """Debit plus, credit minus."""

    account: str
    currency: str
    amount_minor: int


class Payouts(Protocol):
    """The append-only facts above. Every read is totally ordered."""

    async def generation(self) -> int: ...

    async def commit(self, facts: Facts) -> None:
        """The facts, the entries, the record in the audit log, the approval's use: all or nothing.

        Raises `StaleError`, also where the date of entries, breaks or statements was closed since;
        `RefusedError` where the approval is used; and what the ledger raises.
        """

    async def open_date(self) -> date:
        """The earliest business date that takes entries."""

    async def references(self, kinds: Collection[str]) -> list[Reference]: ...

    async def posted(self) -> list[date]:
        """Business dates whose nets stand, in order."""

    async def nets(self, business_date: date) -> list[Net]: ...

    async def payables(self, through: date) -> list[Payable]:
        """`through` is a closed date, or earlier than all."""

    async def receivables(self) -> list[Receivable]:
        """Those that are not zero."""

    async def receivables_moved(self, business_date: date) -> list[str]:
        """Owners (acquirer/settlement date) of the receivables that moved on a closed date."""

    async def balances(self, through: date) -> list[Balance]: ...

    async def batches(self, payout_date: date | None = None) -> list[Batch]: ...

    async def orders(self, batches: Collection[str] | None = None) -> list[Order]:
        """Of these batches, or all."""

    async def open_orders(self) -> list[Order]:
        """Of batches without a decision, and released ones that have not ended."""

    async def returned_orders(self) -> list[Order]:
        """Returned or rejected, and not replaced by an order that stands. Not sweeps: their money
        is own money in the reserve again, for the next sweep."""

    async def orders_by_id(self, end_to_end_ids: Collection[str]) -> dict[str, Order]: ...

    async def decisions(self, batches: Collection[str] | None = None) -> list[Decision]: ...

    async def events(self, end_to_end_ids: Collection[str]) -> list[OrderEvent]: ...

    async def reserves(self, release_by: date) -> list[RollingReserve]:
        """Withheld, to be released by then, and not released yet."""

    async def files(self, batches: Collection[str] | None = None) -> list[PayoutFile]: ...

    async def reports(self, batches: Collection[str] | None = None) -> list[PayoutReport]:
        """By (batch, made_at, account, id)."""

    async def statuses(self, end_to_end_ids: Collection[str]) -> list[OrderStatus]:
        """By (order, the bank's instant, report): the last of an order is what holds."""

    async def statements(self, account: str = "") -> list[Statement]:
        """By (account, first, last, sequence, id)."""

    async def lines(self, account: str, statement: str) -> list[StatementLine]: ...

    async def open_lines(self) -> list[StatementLine]:
        """Lines without a match."""

    async def matches(self, account: str, statement: str) -> list[LineMatch]: ...

    async def states(self, business_date: date | None = None) -> list[DateState]: ...

    async def checks(self, business_date: date) -> list[ReserveCheck]: ...

    async def standing_breaks(self, break_class: str) -> list[Break]:
        """Breaks of the class that no money has ended, whatever people made of their cases."""

    async def resolved(self, break_ids: Collection[str]) -> set[str]:
        """Those whose suspense was given back, or moved by people's work on the case."""
