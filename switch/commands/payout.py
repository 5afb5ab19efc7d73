"""`tongbao payout`: batches from proposal to file, and what banks say of them."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from settlement.adapters.files import DirectorySink
from settlement.four_eyes import Actor
from settlement.payouts import (
    export as exporting,
    propose as proposing,
    rejection,
    release as releasing,
    status,
)
from settlement.payouts.dates import bring_on
from settlement.payouts.orders import RELEASE, SWEEP
from settlement.reports.figures import money
from switch.adapters.system import core_dumps_off
from switch.cli import (
    ConfigFile,
    DataFolder,
    Demo,
    Json,
    Lang,
    PassphraseFd,
    day,
    end,
    group,
    node_of,
    said,
)
from switch.commands import payout_lists
from switch.commands.common import (
    CommandError,
    Exit,
    print_line,
    print_object,
    print_objects,
    reference,
)
from switch.commands.desk import FOLDER, asked, desk_of, done, payout_date, told
from switch.commands.ledger_tables import show as show_table
from switch.commands.payout_lists import BatchId, PayoutDate, batch_object
from switch.data_keys import open_pans

if TYPE_CHECKING:
    from settlement.four_eyes import Approval, Proposal
    from settlement.payouts.desk import Desk
    from settlement.payouts.ports import Batch, PayoutFile, Payouts
    from settlement.payouts.status import TakenReport
    from switch.commands.common import Node

app = group()
app.add_typer(payout_lists.app)


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
    say_proposed(node, made, nothing="payout_nothing", as_json=json)


def say_proposed(
    node: Node, made: list[tuple[Batch, Proposal]], *, nothing: str, as_json: bool
) -> None:
    """What waits for a second person; ends the command."""
    if as_json:
        print_objects({**batch_object(batch, "proposed"), "proposal": of.id} for batch, of in made)
    elif not made:
        print_line(node.say(nothing))
    for batch, of in () if as_json else made:
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
    end(Exit.WAITING if made else Exit.DONE)


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
    approve(proposal, sha256, demo, None, config, data, lang)


def pending_proposal(node: Node, batch: str) -> str:
    """The id of the batch's proposal; empty where none waits."""
    import asyncio

    from switch.commands.common import office

    async def read(dsn: str) -> str:
        async with office(dsn) as desk:
            pending = await desk.people.pending([RELEASE, SWEEP])
        return next((one.id for one in pending if one.subject == batch), "")

    with node.store() as store:
        return asyncio.run(read(store.dsn))


async def release_approved(node: Node, dsn: str, approval: Approval) -> None:
    """What an approval of `payout.release` or `reserve.sweep` lets through."""
    with told(node):
        async with desk_of(node, dsn, Actor(approval.checker)) as desk:
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
    reason: Annotated[str, typer.Option("--reason", help="help_opt_reject_reason", callback=said)],
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
    with told(node):
        async with desk_of(node, dsn, Actor(approval.checker)) as desk:
            order = await rejection.reject(desk, approval)
    print_line(node.say("payout_rejected", order=order.end_to_end_id))


@app.command("import-status", help="help_payout_import_status")
def import_status(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="help_arg_status_file")],
    json: Json = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    passphrase_fd: PassphraseFd = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    """Exit 1 where the bank says what our statements or its reports contradict."""
    node = node_of(config, data, lang, demo=demo, passphrase_fd=passphrase_fd)
    core_dumps_off()
    lmk = node.lmk()
    try:
        document = file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", Exit.USAGE) from error

    async def act(desk: Desk, dsn: str) -> TakenReport:
        async with reference(dsn) as store:
            pans = open_pans(lmk, await store.snapshot())
        found = await status.take_in(desk, file.name, document, pans)
        await bring_on(desk, payout_date(node, None))
        return found

    found = done(node, f"do:{status.STATUS}", file.name, act)
    if json:
        print_object(found)
    else:
        show_report(node, found)
    end(Exit.DIFFERENCES if any(one.disagrees for one in found.statuses) else Exit.DONE)


def show_report(node: Node, found: TakenReport) -> None:
    print_line(
        node.say(
            f"report_{found.state}",
            report=found.report.id,
            batch=found.report.batch,
            orders=found.report.orders,
            rejected=len(found.rejected),
        )
    )
    columns = ("order", "status", "reason", "disagrees")
    rows = [(one.end_to_end_id, one.status, one.reason, one.disagrees) for one in found.statuses]
    show_table(node, columns, rows)
