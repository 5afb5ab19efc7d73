"""`tongbao audit`: the log of privileged acts, and whether it is what was appended."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from switch.cli import ConfigFile, DataFolder, Json, Lang, end, group, node_of
from switch.commands.common import (
    CommandError,
    Exit,
    office,
    print_line,
    print_object,
    print_objects,
    print_table,
)
from switch.people.audit import Anchor, Broken, Verifier

if TYPE_CHECKING:
    from switch.commands.common import Node
    from switch.people.audit import Record

app = group()
COLUMNS = ("seq", "at", "actor", "act", "object", "result")


@app.command("list", help="help_audit_list")
def list_records(
    actor: Annotated[str | None, typer.Option("--actor", help="help_opt_actor")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="help_opt_last")] = None,
    json: Json = False,  # noqa: FBT002 - a flag of the command line
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)

    at_once = json and limit is None  # a log of any length takes little memory then

    async def read(dsn: str) -> deque[Record]:
        kept: deque[Record] = deque(maxlen=limit)
        async with office(dsn) as desk:
            async for record in desk.people.records():
                if actor is not None and record.actor != actor:
                    continue
                if at_once:
                    print_objects([as_object(record)])
                else:
                    kept.append(record)
        return kept

    with node.store() as store:
        records = asyncio.run(read(store.dsn))
    if json:
        print_objects(map(as_object, records))
    else:
        print_table(COLUMNS, ([getattr(each, name) for name in COLUMNS] for each in records))
    end(Exit.DONE)


def as_object(record: Record) -> dict[str, Any]:
    """A record as `audit list --json` prints it: before and after as the text that is hashed."""
    return {
        **{name: getattr(record, name) for name in COLUMNS},
        "before": record.before,
        "after": record.after,
        "previous": record.previous.hex(),
        "hash": record.hash.hex(),
    }


@app.command("verify", help="help_audit_verify")
def verify(
    anchor: Annotated[str | None, typer.Option("--anchor", help="help_opt_anchor")] = None,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    try:
        noted = None if anchor is None else Anchor.parse(anchor)
    except ValueError as error:
        raise CommandError(f"--anchor: {error}", Exit.USAGE) from error
    node = node_of(config, data, lang)
    with node.store() as store:
        broken, reached = asyncio.run(verified(store.dsn, noted))
    if json:
        print_object(
            {
                "intact": broken is None,
                "records": reached.seq,
                "anchor": str(reached),
                "broken": broken,
            }
        )
    else:
        print_line(said(node, broken, reached))
    end(Exit.DONE if broken is None else Exit.DIFFERENCES)


async def verified(dsn: str, anchor: Anchor | None) -> tuple[Broken | None, Anchor]:
    """The first broken record, and how far the chain holds."""
    verifier = Verifier(anchor)
    async with office(dsn) as desk, aclosing(desk.people.records()) as records:
        async for record in records:
            broken = verifier.take(record)
            if broken is not None:
                return broken, verifier.anchor
    return verifier.end(), verifier.anchor


def said(node: Node, broken: Broken | None, reached: Anchor) -> str:
    if broken is None:
        return node.say("audit_intact", count=reached.seq, anchor=reached)
    return node.say(f"audit_{broken.reason}", seq=broken.seq)
