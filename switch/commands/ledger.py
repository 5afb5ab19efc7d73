"""`tongbao ledger`: what the books say, and whether they are whole. Entries by hand are in `vouchers`."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from settlement.adapters.ledger_reading import open_queries
from settlement.adapters.ledger_stored import open_stored
from settlement.chart import BY_HAND, CHART, COMPOSITES, ancestors
from settlement.ledger import LAYERS
from settlement.ledger_queries import CHART_ORDER, PAGE, PAGE_MAX, Place, place_of, trial_rows
from settlement.ledger_verify import verify
from settlement.posting_rules import POSTING_RULES, RULE_VERSIONS
from settlement.settings import DEFAULTS
from switch.adapters.servers import Servers
from switch.cli import ConfigFile, DataFolder, Day, Json, Lang, day, end, group, node_of
from switch.commands import ledger_tables as tables, vouchers
from switch.commands.common import CommandError, Exit, print_object, print_objects

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from settlement.ledger import Layer
    from settlement.ledger_queries import LedgerQueries
    from settlement.ledger_verify import Verified
    from switch.commands.common import Node

app = group()
app.add_typer(vouchers.app)
Answer = TypeVar("Answer")

AccountCode = Annotated[str, typer.Argument(metavar="ACCOUNT", help="help_arg_account")]
Owner = Annotated[str | None, typer.Option("--owner", help="help_opt_owner")]
Currency = Annotated[str, typer.Option("--currency", help="help_opt_currency")]
LayerName = Annotated[str | None, typer.Option("--layer", help="help_opt_layer")]
From = Annotated[str | None, typer.Option("--from", help="help_opt_from")]
To = Annotated[str | None, typer.Option("--to", help="help_opt_to")]


@app.command(help="help_ledger_accounts")
def accounts(
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    if json:
        print_objects({"composite": code in COMPOSITES, **of_chart(code)} for code in CHART_ORDER)
    else:
        tables.accounts(node)
    end(Exit.DONE)


@app.command(help="help_ledger_rules")
def rules(
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    found = list(RULE_VERSIONS.values())
    if json:
        print_objects(
            {**tables.plain(one), "in_force": POSTING_RULES[one.name] is one} for one in found
        )
    else:
        tables.rules(node, found)
    end(Exit.DONE)


def of_chart(code: str) -> dict[str, Any]:
    found = COMPOSITES[code] if code in COMPOSITES else CHART[code]
    by_hand = {"by_hand": code in BY_HAND} if code in CHART else {}
    return {**tables.plain(found), **by_hand, "depth": len(ancestors(code))}


@app.command(help="help_ledger_balance")
def balance(
    account: AccountCode,
    owner: Owner = None,
    date: Day = None,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node, at = node_of(config, data, lang), day(date)
    known(node, account)
    found = asked(node, lambda books: books.balances(account, owner, at))
    if json:
        print_objects({**tables.plain(one), "date": at} for one in found)
    else:
        tables.balances(node, found)
    end(Exit.DONE)


@app.command(help="help_ledger_statement")
def statement(
    account: AccountCode,
    owner: Annotated[str, typer.Option("--owner", help="help_opt_owner")] = "",
    currency: Currency = DEFAULTS.currency,
    first: From = None,
    last: To = None,
    layer: LayerName = None,
    after: Annotated[str | None, typer.Option("--after", help="help_opt_after")] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=PAGE_MAX, help="help_opt_limit")
    ] = PAGE,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    known(node, account)
    of_layer, behind = layer_of(layer), behind_of(after)
    since, until = day(first) or dt.date(2000, 1, 1), day(last) or dt.date(2999, 12, 31)
    in_order(since, until, "--to")
    found = asked(
        node,
        lambda books: books.statement(
            account, owner, currency, since, until, layer=of_layer, after=behind, limit=limit
        ),
    )
    if json:
        more = str(found.more) if found.more else None
        print_object({**tables.plain(found), "more": more})
    else:
        tables.statement(node, found)
    end(Exit.DONE)


@app.command("trial-balance", help="help_ledger_trial")
def trial_balance(
    date: Day = None,
    first: From = None,
    layer: LayerName = None,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node, last, of_layer = node_of(config, data, lang), day(date), layer_of(layer)
    since = day(first) or last
    in_order(since, last, "--date")
    moved = asked(node, lambda books: books.turnover(since, last or dt.date.max))
    rows = trial_rows(moved, of_layer)
    if json:
        print_objects(rows)
    else:
        tables.trial_balance(node, rows)
    end(Exit.DONE)


@app.command(help="help_ledger_entry")
def entry(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="help_arg_source")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="help_arg_key")],
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    found = asked(node, lambda books: books.entry(source, key))
    if found is None:
        raise CommandError(node.say("not_found", kind="entry", key=f"{source} {key}"))
    if json:
        print_object(tables.entry_object(found))
    else:
        tables.entry(node, found)
    end(Exit.DONE)


@app.command(help="help_ledger_anchors")
def anchors(
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    found = asked(node, lambda books: books.anchors())
    if json:
        print_objects(
            {"business_date": one.business_date, "entries": one.entries, "anchor": one.hash.hex()}
            for one in found
        )
    else:
        tables.anchors(node, found)
    end(Exit.DONE)


@app.command("verify", help="help_ledger_verify")
def verify_ledger(
    first: From = None,
    last: To = None,
    anchor: Annotated[
        list[str] | None,
        typer.Option("--anchor", metavar="DATE=HASH", help="help_opt_ledger_anchor"),
    ] = None,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node, since, until = node_of(config, data, lang), day(first), day(last)
    in_order(since, until, "--to")
    kept = dict(map(anchor_of, anchor or []))

    async def read(dsn: str) -> Verified:
        async with open_stored(await Servers(dsn).primary()) as stored:
            with tables.Watching(node) as watch:
                return await verify(stored, watch, first=since, last=until, kept=kept)

    with node.store() as store:
        found = asyncio.run(read(store.dsn))
    if json:
        print_object(found)
    else:
        tables.verified(node, found)
    end(Exit.DIFFERENCES if found.findings else Exit.DONE)


# -- what the commands share ----------------------------------------------------------------------


def in_order(first: dt.date | None, last: dt.date | None, option: str) -> None:
    """A span that ends before it begins would come out empty, or as if all were well."""
    if first is not None and last is not None and last < first:
        raise typer.BadParameter(f"{last} is before {first}", param_hint=option)


def asked(node: Node, ask: Callable[[LedgerQueries], Awaitable[Answer]]) -> Answer:
    """The ledger's answer, from the running store or one of our own."""

    async def read(dsn: str) -> Answer:
        async with open_queries(await Servers(dsn).primary()) as books:
            return await ask(books)

    with node.store() as store:
        return asyncio.run(read(store.dsn))


def known(node: Node, account: str) -> None:
    if account not in CHART:
        raise CommandError(node.say("not_found", kind="account", key=account), Exit.USAGE)


def layer_of(text: str | None) -> Layer | None:
    if text is None:
        return None
    for layer in LAYERS:
        if layer == text:
            return layer
    raise typer.BadParameter("pending, settled", param_hint="--layer")


def anchor_of(text: str) -> tuple[dt.date, str]:
    business_date, _, wanted = text.partition("=")
    try:
        return dt.date.fromisoformat(business_date), bytes.fromhex(wanted).hex()
    except ValueError:
        raise typer.BadParameter("YYYY-MM-DD=HASH", param_hint="--anchor") from None


def behind_of(text: str | None) -> Place | None:
    if text is None:
        return None
    try:
        return place_of(text)
    except ValueError:
        raise typer.BadParameter("YYYY-MM-DD/STEP/SOURCE/KEY", param_hint="--after") from None
