"""`tongbao date`: how far a business date has come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from settlement.adapters.payout_postgres import open_payouts
from settlement.adapters.postgres import open_postgres
from settlement.ports import STEPS
from switch.adapters.servers import Servers
from switch.cli import ConfigFile, DataFolder, Json, Lang, day, end, group, node_of
from switch.commands.common import CommandError, Exit, print_object
from switch.commands.ledger_tables import show as show_table, text

if TYPE_CHECKING:
    import datetime as dt

app = group()


@app.callback()
def date() -> None:
    """Makes a group of the one command."""


@app.command("show", help="help_date_show")
def show(
    business_date: Annotated[str, typer.Argument(metavar="DATE", help="help_opt_date")],
    json: Json = False,  # noqa: FBT002 - a flag of the command line
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    """The switch's state, the steps of the day's end, and what came after."""
    node = node_of(config, data, lang)
    on = day(business_date)
    assert on is not None

    with node.store() as store:
        state, steps, states = asyncio.run(read(store.dsn, on))
    if state is None:
        raise CommandError(node.say("not_found", kind="date", key=on.isoformat()))
    if json:
        print_object({"business_date": on, "state": state, "steps": steps, "states": states})
    else:
        rows = [("", text(node, f"date_{state}"))]
        rows += [(text(node, "step"), text(node, f"step_{name}")) for name in steps]
        rows += [(text(node, "state"), text(node, f"date_{name}")) for name in states]
        show_table(node, ("", "reached"), rows, on.isoformat())
    end(Exit.DONE)


async def read(dsn: str, on: dt.date) -> tuple[str | None, list[str], list[str]]:
    """State, steps that are done, states that were reached, each in their order."""
    primary = await Servers(dsn).primary()
    async with open_postgres(primary) as (books, dates), open_payouts(primary) as payouts:
        done = await books.steps(on)
        reached = sorted(await payouts.states(on), key=lambda one: one.generation)
        return (
            await dates.state(on),
            [name for name in STEPS if name in done],
            [one.state for one in reached],
        )
