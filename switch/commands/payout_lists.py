"""What `tongbao payout` lists: what is due, batches, orders and what came back. Nothing here writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from settlement.payouts import due
from settlement.reports.figures import money
from switch.cli import ConfigFile, DataFolder, Day, Json, Lang, day, end, group, node_of
from switch.commands.common import CommandError, Exit, print_object, print_objects
from switch.commands.desk import asked, payout_date
from switch.commands.ledger_tables import show as show_table, text

if TYPE_CHECKING:
    import datetime as dt

    from settlement.payouts.ports import Batch, Order, OrderEvent, OrderStatus, Payouts
    from settlement.positions import Position
    from switch.commands.common import Node

app = group()
BatchId = Annotated[str, typer.Argument(metavar="BATCH", help="help_arg_batch")]
PayoutDate = Annotated[str | None, typer.Option("--date", help="help_opt_payout_date")]


@app.command("due", help="help_payout_due")
def show_due(
    date: PayoutDate = None,
    json: Json = False,  # noqa: FBT002 - a flag of the command line
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    on = payout_date(node, day(date))
    found = asked(node, lambda payouts: due.positions(payouts, on))
    if json:
        print_objects(found)
    else:
        positions(node, found)
    end(Exit.DONE)


def positions(node: Node, found: list[Position]) -> None:
    columns = ("payee", "currency", "cycle", "through", "payable>", "held>", "reserve>",
               "due>", "to_pay>", "account", "reason")  # fmt: skip
    rows = [
        (
            one.payee,
            one.currency,
            one.cycle,
            str(one.through or ""),
            *(
                money(amount, one.currency)
                for amount in (
                    one.payable_minor,
                    one.held_minor,
                    one.reserve_minor,
                    one.due_minor,
                    one.amount_minor,
                )
            ),
            one.account,
            text(node, f"reason_{one.reason}") + (f" ({one.note})" if one.note else ""),
        )
        for one in found
    ]
    show_table(node, columns, rows)


def batch_object(batch: Batch, state: str) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(batch)
    return {**made, "debtor_account": hidden(batch.debtor_account), "state": state}


def order_object(
    order: Order, event: OrderEvent | None, reported: OrderStatus | None
) -> dict[str, Any]:
    """With what the bank did last, and what it said last."""
    made: dict[str, Any] = msgspec.to_builtins(order)
    return {
        **made,
        "creditor_account": hidden(order.creditor_account),
        "state": event.kind if event else "",
        "reason": event.reason if event else "",
        "reported": reported.status if reported else "",
        "reported_reason": reported.reason if reported else "",
    }


def hidden(account: str) -> str:
    """An account number, which may be a card's, by its last four digits.

    >>> hidden("6222021234567890123")
    '***************0123'
    """
    return "*" * (len(account) - 4) + account[-4:] if len(account) > 4 else "*" * len(account)


@app.command("list", help="help_payout_list")
def list_batches(
    date: Day = None,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    on = day(date)
    found = asked(node, lambda payouts: batches_with_states(payouts, on))
    if json:
        print_objects(batch_object(*each) for each in found)
    else:
        columns = ("batch", "kind", "account", "currency", "count>", "sum>", "state", "maker")
        show_table(
            node,
            columns,
            (
                (
                    one.id,
                    text(node, f"kind_{one.kind}"),
                    one.account,
                    one.currency,
                    str(one.count),
                    money(one.sum_minor, one.currency),
                    text(node, f"batch_{state}"),
                    one.maker,
                )
                for one, state in found
            ),
        )
    end(Exit.DONE)


async def batches_with_states(payouts: Payouts, on: dt.date | None) -> list[tuple[Batch, str]]:
    batches = await payouts.batches(on)
    names = [batch.id for batch in batches]
    decided = {one.batch: str(one.decision) for one in await payouts.decisions(names)}
    written = {one.batch for one in await payouts.files(names)}
    return [
        (batch, "exported" if batch.id in written else decided.get(batch.id, "proposed"))
        for batch in batches
    ]


@app.command("show", help="help_payout_show")
def show_batch(
    batch: BatchId,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)

    async def read(payouts: Payouts) -> tuple[list[tuple[Batch, str]], list[dict[str, Any]]]:
        found = [each for each in await batches_with_states(payouts, None) if each[0].id == batch]
        return found, await orders_with_states(payouts, await payouts.orders([batch]))

    found, orders = asked(node, read)
    if not found:
        raise CommandError(node.say("not_found", kind="batch", key=batch))
    if json:
        print_object({**batch_object(*found[0]), "orders": orders})
    else:
        show_orders(node, orders)
    end(Exit.DONE)


async def orders_with_states(payouts: Payouts, orders: list[Order]) -> list[dict[str, Any]]:
    """Each order with what the bank did last."""
    ids = [order.end_to_end_id for order in orders]
    events = await payouts.events(ids)
    # confirmed comes before returned; received ends nothing
    last = {
        one.end_to_end_id: one for one in sorted(events, key=lambda one: one.kind != "received")
    }
    reported = {one.end_to_end_id: one for one in await payouts.statuses(ids)}  # the last of each
    return [
        order_object(order, last.get(name), reported.get(name))
        for name, order in zip(ids, orders, strict=True)
    ]


def show_orders(node: Node, orders: list[dict[str, Any]]) -> None:
    columns = ("order", "payee", "currency", "amount>", "fee>", "through", "account", "state",
               "reason", "status")  # fmt: skip
    rows = [
        (
            one["end_to_end_id"],
            one["payee"],
            one["currency"],
            money(one["amount_minor"], one["currency"]),
            money(one["fee_minor"], one["currency"]),
            str(one["through"]),
            one["creditor_account"],
            text(node, f"order_{one['state']}") if one["state"] else "",
            one["reason"],
            f"{one['reported']} {one['reported_reason']}".strip(),
        )
        for one in orders
    ]
    show_table(node, columns, rows)


@app.command("returns", help="help_payout_returns")
def show_returns(
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)

    async def read(payouts: Payouts) -> list[dict[str, Any]]:
        return await orders_with_states(payouts, await payouts.returned_orders())

    found = asked(node, read)
    if json:
        print_objects(found)
    else:
        show_orders(node, found)
    end(Exit.DONE)
