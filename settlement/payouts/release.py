"""A batch is let go by a second person, or given up."""

from typing import Final

from settlement.four_eyes import Approval, Proposal, RefusedError, require
from settlement.payouts.desk import Desk, PayoutError, tried
from settlement.payouts.due import payees
from settlement.payouts.orders import ACTS, batch_of, order_entry, orders_hash, payload_of
from settlement.payouts.ports import Batch, Decision, Facts, Order, Payouts
from settlement.payouts.sweep import assert_sweepable

WITHDRAW: Final = "payout.withdraw"


async def release(desk: Desk, approval: Approval) -> Batch:
    """Let the approved batch go.

    Raises `RefusedError` where the approval is used already or is of something else than what the
    store holds, and `PayoutError` where the money is not there any more or the payee's contract
    has changed: withdraw the batch and propose again.
    """
    return await tried(lambda: _release_once(desk, approval))


async def _release_once(desk: Desk, approval: Approval) -> Batch:
    payouts, proposal = desk.payouts, approval.proposal
    if proposal.act not in ACTS.values():
        raise RefusedError("unknown", "proposes_no_payout", proposal=proposal.id)
    generation = await payouts.generation()
    batch, orders = await batch_of(payouts, proposal.subject)
    decided = await payouts.decisions([batch.id])
    if decided:
        raise RefusedError("replayed", "is_already", what=batch.id, state=decided[0].decision)
    if proposal.act != ACTS[batch.kind]:
        raise RefusedError("unknown", "proposal_other_kind", proposal=proposal.id, kind=batch.kind)
    if proposal.payload != payload_of(batch, orders) or batch.sha256 != orders_hash(orders):
        raise RefusedError("changed", "orders_changed", batch=batch.id)
    if batch.kind == "sweep":
        await assert_sweepable(payouts, batch, orders)
    else:
        await _assert_payable(payouts, batch, orders)
    book_date = await payouts.open_date()
    await desk.commit(
        Facts(
            generation,
            proposal.act,
            subject=batch.id,
            decisions=[Decision(batch.id, "released", approval.checker, book_date, proposal.id)],
            entries=[
                order_entry(batch.kind, "released", order, book_date, "payout") for order in orders
            ],
            approval=approval,
        )
    )
    return batch


async def _assert_payable(payouts: Payouts, batch: Batch, orders: list[Order]) -> None:
    """The money is still there, and goes where the contract says today."""
    found = {
        (one.position.payee, one.position.currency): one
        for one in await payees(payouts, batch.payout_date)
    }
    for order in orders:
        one = found.get((order.payee, order.currency))
        # the order itself is among what is pending, and its returned one no more among those
        if one is None or one.position.due_minor < 0 or one.position.payable_minor <= 0:
            raise PayoutError("payout_less", order=order.end_to_end_id, payee=order.payee)
        at = one.position
        if one.creditor != (order.creditor_name, order.creditor_account, order.creditor_bank):
            raise PayoutError("payout_other_account", order=order.end_to_end_id, payee=order.payee)
        if at.reason in ("suspended", "no_account", "no_contract") or at.account != batch.account:
            raise PayoutError(
                "payout_barred", order=order.end_to_end_id, payee=order.payee, reason=at.reason
            )


async def still_stands(payouts: Payouts, proposal: Proposal) -> bool:
    """Whether the proposed batch is not decided yet; else the proposal is void."""
    return not await payouts.decisions([proposal.subject])


async def withdraw(desk: Desk, batch_id: str) -> Batch:
    """Give up a batch that was not released. Raises `PayoutError` where it was decided."""
    require(desk.actor, f"do:{WITHDRAW}")
    return await tried(lambda: _withdraw_once(desk, batch_id))


async def _withdraw_once(desk: Desk, batch_id: str) -> Batch:
    generation = await desk.payouts.generation()
    batch, _ = await batch_of(desk.payouts, batch_id)
    decided = await desk.payouts.decisions([batch_id])
    if decided:
        raise PayoutError("is_already", what=batch_id, state=decided[0].decision)
    book_date = await desk.payouts.open_date()
    given_up = Decision(batch_id, "withdrawn", desk.actor.operator, book_date)
    await desk.commit(Facts(generation, WITHDRAW, subject=batch_id, decisions=[given_up]))
    return batch
