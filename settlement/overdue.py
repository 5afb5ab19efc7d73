"""The networks' money that never came: a receivable with no credit of the bank by its due date.

A network pays a settlement date T+n, in working days of the calendar that its link names, else of
our reserve account; where neither says, every day counts, since an alarm too early is better than
none. After the tolerance (`settlement.overdue_days`, working days) what is still owed to us is a
break that moves no money: it stands on its receivable, no payout of that date is released, and
people ask the network. It ends when nothing is owed any more: a statement's line has settled the
receivable, or two people have written it off.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Final

import msgspec

from settlement.calendars import CalendarError, add_working_days
from settlement.cases import CASES, Break, Resolution
from settlement.casework.ports import Owed
from settlement.contracts import Contracts
from settlement.funding import may_be_part
from settlement.payouts.ports import Receivable, Statement, StatementLine
from settlement.statements import NO_PAYERS, OVERDUE, case_id

STEP: Final = "funding"

Key = tuple[str, str, date]  # acquirer, currency, settlement date


class Overdue(msgspec.Struct, frozen=True):
    """A receivable that is late."""

    receivable: Receivable
    due_on: date
    calendar: str  # whose working days were counted; empty: every day


def overdue(
    contracts: Contracts, receivables: Iterable[Receivable], today: date, tolerance_days: int
) -> list[Overdue]:
    """Those that are owed to us and late on `today`, sorted."""
    return [
        Overdue(one, due_on, calendar)
        for one in sorted(receivables)
        if one.amount_minor > 0
        for due_on, calendar in [_working_days(contracts, one, 0)]
        if _working_days(contracts, one, tolerance_days)[0] < today
    ]


def _working_days(contracts: Contracts, one: Receivable, more: int) -> tuple[date, str]:
    """When it is due, and so many working days `more`; by which calendar."""
    terms = contracts.terms(one.acquirer)
    count = terms.settlement_days + more
    name = terms.settlement_calendar or contracts.reserve_calendar(one.currency)
    try:
        if name in contracts.calendars:
            return add_working_days([contracts.calendars[name]], one.settlement_date, count), name
    except CalendarError:
        pass  # a year that nobody has told us
    return one.settlement_date + timedelta(days=count), ""


def changes(
    late: Iterable[Overdue],
    receivables: Iterable[Receivable],
    standing: Iterable[Break],
    statements: Iterable[Statement],
    *,
    act: int,
    book_date: date,
    tolerance_days: int,
    lines: Iterable[StatementLine] = (),
    payers: Mapping[str, str] = NO_PAYERS,
) -> tuple[list[Break], list[Resolution]]:
    """Breaks that are new, and the ends of those whose money has come.

    `standing`: breaks of this class without an end; `act`: number of the commit, of which their ids
    are made; `lines`: those that nothing explains. One that may be a part of what is late is named.
    """
    known = {_key_of(one): one for one in standing}
    owed: dict[Key, int] = {
        (one.acquirer, one.currency, one.settlement_date): one.amount_minor for one in receivables
    }
    through: dict[str, date] = {}
    for statement in statements:
        last = through.get(statement.currency, statement.last)
        through[statement.currency] = max(last, statement.last)
    new = [
        one
        for one in late
        if (one.receivable.acquirer, one.receivable.currency, one.receivable.settlement_date)
        not in known
    ]
    lines = list(lines)
    breaks = [
        _break(
            one,
            f"{book_date:%Y%m%d}-W{act:06d}{number:02d}",
            book_date,
            tolerance_days,
            through,
            [case_id(line) for line in lines if may_be_part(line, one.receivable, payers)],
        )
        for number, one in enumerate(new, 1)
    ]
    ends = [
        Resolution(one.id, book_date, "nothing is owed any more", one.settlement_date)
        for key, one in sorted(known.items())
        if owed.get(key, 0) <= 0 and one.settlement_date is not None
    ]
    return breaks, ends


def owed_of(found: Break, receivables: Iterable[Receivable], generation: int) -> Owed:
    """What is owed now of what an overdue break is about."""
    wanted = _key_of(found)
    amount = sum(
        one.amount_minor
        for one in receivables
        if (one.acquirer, one.currency, one.settlement_date) == wanted
    )
    return Owed(amount, generation)


def _key_of(one: Break) -> Key:
    assert one.settlement_date is not None, one.id
    return (one.acquirer, one.currency, one.settlement_date)


def _break(
    one: Overdue,
    break_id: str,
    book_date: date,
    tolerance_days: int,
    through: Mapping[str, date],
    parts: Sequence[str],
) -> Break:
    of = one.receivable
    seen = through.get(of.currency)
    return Break(
        id=break_id,
        business_date=book_date,
        break_class=OVERDUE,
        acquirer=of.acquirer,
        currency=of.currency,
        keys={"settlement_date": of.settlement_date.isoformat(), "due_on": one.due_on.isoformat()},
        ours_minor=of.amount_minor,
        theirs_minor=0,
        evidence={
            "calendar": one.calendar,
            "tolerance_days": str(tolerance_days),
            "statements_through": seen.isoformat() if seen is not None else "",
            **({CASES: " ".join(parts)} if parts else {}),
        },
        step=STEP,
        settlement_date=of.settlement_date,
    )
