"""Batches of what is due, or of what came back, each with its proposal."""

from collections.abc import Collection
from datetime import date

import msgspec

from settlement.four_eyes import Proposal, require
from settlement.payouts.desk import Desk, PayoutError, tried
from settlement.payouts.due import Payee, payees
from settlement.payouts.orders import (
    RELEASE,
    Placed,
    batches,
    end_to_end_id,
    pending,
    proposal_of,
    sequences,
)
from settlement.payouts.ports import Batch, Facts, Order, Payouts


async def propose(
    desk: Desk, payout_date: date, replace: Collection[str] = ()
) -> list[tuple[Batch, Proposal]]:
    """Batches of what is due, or of orders that came back (`replace`, end-to-end ids), each with
    its proposal. What an earlier run made and nobody has decided is told again, not made again.

    Raises `PayoutError`; `RefusedError` where the desk's actor may not propose.
    """
    require(desk.actor, f"propose:{RELEASE}")
    await tried(lambda: _propose_once(desk, payout_date, replace))
    return [
        (batch, await proposal_of(desk, batch))
        for batch in await pending(desk.payouts)
        if batch.kind != "sweep"
    ]


async def _propose_once(desk: Desk, payout_date: date, replace: Collection[str]) -> None:
    payouts = desk.payouts
    generation = await payouts.generation()
    found = await payees(payouts, payout_date)
    known = await payouts.batches(payout_date)
    used = sequences(await payouts.orders([batch.id for batch in known]))
    if replace:
        made = await _replacements(payouts, found, replace, used, payout_date)
    else:
        made = [_order(one, used, payout_date) for one in found if one.position.amount_minor]
    new, orders = batches(desk, payout_date, made, len(known))
    if new:
        await desk.commit(Facts(generation, "payout.propose", batches=new, orders=orders))


def _order(
    one: Payee,
    used: dict[tuple[str, str, str], int],
    payout_date: date,
    replaces: str = "",
) -> Placed:
    at = one.position
    assert at.amount_minor > 0, f"{at.payee}: a payout of {at.amount_minor}"
    assert at.through is not None, at.payee
    assert one.debtor is not None, at.payee
    key = (at.cycle, at.payee, at.currency)
    used[key] = sequence = used.get(key, 0) + 1
    order = Order(
        batch="",
        end_to_end_id=end_to_end_id(payout_date, at.cycle, at.payee, at.currency, sequence),
        payee=at.payee,
        currency=at.currency,
        cycle=at.cycle,
        sequence=sequence,
        amount_minor=at.amount_minor,
        fee_minor=at.fee_minor,
        through=at.through,
        creditor_name=one.creditor[0],
        creditor_account=one.creditor[1],
        creditor_bank=one.creditor[2],
        replaces=replaces,
    )
    return Placed(one.debtor, "advance" if at.cycle == "T+0" else "payout", order)


async def _replacements(
    payouts: Payouts,
    found: list[Payee],
    replace: Collection[str],
    used: dict[tuple[str, str, str], int],
    payout_date: date,
) -> list[Placed]:
    """New orders for returned ones, to the account that the contract has now."""
    returned = {order.end_to_end_id: order for order in await payouts.returned_orders()}
    waiting = {order.replaces for order in await payouts.open_orders()}
    by_key = {(one.position.payee, one.position.currency): one for one in found}
    made: list[Placed] = []
    for old_id in sorted(set(replace)):
        old = returned.get(old_id)
        if old is None or old_id in waiting:
            raise PayoutError("payout_not_back", order=old_id)
        one = by_key.get((old.payee, old.currency))
        if one is None or one.position.through is None or not all(one.creditor):
            raise PayoutError("payout_not_now", order=old_id, payee=old.payee)
        at = one.position
        if at.reason in ("suspended", "holiday", "no_account", "no_calendar", "no_contract"):
            raise PayoutError("payout_not_now_for", order=old_id, payee=old.payee, reason=at.reason)
        left = at.payable_minor - at.pending_minor
        again = min(old.amount_minor + old.fee_minor, left)
        if again <= 0:
            raise PayoutError("payout_nothing_left", order=old_id, left=left)
        fee = min(old.fee_minor, again) if at.cycle == "T+0" else 0
        at = msgspec.structs.replace(at, amount_minor=again - fee, fee_minor=fee)
        made.append(_order(msgspec.structs.replace(one, position=at), used, payout_date, old_id))
    return made
