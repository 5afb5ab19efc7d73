"""Who runs a command: authenticated against the store, by password and code or by his SSH agent."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from typing import TYPE_CHECKING, Any

from hsm import lmk as lmks
from switch.adapters.ssh_agent import sign
from switch.adapters.system import SystemEntropy
from switch.commands.common import CommandError, Exit, Office, office, reference
from switch.config import operator_named, ssh_agent
from switch.people.login import Verdict, by_password, by_signature
from switch.people.operators import DEMO, DEMO_MAKER, ID
from switch.people.ssh import SshError, key_blob

if TYPE_CHECKING:
    from settlement.four_eyes import Actor
    from switch.commands.common import Node

CHALLENGE_BYTES = 32
PASSWORD_BYTES_MAX = 8_192


async def authenticate(node: Node, dsn: str) -> Actor:
    """The operator of this command. CommandError where he is nobody, or did not show it."""
    name = operator_named(node.login.operator)
    async with office(dsn) as desk:
        if node.demo:
            return await demonstrator(node, dsn, desk, name or DEMO_MAKER)
        if not name:
            known = await desk.operators.operators()
            raise CommandError(
                node.say("operator_missing" if known else "no_operators"), Exit.USAGE
            )
        credential = await desk.operators.credential(checked_id(node, name))
        if credential is not None and credential.kind == "ssh_key":
            verdict = await signed(node, desk, name, credential.public_key)
        else:
            verdict = await typed(node, desk, name)
        if not verdict.passed:
            raise CommandError(failure(node, name, verdict))
        found = {each.id: each for each in await desk.operators.operators()}
    return found[name].actor()


def checked_id(node: Node, name: str) -> str:
    if not ID.fullmatch(name):
        raise CommandError(node.say("operator_id_refused", operator=name), Exit.USAGE)
    return name


async def demonstrator(node: Node, dsn: str, desk: Office, name: str) -> Actor:
    """An operator of the demo: where the store is one of the demo, and nowhere else.

    It is not where there are operators, nor where keys are under another LMK than the public one.
    """
    if name not in DEMO:
        raise CommandError(node.say("not_of_the_demo", names=", ".join(DEMO)), Exit.USAGE)
    if await desk.operators.operators() or await lmk_ids(dsn) - {lmks.TEST_LMK.lmk_id}:
        raise CommandError(node.say("demo_refused"), Exit.USAGE)
    return DEMO[name]


async def of_the_demo(dsn: str) -> bool:
    """Whether keys of the store are under the public LMK."""
    return lmks.TEST_LMK.lmk_id in await lmk_ids(dsn)


async def lmk_ids(dsn: str) -> set[str]:
    async with reference(dsn) as store:
        return (await store.snapshot()).lmk_ids()


async def typed(node: Node, desk: Office, name: str) -> Verdict:
    """By password and code."""
    password = read_password(node, "operator_password")
    code = node.login.totp or ask(node, "operator_totp", "--totp")

    return await desk.operators.login(
        name, lambda standing: by_password(standing, password, code, node.config.people)
    )


async def signed(node: Node, desk: Office, name: str, public_key: str) -> Verdict:
    """By the SSH agent, over a challenge made for this once."""
    agent = ssh_agent()
    if agent is None:
        raise CommandError(node.say("ssh_agent_missing"))
    challenge = SystemEntropy().bytes(CHALLENGE_BYTES)
    try:
        signature = await asyncio.to_thread(sign, agent, key_blob(public_key), challenge)
    except (SshError, OSError) as error:
        raise CommandError(node.say("ssh_agent_refused", reason=error)) from error
    return await desk.operators.login(
        name, lambda standing: by_signature(standing, challenge, signature, node.config.people)
    )


def failure(node: Node, name: str, verdict: Verdict) -> str:
    """A failed try in the operator's words."""
    values: dict[str, Any] = {"operator": name}
    if verdict.until is not None:
        values["until"] = verdict.until.isoformat(timespec="seconds")
    return node.say(f"login_{verdict.reason}", **values)


def read_password(node: Node, prompt: str) -> str:
    """From the descriptor, one line; else typed unseen."""
    if node.login.password_fd is not None:
        with os.fdopen(node.login.password_fd, "rb") as file:
            return (
                file.read(PASSWORD_BYTES_MAX)
                .decode(errors="replace")
                .partition("\n")[0]
                .removesuffix("\r")
            )
    return ask(node, prompt, "--password-fd")


def at_terminal() -> bool:
    return sys.stdin.isatty()


def ask(node: Node, prompt: str, option: str) -> str:
    """Typed unseen. Where nobody sits there, `option` is what would have given it."""
    if not at_terminal():
        raise CommandError(node.say("not_asked", option=option), Exit.USAGE)
    return getpass.getpass(node.say(prompt) + ": ")
