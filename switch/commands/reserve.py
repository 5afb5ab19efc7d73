"""`tongbao reserve`: the daily check of customers' money (备付金)."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from settlement.adapters.files import DirectorySink
from settlement.chart import CHART
from settlement.payouts.dates import bring_on
from settlement.reports.figures import money
from settlement.reserve import CHECK, OWN_INCOME, reserve_check
from switch.cli import ConfigFile, DataFolder, Demo, Json, Lang, day, end, group, node_of
from switch.commands.close import REPORTS
from switch.commands.common import Exit, print_line, print_objects
from switch.commands.desk import done, payout_date
from switch.commands.ledger_tables import show as show_table, text

if TYPE_CHECKING:
    from settlement.payouts.desk import Desk
    from settlement.payouts.ports import ReserveCheck, ReserveTerm
    from switch.commands.common import Node

app = group()


@app.callback()
def reserve() -> None:
    """Makes a group of the one command."""


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
    DirectorySink(folder).write(name, as_csv(found))
    if json:
        print_objects(found)
    else:
        for one in found:
            show_check(node, one)
        print_line(str(folder / name))
    differing = any(one.bank_difference_minor or one.cover_difference_minor for one in found)
    end(Exit.DIFFERENCES if differing else Exit.DONE)


def as_csv(found: list[ReserveCheck]) -> bytes:
    """One line a term, in minor units; differences as terms of their own."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("business_date", "currency", "side", "term", "amount_minor"))
    for check in found:
        of = (check.business_date, check.currency)
        writer.writerows((*of, *msgspec.structs.astuple(term)) for term in check.terms)
        writer.writerow((*of, "difference", "bank", check.bank_difference_minor))
        writer.writerow((*of, "difference", "cover", check.cover_difference_minor))
    return lines.getvalue().encode()


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
