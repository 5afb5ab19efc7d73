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
    from switch.store_ports import KeyExchange, KeyExchanges, LinkFacts, UnmatchedRow

app = group()
SHOWN = 100
SHOWN_MAX = 100_000
COLUMNS = (
    "received_at", "link", "slot", "reason", "mti", "stan", "rrn", "response_code", "request_id",
    "differences",
)  # fmt: skip

EXCHANGE_COLUMNS = (
    "exchange", "link", "usage", "state", "version", "sends", "asked_by", "asked_at",
)  # fmt: skip


@asynccontextmanager
async def exchanges_of(dsn: str) -> AsyncIterator[KeyExchanges]:
    from switch.adapters.postgres.key_exchange import PostgresKeyExchanges
    from switch.adapters.postgres.sessions import Sessions
    from switch.adapters.servers import Servers

    sessions = Sessions(Servers(dsn), "tongbao link", 1)
    try:
        yield PostgresKeyExchanges(sessions)
    finally:
        await sessions.close()


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


# -- changes of keys ------------------------------------------------------------------------------


def exchange_object(exchange: KeyExchange) -> dict[str, Any]:
    """As `docs/schemas/key-exchange.json`."""
    return {
        "exchange": exchange.exchange_id,
        "link": exchange.acquirer,
        "usage": exchange.usage,
        "state": exchange.state,
        "version": exchange.version or None,
        "asked_by": exchange.asked_by,
        "asked_at": exchange.asked_at,
        "sends": exchange.sends,
        "facts": [msgspec.to_builtins(fact) for fact in exchange.facts],
    }


@app.command("keys", help="help_link_keys")
def keys(
    link: Annotated[str, typer.Option("--link", help="help_opt_link")] = "",
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=SHOWN_MAX, help="help_opt_limit")
    ] = SHOWN,
    json: Json = False,  # noqa: FBT002 - a flag of the command line
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)

    async def read(dsn: str) -> list[KeyExchange]:
        async with exchanges_of(dsn) as store:
            return await store.exchanges(link, only_open=False, limit=limit)

    with node.store() as store:
        found = asyncio.run(read(store.dsn))
    shown = [exchange_object(each) for each in found]
    if json:
        print_objects(shown)
    else:
        for each in shown:
            each["state"] = node.say(f"key_exchange_{each['state']}")
        heading = [node.say(f"exchange_{name}") for name in EXCHANGE_COLUMNS]
        print_table(heading, ([each[name] for name in EXCHANGE_COLUMNS] for each in shown))
    end(Exit.DONE)
