"""`tongbao report`: a date's reports again, out of what was stored, in any form."""

from __future__ import annotations

import asyncio
import calendar
import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from settlement.reports import (
    breaks,
    cases,
    csv,
    day as days,
    fees,
    html,
    merchant,
    reserve,
    shares,
    sums,
    xlsx,
)
from settlement.reports.figures import money
from settlement.reports.model import Money, Report, Table, Words
from settlement.shares import Agent, statements
from settlement.texts import TEXTS
from switch.cli import ConfigFile, DataFolder, Json, Lang, day, end, group, node_of
from switch.commands.common import CommandError, Exit, print_line, print_objects, print_table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from settlement.adapters.postgres import PostgresStore
    from switch.commands.common import Node

app = group()

FORMS = ("text", "html", "xlsx", "csv")

ReportDay = Annotated[str, typer.Option("--date", help="help_opt_date")]
Form = Annotated[str, typer.Option("--format", help="help_opt_form")]
Out = Annotated[Path | None, typer.Option("--out", help="help_opt_out")]
TableName = Annotated[str, typer.Option("--table", help="help_opt_table")]


async def _of_breaks(store: PostgresStore, on: dt.date) -> Report:
    return breaks.report(on, await _instant(store, on), await store.breaks(on))


async def _of_sums(store: PostgresStore, on: dt.date) -> Report:
    return sums.report(on, await _instant(store, on), await sums.lines_of(store, on))


async def _of_fees(store: PostgresStore, on: dt.date) -> Report:
    at, book = await _instant(store, on), store.fee_book()
    return fees.report(
        on,
        at,
        await book.discount_lines(on),
        await book.cost_lines(on),
        await book.agent_lines(on),
    )


async def _of_shares(store: PostgresStore, on: dt.date) -> Report:
    return shares.report(on, await _instant(store, on), await store.fee_book().agent_lines(on))


async def _of_reserve(store: PostgresStore, on: dt.date) -> Report:
    from settlement.adapters.payout_postgres import PostgresPayouts

    at = await _instant(store, on)
    checks = await PostgresPayouts(store.pool).checks(on)
    if not checks:
        raise CommandError(f"{on}: tongbao reserve check --date {on}", Exit.WAITING)
    return reserve.report(on, at, checks)


async def _of_cases(store: PostgresStore, on: dt.date) -> Report:
    from settlement.adapters.cases_postgres import PostgresCasework

    found = await days.open_cases(PostgresCasework(store.pool), on)
    return cases.report(on, await _instant(store, on), found)


async def _of_day(store: PostgresStore, on: dt.date) -> Report:
    return days.report(await _day_of(store, on))


# Reports of one date that take nothing else.
OF_A_DATE: Final[dict[str, Callable[[PostgresStore, dt.date], Awaitable[Report]]]] = {
    "day": _of_day,
    "breaks": _of_breaks,
    "sums": _of_sums,
    "cases": _of_cases,
    "fees": _of_fees,
    "shares": _of_shares,
    "reserve": _of_reserve,
}


def _mount(name: str, make: Callable[[PostgresStore, dt.date], Awaitable[Report]]) -> None:
    @app.command(name, help=f"help_report_{name}")
    def command(
        date: ReportDay,
        form: Form = "text",
        out: Out = None,
        table: TableName = "",
        json: Json = False,  # noqa: FBT002 - a flag of the command line
        config: ConfigFile = None,
        data: DataFolder = None,
        lang: Lang = "",
    ) -> None:
        on = _day(date)
        node = node_of(config, data, lang)
        end(tell(node, lambda store: make(store, on), form, out, table, as_json=json))


for _name, _make in OF_A_DATE.items():
    _mount(_name, _make)


