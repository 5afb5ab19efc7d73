"""`tongbao merchant`: add or change, list, show."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from switch.cli import ConfigFile, DataFolder, Demo, Json, Lang, end, group, node_of
from switch.commands import reference

MerchantId = Annotated[str, typer.Argument(metavar="MERCHANT", help="help_arg_merchant")]

app = group()


@app.command("add", help="help_add")
def merchant_add(
    merchant: MerchantId,
    name: Annotated[str, typer.Option("--name", help="help_opt_field")],
    name_zh: Annotated[str | None, typer.Option("--name-zh", help="help_opt_field")] = None,
    mcc: Annotated[str | None, typer.Option("--mcc", help="help_opt_field")] = None,
    place: Annotated[str | None, typer.Option("--place", help="help_opt_field")] = None,
    agent: Annotated[str | None, typer.Option("--agent", help="help_opt_field")] = None,
    fee_plan: Annotated[str | None, typer.Option("--fee-plan", help="help_opt_field")] = None,
    settlement_account: Annotated[
        str | None, typer.Option("--settlement-account", help="help_opt_field")
    ] = None,
    payout_cycle: Annotated[
        str | None, typer.Option("--payout-cycle", help="help_opt_field")
    ] = None,
    currency: Annotated[str | None, typer.Option("--currency", help="help_opt_field")] = None,
    allow: Annotated[list[str] | None, typer.Option("--allow", help="help_opt_field")] = None,
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    given: dict[str, Any] = {
        "merchant": merchant,
        "name": name,
        "name_zh": name_zh,
        "mcc": mcc,
        "place": place,
        "agent": agent,
        "fee_plan": fee_plan,
        "settlement_account": settlement_account,
        "payout_cycle": payout_cycle,
        "currency": currency,
        "allowed_types": allow,
    }
    content = {field: value for field, value in given.items() if value is not None}
    end(reference.add_merchant(node_of(config, data, lang, demo=demo), content))


@app.command("list", help="help_list")
def merchant_list(
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    end(reference.list_items(node_of(config, data, lang), "merchant", as_json=json))


@app.command("show", help="help_show")
def merchant_show(
    merchant: MerchantId,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    end(reference.show_item(node_of(config, data, lang), "merchant", merchant, as_json=json))
