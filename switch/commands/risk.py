"""`tongbao risk`: alerts and who works them, the rules in force, their counters, a card's token."""

from __future__ import annotations

import asyncio
import getpass
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from iso8583 import track
from switch import listed_cards
from switch.cli import (
    ConfigFile,
    DataFolder,
    Demo,
    Json,
    Lang,
    PassphraseFd,
    bounded,
    end,
    group,
    node_of,
    said,
)
from switch.commands.common import (
    CommandError,
    Exit,
    authorised,
    print_line,
    print_object,
    print_objects,
    print_table,
    reference,
)
from switch.commands.reference import newest_of, with_version

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from switch.commands.common import Node
    from switch.store_ports import CounterTold, Risk, RiskAlert

app = group()
ACT = "risk.work"
STATES = ("open", "taken", "closed")
AlertId = Annotated[int, typer.Argument(metavar="ALERT", help="help_arg_alert")]
Reason = Annotated[str, typer.Option("--reason", help="help_opt_alert_reason", callback=said)]
COUNTERS_SHOWN = 1_000
COLUMNS = ("alert", "state", "owner", "rule", "subject", "measured", "threshold", "raised_at")


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Risk]:
    from switch.adapters.postgres.risk import PostgresRisk
    from switch.adapters.postgres.sessions import Sessions
    from switch.adapters.servers import Servers

    sessions = Sessions(Servers(dsn), "tongbao risk", 1)
    try:
        yield PostgresRisk(sessions)
    finally:
        await sessions.close()


# -- alerts ---------------------------------------------------------------------------------------


def alert_object(alert: RiskAlert) -> dict[str, Any]:
    """As `docs/schemas/risk-alert.json`; a card is shown by its mask."""
    row = alert.row
    return {
        "alert": alert.alert_id,
        "state": alert.state,
        "owner": alert.owner,
        "rule": row.rule,
        "version": row.version,
        "action": row.action,
        "scope": row.scope,
        "subject": row.pan_masked if row.scope == "card" else row.subject,
        "measured": row.measured,
        "threshold": row.threshold,
        "merchant": row.merchant,
        "terminal": row.terminal,
        "request_id": row.request_id,
        "raised_at": row.raised_at,
        "business_date": alert.business_date,
        "acts": [msgspec.to_builtins(act) for act in alert.acts],
    }


@app.command("alerts", help="help_risk_alerts")
def alerts(
    state: Annotated[str, typer.Option("--state", help="help_opt_alert_state")] = "",
    owner: Annotated[str, typer.Option("--owner", help="help_opt_case_owner")] = "",
    rule: Annotated[str, typer.Option("--rule", help="help_opt_risk_rule")] = "",
    json: Json = False,  # noqa: FBT002 - a flag of the command line
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    if state and state not in STATES:
        raise typer.BadParameter(", ".join(STATES), param_hint="--state")
    node = node_of(config, data, lang)

    async def read(dsn: str) -> list[RiskAlert]:
        async with opened(dsn) as store:
            return await store.alerts()

    with node.store() as store:
        found = asyncio.run(read(store.dsn))
    wanted = [
        alert_object(each)
        for each in found
        if state in ("", each.state) and owner in ("", each.owner) and rule in ("", each.row.rule)
    ]
    if json:
        print_objects(wanted)
    else:
        heading = [node.say(f"risk_{name}") for name in COLUMNS]
        print_table(
            heading, ([_word(node, name, each[name]) for name in COLUMNS] for each in wanted)
        )
    end(Exit.DONE)


def _word(node: Node, name: str, value: Any) -> Any:
    return node.say(f"risk_state_{value}") if name == "state" else value


@app.command("take", help="help_risk_take")
def take(
    alert: AlertId,
    demo: Demo = False,  # noqa: FBT002
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    act(node_of(config, data, lang, demo=demo), alert, "taken", "", as_json=json)


@app.command("close", help="help_risk_close")
def close(
    alert: AlertId,
    reason: Reason,
    demo: Demo = False,  # noqa: FBT002
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    act(node_of(config, data, lang, demo=demo), alert, "closed", reason, as_json=json)


def act(node: Node, alert_id: int, verb: str, reason: str, *, as_json: bool) -> None:
    """One act of the authenticated operator; what another has done meanwhile is not overwritten."""

    async def run(dsn: str, operator: str) -> RiskAlert:
        async with opened(dsn) as store:
            found = await store.alert(alert_id)
            if found is None:
                kind = node.say("risk_alert")
                raise CommandError(node.say("not_found", kind=kind, key=alert_id))
            if found.state == "closed":
                raise CommandError(node.say("risk_closed", alert=alert_id, owner=found.owner))
            if verb == "taken" and found.owner == operator:
                return found
            if not await store.act(alert_id, len(found.acts), verb, operator, reason):
                raise CommandError(node.say("risk_changed", alert=alert_id))
            done = await store.alert(alert_id)
            assert done is not None
            return done

    with node.store() as store:
        who = authorised(node, ACT, f"alert {alert_id}", store.dsn)
        done = asyncio.run(run(store.dsn, who.operator))
    if as_json:
        print_object(alert_object(done))
    else:
        state = node.say(f"risk_state_{done.state}")
        print_line(node.say("risk_done", alert=alert_id, state=state, owner=done.owner))
    end(Exit.DONE)


# -- rules and counters ---------------------------------------------------------------------------


@app.command("rules", help="help_risk_rules")
def rules(
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    told = [with_version(item) for item in newest_of(node, "risk_rule")]
    if json:
        print_objects(told)
    else:
        columns = (
            "name",
            "version",
            "enabled",
            "scope",
            "measure",
            "threshold",
            "window_s",
            "action",
        )
        heading = [node.say(f"risk_{name}") for name in columns]
        print_table(heading, ([each[name] for name in columns] for each in told))
    end(Exit.DONE)


@app.command("counters", help="help_risk_counters")
def counters(
    rule: Annotated[
        str, typer.Argument(metavar="RULE", help="help_arg_risk_rule", callback=bounded)
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="help_opt_limit")] = COUNTERS_SHOWN,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)

    async def read(dsn: str) -> list[CounterTold]:
        async with opened(dsn) as store:
            return await store.counters(rule, limit)

    with node.store() as store:
        found = asyncio.run(read(store.dsn))
    if json:
        print_objects(found)
    else:
        columns = ("counter", "subject", "bucket", "count", "amount_minor")
        heading = [node.say(f"risk_{name}") for name in columns]
        print_table(heading, ([getattr(each, name) for name in columns] for each in found))
    end(Exit.DONE)


@app.command("token", help="help_risk_token")
def token(
    sealed: Annotated[bool, typer.Option("--sealed", help="help_opt_risk_sealed")] = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    passphrase_fd: PassphraseFd = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    """A card's token, for lists. The card number is typed unseen or comes by stdin: command lines
    are kept by shells."""
    from switch import data_keys

    node = node_of(config, data, lang, demo=demo, passphrase_fd=passphrase_fd)

    async def read(dsn: str) -> Any:
        async with reference(dsn) as store:
            return await store.snapshot()

    with node.store() as store:
        authorised(node, ACT, "token", store.dsn)
        pans = data_keys.open_pans(node.lmk(), asyncio.run(read(store.dsn)))
    typed = getpass.getpass("PAN: ") if sys.stdin.isatty() else sys.stdin.readline()
    pan = typed.strip()
    if not track.luhn_ok(pan):
        raise CommandError(node.say("risk_pan"), Exit.USAGE)
    print_line(listed_cards.seal(pans, pan) if sealed else pans.token(pan).hex())
    end(Exit.DONE)
