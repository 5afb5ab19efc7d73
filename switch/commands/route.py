"""`tongbao route`: where a card would go and why, what a file would change, the rules in force.

Nothing is sent and nothing is stored.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from settlement.reports.figures import money
from switch import routing_trial
from switch.cli import ConfigFile, DataFolder, Json, Lang, end, group, node_of
from switch.commands.common import (
    CommandError,
    Exit,
    print_line,
    print_object,
    print_objects,
    print_table,
    reading,
    reference,
)
from switch.commands.reference import newest, newest_of, parsed, text_of, with_version
from switch.journal import Key
from switch.routing import Asked
from switch.routing_check import PREFIX, ROUTED
from switch.transactions import TYPES

if TYPE_CHECKING:
    from switch.commands.common import Node
    from switch.reference import Snapshot
    from switch.routing_trial import Difference, Trial

app = group()
LAST, LAST_MAX = 1_000, 100_000
File = Annotated[Path | None, typer.Option("--file", help="help_opt_route_file")]


async def snapshots(dsn: str, file: Path | None) -> tuple[Snapshot, Snapshot]:
    """In force, and with the file applied (the same without one)."""
    text = None if file is None else text_of(file)
    async with reference(dsn) as store:
        now = await store.snapshot()
        if file is None or text is None:
            return now, now
        known = newest(await store.items())
    return now, routing_trial.under(now, known, parsed(text, file, known))


# -- try ------------------------------------------------------------------------------------------


@app.command("try", help="help_route_try")
def route_try(
    card: Annotated[str, typer.Option("--card", help="help_opt_route_card")],
    merchant: Annotated[str, typer.Option("--merchant", help="help_arg_merchant")] = "",
    kind: Annotated[str, typer.Option("--type", help="help_opt_route_type")] = "purchase",
    amount: Annotated[int, typer.Option("--amount", min=0, help="help_opt_priced_amount")] = 0,
    currency: Annotated[str, typer.Option("--currency", help="help_opt_route_currency")] = "",
    mcc: Annotated[str, typer.Option("--mcc", help="help_opt_mcc")] = "",
    entry_mode: Annotated[str, typer.Option("--entry-mode", help="help_opt_entry_mode")] = "051",
    terminal: Annotated[str, typer.Option("--terminal", help="help_arg_terminal")] = "",
    batch: Annotated[int, typer.Option("--batch", min=0, help="help_opt_route_batch")] = 1,
    trace: Annotated[int, typer.Option("--trace", min=0, help="help_opt_route_trace")] = 1,
    down: Annotated[list[str] | None, typer.Option("--down", help="help_opt_route_down")] = None,
    file: File = None,
    json: Json = False,  # noqa: FBT002 - a flag of the command line
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    if not PREFIX.fullmatch(card):
        raise typer.BadParameter("1 to 12 digits", param_hint="--card")
    if kind not in ROUTED:
        raise typer.BadParameter(", ".join(ROUTED), param_hint="--type")
    node = node_of(config, data, lang)
    with node.store() as store:
        _, snapshot = asyncio.run(snapshots(store.dsn, file))
    registered = snapshot.merchants.get(merchant)
    if merchant and registered is None:
        raise CommandError(node.say("not_found", kind="merchant", key=merchant))
    for link in down or ():
        if link not in snapshot.links:
            raise CommandError(node.say("not_found", kind="link", key=link))
    row = TYPES[kind]
    asked = Asked(
        Key(merchant, terminal, batch, trace, row.kind),
        kind,
        card,
        mcc or (registered.mcc if registered else ""),
        currency or (registered.currency if registered else ""),
        entry_mode,
        amount,
    )
    trial = routing_trial.attempt(snapshot, asked, down or ())
    if json:
        print_object(trial)
    else:
        tell(node, trial, asked.currency)
    end(Exit.DIFFERENCES if trial.response_code else Exit.DONE)


def tell(node: Node, trial: Trial, currency: str) -> None:
    for objection in trial.objections:
        print_line(node.say("route_objection", rule=objection.rule, key=objection.key))
    if trial.route:
        print_line(node.say("route_decides", route=trial.route, rule=trial.rule))
        heading = [node.say(f"route_{name}") for name in ("place", "link", "state", "cost", "by")]
        print_table(
            heading,
            (
                (
                    each.place,
                    each.acquirer,
                    node.say(f"route_state_{each.state}"),
                    f"{each.weight} %" if each.weight is not None else _money(each, currency),
                    each.by,
                )
                for each in trial.candidates
            ),
        )
    if trial.more_digits:
        print_line(node.say("route_more_digits", prefixes=", ".join(trial.more_digits)))
    if trial.response_code:
        print_line(node.say(f"route_refused_{trial.response_code}", card=trial.card))


def _money(candidate: routing_trial.Candidate, currency: str) -> str:
    return "" if candidate.cost_minor is None else money(candidate.cost_minor, currency)


# -- diff -----------------------------------------------------------------------------------------


@app.command("diff", help="help_route_diff")
def route_diff(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="help_arg_file")],
    last: Annotated[
        int, typer.Option("--last", min=1, max=LAST_MAX, help="help_opt_route_last")
    ] = LAST,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)

    async def read(dsn: str) -> tuple[Snapshot, Snapshot, list[routing_trial.Former]]:
        now, then = await snapshots(dsn, file)
        async with reading(dsn) as reader:
            rows = await reader.routed(ROUTED, last)
        return now, then, [msgspec.convert(row, routing_trial.Former) for row in rows]

    with node.store() as store:
        now, then, formers = asyncio.run(read(store.dsn))
    found = [
        different
        for former in formers
        if (different := routing_trial.compare(now, then, former)) is not None
    ]
    if json:
        print_objects(found)
    else:
        tell_differences(node, found, len(formers))
    end(Exit.DIFFERENCES if found else Exit.DONE)


def tell_differences(node: Node, found: list[Difference], looked_at: int) -> None:
    if found:
        columns = ("rrn", "merchant", "type", "amount", "card", "sent_to", "now", "then")
        print_table(
            [node.say(f"route_{name}") for name in columns],
            (
                (
                    each.rrn,
                    each.merchant,
                    each.type,
                    f"{money(each.amount_minor, each.currency)} {each.currency}",
                    each.pan_masked,
                    each.sent_to,
                    _side(each.now),
                    node.say("route_undetermined") if each.undetermined else _side(each.then),
                )
                for each in found
            ),
        )
    open_ = sum(each.undetermined for each in found)
    print_line(
        node.say(
            "route_compared", count=looked_at, different=len(found) - open_, undetermined=open_
        )
    )


def _side(side: routing_trial.Side) -> str:
    return f"{', '.join(side.candidates)} ({side.rule})" if side.rule else "15"


# -- rules ----------------------------------------------------------------------------------------


@app.command("rules", help="help_route_rules")
def route_rules(
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    told = [with_version(item) for item in newest_of(node, "routing_rule")]
    told.sort(key=lambda rule: (rule["order"], rule["name"]))
    if json:
        print_objects(told)
    else:
        columns = ("order", "name", "version", "enabled", "when", "choose", "to", "fallbacks")
        heading = [node.say(f"route_{name}") for name in columns]
        print_table(heading, ([_shown(each[name]) for name in columns] for each in told))
    end(Exit.DONE)


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return "; ".join(f"{name} {_shown(each)}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
