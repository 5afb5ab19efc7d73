"""The third leg of reconciliation: the bank's credits against what the networks owe.

A network pays what a settlement date came to, net of its fees, by a credit on our
account; a minus it collects by a debit. Lines of the bank's statements meet the open receivables,
which the ledger keeps by (acquirer, settlement date). Rules run in order over what is left:

    rule           a line of an acquirer's payer meets
    credit-named   the dates that its reference names (YYYYMMDD), all of them open, whatever they sum to
    credit-date    the oldest open date of exactly its amount
    credit-run     the only run of consecutive open dates that sums to it
    credit-parts   with others, the only choice of lines that sums to one open date

A named date whose amount differs is settled with a break over the difference. A line that meets
nothing, and a receivable whose money is overdue, are breaks.
"""

import re
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Final

import msgspec

from settlement.cases import Break
from settlement.sums import MEMBERS_MAX, cover

RUN_MAX: Final = 31  # consecutive dates that one credit may settle
FUNDING_RULES: Final = {
    "credit-named": 1,
    "credit-date": 1,
    "credit-run": 1,
    "credit-parts": 1,
}


class StatementLine(msgspec.Struct, frozen=True):
    """One booked entry of a bank statement."""

    id: str  # names it within all statements: account, statement, entry
    account: str
    date: date  # of booking
    amount_minor: int  # credit plus, debit minus
    currency: str
    reference: str  # remittance information, as the bank gave it


class Receivable(msgspec.Struct, frozen=True):
    """What a network still owes for a settlement date, net of its fees; a minus is owed to it."""

    acquirer: str
    settlement_date: date
    currency: str
    amount_minor: int


class Payer(msgspec.Struct, frozen=True):
    """How the lines of an acquirer are known: our account, and a text within the reference."""

    acquirer: str
    account: str
    text: str


class Funding(msgspec.Struct, frozen=True):
    """Lines of the statement and the receivables they settle: one with several, or several with one."""

    acquirer: str
    currency: str
    rule: str
    rule_version: int
    lines: tuple[str, ...]  # ids
    settlement_dates: tuple[date, ...]
    received_minor: int
    owed_minor: int


class BankLeg(msgspec.Struct, frozen=True):
    """What came of lines and receivables. Every one of both sides stands once: settled in
    `fundings`, in a break alone, waiting, or (a line) somebody else's."""

    fundings: list[Funding]
    breaks: list[Break]
    waiting: list[Receivable]  # not due yet
    foreign: list[str]  # lines that no acquirer's payer sent: payouts, own money


def bank_leg(
    business_date: date,
    lines: Sequence[StatementLine],
    receivables: Sequence[Receivable],
    payers: Sequence[Payer],
    due: Callable[[Receivable], date],
) -> BankLeg:
    """Settle open receivables with unsettled lines. `due` says on which date the money is to be on
    the account; a receivable is overdue on the dates after it."""
    assert len({line.id for line in lines}) == len(lines), "a line stands twice"
    owner = {line.id: _payer(line, payers) for line in lines}
    fundings: list[Funding] = []
    breaks: list[Break] = []
    waiting: list[Receivable] = []
    sides = {(owner[line.id], line.currency) for line in lines if owner[line.id]}
    sides |= {(one.acquirer, one.currency) for one in receivables}
    for acquirer, currency in sorted(sides):
        sheet = _Sheet(
            acquirer,
            currency,
            sorted(
                (x for x in lines if (owner[x.id], x.currency) == (acquirer, currency)),
                key=lambda line: (line.date, line.amount_minor, line.reference, line.id),
            ),
            {
                one.settlement_date: one.amount_minor
                for one in receivables
                if (one.acquirer, one.currency) == (acquirer, currency) and one.amount_minor
            },
        )
        for step in (_named, _dates, _runs, _parts):
            step(sheet)
        fundings += sheet.fundings
        breaks += [_difference(business_date, one) for one in sheet.fundings if _differs(one)]
        breaks += [_unmatched(business_date, acquirer, line) for line in sheet.lines]
        for day, amount_minor in sorted(sheet.owed.items()):
            one = Receivable(acquirer, day, currency, amount_minor)
            if due(one) < business_date:
                breaks.append(_missing(business_date, one))
            else:
                waiting.append(one)
    return BankLeg(fundings, breaks, waiting, sorted(i for i, name in owner.items() if not name))


