"""`tongbao journal`: what was stored of every transaction, and why it was decided so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from switch.adapters.reading import Filter
from switch.adapters.recorded import Recorded, Span
from switch.cli import ConfigFile, DataFolder, Day, Json, Lang, day, end, group, node_of
from switch.commands.common import (
    CommandError,
    Exit,
    print_line,
    print_object,
    print_objects,
    print_progress,
    print_table,
    reading,
)
from switch.config import read_text
from switch.replay.journal_file import Head, Request, Writer
from switch.version import version

if TYPE_CHECKING:
    from switch.commands.common import Node

COLUMNS = (
    "business_date",
    "merchant",
    "terminal",
    "batch",
    "stan",
    "rrn",
    "type",
    "amount_minor",
    "currency",
    "acquirer",
    "state",
    "response_code",
    "pan_masked",
)
RRN_DIGITS = 12
PROGRESS_REQUESTS = 10_000
ID_MAX = 2**63 - 1  # request ids are int8


def list_transactions(node: Node, wanted: Filter, limit: int | None, *, as_json: bool) -> Exit:
    """JSON: one object a line, while they are read."""

    async def read(dsn: str) -> list[dict[str, Any]]:
        kept = []
        async with reading(dsn) as reader:
            async for each in reader.transactions(wanted, limit):
                if as_json:
                    print_objects([each])
                else:
                    kept.append(each)
        return kept

    with node.store() as store:
        rows = asyncio.run(read(store.dsn))
    if not as_json:
        print_table(COLUMNS, ([row[name] for name in COLUMNS] for row in rows))
    return Exit.DONE


def show_transaction(node: Node, name: str, *, as_json: bool) -> Exit:
    """One transaction by DE 37 or by its request id, with all that came later."""
    if not name.isascii() or not name.isalnum():
        raise CommandError("give an RRN (12 characters) or a request id", Exit.USAGE)
    by_rrn = len(name) == RRN_DIGITS
    if not by_rrn and not (
        name.isdecimal() and len(name) <= len(str(ID_MAX)) and int(name) <= ID_MAX
    ):
        raise CommandError("give an RRN (12 characters) or a request id", Exit.USAGE)
    wanted = Filter(rrn=name) if by_rrn else Filter(request_id=int(name))

    async def read(dsn: str) -> list[dict[str, Any]]:
        async with reading(dsn) as reader:
            found = [each async for each in reader.transactions(wanted)]
            return [{**each, **await reader.explain(each["request_id"])} for each in found]

    with node.store() as store:
        found = asyncio.run(read(store.dsn))
    if not found:
        raise CommandError(node.say("not_found", kind="transaction", key=name))
    for each in found:
        if as_json:
            print_object(each)
        else:
            print_table(("", ""), each.items())
    return Exit.DONE


def export(node: Node, target: Path, span: Span, *, as_json: bool) -> Exit:
    """Recorded traffic as a file that may leave this place."""
    if target.exists():
        raise CommandError(node.say("export_exists", path=target), Exit.USAGE)
    if not target.parent.is_dir():
        raise CommandError(node.say("export_no_folder", path=target.parent), Exit.USAGE)
    part = target.with_name(f".part-{target.name}")

    async def write(dsn: str) -> Recorded:
        async with Recorded.open(dsn, span) as recorded:
            head = Head(
                made_by=version(),
                begins_at=recorded.times.begins_at.isoformat(),
                business_date=str(recorded.business_date),
                timezone=node.config.timezone,
                settings={
                    "rules": msgspec.to_builtins(node.config.rules),
                    "batch": msgspec.to_builtins(node.config.batch),
                },
                dialects=tuple(read_text(Path(file)) for file in node.config.dialects),
            )
            try:
                writer = Writer(part, head)
            except OSError as error:
                raise CommandError(f"{part}: {error.strerror}") from error
            done = 0
            try:
                async for line in recorded.lines():
                    writer.add(line)
                    done += isinstance(line, Request)
                    if done % PROGRESS_REQUESTS == 0 and isinstance(line, Request) and not as_json:
                        print_progress(
                            node.say("export_progress", done=done, requests=recorded.requests)
                        )
                writer.end()
            except BaseException:
                writer.close()
                part.unlink(missing_ok=True)
                raise
            recorded.lines_written = writer.lines + 1
            return recorded

    with node.store() as store:
        recorded = asyncio.run(write(store.dsn))
    part.rename(target)
    told = {
        "path": str(target),
        "lines": recorded.lines_written,
        "requests": recorded.requests - recorded.early,
        "early": recorded.early,
        "first": str(span.first),
        "last": str(span.last),
    }
    if as_json:
        print_object(told)
    else:
        print_line(node.say("export_done", **told))
    return Exit.DONE


# -- the commands --------------------------------------------------------------------------------

app = group()


@app.command("list", help="help_list")
def journal_list(
    date: Day = None,
    merchant: Annotated[str | None, typer.Option("--merchant", help="help_arg_merchant")] = None,
    terminal: Annotated[str | None, typer.Option("--terminal", help="help_arg_terminal")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="help_opt_limit")] = None,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    wanted = Filter(business_date=day(date), merchant=merchant, terminal=terminal)
    end(list_transactions(node_of(config, data, lang), wanted, limit, as_json=json))


@app.command("export", help="help_journal_export")
def journal_export(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="help_arg_export_to")],
    date: Annotated[str, typer.Option("--date", help="help_opt_date")],
    until: Annotated[str | None, typer.Option("--until", help="help_opt_until")] = None,
    merchant: Annotated[str | None, typer.Option("--merchant", help="help_arg_merchant")] = None,
    terminal: Annotated[str | None, typer.Option("--terminal", help="help_arg_terminal")] = None,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    first = day(date)
    assert first is not None
    span = Span(first, day(until) or first, merchant, terminal)
    if span.last < span.first:
        raise typer.BadParameter("before --date", param_hint="--until")
    end(export(node_of(config, data, lang), target, span, as_json=json))


@app.command("show", help="help_show")
def journal_show(
    transaction: Annotated[str, typer.Argument(metavar="RRN|REQUEST", help="help_arg_transaction")],
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    end(show_transaction(node_of(config, data, lang), transaction, as_json=json))
