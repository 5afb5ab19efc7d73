"""The daily check of customers' money (备付金): is it all there, and nothing else.

    bank          closing balances of the statements           =  the reserve account of the books
    assets        reserve, receivables, what is under way      =  what is owed out of them, with our
                  ...                                             own income not yet swept

Own funds stand outside both sides: the own-funds account, what it advanced, and the funds it has.
Since the ledger as a whole sums to zero, the second line holds as long as every entry keeps the
two apart; an advance paid out of customers' money, or own costs paid from it, shows at once.
Rules section 17. A difference is a case.
"""

from collections.abc import Iterable
from datetime import date
from typing import Final

from settlement.cases import Break
from settlement.chart import CHART
from settlement.contracts import KINDS, Contracts
from settlement.four_eyes import require
from settlement.payouts.desk import TRIES, Desk, PayoutError
from settlement.payouts.ports import (
    Balance,
    Facts,
    Payouts,
    ReserveCheck,
    ReserveTerm,
    StaleError,
    Statement,
)
from settlement.reserve_terms import OWN, own_income

STEP: Final = "reserve"
CHECK: Final = "reserve.check"
OWN_INCOME: Final = "own_income"  # the term of all income and expense accounts together


async def reserve_check(desk: Desk, business_date: date) -> list[ReserveCheck]:
    """The check of a closed date, by currency; recorded once, with a case for each difference.

    Raises `PayoutError` where the date is not closed: its figures may still change.
    """
    require(desk.actor, f"do:{CHECK}")
    for _ in range(TRIES):
        known = await desk.payouts.checks(business_date)
        if known:
            return known
        generation = await desk.payouts.generation()
        if business_date not in await desk.payouts.posted():
            raise PayoutError("date_not_ended", date=business_date)
        found = await checks_of(desk.payouts, business_date)
        book_date = await desk.payouts.open_date()
        made = Facts(
            generation,
            CHECK,
            subject=business_date.isoformat(),
            checks=found,
            breaks=[one for check in found for one in cases(check, book_date)],
        )
        try:
            await desk.commit(made)
        except StaleError:
            continue
        return found
    raise PayoutError("books_change")


async def reserve_statements(payouts: Payouts, business_date: date) -> list[Statement]:
    """The last statement of each reserve account whose entries stand by then."""
    accounts = Contracts(await payouts.references(KINDS), business_date).accounts
    last: dict[str, Statement] = {}
    for one in await payouts.statements():
        account = accounts.get(one.account)
        if one.business_date <= business_date and account and account.purpose == "reserve":
            last[one.account] = one
    return [last[name] for name in sorted(last)]


async def checks_of(payouts: Payouts, business_date: date) -> list[ReserveCheck]:
    """What the check of a posted date comes to, whenever it is asked: later dates add nothing to it."""
    return checks(
        business_date,
        await payouts.balances(business_date),
        await reserve_statements(payouts, business_date),
    )


def checks(
    business_date: date, balances: Iterable[Balance], statements: Iterable[Statement]
) -> list[ReserveCheck]:
    """One check a currency that has a balance or a statement."""
    by_currency: dict[str, dict[str, int]] = {}
    for one in balances:
        by_currency.setdefault(one.currency, {})[one.account] = one.amount_minor
    banks: dict[str, list[Statement]] = {}
    for statement in statements:
        banks.setdefault(statement.currency, []).append(statement)
    return [
        _check(business_date, currency, by_currency.get(currency, {}), banks.get(currency, []))
        for currency in sorted(by_currency.keys() | banks.keys())
    ]


def _check(
    business_date: date, currency: str, balances: dict[str, int], statements: list[Statement]
) -> ReserveCheck:
    terms = [
        ReserveTerm("bank", f"{one.account}/{one.id}", one.closing_minor) for one in statements
    ]
    for account in CHART.values():
        balance = balances.get(account.code, 0)
        if account.code in OWN or account.kind in ("income", "expense"):
            continue
        if account.kind == "asset":
            terms.append(ReserveTerm("assets", account.code, balance))
        else:
            terms.append(ReserveTerm("liabilities", account.code, -balance))
    terms.append(ReserveTerm("liabilities", OWN_INCOME, own_income(balances)))
    total = {"bank": 0, "assets": 0, "liabilities": 0}
    for term in terms:
        total[term.side] += term.amount_minor
    return ReserveCheck(
        business_date,
        currency,
        tuple(terms),
        bank_difference_minor=total["bank"] - balances.get("bank_reserve", 0),
        cover_difference_minor=total["assets"] - total["liabilities"],
    )


def cases(check: ReserveCheck, book_date: date) -> list[Break]:
    differences = {
        "bank": check.bank_difference_minor,
        "cover": check.cover_difference_minor,
    }
    return [
        Break(
            id=f"{check.business_date:%Y%m%d}-B{check.currency}-{what}",
            business_date=book_date,
            break_class="reserve_difference",
            acquirer="",
            currency=check.currency,
            keys={"checked": check.business_date.isoformat(), "what": what},
            ours_minor=None,
            theirs_minor=None,
            evidence={"difference_minor": str(difference)},
            step=STEP,
            settlement_date=check.business_date,
        )
        for what, difference in differences.items()
        if difference
    ]
