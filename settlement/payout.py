"""Payouts: proposed by a maker, released by a checker, written as one file a batch.

    propose   orders of what is due, by account and currency; their money is spoken for from here on
    release   a different operator lets the batch go: the payable falls, in the same commit
    export    the file, a function of the stored orders: written again, it is the same bytes
    reject    two people say that the bank did not execute an order
    withdraw  a batch that was not released makes room for another

An order's end-to-end id derives from (payout date, cycle, payee, currency, sequence) and is
unique in the store. What was released is never made into another order unless the bank gave it
back; then the new one names the old one and counts one sequence on.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from itertools import groupby
from typing import Final, Literal

import msgspec

from settlement.contracts import KINDS, BankAccount, Contracts, agent_of, cycle_of
from settlement.four_eyes import Actor, Approval, People, Proposal, RefusedError, require
from settlement.iso20022 import pain001
from settlement.ledger import Entry, entry
from settlement.payout_ports import (
    Batch,
    Decision,
    Facts,
    Order,
    OrderEvent,
    Payable,
    PayoutFile,
    Payouts,
    StaleError,
)
from settlement.ports import FileSink
from settlement.positions import Position, due, position

Kind = Literal["payout", "advance"]

ACT: Final = "payout.release"
REJECT: Final = "payout.reject"
WITHDRAW: Final = "payout.withdraw"
EXPORT: Final = "payout.export"
AGENT_RULES: Final = ("payout_released", "payout_returned", "payout_rejected")
NAME_CHARACTERS: Final = 15  # of the payee in an end-to-end id
BATCH_MAX: Final = 10_000  # orders of one file
TRIES: Final = 8  # of an act that others overtake


class PayoutError(Exception):
    """The act can not be done as asked; the text is for the operator."""


class Desk(msgspec.Struct, frozen=True):
    """The ports of one command, and who runs it. `at` is the wall clock now: it becomes the instant
    of new files."""

    payouts: Payouts
    people: People
    actor: Actor
    at: datetime

    async def commit(self, facts: Facts) -> None:
        """In the actor's name, at the desk's instant."""
        done = msgspec.structs.replace(facts, actor=self.actor.operator, at=self.at)
        await self.payouts.commit(done)


class Payee(msgspec.Struct, frozen=True):
    """A payee's money in one currency, with what the contract says of it today."""

    position: Position
    creditor: tuple[str, str, str]  # name, account, bank
    debtor: BankAccount | None  # ours that pays


# -- what is due ----------------------------------------------------------------------------------


async def positions(payouts: Payouts, payout_date: date) -> list[Position]:
    """Every payee with a balance, and why he is paid what he is paid."""
    return [one.position for one in await _payees(payouts, payout_date)]


async def _payees(payouts: Payouts, payout_date: date) -> list[Payee]:
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


# -- propose --------------------------------------------------------------------------------------


async def propose(
    desk: Desk, payout_date: date, replace: Collection[str] = ()
) -> list[tuple[Batch, Proposal]]:
    """Batches of what is due, or of orders that came back (`replace`, end-to-end ids), each with
    its proposal. What an earlier run made and nobody has decided is told again, not made again.

    Raises `PayoutError`; `RefusedError` where the desk's actor may not propose.
    """
    require(desk.actor, f"propose:{ACT}")
    for _ in range(TRIES):
        try:
            await _propose_once(desk, payout_date, replace)
            break
        except StaleError:
            continue
    else:
        raise PayoutError("others change the books all the time: try again")
    return [(batch, await _proposal(desk, batch)) for batch in await pending(desk.payouts)]


async def pending(payouts: Payouts) -> list[Batch]:
    """Batches that wait for a decision."""
    batches = await payouts.batches()
    decided = {one.batch for one in await payouts.decisions()}
    return [batch for batch in batches if batch.id not in decided]


