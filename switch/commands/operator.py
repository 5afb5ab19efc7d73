"""`tongbao operator`: who may run commands, with what credential, in which roles."""

from __future__ import annotations

import asyncio
import datetime as dt
import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from switch.adapters.system import SystemClock, SystemEntropy
from switch.cli import ConfigFile, DataFolder, Demo, Json, Lang, end, group, node_of
from switch.commands.common import (
    CommandError,
    Exit,
    actor,
    authorised,
    office,
    print_line,
    print_objects,
    print_table,
    refusals,
)
from switch.commands.login import (
    ask,
    at_terminal,
    checked_id,
    failure,
    of_the_demo,
    read_password,
)
from switch.people import credentials
from switch.people.credentials import Credential
from switch.people.login import by_enrolment, by_password
from switch.people.operators import ROLES, Operator
from switch.people.ssh import SshError, key_blob

if TYPE_CHECKING:
    from settlement.four_eyes import Actor, Approval
    from switch.commands.common import Node
    from switch.people.login import Standing, Verdict

app = group()
COLUMNS = ("id", "name", "roles", "state", "version")
OperatorId = Annotated[str, typer.Argument(metavar="OPERATOR", help="help_arg_operator")]
Name = Annotated[str, typer.Option("--name", help="help_opt_name")]
Role = Annotated[list[str], typer.Option("--role", help="help_opt_role")]
SshKey = Annotated[Path | None, typer.Option("--ssh-key", help="help_opt_ssh_key")]


