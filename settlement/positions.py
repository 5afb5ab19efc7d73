"""What each payee can be paid on a date, and why not more: pure, out of balances and contracts.

    due     = payable through the last due and funded business date, less all that was paid since,
              and never more than the whole balance (a chargeback of today counts at once)
    amount  = due, less what came back from the bank and waits for a new order
    a minus, or less than the contract's minimum, is carried: it stays in the balance

Holds and rolling reserves are not in the payable: they stand on accounts of their own.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final, Literal

import msgspec

from settlement.calendars import CalendarError, is_working_day
from settlement.contracts import BankAccount, Contract, Contracts, part_of
from settlement.netting import Net
from settlement.payouts.ports import Order, Payable, RollingReserve

Reason = Literal[
    "pay",  # an order can be made
    "minus",  # carried
    "minimum",  # carried: below the contract's minimum
    "nothing",
    "pending",  # in a batch that waits for its checker
    "returned",  # came back from the bank: `payout propose --replace`
    "not_due",
    "not_funded",
    "holiday",  # no working day of payee or bank
    "suspended",
    "no_account",  # no settlement account, or none of ours that may pay
    "no_calendar",
    "no_contract",
]
REASONS: Final[tuple[Reason, ...]] = Reason.__args__  # type: ignore[attr-defined]


class Position(msgspec.Struct, frozen=True, order=True):
    """One payee in one currency on one payout date. Amounts in minor units; plus is owed to him."""

    payout_date: date
    payee: str
    currency: str
    cycle: str
    through: date | None  # the last business date that is due and, but for T+0, funded
    payable_minor: int  # the whole balance
    held_minor: int
    reserve_minor: int
    returned_minor: int  # came back, waits for a new order
    pending_minor: int  # in batches that wait for a checker
    due_minor: int
    amount_minor: int  # of the order that can be made: 0 where there is none
    fee_minor: int  # of an advance, out of the due
    account: str  # ours that pays
    reason: Reason
    note: str = ""


class Due(msgspec.Struct, frozen=True):
    """Whom a contract pays on a date: through which business date, from where; or why not."""

    contract: Contract
    account: BankAccount | None
    through: date | None
    reason: Reason
    note: str = ""
    waits_for_funds: bool = False  # more were due, had the networks paid


def due(
    contracts: Contracts,
    payee: str,
    currency: str,
    payout_date: date,
    posted_through: date,
    funded_through: date,
) -> Due:
    """`posted_through`, `funded_through`: the last dates up to which all are posted, funded."""
    contract = contracts.payees.get(payee)
    if contract is None:
        return Due(Contract(payee), None, None, "no_contract")
    account = contracts.paying_account(contract, currency)
    if account is None or not (contract.settlement_account and contract.settlement_bank):
        return Due(contract, account, None, "no_account")
    try:
        calendars = contracts.calendars_of(contract, account)
        working = is_working_day(calendars, payout_date)
        latest = contract.last_due(calendars, payout_date)
    except CalendarError as error:
        return Due(contract, account, None, "no_calendar", str(error))
    through = min(latest, posted_through)
    waits = not contract.is_advance and funded_through < through
    if waits:
        through = funded_through
    if contract.status != "active":
        return Due(contract, account, through, "suspended")
    if not working:
        return Due(contract, account, through, "holiday")
    return Due(contract, account, through, "pay", waits_for_funds=waits)


def position(
    of: Due,
    payable: Payable,
    payout_date: date,
    returned: Iterable[Order],
    pending: Iterable[Order],
) -> Position:
    """`returned`, `pending`: the payee's orders in this currency of either kind."""
    waiting = list(pending)
    replaced = {order.replaces for order in waiting}
    pending_minor = sum(order.amount_minor + order.fee_minor for order in waiting)
    returned_minor = sum(
        order.amount_minor + order.fee_minor
        for order in returned
        if order.end_to_end_id not in replaced
    )
    due_minor = min(payable.through_minor, payable.total_minor) - pending_minor - returned_minor
    amount, fee, reason = 0, 0, of.reason
    if reason == "pay":
        reason = _judge(of, payable, due_minor, pending_minor, returned_minor)
    if reason == "pay":
        fee = part_of(due_minor, of.contract.advance_fee_rate) if of.contract.is_advance else 0
        amount = due_minor - fee
    return Position(
        payout_date=payout_date,
        payee=payable.payee,
        currency=payable.currency,
        cycle=of.contract.payout_cycle,
        through=None if of.through == date.min else of.through,  # nothing is funded yet
        payable_minor=payable.total_minor,
        held_minor=payable.held_minor,
        reserve_minor=payable.reserve_minor,
        returned_minor=returned_minor,
        pending_minor=pending_minor,
        due_minor=due_minor,
        amount_minor=amount,
        fee_minor=fee,
        account=of.account.name if of.account else "",
        reason=reason,
        note=of.note,
    )


def _judge(
    of: Due, payable: Payable, due_minor: int, pending_minor: int, returned_minor: int
) -> Reason:
    if due_minor >= max(1, of.contract.payout_minimum_minor):
        return "pay"
    if payable.total_minor < 0:
        return "minus"
    if due_minor > 0:
        return "minimum"
    if pending_minor:
        return "pending"
    if returned_minor:
        return "returned"
    if payable.total_minor == 0:
        return "nothing"
    return "not_funded" if of.waits_for_funds else "not_due"


# -- rolling reserve ------------------------------------------------------------------------------


def withheld(
    contracts: Contracts, nets: Iterable[Net], standing: Mapping[tuple[str, str], int]
) -> list[RollingReserve]:
    """What a date's sales add, by the contracts in force on it. `standing`: reserves by (merchant,
    currency) as they are, in minor units."""
    found: list[RollingReserve] = []
    for net in nets:
        contract = contracts.payees.get(net.merchant)
        if contract is None or not contract.reserve_rate:
            continue
        so_far = standing.get((net.merchant, net.currency), 0)
        amount = contract.withheld(net.gross_minor, net.net_minor, so_far)
        if amount:
            release_on = date.fromordinal(net.business_date.toordinal() + contract.reserve_days)
            found.append(
                RollingReserve(
                    net.business_date, net.merchant, net.currency, "withheld", amount, release_on
                )
            )
    return found
