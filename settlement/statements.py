"""Bank statements come in: sealed, parsed whole or refused whole, each line explained or a case.

Every line moves the account's mirror in the ledger, so the mirror is the bank's balance as long as
no statement is missing. What no rule explains stands in suspense with a case; when a later
statement, close or payout explains it, the suspense goes back and the case ends.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Final, Literal

import msgspec

from settlement.cases import CASES, Break, Resolution
from settlement.contracts import KINDS, BankAccount, Contracts
from settlement.four_eyes import require
from settlement.funding import Explained, Known, explain, may_be_part
from settlement.iso20022 import camt053
from settlement.iso20022.pain001 import message_id
from settlement.ledger import Entry, entry
from settlement.payouts.desk import TRIES, Desk, PayoutError
from settlement.payouts.orders import order_entry
from settlement.payouts.ports import (
    Facts,
    LineMatch,
    OrderEvent,
    Payouts,
    Receivable,
    StaleError,
    Statement,
    StatementFile,
    StatementLine,
)
from settlement.ports import Pans

STEP: Final = "statement"
IMPORT: Final = "statement.import"
OVERDUE: Final = "receivable_overdue"


NO_PAYERS: Final[Mapping[str, str]] = {}


class Taken(msgspec.Struct, frozen=True):
    """What became of one statement."""

    statement: Statement
    state: Literal["taken_in", "known"]
    matched: int
    unmatched: int


class Gap(msgspec.Struct, frozen=True):
    """Between two statements of an account at least one is missing."""

    account: str
    after: str  # statement ids
    before: str
    missing_minor: int  # what the missing ones move
    missing: int | None  # how many, where the bank numbers them


def gaps(statements: Iterable[Statement]) -> list[Gap]:
    """Where opening balances or the bank's numbers do not go on from the statement before.

    `statements` are in the store's order. A bank may begin to number anew with a year: then the
    balances decide.
    """
    found: list[Gap] = []
    last: dict[str, Statement] = {}
    for one in statements:
        before = last.get(one.account)
        last[one.account] = one
        if before is None:
            continue
        missing = None
        if one.sequence is not None and before.sequence is not None:
            missing = max(0, one.sequence - before.sequence - 1)
        moved = one.opening_minor - before.closing_minor
        if moved or missing:
            found.append(Gap(one.account, before.id, one.id, moved, missing))
    return found


async def take_in(desk: Desk, name: str, data: bytes, pans: Pans) -> list[Taken]:
    """The document's statements, each in a commit of its own, so what was killed goes on.

    Raises `camt053.StatementError` for a document that can not be taken in, and where another
    statement stands under the same id.
    """
    require(desk.actor, f"do:{IMPORT}")
    sha256 = hashlib.sha256(data).hexdigest()
    references = await desk.payouts.references(KINDS)
    accounts = Contracts(references, desk.at.date())
    ours = {one.account: one.name for one in accounts.accounts.values()}
    parsed = camt053.parse(data, ours.get)
    sealed = StatementFile(sha256, name, pans.seal(data, f"statement/{sha256}"))
    ordered = sorted(parsed, key=lambda one: (one.statement.account, one.statement.first))
    return [await _take_in(desk, one, accounts, sealed) for one in ordered]


async def _take_in(
    desk: Desk, parsed: camt053.Parsed, contracts: Contracts, file: StatementFile
) -> Taken:
    for _ in range(TRIES):
        generation = await desk.payouts.generation()
        book_date = await desk.payouts.open_date()
        made = msgspec.structs.replace(parsed.statement, business_date=book_date)
        for stands in await desk.payouts.statements(made.account):
            if stands.id == made.id:
                if stands.sha256 != made.sha256:
                    raise camt053.StatementError(
                        "statement_other",
                        account=made.account,
                        statement=made.id,
                        stands=stands.sha256,
                        sha256=made.sha256,
                    )
                found = await desk.payouts.matches(made.account, made.id)
                return Taken(stands, "known", len(found), stands.lines - len(found))
        explained = await explained_lines(desk.payouts, contracts, parsed.lines, book_date)
        new = {line.key for line in parsed.lines}
        late = await desk.payouts.standing_breaks(OVERDUE)
        effects = effects_of(explained, new, contracts.accounts, book_date, late, contracts.payers)
        try:
            await desk.commit(
                Facts(
                    generation,
                    IMPORT,
                    subject=f"{made.account}/{made.id}",
                    statements=[made],
                    lines=parsed.lines,
                    statement_files=[file],
                    **msgspec.structs.asdict(effects),
                )
            )
        except StaleError:
            continue
        of_it = [one for one in explained if one.line.statement == made.id]
        matched = sum(one.match is not None for one in of_it)
        return Taken(made, "taken_in", matched, made.lines - matched)
    raise PayoutError("books_change")


async def explained_lines(
    payouts: Payouts, contracts: Contracts, new: Sequence[StatementLine], book_date: date
) -> list[Explained]:
    """New lines and those that are open since earlier, compared with what is known now."""
    waiting = await payouts.open_lines()
    ended = await payouts.resolved([case_id(line) for line in waiting])
    lines = [*(line for line in waiting if case_id(line) not in ended), *new]
    if not lines:
        return []
    batches = await payouts.batches()
    by_message = {message_id(batch.id): batch.id for batch in batches}
    named = {by_message[line.batch] for line in lines if line.batch in by_message}
    orders = await payouts.orders_by_id({line.end_to_end_id for line in lines} - {""})
    orders |= {order.end_to_end_id: order for order in await payouts.orders(named)}
    released = {
        one.batch
        for one in await payouts.decisions({order.batch for order in orders.values()})
        if one.decision == "released"
    }
    known = Known(
        accounts=contracts.accounts,
        payers=contracts.payers,
        orders={key: order for key, order in orders.items() if order.batch in released},
        batch_accounts={batch.id: batch.account for batch in batches if batch.id in released},
        events=await payouts.events(orders),
        receivables=await payouts.receivables(),
    )
    return explain(lines, known, book_date)


def case_id(line: StatementLine) -> str:
    """Derives from the line alone."""
    digest = hashlib.sha256(line.key.encode()).hexdigest()[:16]
    return f"{line.booked_on:%Y%m%d}-S{digest}"


# -- what explained lines add ---------------------------------------------------------------------


class Effects(msgspec.Struct):
    """What explained lines add to the commit of their act; fields are those of `Facts`."""

    matches: list[LineMatch] = []
    events: list[OrderEvent] = []
    breaks: list[Break] = []
    resolutions: list[Resolution] = []
    entries: list[Entry] = []


def effects_of(
    explained: Iterable[Explained],
    new: Collection[str],
    accounts: Mapping[str, BankAccount],
    book_date: date,
    late: Sequence[Break] = (),
    payers: Mapping[str, str] = NO_PAYERS,
) -> Effects:
    """`new`: keys of lines that come in now; the others stand in suspense since earlier. `late`: open
    breaks of receivables, which a line that nothing explains names where it may be a part of one."""
    effects = Effects()
    for one in explained:
        line, account = one.line, accounts[one.line.account]
        if one.match is None:
            if line.key in new:
                effects.breaks.append(_case(one, book_date, _parts_of(line, late, payers)))
                effects.entries.append(_suspense(line, account, book_date, back=False))
            continue
        if line.key not in new:
            effects.resolutions.append(
                Resolution(case_id(line), book_date, f"explained by {one.match.rule}", book_date)
            )
            effects.entries.append(_suspense(line, account, book_date, back=True))
        effects.matches.append(one.match)
        _settle(effects, one, account, book_date)
    return effects


def _settle(effects: Effects, one: Explained, account: BankAccount, book_date: date) -> None:
    line = one.line
    for order in one.orders:
        assert one.event
        effects.events.append(
            OrderEvent(
                order.end_to_end_id,
                one.event,
                book_date,
                line.account,
                line.statement,
                line.line,
                line.return_reason,
            )
        )
        kind: Literal["advance", "payout"] = "advance" if account.purpose == "own" else "payout"
        effects.entries.append(order_entry(kind, one.event, order, book_date, STEP))
    for receivable in one.receivables:
        key = f"{line.key}/{receivable.owner}"
        effects.entries.append(
            _bank_entry(
                "funded",
                "funded",
                key,
                line,
                receivable.amount_minor,
                book_date,
                acquirer=receivable.acquirer,
                settlement_date=receivable.settlement_date,
            )
        )
    if one.match is not None and one.match.kind == "own" and not one.orders:
        effects.entries.append(
            _bank_entry("own_movement", "bank", line.key, line, line.amount_minor, book_date)
        )


def _parts_of(line: StatementLine, late: Iterable[Break], payers: Mapping[str, str]) -> list[str]:
    return [
        one.id
        for one in late
        if one.settlement_date is not None
        and may_be_part(
            line,
            Receivable(one.acquirer, one.settlement_date, one.currency, one.ours_minor or 0),
            payers,
        )
    ]


def _case(one: Explained, book_date: date, late: Sequence[str]) -> Break:
    line = one.line
    return Break(
        id=case_id(line),
        business_date=book_date,
        break_class="statement_unmatched",
        acquirer="",
        currency=line.currency,
        keys={
            "account": line.account,
            "statement": line.statement,
            "line": str(line.line),
            "booked_on": line.booked_on.isoformat(),
            "end_to_end_id": line.end_to_end_id,
            "reference": line.reference,
        },
        ours_minor=None,
        theirs_minor=line.amount_minor,
        evidence={
            "why": one.why,
            "payer": line.counterparty_name,
            "text": line.text,
            **({CASES: " ".join(late)} if late else {}),
        },
        step=STEP,
        settlement_date=line.booked_on,
        difference_minor=line.amount_minor,
    )


def _suspense(line: StatementLine, account: BankAccount, book_date: date, *, back: bool) -> Entry:
    """A line without an explanation goes to suspense; `back` takes it out again."""
    rule = "bank_long" if line.amount_minor > 0 else "bank_short"
    if account.purpose == "own":
        rule = "own_movement"  # nothing of customers' is in doubt
    source, sign = ("bank_release", -1) if back else ("bank", 1)
    return _bank_entry(rule, source, line.key, line, sign * line.amount_minor, book_date)


def _bank_entry(
    rule: str,
    source: str,
    key: str,
    line: StatementLine,
    amount_minor: int,
    book_date: date,
    *,
    acquirer: str = "",
    settlement_date: date | None = None,
) -> Entry:
    made = entry(
        rule,
        source,
        key,
        {"amount": amount_minor},
        business_date=book_date,
        step=STEP,
        currency=line.currency,
        acquirer=acquirer,
        settlement_date=settlement_date or line.booked_on,
    )
    assert made is not None, line.key  # zero amounts make no line
    return made
