"""What the bank did not execute, told outside its statements and reports."""

from typing import Final

from settlement.four_eyes import Approval, Proposal, RefusedError
from settlement.payouts.desk import Desk, PayoutError, tried
from settlement.payouts.orders import batch_of, order_entry
from settlement.payouts.ports import Facts, Order, OrderEvent, Payouts

REJECT: Final = "payout.reject"


async def propose_rejection(desk: Desk, end_to_end_id: str, reason: str) -> Proposal:
    """That the bank did not execute a released order, and told so outside its statements.

    Two people have to say so: from then on the money can be paid again, and a debit that comes
    all the same is a case.
    """
    order = await _in_transit(desk.payouts, end_to_end_id)
    payload: dict[str, object] = {
        "end_to_end_id": end_to_end_id,
        "payee": order.payee,
        "amount_minor": order.amount_minor,
        "currency": order.currency,
        "reason": reason,
    }
    return await desk.people.propose(REJECT, end_to_end_id, payload, desk.actor)


async def reject(desk: Desk, approval: Approval) -> Order:
    """Give the order's money back to its payee, by two people's word; see `propose_rejection`."""
    if approval.proposal.act != REJECT:
        raise RefusedError("unknown", "proposes_no_rejection", proposal=approval.proposal.id)
    return await tried(lambda: _reject_once(desk, approval))


async def _reject_once(desk: Desk, approval: Approval) -> Order:
    proposal = approval.proposal
    generation = await desk.payouts.generation()
    order = await _in_transit(desk.payouts, proposal.subject)
    batch, _orders = await batch_of(desk.payouts, order.batch)
    book_date = await desk.payouts.open_date()
    told = OrderEvent(
        order.end_to_end_id,
        "rejected",
        book_date,
        batch.account,
        proposal.id,
        0,
        str(proposal.payload["reason"]),
    )
    made = order_entry(batch.kind, "rejected", order, book_date, "payout")
    await desk.commit(
        Facts(
            generation,
            REJECT,
            subject=order.end_to_end_id,
            events=[told],
            entries=[made],
            approval=approval,
        )
    )
    return order


async def still_stands(payouts: Payouts, proposal: Proposal) -> bool:
    """Whether the order has not come to its end yet; else the proposal to reject it is void."""
    return not await payouts.events([proposal.subject])


async def _in_transit(payouts: Payouts, end_to_end_id: str) -> Order:
    """A released order that has not come to its end. Raises `PayoutError`."""
    order = (await payouts.orders_by_id([end_to_end_id])).get(end_to_end_id)
    if order is None:
        raise PayoutError("order_unknown", order=end_to_end_id)
    for one in await payouts.events([end_to_end_id]):
        raise PayoutError("order_is", order=end_to_end_id, state=one.kind)
    decided = await payouts.decisions([order.batch])
    if not decided or decided[0].decision != "released":
        raise PayoutError("order_not_released", order=end_to_end_id)
    return order
