"""`tongbao reserve`: the daily check of customers' money (备付金)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from settlement.adapters.files import DirectorySink
from settlement.chart import CHART
from settlement.payouts import sweep as sweeping
from settlement.payouts.dates import bring_on
from settlement.payouts.orders import SWEEP
from settlement.reports.csv import render
from settlement.reports.figures import money
from settlement.reports.reserve import table
from settlement.reserve import CHECK, OWN_INCOME, reserve_check
from switch.cli import ConfigFile, DataFolder, Demo, Json, Lang, day, end, group, node_of
from switch.commands.close import REPORTS
from switch.commands.common import Exit, print_line, print_objects
from switch.commands.desk import asked, done, payout_date
from switch.commands.ledger_tables import show as show_table, text
from switch.commands.payout import say_proposed
from switch.commands.payout_lists import PayoutDate  # noqa: TC001 - typer reads it

if TYPE_CHECKING:
    from settlement.four_eyes import Proposal
    from settlement.payouts.desk import Desk
    from settlement.payouts.ports import Batch, ReserveCheck, ReserveTerm
    from switch.commands.common import Node

app = group()


@app.callback()
def reserve() -> None:
    """Makes a group of the one command."""


@app.command(help="help_reserve_own")
def own(
    json: Json = False,  # noqa: FBT002 - a flag of the command line
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    found = asked(node, sweeping.sweepable)
    if json:
        print_objects(
            {**msgspec.structs.asdict(one), "amount_minor": one.amount_minor} for one in found
        )
    else:
        columns = ("currency", "what", "through", "standing>", "funded>", "uncovered>",
                   "proposed_before>", "may_go>")  # fmt: skip
        show_table(node, columns, (own_row(node, one) for one in found))
    end(Exit.DONE)


def own_row(node: Node, one: sweeping.Sweepable) -> tuple[str, ...]:
    amounts = (
        one.standing_minor,
        one.funded_minor,
        one.uncovered_minor,
        one.pending_minor,
        one.amount_minor,
    )
    shown = (money(amount, one.currency) for amount in amounts)
    return one.currency, text(node, f"what_{one.what}"), str(one.through), *shown


@app.command(help="help_reserve_sweep")
def sweep(
    date: PayoutDate = None,
    currency: Annotated[str, typer.Option("--currency", help="help_opt_currency")] = "",
    what: Annotated[str, typer.Option("--what", help="help_opt_sweep_what")] = "",
    amount: Annotated[
        int | None, typer.Option("--amount", min=1, help="help_opt_sweep_amount")
    ] = None,
    to: Annotated[str, typer.Option("--to", help="help_opt_sweep_to")] = "",
    json: Json = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    if what not in ("", *sweeping.WHATS):
        raise typer.BadParameter(", ".join(sweeping.WHATS), param_hint="--what")
    node = node_of(config, data, lang, demo=demo)
    on = payout_date(node, day(date))

    async def act(desk: Desk, _: str) -> list[tuple[Batch, Proposal]]:
        await bring_on(desk, on)
        return await sweeping.sweep(
            desk, on, currency=currency, what=what, amount_minor=amount, to=to
        )

    made = done(node, f"propose:{SWEEP}", on.isoformat(), act)
    say_proposed(node, made, nothing="sweep_nothing", as_json=json)


@app.command(help="help_reserve_check")
def check(
    date: Annotated[str, typer.Option("--date", help="help_opt_date")],
    json: Json = False,  # noqa: FBT002 - a flag of the command line
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    """Exit 1 where a difference was found; each is a case."""
    node = node_of(config, data, lang, demo=demo)
    on = day(date)
    assert on is not None

    async def act(desk: Desk, _: str) -> list[ReserveCheck]:
        await bring_on(desk, payout_date(node, None))
        return await reserve_check(desk, on)

    found = done(node, f"do:{CHECK}", on.isoformat(), act)
    name = f"{on.isoformat()}/reserve.csv"
    folder = node.config.data_folder / REPORTS
    sink = DirectorySink(folder)
    sink.write(name, as_csv(found))
    sink.sync()
    if json:
        print_objects(found)
    else:
        for one in found:
            show_check(node, one)
        print_line(str(folder / name))
    differing = any(one.bank_difference_minor or one.cover_difference_minor for one in found)
    end(Exit.DIFFERENCES if differing else Exit.DONE)


def as_csv(found: list[ReserveCheck]) -> bytes:
    """As the date's close writes it."""
    return b"".join(render(table(found)))


def show_check(node: Node, check: ReserveCheck) -> None:
    def row(term: ReserveTerm) -> tuple[str, str, str]:
        amount = money(term.amount_minor, check.currency)
        return text(node, f"side_{term.side}"), term_name(node, term.term), amount

    rows = [row(term) for term in check.terms if term.amount_minor or term.side == "bank"]
    for name, difference in (
        ("bank", check.bank_difference_minor),
        ("cover", check.cover_difference_minor),
    ):
        of = text(node, f"difference_{name}")
        rows.append((text(node, "difference_reserve"), of, money(difference, check.currency)))
    title = f"{check.business_date} {check.currency}"
    show_table(node, ("side", "term", "amount>"), rows, title)


def term_name(node: Node, term: str) -> str:
    if term == OWN_INCOME:
        return text(node, OWN_INCOME)
    account = CHART.get(term)
    if account is None:
        return term  # account/statement
    return account.name_zh if node.language == "zh" else account.name
