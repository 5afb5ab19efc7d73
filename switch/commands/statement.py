"""`tongbao statement`: bank statements in (camt.053), and what became of their lines."""

from __future__ import annotations

import asyncio
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from settlement.payouts.dates import bring_on
from settlement.reports.figures import money
from settlement.statements import IMPORT, Taken, gaps, take_in
from switch.adapters.system import core_dumps_off
from switch.cli import ConfigFile, DataFolder, Demo, Json, Lang, PassphraseFd, end, group, node_of
from switch.commands.common import (
    CommandError,
    Exit,
    print_line,
    print_objects,
    reference,
)
from switch.commands.desk import asked, done, payout_date
from switch.commands.ledger_tables import show as show_table, text
from switch.commands.payout_lists import hidden
from switch.data_keys import open_pans

if TYPE_CHECKING:
    from settlement.payouts.desk import Desk
    from settlement.payouts.ports import LineMatch, Payouts, Statement, StatementLine
    from switch.commands.common import Node

app = group()


@app.command("import", help="help_statement_import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="help_arg_statement")],
    json: Json = False,  # noqa: FBT002 - a flag of the command line
    demo: Demo = False,  # noqa: FBT002
    passphrase_fd: PassphraseFd = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    """Exit 1 where lines are left that nothing explains; each is a case."""
    node = node_of(config, data, lang, demo=demo, passphrase_fd=passphrase_fd)
    core_dumps_off()
    lmk = node.lmk()
    try:
        document = file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", Exit.USAGE) from error

    async def act(desk: Desk, dsn: str) -> list[Taken]:
        async with reference(dsn) as store:
            pans = open_pans(lmk, await store.snapshot())
        found = await take_in(desk, file.name, document, pans)
        await bring_on(desk, payout_date(node, None))
        return found

    found = done(node, f"do:{IMPORT}", file.name, act)
    if json:
        print_objects(found)
    else:
        for one in found:
            print_line(
                node.say(
                    f"statement_{one.state}",
                    account=one.statement.account,
                    statement=one.statement.id,
                    lines=one.statement.lines,
                    unmatched=one.unmatched,
                )
            )
    end(Exit.DIFFERENCES if any(one.unmatched for one in found) else Exit.DONE)


@app.command("list", help="help_statement_list")
def list_statements(
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    """Exit 1 where a statement is missing between two."""
    node = node_of(config, data, lang)

    async def read(payouts: Payouts) -> list[Statement]:
        return await payouts.statements()

    found = asked(node, read)
    missing = {(one.account, one.before): one for one in gaps(found)}
    if json:
        print_objects(
            {
                **msgspec.structs.asdict(one),
                "missing_before": missing.get((one.account, one.id)),
            }
            for one in found
        )
    else:
        columns = ("account", "bank_statement", "first_day", "last_day", "currency", "opening>",
                   "closing>", "lines>", "missing")  # fmt: skip
        show_table(node, columns, (_row(node, one, missing) for one in found))
    end(Exit.DIFFERENCES if missing else Exit.DONE)


def _row(node: Node, one: Statement, missing: dict[tuple[str, str], Any]) -> tuple[str, ...]:
    gap = missing.get((one.account, one.id))
    return (
        one.account,
        one.id,
        str(one.first),
        str(one.last),
        one.currency,
        money(one.opening_minor, one.currency),
        money(one.closing_minor, one.currency),
        str(one.lines),
        text(node, "missing_since", after=gap.after) if gap else "",
    )


@app.command("show", help="help_statement_show")
def show_statement(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="help_arg_bank_account")],
    statement: Annotated[str, typer.Argument(metavar="STATEMENT", help="help_arg_statement_id")],
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)

    async def read(payouts: Payouts) -> tuple[list[StatementLine], list[LineMatch], bool]:
        known = any(one.id == statement for one in await payouts.statements(account))
        lines, matches = await asyncio.gather(
            payouts.lines(account, statement), payouts.matches(account, statement)
        )
        return lines, matches, known

    lines, matches, known = asked(node, read)
    if not known:
        raise CommandError(node.say("not_found", kind="statement", key=f"{account}/{statement}"))
    by_line = {one.line: one for one in matches}
    if json:
        print_objects(line_object(one, by_line.get(one.line)) for one in lines)
    else:
        columns = ("line>", "booked_on", "currency", "amount>", "reference", "rule", "explained")
        show_table(
            node,
            columns,
            (
                (
                    str(one.line),
                    str(one.booked_on),
                    one.currency,
                    money(one.amount_minor, one.currency),
                    one.end_to_end_id or one.batch or one.reference,
                    match.rule if match else "",
                    " ".join(match.objects) if match else text(node, "line_open"),
                )
                for one in lines
                for match in [by_line.get(one.line)]
            ),
        )
    end(Exit.DONE)


def line_object(line: StatementLine, match: LineMatch | None) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(line)
    return {
        **made,
        "counterparty": hidden(line.counterparty),
        "match": None if match is None else msgspec.to_builtins(match),
    }