def _payer(line: StatementLine, payers: Sequence[Payer]) -> str:
    """The acquirer that the line is of; "" where it is nobody's, or two acquirers' text fits."""
    found = {p.acquirer for p in payers if p.account == line.account and p.text in line.reference}
    return found.pop() if len(found) == 1 else ""


class _Sheet(msgspec.Struct):
    """One acquirer's lines and dates of one currency, and what has become of them."""

    acquirer: str
    currency: str
    lines: list[StatementLine]  # left, in order of content
    owed: dict[date, int]  # left
    fundings: list[Funding] = []

    def settle(self, rule: str, lines: Sequence[StatementLine], days: Sequence[date]) -> None:
        self.fundings.append(
            Funding(
                self.acquirer,
                self.currency,
                rule,
                FUNDING_RULES[rule],
                tuple(line.id for line in lines),
                tuple(days),
                sum(line.amount_minor for line in lines),
                sum(self.owed.pop(day) for day in days),
            )
        )
        taken = {line.id for line in lines}
        self.lines = [line for line in self.lines if line.id not in taken]


def _named(sheet: _Sheet) -> None:
    for line in sheet.lines:
        named = set(re.findall(r"\d+", line.reference))
        days = [day for day in sorted(sheet.owed) if f"{day:%Y%m%d}" in named]
        if days:
            sheet.settle("credit-named", [line], days)


def _dates(sheet: _Sheet) -> None:
    for line in sheet.lines:
        for day in sorted(sheet.owed):
            if sheet.owed[day] == line.amount_minor and day <= line.date:
                sheet.settle("credit-date", [line], [day])
                break


def _runs(sheet: _Sheet) -> None:
    for line in sheet.lines:
        days = [day for day in sorted(sheet.owed) if day <= line.date]
        runs = [
            days[first:last]
            for first in range(len(days))
            for last in range(first + 2, min(first + RUN_MAX, len(days)) + 1)
            if sum(sheet.owed[day] for day in days[first:last]) == line.amount_minor
        ]
        if len(runs) == 1:
            sheet.settle("credit-run", [line], runs[0])


def _parts(sheet: _Sheet) -> None:
    for day in sorted(sheet.owed):
        near = [line for line in sheet.lines if day <= line.date <= day + timedelta(days=RUN_MAX)]
        if len(near) > MEMBERS_MAX:
            continue
        chosen = cover(sheet.owed[day], [line.amount_minor for line in near])
        if chosen is not None and len(chosen) > 1:
            sheet.settle("credit-parts", [near[index] for index in chosen], [day])


def _differs(one: Funding) -> bool:
    return one.received_minor != one.owed_minor


def _difference(business_date: date, one: Funding) -> Break:
    return _bank_break(
        business_date,
        "bank_mismatch",
        one.acquirer,
        one.currency,
        {
            "lines": " ".join(one.lines),
            "dates": " ".join(map(date.isoformat, one.settlement_dates)),
        },
        one.owed_minor,
        one.received_minor,
        one.settlement_dates[-1],
        f"{one.rule}/{one.rule_version}",
    )


def _unmatched(business_date: date, acquirer: str, line: StatementLine) -> Break:
    keys = {"line": line.id, "date": line.date.isoformat(), "reference": line.reference}
    return _bank_break(
        business_date,
        "statement_unmatched",
        acquirer,
        line.currency,
        keys,
        None,
        line.amount_minor,
        None,
        "",
    )


def _missing(business_date: date, one: Receivable) -> Break:
    return _bank_break(
        business_date,
        "bank_missing",
        one.acquirer,
        one.currency,
        {"date": one.settlement_date.isoformat()},
        one.amount_minor,
        None,
        one.settlement_date,
        "",
    )


def _bank_break(
    business_date: date,
    found: str,
    acquirer: str,
    currency: str,
    keys: dict[str, str],
    ours_minor: int | None,
    theirs_minor: int | None,
    settlement_date: date | None,
    rule: str,
) -> Break:
    return Break(
        id="",
        business_date=business_date,
        break_class=found,
        acquirer=acquirer,
        currency=currency,
        keys=keys,
        ours_minor=ours_minor,
        theirs_minor=theirs_minor,
        evidence={"rule": rule} if rule else {},
        step="statement",
        settlement_date=settlement_date,
        difference_minor=(theirs_minor or 0) - (ours_minor or 0),
    )
