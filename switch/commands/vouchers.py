"""`tongbao ledger propose-entry` and what goes with it: entries by hand, of two people."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from settlement import vouchers
from settlement.adapters.vouchers_postgres import open_vouchers
from settlement.limits import LedgerLimitError
from settlement.settings import DEFAULTS
from switch.adapters.servers import Servers
from switch.cli import (
    ConfigFile,
    DataFolder,
    Day,
    Demo,
    Json,
    Lang,
    bounded,
    day,
    end,
    group,
    node_of,
)
from switch.commands.common import (
    CommandError,
    Exit,
    actor,
    office,
    print_line,
    print_objects,
    refusals,
)
from switch.commands.desk import payout_date
from switch.commands.ledger_tables import show as show_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from settlement.four_eyes import Actor, Approval, Proposal
    from settlement.vouchers import Note, Vouchers
    from switch.commands.common import Node
    from switch.people.ports import People

app = group()
Number = Annotated[str, typer.Argument(metavar="VOUCHER", help="help_arg_voucher")]
Legs = list[str] | None
Why = Annotated[str, typer.Option("--reason", help="help_opt_voucher_reason", callback=bounded)]
Proof = Annotated[
    str, typer.Option("--evidence", help="help_opt_voucher_evidence", callback=bounded)
]


@app.command("propose-entry", help="help_ledger_propose_entry")
def propose_entry(
    voucher: Number,
    reason: Why,
    evidence: Proof,
    debit: Annotated[Legs, typer.Option("--debit", help="help_opt_debit")] = None,
    credit: Annotated[Legs, typer.Option("--credit", help="help_opt_credit")] = None,
    currency: Annotated[
        str, typer.Option("--currency", help="help_opt_currency")
    ] = DEFAULTS.currency,
    settlement_date: Annotated[
        str | None, typer.Option("--settlement-date", help="help_opt_voucher_date")
    ] = None,
    demo: Demo = False,  # noqa: FBT002 - a flag of the command line
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo)
    about = payout_date(node, day(settlement_date))

    async def do(books: Vouchers, people: People, who: Actor) -> Proposal:
        legs = vouchers.legs_of(debit or (), credit or ())
        asked = vouchers.Voucher(voucher, currency, about, legs, reason, evidence)
        return await vouchers.propose_entry(books, people, who, asked)

    _propose(node, vouchers.ENTRY, voucher, do)


@app.command("propose-reversal", help="help_ledger_propose_reversal")
def propose_reversal(
    voucher: Number,
    reason: Why,
    evidence: Proof,
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo)

    async def do(books: Vouchers, people: People, who: Actor) -> Proposal:
        return await vouchers.propose_reversal(books, people, who, voucher, reason, evidence)

    _propose(node, vouchers.REVERSAL, voucher, do)


def _propose(
    node: Node,
    act: str,
    voucher: str,
    do: Callable[[Vouchers, People, Actor], Awaitable[Proposal]],
) -> None:
    async def run(dsn: str, who: Actor) -> Proposal:
        async with (
            office(dsn) as desk,
            refusals(desk.people, who, f"propose:{act}", voucher),
            opened(node, dsn) as books,
        ):
            return await do(books, desk.people, who)

    with node.store() as store:
        made = asyncio.run(run(store.dsn, actor(node, store.dsn)))
    print_line(node.say("proposed", proposal=made.id))
    end(Exit.WAITING)


@app.command("approve-entry", help="help_ledger_approve_entry")
def approve_entry(
    voucher: Number,
    sha256: Annotated[str | None, typer.Option("--sha256", help="help_opt_sha256")] = None,
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    """`approval approve` of what is proposed of the voucher; where several are, they are named."""
    from switch.commands import approval

    node = node_of(config, data, lang, demo=demo)

    async def pending(dsn: str) -> list[Proposal]:
        async with office(dsn) as desk:
            found = await desk.people.pending([vouchers.ENTRY, vouchers.REVERSAL])
        return [one for one in found if one.subject == voucher]

    with node.store() as store:
        found = asyncio.run(pending(store.dsn))
    if len(found) != 1:
        names = ", ".join(one.id for one in found) or "-"
        raise CommandError(node.say("voucher_pending", voucher=voucher, proposals=names))
    approval.approve(found[0].id, sha256=sha256, demo=demo, config=config, data=data, lang=lang)


async def post_approved(node: Node, dsn: str, approval: Approval) -> None:
    """What an approval of `ledger.entry` or `ledger.reversal` lets through."""
    async with opened(node, dsn) as books:
        made = await vouchers.post(books, approval)
    print_line(node.say("voucher_posted", source=made.source, key=made.key, day=made.business_date))


@app.command("vouchers", help="help_ledger_vouchers")
def list_vouchers(
    date: Day = None,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node, on = node_of(config, data, lang), day(date)

    async def read(dsn: str) -> list[tuple[Note, str]]:
        async with opened(node, dsn) as books:
            found = []
            for one in await books.notes():
                made = await books.entry(one.source, one.key)
                assert made is not None, f"{one.source} {one.key} has a note and no entry"
                if on in (None, made.business_date):
                    found.append((one, made.business_date.isoformat()))
            return found

    with node.store() as store:
        found = asyncio.run(read(store.dsn))
    if json:
        print_objects(
            {**msgspec.structs.asdict(one), "business_date": booked} for one, booked in found
        )
    else:
        columns = ("source", "key", "business_date", "maker", "checker", "reason", "evidence")
        show_table(
            node,
            columns,
            (
                (one.source, one.key, booked, one.maker, one.checker, one.reason, one.evidence)
                for one, booked in found
            ),
        )
    end(Exit.DONE)


@asynccontextmanager
async def opened(node: Node, dsn: str) -> AsyncIterator[Vouchers]:
    """The store; what can not be done is the command's failure."""
    async with open_vouchers(await Servers(dsn).primary()) as books:
        try:
            yield books
        except vouchers.VoucherError as error:
            raise CommandError(node.told(error), Exit.USAGE) from error
        except LedgerLimitError as error:
            raise CommandError(node.told(error)) from error
