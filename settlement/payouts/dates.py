"""What a posted date comes to after its close: withheld, funded, paid, confirmed (rules section 16).

Every command that touches payouts first brings the dates on. What is found is a recorded state,
each once; a date that is confirmed needs nobody any more. Lines of statements that nothing
explained when they came are compared again, too: the close they were waiting for may have come.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final

import msgspec

from settlement.cases import Break
from settlement.clearing import Reference
from settlement.contracts import KINDS, Contracts, agent_of
from settlement.ledger import Entry, entry
from settlement.overdue import changes, overdue
from settlement.payouts.desk import TRIES, Desk, PayoutError
from settlement.payouts.orders import is_sweep
from settlement.payouts.ports import (
    DateState,
    Facts,
    Order,
    Payable,
    Payouts,
    RollingReserve,
    StaleError,
    StatementLine,
)
from settlement.positions import due, withheld
from settlement.statements import OVERDUE, case_id, effects_of, explained_lines

STEP: Final = "reserve"


async def bring_on(desk: Desk, payout_date: date) -> list[DateState]:
    """Everything that follows from the facts as they are; the states that were reached."""
    reached: list[DateState] = []
    tries = 0
    while tries < TRIES:
        try:
            facts = await _next(desk, payout_date)
            if facts is None:
                return reached
            await desk.commit(facts)
            reached += facts.states
            tries = 0
        except StaleError:
            tries += 1
    raise PayoutError("books_change")


async def _next(desk: Desk, payout_date: date) -> Facts | None:
    """The next commit that is due; None when all dates are where they belong."""
    generation = await desk.payouts.generation()
    references = await desk.payouts.references(KINDS)
    for find in (_withhold, _release, _explain, _overdue, _states):
        facts = await find(desk, payout_date, references)
        if facts is not None:
            return msgspec.structs.replace(facts, generation=generation)
    return None


# -- rolling reserves -----------------------------------------------------------------------------


async def _withhold(desk: Desk, _: date, references: list[Reference]) -> Facts | None:
    """Of the first posted date that has not been withheld from."""
    payouts = desk.payouts
    done = {one.business_date for one in await payouts.states() if one.state == "withheld"}
    waiting = [day for day in await payouts.posted() if day not in done]
    if not waiting:
        return None
    day = waiting[0]
    contracts = Contracts(references, day)
    found: list[RollingReserve] = []
    if any(contract.reserve_rate for contract in contracts.payees.values()):
        standing = {
            (one.payee, one.currency): one.reserve_minor for one in await payouts.payables(day)
        }
        found = withheld(contracts, await payouts.nets(day), standing)
    return Facts(
        -1,
        "reserve.withhold",
        subject=day.isoformat(),
        reserves=found,
        entries=reserve_entries(found, await desk.payouts.open_date()),
        states=[DateState(day, "withheld")],
    )


async def _release(desk: Desk, payout_date: date, _: list[Reference]) -> Facts | None:
    found = [
        msgspec.structs.replace(one, kind="released")
        for one in await desk.payouts.reserves(payout_date)
    ]
    if not found:
        return None
    entries = reserve_entries(found, await desk.payouts.open_date())
    return Facts(-1, "reserve.release", reserves=found, entries=entries)


def reserve_entries(reserves: Iterable[RollingReserve], book_date: date) -> list[Entry]:
    made = [
        entry(
            "rolling_reserve",
            "reserve",
            f"{one.business_date.isoformat()}/{one.merchant}/{one.currency}/{one.kind}",
            {"withheld": one.amount_minor if one.kind == "withheld" else -one.amount_minor},
            business_date=book_date,
            step=STEP,
            currency=one.currency,
            acquirer="",
            settlement_date=one.business_date,
            merchant=one.merchant,
        )
        for one in reserves
    ]
    return [one for one in made if one is not None]


# -- lines that waited ----------------------------------------------------------------------------


async def _explain(desk: Desk, _: date, references: list[Reference]) -> Facts | None:
    contracts = Contracts(references, desk.at.date())
    book_date = await desk.payouts.open_date()
    explained = await explained_lines(desk.payouts, contracts, [], book_date)
    effects = effects_of(explained, (), contracts.accounts, book_date)
    if not effects.matches:
        return None
    return Facts(-1, "statement.explain", **msgspec.structs.asdict(effects))


# -- money that never came ------------------------------------------------------------------------


async def find_overdue(desk: Desk) -> list[Break]:
    """Breaks of receivables that are overdue now; ends those whose money has come."""
    for _ in range(TRIES):
        references = await desk.payouts.references(KINDS)
        facts = await _overdue(desk, desk.at.date(), references)
        if facts is None:
            return []
        try:
            await desk.commit(facts)
        except StaleError:
            continue
        return list(facts.breaks)
    raise PayoutError("books_change")


async def _overdue(desk: Desk, _: date, references: list[Reference]) -> Facts | None:
    """By the wall clock: a payout may be proposed for a date to come."""
    payouts, today = desk.payouts, desk.at.date()
    generation = await payouts.generation()
    receivables = await payouts.receivables()
    contracts = Contracts(references, today)
    book_date = await payouts.open_date()
    late = overdue(contracts, receivables, today, desk.overdue_days)
    standing = await payouts.standing_breaks(OVERDUE)
    if not late and not standing:
        return None
    breaks, ends = changes(
        late,
        receivables,
        standing,
        await payouts.statements(),
        act=generation + 1,
        book_date=book_date,
        tolerance_days=desk.overdue_days,
        lines=await _unexplained(payouts) if late else (),
        payers=contracts.payers,
    )
    if not breaks and not ends:
        return None
    return Facts(generation, "receivable.overdue", breaks=breaks, resolutions=ends)


async def _unexplained(payouts: Payouts) -> list[StatementLine]:
    """Lines whose cases nobody has ended."""
    waiting = await payouts.open_lines()
    ended = await payouts.resolved([case_id(line) for line in waiting])
    return [line for line in waiting if case_id(line) not in ended]


# -- states ---------------------------------------------------------------------------------------


async def _states(desk: Desk, payout_date: date, references: list[Reference]) -> Facts | None:
    """The next state of every posted date that is not confirmed."""
    payouts = desk.payouts
    known: dict[date, set[str]] = {}
    for one in await payouts.states():
        known.setdefault(one.business_date, set()).add(one.state)
    posted = [day for day in await payouts.posted() if "confirmed" not in known.get(day, set())]
    if not posted:
        return None
    open_receivables = {one.owner for one in await payouts.receivables()}
    contracts = Contracts(references, payout_date)
    returned = await payouts.returned_orders()
    found: list[DateState] = []
    earlier_paid = True  # what is left of a date is left of those after it, too
    for day in posted:
        states = known.get(day, set())
        if "funded" not in states:
            if not open_receivables & set(await payouts.receivables_moved(day)):
                found.append(DateState(day, "funded"))
        elif "paid" not in states:
            if earlier_paid and not unpaid(contracts, await payouts.payables(day), day, returned):
                found.append(DateState(day, "paid"))
            else:
                earlier_paid = False
        elif not await _in_transit(desk, day):
            found.append(DateState(day, "confirmed"))
    return Facts(-1, "date.bring_on", states=found) if found else None


def unpaid(
    contracts: Contracts, payables: Iterable[Payable], day: date, returned: Sequence[Order]
) -> list[Payable]:
    """Merchants that can be paid and are still owed something of `day` or before: whoever has no
    account, is suspended, or is below his minimum holds no date up. Nor do agents: they are paid by
    the month."""
    back: dict[tuple[str, str], int] = {}
    for order in returned:
        key = (order.payee, order.currency)
        back[key] = back.get(key, 0) + order.amount_minor + order.fee_minor
    found: list[Payable] = []
    for one in payables:
        if agent_of(one.payee):
            continue
        of = due(contracts, one.payee, one.currency, day, day, day)
        if of.reason in ("suspended", "no_account", "no_contract"):
            continue
        left = min(one.through_minor, one.total_minor) - back.get((one.payee, one.currency), 0)
        if left >= max(1, of.contract.payout_minimum_minor):
            found.append(one)
    return found


async def _in_transit(desk: Desk, day: date) -> bool:
    """Whether an order that was released by the time the date was paid has not ended yet."""
    paid_at = next(one.generation for one in await desk.payouts.states(day) if one.state == "paid")
    orders = await desk.payouts.open_orders()
    released = {
        one.batch: one.generation
        for one in await desk.payouts.decisions({order.batch for order in orders})
        if one.decision == "released"
    }
    return any(
        released.get(order.batch, paid_at) < paid_at for order in orders if not is_sweep(order)
    )