@app.command("merchant", help="help_report_merchant")
def merchant_command(
    date: ReportDay,
    merchant_id: Annotated[str, typer.Option("--merchant", help="help_arg_merchant")],
    form: Form = "text",
    out: Out = None,
    table: TableName = "",
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    on, node = _day(date), node_of(config, data, lang)

    async def make(store: PostgresStore) -> Report:
        made = await _day_of(store, on)
        nets = [net for net in made.nets if net.merchant == merchant_id]
        if not nets and merchant_id not in made.merchant_names:
            raise CommandError(node.say("not_found", kind="merchant", key=merchant_id))
        pieces: list[bytes] = []
        await store.fee_book().detail(on, pieces.append, merchant_id)
        return merchant.report(
            on,
            made.at,
            merchant_id,
            days.display_name(made.merchant_names, merchant_id),
            nets,
            b"".join(pieces),
        )

    end(tell(node, make, form, out, table, as_json=json))


@app.command("statement", help="help_report_statement")
def statement_command(
    agent: Annotated[str, typer.Option("--agent", help="help_opt_agent")],
    month: Annotated[str, typer.Option("--month", metavar="YYYY-MM", help="help_opt_month")],
    form: Form = "text",
    out: Out = None,
    table: TableName = "",
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    try:
        first = dt.date.fromisoformat(f"{month}-01")
    except ValueError:
        raise typer.BadParameter("YYYY-MM", param_hint="--month") from None
    last = first.replace(day=calendar.monthrange(first.year, first.month)[1])

    async def make(store: PostgresStore) -> Report:
        from settlement.fees import Tariffs
        from settlement.ports import REFERENCE_KINDS

        contract = Tariffs(await store.references(REFERENCE_KINDS)).in_force("agent", agent, last)
        if contract is None:
            raise CommandError(f"agent {agent} is not in force on {last}")
        rate = msgspec.convert(contract.content, Agent, strict=False).vat_rate
        lines = await store.fee_book().share_lines(agent, first, last)
        closed = max((line.business_date for line in lines), default=None)
        if closed is None:
            raise CommandError(f"agent {agent} has no shares in {month}", Exit.WAITING)
        at = await _instant(store, closed)
        return shares.statement(at, agent, month, statements(agent, month, rate, lines))

    end(tell(node_of(config, data, lang), make, form, out, table, as_json=json))


def _day(text: str) -> dt.date:
    found = day(text)
    assert found is not None
    return found


async def _instant(store: PostgresStore, on: dt.date) -> dt.datetime:
    """The recorded instant of a date's first run; refused while its nets are not made."""
    if "net" not in await store.steps(on):
        raise CommandError(f"{on} is not closed yet", Exit.WAITING)
    return await store.begin(on, dt.datetime.max.replace(tzinfo=dt.UTC))  # recorded: not written


async def _day_of(store: PostgresStore, on: dt.date) -> days.Day:
    from settlement.adapters.cases_postgres import PostgresCasework
    from settlement.adapters.payout_postgres import PostgresPayouts
    from settlement.fees import Tariffs
    from settlement.ports import REFERENCE_KINDS

    at = await _instant(store, on)
    tariffs = Tariffs(await store.references(REFERENCE_KINDS))
    return await days.day_of(
        store,
        await days.stored_sums(store, on),
        on,
        at,
        await store.steps(on),
        tariffs,
        casework=PostgresCasework(store.pool),
        payouts=PostgresPayouts(store.pool),
    )


def tell(
    node: Node,
    make: Callable[[PostgresStore], Awaitable[Report]],
    form: str,
    out: Path | None,
    table: str,
    *,
    as_json: bool,
) -> Exit:
    """Make the report, and print or write it."""
    if form not in FORMS:
        raise typer.BadParameter(", ".join(FORMS), param_hint="--format")

    async def read(dsn: str) -> Report:
        from settlement.adapters.postgres import open_postgres
        from switch.adapters.servers import Servers

        async with open_postgres(await Servers(dsn).primary()) as (store, _):
            return await make(store)

    with node.store() as store:
        made = asyncio.run(read(store.dsn))
    if as_json:
        for one in chosen(made, table):
            print_objects(objects(one))
    elif form == "text":
        show(made, node.language, table)
    else:
        write(made, form, out, table)
    return Exit.DONE


def chosen(made: Report, table: str) -> list[Table]:
    found = [one for one in made.tables if table in ("", one.key)]
    if not found:
        names = ", ".join(one.key for one in made.tables)
        raise CommandError(f"--table: no {table}; there are {names}", Exit.USAGE)
    return found


def objects(table: Table) -> Iterator[dict[str, Any]]:
    """A table's rows for scripts: the columns of its CSV, and which table it is."""
    seen = [(n, table.columns[n].csv_heading) for n in table.seen("data")]
    for row in table.rows:
        values = {name: row[n] for n, name in seen}
        yield {
            "table": table.key,
            **{k: _plain(v) for k, v in values.items()},
        }


def _plain(cell: object) -> object:
    if isinstance(cell, Words):
        return str(cell)
    return cell.amount_minor if isinstance(cell, Money) else cell


def show(made: Report, language: str, table: str) -> None:
    """Tables for the screen, in one language."""
    half = int(language == "zh")
    print_line(f"{TEXTS[made.key][half]} {made.subject}")
    for one in chosen(made, table):
        print_line(f"\n{TEXTS[one.key][half]}")
        seen = one.seen("page")
        print_table(
            [TEXTS[one.columns[n].heading][half] for n in seen],
            ([_shown(row[n], half) for n in seen] for row in (*one.rows, *one.foot)),
        )


def _shown(cell: object, half: int) -> str:
    if isinstance(cell, Words):
        return cell.chinese if half else cell.english
    if isinstance(cell, Money):
        return money(cell.amount_minor, cell.currency)
    return "" if cell is None else str(cell)


def write(made: Report, form: str, out: Path | None, table: str) -> None:
    if form == "csv":  # one table: the first where none is named
        content = b"".join(csv.render(chosen(made, table)[0]))
    else:
        content = (html if form == "html" else xlsx).render(made)
    if out is None:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    try:
        out.write_bytes(content)
    except OSError as error:
        raise CommandError(f"{out}: {error.strerror}", Exit.USAGE) from error
