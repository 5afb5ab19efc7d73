"""`tongbao link`: what happened on bank links and belongs to no request."""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from switch.acquirers.unmatched import REASONS
from switch.adapters.system import SystemClock
from switch.cli import ConfigFile, DataFolder, Json, Lang, end, group, node_of
from switch.commands.common import Exit, print_objects, print_table
from switch.store_ports import UnmatchedWanted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from switch.commands.common import Node
    from switch.store_ports import LinkFacts, UnmatchedRow

app = group()
SHOWN = 100
SHOWN_MAX = 100_000
COLUMNS = (
    "received_at", "link", "slot", "reason", "mti", "stan", "rrn", "response_code", "request_id",
    "differences",
)  # fmt: skip


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[LinkFacts]:
    from switch.adapters.postgres.link_facts import PostgresLinkFacts
    from switch.adapters.postgres.sessions import Sessions
    from switch.adapters.servers import Servers

    sessions = Sessions(Servers(dsn), "tongbao link", 1)
    try:
        yield PostgresLinkFacts(sessions)
    finally:
        await sessions.close()


@app.callback()
def links() -> None:
    """A group of commands, also while it has one."""


def unmatched_object(row: UnmatchedRow) -> dict[str, Any]:
    """As `docs/schemas/unmatched-answer.json`."""
    answer = row.answer
    return {
        "received_at": row.received_at,
        "link": answer.acquirer,
        "slot": answer.slot,
        "reason": answer.reason,
        "detail": answer.detail,
        "mti": answer.mti,
        "stan": answer.stan,
        "transmission_time": answer.transmission_time,
        "rrn": answer.rrn,
        "response_code": answer.response_code,
        "elements": answer.elements,
        "nearest": None if answer.nearest is None else msgspec.to_builtins(answer.nearest),
        "differences": [msgspec.to_builtins(one) for one in answer.differences],
        "dropped": answer.dropped,
    }


@app.command("unmatched", help="help_link_unmatched")
def unmatched(
    link: Annotated[str, typer.Option("--link", help="help_opt_link")] = "",
    reason: Annotated[str, typer.Option("--reason", help="help_opt_unmatched_reason")] = "",
    request: Annotated[
        int | None, typer.Option("--request", help="help_opt_unmatched_request")
    ] = None,
    hours: Annotated[float | None, typer.Option("--hours", help="help_opt_unmatched_hours")] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=SHOWN_MAX, help="help_opt_limit")
    ] = SHOWN,
    json: Json = False,  # noqa: FBT002 - a flag of the command line
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    if reason and reason not in REASONS:
        raise typer.BadParameter(", ".join(REASONS), param_hint="--reason")
    node = node_of(config, data, lang)
    since = None if hours is None else SystemClock().now() - dt.timedelta(hours=hours)
    wanted = UnmatchedWanted(link, reason, request, since)

    async def read(dsn: str) -> list[UnmatchedRow]:
        async with opened(dsn) as store:
            return await store.unmatched(wanted, limit)

    with node.store() as store:
        found = asyncio.run(read(store.dsn))
    if json:
        print_objects(unmatched_object(row) for row in found)
    else:
        heading = [node.say(f"unmatched_{name}") for name in COLUMNS]
        print_table(heading, (_cells(node, row) for row in found))
    end(Exit.DONE)


def _cells(node: Node, row: UnmatchedRow) -> list[Any]:
    shown = unmatched_object(row)
    shown["reason"] = node.say(f"unmatched_is_{row.answer.reason}")
    shown["request_id"] = "" if row.answer.nearest is None else row.answer.nearest.request_id
    shown["differences"] = "; ".join(
        node.say("unmatched_differs", de=one.de, asked=one.asked, answered=one.answered)
        for one in row.answer.differences
    )
    return [shown[name] for name in COLUMNS]