async def _propose_once(desk: Desk, payout_date: date, replace: Collection[str]) -> None:
    payouts = desk.payouts
    generation = await payouts.generation()
    payees = await _payees(payouts, payout_date)
    known = await payouts.batches(payout_date)
    orders = await payouts.orders([batch.id for batch in known])
    used = _sequences(orders)
    if replace:
        made = await _replacements(payouts, payees, replace, used, payout_date)
    else:
        made = [_order(one, used, payout_date) for one in payees if one.position.amount_minor]
    batches, stored = _batches(desk, payout_date, made, len(known))
    if batches:
        await desk.commit(Facts(generation, "payout.propose", batches=batches, orders=stored))


def _batches(
    desk: Desk, payout_date: date, made: list["Placed"], known: int
) -> tuple[list[Batch], list[Order]]:
    """Orders of one account, currency and kind together, so many as one file may hold."""
    batches: list[Batch] = []
    stored: list[Order] = []
    for (_, currency, kind), group in groupby(sorted(made, key=_place), key=lambda o: _place(o)[0]):
        placed = list(group)
        account = placed[0].account
        for first in range(0, len(placed), BATCH_MAX):
            batch_id = f"{payout_date:%Y%m%d}-{known + len(batches) + 1:03d}"
            part = [
                msgspec.structs.replace(one.order, batch=batch_id)
                for one in placed[first : first + BATCH_MAX]
            ]
            batches.append(
                Batch(
                    id=batch_id,
                    payout_date=payout_date,
                    account=account.name,
                    currency=currency,
                    kind=kind,
                    count=len(part),
                    sum_minor=sum(order.amount_minor for order in part),
                    sha256=orders_hash(part),
                    debtor_name=account.holder,
                    debtor_account=account.account,
                    debtor_bank=account.bank,
                    made_at=desk.at,
                    maker=desk.actor.operator,
                )
            )
            stored += part
    return batches, stored


class Placed(msgspec.Struct, frozen=True):
    """An order, and the account of ours that pays it."""

    account: BankAccount
    kind: Kind
    order: Order


def _place(one: Placed) -> tuple[tuple[str, str, Kind], str]:
    return (one.account.name, one.order.currency, one.kind), one.order.end_to_end_id


def _sequences(orders: Iterable[Order]) -> dict[tuple[str, str, str], int]:
    used: dict[tuple[str, str, str], int] = {}
    for order in orders:
        key = (order.cycle, order.payee, order.currency)
        used[key] = max(used.get(key, 0), order.sequence)
    return used


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


def end_to_end_id(payout_date: date, cycle: str, payee: str, currency: str, sequence: int) -> str:
    """At most 35 characters; an id that is not 15 letters and digits, as a merchant's mostly is,
    stands as the first 15 hex digits of its SHA-256.

    >>> end_to_end_id(date(2026, 8, 4), "T+1", "104110058120001", "156", 1)
    'P260804T01104110058120001156001'
    """
    name = payee
    if not (len(payee) == NAME_CHARACTERS and payee.isascii() and payee.isalnum()):
        name = hashlib.sha256(payee.encode()).hexdigest()[:NAME_CHARACTERS]
    assert sequence < 1000, f"{payee}: {sequence} payouts on {payout_date}"
    unit, days = cycle_of(cycle)
    made = f"P{payout_date:%y%m%d}{unit}{days:02d}{name}{currency}{sequence:03d}"
    assert len(made) <= 35, made
    return made


async def _replacements(
    payouts: Payouts,
    payees: list[Payee],
    replace: Collection[str],
    used: dict[tuple[str, str, str], int],
    payout_date: date,
) -> list[Placed]:
    """New orders for returned ones, to the account that the contract has now."""
    returned = {order.end_to_end_id: order for order in await payouts.returned_orders()}
    waiting = {order.replaces for order in await payouts.open_orders()}
    by_key = {(one.position.payee, one.position.currency): one for one in payees}
    made: list[Placed] = []
    for old_id in sorted(set(replace)):
        old = returned.get(old_id)
        if old is None or old_id in waiting:
            raise PayoutError(f"{old_id} did not come back, or has a new order already")
        one = by_key.get((old.payee, old.currency))
        if one is None or one.position.through is None or not all(one.creditor):
            raise PayoutError(f"{old_id}: {old.payee} can not be paid now")
        at = one.position
        if at.reason in ("suspended", "holiday", "no_account", "no_calendar", "no_contract"):
            raise PayoutError(f"{old_id}: {old.payee} can not be paid now: {at.reason}")
        left = at.payable_minor - at.pending_minor
        again = min(old.amount_minor + old.fee_minor, left)
        if again <= 0:
            raise PayoutError(f"{old_id}: nothing is left to pay, the balance is {left}")
        fee = min(old.fee_minor, again) if at.cycle == "T+0" else 0
        at = msgspec.structs.replace(at, amount_minor=again - fee, fee_minor=fee)
        made.append(_order(msgspec.structs.replace(one, position=at), used, payout_date, old_id))
    return made


