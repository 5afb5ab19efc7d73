"""`tongbao data`: a file of reference data, and all that there is."""

from __future__ import annotations

import datetime as dt
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from switch.cli import ConfigFile, DataFolder, Demo, Json, Lang, end, group, node_of
from switch.commands import reference

app = group()


@app.command("apply", help="help_apply")
def data_apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="help_arg_file")],
    effective_from: Annotated[
        str | None, typer.Option("--effective-from", help="help_opt_effective")
    ] = None,
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    instant = None
    if effective_from is not None:
        try:
            instant = dt.datetime.fromisoformat(effective_from)
        except ValueError:
            instant = None
        if instant is None or instant.tzinfo is None:
            raise typer.BadParameter("2026-11-30T00:00:00+08:00", param_hint="--effective-from")
    end(reference.apply_file(node_of(config, data, lang, demo=demo), file, instant))


@app.command("show", help="help_show_data")
def data_show(
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    end(reference.show_data(node_of(config, data, lang), as_json=json))
