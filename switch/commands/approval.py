"""`tongbao approval`: what waits for a second person, shown whole, and let through.

An approval names the hash of what was shown; the act and the approval are one commit.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from settlement.four_eyes import RefusedError, judge
from switch.cli import ConfigFile, DataFolder, Demo, Json, Lang, PassphraseFd, end, group, node_of
from switch.commands.acts import ACTS
from switch.commands.common import (
    CommandError,
    Exit,
    actor,
    office,
    print_line,
    print_object,
    print_objects,
    print_table,
    refusals,
)
from switch.commands.login import at_terminal
from switch.commands.standing import overtaken

if TYPE_CHECKING:
    from settlement.four_eyes import Actor, Proposal
    from switch.commands.common import Node

app = group()
COLUMNS = ("id", "act", "subject", "maker", "made_at")
ProposalId = Annotated[str, typer.Argument(metavar="PROPOSAL", help="help_arg_proposal")]


@app.command("list", help="help_approval_list")
def list_pending(
    act: Annotated[list[str] | None, typer.Option("--act", help="help_opt_act")] = None,
    json: Json = False,  # noqa: FBT002 - a flag of the command line
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)

    async def read(dsn: str) -> tuple[list[Proposal], set[str]]:
        async with office(dsn) as desk:
            pending = await desk.people.pending(act or [])
        return pending, await overtaken(dsn, pending)

    with node.store() as store:
        found, void = asyncio.run(read(store.dsn))
    if json:
        print_objects(
            {**msgspec.structs.asdict(each), "overtaken": each.id in void} for each in found
        )
    else:
        print_table(
            (*COLUMNS, ""),
            (
                [
                    *(getattr(each, name) for name in COLUMNS),
                    node.say("overtaken") if each.id in void else "",
                ]
                for each in found
            ),
        )
    end(Exit.DONE)


@app.command("show", help="help_show")
def show(
    proposal: ProposalId,
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)

    async def read(dsn: str) -> tuple[Proposal, bool, bool]:
        of = await found(node, dsn, proposal)
        async with office(dsn) as desk:
            used = await desk.people.used(proposal)
        return of, used, not used and bool(await overtaken(dsn, [of]))

    with node.store() as store:
        shown, used, void = asyncio.run(read(store.dsn))
    if json:
        print_object({**msgspec.structs.asdict(shown), "approved": used, "overtaken": void})
    else:
        print_whole(shown)
        if void:
            print_line(node.say("overtaken"))
    end(Exit.DONE)


@app.command("approve", help="help_approve")
def approve(
    proposal: ProposalId,
    sha256: Annotated[str | None, typer.Option("--sha256", help="help_opt_sha256")] = None,
    demo: Demo = False,  # noqa: FBT002
    passphrase_fd: PassphraseFd = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo, passphrase_fd=passphrase_fd)
    with node.store() as store:
        checker = actor(node, store.dsn)
        shown = asyncio.run(found(node, store.dsn, proposal))
        seen = sha256
        if seen is None:
            print_whole(shown)
            if not at_terminal():
                raise CommandError(node.say("not_asked", option="--sha256"), Exit.USAGE)
            if not typer.confirm(node.say("approve_this")):
                end(Exit.WAITING)
            seen = shown.sha256
        asyncio.run(let_through(node, store.dsn, proposal, checker, seen))
    print_line(node.say("approved", proposal=proposal))
    end(Exit.DONE)


async def let_through(node: Node, dsn: str, proposal_id: str, checker: Actor, seen: str) -> None:
    """Judge, and do what the proposal says; RefusedError, written down, where it may not be done."""
    async with office(dsn) as desk:
        proposal = await found(node, dsn, proposal_id)
        act = ACTS.get(proposal.act)
        if act is None:
            raise CommandError(node.say("act_unknown", act=proposal.act))
        verb = f"approve:{proposal.act}"
        async with refusals(desk.people, checker, verb, proposal.subject):
            used = await desk.people.used(proposal.id)
            await act(node, dsn, judge(proposal, checker, seen=seen, used=used))


@app.command("withdraw", help="help_withdraw")
def withdraw(
    proposal: ProposalId,
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo)

    async def write(dsn: str, who: Actor) -> bool:
        async with office(dsn) as desk:
            of = await found(node, dsn, proposal)
            verb = f"withdraw:{of.act}"
            async with refusals(desk.people, who, verb, of.subject):
                if who.operator != of.maker and f"approve:{of.act}" not in who.permissions:
                    raise RefusedError(
                        "not_allowed", "not_withdrawer", operator=who.operator, proposal=of.id
                    )
            return await desk.people.withdraw(of.id, who.operator)

    with node.store() as store:
        done = asyncio.run(write(store.dsn, actor(node, store.dsn)))
    if not done:
        raise CommandError(node.say("not_pending", proposal=proposal))
    print_line(node.say("withdrawn", proposal=proposal))
    end(Exit.DONE)


async def found(node: Node, dsn: str, proposal_id: str) -> Proposal:
    async with office(dsn) as desk:
        proposal = await desk.people.proposal(proposal_id)
    if proposal is None:
        raise CommandError(node.say("not_found", kind="proposal", key=proposal_id))
    return proposal


def print_whole(proposal: Proposal) -> None:
    """All that will be done, and its hash."""
    rows: list[tuple[str, Any]] = [
        *((name, getattr(proposal, name)) for name in (*COLUMNS, "sha256")),
        *((f"payload.{name}", value) for name, value in sorted(proposal.payload.items())),
    ]
    print_table(("", ""), rows)
