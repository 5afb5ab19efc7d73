"""`tongbao hsm`: the vault as a device; its console."""

from __future__ import annotations

import asyncio
import getpass
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hsm.host.codes import CODES
from hsm.host.commands import COMMANDS
from hsm.host.dispatch import answer_code
from switch.cli import Demo, Json, Lang, PassphraseFd, end, group
from switch.commands.common import (
    CommandError,
    Exit,
    print_line,
    print_object,
    print_objects,
    print_table,
)
from switch.config import operator_language
from switch.device.config import OFFICER_NAME, load
from switch.device.control import Ask, Named, ask
from switch.lmk_file import secret_text
from switch.texts import say

if TYPE_CHECKING:
    from typing import Any

    from switch.device.config import Device

app = group()
DeviceFile = Annotated[Path | None, typer.Option("--config", help="help_opt_device")]


def language_of(device: Device | None, option: str) -> str:
    return operator_language(option or (device.language if device is not None else ""))


@app.command("serve", help="help_hsm_serve")
def hsm_serve(
    config: DeviceFile = None,
    ready_file: Annotated[Path | None, typer.Option("--ready-file", help="help_opt_ready")] = None,
    passphrase_fd: PassphraseFd = None,
    demo: Demo = False,  # noqa: FBT002 - a flag of the command line
    lang: Lang = "",
) -> None:
    from switch.device import serve as body

    device = load(config)
    end(
        body.serve(
            device,
            demo=demo,
            language=language_of(device, lang),
            ready_file=ready_file,
            passphrase_fd=passphrase_fd,
        )
    )


@app.command("status", help="help_hsm_status")
def hsm_status(config: DeviceFile = None, json: Json = False, lang: Lang = "") -> None:  # noqa: FBT002
    device = load(config)
    language = language_of(device, lang)
    show(asked(device, Ask("status"), language), language, as_json=json)


@app.command("authorise", help="help_hsm_authorise")
def hsm_authorise(
    officer: Annotated[list[str], typer.Option("--officer", help="help_opt_officer")],
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, help="help_opt_minutes")] = 30.0,
    passwords_fd: Annotated[
        int | None, typer.Option("--passwords-fd", help="help_opt_passwords_fd")
    ] = None,
    config: DeviceFile = None,
    json: Json = False,  # noqa: FBT002
    lang: Lang = "",
) -> None:
    device = load(config)
    language = language_of(device, lang)
    if len(set(officer)) != 2:
        raise CommandError(say("hsm_two_officers", language), Exit.USAGE)
    passwords = given_passwords(officer, passwords_fd, language)
    officers = [Named(name, password) for name, password in zip(officer, passwords, strict=True)]
    question = Ask("authorise", officers, minutes * 60)
    show(asked(device, question, language), language, as_json=json)


@app.command("cancel", help="help_hsm_cancel")
def hsm_cancel(config: DeviceFile = None, json: Json = False, lang: Lang = "") -> None:  # noqa: FBT002
    device = load(config)
    language = language_of(device, lang)
    show(asked(device, Ask("cancel"), language), language, as_json=json)


@app.command("officer", help="help_hsm_officer")
def hsm_officer(
    name: Annotated[str, typer.Argument(metavar="NAME", help="help_arg_officer")],
    passwords_fd: Annotated[
        int | None, typer.Option("--passwords-fd", help="help_opt_passwords_fd")
    ] = None,
    lang: Lang = "",
) -> None:
    """Print the lines that name an officer in the device's file; nothing is kept here."""
    from switch.adapters.system import SystemEntropy
    from switch.people import credentials

    language = language_of(None, lang)
    if re.fullmatch(OFFICER_NAME, name) is None:
        raise CommandError(say("hsm_officer_name", language), Exit.USAGE)
    password = given_passwords([name], passwords_fd, language)[0]
    if passwords_fd is None and getpass.getpass(say("again", language) + ": ") != password:
        raise CommandError(say("not_the_same", language), Exit.USAGE)
    if credentials.fault(password) is not None:
        raise CommandError(say("hsm_password_length", language), Exit.USAGE)
    secret = credentials.of_password(name, password, b"", SystemEntropy().bytes).secret
    print_line(f'[[officers]]\nname = "{name}"\npassword = "{secret}"')


@app.command("commands", help="help_hsm_commands")
def hsm_commands(json: Json = False, lang: Lang = "") -> None:  # noqa: FBT002
    language = language_of(None, lang)
    rows = [
        {
            "command": row.code,
            "answer": answer_code(row.code),
            "title": row.title_zh if language == "zh" else row.title,
            "authorised": row.authorised,
        }
        for row in COMMANDS.values()
    ]
    if json:
        print_objects(rows)
    else:
        print_table(
            ("command", "answer", "authorised", "title"),
            (
                (row["command"], row["answer"], "*" if row["authorised"] else "", row["title"])
                for row in rows
            ),
        )


# -- helpers --------------------------------------------------------------------------------------


def given_passwords(names: list[str], descriptor: int | None, language: str) -> list[str]:
    """One a line from the descriptor, in the officers' order; else asked for, unseen."""
    if descriptor is not None:
        lines = secret_text(descriptor, "--passwords-fd").splitlines()
        if len(lines) != len(names):
            raise CommandError(say("hsm_passwords", language, count=len(names)), Exit.USAGE)
        return lines
    if not sys.stdin.isatty():
        raise CommandError(say("hsm_no_terminal", language), Exit.USAGE)
    return [getpass.getpass(say("hsm_password_of", language, name=name) + ": ") for name in names]


def asked(device: Device, question: Ask, language: str) -> dict[str, Any]:
    try:
        said = asyncio.run(ask(device.control, question))
    except (OSError, TimeoutError):
        raise CommandError(say("hsm_not_running", language, path=device.control)) from None
    if "fault" in said:
        fault = str(said["fault"])
        raise CommandError(say(fault, language, longest_min=device.authorised_max_s / 60))
    return said


def show(status: dict[str, Any], language: str, *, as_json: bool) -> None:
    if as_json:
        print_object(status)
        return
    for name, value in status.items():
        if name != "commands":
            print_line(f"{name:<22} {value}")
    rows = status.get("commands", [])
    if rows:
        print_table(
            ("command", "calls", "errors"),
            ((row["command"], row["calls"], errors_of(row["errors"], language)) for row in rows),
        )


def errors_of(errors: dict[str, int], language: str) -> str:
    """`20: 3 (PIN block …)`, the most frequent first."""
    chinese = language == "zh"
    return "; ".join(
        f"{code}: {count} ({CODES[code][chinese]})"
        for code, count in sorted(errors.items(), key=lambda item: (-item[1], item[0]))
    )