def orders_hash(orders: Iterable[Order]) -> str:
    digest = hashlib.sha256()
    for order in sorted(orders, key=lambda one: one.end_to_end_id):
        digest.update(msgspec.json.encode(order) + b"\n")
    return digest.hexdigest()


def payload_of(batch: Batch) -> dict[str, object]:
    """What the checker approves."""
    return {
        "batch": batch.id,
        "payout_date": batch.payout_date.isoformat(),
        "account": batch.account,
        "kind": batch.kind,
        "currency": batch.currency,
        "count": batch.count,
        "sum_minor": batch.sum_minor,
        "orders_sha256": batch.sha256,
    }


async def _proposal(desk: Desk, batch: Batch) -> Proposal:
    """The batch's; made now where a run was killed before it could."""
    for one in await desk.people.pending([ACT]):
        if one.subject == batch.id:
            return one
    return await desk.people.propose(ACT, batch.id, payload_of(batch), desk.actor)


# -- release, withdraw ----------------------------------------------------------------------------


async def release(desk: Desk, approval: Approval) -> Batch:
    """Let the approved batch go.

    Raises `RefusedError` where the approval is used already or is of something else than what the
    store holds, and `PayoutError` where the money is not there any more or the payee's contract
    has changed: withdraw the batch and propose again.
    """
    for _ in range(TRIES):
        try:
            return await _release_once(desk, approval)
        except StaleError:
            continue
    raise PayoutError("others change the books all the time: try again")


async def _release_once(desk: Desk, approval: Approval) -> Batch:
    payouts, proposal = desk.payouts, approval.proposal
    if proposal.act != ACT:
        raise RefusedError("unknown", f"{proposal.id} proposes no payout")
    generation = await payouts.generation()
    batch, orders = await batch_of(payouts, proposal.subject)
    decided = await payouts.decisions([batch.id])
    if decided:
        raise RefusedError("replayed", f"{batch.id} is {decided[0].decision} already")
    if proposal.payload != payload_of(batch) or batch.sha256 != orders_hash(orders):
        raise RefusedError("changed", f"the orders of {batch.id} are not what was proposed")
    await _assert_payable(payouts, batch, orders)
    book_date = await payouts.open_date()
    rule = f"{batch.kind}_released"
    await desk.commit(
        Facts(
            generation,
            ACT,
            subject=batch.id,
            decisions=[Decision(batch.id, "released", approval.checker, book_date, proposal.id)],
            entries=[order_entry(rule, order, book_date, "payout", "released") for order in orders],
            approval=approval,
        )
    )
    return batch


async def batch_of(payouts: Payouts, batch_id: str) -> tuple[Batch, list[Order]]:
    batch = next((one for one in await payouts.batches() if one.id == batch_id), None)
    if batch is None:
        raise PayoutError(f"there is no batch {batch_id}")
    return batch, await payouts.orders([batch_id])


async def _assert_payable(payouts: Payouts, batch: Batch, orders: list[Order]) -> None:
    """The money is still there, and goes where the contract says today."""
    payees = {
        (one.position.payee, one.position.currency): one
        for one in await _payees(payouts, batch.payout_date)
    }
    for order in orders:
        one = payees.get((order.payee, order.currency))
        # the order itself is among what is pending, and its returned one no more among those
        if one is None or one.position.due_minor < 0 or one.position.payable_minor <= 0:
            raise PayoutError(f"{order.end_to_end_id}: {order.payee} has less than this by now")
        at = one.position
        if one.creditor != (order.creditor_name, order.creditor_account, order.creditor_bank):
            raise PayoutError(f"{order.end_to_end_id}: {order.payee} has another account by now")
        if at.reason in ("suspended", "no_account", "no_contract") or at.account != batch.account:
            raise PayoutError(f"{order.end_to_end_id}: {order.payee} can not be paid: {at.reason}")


