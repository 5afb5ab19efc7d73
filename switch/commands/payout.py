"""`tongbao payout`: what is due, batches from proposal to file, and what came back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from settlement.adapters.files import DirectorySink
from settlement.four_eyes import Actor
from settlement.payouts import (
    due,
    export as exporting,
    propose as proposing,
    rejection,
    release as releasing,
)
from settlement.payouts.dates import bring_on
from settlement.payouts.orders import RELEASE
from settlement.reports.figures import money
from switch.cli import ConfigFile, DataFolder, Day, Demo, Json, Lang, day, end, group, node_of
from switch.commands.common import CommandError, Exit, print_line, print_object, print_objects
from switch.commands.desk import FOLDER, asked, desk_of, done, payout_date, told
from switch.commands.ledger_tables import show as show_table, text

if TYPE_CHECKING:
    import datetime as dt

    from settlement.four_eyes import Approval, Proposal
    from settlement.payouts.desk import Desk
    from settlement.payouts.ports import Batch, Order, PayoutFile, Payouts
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


@app.command(help="help_payout_propose")
def propose(
    date: PayoutDate = None,
    replace: Annotated[list[str] | None, typer.Option("--replace", help="help_opt_replace")] = None,
    json: Json = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo)
    on = payout_date(node, day(date))

    async def act(desk: Desk, _: str) -> list[tuple[Batch, Proposal]]:
        await bring_on(desk, on)
        return await proposing.propose(desk, on, replace or ())

    made = done(node, f"propose:{RELEASE}", on.isoformat(), act)
    if json:
        print_objects({**batch_object(batch, "proposed"), "proposal": of.id} for batch, of in made)
    elif not made:
        print_line(node.say("payout_nothing"))
    for batch, of in () if json else made:
        print_line(
            node.say(
                "payout_proposed",
                batch=batch.id,
                count=batch.count,
                amount=money(batch.sum_minor, batch.currency),
                currency=batch.currency,
                account=batch.account,
                proposal=of.id,
            )
        )
    end(Exit.WAITING if made else Exit.DONE)  # a second person is to release them


@app.command(help="help_payout_release")
def release(
    batch: BatchId,
    sha256: Annotated[str | None, typer.Option("--sha256", help="help_opt_sha256")] = None,
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    """`approval approve` by the batch's name."""
    from switch.commands.approval import approve

    node = node_of(config, data, lang, demo=demo)

    async def find(payouts: Payouts) -> str:
        decided = await payouts.decisions([batch])
        return decided[0].proposal if decided else ""

    proposal = pending_proposal(node, batch) or asked(node, find)
    if not proposal:
        raise CommandError(node.say("not_found", kind="proposal", key=batch))
    approve(proposal, sha256, demo, config, data, lang)


def pending_proposal(node: Node, batch: str) -> str:
    """The id of the batch's proposal; empty where none waits."""
    import asyncio

    from switch.commands.common import office

    async def read(dsn: str) -> str:
        async with office(dsn) as desk:
            pending = await desk.people.pending([RELEASE])
        return next((one.id for one in pending if one.subject == batch), "")

    with node.store() as store:
        return asyncio.run(read(store.dsn))


async def release_approved(node: Node, dsn: str, approval: Approval) -> None:
    """What an approval of `payout.release` lets through."""
    with told():
        async with desk_of(dsn, Actor(approval.checker)) as desk:
            batch = await releasing.release(desk, approval)
            await bring_on(desk, batch.payout_date)
    print_line(node.say("payout_released", batch=batch.id))


@app.command(help="help_payout_withdraw")
def withdraw(
    batch: BatchId,
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo)

    async def act(desk: Desk, _: str) -> Batch:
        return await releasing.withdraw(desk, batch)

    done(node, f"do:{releasing.WITHDRAW}", batch, act)
    print_line(node.say("payout_withdrawn", batch=batch))
    end(Exit.DONE)


@app.command(help="help_payout_export")
def export(
    batch: BatchId,
    json: Json = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo)
    folder = node.config.data_folder / FOLDER

    async def act(desk: Desk, _: str) -> PayoutFile:
        return await exporting.export(desk, batch, DirectorySink(folder))

    made = done(node, f"do:{exporting.EXPORT}", batch, act)
    if json:
        print_object({**msgspec.structs.asdict(made), "path": str(folder / made.name)})
    else:
        print_line(str(folder / made.name))
    end(Exit.DONE)


@app.command(help="help_payout_reject")
def reject(
    order: Annotated[str, typer.Argument(metavar="END_TO_END_ID", help="help_arg_order")],
    reason: Annotated[str, typer.Option("--reason", help="help_opt_reject_reason")],
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo)

    async def act(desk: Desk, _: str) -> Proposal:
        return await rejection.propose_rejection(desk, order, reason)

    made = done(node, f"propose:{rejection.REJECT}", order, act)
    print_line(node.say("proposed", proposal=made.id))
    end(Exit.WAITING)


async def reject_approved(node: Node, dsn: str, approval: Approval) -> None:
    """What an approval of `payout.reject` lets through."""
    with told():
        async with desk_of(dsn, Actor(approval.checker)) as desk:
            order = await rejection.reject(desk, approval)
    print_line(node.say("payout_rejected", order=order.end_to_end_id))


# -- lists ----------------------------------------------------------------------------------------


def batch_object(batch: Batch, state: str) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(batch)
    return {**made, "debtor_account": hidden(batch.debtor_account), "state": state}


def order_object(order: Order, state: str, reason: str) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(order)
    return {
        **made,
        "creditor_account": hidden(order.creditor_account),
        "state": state,
        "reason": reason,
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
    last = {
        one.end_to_end_id: one  # confirmed comes before returned
        for one in await payouts.events([order.end_to_end_id for order in orders])
    }
    made = []
    for order in orders:
        event = last.get(order.end_to_end_id)
        made.append(order_object(order, event.kind if event else "", event.reason if event else ""))
    return made


def show_orders(node: Node, orders: list[dict[str, Any]]) -> None:
    columns = ("order", "payee", "currency", "amount>", "fee>", "through", "account", "state",
               "reason")  # fmt: skip
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
