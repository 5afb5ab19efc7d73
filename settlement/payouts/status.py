"""What banks report of our payout files (pain.002): kept, and where they reject an order, acted on.

A rejection is the bank's word that no money left: the order's money is its payee's again, as by a
return, and can be paid anew by two people. That is done only where nothing of ours contradicts it: a
statement that showed the order, a report that it was executed, a later report that it was accepted. Then
the word is kept, told, and moves nothing. Every other status moves nothing either: that money left is
what statements say. A debit that comes after a rejection is a case.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final, Literal

import msgspec

from iso8583.amount import CURRENCIES
from settlement.four_eyes import require
from settlement.iso20022.pain001 import message_id
from settlement.iso20022.pain002 import STATUSES, Report, ReportError, Said, parse
from settlement.payouts.desk import Desk, tried
from settlement.payouts.orders import order_entry
from settlement.payouts.ports import (
    Batch,
    Facts,
    Order,
    OrderEvent,
    OrderStatus,
    PayoutReport,
    Payouts,
    StatementFile,
)
from settlement.ports import Pans

STATUS: Final = "payout.status"
STEP: Final = "payout"


class TakenReport(msgspec.Struct, frozen=True):
    """What became of a report."""

    report: PayoutReport
    state: Literal["taken_in", "known"]
    statuses: list[OrderStatus]
    rejected: list[str]  # end-to-end ids whose money this report gave back


async def take_in(desk: Desk, name: str, data: bytes, pans: Pans) -> TakenReport:
    """The document's report, in one commit; the same document again changes nothing.

    Raises `ReportError` (with the line) or `XmlError` for a document that can not be taken in: then
    nothing of it is.
    """
    require(desk.actor, f"do:{STATUS}")
    sha256 = hashlib.sha256(data).hexdigest()
    report = parse(data)
    file = StatementFile(sha256, name, pans.seal(data, f"statement/{sha256}"))
    return await tried(lambda: _take_in_once(desk, report, file))


async def _take_in_once(desk: Desk, report: Report, file: StatementFile) -> TakenReport:
    payouts = desk.payouts
    generation = await payouts.generation()
    batch = await _batch(payouts, report)
    orders = {one.end_to_end_id: one for one in await payouts.orders([batch.id])}
    for one in await payouts.reports():  # one id an account, whichever of its files it is about
        if (one.account, one.id) == (batch.account, report.id):
            return await _known(payouts, report, one, orders, file.sha256)
    _assert_fits(report, batch, orders)
    said = [(orders[one.end_to_end_id], one) for one in each_order(report, orders)]
    disagrees = await _disagreements(payouts, report, said)
    made = PayoutReport(batch.account, report.id, batch.id, report.made_at, len(said), file.sha256)
    statuses = [
        OrderStatus(
            batch.account,
            report.id,
            one.line,
            order.end_to_end_id,
            one.status,
            one.reason,
            one.text,
            disagrees[order.end_to_end_id],
        )
        for order, one in said
    ]
    back = [
        (order, one)
        for order, one in said
        if STATUSES[one.status] == "rejected" and not disagrees[order.end_to_end_id]
    ]
    ended = {one.end_to_end_id for one in await payouts.events([o.end_to_end_id for o, _ in back])}
    back = [(order, one) for order, one in back if order.end_to_end_id not in ended]
    book_date = await payouts.open_date()
    await desk.commit(
        Facts(
            generation,
            STATUS,
            subject=f"{batch.account}/{report.id}",
            reports=[made],
            statuses=statuses,
            statement_files=[file],
            events=[_event(batch, report, one, book_date) for _, one in back],
            entries=[
                order_entry(batch.kind, "rejected", order, book_date, STEP) for order, _ in back
            ],
        )
    )
    return TakenReport(made, "taken_in", statuses, [order.end_to_end_id for order, _ in back])


async def _batch(payouts: Payouts, report: Report) -> Batch:
    """The batch whose file the report is about: released and written, or the bank can not have it."""
    by_message = {message_id(one.id): one for one in await payouts.batches()}
    batch = by_message.get(report.message)
    if batch is None:
        raise ReportError(report.line, "report_no_file", file=report.message)
    if not await payouts.files([batch.id]):
        raise ReportError(report.line, "report_not_written", batch=batch.id)
    return batch


async def _known(
    payouts: Payouts,
    report: Report,
    stands: PayoutReport,
    orders: Mapping[str, Order],
    sha256: str,
) -> TakenReport:
    if stands.sha256 != sha256:
        raise ReportError(
            report.line,
            "report_other",
            report=report.id,
            sha256=stands.sha256,
        )
    found = [one for one in await payouts.statuses(orders) if one.report == report.id]
    return TakenReport(stands, "known", found, [])


def _event(batch: Batch, report: Report, said: Said, book_date: date) -> OrderEvent:
    reason = said.reason or said.status
    return OrderEvent(
        said.end_to_end_id, "rejected", book_date, batch.account, report.id, said.line, reason
    )


# -- what a report says ---------------------------------------------------------------------------


def _assert_fits(report: Report, batch: Batch, orders: Mapping[str, Order]) -> None:
    """What it tells again of our file is what we wrote. Raises `ReportError`."""
    if report.count not in (None, batch.count):
        raise ReportError(
            report.line, "report_count", batch=batch.id, count=batch.count, told=report.count
        )
    if report.total not in (None, _decimal(batch.sum_minor, batch.currency)):
        raise ReportError(
            report.line, "report_amount", what=batch.id, amount=batch.sum_minor, told=report.total
        )
    for one in report.orders:
        order = orders.get(one.end_to_end_id)
        if order is None:
            raise ReportError(one.line, "report_no_order", order=one.end_to_end_id, batch=batch.id)
        told = (one.amount, one.currency)
        if one.amount is not None and told != (
            _decimal(order.amount_minor, order.currency),
            order.currency,
        ):
            raise ReportError(
                one.line,
                "report_amount",
                what=one.end_to_end_id,
                amount=order.amount_minor,
                told=one.amount,
            )


def _decimal(amount_minor: int, currency: str) -> Decimal:
    return Decimal(amount_minor).scaleb(-CURRENCIES[currency][1])


def each_order(report: Report, orders: Mapping[str, Order]) -> list[Said]:
    """One status an order, by end-to-end id: its own, or else the file's; none where neither is."""
    own = {one.end_to_end_id: one for one in report.orders}
    if report.whole is None:
        return [own[name] for name in sorted(own)]
    return [
        own.get(name) or msgspec.structs.replace(report.whole, end_to_end_id=name)
        for name in sorted(orders)
    ]


