"""Orders and batches as values: their ids, what a checker approves, what they post."""

import hashlib
from collections.abc import Iterable
from datetime import date
from itertools import groupby
from typing import Final, Literal

import msgspec

from settlement.contracts import BankAccount, agent_of, cycle_of
from settlement.four_eyes import Proposal
from settlement.ledger import Entry, entry
from settlement.payouts.desk import Desk, PayoutError
from settlement.payouts.ports import Batch, Order, Payouts

Kind = Literal["payout", "advance", "sweep"]
What = Literal["released", "confirmed", "received", "returned", "rejected"]

RELEASE: Final = "payout.release"
SWEEP: Final = "reserve.sweep"
ACTS: Final[dict[Kind, str]] = {"payout": RELEASE, "advance": RELEASE, "sweep": SWEEP}
NAME_CHARACTERS: Final = 15  # of the payee in an end-to-end id
BATCH_MAX: Final = 10_000  # orders of one file


class Placed(msgspec.Struct, frozen=True):
    """An order, and the account of ours that pays it."""

    account: BankAccount
    kind: Kind
    order: Order


def _place(one: Placed) -> tuple[tuple[str, str, Kind], str]:
    return (one.account.name, one.order.currency, one.kind), one.order.end_to_end_id


def batches(
    desk: Desk, payout_date: date, made: list[Placed], known: int
) -> tuple[list[Batch], list[Order]]:
    """Orders of one account, currency and kind together, so many as one file may hold."""
    found: list[Batch] = []
    stored: list[Order] = []
    for (_, currency, kind), group in groupby(sorted(made, key=_place), key=lambda o: _place(o)[0]):
        placed = list(group)
        account = placed[0].account
        for first in range(0, len(placed), BATCH_MAX):
            batch_id = f"{payout_date:%Y%m%d}-{known + len(found) + 1:03d}"
            part = [
                msgspec.structs.replace(one.order, batch=batch_id)
                for one in placed[first : first + BATCH_MAX]
            ]
            found.append(
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
    return found, stored


def sequences(orders: Iterable[Order]) -> dict[tuple[str, str, str], int]:
    used: dict[tuple[str, str, str], int] = {}
    for order in orders:
        key = (order.cycle, order.payee, order.currency)
        used[key] = max(used.get(key, 0), order.sequence)
    return used


def end_to_end_id(payout_date: date, cycle: str, payee: str, currency: str, sequence: int) -> str:
    """At most 35 characters; an id that is not 15 letters and digits, as a merchant's mostly is,
    stands as the first 15 hex digits of its SHA-256. A sweep has no cycle.

    >>> end_to_end_id(date(2026, 8, 4), "T+1", "104110058120001", "156", 1)
    'P260804T01104110058120001156001'
    """
    name = payee
    if not (len(payee) == NAME_CHARACTERS and payee.isascii() and payee.isalnum()):
        name = hashlib.sha256(payee.encode()).hexdigest()[:NAME_CHARACTERS]
    assert sequence < 1000, f"{payee}: {sequence} payouts on {payout_date}"
    unit, days = cycle_of(cycle) if cycle else ("S", 0)
    made = f"P{payout_date:%y%m%d}{unit}{days:02d}{name}{currency}{sequence:03d}"
    assert len(made) <= 35, made
    return made


def orders_hash(orders: Iterable[Order]) -> str:
    digest = hashlib.sha256()
    for order in sorted(orders, key=lambda one: one.end_to_end_id):
        digest.update(msgspec.json.encode(order) + b"\n")
    return digest.hexdigest()


def payload_of(batch: Batch, orders: Iterable[Order]) -> dict[str, object]:
    """What the checker approves; of a sweep with where the money goes."""
    payload: dict[str, object] = {
        "batch": batch.id,
        "payout_date": batch.payout_date.isoformat(),
        "account": batch.account,
        "kind": batch.kind,
        "currency": batch.currency,
        "count": batch.count,
        "sum_minor": batch.sum_minor,
        "orders_sha256": batch.sha256,
    }
    if batch.kind == "sweep":
        payload["orders"] = [
            {
                "payee": order.payee,
                "amount_minor": order.amount_minor,
                "name": order.creditor_name,
                "account": order.creditor_account,
                "bank": order.creditor_bank,
            }
            for order in sorted(orders, key=lambda one: one.end_to_end_id)
        ]
    return payload


async def batch_of(payouts: Payouts, batch_id: str) -> tuple[Batch, list[Order]]:
    batch = next((one for one in await payouts.batches() if one.id == batch_id), None)
    if batch is None:
        raise PayoutError("batch_unknown", batch=batch_id)
    return batch, await payouts.orders([batch_id])


def is_sweep(order: Order) -> bool:
    """Whether it moves our own money: then its payee is own/income or own/advances."""
    return not order.cycle


def order_entry(kind: Kind, what: What, order: Order, business_date: date, step: str) -> Entry:
    """What an order posts when it comes to `what`. `kind`: payout from the reserve, or advance."""
    agent = agent_of(order.payee)
    rule = f"{kind}_{what}"
    variables = {"amount": order.amount_minor}
    if is_sweep(order):
        # the reserve's statement shows it as any payout
        name = "payout" if what == "confirmed" else order.payee.replace("/", "_")
        rule = f"{name}_{what}"
    elif agent and what != "confirmed":
        rule = f"agent_{rule}"
    elif kind == "advance" and what != "confirmed":
        variables["fee"] = order.fee_minor
    made = entry(
        rule,
        "payout",
        f"{order.end_to_end_id}/{what}",
        variables,
        business_date=business_date,
        step=step,
        currency=order.currency,
        acquirer="",
        settlement_date=order.through,
        merchant="" if agent or is_sweep(order) else order.payee,
        agent=agent,
    )
    assert made is not None, order
    return made


# -- what waits -----------------------------------------------------------------------------------


async def pending(payouts: Payouts) -> list[Batch]:
    """Batches that wait for a decision."""
    every = await payouts.batches()
    decided = {one.batch for one in await payouts.decisions()}
    return [batch for batch in every if batch.id not in decided]


async def proposal_of(desk: Desk, batch: Batch) -> Proposal:
    """The batch's; made now where a run was killed before it could."""
    act = ACTS[batch.kind]
    for one in await desk.people.pending([act]):
        if one.subject == batch.id:
            return one
    payload = payload_of(batch, await desk.payouts.orders([batch.id]))
    return await desk.people.propose(act, batch.id, payload, desk.actor)
