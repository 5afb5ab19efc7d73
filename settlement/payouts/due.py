"""What every payee can be paid on a date: read, then judged by `positions`."""

from collections.abc import Collection, Iterable, Sequence
from datetime import date

import msgspec

from settlement.contracts import KINDS, BankAccount, Contracts
from settlement.payouts.ports import Order, Payable, Payouts
from settlement.positions import Position, due, position


class Payee(msgspec.Struct, frozen=True):
    """A payee's money in one currency, with what the contract says of it today."""

    position: Position
    creditor: tuple[str, str, str]  # name, account, bank
    debtor: BankAccount | None  # ours that pays


async def positions(payouts: Payouts, payout_date: date) -> list[Position]:
    """Every payee with a balance, and why he is paid what he is paid."""
    return [one.position for one in await payees(payouts, payout_date)]


async def payees(payouts: Payouts, payout_date: date) -> list[Payee]:
    contracts = Contracts(await payouts.references(KINDS), payout_date)
    posted = await payouts.posted()
    if not posted:
        return []
    funded = {one.business_date for one in await payouts.states() if one.state == "funded"}
    posted_through, funded_through = posted[-1], funded_up_to(posted, funded)
    open_orders = await payouts.open_orders()
    released = {
        one.batch for one in await payouts.decisions({order.batch for order in open_orders})
    }
    pending = _by_payee(order for order in open_orders if order.batch not in released)
    returned = _by_payee(await payouts.returned_orders())
    by_through: dict[date, dict[tuple[str, str], Payable]] = {}
    found: list[Payee] = []
    for all_of in await payouts.payables(posted_through):
        key = (all_of.payee, all_of.currency)
        of = due(contracts, *key, payout_date, posted_through, funded_through)
        through = of.through or posted_through
        if through not in by_through:
            by_through[through] = {
                (one.payee, one.currency): one for one in await payouts.payables(through)
            }
        found.append(
            Payee(
                position(
                    of,
                    by_through[through].get(key, all_of),
                    payout_date,
                    returned.get(key, ()),
                    pending.get(key, ()),
                ),
                (
                    of.contract.settlement_name or of.contract.name or all_of.payee,
                    of.contract.settlement_account,
                    of.contract.settlement_bank,
                ),
                of.account,
            )
        )
    return sorted(found, key=lambda one: one.position)


def funded_up_to(posted: Sequence[date], funded: Collection[date]) -> date:
    """The last of the dates, in order, before the first that is not funded; `date.min` for none."""
    last = date.min
    for day in posted:
        if day not in funded:
            break
        last = day
    return last


def _by_payee(orders: Iterable[Order]) -> dict[tuple[str, str], list[Order]]:
    found: dict[tuple[str, str], list[Order]] = {}
    for order in orders:
        found.setdefault((order.payee, order.currency), []).append(order)
    return found