async def _disagreements(
    payouts: Payouts, report: Report, said: Sequence[tuple[Order, Said]]
) -> dict[str, str]:
    """By order: what of ours the report contradicts; empty where it does not."""
    names = [order.end_to_end_id for order, _ in said]
    events: dict[str, set[str]] = {}
    for event in await payouts.events(names):
        events.setdefault(event.end_to_end_id, set()).add(event.kind)
    made_at = {(one.account, one.id): one.made_at for one in await payouts.reports()}
    earlier: dict[str, list[OrderStatus]] = {}
    later: dict[str, list[OrderStatus]] = {}
    for one in await payouts.statuses(names):
        known = later if made_at[one.account, one.report] > report.made_at else earlier
        known.setdefault(one.end_to_end_id, []).append(one)
    return {
        name: disagreement(
            one.status, events.get(name, set()), earlier.get(name, ()), later.get(name, ())
        )
        for name, (_, one) in zip(names, said, strict=True)
    }


def disagreement(
    status: str,
    events: set[str],
    earlier: Sequence[OrderStatus],
    later: Sequence[OrderStatus],
) -> str:
    """What a status contradicts: of our statements, or of reports the bank made before or after.

    >>> disagreement("RJCT", {"confirmed"}, (), ())
    'a statement shows it confirmed'
    """
    if STATUSES[status] != "rejected":
        return "it is rejected" if "rejected" in events else ""
    for kind in ("confirmed", "received", "returned"):
        if kind in events:
            return f"a statement shows it {kind}"
    for one in earlier:
        if STATUSES[one.status] in ("executed", "blocked"):
            return f"report {one.report} said {one.status}"
    for one in later:
        if STATUSES[one.status] != "rejected":
            return f"report {one.report} says {one.status} later"
    return ""