def order_entry(rule: str, order: Order, business_date: date, step: str, what: str) -> Entry:
    variables = {"amount": order.amount_minor}
    if rule.startswith("advance") and rule != "advance_confirmed":
        variables["fee"] = order.fee_minor
    agent = agent_of(order.payee)
    made = entry(
        f"agent_{rule}" if agent and rule in AGENT_RULES else rule,
        "payout",
        f"{order.end_to_end_id}/{what}",
        variables,
        business_date=business_date,
        step=step,
        currency=order.currency,
        acquirer="",
        settlement_date=order.through,
        merchant="" if agent else order.payee,
        agent=agent,
    )
    assert made is not None, order
    return made


async def withdraw(desk: Desk, batch_id: str) -> Batch:
    """Give up a batch that was not released. Raises `PayoutError` where it was decided."""
    require(desk.actor, f"do:{WITHDRAW}")
    for _ in range(TRIES):
        generation = await desk.payouts.generation()
        batch, _ = await batch_of(desk.payouts, batch_id)
        decided = await desk.payouts.decisions([batch_id])
        if decided:
            raise PayoutError(f"{batch_id} is {decided[0].decision} already")
        book_date = await desk.payouts.open_date()
        given_up = Decision(batch_id, "withdrawn", desk.actor.operator, book_date)
        try:
            await desk.commit(Facts(generation, WITHDRAW, subject=batch_id, decisions=[given_up]))
        except StaleError:
            continue
        return batch
    raise PayoutError("others change the books all the time: try again")


# -- what the bank did not execute ----------------------------------------------------------------


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
    proposal = approval.proposal
    if proposal.act != REJECT:
        raise RefusedError("unknown", f"{proposal.id} rejects no payout")
    for _ in range(TRIES):
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
        made = order_entry(f"{batch.kind}_rejected", order, book_date, "payout", "rejected")
        try:
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
        except StaleError:
            continue
        return order
    raise PayoutError("others change the books all the time: try again")


async def _in_transit(payouts: Payouts, end_to_end_id: str) -> Order:
    """A released order that has not come to its end. Raises `PayoutError`."""
    order = (await payouts.orders_by_id([end_to_end_id])).get(end_to_end_id)
    if order is None:
        raise PayoutError(f"there is no order {end_to_end_id}")
    for one in await payouts.events([end_to_end_id]):
        raise PayoutError(f"order {end_to_end_id} is {one.kind} already")
    decided = await payouts.decisions([order.batch])
    if not decided or decided[0].decision != "released":
        raise PayoutError(f"order {end_to_end_id} is not released")
    return order


# -- the file -------------------------------------------------------------------------------------


async def export(desk: Desk, batch_id: str, sink: FileSink) -> PayoutFile:
    """Write the file of a released batch, or write it again: the same bytes, or not at all."""
    require(desk.actor, f"do:{EXPORT}")
    for _ in range(TRIES):
        generation = await desk.payouts.generation()
        batch, orders = await batch_of(desk.payouts, batch_id)
        decided = await desk.payouts.decisions([batch_id])
        if not decided or decided[0].decision != "released":
            raise PayoutError(f"{batch_id} is not released")
        data = pain001.render(batch, orders)
        made = PayoutFile(
            batch.id,
            f"{batch.payout_date.isoformat()}/{pain001.message_id(batch.id)}.xml",
            hashlib.sha256(data).hexdigest(),
            len(data),
        )
        known = await desk.payouts.files([batch_id])
        if known and known[0] != made:
            raise PayoutError(
                f"{batch_id} would not be the file that was written first: {known[0].sha256}"
            )
        if not known:
            try:
                await desk.commit(Facts(generation, EXPORT, subject=batch_id, files=[made]))
            except StaleError:
                continue
        if sink.sha256(made.name) != made.sha256:
            sink.write(made.name, data)
        return made
    raise PayoutError("others change the books all the time: try again")
