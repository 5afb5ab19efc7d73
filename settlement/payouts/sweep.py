"""Own money leaves the reserve for an own-funds account: earned income, and what repays advances.

What may go is what funded dates have brought, less what it has to cover first (shorts, chargebacks,
merchants' minus: assets that are no money in the bank), less what went or is proposed already:

    income    = own income through the last funded date, at most that of today, less what is uncovered
    advances  = what the reserve owes own funds for T+0 through that date, at most that of today

It goes as a payout does: proposed, released by a second person, one order an end-to-end id, one file.
Nobody proposes while a sweep of the currency waits. Rules section 17, reference: own revenue leaves
the reserve only by a defined transfer.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final, Literal

import msgspec

from settlement.calendars import CalendarError, is_working_day
from settlement.chart import CHART
from settlement.contracts import KINDS, BankAccount, Contracts
from settlement.four_eyes import Proposal, require
from settlement.payouts.desk import Desk, PayoutError, tried
from settlement.payouts.due import funded_up_to
from settlement.payouts.orders import (
    SWEEP,
    Placed,
    batches,
    end_to_end_id,
    pending,
    proposal_of,
    sequences,
)
from settlement.payouts.ports import Balance, Batch, Facts, Order, Payouts
from settlement.reserve_terms import OWN, own_income

What = Literal["income", "advances"]
WHATS: Final[tuple[What, ...]] = ("income", "advances")
# assets of the reserve that are in the bank, or that funded dates have none of
COVERED: Final = frozenset({"bank_reserve", "payout_in_transit", "network_receivable"})


class Sweepable(msgspec.Struct, frozen=True, order=True):
    """Own money of one kind in the reserve, in one currency, minor units."""

    currency: str
    what: What
    through: date  # the last funded date
    standing_minor: int  # the whole balance
    funded_minor: int  # of dates up to `through`, less what went since
    uncovered_minor: int  # to be covered first; income only
    pending_minor: int  # proposed and not decided
    left_minor: int  # minus: more is proposed than there is

    @property
    def amount_minor(self) -> int:
        return max(0, self.left_minor)


# -- what may go ----------------------------------------------------------------------------------


async def sweepable(payouts: Payouts) -> list[Sweepable]:
    """By (currency, what); nothing while no date is funded."""
    funded = {one.business_date for one in await payouts.states() if one.state == "funded"}
    through = funded_up_to(await payouts.posted(), funded)
    if through == date.min:
        return []
    then = by_currency(await payouts.balances(through))
    now = by_currency(await payouts.balances(date.max))
    owed: dict[str, int] = {}
    for one in await payouts.payables(through):
        owed[one.currency] = owed.get(one.currency, 0) + max(0, -one.total_minor)
    went, waiting = await _moved(payouts, through)
    found: list[Sweepable] = []
    for currency, balances in sorted(now.items()):
        for what in WHATS:
            key = (currency, what)
            standing = _own(what, balances)
            earned = _own(what, then.get(currency, {})) - went.get(key, 0)
            uncovered = 0
            if what == "income":
                uncovered = _uncovered(balances) + owed.get(currency, 0)
            left = min(earned, standing) - uncovered - waiting.get(key, 0)
            found.append(
                Sweepable(
                    currency,
                    what,
                    through,
                    standing,
                    earned,
                    uncovered,
                    waiting.get(key, 0),
                    left,
                )
            )
    return [one for one in found if one.standing_minor or one.pending_minor]


def by_currency(balances: Iterable[Balance]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for one in balances:
        found.setdefault(one.currency, {})[one.account] = one.amount_minor
    return found


def _own(what: What, balances: Mapping[str, int]) -> int:
    return own_income(balances) if what == "income" else -balances.get("own_due", 0)


def _uncovered(balances: Mapping[str, int]) -> int:
    """What the reserve has laid out, and the bank does not hold."""
    return sum(
        max(0, balances.get(account.code, 0))
        for account in CHART.values()
        if account.kind == "asset" and account.code not in COVERED | OWN
    )


async def _moved(
    payouts: Payouts, through: date
) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], int]]:
    """By (currency, what): what went on dates after `through` and did not come back; what waits."""
    made = [batch.id for batch in await payouts.batches() if batch.kind == "sweep"]
    decided = {one.batch: one for one in await payouts.decisions(made)}
    orders = await payouts.orders(made)
    went: dict[tuple[str, str], int] = {}
    waiting: dict[tuple[str, str], int] = {}

    def add(to: dict[tuple[str, str], int], order: Order, sign: int) -> None:
        key = (order.currency, order.payee.partition("/")[2])
        to[key] = to.get(key, 0) + sign * order.amount_minor

    for order in orders:
        decision = decided.get(order.batch)
        if decision is None:
            add(waiting, order, 1)
        elif decision.decision == "released" and decision.business_date > through:
            add(went, order, 1)
    by_id = {order.end_to_end_id: order for order in orders}
    for event in await payouts.events(by_id):
        if event.kind in ("returned", "rejected") and event.business_date > through:
            add(went, by_id[event.end_to_end_id], -1)
    return went, waiting


# -- propose --------------------------------------------------------------------------------------


async def sweep(
    desk: Desk,
    payout_date: date,
    *,
    currency: str = "",
    what: str = "",
    amount_minor: int | None = None,
    to: str = "",
) -> list[tuple[Batch, Proposal]]:
    """Batches of what may go (of one currency, of one kind, of a part), each with its proposal. One
    that waits already is told again, and none is made beside it.

    `to`: name of the own-funds account; without it there must be one of the currency. Raises
    `PayoutError`; `RefusedError` where the desk's actor may not propose.
    """
    require(desk.actor, f"propose:{SWEEP}")

    async def once() -> None:
        await _sweep_once(desk, payout_date, currency, what, amount_minor, to)

    await tried(once)
    return [
        (batch, await proposal_of(desk, batch))
        for batch in await pending(desk.payouts)
        if batch.kind == "sweep" and currency in ("", batch.currency)
    ]


async def _sweep_once(
    desk: Desk, payout_date: date, currency: str, what: str, amount_minor: int | None, to: str
) -> None:
    payouts = desk.payouts
    generation = await payouts.generation()
    waiting = {
        one.currency
        for one in await pending(payouts)
        if one.kind == "sweep" and currency in ("", one.currency)
    }
    found = [
        one
        for one in await sweepable(payouts)
        if currency in ("", one.currency)
        and what in ("", one.what)
        and one.amount_minor
        and one.currency not in waiting
    ]
    if amount_minor is not None and (found or not waiting):
        found = [_part(found, amount_minor)]
    contracts = Contracts(await payouts.references(KINDS), payout_date)
    known = await payouts.batches(payout_date)
    used = sequences(await payouts.orders([batch.id for batch in known]))
    made = []
    for one in found:
        amount = one.amount_minor if amount_minor is None else amount_minor
        made.append(_placed(contracts, one, amount, used, payout_date, to))
    new, orders = batches(desk, payout_date, made, len(known))
    if new:
        await desk.commit(Facts(generation, "reserve.sweep.propose", batches=new, orders=orders))


def _part(found: list[Sweepable], amount_minor: int) -> Sweepable:
    if len(found) != 1:
        if not found:
            raise PayoutError("sweep_nothing")
        several = ", ".join(f"{one.currency} {one.what}" for one in found)
        raise PayoutError("sweep_part_of", several=several)
    if not 0 < amount_minor <= found[0].amount_minor:
        raise PayoutError("sweep_most", most=found[0].amount_minor, asked=amount_minor)
    return found[0]


def _placed(
    contracts: Contracts,
    one: Sweepable,
    amount_minor: int,
    used: dict[tuple[str, str, str], int],
    payout_date: date,
    to: str,
) -> Placed:
    payee = f"own/{one.what}"
    debtor, creditor = _accounts(contracts, one.currency, payout_date, to)
    key = ("", payee, one.currency)
    used[key] = sequence = used.get(key, 0) + 1
    order = Order(
        batch="",
        end_to_end_id=end_to_end_id(payout_date, "", payee, one.currency, sequence),
        payee=payee,
        currency=one.currency,
        cycle="",
        sequence=sequence,
        amount_minor=amount_minor,
        fee_minor=0,
        through=one.through,
        creditor_name=creditor.holder,
        creditor_account=creditor.account,
        creditor_bank=creditor.bank,
    )
    return Placed(debtor, "sweep", order)


def _accounts(
    contracts: Contracts, currency: str, payout_date: date, to: str
) -> tuple[BankAccount, BankAccount]:
    """Ours that pays, and ours that receives."""
    ours = [one for _, one in sorted(contracts.accounts.items()) if one.currency == currency]
    debtor = next((one for one in ours if one.purpose == "reserve"), None)
    owns = [one for one in ours if one.purpose == "own" and to in ("", one.name)]
    if debtor is None or len(owns) != 1:
        names = ", ".join(one.name for one in owns) or "none"
        raise PayoutError("sweep_accounts", currency=currency, names=names)
    for account in (debtor, owns[0]):
        calendar = contracts.calendars.get(account.calendar)
        try:
            working = calendar is None or is_working_day([calendar], payout_date)
        except CalendarError as error:
            raise PayoutError(error.said) from error
        if not working:
            raise PayoutError("sweep_day", account=account.name, date=payout_date)
    return debtor, owns[0]


# -- release --------------------------------------------------------------------------------------


async def assert_sweepable(payouts: Payouts, batch: Batch, orders: list[Order]) -> None:
    """At the release: the money is still there, and the account still ours. Raises `PayoutError`."""
    left = {(one.currency, one.what): one.left_minor for one in await sweepable(payouts)}
    contracts = Contracts(await payouts.references(KINDS), batch.payout_date)
    ours = {
        (one.holder, one.account, one.bank, one.currency)
        for one in contracts.accounts.values()
        if one.purpose == "own"
    }
    for order in orders:
        # the order itself is among what is pending
        what: What = "income" if order.payee == "own/income" else "advances"
        if left.get((order.currency, what), -1) < 0:
            raise PayoutError("payout_less", order=order.end_to_end_id, payee=order.payee)
        creditor = (order.creditor_name, order.creditor_account, order.creditor_bank)
        if (*creditor, order.currency) not in ours:
            raise PayoutError("sweep_account", order=order.end_to_end_id)
