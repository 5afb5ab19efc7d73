"""`tongbao demo`: its options, its loop, and its exit code. 0 all is right, 1 it is not, 4 no demo."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
import uvloop

from switch.adapters.system import core_dumps_off
from switch.config import operator_language
from switch.demo import show
from switch.demo.day import Day, live
from switch.demo.node import DemoError, Node, clear_folders, remove_folder
from switch.demo.plan import TRANSACTIONS, Options
from switch.demo.texts import say

EXIT_DONE, EXIT_DIFFERENCES, EXIT_FAILURE = 0, 1, 4
DATA = Path("var") / "demo"


def text(key: str) -> str:
    """A help text in the language that the command line asks for."""
    words = sys.argv
    said = words[words.index("--lang") + 1 :][:1] if "--lang" in words else []
    return say(key, operator_language(said[0] if said else ""))


def run(
    data: Annotated[Path, typer.Option("--data", help=text("help_data"))] = DATA,
    transactions: Annotated[
        int, typer.Option("--transactions", min=60, max=200_000, help=text("help_transactions"))
    ] = TRANSACTIONS,
    seed: Annotated[int, typer.Option("--seed", help=text("help_seed"))] = 1,
    json: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--json", help=text("help_json"))
    ] = False,
    keep: Annotated[  # noqa: FBT002
        bool, typer.Option("--keep/--no-keep", help=text("help_keep"))
    ] = True,
    lang: Annotated[str, typer.Option("--lang", help=text("help_lang"))] = "",
) -> None:
    """A whole day with simulated terminals and banks, then the day's end."""
    options = Options(
        data=data.absolute(),
        seed=seed,
        transactions=transactions,
        language=operator_language(lang),
    )
    try:
        day = demonstrate(options, quiet=json)
    except DemoError as error:
        sys.stderr.write(f"tongbao: {error}\n")
        raise typer.Exit(EXIT_FAILURE) from error
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(EXIT_FAILURE) from None
    if json:
        summary = msgspec.json.encode(show.summary(day), enc_hook=str)
        sys.stdout.write(summary.decode() + "\n")
    else:
        show.tables(day, options.language)
    if not keep:
        for folder in (options.data, options.banks_folder):
            remove_folder(folder)
    raise typer.Exit(EXIT_DONE if day.right else EXIT_DIFFERENCES)


run.__doc__ = text("help_demo")


def demonstrate(options: Options, *, quiet: bool = False) -> Day:
    """Run the day from an empty folder to a stopped switch."""
    core_dumps_off()
    clear_folders(options.data, options.banks_folder, options.language)
    node = Node(options.data, options.language)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        began_s = runner.get_loop().time()
        try:
            with show.watching(options.language, quiet=quiet) as watch:
                day = runner.run(live(options, node, watch, began_s=began_s))
        finally:
            node.stop()
        day.wall_s = runner.get_loop().time() - began_s
    day.cpu_s |= node.cpu_s()
    return day