@app.command("list", help="help_list")
def list_operators(
    json: Json = False,  # noqa: FBT002 - a flag of the command line
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    with node.store() as store:
        found = asyncio.run(operators(store.dsn))
    if json:
        print_objects(found.values())
    else:
        rows = (
            {**msgspec.structs.asdict(each), "roles": " ".join(each.roles)}
            for each in found.values()
        )
        print_table(COLUMNS, ([row[name] for name in COLUMNS] for row in rows))
    end(Exit.DONE)


async def operators(dsn: str) -> dict[str, Operator]:
    async with office(dsn) as desk:
        return {each.id: each for each in await desk.operators.operators()}


# -- the first two --------------------------------------------------------------------------------


@app.command("bootstrap", help="help_bootstrap")
def bootstrap(
    operator_id: OperatorId,
    name: Name = "",
    ssh_key: SshKey = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    admin = Operator(
        id=checked_id(node, operator_id), version=1, name=name or operator_id, roles=("admin",)
    )

    async def write(dsn: str, who: str, *, first: bool) -> bool:
        async with office(dsn) as desk:
            return await desk.operators.bootstrap(admin, shown, who, first=first)

    with node.store() as store:
        if asyncio.run(of_the_demo(store.dsn)):
            raise CommandError(node.say("bootstrap_in_the_demo"), Exit.USAGE)
        known = asyncio.run(operators(store.dsn))
        who = actor(node, store.dsn).operator if known else f"os:{getpass.getuser()}"
        shown = chosen(node, operator_id, ssh_key)
        done = asyncio.run(write(store.dsn, who, first=not known))
    if not done:
        raise CommandError(node.say("bootstrap_over"))
    print_line(node.say("operator_made", operator=admin.id, roles="admin"))
    end(Exit.DONE)


# -- what two admins do ---------------------------------------------------------------------------


@app.command("add", help="help_operator_add")
def add(
    operator_id: OperatorId,
    name: Name = "",
    role: Role = [],  # noqa: B006 - typer makes a new list at every call
    ssh_key: SshKey = None,
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo)
    payload: dict[str, object] = {
        "name": name or operator_id,
        "roles": checked_roles(node, role),
        "public_key": public_key(ssh_key),
    }
    end(propose(node, "operator.add", checked_id(node, operator_id), payload, known=False))


@app.command("roles", help="help_operator_roles")
def roles(
    operator_id: OperatorId,
    role: Role = [],  # noqa: B006
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    """Its roles from now on; a suspended operator is active again."""
    node = node_of(config, data, lang, demo=demo)
    payload: dict[str, object] = {"roles": checked_roles(node, role)}
    end(propose(node, "operator.roles", operator_id, payload))


@app.command("credential", help="help_operator_credential")
def credential(
    operator_id: OperatorId,
    ssh_key: SshKey = None,
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo)
    payload: dict[str, object] = {"public_key": public_key(ssh_key)}
    end(propose(node, "operator.credential", operator_id, payload))


def propose(
    node: Node, act: str, operator_id: str, payload: dict[str, object], *, known: bool = True
) -> Exit:
    async def write(dsn: str, who: Actor) -> str:
        async with office(dsn) as desk, refusals(desk.people, who, f"propose:{act}", operator_id):
            return (await desk.people.propose(act, operator_id, payload, who)).id

    with node.store() as store:
        who = actor(node, store.dsn)
        if (operator_id in asyncio.run(operators(store.dsn))) != known:
            text = "not_found" if known else "operator_known"
            raise CommandError(node.say(text, kind="operator", key=operator_id))
        made = asyncio.run(write(store.dsn, who))
    print_line(node.say("proposed", proposal=made))
    return Exit.WAITING


async def add_approved(node: Node, dsn: str, approval: Approval) -> None:
    proposal = approval.proposal
    if proposal.subject in await operators(dsn):
        raise CommandError(node.say("proposal_overtaken", proposal=proposal.id))
    made = msgspec.convert(
        {"id": proposal.subject, "version": 1, **proposal.payload}, Operator, strict=True
    )
    await change(node, dsn, approval, made, new_credential=True)


async def change_approved(node: Node, dsn: str, approval: Approval) -> None:
    former = (await operators(dsn))[approval.proposal.subject]
    given = msgspec.convert(approval.proposal.payload["roles"], tuple[str, ...])
    made = msgspec.structs.replace(former, roles=given, state="active")
    await change(node, dsn, approval, made, new_credential=False)


async def renew_approved(node: Node, dsn: str, approval: Approval) -> None:
    former = (await operators(dsn))[approval.proposal.subject]
    await change(node, dsn, approval, former, new_credential=True)


async def change(
    node: Node, dsn: str, approval: Approval, operator: Operator, *, new_credential: bool
) -> None:
    """The operator's next version; with a new credential an SSH key, or a code that is told now."""
    entropy, code, given = SystemEntropy().bytes, "", None
    if new_credential:
        line = str(approval.proposal.payload.get("public_key", ""))
        if line:
            given = Credential(operator.id, "ssh_key", public_key=line)
        else:
            code = credentials.new_code(entropy)
            until = SystemClock().now() + dt.timedelta(seconds=node.config.people.enrolment_s)
            given = credentials.of_enrolment(operator.id, code, until, entropy)
    async with office(dsn) as desk:
        made = await desk.operators.change(
            approval.proposal.act, approval.proposal.maker, operator, given, approval
        )
    print_line(node.say("operator_made", operator=made.id, roles=" ".join(made.roles)))
    if code:
        print_line(node.say("enrolment_code", operator=made.id, code=code))


# -- what one admin does --------------------------------------------------------------------------


@app.command("suspend", help="help_operator_suspend")
def suspend(
    operator_id: OperatorId,
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo)

    async def write(dsn: str, who: Actor, former: Operator) -> None:
        async with office(dsn) as desk:
            suspended = msgspec.structs.replace(former, state="suspended")
            await desk.operators.change("operator.suspend", who.operator, suspended)

    with node.store() as store:
        who = authorised(node, "operator.suspend", operator_id, store.dsn)
        asyncio.run(write(store.dsn, who, of(node, store.dsn, operator_id)))
    print_line(node.say("operator_suspended", operator=operator_id))
    end(Exit.DONE)


@app.command("unlock", help="help_operator_unlock")
def unlock(
    operator_id: OperatorId,
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo)

    async def write(dsn: str, who: Actor) -> None:
        async with office(dsn) as desk:
            await desk.operators.unlock(operator_id, who.operator)

    with node.store() as store:
        who = authorised(node, "operator.unlock", operator_id, store.dsn)
        _ = of(node, store.dsn, operator_id)
        asyncio.run(write(store.dsn, who))
    print_line(node.say("operator_unlocked", operator=operator_id))
    end(Exit.DONE)


def of(node: Node, dsn: str, operator_id: str) -> Operator:
    found = asyncio.run(operators(dsn)).get(operator_id)
    if found is None:
        raise CommandError(node.say("not_found", kind="operator", key=operator_id))
    return found


# -- what an operator does for himself ------------------------------------------------------------


@app.command("enrol", help="help_enrol")
def enrol(
    operator_id: OperatorId,
    code: Annotated[str, typer.Option("--code", help="help_opt_code")] = "",
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    _ = checked_id(node, operator_id)
    given = code or ask(node, "enrolment_code_asked", "--code")

    def judge(standing: Standing) -> Verdict:
        return by_enrolment(standing, given, node.config.people)

    end(choose(node, operator_id, judge, chosen(node, operator_id, None)))


@app.command("password", help="help_password")
def password(
    operator_id: OperatorId,
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    """A new password in the place of the old; the code's secret stays."""
    node = node_of(config, data, lang)
    _ = checked_id(node, operator_id)
    if not at_terminal():
        raise CommandError(node.say("terminal_needed"), Exit.USAGE)
    old = ask(node, "operator_password", "")
    code = node.login.totp or ask(node, "operator_totp", "--totp")

    def judge(standing: Standing) -> Verdict:
        return by_password(standing, old, code, node.config.people)

    async def secret(dsn: str) -> bytes | None:
        async with office(dsn) as desk:
            kept = await desk.operators.credential(operator_id)
            return None if kept is None else credentials.totp_secret(kept, old)

    with node.store() as store:
        totp = asyncio.run(secret(store.dsn)) or b""  # wrong: the judge says so
        new = ask_twice(node)
        made = credentials.of_password(operator_id, new, totp, SystemEntropy().bytes)
        end(choose(node, operator_id, judge, made))


def choose(node: Node, operator_id: str, judge: Any, made: Credential) -> Exit:
    async def write(dsn: str) -> Verdict:
        async with office(dsn) as desk:
            return await desk.operators.enrol(operator_id, judge, made)

    with node.store() as store:
        verdict = asyncio.run(write(store.dsn))
    if not verdict.passed:
        raise CommandError(failure(node, operator_id, verdict))
    print_line(node.say("credential_chosen", operator=operator_id))
    return Exit.DONE


# -- what is given --------------------------------------------------------------------------------


def checked_roles(node: Node, given: list[str]) -> list[str]:
    if not given or set(given) - set(ROLES):
        raise CommandError(node.say("roles_refused", roles=", ".join(ROLES)), Exit.USAGE)
    return sorted(set(given))


def public_key(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        line = path.read_text(encoding="utf-8").strip()
        _ = key_blob(line)
    except (OSError, UnicodeDecodeError, SshError) as error:
        raise CommandError(f"{path}: {error}", Exit.USAGE) from error
    return " ".join(line.split()[:2])  # a comment makes no other key


def chosen(node: Node, operator_id: str, ssh_key: Path | None) -> Credential:
    """An SSH key, or a password typed twice and the secret of an authenticator that works."""
    if ssh_key is not None:
        return Credential(operator_id, "ssh_key", public_key=public_key(ssh_key))
    entropy = SystemEntropy().bytes
    new = read_password(node, "") if node.login.password_fd is not None else ask_twice(node)
    if fault := credentials.fault(new):
        raise CommandError(node.say(fault, least=credentials.PASSWORD_CHARACTERS_MIN), Exit.USAGE)
    secret = entropy(credentials.TOTP_BYTES)
    print_line(node.say("totp_secret", uri=credentials.totp_uri(operator_id, secret)))
    if at_terminal():
        shown = ask(node, "operator_totp", "--totp")
        if credentials.step_of(secret, shown, SystemClock().now()) is None:
            raise CommandError(node.say("totp_refused"))
    return credentials.of_password(operator_id, new, secret, entropy)


def ask_twice(node: Node) -> str:
    new = ask(node, "new_password", "--password-fd")
    if fault := credentials.fault(new):
        raise CommandError(node.say(fault, least=credentials.PASSWORD_CHARACTERS_MIN), Exit.USAGE)
    if ask(node, "again", "--password-fd") != new:
        raise CommandError(node.say("not_the_same"), Exit.USAGE)
    return new
