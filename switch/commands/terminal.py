"""`tongbao terminal`: add or change with its key, list, show, suspend."""

from __future__ import annotations

from typing import Annotated

import typer

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
)
from switch.commands import downloads, reference
from switch.commands.keys import CheckValue, KeyAlgorithm, algorithm

MerchantId = Annotated[str, typer.Argument(metavar="MERCHANT", help="help_arg_merchant")]
TerminalId = Annotated[str, typer.Argument(metavar="TERMINAL", help="help_arg_terminal")]

app = group()


@app.command("add", help="help_add")
def terminal_add(
    merchant: MerchantId,
    terminal: TerminalId,
    tmk_component: Annotated[
        list[str] | None, typer.Option("--tmk-component", help="help_opt_component")
    ] = None,
    check_value: CheckValue = None,
    algorithm_name: KeyAlgorithm = "tdes",
    profile: Annotated[str | None, typer.Option("--profile", help="help_opt_profile")] = None,
    dialect: Annotated[str | None, typer.Option("--dialect", help="help_opt_dialect")] = None,
    mac_profile: Annotated[str | None, typer.Option("--mac-profile", help="help_opt_mac")] = None,
    serial: Annotated[str | None, typer.Option("--serial", help="help_opt_serial")] = None,
    demo: Demo = False,  # noqa: FBT002
    passphrase_fd: PassphraseFd = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    given = {
        "merchant": merchant,
        "terminal": terminal,
        "profile": profile,
        "dialect": dialect,
        "mac_profile": mac_profile,
        "serial": serial,
    }
    content = {field: value for field, value in given.items() if value is not None}
    node = node_of(config, data, lang, demo=demo, passphrase_fd=passphrase_fd)
    chosen = algorithm(algorithm_name)
    end(reference.add_terminal(node, content, tmk_component or [], chosen, check_value))


@app.command("list", help="help_list")
def terminal_list(
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    end(reference.list_items(node_of(config, data, lang), "terminal", as_json=json))


@app.command("show", help="help_show")
def terminal_show(
    merchant: MerchantId,
    terminal: TerminalId,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    key = f"{merchant}/{terminal}"
    end(reference.show_item(node_of(config, data, lang), "terminal", key, as_json=json))


@app.command("downloads", help="help_terminal_downloads")
def terminal_downloads(
    merchant: Annotated[
        str, typer.Option("--merchant", help="help_opt_of_merchant", callback=bounded)
    ] = "",
    terminal: Annotated[
        str, typer.Option("--terminal", help="help_opt_of_terminal", callback=bounded)
    ] = "",
    due: Annotated[bool, typer.Option("--due", help="help_opt_downloads_due")] = False,  # noqa: FBT002
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    end(downloads.list_downloads(node, merchant, terminal, due_only=due, as_json=json))


@app.command("suspend", help="help_suspend")
def terminal_suspend(
    merchant: MerchantId,
    terminal: TerminalId,
    resume: Annotated[bool, typer.Option("--resume", help="help_opt_resume")] = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo)
    status = "active" if resume else "suspended"
    end(reference.suspend_terminal(node, f"{merchant}/{terminal}", status))
